//! Connections of a shard: from accept or dial through the handshake to the swarm, and to their end.

use super::message::{MovedConnection, ToShard};
use super::publish::HandshakeEnd;
use super::registry::{Phase, TorrentEntry};
use super::round::Place;
use super::torrents::TorrentKey;
use super::{Shard, tokens};
use crate::limits::HANDSHAKE_TIMEOUT;
use ringseed_net::candidates::DialEnd;
use ringseed_proto::peer_address::canonical;
use ringseed_proto::swarm::{PeerInfo, PeerKey, Refusal};
use ringseed_proto::units::{InfoHash, Time};
use ringseed_proto::wire::{Handshake, HandshakeError, HandshakeReader};
use ringseed_ring::{Completion, Event, OpId, SendList};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
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
        /// What has arrived of it.
        reader: HandshakeReader,
        /// The torrent we dialled for.
        dialled: Option<TorrentKey>,
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
        /// Payload and protocol bytes of the send in flight.
        in_flight: (u64, u64),
    },
    /// Waiting for the terminal completions of its operations.
    Closing,
}

/// One TCP connection. It stays in the table until the kernel is done with its operations.
pub struct Connection {
    pub socket: OwnedFd,
    pub address: SocketAddr,
    pub stage: Stage,
    pub receiving: Option<OpId>,
    pub sending: Option<OpId>,
    pub(super) place: Place,
}

impl Connection {
    fn new(socket: OwnedFd, address: SocketAddr, stage: Stage) -> Connection {
        Connection { socket, address, stage, receiving: None, sending: None, place: Place::default() }
    }
}

impl Shard {
    /// A new connection from outside.
    pub(super) fn accepted(&mut self, socket: OwnedFd) {
        let Some(address) = peer_address(&socket) else { return };
        let within = self.half_open.begin(address.ip());
        let admitted = (within || self.has_much_room()) && self.admit(&address);
        if !admitted {
            return self.half_open.end(address.ip());
        }
        let stage = Stage::Handshaking { reader: HandshakeReader::default(), dialled: None, since: self.now };
        self.begin(socket, address, stage);
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

    fn begin(&mut self, socket: OwnedFd, address: SocketAddr, stage: Stage) -> ConnKey {
        // Small messages (requests, haves) must not wait for acknowledgements of earlier ones.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        let key = self.connections.insert(Connection::new(socket, address, stage));
        if matches!(self.connections[key].stage, Stage::Handshaking { .. }) {
            self.handshaking.push_back(key);
        }
        self.receive(key);
        key
    }

    /// A dial that succeeded: we speak first.
    pub(super) fn dialled(&mut self, torrent: TorrentKey, address: SocketAddr, socket: OwnedFd) {
        let Some(info_hash) = self.torrents.get(torrent).map(|torrent| torrent.entry.info_hash()) else {
            return;
        };
        if !self.admit(&address) {
            // A full engine says nothing about the peer.
            let max = self.context.settings.connections_max;
            return match self.context.connections.load(Ordering::Relaxed) >= max {
                true => self.put_back(torrent, &address, NO_ROOM_WAIT),
                false => self.dial_ended(torrent, &address, DialEnd::Failed),
            };
        }
        let stage = Stage::Handshaking {
            reader: HandshakeReader::default(),
            dialled: Some(torrent),
            since: self.now,
        };
        let key = self.begin(socket, address, stage);
        self.send_handshake(key, info_hash);
    }

    /// A connection that another shard has read the handshake of.
    pub(super) fn moved_here(&mut self, moved: MovedConnection) {
        let MovedConnection { socket, address, handshake, leftover } = moved;
        let stage = Stage::Closing; // replaced by adopt() or removed by close()
        let key = self.connections.insert(Connection::new(socket, address, stage));
        match self.context.registry.get(&handshake.info_hash) {
            Some(entry) if entry.phase() != Phase::Stopped => {
                self.adopt(key, entry, handshake, &leftover, None);
            }
            _ => self.close(key),
        }
    }

    fn send_handshake(&mut self, key: ConnKey, info_hash: InfoHash) {
        let mut list = self.spare_list();
        list.push_bytes(&Handshake::new(info_hash, self.context.peer_id).encode());
        self.send_list(key, list);
    }

    /// Arms receiving: single receives until the handshake is done, so that nothing is in flight when the
    /// connection moves to another shard; a multishot receive from then on.
    pub(super) fn receive(&mut self, key: ConnKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.receiving.is_some() {
            return;
        }
        let fd = connection.socket.as_raw_fd();
        connection.receiving = match connection.stage {
            Stage::Handshaking { .. } => Some(self.ring.recv_once(fd, tokens::connection(key))),
            Stage::Active { .. } => Some(self.ring.recv_multishot(fd, tokens::connection(key))),
            Stage::Closing => None,
        };
    }

    /// A completion of one of the connection's operations.
    pub(super) fn on_connection(&mut self, key: ConnKey, completion: Completion) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let of_receive = connection.receiving == Some(completion.op);
        if !completion.more {
            if of_receive {
                connection.receiving = None;
            } else if connection.sending == Some(completion.op) {
                connection.sending = None;
            }
        }
        if matches!(connection.stage, Stage::Closing) {
            if let Event::Sent { list, .. } | Event::SendError { list, .. } = completion.event {
                self.keep_list(list);
            }
            self.remove_if_done(key);
            return;
        }
        match completion.event {
            Event::Received(buffer) => {
                self.pace.received(buffer.len());
                self.on_bytes(key, &buffer);
                drop(buffer);
                self.receive(key);
            }
            Event::NoBuffers => self.starved.push(key),
            Event::Sent { bytes, list } => self.on_sent(key, bytes, list),
            Event::SendError { error, list } => {
                self.keep_list(list);
                self.on_send_error(key, &error);
            }
            Event::Closed => self.close(key),
            Event::RecvError(error) => {
                tracing::debug!(%error, "receive failed");
                self.close(key);
            }
            Event::Cancelled
            | Event::Readable
            | Event::PollError(_)
            | Event::Accepted(_)
            | Event::AcceptError(_) => {
                if of_receive {
                    self.receive(key);
                }
            }
        }
    }

