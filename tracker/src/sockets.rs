//! Listening sockets: one for each worker, which the kernel spreads clients over.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::server::{Endpoint, TrackerError};

/// An address in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub(crate) Endpoint);

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Endpoint::Http(address) => write!(f, "{address} (HTTP)"),
            Endpoint::Udp(address) => write!(f, "{address} (UDP)"),
        }
    }
}

/// The sockets, bound, and the addresses they got.
#[derive(Default)]
pub(crate) struct Sockets {
    /// For each worker its listeners.
    pub(crate) http: Vec<Vec<TcpListener>>,
    pub(crate) http_addrs: Vec<SocketAddr>,
    /// Of all workers and endpoints.
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) udp_addrs: Vec<SocketAddr>,
}

impl Sockets {
    /// Binds each endpoint once for each worker.
    ///
    /// # Errors
    /// Names the endpoint that cannot be listened on.
    pub(crate) fn bind(endpoints: &[Endpoint], workers: usize) -> Result<Sockets, TrackerError> {
        let mut sockets = Sockets::default();
        sockets.http.resize_with(workers, Vec::new);
        for &endpoint in endpoints {
            sockets.add(endpoint, endpoints, workers).map_err(|error| TrackerError::bind(endpoint, error))?;
        }
        Ok(sockets)
    }

    fn add(&mut self, endpoint: Endpoint, all: &[Endpoint], workers: usize) -> io::Result<()> {
        let only_v6 = only_v6(endpoint, all);
        match endpoint {
            Endpoint::Http(address) => {
                let (sockets, address) = bind_for_each(address, Type::STREAM, only_v6, workers)?;
                for (listeners, socket) in self.http.iter_mut().zip(sockets) {
                    socket.listen(1024)?;
                    listeners.push(socket.into());
                }
                self.http_addrs.push(address);
            }
            Endpoint::Udp(address) => {
                let (sockets, address) = bind_for_each(address, Type::DGRAM, only_v6, workers)?;
                self.udp.extend(sockets.into_iter().map(UdpSocket::from));
                self.udp_addrs.push(address);
            }
        }
        Ok(())
    }
}

/// `[::]` takes IPv4 as well, unless IPv4 has its own socket.
fn only_v6(endpoint: Endpoint, all: &[Endpoint]) -> bool {
    let any_v4 = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    match endpoint {
        Endpoint::Http(address) => {
            address.ip() != IpAddr::from(Ipv6Addr::UNSPECIFIED)
                || all.contains(&Endpoint::Http(any_v4(address.port())))
        }
        Endpoint::Udp(address) => {
            address.ip() != IpAddr::from(Ipv6Addr::UNSPECIFIED)
                || all.contains(&Endpoint::Udp(any_v4(address.port())))
        }
    }
}

/// As many sockets as there are workers at one address. With port 0 the first finds a port for all.
fn bind_for_each(
    address: SocketAddr,
    kind: Type,
    only_v6: bool,
    workers: usize,
) -> io::Result<(Vec<Socket>, SocketAddr)> {
    // Sockets that share a port share it with everyone of the same user who wants to, another tracker as well.
    // So one that does not share shows first that the port is free.
    let alone = bind(address, kind, only_v6, false)?;
    let found = alone.local_addr()?.as_socket().unwrap_or(address);
    if workers <= 1 {
        return Ok((vec![alone], found));
    }
    drop(alone);
    let sockets = (0..workers).map(|_| bind(found, kind, only_v6, true)).collect::<io::Result<Vec<_>>>()?;
    Ok((sockets, found))
}

/// A bound socket. It stays in blocking mode: rings and batches wait by themselves and would get `EAGAIN` otherwise.
fn bind(address: SocketAddr, kind: Type, only_v6: bool, shares_port: bool) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    if kind == Type::STREAM {
        // A restart must not wait for old connections to time out. On UDP it would let two trackers share a port.
        socket.set_reuse_address(true)?;
    }
    if shares_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}
