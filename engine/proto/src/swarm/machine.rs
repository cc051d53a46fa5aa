//! The swarm itself: its state, its entry points, connections and what they see of our pieces.

use std::collections::VecDeque;
use std::sync::Arc;

use slotmap::SlotMap;

use super::PeerKey;
use super::allowed_fast::allowed_fast;
use super::choker::Slots;
use super::config::{Content, SwarmConfig};
use super::event::{Action, BlockSink, DisconnectReason, PeerError, PeerInfo, Refusal, Violation};
use super::evidence::Evidence;
use super::limits::{CONTROL_HEAVY, OPTIMISTIC, PEERS_MAX, RECHOKE, TICK, USELESS_MAX};
use super::memory::ControlShare;
use super::peer::Peer;
use super::picker::Picker;
use super::rate::Rate;
use super::rng::Rng;
use super::suspicion::Suspicion;
use crate::bitfield::Bitfield;
use crate::units::{Block, PieceIndex, Time};
use crate::wire::extension::ExtensionHandshake;
use crate::wire::{Decoder, Frame, Message};

/// Ids under which we want extension messages.
pub(super) mod extension_id {
    pub(in super::super) const PEX: u8 = 1;
    pub(in super::super) const METADATA: u8 = 2;
    pub(in super::super) const UPLOAD_ONLY: u8 = 3;
}

/// What the swarm does.
#[derive(Debug)]
pub(super) enum Role {
    /// Pieces are missing, though perhaps none that is wanted.
    Leeching(Box<Picker>),
    /// All pieces are there.
    Seeding,
}

/// The info dictionary as it was hashed, for peers that have a magnet link only.
#[derive(Debug)]
pub(super) enum Metadata {
    /// Here to be served; not served when empty.
    Here(Arc<[u8]>),
    /// Not in memory, of so many bytes; `asked` when the caller was asked for it.
    Elsewhere { len: usize, asked: bool },
}

impl Metadata {
    fn of(content: &Content) -> Metadata {
        match content.info.encoded_len() {
            len if len > 0 && content.info_bytes.is_empty() => Metadata::Elsewhere { len, asked: false },
            _ => Metadata::Here(Arc::clone(&content.info_bytes)),
        }
    }

    /// Bytes; 0 when there is none to serve.
    pub(super) fn len(&self) -> usize {
        match self {
            Metadata::Here(bytes) => bytes.len(),
            Metadata::Elsewhere { len, .. } => *len,
        }
    }
}

/// Counters since the swarm was made.
#[derive(Debug)]
pub(super) struct SwarmTotals {
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    pub(super) protocol_received: u64,
    pub(super) protocol_sent: u64,
    pub(super) wasted: u64,
    pub(super) hash_fails: u64,
    pub(super) down_rate: Rate,
    pub(super) up_rate: Rate,
}

/// One torrent's peers on one shard. See the module for how it is driven.
#[derive(Debug)]
pub struct Swarm {
    pub(super) config: SwarmConfig,
    pub(super) content: Arc<Content>,
    pub(super) metadata: Metadata,
    pub(super) have: Bitfield,
    pub(super) role: Role,
    pub(super) peers: SlotMap<PeerKey, Peer>,
    pub(super) ready: VecDeque<PeerKey>,
    pub(super) actions: VecDeque<Action>,
    /// Pieces in the order in which they were stored; each peer remembers how far it was told.
    pub(super) stored_log: Vec<PieceIndex>,
    pub(super) suspicion: Suspicion,
    pub(super) evidence: Evidence,
    pub(super) control_share: ControlShare,
    /// When a peer with much of it is reason to look at all of it again.
    pub(super) control_due: Time,
    pub(super) rng: Rng,
    pub(super) slots: Slots,
    /// Peers that are not choked by us.
    pub(super) unchoked: usize,
    /// Times that free slots were filled since the last tick.
    pub(super) refills: u32,
    pub(super) request_budget: Option<u64>,
    /// A peer could have been asked for more if the budget had allowed it.
    pub(super) budget_short: bool,
    /// The picker's generation for which starved peers were tried again.
    pub(super) pumped_generation: u64,
    /// Bytes of wanted pieces that are not stored.
    pub(super) wanted_left: u64,
    /// Whether `Completed` was given for what is wanted now.
    pub(super) finished_told: bool,
    pub(super) next_tick: Option<Time>,
    /// When a swarm that waits for memory tries again.
    pub(super) memory_retry: Time,
    pub(super) next_rechoke: Time,
    pub(super) next_optimistic: Time,
    pub(super) totals: SwarmTotals,
    pub(super) picked: Vec<Block>,
    pub(super) keys: Vec<PeerKey>,
}

