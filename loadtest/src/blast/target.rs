//! What is asked for: the torrent's identity and its geometry.

use crate::limits::{BLOCK_LEN, PIECES_MAX};

/// The torrent under load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    info_hash: [u8; 20],
    piece_length: u32,
    total_length: u64,
    hashes: Option<Vec<[u8; 20]>>,
}

/// Why a torrent cannot be put under load.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing to ask for.
    #[error("the torrent is empty or its pieces have no length")]
    Empty,
    /// More pieces than the limit.
    #[error("the torrent has more than {PIECES_MAX} pieces")]
    TooManyPieces,
    /// A list of piece hashes of another length than the torrent.
    #[error("the torrent has {pieces} pieces but {hashes} piece hashes")]
    Hashes {
        /// Pieces by length.
        pieces: u32,
        /// Hashes given.
        hashes: usize,
    },
}

impl Target {
    /// A torrent of `total_length` bytes in pieces of `piece_length` bytes; `hashes` (SHA-1, one per piece) are
    /// only needed to verify.
    ///
    /// # Errors
    /// Empty or oversized geometry, or a wrong number of hashes.
    pub fn new(
        info_hash: [u8; 20],
        piece_length: u32,
        total_length: u64,
        hashes: Option<Vec<[u8; 20]>>,
    ) -> Result<Target, TargetError> {
        if piece_length == 0 || total_length == 0 {
            return Err(TargetError::Empty);
        }
        let pieces = total_length.div_ceil(u64::from(piece_length));
        let pieces =
            u32::try_from(pieces).ok().filter(|n| *n <= PIECES_MAX).ok_or(TargetError::TooManyPieces)?;
        if let Some(list) = &hashes
            && list.len() != pieces as usize
        {
            return Err(TargetError::Hashes { pieces, hashes: list.len() });
        }
        Ok(Target { info_hash, piece_length, total_length, hashes })
    }

    /// Identity of the torrent.
    pub fn info_hash(&self) -> [u8; 20] {
        self.info_hash
    }

    /// Number of pieces.
    pub fn pieces(&self) -> u32 {
        // Checked in `new`.
        self.total_length.div_ceil(u64::from(self.piece_length)) as u32
    }

    /// Bytes of one piece; the last one may be shorter. 0 past the end.
    pub fn piece_len(&self, piece: u32) -> u32 {
        let start = u64::from(piece) * u64::from(self.piece_length);
        self.total_length.saturating_sub(start).min(u64::from(self.piece_length)) as u32
    }

    /// Bytes to request at `begin` of `piece`: a whole block, or what is left. 0 at the end of the piece.
    pub fn block_len(&self, piece: u32, begin: u32) -> u32 {
        self.piece_len(piece).saturating_sub(begin).min(BLOCK_LEN)
    }

    /// Wanted SHA-1 of a piece, when hashes are known.
    pub fn hash(&self, piece: u32) -> Option<&[u8; 20]> {
        self.hashes.as_ref()?.get(piece as usize)
    }

    /// Whether pieces can be verified.
    pub fn has_hashes(&self) -> bool {
        self.hashes.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_with_a_short_last_piece_and_block() {
        let target = Target::new([1; 20], 40_000, 100_001, None).expect("valid");
        assert_eq!(target.pieces(), 3);
        assert_eq!([0, 1, 2, 3].map(|p| target.piece_len(p)), [40_000, 40_000, 20_001, 0]);
        assert_eq!(target.block_len(0, 32_768), 7232);
        assert_eq!(target.block_len(2, 16_384), 3617);
        assert_eq!(target.block_len(2, 20_001), 0);
    }

    #[test]
    fn impossible_torrents_are_refused() {
        assert_eq!(Target::new([0; 20], 0, 1, None), Err(TargetError::Empty));
        assert_eq!(Target::new([0; 20], 1, 0, None), Err(TargetError::Empty));
        assert_eq!(Target::new([0; 20], 1, u64::MAX, None), Err(TargetError::TooManyPieces));
        let wrong = Target::new([0; 20], 10, 20, Some(vec![[0; 20]]));
        assert_eq!(wrong, Err(TargetError::Hashes { pieces: 2, hashes: 1 }));
    }
}
