//! Pieces onto disk: spans, space, dirty bytes and syncing.

use super::*;
use crate::{Allocation, Residency, SizeCheck};
use std::os::unix::fs::MetadataExt;

#[test]
fn pieces_in_any_order_make_the_files() {
    let sample = Sample::varied(&StoreConfig::default());
    let store = sample.open();
    on_shard(async |shard| {
        let mut order: Vec<_> = sample.pieces().collect();
        order.reverse();
        order.rotate_left(3);
        // Several at once, so that new files and folders are made by one and found by another.
        let writes: Vec<_> = order
            .into_iter()
            .map(|piece| {
                let (store, ring, data) = (Arc::clone(&store), shard.ring.clone(), sample.piece_buf(piece));
                glommio::spawn_local(
                    async move { store.write_piece(&ring, piece, data, WritePath::Cached).await },
                )
            })
            .collect();
        for write in writes {
            write.await.unwrap();
        }
        let stored: u64 =
            sample.info.layout.files.iter().filter(|entry| !entry.padding).map(|entry| entry.length).sum();
        assert_eq!(sample.limits.dirty().used(), stored);
        assert!(store.is_dirty());
        store.sync_dirty(&shard.ring).await.unwrap();
        assert_eq!(sample.limits.dirty().used(), 0);
        assert!(!store.is_dirty());
        let verified = store.verify(&shard.ring, once(0..u32::MAX), |_, _| (), || false).await.unwrap();
        assert_eq!((verified.bad, verified.unreadable), (0, None));
        store.create_empty_files(false).unwrap();
    });
    assert!(store.check_sizes().unwrap().iter().all(|check| *check == SizeCheck::Ok));
}

#[test]
fn large_pieces_are_written_and_served_in_parts() {
    let sample = Sample::new(4 << 20, vec![file("s/a", 5 << 20), file("s/b", (6 << 20) + 17)]);
    let store = sample.open();
    on_shard(async |shard| {
        sample.write_all(&store, &shard.ring).await.unwrap();
        for piece in sample.pieces() {
            store.bring_in(&shard.ring, &sample.whole(piece)).await.unwrap();
            let mut list = SendList::new();
            store.push_block(&sample.whole(piece), &mut list).unwrap();
            assert!(shard.send(list).await.unwrap() == sample.piece_data(piece));
        }
    });
    for index in 0..2 {
        assert!(std::fs::read(sample.path(index)).unwrap() == sample.file_data(index));
    }
}

#[test]
fn pieces_written_past_the_cache_are_right_and_leave_nothing_in_it() {
    // On a disk, for a file system in memory has nothing else than the page cache.
    let sample = Sample::new(1 << 20, vec![file("s/x", (5 << 20) + (512 << 10) + 5000)]);
    let store = sample.open();
    on_shard(async |shard| {
        for piece in sample.pieces() {
            let way = if piece.0 == 1 { WritePath::Cached } else { WritePath::PastCache };
            store.write_piece(&shard.ring, piece, sample.piece_buf(piece), way).await.unwrap();
            assert!(store.is_dirty(), "what the disk has it may keep in memory of its own");
        }
        let before_sync = sample.limits.dirty().used();
        store.sync_dirty(&shard.ring).await.unwrap();
        let status = sample.limits.status();
        assert_eq!(status.written_bytes, (5 << 20) + (512 << 10) + 5000);
        if status.past_cache_written_bytes == 0 {
            eprintln!("skipped: this file system has no writes past the cache");
            return;
        }
        // All but piece 1, and of the last the whole pages.
        assert_eq!(status.past_cache_written_bytes, (4 << 20) + (512 << 10) + 4096);
        assert_eq!(before_sync, (1 << 20) + 904);
        let residency =
            |piece| store.residency(&Block { piece: PieceIndex(piece), begin: 0, length: 16_384 });
        if residency(2) == Residency::Resident {
            eprintln!("skipped: this file system keeps its pages");
            return;
        }
        assert_eq!(
            [0, 1, 2, 3, 4].map(residency).map(|it| it == Residency::Cold),
            [true, false, true, true, true]
        );
    });
    assert_eq!(sample.limits.past_cache_writes.used(), 0);
    assert!(std::fs::read(sample.path(0)).unwrap() == sample.file_data(0));
}

