//! Files that somebody changes while they are downloaded: it is noticed, nothing more is written, the download is not
//! called complete, and what an earlier run left is not trusted after it.

use super::*;
use crate::{FileStamp, Look, SizeCheck};
use ringseed_proto::bitfield::Bitfield;
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

const PIECE: u32 = 65_536;

/// What is done to the first of two files that are half written, and what has to be said of it.
struct Case {
    name: &'static str,
    change: fn(&Path),
    is_expected: fn(&StorageError) -> bool,
    /// What the next start finds.
    is_missing: bool,
}

/// Clocks of file systems are coarse: without this a change may get the time of the write before it.
fn later(file: &fs::File) {
    file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
}

fn writable(path: &Path) -> fs::File {
    fs::OpenOptions::new().write(true).open(path).unwrap()
}

const CASES: [Case; 7] = [
    Case {
        name: "deleted",
        change: |path| fs::remove_file(path).unwrap(),
        is_expected: |error| matches!(error, StorageError::NotFound { .. }),
        is_missing: true,
    },
    Case {
        name: "cut",
        change: |path| writable(path).set_len(70_000).unwrap(),
        is_expected: |error| matches!(error, StorageError::Truncated { found: 70_000, .. }),
        is_missing: false,
    },
    Case {
        name: "rewritten in place",
        change: |path| {
            let file = writable(path);
            file.write_all_at(b"something else", 10).unwrap();
            later(&file);
        },
        is_expected: |error| matches!(error, StorageError::Changed { .. }),
        is_missing: false,
    },
    Case {
        name: "replaced",
        change: |path| {
            let new = path.with_extension("new");
            fs::write(&new, noise(4 * PIECE as usize, 99)).unwrap();
            later(&writable(&new));
            fs::rename(new, path).unwrap();
        },
        is_expected: |error| matches!(error, StorageError::Replaced { .. }),
        is_missing: false,
    },
    Case {
        name: "lengthened",
        change: |path| {
            let file = writable(path);
            file.set_len(4 * u64::from(PIECE) + 100).unwrap();
            later(&file);
        },
        is_expected: |error| matches!(error, StorageError::Changed { .. }),
        is_missing: false,
    },
    Case {
        name: "a link to it in its place",
        change: |path| {
            let moved = path.with_extension("moved");
            fs::rename(path, &moved).unwrap();
            std::os::unix::fs::symlink(&moved, path).unwrap();
        },
        is_expected: |error| matches!(error, StorageError::SymlinkInTheWay { .. }),
        is_missing: false,
    },
    Case {
        name: "a directory in its place",
        change: |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        is_expected: |error| matches!(error, StorageError::Replaced { .. }),
        is_missing: false,
    },
];

fn two_files() -> Sample {
    let length = 4 * u64::from(PIECE);
    Sample::new(PIECE, vec![file("s/victim", length), file("s/other", length)])
}

/// Writes the pieces `which` and makes them durable.
async fn write(sample: &Sample, store: &TorrentStore, shard: &Driven, which: &[u32]) -> Bitfield {
    let mut have = Bitfield::new(sample.info.layout.piece_count());
    for &piece in which {
        let piece = PieceIndex(piece);
        store.write_piece(&shard.ring, piece, sample.piece_buf(piece), WritePath::Cached).await.unwrap();
        have.set(piece.0);
    }
    store.sync_dirty(&shard.ring).await.unwrap();
    have
}

/// What the next start finds of `have` when these stamps are in its resume record.
fn at_next_start(sample: &Sample, stamps: &[FileStamp], have: &Bitfield) -> Look {
    let store = sample.open();
    store.take_stamps(stamps);
    store.look(have, |_| true)
}

/// The stamps that were saved used to be those of whatever was there: "seeding 1.0", and trusted at the next start.
#[test]
fn a_change_during_a_download_is_noticed_and_not_trusted_at_the_next_start() {
    for Case { name, change, is_expected, is_missing } in CASES {
        let sample = two_files();
        let store = sample.open();
        on_shard(async |shard| {
            let have = write(&sample, &store, shard, &[0, 1, 4, 5, 6, 7]).await;
            assert_eq!(store.check_in_use(), [], "{name}");
            assert_eq!(at_next_start(&sample, &store.stamps(), &have), Look::AsLeft, "{name}");
            let last = PieceIndex(3);
            change(&sample.path(0));

            let found = store.check_in_use();
            let [error] = found.as_slice() else { panic!("{name}: {found:?}") };
            assert!(is_expected(error), "{name}: {error}");
            let written =
                store.write_piece(&shard.ring, last, sample.piece_buf(last), WritePath::Cached).await;
            assert_eq!(written, Err(error.clone()), "{name}");
            assert!(store.finish(&have).await.is_err() || !store.failures().is_empty(), "{name}");

            let _ = store.sync_dirty(&shard.ring).await;
            let look = at_next_start(&sample, &store.stamps(), &have);
            assert_eq!(matches!(look, Look::Missing(_)), is_missing, "{name}: {look:?}");
            assert_ne!(look, Look::AsLeft, "{name}");
        });
    }
}

