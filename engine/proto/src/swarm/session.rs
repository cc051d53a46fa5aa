//! What each control message of a peer means.

use super::PeerKey;
use super::event::{Action, PeerError, Violation};
use super::limits::{ACTIONS_MAX, HINTED_PIECES_MAX, REJECT_PAUSE, REJECTS_MAX};
use super::machine::{Role, Swarm, extension_id};
use crate::bitfield::Bitfield;
use crate::units::{Block, PieceIndex, Time};
use crate::wire::Message;
use crate::wire::extension::{ExtensionHandshake, MetadataMessage, PexMessage};

impl Swarm {
    pub(super) fn on_message(
        &mut self,
        now: Time,
        key: PeerKey,
        message: Message<'_>,
    ) -> Result<(), PeerError> {
        let peer = self.peers.get_mut(key).filter(|peer| !peer.closing).ok_or(PeerError::Gone)?;
        let fast = peer.fast;
        let agreed =
            |agreed: bool| if agreed { Ok(()) } else { Err(PeerError::Violation(Violation::NotAgreed)) };
        match message {
            Message::KeepAlive | Message::Port(_) | Message::Unknown { .. } => {}
            Message::Request(block) => return self.on_request(key, block),
            Message::Cancel(block) => self.on_cancel(key, &block),
            Message::Have(piece) => return self.on_have(now, key, piece),
            Message::Choke => self.on_choke(key),
            Message::Unchoke => {
                peer.down.peer_choking = false;
                peer.down.starved_at = None;
                peer.down.progress = now;
            }
            Message::Interested => self.on_interested(now, key),
            Message::NotInterested => self.on_not_interested(now, key),
            Message::Bitfield(bytes) => {
                let count = self.content.info.layout.piece_count();
                let pieces = Bitfield::from_bytes(count, bytes)
                    .map_err(|_| PeerError::Violation(Violation::Bitfield))?;
                if self.peers[key].bitfield_seen {
                    return self.on_more_pieces(now, key, &pieces);
                }
                return self.on_pieces(now, key, pieces);
            }
            Message::HaveAll => {
                agreed(fast)?;
                return self.on_pieces(now, key, Bitfield::full(self.content.info.layout.piece_count()));
            }
            Message::HaveNone => {
                agreed(fast)?;
                return self.on_pieces(now, key, Bitfield::new(self.content.info.layout.piece_count()));
            }
            Message::RejectRequest(block) => {
                agreed(fast)?;
                self.on_reject(now, key, &block);
            }
            Message::SuggestPiece(piece) | Message::AllowedFast(piece) => {
                agreed(fast)?;
                self.in_range(piece)?;
                let down = &mut self.peers[key].down;
                let allowed = matches!(message, Message::AllowedFast(_));
                let list = if allowed { &mut down.allowed_fast } else { &mut down.suggested };
                if list.len() < HINTED_PIECES_MAX && !list.contains(&piece) {
                    list.push(piece);
                    down.starved_at = None;
                }
            }
            Message::Extended { id, payload } => {
                agreed(peer.extension)?;
                return self.on_extended(now, key, id, payload);
            }
        }
        Ok(())
    }

    fn in_range(&self, piece: PieceIndex) -> Result<(), PeerError> {
        if piece.0 < self.content.info.layout.piece_count() {
            Ok(())
        } else {
            Err(PeerError::Violation(Violation::OutOfRange))
        }
    }

    /// The peer has one piece more.
    fn on_have(&mut self, now: Time, key: PeerKey, piece: PieceIndex) -> Result<(), PeerError> {
        self.in_range(piece)?;
        let peer = &mut self.peers[key];
        if !peer.have.set(piece.0) {
            return Ok(());
        }
        peer.told_pieces = true;
        if let Role::Leeching(picker) = &mut self.role {
            picker.gained(piece.0);
            if picker.wants(piece.0) {
                peer.down.interesting += 1;
                peer.down.starved_at = None;
                peer.update_interest(now);
            }
        }
        if peer.have.is_full() {
            self.drop_if_redundant(key);
        }
        Ok(())
    }

