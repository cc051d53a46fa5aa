//! Encrypted connections between engines: what moves, what is refused, and what strangers can make an engine do.

use ringseed::Engine;
use ringseed::config::EngineConfig;
use ringseed_handle::{EngineHandle, ShardCounters, TorrentState};
use ringseed_proto::mse::{Encryption, KEY_LEN, Methods, Mode};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

#[path = "support/mod.rs"]
mod support;
use support::content::{Content, assert_same, single};
use support::{engines, until};

const NO_TRACKER: &str = "http://127.0.0.1:9/announce";
const RC4: Encryption = Encryption { mode: Mode::Require, methods: Methods::Rc4 };

fn start(shards: usize, encryption: Encryption) -> Engine {
    engines::start(EngineConfig { shards: Some(shards), encryption, ..engines::config() })
}

fn seed(content: &Content, encryption: Encryption) -> Engine {
    let engine = start(1, encryption);
    engines::add(&engine.handle(), content, &content.dir, Vec::new());
    engines::wait(&engine.handle(), "seed", |torrent| torrent.state == TorrentState::Seeding);
    engine
}

/// Counters of all shards together.
fn counted(handle: &EngineHandle, of: fn(&ShardCounters) -> u64) -> u64 {
    handle.snapshot().shards.iter().map(|shard| of(&shard.counters)).sum()
}

fn wait_complete(engine: &Engine) {
    engines::wait(&engine.handle(), "complete download", |torrent| torrent.state == TorrentState::Seeding);
}

#[test]
fn enciphered_connections_move_to_the_home_shard_of_a_download() {
    let [source, target] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let content = single(source.path(), 30_000_000, "256K", NO_TRACKER);
    let leech = start(4, RC4);
    engines::add(&leech.handle(), &content, target.path(), Vec::new());
    engines::wait(&leech.handle(), "download", |torrent| torrent.state == TorrentState::Downloading);
    // Seeds dial leeches whose address they know: most of these land on another shard than the home.
    let seeds: Vec<Engine> = (0..4)
        .map(|_| {
            let engine = start(1, RC4);
            engines::add(&engine.handle(), &content, source.path(), vec![engines::address(&leech)]);
            engine
        })
        .collect();
    wait_complete(&leech);
    assert_same(&content, target.path());
    until("the counters", || (counted(&leech.handle(), |all| all.obfuscations[2]) > 0).then_some(()));
    assert_eq!(counted(&leech.handle(), |all| all.obfuscations[0] + all.obfuscations[1]), 0);
    // Shards publish what they counted a few times a second.
    let sent = || seeds.iter().map(|seed| counted(&seed.handle(), |all| all.enciphered)).sum::<u64>();
    until("all bytes to be counted as enciphered", || (sent() > content.length).then_some(()));
}

/// A download from a seed, with the settings of both.
fn download(content: &Content, target: &Path, seed: &Engine, encryption: Encryption) -> Engine {
    let leech = start(1, encryption);
    engines::add(&leech.handle(), content, target, vec![engines::address(seed)]);
    leech
}

#[test]
fn every_pair_that_has_a_way_in_common_finds_it() {
    let source = tempfile::tempdir().unwrap();
    let content = single(source.path(), 1_000_000, "64K", NO_TRACKER);
    for taken in [Mode::Disabled, Mode::Tolerate, Mode::Prefer, Mode::Require] {
        let seed = seed(&content, Encryption { mode: taken, methods: Methods::Both });
        for dialled in [Mode::Disabled, Mode::Tolerate, Mode::Prefer, Mode::Require] {
            if matches!((taken, dialled), (Mode::Disabled, Mode::Require) | (Mode::Require, Mode::Disabled)) {
                continue;
            }
            let target = tempfile::tempdir().unwrap();
            let setting = Encryption { mode: dialled, methods: Methods::Both };
            let leech = download(&content, target.path(), &seed, setting);
            wait_complete(&leech);
            assert_same(&content, target.path());
        }
    }
}

#[test]
fn what_is_required_is_never_done_without() {
    let [source, target] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let content = single(source.path(), 1_000_000, "64K", NO_TRACKER);
    let seed = seed(&content, Encryption::DISABLED);
    let leech = download(&content, target.path(), &seed, RC4);
    // Two at once, then the wait of a failed dial, and again.
    until("refused handshakes", || (counted(&seed.handle(), |all| all.handshakes[2]) >= 3).then_some(()));
    assert_eq!(counted(&seed.handle(), |all| all.handshakes[0]), 0);
    assert_eq!(counted(&leech.handle(), |all| all.handshakes[0]), 0);
    let mut peer = TcpStream::connect(engines::address(&leech)).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    peer.write_all(b"\x13BitTorrent protocol").unwrap();
    assert!(matches!(peer.read(&mut [0; 100]), Ok(0) | Err(_)));
}

#[test]
fn strangers_get_few_exponentiations_and_a_transfer_beside_them_goes_on() {
    let [source, target] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let content = single(source.path(), 10_000_000, "256K", NO_TRACKER);
    let seed = seed(&content, Encryption::default());
    let address = engines::address(&seed);
    // A byte less than a key is worth nothing.
    let short: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&[0x55; KEY_LEN - 1]).unwrap();
            stream
        })
        .collect();
    let leech = download(&content, target.path(), &seed, RC4);
    wait_complete(&leech);
    // Two for that one handshake, and a second one for the dial if it was not the first.
    until("the counters", || (counted(&seed.handle(), |all| all.obfuscations[2]) == 1).then_some(()));
    assert_eq!(counted(&seed.handle(), |all| all.exponentiations), 2);
    drop(short);
    // 400 whole keys with rubbish behind them, of one host.
    let began = std::time::Instant::now();
    for _ in 0..400 {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(&[0x77; KEY_LEN + 700]);
        // It may be refused at once.
        drop(stream);
    }
    drop(leech);
    let again = tempfile::tempdir().unwrap();
    let leech = download(&content, again.path(), &seed, Encryption::DISABLED);
    wait_complete(&leech);
    assert_same(&content, again.path());
    let most = 256.0 + 64.0 * began.elapsed().as_secs_f32() + 2.0;
    let done = counted(&seed.handle(), |all| all.exponentiations);
    assert!((done as f32) <= most, "{done} exponentiations");
}