/// Without the look of every two seconds in between.
#[test]
fn a_change_is_noticed_before_a_download_is_called_complete() {
    for Case { name, change, is_expected, .. } in CASES {
        let sample = two_files();
        let store = sample.open();
        on_shard(async |shard| {
            let have = write(&sample, &store, shard, &[0, 1, 2, 3, 4, 5, 6, 7]).await;
            change(&sample.path(0));
            let error = store.finish(&have).await.expect_err(name);
            assert!(is_expected(&error), "{name}: {error}");
            assert_ne!(at_next_start(&sample, &store.stamps(), &have), Look::AsLeft, "{name}");
        });
    }
}

/// By the next write of a piece, and when the descriptor was given back meanwhile.
#[test]
fn a_change_is_noticed_by_the_next_write() {
    for closed in [false, true] {
        for Case { name, change, is_expected, .. } in CASES {
            let config = StoreConfig { descriptors_max: 2, ..StoreConfig::default() };
            let length = 4 * u64::from(PIECE);
            let files = vec![file("s/victim", length), file("s/other", length)];
            let sample = Sample::with(PIECE, files, &config);
            let store = sample.open();
            on_shard(async |shard| {
                write(&sample, &store, shard, &[0, 1]).await;
                if closed {
                    write(&sample, &store, shard, &[4]).await;
                }
                change(&sample.path(0));
                let last = PieceIndex(3);
                let result =
                    store.write_piece(&shard.ring, last, sample.piece_buf(last), WritePath::Cached).await;
                // A file that moved away while it is open shows when it is looked at by its name.
                let error = match result {
                    Ok(()) => store.check_in_use().into_iter().next().expect(name),
                    Err(error) => error,
                };
                // One that is not open has no identity: another in its place is one that changed.
                let is_other =
                    closed && matches!(error, StorageError::Changed { .. } | StorageError::NotAFile { .. });
                assert!(is_expected(&error) || is_other, "{name}, closed {closed}: {error}");
            });
        }
    }
}

#[test]
fn a_directory_that_goes_or_is_replaced_is_noticed() {
    for replaced in [false, true] {
        let outer = tempfile::tempdir().unwrap();
        let (here, away) = (outer.path().join("here"), outer.path().join("away"));
        fs::create_dir(&here).unwrap();
        let sample = two_files();
        let store = TorrentStore::open(&here, Arc::clone(&sample.info), &sample.limits).unwrap();
        on_shard(async |shard| {
            let have = write(&sample, &store, shard, &[0, 4]).await;
            assert!(store.is_in_place());
            fs::rename(&here, &away).unwrap();
            if replaced {
                fs::create_dir(&here).unwrap();
            }
            let error = store.check_in_use().into_iter().next().expect("an error");
            assert_eq!(error.is_missing(), !replaced, "{error}");
            assert_eq!(error.path(), Some(here.as_path()));
            assert!(!store.is_in_place());
            assert_eq!(matches!(store.look(&have, |_| true), Look::Missing(_)), !replaced);
        });
    }
}

#[test]
fn what_is_gone_at_the_start_is_missing_and_no_reason_to_fetch_it() {
    let sample = two_files();
    let count = sample.info.layout.piece_count();
    let store = sample.open();
    on_shard(async |shard| _ = write(&sample, &store, shard, &[0, 1, 2, 3, 4, 5, 6, 7]).await);
    let (stamps, all) = (store.stamps(), Bitfield::full(count));
    let missing = |look: Look| match look {
        Look::Missing(error) => error,
        look => panic!("{look:?}"),
    };
    fs::remove_file(sample.path(0)).unwrap();
    let some = missing(at_next_start(&sample, &stamps, &all));
    assert_eq!(some, StorageError::FilesMissing { path: sample.path(0), missing: 1, all: 2 });
    // Not by a user who does not want it: then it is hashed, and the piece that it shares is not claimed.
    let unwanted = sample.open();
    unwanted.take_stamps(&stamps);
    assert_eq!(unwanted.look(&all, |file| file != 0), Look::Changed);
    // An empty file is as good as none.
    fs::write(sample.path(0), "").unwrap();
    assert_eq!(missing(at_next_start(&sample, &stamps, &all)), some);
    fs::remove_file(sample.path(1)).unwrap();
    let none = missing(at_next_start(&sample, &stamps, &all));
    assert_eq!(none, StorageError::NoData { path: sample.directory.path().into() });
    assert!(none.to_string().starts_with("No data found") && none.is_missing());
    // Nothing is missing of which nothing was there.
    assert_eq!(at_next_start(&sample, &[], &Bitfield::new(count)), Look::AsLeft);
    // Records of earlier versions say "not there" of a file that was missing when they were written: not trusted.
    let never = vec![FileStamp::default(); stamps.len()];
    assert!(matches!(at_next_start(&sample, &never, &all), Look::Missing(_)));
}

