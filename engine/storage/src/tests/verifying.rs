//! Hashing what is on disk.

use super::*;
use crate::Verified;
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::FileExt;

fn verify(sample: &Sample) -> (Vec<bool>, Verified) {
    let store = sample.open();
    let mut seen = Vec::new();
    let verified = on_shard(async |shard| {
        let note = |piece: PieceIndex, good| seen.push((piece.0, good));
        store.verify(&shard.ring, once(0..u32::MAX), note, || false).await.unwrap()
    });
    seen.sort_unstable();
    assert!(seen.iter().zip(0..).all(|((piece, _), want)| *piece == want), "each piece once");
    let seen: Vec<bool> = seen.into_iter().map(|(_, good)| good).collect();
    assert_eq!(sample.limits.verifying.used(), 0);
    assert_eq!(verified.good as usize, seen.iter().filter(|good| **good).count());
    assert_eq!((verified.good + verified.bad) as usize, seen.len());
    (seen, verified)
}

/// Pieces of 1 KiB up to 4 MiB: many in a read, and many reads for one.
#[test]
fn intact_data_is_good_whatever_the_piece_length() {
    for piece_length in [1024, 16384, 100_000, 1 << 20, (1 << 20) + 1024, 4 << 20] {
        let files =
            vec![file("s/a", 1), file("s/0", 0), file("s/b", 3_000_000), padding(77), file("s/c", 6_000_001)];
        let sample = Sample::new(piece_length, files);
        sample.put_files();
        let (seen, verified) = verify(&sample);
        assert_eq!(seen.len() as u32, sample.info.layout.piece_count());
        assert!(seen.iter().all(|good| *good), "piece length {piece_length}");
        assert_eq!(verified.unreadable, None);
    }
}

/// A read of two pieces side by side tells them apart, in parts and with a short last one.
#[test]
fn of_two_large_pieces_hashed_together_the_wrong_one_is_found() {
    for piece_length in [1 << 20, 3 << 20, (2 << 20) + 512] {
        let sample = Sample::new(piece_length, vec![file("s/x", 4 * u64::from(piece_length) + 70_000)]);
        sample.put_files();
        let on_disk = fs::OpenOptions::new().write(true).open(sample.path(0)).unwrap();
        for wrong in 0..5u64 {
            let offset = wrong * u64::from(piece_length) + 69_000;
            let right = sample.file_data(0)[offset as usize];
            on_disk.write_all_at(&[!right], offset).unwrap();
            let (seen, _) = verify(&sample);
            let bad: Vec<_> =
                (0u64..).zip(&seen).filter(|(_, good)| !**good).map(|(piece, _)| piece).collect();
            assert_eq!(bad, [wrong]);
            on_disk.write_all_at(&[right], offset).unwrap();
        }
    }
}

#[test]
fn one_wrong_byte_is_one_bad_piece() {
    let sample = Sample::varied(&StoreConfig::default());
    sample.put_files();
    let last = sample.info.layout.files.len() - 1;
    for (index, offset) in [(0, 0), (3, 70_000), (last, 100_000), (last, 199_999)] {
        let entry = &sample.info.layout.files[index];
        let piece = (entry.offset + offset) / u64::from(sample.info.layout.piece_length);
        let on_disk = fs::OpenOptions::new().write(true).open(sample.path(index)).unwrap();
        let right = sample.file_data(index)[offset as usize];
        on_disk.write_all_at(&[!right], offset).unwrap();
        let (seen, _) = verify(&sample);
        let bad: Vec<_> = (0u64..).zip(&seen).filter(|(_, good)| !**good).map(|(piece, _)| piece).collect();
        assert_eq!(bad, [piece]);
        on_disk.write_all_at(&[right], offset).unwrap();
    }
}

