//! Connections of a shard: from accept or dial through the handshake to the swarm, and to their end.

use super::message::{MovedConnection, ToShard};
use super::publish::HandshakeEnd;
use super::registry::{TorrentEntry, TorrentPhase};
use super::round::Place;
use super::torrents::TorrentKey;
use super::{Shard, tokens};
use ringseed_net::candidates::DialEnd;
use ringseed_net::link::{Cargo, Link, LinkEvent};
use ringseed_net::opening::{Hello, OpeningError};
use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::mse::Random;
use ringseed_proto::swarm::{PeerInfo, PeerKey, Refusal};
use ringseed_proto::units::Time;
use ringseed_proto::wire::{Handshake, HandshakeError};
use ringseed_ring::{Completion, SendList};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The receive buffers in use are doubled when more than one connection for this many of them found none.
const STARVED_SHARE: usize = 4;
/// A dialled connection that ended sooner counts as a failed dial: the next waits longer.
const USEFUL_AFTER: Duration = Duration::from_secs(60);

/// Wait before a torrent dials again when the engine had no room for the connection.
const NO_ROOM_WAIT: Duration = Duration::from_secs(2);

slotmap::new_key_type! {
    /// A connection of this shard.
    pub struct ConnKey;
}

/// How far a connection is.
pub enum Stage {
    /// The peer's handshake is not whole yet.
    Handshaking {
        /// The torrent we dialled for.
        dialled: Option<TorrentKey>,
        /// How we began, as long as a dialled peer has not answered.
        hello: Option<Hello>,
        /// When the connection began.
        since: Time,
    },
    /// In a swarm.
    Active {
        /// The torrent.
        torrent: TorrentKey,
        /// The peer in its swarm.
        peer: PeerKey,
        /// Whether we dialled.
        dialled: bool,
        /// When it joined the swarm.
        since: Time,
    },
    /// Waiting for the terminal completions of its operations.
    Closing,
}

/// One connection to a peer. It stays in the table until the kernel is done with its link.
pub struct Connection {
    pub link: Link,
    pub stage: Stage,
    pub(super) place: Place,
}

impl Connection {
    fn new(link: Link, stage: Stage) -> Connection {
        Connection { link, stage, place: Place::default() }
    }
}

impl Shard {
    /// A new connection from outside.
    pub(super) fn accepted(&mut self, socket: OwnedFd) {
        let encryption = self.context.registry.encryption();
        let Some(link) = Link::accepted(socket, encryption, self.now) else { return };
        let address = link.address();
        let within = self.half_open.begin(address.ip());
        let admitted = (within || self.has_much_room()) && self.admit(&address);
        if !admitted {
            return self.half_open.end(address.ip());
        }
        self.begin(link, Stage::Handshaking { dialled: None, hello: None, since: self.now });
    }

    /// Whether less than half of all connections are in use.
    fn has_much_room(&self) -> bool {
        self.context.connections.load(Ordering::Relaxed) < self.context.settings.connections_max / 2
    }

    /// Counts a new connection; false when the address is blocked or the engine is full and nobody makes room.
    fn admit(&mut self, address: &SocketAddr) -> bool {
        if self.context.registry.blocks(address.ip()) {
            return false;
        }
        let max = self.context.settings.connections_max;
        let open = self.context.connections.fetch_add(1, Ordering::Relaxed);
        let room =
            open < max || open < max + self.context.descriptors.making_room && self.make_room(address.ip());
        if !room {
            self.context.connections.fetch_sub(1, Ordering::Relaxed);
        }
        room
    }

    fn begin(&mut self, link: Link, stage: Stage) -> ConnKey {
        let key = self.connections.insert(Connection::new(link, stage));
        self.handshaking.push_back(key);
        self.receive(key);
        key
    }

