//! Commands over lists of torrents: stored at once, answered once, and done for all torrents but those that they fail for.

#[path = "support/mod.rs"]
mod support;

use ringseed::Engine;
use ringseed::config::EngineConfig;
use ringseed_handle::{
    AddOutcome, AddTorrent, EngineError, EngineHandle, FileWork, TorrentChange, TorrentCommand, TorrentState,
};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use ringseed_storage::{ResumeStore, RunState, TorrentRecord};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use support::engines::{self, block_on};
use support::until;

/// More than are started before an answer.
const COUNT: u32 = 100;

fn start(state: &Path) -> Engine {
    engines::start(EngineConfig { shards: Some(2), ..engines::stored(state) })
}

/// A torrent of one small file that is nowhere.
fn torrent(number: u32, data: &Path) -> AddTorrent {
    let head = format!("d6:lengthi5e4:name8:{number:08}12:piece lengthi16384e6:pieces20:");
    let info = [head.as_bytes(), &[7; 20], b"e"].concat();
    let metainfo = Arc::new(Metainfo::from_info_bytes(&info).unwrap());
    AddTorrent { data_dir: Some(data.to_path_buf()), ..AddTorrent::new(metainfo) }
}

fn add_all(handle: &EngineHandle, data: &Path) -> Vec<TorrentId> {
    (0..COUNT)
        .map(|number| {
            let torrent = torrent(number, data);
            let info_hash = torrent.metainfo.id();
            assert!(matches!(block_on(handle.add(torrent)), Ok(AddOutcome::Added(_))));
            info_hash
        })
        .collect()
}

/// What a kill at this moment would leave in the store.
fn stored(state: &Path) -> Vec<TorrentRecord> {
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("resume.redb");
    // One that is copied while a transaction goes on may be neither the old nor the new one.
    until("a whole copy", || {
        fs::copy(state.join("resume.redb"), &path).unwrap();
        Some(ResumeStore::open(&path).ok()?.load_all().ok()?.records)
    })
}

#[test]
fn a_list_is_stored_when_it_is_answered_and_one_that_is_unknown_does_not_keep_the_others() {
    let [state, data] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let engine = start(state.path());
    let handle = engine.handle();
    let torrents = add_all(&handle, data.path());
    let unknown = TorrentId([9; 20]);
    // One is named twice.
    let list = [&[unknown, torrents[0]], &torrents[..]].concat();
    let command = |command| block_on(handle.command(list.clone(), command)).unwrap();
    let states = || -> Vec<_> { handle.snapshot().torrents.iter().map(|t| t.state.clone()).collect() };
    let only_unknown = |failures: ringseed_handle::Failures| {
        let failed: Vec<_> = failures.iter().map(|(torrent, _)| *torrent).collect();
        failed == [unknown]
            && failures
                .iter()
                .all(|(_, why)| matches!(why, EngineError::UnknownTorrent(torrent) if *torrent == unknown))
    };

    assert!(only_unknown(command(TorrentCommand::Pause)));
    assert!(states().iter().all(|state| *state == TorrentState::Paused));
    let kept = stored(state.path());
    assert_eq!(kept.len(), COUNT as usize);
    assert!(kept.iter().all(|record| record.state == RunState::Paused));

    let change = TorrentChange {
        settings: Some(Arc::new(|settings, metainfo| settings.labels = vec![metainfo.info.name.clone()])),
        ..TorrentChange::default()
    };
    assert!(only_unknown(command(TorrentCommand::Change(change))));
    let labels = |record: &TorrentRecord| record.settings.labels.clone();
    let mut kept: Vec<_> = stored(state.path()).iter().flat_map(labels).collect();
    kept.sort_unstable();
    assert_eq!(kept, (0..COUNT).map(|number| format!("{number:08}")).collect::<Vec<_>>());

    assert!(only_unknown(command(TorrentCommand::Resume { now: false })));
    assert!(states().iter().all(|state| *state == TorrentState::Downloading));
    assert!(stored(state.path()).iter().all(|record| record.state == RunState::Running));

    // What comes before they had their turn holds.
    command(TorrentCommand::Pause);
    command(TorrentCommand::Resume { now: false });
    assert!(only_unknown(command(TorrentCommand::Pause)));
    assert!(states().iter().all(|state| *state == TorrentState::Paused));
    command(TorrentCommand::Resume { now: false });

    assert!(only_unknown(command(TorrentCommand::Remove { delete: false })));
    assert!(handle.snapshot().torrents.is_empty(), "answered when all are gone");
    assert!(stored(state.path()).is_empty());
    engine.stop();
}

