//! The peer against hand-made seeder bytes: no sockets, chosen times.

use std::rc::Rc;

use sha1::{Digest, Sha1};

use super::{Leech, LeechConfig, LeechError, Tally};
use crate::{
    blast::{target::Target, walk::Order},
    skim::{FAST_BIT, PROTOCOL},
};

const PIECE: u32 = 40_000;

fn leech(depth: u32, fast: bool, hashes: Option<Vec<[u8; 20]>>) -> Leech {
    let verify = hashes.is_some();
    let target = Target::new([7; 20], PIECE, 2 * u64::from(PIECE), hashes).expect("valid");
    Leech::new(Rc::new(target), config(depth, fast, verify))
}

fn config(depth: u32, fast: bool, verify: bool) -> LeechConfig {
    LeechConfig { depth, order: Order::Pieces, rate: None, seed: 1, fast, verify, peer_id: [b'x'; 20] }
}

fn handshake(info_hash: u8, fast: bool) -> Vec<u8> {
    let mut bytes = PROTOCOL.to_vec();
    bytes.extend([0, 0, 0, 0, 0, 0, 0, if fast { FAST_BIT } else { 0 }]);
    bytes.extend([info_hash; 20]);
    bytes.extend([b's'; 20]);
    bytes
}

fn piece_message((piece, begin, length): (u32, u32, u32), fill: u8) -> Vec<u8> {
    let mut bytes = (9 + length).to_be_bytes().to_vec();
    bytes.push(7);
    bytes.extend(piece.to_be_bytes());
    bytes.extend(begin.to_be_bytes());
    bytes.resize(bytes.len() + length as usize, fill);
    bytes
}

fn reject((piece, begin, length): (u32, u32, u32)) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 13, 16];
    for number in [piece, begin, length] {
        bytes.extend(number.to_be_bytes());
    }
    bytes
}

/// Feeds bytes; returns what was answered outside requests and the latencies.
fn feed(leech: &mut Leech, now: u64, bytes: &[u8]) -> (Vec<u8>, Vec<u64>) {
    let (mut out, mut latencies) = (Vec::new(), Vec::new());
    leech.received(now, bytes, &mut out, |us| latencies.push(us)).expect("valid bytes");
    (out, latencies)
}

fn requests(leech: &mut Leech, now: u64) -> Vec<(u32, u32, u32)> {
    let mut out = Vec::new();
    leech.fill_requests(now, &mut out);
    let field = |m: &[u8], at: usize| u32::from_be_bytes(m[at..at + 4].try_into().expect("four bytes"));
    out.chunks(17)
        .map(|m| {
            assert_eq!(m[..5], [0, 0, 0, 13, 6]);
            (field(m, 5), field(m, 9), field(m, 13))
        })
        .collect()
}

/// Handshake, all pieces, unchoked.
fn served(depth: u32, fast: bool, hashes: Option<Vec<[u8; 20]>>) -> Leech {
    unchoked(leech(depth, fast, hashes), fast)
}

fn unchoked(mut leech: Leech, fast: bool) -> Leech {
    feed(&mut leech, 0, &handshake(7, fast));
    feed(&mut leech, 0, &[0, 0, 0, 2, 5, 0xc0]);
    feed(&mut leech, 0, &[0, 0, 0, 1, 1]);
    leech
}

#[test]
fn says_it_has_nothing_only_where_the_seeder_understands() {
    let mut with = leech(1, true, None);
    assert_eq!(feed(&mut with, 0, &handshake(7, true)).0, [0, 0, 0, 1, 15, 0, 0, 0, 1, 2]);
    let mut without = leech(1, true, None);
    assert_eq!(feed(&mut without, 0, &handshake(7, false)).0, [0, 0, 0, 1, 2]);
}

#[test]
fn asks_for_whole_pieces_and_keeps_the_depth() {
    let mut leech = served(4, false, None);
    let first = requests(&mut leech, 10);
    let piece = first[0].0;
    assert_eq!(
        first,
        [(piece, 0, 16_384), (piece, 16_384, 16_384), (piece, 32_768, 7232), (1 - piece, 0, 16_384)]
    );
    assert_eq!(requests(&mut leech, 11), []);
    // Out of order, and the latency is that of its own request.
    let (_, latencies) = feed(&mut leech, 110, &piece_message(first[2], 0));
    assert_eq!(latencies, [100]);
    assert_eq!(requests(&mut leech, 120), [(1 - piece, 16_384, 16_384)]);
    assert_eq!(leech.tally(), Tally { payload: 7232, blocks: 1, ..Tally::default() });
}

#[test]
fn asks_for_nothing_while_choked_or_unavailable() {
    let mut leech = leech(4, false, None);
    feed(&mut leech, 0, &handshake(7, false));
    feed(&mut leech, 0, &[0, 0, 0, 5, 4, 0, 0, 0, 1]);
    assert_eq!(requests(&mut leech, 0), []);
    feed(&mut leech, 0, &[0, 0, 0, 1, 1]);
    assert!(requests(&mut leech, 0).iter().all(|r| r.0 == 1));
}

#[test]
fn a_choke_without_the_fast_extension_discards_and_asks_again() {
    let mut leech = served(3, false, None);
    let asked = requests(&mut leech, 0);
    feed(&mut leech, 0, &[0, 0, 0, 1, 0]);
    assert_eq!((leech.in_flight(), leech.tally().chokes), (0, 1));
    assert_eq!(requests(&mut leech, 0), []);
    feed(&mut leech, 0, &[0, 0, 0, 1, 1]);
    assert_eq!(requests(&mut leech, 0), asked);
}

