//! Whole swarms in virtual time: they finish byte-exact whatever some peers do, and the same seed gives
//! the same history.

mod network;

use std::time::Duration;

use network::{Kind, MS, Network, SECOND, torrent};
use ringseed_proto::swarm::{DisconnectReason, PeerError, Priority, SwarmConfig, UploadSlots, Violation};
use ringseed_proto::units::Time;

const PIECE: u32 = 65_536;
const MB: u64 = 1_000_000;

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

/// 36 nodes: one seed, leeches of all speeds that come and go, and every kind of misbehaviour.
fn mixed_swarm(seed: u64) -> (u64, u64) {
    let mut net = Network::new(torrent(PIECE, &[3_000_000, 0, 1_234_567, 777], seed), seed);
    let config = SwarmConfig { upload_slots: UploadSlots::Fixed(5), ..SwarmConfig::default() };
    let origin = net.add(Kind::Honest, 2 * MB, 10 * MB, SwarmConfig::default(), |_| true);
    let mut honest = Vec::new();
    for n in 0..24 {
        let (up, down) = match n % 4 {
            0 => (200_000, 2 * MB),
            1 => (MB, 5 * MB),
            2 => (50_000, 300_000),
            _ => (3 * MB, 20 * MB),
        };
        honest.push(net.add(Kind::Honest, up, down, config.clone(), |_| false));
    }
    let mut bad = Vec::new();
    for one_in in [1, 1, 40] {
        bad.push(net.add(Kind::Corrupt { one_in }, 2 * MB, 10 * MB, SwarmConfig::default(), |_| true));
    }
    // Takes and never gives.
    let greedy = SwarmConfig { upload_slots: UploadSlots::Fixed(0), ..SwarmConfig::default() };
    let greedy: Vec<usize> =
        (0..3).map(|_| net.add(Kind::Honest, MB, 10 * MB, greedy.clone(), |_| false)).collect();
    let raw: Vec<usize> = [Kind::Flooder, Kind::Flooder, Kind::Dripper, Kind::Dripper, Kind::Deaf]
        .into_iter()
        .map(|kind| net.add(kind, 10 * MB, 10 * MB, SwarmConfig::default(), |_| true))
        .collect();
    assert!(net.nodes.len() >= 36);

    // Everybody knows a few others at first, and learns of more by peer exchange.
    for &node in honest.iter().chain(&greedy).chain(&bad) {
        net.connect(node, origin);
        for _ in 0..4 {
            let other = net.dice.below(net.nodes.len());
            net.connect_at(at(1), node, other);
        }
    }
    for &node in &raw {
        for _ in 0..6 {
            let other = honest[net.dice.below(honest.len())];
            net.connect_at(at(1), node, other);
        }
        net.connect_at(at(1), node, origin);
    }
    // Three are lost on the way, two come late.
    let lost = [honest[3], honest[7], honest[8]];
    for (n, &node) in lost.iter().enumerate() {
        net.kill_at(at(3 + 2 * n as u64), node);
    }
    for _ in 0..2 {
        let late = net.add(Kind::Honest, MB, MB, config.clone(), |_| false);
        honest.push(late);
        net.connect_at(at(20), late, origin);
        net.connect_at(at(20), late, honest[0]);
    }

    let done = net.run(Duration::from_secs(1800), Network::all_finished);
    let left: Vec<(usize, u64)> = net
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.alive && node.kind == Kind::Honest && !node.swarm.is_finished())
        .map(|(n, node)| (n, node.swarm.stats(net.now).wanted_left))
        .collect();
    assert!(done, "seed {seed}: not finished after {:?}: {left:?}", net.now);
    let bad_ips: Vec<_> = bad.iter().map(|&node| net.nodes[node].addr.ip()).collect();
    for &node in honest.iter().chain(&greedy) {
        if !lost.contains(&node) {
            net.assert_exact(node);
        }
        for ip in &net.nodes[node].banned {
            assert!(bad_ips.contains(ip), "seed {seed}: node {node} banned {ip}, which is honest");
        }
    }
    let blatant = &bad_ips[..2];
    let bans = net.nodes.iter().flat_map(|node| &node.banned).filter(|ip| blatant.contains(ip)).count();
    assert!(bans >= 4, "seed {seed}: corrupt senders were banned only {bans} times");
    let flood = PeerError::Violation(Violation::RequestFlood);
    assert!(
        net.nodes.iter().any(|node| node.errors.contains(&flood)),
        "seed {seed}: nobody minded the flood"
    );
    (net.trace, net.events_seen)
}

