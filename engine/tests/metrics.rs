//! The metrics page of running engines: what a transfer did must be on it.

use ringseed::Engine;
use ringseed::config::EngineConfig;
use ringseed_handle::{EngineHandle, TorrentState};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;

#[path = "support/mod.rs"]
mod support;
use support::content::{assert_same, single};
use support::engines::{self, add};

fn engine() -> Engine {
    let rpc = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    Engine::start(EngineConfig { rpc, ..engines::config() }).unwrap()
}

fn until_seeding(handle: &EngineHandle) {
    support::until("seeding", || {
        (handle.snapshot().torrents.first()?.state == TorrentState::Seeding).then_some(())
    });
}

fn scrape(engine: &Engine) -> String {
    let mut stream = TcpStream::connect(engine.rpc_address().unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

/// The value of the one line that begins with `name` and a space.
fn value(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing:\n{page}")).trim().parse().unwrap()
}

/// Scrapes until a value is at least `wanted`: snapshots follow what happens by a fraction of a second.
fn until_at_least(engine: &Engine, name: &str, wanted: f64) -> String {
    support::until(name, || {
        let page = scrape(engine);
        (value(&page, name) >= wanted).then_some(page)
    })
}

/// A directory on the file system of the build, which is a disk where `/tmp` may be memory.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn drop_from_memory(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

#[test]
fn a_transfer_of_a_torrent_that_is_not_in_memory_is_told_from_end_to_end() {
    let (source, target) = (directory(), directory());
    let content = single(source.path(), 24 << 20, "1M", "http://127.0.0.1:9/announce");
    let length = content.length as f64;
    let seed = engine();
    add(&seed.handle(), &content, source.path(), Vec::new());
    until_seeding(&seed.handle());
    until_at_least(&seed, "ringseed_disk_read_bytes_total{purpose=\"verify\"}", length);
    drop_from_memory(&source.path().join(&content.name));

    let leech = engine();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, seed.handle().listen_port()));
    add(&leech.handle(), &content, target.path(), vec![address]);
    until_seeding(&leech.handle());
    let page = until_at_least(&seed, "ringseed_payload_bytes_total{direction=\"sent\"}", length);

    // Every piece was cold once, and nothing was read twice.
    let read = value(&page, "ringseed_disk_read_bytes_total{purpose=\"serve\"}");
    assert!((length..=length * 1.1).contains(&read), "{read} bytes were read to send {length}");
    assert!(value(&page, "ringseed_shard_cold_pieces_total{shard=\"0\"}") >= 1.0);
    let (sends, blocks) = (
        value(&page, "ringseed_shard_sends_total{shard=\"0\"}"),
        value(&page, "ringseed_shard_sent_blocks_total{shard=\"0\"}"),
    );
    assert!(blocks >= length / 16384.0 && sends > 0.0 && sends <= blocks, "{sends} sends of {blocks} blocks");

    // Each turn is in the histogram, in one of its buckets, and so are wake-ups that came late.
    let turns = value(&page, "ringseed_shard_turns_total{shard=\"0\"}");
    let delays = value(&page, "ringseed_shard_loop_delay_seconds_count{shard=\"0\"}");
    assert!(turns > 0.0 && delays >= turns - 1.0, "{delays} delays of {turns} turns");
    assert!(delays <= turns * 2.0, "{delays} delays of {turns} turns");
    let last = value(&page, "ringseed_shard_loop_delay_seconds_bucket{shard=\"0\",le=\"+Inf\"}");
    assert_eq!(last, delays);
    let busy = value(&page, "ringseed_shard_busy_seconds_total{shard=\"0\"}");
    assert!(busy > 0.0 && busy <= value(&page, "ringseed_shard_loop_delay_seconds_sum{shard=\"0\"}"));

    let page = until_at_least(&leech, "ringseed_disk_written_bytes_total", length);
    assert_eq!(value(&page, "ringseed_disk_written_bytes_total"), length);
    assert_eq!(value(&page, "ringseed_hashed_bytes_total{purpose=\"download\"}"), length);
    for (engine, direction) in [(&leech, "received"), (&seed, "sent")] {
        // What shards tell is a moment younger than what the disks did.
        let page = until_at_least(engine, "ringseed_handshakes_total{result=\"done\"}", 1.0);
        assert_eq!(value(&page, "ringseed_handshakes_total{result=\"done\"}"), 1.0);
        // Each block has a header of 13 bytes; requests and haves are in it as well.
        let name = format!("ringseed_protocol_bytes_total{{direction=\"{direction}\"}}");
        let protocol = value(&until_at_least(engine, &name, length / 16384.0 * 13.0), &name);
        assert!(protocol < length / 100.0, "{protocol} bytes of protocol");
    }
    leech.stop();
    seed.stop();
    assert_same(&content, target.path());
}

/// Peers that say nothing, something else, or what nobody wants.
#[test]
fn connections_and_handshakes_are_told_by_their_state_and_end() {
    let dir = directory();
    let content = single(dir.path(), 1 << 20, "64K", "http://127.0.0.1:9/announce");
    let seed = engine();
    add(&seed.handle(), &content, dir.path(), Vec::new());
    until_seeding(&seed.handle());
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, seed.handle().listen_port())).unwrap();
    let ended = |result: &str| format!("ringseed_handshakes_total{{result=\"{result}\"}}");
    const HANDSHAKING: &str = "ringseed_connections_by_state{state=\"handshaking\"}";
    let silent = connect();
    until_at_least(&seed, HANDSHAKING, 1.0);
    // More than a key of an encryption handshake with its padding.
    connect().write_all(&[0x55; 700]).unwrap();
    until_at_least(&seed, &ended("invalid"), 1.0);
    let stranger = [b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".as_slice(), &[7; 40]].concat();
    connect().write_all(&stranger).unwrap();
    until_at_least(&seed, &ended("refused"), 1.0);
    drop(silent);
    let page = until_at_least(&seed, &ended("closed"), 1.0);
    for (result, count) in [("done", 0.0), ("invalid", 1.0), ("refused", 1.0), ("late", 0.0), ("closed", 1.0)]
    {
        assert_eq!(value(&page, &ended(result)), count, "{result}");
    }
    support::until("no connection", || (value(&scrape(&seed), HANDSHAKING) == 0.0).then_some(()));
    assert_eq!(value(&page, "ringseed_storage_errors_total"), 0.0);
    // A file that is gone while it is served is an error of storage.
    let hash: Vec<u8> =
        (0..20).map(|byte| u8::from_str_radix(&content.info_hash[2 * byte..][..2], 16).unwrap()).collect();
    let mut peer = connect();
    let hello =
        [b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".as_slice(), &hash, b"-XX0000-abcdefghijkl"].concat();
    peer.write_all(&hello).unwrap();
    peer.write_all(&[0, 0, 0, 1, 2]).unwrap();
    peer.write_all(&[0, 0, 0, 13, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0]).unwrap();
    until_at_least(&seed, "ringseed_payload_bytes_total{direction=\"sent\"}", 16384.0);
    assert_eq!(value(&scrape(&seed), "ringseed_connections_by_state{state=\"active\"}"), 1.0);
    std::fs::remove_file(dir.path().join(&content.name)).unwrap();
    until_at_least(&seed, "ringseed_storage_errors_total", 1.0);
    seed.stop();
}
