//! Torrents of the resume store whose data is not where it was when the engine starts.

#[path = "support/mod.rs"]
mod support;

use ringseed::Engine;
use ringseed_handle::{AddTorrent, EngineHandle, Found, TorrentChange, TorrentState, TorrentStatus};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use support::content::{Content, assert_same, multi, single};
use support::engines::{self, block_on, wait_for as wait};
use support::until;

fn start(state: &Path) -> Engine {
    engines::start(engines::stored(state))
}

/// Adds a torrent whose data is there.
fn add(handle: &EngineHandle, content: &Content) -> TorrentId {
    let info_hash = engines::add(handle, content, &content.dir, Vec::new());
    wait(handle, info_hash, "seed", |status| status.state == TorrentState::Seeding);
    info_hash
}

/// What the user is told of a torrent whose data is missing.
fn reason(status: &TorrentStatus) -> Option<&str> {
    match &status.state {
        TorrentState::Missing(reason) => Some(reason),
        _ => None,
    }
}

/// A torrent whose directory was missing at start was logged, and absent from every list until a restart.
#[test]
fn a_torrent_whose_directory_is_missing_at_start_is_listed_with_the_error_and_comes_back() {
    let [disk, other, state] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let mounted = disk.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let content = multi(&mounted, "64K", "http://127.0.0.1:9/announce");
    let beside = single(other.path(), 1 << 20, "64K", "http://127.0.0.1:9/announce");
    let engine = start(state.path());
    let (torrent, neighbour) = (add(&engine.handle(), &content), add(&engine.handle(), &beside));
    engine.stop();

    let away = disk.path().join("away");
    fs::rename(&mounted, &away).unwrap();
    for attempt in 0..2 {
        let engine = start(state.path());
        let handle = engine.handle();
        wait(&handle, neighbour, "the neighbour to seed", |status| status.state == TorrentState::Seeding);
        let failed = wait(&handle, torrent, "the failure", |status| reason(status).is_some());
        let why = reason(&failed).unwrap();
        assert!(why.contains(mounted.to_str().unwrap()) && why.contains("does not exist"), "{why}");
        assert_eq!(failed.data_dir, mounted);
        assert_eq!((failed.left, failed.finished_at.is_some()), (0, true), "what was known of it is shown");

        // Neither wish helps while the directory is missing, and neither makes one up.
        block_on(handle.resume(torrent)).unwrap();
        assert!(reason(&wait(&handle, torrent, "the failure", |_| true)).is_some());
        block_on(handle.verify(torrent)).unwrap();
        assert!(reason(&wait(&handle, torrent, "the failure", |_| true)).is_some());
        assert!(!mounted.exists());
        if attempt == 1 {
            fs::rename(&away, &mounted).unwrap();
            block_on(handle.resume(torrent)).unwrap();
            wait(&handle, torrent, "the seed", |status| status.state == TorrentState::Seeding);
        }
        // The first time it is left as it failed: the next start finds it again.
        engine.stop();
    }

    // By itself, when the directory is there at the start; after a pause, by a verification.
    let engine = start(state.path());
    let handle = engine.handle();
    wait(&handle, torrent, "the seed", |status| status.state == TorrentState::Seeding);
    block_on(handle.pause(torrent)).unwrap();
    wait(&handle, torrent, "the pause", |status| status.state == TorrentState::Paused);
    engine.stop();
    fs::rename(&mounted, &away).unwrap();
    let engine = start(state.path());
    let handle = engine.handle();
    wait(&handle, torrent, "the pause", |status| status.state == TorrentState::Paused);
    block_on(handle.verify(torrent)).unwrap();
    wait(&handle, torrent, "the failure", |status| reason(status).is_some());
    fs::rename(&away, &mounted).unwrap();
    block_on(handle.verify(torrent)).unwrap();
    wait(&handle, torrent, "the check", |status| status.state == TorrentState::Paused && status.left == 0);
    block_on(handle.remove(torrent)).unwrap();
    until("the removal", || (handle.snapshot().torrents.len() == 1).then_some(()));
    engine.stop();
    assert_same(&content, &mounted);
}

