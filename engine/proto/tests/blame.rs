//! Whole swarms in virtual time: who is blamed for bad pieces, and what goes on nevertheless.

mod network;

use std::net::SocketAddr;
use std::time::Duration;

use network::{Kind, Network, torrent};
use ringseed_proto::swarm::{DisconnectReason, SwarmConfig};
use ringseed_proto::units::PieceIndex;

const PIECE: u32 = 65_536;
const MB: u64 = 1_000_000;
const BAN: Duration = Duration::from_secs(3600);

#[test]
fn a_seed_with_one_rotten_piece_gives_all_others() {
    let mut net = Network::new(torrent(PIECE, &[1_000_000], 1), 1);
    let leech = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| false);
    let seed = net.add(Kind::Rotten { piece: 3 }, MB, MB, SwarmConfig::default(), |_| true);
    net.connect(leech, seed);
    net.run(Duration::from_secs(60), |_| false);
    let swarm = &net.nodes[leech].swarm;
    assert_eq!(swarm.have().iter_zeros().collect::<Vec<_>>(), [3]);
    assert!(net.nodes[leech].banned.is_empty() && swarm.wrong_hash().is_none());
    // It is not asked for it again and again, and users are told.
    assert_eq!(swarm.stats(net.now).hash_fails, 1);
    assert_eq!(swarm.stats(net.now).only_wrong, Some(PieceIndex(3)));
    net.run(Duration::from_secs(3600), |_| false);
    let swarm = &net.nodes[leech].swarm;
    let fails = swarm.stats(net.now).hash_fails;
    assert!((3..=6).contains(&fails), "tried {fails} times in an hour");
    assert_eq!(swarm.only_wrong(), Some(PieceIndex(3)));
    assert!(net.nodes[leech].banned.is_empty());
    // Somebody else has it right.
    let other = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    net.connect(leech, other);
    assert!(net.run(Duration::from_secs(60), Network::all_finished));
    net.assert_exact(leech);
    assert_eq!(net.nodes[leech].swarm.only_wrong(), None);
}

#[test]
fn a_seed_that_had_one_bad_moment_is_asked_again() {
    let mut net = Network::new(torrent(PIECE, &[1_000_000], 1), 1);
    let leech = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| false);
    let seed = net.add(Kind::Rotten { piece: 3 }, MB, MB, SwarmConfig::default(), |_| true);
    net.connect(leech, seed);
    net.run(Duration::from_secs(30), |_| false);
    net.nodes[seed].kind = Kind::Honest;
    assert!(net.run(Duration::from_secs(150), Network::all_finished));
    net.assert_exact(leech);
}

#[test]
fn a_torrent_whose_only_seed_was_banned_says_what_is_missing() {
    let mut net = Network::new(torrent(PIECE, &[1_000_000], 2), 2);
    let leech = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| false);
    let bad = net.add(Kind::Corrupt { one_in: 1 }, MB, MB, SwarmConfig::default(), |_| true);
    net.connect(leech, bad);
    net.run(Duration::from_secs(20), |_| false);
    let swarm = &net.nodes[leech].swarm;
    assert!(swarm.peer_count() == 0 && swarm.blames() && swarm.only_wrong().is_some());
}

/// What only the blocks tell: which of many senders of a piece sent it wrong.
#[test]
fn a_sender_of_single_wrong_blocks_is_found_and_nobody_else_is_long_under_suspicion() {
    for seed in 0..8 {
        let mut net = Network::new(torrent(8 * PIECE, &[12_000_000], seed), seed);
        net.use_pex = false;
        let leech = net.add(Kind::Honest, MB, 4 * MB, SwarmConfig::default(), |_| false);
        let bad = net.add(Kind::Corrupt { one_in: 6 }, MB, MB, SwarmConfig::default(), |_| true);
        net.connect(leech, bad);
        for _ in 0..6 {
            let good = net.add(Kind::Honest, MB / 4, MB, SwarmConfig::default(), |_| true);
            net.connect(leech, good);
        }
        assert!(net.run(Duration::from_secs(120), Network::all_finished), "seed {seed}");
        net.assert_exact(leech);
        let node = &net.nodes[leech];
        assert_eq!(node.banned, [net.nodes[bad].addr.ip()], "seed {seed}");
        let fails = node.swarm.stats(net.now).hash_fails;
        assert!(fails <= 8, "seed {seed}: {fails} pieces were wrong before it was found");
    }
}

