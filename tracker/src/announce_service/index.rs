//! Finds positions by hash, and lets the memory be fetched before it is needed.

/// The lowest 32 bits of a slot are a position plus one, the others the lower half of its hash. Zero is no position.
type Slot = u64;

/// Least number of slots.
const SLOTS_MIN: usize = 16;

/// A table of positions in a vector, with open addressing: 8 bytes a slot, at most three quarters of them taken.
///
/// What lies in a slot is enough to move it when the table grows, so growing touches nothing else; and where a
/// search begins is known without a search, so that memory can be fetched ahead of it.
#[derive(Default)]
pub(super) struct Index {
    /// A power of two of them, or none.
    slots: Vec<Slot>,
    taken: usize,
}

impl Index {
    /// The position of this hash that `is_it` accepts.
    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(usize) -> bool) -> Option<usize> {
        self.slot(hash, is_it).map(|slot| position(self.slots[slot]))
    }

    /// Adds a position, which must not be there yet.
    pub(super) fn insert(&mut self, hash: u64, at: usize) {
        if (self.taken + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(SLOTS_MIN));
        }
        self.put(u64::from(hash as u32) << 32 | (at as u64 + 1));
        self.taken += 1;
    }

    /// Takes a position out.
    pub(super) fn remove(&mut self, hash: u64, at: usize) {
        let Some(mut hole) = self.slot(hash, |found| found == at) else { return };
        let mask = self.slots.len() - 1;
        let mut next = hole;
        // What follows without a gap moves up if its search would otherwise stop at the hole.
        loop {
            next = (next + 1) & mask;
            let slot = self.slots[next];
            if slot == 0 {
                break;
            }
            let from_home = next.wrapping_sub(home(slot, mask)) & mask;
            let from_hole = next.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                self.slots[hole] = slot;
                hole = next;
            }
        }
        self.slots[hole] = 0;
        self.taken -= 1;
        if self.slots.len() > SLOTS_MIN && self.taken * 8 < self.slots.len() {
            self.resize(self.slots.len() / 2);
        }
    }

    /// Puts another position in the place of one.
    pub(super) fn replace(&mut self, hash: u64, at: usize, with: usize) {
        if let Some(slot) = self.slot(hash, |found| found == at) {
            self.slots[slot] = self.slots[slot] >> 32 << 32 | (with as u64 + 1);
        }
    }

    /// Has the memory fetched where the search for this hash begins.
    pub(super) fn prefetch(&self, hash: u64) {
        if let Some(slot) = self.slots.get(hash as u32 as usize & self.slots.len().wrapping_sub(1)) {
            prefetch(slot);
        }
    }

    /// The first position that may be of this hash: it is, but for one in millions.
    pub(super) fn guess(&self, hash: u64) -> Option<usize> {
        self.find(hash, |_| true)
    }

    fn slot(&self, hash: u64, mut is_it: impl FnMut(usize) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let tag = hash as u32;
        let mut slot = tag as usize & mask;
        // Ends, for a quarter of the slots are empty.
        loop {
            let found = self.slots[slot];
            if found == 0 {
                return None;
            }
            if (found >> 32) as u32 == tag && is_it(position(found)) {
                return Some(slot);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn put(&mut self, entry: Slot) {
        let mask = self.slots.len() - 1;
        let mut slot = home(entry, mask);
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = entry;
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![0; slots]);
        old.into_iter().filter(|&entry| entry != 0).for_each(|entry| self.put(entry));
    }
}

fn position(slot: Slot) -> usize {
    (slot as u32).wrapping_sub(1) as usize
}

fn home(slot: Slot, mask: usize) -> usize {
    (slot >> 32) as usize & mask
}

/// Has the cache line of a value fetched; nothing waits for it.
pub(super) fn prefetch<T>(value: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which does nothing when the address is not mapped.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(value.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use fastrand::Rng;

    use super::*;

    /// Few different hashes, so that runs are long and the same hash comes often.
    fn behaves_like_a_map(hashes: u64, steps: usize) {
        let mut rng = Rng::with_seed(5);
        let mut index = Index::default();
        let mut model: HashMap<usize, u64> = HashMap::new();
        for step in 0..steps {
            let at = rng.usize(..600);
            let grow = if step / 2000 % 2 == 0 { 0.8 } else { 0.2 };
            let hash = rng.u64(..hashes).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            match model.get(&at).copied() {
                None if rng.f64() < grow => {
                    index.insert(hash, at);
                    model.insert(at, hash);
                }
                Some(hash) if rng.f64() > grow => {
                    index.remove(hash, at);
                    model.remove(&at);
                }
                Some(hash) => {
                    let with = 1000 + at;
                    index.replace(hash, at, with);
                    assert_eq!(index.find(hash, |found| found == at), None);
                    index.replace(hash, with, at);
                }
                None => index.remove(hash, at),
            }
            assert_eq!(index.taken, model.len());
            if step % 100 == 0 {
                for (&at, &hash) in &model {
                    assert_eq!(index.find(hash, |found| found == at), Some(at));
                    assert!(index.guess(hash).is_some());
                }
                index.prefetch(hash);
            }
        }
        let slots = index.slots.len();
        for (at, hash) in model {
            index.remove(hash, at);
        }
        assert!(index.slots.iter().all(|&slot| slot == 0) && index.slots.len() <= slots.min(SLOTS_MIN));
    }

    #[test]
    fn it_behaves_like_a_map() {
        behaves_like_a_map(u64::MAX, 20_000);
    }

    #[test]
    fn it_survives_equal_hashes_and_long_runs() {
        behaves_like_a_map(40, 20_000);
        behaves_like_a_map(1, 5000);
    }
}
