//! Which pieces are known to be in memory, and for how long that is believed.

use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Longest time that a piece once seen in memory is believed to stay there, in milliseconds. A check costs
/// some 10 us per MiB, so this costs a hot 100 GiB about 3 % of one core, spread over all.
const BELIEF_MS_MAX: u32 = 30_000;
/// Shortest, under memory pressure.
const BELIEF_MS_MIN: u32 = 250;

/// Whether a piece can be sent without waiting for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residency {
    /// In memory now, or a moment ago.
    Resident,
    /// Not in memory, or not known: bring it in first.
    Cold,
}

/// How long residency is believed. Memory pressure evicts pages behind our back; page faults that had to read
/// tell that it happens, and shorten the belief.
#[derive(Debug)]
pub struct ResidencyClock {
    belief_ms: AtomicU32,
}

impl ResidencyClock {
    pub(super) fn new() -> ResidencyClock {
        ResidencyClock { belief_ms: AtomicU32::new(BELIEF_MS_MAX) }
    }

    /// To be told about once a second, by each shard, how many major faults its thread had since the last
    /// call (`getrusage`, `ru_majflt`): each was a stall of that core.
    pub fn major_faults(&self, faults: u64) {
        let now = self.belief_ms.load(Ordering::Relaxed);
        // Halved by stalls, slowly restored by their absence. Racing shards lose a step at most.
        let next = if faults > 0 { now / 2 } else { now.saturating_add(now / 8) };
        self.belief_ms.store(next.clamp(BELIEF_MS_MIN, BELIEF_MS_MAX), Ordering::Relaxed);
    }

    pub(super) fn belief_ms(&self) -> u32 {
        self.belief_ms.load(Ordering::Relaxed)
    }
}

/// Milliseconds of the coarse monotonic clock, shifted so that 0 never occurs. Wraps after 24 days.
pub(super) fn now_ms() -> u32 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let ms = (now.tv_sec as u64).wrapping_mul(1000).wrapping_add(now.tv_nsec as u64 / 1_000_000);
    // The low half: halving the range for a set bit would halve the wrap time, so only 0 is moved.
    (ms as u32).max(1)
}

/// When each piece was last seen in memory; 0 is never. Shared by all shards without locks; takes no memory before
/// the first piece is seen.
#[derive(Debug)]
pub(super) struct SeenPieces {
    pieces: u32,
    seen: OnceLock<Box<[AtomicU32]>>,
}

impl SeenPieces {
    pub(super) fn new(pieces: u32) -> SeenPieces {
        SeenPieces { pieces, seen: OnceLock::new() }
    }

    fn get(&self, piece: u32) -> Option<&AtomicU32> {
        self.seen.get()?.get(piece as usize)
    }

    /// Whether the piece was seen within the last `belief_ms`.
    pub(super) fn is_believed(&self, piece: u32, belief_ms: u32) -> bool {
        let Some(seen) = self.get(piece) else { return false };
        let seen = seen.load(Ordering::Relaxed);
        seen != 0 && now_ms().wrapping_sub(seen) < belief_ms
    }

    pub(super) fn saw(&self, piece: u32) {
        let all = self.seen.get_or_init(|| (0..self.pieces).map(|_| AtomicU32::new(0)).collect());
        if let Some(seen) = all.get(piece as usize) {
            seen.store(now_ms(), Ordering::Relaxed);
        }
    }

    pub(super) fn forget(&self, piece: u32) {
        if let Some(seen) = self.get(piece) {
            seen.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn forget_all(&self) {
        for seen in self.seen.get().into_iter().flatten() {
            seen.store(0, Ordering::Relaxed);
        }
    }
}
