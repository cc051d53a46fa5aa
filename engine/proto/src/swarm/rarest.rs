//! Pieces that could be begun, ordered by how few peers have them, with constant-time updates.
//!
//! Each priority has one array of pieces, partitioned into buckets of equal availability. A peer that
//! announces a piece moves it over one boundary by one swap. Availability counts only peers that are
//! not seeds; seeds make all pieces equally more available.

use super::config::Priority;
use super::rng::Rng;

/// The piece is not in any bucket.
const NOWHERE: u32 = u32::MAX;

/// Pieces of one priority: `order[bounds[a - 1]..bounds[a]]` have availability `a`.
#[derive(Debug, Default)]
struct Class {
    order: Vec<u32>,
    bounds: Vec<u32>,
}

/// Availability of all pieces and the order of those that may be begun.
#[derive(Debug)]
pub(super) struct Rarest {
    availability: Vec<u16>,
    position: Vec<u32>,
    priority: Vec<Priority>,
    classes: [Class; 3],
}

fn class_of(priority: Priority) -> Option<usize> {
    match priority {
        Priority::Skip => None,
        Priority::High => Some(0),
        Priority::Normal => Some(1),
        Priority::Low => Some(2),
    }
}

impl Class {
    fn start(&self, bucket: usize) -> u32 {
        if bucket == 0 { 0 } else { self.bounds[bucket - 1] }
    }

    fn ensure(&mut self, bucket: usize) {
        if self.bounds.len() <= bucket {
            let end = self.order.len() as u32;
            self.bounds.resize(bucket + 1, end);
        }
    }

    fn swap(&mut self, position: &mut [u32], a: u32, b: u32) {
        self.order.swap(a as usize, b as usize);
        position[self.order[a as usize] as usize] = a;
        position[self.order[b as usize] as usize] = b;
    }
}

impl Rarest {
    /// No peers, and every piece may be begun that has `pieces(piece)`; all priorities normal.
    pub(super) fn new(count: u32, pieces: impl Fn(u32) -> bool) -> Rarest {
        let mut rarest = Rarest {
            availability: vec![0; count as usize],
            position: vec![NOWHERE; count as usize],
            priority: vec![Priority::Normal; count as usize],
            classes: Default::default(),
        };
        (0..count).filter(|&piece| pieces(piece)).for_each(|piece| rarest.insert(piece));
        rarest
    }

    pub(super) fn availability(&self, piece: u32) -> u16 {
        self.availability[piece as usize]
    }

    pub(super) fn availability_min(&self) -> u16 {
        self.availability.iter().copied().min().unwrap_or(0)
    }

    pub(super) fn priority(&self, piece: u32) -> Priority {
        self.priority[piece as usize]
    }

    pub(super) fn contains(&self, piece: u32) -> bool {
        self.position[piece as usize] != NOWHERE
    }