    /// A dial that succeeded: we speak first.
    pub(super) fn dialled(&mut self, torrent: TorrentKey, address: SocketAddr, socket: OwnedFd) {
        let Some(entry) = self.torrents.get(torrent).map(|torrent| &torrent.entry) else { return };
        let info_hash = entry.metainfo.hashes.swarm_hash();
        if !self.admit(&address) {
            // A full engine says nothing about the peer.
            let max = self.context.settings.connections_max;
            return match self.context.connections.load(Ordering::Relaxed) >= max {
                true => self.put_back(torrent, &address, NO_ROOM_WAIT),
                false => self.dial_ended(torrent, &address, DialEnd::Failed),
            };
        }
        let encryption = self.context.registry.encryption();
        let hello = match &mut self.torrents[torrent].home {
            Some(home) => home.candidates.hello(&address, encryption.mode),
            None => Hello::Plain,
        };
        let stage = Stage::Handshaking { dialled: Some(torrent), hello: Some(hello), since: self.now };
        match hello {
            Hello::Plain => {
                let key = self.begin(Link::dialled(socket, address, self.now), stage);
                self.send_handshake(key, info_hash);
            }
            Hello::Hidden => {
                let handshake = self.handshake(info_hash).encode();
                let methods = encryption.methods;
                let link = Link::dialled_hidden(socket, address, info_hash, methods, &handshake, self.now);
                let key = self.begin(link, stage);
                self.exchanges.wait(key, None);
            }
        }
    }

    /// A connection that another shard has read the handshake of.
    pub(super) fn moved_here(&mut self, moved: MovedConnection) {
        let MovedConnection { link, handshake, leftover } = moved;
        let stage = Stage::Closing; // replaced by adopt() or removed by close()
        let key = self.connections.insert(Connection::new(link, stage));
        match self.context.registry.find(&handshake.info_hash) {
            Some(entry) if entry.phase() != TorrentPhase::Stopped => {
                self.adopt(key, entry, handshake, &leftover, None);
            }
            _ => self.close(key),
        }
    }

    /// What we say first.
    fn handshake(&self, info_hash: SwarmHash) -> Handshake {
        Handshake::new(info_hash, self.context.peer_id)
    }

    fn send_handshake(&mut self, key: ConnKey, info_hash: SwarmHash) {
        let mut list = self.spare_list();
        list.push_bytes(&self.handshake(info_hash).encode());
        let cargo = Cargo { payload: 0, protocol: list.len() as u64 };
        self.send_list(key, list, cargo);
    }

