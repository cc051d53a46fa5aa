//! Answers to an announce: parsed by clients, encoded by trackers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_bytes::ByteBuf;

use crate::bencode::{self, BencodeError, Limits, Loose, dict, put_bytes, put_integer};
use crate::limits::{TRACKER_ID_BYTES_MAX, TRACKER_INTERVAL_DEFAULT_S, TRACKER_PEERS_MAX};
use crate::tracker::{
    AnnounceResponse, Family, PeerAddr, compact_peers, count_from_tracker, interval_from_tracker,
    is_reachable, put_compact, text_from_tracker,
};
use crate::units::PeerId;

/// When to try again after a failure (BEP 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After so many seconds.
    After(u32),
    /// Not at all.
    Never,
}

/// Why a tracker's answer brought no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The tracker refused.
    #[error("the tracker says: {reason}")]
    Failure {
        /// For the user.
        reason: String,
        /// When the tracker said.
        retry: Option<Retry>,
    },
    /// Not an answer of a tracker.
    #[error("the tracker's answer is not understood: {0}")]
    Invalid(#[from] BencodeError),
    /// The answer has no peers and no reason.
    #[error("the tracker's answer has no peers")]
    NoPeers,
}

dict! {
    struct AnnounceDict {
        b"failure reason" => failure: Loose,
        b"retry in" => retry: Loose,
        b"warning message" => warning: Loose,
        b"interval" => interval: Loose,
        b"min interval" => min_interval: Loose,
        b"complete" => complete: Loose,
        b"incomplete" => incomplete: Loose,
        b"downloaded" => downloaded: Loose,
        b"tracker id" => tracker_id: Loose,
        b"external ip" => external_ip: Loose,
        b"peers" => peers: Peers,
        b"peers6" => peers6: Loose,
    }
}

dict! {
    struct PeerDict {
        b"ip" => ip: ByteBuf,
        b"port" => port: i64,
        b"peer id" => peer_id: Loose,
    }
}

/// Compact peers or a list of dictionaries.
#[derive(Debug)]
enum Peers {
    Compact(Vec<u8>),
    List(Vec<PeerDict>),
    /// Some trackers send an empty dictionary when there are none.
    Nothing,
}