#[test]
fn a_file_that_changes_while_it_is_hashed_is_not_vouched_for() {
    let sample = two_files();
    sample.put_files();
    let store = sample.open();
    let all = Bitfield::full(sample.info.layout.piece_count());
    let stamps = store.stamps_on_disk();
    assert_eq!(store.look(&all, |_| true), Look::Changed, "nothing is known of them yet");
    store.vouch(&stamps).unwrap();
    assert_eq!(store.look(&all, |_| true), Look::AsLeft);
    later(&writable(&sample.path(1)));
    assert_eq!(store.vouch(&stamps), Err(StorageError::Changed { path: sample.path(1) }));
    assert_eq!(store.look(&all, |_| true), Look::Changed);
    assert_eq!(store.stamps(), stamps, "a look changes nothing");
}

/// A seed that nobody had asked yet used to serve whatever was there at the first request.
#[test]
fn a_seed_that_changed_before_its_first_request_serves_nothing_of_it() {
    for ring_read_always in [false, true] {
        let config = StoreConfig { ring_read_always, ..StoreConfig::default() };
        let length = 4 * u64::from(PIECE);
        let sample = Sample::with(PIECE, vec![file("s/victim", length), file("s/other", length)], &config);
        sample.put_files();
        let store = sample.open();
        store.vouch(&store.stamps_on_disk()).unwrap();
        later(&writable(&sample.path(0)));
        on_shard(async |shard| {
            let error = store.bring_in(&shard.ring, &sample.whole(PieceIndex(0))).await.unwrap_err();
            assert_eq!(error, StorageError::Changed { path: sample.path(0) });
            store.bring_in(&shard.ring, &sample.whole(PieceIndex(5))).await.unwrap();
        });
    }
}

/// Kept its tail, under a torrent whose file is shorter.
#[test]
fn a_longer_file_is_cut_when_it_is_written_and_when_its_download_is_finished() {
    let sample = two_files();
    sample.put_files();
    for index in 0..2 {
        let file = fs::OpenOptions::new().append(true).open(sample.path(index)).unwrap();
        std::io::Write::write_all(&mut &file, b"the end of an older file").unwrap();
    }
    let store = sample.open();
    let count = sample.info.layout.piece_count();
    on_shard(async |shard| {
        store.vouch(&store.stamps_on_disk()).unwrap();
        assert_eq!(store.longer_files(), [(sample.path(0), 24), (sample.path(1), 24)]);
        write(&sample, &store, shard, &[1]).await;
        assert_eq!(store.longer_files(), [(sample.path(1), 24)]);
        // One that is not complete is not ours to cut.
        store.finish(&Bitfield::new(count)).await.unwrap();
        assert_eq!(store.longer_files(), [(sample.path(1), 24)]);
        store.finish(&Bitfield::full(count)).await.unwrap();
        assert_eq!(store.check_in_use(), []);
    });
    assert!(store.check_sizes().unwrap().iter().all(|check| *check == SizeCheck::Ok));
    assert_eq!(at_next_start(&sample, &store.stamps(), &Bitfield::full(count)), Look::AsLeft);
    for index in 0..2 {
        assert!(fs::read(sample.path(index)).unwrap() == sample.file_data(index));
    }
}

/// Opening it for writing failed a seed whose files were all there.
#[test]
fn an_empty_file_on_a_read_only_disk_is_not_made_again() {
    let Some(disk) = Mounted::tmpfs("size=1m") else {
        return eprintln!("skipped: needs the right to mount a tmpfs");
    };
    let sample = Sample::new(PIECE, vec![file("s/x", 1000), file("s/empty", 0), file("s/gone", 0)]);
    fs::create_dir(disk.path().join("s")).unwrap();
    fs::write(disk.path().join("s/x"), sample.file_data(0)).unwrap();
    fs::write(disk.path().join("s/empty"), "").unwrap();
    disk.make_read_only();
    let store = TorrentStore::open(disk.path(), Arc::clone(&sample.info), &sample.limits).unwrap();
    store.create_empty_files(true).unwrap();
    let path = disk.path().join("s/gone");
    assert_eq!(store.create_empty_files(false), Err(StorageError::ReadOnly { path }));
}
