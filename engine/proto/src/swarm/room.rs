//! Room for open pieces: in the memory that swarms share, and among those that one swarm may have open.

use std::time::Duration;

use super::limits::{
    CROWDED_PATIENCE, MEMORY_PATIENCE, MEMORY_RETRY, PACE_KNOWN_AFTER, PIECE_OPEN_FIRST, PIECE_OPEN_MAX,
    PIECE_STALE_AFTER, SLOW_GIVEN_UP_MAX,
};
use super::machine::{Role, Swarm};
use super::open_piece::{OpenPiece, PiecePhase};
use super::picker::{Picker, PieceState};
use crate::units::{BLOCK_LEN, PieceIndex, Time};

impl Picker {
    /// Bytes of a piece.
    pub(super) fn piece_bytes(&self, piece: u32) -> u64 {
        self.info.layout.piece_len(PieceIndex(piece)).into()
    }

    /// Takes memory for a piece that is about to be opened; parked ones give theirs up for it.
    pub(super) fn take_memory(&mut self, now: Time, piece: u32) -> bool {
        let bytes = self.piece_bytes(piece);
        if self.filling + self.parked >= self.open_max {
            self.drop_parked(1);
        }
        while !self.memory.take(now, bytes) {
            if self.drop_parked(1) == 0 {
                return false;
            }
        }
        true
    }

    pub(super) fn give_memory(&mut self, piece: u32) {
        self.memory.give(self.piece_bytes(piece));
    }

    fn open_piece(&mut self, piece: u32) -> Option<&mut OpenPiece> {
        let Some(&PieceState::Open(slot)) = self.states.get(piece as usize) else { return None };
        self.open[slot as usize].as_mut()
    }

    /// Keeps what is there of a filling piece that is not wanted any more, as long as there is room. Requests for it
    /// must have been forgotten by the caller.
    pub(super) fn park(&mut self, piece: PieceIndex) {
        let Some(open) = self.open_piece(piece.0).filter(|open| open.phase == PiecePhase::Filling) else {
            return;
        };
        let (empty, exclusive) = (open.done == 0, open.exclusive.is_some());
        if empty {
            return self.abort(piece);
        }
        open.park();
        self.filling -= 1;
        self.parked += 1;
        self.exclusives -= usize::from(exclusive);
        self.generation += 1;
    }

    /// A parked piece is wanted again.
    pub(super) fn unpark(&mut self, now: Time, piece: PieceIndex) {
        let Some(open) = self.open_piece(piece.0).filter(|open| open.phase == PiecePhase::Parked) else {
            return;
        };
        open.phase = PiecePhase::Filling;
        (open.opened, open.advanced) = (now, now);
        self.parked -= 1;
        self.filling += 1;
        self.generation += 1;
    }

    /// Gives up parked pieces, at most `count`, those first that have been parked longest; returns how many.
    pub(super) fn drop_parked(&mut self, count: usize) -> usize {
        let mut dropped = 0;
        while dropped < count && self.parked > 0 {
            let parked = self.open.iter().flatten().filter(|open| open.phase == PiecePhase::Parked);
            let Some(piece) = parked.min_by_key(|open| open.advanced).map(|open| open.piece) else { break };
            self.abort(PieceIndex(piece));
            dropped += 1;
        }
        dropped
    }

    /// Longest time that a piece may still need while its room is wanted. `others_wait`: another swarm wants it.
    fn open_time_max(&self, others_wait: bool) -> Duration {
        let max = PIECE_OPEN_FIRST * (1 << self.slow_given_up.min(SLOW_GIVEN_UP_MAX));
        // Among themselves the slow ones would take turns for ever, and none would be finished.
        if others_wait { max.min(PIECE_OPEN_MAX) } else { max }
    }

    /// A piece was finished that took `time`: others may again take as long, but no longer.
    pub(super) fn forget_slow_given_up(&mut self, time: Duration) {
        let needed = (0..SLOW_GIVEN_UP_MAX).find(|&n| PIECE_OPEN_FIRST * (1 << n) >= time);
        self.slow_given_up = self.slow_given_up.min(needed.unwrap_or(SLOW_GIVEN_UP_MAX));
    }