impl<'de> serde::Deserialize<'de> for Peers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Peers, D::Error> {
        use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Peers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("peers")
            }

            fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<Peers, E> {
                let room = TRACKER_PEERS_MAX * Family::V4.compact_len();
                Ok(Peers::Compact(value[..value.len().min(room)].to_vec()))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Peers, S::Error> {
                let mut peers = Vec::new();
                while peers.len() < TRACKER_PEERS_MAX {
                    match list.next_element()? {
                        Some(peer) => peers.push(peer),
                        None => return Ok(Peers::List(peers)),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Peers::List(peers))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Peers, M::Error> {
                while map.next_key::<IgnoredAny>()?.is_some() {
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(Peers::Nothing)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Reads the body of an answer to an announce. At most [`TRACKER_PEERS_MAX`] peers of each family are taken;
/// peers named by a host name instead of an address are left out.
///
/// # Errors
/// When the tracker refused, or the body is not an answer of a tracker.
pub fn parse_announce_response(body: &[u8]) -> Result<AnnounceResponse, ResponseError> {
    // Some trackers end their answer with a line break.
    let (dict, _) = bencode::decode_prefix::<AnnounceDict>(body, &Limits::TRACKER)?;
    if let Some(failure) = failure(dict.failure, dict.retry) {
        return Err(failure);
    }
    if dict.peers.is_none() && dict.peers6.is_none() && dict.interval.is_none() {
        return Err(ResponseError::NoPeers);
    }
    let mut peers: Vec<PeerAddr> = match dict.peers {
        Some(Peers::Compact(bytes)) => {
            compact_peers(&bytes, Family::V4, TRACKER_PEERS_MAX).map(PeerAddr::from).collect()
        }
        Some(Peers::List(list)) => list.into_iter().filter_map(peer_from_dict).collect(),
        Some(Peers::Nothing) | None => Vec::new(),
    };
    if let Some(Loose::Bytes(bytes)) = dict.peers6 {
        peers.extend(compact_peers(&bytes, Family::V6, TRACKER_PEERS_MAX).map(PeerAddr::from));
    }
    Ok(AnnounceResponse {
        interval: interval_from_tracker(count(dict.interval).unwrap_or(TRACKER_INTERVAL_DEFAULT_S)),
        min_interval: count(dict.min_interval).map(interval_from_tracker),
        complete: count(dict.complete),
        incomplete: count(dict.incomplete),
        downloaded: count(dict.downloaded),
        peers,
        warning: text(dict.warning).filter(|text| !text.is_empty()),
        tracker_id: match dict.tracker_id {
            Some(Loose::Bytes(id)) if id.len() <= TRACKER_ID_BYTES_MAX => Some(id),
            _ => None,
        },
        external_ip: match dict.external_ip {
            Some(Loose::Bytes(ip)) => ip_from_bytes(&ip),
            _ => None,
        },
    })
}

/// What an answer with a failure reason means.
pub(super) fn failure(reason: Option<Loose>, retry: Option<Loose>) -> Option<ResponseError> {
    let reason = text(Some(reason?)).unwrap_or_default();
    let retry = match retry {
        Some(Loose::Integer(minutes)) => {
            count_from_tracker(minutes).map(|minutes| Retry::After(minutes.saturating_mul(60)))
        }
        Some(Loose::Bytes(text)) if text == b"never" => Some(Retry::Never),
        // The specification's example writes the number as a string.
        Some(Loose::Bytes(text)) => std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse::<u32>().ok())
            .map(|minutes| Retry::After(minutes.saturating_mul(60))),
        _ => None,
    };
    Some(ResponseError::Failure { reason, retry })
}

fn text(value: Option<Loose>) -> Option<String> {
    match value? {
        Loose::Bytes(bytes) => Some(text_from_tracker(&bytes)),
        _ => None,
    }
}

fn count(value: Option<Loose>) -> Option<u32> {
    match value? {
        Loose::Integer(value) => count_from_tracker(value),
        _ => None,
    }
}

fn peer_from_dict(peer: PeerDict) -> Option<PeerAddr> {
    let ip: IpAddr = std::str::from_utf8(&peer.ip?).ok()?.parse().ok()?;
    let addr = SocketAddr::new(ip.to_canonical(), u16::try_from(peer.port?).ok()?);
    let peer_id = match peer.peer_id {
        Some(Loose::Bytes(id)) => id.try_into().ok().map(PeerId),
        _ => None,
    };
    is_reachable(&addr).then_some(PeerAddr { addr, peer_id })
}

/// 4 or 16 raw bytes (BEP 24).
fn ip_from_bytes(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical()),
        _ => None,
    }
}

/// How a tracker writes peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerFormat {
    /// Strings `peers` (BEP 23) and, when there are any, `peers6` (BEP 7).
    Compact,
    /// A list of dictionaries (BEP 3).
    Dictionaries {
        /// With the ids of peers that have one.
        peer_ids: bool,
    },
}

/// Appends an answer to an announce.
pub fn encode_announce(out: &mut Vec<u8>, response: &AnnounceResponse, format: PeerFormat) {
    // Keys ascend.
    out.push(b'd');
    put_count(out, b"complete", response.complete);
    put_count(out, b"downloaded", response.downloaded);
    if let Some(ip) = response.external_ip {
        put_bytes(out, b"external ip");
        match ip.to_canonical() {
            IpAddr::V4(ip) => put_bytes(out, &ip.octets()),
            IpAddr::V6(ip) => put_bytes(out, &ip.octets()),
        }
    }
    put_count(out, b"incomplete", response.incomplete);
    put_count(out, b"interval", Some(response.interval));
    put_count(out, b"min interval", response.min_interval);
    put_bytes(out, b"peers");
    match format {
        PeerFormat::Compact => put_compact_peers(out, &response.peers),
        PeerFormat::Dictionaries { peer_ids } => put_peer_dicts(out, &response.peers, peer_ids),
    }
    if let Some(id) = &response.tracker_id {
        put_bytes(out, b"tracker id");
        put_bytes(out, id);
    }
    if let Some(warning) = &response.warning {
        put_bytes(out, b"warning message");
        put_bytes(out, warning.as_bytes());
    }
    out.push(b'e');
}

/// Appends an answer that refuses the request.
pub fn encode_failure(out: &mut Vec<u8>, reason: &str, retry: Option<Retry>) {
    out.push(b'd');
    put_bytes(out, b"failure reason");
    put_bytes(out, reason.as_bytes());
    if let Some(retry) = retry {
        put_bytes(out, b"retry in");
        match retry {
            Retry::After(seconds) => put_integer(out, seconds.div_ceil(60).into()),
            Retry::Never => put_bytes(out, b"never"),
        }
    }
    out.push(b'e');
}

fn put_count(out: &mut Vec<u8>, key: &[u8], value: Option<u32>) {
    if let Some(value) = value {
        put_bytes(out, key);
        put_integer(out, value.into());
    }
}

/// The value of `peers`, which always comes, and `peers6` when it is not empty.
fn put_compact_peers(out: &mut Vec<u8>, peers: &[PeerAddr]) {
    let of = |family| peers.iter().map(|peer| peer.addr).filter(move |addr| Family::of(addr.ip()) == family);
    let count = of(Family::V4).count();
    put_length(out, count * Family::V4.compact_len());
    of(Family::V4).for_each(|addr| put_compact(out, addr));
    if count < peers.len() {
        put_bytes(out, b"peers6");
        put_length(out, (peers.len() - count) * Family::V6.compact_len());
        of(Family::V6).for_each(|addr| put_compact(out, addr));
    }
}

/// The length of a string whose bytes follow.
fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b':');
}

