//! What each parser promises for every input: no panic, bounds kept, and what was accepted comes back the same
//! when it is written and read again. The fuzz targets and the test over the corpus both call these.

use ringseed_proto::bencode::{self, Limits};
use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::limits::{TRACKER_QUERY_BYTES_MAX, TRACKER_RESPONSE_BYTES_MAX};
use ringseed_proto::magnet::Magnet;
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::mse::{Initiator, KEY_LEN, LookupHash, Methods, Random, Rc4, Responder, Step};
use ringseed_proto::tracker::http::{
    PeerFormat, announce_url, encode_announce, encode_scrape, parse_announce, parse_announce_response,
    parse_scrape, parse_scrape_response, scrape_url,
};
use ringseed_proto::tracker::udp::{self, Request, Response};
use ringseed_proto::tracker::{AnnounceResponse, Family};
use ringseed_proto::units::Block;
use ringseed_proto::wire::extension::{ExtensionHandshake, MetadataMessage, PexMessage};
use ringseed_proto::wire::{Decoder, Frame, Handshake, Message};
use std::collections::HashSet;
use std::path::Component;

/// What holds for any bytes.
type Property = fn(&[u8]);

/// All properties by the name of their target, which is that of the folder in `corpus`.
pub const ALL: [(&str, Property); 10] = [
    ("bencode", bencode),
    ("metainfo", metainfo),
    ("magnet", magnet),
    ("wire", wire),
    ("extension", extension),
    ("udp_tracker", udp_tracker),
    ("http_query", http_query),
    ("http_response", http_response),
    ("mse_initiator", mse_initiator),
    ("mse_responder", mse_responder),
];

/// A value ends within the input, does not depend on what follows it, and nothing shorter is a value.
pub fn bencode(data: &[u8]) {
    for limits in [Limits::EXTENSION, Limits::TRACKER, Limits::TORRENT] {
        let Ok(length) = bencode::check(data, &limits) else { continue };
        assert!((1..=data.len()).contains(&length));
        assert_eq!(bencode::check(&data[..length], &limits), Ok(length));
        assert!(bencode::check(&data[..length - 1], &limits).is_err());
        const PATHS: [&[&[u8]]; 4] = [&[], &[b"info"], &[b"info", b"files"], &[b"", b"a"]];
        for path in PATHS {
            if let Some(span) = bencode::value_span(&data[..length], path) {
                assert_eq!(bencode::check(&data[span.clone()], &limits), Ok(span.len()));
            }
        }
    }
}

/// Paths stay inside and are distinct, sizes and hashes fit, and the torrent survives being written.
pub fn metainfo(data: &[u8]) {
    let _ = Metainfo::from_info_bytes(data);
    let Ok(torrent) = Metainfo::parse(data) else { return };
    let layout = &torrent.info.layout;
    let mut paths = HashSet::new();
    let mut offset = 0u64;
    for file in &layout.files {
        assert!(file.path.components().all(|part| matches!(part, Component::Normal(_))), "{:?}", file.path);
        assert!(!file.path.as_os_str().is_empty());
        assert!(!file.path.as_os_str().as_encoded_bytes().contains(&0));
        assert!(file.padding || paths.insert(file.path.clone()), "{:?} comes twice", file.path);
        assert_eq!(file.offset, offset);
        offset = offset.checked_add(file.length).expect("sizes that can be added");
    }
    assert_eq!(layout.total_length, offset);
    assert_eq!(u64::from(layout.piece_count()), offset.div_ceil(u64::from(layout.piece_length)));
    let again = Metainfo::parse(&torrent.to_bytes()).expect("what was written can be read");
    assert_eq!(again, torrent);
    assert_eq!(Metainfo::from_info_bytes(&torrent.info_bytes).map(|bare| bare.hashes), Ok(torrent.hashes));
}

/// A link that is understood means the same when it is written again.
pub fn magnet(data: &[u8]) {
    if let Ok(link) = String::from_utf8_lossy(data).parse::<Magnet>() {
        assert_eq!(link.to_string().parse::<Magnet>(), Ok(link));
    }
}

