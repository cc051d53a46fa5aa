//! Answers to an announce: parsed by clients, encoded by trackers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::lenient::{self, Value};
use crate::bencode::{BencodeError, put_bytes, put_integer};
use crate::limits::{TRACKER_ID_BYTES_MAX, TRACKER_INTERVAL_DEFAULT_S, TRACKER_PEERS_MAX};
use crate::tracker::{
    AnnounceResponse, Family, NO_REASON, PeerAddr, compact_peers, count_from_tracker, interval_from_tracker,
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

/// Reads the body of an answer to an announce. At most [`TRACKER_PEERS_MAX`] peers of each list are taken; peers named
/// by a host name instead of an address are left out, and so is whatever else cannot be used.
///
/// # Errors
/// When the tracker refused, or the body is not an answer of a tracker.
pub fn parse_announce_response(body: &[u8]) -> Result<AnnounceResponse, ResponseError> {
    let answer = lenient::dictionary(body)?;
    if let Some(failure) = failure(answer) {
        return Err(failure);
    }
    let (ipv4, ipv6, interval) = (answer.get(b"peers"), answer.get(b"peers6"), answer.get(b"interval"));
    if ipv4.is_none() && ipv6.is_none() && interval.is_none() {
        return Err(ResponseError::NoPeers);
    }
    let mut peers = Vec::new();
    for (list, family) in [(ipv4, Family::V4), (ipv6, Family::V6)] {
        match list {
            Some(Value::Bytes(bytes)) => {
                peers.extend(compact_peers(bytes, family, TRACKER_PEERS_MAX).map(PeerAddr::from));
            }
            // Some trackers send an empty dictionary when there are none, some a dictionary of dictionaries.
            Some(list) => peers.extend(list.elements().filter_map(peer_from_dict).take(TRACKER_PEERS_MAX)),
            None => {}
        }
    }
    let count = |key: &[u8]| answer.get(key).and_then(Value::integer).and_then(count_from_tracker);
    Ok(AnnounceResponse {
        interval: interval_from_tracker(count(b"interval").unwrap_or(TRACKER_INTERVAL_DEFAULT_S)),
        min_interval: count(b"min interval").map(interval_from_tracker),
        complete: count(b"complete"),
        incomplete: count(b"incomplete"),
        downloaded: count(b"downloaded"),
        peers,
        warning: text(answer.get(b"warning message")),
        tracker_id: answer
            .get(b"tracker id")
            .and_then(Value::bytes)
            .filter(|id| id.len() <= TRACKER_ID_BYTES_MAX)
            .map(<[u8]>::to_vec),
        external_ip: answer.get(b"external ip").and_then(Value::bytes).and_then(ip_from_bytes),
    })
}

/// What an answer with a failure reason means; `None` when it has none. Whatever the reason is, the tracker refused.
pub(super) fn failure(answer: Value<'_>) -> Option<ResponseError> {
    let reason = match answer.get(b"failure reason")? {
        Value::Integer(Some(number)) => number.to_string(),
        value => text(Some(value)).unwrap_or_else(|| NO_REASON.to_owned()),
    };
    let retry = answer.get(b"retry in").and_then(|retry| match retry {
        Value::Bytes(b"never") => Some(Retry::Never),
        // The specification's example writes the number as a string.
        minutes => {
            count_from_tracker(minutes.integer()?).map(|minutes| Retry::After(minutes.saturating_mul(60)))
        }
    });
    Some(ResponseError::Failure { reason, retry })
}

/// A text for the user; `None` when there is nothing to read.
fn text(value: Option<Value<'_>>) -> Option<String> {
    Some(text_from_tracker(value?.bytes()?)).filter(|text| !text.is_empty())
}

fn peer_from_dict(peer: Value<'_>) -> Option<PeerAddr> {
    let text = std::str::from_utf8(peer.get(b"ip")?.bytes()?).ok()?.trim();
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip: IpAddr = text.parse().ok()?;
    let port = u16::try_from(peer.get(b"port")?.integer()?).ok()?;
    let addr = SocketAddr::new(ip.to_canonical(), port);
    let peer_id = peer.get(b"peer id").and_then(Value::bytes).and_then(|id| id.try_into().ok()).map(PeerId);
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

    /// A tracker of which one value is odd is used for the others: whatever is wrong, the peers come.
    #[test]
    fn one_odd_value_does_not_cost_the_others() {
        let odd = [
            &b"i99999999999999999999999e"[..],
            b"i900.5e",
            b"ie",
            b"i-1e",
            b"3:abc",
            b"0:",
            b"le",
            b"li1e1:xe",
            b"de",
            b"d1:ai1ee",
        ];
        let mut peers = Vec::new();
        put_bytes(&mut peers, &[1, 2, 3, 4, 0, 80]);
        for key in [
            "complete",
            "downloaded",
            "external ip",
            "incomplete",
            "interval",
            "min interval",
            "peers6",
            "tracker id",
            "warning message",
            "\u{ff}",
        ] {
            for value in odd {
                // Keys out of order, too.
                let mut body = b"d5:peers".to_vec();
                body.extend_from_slice(&peers);
                put_bytes(&mut body, key.as_bytes());
                body.extend_from_slice(value);
                body.push(b'e');
                let answer = parse_announce_response(&body).unwrap_or_else(|error| panic!("{key}: {error}"));
                assert_eq!(answer.peers.len(), 1, "{key} {}", value.escape_ascii());
                assert!((1..=86400).contains(&answer.interval), "{key}");
            }
        }
        let numbers = parse_announce_response(b"d8:complete1:78:interval3:9005:peers0:e").unwrap();
        assert_eq!((numbers.interval, numbers.complete), (900, Some(7)), "numbers written as text");
    }

    #[test]
    fn one_odd_peer_does_not_cost_the_others() {
        let good = "d2:ip7:1.2.3.44:porti80ee";
        for odd in [
            "i5e",
            "0:",
            "le",
            "de",
            "d2:ipi5e4:porti80ee",
            "d2:ip7:1.2.3.44:port2:xxe",
            "d2:ip7:1.2.3.44:porti99999999999999999999ee",
            "d2:ip9:localhost4:porti80ee",
            "d4:porti80ee",
            "d2:ip7:1.2.3.4e",
        ] {
            for key in ["5:peers", "6:peers6"] {
                let body = format!("d8:intervali1800e{key}l{odd}{good}{odd}ee");
                let answer = parse_announce_response(body.as_bytes()).unwrap();
                assert_eq!(answer.peers.len(), 1, "{body}");
            }
        }
        // As a language without lists writes one, the port as text, the address as in a URL.
        let body = "d5:peersd1:0d2:ip5:[::2]4:port2:80ee6:peers6ld2:ip3:::24:porti81eeee";
        let peers: Vec<_> =
            parse_announce_response(body.as_bytes()).unwrap().peers.iter().map(|peer| peer.addr).collect();
        assert_eq!(peers, ["[::2]:80".parse().unwrap(), "[::2]:81".parse().unwrap()]);
    }

    #[test]
    fn a_refusal_without_a_readable_reason_is_a_refusal() {
        for reason in ["0:", "1: ", "le", "de", "d1:ai1ee", "i99999999999999999999e"] {
            let body = format!("d14:failure reason{reason}8:intervali1800e5:peers0:e");
            match parse_announce_response(body.as_bytes()) {
                Err(ResponseError::Failure { reason, .. }) => assert_eq!(reason, NO_REASON),
                other => panic!("{other:?}"),
            }
        }
        match parse_announce_response(b"d14:failure reasoni5ee") {
            Err(ResponseError::Failure { reason, .. }) => assert_eq!(reason, "5"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_stands_around_an_answer_is_passed_over() {
        for (before, after) in [("", "\r\n"), ("\r\n", ""), ("\u{feff}", "<!-- -->"), (" \t", "\0\0")] {
            let body = format!("{before}d8:intervali77e5:peers0:e{after}");
            assert_eq!(parse_announce_response(body.as_bytes()).unwrap().interval, 77, "{body:?}");
        }
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