    /// The filling piece to give up when its room is wanted, and why: one that does not advance; when room has been wanted
    /// for long, of those that need too long the one that needs longest. When another swarm has waited long, one too many.
    fn victim(&self, now: Time) -> Option<(&OpenPiece, Why)> {
        let wanted_since = self.memory.wanted_since();
        if !self.crowded && wanted_since.is_none() {
            return None;
        }
        let filling = || self.open.iter().flatten().filter(|open| open.phase == PiecePhase::Filling);
        let stale = filling().filter(|open| open.advanced + PIECE_STALE_AFTER <= now);
        if let Some(stale) = stale.min_by_key(|open| open.advanced) {
            return Some((stale, Why::Other));
        }
        let long = |since: Option<Time>, patience| since.is_some_and(|since| since + patience <= now);
        let others_wait = long(wanted_since, MEMORY_PATIENCE);
        if others_wait || long(self.crowded_since, CROWDED_PATIENCE) {
            let max = self.open_time_max(others_wait);
            let slow =
                filling().filter(|open| open.opened + PACE_KNOWN_AFTER <= now && open.time_left(now) > max);
            if let Some(slow) = slow.max_by_key(|open| open.time_left(now)) {
                return Some((slow, Why::Slow));
            }
        }
        let surplus = others_wait && self.filling > 1 && self.memory.is_over_fair();
        let surplus = filling().filter(|_| surplus).min_by_key(|open| open.done);
        surplus.map(|open| (open, Why::Other))
    }
}

/// Why a piece is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Slow,
    Other,
}

impl Swarm {
    /// At each tick: gives up an open piece whose room is wanted.
    pub(super) fn make_piece_room(&mut self, now: Time) {
        let Role::Leeching(picker) = &mut self.role else { return };
        picker.memory.tick();
        if picker.memory.wanted_since().is_some() {
            picker.drop_parked(usize::MAX);
        }
        picker.crowded_since = picker.crowded.then(|| picker.crowded_since.unwrap_or(now));
        // A download that we hold back is slow for no fault of its peers.
        if self.request_budget.is_some() {
            picker.crowded_since = None;
        }
        let victim = picker.victim(now).map(|(open, why)| (PieceIndex(open.piece), open.done, why));
        picker.crowded = false;
        let Some((piece, done, why)) = victim else { return };
        if why == Why::Slow {
            picker.slow_given_up += 1;
            picker.crowded_since = None;
        }
        self.totals.wasted += u64::from(done) * u64::from(BLOCK_LEN);
        self.forget_piece(piece);
        let Role::Leeching(picker) = &mut self.role else { return };
        picker.abort(piece);
    }

    pub(super) fn waits_for_memory(&self) -> bool {
        matches!(&self.role, Role::Leeching(picker) if picker.memory.is_waiting())
    }

    /// Tries again to begin a piece, when the swarm waits for memory and it is time to.
    pub(super) fn retry_memory(&mut self, now: Time) {
        let Role::Leeching(picker) = &mut self.role else { return };
        if picker.memory.is_waiting() && self.memory_retry <= now {
            self.memory_retry = now + MEMORY_RETRY;
            picker.generation += 1;
            self.pump_starved(now);
        }
    }

    /// Whether open pieces hold memory although no peer is connected.
    pub(super) fn holds_memory(&self) -> bool {
        matches!(&self.role, Role::Leeching(picker) if picker.memory.bytes() > 0)
    }

    /// Pieces that have blocks in the sink, or may have: those for which neither `PieceReady` nor a discard was given.
    #[must_use]
    pub fn open_in_sink(&self) -> Vec<PieceIndex> {
        let Role::Leeching(picker) = &self.role else { return Vec::new() };
        let open = picker.open.iter().flatten().filter(|open| open.phase != PiecePhase::Hashing);
        open.map(|open| PieceIndex(open.piece)).chain(picker.dropped.iter().copied()).collect()
    }
}