/// What came out of a stream; the parts of a block are joined, whatever the splits.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Control(Vec<u8>),
    Unknown(u8),
    Block { block: Block, data: Vec<u8>, whole: bool },
    Broken,
}

fn feed(decoder: &mut Decoder, mut input: &[u8], seen: &mut Vec<Seen>) -> bool {
    loop {
        match decoder.next(&mut input) {
            Ok(None) => {
                assert!(input.is_empty(), "bytes were left");
                return true;
            }
            Ok(Some(Frame::Message(Message::Unknown { id }))) => seen.push(Seen::Unknown(id)),
            Ok(Some(Frame::Message(message))) => {
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                seen.push(Seen::Control(bytes));
            }
            Ok(Some(Frame::BlockChunk { block, offset, data, last })) => {
                assert!(!data.is_empty());
                if offset == 0 {
                    seen.push(Seen::Block { block, data: Vec::new(), whole: false });
                }
                let Some(Seen::Block { block: begun, data: so_far, whole }) = seen.last_mut() else {
                    panic!("a part of a block that has not begun");
                };
                assert_eq!((*begun, so_far.len()), (block, offset as usize));
                so_far.extend_from_slice(data);
                assert_eq!(last, so_far.len() == block.length as usize);
                *whole = last;
            }
            Err(_) => {
                seen.push(Seen::Broken);
                return false;
            }
        }
    }
}

/// A stream means the same however it is cut; the first two bytes choose the cuts. Control messages are written
/// as they were read. A handshake that is accepted is written as it was read.
pub fn wire(data: &[u8]) {
    if let Ok(Some(handshake)) = Handshake::decode(data) {
        assert_eq!(Handshake::decode(&handshake.encode()), Ok(Some(handshake)));
    }
    let Some((cuts, stream)) = data.split_first_chunk::<2>() else { return };
    let mut whole = Vec::new();
    feed(&mut Decoder::new(4096), stream, &mut whole);
    let mut state = u64::from(u16::from_le_bytes(*cuts)) << 1 | 1;
    let (mut cut, mut decoder, mut rest) = (Vec::new(), Decoder::new(4096), stream);
    while !rest.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = ((state >> 40) as usize % 24).clamp(1, rest.len());
        let (part, more) = rest.split_at(length);
        rest = more;
        if !feed(&mut decoder, part, &mut cut) {
            break;
        }
    }
    assert_eq!(whole, cut);
}

/// Messages of extensions come back the same when they are written again.
pub fn extension(data: &[u8]) {
    let mut bytes = Vec::new();
    if let Some(handshake) = ExtensionHandshake::parse(data) {
        handshake.encode(&mut bytes);
        assert_eq!(ExtensionHandshake::parse(&bytes), Some(handshake));
    }
    bytes.clear();
    match MetadataMessage::parse(data) {
        None | Some(MetadataMessage::Unknown) => {}
        Some(message) => {
            message.encode(&mut bytes);
            assert_eq!(MetadataMessage::parse(&bytes), Some(message));
        }
    }
    bytes.clear();
    if let Some(message) = PexMessage::parse(data) {
        message.encode(&mut bytes);
        assert_eq!(PexMessage::parse(&bytes), Some(message));
    }
}

/// Requests come back the same when they are written again; so do the answers that carry all they had.
pub fn udp_tracker(data: &[u8]) {
    let mut bytes = Vec::new();
    if let Ok(request) = Request::decode(data) {
        request.encode(&mut bytes);
        assert_eq!(Request::decode(&bytes).as_ref(), Ok(&request));
    }
    for family in [Family::V4, Family::V6] {
        let Ok(mut response) = Response::decode(data, family) else { continue };
        bytes.clear();
        let id = response.transaction_id();
        match &response {
            Response::Connect { connection_id, .. } => udp::encode_connect(&mut bytes, id, *connection_id),
            Response::Announce { response, .. } => {
                let head = udp::AnnounceHead {
                    interval: response.interval,
                    // A negative number is one that is not known.
                    complete: response.complete.unwrap_or(u32::MAX),
                    incomplete: response.incomplete.unwrap_or(u32::MAX),
                };
                let peers = response.peers.iter().map(|peer| peer.addr);
                udp::encode_announce(&mut bytes, id, &head, family, peers);
            }
            Response::Scrape { entries, .. } => udp::encode_scrape(&mut bytes, id, entries.iter().copied()),
            Response::Error { message, .. } => udp::encode_error(&mut bytes, id, message),
        }
        // A peer that came as an IPv4 address inside an IPv6 one is of the other family, and left out in answers.
        if let Response::Announce { response, .. } = &mut response {
            response.peers.retain(|peer| Family::of(peer.addr.ip()) == family);
        }
        assert_eq!(Response::decode(&bytes, family), Ok(response));
    }
}

