//! Listening sockets: one group of `SO_REUSEPORT` sockets per address, one socket for each shard.
//!
//! `SO_REUSEPORT` would let a second engine of the same user join the group and take half of the
//! connections, so a port is claimed first: by a bind without it, and by an abstract Unix socket named
//! after the port that lives as long as the engine.

use crate::limits::LISTEN_PORTS;
use crate::route;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::time::{Duration, Instant};

/// Connections the kernel may hold for a shard that is busy.
const BACKLOG: i32 = 1024;

/// Ports that are tried before "any free port" is given up.
const OFFERS: usize = 32;

/// Which TCP port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenPort {
    /// The first free one of 6881 to 6889.
    Usual,
    /// Exactly this one; 0 lets the kernel choose.
    Exact(u16),
}

impl ListenPort {
    /// The port that was asked for.
    pub fn exact(self) -> Option<u16> {
        match self {
            Self::Usual => None,
            Self::Exact(port) => Some(port),
        }
    }
}

/// The engine's listening sockets.
pub struct Listeners {
    /// The port, the same on every address.
    pub port: u16,
    /// For each shard its sockets, one per address.
    pub shards: Vec<Vec<OwnedFd>>,
    /// Keeps other engines off the port.
    pub claim: PortClaim,
}

/// A claimed port; dropping it frees the claim.
pub struct PortClaim(#[allow(dead_code, reason = "held for its drop")] Option<UnixListener>);

/// Why no port could be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The given port is in use.
    #[error("port {port} on {address} is in use: stop the other program or give another port with --port")]
    InUse {
        /// The port.
        port: u16,
        /// The address it is in use on.
        address: IpAddr,
    },
    /// All usual ports are in use.
    #[error("ports 6881 to 6889 are all in use: give another port with --port, or --port 0 for any free one")]
    AllInUse,
    /// The interface is not there.
    #[error("{0}; give the name of an interface of this host with --bind-interface")]
    Interface(String),
    /// A given address is not one of this host.
    #[error("cannot listen on {address}: {source}; give one of this host's addresses with --listen")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Listeners {
    /// As [`Listeners::open`] at the start of the process: a given port that is in use is tried again for a second, for
    /// one that was killed just before may still hold it.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn open_at_start(
        port: ListenPort,
        addresses: &[IpAddr],
        interface: Option<&str>,
        shards: usize,
    ) -> Result<Self, ListenError> {
        let attempt = || Self::open(port, addresses, interface, shards);
        match port {
            ListenPort::Exact(1..) => patiently(attempt),
            ListenPort::Exact(0) | ListenPort::Usual => Self::open(port, addresses, interface, shards),
        }
    }

    /// Opens listening sockets for `shards` shards on each address.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn open(
        port: ListenPort,
        addresses: &[IpAddr],
        interface: Option<&str>,
        shards: usize,
    ) -> Result<Self, ListenError> {
        if let Some(name) = interface.filter(|name| route::number(name).is_none()) {
            return Err(ListenError::Interface(route::missing(name)));
        }
        let addresses = if addresses.is_empty() { default_addresses() } else { addresses.to_vec() };
        let place = Place { addresses: &addresses, interface };
        match port {
            ListenPort::Exact(0) => open_any(|| place.offered(), &place, shards),
            ListenPort::Exact(port) => open_port(port, &place, shards),
            ListenPort::Usual => {
                for port in LISTEN_PORTS {
                    match open_port(port, &place, shards) {
                        Err(ListenError::InUse { .. }) => {}
                        other => return other,
                    }
                }
                Err(ListenError::AllInUse)
            }
        }
    }
}

/// How long a given port is tried for: an engine that was killed has its sockets in a ring, and the kernel takes some
/// milliseconds to let go of them.
const PORT_WAIT: Duration = Duration::from_secs(1);
/// Pause between attempts.
const PORT_PAUSE: Duration = Duration::from_millis(20);

/// Tries until something else than a port in use comes of it, at least once, until `PORT_WAIT` is over.
fn patiently(mut attempt: impl FnMut() -> Result<Listeners, ListenError>) -> Result<Listeners, ListenError> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(ListenError::InUse { .. }) if begun.elapsed() < PORT_WAIT => std::thread::sleep(PORT_PAUSE),
            other => return other,
        }
    }
}

/// Where to listen: at least one address, and the interface that alone is heard.
struct Place<'a> {
    addresses: &'a [IpAddr],
    interface: Option<&'a str>,
}

fn default_addresses() -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    // A kernel booted without IPv6 has no such socket: listening on IPv4 alone is right there.
    if bind(v6, None, false).is_ok() {
        addresses.push(v6.ip());
    }
    addresses
}

/// Opens a port that is free on every address. The kernel offers a port that is free on the first address
/// alone: another program may have it on a second one, as the local end of one of its connections for
/// instance, and then the kernel is asked again.
fn open_any(
    mut offer: impl FnMut() -> Result<u16, ListenError>,
    place: &Place<'_>,
    shards: usize,
) -> Result<Listeners, ListenError> {
    for _ in 1..OFFERS {
        match open_port(offer()?, place, shards) {
            Err(ListenError::InUse { .. }) => {}
            other => return other,
        }
    }
    open_port(offer()?, place, shards)
}

