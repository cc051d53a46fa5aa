//! Resume stores that earlier versions have written: each is opened, and all that was in it is there.
//!
//! `write_a_store` has made them, with the version of that day. A version that stores something new adds one.

#[path = "support/mod.rs"]
mod support;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use ringseed_handle::{
    AddTorrent, Earlier, EngineChange, EngineHandle, FileWork, LimitChange, Rename, ShareLimitMode,
    TorrentChange, TorrentSettings, TorrentState, TorrentStatus,
};
use ringseed_proto::hashes::TorrentId;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use support::content::{Content, multi, single};
use support::engines::{block_on, load, start, stored, wait_for};

/// Where the data was when the stores were written; there is nothing.
const DATA: &str = "/srv/ringseed-older-stores";
const TRACKER: &str = "http://127.0.0.1:9/announce";
/// Bytes of the last file of the partial torrent, which was not there.
const LACKING: u64 = 5_000_000;

fn stores() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores")
}

/// A complete torrent, one of which a file is missing, and a paused one whose file has another name.
fn contents(below: &Path) -> [Content; 3] {
    let dir = |name: &str| {
        let dir = below.join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    };
    [
        single(&dir("whole"), 300_000, "64K", TRACKER),
        multi(&dir("partial"), "256K", TRACKER),
        single(&dir("paused"), 200_000, "64K", TRACKER),
    ]
}

