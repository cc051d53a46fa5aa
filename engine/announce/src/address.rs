//! Which addresses are local: a tracker on the public network may not send us there by a redirect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address belongs to this host, its network, or to no public host at all.
pub(super) fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_local_v4(v4),
        IpAddr::V6(v6) => is_local_v6(v6),
    }
}

/// Whether a host that is to be resolved by somebody else, whose answer is not seen here, may be a local one: it is a
/// local address in whatever notation, or a name that is not one of the public domain name system.
pub(super) fn may_be_local(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse() {
        return is_local(ip);
    }
    let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    // A name without a dot is looked for in the domain of whoever resolves it, `localhost` in none.
    let Some((_, last)) = name.rsplit_once('.') else { return true };
    // `127.1`, `0x7f.0.0.1`: resolvers take more forms of addresses than are parsed above, and no public name ends so.
    let number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    // RFC 6761, 6762, 8375; and the domain that was set aside for private use.
    let reserved = ["localhost", "localdomain", "local", "internal", "lan", "home", "test", "invalid"];
    number || reserved.contains(&last) || name.ends_with(".home.arpa")
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || a == 0
        || (a == 100 && b & 0xc0 == 64) // carrier-grade NAT, RFC 6598
        || (a == 192 && b == 0 && c == 0) // protocol assignments, RFC 6890
        || (a == 198 && b & 0xfe == 18) // benchmarking, RFC 2544
        || a >= 224 // multicast, reserved, broadcast
}

fn is_local_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [.., g, h] = segments;
    let inner = Ipv4Addr::from((u32::from(g) << 16) | u32::from(h));
    if address.to_ipv4_mapped().is_some() || segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_local_v4(inner); // v4-mapped, and NAT64 (RFC 6052)
    }
    if segments[0] == 0x2002 {
        // 6to4 (RFC 3056) carries the IPv4 address after its prefix.
        return is_local_v4(Ipv4Addr::from((u32::from(segments[1]) << 16) | u32::from(segments[2])));
    }
    segments[..6] == [0; 6] // unspecified, loopback, IPv4-compatible
        || segments[0] & 0xfe00 == 0xfc00 // unique local, RFC 4193
        || segments[0] & 0xffc0 == 0xfe80 // link-local
        || segments[0] & 0xffc0 == 0xfec0 // site-local, deprecated
        || segments[0] & 0xff00 == 0xff00 // multicast
        || segments[..3] == [0x64, 0xff9b, 1] // local NAT64, RFC 8215
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_others_resolve_are_public_ones_or_refused() {
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "localhost.localdomain",
            "router",
            "nas.local",
            "nas.home.arpa",
            "vault.internal",
            "127.1",
            "127.0.0.1.",
            "2130706433",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "1.2.3.0x4",
            "[::1]",
            "::1",
            "10.0.0.1",
            "",
        ] {
            assert!(may_be_local(host), "{host}");
        }
        for host in ["example.org", "Tracker.Example.ORG.", "8.8.8.8", "[2606:4700::1111]", "a.b.1x"] {
            assert!(!may_be_local(host), "{host}");
        }
    }

    #[test]
    fn local_and_public_addresses_are_told_apart() {
        for text in [
            "127.0.0.1",
            "127.8.9.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "64:ff9b:1::1",
        ] {
            assert!(is_local(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::",
        ] {
            assert!(!is_local(text.parse().unwrap()), "{text}");
        }
    }
}
