//! Nothing below the download directory leads out of it, and what stands in the way is named.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;

fn nested() -> Sample {
    Sample::new(16384, vec![file("s/dir/x", 20_000), file("s/y", 20_000)])
}

/// The error for writing and for reading the first piece.
fn refusals(sample: &Sample) -> (StorageError, StorageError) {
    on_shard(async |shard| {
        let (write, read) = (sample.open(), sample.open());
        let written = write
            .write_piece(&shard.ring, PieceIndex(0), sample.piece_buf(PieceIndex(0)), WritePath::Cached)
            .await;
        (written.unwrap_err(), read.bring_in(&shard.ring, &sample.whole(PieceIndex(0))).await.unwrap_err())
    })
}

#[test]
fn a_symbolic_link_as_file_is_not_followed() {
    let sample = nested();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("precious");
    fs::write(&target, vec![1; 20_000]).unwrap();
    fs::create_dir_all(sample.path(0).parent().unwrap()).unwrap();
    symlink(&target, sample.path(0)).unwrap();
    let expected = StorageError::SymlinkInTheWay { path: sample.path(0) };
    assert_eq!(refusals(&sample), (expected.clone(), expected));
    assert_eq!(fs::read(&target).unwrap(), vec![1; 20_000]);
}

#[test]
fn a_symbolic_link_as_folder_is_not_followed_even_when_it_stays_inside() {
    let outside = tempfile::tempdir().unwrap();
    for target in [outside.path(), Path::new("real")] {
        let sample = nested();
        let folder = sample.directory.path().join("s");
        fs::create_dir_all(folder.join("real")).unwrap();
        symlink(target, folder.join("dir")).unwrap();
        let expected = StorageError::SymlinkInTheWay { path: folder.join("dir") };
        assert_eq!(refusals(&sample), (expected.clone(), expected));
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert_eq!(fs::read_dir(folder.join("real")).unwrap().count(), 0);
    }
}

#[test]
fn a_dangling_link_is_not_created_through() {
    let sample = nested();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path().join("new"), sample.directory.path().join("s")).unwrap();
    let expected = StorageError::SymlinkInTheWay { path: sample.directory.path().join("s") };
    assert_eq!(refusals(&sample).0, expected);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn the_download_directory_itself_may_be_a_link() {
    let sample = nested();
    let link = sample.directory.path().join("link");
    let real = tempfile::tempdir().unwrap();
    symlink(real.path(), &link).unwrap();
    let store = TorrentStore::open(&link, Arc::clone(&sample.info), &sample.limits).unwrap();
    on_shard(async |shard| sample.write_all(&store, &shard.ring).await.unwrap());
    assert!(fs::read(real.path().join("s/y")).unwrap() == sample.file_data(1));
}

#[test]
fn what_is_not_a_regular_file_is_refused_without_waiting_for_it() {
    let sample = nested();
    fs::create_dir_all(sample.path(0).parent().unwrap()).unwrap();
    // Opening a FIFO for reading waits for a writer, and one for writing for a reader.
    rustix::fs::mkfifoat(rustix::fs::CWD, sample.path(0), rustix::fs::Mode::RWXU).unwrap();
    let expected = StorageError::NotAFile { path: sample.path(0) };
    assert_eq!(refusals(&sample), (expected.clone(), expected.clone()));
    fs::remove_file(sample.path(0)).unwrap();
    fs::create_dir(sample.path(0)).unwrap();
    assert_eq!(refusals(&sample), (expected.clone(), expected));
}

#[test]
fn a_file_where_a_folder_belongs_is_named() {
    let sample = nested();
    fs::create_dir_all(sample.directory.path().join("s")).unwrap();
    let blocking = sample.directory.path().join("s/dir");
    fs::write(&blocking, b"").unwrap();
    let expected = StorageError::NotADirectory { path: blocking };
    assert_eq!(refusals(&sample), (expected.clone(), expected));
}

#[test]
fn names_that_lead_out_are_refused_by_the_kernel_too() {
    // The parser of torrents never lets these through; the layout takes them as they are.
    let outside = tempfile::tempdir().unwrap();
    for name in ["../escaped", "s/../../escaped", "/tmp/ringseed-escaped"] {
        let sample = Sample::new(16384, vec![file(name, 20_000)]);
        let inner = tempfile::tempdir_in(outside.path()).unwrap();
        let store = TorrentStore::open(inner.path(), Arc::clone(&sample.info), &sample.limits).unwrap();
        let result = on_shard(async |shard| sample.write_all(&store, &shard.ring).await);
        assert!(result.is_err(), "{name}");
        assert!(!outside.path().join("escaped").exists());
        assert!(!Path::new("/tmp/ringseed-escaped").exists());
    }
}

#[test]
fn names_of_every_kind_are_kept_byte_for_byte() {
    let sample = Sample::varied(&StoreConfig::default());
    let store = sample.open();
    on_shard(async |shard| sample.write_all(&store, &shard.ring).await.unwrap());
    store.create_empty_files(false).unwrap();
    for (index, entry) in sample.info.layout.files.iter().enumerate() {
        if entry.padding {
            assert!(!sample.path(index).exists());
        } else {
            assert!(fs::read(sample.path(index)).unwrap() == sample.file_data(index), "{:?}", entry.path);
        }
    }
}
