//! Addresses of peers: their one canonical form, how far they reach, and who may name whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How far an address reaches, from near to far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// This machine.
    Loopback,
    /// A network without routes from outside: RFC 1918, link-local, carrier-grade NAT (RFC 6598), unique local (RFC
    /// 4193).
    Private,
    /// Everything else that can be connected to.
    Public,
}

/// The canonical form of an address: an IPv4-mapped IPv6 address (`::ffff:a.b.c.d`) is the IPv4 address. Every address
/// that enters has this form from then on, or bans, blocklists and the table of candidates would know one peer by two
/// names.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// How far an address reaches; `None` when no peer can have it: unspecified, multicast, broadcast or reserved.
#[must_use]
pub fn scope(address: IpAddr) -> Option<Scope> {
    match address.to_canonical() {
        IpAddr::V4(v4) => scope_v4(v4),
        IpAddr::V6(v6) => scope_v6(v6),
    }
}

fn scope_v4(address: Ipv4Addr) -> Option<Scope> {
    let [first, second, ..] = address.octets();
    match first {
        // "This network", multicast, reserved and broadcast.
        0 | 224..=255 => None,
        127 => Some(Scope::Loopback),
        100 if second & 0xc0 == 64 => Some(Scope::Private),
        _ if address.is_private() || address.is_link_local() => Some(Scope::Private),
        _ => Some(Scope::Public),
    }
}

fn scope_v6(address: Ipv6Addr) -> Option<Scope> {
    let segments = address.segments();
    if address.is_loopback() {
        return Some(Scope::Loopback);
    }
    match segments {
        // Unspecified, and the deprecated IPv4-compatible addresses.
        [0, 0, 0, 0, 0, 0, ..] => None,
        // NAT64 (RFC 6052): the gateway reaches what the IPv4 address inside it does.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            scope_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        [0xff00..=0xffff, ..] => None,
        // Link-local, the deprecated site-local, unique local.
        [0xfe80..=0xfeff | 0xfc00..=0xfdff, ..] => Some(Scope::Private),
        _ => Some(Scope::Public),
    }
}

/// Whether a peer may be dialled at `address` because `teller` named it: a peer knows its own network and the public
/// one, so only peers of this machine name addresses of it, and only peers of a private network private ones.
#[must_use]
pub fn may_name(teller: IpAddr, address: SocketAddr) -> bool {
    let (Some(teller), Some(named)) = (scope(teller), scope(address.ip())) else { return false };
    address.port() != 0 && teller <= named
}

/// What counts as one address: an IPv4 address, or the /64 of an IPv6 address, which one host has all of.
#[must_use]
pub fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !0 << 64)),
    }
}

/// What counts as one network: the /24 of an IPv4 address, the /48 of an IPv6 address, which one site has.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !0 << 8)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !0 << 80)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Option<Scope> {
        scope(address.parse().unwrap())
    }

    #[test]
    fn an_ipv4_mapped_address_is_the_ipv4_address_everywhere() {
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:6881".parse().unwrap();
        assert_eq!(canonical(mapped), "127.0.0.1:6881".parse().unwrap());
        assert_eq!(of("::ffff:127.0.0.1"), Some(Scope::Loopback));
        assert_eq!(of("::ffff:10.1.1.1"), Some(Scope::Private));
        assert_eq!(of("::ffff:224.0.0.1"), None);
        assert_eq!(host(mapped.ip()), "127.0.0.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn scopes_of_addresses() {
        for address in ["127.0.0.1", "127.9.9.9", "::1"] {
            assert_eq!(of(address), Some(Scope::Loopback), "{address}");
        }
        for address in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.0.1",
            "fe80::1",
            "fec0::1",
            "fd00::1",
            "64:ff9b::a00:1",
        ] {
            assert_eq!(of(address), Some(Scope::Private), "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::7f00:1",
            "ff02::1",
            "64:ff9b::e000:1",
        ] {
            assert_eq!(of(address), None, "{address}");
        }
        for address in
            ["1.1.1.1", "100.63.0.1", "100.128.0.1", "172.32.0.1", "2001:db8::1", "64:ff9b::101:101"]
        {
            assert_eq!(of(address), Some(Scope::Public), "{address}");
        }
    }

    #[test]
    fn peers_name_addresses_of_their_own_network_and_public_ones() {
        let may = |teller: &str, address: &str| may_name(teller.parse().unwrap(), address.parse().unwrap());
        assert!(may("9.9.9.9", "1.1.1.1:5") && may("10.0.0.1", "1.1.1.1:5") && may("127.0.0.1", "1.1.1.1:5"));
        assert!(may("10.0.0.1", "192.168.1.1:5") && !may("9.9.9.9", "192.168.1.1:5"));
        assert!(may("127.0.0.1", "127.0.0.1:5") && !may("10.0.0.1", "127.0.0.1:5"));
        assert!(!may("9.9.9.9", "[::ffff:127.0.0.1]:5") && !may("9.9.9.9", "[fd00::1]:5"));
        assert!(!may("9.9.9.9", "1.1.1.1:0") && !may("127.0.0.1", "0.0.0.0:5"));
    }

    #[test]
    fn hosts_and_networks() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network(ip("1.2.3.4")), ip("1.2.3.0"));
        assert_eq!(host(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1::"));
    }
}
