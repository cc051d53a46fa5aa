//! Peer addresses as small as the wire has them: 6 bytes for IPv4, 18 for IPv6.

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The address of a peer in one family. It is the peer's identity: one listening port at one address is one peer.
pub(super) trait Address: Copy + Eq + Hash {
    /// The address for a reply.
    fn socket_addr(self) -> SocketAddr;
}

/// An IPv4 address and a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct V4 {
    ip: [u8; 4],
    port: [u8; 2],
}

/// An IPv6 address and a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct V6 {
    ip: [u8; 16],
    port: [u8; 2],
}

/// An address in the family it really has: IPv4 mapped into IPv6 is IPv4, for that is how it is reached.
pub(super) enum Either {
    V4(V4),
    V6(V6),
}

impl From<SocketAddr> for Either {
    fn from(address: SocketAddr) -> Either {
        let port = address.port().to_be_bytes();
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Either::V4(V4 { ip: ip.octets(), port }),
            IpAddr::V6(ip) => Either::V6(V6 { ip: ip.octets(), port }),
        }
    }
}

impl Address for V4 {
    fn socket_addr(self) -> SocketAddr {
        (Ipv4Addr::from(self.ip), u16::from_be_bytes(self.port)).into()
    }
}

impl Address for V6 {
    fn socket_addr(self) -> SocketAddr {
        (Ipv6Addr::from(self.ip), u16::from_be_bytes(self.port)).into()
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
        assert_eq!(address.socket_addr(), "192.0.2.7:6881".parse().unwrap());
    }

    #[test]
    fn addresses_are_as_small_as_on_the_wire() {
        assert_eq!((size_of::<V4>(), size_of::<V6>()), (6, 18));
        let text = "[2001:db8::5]:51413";
        let Either::V6(address) = Either::from(text.parse::<SocketAddr>().unwrap()) else {
            panic!("taken for IPv4");
        };
        assert_eq!(address.socket_addr(), text.parse().unwrap());
    }
}
