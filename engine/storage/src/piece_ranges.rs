//! The pieces of a torrent, handed out in ranges to all threads that check it.

use super::limits::CHUNK_BYTES;
use super::verify::pieces_per_stretch;
use ringseed_proto::layout::Layout;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a range: milliseconds of hashing, so that all threads end together, and near each other on the disk,
/// so that a disk with a head hardly moves it.
const RANGE_BYTES: u32 = 8 * CHUNK_BYTES as u32;

/// Pieces that nobody has claimed yet.
#[derive(Debug)]
pub struct PieceRanges {
    next: AtomicU32,
    count: u32,
    step: u32,
}

impl PieceRanges {
    /// All pieces of `layout`.
    pub fn new(layout: &Layout) -> PieceRanges {
        let pair = 2 * pieces_per_stretch(layout);
        let pieces = RANGE_BYTES / layout.piece_length.max(1);
        PieceRanges {
            next: AtomicU32::new(0),
            count: layout.piece_count(),
            step: pieces.next_multiple_of(pair).max(pair),
        }
    }

    /// The next range, to be checked by the caller; ascending over all callers.
    pub fn claim(&self) -> Option<Range<u32>> {
        let after = |next: u32| (next < self.count).then(|| next.saturating_add(self.step).min(self.count));
        let start = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after).ok()?;
        Some(start..start.saturating_add(self.step).min(self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_claimed_once() {
        for (piece_length, pieces) in [(16_384, 1000), (1 << 20, 19), (16 << 20, 5), (100_000, 7), (1024, 1)]
        {
            let total = u64::from(piece_length) * pieces - 1;
            let layout = Layout::single("x", piece_length, total).unwrap();
            let ranges = PieceRanges::new(&layout);
            let claimed: Vec<Range<u32>> = std::iter::from_fn(|| ranges.claim()).collect();
            let all: Vec<u32> = claimed.iter().cloned().flatten().collect();
            assert_eq!(all, (0..layout.piece_count()).collect::<Vec<_>>(), "pieces of {piece_length}");
            assert_eq!(ranges.claim(), None);
            let long =
                |range: &Range<u32>| u64::from(range.end - range.start) * u64::from(piece_length) >= 8 << 20;
            assert!(claimed.split_last().unwrap().1.iter().all(long));
        }
    }
}
