//! The resume store on real files, killed and damaged.

use super::*;
use std::time::{Duration, SystemTime};

fn record(seed: u8) -> TorrentRecord {
    let mut have = Bitfield::new(100);
    (0..u32::from(seed) % 100).for_each(|piece| _ = have.set(piece));
    TorrentRecord {
        state: if seed.is_multiple_of(2) { RunState::Paused } else { RunState::Running },
        have,
        uploaded: u64::MAX - u64::from(seed),
        downloaded: 12345,
        added_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        finished_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_001)),
        settings: TorrentSettings {
            labels: vec!["ü".into()],
            ratio_mode: ShareLimitMode::Own,
            ratio: 1.5,
            ..TorrentSettings::default()
        },
        sequential: true,
        upload_limit: SpeedLimit { rate: 1 << 40, on: true },
        download_limit: SpeedLimit { rate: 5000, on: false },
        clean_shutdown: true,
        stamps: vec![FileStamp { size: 7, modified_ns: -3 }, FileStamp::default()],
        ..TorrentRecord::new(TorrentId([seed; 20]), vec![seed; 5000], "/data/ü".into(), 100)
    }
}

fn store(directory: &tempfile::TempDir) -> ResumeStore {
    ResumeStore::open(&directory.path().join("state/resume.redb")).unwrap()
}

#[test]
fn everything_comes_back_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let mut records: Vec<_> = (1..50).map(record).collect();
    {
        let store = store(&directory);
        assert!(store.load_all().unwrap().records.is_empty());
        for record in &records {
            store.put(record).unwrap();
        }
        assert!(store.remove(records[3].torrent_id).unwrap());
        assert!(!store.remove(records[3].torrent_id).unwrap());
        records.remove(3);
        // A replaced record, and one of which only the settings change.
        records[0].settings.ratio_mode = ShareLimitMode::Never;
        records[0].metainfo = b"other".to_vec();
        store.put(&records[0]).unwrap();
        records[1].state = RunState::Paused;
        store.set_settings(&records[1]).unwrap();
    }
    let loaded = store(&directory).load_all().unwrap();
    assert!(loaded.damaged.is_empty());
    assert_eq!(loaded.records, records);
}

#[test]
fn directories_need_not_be_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let directory = tempfile::tempdir().unwrap();
    let data_dir: PathBuf = std::ffi::OsString::from_vec(b"/data/\xff\xfe".to_vec()).into();
    let settings = TorrentSettings {
        move_when_done: Some(data_dir.clone()),
        file_work: Some(FileWork::Move(data_dir.clone())),
        ..TorrentSettings::default()
    };
    let record = TorrentRecord { data_dir, settings, ..record(1) };
    let store = store(&directory);
    store.put(&record).unwrap();
    assert_eq!(store.load_all().unwrap().records, std::slice::from_ref(&record));
    store.set_settings(&record).unwrap();
    // As earlier versions wrote it.
    let old: TorrentSettings =
        serde_json::from_str(r#"{"move_when_done":"/a","file_work":{"move":"/b"}}"#).unwrap();
    assert_eq!(old.move_when_done, Some("/a".into()));
    assert_eq!(old.file_work, Some(FileWork::Move("/b".into())));
}

#[test]
fn progress_of_many_is_one_transaction_and_does_not_bring_back_the_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let (a, b) = (record(1), record(2));
    store.put(&a).unwrap();
    store.put(&b).unwrap();
    store.remove(b.torrent_id).unwrap();
    let full = Bitfield::full(100);
    let stamps = [FileStamp { size: 1, modified_ns: 2 }];
    let update =
        |torrent_id, stamps| PieceUpdate { torrent_id, have: &full, uploaded: 5, downloaded: 6, stamps };
    store.set_pieces(&[update(b.torrent_id, None), update(a.torrent_id, Some(&stamps))]).unwrap();
    store.set_pieces(&[]).unwrap();
    let loaded = store.load_all().unwrap();
    let want = TorrentRecord { have: full, uploaded: 5, downloaded: 6, stamps: stamps.to_vec(), ..a };
    assert_eq!(loaded.records, [want]);
    assert!(loaded.damaged.is_empty());
}