/// Queries mean the same when a client would ask them again.
pub fn http_query(data: &[u8]) {
    if let Ok(query) = parse_announce(data) {
        let url = announce_url("http://t/announce", &query.request, query.tracker_id.as_deref());
        let (_, asked) = url.split_once('?').expect("a query");
        let again = parse_announce(asked.as_bytes()).expect("what was written can be read");
        assert_eq!((again.request, again.tracker_id), (query.request, query.tracker_id));
    }
    if let Ok(torrents) = parse_scrape(data) {
        let url = scrape_url("http://t/announce", &torrents).expect("a URL that can be scraped");
        let (_, asked) = url.split_once('?').expect("a query");
        if asked.len() <= TRACKER_QUERY_BYTES_MAX {
            assert_eq!(parse_scrape(asked.as_bytes()), Ok(torrents));
        }
    }
}

/// Answers mean the same when a tracker would give them again.
pub fn http_response(data: &[u8]) {
    let mut bytes = Vec::new();
    if let Ok(response) = parse_announce_response(data) {
        encode_announce(&mut bytes, &response, PeerFormat::Dictionaries { peer_ids: true });
        let canonical =
            AnnounceResponse { external_ip: response.external_ip.map(|ip| ip.to_canonical()), ..response };
        assert_eq!(parse_announce_response(&bytes), Ok(canonical));
    }
    bytes.clear();
    if let Ok(response) = parse_scrape_response(data) {
        encode_scrape(&mut bytes, response.torrents.iter().copied(), response.min_request_interval);
        assert!(bytes.len() <= TRACKER_RESPONSE_BYTES_MAX);
        assert_eq!(parse_scrape_response(&bytes), Ok(response));
    }
}

const SWARM: SwarmHash = SwarmHash([0x42; 20]);

/// Random bytes that are the same each time.
fn random(seed: u8) -> Random {
    let mut bytes = [0; Random::LEN];
    Rc4::new(&[seed]).apply(&mut bytes);
    Random::new(bytes)
}

/// Cuts that the first two bytes choose, of what follows them.
fn parts(data: &[u8]) -> Vec<&[u8]> {
    let Some((cuts, mut rest)) = data.split_first_chunk::<2>() else { return Vec::new() };
    let mut state = u64::from(u16::from_le_bytes(*cuts)) << 1 | 1;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (part, more) = rest.split_at(((state >> 40) as usize % 700).clamp(1, rest.len()));
        parts.push(part);
        rest = more;
    }
    parts
}

/// The end of an exchange: what was sent, and the method and stream, the error, or that more is waited for.
type Ended = (Vec<u8>, Option<Result<(bool, Vec<u8>), String>>);

