//! Where the bytes of a torrent lie: pieces, blocks and files over one line of bytes.

use std::ops::Range;
use std::path::PathBuf;

use crate::limits::{FILES_MAX, PIECE_LENGTH_MAX, PIECE_LENGTH_MIN, PIECES_MAX};
use crate::units::{BLOCK_LEN, Block, PieceIndex};

/// One file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Below the download directory: relative, only ordinary names. In a torrent with several files it begins
    /// with the torrent's name.
    pub path: PathBuf,
    /// Length in bytes.
    pub length: u64,
    /// First byte of the file in the torrent.
    pub offset: u64,
    /// A padding file (BEP 47): its bytes are zero and it is never stored. So is a link, which has no bytes.
    pub padding: bool,
}

/// A file to be laid out; see [`Layout::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// As in [`FileEntry::path`]. The layout takes it as it is.
    pub path: PathBuf,
    /// Length in bytes.
    pub length: u64,
    /// As in [`FileEntry::padding`].
    pub padding: bool,
}

/// The part of a range that lies in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSpan {
    /// Index into [`Layout::files`].
    pub file: usize,
    /// First byte inside the file.
    pub offset: u64,
    /// Length in bytes, at least 1.
    pub length: u64,
    /// The file is padding: the bytes are zero.
    pub padding: bool,
}

/// The lengths and offsets of a torrent. Made by [`Layout::new`], which checks them; do not change the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layout {
    /// Length in bytes of every piece but the last.
    pub piece_length: u32,
    /// Length in bytes of all files together, padding included.
    pub total_length: u64,
    /// The files in torrent order; offsets ascend without gaps.
    pub files: Vec<FileEntry>,
}

/// Lengths that make no torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// See [`PIECE_LENGTH_MIN`] and [`PIECE_LENGTH_MAX`].
    #[error("the piece length {0} is not between {PIECE_LENGTH_MIN} and {PIECE_LENGTH_MAX} bytes")]
    PieceLength(u64),
    /// See [`PIECES_MAX`].
    #[error("{0} pieces are more than the supported {PIECES_MAX}; the torrent needs larger pieces")]
    TooManyPieces(u64),
    /// See [`FILES_MAX`].
    #[error("{0} files are more than the supported {FILES_MAX}")]
    TooManyFiles(usize),
    /// The lengths do not add up in 64 bits.
    #[error("the lengths of the files add up to more than 2^63 bytes")]
    Overflow,
    /// There is no file.
    #[error("the torrent has no files")]
    NoFiles,
}

impl Layout {
    /// Lays the files one after the other. The total may be zero.
    ///
    /// # Errors
    /// When a limit is exceeded or there is no file.
    pub fn new(piece_length: u32, files: Vec<FileSpec>) -> Result<Layout, LayoutError> {
        if !(PIECE_LENGTH_MIN..=PIECE_LENGTH_MAX).contains(&piece_length) {
            return Err(LayoutError::PieceLength(piece_length.into()));
        }
        if files.is_empty() {
            return Err(LayoutError::NoFiles);
        }
        if files.len() > FILES_MAX {
            return Err(LayoutError::TooManyFiles(files.len()));
        }
        let mut total = 0u64;
        let mut entries = Vec::with_capacity(files.len());
        for FileSpec { path, length, padding } in files {
            entries.push(FileEntry { path, length, offset: total, padding });
            // File offsets are signed in the kernel.
            total = total
                .checked_add(length)
                .filter(|&total| total <= i64::MAX as u64)
                .ok_or(LayoutError::Overflow)?;
        }
        let pieces = total.div_ceil(piece_length.into());
        if pieces > PIECES_MAX.into() {
            return Err(LayoutError::TooManyPieces(pieces));
        }
        Ok(Layout { piece_length, total_length: total, files: entries })
    }

    /// A layout of one file, as tests often want it.
    ///
    /// # Errors
    /// As [`Layout::new`].
    pub fn single(name: &str, piece_length: u32, length: u64) -> Result<Layout, LayoutError> {
        Layout::new(piece_length, vec![FileSpec { path: name.into(), length, padding: false }])
    }

