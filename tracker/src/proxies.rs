//! Whom to believe about a client's address: nobody but the configured proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses with a common beginning: `10.0.0.0/8`, `2001:db8::/32` or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an IP address or a network like 10.0.0.0/8")]
pub struct NetworkError;

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| NetworkError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| NetworkError))?;
        if bits > most { Err(NetworkError) } else { Ok(Network { address, bits }) }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    /// Whether the address belongs to it; IPv4 mapped into IPv6 is IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let ignored = width - u32::from(self.bits);
            // A shift by all bits would overflow.
            a.checked_shr(ignored).unwrap_or(0) == b.checked_shr(ignored).unwrap_or(0)
        };
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

/// The address of the client behind a request that came from `from`.
///
/// Only a configured proxy is believed. `forwarded` are the values of its `X-Forwarded-For` headers in order: each
/// proxy appended whom it saw, so the last address that is no proxy of ours is the client; what stands before it is
/// the client's own claim. So is the `ip` of a query, whoever passes it on.
pub(crate) fn client<'a>(
    proxies: &[Network],
    from: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> IpAddr {
    let trusted = |ip: IpAddr| proxies.iter().any(|proxy| proxy.contains(ip));
    if proxies.is_empty() || !trusted(from) {
        return from;
    }
    let mut client = from;
    let entries = forwarded.rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
    for entry in entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
        let Some(ip) = address(entry) else { return client };
        client = ip;
        if !trusted(ip) {
            return client;
        }
    }
    client
}

/// An address as proxies write it: plain, with a port, or in brackets. Nobody asks from an address of nobody or of many.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let ip: IpAddr = text.parse().ok().or_else(port).or_else(brackets)?;
    let usable =
        |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast() && *ip != IpAddr::from(Ipv4Addr::BROADCAST);
    Some(ip.to_canonical()).filter(usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client_of(from: &str, forwarded: &[&str]) -> IpAddr {
        let proxies = ["127.0.0.1", "10.0.0.0/8", "::1"].map(|text| text.parse().unwrap());
        client(&proxies, ip(from), forwarded.iter().map(|value| value.as_bytes()))
    }

    #[test]
    fn networks() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001::", "1.2.3.4"),
            ("192.0.2.0/24", "::ffff:192.0.2.200", "::ffff:192.0.3.1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(ip(inside)) && !network.contains(ip(outside)), "{network}");
            assert_eq!(network.to_string().parse(), Ok(network));
        }
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10/8", "a"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text}");
        }
    }

    #[test]
    fn strangers_are_not_believed() {
        assert_eq!(client_of("192.0.2.1", &["198.51.100.1"]), ip("192.0.2.1"));
        assert_eq!(client(&[], ip("127.0.0.1"), [&b"1.2.3.4"[..]].into_iter()), ip("127.0.0.1"));
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_client() {
        for (from, forwarded, expected) in [
            ("127.0.0.1", &["198.51.100.1"][..], "198.51.100.1"),
            ("::1", &["6.6.6.6, 198.51.100.1, 10.1.1.1"], "198.51.100.1"),
            ("10.9.9.9", &["6.6.6.6", "198.51.100.1:4711"], "198.51.100.1"),
            ("127.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("127.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["6.6.6.6, unknown, 10.1.1.1"], "10.1.1.1"),
        ] {
            assert_eq!(client_of(from, forwarded), ip(expected), "{forwarded:?}");
        }
    }

    #[test]
    fn what_names_nobody_is_passed_over() {
        assert_eq!(client_of("127.0.0.1", &["198.51.100.1,", " ,", ""]), ip("198.51.100.1"));
        for nobody in ["", "nonsense", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            assert_eq!(client_of("127.0.0.1", &[nobody]), ip("127.0.0.1"), "{nobody}");
        }
    }
}
