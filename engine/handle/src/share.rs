//! The share ratio: one definition for what is shown, for limits and for metrics. `docs/counts.md` tells users of it.

use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::layout::Layout;
use ringseed_proto::units::PieceIndex;

/// What was uploaded of a torrent over the larger of what was downloaded and what is here of it: data that the user had
/// already counts as if it had been downloaded, and one repaired piece makes no torrent of one piece of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareRatio {
    uploaded: u64,
    base: u64,
}

impl ShareRatio {
    /// Of payload bytes over all runs, and of the bytes in verified pieces ([`verified_bytes`]).
    pub fn new(uploaded: u64, downloaded: u64, verified: u64) -> ShareRatio {
        ShareRatio { uploaded, base: downloaded.max(verified) }
    }

    /// The ratio; `None` when there is nothing that it could be a ratio to.
    pub fn get(self) -> Option<f64> {
        (self.base > 0).then(|| self.uploaded as f64 / self.base as f64)
    }

    /// Whether it is at least `goal`. Never when there is no ratio.
    pub fn reaches(self, goal: f64) -> bool {
        self.get().is_some_and(|ratio| ratio >= goal)
    }

    /// As Transmission writes it: -1 for none, -2 when something was uploaded of nothing.
    pub fn of_transmission(self) -> f64 {
        self.get().unwrap_or(if self.uploaded == 0 { -1.0 } else { -2.0 })
    }

    /// As qBittorrent writes it: 0 for none, 9999 when something was uploaded of nothing.
    pub fn of_qbittorrent(self) -> f64 {
        self.get().unwrap_or(if self.uploaded == 0 { 0.0 } else { 9999.0 })
    }
}

/// Bytes of a torrent that lie in pieces of `have`.
pub fn verified_bytes(layout: &Layout, have: &Bitfield) -> u64 {
    // The last piece alone may be shorter than the others.
    let count = u64::from(have.count_ones());
    let bytes = count * u64::from(layout.piece_length);
    match layout.piece_count().checked_sub(1) {
        Some(last) if have.get(last) => {
            bytes - u64::from(layout.piece_length) + u64::from(layout.piece_len(PieceIndex(last)))
        }
        _ => bytes,
    }
}

/// Bytes of a file that are in pieces of `have`.
pub fn present_bytes(layout: &Layout, have: &Bitfield, index: usize) -> u64 {
    let file = &layout.files[index];
    let piece_length = u64::from(layout.piece_length);
    let in_piece = |piece: u32| {
        let start = u64::from(piece) * piece_length;
        let end = start + u64::from(layout.piece_len(PieceIndex(piece)));
        end.min(file.offset + file.length).saturating_sub(start.max(file.offset))
    };
    layout.pieces_of_file(index).filter(|piece| have.get(*piece)).map(in_piece).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repaired_piece_makes_no_ratio_of_a_piece() {
        let size = 4 << 20;
        let repaired = ShareRatio::new(size / 25, 65_536, size);
        assert!((repaired.get().unwrap() - 0.04).abs() < 0.001);
        assert!(!repaired.reaches(2.0));
        // Fetched twice it is a ratio to what was fetched.
        assert_eq!(ShareRatio::new(size, 2 * size, size).get(), Some(0.5));
    }

    #[test]
    fn some_of_the_files_are_a_ratio_to_what_is_here() {
        // Of 640 KiB 64 are wanted and here, and 128 were uploaded.
        let some = ShareRatio::new(131_072, 0, 65_536);
        assert_eq!((some.get(), some.of_transmission(), some.of_qbittorrent()), (Some(2.0), 2.0, 2.0));
        assert!(some.reaches(2.0) && !some.reaches(2.1));
    }

    #[test]
    fn nothing_has_no_ratio_and_reaches_none() {
        let nothing = ShareRatio::new(0, 0, 0);
        assert_eq!((nothing.of_transmission(), nothing.of_qbittorrent()), (-1.0, 0.0));
        let sent = ShareRatio::new(5, 0, 0);
        assert_eq!((sent.of_transmission(), sent.of_qbittorrent()), (-2.0, 9999.0));
        assert!(!nothing.reaches(0.0) && !sent.reaches(1.0));
        assert_eq!(ShareRatio::new(0, 0, 9).of_transmission(), 0.0);
    }

    #[test]
    fn the_last_piece_is_as_long_as_it_is() {
        let layout = Layout::single("a", 16384, 40_000).unwrap();
        let mut have = Bitfield::new(3);
        assert_eq!(verified_bytes(&layout, &have), 0);
        let _ = have.set(2);
        assert_eq!(verified_bytes(&layout, &have), 7232);
        let _ = (have.set(0), have.set(1));
        assert_eq!(verified_bytes(&layout, &have), 40_000);
    }
}