/// A mount point without its disk: the directory is there, and all files are not. It was announced with everything
/// left, and fetched again.
#[test]
fn files_that_are_gone_at_the_start_are_missing_and_not_fetched_before_the_user_says_so() {
    let [disk, state] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (here, away) = (disk.path().join("here"), disk.path().join("away"));
    for path in [&here, &away] {
        fs::create_dir(path).unwrap();
    }
    let tracker = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    tracker.set_nonblocking(true).unwrap();
    let announces = || std::iter::from_fn(|| tracker.accept().ok()).count();
    let url = format!("http://{}/announce", tracker.local_addr().unwrap());
    let content = multi(&here, "64K", &url);
    let [data, moved] = [&here, &away].map(|path| path.join(&content.name));
    let engine = start(state.path());
    let torrent = add(&engine.handle(), &content);
    until("the first announce", || (announces() > 0).then_some(()));
    engine.stop();
    announces();

    fs::rename(&data, &moved).unwrap();
    let engine = start(state.path());
    let handle = engine.handle();
    for attempt in 0..2 {
        let missing = wait(&handle, torrent, "the state", |status| reason(status).is_some());
        let why = reason(&missing).unwrap();
        assert!(why.starts_with("No data found") && why.contains(here.to_str().unwrap()), "{why}");
        assert!(missing.have.is_full() && missing.left == 0, "what was known of it is shown");
        // Looks again, and finds the same.
        if attempt == 0 {
            block_on(handle.resume(torrent)).unwrap();
        }
    }
    assert!(!data.exists() && announces() == 0);
    fs::rename(&moved, &data).unwrap();
    block_on(handle.resume(torrent)).unwrap();
    wait(&handle, torrent, "the seed", |status| status.state == TorrentState::Seeding);

    // Paused, it stays so until somebody wants it to run; and it is known over restarts what there was.
    block_on(handle.pause(torrent)).unwrap();
    wait(&handle, torrent, "the pause", |status| status.state == TorrentState::Paused);
    engine.stop();
    fs::rename(&data, &moved).unwrap();
    for _ in 0..2 {
        let engine = start(state.path());
        let handle = engine.handle();
        wait(&handle, torrent, "the pause", |status| {
            status.state == TorrentState::Paused && status.left == 0
        });
        engine.stop();
    }
    let engine = start(state.path());
    let handle = engine.handle();
    block_on(handle.resume(torrent)).unwrap();
    wait(&handle, torrent, "the state", |status| reason(status).is_some());
    engine.stop();

    // The user says so.
    let engine = start(state.path());
    let handle = engine.handle();
    wait(&handle, torrent, "the state", |status| reason(status).is_some());
    block_on(handle.verify(torrent)).unwrap();
    wait(&handle, torrent, "the download", |status| {
        status.state == TorrentState::Downloading && status.left == content.length
    });
    engine.stop();
}

/// Only those that are gone: nobody else's decision either.
#[test]
fn one_file_of_several_that_is_gone_stops_the_torrent_too() {
    let [disk, state] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let content = multi(disk.path(), "64K", "http://127.0.0.1:9/announce");
    let engine = start(state.path());
    let torrent = add(&engine.handle(), &content);
    engine.stop();
    let file = disk.path().join(&content.name).join("z last.bin");
    let aside = disk.path().join("aside");
    fs::rename(&file, &aside).unwrap();
    let engine = start(state.path());
    let handle = engine.handle();
    let missing = wait(&handle, torrent, "the state", |status| reason(status).is_some());
    let why = reason(&missing).unwrap();
    assert!(why.starts_with("1 of 4 files are missing") && why.contains("z last.bin"), "{why}");
    assert!(missing.have.is_full());
    // Something else comes in its place: it is hashed before anything is served.
    fs::write(&file, "not it").unwrap();
    block_on(handle.resume(torrent)).unwrap();
    let after = wait(&handle, torrent, "the download", |status| status.state == TorrentState::Downloading);
    assert!(after.left >= 5_000_000, "{}", after.left);
    engine.stop();
}

