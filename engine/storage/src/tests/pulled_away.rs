//! Files that are truncated, deleted, replaced or changed while they are being served. The process must not die
//! of SIGBUS, the error must name the file, and other files must go on.

use super::*;
use crate::Residency;
use std::fs;

/// Two files of four pieces each.
fn two_files(config: &StoreConfig) -> Sample {
    let sample = Sample::with(65536, vec![file("s/victim", 4 * 65536), file("s/other", 4 * 65536)], config);
    sample.put_files();
    sample
}

const VICTIM: PieceIndex = PieceIndex(2);
const OTHER: PieceIndex = PieceIndex(6);

async fn serves(sample: &Sample, store: &TorrentStore, shard: &Driven, piece: PieceIndex) {
    let mut list = SendList::new();
    store.push_block(&sample.whole(piece), &mut list).unwrap();
    assert!(shard.send(list).await.unwrap() == sample.piece_data(piece));
}

/// What must hold once the victim has failed with `error`.
async fn failed_alone(sample: &Sample, store: &TorrentStore, shard: &Driven, error: &StorageError) {
    assert_eq!(error.path(), Some(sample.path(0).as_path()));
    let mut list = SendList::new();
    assert_eq!(store.push_block(&sample.whole(VICTIM), &mut list), Err(error.clone()));
    assert!(list.is_empty());
    assert_eq!(store.failures(), [(0, error.clone())]);
    assert!(store.bring_in(&shard.ring, &sample.whole(VICTIM)).await.is_err());
    serves(sample, store, shard, OTHER).await;
}

#[test]
fn truncated_between_gathering_and_sending() {
    let sample = two_files(&StoreConfig::default());
    let store = sample.open();
    on_shard(async |shard| {
        serves(&sample, &store, shard, VICTIM).await;
        let block = sample.whole(VICTIM);
        let mut list = SendList::new();
        list.push_bytes(b"head");
        store.push_block(&block, &mut list).unwrap();
        fs::OpenOptions::new().write(true).open(sample.path(0)).unwrap().set_len(1000).unwrap();
        let error = shard.send(list).await.expect_err("the pages are gone");
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
        let error = store.check_in_use().remove(0);
        assert!(matches!(error, StorageError::Truncated { expected: 262_144, found: 1000, .. }), "{error}");
        failed_alone(&sample, &store, shard, &error).await;
    });
}

#[test]
fn truncated_before_it_is_brought_in() {
    for ring_read_always in [false, true] {
        let sample = two_files(&StoreConfig { ring_read_always, ..StoreConfig::default() });
        let store = sample.open();
        on_shard(async |shard| {
            // In use already, by another piece.
            store.bring_in(&shard.ring, &sample.whole(PieceIndex(0))).await.unwrap();
            serves(&sample, &store, shard, PieceIndex(0)).await;
            fs::OpenOptions::new().write(true).open(sample.path(0)).unwrap().set_len(70_000).unwrap();
            let error = store.bring_in(&shard.ring, &sample.whole(VICTIM)).await.unwrap_err();
            assert!(matches!(error, StorageError::Truncated { found: 70_000, .. }), "{error}");
            store.bring_in(&shard.ring, &sample.whole(OTHER)).await.unwrap();
            assert_eq!(store.failures(), [(0, error)]);
            serves(&sample, &store, shard, OTHER).await;
        });
    }
}

#[test]
fn missing_or_short_from_the_start() {
    for ring_read_always in [false, true] {
        let sample = two_files(&StoreConfig { ring_read_always, ..StoreConfig::default() });
        fs::remove_file(sample.path(0)).unwrap();
        fs::OpenOptions::new().write(true).open(sample.path(1)).unwrap().set_len(5).unwrap();
        let store = sample.open();
        on_shard(async |shard| {
            // Not "cold", which would have the caller bring it in for ever.
            assert!(ring_read_always || store.residency(&sample.whole(VICTIM)) == Residency::Resident);
            let error = store.bring_in(&shard.ring, &sample.whole(VICTIM)).await.unwrap_err();
            assert_eq!(error, StorageError::NotFound { path: sample.path(0) });
            let error = store.bring_in(&shard.ring, &sample.whole(OTHER)).await.unwrap_err();
            assert!(matches!(error, StorageError::Truncated { expected: 262_144, found: 5, .. }), "{error}");
        });
    }
}

fn notices(change: impl FnOnce(&Path), is_expected: impl FnOnce(&StorageError) -> bool) {
    let sample = two_files(&StoreConfig::default());
    let store = sample.open();
    on_shard(async |shard| {
        serves(&sample, &store, shard, VICTIM).await;
        serves(&sample, &store, shard, OTHER).await;
        assert_eq!(store.check_in_use(), []);
        // Gathered before the change, sent after it: whatever comes of it, nobody dies.
        let mut list = SendList::new();
        store.push_block(&sample.whole(VICTIM), &mut list).unwrap();
        change(&sample.path(0));
        let _ = shard.send(list).await;
        let found = store.check_in_use();
        let [error] = found.as_slice() else { panic!("{found:?}") };
        assert!(is_expected(error), "{error}");
        failed_alone(&sample, &store, shard, error).await;
        assert_eq!(store.check_in_use(), []);

        // Put right again by the user, who then resumes the torrent.
        let _ = fs::remove_dir(sample.path(0));
        fs::write(sample.path(0), sample.file_data(0)).unwrap();
        store.forgive();
        serves(&sample, &store, shard, VICTIM).await;
    });
}

#[test]
fn truncation_is_noticed() {
    notices(
        |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap(),
        |error| matches!(error, StorageError::Truncated { found: 0, .. }),
    );
}

#[test]
fn deletion_is_noticed() {
    notices(|path| fs::remove_file(path).unwrap(), |error| matches!(error, StorageError::NotFound { .. }));
}

#[test]
fn replacement_is_noticed() {
    notices(
        |path| {
            let new = path.with_extension("new");
            fs::write(&new, noise(4 * 65536, 99)).unwrap();
            fs::rename(new, path).unwrap();
        },
        |error| matches!(error, StorageError::Replaced { .. }),
    );
}

#[test]
fn replacement_by_a_directory_is_noticed() {
    notices(
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        |error| matches!(error, StorageError::Replaced { .. }),
    );
}

#[test]
fn foreign_writing_is_noticed() {
    notices(
        |path| {
            use std::os::unix::fs::FileExt;
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(b"other", 10).unwrap();
            // Clocks of file systems are coarse; the write may have got the same time as the file.
            file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(5)).unwrap();
        },
        |error| matches!(error, StorageError::Changed { .. }),
    );
}

#[test]
fn our_own_writing_is_not_foreign() {
    let sample = two_files(&StoreConfig::default());
    let store = sample.open();
    on_shard(async |shard| {
        serves(&sample, &store, shard, VICTIM).await;
        for way in [WritePath::Cached, WritePath::PastCache, WritePath::Cached] {
            store.write_piece(&shard.ring, VICTIM, sample.piece_buf(VICTIM), way).await.unwrap();
            assert_eq!(store.check_in_use(), []);
        }
        store.sync_dirty(&shard.ring).await.unwrap();
        assert_eq!(store.check_in_use(), []);
    });
}
