//! A swarm against peers whose every byte the test writes.

mod upload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::limits::{KEEP_ALIVE, SILENT_MAX, TICK};
use super::picker::{Asker, Picker};
use super::rng::Rng;
use super::*;
use crate::bitfield::Bitfield;
use crate::hashes::SwarmHash;
use crate::layout::Layout;
use crate::metainfo::Info;
use crate::units::{Block, PeerId, PieceIndex, Time};
use crate::wire::extension::{ExtensionHandshake, MetadataMessage};
use crate::wire::{Decoder, Frame, Handshake, Message};

const PIECES: u32 = 20;
const LIMITS: FillLimits = FillLimits { blocks_max: 8, payload_bytes_max: u64::MAX };

struct Nowhere;

impl BlockSink for Nowhere {
    fn write(&mut self, _: PieceIndex, _: u32, _: &[u8]) {}
    fn discard(&mut self, _: PieceIndex) {}
}

/// What a test keeps of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Choke,
    Unchoke,
    Interested,
    HaveAll,
    HaveNone,
    Have(u32),
    Request(Block),
    Cancel(Block),
    Reject(Block),
    Extended(u8, Vec<u8>),
    Other,
}

fn swarm(config: SwarmConfig, full: bool) -> Swarm {
    let layout = Layout::single("t", 32_768, u64::from(PIECES) * 32_768 - 100).unwrap();
    let info = Info::new("t".to_owned(), layout, vec![[0; 20]; PIECES as usize], false).unwrap();
    let content = Content { info: Arc::new(info), info_bytes: Arc::from(vec![7; 20_000]) };
    let have = if full { Bitfield::full(PIECES) } else { Bitfield::new(PIECES) };
    Swarm::new(config, Arc::new(content), have, 1, Time::ZERO)
}

fn info(n: u8, fast: bool) -> PeerInfo {
    let mut handshake = Handshake::new(SwarmHash([1; 20]), PeerId([n; 20]));
    if !fast {
        handshake.reserved[7] = 0;
    }
    PeerInfo { addr: SocketAddr::from(([10, 0, 0, n], 5000)), outgoing: false, handshake }
}