#[test]
fn a_good_seed_behind_the_address_of_a_rotten_one_completes_the_download() {
    for seed in 0..5 {
        let mut net = Network::new(torrent(PIECE, &[1_000_000], seed), seed);
        let leech = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| false);
        let rotten = net.add(Kind::Rotten { piece: 3 }, MB, MB, SwarmConfig::default(), |_| true);
        let good = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
        net.use_pex = false;
        net.nodes[good].addr = SocketAddr::new(net.nodes[rotten].addr.ip(), 7777);
        net.connect(leech, rotten);
        net.connect(leech, good);
        assert!(net.run(Duration::from_secs(120), Network::all_finished), "seed {seed}");
        net.assert_exact(leech);
        assert!(net.nodes[leech].banned.is_empty(), "seed {seed}");
    }
}

#[test]
fn a_seed_that_is_all_wrong_is_banned_for_an_hour() {
    let mut net = Network::new(torrent(PIECE, &[1_000_000], 2), 2);
    let leech = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| false);
    let bad = net.add(Kind::Corrupt { one_in: 1 }, MB, MB, SwarmConfig::default(), |_| true);
    net.connect(leech, bad);
    net.run(Duration::from_secs(20), |_| false);
    let ip = net.nodes[bad].addr.ip();
    assert_eq!(net.nodes[leech].banned, [ip]);
    assert_eq!(net.nodes[leech].disconnects, [DisconnectReason::Banned]);
    let banned: Vec<_> = net.nodes[leech].swarm.banned(net.now).collect();
    assert_eq!((banned.len(), banned[0].0), (1, ip));
    assert!(banned[0].1 <= net.now + BAN);
    // It is refused until the ban ends.
    net.connect(leech, bad);
    net.run(Duration::from_secs(20), |_| false);
    assert_eq!(net.nodes[leech].swarm.peer_count(), 0);
    assert!(!net.nodes[leech].swarm.is_banned(banned[0].1, ip));
}

#[test]
fn a_wrong_hash_in_the_torrent_costs_its_piece_and_no_seed() {
    for seed in 0..5 {
        let mut net = Network::new(torrent(PIECE, &[2_000_000], seed).with_wrong_hash(7), seed);
        let leech = net.add(Kind::Honest, MB, 4 * MB, SwarmConfig::default(), |_| false);
        for _ in 0..4 {
            let origin = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
            net.connect(leech, origin);
        }
        let all_but_one = |net: &Network| net.nodes[0].swarm.have().iter_zeros().count() == 1;
        assert!(net.run(Duration::from_secs(120), all_but_one), "seed {seed}");
        net.run(Duration::from_secs(120), |net| net.nodes[0].swarm.wrong_hash().is_some());
        let swarm = &net.nodes[leech].swarm;
        assert_eq!(swarm.wrong_hash(), Some(PieceIndex(7)), "seed {seed}");
        assert_eq!(swarm.stats(net.now).wrong_hash, Some(PieceIndex(7)));
        assert!(net.nodes[leech].banned.is_empty(), "seed {seed}");
        assert_eq!(swarm.peer_count(), 4);
        // Each seed was asked for it once or twice, not for ever.
        net.run(Duration::from_secs(300), |_| false);
        let fails = net.nodes[leech].swarm.stats(net.now).hash_fails;
        assert!(fails <= 8, "seed {seed}: fetched {fails} times");
    }
}
