//! Dials: connections that we begin, from the right address, over the right interface, through the proxy.

use crate::limits::CONNECT_TIMEOUT;
use crate::route::Route;
use crate::socks;
use ringseed_ring::Ring;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

/// Connects to a peer, or has the proxy do it. Without the interface or the proxy there is no connection at all. An engine that
/// listens on certain addresses only (`listen`; empty for all) is seen from those only.
///
/// # Errors
/// When the peer or the proxy does not answer in time or refuses, or the way out is not there.
pub async fn dial(ring: &Ring, route: &Route, listen: &[IpAddr], address: SocketAddr) -> io::Result<OwnedFd> {
    let first = route.proxy.as_ref().map_or(address, |proxy| proxy.address);
    let socket = socket_for(&first, listen, route)?;
    ring.connect(socket.as_raw_fd(), first, CONNECT_TIMEOUT).await?;
    match &route.proxy {
        Some(proxy) => socks::ask(proxy, socket, address).await,
        None => Ok(socket),
    }
}

/// A socket to dial from; to an address of another family than those that are listened on there is none.
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
