//! Engines in the process of the test, which other machines do not see.

use super::content::Content;
use super::until;
use ringseed::Engine;
use ringseed::config::{EngineConfig, ListenPort};
use ringseed_handle::{AddTorrent, EngineHandle, TorrentStatus};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// One shard that listens on loopback, on a free port, and keeps nothing.
pub fn config() -> EngineConfig {
    EngineConfig {
        listen_port: ListenPort::Exact(0),
        listen_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        shards: Some(1),
        pin: false,
        ..EngineConfig::default()
    }
}

/// [`config`] with its state in a directory.
pub fn stored(state: &Path) -> EngineConfig {
    EngineConfig { state_dir: Some(state.to_path_buf()), ..config() }
}

/// Starts an engine and waits until all torrents of its store are listed.
pub fn start(config: EngineConfig) -> Engine {
    let engine = Engine::start(config).unwrap();
    until("the session", || engine.handle().snapshot().ready.then_some(()));
    engine
}

/// Where peers reach it.
pub fn address(engine: &Engine) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, engine.handle().listen_port()))
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub fn load(content: &Content) -> Arc<Metainfo> {
    Arc::new(Metainfo::parse(&std::fs::read(&content.torrent).unwrap()).unwrap())
}

/// Adds a torrent whose data is in `dir`, or comes there from `peers`.
pub fn add(handle: &EngineHandle, content: &Content, dir: &Path, peers: Vec<SocketAddr>) -> TorrentId {
    let metainfo = load(content);
    let info_hash = metainfo.id();
    let torrent = AddTorrent { data_dir: Some(dir.to_path_buf()), peers, ..AddTorrent::new(metainfo) };
    block_on(handle.add(torrent)).unwrap();
    info_hash
}

/// What is told of a torrent, when it is listed.
pub fn status(handle: &EngineHandle, torrent: TorrentId) -> Option<Arc<TorrentStatus>> {
    handle.snapshot().torrents.iter().find(|status| status.torrent_id() == torrent).cloned()
}

/// Waits until a torrent is as wanted.
pub fn wait_for(
    handle: &EngineHandle,
    torrent: TorrentId,
    what: &str,
    mut done: impl FnMut(&TorrentStatus) -> bool,
) -> Arc<TorrentStatus> {
    until(what, || status(handle, torrent).filter(|status| done(status)))
}

/// Waits until the only torrent is as wanted.
pub fn wait(
    handle: &EngineHandle,
    what: &str,
    mut done: impl FnMut(&TorrentStatus) -> bool,
) -> Arc<TorrentStatus> {
    until(what, || handle.snapshot().torrents.first().filter(|status| done(status)).cloned())
}
