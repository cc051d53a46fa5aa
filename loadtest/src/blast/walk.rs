//! The order in which one connection asks: pieces at random without repetition, round after round, or single blocks
//! anywhere.

/// What a peer asks for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Whole pieces in random order, each block by block.
    #[default]
    Pieces,
    /// Random blocks of random pieces: the worst that a disk can be asked.
    Blocks,
}

/// SplitMix64: small, fast and the same everywhere for a seed.
#[derive(Debug, Clone)]
pub struct SplitMix(u64);

impl SplitMix {
    /// A generator for `seed`.
    pub fn new(seed: u64) -> SplitMix {
        SplitMix(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (at least 1); the bias is below 2^-32.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.next_u64()) * u128::from(bound.max(1))) >> 64) as u32
    }
}

/// A permutation of all pieces, shuffled again after each round. Allocates with the first piece.
#[derive(Debug)]
pub struct PieceWalk {
    pieces: u32,
    order: Vec<u32>,
    at: usize,
    rng: SplitMix,
}

impl PieceWalk {
    /// A walk over pieces `0..pieces`.
    pub fn new(pieces: u32, seed: u64) -> PieceWalk {
        PieceWalk { pieces, order: Vec::new(), at: 0, rng: SplitMix::new(seed) }
    }

    /// The next piece that the seeder has; `None` when it has none at all.
    pub fn next(&mut self, has: impl Fn(u32) -> bool) -> Option<u32> {
        // The rest of this round, then one full round.
        for _ in 0..self.order.len() - self.at + self.pieces as usize {
            if self.at == self.order.len() {
                self.shuffle();
            }
            let piece = self.order[self.at];
            self.at += 1;
            if has(piece) {
                return Some(piece);
            }
        }
        None
    }

    fn shuffle(&mut self) {
        if self.order.is_empty() {
            self.order = (0..self.pieces).collect();
        }
        for i in (1..self.order.len()).rev() {
            let j = self.rng.below(i as u32 + 1) as usize;
            self.order.swap(i, j);
        }
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_visits_every_piece_once_in_another_order() {
        let mut walk = PieceWalk::new(100, 1);
        let mut round = || (0..100).map(|_| walk.next(|_| true).expect("piece")).collect::<Vec<_>>();
        let (first, second) = (round(), round());
        assert_ne!(first, second);
        for mut seen in [first, second] {
            seen.sort_unstable();
            assert_eq!(seen, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_seed_decides() {
        let walk = |seed| {
            let mut walk = PieceWalk::new(50, seed);
            (0..50).map(|_| walk.next(|_| true)).collect::<Vec<_>>()
        };
        assert_eq!(walk(7), walk(7));
        assert_ne!(walk(7), walk(8));
    }

    #[test]
    fn only_pieces_of_the_seeder() {
        let mut walk = PieceWalk::new(10, 3);
        assert_eq!(walk.next(|_| false), None);
        for _ in 0..5 {
            assert_eq!(walk.next(|p| p == 4), Some(4));
        }
    }
}
