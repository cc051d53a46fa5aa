//! Whole swarms in virtual time: the memory of their open pieces is bounded, given back, and never a dead end.

mod network;

use std::sync::Arc;
use std::time::Duration;

use network::{Kind, MS, Network, SECOND, torrent};
use ringseed_proto::swarm::{PieceMemory, Priority, SwarmConfig};
use ringseed_proto::units::Time;

const PIECE: u32 = 65_536;
const MB: u64 = 1_000_000;

/// A budget with room for so many pieces.
fn room_for(pieces: u64) -> Arc<PieceMemory> {
    PieceMemory::new(pieces * u64::from(PIECE) * 8 / 7 + 8)
}

fn sharing(memory: &Arc<PieceMemory>) -> SwarmConfig {
    SwarmConfig { memory: Some(Arc::clone(memory)), ..SwarmConfig::default() }
}

#[test]
fn skipping_files_while_they_download_leaves_nothing_in_memory() {
    for seed in 0..10 {
        let mut net = Network::new(torrent(PIECE, &[1_500_000; 4], seed), seed);
        let memory = room_for(1000);
        let leech = net.add(Kind::Honest, MB, 4 * MB, sharing(&memory), |_| false);
        for _ in 0..3 {
            let origin = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
            net.connect(leech, origin);
        }
        for round in 0..12 {
            net.run(150 * MS, |_| false);
            let priorities: Vec<Priority> = (0..4)
                .map(|_| if net.dice.below(2) == 0 { Priority::Skip } else { Priority::Normal })
                .collect();
            let now = net.now;
            net.nodes[leech].swarm.set_file_priorities(now, &priorities);
            net.nodes[leech].swarm.check_invariants();
            net.run(MS, |_| false);
            net.check_buffers(leech);
            assert!(net.nodes[leech].disk.open.len() <= 1000, "round {round}");
        }
        // Nothing is wanted: what was begun goes too.
        let now = net.now;
        net.nodes[leech].swarm.set_file_priorities(now, &[Priority::Skip; 4]);
        net.run(2 * SECOND, |_| false);
        assert!(net.nodes[leech].disk.open.is_empty(), "seed {seed}");
        assert_eq!(memory.piece_bytes(), 0, "seed {seed}");
        let now = net.now;
        net.nodes[leech].swarm.set_file_priorities(now, &[]);
        for origin in 1..=3 {
            net.connect(leech, origin);
        }
        assert!(net.run(Duration::from_secs(60), Network::all_finished), "seed {seed}");
        net.assert_exact(leech);
        assert_eq!(memory.piece_bytes(), 0);
    }
}

#[test]
fn a_piece_that_is_skipped_and_wanted_again_keeps_its_blocks() {
    let mut net = Network::new(torrent(16 * PIECE, &[4_000_000; 2], 3), 3);
    let leech = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| false);
    let origin = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    net.connect(leech, origin);
    for round in 0..6 {
        net.run(700 * MS, |_| false);
        let now = net.now;
        let skip = [Priority::Skip, Priority::Normal];
        let skip = if round % 2 == 0 { [skip[0], skip[1]] } else { [skip[1], skip[0]] };
        net.nodes[leech].swarm.set_file_priorities(now, &skip);
        net.run(300 * MS, |_| false);
        let now = net.now;
        net.nodes[leech].swarm.set_file_priorities(now, &[]);
    }
    assert!(net.run(Duration::from_secs(60), Network::all_finished));
    net.assert_exact(leech);
    let wasted = net.nodes[leech].swarm.stats(net.now).wasted;
    assert!(wasted < 800_000, "{wasted} bytes were fetched twice");
}