    /// The peer tells all its pieces, once. HAVEs before it (some clients do that) are kept.
    fn on_pieces(&mut self, now: Time, key: PeerKey, mut pieces: Bitfield) -> Result<(), PeerError> {
        let peer = &mut self.peers[key];
        if peer.bitfield_seen {
            return Err(PeerError::Violation(Violation::Bitfield));
        }
        peer.bitfield_seen = true;
        peer.told_pieces = true;
        if !peer.have.is_clear() {
            peer.have.iter_ones().for_each(|piece| {
                pieces.set(piece);
            });
        }
        if let Role::Leeching(picker) = &mut self.role {
            peer.have.iter_ones().for_each(|piece| picker.lost(piece));
            if pieces.is_full() {
                picker.seeds += 1;
                peer.counted_as_seed = true;
            } else {
                pieces.iter_ones().for_each(|piece| picker.gained(piece));
            }
            peer.down.interesting = pieces.iter_ones().filter(|&piece| picker.wants(piece)).count() as u32;
        }
        peer.have = pieces;
        peer.down.starved_at = None;
        peer.update_interest(now);
        self.allow_fast(key);
        self.drop_if_redundant(key);
        Ok(())
    }

    /// A bitfield after the first. aria2 sends one in place of many HAVEs: what is new in it counts as those.
    fn on_more_pieces(&mut self, now: Time, key: PeerKey, pieces: &Bitfield) -> Result<(), PeerError> {
        for piece in pieces.iter_ones() {
            if self.peers.get(key).is_some_and(|peer| !peer.have.get(piece)) {
                self.on_have(now, key, PieceIndex(piece))?;
            }
        }
        Ok(())
    }

    /// The peer will not answer from now on. With the Fast extension it says so for each request.
    fn on_choke(&mut self, key: PeerKey) {
        let peer = &mut self.peers[key];
        peer.down.peer_choking = true;
        if peer.fast {
            return;
        }
        peer.down.forgive(peer.down.asked.len());
        let Role::Leeching(picker) = &mut self.role else { return };
        for asked in peer.down.asked.drain(..) {
            picker.release(&asked.block);
        }
    }

    fn on_reject(&mut self, now: Time, key: PeerKey, block: &Block) {
        let peer = &mut self.peers[key];
        if peer.down.take_asked(block).is_none() {
            // The answer to a request that was cancelled or given up.
            peer.down.late = peer.down.late.saturating_sub(1);
            return;
        }
        if peer.down.peer_choking {
            peer.down.allowed_fast.retain(|&piece| piece != block.piece);
        } else {
            peer.down.pause_until = now + REJECT_PAUSE;
            peer.down.rejects += 1;
        }
        if let Role::Leeching(picker) = &mut self.role {
            picker.release(block);
        }
        if self.peers[key].down.rejects >= REJECTS_MAX {
            self.peers[key].down.rejects = 0;
            self.snub(now, key);
        }
    }

    fn on_extended(&mut self, now: Time, key: PeerKey, id: u8, payload: &[u8]) -> Result<(), PeerError> {
        let malformed = PeerError::Violation(Violation::Extension);
        match id {
            0 => {
                let handshake = ExtensionHandshake::parse(payload).ok_or(malformed)?;
                self.on_extension_handshake(key, handshake);
            }
            extension_id::PEX => {
                let message = PexMessage::parse(payload).ok_or(malformed)?;
                if !self.exchanges_peers() || self.actions.len() >= ACTIONS_MAX {
                    return Ok(());
                }
                let peer = &mut self.peers[key];
                let from = peer.addr.ip();
                let addrs = peer.pex.received(now, &message, from)?;
                if !addrs.is_empty() {
                    self.actions.push_back(Action::PexPeers { from, addrs });
                }
            }
            extension_id::METADATA => {
                // Data and rejects answer requests, and we never send one: we have the metadata.
                if let MetadataMessage::Request { piece } =
                    MetadataMessage::parse(payload).ok_or(malformed)?
                {
                    self.on_metadata_request(now, key, piece);
                }
            }
            extension_id::UPLOAD_ONLY => {
                let flag = payload.first().is_some_and(|&byte| byte != 0);
                self.peers[key].upload_only = flag;
                self.drop_if_redundant(key);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_extension_handshake(&mut self, key: PeerKey, handshake: ExtensionHandshake) {
        let peer = &mut self.peers[key];
        // A later handshake changes only what it names (BEP 10).
        let set = |id: &mut u8, new: Option<u8>| *id = new.unwrap_or(*id);
        set(&mut peer.extensions.ut_metadata, handshake.ut_metadata);
        set(&mut peer.extensions.ut_pex, handshake.ut_pex);
        if let Some(version) = handshake.version {
            peer.extensions.version = Some(version);
        }
        peer.extensions.listen_port = handshake.listen_port.or(peer.extensions.listen_port);
        if let Some(count) = handshake.request_queue {
            // Some clients say 0 and mean nothing by it.
            peer.down.queue_max = count.max(1);
        }
        if let Some(flag) = handshake.upload_only {
            peer.upload_only = flag;
            self.drop_if_redundant(key);
        }
    }
}
