//! Which parts of pieces are known to be in memory, and for how long that is believed.

use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Longest time that pages once seen in memory are believed to stay there, in milliseconds. A check costs
/// some 10 us per MiB, so this costs a hot 100 GiB about 3 % of one core, spread over all.
const BELIEF_MS: u32 = 30_000;
/// Bytes that all stores of the process read from disk after which pages seen before that are looked at again:
/// what is read takes the place of something. A container can be that small; looking costs little beside reading.
const BELIEF_BYTES: u64 = 64 << 20;
/// Bytes that make the clock go as far as a millisecond does.
const BYTES_PER_MS: u64 = BELIEF_BYTES / BELIEF_MS as u64;

/// Whether bytes can be sent without waiting for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residency {
    /// In memory now, or a moment ago.
    Resident,
    /// Not in memory, or not known: bring it in first.
    Cold,
}

/// The time by which residency is believed. It goes with the clock, and faster the more is read from disk or
/// has to be waited for, since pages are evicted behind our back then.
#[derive(Debug, Default)]
pub struct ResidencyClock {
    /// Milliseconds that it is ahead of the clock. Wraps.
    ahead_ms: AtomicU32,
    /// Bytes read that do not make a millisecond yet, and those of races: may be any number.
    bytes: AtomicU64,
}

impl ResidencyClock {
    /// To be told some times a second, by each shard, how many major faults its thread had since the last
    /// call (`getrusage`, `ru_majflt`): each was a stall of that core, so nothing is believed any more.
    pub fn major_faults(&self, faults: u64) {
        if faults > 0 {
            self.ahead_ms.fetch_add(BELIEF_MS, Ordering::Relaxed);
        }
    }

    /// Bytes were read from disk.
    pub(super) fn read(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let ms = before.wrapping_add(bytes) / BYTES_PER_MS - before / BYTES_PER_MS;
        if ms > 0 {
            self.ahead_ms.fetch_add(ms.min(BELIEF_MS.into()) as u32, Ordering::Relaxed);
        }
    }

    /// The time, never 0. Wraps: what was seen a whole turn ago and never since may be believed wrongly, once
    /// in a hundred thousand times.
    pub(super) fn now(&self) -> u32 {
        now_ms().wrapping_add(self.ahead_ms.load(Ordering::Relaxed)).max(1)
    }
}

/// Milliseconds of the coarse monotonic clock, shifted so that 0 never occurs. Wraps after 49 days.
pub(super) fn now_ms() -> u32 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let ms = (now.tv_sec as u64).wrapping_mul(1000).wrapping_add(now.tv_nsec as u64 / 1_000_000);
    (ms as u32).max(1)
}

/// Bytes of a chunk: what is brought in at once, and the unit in which residency is remembered. Pieces are cut
/// into chunks from their beginning. Disks are fast enough at this size; larger ones would only be evicted before
/// a slow peer has got to their end.
pub(super) const CHUNK_BYTES: u32 = 1 << 20;

/// When each chunk was last seen in memory; 0 is never. Shared by all shards without locks; takes no memory before
/// the first chunk is seen.
#[derive(Debug)]
pub(super) struct SeenChunks {
    seen: OnceLock<Box<[AtomicU32]>>,
    pieces: u32,
    chunks_per_piece: u32,
}

impl SeenChunks {
    pub(super) fn new(pieces: u32, piece_length: u32) -> SeenChunks {
        let chunks_per_piece = piece_length.div_ceil(CHUNK_BYTES).max(1);
        SeenChunks { seen: OnceLock::new(), pieces, chunks_per_piece }
    }

    fn of(&self, piece: u32, begin: u32) -> Option<&AtomicU32> {
        let chunk = u64::from(piece) * u64::from(self.chunks_per_piece) + u64::from(begin / CHUNK_BYTES);
        self.seen.get()?.get(usize::try_from(chunk).ok()?)
    }

    /// Whether the chunk of this byte of a piece was seen not long before `now`.
    pub(super) fn is_believed(&self, piece: u32, begin: u32, now: u32) -> bool {
        let Some(seen) = self.of(piece, begin) else { return false };
        let seen = seen.load(Ordering::Relaxed);
        seen != 0 && now.wrapping_sub(seen) < BELIEF_MS
    }

    pub(super) fn saw(&self, piece: u32, begin: u32, now: u32) {
        let count = u64::from(self.pieces) * u64::from(self.chunks_per_piece);
        self.seen.get_or_init(|| (0..count).map(|_| AtomicU32::new(0)).collect());
        if let Some(seen) = self.of(piece, begin) {
            seen.store(now, Ordering::Relaxed);
        }
    }

    /// Forgets all chunks of a piece.
    pub(super) fn forget(&self, piece: u32) {
        let begins = (0..self.chunks_per_piece).map(|chunk| chunk * CHUNK_BYTES);
        for seen in begins.filter_map(|begin| self.of(piece, begin)) {
            seen.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn forget_all(&self) {
        for seen in self.seen.get().into_iter().flatten() {
            seen.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_believed_until_enough_is_read_or_a_fault_waited() {
        let (clock, seen) = (ResidencyClock::default(), SeenChunks::new(3, 1 << 20));
        let look = || seen.is_believed(1, 77_000, clock.now());
        assert!(!look());
        seen.saw(1, 0, clock.now());
        assert!(look() && !seen.is_believed(0, 0, clock.now()) && !seen.is_believed(2, 0, clock.now()));
        // In parts smaller than what makes a millisecond, too. The test takes less than 15 s.
        (0..32 * 1024).for_each(|_| clock.read(1024));
        assert!(look());
        clock.read(BELIEF_BYTES);
        assert!(!look());
        seen.saw(1, 0, clock.now());
        clock.major_faults(0);
        assert!(look());
        clock.major_faults(1);
        assert!(!look());
    }

    #[test]
    fn chunks_of_large_pieces_are_remembered_apart() {
        let seen = SeenChunks::new(2, 4 << 20);
        let last = (4 << 20) - 1;
        seen.saw(0, last, 5);
        assert!(seen.is_believed(0, 3 << 20, 6) && !seen.is_believed(0, (3 << 20) - 1, 6));
        assert!(!seen.is_believed(1, 0, 6) && !seen.is_believed(9, 0, 6));
        seen.forget(1);
        assert!(seen.is_believed(0, last, 6));
        seen.forget(0);
        assert!(!seen.is_believed(0, last, 6));
        // A piece smaller than a chunk, and a last piece that is shorter than the others.
        let small = SeenChunks::new(2, 16 << 10);
        small.saw(1, 0, 5);
        assert!(small.is_believed(1, 16_383, 6) && !small.is_believed(0, 0, 6));
    }
}
