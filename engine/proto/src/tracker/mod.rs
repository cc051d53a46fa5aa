//! What clients and trackers tell each other, over HTTP and over UDP, seen from both sides.

pub mod http;
pub mod udp;
mod url;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
pub use url::is_announce_url;

use crate::hashes::SwarmHash;
use crate::limits::{TRACKER_INTERVAL_DEFAULT_S, TRACKER_INTERVAL_MAX_S, TRACKER_TEXT_BYTES_MAX};
use crate::units::PeerId;

/// Why a client announces now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum AnnounceEvent {
    /// The interval has passed.
    #[default]
    None,
    /// The first announce.
    Started,
    /// The client leaves.
    Stopped,
    /// The download just finished.
    Completed,
    /// The interval has passed, and the client is a partial seed (BEP 21): it lacks pieces and wants none. Over UDP,
    /// which has no word for it, this is [`AnnounceEvent::None`].
    Paused,
}

/// An announce, whatever it travels in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// The torrent.
    pub info_hash: SwarmHash,
    /// Who announces.
    pub peer_id: PeerId,
    /// TCP port where the client listens.
    pub port: u16,
    /// Payload bytes sent since `started`.
    pub uploaded: u64,
    /// Payload bytes received since `started`.
    pub downloaded: u64,
    /// Bytes still missing; 0 makes a seed.
    pub left: u64,
    /// Why.
    pub event: AnnounceEvent,
    /// Peers wanted; `None` leaves it to the tracker.
    pub numwant: Option<u32>,
    /// Proves to the tracker that it is the same client when its address changes.
    pub key: Option<u32>,
}

/// A peer as a tracker names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its id, which only lists of dictionaries carry.
    pub peer_id: Option<PeerId>,
}

impl From<SocketAddr> for PeerAddr {
    fn from(addr: SocketAddr) -> PeerAddr {
        PeerAddr { addr, peer_id: None }
    }
}

/// A tracker's answer to an announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceResponse {
    /// Seconds until the next regular announce. When parsed, at most [`TRACKER_INTERVAL_MAX_S`]; the caller
    /// keeps its own least interval.
    pub interval: u32,
    /// Seconds before which no announce may follow.
    pub min_interval: Option<u32>,
    /// Number of seeds; `None` when it is not known, which trackers also write as a negative number.
    pub complete: Option<u32>,
    /// Number of leeches; `None` as above.
    pub incomplete: Option<u32>,
    /// Number of finished downloads so far; `None` as above.
    pub downloaded: Option<u32>,
    /// Peers, IPv4 and IPv6.
    pub peers: Vec<PeerAddr>,
    /// A text for the user; the announce was good nevertheless.
    pub warning: Option<String>,
    /// To be sent back with later announces.
    pub tracker_id: Option<Vec<u8>>,
    /// The client's address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
}

impl Default for AnnounceResponse {
    fn default() -> AnnounceResponse {
        AnnounceResponse {
            interval: TRACKER_INTERVAL_DEFAULT_S,
            min_interval: None,
            complete: None,
            incomplete: None,
            downloaded: None,
            peers: Vec::new(),
            warning: None,
            tracker_id: None,
            external_ip: None,
        }
    }
}

/// One torrent's numbers in a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ScrapeEntry {
    /// Number of seeds.
    pub complete: u32,
    /// Number of finished downloads so far.
    pub downloaded: u32,
    /// Number of leeches.
    pub incomplete: u32,
}

/// IPv4 or IPv6: the length of compact addresses depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// 6 bytes for address and port.
    V4,
    /// 18 bytes for address and port.
    V6,
}

impl Family {
    /// Bytes of a compact address with port.
    pub const fn compact_len(self) -> usize {
        match self {
            Family::V4 => 6,
            Family::V6 => 18,
        }
    }