#[test]
fn a_torrent_that_cannot_be_moved_is_named_and_the_others_are() {
    let [state, data, to] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let engine = start(state.path());
    let handle = engine.handle();
    let torrents = add_all(&handle, data.path());
    // Another torrent has a file of other content where the third would have its own.
    let other = {
        let info = b"d6:lengthi6e4:name8:0000000212:piece lengthi16384e6:pieces20:88888888888888888888e";
        let metainfo = Arc::new(Metainfo::from_info_bytes(info).unwrap());
        AddTorrent { data_dir: Some(to.path().into()), paused: true, ..AddTorrent::new(metainfo) }
    };
    block_on(handle.add(other)).unwrap();
    let work = TorrentCommand::Handle(FileWork::Move(to.path().into()));
    let failures = block_on(handle.command(torrents.clone(), work)).unwrap();
    let failed: Vec<_> = failures.iter().map(|(torrent, _)| *torrent).collect();
    assert_eq!(failed, [torrents[2]]);
    let why = failures.of_list(torrents.len()).unwrap_err().to_string();
    assert!(why.starts_with(&format!("1 of {COUNT} torrents failed: {}: ", torrents[2])), "{why}");
    until("the others", || {
        let snapshot = handle.snapshot();
        let moved = |torrent: &TorrentId| snapshot.torrents.find(torrent).unwrap().data_dir == to.path();
        torrents.iter().all(|torrent| moved(torrent) == (*torrent != torrents[2])).then_some(())
    });
    engine.stop();
}

#[test]
fn torrents_that_are_added_at_once_are_all_added_once() {
    let [state, data] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let engine = start(state.path());
    let handle = engine.handle();
    // Directories that are made, and each torrent twice.
    let adds = (0..2 * COUNT).map(|number| {
        let torrent = torrent(number / 2, &data.path().join((number % 6 / 2).to_string()));
        let handle = handle.clone();
        async move { (torrent.metainfo.id(), handle.add(torrent).await.unwrap()) }
    });
    let outcomes = block_on(async {
        let mut all = tokio::task::JoinSet::new();
        adds.for_each(|add| _ = all.spawn(add));
        all.join_all().await
    });
    let snapshot = handle.snapshot();
    assert_eq!(snapshot.torrents.len(), COUNT as usize);
    for (info_hash, outcome) in &outcomes {
        let (AddOutcome::Added(id) | AddOutcome::Duplicate(id)) = outcome;
        assert_eq!(snapshot.torrents.find(info_hash).unwrap().id, *id);
    }
    let added = outcomes.iter().filter(|(_, outcome)| matches!(outcome, AddOutcome::Added(_)));
    assert_eq!(added.count(), COUNT as usize);
    assert_eq!(stored(state.path()).len(), COUNT as usize);
    engine.stop();
}

#[test]
fn that_a_torrent_was_started_over_its_queue_is_stored_with_the_start_and_forgotten_with_the_pause() {
    let [state, data] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let engine = start(state.path());
    let handle = engine.handle();
    let torrents = add_all(&handle, data.path())[..3].to_vec();
    let forced = || {
        let records = stored(state.path());
        let mine = records.iter().filter(|record| torrents.contains(&record.torrent_id));
        mine.filter(|record| record.settings.forced).count()
    };
    block_on(handle.command(torrents.clone(), TorrentCommand::Resume { now: true })).unwrap();
    assert_eq!(forced(), 3);
    block_on(handle.command(torrents.clone(), TorrentCommand::Pause)).unwrap();
    assert_eq!(forced(), 0);
}