#[test]
fn a_choke_with_the_fast_extension_waits_for_rejects() {
    let mut leech = served(3, true, None);
    let asked = requests(&mut leech, 0);
    feed(&mut leech, 0, &[0, 0, 0, 1, 0]);
    assert_eq!(leech.in_flight(), 3);
    // One is still answered, the others are rejected.
    feed(&mut leech, 5, &piece_message(asked[0], 0));
    feed(&mut leech, 5, &reject(asked[1]));
    feed(&mut leech, 5, &reject(asked[2]));
    feed(&mut leech, 5, &[0, 0, 0, 1, 1]);
    assert_eq!(
        leech.tally(),
        Tally { payload: 16_384, blocks: 1, chokes: 1, rejects: 2, ..Tally::default() }
    );
    assert_eq!(requests(&mut leech, 6)[..2], asked[1..]);
}

#[test]
fn a_seeder_that_rejects_everything_is_not_asked_in_a_loop() {
    let mut leech = served(4, true, None);
    let mut asked = 0;
    loop {
        let now = requests(&mut leech, 0);
        if now.is_empty() {
            break;
        }
        asked += now.len();
        assert!(asked <= 4);
        for request in now {
            feed(&mut leech, 0, &reject(request));
        }
    }
    assert_eq!(asked, 4);
}

#[test]
fn unrequested_blocks_are_told_apart() {
    let mut leech = served(1, false, None);
    let asked = requests(&mut leech, 0)[0];
    feed(&mut leech, 0, &piece_message((asked.0, 16_384, 100), 0));
    // The right place with the wrong length is not an answer either.
    feed(&mut leech, 0, &piece_message((asked.0, asked.1, 100), 0));
    assert_eq!(leech.tally(), Tally { payload: 200, stray_blocks: 2, ..Tally::default() });
    assert_eq!(leech.in_flight(), 1);
}

#[test]
fn pieces_are_verified() {
    let right: [u8; 20] = Sha1::digest([5; PIECE as usize]).into();
    let mut leech = served(3, false, Some(vec![right; 2]));
    for (fill, want) in [(5, (1, 0)), (6, (1, 1))] {
        for request in requests(&mut leech, 0) {
            // Split inside the block: the parts must land where they belong.
            let message = piece_message(request, fill);
            feed(&mut leech, 0, &message[..1000]);
            feed(&mut leech, 0, &message[1000..]);
        }
        assert_eq!((leech.tally().pieces_ok, leech.tally().pieces_bad), want);
    }
}

#[test]
fn wrong_seeders_are_errors() {
    let take = |bytes: &[u8]| leech(1, true, None).received(0, bytes, &mut Vec::new(), |_| ());
    assert_eq!(take(&handshake(8, true)), Err(LeechError::OtherTorrent));
    let long = [handshake(7, true), vec![0, 0, 0, 1, 5]].concat();
    assert_eq!(take(&long), Err(LeechError::Bitfield(0)));
    assert!(matches!(take(&[0; 68]), Err(LeechError::Wire(_))));
}

#[test]
fn single_blocks_are_asked_for_anywhere_and_never_twice_at_once() {
    let target = Target::new([7; 20], PIECE, 2 * u64::from(PIECE), None).expect("valid");
    let blocks = LeechConfig { order: Order::Blocks, ..config(5, false, false) };
    let mut leech = unchoked(Leech::new(Rc::new(target), blocks), false);
    let mut seen = std::collections::BTreeSet::new();
    let mut in_order = 0;
    for round in 0..50 {
        let asked = requests(&mut leech, round);
        in_order += asked.windows(2).filter(|w| w[0].0 == w[1].0 && w[0].1 + w[0].2 == w[1].1).count();
        for block in asked {
            assert_eq!(block.2, (PIECE - block.1).min(16384));
            seen.insert(block);
            feed(&mut leech, round, &piece_message(block, 1));
        }
        assert_eq!(leech.in_flight(), 0);
    }
    assert_eq!(seen.len(), 6, "each of the six blocks was asked for: {seen:?}");
    assert_eq!(leech.tally().stray_blocks, 0, "none was asked for while it was on its way");
    assert!(in_order < 150, "{in_order} of 200 followed the one before");
}

#[test]
fn a_rate_holds_requests_back_until_they_are_due() {
    let target = Target::new([7; 20], PIECE, 2 * u64::from(PIECE), None).expect("valid");
    let paced = LeechConfig { rate: Some(16384), ..config(2, false, false) };
    let mut leech = Leech::new(Rc::new(target), paced);
    assert_eq!(leech.pause_us(0), None, "nothing is due from a seeder that chokes");
    leech = unchoked(leech, false);
    let first = requests(&mut leech, 0);
    assert_eq!((first.len(), leech.pause_us(0)), (2, None));
    for block in first {
        feed(&mut leech, 1_000, &piece_message(block, 1));
    }
    assert!(requests(&mut leech, 1_000).is_empty());
    assert_eq!(leech.pause_us(1_000), Some(999_000));
    assert_eq!(requests(&mut leech, 1_000_000).len(), 1);
}
