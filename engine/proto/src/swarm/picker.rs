//! Chooses the blocks to request: pieces that are partly there first, then the rarest piece, then, in
//! endgame, what others owe.

use std::collections::HashSet;
use std::sync::Arc;

use smallvec::SmallVec;

use super::PeerKey;
use super::config::Priority;
use super::limits::{
    ENDGAME_COPIES_MAX, ENDGAME_REQUESTS_MAX, LATE_COPIES_MAX, OPEN_PIECES_MIN, SILENT_PATIENCE,
    SLOW_PEER_RATE, STEAL_AFTER,
};
use super::memory::{MemoryShare, PieceMemory};
use super::open_piece::{BlockState, OpenBlock, OpenPiece, PiecePhase, Sender};
use super::peer::Refused;
use super::rarest::Rarest;
use super::rng::Rng;
use crate::bitfield::Bitfield;
use crate::metainfo::Info;
use crate::units::{BLOCK_LEN, Block, PieceIndex, Time};

/// How far a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceState {
    /// Not begun.
    Idle,
    /// At this place in `open`.
    Open(u32),
    /// Hashed and being written by the caller.
    Verified,
    /// On disk.
    Stored,
}

/// The peer for which blocks are chosen.
pub(super) struct Asker<'a> {
    pub(super) key: PeerKey,
    pub(super) has: &'a Bitfield,
    /// Only pieces that nobody else delivers to.
    pub(super) suspect: bool,
    /// When it chokes us: the pieces it lets us request nevertheless.
    pub(super) only: Option<&'a [PieceIndex]>,
    /// Pieces it would like to send.
    pub(super) suggested: &'a [PieceIndex],
    /// Pieces it has sent wrong.
    pub(super) refused: &'a [Refused],
    pub(super) now: Time,
    /// Bytes per second that it delivers when it is asked for as much as it can; 0 when that is unknown.
    pub(super) rate: u64,
    /// It was asked and does not deliver.
    pub(super) silent: bool,
}

impl Asker<'_> {
    fn may(&self, piece: u32) -> bool {
        self.has.get(piece)
            && self.only.is_none_or(|only| only.contains(&PieceIndex(piece)))
            && !self.refused.iter().any(|refused| refused.piece.0 == piece && refused.until > self.now)
    }
}

/// What a finished block means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Finished {
    /// Other peers owe the block too: cancel it.
    pub(super) owed_by_others: bool,
    /// All blocks of the piece are there.
    pub(super) piece_done: bool,
}

/// All that is known about the pieces we lack.
#[derive(Debug)]
pub(super) struct Picker {
    pub(super) info: Arc<Info>,
    rarest: Rarest,
    /// Peers that have everything and are not counted in `rarest`.
    pub(super) seeds: u32,
    pub(super) states: Vec<PieceState>,
    pub(super) open: Vec<Option<OpenPiece>>,
    /// Places of `open` that are empty.
    vacant: Vec<u32>,
    /// Places of `open` that have a free block.
    with_free: Vec<u32>,
    /// Open pieces in the phase `Filling`, and in the phase `Parked`.
    pub(super) filling: usize,
    pub(super) parked: usize,
    pub(super) exclusives: usize,
    pub(super) open_max: usize,
    /// Memory of the pieces that are open, or verified and not stored yet.
    pub(super) memory: MemoryShare,
    /// A piece could not be begun since too many are open, or there is no memory.
    pub(super) crowded: bool,
    /// Since when that is so at each tick.
    pub(super) crowded_since: Option<Time>,
    /// Pieces that were given up because they came too slowly, less what a piece that was finished shows to be too many.
    pub(super) slow_given_up: u32,
    /// Nothing is left that the last asker could begin.
    exhausted: bool,
    /// Pieces whose blocks the caller is to forget.
    pub(super) dropped: Vec<PieceIndex>,
    pub(super) sequential: bool,
    cursor: u32,
    /// Pieces that failed their hash with several contributors: the next attempt is left to one peer.
    failed: HashSet<u32>,
    /// Changes whenever something became available to request.
    pub(super) generation: u64,
    spare: Vec<Vec<OpenBlock>>,
}

