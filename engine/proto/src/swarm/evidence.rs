//! Blocks of bad pieces, as digests with their senders: when the piece is known, whoever sent a block that differs sent it
//! wrong, and nobody else did.

use std::collections::VecDeque;
use std::net::IpAddr;

use smallvec::SmallVec;

use super::limits::EVIDENCE_BLOCKS_MAX;
use crate::hash::BlockDigest;
use crate::units::PieceIndex;

/// The sender of a block that is none of the first 255.
const UNKNOWN: u8 = u8::MAX;

/// A piece that came wrong from several senders.
#[derive(Debug)]
pub(super) struct WrongCopy {
    pub(super) piece: PieceIndex,
    /// SHA-1 of all of it.
    pub(super) digest: [u8; 20],
    /// Hosts, each as often as it had connections that sent something.
    pub(super) senders: SmallVec<[IpAddr; 4]>,
    /// Each block, with the place of its sender in `senders`.
    pub(super) blocks: Box<[(BlockDigest, u8)]>,
}

/// What a right piece says about one that came before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// SHA-1 of the wrong copy.
    pub(super) digest: [u8; 20],
    /// Hosts that sent a block wrong.
    pub(super) guilty: SmallVec<[IpAddr; 4]>,
    /// Hosts of which each block was right.
    pub(super) innocent: SmallVec<[IpAddr; 4]>,
}

/// Wrong copies of pieces that are not known yet; the oldest are forgotten when there are too many.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    copies: VecDeque<WrongCopy>,
    /// Blocks of all copies.
    blocks: usize,
}

impl Evidence {
    /// Keeps a copy, unless it alone is too large.
    pub(super) fn keep(&mut self, copy: WrongCopy) {
        if copy.blocks.len() > EVIDENCE_BLOCKS_MAX {
            return;
        }
        self.blocks += copy.blocks.len();
        self.copies.push_back(copy);
        while self.blocks > EVIDENCE_BLOCKS_MAX {
            let oldest = self.copies.pop_front();
            self.blocks -= oldest.map_or(self.blocks, |copy| copy.blocks.len());
        }
    }

    /// Whether the right piece will say something.
    pub(super) fn holds(&self, piece: PieceIndex) -> bool {
        self.copies.iter().any(|copy| copy.piece == piece)
    }

    /// The piece is known: its blocks are `right`. What was kept of it is judged and forgotten.
    pub(super) fn judge(&mut self, piece: PieceIndex, right: &[BlockDigest]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        self.copies.retain(|copy| {
            let keep = copy.piece != piece;
            if !keep {
                self.blocks -= copy.blocks.len();
                // Without the digests nothing is said.
                verdicts.extend((copy.blocks.len() == right.len()).then(|| copy.compared(right)));
            }
            keep
        });
        verdicts
    }
}

impl WrongCopy {
    /// A copy of which each block has the sender at its place of `from`.
    pub(super) fn new(
        piece: PieceIndex,
        digest: [u8; 20],
        senders: SmallVec<[IpAddr; 4]>,
        blocks: impl Iterator<Item = (BlockDigest, usize)>,
    ) -> WrongCopy {
        let place = |place: usize| u8::try_from(place).unwrap_or(UNKNOWN);
        let blocks = blocks.map(|(digest, from)| (digest, place(from))).collect();
        WrongCopy { piece, digest, senders, blocks }
    }

    fn compared(&self, right: &[BlockDigest]) -> Verdict {
        let mut guilty: SmallVec<[IpAddr; 4]> = SmallVec::new();
        for ((digest, from), right) in self.blocks.iter().zip(right) {
            let known = Some(*from).filter(|from| *from != UNKNOWN);
            if digest != right
                && let Some(&host) = known.and_then(|from| self.senders.get(usize::from(from)))
                && !guilty.contains(&host)
            {
                guilty.push(host);
            }
        }
        // One whose blocks are not all known may have sent another one.
        let all_known = self.blocks.iter().all(|(_, from)| *from != UNKNOWN);
        let mut innocent: SmallVec<[IpAddr; 4]> = SmallVec::new();
        for host in self.senders.iter().filter(|host| all_known && !guilty.contains(host)) {
            if !innocent.contains(host) {
                innocent.push(*host);
            }
        }
        Verdict { digest: self.digest, guilty, innocent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn copy(piece: u32, blocks: &[(BlockDigest, usize)]) -> WrongCopy {
        let senders = SmallVec::from_slice(&[ip(1), ip(2), ip(2), ip(3)]);
        WrongCopy::new(PieceIndex(piece), [piece as u8; 20], senders, blocks.iter().copied())
    }

    #[test]
    fn who_sent_a_block_that_differs_is_named_and_all_others_are_cleared() {
        let mut evidence = Evidence::default();
        evidence.keep(copy(7, &[(10, 0), (11, 1), (99, 2), (13, 3)]));
        evidence.keep(copy(8, &[(1, 0), (2, 1), (3, 2), (4, 3)]));
        assert!(evidence.holds(PieceIndex(7)) && !evidence.holds(PieceIndex(1)));
        let verdicts = evidence.judge(PieceIndex(7), &[10, 11, 12, 13]);
        let innocent = SmallVec::from_slice(&[ip(1), ip(3)]);
        let expected = Verdict { digest: [7; 20], guilty: SmallVec::from_slice(&[ip(2)]), innocent };
        assert_eq!(verdicts, [expected]);
        assert!(!evidence.holds(PieceIndex(7)) && evidence.holds(PieceIndex(8)));
        assert!(evidence.judge(PieceIndex(8), &[]).is_empty(), "nothing to compare with");
        assert_eq!((evidence.copies.len(), evidence.blocks), (0, 0));
    }

    #[test]
    fn of_many_senders_those_beyond_the_first_are_neither_named_nor_cleared() {
        let mut evidence = Evidence::default();
        evidence.keep(copy(7, &[(9, 0), (99, 300)]));
        let verdicts = evidence.judge(PieceIndex(7), &[10, 11]);
        assert_eq!(verdicts[0].guilty[..], [ip(1)]);
        assert!(verdicts[0].innocent.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let mut evidence = Evidence::default();
        let blocks = vec![(1, 0); EVIDENCE_BLOCKS_MAX / 4];
        (0..9).for_each(|piece| evidence.keep(copy(piece, &blocks)));
        assert!(evidence.blocks <= EVIDENCE_BLOCKS_MAX);
        assert!(!evidence.holds(PieceIndex(4)) && evidence.holds(PieceIndex(5)));
        evidence.keep(copy(9, &vec![(1, 0); EVIDENCE_BLOCKS_MAX + 1]));
        assert!(!evidence.holds(PieceIndex(9)) && evidence.holds(PieceIndex(8)));
    }
}