    /// The family of an address; an IPv4 address mapped into IPv6 is IPv4.
    pub fn of(ip: IpAddr) -> Family {
        match ip.to_canonical() {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }
}

/// Appends address and port in network byte order (BEP 23, BEP 7): 6 or 18 bytes.
pub fn put_compact(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

/// Reads compact addresses, at most `max`. Addresses that nobody can connect to and an incomplete last one are
/// left out.
pub fn compact_peers(bytes: &[u8], family: Family, max: usize) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes
        .chunks_exact(family.compact_len())
        .map(move |entry| {
            let (ip, port) = entry.split_at(entry.len() - 2);
            let ip = match family {
                Family::V4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(ip).unwrap_or_default())),
                Family::V6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).unwrap_or_default())),
            };
            SocketAddr::new(ip.to_canonical(), u16::from_be_bytes([port[0], port[1]]))
        })
        .filter(is_reachable)
        .take(max)
}

/// Whether one could try to connect there at all.
fn is_reachable(addr: &SocketAddr) -> bool {
    let ip = addr.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// What a refusal without a reason that can be read is shown as.
pub const NO_REASON: &str = "the tracker refused without a reason";

/// A text from a tracker, made printable: bounded, control characters and what is not UTF-8 replaced.
fn text_from_tracker(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(TRACKER_TEXT_BYTES_MAX)];
    let replace = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = String::from_utf8_lossy(bytes).chars().map(replace).collect();
    // What stands for a byte that is no text takes three.
    text[..text.floor_char_boundary(TRACKER_TEXT_BYTES_MAX)].trim().to_owned()
}

/// A number of seconds or peers; negative ones are none, large ones are cut.
fn count_from_tracker(value: i64) -> Option<u32> {
    u64::try_from(value).ok().map(|value| u32::try_from(value).unwrap_or(u32::MAX))
}

/// Seconds, at most a day.
fn interval_from_tracker(seconds: u32) -> u32 {
    seconds.min(TRACKER_INTERVAL_MAX_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_addresses_round_trip() {
        for text in ["1.2.3.4:6881", "[2001:db8::1]:65535"] {
            let addr: SocketAddr = text.parse().unwrap();
            let family = Family::of(addr.ip());
            let mut out = Vec::new();
            put_compact(&mut out, addr);
            assert_eq!(out.len(), family.compact_len());
            assert_eq!(compact_peers(&out, family, 9).collect::<Vec<_>>(), [addr]);
            assert_eq!(compact_peers(&out[1..], family, 9).count(), 0);
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mut out = Vec::new();
        put_compact(&mut out, "[::ffff:1.2.3.4]:80".parse().unwrap());
        assert_eq!(out, [1, 2, 3, 4, 0, 80]);
        let mapped = "::ffff:1.2.3.4".parse::<Ipv6Addr>().unwrap().octets();
        let bytes = [&mapped[..], &[0, 80]].concat();
        assert_eq!(compact_peers(&bytes, Family::V6, 1).next(), Some("1.2.3.4:80".parse().unwrap()));
    }

    #[test]
    fn unreachable_addresses_are_left_out() {
        let bytes =
            [[1, 2, 3, 4, 0, 0], [0, 0, 0, 0, 0, 1], [255, 255, 255, 255, 0, 1], [224, 0, 0, 1, 0, 1]];
        assert_eq!(compact_peers(&bytes.concat(), Family::V4, 9).count(), 0);
    }

    #[test]
    fn only_so_many_peers_are_taken() {
        assert_eq!(compact_peers(&[1; 600], Family::V4, 5).count(), 5);
    }

    #[test]
    fn texts_are_made_printable() {
        assert_eq!(text_from_tracker(b" a\x1b[31mb\n\xff "), "a [31mb \u{fffd}");
        assert_eq!(text_from_tracker(&[b'x'; 9999]).len(), TRACKER_TEXT_BYTES_MAX);
        assert_eq!(text_from_tracker(&[0xff; 9999]).len(), TRACKER_TEXT_BYTES_MAX / 3 * 3);
    }
}
