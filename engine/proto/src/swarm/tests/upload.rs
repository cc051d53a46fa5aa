//! Who gets slots, and blocks of every length.

use std::collections::HashSet;

use super::*;

/// A seed with 50 slots, all of them with peers of one address, and as many more of it that wait.
fn crowded() -> (Swarm, Vec<PeerKey>) {
    let config = SwarmConfig { upload_slots: UploadSlots::Fixed(50), ..SwarmConfig::default() };
    let config = SwarmConfig { peers_max: 2000, ..config };
    let mut swarm = swarm(config, true);
    let keys = (0..1000u16).map(|n| {
        let mut info = info(9, true);
        info.addr.set_port(1000 + n);
        info.handshake.peer_id.0[..2].copy_from_slice(&n.to_be_bytes());
        let key = swarm.peer_connected(Time::ZERO, info).unwrap();
        hear_only(&mut swarm, Time::ZERO, key, &[Message::Interested]);
        key
    });
    let keys = keys.collect();
    assert_eq!(swarm.stats(Time::ZERO).unchoked, 50);
    (swarm, keys)
}

fn hear_only(swarm: &mut Swarm, now: Time, key: PeerKey, messages: &[Message<'_>]) {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| message.encode(&mut bytes));
    swarm.received(now, key, &bytes, &mut Nowhere).unwrap();
}

/// Seconds until the peer of another address that comes at second 5 is unchoked; it takes what it can.
fn seconds_to_a_slot(mut each_second: impl FnMut(&mut Swarm, Time, &[PeerKey])) -> u64 {
    let (mut swarm, keys) = crowded();
    let fast = swarm.peer_connected(Time::ZERO, info(2, true)).unwrap();
    let mut served = None;
    for second in 1..60 {
        let now = Time::ZERO + Duration::from_secs(second);
        if second == 5 {
            hear_only(&mut swarm, now, fast, &[Message::Interested]);
        }
        each_second(&mut swarm, now, &keys);
        swarm.handle_timeout(now);
        swarm.check_invariants();
        let unchoked = swarm.peers(now).any(|peer| peer.key == fast && peer.unchoked);
        if unchoked && served.is_none() {
            served = Some(second);
        }
        assert_eq!(served.is_some(), unchoked, "it loses its slot in second {second}");
        if unchoked {
            hear_only(&mut swarm, now, fast, &[Message::Request(block(3, 0))]);
        }
        for key in keys.iter().chain([&fast]) {
            take(&mut swarm, now, *key);
        }
    }
    served.unwrap_or(u64::MAX) - 5
}

#[test]
fn a_fast_peer_beside_a_thousand_slow_ones_of_one_address_has_a_slot_at_once() {
    let waited = seconds_to_a_slot(|swarm, now, keys| {
        let unchoked: HashSet<_> =
            swarm.peers(now).filter(|peer| peer.unchoked).map(|peer| peer.key).collect();
        for &key in keys {
            // They take a block now and then.
            if unchoked.contains(&key) && now.micros() / 1_000_000 % 4 == 0 {
                hear_only(swarm, now, key, &[Message::Request(block(1, 0))]);
            }
        }
    });
    assert!(waited <= 1, "it waited {waited} s");
}

#[test]
fn a_thousand_that_ask_and_cancel_take_no_slot_from_another_address() {
    let waited = seconds_to_a_slot(|swarm, now, keys| {
        for &key in keys {
            let ask = Message::Request(block(1, 0));
            let cancel = Message::Cancel(block(1, 0));
            hear_only(swarm, now, key, &[ask, cancel, Message::NotInterested, Message::Interested]);
        }
    });
    assert!(waited <= 1, "it waited {waited} s");
}

#[test]
fn a_block_larger_than_the_budget_goes_alone() {
    let layout = Layout::single("t", 1 << 20, 4 << 20).unwrap();
    let info_of = Info::new("t".to_owned(), layout, vec![[0; 20]; 4], false).unwrap();
    let content = Content { info: Arc::new(info_of), info_bytes: Arc::from(vec![7; 20_000]) };
    let have = Bitfield::full(4);
    let mut swarm = Swarm::new(SwarmConfig::default(), Arc::new(content), have, 1, Time::ZERO);
    let key = swarm.peer_connected(Time::ZERO, info(2, true)).unwrap();
    let sized = |begin, length| Block { piece: PieceIndex(1), begin, length };
    let wanted = [sized(0, 16_384), sized(1, 128 * 1024), sized(0, 98_304), sized(0, 16_384)];
    hear(&mut swarm, Time::ZERO, key, &[Message::Interested]).unwrap();
    hear(&mut swarm, Time::ZERO, key, &wanted.map(Message::Request)).unwrap();
    let mut sent = Vec::new();
    for budget in [0, 32_768, 1, 0, 65_536, 16_384] {
        let mut batch = SendBatch::default();
        let limits = FillLimits { blocks_max: 8, payload_bytes_max: budget };
        swarm.fill(Time::ZERO, key, &mut batch, limits, |_| true);
        sent.push(batch.payload_bytes());
    }
    assert_eq!(sent, [0, 16_384, 131_072, 0, 98_304, 16_384]);
}

#[test]
fn a_block_that_is_too_long_is_rejected_where_there_is_a_word_for_it() {
    let layout = Layout::single("t", 1 << 20, 4 << 20).unwrap();
    let info_of = Info::new("t".to_owned(), layout, vec![[0; 20]; 4], false).unwrap();
    let content = Arc::new(Content { info: Arc::new(info_of), info_bytes: Arc::default() });
    let long = Block { piece: PieceIndex(1), begin: 0, length: 128 * 1024 + 1 };
    for fast in [true, false] {
        let content = Arc::clone(&content);
        let mut swarm = Swarm::new(SwarmConfig::default(), content, Bitfield::full(4), 1, Time::ZERO);
        let key = swarm.peer_connected(Time::ZERO, info(2, fast)).unwrap();
        hear(&mut swarm, Time::ZERO, key, &[Message::Interested]).unwrap();
        take(&mut swarm, Time::ZERO, key);
        let asked = hear(&mut swarm, Time::ZERO, key, &[Message::Request(long)]);
        if fast {
            hear(&mut swarm, Time::ZERO, key, &[Message::Request(block(0, 0))]).unwrap();
            assert_eq!(take(&mut swarm, Time::ZERO, key), (vec![Said::Reject(long)], vec![block(0, 0)]));
        } else {
            assert_eq!(asked, Err(PeerError::Violation(Violation::OutOfRange)));
        }
    }
}

#[test]
fn a_peer_that_reads_slowly_or_waits_for_our_limit_is_of_use() {
    let (mut swarm, key) = serving(SwarmConfig::default(), true);
    hear_only(&mut swarm, Time::ZERO, key, &[Message::Request(block(1, 0)), Message::Request(block(1, 1))]);
    let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
    let fill = |swarm: &mut Swarm, now, payload_bytes_max| {
        let limits = FillLimits { blocks_max: 1, payload_bytes_max };
        swarm.fill(now, key, &mut SendBatch::default(), limits, |_| true)
    };
    assert!(matches!(fill(&mut swarm, at(10), 0), FillOutcome::Budget));
    assert_eq!(swarm.last_used(key), Some(at(10)));
    // A block is with the socket, and the socket takes a part of it now and then.
    assert!(matches!(fill(&mut swarm, at(20), u64::MAX), FillOutcome::More));
    assert_eq!(swarm.last_used(key), Some(at(10)));
    swarm.sent_a_part(at(30), key);
    assert_eq!(swarm.last_used(key), Some(at(30)));
}