impl Picker {
    pub(super) fn new(
        info: Arc<Info>,
        have: &Bitfield,
        open_bytes_max: u64,
        memory: Option<Arc<PieceMemory>>,
        sequential: bool,
    ) -> Picker {
        let count = info.layout.piece_count();
        let state = |piece| if have.get(piece) { PieceState::Stored } else { PieceState::Idle };
        let piece_length = u64::from(info.layout.piece_length.max(1));
        let open_max = usize::try_from(open_bytes_max / piece_length).unwrap_or(usize::MAX);
        Picker {
            rarest: Rarest::new(count, |piece| !have.get(piece)),
            seeds: 0,
            states: (0..count).map(state).collect(),
            open: Vec::new(),
            vacant: Vec::new(),
            with_free: Vec::new(),
            filling: 0,
            parked: 0,
            exclusives: 0,
            open_max: open_max.max(OPEN_PIECES_MIN),
            memory: MemoryShare::of(memory),
            crowded: false,
            crowded_since: None,
            slow_given_up: 0,
            exhausted: false,
            dropped: Vec::new(),
            sequential,
            cursor: 0,
            failed: HashSet::new(),
            generation: 1,
            spare: Vec::new(),
            info,
        }
    }

    // ---- what peers have ----

    pub(super) fn gained(&mut self, piece: u32) {
        self.rarest.gained(piece);
    }

    pub(super) fn lost(&mut self, piece: u32) {
        self.rarest.lost(piece);
    }

    /// Copies of a piece among the peers that are not counted as seeds.
    pub(super) fn availability(&self, piece: u32) -> u16 {
        self.rarest.availability(piece)
    }

    /// Copies of the rarest piece among the connected peers.
    pub(super) fn availability_min(&self) -> u32 {
        u32::from(self.rarest.availability_min()) + self.seeds
    }

    /// Whether the piece is still to be downloaded.
    pub(super) fn wants(&self, piece: u32) -> bool {
        self.states.get(piece as usize).is_some_and(|&state| state != PieceState::Stored)
            && self.rarest.priority(piece) != Priority::Skip
    }

    pub(super) fn open_count(&self) -> usize {
        self.open.len() - self.vacant.len()
    }

    // ---- choosing ----

    /// Appends up to `count` blocks to request from `asker` to `out` and counts them as requested.
    pub(super) fn pick(
        &mut self,
        now: Time,
        asker: &Asker<'_>,
        count: usize,
        rng: &mut Rng,
        out: &mut Vec<Block>,
    ) {
        let end = out.len() + count;
        while out.len() < end {
            let slot = match self.partial_for(asker) {
                Some(slot) => slot,
                None => match self.open_new(now, asker, rng) {
                    Some(slot) => slot,
                    None => break,
                },
            };
            let Some(open) = self.open[slot as usize].as_mut() else { break };
            let (layout, piece) = (&self.info.layout, PieceIndex(open.piece));
            let before = out.len();
            open.take_free(now, end - before, |n| out.push(layout.block(piece, n)));
            self.note_free(slot);
            if out.len() == before {
                break;
            }
        }
    }

    /// An open piece with a free block for this peer.
    fn partial_for(&self, asker: &Asker<'_>) -> Option<u32> {
        let mut best: Option<(u32, (bool, Priority, u32))> = None;
        for &slot in &self.with_free {
            let Some(open) = &self.open[slot as usize] else { continue };
            let mine = open.exclusive == Some(asker.key);
            let reserved = open.exclusive.is_some() || asker.suspect;
            if open.phase != PiecePhase::Filling || (reserved && !mine) || !asker.may(open.piece) {
                continue;
            }
            // Its own piece first, then by priority, then what is nearest to its end, or first in order.
            let rank = if self.sequential { u32::MAX - open.piece } else { u32::MAX - open.free };
            let rank = (mine, self.rarest.priority(open.piece), rank);
            if best.is_none_or(|(_, other)| rank > other) {
                best = Some((slot, rank));
            }
        }
        best.map(|(slot, _)| slot)
    }

