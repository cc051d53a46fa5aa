//! The `info` dictionary: names, lengths and piece hashes.

use super::MetainfoError;
use crate::layout::Layout;
use crate::units::PieceIndex;

/// What a torrent contains. Made from an `info` dictionary, or by [`Info::new`] from parts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The name to show. Bytes that are not UTF-8 are replaced; on disk they are kept (see [`Layout::files`]).
    pub name: String,
    /// Pieces and files.
    pub layout: Layout,
    /// Only peers from the trackers may be used (BEP 27).
    pub private: bool,
    /// Where a private torrent comes from; makes its info-hash differ between trackers.
    pub source: Option<String>,
    piece_hashes: Box<[[u8; 20]]>,
}

impl Info {
    /// Content from its parts.
    ///
    /// # Errors
    /// When the number of hashes is not the number of pieces.
    pub fn new(
        name: String,
        layout: Layout,
        piece_hashes: Vec<[u8; 20]>,
        private: bool,
    ) -> Result<Info, MetainfoError> {
        if piece_hashes.len() != layout.piece_count() as usize {
            return Err(MetainfoError::PieceCount {
                expected: layout.piece_count(),
                found: piece_hashes.len(),
            });
        }
        Ok(Info { name, layout, private, source: None, piece_hashes: piece_hashes.into() })
    }

    /// The SHA-1 of a piece, when there is such a piece.
    pub fn piece_hash(&self, piece: PieceIndex) -> Option<&[u8; 20]> {
        self.piece_hashes.get(piece.0 as usize)
    }

    /// All SHA-1 values in piece order.
    pub fn piece_hashes(&self) -> &[[u8; 20]] {
        &self.piece_hashes
    }
}
