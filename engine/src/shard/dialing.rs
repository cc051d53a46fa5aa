//! Dials of a home shard: which addresses, how many at once, and what became of them.

use super::Shard;
use super::home::Home;
use super::local::LocalEvent;
use super::registry::TorrentPhase;
use super::torrents::TorrentKey;
use crate::descriptors;
use crate::limits::TOLD_DIALS_PART;
use ringseed_net::candidates::{Chosen, DialEnd, Source};
use ringseed_net::dial;
use ringseed_net::opening::Hello;
use ringseed_proto::hashes::TorrentId;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Connections that a complete torrent begins by itself: leechers find a seed, but those behind a NAT
/// can only be reached.
const SEED_DIALS_MAX: usize = 30;

/// Wait after which a torrent looks again whether it may dial, when a limit kept it from it.
const HELD_WAIT: Duration = Duration::from_millis(250);

/// Wait after which a torrent dials again when there was no descriptor for a socket.
const DESCRIPTOR_WAIT: Duration = Duration::from_secs(1);

/// Dials in flight for which a download that has all its connections lets useless ones go.
const EXCHANGES_MAX: usize = 8;

/// Dials of a shard that are under way.
#[derive(Debug, Default)]
pub(super) struct Dials {
    all: usize,
    /// To addresses that peers told.
    told: usize,
}

impl Dials {
    fn began(&mut self, told: bool) {
        self.all += 1;
        self.told += usize::from(told);
    }

    fn ended(&mut self, told: bool) {
        self.all -= 1;
        self.told -= usize::from(told);
    }
}

/// Begins the dials of a torrent that are due.
pub(super) fn dial(shard: &mut Shard, key: TorrentKey) {
    while begin_dial(shard, key) {}
}

/// Begins the next dial of a torrent; false when none is due or a limit keeps it from it.
fn begin_dial(shard: &mut Shard, key: TorrentKey) -> bool {
    let now = shard.now;
    let Some(torrent) = shard.torrents.get(key) else { return false };
    let due = torrent.home.as_ref().and_then(Home::dial_due);
    if due.is_none_or(|due| due > now) {
        return false;
    }
    let phase = torrent.entry.phase();
    let most = match phase {
        TorrentPhase::Stopped => 0,
        TorrentPhase::Downloading => shard.connections_per_torrent(&torrent.entry),
        TorrentPhase::Seeding => SEED_DIALS_MAX,
    };
    let full = torrent.entry.connections.load(Ordering::Relaxed) + torrent.dials >= most;
    // A full download exchanges useless connections for others, a few at a time: a dial may fail.
    let exchanges = full && phase == TorrentPhase::Downloading && torrent.dials < EXCHANGES_MAX;
    // Half of the dials at most, a quarter for one torrent: see `limits::TOLD_DIALS_PART`.
    let dials_max = shard.context.descriptors.dials;
    let told_max = dials_max.div_ceil(TOLD_DIALS_PART);
    let told_too = shard.dials.told < told_max && torrent.told_dials < told_max.div_ceil(2);
    let Some(home) = shard.torrents[key].home.as_mut() else { return false };
    if shard.dials.all >= dials_max || full && !exchanges {
        home.dials_held = now + HELD_WAIT;
        return false;
    }
    let Some(Chosen { address, told }) = home.candidates.next(now, told_too) else {
        if !told_too {
            home.dials_held = now + HELD_WAIT;
        }
        return false;
    };
    if shard.context.registry.blocks(address.ip()) {
        home.candidates.exclude(&address);
        return true;
    }
    if shard.torrents[key].swarm.is_banned(now, address.ip()) {
        shard.dial_ended(key, &address, DialEnd::Failed);
        return true;
    }
    if exchanges && !shard.make_room_in(key, address.ip()) {
        shard.put_back(key, &address, HELD_WAIT);
        return false;
    }
    let torrent = &mut shard.torrents[key];
    torrent.dials += 1;
    torrent.told_dials += usize::from(told);
    shard.dials.began(told);
    let (settings, route) = (shard.context.settings.clone(), shard.context.route.clone());
    let ring = shard.ring.clone();
    shard.local.spawn(async move {
        let result = dial::dial(&ring, &route, &settings.listen_addresses, address).await;
        LocalEvent::Dialled { torrent: key, address, told, result }
    });
    true
}

impl Shard {
    /// A dial ended: the connection begins, or the address waits for its next turn.
    pub(super) fn on_dialled(
        &mut self,
        torrent: TorrentKey,
        address: SocketAddr,
        told: bool,
        result: io::Result<OwnedFd>,
    ) {
        self.dials.ended(told);
        self.touch(torrent);
        let Some(home) = self.torrents.get_mut(torrent) else { return };
        home.dials -= 1;
        home.told_dials -= usize::from(told);
        match result {
            Ok(socket) if home.entry.phase() != TorrentPhase::Stopped => {
                self.dialled(torrent, address, socket)
            }
            Ok(_) => {}
            // It says nothing about the peer.
            Err(error) if descriptors::are_used_up(&error) => {
                self.put_back(torrent, &address, DESCRIPTOR_WAIT)
            }
            Err(error) => {
                tracing::debug!(%address, %error, "dial failed");
                self.dial_ended(torrent, &address, DialEnd::Failed);
            }
        }
    }

    /// An address cannot be dialled now, which is not its fault; no dials of the torrent before `wait` is over.
    pub(super) fn put_back(&mut self, torrent: TorrentKey, address: &SocketAddr, wait: Duration) {
        let now = self.now;
        if let Some(home) = self.torrents.get_mut(torrent).and_then(|torrent| torrent.home.as_mut()) {
            home.candidates.put_back(address, now);
            home.dials_held = now + wait;
        }
    }

    /// A dial failed, or the connection it became has ended.
    pub(super) fn dial_ended(&mut self, torrent: TorrentKey, address: &SocketAddr, end: DialEnd) {
        let now = self.now;
        if let Some(home) = self.torrents.get_mut(torrent).and_then(|torrent| torrent.home.as_mut()) {
            home.candidates.ended(address, end, now);
            self.touch(torrent);
        }
    }

    /// A dialled address took the connection and sent no handshake.
    pub(super) fn dial_unanswered(&mut self, torrent: TorrentKey, address: &SocketAddr, hello: Hello) {
        let (now, mode) = (self.now, self.context.registry.encryption().mode);
        if let Some(home) = self.torrents.get_mut(torrent).and_then(|torrent| torrent.home.as_mut()) {
            home.candidates.unanswered(address, hello, mode, now);
            self.touch(torrent);
        }
    }

    /// The address is this engine.
    pub(super) fn exclude(&mut self, torrent: TorrentKey, address: &SocketAddr) {
        if let Some(home) = self.torrents.get_mut(torrent).and_then(|torrent| torrent.home.as_mut()) {
            home.candidates.exclude(address);
        }
    }

    /// Addresses from the control thread.
    pub(super) fn learn_peers(&mut self, torrent_id: &TorrentId, source: Source, addresses: Vec<SocketAddr>) {
        let known = self.by_id.get(torrent_id).copied();
        // A complete torrent has no part here before somebody wants something of it.
        let made = || self.context.registry.get(torrent_id).and_then(|entry| self.torrent_for(&entry));
        let Some(key) = known.or_else(made) else { return };
        let now = self.now;
        if let Some(home) = &mut self.torrents[key].home {
            home.candidates.learn(source, addresses, now);
        }
        dial(self, key);
        self.touch(key);
    }
}
