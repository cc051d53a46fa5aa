//! Disks that are full or read-only. Needs the right to mount; says so and passes where there is none.

use super::*;
use crate::Allocation;

fn skipped(what: &str) {
    eprintln!("skipped: {what} needs the right to mount a tmpfs");
}

fn fills_a_small_disk(allocation: Allocation) {
    let Some(disk) = Mounted::tmpfs("size=1m") else { return skipped("a full disk") };
    let config = StoreConfig { allocation, ..StoreConfig::default() };
    let sample = Sample::with(65536, vec![file("s/first", 262_144), file("s/second", 4 << 20)], &config);
    let store = TorrentStore::open(disk.path(), Arc::clone(&sample.info), &sample.limits).unwrap();
    on_shard(async |shard| {
        let error = sample.write_all(&store, &shard.ring).await.unwrap_err();
        let path = disk.path().join("s/second");
        assert_eq!(error, StorageError::DiskFull { path });
        assert!(error.to_string().contains("free some space"));
        // It is an ordinary error: what was written is served and synced, and nothing has failed for good.
        assert_eq!(store.failures(), []);
        store.sync_dirty(&shard.ring).await.unwrap();
        for piece in [PieceIndex(0), PieceIndex(3)] {
            store.bring_in(&shard.ring, &sample.whole(piece)).await.unwrap();
            let mut list = SendList::new();
            store.push_block(&sample.whole(piece), &mut list).unwrap();
            assert!(shard.send(list).await.unwrap() == sample.piece_data(piece));
        }
        // With space again it goes on.
        assert!(mount(&["-o", "remount,size=8m"], disk.path()));
        sample.write_all(&store, &shard.ring).await.unwrap();
        store.sync_dirty(&shard.ring).await.unwrap();
    });
    assert!(std::fs::read(disk.path().join("s/second")).unwrap() == sample.file_data(1));
}

#[test]
fn a_full_disk_is_an_ordinary_error_when_space_is_reserved() {
    fills_a_small_disk(Allocation::Full);
}

#[test]
fn a_full_disk_is_an_ordinary_error_when_files_are_sparse() {
    fills_a_small_disk(Allocation::Sparse);
}

#[test]
fn a_failed_reservation_gives_back_what_it_took() {
    let Some(disk) = Mounted::tmpfs("size=1m") else { return skipped("a full disk") };
    let sample = Sample::new(65536, vec![file("s/large", 4 << 20)]);
    let store = TorrentStore::open(disk.path(), Arc::clone(&sample.info), &sample.limits).unwrap();
    on_shard(async |shard| {
        assert!(matches!(sample.write_all(&store, &shard.ring).await, Err(StorageError::DiskFull { .. })));
    });
    assert_eq!(std::fs::metadata(disk.path().join("s/large")).unwrap().len(), 0);
    std::fs::write(disk.path().join("fits"), vec![0; 900_000]).unwrap();
}

#[test]
fn a_read_only_disk_is_named_and_still_served_from() {
    let Some(disk) = Mounted::tmpfs("size=1m") else { return skipped("a read-only disk") };
    let sample = Sample::new(65536, vec![file("s/x", 200_000), file("s/y", 100_000)]);
    std::fs::create_dir(disk.path().join("s")).unwrap();
    std::fs::write(disk.path().join("s/x"), sample.file_data(0)).unwrap();
    disk.make_read_only();
    let open = || TorrentStore::open(disk.path(), Arc::clone(&sample.info), &sample.limits).unwrap();
    on_shard(async |shard| {
        let store = open();
        for (piece, name) in [(PieceIndex(0), "s/x"), (PieceIndex(4), "s/y")] {
            let error = store
                .write_piece(&shard.ring, piece, sample.piece_buf(piece), WritePath::Cached)
                .await
                .unwrap_err();
            assert_eq!(error, StorageError::ReadOnly { path: disk.path().join(name) });
        }
        let store = open();
        store.bring_in(&shard.ring, &sample.whole(PieceIndex(1))).await.unwrap();
        let mut list = SendList::new();
        store.push_block(&sample.whole(PieceIndex(1)), &mut list).unwrap();
        assert!(shard.send(list).await.unwrap() == sample.piece_data(PieceIndex(1)));
    });
}

/// A disk with room for bytes and none for files was said to be full.
#[test]
fn a_disk_without_inodes_is_not_said_to_be_full() {
    let Some(disk) = Mounted::tmpfs("size=4m,nr_inodes=4") else { return skipped("a disk without inodes") };
    let files = (0..4).map(|number| file(format!("s/{number}"), 65536)).collect();
    let sample = Sample::new(65536, files);
    let store = TorrentStore::open(disk.path(), Arc::clone(&sample.info), &sample.limits).unwrap();
    on_shard(async |shard| {
        let error = sample.write_all(&store, &shard.ring).await.unwrap_err();
        assert!(matches!(error, StorageError::NoInodes { .. }), "{error}");
        assert!(error.to_string().contains("no inodes"), "{error}");
        assert_eq!(store.failures(), [], "it passes when files are deleted");
    });
}
