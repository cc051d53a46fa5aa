//! What peers get: their requests, choking, metadata, and the batches that go to them.

use std::sync::Arc;

use super::PeerKey;
use super::batch::{FillLimits, FillOutcome, SendBatch};
use super::event::{Action, PeerError, Violation};
use super::limits::{
    CONTROL_KEPT, HAVES_PER_FILL_MAX, METADATA_COPIES_MAX, METADATA_PER_FILL_MAX, METADATA_QUEUE_MAX,
    METADATA_WINDOW, REQUEST_FLOOD_FACTOR, TICK,
};
use super::machine::{Metadata, Swarm, say_extended};
use crate::units::{Block, Time};
use crate::wire::Message;
use crate::wire::extension::{METADATA_PIECE_LEN, MetadataMessage};
use crate::wire::limits::BLOCK_LEN_MAX;

impl Swarm {
    /// A request: queued when it may be answered, else refused. Called for every 17 bytes of a busy peer.
    #[inline]
    pub(super) fn on_request(&mut self, key: PeerKey, block: Block) -> Result<(), PeerError> {
        let Some(peer) = self.peers.get_mut(key) else { return Err(PeerError::Gone) };
        if peer.closing {
            return Err(PeerError::Gone);
        }
        let long = block.length > BLOCK_LEN_MAX;
        // A block that is too long is refused by those who have the words for it.
        if !self.content.info.layout.contains(&block) || long && !peer.fast {
            return Err(PeerError::Violation(Violation::OutOfRange));
        }
        let max = self.config.incoming_requests_max;
        let room = !long && peer.up.requests.len() < max as usize;
        if room && (!peer.up.am_choking || peer.may_request(block.piece)) && self.have.get(block.piece.0) {
            if peer.up.am_choking {
                peer.up.allowed_fast_left = peer.up.allowed_fast_left.saturating_sub(u64::from(block.length));
            }
            peer.up.requests.push_back(block);
            return Ok(());
        }
        peer.up.refused += 1;
        if peer.up.refused > max.max(64).saturating_mul(REQUEST_FLOOD_FACTOR) {
            return Err(PeerError::Violation(Violation::RequestFlood));
        }
        if peer.fast {
            peer.say(&Message::RejectRequest(block));
        }
        Ok(())
    }

    pub(super) fn on_cancel(&mut self, key: PeerKey, block: &Block) {
        let peer = &mut self.peers[key];
        if let Some(at) = peer.up.requests.iter().position(|waiting| waiting == block) {
            peer.up.requests.remove(at);
            if peer.fast {
                peer.say(&Message::RejectRequest(*block));
            }
        }
    }

    pub(super) fn on_metadata_request(&mut self, now: Time, key: PeerKey, piece: u32) {
        let size = self.metadata.len();
        let peer = &mut self.peers[key];
        if now >= peer.up.metadata_refill_at {
            peer.up.metadata_refill_at = now + METADATA_WINDOW;
            peer.up.metadata_left = METADATA_COPIES_MAX * (size + METADATA_PIECE_LEN) as u64;
        }
        let exists = (piece as usize) < size.div_ceil(METADATA_PIECE_LEN);
        let paid = peer.up.metadata_left >= METADATA_PIECE_LEN as u64;
        if exists && paid && peer.up.metadata.len() < METADATA_QUEUE_MAX {
            peer.up.metadata_left -= METADATA_PIECE_LEN as u64;
            peer.up.metadata.push_back(piece);
            if let Metadata::Elsewhere { asked: asked @ false, .. } = &mut self.metadata {
                *asked = true;
                self.actions.push_back(Action::MetadataWanted);
            }
        } else if peer.extensions.ut_metadata != 0 {
            let reject = MetadataMessage::Reject { piece };
            say_extended(&mut peer.control, peer.extensions.ut_metadata, |out| reject.encode(out));
        }
    }

    /// The answer to [`Action::MetadataWanted`]; `None` when it cannot be had, which peers are told.
    pub fn provide_metadata(&mut self, bytes: Option<Arc<[u8]>>) {
        let Metadata::Elsewhere { len, asked } = &mut self.metadata else { return };
        match bytes.filter(|bytes| bytes.len() == *len) {
            Some(bytes) => self.metadata = Metadata::Here(bytes),
            None => {
                *asked = false;
                for peer in self.peers.values_mut() {
                    for piece in std::mem::take(&mut peer.up.metadata) {
                        let reject = MetadataMessage::Reject { piece };
                        let id = peer.extensions.ut_metadata;
                        if id != 0 {
                            say_extended(&mut peer.control, id, |out| reject.encode(out));
                        }
                    }
                }
            }
        }
        self.queue_all_with_output();
    }

    // ---- choking ----

    pub(super) fn on_interested(&mut self, now: Time, key: PeerKey) {
        let peer = &mut self.peers[key];
        if peer.up.peer_interested {
            return;
        }
        peer.up.peer_interested = true;
        peer.up.waiting_since = now;
        peer.note_use(now);
        // A free slot must not wait for the next round.
        if self.unchoked < self.slots.count() {
            self.unchoke(now, key);
        }
    }

    pub(super) fn on_not_interested(&mut self, now: Time, key: PeerKey) {
        let peer = &mut self.peers[key];
        peer.up.peer_interested = false;
        peer.note_use(now);
        if !peer.up.am_choking {
            self.choke(now, key);
            self.fill_free_slots(now);
        }
        self.drop_if_redundant(key);
    }