/// A file system in memory, unmounted when dropped; `None` where this user may not mount.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(options: &str) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", options, "ringseed-test"]).arg(dir.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// One moment of a full state disk made every command fail until a restart, while a pause took effect all the same.
#[test]
fn a_full_state_disk_is_told_and_got_over() {
    let Some(disk) = SmallDisk::new("size=64m") else {
        eprintln!("SKIPPED: a full state disk needs the right to mount a tmpfs");
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let content = single(data.path(), 1 << 20, "64K", "http://127.0.0.1:9/announce");
    let engine = start(disk.0.path());
    let handle = engine.handle();
    let torrent = add(&handle, &content);

    let filler = disk.0.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    // Its room comes back only when nobody has it open.
    drop(file);
    let label = |label: String| TorrentChange {
        settings: Some(Arc::new(move |settings, _| settings.labels = vec![label.clone()])),
        ..TorrentChange::default()
    };
    let error = block_on(handle.change_torrent(torrent, label("x".repeat(6 << 20)))).unwrap_err();
    assert!(error.to_string().contains("no space left"), "{error}");
    let labels = wait(&handle, torrent, "it", |_| true).settings.labels.clone();
    assert!(labels.is_empty(), "what was not stored does not hold");
    let trouble = handle.snapshot().store_trouble.clone().expect("a trouble");
    assert!(trouble.contains("no space left"), "{trouble}");
    let error = block_on(handle.pause(torrent)).unwrap_err();
    assert!(error.to_string().contains("no space left"), "{error}");
    // What becomes known meanwhile is stored later.
    block_on(handle.verify(torrent)).unwrap();
    wait(&handle, torrent, "seed", |status| status.state == TorrentState::Seeding);

    fs::remove_file(&filler).unwrap();
    until("the store", || handle.snapshot().store_trouble.is_none().then_some(()));
    block_on(handle.change_torrent(torrent, label("kept".into()))).unwrap();
    block_on(handle.pause(torrent)).unwrap();
    wait(&handle, torrent, "the pause", |status| status.state == TorrentState::Paused);
    engine.stop();
    let engine = start(disk.0.path());
    let status = wait(&engine.handle(), torrent, "it", |_| true);
    assert_eq!((&status.state, status.have.is_full()), (&TorrentState::Paused, true));
    assert_eq!(status.settings.labels, ["kept"]);
    engine.stop();
}

/// What became complete while nothing could be stored stayed where it was until the next start.
#[test]
fn what_is_complete_while_the_state_disk_is_full_is_moved_afterwards() {
    let Some(disk) = SmallDisk::new("size=64m") else {
        eprintln!("SKIPPED: a full state disk needs the right to mount a tmpfs");
        return;
    };
    let [data, last] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let content = single(data.path(), 1 << 20, "64K", "http://127.0.0.1:9/announce");
    let path = content.dir.join(&content.name);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let engine = start(disk.0.path());
    let handle = engine.handle();
    let metainfo = Arc::new(Metainfo::parse(&fs::read(&content.torrent).unwrap()).unwrap());
    let torrent = metainfo.id();
    let found = Found { dir: Some(content.dir.clone()), ..Found::default() };
    let data_dir = Some(last.path().to_path_buf());
    block_on(handle.add(AddTorrent { data_dir, found: Some(found), ..AddTorrent::new(metainfo) })).unwrap();
    wait(&handle, torrent, "half of it", |status| {
        status.state == TorrentState::Downloading && status.have.count_ones() > 0
    });
    block_on(handle.pause(torrent)).unwrap();
    wait(&handle, torrent, "the pause", |status| status.state == TorrentState::Paused);

    let filler = disk.0.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    drop(file);
    let label = TorrentChange {
        settings: Some(Arc::new(|settings, _| settings.labels = vec!["x".repeat(6 << 20)])),
        ..TorrentChange::default()
    };
    block_on(handle.change_torrent(torrent, label)).unwrap_err();
    fs::write(&path, &whole).unwrap();
    block_on(handle.verify(torrent)).unwrap();
    let status = wait(&handle, torrent, "all of it", |status| {
        status.state == TorrentState::Paused && status.have.is_full()
    });
    assert_eq!(status.data_dir, content.dir);
    assert!(status.warning.is_some(), "it says why it is not moved");

    fs::remove_file(&filler).unwrap();
    wait(&handle, torrent, "the move", |status| {
        status.data_dir == last.path() && status.state == TorrentState::Paused && status.warning.is_none()
    });
    engine.stop();
    assert!(fs::read(last.path().join(&content.name)).unwrap() == whole);
    let engine = start(disk.0.path());
    let status = wait(&engine.handle(), torrent, "it", |_| true);
    assert_eq!((&status.state, status.have.is_full()), (&TorrentState::Paused, true));
    assert_eq!(status.data_dir, last.path());
    engine.stop();
}

/// A store that was made anew while the engine ran lacked what was not whole beside it; that torrent was lost at the next
/// start.
#[test]
fn a_store_that_is_made_anew_gets_all_running_torrents() {
    let Some(disk) = SmallDisk::new("size=64m") else {
        eprintln!("SKIPPED: a full state disk needs the right to mount a tmpfs");
        return;
    };
    let [data, other] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let content = single(data.path(), 1 << 20, "64K", "http://127.0.0.1:9/announce");
    let lost = multi(other.path(), "64K", "http://127.0.0.1:9/announce");
    let engine = start(disk.0.path());
    let handle = engine.handle();
    let (torrent, lost) = (add(&handle, &content), add(&handle, &lost));
    let beside = |info_hash: TorrentId| disk.0.path().join(format!("torrents/{info_hash}.json"));
    until("what is beside it", || (beside(torrent).exists() && beside(lost).exists()).then_some(()));

    let filler = disk.0.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    drop(file);
    let label = TorrentChange {
        settings: Some(Arc::new(|settings, _| settings.labels = vec!["x".repeat(6 << 20)])),
        ..TorrentChange::default()
    };
    block_on(handle.change_torrent(torrent, label)).unwrap_err();
    block_on(handle.remove(torrent)).expect_err("nothing is removed of a store that is closed");
    let path = disk.0.path().join("resume.redb");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"not a database", 0).unwrap();
    fs::remove_file(beside(lost)).unwrap();
    drop(file);
    fs::remove_file(&filler).unwrap();
    until("the store", || handle.snapshot().store_trouble.is_none().then_some(()));
    engine.stop();
    assert!(disk.0.path().join("resume.redb.damaged-1").exists());

    let engine = start(disk.0.path());
    for torrent in [torrent, lost] {
        wait(&engine.handle(), torrent, "seed", |status| status.state == TorrentState::Seeding);
    }
    engine.stop();
}