/// Bytes of a stranger, or of one who went wrong at some place, end an exchange or leave it waiting, however they are cut,
/// and always alike. What is valid for one side comes from the other, which has the same bytes changed by `data`.
fn exchange<T>(
    data: &[u8],
    cut: bool,
    mut machine: T,
    receive: impl Fn(&mut T, &[u8]),
    next: impl Fn(&mut T) -> Result<Step, String>,
    compute: impl Fn(&mut T, &Random),
) -> Ended {
    let (mut sent, mut computed, mut received) = (Vec::new(), 0, 0);
    let whole = [data.get(2..).unwrap_or_default()];
    let parts = parts(data);
    // Some of it is said before anything has come.
    for part in [&[][..]].iter().chain(if cut { parts.as_slice() } else { whole.as_slice() }) {
        receive(&mut machine, part);
        received += part.len();
        loop {
            match next(&mut machine) {
                Ok(Step::Wait) => break,
                Ok(Step::Send(bytes)) => sent.extend(bytes),
                Ok(Step::Compute) => {
                    computed += 1;
                    assert!(computed <= 2, "each side has two");
                    compute(&mut machine, &random(computed));
                }
                Ok(Step::Done(done)) => {
                    // What comes after the end is not the exchange's any more.
                    assert!(done.stream.len() <= received);
                    return (sent, Some(Ok((done.ciphers.is_some(), done.stream))));
                }
                Err(error) => return (sent, Some(Err(error))),
            }
        }
    }
    (sent, None)
}

/// Two ends are the same, though one may have been told more of the stream that follows.
fn assert_alike(whole: Ended, cut: Ended) {
    match (whole.1, cut.1) {
        (Some(Ok((one, all))), Some(Ok((other, begin)))) => {
            assert_eq!(one, other);
            assert!(all.starts_with(&begin));
        }
        (one, other) => assert_eq!(one, other),
    }
    assert_eq!(whole.0, cut.0);
}

/// The bytes after the first two are those of a responder. Where they begin with 96 zeros they are read as changes of what a
/// right one would send, so that deep places are reached.
pub fn mse_initiator(data: &[u8]) {
    let data = &mend(data, true);
    let run = |cut| {
        let machine = Initiator::new(SWARM, Methods::Both, b"initial");
        exchange(
            data,
            cut,
            machine,
            Initiator::receive,
            |machine| machine.step().map_err(|error| error.to_string()),
            Initiator::compute,
        )
    };
    assert_alike(run(false), run(true));
}

/// As [`mse_initiator`], with the bytes of an initiator.
pub fn mse_responder(data: &[u8]) {
    let data = &mend(data, false);
    let find = |hash: &LookupHash| (*hash == LookupHash::of(&SWARM)).then_some(SWARM);
    let run = |cut| {
        exchange(
            data,
            cut,
            Responder::new(Methods::Both),
            Responder::receive,
            |machine| machine.step(&find).map_err(|error| error.to_string()),
            Responder::compute,
        )
    };
    assert_alike(run(false), run(true));
}

/// The bytes of the right other side, changed by `data` where that begins with zeros in place of a key.
fn mend(data: &[u8], of_responder: bool) -> Vec<u8> {
    let mut data = data.to_vec();
    if data.len() < 2 + KEY_LEN || data[2..2 + KEY_LEN].iter().any(|byte| *byte != 0) {
        return data;
    }
    // Both sides with the random bytes that `exchange` gives the one that is tried.
    let find = |hash: &LookupHash| (*hash == LookupHash::of(&SWARM)).then_some(SWARM);
    let (mut a, mut b) = (Initiator::new(SWARM, Methods::Both, b"initial"), Responder::new(Methods::Both));
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    let (mut a_computed, mut b_computed) = (0, 0);
    for _ in 0..4 {
        while let Ok(step) = a.step() {
            match step {
                Step::Compute => {
                    a_computed += 1;
                    a.compute(&random(if of_responder { a_computed } else { 100 + a_computed }));
                }
                Step::Send(bytes) => {
                    b.receive(&bytes);
                    of_a.extend(bytes);
                }
                Step::Wait | Step::Done(_) => break,
            }
        }
        while let Ok(step) = b.step(&find) {
            match step {
                Step::Compute => {
                    b_computed += 1;
                    b.compute(&random(if of_responder { 100 + b_computed } else { b_computed }));
                }
                Step::Send(bytes) => {
                    a.receive(&bytes);
                    of_b.extend(bytes);
                }
                Step::Wait | Step::Done(_) => break,
            }
        }
    }
    let right = if of_responder { of_b } else { of_a };
    let length = data.len().max(2 + right.len());
    data.resize(length, 0);
    for (byte, right) in data[2..].iter_mut().zip(right) {
        *byte ^= right;
    }
    data
}
