//! Tests of the datagrams: round trips, hostile ones, every prefix.

use super::*;
use crate::noise::Noise;

fn announce() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: SwarmHash([1; 20]),
        peer_id: PeerId([2; 20]),
        port: 6881,
        uploaded: 3,
        downloaded: 4,
        left: u64::MAX,
        event: AnnounceEvent::Started,
        numwant: Some(80),
        key: Some(7),
    }
}

fn announce_request(url_data: &[u8]) -> Request<'static> {
    Request::Announce {
        connection_id: 0x0102_0304_0506_0708,
        transaction_id: 99,
        announce: announce(),
        url_data: url_data.to_vec(),
    }
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(&mut out);
    out
}

const TORRENTS: [[u8; 20]; 3] = [[1; 20], [2; 20], [3; 20]];

fn scrape_request() -> Request<'static> {
    Request::Scrape { connection_id: 5, transaction_id: 6, torrents: &TORRENTS }
}

#[test]
fn requests_round_trip() {
    let long = vec![b'/'; 600];
    for request in [
        Request::Connect { transaction_id: u32::MAX },
        announce_request(b""),
        announce_request(b"/announce?key=1"),
        announce_request(&long),
        scrape_request(),
    ] {
        assert_eq!(Request::decode(&encoded(&request)).unwrap(), request);
    }
    for event in [AnnounceEvent::None, AnnounceEvent::Stopped, AnnounceEvent::Completed] {
        let announce = AnnounceRequest { event, numwant: None, key: None, ..announce() };
        let request =
            Request::Announce { connection_id: 1, transaction_id: 2, announce, url_data: Vec::new() };
        assert_eq!(Request::decode(&encoded(&request)).unwrap(), request);
    }
}

#[test]
fn the_bytes_are_those_of_bep_15() {
    let connect = encoded(&Request::Connect { transaction_id: 0x0a0b_0c0d });
    assert_eq!(connect, [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 10, 11, 12, 13]);
    let bytes = encoded(&announce_request(b""));
    assert_eq!(bytes.len(), ANNOUNCE_LEN);
    assert_eq!(bytes[8..16], [0, 0, 0, 1, 0, 0, 0, 99]);
    assert_eq!(bytes[56..64], 4u64.to_be_bytes(), "downloaded");
    assert_eq!(bytes[64..72], u64::MAX.to_be_bytes(), "left");
    assert_eq!(bytes[72..80], 3u64.to_be_bytes(), "uploaded");
    assert_eq!(bytes[80..84], [0, 0, 0, 2], "event");
    assert_eq!(bytes[92..98], [0, 0, 0, 80, 0x1a, 0xe1], "numwant and port");
}

#[test]
fn every_cut_request_is_an_error() {
    for request in [Request::Connect { transaction_id: 1 }, announce_request(b"")] {
        let bytes = encoded(&request);
        for cut in 0..bytes.len() {
            assert_eq!(Request::decode(&bytes[..cut]), Err(PacketError::Truncated), "cut at {cut}");
        }
    }
    let bytes = encoded(&scrape_request());
    for cut in 0..bytes.len() {
        let whole = cut > 16 && (cut - 16) % 20 == 0;
        assert_eq!(Request::decode(&bytes[..cut]).is_ok(), whole, "cut at {cut}");
    }
    // Without its options, and without the end mark, an announce is whole.
    let bytes = encoded(&announce_request(b"/announce"));
    for cut in ANNOUNCE_LEN..bytes.len() {
        let whole = cut == ANNOUNCE_LEN || cut == bytes.len() - 1;
        assert_eq!(Request::decode(&bytes[..cut]).is_ok(), whole, "cut at {cut}");
    }
}