#[test]
fn a_second_process_is_told_that_the_file_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let _first = store(&directory);
    let second = ResumeStore::open(&directory.path().join("state/resume.redb"));
    assert!(matches!(second, Err(ResumeError::InUse { .. })), "{second:?}");
}

#[test]
fn something_else_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resume.redb");
    for content in [b"not a database".to_vec(), vec![0xa5; 100_000]] {
        std::fs::write(&path, &content).unwrap();
        let error = ResumeStore::open(&path).unwrap_err();
        assert!(matches!(error, ResumeError::Damaged { .. }), "{error:?}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()) && error.to_string().contains("move it away")
        );
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
    let aside = ResumeStore::set_aside(&path).unwrap();
    assert!(aside.exists() && !path.exists());
    std::fs::write(&path, b"again").unwrap();
    assert_ne!(ResumeStore::set_aside(&path).unwrap(), aside);
    ResumeStore::open(&path).unwrap();
}

/// A flipped byte anywhere: the file opens with the right content, or is said to be damaged. Never a panic,
/// never other content.
#[test]
fn damage_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let records: Vec<_> = (1..20).map(record).collect();
    {
        let store = store(&directory);
        records.iter().for_each(|record| store.put(record).unwrap());
    }
    let path = directory.path().join("state/resume.redb");
    let good = std::fs::read(&path).unwrap();
    let mut found = 0;
    for at in (0..good.len()).step_by(good.len() / 400) {
        let mut bad = good.clone();
        bad[at] ^= 0x5a;
        std::fs::write(&path, &bad).unwrap();
        match ResumeStore::open(&path).and_then(|store| store.load_all()) {
            Ok(loaded) => {
                assert_eq!(loaded.records, records, "byte {at}");
                assert!(loaded.damaged.is_empty());
            }
            Err(ResumeError::Damaged { .. }) => found += 1,
            Err(other) => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(found > 0);
    for length in [good.len() / 2, 5000, 100, 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        let error = ResumeStore::open(&path).and_then(|store| store.load_all()).unwrap_err();
        assert!(matches!(error, ResumeError::Damaged { .. }), "{length} bytes: {error:?}");
    }
}

#[test]
fn a_newer_form_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    store
        .change(|transaction| {
            transaction.open_table(VERSION)?.insert("version", 99)?;
            Ok(())
        })
        .unwrap();
    drop(store);
    let error = ResumeStore::open(&directory.path().join("state/resume.redb")).unwrap_err();
    assert!(matches!(error, ResumeError::TooNew { found: 99, .. }));
}

#[test]
fn one_bad_record_does_not_hide_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    (1..5).for_each(|seed| store.put(&record(seed)).unwrap());
    store
        .change(|transaction| {
            transaction.open_table(SETTINGS)?.insert([2; 20], b"{".as_slice())?;
            transaction.open_table(PIECES)?.insert([3; 20], b"short".as_slice())?;
            transaction.open_table(METAINFO)?.remove([4; 20])?;
            Ok(())
        })
        .unwrap();
    let loaded = store.load_all().unwrap();
    assert_eq!(loaded.records, [record(1)]);
    let damaged: Vec<_> = loaded.damaged.iter().map(|damaged| damaged.torrent_id.0[0]).collect();
    assert_eq!(damaged, [2, 3, 4]);
}

/// Settings of an earlier version have fewer fields, those of a later one more.
#[test]
fn settings_of_other_versions_are_read() {
    let mut settings: record::Settings =
        serde_json::from_str(r#"{"data_dir":"/d","state":"paused","seed_ratio":1.5,"new_thing":[1]}"#)
            .unwrap();
    assert_eq!((settings.state, settings.added_at), (RunState::Paused, 0));
    let settings = settings.settings();
    assert_eq!((settings.ratio_mode, settings.ratio), (ShareLimitMode::Own, 1.5));
}