fn hear(swarm: &mut Swarm, now: Time, key: PeerKey, messages: &[Message<'_>]) -> Result<(), PeerError> {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| message.encode(&mut bytes));
    let result = swarm.received(now, key, &bytes, &mut Nowhere);
    swarm.check_invariants();
    result
}

/// Takes everything the swarm has for the peer: messages, and blocks apart from them.
fn take(swarm: &mut Swarm, now: Time, key: PeerKey) -> (Vec<Said>, Vec<Block>) {
    let (mut said, mut blocks) = (Vec::new(), Vec::new());
    loop {
        let mut batch = SendBatch::default();
        let outcome = swarm.fill(now, key, &mut batch, LIMITS, |_| true);
        let mut bytes = Vec::new();
        for part in &batch.parts {
            match part {
                Part::Bytes(range) => bytes.extend_from_slice(&batch.bytes[range.clone()]),
                Part::Block(block) => {
                    blocks.push(*block);
                    bytes.resize(bytes.len() + block.length as usize, 0);
                }
            }
        }
        let (mut decoder, mut input) = (Decoder::default(), &bytes[..]);
        while let Some(frame) = decoder.next(&mut input).unwrap() {
            let Frame::Message(message) = frame else { continue };
            said.push(match message {
                Message::Choke => Said::Choke,
                Message::Unchoke => Said::Unchoke,
                Message::Interested => Said::Interested,
                Message::HaveAll => Said::HaveAll,
                Message::HaveNone => Said::HaveNone,
                Message::Have(piece) => Said::Have(piece.0),
                Message::Request(block) => Said::Request(block),
                Message::Cancel(block) => Said::Cancel(block),
                Message::RejectRequest(block) => Said::Reject(block),
                Message::Extended { id, payload } => Said::Extended(id, payload.to_vec()),
                _ => Said::Other,
            });
        }
        swarm.sent(now, key, batch.payload_bytes(), batch.protocol_bytes());
        if outcome == FillOutcome::Drained {
            return (said, blocks);
        }
    }
}

fn block(piece: u32, begin: u32) -> Block {
    Block { piece: PieceIndex(piece), begin, length: 16_384 }
}

/// A seed with one peer that may request.
fn serving(config: SwarmConfig, fast: bool) -> (Swarm, PeerKey) {
    let mut swarm = swarm(config, true);
    let key = swarm.peer_connected(Time::ZERO, info(2, fast)).unwrap();
    hear(&mut swarm, Time::ZERO, key, &[Message::Interested]).unwrap();
    let (said, _) = take(&mut swarm, Time::ZERO, key);
    assert!(said.contains(&Said::Unchoke), "a free slot must not wait: {said:?}");
    (swarm, key)
}

#[test]
fn says_its_pieces_first_and_then_the_extension_handshake() {
    for (full, first) in [(true, Said::HaveAll), (false, Said::HaveNone)] {
        let mut swarm = swarm(SwarmConfig::default(), full);
        let key = swarm.peer_connected(Time::ZERO, info(2, true)).unwrap();
        assert_eq!(swarm.next_ready(), Some(key));
        let (said, _) = take(&mut swarm, Time::ZERO, key);
        assert_eq!(said[0], first);
        let Said::Extended(0, payload) = &said[1] else { panic!("{said:?}") };
        let handshake = ExtensionHandshake::parse(payload).unwrap();
        assert_eq!(handshake.metadata_size, Some(20_000));
        assert_eq!(handshake.request_queue, Some(2000));
        assert_eq!(handshake.upload_only, full.then_some(true));
        assert_eq!(handshake.your_ip, Some([10, 0, 0, 2].into()));
    }
}

/// BEP 21: what is missing is not wanted.
#[test]
fn a_partial_seed_says_that_it_only_uploads() {
    let mut swarm = swarm(SwarmConfig::default(), false);
    let files = swarm.content().info.layout.files.len();
    swarm.set_file_priorities(Time::ZERO, &vec![Priority::Skip; files]);
    assert!(swarm.is_finished() && !swarm.is_complete());
    let key = swarm.peer_connected(Time::ZERO, info(2, true)).unwrap();
    let (said, _) = take(&mut swarm, Time::ZERO, key);
    let Said::Extended(0, payload) = &said[1] else { panic!("{said:?}") };
    assert_eq!(ExtensionHandshake::parse(payload).unwrap().upload_only, Some(true));
    // Now it wants them after all.
    swarm.set_file_priorities(Time::ZERO, &[]);
    let (said, _) = take(&mut swarm, Time::ZERO, key);
    let again = said.iter().find_map(|said| match said {
        Said::Extended(0, payload) => ExtensionHandshake::parse(payload).unwrap().upload_only,
        _ => None,
    });
    assert_eq!(again, Some(false), "{said:?}");
}

#[test]
fn answers_requests_in_order_and_stops_at_a_cold_block_or_the_budget() {
    let (mut swarm, key) = serving(SwarmConfig::default(), true);
    let wanted = [block(3, 0), block(1, 16_384), block(5, 0), block(6, 0)];
    hear(&mut swarm, Time::ZERO, key, &wanted.map(Message::Request)).unwrap();
    hear(&mut swarm, Time::ZERO, key, &[Message::Cancel(wanted[1])]).unwrap();
    let mut batch = SendBatch::default();
    let cold = |block: &Block| block.piece != PieceIndex(5);
    assert_eq!(swarm.fill(Time::ZERO, key, &mut batch, LIMITS, cold), FillOutcome::Cold(wanted[2]));
    assert_eq!(batch.payload_bytes(), 16_384);
    let short = FillLimits { payload_bytes_max: 20_000, ..LIMITS };
    assert_eq!(swarm.fill(Time::ZERO, key, &mut batch, short, |_| true), FillOutcome::Budget);
    let one = FillLimits { blocks_max: 0, ..LIMITS };
    assert_eq!(swarm.fill(Time::ZERO, key, &mut batch, one, |_| true), FillOutcome::More);
    assert_eq!(take(&mut swarm, Time::ZERO, key), (vec![], vec![wanted[3]]));
    let sent = batch.parts.iter().filter(|part| matches!(part, Part::Block(_))).count();
    assert_eq!(sent, 2);
}

#[test]
fn bad_requests_end_the_connection() {
    let long = 128 * 1024 + 1;
    for (piece, begin, length) in [
        (PIECES, 0, 1),
        (0, 0, 0),
        (0, 32_768, 1),
        (0, 1, u32::MAX),
        (0, 0, long),
        (PIECES - 1, 16_384, 16_384),
    ] {
        let (mut swarm, key) = serving(SwarmConfig::default(), true);
        let bad = Block { piece: PieceIndex(piece), begin, length };
        let result = hear(&mut swarm, Time::ZERO, key, &[Message::Request(bad)]);
        assert_eq!(result, Err(PeerError::Violation(Violation::OutOfRange)), "{bad:?}");
    }
}

#[test]
fn requests_beyond_the_queue_are_rejected_and_a_flood_ends_it() {
    let config = SwarmConfig { incoming_requests_max: 10, ..SwarmConfig::default() };
    let (mut swarm, key) = serving(config, true);
    let requests = [Message::Request(block(0, 0)); 15];
    hear(&mut swarm, Time::ZERO, key, &requests).unwrap();
    let (said, blocks) = take(&mut swarm, Time::ZERO, key);
    assert_eq!((said, blocks.len()), (vec![Said::Reject(block(0, 0)); 5], 10));
    let flood = vec![Message::Request(block(0, 0)); 1000];
    let error = hear(&mut swarm, Time::ZERO, key, &flood).unwrap_err();
    assert_eq!(error, PeerError::Violation(Violation::RequestFlood));
}

#[test]
fn requests_while_choked_are_rejected_except_allowed_ones() {
    let config = SwarmConfig { upload_slots: UploadSlots::Fixed(0), ..SwarmConfig::default() };
    let mut swarm = swarm(config, true);
    let key = swarm.peer_connected(Time::ZERO, info(2, true)).unwrap();
    hear(&mut swarm, Time::ZERO, key, &[Message::HaveNone, Message::Interested]).unwrap();
    take(&mut swarm, Time::ZERO, key);
    let allowed = allowed_fast::allowed_fast([10, 0, 0, 2].into(), &SwarmHash([1; 20]), PIECES, 10);
    let other = (0..PIECES).find(|&piece| !allowed.contains(&PieceIndex(piece))).unwrap();
    let wanted = [block(allowed[0].0, 0), block(other, 0)];
    hear(&mut swarm, Time::ZERO, key, &wanted.map(Message::Request)).unwrap();
    assert_eq!(take(&mut swarm, Time::ZERO, key), (vec![Said::Reject(wanted[1])], vec![wanted[0]]));
}

#[test]
fn metadata_is_served_a_bounded_number_of_times() {
    let (mut swarm, key) = serving(SwarmConfig::default(), true);
    let mut payload = Vec::new();
    ExtensionHandshake { ut_metadata: Some(9), ..ExtensionHandshake::default() }.encode(&mut payload);
    hear(&mut swarm, Time::ZERO, key, &[Message::Extended { id: 0, payload: &payload }]).unwrap();
    let (mut served, mut rejected) = (0, 0);
    for n in 0..40 {
        let mut payload = Vec::new();
        MetadataMessage::Request { piece: n % 3 }.encode(&mut payload);
        hear(&mut swarm, Time::ZERO, key, &[Message::Extended { id: 2, payload: &payload }]).unwrap();
        for said in take(&mut swarm, Time::ZERO, key).0 {
            let Said::Extended(9, payload) = said else { panic!("{said:?}") };
            match MetadataMessage::parse(&payload) {
                Some(MetadataMessage::Data { piece, total_size: 20_000, data }) => {
                    assert_eq!(data.len(), [16_384, 3616][piece as usize]);
                    served += 1;
                }
                Some(MetadataMessage::Reject { .. }) => rejected += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((3..=5).contains(&served), "{served}");
    assert_eq!(served + rejected, 40);
}

/// A seed whose metadata is not in memory, a peer that has asked for it, and its bytes.
fn asked_for_metadata() -> (Swarm, PeerKey, Vec<u8>) {
    let hashes = 2000 * 20;
    let head = format!("d6:lengthi{}e4:name1:t12:piece lengthi16384e6:pieces{hashes}:", 2000 * 16_384);
    let bytes = [head.as_bytes(), &vec![7; hashes], b"e"].concat();
    let info_of = Info::parse(&bytes).unwrap().without_hashes();
    let content = Content { info: Arc::new(info_of), info_bytes: Arc::default() };
    let have = Bitfield::full(2000);
    let mut swarm = Swarm::new(SwarmConfig::default(), Arc::new(content), have, 1, Time::ZERO);
    let key = swarm.peer_connected(Time::ZERO, info(2, true)).unwrap();
    take(&mut swarm, Time::ZERO, key);
    let mut payload = Vec::new();
    ExtensionHandshake { ut_metadata: Some(9), ..ExtensionHandshake::default() }.encode(&mut payload);
    hear(&mut swarm, Time::ZERO, key, &[Message::Extended { id: 0, payload: &payload }]).unwrap();
    for piece in 0..2 {
        let mut payload = Vec::new();
        MetadataMessage::Request { piece }.encode(&mut payload);
        hear(&mut swarm, Time::ZERO, key, &[Message::Extended { id: 2, payload: &payload }]).unwrap();
    }
    assert_eq!(swarm.poll_action(), Some(Action::MetadataWanted));
    assert_eq!(swarm.poll_action(), None);
    assert_eq!(take(&mut swarm, Time::ZERO, key).0, []);
    (swarm, key, bytes)
}

#[test]
fn metadata_that_is_not_in_memory_is_asked_for_once_and_then_served() {
    let (mut swarm, key, bytes) = asked_for_metadata();
    swarm.provide_metadata(Some(bytes.clone().into()));
    let mut served = Vec::new();
    for said in take(&mut swarm, Time::ZERO, key).0 {
        let Said::Extended(9, payload) = said else { panic!("{said:?}") };
        let Some(MetadataMessage::Data { total_size, data, .. }) = MetadataMessage::parse(&payload) else {
            panic!("no data")
        };
        assert_eq!(total_size as usize, bytes.len());
        served.extend_from_slice(data);
    }
    assert_eq!(served, bytes[..2 * 16_384]);
}

#[test]
fn metadata_that_cannot_be_had_is_rejected() {
    let (mut swarm, key, _) = asked_for_metadata();
    swarm.provide_metadata(None);
    let said = take(&mut swarm, Time::ZERO, key).0;
    let rejected = |said: &Said| matches!(said, Said::Extended(9, payload) if matches!(MetadataMessage::parse(payload), Some(MetadataMessage::Reject { .. })));
    assert_eq!(said.iter().filter(|said| rejected(said)).count(), 2);
}

#[test]
fn unasked_blocks_are_dropped_and_a_flood_of_them_ends_it() {
    let mut swarm = swarm(SwarmConfig::default(), false);
    let key = swarm.peer_connected(Time::ZERO, info(2, true)).unwrap();
    hear(&mut swarm, Time::ZERO, key, &[Message::HaveAll]).unwrap();
    struct Panics;
    impl BlockSink for Panics {
        fn write(&mut self, _: PieceIndex, _: u32, _: &[u8]) {
            panic!("an unasked block was kept");
        }
        fn discard(&mut self, _: PieceIndex) {}
    }
    let mut bytes = Vec::new();
    crate::wire::encode_piece_header(&block(0, 0), &mut bytes);
    bytes.resize(13 + 16_384, 0);
    let mut result = Ok(());
    for _ in 0..1000 {
        result = swarm.received(Time::ZERO, key, &bytes, &mut Panics);
        if result.is_err() {
            break;
        }
    }
    assert_eq!(result, Err(PeerError::Violation(Violation::Unrequested)));
}

#[test]
fn a_budget_of_zero_stops_requests_and_a_new_one_starts_them() {
    let mut swarm = swarm(SwarmConfig::default(), false);
    swarm.set_request_budget(Time::ZERO, Some(0));
    let key = swarm.peer_connected(Time::ZERO, info(2, true)).unwrap();
    hear(&mut swarm, Time::ZERO, key, &[Message::HaveAll, Message::Unchoke]).unwrap();
    let requests = |said: &[Said]| said.iter().filter(|said| matches!(said, Said::Request(_))).count();
    assert_eq!(requests(&take(&mut swarm, Time::ZERO, key).0), 0);
    swarm.set_request_budget(Time::ZERO, Some(20_000));
    assert_eq!(requests(&take(&mut swarm, Time::ZERO, key).0), 2);
    swarm.set_request_budget(Time::ZERO, None);
    let all = super::limits::REQUEST_DEPTH_MIN;
    assert_eq!(requests(&take(&mut swarm, Time::ZERO, key).0), all as usize - 2);
    assert_eq!(swarm.stats(Time::ZERO).requests_out, all);
}

#[test]
fn the_queue_a_peer_announces_is_respected() {
    let mut swarm = swarm(SwarmConfig::default(), false);
    let key = swarm.peer_connected(Time::ZERO, info(2, true)).unwrap();
    let mut payload = Vec::new();
    ExtensionHandshake { request_queue: Some(3), ..ExtensionHandshake::default() }.encode(&mut payload);
    let hello = Message::Extended { id: 0, payload: &payload };
    hear(&mut swarm, Time::ZERO, key, &[Message::HaveAll, hello, Message::Unchoke]).unwrap();
    assert_eq!(swarm.stats(Time::ZERO).requests_out, 3);
}

#[test]
fn a_suspect_that_is_alone_begins_anew_what_others_have_left() {
    let swarm = swarm(SwarmConfig::default(), false);
    let (none, all) = (Bitfield::new(PIECES), Bitfield::full(PIECES));
    let mut picker = Picker::new(Arc::clone(&swarm.content.info), &none, u64::MAX, None, false);
    let mut keys = slotmap::SlotMap::<PeerKey, ()>::with_key();
    let [gone, suspect] = [keys.insert(()), keys.insert(())];
    let asker = |key, suspect| Asker {
        key,
        has: &all,
        suspect,
        only: None,
        suggested: &[],
        refused: &[],
        now: Time::ZERO,
        rate: 0,
        // It may have been for a while: nobody else is there.
        silent: suspect,
    };
    let (mut rng, mut picked) = (Rng::new(1), Vec::new());
    picker.pick(Time::ZERO, &asker(gone, false), 1000, &mut rng, &mut picked);
    assert_eq!(picked.len(), 2 * PIECES as usize, "endgame");
    // One block of each piece comes, the other never.
    for block in &picked {
        if block.begin == 0 {
            assert!(picker.begin(Time::ZERO, block, gone, false, true, |_| false));
            picker.finish(Time::ZERO, block, (gone, info(1, true).addr.ip()), true);
        } else {
            assert_eq!(picker.take_over(Time::ZERO, &asker(suspect, true)), None, "it is still owed");
            picker.release(block);
        }
        if block.begin > 0 {
            let taken = picker.take_over(Time::ZERO, &asker(suspect, true));
            assert_eq!(taken, Some(block.piece));
            let mut anew = Vec::new();
            picker.pick(Time::ZERO, &asker(suspect, true), 1000, &mut rng, &mut anew);
            assert_eq!(anew.len(), 2, "both blocks: the sender of a bad one is known then");
            assert_eq!(picker.take_over(Time::ZERO, &asker(suspect, true)), None);
        }
    }
}

#[test]
fn a_peer_that_does_not_deliver_takes_over_only_a_piece_that_does_not_come_at_all() {
    let swarm = swarm(SwarmConfig::default(), false);
    let (none, all) = (Bitfield::new(PIECES), Bitfield::full(PIECES));
    let mut picker = Picker::new(Arc::clone(&swarm.content.info), &none, u64::MAX, None, false);
    let mut keys = slotmap::SlotMap::<PeerKey, ()>::with_key();
    let [slow, other] = [keys.insert(()), keys.insert(())];
    let asker = |key, suspect, silent| Asker {
        key,
        has: &all,
        suspect,
        only: None,
        suggested: &[],
        refused: &[],
        now: Time::ZERO,
        rate: 0,
        silent,
    };
    let (mut rng, mut picked) = (Rng::new(1), Vec::new());
    picker.pick(Time::ZERO, &asker(slow, true, false), 2, &mut rng, &mut picked);
    let came = Time::ZERO + Duration::from_secs(58);
    assert!(picker.begin(came, &picked[0], slow, true, true, |_| false));
    picker.finish(came, &picked[0], (slow, info(1, true).addr.ip()), true);
    let later = |seconds| came + Duration::from_secs(seconds);
    assert_eq!(picker.take_over(later(59), &asker(other, false, true)), None);
    assert_eq!(picker.take_over(later(60), &asker(other, false, true)), Some(picked[0].piece));
    assert_eq!(picker.take_over(later(80), &asker(slow, true, false)), Some(picked[0].piece));
}

#[test]
fn a_piece_is_lacked_while_somebody_may_ask_for_it() {
    let mut swarm = swarm(SwarmConfig::default(), false);
    assert!(!swarm.is_lacked(PieceIndex(3)), "nobody is there");
    let seed = swarm.peer_connected(Time::ZERO, info(1, true)).unwrap();
    assert!(swarm.is_lacked(PieceIndex(3)), "it has not said what it has");
    hear(&mut swarm, Time::ZERO, seed, &[Message::HaveAll]).unwrap();
    assert!(!swarm.is_lacked(PieceIndex(3)));
    let other = swarm.peer_connected(Time::ZERO, info(2, true)).unwrap();
    hear(&mut swarm, Time::ZERO, other, &[Message::HaveNone]).unwrap();
    assert!(swarm.is_lacked(PieceIndex(3)));
    hear(&mut swarm, Time::ZERO, other, &[Message::Have(PieceIndex(3))]).unwrap();
    assert!(!swarm.is_lacked(PieceIndex(3)) && swarm.is_lacked(PieceIndex(4)));
    swarm.peer_disconnected(Time::ZERO, other);
    assert!(!swarm.is_lacked(PieceIndex(4)));
}

#[test]
fn idle_connections_are_kept_alive_and_silent_ones_dropped() {
    let (mut swarm, key) = serving(SwarmConfig::default(), true);
    let (mut now, mut kept) = (Time::ZERO, 0);
    while swarm.poll_action().is_none() {
        now = now + TICK;
        swarm.handle_timeout(now);
        while swarm.next_ready().is_some() {
            kept += take(&mut swarm, now, key).0.iter().filter(|said| **said == Said::Other).count();
        }
        assert!(now < Time::ZERO + SILENT_MAX + KEEP_ALIVE);
    }
    assert!(now >= Time::ZERO + SILENT_MAX);
    assert_eq!(kept, 1);
    swarm.peer_disconnected(now, key);
    swarm.handle_timeout(now + Duration::from_secs(60));
    assert_eq!(swarm.next_timeout(), None, "an empty swarm must not wake anybody");
}

#[test]
fn a_free_slot_goes_to_the_one_that_waits_at_once() {
    let config = SwarmConfig { upload_slots: UploadSlots::Fixed(1), ..SwarmConfig::default() };
    let (mut swarm, first) = serving(config, true);
    let second = swarm.peer_connected(Time::ZERO, info(3, true)).unwrap();
    hear(&mut swarm, Time::ZERO, second, &[Message::Interested]).unwrap();
    assert!(!take(&mut swarm, Time::ZERO, second).0.contains(&Said::Unchoke));
    hear(&mut swarm, Time::ZERO, first, &[Message::NotInterested]).unwrap();
    assert_eq!(take(&mut swarm, Time::ZERO, first).0, [Said::Choke]);
    assert_eq!(take(&mut swarm, Time::ZERO, second).0, [Said::Unchoke]);
    hear(&mut swarm, Time::ZERO, first, &[Message::Interested]).unwrap();
    swarm.peer_disconnected(Time::ZERO, second);
    assert_eq!(take(&mut swarm, Time::ZERO, first).0, [Said::Unchoke]);
    swarm.check_invariants();
}

#[test]
fn random_bytes_never_panic() {
    let mut state = 0x1357_9bdf_2468_ace1u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..600 {
        let mut swarm = swarm(SwarmConfig::default(), round % 2 == 0);
        let key = swarm.peer_connected(Time::ZERO, info(2, round % 3 != 0)).unwrap();
        let mut now = Time::ZERO;
        for _ in 0..60 {
            // Mostly well-formed messages with wild numbers, in any order.
            let wild = |n: u64| Block {
                piece: PieceIndex((n % 25) as u32),
                begin: (n >> 8) as u32 & 0x4000,
                length: 16_384,
            };
            let n = next();
            let message = match next() % 16 {
                0 => Message::Choke,
                1 => Message::Unchoke,
                2 => Message::Interested,
                3 => Message::NotInterested,
                4 => Message::Have(PieceIndex((n % 21) as u32)),
                5 => Message::HaveAll,
                6 => Message::Bitfield(&[0x5a, 0xff, 0xf0]),
                7 => Message::Cancel(wild(n)),
                8 => Message::RejectRequest(wild(n)),
                9 => Message::AllowedFast(PieceIndex((n % 21) as u32)),
                10 => Message::SuggestPiece(PieceIndex((n % 21) as u32)),
                11 => Message::Extended { id: (n % 5) as u8, payload: b"d1:md6:ut_pexi1eee" },
                12 => Message::KeepAlive,
                _ => Message::Request(wild(n)),
            };
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            if next() % 40 == 0 {
                let at = next() as usize % bytes.len();
                bytes[at] ^= next() as u8;
            }
            now = now + Duration::from_millis(next() % 3000);
            let result = swarm.received(now, key, &bytes, &mut Nowhere);
            swarm.handle_timeout(now);
            swarm.check_invariants();
            if result.is_err() {
                swarm.peer_disconnected(now, key);
                swarm.check_invariants();
                break;
            }
            take(&mut swarm, now, key);
        }
    }
}
