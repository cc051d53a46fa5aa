//! Blocks from disk into sends, mapped and ring-read, and the budgets around that.

use super::*;
use crate::files::when_possible;
use crate::{Access, Residency};

fn ring_read() -> StoreConfig {
    StoreConfig { ring_read_always: true, ..StoreConfig::default() }
}

/// Blocks of every kind of length and offset in a piece.
fn blocks(sample: &Sample, piece: PieceIndex) -> Vec<Block> {
    let length = sample.info.layout.piece_len(piece);
    let block = |begin: u32, length: u32| Block { piece, begin, length };
    let mut blocks: Vec<_> =
        (0..sample.info.layout.block_count(piece)).map(|n| sample.info.layout.block(piece, n)).collect();
    blocks.extend([block(0, 1), block(length - 1, 1), block(0, length), block(length / 3, length / 2)]);
    blocks
}

/// Puts the files on disk, the first of them without its pages in the cache, where a file system lets go of them.
fn put_outside_the_cache(sample: &Sample) {
    sample.put_files();
    let on_disk = std::fs::File::open(sample.path(0)).unwrap();
    on_disk.sync_all().unwrap();
    rustix::fs::fadvise(&on_disk, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

fn serves_every_block(config: &StoreConfig, access: Access) {
    let sample = Sample::varied(config);
    sample.put_files();
    let store = sample.open();
    assert_eq!(store.access(), access);
    on_shard(async |shard| {
        for piece in sample.pieces() {
            store.bring_in(&shard.ring, &sample.whole(piece)).await.unwrap();
            assert_eq!(store.residency(&sample.whole(piece)), Residency::Resident);
            for block in blocks(&sample, piece) {
                let mut list = SendList::new();
                list.push_bytes(b"head");
                store.push_block(&block, &mut list).unwrap();
                list.push_bytes(b"tail");
                let sent = shard.send(list).await.unwrap();
                let want = [b"head", sample.block_data(&block), b"tail"].concat();
                assert!(sent == want, "{block:?}");
            }
        }
    });
    assert_eq!(sample.limits.read_ahead().used(), 0);
}

#[test]
fn maps_serve_every_block_over_file_edges() {
    serves_every_block(&StoreConfig::default(), Access::Mapped);
}

#[test]
fn ring_reads_serve_every_block_over_file_edges() {
    serves_every_block(&ring_read(), Access::RingRead);
}

#[test]
fn blocks_outside_the_torrent_are_refused() {
    for config in [StoreConfig::default(), ring_read()] {
        let sample = Sample::varied(&config);
        sample.put_files();
        let store = sample.open();
        let last = PieceIndex(sample.info.layout.piece_count() - 1);
        let mut list = SendList::new();
        for (piece, begin, length) in [
            (last, 0, u32::MAX),
            (last, u32::MAX, 1),
            (PieceIndex(last.0 + 1), 0, 1),
            (PieceIndex(u32::MAX), 0, 16384),
            (PieceIndex(0), 0, 0),
        ] {
            let block = Block { piece, begin, length };
            assert_eq!(store.push_block(&block, &mut list), Err(StorageError::OutOfRange(block)));
        }
        assert!(list.is_empty());
    }
}

#[test]
fn maps_stay_within_their_number_and_bytes() {
    let files = (0..20).map(|n| file(format!("s/{n}"), 50_000)).collect();
    let config = StoreConfig { maps_max: 5, mapped_bytes_max: 200_000, ..StoreConfig::default() };
    let sample = Sample::with(16384, files, &config);
    sample.put_files();
    let store = sample.open();
    on_shard(async |shard| {
        for piece in sample.pieces().chain(sample.pieces()) {
            let mut list = SendList::new();
            store.push_block(&sample.whole(piece), &mut list).unwrap();
            // At most 4 maps have 200,000 bytes, and the list holds at most 2.
            assert!(sample.limits.maps() <= 5, "{} maps", sample.limits.maps());
            assert!(sample.limits.mapped_bytes() <= 300_000);
            assert!(shard.send(list).await.unwrap() == sample.piece_data(piece));
        }
    });
    drop(store);
    assert_eq!((sample.limits.maps(), sample.limits.mapped_bytes()), (0, 0));
}

#[test]
fn an_evicted_map_lives_until_the_send_that_holds_it_is_done() {
    let files = vec![file("s/0", 30_000), file("s/1", 30_000)];
    let config = StoreConfig { maps_max: 1, ..StoreConfig::default() };
    let sample = Sample::with(32768, files, &config);
    sample.put_files();
    let store = sample.open();
    let mut list = SendList::new();
    // Both files, one after the other, in one list: the first one's map is evicted by the second.
    store.push_block(&sample.whole(PieceIndex(0)), &mut list).unwrap();
    store.push_block(&sample.whole(PieceIndex(1)), &mut list).unwrap();
    assert_eq!(sample.limits.maps(), 2);
    let sent = on_shard(async |shard| shard.send(list).await.unwrap());
    assert!(sent == sample.data);
    assert_eq!(sample.limits.maps(), 1);
}

#[test]
fn descriptors_stay_within_their_number() {
    let files = (0..50).map(|n| file(format!("s/{n}"), 20_000)).collect();
    let config = StoreConfig { descriptors_max: 6, ring_read_always: true, ..StoreConfig::default() };
    let sample = Sample::with(16384, files, &config);
    sample.put_files();
    let store = sample.open();
    on_shard(async |shard| {
        for piece in sample.pieces() {
            store.bring_in(&shard.ring, &sample.whole(piece)).await.unwrap();
            assert!(sample.limits.open_files() <= 6, "{} files", sample.limits.open_files());
        }
    });
}

#[test]
fn loaded_pieces_stay_within_their_bytes() {
    let config = StoreConfig { loaded_bytes_max: 3 * 16384, ..ring_read() };
    let sample = Sample::with(16384, vec![file("s/x", 12 * 16384)], &config);
    sample.put_files();
    let store = sample.open();
    on_shard(async |shard| {
        for piece in sample.pieces() {
            store.bring_in(&shard.ring, &sample.whole(piece)).await.unwrap();
            assert!(sample.limits.loaded_bytes() <= 3 * 16384);
            let mut list = SendList::new();
            store.push_block(&sample.whole(piece), &mut list).unwrap();
            assert!(shard.send(list).await.unwrap() == sample.piece_data(piece));
        }
        // The first has long made room.
        assert_eq!(store.residency(&sample.whole(PieceIndex(0))), Residency::Cold);
        let block = sample.whole(PieceIndex(0));
        assert_eq!(
            store.push_block(&block, &mut SendList::new()),
            Err(StorageError::NotLoaded(PieceIndex(0)))
        );
    });
    drop(store);
    assert_eq!(sample.limits.loaded_bytes(), 0);
}

#[test]
fn a_piece_dropped_from_the_page_cache_is_cold_until_it_is_brought_in() {
    let sample = Sample::new(1 << 20, vec![file("s/x", 4 << 20)]);
    put_outside_the_cache(&sample);
    let store = sample.open();
    if store.residency(&sample.whole(PieceIndex(2))) == Residency::Resident {
        eprintln!("skipped: this file system keeps its pages");
        return;
    }
    on_shard(async |shard| {
        store.bring_in(&shard.ring, &sample.whole(PieceIndex(2))).await.unwrap();
    });
    assert_eq!(store.residency(&sample.whole(PieceIndex(2))), Residency::Resident);
    // Whole pieces, and not more: the neighbours stay where they are. Looked at afresh, not remembered.
    store.seen.forget_all();
    assert_eq!(store.residency(&sample.whole(PieceIndex(2))), Residency::Resident);
    assert_eq!(store.residency(&sample.whole(PieceIndex(0))), Residency::Cold);
    assert_eq!(store.residency(&sample.whole(PieceIndex(1))), Residency::Cold);
    assert_eq!(store.residency(&sample.whole(PieceIndex(3))), Residency::Cold);
}

#[test]
fn a_single_block_is_brought_in_alone_and_a_sequence_by_the_chunk() {
    let sample = Sample::new(4 << 20, vec![file("s/x", 8 << 20)]);
    put_outside_the_cache(&sample);
    let store = sample.open();
    let block = |begin: u32| Block { piece: PieceIndex(1), begin, length: 16384 };
    let scattered = store.extent(&block(3 * 16384), false);
    let sequence = store.extent(&block((1 << 20) + 5 * 16384), true);
    assert_eq!(scattered, block(3 * 16384));
    assert_eq!(sequence, Block { piece: PieceIndex(1), begin: 1 << 20, length: 1 << 20 });
    if store.residency(&scattered) == Residency::Resident {
        eprintln!("skipped: this file system keeps its pages");
        return;
    }
    on_shard(async |shard| {
        store.bring_in(&shard.ring, &scattered).await.unwrap();
        store.bring_in(&shard.ring, &sequence).await.unwrap();
    });
    for _ in 0..2 {
        assert_eq!(store.residency(&block(3 * 16384)), Residency::Resident);
        assert_eq!(store.residency(&block(2 * 16384)), Residency::Cold);
        assert_eq!(store.residency(&block(4 * 16384)), Residency::Cold);
        assert_eq!(store.residency(&sequence), Residency::Resident);
        assert_eq!(store.residency(&block(2 << 20)), Residency::Cold);
        // What was seen a moment ago is forgotten, and looked at.
        sample.limits.residency().major_faults(1);
    }
    assert_eq!(sample.limits.status().serving_read_bytes, 16384 + (1 << 20));
}

#[test]
fn read_ahead_over_its_budget_waits_and_all_get_their_turn() {
    let config = StoreConfig { read_ahead_bytes_max: 40_000, ..StoreConfig::default() };
    let sample = Sample::with(16384, vec![file("s/x", 64 * 16384)], &config);
    sample.put_files();
    let store = sample.open();
    on_shard(async |shard| {
        let tasks: Vec<_> = sample
            .pieces()
            .map(|piece| {
                let (store, ring, limits) =
                    (Arc::clone(&store), shard.ring.clone(), Arc::clone(&sample.limits));
                let whole = sample.whole(piece);
                glommio::spawn_local(async move {
                    let result = store.bring_in(&ring, &whole).await;
                    assert!(limits.read_ahead().used() <= 40_000);
                    result
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(sample.limits.read_ahead().used(), 0);
}

#[test]
fn a_lack_of_descriptors_is_waited_for_and_other_errors_are_not() {
    let path = std::path::PathBuf::from("file");
    on_shard(async |shard| {
        let mut tries = 0;
        let opened = when_possible(&shard.ring, |_| {
            tries += 1;
            match tries {
                5 => Ok(tries),
                _ => Err(StorageError::TooManyOpenFiles { path: path.clone() }),
            }
        });
        assert_eq!(opened.await, Ok(5));
        let missing =
            when_possible(&shard.ring, |_| Err::<(), _>(StorageError::NotFound { path: path.clone() }));
        assert!(matches!(missing.await, Err(StorageError::NotFound { .. })));
    });
}

#[test]
fn opening_a_store_touches_no_file() {
    let sample = Sample::varied(&StoreConfig::default());
    // No file is there at all.
    let store = sample.open();
    // Its directory alone is open.
    assert_eq!((sample.limits.maps(), sample.limits.open_files()), (0, 1));
    let missing =
        TorrentStore::open(&sample.directory.path().join("no"), Arc::clone(&sample.info), &sample.limits);
    assert!(matches!(missing, Err(StorageError::DirectoryMissing { .. })));
    store.create_empty_files(false).unwrap();
    for (index, entry) in sample.info.layout.files.iter().enumerate() {
        assert_eq!(sample.path(index).exists(), entry.length == 0 && !entry.padding, "{:?}", entry.path);
    }
}

#[test]
fn blocks_read_past_the_cache_are_right_and_leave_nothing_in_it() {
    // On a disk, for a file system in memory has nothing else than the page cache.
    let sample = Sample::varied(&StoreConfig::default());
    sample.put_files();
    let store = sample.open();
    let mut read = 0;
    on_shard(async |shard| {
        for piece in sample.pieces() {
            for block in blocks(&sample, piece) {
                // Over the edges of files, in padding, and where a file system cannot: the other way is taken.
                let Some(own) = store.read_past_cache(&shard.ring, &block).await.unwrap() else { continue };
                let mut list = SendList::new();
                list.push_bytes(b"head");
                own.push(&mut list);
                let sent = shard.send(list).await.unwrap();
                assert!(sent == [b"head", sample.block_data(&block)].concat(), "{block:?}");
                read += 1;
            }
        }
        let outside = Block { piece: PieceIndex(0), begin: 32_768, length: 1 };
        assert!(store.read_past_cache(&shard.ring, &outside).await.is_err());
    });
    if read == 0 {
        eprintln!("skipped: this file system has no reads past the cache");
    }
    assert!(read == 0 || read > 20, "{read}");
    assert_eq!(sample.limits.read_ahead().used(), 0);

    let large = Sample::new(1 << 20, vec![file("s/x", 4 << 20)]);
    put_outside_the_cache(&large);
    let store = large.open();
    let block = Block { piece: PieceIndex(2), begin: 16_384, length: 16_384 };
    if store.residency(&block) == Residency::Resident {
        eprintln!("skipped: this file system keeps its pages");
        return;
    }
    let own = on_shard(async |shard| store.read_past_cache(&shard.ring, &block).await.unwrap());
    if own.is_some() {
        assert_eq!(store.residency(&block), Residency::Cold);
        assert_eq!(large.limits.status().serving_read_bytes, 16_384);
    }
}

#[test]
fn a_file_that_is_gone_or_short_fails_past_the_cache_too() {
    let sample = Sample::new(32_768, vec![file("s/x", 200_000)]);
    sample.put_files();
    let block = |piece| Block { piece: PieceIndex(piece), begin: 0, length: 16_384 };
    let store = sample.open();
    on_shard(async |shard| {
        if store.read_past_cache(&shard.ring, &block(0)).await.unwrap().is_none() {
            eprintln!("skipped: this file system has no reads past the cache");
            return;
        }
        std::fs::OpenOptions::new().write(true).open(sample.path(0)).unwrap().set_len(40_000).unwrap();
        let found = store.read_past_cache(&shard.ring, &block(4)).await.unwrap_err();
        assert!(matches!(found, StorageError::Truncated { expected: 200_000, found: 40_000, .. }), "{found}");
        // It is remembered.
        assert!(store.read_past_cache(&shard.ring, &block(0)).await.is_err());
    });
}
