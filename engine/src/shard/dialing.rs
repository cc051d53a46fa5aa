//! Dials of a home shard: which addresses, how many at once, and what became of them.

use super::local::LocalEvent;
use super::registry::Phase;
use super::torrents::TorrentKey;
use super::{Shard, proxied};
use crate::limits::{CONNECT_TIMEOUT, DIALS_MAX};
use crate::route::Route;
use ringseed_proto::units::InfoHash;
use ringseed_ring::Ring;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Connections that a complete torrent begins by itself: leechers find a seed, but those behind a NAT
/// can only be reached.
const SEED_DIALS_MAX: usize = 30;

/// Wait after which a torrent looks again whether it may dial, when a limit kept it from it.
const HELD_WAIT: Duration = Duration::from_millis(250);

/// Begins the dials of a torrent that are due.
pub(super) fn dial(shard: &mut Shard, key: TorrentKey) {
    let now = shard.now;
    let Some(torrent) = shard.torrents.get_mut(key) else { return };
    let Some(home) = &mut torrent.home else { return };
    loop {
        if home.candidates.due().is_none_or(|due| due > now) {
            return;
        }
        let most = match torrent.entry.phase() {
            Phase::Stopped => 0,
            Phase::Downloading => shard.context.settings.torrent_connections_max,
            Phase::Seeding => SEED_DIALS_MAX,
        };
        let connections = torrent.entry.connections.load(Ordering::Relaxed);
        if shard.dials >= DIALS_MAX || connections + torrent.dials >= most {
            home.dials_held = now + HELD_WAIT;
            return;
        }
        let Some(address) = home.candidates.next(now) else { return };
        if shard.context.registry.blocks(address.ip()) {
            home.candidates.exclude(&address);
            continue;
        }
        torrent.dials += 1;
        shard.dials += 1;
        let (settings, route) = (shard.context.settings.clone(), shard.context.route.clone());
        let ring = shard.ring.clone();
        shard.local.spawn(async move {
            let result = connect(&ring, &route, &settings.listen_addresses, address).await;
            LocalEvent::Dialled { torrent: key, address, result }
        });
    }
}

/// Connects to a peer, or has the proxy do it. Without the interface or the proxy there is no connection at all.
async fn connect(ring: &Ring, route: &Route, listen: &[IpAddr], address: SocketAddr) -> io::Result<OwnedFd> {
    let first = route.proxy.as_ref().map_or(address, |proxy| proxy.address);
    let socket = socket_for(&first, listen, route)?;
    ring.connect(socket.as_raw_fd(), first, CONNECT_TIMEOUT).await?;
    match &route.proxy {
        Some(proxy) => proxied::ask(proxy, socket, address).await,
        None => Ok(socket),
    }
}

/// A socket to dial from. An engine that listens on certain addresses only is seen from those only: to an address of
/// another family it does not dial at all.
fn socket_for(address: &SocketAddr, listen: &[IpAddr], route: &Route) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
    route.tie(&socket)?;
    if !listen.is_empty() && !listen.iter().any(IpAddr::is_unspecified) {
        let own = listen.iter().find(|own| own.is_ipv4() == address.is_ipv4());
        let own = own.ok_or(io::ErrorKind::AddrNotAvailable)?;
        socket.bind(&SocketAddr::new(*own, 0).into())?;
    }
    Ok(socket.into())
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
        self.touch(torrent);
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
    pub(super) fn learn_peers(&mut self, info_hash: &InfoHash, addresses: Vec<SocketAddr>) {
        let known = self.by_hash.get(info_hash).copied();
        // A complete torrent has no part here before somebody wants something of it.
        let made = || self.context.registry.get(info_hash).and_then(|entry| self.torrent_for(&entry));
        let Some(key) = known.or_else(made) else { return };
        let now = self.now;
        if let Some(home) = &mut self.torrents[key].home {
            home.candidates.learn(addresses, now);
        }
        dial(self, key);
        self.touch(key);
    }
}
