//! Peer addresses as small as the wire has them: 6 bytes for IPv4, 18 for IPv6.

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The address of a peer in one family. It is the peer's identity: one listening port at one address is one peer.
pub(super) trait Address: Copy + Eq + Hash {
    /// The address as compact replies have it: IP, then port, in network byte order.
    fn bytes(&self) -> &[u8];

    /// Whose it is: an IPv4 address, or the first 64 bits of an IPv6 one.
    fn client(&self) -> &[u8];

    /// Without the port.
    fn ip(&self) -> IpAddr;
}

/// An IPv4 address and a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct V4(pub(super) [u8; 6]);

/// An IPv6 address and a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct V6(pub(super) [u8; 18]);

/// An address in the family it really has: IPv4 mapped into IPv6 is IPv4, for that is how it is reached.
pub(super) enum Either {
    V4(V4),
    V6(V6),
}

impl From<SocketAddr> for Either {
    fn from(address: SocketAddr) -> Either {
        let port = address.port().to_be_bytes();
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let mut bytes = [0; 6];
                bytes[..4].copy_from_slice(&ip.octets());
                bytes[4..].copy_from_slice(&port);
                Either::V4(V4(bytes))
            }
            IpAddr::V6(ip) => {
                let mut bytes = [0; 18];
                bytes[..16].copy_from_slice(&ip.octets());
                bytes[16..].copy_from_slice(&port);
                Either::V6(V6(bytes))
            }
        }
    }
}

impl Address for V4 {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn client(&self) -> &[u8] {
        &self.0[..4]
    }

    fn ip(&self) -> IpAddr {
        let [a, b, c, d, ..] = self.0;
        Ipv4Addr::new(a, b, c, d).into()
    }
}

impl Address for V6 {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn client(&self) -> &[u8] {
        &self.0[..8]
    }

    fn ip(&self) -> IpAddr {
        let mut ip = [0; 16];
        ip.copy_from_slice(&self.0[..16]);
        Ipv6Addr::from(ip).into()
    }
}

/// The address in a compact entry: 6 bytes are IPv4, 18 IPv6, anything else is none.
pub fn socket_addr(compact: &[u8]) -> Option<SocketAddr> {
    let (ip, &port) = compact.split_last_chunk::<2>()?;
    let port = u16::from_be_bytes(port);
    match ip.len() {
        4 => Some((Ipv4Addr::from(*ip.first_chunk::<4>()?), port).into()),
        16 => Some((Ipv6Addr::from(*ip.first_chunk::<16>()?), port).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_ipv4() {
        let Either::V4(address) = Either::from("[::ffff:192.0.2.7]:6881".parse::<SocketAddr>().unwrap())
        else {
            panic!("taken for IPv6");
        };
        assert_eq!(socket_addr(address.bytes()), "192.0.2.7:6881".parse().ok());
    }

    #[test]
    fn addresses_are_as_small_as_on_the_wire() {
        assert_eq!((size_of::<V4>(), size_of::<V6>()), (6, 18));
        let text = "[2001:db8::5]:51413";
        let Either::V6(address) = Either::from(text.parse::<SocketAddr>().unwrap()) else {
            panic!("taken for IPv4");
        };
        assert_eq!(socket_addr(address.bytes()), text.parse().ok());
    }
}