impl Swarm {
    /// A swarm without peers that has the pieces `have`: it seeds when these are all. `seed` makes its
    /// random choices reproducible. A `have` of the wrong length counts as empty.
    #[must_use]
    pub fn new(config: SwarmConfig, content: Arc<Content>, have: Bitfield, seed: u64, now: Time) -> Swarm {
        let layout = &content.info.layout;
        let count = layout.piece_count();
        let have = if have.len() == count { have } else { Bitfield::new(count) };
        let wanted_left = have.iter_zeros().map(|piece| u64::from(layout.piece_len(PieceIndex(piece)))).sum();
        let role = if have.is_full() {
            Role::Seeding
        } else {
            Role::Leeching(Box::new(Picker::new(
                Arc::clone(&content.info),
                &have,
                config.open_piece_bytes_max,
                config.memory.clone(),
                config.sequential,
            )))
        };
        Swarm {
            slots: Slots::new(config.upload_slots),
            control_share: ControlShare::of(config.memory.clone()),
            control_due: now,
            config,
            metadata: Metadata::of(&content),
            content,
            finished_told: have.is_full(),
            have,
            role,
            peers: SlotMap::with_key(),
            ready: VecDeque::new(),
            actions: VecDeque::new(),
            stored_log: Vec::new(),
            suspicion: Suspicion::default(),
            evidence: Evidence::default(),
            rng: Rng::new(seed),
            unchoked: 0,
            refills: 0,
            request_budget: None,
            budget_short: false,
            pumped_generation: 0,
            wanted_left,
            next_tick: None,
            memory_retry: now,
            next_rechoke: now + RECHOKE,
            next_optimistic: now + OPTIMISTIC,
            totals: SwarmTotals {
                downloaded: 0,
                uploaded: 0,
                protocol_received: 0,
                protocol_sent: 0,
                wasted: 0,
                hash_fails: 0,
                down_rate: Rate::new(now),
                up_rate: Rate::new(now),
            },
            picked: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// A connection whose handshakes are done. Queues what is said first: our pieces and the extension
    /// handshake.
    ///
    /// # Errors
    /// When the peer is not taken; the caller closes the connection.
    pub fn peer_connected(&mut self, now: Time, info: PeerInfo) -> Result<PeerKey, Refusal> {
        if self.suspicion.is_banned(now, info.addr.ip()) {
            return Err(Refusal::Banned);
        }
        self.refuse_duplicates(&info)?;
        self.make_room(now)?;
        let count = self.content.info.layout.piece_count();
        let mut peer = Peer::new(now, &info, count);
        if peer.fast && self.have.is_full() {
            peer.say(&Message::HaveAll);
        } else if !self.have.is_clear() {
            peer.say(&Message::Bitfield(self.have.as_bytes()));
        } else if peer.fast {
            peer.say(&Message::HaveNone);
        }
        peer.up.haves_told = self.stored_log.len();
        peer.info_hash = info.handshake.info_hash;
        if peer.extension {
            let handshake = ExtensionHandshake {
                ut_metadata: (self.metadata.len() > 0).then_some(extension_id::METADATA),
                ut_pex: self.exchanges_peers().then_some(extension_id::PEX),
                upload_only_message: Some(extension_id::UPLOAD_ONLY),
                version: Some(self.config.client_version.clone()),
                listen_port: self.config.listen_port,
                request_queue: Some(self.config.incoming_requests_max),
                metadata_size: u32::try_from(self.metadata.len()).ok().filter(|&size| size > 0),
                your_ip: Some(info.addr.ip()),
                upload_only: self.is_finished().then_some(true),
            };
            say_extended(&mut peer.control, 0, |out| handshake.encode(out));
        }
        let key = self.peers.insert(peer);
        self.mark_ready(key);
        let tick = now + TICK;
        self.next_tick = Some(self.next_tick.map_or(tick, |at| at.min(tick)));
        Ok(key)
    }

    pub(super) fn exchanges_peers(&self) -> bool {
        self.config.pex && !self.content.info.private
    }

    /// Of two connections between the same clients the one survives that the side with the larger peer
    /// id made, so that both sides keep the same one.
    fn refuse_duplicates(&mut self, info: &PeerInfo) -> Result<(), Refusal> {
        let Some(ours) = self.config.peer_id else { return Ok(()) };
        let theirs = info.handshake.peer_id;
        if ours == theirs {
            return Err(Refusal::Ourselves);
        }
        let same = self
            .peers
            .iter()
            .find(|(_, peer)| !peer.closing && peer.id == theirs && peer.addr.ip() == info.addr.ip())
            .map(|(key, peer)| (key, peer.outgoing));
        match same {
            Some((key, outgoing)) if outgoing != info.outgoing && info.outgoing == (ours > theirs) => {
                self.disconnect(key, DisconnectReason::Duplicate);
                Ok(())
            }
            Some(_) => Err(Refusal::Duplicate),
            None => Ok(()),
        }
    }

    fn make_room(&mut self, now: Time) -> Result<(), Refusal> {
        let max = self.config.peers_max.min(PEERS_MAX);
        if self.peers.len() < max {
            return Ok(());
        }
        let open = self.peers.values().filter(|peer| !peer.closing).count();
        // Closing ones are about to go, but a caller that never closes them does not get more.
        if open < max && self.peers.len() < max.saturating_mul(2) {
            return Ok(());
        }
        let useless =
            |peer: &Peer| !peer.closing && peer.useless_since.is_some_and(|since| since + USELESS_MAX <= now);
        let oldest = self
            .peers
            .iter()
            .filter(|(_, peer)| useless(peer))
            .min_by_key(|(_, peer)| peer.useless_since)
            .map(|(key, _)| key);
        let Some(key) = oldest.filter(|_| self.peers.len() < max.saturating_mul(2)) else {
            return Err(Refusal::Full);
        };
        self.disconnect(key, DisconnectReason::Useless);
        Ok(())
    }

    /// The connection is closed, by whichever side. The key means nothing afterwards.
    pub fn peer_disconnected(&mut self, now: Time, key: PeerKey) {
        self.forget_downloads(key);
        let Some(peer) = self.peers.remove(key) else { return };
        if let Role::Leeching(picker) = &mut self.role {
            if peer.counted_as_seed {
                picker.seeds -= 1;
            } else {
                peer.have.iter_ones().for_each(|piece| picker.lost(piece));
            }
        }
        if !peer.up.am_choking {
            self.unchoked -= 1;
            self.fill_free_slots(now);
        }
        self.pump_starved(now);
        if let Role::Leeching(picker) = &mut self.role
            && self.peers.is_empty()
        {
            picker.memory.leave_line();
        }
    }

    /// Asks the caller to close a connection and stops talking to it.
    pub(super) fn disconnect(&mut self, key: PeerKey, reason: DisconnectReason) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.closing {
            return;
        }
        peer.closing = true;
        peer.up.requests.clear();
        peer.control = Vec::new();
        peer.decoder = Decoder::default();
        self.actions.push_back(Action::Disconnect { peer: key, reason });
        self.forget_downloads(key);
    }

    /// Bytes that the peer sent. Data of blocks goes to `sink` in slices of `bytes`.
    ///
    /// # Errors
    /// The caller closes the connection and calls [`Swarm::peer_disconnected`].
    pub fn received(
        &mut self,
        now: Time,
        key: PeerKey,
        bytes: &[u8],
        sink: &mut impl BlockSink,
    ) -> Result<(), PeerError> {
        let peer = self.peers.get_mut(key).filter(|peer| !peer.closing).ok_or(PeerError::Gone)?;
        peer.last_received = now;
        // Taken out so that frames may borrow from it while the peer changes.
        let mut decoder = std::mem::take(&mut peer.decoder);
        let mut input = bytes;
        let mut payload = 0;
        let result = loop {
            let step = match decoder.next(&mut input) {
                Ok(Some(Frame::Message(Message::Request(block)))) => self.on_request(key, block),
                Ok(Some(Frame::Message(message))) => self.on_message(now, key, message),
                Ok(Some(Frame::BlockChunk { block, offset, data, last })) => {
                    payload += data.len() as u64;
                    self.on_chunk(now, key, block, offset, data, last, sink)
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            };
            if let Err(error) = step {
                break Err(error);
            }
        };
        self.totals.downloaded += payload;
        self.totals.protocol_received += bytes.len() as u64 - payload;
        if payload > 0 {
            self.totals.down_rate.add(now, payload);
        }
        let Some(peer) = self.peers.get_mut(key) else { return Err(PeerError::Gone) };
        peer.decoder = decoder;
        if result.is_ok() {
            self.after_received(now, key)
        } else {
            self.peers[key].closing = true;
            self.forget_downloads(key);
            self.pump_starved(now);
            result
        }
    }

    fn after_received(&mut self, now: Time, key: PeerKey) -> Result<(), PeerError> {
        self.pump(now, key);
        self.pump_starved(now);
        let Some(peer) = self.peers.get(key) else { return Ok(()) };
        if now >= self.control_due && peer.control_bytes() >= CONTROL_HEAVY {
            self.bound_talk(now);
        }
        let Some(peer) = self.peers.get(key).filter(|peer| !peer.closing) else { return Ok(()) };
        if peer.control.len() > peer.control_max() {
            self.peers[key].closing = true;
            self.forget_downloads(key);
            return Err(PeerError::Violation(Violation::NotReading));
        }
        if peer.has_output(self.stored_log.len()) {
            self.mark_ready(key);
        }
        Ok(())
    }

    /// The next peer that may have something to send. Each peer is in this queue at most once; a peer whose
    /// batch is still with the socket may come too, then wait for the send and call [`Swarm::mark_ready`].
    pub fn next_ready(&mut self) -> Option<PeerKey> {
        while let Some(key) = self.ready.pop_front() {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.queued = false;
                if !peer.closing {
                    return Some(key);
                }
            }
        }
        None
    }

    /// Puts the peer into the queue of [`Swarm::next_ready`]: its send is done or its piece is resident.
    #[inline]
    pub fn mark_ready(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key)
            && !peer.queued
            && !peer.closing
        {
            peer.queued = true;
            self.ready.push_back(key);
        }
    }

