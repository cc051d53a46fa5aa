//! Downloads of some files only, and what happens with them when they are complete.

#[path = "support/mod.rs"]
mod support;

use ringseed_handle::{AddTorrent, EngineChange, FilePriority, TorrentChange, TorrentSettings, TorrentState};
use ringseed_proto::metainfo::Metainfo;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use support::content::{assert_same, multi};
use support::engines::{self, block_on, wait};

#[test]
fn wanted_files_are_fetched_then_moved_and_the_others_when_they_are_wanted() {
    let [source, first, last] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let content = multi(source.path(), "64K", "http://127.0.0.1:9/announce");
    let metainfo = Arc::new(Metainfo::parse(&fs::read(&content.torrent).unwrap()).unwrap());
    let hash = metainfo.id();
    let seed = engines::start(engines::config());
    let torrent = AddTorrent { data_dir: Some(content.dir.clone()), ..AddTorrent::new(metainfo.clone()) };
    block_on(seed.handle().add(torrent)).unwrap();
    wait(&seed.handle(), "the seed", |status| status.state == TorrentState::Seeding);

    let leech = engines::start(engines::config());
    let handle = leech.handle();
    let incomplete = first.path().to_path_buf();
    let settings = move |settings: &mut ringseed_handle::SessionSettings| {
        settings.incomplete_dir = Some(incomplete.clone());
        settings.incomplete_dir_on = true;
    };
    block_on(
        handle.change_engine(EngineChange { settings: Some(Arc::new(settings)), ..EngineChange::default() }),
    )
    .unwrap();
    let skipped = metainfo.info.layout.files.iter().position(|file| file.length == 5_000_000).unwrap();
    let mut settings = TorrentSettings::default();
    settings.set_files(metainfo.info.layout.files.len(), &[skipped], |file: &mut FilePriority| {
        file.wanted = false
    });
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, seed.handle().listen_port()));
    let torrent = AddTorrent {
        data_dir: Some(last.path().to_path_buf()),
        settings,
        peers: vec![peer],
        ..AddTorrent::new(metainfo.clone())
    };
    block_on(handle.add(torrent)).unwrap();
    let status = wait(&handle, "the wanted files", |status| {
        status.state == TorrentState::Seeding && status.data_dir == last.path()
    });
    assert_eq!((status.left, status.wanted), (0, content.length - 5_000_000));
    assert!(status.downloaded < content.length - 4_000_000, "{} bytes came", status.downloaded);
    assert_eq!(fs::read_dir(first.path()).unwrap().count(), 0, "something stayed behind");
    let wanted = metainfo.info.layout.files.iter().enumerate().filter(|(index, _)| *index != skipped);
    for (_, file) in wanted {
        let bytes = |dir: &std::path::Path| fs::read(dir.join(&file.path)).unwrap();
        assert_eq!(bytes(&content.dir), bytes(last.path()), "{}", file.path.display());
    }

    let all = |settings: &mut TorrentSettings, _: &_| settings.files.clear();
    let change = TorrentChange { settings: Some(Arc::new(all)), ..TorrentChange::default() };
    block_on(handle.change_torrent(hash, change)).unwrap();
    wait(&handle, "all files", |status| status.left == 0 && status.wanted == content.length);
    leech.stop();
    seed.stop();
    assert_same(&content, last.path());
}