fn put_peer_dicts(out: &mut Vec<u8>, peers: &[PeerAddr], peer_ids: bool) {
    out.push(b'l');
    for peer in peers {
        out.push(b'd');
        put_bytes(out, b"ip");
        put_bytes(out, peer.addr.ip().to_canonical().to_string().as_bytes());
        if let Some(id) = peer.peer_id.filter(|_| peer_ids) {
            put_bytes(out, b"peer id");
            put_bytes(out, &id.0);
        }
        put_bytes(out, b"port");
        put_integer(out, peer.addr.port().into());
        out.push(b'e');
    }
    out.push(b'e');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    fn response() -> AnnounceResponse {
        let peer = |text: &str| PeerAddr::from(text.parse::<SocketAddr>().unwrap());
        AnnounceResponse {
            interval: 1200,
            min_interval: Some(60),
            complete: Some(3),
            incomplete: Some(4),
            downloaded: Some(5),
            peers: vec![peer("1.2.3.4:6881"), peer("127.0.0.1:1"), peer("[2001:db8::1]:2")],
            warning: Some("be careful".into()),
            tracker_id: Some(b"\x00id".to_vec()),
            external_ip: Some("9.8.7.6".parse().unwrap()),
        }
    }

    fn encoded(response: &AnnounceResponse, format: PeerFormat) -> Vec<u8> {
        let mut out = Vec::new();
        encode_announce(&mut out, response, format);
        out
    }

    #[test]
    fn compact_answers_round_trip() {
        let body = encoded(&response(), PeerFormat::Compact);
        assert_eq!(parse_announce_response(&body).unwrap(), response());
        let empty = AnnounceResponse::default();
        let body = encoded(&empty, PeerFormat::Compact);
        assert_eq!(body, b"d8:intervali1800e5:peers0:e");
        assert_eq!(parse_announce_response(&body).unwrap(), empty);
    }

    #[test]
    fn dictionaries_round_trip_with_and_without_ids() {
        let mut response = response();
        response.peers[0].peer_id = Some(PeerId(*b"-XX0000-abcdefghijkl"));
        let body = encoded(&response, PeerFormat::Dictionaries { peer_ids: true });
        assert_eq!(parse_announce_response(&body).unwrap(), response);
        let body = encoded(&response, PeerFormat::Dictionaries { peer_ids: false });
        response.peers[0].peer_id = None;
        assert_eq!(parse_announce_response(&body).unwrap(), response);
    }

    #[test]
    fn failures_say_when_to_retry() {
        for (retry, expected) in [
            (None, None),
            (Some(Retry::Never), Some(Retry::Never)),
            (Some(Retry::After(61)), Some(Retry::After(120))),
        ] {
            let mut body = Vec::new();
            encode_failure(&mut body, "go away", retry);
            let failure = ResponseError::Failure { reason: "go away".into(), retry: expected };
            assert_eq!(parse_announce_response(&body), Err(failure));
        }
        let body = b"d14:failure reason1:x8:retry in1:5e";
        assert!(matches!(
            parse_announce_response(body),
            Err(ResponseError::Failure { retry: Some(Retry::After(300)), .. })
        ));
    }

    #[test]
    fn what_trackers_really_send_is_understood() {
        let peers = |body: &[u8]| parse_announce_response(body).unwrap().peers;
        assert!(peers(b"d8:intervali1800ee").is_empty());
        assert!(peers(b"d8:intervali1800e5:peersdee\r\n").is_empty());
        assert!(peers(b"d8:intervali1800e5:peerslee").is_empty());
        // Odd length: whole entries count. Port 0 and a host name do not.
        assert_eq!(peers(b"d5:peers8:\x01\x02\x03\x04\x00\x50zze").len(), 1);
        assert_eq!(peers(b"d5:peersld2:ip9:localhost4:porti1eed2:ip7:1.2.3.44:porti0eeee").len(), 0);
        assert_eq!(peers(b"d5:peersld2:ip7:1.2.3.44:porti70000eed2:ip3:::14:porti9eed4:porti9eeee").len(), 1);
    }

    #[test]
    fn absurd_numbers_are_cut() {
        let body =
            b"d8:completei-5e10:incompletei99999999999e8:intervali99999999e12:min intervali-1e5:peers0:e";
        let response = parse_announce_response(body).unwrap();
        assert_eq!(response.interval, 86400);
        assert_eq!(response.min_interval, None);
        assert_eq!(response.complete, None);
        assert_eq!(response.incomplete, Some(u32::MAX));
        assert_eq!(parse_announce_response(b"d8:intervali-1e5:peers0:e").unwrap().interval, 1800);
    }

    #[test]
    fn a_flood_of_peers_is_bounded() {
        let mut body = b"d5:peers".to_vec();
        put_bytes(&mut body, &[1; 600_000]);
        body.extend_from_slice(b"6:peers6");
        put_bytes(&mut body, &[2; 600_000]);
        body.push(b'e');
        assert_eq!(parse_announce_response(&body).unwrap().peers.len(), 2 * TRACKER_PEERS_MAX);
        let mut body = b"d5:peersl".to_vec();
        for _ in 0..10_000 {
            body.extend_from_slice(b"d2:ip7:1.2.3.44:porti9ee");
        }
        body.extend_from_slice(b"ee");
        assert_eq!(parse_announce_response(&body).unwrap().peers.len(), TRACKER_PEERS_MAX);
    }

    #[test]
    fn pages_and_floods_are_not_answers() {
        for body in [&b"<html>not found</html>"[..], b"", b"le", b"i1e", b"de", b"d1:ai1ee"] {
            assert!(parse_announce_response(body).is_err());
        }
        let deep = [&b"d5:peers"[..], &[b'l'; 100_000]].concat();
        assert!(matches!(
            parse_announce_response(&deep),
            Err(ResponseError::Invalid(BencodeError::TooDeep(_)))
        ));
        assert!(matches!(
            parse_announce_response(&vec![b'l'; 3 << 20]),
            Err(ResponseError::Invalid(BencodeError::TooLarge { .. }))
        ));
    }

    #[test]
    fn every_cut_answer_is_an_error() {
        let dictionaries = PeerFormat::Dictionaries { peer_ids: true };
        for body in [encoded(&response(), PeerFormat::Compact), encoded(&response(), dictionaries)] {
            for cut in 0..body.len() {
                assert!(parse_announce_response(&body[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn random_mutations_never_panic() {
        let mut noise = Noise::new(3);
        let compact = encoded(&response(), PeerFormat::Compact);
        let list = encoded(&response(), PeerFormat::Dictionaries { peer_ids: false });
        for _ in 0..10_000 {
            let _ = parse_announce_response(&noise.mutate(&compact));
            let _ = parse_announce_response(&noise.mutate(&list));
        }
    }
}
