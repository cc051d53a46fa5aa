//! Sending: what a swarm wants to tell a peer, gathered with blocks from the maps into one `SENDMSG`.
//!
//! One send is in flight per peer, and one per peer and [round](super::round) is made, however much it asks for.
//!
//! To a peer on an enciphered link nothing goes from where it lies: it is copied and enciphered in memory that the next send
//! uses again ([`gather`](super::gather)), and leaves at once, as far as the socket takes it.

use super::connections::{ConnKey, Stage};
use super::gather::Gather;
use super::torrents::TorrentKey;
use super::{Shard, tokens};
use crate::limits::ENCIPHERED_BLOCKS_MAX;
use ringseed_net::link::{Cargo, SentNow};
use ringseed_proto::swarm::{FillLimits, FillOutcome, Part, PeerKey};
use ringseed_proto::units::{BLOCK_LEN, Block};
use ringseed_ring::SendList;
use ringseed_storage::{Residency, StorageError};
use std::io;

impl Shard {
    /// Sends what the ready peers of a torrent are to be told.
    pub(super) fn transmit_ready(&mut self, torrent: TorrentKey) {
        while let Some(peer) = self.torrents.get_mut(torrent).and_then(|home| home.swarm.next_ready()) {
            let Some(key) = self.torrents[torrent].peers.get(peer).copied() else { continue };
            let Some(connection) = self.connections.get_mut(key) else { continue };
            // A busy peer is marked ready again when its send ends, one that had its turn when the round does.
            if !connection.link.is_sending() && self.round.admits(&mut connection.place, torrent, peer) {
                self.transmit(key, torrent, peer);
            }
        }
    }

    /// Begins the next round when this turn had nobody left to send to, and lets those that waited have it.
    pub(super) fn end_round(&mut self) {
        for (torrent, peer) in self.round.turn_ended() {
            if let Some(home) = self.torrents.get_mut(torrent) {
                home.swarm.mark_ready(peer);
                self.touch(torrent);
            }
        }
        self.serve_touched();
    }

    fn transmit(&mut self, key: ConnKey, torrent: TorrentKey, peer: PeerKey) {
        let home = &mut self.torrents[torrent];
        let enciphered = self.connections.get(key).is_some_and(|connection| connection.link.is_enciphered());
        let blocks_max = match enciphered {
            true => self.round.blocks_max().min(ENCIPHERED_BLOCKS_MAX),
            false => self.round.blocks_max(),
        };
        let wanted = blocks_max as u64 * u64::from(BLOCK_LEN);
        let now = self.now.micros();
        let of_engine = self.context.upload_limit.take(wanted, now);
        let budget = home.entry.upload_limit.take(of_engine, now);
        let limits = FillLimits { blocks_max, payload_bytes_max: budget };
        self.batch.clear();
        let (store, staged) = (&home.entry.store, &self.staged);
        let outcome = home.swarm.fill(self.now, peer, &mut self.batch, limits, |block: &Block| {
            !staged.is_empty() && staged.has(torrent, block, self.now)
                || store.residency(block) == Residency::Resident
        });
        let mut list = self.spare_lists.pop().unwrap_or_default();
        self.staging.clear();
        let mut gather = match enciphered {
            true => Gather::Copied(&mut self.staging),
            false => Gather::InPlace(&mut list),
        };
        let mut payload = 0;
        let mut failed = None;
        for part in &self.batch.parts {
            match part {
                Part::Bytes(range) => gather.push_bytes(&self.batch.bytes[range.clone()]),
                Part::Block(block) => {
                    payload += u64::from(block.length);
                    if let Some(own) = staged.get(torrent, block) {
                        gather.push_own(own);
                    } else if let Err(error) = gather.push_block(store, block) {
                        failed = Some(error);
                        break;
                    }
                }
            }
        }
        let length = gather.len() as u64;
        if !self.staged.is_empty() {
            // Only now: a peer may have asked for one twice.
            for part in &self.batch.parts {
                if let Part::Block(block) = part {
                    self.staged.sent(torrent, block);
                }
            }
        }
        self.context.upload_limit.give_back(of_engine as i64 - payload as i64);
        home.entry.upload_limit.give_back(budget as i64 - payload as i64);
        if let Some(error) = failed {
            // A header without its block would shift the peer's stream: this connection ends, and the
            // torrent with it.
            self.keep_list(list);
            match error.is_shortage() {
                // What is lacking comes back; the peer does, too.
                true => self.refuse(key, &error.to_string()),
                false => self.fail_torrent(torrent, error),
            }
            return;
        }
        match outcome {
            FillOutcome::Cold(block) => self.bring_in(torrent, &block, peer),
            FillOutcome::Budget => self.throttled.push((torrent, peer)),
            FillOutcome::Drained | FillOutcome::More => {}
        }
        if length == 0 {
            self.keep_list(list);
            return;
        }
        let cargo = Cargo { payload, protocol: length - payload };
        let blocks = payload.div_ceil(u64::from(BLOCK_LEN));
        self.counters.sends += 1;
        self.counters.blocks_sent += blocks;
        if let Some(connection) = self.connections.get_mut(key) {
            self.round.sent(&mut connection.place, blocks as usize);
        }
        match enciphered {
            true => self.send_staged(key, list, cargo),
            false => self.send_list(key, list, cargo),
        }
    }