#[test]
fn partial_peers_and_large_pieces_survive_changes_of_the_wanted_files() {
    for seed in 0..3 {
        let large = 4 * PIECE;
        let mut net = Network::new(torrent(large, &[4_000_000; 4], seed), seed);
        // Room for eight pieces, as 128 MiB have for pieces of 16 MiB.
        let config = SwarmConfig { open_piece_bytes_max: 8 * u64::from(large), ..SwarmConfig::default() };
        let leech = net.add(Kind::Honest, MB, 20 * MB, config, |_| false);
        for n in 0..40 {
            let peer =
                net.add(Kind::Honest, 100_000, MB, SwarmConfig::default(), |piece| piece % 10 == n % 10);
            net.connect(leech, peer);
        }
        net.use_pex = false;
        for wanted in 0..3 {
            net.run(2 * SECOND, |_| false);
            let priorities: Vec<Priority> =
                (0..4).map(|file| if file == wanted { Priority::Normal } else { Priority::Skip }).collect();
            let now = net.now;
            net.nodes[leech].swarm.set_file_priorities(now, &priorities);
        }
        net.run(2 * SECOND, |_| false);
        let now = net.now;
        net.nodes[leech].swarm.set_file_priorities(now, &[]);
        let complete = |net: &Network| net.nodes[0].swarm.is_complete();
        assert!(net.run(Duration::from_secs(120), complete), "seed {seed}: it hangs");
        net.assert_exact(leech);
    }
}

#[test]
fn pieces_that_nobody_can_finish_make_room() {
    let mut net = Network::new(torrent(PIECE, &[3_000_000], 5), 5);
    let config = SwarmConfig { open_piece_bytes_max: 4 * u64::from(PIECE), ..SwarmConfig::default() };
    let leech = net.add(Kind::Honest, MB, MB, config, |_| false);
    // It has the first pieces, begins to give them, and goes.
    let gone = net.add(Kind::Honest, 50_000, MB, SwarmConfig::default(), |piece| piece < 8);
    net.connect(leech, gone);
    net.run(3 * SECOND, |_| false);
    net.kill_at(net.now, gone);
    net.run(SECOND, |_| false);
    let open = net.nodes[leech].disk.open.len();
    assert!(open > 0);
    let rest = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |piece| piece >= 8);
    net.connect(leech, rest);
    let all_there =
        |net: &Network| net.nodes[0].swarm.have().iter_ones().filter(|&piece| piece >= 8).count() == 38;
    assert!(net.run(Duration::from_secs(300), all_there), "{:?}", net.nodes[leech].swarm.stats(net.now));
}

#[test]
fn twelve_downloads_get_on_in_memory_for_three_pieces() {
    let mut net = Network::new(torrent(PIECE, &[1_000_000], 6), 6);
    let memory = room_for(3);
    let origin = net.add(Kind::Honest, 20 * MB, MB, SwarmConfig::default(), |_| true);
    // Each stands for a torrent of its own.
    net.use_pex = false;
    for _ in 0..12 {
        let leech = net.add(Kind::Honest, MB, 2 * MB, sharing(&memory), |_| false);
        net.connect(leech, origin);
    }
    let most = 3 * u64::from(PIECE);
    let kept = |net: &Network| {
        assert!(memory.piece_bytes() <= most);
        let open: usize = net.nodes.iter().map(|node| node.disk.open.len()).sum();
        assert!(open <= 3, "{open} pieces are in memory");
        net.all_finished()
    };
    // One after the other they would take six seconds, and waiting for each other costs something.
    assert!(net.run(Duration::from_secs(300), kept));
    (1..=12).for_each(|node| net.assert_exact(node));
    let finished = |node: usize| net.nodes[node].finished_at.unwrap();
    let (first, last) = ((1..=12).map(finished).min().unwrap(), (1..=12).map(finished).max().unwrap());
    assert!(last.micros() < 3 * first.micros(), "from {first:?} to {last:?}: some had to wait for others");
    assert_eq!((memory.piece_bytes(), memory.waiting()), (0, 0));
}