#[test]
fn hostile_requests_are_refused() {
    let mut bytes = encoded(&Request::Connect { transaction_id: 1 });
    bytes[0] = 1;
    assert_eq!(Request::decode(&bytes), Err(PacketError::ProtocolId));
    bytes[11] = 9;
    assert_eq!(Request::decode(&bytes), Err(PacketError::Action(9)));
    let mut bytes = encoded(&announce_request(b""));
    bytes[83] = 4;
    assert_eq!(Request::decode(&bytes), Err(PacketError::Event(4)));
    let torrents = [[0; 20]; UDP_SCRAPE_TORRENTS_MAX + 1];
    let mut bytes = encoded(&Request::Scrape { connection_id: 1, transaction_id: 1, torrents: &torrents });
    assert_eq!(bytes.len(), 16 + 20 * UDP_SCRAPE_TORRENTS_MAX);
    assert!(Request::decode(&bytes).is_ok());
    bytes.extend_from_slice(&[0; 20]);
    assert_eq!(Request::decode(&bytes), Err(PacketError::ScrapeLength));
    assert_eq!(Request::decode(&bytes[..16]), Err(PacketError::ScrapeLength));
}

#[test]
fn options_are_read_as_bep_41_says() {
    let with =
        |options: &[u8]| match Request::decode(&[encoded(&announce_request(b"")), options.to_vec()].concat())
        {
            Ok(Request::Announce { url_data, .. }) => Ok(url_data),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
    assert_eq!(with(&[1, 1, 2, 2, b'/', b'a', 2, 1, b'b', 0, 2, 200]), Ok(b"/ab".to_vec()));
    assert_eq!(with(&[9, 3, 0, 0, 0, 2, 1, b'x']), Ok(b"x".to_vec()));
    assert_eq!(with(&[2]), Err(PacketError::Options));
    assert_eq!(with(&[2, 5, b'x']), Err(PacketError::Options));
    let flood = [&[2, 255][..], &[b'a'; 255]].concat().repeat(5);
    assert_eq!(with(&flood), Err(PacketError::Options));
}

#[test]
fn url_data_is_path_and_query() {
    for (url, wanted) in [
        ("udp://t:80", ""),
        ("udp://t:80/", "/"),
        ("udp://t:80/announce?k=/v#top", "/announce?k=/v"),
        ("udp://[::1]:80?k=v", "?k=v"),
        ("", ""),
    ] {
        assert_eq!(url_data_of(url), wanted.as_bytes(), "{url}");
    }
}

fn peers(family: Family) -> Vec<SocketAddr> {
    match family {
        Family::V4 => vec!["1.2.3.4:5".parse().unwrap(), "127.0.0.1:6881".parse().unwrap()],
        Family::V6 => vec!["[2001:db8::2]:5".parse().unwrap(), "[::1]:6881".parse().unwrap()],
    }
}

fn announce_answer(family: Family) -> Vec<u8> {
    let mut out = Vec::new();
    let head = AnnounceHead { interval: 900, complete: 1, incomplete: 2 };
    encode_announce(&mut out, 7, &head, family, [peers(Family::V4), peers(Family::V6)].concat());
    out
}

#[test]
fn answers_round_trip() {
    let mut out = Vec::new();
    encode_connect(&mut out, 1, u64::MAX);
    assert_eq!(out.len(), 16);
    let connect = Response::decode(&out, Family::V4).unwrap();
    assert_eq!(connect, Response::Connect { transaction_id: 1, connection_id: u64::MAX });
    assert_eq!(connect.transaction_id(), 1);

    for family in [Family::V4, Family::V6] {
        let response = AnnounceResponse {
            interval: 900,
            complete: Some(1),
            incomplete: Some(2),
            peers: peers(family).into_iter().map(PeerAddr::from).collect(),
            ..AnnounceResponse::default()
        };
        let expected = Response::Announce { transaction_id: 7, response };
        assert_eq!(Response::decode(&announce_answer(family), family).unwrap(), expected);
    }

    let entries = vec![ScrapeEntry { complete: 1, downloaded: 2, incomplete: 3 }, ScrapeEntry::default()];
    let mut out = Vec::new();
    encode_scrape(&mut out, 8, entries.clone());
    let scrape = Response::decode(&out, Family::V6).unwrap();
    assert_eq!(scrape, Response::Scrape { transaction_id: 8, entries });

    let mut out = Vec::new();
    encode_error(&mut out, 9, "no");
    let error = Response::decode(&out, Family::V4).unwrap();
    assert_eq!(error, Response::Error { transaction_id: 9, message: "no".into() });
}

#[test]
fn cut_answers_are_errors_or_have_fewer_peers() {
    let bytes = announce_answer(Family::V6);
    for cut in 0..12 {
        assert_eq!(Response::decode(&bytes[..cut], Family::V6), Err(PacketError::Truncated), "cut at {cut}");
    }
    for cut in 12..20 {
        match Response::decode(&bytes[..cut], Family::V6).unwrap() {
            Response::Announce { response, .. } => {
                assert_eq!((response.complete, response.peers.len()), (None, 0), "cut at {cut}");
                assert_eq!(response.incomplete.is_some(), cut >= 16, "cut at {cut}");
            }
            other => panic!("{other:?}"),
        }
    }
    for cut in 20..bytes.len() {
        match Response::decode(&bytes[..cut], Family::V6).unwrap() {
            Response::Announce { response, .. } => assert_eq!(response.peers.len(), (cut - 20) / 18),
            other => panic!("{other:?}"),
        }
    }
}

/// As over HTTP, where trackers write -1 as well.
#[test]
fn negative_numbers_are_not_known() {
    let head = AnnounceHead { interval: -1i32 as u32, complete: -1i32 as u32, incomplete: i32::MIN as u32 };
    let mut out = Vec::new();
    encode_announce(&mut out, 1, &head, Family::V4, ["1.1.1.1:1".parse().unwrap()]);
    match Response::decode(&out, Family::V4).unwrap() {
        Response::Announce { response, .. } => {
            assert_eq!((response.complete, response.incomplete), (None, None));
            assert_eq!((response.interval, response.peers.len()), (1800, 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_without_a_reason_is_one() {
    for (action, text, shown) in [
        ([0, 0, 0, 3], &b""[..], NO_REASON),
        ([0, 0, 0, 3], b" \0", NO_REASON),
        ([0, 0, 0, 3], b"not registered\0", "not registered"),
        ([3, 0, 0, 0], b"the number from its other end", "the number from its other end"),
    ] {
        let datagram = [&action[..], &[0, 0, 0, 9], text].concat();
        let error = Response::Error { transaction_id: 9, message: shown.to_owned() };
        assert_eq!(Response::decode(&datagram, Family::V4), Ok(error));
    }
}

#[test]
fn hostile_answers_are_bounded() {
    let head = AnnounceHead { interval: i32::MAX as u32, complete: u32::MAX, incomplete: 0 };
    let mut out = Vec::new();
    encode_announce(&mut out, 1, &head, Family::V4, vec!["1.1.1.1:1".parse().unwrap(); 10_000]);
    match Response::decode(&out, Family::V4).unwrap() {
        Response::Announce { response, .. } => {
            assert_eq!(response.interval, 86400);
            assert_eq!(response.peers.len(), TRACKER_PEERS_MAX);
        }
        other => panic!("{other:?}"),
    }
    let error = [&[0, 0, 0, 3, 0, 0, 0, 1][..], &[0xff; 60_000]].concat();
    match Response::decode(&error, Family::V4).unwrap() {
        Response::Error { message, .. } => assert!(message.chars().count() <= 1024),
        other => panic!("{other:?}"),
    }
    assert_eq!(Response::decode(&[0, 0, 0, 4, 0, 0, 0, 1], Family::V4), Err(PacketError::Action(4)));
    let scrape = [&[0, 0, 0, 2, 0, 0, 0, 1][..], &[0; 12 * 100 + 1]].concat();
    match Response::decode(&scrape, Family::V4).unwrap() {
        Response::Scrape { entries, .. } => assert_eq!(entries.len(), UDP_SCRAPE_TORRENTS_MAX),
        other => panic!("{other:?}"),
    }
}

#[test]
fn random_mutations_never_panic_and_requests_stay_stable() {
    let mut noise = Noise::new(5);
    let requests = [encoded(&announce_request(b"/announce?x=1")), encoded(&scrape_request())];
    let answer = announce_answer(Family::V4);
    for _ in 0..10_000 {
        for valid in &requests {
            let bytes = noise.mutate(valid);
            if let Ok(request) = Request::decode(&bytes) {
                assert_eq!(Request::decode(&encoded(&request)).unwrap(), request);
            }
        }
        let bytes = noise.mutate(&answer);
        let _ = Response::decode(&bytes, Family::V4);
        let _ = Response::decode(&bytes, Family::V6);
    }
}
