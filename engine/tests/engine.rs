//! Two engines in one process: transfers without any other program.

use ringseed::Engine;
use ringseed::config::EngineConfig;
use ringseed_handle::{AddTorrent, EngineHandle, TorrentState};
use ringseed_proto::metainfo::Metainfo;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[path = "support/mod.rs"]
mod support;
use support::content::{assert_same, single};
use support::engines::{self, block_on, load};

fn config(shards: usize) -> EngineConfig {
    EngineConfig { shards: Some(shards), ..engines::config() }
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

#[test]
fn pause_resume_and_remove_while_a_transfer_runs() {
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    let content = single(source.path(), 64 << 20, "256K", "http://127.0.0.1:9/announce");
    let metainfo = load(&content);
    let seed = Engine::start(EngineConfig { upload_rate_max: Some(16 << 20), ..config(1) }).unwrap();
    add(&seed.handle(), &metainfo, source.path(), Vec::new());
    wait(&seed.handle(), "seed", |state| *state == TorrentState::Seeding);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, seed.handle().listen_port()));
    let leech = Engine::start(config(2)).unwrap();
    let handle = leech.handle();
    add(&handle, &metainfo, target.path(), vec![address]);
    let received = |handle: &EngineHandle| handle.snapshot().torrents.first().map_or(0, |t| t.downloaded);
    support::until("the first bytes", || (received(&handle) > 1 << 20).then_some(()));

    block_on(handle.pause(metainfo.id())).unwrap();
    support::until("the connections to close", || (handle.snapshot().connections == 0).then_some(()));
    let paused_at = received(&handle);
    wait(&handle, "pause", |state| *state == TorrentState::Paused);
    assert!(paused_at < content.length, "paused too late to tell anything");

    block_on(handle.resume(metainfo.id())).unwrap();
    block_on(handle.add_peers(metainfo.id(), vec![address])).unwrap();
    support::until("more bytes", || (received(&handle) > paused_at).then_some(()));

    block_on(handle.remove(metainfo.id())).unwrap();
    support::until("the torrent to go", || handle.snapshot().torrents.is_empty().then_some(()));
    assert!(target.path().join(&content.name).exists(), "the data stays");

    // Added again, what is on disk counts, and the rest comes.
    support::until("the torrent to be taken again", || {
        let torrent = AddTorrent {
            data_dir: Some(target.path().to_path_buf()),
            peers: vec![address],
            ..AddTorrent::new(metainfo.clone())
        };
        block_on(handle.add(torrent)).ok()
    });
    wait(&handle, "complete download", |state| *state == TorrentState::Seeding);
    let again = received(&handle);
    assert!(again < content.length, "what was there was fetched again: {again}");
    let started = Instant::now();
    leech.stop();
    seed.stop();
    assert!(started.elapsed() < Duration::from_secs(10), "two stops within their bound of 5 s");
    assert_same(&content, target.path());
}

/// A check that a pause ended had told nothing: resuming began a download over files that were all there.
#[test]
fn a_check_that_was_paused_is_done_again() {
    let source = tempfile::tempdir().unwrap();
    let content = single(source.path(), 300 << 20, "256K", "http://127.0.0.1:9/announce");
    let metainfo = load(&content);
    let engine = Engine::start(config(1)).unwrap();
    let handle = engine.handle();
    for _ in 0..3 {
        add(&handle, &metainfo, source.path(), Vec::new());
        block_on(handle.resume(metainfo.id())).unwrap();
        block_on(handle.pause(metainfo.id())).unwrap();
    }
    wait(&handle, "pause", |state| *state == TorrentState::Paused);
    block_on(handle.resume(metainfo.id())).unwrap();
    wait(&handle, "seed", |state| *state == TorrentState::Seeding);
    engine.stop();
}
