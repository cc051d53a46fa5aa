//! What we get from peers: requests that go out, blocks that arrive, and what happens when they do not.

use smallvec::SmallVec;

use super::PeerKey;
use super::event::{Action, BlockSink, PeerError, Violation};
use super::limits::{
    BLOCK_TIME_MAX, CONTROL_BYTES_BUSY, ENDGAME_REQUESTS_MAX, EXCLUSIVE_PATIENCE, REFILL_MAX,
    UNREQUESTED_BYTES_MAX,
};
use super::machine::{Role, Swarm};
use super::peer::{Arriving, Asked, Download};
use super::picker::Asker;
use crate::units::{BLOCK_LEN, Block, PieceIndex, Time};
use crate::wire::Message;

impl Swarm {
    // ---- requests ----

    /// Requests what the peer should send next, when its queue has room for a worthwhile number.
    pub(super) fn pump(&mut self, now: Time, key: PeerKey) {
        let Role::Leeching(picker) = &mut self.role else { return };
        let Some(peer) = self.peers.get(key) else { return };
        let down = &peer.down;
        // In order means in order: what a choking peer allows lies anywhere.
        let allowed = !down.peer_choking || !(down.allowed_fast.is_empty() || self.config.sequential);
        if peer.closing
            || !down.am_interested
            || !allowed
            || now < down.pause_until
            || down.starved_at == Some(picker.generation)
            || peer.control.len() > CONTROL_BYTES_BUSY
        {
            return;
        }
        let max = self.config.request_queue_max.min(down.queue_max);
        let depth = if down.snubbed { 1 } else { down.pipeline.depth(max) as usize };
        let refill = if depth <= 8 { 1 } else { (depth / 4).min(REFILL_MAX) };
        if !down.asked.is_empty() && down.asked.len() + refill > depth || down.asked.len() >= depth {
            return;
        }
        let mut count = depth - down.asked.len();
        if let Some(budget) = self.request_budget {
            let affordable = budget.div_ceil(u64::from(BLOCK_LEN));
            if affordable < count as u64 {
                self.budget_short = true;
                count = affordable as usize;
            }
            if count == 0 {
                return;
            }
        }
        let asker = Asker {
            key,
            has: &peer.have,
            suspect: self.suspicion.is_suspect(peer.addr.ip()),
            refused: &down.refused,
            only: down.peer_choking.then_some(&down.allowed_fast[..]),
            suggested: &down.suggested,
            rate: down.pipeline.rate(),
            silent: down.snubbed,
            now,
        };
        let picked = &mut self.picked;
        picked.clear();
        picker.pick(now, &asker, count, &mut self.rng, picked);
        let mut taken_over = None;
        if picked.is_empty() && down.asked.len() < ENDGAME_REQUESTS_MAX.min(depth.div_ceil(2)) {
            taken_over = picker.take_over(now, &asker);
            if taken_over.is_none() {
                let owes = |block: &Block| {
                    down.asked.iter().any(|asked| asked.block == *block)
                        || down.arriving.is_some_and(|arriving| arriving.block == *block)
                };
                picker.pick_duplicates(now, &asker, &mut self.rng, owes, picked);
            }
        }
        if let Some(piece) = taken_over {
            // All of it is free now, and reserved to this peer.
            let silent = self.silent_owers(now, piece);
            self.forget_requests(piece);
            silent.into_iter().for_each(|key| self.snub(now, key));
            self.pump(now, key);
            return;
        }
        let starved = (self.picked.len() < count).then_some(picker.generation);
        self.request_picked(now, key, starved);
    }

    /// Who owes blocks of a piece that is taken over and has sent nothing since it may be. Since no request is left it would
    /// never count as snubbing us, and be trusted with the piece again.
    fn silent_owers(&self, now: Time, piece: PieceIndex) -> SmallVec<[PeerKey; 2]> {
        let owes = |down: &Download| {
            down.asked.iter().any(|asked| asked.block.piece == piece)
                || down.arriving.is_some_and(|arriving| arriving.block.piece == piece)
        };
        let silent = |down: &Download| down.progress + EXCLUSIVE_PATIENCE <= now && owes(down);
        self.peers.iter().filter(|(_, peer)| silent(&peer.down)).map(|(key, _)| key).collect()
    }

