//! A store that is damaged, empty or without room, and what is kept beside it.

use super::super::tests::Mounted;
use super::*;
use ringseed_proto::metainfo::Metainfo;
use std::path::Path;

/// A torrent of one piece, whose file says what its info-hash is.
fn torrent(number: u8) -> TorrentRecord {
    let mut metainfo = b"d4:infod6:lengthi1000e4:name2:".to_vec();
    metainfo.extend_from_slice(format!("t{}", number % 10).as_bytes());
    metainfo.extend_from_slice(b"12:piece lengthi16384e6:pieces20:");
    metainfo.extend_from_slice(&[number; 20]);
    metainfo.extend_from_slice(b"ee");
    let torrent_id = Metainfo::parse(&metainfo).unwrap().id();
    TorrentRecord {
        have: Bitfield::full(1),
        state: if number.is_multiple_of(2) { RunState::Paused } else { RunState::Running },
        uploaded: 5_000_000,
        settings: TorrentSettings {
            labels: vec![format!("label {number}")],
            queue: 3,
            ..TorrentSettings::default()
        },
        stamps: vec![FileStamp { size: 1000, modified_ns: 7 }],
        added_at: record::time(1_700_000_000),
        ..TorrentRecord::new(torrent_id, metainfo, format!("/data/{number}").into(), 1)
    }
}

/// What of a torrent comes back without the store: everything but its pieces.
fn without_pieces(record: &TorrentRecord) -> TorrentRecord {
    TorrentRecord { have: Bitfield::new(1), stamps: Vec::new(), ..record.clone() }
}

/// Writes what is to be beside the store, as the thread does that is there for it.
fn write_beside(store: &ResumeStore) {
    store.note_session_beside();
    store.stop_beside();
    store.keep_beside();
}

fn filled(path: &Path, count: u8) -> Vec<TorrentRecord> {
    let (store, rebuilt) = ResumeStore::open_or_rebuild(path).unwrap();
    assert!(rebuilt.is_none());
    let mut records: Vec<_> = (0..count).map(torrent).collect();
    store.put_all(&records).unwrap();
    store.put_session(&SessionSettings { ratio: 7.0, ..SessionSettings::default() }).unwrap();
    write_beside(&store);
    records.sort_by_key(|record| record.torrent_id.0);
    records
}

/// One bad page lost all torrents.
#[test]
fn torrents_come_back_from_beside_a_damaged_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resume.redb");
    let records = filled(&path, 20);
    let good = std::fs::read(&path).unwrap();
    let mut found = 0;
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[at] ^= 0x5a;
        std::fs::write(&path, &bad).unwrap();
        let (store, rebuilt) = ResumeStore::open_or_rebuild(&path).unwrap();
        let loaded = store.load_all().unwrap();
        assert_eq!(store.session().unwrap().ratio, 7.0);
        match rebuilt {
            None => assert_eq!(loaded.records, records, "byte {at}"),
            Some(rebuilt) => {
                found += 1;
                let expected: Vec<_> = records.iter().map(without_pieces).collect();
                assert_eq!(loaded.records, expected, "byte {at}");
                assert_eq!((rebuilt.torrents, rebuilt.unusable.len()), (20, 0));
                assert_eq!(std::fs::read(rebuilt.aside.unwrap()).unwrap(), bad, "the damaged file is kept");
            }
        }
    }
    assert!(found > 0);
}

#[test]
fn an_empty_store_among_torrents_is_filled_again_without_the_removed_ones() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resume.redb");
    let records = filled(&path, 5);
    ResumeStore::open(&path).unwrap().remove(records[2].torrent_id).unwrap();
    std::fs::remove_file(&path).unwrap();
    // One of which a part is missing is told of, and does not keep the others back.
    let lost = records[4].torrent_id;
    std::fs::remove_file(directory.path().join(format!("torrents/{lost}.torrent"))).unwrap();
    let (store, rebuilt) = ResumeStore::open_or_rebuild(&path).unwrap();
    let rebuilt = rebuilt.unwrap();
    assert_eq!((rebuilt.damage, rebuilt.torrents), (None, 3));
    assert!(rebuilt.unusable[0].to_string().contains(&lost.to_string()), "{:?}", rebuilt.unusable);
    let expected: Vec<_> = [0, 1, 3].map(|number| without_pieces(&records[number])).into();
    assert_eq!(store.load_all().unwrap().records, expected);
}

#[test]
fn a_damaged_store_with_nothing_beside_it_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resume.redb");
    std::fs::write(&path, b"not a database").unwrap();
    let error = ResumeStore::open_or_rebuild(&path).unwrap_err();
    assert!(matches!(error, ResumeError::Damaged { .. }), "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"not a database");
}

#[test]
fn what_is_beside_the_store_is_written_when_it_changes_and_not_for_progress() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resume.redb");
    let records = filled(&path, 1);
    let beside = directory.path().join(format!("torrents/{}.json", records[0].torrent_id));
    let store = ResumeStore::open(&path).unwrap();
    let id = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&beside).unwrap());
    let first = id();
    let later = TorrentSettings { seconds_seeding: 99, active_at: 5, ..records[0].settings.clone() };
    store.set_settings(&TorrentRecord { settings: later, ..records[0].clone() }).unwrap();
    write_beside(&store);
    assert_eq!(id(), first, "times that run on are not worth a write");
    store.set_settings(&TorrentRecord { sequential: true, ..records[0].clone() }).unwrap();
    write_beside(&store);
    assert_ne!(id(), first);
    assert!(store.record_beside(records[0].torrent_id).unwrap().sequential);
}