    /// What the caller has to do next; call until `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Role::Leeching(picker) = &mut self.role
            && let Some(piece) = picker.dropped.pop()
        {
            return Some(Action::PieceDropped(piece));
        }
        self.actions.pop_front()
    }

    /// The piece is on disk: it is announced and served from now on.
    pub fn piece_stored(&mut self, now: Time, piece: PieceIndex) {
        let Role::Leeching(picker) = &mut self.role else { return };
        let wanted = picker.wants(piece.0);
        if picker.is_filling(piece.0) {
            self.forget_piece(piece);
        }
        let Role::Leeching(picker) = &mut self.role else { return };
        if !picker.stored(piece) || !self.have.set(piece.0) {
            return;
        }
        if wanted {
            self.wanted_left -= u64::from(self.content.info.layout.piece_len(piece));
        }
        self.stored_log.push(piece);
        let told = self.stored_log.len();
        for (key, peer) in &mut self.peers {
            if peer.closing {
                continue;
            }
            if peer.have.get(piece.0) {
                if wanted {
                    peer.down.interesting -= 1;
                    peer.update_interest(now);
                }
            } else if !peer.haves_may_wait(now, told) && !peer.queued {
                peer.queued = true;
                self.ready.push_back(key);
            }
            if !peer.queued && !peer.control.is_empty() {
                peer.queued = true;
                self.ready.push_back(key);
            }
        }
        self.check_finished(now);
        self.pump_starved(now);
    }

    /// Tells once that everything wanted is stored, and becomes a seed when that is everything.
    pub(super) fn check_finished(&mut self, now: Time) {
        if self.wanted_left > 0 || self.finished_told {
            return;
        }
        self.finished_told = true;
        self.actions.push_back(Action::Completed);
        if let Role::Leeching(picker) = &mut self.role {
            // Nothing will need the room soon, but others may.
            picker.drop_parked(usize::MAX);
        }
        if self.have.is_full() {
            self.role = Role::Seeding;
            for peer in self.peers.values_mut() {
                peer.down.forgive(peer.down.asked.len());
                peer.down.asked.clear();
                peer.down.arriving = peer.down.arriving.map(|arriving| arriving.orphaned());
                peer.counted_as_seed = false;
            }
        }
        self.tell_upload_only(true);
        let keys: Vec<PeerKey> = self.peers.keys().collect();
        for key in keys {
            self.drop_if_redundant(key);
        }
        self.next_rechoke = self.next_rechoke.min(now + TICK);
    }

    /// BEP 21, by a second extension handshake as BEP 10 allows.
    pub(super) fn tell_upload_only(&mut self, flag: bool) {
        for (key, peer) in &mut self.peers {
            if !peer.extension || peer.closing {
                continue;
            }
            let handshake = ExtensionHandshake { upload_only: Some(flag), ..ExtensionHandshake::default() };
            say_extended(&mut peer.control, 0, |out| handshake.encode(out));
            if !peer.queued {
                peer.queued = true;
                self.ready.push_back(key);
            }
        }
    }

    /// Lets the peer go when neither side wants anything of the other.
    pub(super) fn drop_if_redundant(&mut self, key: PeerKey) {
        let finished = self.is_finished();
        let redundant =
            |peer: &&Peer| finished && (peer.is_seed() || peer.upload_only && !peer.up.peer_interested);
        if self.peers.get(key).filter(redundant).is_some() {
            self.disconnect(key, DisconnectReason::BothSeeds);
        }
    }

    /// Tells a peer that has little which pieces it may request while choked (BEP 6).
    pub(super) fn allow_fast(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let layout = &self.content.info.layout;
        let bytes = super::limits::ALLOWED_FAST_BYTES / u64::from(layout.piece_length.max(1));
        let count =
            usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1, super::limits::ALLOWED_FAST_PIECES_MAX);
        if !peer.fast || !peer.up.allowed_fast.is_empty() || peer.have.count_ones() as usize >= count {
            return;
        }
        for piece in allowed_fast(peer.addr.ip(), &peer.info_hash, layout.piece_count(), count) {
            if self.have.get(piece.0) && !peer.have.get(piece.0) {
                peer.up.allowed_fast.push(piece);
                peer.up.allowed_fast_left += u64::from(layout.piece_len(piece)) * 2;
                peer.say(&Message::AllowedFast(piece));
            }
        }
    }

    pub(super) fn queue_all_with_output(&mut self) {
        let told = self.stored_log.len();
        for (key, peer) in &mut self.peers {
            if !peer.queued && !peer.closing && peer.has_output(told) {
                peer.queued = true;
                self.ready.push_back(key);
            }
        }
    }

    /// The pieces that are stored.
    #[must_use]
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Whether all pieces are stored.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.have.is_full()
    }

    /// Whether all wanted pieces are stored.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.wanted_left == 0
    }

    /// Connected peers, those included that are being disconnected.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// What is exchanged.
    #[must_use]
    pub fn content(&self) -> &Arc<Content> {
        &self.content
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &SwarmConfig {
        &self.config
    }
}

/// Appends an extension message whose payload `encode` appends.
pub(super) fn say_extended(out: &mut Vec<u8>, id: u8, encode: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, 20, id]);
    encode(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}