    /// Sends what was gathered in the staging memory.
    fn send_staged(&mut self, key: ConnKey, list: SendList, cargo: Cargo) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (token, bytes) = (tokens::connection(key), self.staging.bytes());
        self.counters.enciphered += bytes.len() as u64;
        match connection.link.send_enciphered(&self.ring, token, bytes, list, cargo) {
            SentNow::All(list) => {
                self.keep_list(list);
                // As if the ring had told: in the next turn, so that others have theirs.
                self.sent_at_once.push((key, cargo));
            }
            SentNow::Part => self.counters.partial_sends += 1,
            SentNow::Failed(error, list) => {
                self.keep_list(list);
                self.on_send_error(key, &error);
            }
        }
    }

    /// Tells swarms what left at once in the turn before; whether there was anything.
    pub(super) fn tell_sent_at_once(&mut self) -> bool {
        let mut sent = std::mem::take(&mut self.sent_at_once);
        let any = !sent.is_empty();
        for (key, cargo) in sent.drain(..) {
            self.on_sent(key, cargo);
        }
        self.sent_at_once = sent;
        any
    }

    pub(super) fn send_list(&mut self, key: ConnKey, list: SendList, cargo: Cargo) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.link.send(&self.ring, tokens::connection(key), list, cargo);
        }
    }

    /// A part of a send has left.
    pub(super) fn on_sent_part(&mut self, key: ConnKey, with_payload: bool) {
        self.counters.partial_sends += 1;
        if with_payload
            && let Some(Stage::Active { torrent, peer, .. }) = self.connections.get(key).map(|c| &c.stage)
            && let Some(home) = self.torrents.get_mut(*torrent)
        {
            home.swarm.sent_a_part(self.now, *peer);
        }
    }

    /// A send has left: the peer may have the next.
    pub(super) fn on_sent(&mut self, key: ConnKey, cargo: Cargo) {
        let Some(Stage::Active { torrent, peer, .. }) = self.connections.get(key).map(|c| &c.stage) else {
            return;
        };
        let (torrent, peer) = (*torrent, *peer);
        if let Some(home) = self.torrents.get_mut(torrent) {
            home.swarm.sent(self.now, peer, cargo.payload, cargo.protocol);
            home.swarm.mark_ready(peer);
            self.touch(torrent);
        }
    }

    /// A send failed. When it was the file and not the peer (it was truncated under its map), the torrent
    /// fails; the connection ends in both cases, for the stream cannot go on after a part of a block.
    pub(super) fn on_send_error(&mut self, key: ConnKey, error: &io::Error) {
        if error.raw_os_error() == Some(libc::EFAULT)
            && let Some(Stage::Active { torrent, .. }) = self.connections.get(key).map(|c| &c.stage)
        {
            let torrent = *torrent;
            if let Some(home) = self.torrents.get(torrent) {
                let store = &home.entry.store;
                let unknown = || StorageError::Io {
                    operation: "read a data file of",
                    path: store.directory().to_path_buf(),
                    errno: error.raw_os_error().unwrap_or(libc::EIO),
                };
                let found = store.check_in_use().into_iter().next().unwrap_or_else(unknown);
                self.fail_torrent(torrent, found);
            }
        }
        self.refuse(key, &error.to_string());
    }

    /// Lets peers that waited for the rate limit go on.
    pub(super) fn release_throttled(&mut self) {
        for (torrent, peer) in std::mem::take(&mut self.throttled) {
            if let Some(home) = self.torrents.get_mut(torrent) {
                home.swarm.mark_ready(peer);
                self.touch(torrent);
            }
        }
    }
}