    fn request_picked(&mut self, now: Time, key: PeerKey, starved: Option<u64>) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let down = &mut peer.down;
        down.starved_at = starved;
        if self.picked.is_empty() {
            return;
        }
        if !down.is_pending() {
            down.progress = now;
            down.pipeline.resumed(now);
        }
        for &block in &self.picked {
            down.asked.push_back(Asked { block, at: now });
            Message::Request(block).encode(&mut peer.control);
            if let Some(budget) = &mut self.request_budget {
                *budget = budget.saturating_sub(u64::from(block.length));
            }
        }
        self.mark_ready(key);
    }

    /// Tries the peers again for which there was nothing, when there may be something now.
    pub(super) fn pump_starved(&mut self, now: Time) {
        let Role::Leeching(picker) = &self.role else { return };
        let generation = picker.generation;
        if generation == self.pumped_generation {
            return;
        }
        self.pumped_generation = generation;
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        keys.extend(self.peers.iter().filter_map(|(key, peer)| {
            peer.down.starved_at.is_some_and(|at| at != generation).then_some(key)
        }));
        self.pump_each(now, &mut keys);
        self.keys = keys;
    }

    /// Tries all peers.
    pub(super) fn pump_all(&mut self, now: Time) {
        if matches!(self.role, Role::Seeding) {
            return;
        }
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        keys.extend(self.peers.keys());
        self.pump_each(now, &mut keys);
        self.keys = keys;
    }

    /// From a random peer on, so that none is always last; but those that do not deliver come after all others, or they
    /// would take the last blocks again and again.
    fn pump_each(&mut self, now: Time, keys: &mut [PeerKey]) {
        let start = self.rng.below(keys.len());
        keys.rotate_left(start);
        keys.sort_by_key(|&key| self.peers.get(key).is_some_and(|peer| peer.down.is_slow()));
        for &key in keys.iter() {
            self.pump(now, key);
        }
    }

    // ---- blocks ----

    /// A part of a block arrived.
    #[expect(clippy::too_many_arguments, reason = "the fields of a frame, and where it goes")]
    pub(super) fn on_chunk(
        &mut self,
        now: Time,
        key: PeerKey,
        block: Block,
        offset: u32,
        data: &[u8],
        last: bool,
        sink: &mut impl BlockSink,
    ) -> Result<(), PeerError> {
        if offset == 0 {
            self.begin_block(now, key, block)?;
        }
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.closing) else {
            return Err(PeerError::Gone);
        };
        let length = data.len() as u64;
        peer.down.total += length;
        peer.down.rate.add(now, length);
        let Some(arriving) = peer.down.arriving else { return Ok(()) };
        let wanted = arriving.accepted
            && match &mut self.role {
                Role::Leeching(picker) => picker.owns(&block, key),
                Role::Seeding => false,
            };
        if wanted {
            peer.used_at = now;
            if let Role::Leeching(picker) = &mut self.role {
                // One of these may be the piece that is written to, begun anew.
                picker.dropped.drain(..).for_each(|piece| sink.discard(piece));
            }
            sink.write(block.piece, block.begin + offset, data);
        } else {
            self.totals.wasted += length;
        }
        if last {
            self.end_block(now, key, arriving, wanted);
        }
        Ok(())
    }

    /// The first byte of a block arrived: decides whether its data is wanted.
    fn begin_block(&mut self, now: Time, key: PeerKey, block: Block) -> Result<(), PeerError> {
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.closing) else {
            return Err(PeerError::Gone);
        };
        if !self.content.info.layout.contains(&block) {
            return Err(PeerError::Violation(Violation::OutOfRange));
        }
        let down = &mut peer.down;
        let asked = down.take_asked(&block);
        if let Some(asked) = asked {
            down.pipeline.first_byte(now, asked.at);
        } else if down.late > 0 {
            down.late -= 1;
        } else {
            down.unrequested += u64::from(block.length);
            if down.unrequested > UNREQUESTED_BYTES_MAX {
                return Err(PeerError::Violation(Violation::Unrequested));
            }
        }
        let unrequested = asked.is_none() && down.unrequested > 0;
        let suspect = self.suspicion.is_suspect(peer.addr.ip());
        let accepted = match &mut self.role {
            Role::Leeching(picker) if !unrequested => {
                let peers = &self.peers;
                picker.begin(now, &block, key, suspect, asked.is_some(), |holder| {
                    peers.get(holder).is_none_or(|peer| {
                        peer.down.snubbed
                            || peer.down.arriving.is_none_or(|other| other.began + BLOCK_TIME_MAX < now)
                    })
                })
            }
            _ => false,
        };
        let Some(peer) = self.peers.get_mut(key) else { return Err(PeerError::Gone) };
        peer.down.arriving =
            Some(Arriving { block, began: now, accepted, counted: accepted, asked: asked.is_some() });
        Ok(())
    }

    /// The last byte of a block arrived.
    fn end_block(&mut self, now: Time, key: PeerKey, arriving: Arriving, wanted: bool) {
        let max_ours = self.config.request_queue_max;
        let Some(peer) = self.peers.get_mut(key) else { return };
        let block = arriving.block;
        peer.down.arriving = None;
        if arriving.asked {
            peer.down.progress = now;
            peer.down.snubbed = false;
            peer.down.rejects = 0;
            let max = max_ours.min(peer.down.queue_max);
            peer.down.pipeline.block(now, block.length, max);
        }
        let from = (key, peer.host());
        let Role::Leeching(picker) = &mut self.role else { return };
        if !wanted {
            if arriving.counted {
                picker.release(&block);
            }
            return;
        }
        let finished = picker.finish(now, &block, from, arriving.counted);
        if finished.owed_by_others {
            self.cancel_elsewhere(&block);
        }
        if finished.piece_done {
            self.actions.push_back(Action::PieceReady(block.piece));
        }
    }

    /// The block is there: nobody needs to send it any more.
    fn cancel_elsewhere(&mut self, block: &Block) {
        for (key, peer) in &mut self.peers {
            if peer.down.take_asked(block).is_some() {
                peer.down.forgive(1);
                peer.say(&Message::Cancel(*block));
                if !peer.queued && !peer.closing {
                    peer.queued = true;
                    self.ready.push_back(key);
                }
            }
            if let Some(arriving) = &mut peer.down.arriving
                && arriving.block == *block
            {
                arriving.counted = false;
            }
        }
    }

    // ---- giving up ----

    /// Cancels all requests for a piece and keeps the picker's counts right.
    pub(super) fn forget_piece(&mut self, piece: PieceIndex) {
        let Role::Leeching(picker) = &mut self.role else { return };
        for peer in self.peers.values() {
            for asked in peer.down.asked.iter().filter(|asked| asked.block.piece == piece) {
                picker.release(&asked.block);
            }
            if let Some(arriving) = peer.down.arriving
                && arriving.block.piece == piece
                && arriving.counted
            {
                picker.release(&arriving.block);
            }
        }
        self.forget_requests(piece);
    }

    /// As [`Swarm::forget_piece`], when the picker forgot its counts already.
    fn forget_requests(&mut self, piece: PieceIndex) {
        for (key, peer) in &mut self.peers {
            let before = peer.down.asked.len();
            let control = &mut peer.control;
            peer.down.asked.retain(|asked| {
                let keep = asked.block.piece != piece;
                if !keep {
                    Message::Cancel(asked.block).encode(control);
                }
                keep
            });
            let gone = before - peer.down.asked.len();
            if gone > 0 {
                peer.down.forgive(gone);
                peer.down.starved_at = None;
                if !peer.queued && !peer.closing {
                    peer.queued = true;
                    self.ready.push_back(key);
                }
            }
            if let Some(arriving) = &mut peer.down.arriving
                && arriving.block.piece == piece
            {
                *arriving = arriving.orphaned();
            }
        }
    }

    /// The peer is leaving: whatever it owes others may deliver.
    pub(super) fn forget_downloads(&mut self, key: PeerKey) {
        let Role::Leeching(picker) = &mut self.role else { return };
        let Some(peer) = self.peers.get_mut(key) else { return };
        for asked in peer.down.asked.drain(..) {
            picker.release(&asked.block);
        }
        if let Some(arriving) = peer.down.arriving.take() {
            if arriving.counted {
                picker.release(&arriving.block);
            }
            if arriving.accepted {
                picker.abandon(&arriving.block, key);
            }
        }
        picker.unreserve(key);
    }

    /// The peer does not deliver: others may, and it gets one request at a time until it does. A block that
    /// it is still sending is its own until somebody else begins to send it.
    pub(super) fn snub(&mut self, now: Time, key: PeerKey) {
        let Role::Leeching(picker) = &mut self.role else { return };
        let Some(peer) = self.peers.get_mut(key) else { return };
        let down = &mut peer.down;
        down.snubbed = true;
        down.progress = now;
        down.pipeline.collapse(now);
        down.forgive(down.asked.len());
        for asked in down.asked.drain(..) {
            picker.release(&asked.block);
            Message::Cancel(asked.block).encode(&mut peer.control);
        }
        if let Some(arriving) = &mut down.arriving
            && arriving.counted
        {
            arriving.counted = false;
            picker.release(&arriving.block);
        }
        picker.unreserve(key);
        self.mark_ready(key);
    }

    /// Gives up requests that were passed over for too long while others were answered.
    pub(super) fn give_up_lost(&mut self, key: PeerKey, asked_before: Time) {
        let Role::Leeching(picker) = &mut self.role else { return };
        let Some(peer) = self.peers.get_mut(key) else { return };
        while let Some(asked) = peer.down.asked.front().filter(|asked| asked.at < asked_before) {
            picker.release(&asked.block);
            Message::Cancel(asked.block).encode(&mut peer.control);
            peer.down.asked.pop_front();
            peer.down.forgive(1);
        }
    }
}