fn wait(
    handle: &EngineHandle,
    content: &Content,
    what: &str,
    done: impl FnMut(&TorrentStatus) -> bool,
) -> Arc<TorrentStatus> {
    wait_for(handle, content.info_hash.parse().unwrap(), what, done)
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn earlier() -> Earlier {
    Earlier {
        uploaded: 700_000,
        downloaded: 300_000,
        added_at: Some(time(1_600_000_000)),
        finished_at: Some(time(1_600_000_500)),
        ..Earlier::default()
    }
}

fn settings_of_whole() -> TorrentSettings {
    TorrentSettings {
        labels: vec!["films".into(), "new".into()],
        category: "tv".into(),
        ratio_mode: ShareLimitMode::Own,
        ratio: 3.5,
        idle_mode: ShareLimitMode::Never,
        seed_minutes: Some(90),
        peer_limit: Some(33),
        tiers: Some(vec![vec![TRACKER.into()], vec!["udp://127.0.0.1:9".into()]]),
        ..TorrentSettings::default()
    }
}

fn limit(rate: u64, on: bool) -> LimitChange {
    LimitChange { rate: Some(rate), on: Some(on) }
}

#[test]
#[ignore = "writes a store for the other test, and needs the directory /srv"]
fn write_a_store() {
    let [whole, partial, paused] = contents(Path::new(DATA));
    fs::remove_file(partial.dir.join(&partial.name).join("z last.bin")).unwrap();
    let state = tempfile::tempdir().unwrap();
    let engine = start(stored(state.path()));
    let handle = engine.handle();
    let settings = Arc::new(|settings: &mut ringseed_handle::SessionSettings| {
        settings.download_dir = Some("/srv/downloads".into());
        settings.categories.insert("tv".into(), "/srv/tv".into());
        settings.tags = vec!["films".into()];
        settings.download_queue.value = 7;
    });
    let upload = limit(1_000_000, true);
    block_on(handle.change_engine(EngineChange {
        upload,
        settings: Some(settings),
        ..EngineChange::default()
    }))
    .unwrap();
    let add = |content: &Content, settings: TorrentSettings, paused: bool| AddTorrent {
        data_dir: Some(content.dir.clone()),
        settings,
        paused,
        ..AddTorrent::new(load(content))
    };
    block_on(handle.add(AddTorrent {
        earlier: earlier(),
        sequential: true,
        ..add(&whole, settings_of_whole(), false)
    }))
    .unwrap();
    let mut some = TorrentSettings::default();
    some.set_files(5, &[2], |file| file.priority = 1);
    some.set_files(5, &[3], |file| file.wanted = false);
    block_on(handle.add(add(&partial, some, false))).unwrap();
    block_on(handle.add(add(&paused, TorrentSettings::default(), true))).unwrap();
    wait(&handle, &whole, "the seed", |status| status.state == TorrentState::Seeding);
    wait(&handle, &partial, "the download", |status| status.state == TorrentState::Downloading);
    wait(&handle, &paused, "the check", |status| status.state == TorrentState::Paused && status.left == 0);
    let hash = |content: &Content| -> TorrentId { content.info_hash.parse().unwrap() };
    let limits = TorrentChange {
        upload: limit(70_000, true),
        download: limit(80_000, false),
        ..TorrentChange::default()
    };
    block_on(handle.change_torrent(hash(&whole), limits)).unwrap();
    let rename = Rename { from: paused.name.clone(), to: "renamed.bin".into() };
    block_on(handle.handle_files(hash(&paused), FileWork::Rename(rename))).unwrap();
    engine.stop();
    fs::remove_dir_all(DATA).unwrap();

    let store = fs::read(state.path().join("resume.redb")).unwrap();
    let path = stores().join("new.redb.gz");
    fs::create_dir_all(stores()).unwrap();
    let mut packed = GzEncoder::new(fs::File::create(&path).unwrap(), Compression::best());
    packed.write_all(&store).unwrap();
    packed.finish().unwrap();
    eprintln!("{} has {} bytes", path.display(), fs::metadata(&path).unwrap().len());
}

#[test]
fn a_store_of_an_earlier_version_is_opened_and_nothing_of_it_is_lost() {
    let mut opened = 0;
    for entry in fs::read_dir(stores()).unwrap() {
        let path = entry.unwrap().path();
        let mut store = Vec::new();
        GzDecoder::new(fs::File::open(&path).unwrap()).read_to_end(&mut store).unwrap();
        let [state, home] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
        fs::write(state.path().join("resume.redb"), store).unwrap();
        eprintln!("{}", path.display());
        look(state.path(), home.path());
        opened += 1;
    }
    assert!(opened > 0);
}

fn look(state: &Path, home: &Path) {
    let [whole, partial, paused] = contents(home);
    let now = |content: &Content| Path::new(DATA).join(content.dir.file_name().unwrap());
    let engine = start(stored(state));
    let handle = engine.handle();
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.torrents.len(), snapshot.limits.upload.effective()), (3, Some(1_000_000)));
    let settings = &snapshot.settings;
    assert_eq!(settings.download_dir.as_deref(), Some(Path::new("/srv/downloads")));
    assert_eq!((settings.categories["tv"].as_str(), settings.tags.join(",").as_str()), ("/srv/tv", "films"));
    assert_eq!(settings.download_queue.value, 7);

    let is_missing = |status: &TorrentStatus| matches!(status.state, TorrentState::Missing(_));
    let status = wait(&handle, &whole, "the whole one", is_missing);
    let wanted = TorrentSettings { queue: 1, was_whole: true, ..settings_of_whole() };
    let settings = TorrentSettings {
        seconds_downloading: 0,
        seconds_seeding: 0,
        active_at: 0,
        ..(*status.settings).clone()
    };
    assert_eq!(settings, wanted);
    assert_eq!((status.left, status.have.is_full(), &status.data_dir), (0, true, &now(&whole)));
    assert_eq!((status.uploaded, status.downloaded), (700_000, 300_000));
    assert_eq!((Some(status.added_at), status.finished_at), (earlier().added_at, earlier().finished_at));
    assert_eq!((status.upload_limit.rate, status.upload_limit.on, status.sequential), (70_000, true, true));
    assert_eq!((status.download_limit.rate, status.download_limit.on), (80_000, false));

    let status = wait(&handle, &partial, "the partial one", is_missing);
    let lacking = status.have.len() - status.have.count_ones();
    assert_eq!(u64::from(lacking), LACKING.div_ceil(256 << 10), "pieces");
    let files: Vec<_> =
        (0..5).map(|file| (status.settings.file(file).wanted, status.settings.file(file).priority)).collect();
    assert_eq!(files, [(true, 0), (true, 0), (true, 1), (false, 0), (true, 0)]);

    let status = wait(&handle, &paused, "the paused one", |status| status.state == TorrentState::Paused);
    assert_eq!(
        (status.left, &status.data_dir, status.metainfo.info.name.as_str()),
        (0, &now(&paused), "renamed.bin")
    );
    fs::rename(paused.dir.join(&paused.name), paused.dir.join("renamed.bin")).unwrap();

    // Where their data is now they go on.
    for content in [&whole, &partial, &paused] {
        let work = FileWork::Found(content.dir.clone());
        block_on(handle.handle_files(content.info_hash.parse().unwrap(), work)).unwrap();
        let at = |status: &TorrentStatus| status.data_dir == content.dir && status.left == 0;
        let done = match content.dir == paused.dir {
            true => TorrentState::Paused,
            false => TorrentState::Seeding,
        };
        wait(&handle, content, "its data", |status| at(status) && status.state == done);
    }
    engine.stop();
}