    pub(super) fn unchoke(&mut self, now: Time, key: PeerKey) {
        let peer = &mut self.peers[key];
        if !peer.up.am_choking || peer.closing {
            return;
        }
        peer.up.am_choking = false;
        peer.up.unchoked_at = now;
        peer.up.given = 0;
        peer.up.refused = 0;
        peer.say(&Message::Unchoke);
        self.unchoked += 1;
        self.mark_ready(key);
        // Data is about to move: the idle tick is too slow.
        let tick = now + TICK;
        self.next_tick = Some(self.next_tick.map_or(tick, |at| at.min(tick)));
    }

    pub(super) fn choke(&mut self, now: Time, key: PeerKey) {
        let peer = &mut self.peers[key];
        if peer.up.am_choking {
            return;
        }
        peer.up.am_choking = true;
        peer.up.optimistic = false;
        peer.up.waiting_since = now;
        self.unchoked -= 1;
        if !peer.closing {
            peer.say(&Message::Choke);
            let allowed = std::mem::take(&mut peer.up.allowed_fast);
            let mut requests = std::mem::take(&mut peer.up.requests);
            requests.retain(|block| {
                let keep = allowed.contains(&block.piece);
                if !keep && peer.fast {
                    peer.say(&Message::RejectRequest(*block));
                }
                keep
            });
            peer.up.requests = requests;
            peer.up.allowed_fast = allowed;
        }
        self.mark_ready(key);
    }

    // ---- batches ----

    /// Appends what is to be sent to the peer: control messages, then answers as far as `limits` allow and
    /// `ready` says that a block can be read without waiting. What is appended counts as said: the caller
    /// sends all of it, calls [`Swarm::sent`], or disconnects the peer.
    pub fn fill(
        &mut self,
        now: Time,
        key: PeerKey,
        out: &mut SendBatch,
        limits: FillLimits,
        mut ready: impl FnMut(&Block) -> bool,
    ) -> FillOutcome {
        let stored = &self.stored_log;
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.closing) else {
            return FillOutcome::Drained;
        };
        let start = out.bytes.len();
        out.bytes.append(&mut peer.control);
        if peer.control.capacity() > CONTROL_KEPT {
            peer.control = Vec::new();
        }
        let haves_end = stored.len().min(peer.up.haves_told + HAVES_PER_FILL_MAX);
        for &piece in &stored[peer.up.haves_told..haves_end] {
            // Who has the piece does not care that we have it too.
            if !peer.have.get(piece.0) {
                Message::Have(piece).encode(&mut out.bytes);
            }
        }
        peer.up.haves_told = haves_end;
        for _ in 0..METADATA_PER_FILL_MAX {
            let Metadata::Here(metadata) = &self.metadata else { break };
            let Some(piece) = peer.up.metadata.pop_front() else { break };
            let from = piece as usize * METADATA_PIECE_LEN;
            let data = &metadata[from.min(metadata.len())..metadata.len().min(from + METADATA_PIECE_LEN)];
            let total_size = u32::try_from(metadata.len()).unwrap_or(u32::MAX);
            let message = MetadataMessage::Data { piece, total_size, data };
            if peer.extensions.ut_metadata != 0 {
                say_extended(&mut out.bytes, peer.extensions.ut_metadata, |bytes| message.encode(bytes));
            }
        }
        out.close_bytes(start);
        let (mut blocks, mut payload) = (0, 0u64);
        let outcome = loop {
            let Some(block) = peer.up.requests.front() else {
                let metadata = matches!(self.metadata, Metadata::Here(_)) && !peer.up.metadata.is_empty();
                let more = peer.up.haves_told < stored.len() || metadata;
                break if more { FillOutcome::More } else { FillOutcome::Drained };
            };
            if blocks >= limits.blocks_max {
                break FillOutcome::More;
            }
            let length = u64::from(block.length);
            // The first block goes whatever its length, or one longer than the budget ever gets would wait for ever.
            let fits = payload + length <= limits.payload_bytes_max;
            if !fits && (payload > 0 || limits.payload_bytes_max == 0) {
                // It waits for our limit: that is no fault of its own.
                peer.used_at = now;
                break FillOutcome::Budget;
            }
            if !ready(block) {
                break FillOutcome::Cold(*block);
            }
            out.push_block(*block);
            peer.up.requests.pop_front();
            blocks += 1;
            payload += length;
        };
        if blocks > 0 {
            peer.up.refused = 0;
        }
        if out.bytes.len() > start {
            peer.last_sent = now;
            peer.sending_since = peer.sending_since.or(Some(now));
        }
        outcome
    }

    /// The requests of a peer that wait for an answer, oldest first: what [`Swarm::fill`] will ask for next.
    pub fn upcoming(&self, key: PeerKey) -> impl Iterator<Item = &Block> {
        self.peers.get(key).into_iter().flat_map(|peer| peer.up.requests.iter())
    }

    /// The socket took a part of the blocks of a batch of [`Swarm::fill`]: the peer reads, however slowly.
    pub fn sent_a_part(&mut self, now: Time, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.used_at = now;
        }
    }

    /// The socket took the bytes of a batch of [`Swarm::fill`]: the bytes of blocks, and all others.
    pub fn sent(&mut self, now: Time, key: PeerKey, payload_bytes: u64, protocol_bytes: u64) {
        self.totals.uploaded += payload_bytes;
        self.totals.protocol_sent += protocol_bytes;
        if payload_bytes > 0 {
            self.totals.up_rate.add(now, payload_bytes);
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.last_sent = now;
        peer.sending_since = None;
        if payload_bytes > 0 {
            peer.up.rate.add(now, payload_bytes);
            peer.up.total += payload_bytes;
            peer.used_at = now;
            peer.up.given += payload_bytes;
        }
    }
}