    fn on_bytes(&mut self, key: ConnKey, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match &mut connection.stage {
            Stage::Active { torrent, peer, .. } => {
                let (torrent, peer) = (*torrent, *peer);
                self.deliver(key, torrent, peer, bytes);
            }
            Stage::Handshaking { reader, dialled, .. } => {
                let dialled = *dialled;
                match reader.push(bytes) {
                    Ok(None) => {}
                    Ok(Some((handshake, leftover))) => self.on_handshake(key, handshake, leftover, dialled),
                    Err(error) => self.refuse_handshake(key, HandshakeEnd::Invalid, &error.to_string()),
                }
            }
            Stage::Closing => {}
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

    fn on_handshake(
        &mut self,
        key: ConnKey,
        handshake: Handshake,
        leftover: Vec<u8>,
        dialled: Option<TorrentKey>,
    ) {
        let wanted = dialled.and_then(|torrent| self.torrents.get(torrent)).map(|t| t.entry.info_hash());
        if let Err(error) = handshake.check(wanted.as_ref(), &self.context.peer_id) {
            if let (HandshakeError::Ourselves, Some(torrent)) = (error, dialled) {
                let address = self.connections[key].address;
                self.exclude(torrent, &address);
            }
            return self.refuse_handshake(key, HandshakeEnd::Refused, &error.to_string());
        }
        let entry = match self.context.registry.get(&handshake.info_hash) {
            Some(entry) if entry.phase() != Phase::Stopped => entry,
            _ => {
                let reason = "no running torrent with that info-hash";
                return self.refuse_handshake(key, HandshakeEnd::Refused, reason);
            }
        };
        let elsewhere = entry.phase() == Phase::Downloading && entry.home != self.context.index;
        if elsewhere && dialled.is_none() {
            self.move_to(key, entry.home, handshake, leftover);
        } else {
            self.adopt(key, entry, handshake, &leftover, dialled);
        }
    }

    /// Hands a connection to the home shard of its torrent. Nothing is in flight on it: the single receive
    /// has completed, and we have sent nothing.
    fn move_to(&mut self, key: ConnKey, home: usize, handshake: Handshake, leftover: Vec<u8>) {
        let Some(connection) = self.connections.remove(key) else { return };
        debug_assert!(connection.receiving.is_none() && connection.sending.is_none());
        self.half_open.end(connection.address.ip()); // only those from outside move
        let Connection { socket, address, .. } = connection;
        let moved = MovedConnection { socket, address, handshake, leftover };
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
        let address = self.connections[key].address;
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
        home.peers.insert(peer, key);
        self.ends_half_open(key);
        self.connections[key].stage =
            Stage::Active { torrent, peer, dialled: dialled.is_some(), since: self.now, in_flight: (0, 0) };
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
            tracing::debug!(peer = %connection.address, reason, "connection ended");
        }
        self.close(key);
    }

    /// As [`Shard::refuse`] for a connection that is in no swarm yet.
    fn refuse_handshake(&mut self, key: ConnKey, end: HandshakeEnd, reason: &str) {
        self.counters.handshakes[end as usize] += 1;
        if let Some(connection) = self.connections.get(key) {
            tracing::debug!(peer = %connection.address, reason, "connection ended");
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
        let address = connection.address;
        for operation in [connection.receiving, connection.sending].into_iter().flatten() {
            self.ring.cancel(operation);
        }
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
            Stage::Handshaking { dialled: Some(torrent), .. } => {
                self.dial_ended(torrent, &address, DialEnd::Failed);
            }
            Stage::Handshaking { .. } | Stage::Closing => {}
        }
        self.remove_if_done(key);
    }

    /// The handshake of a connection is done, or it ends without one.
    fn ends_half_open(&mut self, key: ConnKey) {
        if let Some(Connection { stage: Stage::Handshaking { dialled: None, .. }, address, .. }) =
            self.connections.get(key)
        {
            self.half_open.end(address.ip());
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
        if connection.receiving.is_none() && connection.sending.is_none() {
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
            let blocked = self.connections.iter().filter(|(_, open)| list.contains(open.address.ip()));
            for key in blocked.map(|(key, _)| key).collect::<Vec<_>>() {
                self.refuse(key, "the address is in the blocklist");
            }
        }
        self.blocklist = list;
    }

    /// Ends connections whose handshake takes too long.
    pub(super) fn expire_handshakes(&mut self) {
        while let Some(key) = self.handshaking.front().copied() {
            match self.connections.get(key).map(|connection| &connection.stage) {
                Some(Stage::Handshaking { since, .. }) => {
                    if self.now.saturating_since(*since) < HANDSHAKE_TIMEOUT {
                        break;
                    }
                    self.refuse_handshake(key, HandshakeEnd::Late, "no handshake in time");
                }
                Some(Stage::Active { .. } | Stage::Closing) | None => {}
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

/// The canonical address of a peer: a v4 peer of a dual-stack socket would otherwise be another one for bans and candidates.
fn peer_address(socket: &OwnedFd) -> Option<SocketAddr> {
    SocketAddr::try_from(rustix::net::getpeername(socket).ok()??).ok().map(canonical)
}