#[test]
fn a_swarm_with_losses_and_misbehaviour_finishes_byte_exact() {
    for seed in 1..=4 {
        mixed_swarm(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let first = mixed_swarm(11);
    assert_eq!(first, mixed_swarm(11));
    assert_ne!(first, mixed_swarm(12));
}

#[test]
fn one_seed_feeds_many_at_nearly_the_rate_of_its_uplink() {
    let mut net = Network::new(torrent(PIECE, &[6_000_000], 1), 1);
    let origin = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    for _ in 0..20 {
        let leech = net.add(Kind::Honest, MB, 5 * MB, SwarmConfig::default(), |_| false);
        net.connect(leech, origin);
    }
    for a in 1..=20 {
        for _ in 0..5 {
            let b = 1 + net.dice.below(20);
            net.connect(a, b);
        }
    }
    assert!(net.run(Duration::from_secs(600), Network::all_finished));
    (1..=20).for_each(|node| net.assert_exact(node));
    // The content takes 6 s from the origin; 20 leeches one after another would take 120 s.
    assert!(net.now < at(40), "took {:?}", net.now);
    let uploaded = net.nodes[0].swarm.stats(net.now).uploaded;
    assert!(uploaded < 6_000_000 * 8, "the origin had to give {uploaded} bytes");
}

#[test]
fn sequential_mode_stores_in_order() {
    let mut net = Network::new(torrent(PIECE, &[4_000_000], 2), 2);
    let config = SwarmConfig { sequential: true, ..SwarmConfig::default() };
    let leech = net.add(Kind::Honest, MB, 4 * MB, config, |_| false);
    for _ in 0..3 {
        let origin = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
        net.connect(leech, origin);
    }
    assert!(net.run(Duration::from_secs(120), Network::all_finished));
    net.assert_exact(leech);
    let order = &net.nodes[leech].stored_order;
    for (position, &piece) in order.iter().enumerate() {
        let distance = (position as i64 - i64::from(piece)).abs();
        assert!(distance <= 12, "piece {piece} was number {position}");
    }
}

#[test]
fn a_skipped_file_is_not_downloaded_and_can_be_wanted_later() {
    let files = [1_000_000, 2_000_000, 1_000_000];
    let mut net = Network::new(torrent(PIECE, &files, 3), 3);
    let origin = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    let leech = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| false);
    net.connect(leech, origin);
    // The decision comes in the middle of the transfer.
    net.run(300 * MS, |_| false);
    let priorities = [Priority::Normal, Priority::Skip, Priority::High];
    let now = net.now;
    net.nodes[leech].swarm.set_file_priorities(now, &priorities);
    assert!(net.run(Duration::from_secs(60), Network::all_finished));
    let layout = net.nodes[leech].swarm.content().info.layout.clone();
    let swarm = &net.nodes[leech].swarm;
    assert!(swarm.is_finished() && !swarm.is_complete());
    for (file, wanted) in [(0, true), (1, false), (2, true)] {
        let pieces = layout.pieces_of_file(file);
        let stored = pieces.clone().filter(|&piece| swarm.have().get(piece)).count();
        if wanted {
            assert_eq!(stored, pieces.len());
        } else {
            assert!(stored < pieces.len() / 2, "{stored} pieces of the skipped file are there");
        }
    }
    net.run(SECOND, |_| false);
    let now = net.now;
    net.nodes[leech].swarm.set_file_priorities(now, &[]);
    assert!(!net.all_finished());
    net.connect(leech, origin);
    assert!(net.run(Duration::from_secs(60), Network::all_finished));
    net.assert_exact(leech);
}

#[test]
fn endgame_does_not_wait_for_the_slowest() {
    let mut net = Network::new(torrent(PIECE, &[2_000_000], 4), 4);
    let leech = net.add(Kind::Honest, MB, 10 * MB, SwarmConfig::default(), |_| false);
    let fast = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    net.connect(leech, fast);
    for _ in 0..3 {
        // 16 KiB take it 8 seconds.
        let slow = net.add(Kind::Honest, 2_000, MB, SwarmConfig::default(), |_| true);
        net.connect(leech, slow);
    }
    assert!(net.run(Duration::from_secs(300), Network::all_finished));
    net.assert_exact(leech);
    assert!(net.now < at(12), "took {:?}", net.now);
    let stats = net.nodes[leech].swarm.stats(net.now);
    assert!(stats.wasted < 300_000, "{} bytes were wasted", stats.wasted);
}

#[test]
fn the_swarm_survives_its_seed_once_one_copy_is_distributed() {
    let mut net = Network::new(torrent(PIECE, &[5_000_000], 5), 5);
    let origin = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    for _ in 0..8 {
        let leech = net.add(Kind::Honest, 500_000, 2 * MB, SwarmConfig::default(), |_| false);
        net.connect(leech, origin);
    }
    for a in 1..=8 {
        (a + 1..=8).for_each(|b| net.connect(a, b));
    }
    let distributed = |net: &Network| {
        let pieces = net.nodes[0].swarm.have().len();
        (0..pieces).all(|piece| net.nodes[1..].iter().any(|node| node.swarm.have().get(piece)))
    };
    assert!(net.run(Duration::from_secs(120), distributed));
    assert!(
        !net.nodes[1..].iter().any(|node| node.swarm.is_finished()),
        "the test needs the seed to leave early"
    );
    let uploaded = net.nodes[0].swarm.stats(net.now).uploaded;
    // Rarest first spreads the pieces without giving the same one many times.
    assert!(uploaded < 5_000_000 * 2, "one copy cost the seed {uploaded} bytes");
    net.kill_at(net.now, origin);
    assert!(net.run(Duration::from_secs(600), Network::all_finished));
    (1..=8).for_each(|node| net.assert_exact(node));
}

#[test]
fn the_rarest_piece_comes_first() {
    let mut net = Network::new(torrent(PIECE, &[4_000_000], 6), 6);
    let rare = 37;
    let leech = net.add(Kind::Honest, MB, 400_000, SwarmConfig::default(), |_| false);
    let origin = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    net.connect(leech, origin);
    for _ in 0..6 {
        let other = net.add(
            Kind::Honest,
            MB,
            MB,
            SwarmConfig { upload_slots: UploadSlots::Fixed(0), ..SwarmConfig::default() },
            |piece| piece != rare,
        );
        net.connect(leech, other);
    }
    assert!(net.run(Duration::from_secs(60), |net| net.nodes[0].swarm.have().get(rare)));
    let position = net.nodes[leech].stored_order.iter().position(|&piece| piece == rare).unwrap();
    assert!(position < 12, "the rarest piece was number {position}");
}

#[test]
fn a_corrupt_seed_is_banned_and_an_honest_one_is_not() {
    for seed in 0..6 {
        let mut net = Network::new(torrent(PIECE, &[4_000_000], seed), seed);
        let leech = net.add(Kind::Honest, MB, 4 * MB, SwarmConfig::default(), |_| false);
        let good = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
        let one_in = [1, 2, 5, 10, 10, 20][seed as usize];
        let bad = net.add(Kind::Corrupt { one_in }, MB, MB, SwarmConfig::default(), |_| true);
        net.connect(leech, good);
        net.connect(leech, bad);
        assert!(net.run(Duration::from_secs(300), Network::all_finished));
        net.assert_exact(leech);
        assert_eq!(net.nodes[leech].banned, [net.nodes[bad].addr.ip()], "seed {seed}");
        assert!(net.nodes[leech].swarm.is_banned(net.now, net.nodes[bad].addr.ip()));
        assert!(net.nodes[leech].disconnects.contains(&DisconnectReason::Banned));
    }
}

#[test]
fn a_peer_that_sends_one_byte_a_second_holds_nothing_up() {
    let mut net = Network::new(torrent(PIECE, &[2_000_000], 7), 7);
    let leech = net.add(Kind::Honest, MB, 10 * MB, SwarmConfig::default(), |_| false);
    for _ in 0..3 {
        let dripper = net.add(Kind::Dripper, MB, MB, SwarmConfig::default(), |_| true);
        net.connect(leech, dripper);
    }
    // It claims blocks before anybody else is there.
    net.run(2 * SECOND, |_| false);
    let origin = net.add(Kind::Honest, 500_000, MB, SwarmConfig::default(), |_| true);
    net.connect(leech, origin);
    assert!(net.run(Duration::from_secs(200), Network::all_finished));
    net.assert_exact(leech);
    assert!(net.now < at(45), "took {:?}", net.now);
    assert!(net.nodes[leech].banned.is_empty());
}

#[test]
fn a_peer_that_never_reads_is_bounded_and_dropped() {
    let mut net = Network::new(torrent(PIECE, &[2_000_000], 8), 8);
    let origin = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    let deaf = net.add(Kind::Deaf, MB, MB, SwarmConfig::default(), |_| false);
    net.connect(deaf, origin);
    net.run(Duration::from_secs(30), |_| false);
    let stats = net.nodes[origin].swarm.stats(net.now);
    assert_eq!(stats.peers, 1);
    assert!(stats.requests_in <= 2000);
    net.run(Duration::from_secs(600), |net| net.nodes[0].swarm.peer_count() == 0);
    assert!(!net.nodes[origin].disconnects.is_empty());
}

#[test]
fn seeds_let_each_other_go() {
    let mut net = Network::new(torrent(PIECE, &[500_000], 9), 9);
    let origin = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    let other = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    let leech = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| false);
    net.connect(origin, other);
    net.connect(leech, origin);
    assert!(net.run(Duration::from_secs(60), Network::all_finished));
    net.run(2 * SECOND, |_| false);
    assert!(net.nodes.iter().all(|node| node.swarm.peer_count() == 0));
    assert_eq!(other, 1);
}