/// After one moment without room every operation failed until a restart, with the advice to move the file away.
#[test]
fn a_store_that_found_no_room_is_opened_again() {
    let Some(disk) = Mounted::tmpfs("size=64m") else {
        eprintln!("SKIPPED: a full state disk needs the right to mount a tmpfs");
        return;
    };
    let path = disk.path().join("resume.redb");
    let store = ResumeStore::open(&path).unwrap();
    store.put(&torrent(1)).unwrap();
    let filler = disk.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    // Its room comes back only when nobody has it open.
    drop(file);
    let large = TorrentRecord { metainfo: vec![1; 4 << 20], ..torrent(2) };
    let error = store.put(&large).unwrap_err();
    assert!(matches!(error, ResumeError::DiskFull { .. }), "{error:?}");
    // The reason stays the true one.
    for _ in 0..2 {
        let error = store.put(&torrent(3)).unwrap_err();
        assert!(matches!(error, ResumeError::Closed { .. }), "{error:?}");
        assert!(error.to_string().contains("no space left"), "{error}");
        assert!(store.reopen().is_err(), "there is still no room");
    }
    std::fs::remove_file(&filler).unwrap();
    assert!(store.reopen().unwrap().is_none());
    store.put(&torrent(3)).unwrap();
    let mut expected = vec![torrent(1), torrent(3)];
    expected.sort_by_key(|record| record.torrent_id.0);
    assert_eq!(store.load_all().unwrap().records, expected);
}

/// What was removed while the file was closed was removed beside it only, and so was lost when the file turned out to be
/// damaged.
#[test]
fn nothing_is_removed_beside_a_closed_store() {
    let Some(disk) = Mounted::tmpfs("size=64m") else {
        eprintln!("SKIPPED: a full state disk needs the right to mount a tmpfs");
        return;
    };
    let path = disk.path().join("resume.redb");
    let records = filled(&path, 3);
    let store = ResumeStore::open(&path).unwrap();
    let filler = disk.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    drop(file);
    store.put(&TorrentRecord { metainfo: vec![1; 4 << 20], ..torrent(9) }).unwrap_err();
    let error = store.remove(records[0].torrent_id).unwrap_err();
    assert!(matches!(error, ResumeError::Closed { .. }), "{error:?}");
    // The file is damaged meanwhile, and there is no room for a new one at first.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"not a database", 0).unwrap();
    drop(file);
    for _ in 0..3 {
        let error = store.reopen().unwrap_err();
        assert!(matches!(error, ResumeError::DiskFull { .. }), "{error:?}");
    }
    std::fs::remove_file(&filler).unwrap();
    let rebuilt = store.reopen().unwrap().unwrap();
    assert_eq!((rebuilt.torrents, rebuilt.unusable.len()), (3, 0));
    let expected: Vec<_> = records.iter().map(without_pieces).collect();
    assert_eq!(store.load_all().unwrap().records, expected);
    let aside = |number: u32| disk.path().join(format!("resume.redb.damaged-{number}")).exists();
    assert!(aside(1) && !aside(2), "each attempt has set aside a file");
    let unknown = TorrentId([7; 20]);
    assert_eq!(store.lacking([records[1].torrent_id, unknown].into_iter()).unwrap(), [unknown]);
}

/// A store that was being made anew when the power failed had some torrents, so the others never came back.
#[test]
fn a_store_that_was_half_made_anew_is_made_anew_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resume.redb");
    let records = filled(&path, 5);
    std::fs::remove_file(&path).unwrap();
    let half = ResumeStore::open(&path).unwrap();
    half.put(&without_pieces(&records[1])).unwrap();
    half.change(|transaction| Ok(_ = transaction.open_table(VERSION)?.insert("rebuilding", 1)?)).unwrap();
    drop(half);
    let expected: Vec<_> = records.iter().map(without_pieces).collect();
    let (store, rebuilt) = ResumeStore::open_or_rebuild(&path).unwrap();
    assert_eq!(rebuilt.unwrap().torrents, 5);
    assert_eq!(store.load_all().unwrap().records, expected);
    assert_eq!(store.session().unwrap().ratio, 7.0);
    drop(store);
    let (store, rebuilt) = ResumeStore::open_or_rebuild(&path).unwrap();
    assert!(rebuilt.is_none(), "it is whole: {rebuilt:?}");
    assert_eq!(store.load_all().unwrap().records, expected);
}

/// What could not be removed beside the store stayed there for ever, and came back with the next store made anew.
#[test]
fn a_removed_torrent_does_not_stay_beside_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resume.redb");
    let records = filled(&path, 3);
    let store = ResumeStore::open(&path).unwrap();
    let removed = records[1].torrent_id;
    // As it is when nothing can be deleted beside it.
    store.change(|transaction| Ok(_ = transaction.open_table(METAINFO)?.remove(removed.0)?)).unwrap();
    store.change(|transaction| Ok(_ = transaction.open_table(SETTINGS)?.remove(removed.0)?)).unwrap();
    let damaged = directory.path().join(format!("torrents/{}.torrent", TorrentId([7; 20])));
    std::fs::write(&damaged, b"no torrent").unwrap();
    assert!(store.record_beside(removed).is_ok());
    write_beside(&store);
    store.record_beside(removed).unwrap_err();
    assert!(damaged.exists(), "what cannot come back is left to whoever can use it");
    for kept in [0, 2] {
        assert_eq!(store.record_beside(records[kept].torrent_id).unwrap(), without_pieces(&records[kept]));
    }
}
