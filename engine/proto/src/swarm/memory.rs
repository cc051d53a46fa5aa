//! One budget of memory for the pieces that all swarms of an engine hold: being assembled, hashed or written.
//!
//! Atomics only: no swarm waits for another. A swarm that holds nothing and finds no room stands in line by the time since
//! which it waits. While anybody stands in line, swarms that hold a piece take no other, so the next room goes to the one
//! that has waited longest. A quarter is out of reach of swarms that hold more than their part, so that one that
//! finishes its piece finds room for the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::units::Time;

/// Nobody stands in line.
const NOBODY: u64 = u64::MAX;
/// A share of the budget, one part of so many, is for buffers that are kept for reuse.
const SPARE_SHARE: u64 = 8;

/// Beside the budget, a part of it, one of so many, is for what peers have begun to say and for what waits to be said to
/// them; and at least so many bytes.
const CONTROL_SHARE: u64 = 4;
/// See [`CONTROL_SHARE`]: a few of the largest bitfields.
const CONTROL_MIN: u64 = 4 << 20;

/// A part of what is for pieces, one of so many, that swarms above their part leave to others.
const RESERVE_SHARE: u64 = 4;

/// The budget. See the module.
#[derive(Debug)]
pub struct PieceMemory {
    pieces: AtomicU64,
    pieces_max: u64,
    spare: AtomicU64,
    spare_max: u64,
    /// Bytes of messages that wait, by the last look of each swarm.
    control: AtomicU64,
    control_max: u64,
    /// Since when the swarm waits that has waited longest, in microseconds; [`NOBODY`] when none does.
    line: AtomicU64,
    waiting: AtomicUsize,
    /// Swarms that hold a piece.
    holders: AtomicUsize,
}

impl PieceMemory {
    /// A budget of `max` bytes, an eighth of it for buffers kept for reuse. A piece larger than what is for pieces
    /// is let in alone.
    #[must_use]
    pub fn new(max: u64) -> Arc<PieceMemory> {
        let spare_max = max / SPARE_SHARE;
        Arc::new(PieceMemory {
            pieces: AtomicU64::new(0),
            pieces_max: max - spare_max,
            spare: AtomicU64::new(0),
            spare_max,
            control: AtomicU64::new(0),
            control_max: (max / CONTROL_SHARE).max(CONTROL_MIN),
            line: AtomicU64::new(NOBODY),
            waiting: AtomicUsize::new(0),
            holders: AtomicUsize::new(0),
        })
    }

    /// The whole budget, in bytes.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.pieces_max + self.spare_max
    }

    /// Bytes of pieces that are being assembled, hashed or written.
    #[must_use]
    pub fn piece_bytes(&self) -> u64 {
        self.pieces.load(Relaxed)
    }

    /// Bytes of buffers kept for reuse.
    #[must_use]
    pub fn spare_bytes(&self) -> u64 {
        self.spare.load(Relaxed)
    }

    /// Bytes of messages that peers have not said to the end, and of those that wait to be sent to them.
    #[must_use]
    pub fn control_bytes(&self) -> u64 {
        self.control.load(Relaxed)
    }

    /// Swarms that hold nothing and wait for room.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Takes room for a buffer that is kept for reuse; false when there is none.
    #[must_use]
    pub fn take_spare(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.spare_max);
        self.spare.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// A buffer that was kept is used again, or freed.
    pub fn give_spare(&self, bytes: u64) {
        let before = self.spare.fetch_sub(bytes, Relaxed);
        debug_assert!(before >= bytes, "more spare memory was given back than taken");
    }

    /// Since when the swarm waits that has waited longest.
    pub(super) fn waiting_since(&self) -> Option<Time> {
        Some(self.line.load(Relaxed)).filter(|&since| since != NOBODY).map(Time)
    }

    /// What each of the swarms may hold when all want something.
    fn fair_share(&self) -> u64 {
        let swarms = self.holders.load(Relaxed) + self.waiting.load(Relaxed);
        self.pieces_max / (swarms.max(1) as u64)
    }
}

/// Bytes of waiting messages of one swarm; given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct ControlShare {
    /// `None` is no limit.
    memory: Option<Arc<PieceMemory>>,
    bytes: u64,
}

impl ControlShare {
    pub(super) fn of(memory: Option<Arc<PieceMemory>>) -> ControlShare {
        ControlShare { memory, bytes: 0 }
    }

    /// The swarm holds so many bytes now.
    pub(super) fn set(&mut self, bytes: u64) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if let Some(memory) = &self.memory {
            memory.control.fetch_add(bytes, Relaxed);
            memory.control.fetch_sub(before, Relaxed);
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all swarms together hold too much.
    pub(super) fn is_over(&self) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.control_bytes() > memory.control_max)
    }
}

impl Drop for ControlShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What one swarm holds of the budget; given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct MemoryShare {
    /// `None` is no limit.
    memory: Option<Arc<PieceMemory>>,
    bytes: u64,
    /// Since when it stands in line.
    since: Option<Time>,
    /// Whether it was refused something since the last [`MemoryShare::tick`].
    refused: bool,
}

impl MemoryShare {
    pub(super) fn of(memory: Option<Arc<PieceMemory>>) -> MemoryShare {
        MemoryShare { memory, ..MemoryShare::default() }
    }

    /// Bytes of pieces that the swarm holds.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the swarm can begin no piece at all for want of memory.
    pub(super) fn is_waiting(&self) -> bool {
        self.since.is_some()
    }

    /// Whether it holds more than its part of the budget.
    pub(super) fn is_over_fair(&self) -> bool {
        self.memory.as_ref().is_some_and(|memory| self.bytes > memory.fair_share())
    }