    /// Arms receiving.
    pub(super) fn receive(&mut self, key: ConnKey) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.link.receive(&self.ring, tokens::connection(key));
        }
    }

    /// A completion of one of the connection's operations.
    pub(super) fn on_connection(&mut self, key: ConnKey, completion: Completion) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let event = connection.link.handle(&self.ring, completion, &*self.context.registry);
        if matches!(connection.stage, Stage::Closing) {
            if let LinkEvent::Returned(list) = event {
                self.keep_list(list);
            }
            return self.remove_if_done(key);
        }
        self.on_link(key, event);
    }

    /// Does exponentiations of encryption handshakes, as many as one turn may have; whether there were any.
    pub(super) fn compute_exchanges(&mut self) -> bool {
        if self.exchanges.is_empty() {
            return false;
        }
        let due = self.exchanges.turn(self.now);
        let any = !due.is_empty();
        for key in due {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if matches!(connection.stage, Stage::Closing) {
                continue;
            }
            let mut bytes = [0; Random::LEN];
            if let Err(error) = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
                self.refuse(key, &error.to_string());
                continue;
            }
            self.counters.exponentiations += 1;
            let event = connection.link.compute(&Random::new(bytes), &*self.context.registry);
            self.on_link(key, event);
        }
        any
    }

    /// What happened to the link of a connection that is not closing.
    fn on_link(&mut self, key: ConnKey, event: LinkEvent) {
        match event {
            LinkEvent::Bytes(buffer) => {
                self.pace.received(buffer.len());
                self.on_bytes(key, &buffer);
                drop(buffer);
                self.receive(key);
            }
            LinkEvent::Opened { handshake, leftover } => self.on_handshake(key, handshake, &leftover),
            LinkEvent::Compute => self.wait_for_exchange(key),
            LinkEvent::Foreign(error) => {
                let end = match error {
                    OpeningError::NotEncrypted => HandshakeEnd::Refused,
                    OpeningError::Handshake(_) | OpeningError::Exchange(_) | OpeningError::Plaintext => {
                        HandshakeEnd::Invalid
                    }
                };
                self.refuse_handshake(key, end, &error.to_string());
            }
            LinkEvent::Nothing => self.receive(key),
            LinkEvent::NoBuffers => self.starved.push(key),
            LinkEvent::Sent(cargo, list) => {
                self.keep_list(list);
                self.on_sent(key, cargo);
            }
            LinkEvent::SentPart { with_payload } => self.on_sent_part(key, with_payload),
            LinkEvent::SendFailed(error, list) => {
                self.keep_list(list);
                self.on_send_error(key, &error);
            }
            LinkEvent::Closed(error) => {
                if let Some(error) = error {
                    tracing::debug!(%error, "receive failed");
                }
                self.close(key);
            }
            LinkEvent::Returned(list) => self.keep_list(list),
        }
    }

    /// An exponentiation is due on a link.
    fn wait_for_exchange(&mut self, key: ConnKey) {
        let Some(Connection { stage: Stage::Handshaking { dialled, .. }, link, .. }) =
            self.connections.get(key)
        else {
            return;
        };
        let from = dialled.is_none().then(|| link.address().ip());
        self.exchanges.wait(key, from);
    }

    fn on_bytes(&mut self, key: ConnKey, bytes: &[u8]) {
        if let Some(Connection { stage: Stage::Active { torrent, peer, .. }, .. }) = self.connections.get(key)
        {
            let (torrent, peer) = (*torrent, *peer);
            self.deliver(key, torrent, peer, bytes);
        }
    }

    fn deliver(&mut self, key: ConnKey, torrent: TorrentKey, peer: PeerKey, bytes: &[u8]) {
        let Some(home) = self.torrents.get_mut(torrent) else { return };
        let result = home.swarm.received(self.now, peer, bytes, &mut home.assembly);
        self.touch(torrent);
        if let Err(error) = result {
            self.refuse(key, &error.to_string());
        }
    }

    fn on_handshake(&mut self, key: ConnKey, handshake: Handshake, leftover: &[u8]) {
        let Some(Connection { stage: Stage::Handshaking { dialled, hello, .. }, link, .. }) =
            self.connections.get_mut(key)
        else {
            return;
        };
        let (dialled, address) = (*dialled, link.address());
        if let (Some(torrent), Some(hello)) = (dialled, hello.take())
            && let Some(home) = self.torrents.get_mut(torrent).and_then(|torrent| torrent.home.as_mut())
        {
            home.candidates.answered(&address, hello);
        }
        let wanted = dialled
            .and_then(|torrent| self.torrents.get(torrent))
            .map(|torrent| torrent.entry.metainfo.hashes);
        if let Err(error) = handshake.check(wanted.as_ref(), &self.context.peer_id) {
            if let (HandshakeError::Ourselves, Some(torrent)) = (error, dialled) {
                self.exclude(torrent, &address);
            }
            return self.refuse_handshake(key, HandshakeEnd::Refused, &error.to_string());
        }
        let entry = match self.context.registry.find(&handshake.info_hash) {
            Some(entry) if entry.phase() != TorrentPhase::Stopped => entry,
            _ => {
                let reason = "no running torrent with that info-hash";
                return self.refuse_handshake(key, HandshakeEnd::Refused, reason);
            }
        };
        let elsewhere = entry.phase() == TorrentPhase::Downloading && entry.home != self.context.index;
        if elsewhere && dialled.is_none() {
            self.move_to(key, entry.home, handshake, leftover);
        } else {
            self.adopt(key, entry, handshake, leftover, dialled);
        }
    }

    /// Hands a connection to the home shard of its torrent. Nothing is in flight on it: the single receive
    /// has completed, and we have sent nothing.
    fn move_to(&mut self, key: ConnKey, home: usize, handshake: Handshake, leftover: &[u8]) {
        let Some(Connection { link, .. }) = self.connections.remove(key) else { return };
        debug_assert!(link.is_idle());
        self.half_open.end(link.address().ip()); // only those from outside move
        let moved = MovedConnection { link, handshake, leftover: leftover.to_vec() };
        if self.context.shards[home].send(ToShard::Connection(Box::new(moved))).is_err() {
            // A full mailbox: the home shard has more to do than it can; the peer will try again.
            self.context.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Lets a peer into the swarm of its torrent.
    fn adopt(
        &mut self,
        key: ConnKey,
        entry: Arc<TorrentEntry>,
        handshake: Handshake,
        leftover: &[u8],
        dialled: Option<TorrentKey>,
    ) {
        let Some(torrent) = self.torrent_for(&entry) else {
            return self.refuse_handshake(key, HandshakeEnd::Refused, "the torrent is not served here");
        };
        let address = self.connections[key].link.address();
        // Nobody makes room for one that is refused anyway.
        if self.torrents[torrent].swarm.is_banned(self.now, address.ip()) {
            return self.refuse_handshake(key, HandshakeEnd::Refused, &Refusal::Banned.to_string());
        }
        let max = self.connections_per_torrent(&entry);
        let full = entry.connections.load(Ordering::Relaxed) >= max;
        if full && !self.make_room_in(torrent, address.ip()) {
            let reason = "the torrent has all the connections it may have";
            return self.refuse_handshake(key, HandshakeEnd::Refused, reason);
        }
        entry.connections.fetch_add(1, Ordering::Relaxed);
        let home = &mut self.torrents[torrent];
        let info = PeerInfo { addr: address, outgoing: dialled.is_some(), handshake };
        let info_hash = info.handshake.info_hash;
        let peer = match home.swarm.peer_connected(self.now, info) {
            Ok(peer) => peer,
            Err(refusal) => {
                entry.connections.fetch_sub(1, Ordering::Relaxed);
                return self.refuse_handshake(key, HandshakeEnd::Refused, &refusal.to_string());
            }
        };
        self.counters.handshakes[HandshakeEnd::Done as usize] += 1;
        self.counters.obfuscations[self.connections[key].link.obfuscation() as usize] += 1;
        home.peers.insert(peer, key);
        self.ends_half_open(key);
        self.connections[key].stage =
            Stage::Active { torrent, peer, dialled: dialled.is_some(), since: self.now };
        if dialled.is_none() {
            self.send_handshake(key, info_hash);
        }
        if !leftover.is_empty() {
            self.on_bytes(key, leftover);
        }
        self.receive(key);
        self.touch(torrent);
    }

    /// Ends a connection and says why at debug level.
    pub(super) fn refuse(&mut self, key: ConnKey, reason: &str) {
        if let Some(connection) = self.connections.get(key) {
            tracing::debug!(peer = %connection.link.address(), reason, "connection ended");
        }
        self.close(key);
    }

    /// As [`Shard::refuse`] for a connection that is in no swarm yet.
    fn refuse_handshake(&mut self, key: ConnKey, end: HandshakeEnd, reason: &str) {
        self.counters.handshakes[end as usize] += 1;
        if let Some(connection) = self.connections.get(key) {
            tracing::debug!(peer = %connection.link.address(), reason, "connection ended");
        }
        self.end(key);
    }

    /// Ends a connection, whatever its stage.
    pub(super) fn close(&mut self, key: ConnKey) {
        let stage = self.connections.get(key).map(|connection| &connection.stage);
        if matches!(stage, Some(Stage::Handshaking { .. })) {
            self.counters.handshakes[HandshakeEnd::Closed as usize] += 1;
        }
        self.end(key);
    }

    /// Ends a connection: out of its swarm at once, out of the table when the kernel is done with it.
    fn end(&mut self, key: ConnKey) {
        self.ends_half_open(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let stage = std::mem::replace(&mut connection.stage, Stage::Closing);
        let address = connection.link.address();
        connection.link.close(&self.ring);
        match stage {
            Stage::Active { torrent, peer, dialled, since, .. } => {
                let used_at = self.torrents.get(torrent).and_then(|home| home.swarm.last_used(peer));
                self.leave(torrent, peer);
                if dialled {
                    let lasted = self.now.saturating_since(since) >= USEFUL_AFTER;
                    let end = match used_at.is_some_and(|at| at > since) {
                        _ if !lasted => DialEnd::Failed,
                        true => DialEnd::Useful,
                        false => DialEnd::Idle,
                    };
                    self.dial_ended(torrent, &address, end);
                }
            }
            Stage::Handshaking { dialled: Some(torrent), hello: Some(hello), .. } => {
                self.dial_unanswered(torrent, &address, hello);
            }
            Stage::Handshaking { dialled: Some(torrent), hello: None, .. } => {
                self.dial_ended(torrent, &address, DialEnd::Failed);
            }
            Stage::Handshaking { .. } | Stage::Closing => {}
        }
        self.remove_if_done(key);
    }

    /// The handshake of a connection is done, or it ends without one.
    fn ends_half_open(&mut self, key: ConnKey) {
        if let Some(Connection { stage: Stage::Handshaking { dialled: None, .. }, link, .. }) =
            self.connections.get(key)
        {
            self.half_open.end(link.address().ip());
        }
    }

    fn leave(&mut self, torrent: TorrentKey, peer: PeerKey) {
        let Some(home) = self.torrents.get_mut(torrent) else { return };
        home.swarm.peer_disconnected(self.now, peer);
        home.peers.remove(peer);
        // A peer may come and go between two publications: what it moved is counted now.
        home.published_peers = home.published_peers.max(1);
        home.entry.connections.fetch_sub(1, Ordering::Relaxed);
        self.touch(torrent);
    }

    fn remove_if_done(&mut self, key: ConnKey) {
        let Some(connection) = self.connections.get(key) else { return };
        if connection.link.is_idle() {
            self.connections.remove(key);
            self.context.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Ends connections of addresses that are blocked since the blocklist changed.
    pub(super) fn drop_blocked(&mut self) {
        let list = self.context.registry.blocklist.load_full();
        if self.blocklist.as_ref().map(Arc::as_ptr) == list.as_ref().map(Arc::as_ptr) {
            return;
        }
        if let Some(list) = &list {
            let blocked = self.connections.iter().filter(|(_, open)| list.contains(open.link.address().ip()));
            for key in blocked.map(|(key, _)| key).collect::<Vec<_>>() {
                self.refuse(key, "the address is in the blocklist");
            }
        }
        self.blocklist = list;
    }

    /// Ends connections whose handshake takes too long.
    pub(super) fn expire_handshakes(&mut self) {
        while let Some(key) = self.handshaking.front().copied() {
            if let Some(Connection { stage: Stage::Handshaking { .. }, link, .. }) = self.connections.get(key)
            {
                if !link.is_late(self.now) {
                    break;
                }
                self.refuse_handshake(key, HandshakeEnd::Late, "no handshake in time");
            }
            self.handshaking.pop_front();
        }
    }

    /// Arms receives that found no buffer when enough have come back; earlier would only fail again. There are more
    /// buffers from then on when many connections found none: one that brings more than fits is read in turns, so that
    /// its bytes are still in the core's cache when they are looked at.
    pub(super) fn feed_starved(&mut self) {
        if self.starved.is_empty() {
            return;
        }
        let used = self.ring.buffers_used();
        if self.starved.len() * STARVED_SHARE > used as usize {
            self.ring.more_buffers();
        }
        if self.ring.buffers_free() < used / 4 {
            return;
        }
        // Another is first each time: one with more to read than the buffers hold would else leave none to others.
        let mut starved = std::mem::take(&mut self.starved);
        starved.rotate_left(1);
        for key in starved {
            self.receive(key);
        }
    }

    pub(super) fn spare_list(&mut self) -> SendList {
        self.spare_lists.pop().unwrap_or_default()
    }

    pub(super) fn keep_list(&mut self, mut list: SendList) {
        if self.spare_lists.len() < super::SPARE_LISTS_MAX {
            list.clear();
            self.spare_lists.push(list);
        }
    }
}