impl Place<'_> {
    /// A port that is free on the first address at this moment.
    fn offered(&self) -> Result<u16, ListenError> {
        let address = SocketAddr::new(self.addresses[0], 0);
        let probe = bind(address, self.interface, false);
        match probe.and_then(|probe| probe.local_addr()).map(|found| found.as_socket()) {
            Ok(found) => Ok(found.map_or(0, |found| found.port())),
            Err(error) => Err(refused(address, error)),
        }
    }
}

fn refused(address: SocketAddr, source: io::Error) -> ListenError {
    if source.kind() == io::ErrorKind::AddrInUse {
        ListenError::InUse { port: address.port(), address: address.ip() }
    } else {
        ListenError::Address { address, source }
    }
}

fn open_port(port: u16, place: &Place<'_>, shards: usize) -> Result<Listeners, ListenError> {
    let Place { addresses, interface } = *place;
    let claim =
        claim(port, addresses).map_err(|error| refused(SocketAddr::new(addresses[0], port), error))?;
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        drop(bind(address, interface, false).map_err(|error| refused(address, error))?);
    }
    let mut sockets: Vec<Vec<OwnedFd>> = (0..shards).map(|_| Vec::new()).collect();
    for shard in &mut sockets {
        for address in addresses {
            let address = SocketAddr::new(*address, port);
            let socket = bind(address, interface, true)
                .and_then(|socket| socket.listen(BACKLOG).map(|()| socket))
                .map_err(|error| refused(address, error))?;
            shard.push(socket.into());
        }
    }
    Ok(Listeners { port, shards: sockets, claim })
}

/// Claims `port` in this network namespace. Engines that listen on different single addresses may share a
/// port, so the name holds the address unless it is a wildcard.
fn claim(port: u16, addresses: &[IpAddr]) -> io::Result<PortClaim> {
    let name = if addresses.iter().any(IpAddr::is_unspecified) {
        format!("ringseed-port-{port}")
    } else {
        format!("ringseed-port-{port}-{}", addresses[0])
    };
    UnixListener::bind_addr(&UnixAddr::from_abstract_name(name)?).map(|listener| PortClaim(Some(listener)))
}

fn bind(address: SocketAddr, interface: Option<&str>, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(name) = interface {
        route::tie(&socket, name)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_second_engine_does_not_join_the_first_ones_port() {
        let first = Listeners::open(ListenPort::Exact(0), &[LOCAL], None, 2).unwrap();
        assert_eq!(first.shards.len(), 2);
        match Listeners::open(ListenPort::Exact(first.port), &[LOCAL], None, 2) {
            Err(ListenError::InUse { port, .. }) => assert_eq!(port, first.port),
            other => panic!("expected InUse, got {:?}", other.map(|l| l.port)),
        }
    }

    #[test]
    fn a_given_port_that_becomes_free_within_a_second_is_had() {
        let first = Listeners::open(ListenPort::Exact(0), &[LOCAL], None, 1).unwrap();
        let port = first.port;
        let (mut held, mut attempts) = (Some(first), 0);
        let second = patiently(|| {
            attempts += 1;
            let opened = Listeners::open(ListenPort::Exact(port), &[LOCAL], None, 1);
            // Its end comes after the first attempt.
            held = None;
            opened
        });
        assert_eq!(second.unwrap().port, port);
        assert!(attempts > 1);
        let taken = || Err(ListenError::InUse { port, address: LOCAL });
        assert!(matches!(patiently(taken), Err(ListenError::InUse { .. })), "and it is not tried for ever");
    }

    #[test]
    fn all_addresses_share_one_port() {
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let listeners = Listeners::open(ListenPort::Exact(0), &[LOCAL, v6], None, 1).unwrap();
        assert_eq!(listeners.shards[0].len(), 2);
        std::net::TcpStream::connect((LOCAL, listeners.port)).unwrap();
        std::net::TcpStream::connect((v6, listeners.port)).unwrap();
    }

    #[test]
    fn an_offered_port_that_is_taken_on_a_second_address_gives_way_to_the_next_offer() {
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let taken = Listeners::open(ListenPort::Exact(0), &[v6], None, 1).unwrap();
        let place = Place { addresses: &[LOCAL, v6], interface: None };
        let mut offers = vec![place.offered().unwrap(), taken.port].into_iter();
        let mut next = || Ok(offers.next_back().unwrap());
        let opened = open_any(&mut next, &place, 1).unwrap();
        assert_ne!(opened.port, taken.port);
        let refused = open_any(|| Ok(taken.port), &place, 1);
        assert!(matches!(refused, Err(ListenError::InUse { port, .. }) if port == taken.port));
    }

    #[test]
    fn a_foreign_address_is_named() {
        let foreign = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let error = Listeners::open(ListenPort::Exact(0), &[foreign], None, 1).err().unwrap();
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
    }

    #[test]
    fn an_interface_is_listened_on_alone_or_not_at_all() {
        let listeners = Listeners::open(ListenPort::Exact(0), &[], Some("lo"), 1).unwrap();
        std::net::TcpStream::connect((LOCAL, listeners.port)).unwrap();
        let error = Listeners::open(ListenPort::Exact(0), &[], Some("rs-none0"), 1).err().unwrap();
        assert!(error.to_string().contains("interface rs-none0 is not there"), "{error}");
    }
}
