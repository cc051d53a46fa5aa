//! Where a request comes from: the address at the other end, or the client that a trusted proxy names.

use super::access::Network;
use hyper::header::HeaderMap;
use ringseed_proto::peer_address;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Header in which proxies name their clients.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Headers that show that a proxy passed a request on.
const OF_PROXIES: [&str; 6] =
    [FORWARDED_FOR, "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "via"];

/// Who counts as one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Client {
    /// This machine, over loopback or the Unix socket.
    Here,
    /// An IPv4 address, or the network of 64 bits that one IPv6 customer has.
    At(IpAddr),
}

impl Client {
    /// The client at an address; none is the Unix socket.
    pub(super) fn of(address: Option<IpAddr>) -> Self {
        match address.map(|ip| ip.to_canonical()) {
            None => Self::Here,
            Some(ip) if ip.is_loopback() => Self::Here,
            Some(ip) => Self::At(peer_address::host(ip)),
        }
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// Who is connected; none is the Unix socket.
    peer: Option<IpAddr>,
    /// For whom it asks: itself, or the client that it names if it is a trusted proxy.
    asker: Option<IpAddr>,
    /// Whether somebody else asks, of whom that is all we know.
    passed_on: bool,
}

impl Origin {
    /// Where a request with these headers comes from.
    ///
    /// Only a proxy in one of `proxies` is believed. Each proxy appends whom it saw to `X-Forwarded-For`, so the last
    /// address that is no proxy of ours is the client; what stands before it is the client's own claim. That there is
    /// a proxy at all is believed of everybody, for it takes rights and gives none.
    pub(super) fn of(peer: Option<IpAddr>, headers: &HeaderMap, proxies: &[Network]) -> Self {
        let trusted = |ip: IpAddr| proxies.iter().any(|proxy| proxy.contains(ip));
        let mut asker = peer;
        let mut passed_on = OF_PROXIES.iter().any(|name| headers.contains_key(*name));
        if peer.is_some_and(trusted) {
            let values = headers.get_all(FORWARDED_FOR).iter().map(|value| value.as_bytes());
            let entries = values.flat_map(|value| value.split(|byte| *byte == b','));
            // The chain ends where somebody is named who is no proxy, or cannot be understood.
            for entry in entries.collect::<Vec<_>>().into_iter().rev() {
                let Some(ip) = address(entry.trim_ascii()) else {
                    passed_on = true;
                    break;
                };
                (asker, passed_on) = (Some(ip), false);
                if !trusted(ip) {
                    break;
                }
            }
        }
        Self { peer, asker, passed_on }
    }

    /// Whether it is this machine: not when a proxy elsewhere says so, nor when a proxy here asks for nobody knows whom.
    /// Whoever may open the Unix socket is let in, a proxy that may as well.
    pub(super) fn is_here(&self) -> bool {
        self.peer.is_none() || (self.is_near() && !self.passed_on)
    }

    /// Whether it is this machine, or somebody unknown behind a proxy here.
    pub(super) fn is_near(&self) -> bool {
        let loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        self.peer.is_none_or(loopback) && self.asker.is_none_or(loopback)
    }

    /// Whether it came over the Unix socket, whose permissions let it in.
    pub(super) fn is_unix(&self) -> bool {
        self.peer.is_none()
    }

    /// The address of the client; none for the Unix socket.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.asker
    }

    /// Whose shares it uses.
    pub(super) fn client(&self) -> Client {
        match self.asker {
            // As its proxy calls itself.
            Some(ip) if !self.is_here() && ip.to_canonical().is_loopback() => Client::At(ip.to_canonical()),
            asker => Client::of(asker),
        }
    }
}

/// An address as proxies write it: plain, with a port, or in brackets; some name the interface of a link-local one.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some((ip, _)) = text.split_once('%') {
        return ip.strip_prefix('[').unwrap_or(ip).parse::<Ipv6Addr>().ok().map(IpAddr::from);
    }
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(|| bracketed().map(IpAddr::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(peer: &str, forwarded: &[&str]) -> Origin {
        let proxies = ["127.0.0.1", "10.0.0.0/8", "::1"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        Origin::of(Some(peer.parse().unwrap()), &headers, &proxies)
    }

    #[test]
    fn only_trusted_proxies_name_their_clients() {
        for (peer, forwarded, client, here) in [
            ("192.0.2.1", &["198.51.100.1"][..], "192.0.2.1", false),
            ("127.0.0.2", &[], "127.0.0.2", true),
            ("127.0.0.1", &[], "127.0.0.1", true),
            ("127.0.0.1", &["127.0.0.1"], "127.0.0.1", true),
            // A proxy that nobody named: all that is known is that it is not this machine that asks.
            ("127.0.0.2", &["198.51.100.1"], "127.0.0.2", false),
            ("127.0.0.2", &["127.0.0.1"], "127.0.0.2", false),
            ("127.0.0.1", &["198.51.100.1"], "198.51.100.1", false),
            ("::1", &["6.6.6.6, 198.51.100.1, 10.1.1.1"], "198.51.100.1", false),
            ("10.9.9.9", &["6.6.6.6", "198.51.100.1:4711"], "198.51.100.1", false),
            ("127.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1", false),
            ("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1", false),
            ("127.0.0.1", &["[2001:db8::1%eth0]:80"], "2001:db8::1", false),
            ("127.0.0.1", &["fe80::1%eth0"], "fe80::1", false),
            // Not understood, and not this machine for that.
            ("127.0.0.1", &["nonsense"], "127.0.0.1", false),
            ("127.0.0.1", &[""], "127.0.0.1", false),
            ("127.0.0.1", &["unix:"], "127.0.0.1", false),
            ("127.0.0.1", &["unknown, 127.0.0.1"], "127.0.0.1", false),
            ("127.0.0.1", &["6.6.6.6, unknown, 10.1.1.1"], "10.1.1.1", false),
            // A proxy elsewhere does not make anybody a client of this machine.
            ("10.9.9.9", &["127.0.0.1"], "127.0.0.1", false),
        ] {
            let origin = origin(peer, forwarded);
            assert_eq!(origin.address(), Some(client.parse().unwrap()), "{peer} {forwarded:?}");
            assert_eq!(origin.is_here(), here, "{peer} {forwarded:?}");
            assert_eq!(origin.client() == Client::Here, here, "{peer} {forwarded:?}");
        }
    }

    /// A link-local client of a proxy that names it by its interface was taken for this machine, and needed nothing.
    #[test]
    fn whoever_asks_through_a_proxy_is_not_this_machine() {
        for name in OF_PROXIES {
            let mut headers = HeaderMap::new();
            assert!(Origin::of(Some([127, 0, 0, 1].into()), &headers, &[]).is_here());
            headers.append(name, "1.1 somebody".parse().unwrap());
            for proxies in [&[][..], &["127.0.0.1".parse().unwrap()]] {
                let origin = Origin::of(Some([127, 0, 0, 1].into()), &headers, proxies);
                assert!(!origin.is_here() && origin.client() != Client::Here, "{name}");
            }
            assert!(Origin::of(None, &headers, &[]).is_here(), "it has the rights to the socket");
        }
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let client = |text: &str| Client::of(Some(text.parse().unwrap()));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!([client("127.0.0.9"), client("::1"), Client::of(None)], [Client::Here; 3]);
    }
}