#[test]
fn missing_and_short_files_are_bad_pieces_and_not_errors() {
    let sample = Sample::varied(&StoreConfig::default());
    sample.put_files();
    fs::remove_file(sample.path(2)).unwrap();
    let last = sample.info.layout.files.len() - 1;
    fs::OpenOptions::new().write(true).open(sample.path(last)).unwrap().set_len(150_000).unwrap();
    let (seen, verified) = verify(&sample);
    assert_eq!(verified.unreadable, None);
    let layout = &sample.info.layout;
    let first_lost = (layout.files[last].offset + 150_000) / u64::from(layout.piece_length);
    for (piece, good) in (0u32..).zip(seen) {
        let want = !layout.pieces_of_file(2).contains(&piece) && u64::from(piece) < first_lost;
        assert_eq!(good, want, "piece {piece}");
    }
    let empty = Sample::varied(&StoreConfig::default());
    let (seen, verified) = verify(&empty);
    assert!(seen.iter().all(|good| !good));
    assert_eq!(verified.unreadable, None);
}

/// A hole in a file reads as zeros: as good as data when the data is zeros.
#[test]
fn a_missing_file_is_bad_even_if_its_data_would_be_zeros() {
    let layout = Layout::single("zeros", 16384, 16384).unwrap();
    let hash = Sha1::digest([0; 16384]).into();
    let info = Arc::new(Info::new("zeros".into(), layout, vec![hash], false).unwrap());
    let sample = Sample { info, data: vec![0; 16384], ..Sample::new(16384, vec![file("x", 1)]) };
    assert_eq!(verify(&sample).0, [false]);
    sample.put_files();
    assert_eq!(verify(&sample).0, [true]);
}

#[test]
fn a_link_in_the_way_is_told() {
    let sample = Sample::varied(&StoreConfig::default());
    sample.put_files();
    fs::remove_file(sample.path(0)).unwrap();
    std::os::unix::fs::symlink(sample.path(2), sample.path(0)).unwrap();
    let (seen, verified) = verify(&sample);
    assert_eq!(verified.unreadable, Some(StorageError::SymlinkInTheWay { path: sample.path(0) }));
    assert!(!seen[0] && seen[1..].iter().all(|good| *good));
}

#[test]
fn it_stops_when_told_to_and_others_run_meanwhile() {
    let sample = Sample::new(65536, vec![file("s/x", 32 << 20)]);
    sample.put_files();
    let store = sample.open();
    on_shard(async |shard| {
        let cancel = Rc::new(Cell::new(false));
        let turns = Rc::new(Cell::new(0u32));
        let other = {
            let turns = Rc::clone(&turns);
            glommio::spawn_local(async move {
                loop {
                    turns.set(turns.get() + 1);
                    ringseed_ring::executor::give_way().await;
                }
            })
        };
        let mut pieces = 0;
        let result = store
            .verify(
                &shard.ring,
                once(0..u32::MAX),
                |_, _| {
                    pieces += 1;
                    cancel.set(pieces >= 200);
                },
                || cancel.get(),
            )
            .await;
        other.cancel().await;
        assert_eq!(result, Err(StorageError::Cancelled));
        // To the end of the half MiB that was being hashed.
        assert!((200..=208).contains(&pieces), "{pieces}");
        assert!(turns.get() >= 24, "{} turns", turns.get());
    });
    // What was in flight ends with the ring; the budget is free again.
    assert_eq!(sample.limits.verifying.used(), 0);
}

#[test]
fn a_range_of_pieces() {
    let sample = Sample::varied(&StoreConfig::default());
    sample.put_files();
    let store = sample.open();
    let mut seen = Vec::new();
    let verified = on_shard(async |shard| {
        let note = |piece: PieceIndex, good| seen.push((piece.0, good));
        store.verify(&shard.ring, once(3..5), note, || false).await.unwrap()
    });
    assert_eq!(seen, [(3, true), (4, true)]);
    assert_eq!((verified.good, verified.bad), (2, 0));
}

#[test]
fn without_an_executor() {
    let sample = Sample::varied(&StoreConfig::default());
    sample.put_files();
    let store = sample.open();
    for threads in [0, 1, 3] {
        let verified = store.verify_blocking(threads, |_, good| good).unwrap().unwrap();
        assert_eq!(verified.good, sample.info.layout.piece_count());
    }
    let large = Sample::new(65536, vec![file("s/x", 64 << 20)]);
    large.put_files();
    assert_eq!(large.open().verify_blocking(2, |_, _| false).unwrap(), None);
}