#[test]
fn what_cannot_go_past_the_cache_goes_through_it() {
    let sparse = StoreConfig { allocation: Allocation::Sparse, ..StoreConfig::default() };
    // The second file begins within a page of a piece.
    let files = || vec![file("s/a", (1 << 20) + 100), file("s/b", 2 << 20)];
    for (sample, most) in [
        (Sample::new(1 << 20, files()), 1 << 20),
        (Sample::with(1 << 20, files(), &sparse), 0),
        (Sample::varied(&StoreConfig::default()), 0),
    ] {
        let store = sample.open();
        on_shard(async |shard| {
            for piece in sample.pieces() {
                store
                    .write_piece(&shard.ring, piece, sample.piece_buf(piece), WritePath::PastCache)
                    .await
                    .unwrap();
            }
            store.sync_dirty(&shard.ring).await.unwrap();
            let verified = store.verify(&shard.ring, once(0..u32::MAX), |_, _| (), || false).await.unwrap();
            assert_eq!((verified.bad, verified.unreadable), (0, None));
        });
        let status = sample.limits.status();
        // None at all where the file system has no writes past the cache.
        assert!([0, most].contains(&status.past_cache_written_bytes), "{status:?}");
    }
    // While the disk has enough to do.
    let sample = Sample::new(1 << 20, vec![file("s/x", 2 << 20)]);
    let store = sample.open();
    let _busy = sample.limits.past_cache_writes.try_take(sample.limits.past_cache_writes.max()).unwrap();
    on_shard(async |shard| {
        let piece = PieceIndex(0);
        store.write_piece(&shard.ring, piece, sample.piece_buf(piece), WritePath::PastCache).await.unwrap();
    });
    let status = sample.limits.status();
    assert_eq!(
        (status.written_bytes, status.past_cache_written_bytes, status.dirty_bytes),
        (1 << 20, 0, 1 << 20)
    );
}

#[test]
fn a_write_that_ends_after_a_sync_began_is_dirty() {
    let sample = Sample::new(1 << 20, vec![file("s/x", 4 << 20)]);
    let store = sample.open();
    on_shard(async |shard| {
        let write = |piece, way| store.write_piece(&shard.ring, piece, sample.piece_buf(piece), way);
        write(PieceIndex(0), WritePath::Cached).await.unwrap();
        store.sync_dirty(&shard.ring).await.unwrap();
        for (piece, way) in [(PieceIndex(1), WritePath::Cached), (PieceIndex(2), WritePath::PastCache)] {
            let mut write = std::pin::pin!(write(piece, way));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(write.as_mut().poll(&mut context).is_pending());
            store.sync_dirty(&shard.ring).await.unwrap();
            write.await.unwrap();
            assert!(store.is_dirty(), "the sync may not have seen {piece}");
            store.sync_dirty(&shard.ring).await.unwrap();
            assert!(!store.is_dirty());
        }
    });
}

#[test]
fn space_is_reserved_or_not_as_asked() {
    for (allocation, least, most) in [(Allocation::Full, 4 << 20, u64::MAX), (Allocation::Sparse, 0, 1 << 20)]
    {
        let config = StoreConfig { allocation, ..StoreConfig::default() };
        let sample = Sample::with(65536, vec![file("s/x", 4 << 20)], &config);
        let store = sample.open();
        on_shard(async |shard| {
            let piece = PieceIndex(5);
            store.write_piece(&shard.ring, piece, sample.piece_buf(piece), WritePath::Cached).await.unwrap();
            store.sync_dirty(&shard.ring).await.unwrap();
        });
        let metadata = std::fs::metadata(sample.path(0)).unwrap();
        assert_eq!(metadata.len(), 4 << 20);
        let reserved = metadata.blocks() * 512;
        assert!((least..=most).contains(&reserved), "{allocation:?} reserved {reserved}");
    }
}

#[test]
fn a_file_that_is_too_long_loses_its_tail() {
    let sample = Sample::new(16384, vec![file("s/x", 20_000)]);
    std::fs::create_dir_all(sample.path(0).parent().unwrap()).unwrap();
    std::fs::write(sample.path(0), vec![9; 30_000]).unwrap();
    let store = sample.open();
    assert_eq!(store.check_sizes().unwrap(), [SizeCheck::Long(30_000)]);
    on_shard(async |shard| sample.write_all(&store, &shard.ring).await.unwrap());
    let now = std::fs::read(sample.path(0)).unwrap();
    assert!(now == sample.data);
}

#[test]
fn a_buffer_of_the_wrong_length_is_refused() {
    let sample = Sample::new(16384, vec![file("s/x", 20_000)]);
    let store = sample.open();
    on_shard(async |shard| {
        for (piece, data) in
            [(PieceIndex(0), PieceIndex(1)), (PieceIndex(1), PieceIndex(0)), (PieceIndex(2), PieceIndex(0))]
        {
            let refused =
                store.write_piece(&shard.ring, piece, sample.piece_buf(data), WritePath::Cached).await;
            assert!(matches!(refused, Err(StorageError::OutOfRange(_))));
        }
    });
    assert!(!sample.path(0).exists());
}

