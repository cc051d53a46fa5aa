//! Whole swarms in virtual time: peers that deliver slowly, or not at all, do not keep pieces from others.

mod network;

use std::time::Duration;

use network::{Kind, Network, SECOND, torrent};
use ringseed_proto::swarm::{PieceMemory, SwarmConfig};

const PIECE: u32 = 65_536;
const LARGE: u32 = 16 * PIECE;
const MB: u64 = 1_000_000;

/// A leech of which the piece 0 came wrong once, so that it is left to one peer at a time from then on.
fn after_a_bad_piece(net: &mut Network, config: SwarmConfig) -> usize {
    net.use_pex = false;
    let leech = net.add(Kind::Honest, MB, 10 * MB, config, |_| false);
    let bad = net.add(Kind::Rotten { piece: 0 }, 10 * MB, MB, SwarmConfig::default(), |piece| piece == 0);
    net.connect(leech, bad);
    assert!(net.run(60 * SECOND, |net| net.nodes[leech].swarm.stats(net.now).hash_fails == 1));
    net.kill_at(net.now, bad);
    net.run(SECOND, |_| false);
    leech
}

#[test]
fn a_piece_that_is_left_to_one_of_two_slow_peers_does_not_go_to_and_fro() {
    for seed in 0..4 {
        // Either needs 42 seconds for it.
        let mut net = Network::new(torrent(LARGE, &[u64::from(LARGE)], seed), seed);
        let leech = after_a_bad_piece(&mut net, SwarmConfig::default());
        for _ in 0..2 {
            let slow = net.add(Kind::Honest, 25_000, MB, SwarmConfig::default(), |_| true);
            net.connect(leech, slow);
        }
        assert!(net.run(120 * SECOND, Network::all_finished), "seed {seed}");
        net.assert_exact(leech);
        let wasted = net.nodes[leech].swarm.stats(net.now).wasted;
        assert!(wasted < 2 * u64::from(LARGE), "seed {seed}: {wasted} bytes wasted");
    }
}

#[test]
fn a_piece_that_is_left_to_a_peer_that_trickles_goes_to_a_faster_one() {
    for seed in 0..4 {
        let mut net = Network::new(torrent(LARGE, &[3 * u64::from(LARGE)], seed), seed);
        let leech = after_a_bad_piece(&mut net, SwarmConfig::default());
        let trickle = Kind::Trickle { from: 0, to: 1, seconds: 14 };
        let slow = net.add(trickle, MB, MB, SwarmConfig::default(), |_| true);
        net.connect(leech, slow);
        net.run(20 * SECOND, |_| false);
        // Nobody has the last piece, so that there is always one that could be begun.
        let good = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |piece| piece < 2);
        net.connect(leech, good);
        let here = |net: &Network| net.nodes[leech].swarm.have().count_ones() == 2;
        assert!(net.run(90 * SECOND, here), "seed {seed}");
    }
}

#[test]
fn a_piece_that_is_left_to_a_slow_peer_does_not_go_to_a_silent_one_again_and_again() {
    for seed in 0..4 {
        // The slow one needs 105 seconds for it.
        let mut net = Network::new(torrent(LARGE, &[u64::from(LARGE)], seed), seed);
        let leech = after_a_bad_piece(&mut net, SwarmConfig::default());
        let silent = net.add(Kind::Silent, MB, MB, SwarmConfig::default(), |_| true);
        net.connect(leech, silent);
        let slow = net.add(Kind::Honest, 10_000, MB, SwarmConfig::default(), |_| true);
        net.connect(leech, slow);
        assert!(net.run(300 * SECOND, Network::all_finished), "seed {seed}");
        net.assert_exact(leech);
    }
}

#[test]
fn peers_that_trickle_do_not_take_all_the_places_for_open_pieces() {
    for seed in 0..4 {
        let mut net = Network::new(torrent(LARGE, &[16 * u64::from(LARGE)], seed), seed);
        net.use_pex = false;
        let config = SwarmConfig { open_piece_bytes_max: 4 * u64::from(LARGE), ..SwarmConfig::default() };
        let leech = net.add(Kind::Honest, MB, 10 * MB, config, |_| false);
        for n in 0..6 {
            let trickle = Kind::Trickle { from: n, to: n + 1, seconds: 25 };
            let slow = net.add(trickle, MB, MB, SwarmConfig::default(), |_| true);
            net.connect(leech, slow);
        }
        net.run(10 * SECOND, |_| false);
        let good = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |piece| piece >= 8);
        net.connect(leech, good);
        let here = |net: &Network| net.nodes[leech].swarm.have().count_ones() == 8;
        assert!(net.run(240 * SECOND, here), "seed {seed}: {:?}", net.nodes[leech].swarm.stats(net.now));
    }
}

