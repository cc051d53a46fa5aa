//! Files that carry a suffix until they are complete.

use super::*;
use crate::SizeCheck;
use ringseed_proto::bitfield::Bitfield;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a file is there under its own name, and whether under that of an incomplete one.
fn names(sample: &Sample, file: usize) -> (bool, bool) {
    let own = sample.path(file);
    let mut partial = own.clone().into_os_string();
    partial.push(crate::PARTIAL_SUFFIX);
    (own.exists(), Path::new(&partial).exists())
}

#[test]
fn files_carry_the_suffix_until_their_last_piece_is_there() {
    let sample = Sample::varied(&StoreConfig::default());
    sample.limits.set_partial_names(true);
    let store = sample.open();
    let layout = &sample.info.layout;
    on_shard(async |shard| {
        let mut have = Bitfield::new(layout.piece_count());
        let mut order: Vec<_> = sample.pieces().collect();
        order.rotate_left(4);
        for piece in order {
            store.write_piece(&shard.ring, piece, sample.piece_buf(piece), WritePath::Cached).await.unwrap();
            store.sync_dirty(&shard.ring).await.unwrap();
            have.set(piece.0);
            store.finish_names(&have).unwrap();
            for (file, entry) in layout.files.iter().enumerate().filter(|(_, entry)| entry.length > 0) {
                let pieces = layout.pieces_of_file(file);
                let begun = pieces.clone().any(|piece| have.get(piece));
                let complete = pieces.clone().all(|piece| have.get(piece));
                if !entry.padding {
                    assert_eq!(names(&sample, file), (complete, begun && !complete), "{:?}", entry.path);
                }
            }
            // What is there is served and is what was written, whatever it is called meanwhile.
            for there in sample.pieces().filter(|piece| have.get(piece.0)) {
                store.bring_in(&shard.ring, &sample.whole(there)).await.unwrap();
                let mut list = SendList::new();
                store.push_block(&sample.whole(there), &mut list).unwrap();
                assert!(shard.send(list).await.unwrap() == sample.piece_data(there));
            }
            assert!(store.check_in_use().is_empty());
        }
        store.create_empty_files(false).unwrap();
    });
    assert!(store.check_sizes().unwrap().iter().all(|check| *check == SizeCheck::Ok));
    for file in 0..layout.files.len() {
        assert!(!names(&sample, file).1);
    }
}

#[test]
fn what_an_earlier_run_left_is_found_and_goes_on() {
    let sample = Sample::new(32_768, vec![file("s/a", 50_000), file("s/b", 70_000)]);
    sample.limits.set_partial_names(true);
    let store = sample.open();
    let stamps = on_shard(async |shard| {
        for piece in [0, 1] {
            let piece = PieceIndex(piece);
            store.write_piece(&shard.ring, piece, sample.piece_buf(piece), WritePath::Cached).await.unwrap();
        }
        store.sync_dirty(&shard.ring).await.unwrap();
        store.stamps_on_disk()
    });
    // Killed before any name was changed, and the setting was turned off meanwhile.
    drop(store);
    sample.limits.set_partial_names(false);
    let store = sample.open();
    assert_eq!(store.stamps_on_disk(), stamps);
    assert_eq!((names(&sample, 0), names(&sample, 1)), ((false, true), (false, true)));
    on_shard(async |shard| {
        let mut have = Bitfield::new(4);
        let note = |piece: PieceIndex, good: bool| {
            if good {
                have.set(piece.0);
            }
        };
        store.verify(&shard.ring, once(0..u32::MAX), note, || false).await.unwrap();
        store.finish_names(&have).unwrap();
        assert_eq!((names(&sample, 0), names(&sample, 1)), ((true, false), (false, true)));
        assert_eq!(store.stamps_on_disk(), stamps, "a name is no change");
        for piece in [2, 3] {
            let piece = PieceIndex(piece);
            store.write_piece(&shard.ring, piece, sample.piece_buf(piece), WritePath::Cached).await.unwrap();
        }
        store.sync_dirty(&shard.ring).await.unwrap();
        store.finish_names(&Bitfield::full(4)).unwrap();
    });
    for file in 0..2 {
        assert_eq!(names(&sample, file), (true, false));
        assert!(std::fs::read(sample.path(file)).unwrap() == sample.file_data(file));
    }
}