    /// Since when another swarm waits for what this one holds.
    pub(super) fn wanted_since(&self) -> Option<Time> {
        if self.bytes == 0 { None } else { self.memory.as_ref()?.waiting_since() }
    }

    /// Takes room for a piece; false when there is none, or it is the turn of others.
    pub(super) fn take(&mut self, now: Time, bytes: u64) -> bool {
        let Some(memory) = self.memory.clone() else {
            self.bytes += bytes;
            return true;
        };
        let since = self.since.unwrap_or(now);
        let line = memory.line.load(Relaxed);
        let first = if self.bytes > 0 { line == NOBODY } else { line >= since.0 };
        let surplus = self.bytes > 0 && self.bytes + bytes > memory.fair_share();
        let reserve = if surplus { memory.pieces_max / RESERVE_SHARE } else { 0 };
        let fits = |used: u64| {
            let sum = used.checked_add(bytes)?;
            (sum <= memory.pieces_max - reserve || used == 0).then_some(sum)
        };
        if first && memory.pieces.fetch_update(Relaxed, Relaxed, fits).is_ok() {
            self.leave_line();
            if self.bytes == 0 {
                memory.holders.fetch_add(1, Relaxed);
            }
            self.bytes += bytes;
            return true;
        }
        self.refused = true;
        if self.bytes == 0 {
            if self.since.is_none() {
                self.since = Some(since);
                memory.waiting.fetch_add(1, Relaxed);
            }
            memory.line.fetch_min(since.0, Relaxed);
        }
        false
    }

    /// A piece is on disk or was given up.
    pub(super) fn give(&mut self, bytes: u64) {
        debug_assert!(self.bytes >= bytes, "more was given back than taken");
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(memory) = &self.memory {
            memory.pieces.fetch_sub(bytes, Relaxed);
            if self.bytes == 0 {
                memory.holders.fetch_sub(1, Relaxed);
            }
        }
    }

    /// To be called about once a second: a swarm that was refused nothing since has no use for a place in line.
    pub(super) fn tick(&mut self) {
        if !std::mem::take(&mut self.refused) {
            self.leave_line();
        }
    }

    /// Others need not wait for this swarm.
    pub(super) fn leave_line(&mut self) {
        let Some(since) = self.since.take() else { return };
        if let Some(memory) = &self.memory {
            memory.waiting.fetch_sub(1, Relaxed);
            // The others enter themselves again with their next attempt.
            let _ = memory.line.compare_exchange(since.0, NOBODY, Relaxed, Relaxed);
        }
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.leave_line();
        if self.bytes > 0 {
            self.give(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(memory: &Arc<PieceMemory>, count: usize) -> Vec<MemoryShare> {
        (0..count).map(|_| MemoryShare::of(Some(Arc::clone(memory)))).collect()
    }

    #[test]
    fn the_next_room_goes_to_the_one_that_has_waited_longest() {
        let memory = PieceMemory::new(800);
        let mut swarms = shares(&memory, 4);
        assert!((0..7).all(|n| swarms[0].take(Time(n), 100)));
        assert!(!swarms[1].take(Time(10), 100) && !swarms[2].take(Time(11), 100));
        assert_eq!((memory.waiting(), memory.waiting_since()), (2, Some(Time(10))));
        swarms[0].give(100);
        // Neither the one that has some nor the one that came later is first.
        assert!(!swarms[0].take(Time(12), 100) && !swarms[2].take(Time(13), 100));
        assert!(!swarms[3].take(Time(14), 100));
        assert!(swarms[1].take(Time(15), 100));
        swarms[0].give(100);
        assert!(!swarms[2].is_over_fair() && swarms[0].is_over_fair());
        assert!(swarms[2].take(Time(16), 100) && !swarms[2].is_waiting());
        swarms[0].give(100);
        assert!(swarms[3].take(Time(17), 100));
        assert_eq!((memory.waiting(), memory.waiting_since()), (0, None));
        swarms[0].give(100);
        assert!(!swarms[0].take(Time(18), 100), "it holds more than its part");
        swarms[0].give(200);
        assert!(swarms[0].take(Time(19), 100), "nobody waits, and there is more than the reserve");
        assert_eq!(memory.piece_bytes(), 500);
        drop(swarms);
        assert_eq!((memory.piece_bytes(), memory.holders.load(Relaxed)), (0, 0));
    }

    #[test]
    fn who_goes_away_or_wants_nothing_any_more_holds_nobody_up() {
        let memory = PieceMemory::new(80);
        let mut swarms = shares(&memory, 3);
        assert!(swarms[0].take(Time(1), 70));
        assert!(!swarms[1].take(Time(2), 10) && !swarms[2].take(Time(3), 10));
        swarms[1].tick();
        assert!(swarms[1].is_waiting(), "it tried since the last tick");
        swarms[1].tick();
        assert!(!swarms[1].is_waiting());
        swarms[0].give(70);
        assert!(swarms[2].take(Time(4), 10));
        assert!(!swarms[1].take(Time(5), 70));
        swarms.remove(1);
        assert!(swarms[1].take(Time(6), 10), "the one that waited is gone");
    }

    #[test]
    fn a_piece_larger_than_the_budget_is_let_in_alone() {
        let memory = PieceMemory::new(80);
        let mut swarms = shares(&memory, 2);
        assert!(swarms[0].take(Time(1), 1000) && !swarms[1].take(Time(2), 1));
        swarms[0].give(1000);
        assert!(swarms[1].take(Time(3), 1) && !swarms[0].take(Time(4), 1000));
        assert!(memory.take_spare(10) && !memory.take_spare(1));
        memory.give_spare(10);
        assert_eq!(memory.spare_bytes(), 0);
    }
}