    /// Number of pieces; zero when the total is zero.
    pub fn piece_count(&self) -> u32 {
        // `new` checked that it fits.
        self.total_length.div_ceil(self.piece_length.into()) as u32
    }

    /// Length of a piece in bytes; 0 when there is no such piece.
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        let rest = self.total_length.saturating_sub(self.piece_offset(piece));
        rest.min(self.piece_length.into()) as u32
    }

    /// First byte of a piece in the torrent. Means nothing when there is no such piece.
    pub fn piece_offset(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// Number of blocks of a piece; 0 when there is no such piece.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.piece_len(piece).div_ceil(BLOCK_LEN)
    }

    /// The `n`th block of a piece; of length 0 when there is no such block.
    pub fn block(&self, piece: PieceIndex, n: u32) -> Block {
        let length = self.piece_len(piece);
        let begin = n.saturating_mul(BLOCK_LEN).min(length);
        Block { piece, begin, length: (length - begin).min(BLOCK_LEN) }
    }

    /// Whether the range is not empty and lies inside its piece: a request that may be answered.
    pub fn contains(&self, block: &Block) -> bool {
        block.length > 0 && block.end() <= self.piece_len(block.piece).into()
    }

    /// The parts of files that make up `length` bytes from `begin` of a piece, in order. Files of length zero
    /// are skipped, padding is included. What lies outside the piece is left out.
    pub fn spans(&self, piece: PieceIndex, begin: u32, length: u32) -> impl Iterator<Item = FileSpan> + '_ {
        let piece_length = self.piece_len(piece);
        let begin = begin.min(piece_length);
        let length = length.min(piece_length - begin);
        let start = self.piece_offset(piece).saturating_add(begin.into());
        self.spans_at(start, length.into())
    }

    /// As [`Layout::spans`], for `length` bytes from the torrent's byte `start`.
    pub fn spans_at(&self, start: u64, length: u64) -> impl Iterator<Item = FileSpan> + '_ {
        let end = start.saturating_add(length).min(self.total_length);
        // The first file that ends after `start`.
        let first = self.files.partition_point(|file| file.offset + file.length <= start);
        self.files[first..].iter().zip(first..).take_while(move |(file, _)| file.offset < end).filter_map(
            move |(file, index)| {
                let from = start.max(file.offset);
                let to = end.min(file.offset + file.length);
                (from < to).then(|| FileSpan {
                    file: index,
                    offset: from - file.offset,
                    length: to - from,
                    padding: file.padding,
                })
            },
        )
    }

    /// The pieces that hold bytes of a file; empty when the file is empty or there is no such file.
    pub fn pieces_of_file(&self, file: usize) -> Range<u32> {
        let Some(entry) = self.files.get(file) else { return 0..0 };
        let piece_length = u64::from(self.piece_length);
        let first = (entry.offset / piece_length) as u32;
        if entry.length == 0 {
            return first..first;
        }
        first..(entry.offset + entry.length).div_ceil(piece_length) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(piece_length: u32, lengths: &[u64]) -> Layout {
        let files = lengths
            .iter()
            .enumerate()
            .map(|(n, &length)| FileSpec { path: format!("t/{n}").into(), length, padding: n == 3 })
            .collect();
        Layout::new(piece_length, files).unwrap()
    }

    #[test]
    fn last_piece_and_last_block_are_short() {
        let layout = layout(65536, &[65536 * 2 + 16384 + 5]);
        assert_eq!(layout.piece_count(), 3);
        assert_eq!(layout.piece_len(PieceIndex(1)), 65536);
        assert_eq!(layout.piece_len(PieceIndex(2)), 16389);
        assert_eq!(layout.piece_len(PieceIndex(3)), 0);
        assert_eq!(layout.piece_len(PieceIndex(u32::MAX)), 0);
        assert_eq!(layout.block_count(PieceIndex(0)), 4);
        assert_eq!(layout.block_count(PieceIndex(2)), 2);
        let last = layout.block(PieceIndex(2), 1);
        assert_eq!((last.begin, last.length), (16384, 5));
        assert!(layout.contains(&last));
        assert_eq!(layout.block(PieceIndex(2), 2).length, 0);
        assert_eq!(layout.block(PieceIndex(2), u32::MAX).length, 0);
    }

    #[test]
    fn requests_outside_a_piece_are_not_contained() {
        let layout = layout(32768, &[40000]);
        let block = |piece, begin, length| Block { piece: PieceIndex(piece), begin, length };
        assert!(layout.contains(&block(0, 100, 32668)));
        assert!(!layout.contains(&block(0, 100, 32669)));
        assert!(!layout.contains(&block(0, 0, 0)));
        assert!(!layout.contains(&block(1, 7232, 1)));
        assert!(!layout.contains(&block(2, 0, 1)));
        assert!(!layout.contains(&block(0, u32::MAX, u32::MAX)));
        assert!(!layout.contains(&block(u32::MAX, u32::MAX, u32::MAX)));
    }

    #[test]
    fn spans_skip_empty_files_and_flag_padding() {
        // Files: 0..100, empty, 100..30000, padding 30000..32768, 32768..40000.
        let layout = layout(32768, &[100, 0, 29900, 2768, 7232]);
        let spans: Vec<_> = layout.spans(PieceIndex(0), 0, 32768).collect();
        let span = |file, offset, length, padding| FileSpan { file, offset, length, padding };
        assert_eq!(spans, [span(0, 0, 100, false), span(2, 0, 29900, false), span(3, 0, 2768, true)]);
        let spans: Vec<_> = layout.spans(PieceIndex(0), 99, 2).collect();
        assert_eq!(spans, [span(0, 99, 1, false), span(2, 0, 1, false)]);
        let spans: Vec<_> = layout.spans(PieceIndex(1), 7000, u32::MAX).collect();
        assert_eq!(spans, [span(4, 7000, 232, false)]);
        assert_eq!(layout.spans(PieceIndex(9), 0, 10).count(), 0);
    }

    #[test]
    fn spans_of_all_pieces_cover_every_byte_once() {
        let layout = layout(16384, &[1, 0, 16383, 16384, 5, 0, 100_000, 3, 0]);
        let mut seen = vec![0u64; layout.files.len()];
        for piece in 0..layout.piece_count() {
            for span in layout.spans(PieceIndex(piece), 0, u32::MAX) {
                assert_eq!(seen[span.file], span.offset);
                assert!(layout.pieces_of_file(span.file).contains(&piece));
                seen[span.file] += span.length;
            }
        }
        assert_eq!(seen, layout.files.iter().map(|file| file.length).collect::<Vec<_>>());
    }

    #[test]
    fn pieces_of_a_file() {
        let layout = layout(16384, &[16384, 0, 1, 16384]);
        assert_eq!(layout.pieces_of_file(0), 0..1);
        assert!(layout.pieces_of_file(1).is_empty());
        assert_eq!(layout.pieces_of_file(2), 1..2);
        assert_eq!(layout.pieces_of_file(3), 1..3);
        assert!(layout.pieces_of_file(4).is_empty());
    }

    #[test]
    fn limits_are_kept() {
        let spec = |length| FileSpec { path: "a".into(), length, padding: false };
        assert_eq!(Layout::new(0, vec![spec(1)]), Err(LayoutError::PieceLength(0)));
        assert!(matches!(Layout::new(u32::MAX, vec![spec(1)]), Err(LayoutError::PieceLength(_))));
        assert_eq!(Layout::new(16384, vec![]), Err(LayoutError::NoFiles));
        assert_eq!(Layout::new(16384, vec![spec(u64::MAX), spec(2)]), Err(LayoutError::Overflow));
        assert_eq!(Layout::new(16384, vec![spec(1 << 62), spec(1 << 62)]), Err(LayoutError::Overflow));
        assert!(matches!(Layout::new(16384, vec![spec(1 << 60)]), Err(LayoutError::TooManyPieces(_))));
        assert_eq!(Layout::new(16384, vec![spec(0)]).unwrap().piece_count(), 0);
    }
}
