//! Dials of a home shard: which addresses, how many at once, and what became of them.

use super::Shard;
use super::local::LocalEvent;
use super::registry::Phase;
use super::torrents::TorrentKey;
use crate::limits::{CONNECT_TIMEOUT, DIALS_MAX};
use ringseed_proto::units::InfoHash;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

/// Connections that a complete torrent begins by itself: leechers find a seed, but those behind a NAT
/// can only be reached.
const SEED_DIALS_MAX: usize = 30;

/// Begins dials for torrents that want more peers.
pub(super) fn dial(shard: &mut Shard) {
    let wanting: Vec<TorrentKey> = shard
        .torrents
        .iter()
        .filter(|(_, torrent)| torrent.home.as_ref().is_some_and(|home| !home.candidates.is_empty()))
        .map(|(key, _)| key)
        .collect();
    for key in wanting {
        while shard.dials < DIALS_MAX {
            let torrent = &mut shard.torrents[key];
            let most = match torrent.entry.phase() {
                Phase::Stopped => break,
                Phase::Downloading => shard.context.settings.torrent_connections_max,
                Phase::Seeding => SEED_DIALS_MAX,
            };
            if torrent.entry.connections.load(Ordering::Relaxed) + torrent.dials >= most {
                break;
            }
            let Some(home) = &mut torrent.home else { break };
            let Some(address) = home.candidates.next(shard.now) else { break };
            torrent.dials += 1;
            shard.dials += 1;
            let ring = shard.ring.clone();
            shard.local.spawn(async move {
                let result = match socket_for(&address) {
                    Ok(socket) => {
                        ring.connect(socket.as_raw_fd(), address, CONNECT_TIMEOUT).await.map(|()| socket)
                    }
                    Err(error) => Err(error),
                };
                LocalEvent::Dialled { torrent: key, address, result }
            });
        }
    }
}

fn socket_for(address: &SocketAddr) -> io::Result<OwnedFd> {
    Ok(Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?.into())
}

impl Shard {
    /// A dial ended: the connection begins, or the address waits for its next turn.
    pub(super) fn on_dialled(
        &mut self,
        torrent: TorrentKey,
        address: SocketAddr,
        result: io::Result<OwnedFd>,
    ) {
        self.dials -= 1;
        let Some(home) = self.torrents.get_mut(torrent) else { return };
        home.dials -= 1;
        match result {
            Ok(socket) if home.entry.phase() != Phase::Stopped => self.dialled(torrent, address, socket),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%address, %error, "dial failed");
                self.dial_ended(torrent, &address, false);
            }
        }
    }

    /// A dial failed, or the connection it became has ended.
    pub(super) fn dial_ended(&mut self, torrent: TorrentKey, address: &SocketAddr, useful: bool) {
        let now = self.now;
        if let Some(home) = self.torrents.get_mut(torrent).and_then(|torrent| torrent.home.as_mut()) {
            home.candidates.ended(address, useful, now);
        }
    }

    /// The address is this engine.
    pub(super) fn exclude(&mut self, torrent: TorrentKey, address: &SocketAddr) {
        if let Some(home) = self.torrents.get_mut(torrent).and_then(|torrent| torrent.home.as_mut()) {
            home.candidates.exclude(address);
        }
    }

    /// Addresses from the control thread.
    pub(super) fn learn_peers(&mut self, info_hash: &InfoHash, addresses: Vec<SocketAddr>) {
        let Some(key) = self.by_hash.get(info_hash) else { return };
        let now = self.now;
        if let Some(home) = &mut self.torrents[*key].home {
            home.candidates.learn(addresses, now);
        }
        self.dial_more();
    }
}