/// Shards look at files while the control thread renames them.
#[test]
fn a_file_is_never_missed_while_it_is_renamed() {
    let sample = Sample::new(16_384, (0..200).map(|file| super::file(format!("s/{file}"), 10)).collect());
    sample.put_files();
    for file in 0..200 {
        let own = sample.path(file);
        std::fs::rename(&own, own.with_extension("part")).unwrap();
    }
    let store = sample.open();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let look = || {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) || looks == 0 {
                assert!(store.check_sizes().unwrap().iter().all(|check| *check == SizeCheck::Ok));
                looks += 1;
            }
        };
        let lookers = [scope.spawn(look), scope.spawn(look)];
        store.stamps_on_disk();
        store.finish_names(&Bitfield::full(1)).unwrap();
        over.store(true, Ordering::Relaxed);
        for looker in lookers {
            looker.join().unwrap();
        }
    });
    assert!((0..200).all(|file| names(&sample, file) == (true, false)));
}

/// A file that somebody else put where a finished one goes is not replaced, and is not taken for ours.
#[test]
fn a_name_that_is_taken_is_left_alone() {
    let sample = Sample::new(16_384, vec![file("s/a", 16_384), file("s/b", 16_384)]);
    sample.limits.set_partial_names(true);
    let store = sample.open();
    on_shard(async |shard| {
        sample.write_all(&store, &shard.ring).await.unwrap();
        store.sync_dirty(&shard.ring).await.unwrap();
    });
    std::fs::write(sample.path(0), "precious").unwrap();
    let error = store.finish_names(&Bitfield::full(2)).unwrap_err();
    assert!(error.to_string().contains("s/a"), "{error}");
    assert_eq!(std::fs::read(sample.path(0)).unwrap(), b"precious");
    assert_eq!((names(&sample, 0), names(&sample, 1)), ((true, true), (true, false)));
    // Nor is it after a restart, which hashes what has the torrent's name, finds it to be wrong and fetches it again.
    let store = sample.open();
    on_shard(async |shard| {
        let mut wrong = Vec::new();
        let note = |piece: PieceIndex, good: bool| wrong.extend((!good).then_some(piece));
        store.verify(&shard.ring, once(0..u32::MAX), note, || false).await.unwrap();
        assert_eq!(wrong, [PieceIndex(0)]);
        let again =
            store.write_piece(&shard.ring, wrong[0], sample.piece_buf(wrong[0]), WritePath::Cached).await;
        assert!(matches!(again, Err(StorageError::Exists { .. })), "{again:?}");
    });
    assert_eq!(std::fs::read(sample.path(0)).unwrap(), b"precious");
}

/// After a restart nothing is in memory of which name was the torrent's: what it left is known by its size and time.
#[test]
fn the_incomplete_file_is_told_from_somebody_elses_after_a_restart() {
    let sample = Sample::new(32_768, vec![file("s/a", 50_000), file("s/b", 70_000)]);
    sample.limits.set_partial_names(true);
    let partial = sample.path(0).with_file_name("a.part");
    let (stamps, have) = on_shard(async |shard| {
        let store = sample.open();
        let mut have = Bitfield::new(4);
        store
            .write_piece(&shard.ring, PieceIndex(0), sample.piece_buf(PieceIndex(0)), WritePath::Cached)
            .await
            .unwrap();
        store.sync_dirty(&shard.ring).await.unwrap();
        have.set(0);
        (store.stamps(), have)
    });
    std::fs::write(sample.path(0), "of somebody else").unwrap();
    let look = |stamps: &[crate::FileStamp], have: &Bitfield| {
        let store = sample.open();
        store.take_stamps(stamps);
        let told = store.tell_names(have);
        (told, store.partial_files().contains(&0), store.look(have, |_| true))
    };
    assert_eq!(look(&stamps, &have), (true, true, crate::Look::AsLeft));
    // After a kill in mid-download there are no stamps.
    assert_eq!(look(&[], &have), (true, true, crate::Look::Changed));
    // Nothing of it is known to be the torrent's.
    assert!(!look(&[], &Bitfield::new(4)).1);
    // The other way round: its own file is complete, and the one beside it is somebody else's.
    std::fs::rename(&partial, sample.path(0)).unwrap();
    std::fs::write(&partial, "of somebody else").unwrap();
    assert_eq!(look(&stamps, &have), (false, false, crate::Look::AsLeft));
}
