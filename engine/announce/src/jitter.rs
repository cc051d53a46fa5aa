//! Small random numbers for spreading announces: nothing secret depends on them.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A SplitMix64 generator.
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    /// Starts at a random state, or at `seed` so that a test repeats itself.
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self(seed.unwrap_or_else(|| RandomState::new().hash_one(0u8)))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A duration from zero up to and including `most`.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.next() % millis.saturating_add(1).max(1))
    }

    /// `first * 2^doublings`, at most `last`, then up to a quarter shorter.
    pub(super) fn backoff(&mut self, first: Duration, last: Duration, doublings: u32) -> Duration {
        let full = first.saturating_mul(1 << doublings.min(20)).min(last);
        full - self.up_to(full / 4)
    }

    /// Puts a slice in random order (Fisher-Yates).
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for n in (1..items.len()).rev() {
            items.swap(n, (self.next() % (n as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_within_its_bounds() {
        let mut jitter = Jitter::new(Some(1));
        let (first, last) = (Duration::from_secs(10), Duration::from_secs(100));
        for doublings in 0..40 {
            let full = Duration::from_secs(10 * (1u64 << doublings.min(10))).min(last);
            let chosen = jitter.backoff(first, last, doublings);
            assert!(chosen <= full && chosen >= full * 3 / 4, "{doublings}: {chosen:?}");
        }
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        Jitter::new(Some(3)).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