/// One bad page of the resume store lost all torrents.
#[test]
fn torrents_survive_a_damaged_store() {
    let [state, data, other] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let content = multi(data.path(), "64K", "http://127.0.0.1:9/announce");
    let beside = single(other.path(), 1 << 20, "64K", "http://127.0.0.1:9/announce");
    let engine = start(state.path());
    let (first, second) = (add(&engine.handle(), &content), add(&engine.handle(), &beside));
    let label = TorrentChange {
        settings: Some(Arc::new(|settings, _| settings.labels = vec!["kept".into()])),
        ..TorrentChange::default()
    };
    block_on(engine.handle().change_torrent(first, label)).unwrap();
    block_on(engine.handle().pause(second)).unwrap();
    wait(&engine.handle(), second, "the pause", |status| status.state == TorrentState::Paused);
    engine.stop();

    let path = state.path().join("resume.redb");
    let mut bytes = fs::read(&path).unwrap();
    bytes.iter_mut().skip(4096).step_by(64).for_each(|byte| *byte ^= 0x5a);
    fs::write(&path, bytes).unwrap();
    let engine = start(state.path());
    let status = wait(&engine.handle(), first, "seed", |status| status.state == TorrentState::Seeding);
    assert_eq!((&status.data_dir, &status.settings.labels[..]), (&content.dir, &["kept".to_owned()][..]));
    let status = wait(&engine.handle(), second, "it", |_| true);
    assert_eq!(status.state, TorrentState::Paused);
    block_on(engine.handle().resume(second)).unwrap();
    wait(&engine.handle(), second, "seed", |status| status.state == TorrentState::Seeding);
    engine.stop();
    assert!(state.path().join("resume.redb.damaged-1").exists());
}

fn label(label: &str) -> TorrentChange {
    let label = label.to_owned();
    TorrentChange {
        settings: Some(Arc::new(move |settings, _| settings.labels = vec![label.clone()])),
        ..TorrentChange::default()
    }
}

/// It was stored as running while it was hashed and when that failed, and began to run at the next start.
#[test]
fn a_paused_torrent_that_is_hashed_stays_paused() {
    let [disk, state] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let content = single(disk.path(), 32 << 20, "16K", "http://127.0.0.1:9/announce");
    let metainfo = Arc::new(Metainfo::parse(&fs::read(&content.torrent).unwrap()).unwrap());
    let torrent = metainfo.id();
    let data = content.dir.join(&content.name);
    for round in 0..4 {
        let engine = start(state.path());
        let handle = engine.handle();
        if round == 0 {
            let add = AddTorrent {
                data_dir: Some(content.dir.clone()),
                paused: true,
                ..AddTorrent::new(metainfo.clone())
            };
            block_on(handle.add(add)).unwrap();
        } else {
            let status = wait(&handle, torrent, "the torrent", |_| true);
            assert_eq!(status.state, TorrentState::Paused, "round {round}");
            block_on(handle.verify(torrent)).unwrap();
        }
        // What is stored in between is all of its settings.
        block_on(handle.change_torrent(torrent, label("being hashed"))).unwrap();
        engine.stop();
    }
    let aside = disk.path().join("aside");
    fs::rename(&data, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &data).unwrap();
    let engine = start(state.path());
    let handle = engine.handle();
    block_on(handle.verify(torrent)).unwrap();
    let failed = wait(&handle, torrent, "the end", |status| status.warning.is_some());
    assert_eq!(failed.state, TorrentState::Paused);
    assert!(failed.warning.as_ref().unwrap().contains("symbolic link"), "{:?}", failed.warning);
    engine.stop();
    let engine = start(state.path());
    wait(&engine.handle(), torrent, "the torrent", |status| status.state == TorrentState::Paused);
    engine.stop();
}