    fn open_new(&mut self, now: Time, asker: &Asker<'_>, rng: &mut Rng) -> Option<u32> {
        let room =
            if asker.suspect { self.exclusives <= self.open_max / 2 } else { self.filling < self.open_max };
        self.exhausted = self.rarest.is_empty();
        if self.exhausted {
            return None;
        }
        if !room {
            self.crowded = true;
            return None;
        }
        let may = |piece| asker.may(piece);
        let suggested = asker.suggested.iter().map(|piece| piece.0);
        let piece = if self.sequential {
            while self.cursor < self.states.len() as u32 && !self.rarest.contains(self.cursor) {
                self.cursor += 1;
            }
            self.rarest.pick_in_order(self.cursor, may)
        } else {
            let mut suggested = suggested.filter(|&piece| {
                may(piece) && (piece as usize) < self.states.len() && self.rarest.contains(piece)
            });
            suggested.next().or_else(|| self.rarest.pick(rng, may))
        };
        self.exhausted = piece.is_none();
        let piece = piece?;
        if !self.take_memory(now, piece) {
            self.crowded = true;
            return None;
        }
        let exclusive = (asker.suspect || self.failed.contains(&piece)).then_some(asker.key);
        self.rarest.remove(piece);
        let blocks = self.spare.pop().unwrap_or_default();
        let open =
            OpenPiece::new(piece, self.info.layout.block_count(PieceIndex(piece)), blocks, exclusive, now);
        self.filling += 1;
        self.exclusives += usize::from(exclusive.is_some());
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.open[slot as usize] = Some(open);
                slot
            }
            None => {
                self.open.push(Some(open));
                self.open.len() as u32 - 1
            }
        };
        self.states[piece as usize] = PieceState::Open(slot);
        self.with_free.push(slot);
        Some(slot)
    }

    /// When nothing is left to begin: blocks that others owe, for `asker` to deliver too. In endgame any
    /// of them, before that only those that are overdue. `owes` says whether the asker owes a block already.
    pub(super) fn pick_duplicates(
        &mut self,
        now: Time,
        asker: &Asker<'_>,
        rng: &mut Rng,
        owes: impl Fn(&Block) -> bool,
        out: &mut Vec<Block>,
    ) {
        let endgame = self.rarest.is_empty();
        let count = self.open.len();
        let start = rng.below(count);
        let mut left = ENDGAME_REQUESTS_MAX;
        for slot in (start..count).chain(0..start) {
            let Some(open) = self.open[slot].as_mut() else { continue };
            let mine = open.exclusive == Some(asker.key);
            let reserved = open.exclusive.is_some() || asker.suspect;
            if open.phase != PiecePhase::Filling || (reserved && !mine) || !asker.may(open.piece) {
                continue;
            }
            for n in 0..open.blocks.len() {
                let block = &open.blocks[n];
                let overdue = block.asked + STEAL_AFTER <= now;
                let take = match block.state {
                    BlockState::Done => false,
                    BlockState::Missing => endgame || overdue,
                    BlockState::Claimed(_) => overdue,
                };
                // Those who were asked may be silent all together: who delivers is asked too.
                let late = overdue && asker.rate >= SLOW_PEER_RATE;
                let copies_max = if late { LATE_COPIES_MAX } else { ENDGAME_COPIES_MAX };
                if !take || block.requests >= copies_max {
                    continue;
                }
                let wanted = self.info.layout.block(PieceIndex(open.piece), n as u32);
                if owes(&wanted) {
                    continue;
                }
                open.request(n, now);
                out.push(wanted);
                left -= 1;
                if left == 0 {
                    break;
                }
            }
            self.note_free(slot as u32);
            if left == 0 {
                return;
            }
        }
    }

    /// For an asker that nothing was found for: a piece that nobody else brings to its end and that it should fetch
    /// instead. One that is reserved to a peer that is stuck or much slower; for a suspect that has nothing left to
    /// begin, since it may not add to what others have sent, one of which nobody owes anything. Who does not deliver himself
    /// takes a reserved one only when nothing at all comes of it. The piece is empty
    /// afterwards and reserved to `asker`: the caller forgets all requests for it.
    pub(super) fn take_over(&mut self, now: Time, asker: &Asker<'_>) -> Option<PieceIndex> {
        let layout = &self.info.layout;
        let stuck = |open: &OpenPiece| match open.exclusive {
            Some(holder) => {
                let length = layout.piece_len(PieceIndex(open.piece));
                let held_up = match asker.silent {
                    true => open.advanced + SILENT_PATIENCE <= now,
                    false => open.is_held_up(now, length, asker.rate),
                };
                holder != asker.key && held_up
            }
            None => {
                let unowed = open.free + open.done == open.blocks.len() as u32;
                asker.suspect && self.exhausted && open.free > 0 && unowed
            }
        };
        let slot = self.open.iter().position(|open| {
            open.as_ref()
                .is_some_and(|open| open.phase == PiecePhase::Filling && stuck(open) && asker.may(open.piece))
        })?;
        let open = self.open[slot].as_mut()?;
        self.exclusives += usize::from(open.exclusive.is_none());
        open.reset(Some(asker.key), now);
        let piece = PieceIndex(open.piece);
        self.note_free(slot as u32);
        Some(piece)
    }

    // ---- what happens to requested blocks ----

    fn at(&mut self, block: &Block) -> Option<(u32, &mut OpenPiece, usize)> {
        let PieceState::Open(slot) = *self.states.get(block.piece.0 as usize)? else { return None };
        let open = self.open[slot as usize].as_mut()?;
        let n = (block.begin / BLOCK_LEN) as usize;
        (n < open.blocks.len()).then_some((slot, open, n))
    }

    /// A peer does not owe the block any more.
    pub(super) fn release(&mut self, block: &Block) {
        if let Some((slot, open, n)) = self.at(block) {
            open.release(n);
            self.note_free(slot);
        }
    }

    /// `peer` begins to send a block; says whether its bytes are wanted. `counted` says whether the peer is
    /// counted as owing it; afterwards it is when the answer is yes and is not when it is no.
    pub(super) fn begin(
        &mut self,
        now: Time,
        block: &Block,
        peer: PeerKey,
        suspect: bool,
        counted: bool,
        stalled: impl Fn(PeerKey) -> bool,
    ) -> bool {
        let wanted = PieceIndex(block.piece.0);
        let whole = self.info.layout.block(wanted, block.begin / BLOCK_LEN) == *block;
        let Some((slot, open, n)) = self.at(block) else { return false };
        let allowed = open.exclusive.map_or(!suspect, |holder| holder == peer);
        let accepted = whole
            && allowed
            && open.phase == PiecePhase::Filling
            && match open.blocks[n].state {
                BlockState::Done => false,
                BlockState::Missing => true,
                BlockState::Claimed(holder) => holder == peer || stalled(holder),
            };
        if accepted {
            open.blocks[n].state = BlockState::Claimed(peer);
            if !counted {
                open.request(n, now);
            }
        } else if counted {
            open.release(n);
        }
        self.note_free(slot);
        accepted
    }

    /// Whether `peer` is the one whose bytes of this block count.
    #[inline]
    pub(super) fn owns(&mut self, block: &Block, peer: PeerKey) -> bool {
        self.at(block).is_some_and(|(_, open, n)| open.blocks[n].state == BlockState::Claimed(peer))
    }

    /// `peer` will not finish the block that it was sending.
    pub(super) fn abandon(&mut self, block: &Block, peer: PeerKey) {
        if let Some((_, open, n)) = self.at(block)
            && open.blocks[n].state == BlockState::Claimed(peer)
        {
            // A block that nobody owes was free already, and stays free.
            open.blocks[n].state = BlockState::Missing;
        }
    }

    /// `peer`, which owns the block, sent all of it. `counted` as in [`Picker::begin`].
    pub(super) fn finish(&mut self, now: Time, block: &Block, from: Sender, counted: bool) -> Finished {
        let Some((slot, open, n)) = self.at(block) else {
            return Finished { owed_by_others: false, piece_done: false };
        };
        let owed = open.finish(now, n, from);
        let piece_done = open.is_done();
        if piece_done {
            open.phase = PiecePhase::Hashing;
            let exclusive = open.exclusive.is_some();
            self.filling -= 1;
            self.exclusives -= usize::from(exclusive);
            // There is room for another piece.
            self.generation += 1;
        }
        self.note_free(slot);
        Finished { owed_by_others: owed > u8::from(counted), piece_done }
    }

    /// A peer is gone or does not deliver: the pieces reserved to it are anybody's.
    pub(super) fn unreserve(&mut self, peer: PeerKey) {
        if self.exclusives == 0 {
            return;
        }
        for open in self.open.iter_mut().flatten() {
            if open.exclusive == Some(peer) && open.phase == PiecePhase::Filling {
                open.exclusive = None;
                self.exclusives -= 1;
                self.generation += 1;
            }
        }
    }

    // ---- what happens to pieces ----

    /// Who has sent each block of a piece, as places among its senders; empty when fewer than two connections have.
    pub(super) fn senders_of_blocks(&self, piece: PieceIndex) -> Vec<usize> {
        let Some(&PieceState::Open(slot)) = self.states.get(piece.0 as usize) else { return Vec::new() };
        let open = self.open[slot as usize].as_ref().filter(|open| open.contributors.len() > 1);
        open.map_or_else(Vec::new, |open| open.blocks.iter().map(|block| block.from.into()).collect())
    }

    /// The hash of a complete piece is known; returns who sent it. `None` when it was not waiting for that.
    pub(super) fn verified(
        &mut self,
        now: Time,
        piece: PieceIndex,
        ok: bool,
    ) -> Option<SmallVec<[Sender; 4]>> {
        let PieceState::Open(slot) = *self.states.get(piece.0 as usize)? else { return None };
        let open = self.open[slot as usize].as_ref().filter(|open| open.phase == PiecePhase::Hashing)?;
        let took = now.saturating_since(open.opened);
        let contributors = self.close(slot, if ok { PieceState::Verified } else { PieceState::Idle });
        if ok {
            self.forget_slow_given_up(took);
            self.failed.remove(&piece.0);
        } else {
            self.failed.insert(piece.0);
        }
        Some(contributors)
    }

    /// A piece is on disk. Returns false when it was stored before or does not exist. Requests for it must
    /// have been forgotten by the caller.
    pub(super) fn stored(&mut self, piece: PieceIndex) -> bool {
        match self.states.get(piece.0 as usize) {
            None | Some(PieceState::Stored) => return false,
            Some(&PieceState::Open(slot)) => {
                self.close(slot, PieceState::Stored);
            }
            Some(PieceState::Verified) => self.give_memory(piece.0),
            Some(PieceState::Idle) => self.rarest.remove(piece.0),
        }
        self.states[piece.0 as usize] = PieceState::Stored;
        true
    }

    /// Forgets what is there of an open piece. Requests for it must have been forgotten by the caller.
    pub(super) fn abort(&mut self, piece: PieceIndex) {
        if let Some(&PieceState::Open(slot)) = self.states.get(piece.0 as usize) {
            self.close(slot, PieceState::Idle);
        }
    }

    /// Whether blocks of the piece are requested or there, and it was not hashed yet.
    pub(super) fn is_filling(&self, piece: u32) -> bool {
        matches!(self.states.get(piece as usize), Some(&PieceState::Open(slot))
            if self.open[slot as usize].as_ref().is_some_and(|open| open.phase == PiecePhase::Filling))
    }

    fn close(&mut self, slot: u32, state: PieceState) -> SmallVec<[Sender; 4]> {
        let Some(open) = self.open[slot as usize].take() else { return SmallVec::new() };
        match open.phase {
            PiecePhase::Filling => {
                self.filling -= 1;
                self.exclusives -= usize::from(open.exclusive.is_some());
            }
            PiecePhase::Parked => self.parked -= 1,
            PiecePhase::Hashing => {}
        }
        if open.phase != PiecePhase::Hashing {
            self.dropped.push(PieceIndex(open.piece));
        }
        if state != PieceState::Verified {
            self.give_memory(open.piece);
        }
        self.with_free.retain(|&other| other != slot);
        self.vacant.push(slot);
        self.states[open.piece as usize] = state;
        if state == PieceState::Idle {
            self.rarest.insert(open.piece);
            self.cursor = self.cursor.min(open.piece);
        }
        self.generation += 1;
        // As many block lists are kept as are in use at most, but not for a short peak.
        if self.spare.len() < 64 {
            self.spare.push(open.blocks);
        }
        open.contributors
    }

    /// Changes how much a piece is wanted. A skipped piece must not be filling.
    pub(super) fn set_priority(&mut self, piece: u32, priority: Priority) {
        if self.rarest.priority(piece) == priority {
            return;
        }
        self.rarest.set_priority(piece, priority);
        if self.states[piece as usize] == PieceState::Idle {
            self.rarest.insert(piece);
        }
        self.cursor = 0;
        self.generation += 1;
    }

    /// Keeps `with_free` in step after the free blocks of one open piece changed.
    fn note_free(&mut self, slot: u32) {
        let free = self.open[slot as usize].as_ref().is_some_and(|open| open.free > 0);
        let listed = self.with_free.iter().position(|&other| other == slot);
        match (free, listed) {
            (true, None) => {
                self.with_free.push(slot);
                self.generation += 1;
            }
            (false, Some(at)) => {
                self.with_free.swap_remove(at);
            }
            _ => {}
        }
    }

    /// Peers that owe a block, by the picker's count.
    pub(super) fn owed(&self, block: &Block) -> u8 {
        let Some(&PieceState::Open(slot)) = self.states.get(block.piece.0 as usize) else { return 0 };
        let open = self.open[slot as usize].as_ref();
        open.and_then(|open| open.blocks.get((block.begin / BLOCK_LEN) as usize))
            .map_or(0, |block| block.requests)
    }

    /// Sum of [`Picker::owed`] over all blocks.
    pub(super) fn owed_total(&self) -> usize {
        self.open
            .iter()
            .flatten()
            .flat_map(|open| &open.blocks)
            .map(|block| usize::from(block.requests))
            .sum()
    }

    pub(super) fn check_invariants(&self) {
        self.rarest.check_invariants();
        let (mut filling, mut parked, mut exclusives) = (0, 0, 0);
        for (slot, open) in self.open.iter().enumerate() {
            let listed = self.with_free.iter().filter(|&&other| other as usize == slot).count();
            let Some(open) = open else {
                assert_eq!(listed, 0);
                assert!(self.vacant.contains(&(slot as u32)));
                continue;
            };
            open.check_invariants();
            assert_eq!(self.states[open.piece as usize], PieceState::Open(slot as u32));
            assert_eq!(listed, usize::from(open.free > 0));
            if open.phase == PiecePhase::Filling {
                filling += 1;
                exclusives += usize::from(open.exclusive.is_some());
            }
            if open.phase == PiecePhase::Parked {
                parked += 1;
                assert_eq!(self.rarest.priority(open.piece), Priority::Skip);
            }
        }
        assert_eq!((filling, parked, exclusives), (self.filling, self.parked, self.exclusives));
        let held = (0..).zip(&self.states);
        let held = held.filter(|(_, state)| matches!(state, PieceState::Open(_) | PieceState::Verified));
        assert_eq!(held.map(|(piece, _)| self.piece_bytes(piece)).sum::<u64>(), self.memory.bytes());
        for (piece, &state) in (0..).zip(&self.states) {
            let begins = state == PieceState::Idle && self.rarest.priority(piece) != Priority::Skip;
            assert_eq!(begins, self.rarest.contains(piece), "piece {piece} is {state:?}");
        }
    }
}