/// Three peers of `rate` bytes per second, each with pieces of its own, of which two may be open at once: the pieces that
/// are there after `hours`, and the bytes that were thrown away for them.
fn with_too_few_places(piece: u32, rate: u64, hours: u64) -> (usize, u64) {
    let mut net = Network::new(torrent(piece, &[6 * u64::from(piece)], 5), 5);
    net.use_pex = false;
    let config = SwarmConfig { open_piece_bytes_max: 2 * u64::from(piece), ..SwarmConfig::default() };
    let leech = net.add(Kind::Honest, MB, MB, config, |_| false);
    for n in 0..3 {
        let slow = net.add(Kind::Honest, rate, MB, SwarmConfig::default(), |piece| piece % 3 == n);
        net.connect(leech, slow);
    }
    net.run(Duration::from_secs(hours * 3600), |_| false);
    let swarm = &net.nodes[leech].swarm;
    (swarm.have().count_ones() as usize, swarm.stats(net.now).wasted)
}

#[test]
fn slow_pieces_that_are_nearly_there_are_not_thrown_away_for_others() {
    // 310 seconds for a piece.
    let (here, wasted) = with_too_few_places(LARGE, 3_400, 2);
    assert_eq!((here, wasted), (6, 0));
}

#[test]
fn few_pieces_are_thrown_away_until_it_is_known_how_slow_all_are() {
    // 700 seconds for a piece.
    let (here, wasted) = with_too_few_places(LARGE, 1_500, 3);
    assert!(here == 6 && wasted < u64::from(LARGE), "{here} pieces, {wasted} bytes wasted");
}

#[test]
fn pieces_that_take_longer_than_half_an_hour_are_finished() {
    // 35 minutes for a piece.
    let (here, wasted) = with_too_few_places(8 * LARGE, 4_000, 3);
    assert!(here == 6 && wasted < 2 * u64::from(LARGE), "{here} pieces, {wasted} bytes wasted");
}

#[test]
fn a_torrent_whose_peers_trickle_does_not_keep_memory_from_another() {
    let mut net = Network::new(torrent(LARGE, &[2 * u64::from(LARGE)], 3), 3);
    net.use_pex = false;
    let memory = PieceMemory::new(u64::from(LARGE) * 8 / 7 + 8);
    let sharing = || SwarmConfig { memory: Some(memory.clone()), ..SwarmConfig::default() };
    let victim = net.add(Kind::Honest, MB, MB, sharing(), |_| false);
    let trickle = Kind::Trickle { from: 0, to: 2, seconds: 29 };
    let slow = net.add(trickle, MB, MB, SwarmConfig::default(), |_| true);
    net.connect(victim, slow);
    net.run(30 * SECOND, |_| false);
    let other = net.add(Kind::Honest, MB, MB, sharing(), |_| false);
    let good = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    net.connect(other, good);
    assert!(net.run(240 * SECOND, |net| net.nodes[other].swarm.is_complete()));
}

#[test]
fn a_slow_swarm_that_must_share_its_memory_gets_on_nevertheless() {
    let mut net = Network::new(torrent(LARGE, &[4 * u64::from(LARGE)], 4), 4);
    net.use_pex = false;
    let memory = PieceMemory::new(u64::from(LARGE) * 8 / 7 + 8);
    let sharing = || SwarmConfig { memory: Some(memory.clone()), ..SwarmConfig::default() };
    let leeches: Vec<usize> = (0..2)
        .map(|_| {
            let leech = net.add(Kind::Honest, MB, MB, sharing(), |_| false);
            let slow = net.add(Kind::Honest, 2_500, MB, SwarmConfig::default(), |_| true);
            net.connect(leech, slow);
            leech
        })
        .collect();
    let pieces = |net: &Network, node: usize| net.nodes[node].swarm.have().count_ones();
    let both = |net: &Network| leeches.iter().all(|&leech| pieces(net, leech) >= 1);
    assert!(net.run(Duration::from_secs(4 * 3600), both));
}

#[test]
fn a_crowd_of_silent_peers_does_not_keep_the_last_blocks_from_one_that_delivers() {
    for seed in 0..4 {
        let mut net = Network::new(torrent(PIECE, &[2_000_000], seed), seed);
        net.use_pex = false;
        let leech = net.add(Kind::Honest, MB, 10 * MB, SwarmConfig::default(), |_| false);
        for _ in 0..100 {
            let silent = net.add(Kind::Silent, MB, MB, SwarmConfig::default(), |_| true);
            net.connect(leech, silent);
        }
        net.run(5 * SECOND, |_| false);
        let good = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
        net.connect(leech, good);
        let done = net.run(Duration::from_secs(3600), Network::all_finished);
        let took = net.now;
        assert!(done && took.micros() < 90_000_000, "seed {seed}: {took:?}");
        net.assert_exact(leech);
    }
}