#[test]
fn peers_that_withhold_the_last_blocks_of_one_torrent_do_not_stop_another() {
    let mut net = Network::new(torrent(PIECE, &[2_000_000], 7), 7);
    net.use_pex = false;
    let memory = room_for(8);
    let victim = net.add(Kind::Honest, MB, 4 * MB, sharing(&memory), |_| false);
    for _ in 0..6 {
        let holder = net.add(Kind::Withholder, MB, MB, SwarmConfig::default(), |_| true);
        net.connect(victim, holder);
    }
    net.run(5 * SECOND, |_| false);
    assert!(memory.piece_bytes() > 7 * u64::from(PIECE), "they hold all the memory");
    let other = net.add(Kind::Honest, MB, 4 * MB, sharing(&memory), |_| false);
    let origin = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    net.connect(other, origin);
    net.run(SECOND, |_| false);
    assert!(net.nodes[other].swarm.stats(net.now).waits_for_memory, "it says what it waits for");
    let done = |net: &Network| {
        assert!(memory.piece_bytes() <= 8 * u64::from(PIECE));
        net.nodes[other].swarm.is_complete()
    };
    assert!(net.run(Duration::from_secs(200), done), "{:?}", net.nodes[other].swarm.stats(net.now));
    net.assert_exact(other);
    assert!(net.now < Time::ZERO + Duration::from_secs(200));
}

#[test]
fn a_torrent_whose_peers_are_gone_gives_its_memory_back_when_another_needs_it() {
    let mut net = Network::new(torrent(PIECE, &[1_000_000], 8), 8);
    net.use_pex = false;
    let memory = room_for(2);
    let first = net.add(Kind::Honest, MB, MB, sharing(&memory), |_| false);
    let slow = net.add(Kind::Honest, 10_000, MB, SwarmConfig::default(), |_| true);
    net.connect(first, slow);
    net.run(5 * SECOND, |_| false);
    net.kill_at(net.now, slow);
    net.run(SECOND, |_| false);
    assert!(memory.piece_bytes() > 0);
    let second = net.add(Kind::Honest, MB, MB, sharing(&memory), |_| false);
    let origin = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| true);
    net.connect(second, origin);
    assert!(net.run(Duration::from_secs(120), |net| net.nodes[second].swarm.is_complete()));
    net.assert_exact(second);
}

/// What peers begin to say and what they do not read takes memory, too: 128 KiB each.
#[test]
fn peers_that_never_end_a_message_or_never_read_do_not_fill_the_memory() {
    for kind in [Kind::Endless, Kind::Deaf] {
        let mut net = Network::new(torrent(PIECE, &[2_000_000], 9), 9);
        net.use_pex = false;
        let memory = PieceMemory::new(16 << 20);
        let config = SwarmConfig { peers_max: 1000, ..sharing(&memory) };
        let origin = net.add(Kind::Honest, 100 * MB, 100 * MB, config, |_| true);
        for _ in 0..300 {
            let bad = net.add(kind, 100 * MB, 100 * MB, SwarmConfig::default(), |_| false);
            net.connect(bad, origin);
        }
        let good = net.add(Kind::Honest, MB, MB, SwarmConfig::default(), |_| false);
        net.connect(good, origin);
        // An idle seed looks at its peers each five seconds, and a flood takes less.
        let most = std::cell::Cell::new(0);
        net.run(20 * SECOND, |_| {
            most.set(most.get().max(memory.control_bytes()));
            false
        });
        assert!(most.get() <= 10 << 20, "{kind:?}: {} bytes", most.get());
        assert!(memory.control_bytes() <= 4 << 20, "{kind:?}");
        if kind == Kind::Endless {
            let gone = net.nodes[origin].disconnects.len();
            assert!((200..290).contains(&gone), "{gone} are gone");
        }
        assert!(net.run(60 * SECOND, Network::all_finished), "{kind:?}");
        net.nodes.clear();
        assert_eq!(memory.control_bytes(), 0);
    }
}