#[test]
fn the_dirty_budget_tells_when_it_is_used_up() {
    let config = StoreConfig { dirty_bytes_max: 65536, ..StoreConfig::default() };
    let sample = Sample::with(32768, vec![file("s/x", 3 * 32768)], &config);
    let store = sample.open();
    on_shard(async |shard| {
        let dirty = sample.limits.dirty();
        assert!(!dirty.half_used());
        store
            .write_piece(&shard.ring, PieceIndex(0), sample.piece_buf(PieceIndex(0)), WritePath::Cached)
            .await
            .unwrap();
        assert!(dirty.half_used() && !dirty.over_budget());
        store
            .write_piece(&shard.ring, PieceIndex(1), sample.piece_buf(PieceIndex(1)), WritePath::Cached)
            .await
            .unwrap();
        assert!(dirty.over_budget());
        assert_eq!(dirty.available(), 0);
        store.sync_dirty(&shard.ring).await.unwrap();
        assert_eq!(dirty.available(), 65536);
        // What a removed torrent had not synced does not count for ever.
        store
            .write_piece(&shard.ring, PieceIndex(2), sample.piece_buf(PieceIndex(2)), WritePath::Cached)
            .await
            .unwrap();
    });
    drop(store);
    assert_eq!(sample.limits.dirty().used(), 0);
}

#[test]
fn a_sync_waits_for_the_one_before_it() {
    let sample = Sample::new(65536, vec![file("s/x", 20 * 65536)]);
    let store = sample.open();
    on_shard(async |shard| {
        sample.write_all(&store, &shard.ring).await.unwrap();
        let syncs: Vec<_> = (0..3)
            .map(|_| {
                let (store, ring) = (Arc::clone(&store), shard.ring.clone());
                glommio::spawn_local(async move {
                    store.sync_dirty(&ring).await.unwrap();
                    // Whoever returns may claim what was written before.
                    assert!(!store.is_dirty() || store.dirty.lock().unwrap().files_len() == 0);
                    assert_eq!(store.limits().dirty().used(), 0);
                })
            })
            .collect();
        for sync in syncs {
            sync.await;
        }
    });
}

#[test]
fn a_sync_that_is_dropped_leaves_everything_dirty() {
    let sample = Sample::new(65536, vec![file("s/x", 65536), file("s/y", 65536)]);
    let store = sample.open();
    on_shard(async |shard| {
        sample.write_all(&store, &shard.ring).await.unwrap();
        {
            let sync = std::pin::pin!(store.sync_dirty(&shard.ring));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(sync.poll(&mut context).is_pending());
            assert!(store.is_dirty());
        }
        assert_eq!(sample.limits.dirty().used(), 2 * 65536);
        store.sync_dirty(&shard.ring).await.unwrap();
        assert_eq!(sample.limits.dirty().used(), 0);
    });
}

#[test]
fn thousands_of_small_files_need_few_descriptors() {
    let files = (0..1500).map(|n| file(format!("s/{}/{n}", n % 7), 100)).collect();
    let config = StoreConfig { descriptors_max: 16, ..StoreConfig::default() };
    let sample = Sample::with(16384, files, &config);
    let store = sample.open();
    let mut most = 0;
    on_shard(async |shard| {
        for piece in sample.pieces() {
            store.write_piece(&shard.ring, piece, sample.piece_buf(piece), WritePath::Cached).await.unwrap();
            most = most.max(sample.limits.open_files());
        }
        store.sync_dirty(&shard.ring).await.unwrap();
    });
    // A piece has 164 files here; a write syncs when those with unsynced data hold all descriptors. The directory is
    // opened again whatever is open.
    assert!(most <= 16 + 1, "{most} open files");
    for index in [0, 700, 1499] {
        assert!(std::fs::read(sample.path(index)).unwrap() == sample.file_data(index));
    }
}

/// A piece that another torrent has put there counts as durable only after a sync, too.
#[test]
fn what_was_only_compared_is_synced_before_it_may_be_claimed() {
    let sample = Sample::new(64 << 10, vec![file("s/a", 128 << 10)]);
    let (writer, comparer) = (sample.open(), sample.open());
    on_shard(async |shard| {
        sample.write_all(&writer, &shard.ring).await.unwrap();
        comparer.set_compared(std::iter::once(0).collect());
        let piece = PieceIndex(1);
        comparer.write_piece(&shard.ring, piece, sample.piece_buf(piece), WritePath::Cached).await.unwrap();
        assert!(comparer.is_dirty());
        comparer.sync_dirty(&shard.ring).await.unwrap();
        assert!(!comparer.is_dirty());
    });
}
