//! Two engines in one process: transfers without any other program.

use ringseed::Engine;
use ringseed::config::{EngineConfig, ListenPort};
use ringseed::control::{AddTorrent, EngineHandle, TorrentState};
use ringseed_proto::metainfo::Metainfo;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[path = "support/mod.rs"]
mod support;
use support::content::{Content, assert_same, single};

fn config(shards: usize) -> EngineConfig {
    EngineConfig {
        listen_port: ListenPort::Exact(0),
        listen_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        shards: Some(shards),
        pin: false,
        ..EngineConfig::default()
    }
}

fn load(content: &Content) -> Arc<Metainfo> {
    Arc::new(Metainfo::parse(&std::fs::read(&content.torrent).unwrap()).unwrap())
}

fn wait(handle: &EngineHandle, what: &str, mut done: impl FnMut(&TorrentState) -> bool) {
    let start = Instant::now();
    loop {
        let snapshot = handle.snapshot();
        if let Some(torrent) = snapshot.torrents.first()
            && done(&torrent.state)
        {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "no {what}: {:?}",
            snapshot.torrents.iter().map(|t| (&t.state, t.downloaded, &t.peers)).collect::<Vec<_>>()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn add(handle: &EngineHandle, metainfo: &Arc<Metainfo>, dir: &Path, peers: Vec<SocketAddr>) {
    let torrent =
        AddTorrent { data_dir: Some(dir.to_path_buf()), peers, ..AddTorrent::new(metainfo.clone()) };
    block_on(handle.add(torrent)).unwrap();
}

fn transfer(shards_of_seed: usize, shards_of_leech: usize) {
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    let content = single(source.path(), 50_000_000, "256K", "http://127.0.0.1:9/announce");
    let metainfo = load(&content);
    let seed = Engine::start(config(shards_of_seed)).unwrap();
    add(&seed.handle(), &metainfo, source.path(), Vec::new());
    wait(&seed.handle(), "seed", |state| *state == TorrentState::Seeding);
    let leech = Engine::start(config(shards_of_leech)).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, seed.handle().listen_port()));
    add(&leech.handle(), &metainfo, target.path(), vec![address]);
    wait(&leech.handle(), "complete download", |state| *state == TorrentState::Seeding);
    leech.stop();
    seed.stop();
    assert_same(&content, target.path());
}

#[test]
fn one_shard_downloads_from_one_shard() {
    transfer(1, 1);
}

#[test]
fn connections_find_their_home_among_three_shards() {
    transfer(3, 3);
}