    /// Whether no piece may be begun.
    pub(super) fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.order.is_empty())
    }

    /// The piece may be begun; nothing happens when it is not wanted.
    pub(super) fn insert(&mut self, piece: u32) {
        let Some(class) = class_of(self.priority(piece)) else { return };
        if self.contains(piece) {
            return;
        }
        let bucket = usize::from(self.availability(piece));
        let class = &mut self.classes[class];
        class.ensure(bucket);
        // A hole at the end moves down: the first piece of each higher bucket goes to that bucket's end.
        class.order.push(piece);
        let mut hole = class.order.len() as u32 - 1;
        self.position[piece as usize] = hole;
        for higher in (bucket + 1..class.bounds.len()).rev() {
            let first = class.start(higher);
            class.swap(&mut self.position, hole, first);
            class.bounds[higher] += 1;
            hole = first;
        }
        class.bounds[bucket] += 1;
    }

    /// The piece may not be begun any more.
    pub(super) fn remove(&mut self, piece: u32) {
        if !self.contains(piece) {
            return;
        }
        let Some(class) = class_of(self.priority(piece)) else { return };
        let class = &mut self.classes[class];
        let mut hole = self.position[piece as usize];
        for bucket in usize::from(self.availability[piece as usize])..class.bounds.len() {
            let last = class.bounds[bucket] - 1;
            class.swap(&mut self.position, hole, last);
            class.bounds[bucket] = last;
            hole = last;
        }
        class.order.pop();
        self.position[piece as usize] = NOWHERE;
    }

    /// One more peer has the piece.
    pub(super) fn gained(&mut self, piece: u32) {
        let bucket = usize::from(self.availability(piece));
        if self.contains(piece)
            && let Some(class) = class_of(self.priority(piece))
        {
            let class = &mut self.classes[class];
            class.ensure(bucket + 1);
            let last = class.bounds[bucket] - 1;
            let at = self.position[piece as usize];
            class.swap(&mut self.position, at, last);
            class.bounds[bucket] = last;
        }
        self.availability[piece as usize] += 1;
    }

    /// One peer less has the piece.
    pub(super) fn lost(&mut self, piece: u32) {
        let bucket = usize::from(self.availability(piece));
        debug_assert!(bucket > 0);
        if bucket == 0 {
            return;
        }
        if self.contains(piece)
            && let Some(class) = class_of(self.priority(piece))
        {
            let class = &mut self.classes[class];
            let first = class.start(bucket);
            let at = self.position[piece as usize];
            class.swap(&mut self.position, at, first);
            class.bounds[bucket - 1] += 1;
        }
        self.availability[piece as usize] -= 1;
    }

    /// Changes how much a piece is wanted. A skipped piece leaves the order; the caller inserts one
    /// that is wanted again.
    pub(super) fn set_priority(&mut self, piece: u32, priority: Priority) {
        let contained = self.contains(piece);
        self.remove(piece);
        self.priority[piece as usize] = priority;
        if contained {
            self.insert(piece);
        }
    }

    /// The rarest piece of the highest priority that the peer `has`, at random among equals.
    pub(super) fn pick(&self, rng: &mut Rng, has: impl Fn(u32) -> bool) -> Option<u32> {
        for class in &self.classes {
            for bucket in 0..class.bounds.len() {
                let pieces = &class.order[class.start(bucket) as usize..class.bounds[bucket] as usize];
                let (before, after) = pieces.split_at(rng.below(pieces.len()));
                if let Some(&piece) = after.iter().chain(before).find(|&&piece| has(piece)) {
                    return Some(piece);
                }
            }
        }
        None
    }

    /// The first piece of the highest priority, from `cursor` on, that the peer `has`.
    pub(super) fn pick_in_order(&self, cursor: u32, has: impl Fn(u32) -> bool) -> Option<u32> {
        let count = self.position.len() as u32;
        [Priority::High, Priority::Normal, Priority::Low].into_iter().find_map(|priority| {
            if self.classes[class_of(priority)?].order.is_empty() {
                return None;
            }
            (cursor..count)
                .find(|&piece| self.contains(piece) && self.priority(piece) == priority && has(piece))
        })
    }

    /// Each position names its piece, each piece lies in the bucket of its availability.
    pub(super) fn check_invariants(&self) {
        let mut contained = 0;
        for (number, class) in self.classes.iter().enumerate() {
            contained += class.order.len();
            assert!(class.bounds.is_sorted());
            assert_eq!(class.bounds.last().copied().unwrap_or(0) as usize, class.order.len());
            for bucket in 0..class.bounds.len() {
                for at in class.start(bucket)..class.bounds[bucket] {
                    let piece = class.order[at as usize];
                    assert_eq!(self.position[piece as usize], at);
                    assert_eq!(usize::from(self.availability(piece)), bucket);
                    assert_eq!(class_of(self.priority(piece)), Some(number));
                }
            }
        }
        assert_eq!(contained, self.position.iter().filter(|&&at| at != NOWHERE).count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_a_random_history() {
        let mut rng = Rng::new(7);
        let mut rarest = Rarest::new(40, |piece| piece % 5 != 0);
        let mut model = [0u16; 40];
        for step in 0..20_000 {
            let piece = rng.below(40) as u32;
            match rng.below(6) {
                0 | 1 if model[piece as usize] < 30 => {
                    rarest.gained(piece);
                    model[piece as usize] += 1;
                }
                2 if model[piece as usize] > 0 => {
                    rarest.lost(piece);
                    model[piece as usize] -= 1;
                }
                3 => rarest.insert(piece),
                4 => rarest.remove(piece),
                5 => {
                    let all = [Priority::Skip, Priority::Low, Priority::Normal, Priority::High];
                    rarest.set_priority(piece, all[rng.below(4)]);
                }
                _ => {}
            }
            if step % 50 == 0 {
                rarest.check_invariants();
            }
        }
        rarest.check_invariants();
        assert!((0..40).all(|piece| rarest.availability(piece) == model[piece as usize]));
    }

    #[test]
    fn picks_the_rarest_the_peer_has_and_high_priority_before_it() {
        let mut rng = Rng::new(3);
        let mut rarest = Rarest::new(6, |_| true);
        for (piece, copies) in [(0, 3), (1, 1), (2, 2), (3, 1), (4, 5), (5, 1)] {
            (0..copies).for_each(|_| rarest.gained(piece));
        }
        let mut seen = [0; 6];
        for _ in 0..300 {
            seen[rarest.pick(&mut rng, |piece| piece != 5).unwrap() as usize] += 1;
        }
        assert_eq!(seen[1] + seen[3], 300);
        assert!(seen[1] > 50 && seen[3] > 50, "not random among equals: {seen:?}");
        rarest.set_priority(4, Priority::High);
        assert_eq!(rarest.pick(&mut rng, |_| true), Some(4));
        rarest.set_priority(4, Priority::Skip);
        assert_ne!(rarest.pick(&mut rng, |_| true), Some(4));
        assert_eq!(rarest.pick(&mut rng, |piece| piece == 4), None);
        assert_eq!(rarest.pick_in_order(0, |piece| piece > 1), Some(2));
    }
}
