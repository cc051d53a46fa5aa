//! The copy of one file to another file system, under a name of its own until all files of the torrent are there.

use super::super::confined::{FileStamp, Root};
use super::super::error::StorageError;
use super::progress::{MoveProgress, Order};
use ringseed_proto::hashes::TorrentId;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat, openat, seek, statat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes copied between two looks at what the owner of the move wants: about 10 ms of a disk.
const STEP_BYTES: u64 = 4 << 20;
/// Bytes copied between two syncs, so that the last one is short and memory does not fill with what waits for the disk.
const SYNC_BYTES: u64 = 64 << 20;

/// Why a copy ended before its time.
pub(super) enum CopyEnd {
    Failed(StorageError),
    Left,
}

/// The name of a file while it is copied: in the folder of its last place, so that one rename brings it there, and told
/// apart by torrent and file.
pub(super) fn copy_name(path: &Path, torrent: &TorrentId, file: usize) -> PathBuf {
    path.with_file_name(format!(".{torrent}.{file}.ringseed-move"))
}

/// Copies a file with its holes, time and mode, and makes the copy durable. A copy that an earlier run has completed is
/// taken as it is: its time is set last.
pub(super) fn copy(
    (source, from): (&Root, &Path),
    (target, to): (&Root, &Path),
    progress: &MoveProgress,
) -> Result<(), CopyEnd> {
    let failed = |errno: Errno| CopyEnd::Failed(StorageError::from_errno(errno, "copy to", target.full(to)));
    let broken =
        |error: &io::Error| CopyEnd::Failed(StorageError::from_io(error, "copy to", target.full(to)));
    let (old_folder, old_name) = source.open_folder(from, false).map_err(CopyEnd::Failed)?;
    let (new_folder, new_name) = target.open_folder(to, true).map_err(CopyEnd::Failed)?;
    let reading = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let old = File::from(
        openat(&old_folder, old_name, reading, Mode::empty())
            .map_err(|errno| CopyEnd::Failed(StorageError::from_errno(errno, "copy", source.full(from))))?,
    );
    let stat = |file: &File| rustix::fs::fstat(file).map_err(failed);
    let before = stat(&old)?;
    if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
        return Err(CopyEnd::Failed(StorageError::NotAFile { path: source.full(from) }));
    }
    let size = FileStamp::of(&before).size;
    match statat(&new_folder, new_name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) if is_copy(&there, &before) => {
            progress.add(size);
            return Ok(());
        }
        // One that was cut short: it begins anew.
        Ok(_) => unlinkat(&new_folder, new_name, AtFlags::empty()).map_err(failed)?,
        Err(_) => {}
    }
    let making = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let new = openat(&new_folder, new_name, making, Mode::from_raw_mode(0o666)).map_err(failed)?;
    let new = File::from(new);
    let mut since_sync = 0;
    let mut at = 0;
    while let Some(data) = next_data(&old, at, size).map_err(failed)? {
        progress.add(data.start - at);
        at = data.start;
        for file in [&old, &new] {
            seek(file, SeekFrom::Start(at)).map_err(failed)?;
        }
        while at < data.end {
            match progress.order() {
                Order::Continue => {}
                Order::Cancel => return Err(CopyEnd::Failed(StorageError::Cancelled)),
                Order::Leave => return Err(CopyEnd::Left),
            }
            // The kernel copies, where it can, without bringing the bytes here.
            let most = STEP_BYTES.min(data.end - at);
            let step = io::copy(&mut (&old).take(most), &mut &new).map_err(|error| broken(&error))?;
            if step == 0 {
                // It was cut meanwhile, which is told below.
                break;
            }
            progress.add(step);
            at += step;
            since_sync += step;
            if since_sync >= SYNC_BYTES {
                new.sync_data().map_err(|error| broken(&error))?;
                since_sync = 0;
            }
        }
        at = data.end;
    }
    progress.add(size.saturating_sub(at));
    new.set_len(size).map_err(|error| broken(&error))?;
    let after = stat(&old)?;
    if FileStamp::of(&after) != FileStamp::of(&before) {
        return Err(CopyEnd::Failed(StorageError::Changed { path: source.full(from) }));
    }
    // Not every file system keeps modes; the data is what counts.
    let _ = rustix::fs::fchmod(&new, Mode::from_raw_mode(before.st_mode & 0o7777));
    let time = old.metadata().and_then(|metadata| metadata.modified());
    time.and_then(|time| new.set_modified(time)).and_then(|()| new.sync_all()).map_err(|error| broken(&error))
}

/// The first bytes from `at` on that are no hole; `None` when there are none before `size`. Holes are not copied: a file
/// that is partly fetched would take all of its room.
fn next_data(file: &File, at: u64, size: u64) -> Result<Option<Range<u64>>, Errno> {
    if at >= size {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // Not every file system knows its holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(at..size)),
        Err(errno) => return Err(errno),
    };
    let end = seek(file, SeekFrom::Hole(start))?;
    Ok((start < size).then(|| start..end.min(size)))
}

/// Whether `there` is a copy of `original` that was completed: as long, and of the same time.
fn is_copy(there: &Stat, original: &Stat) -> bool {
    may_be_copy(there, original) && FileStamp::of(there) == FileStamp::of(original)
}

/// Whether `there` may be a copy of `original` by its kind and length. Not every file system keeps times as they are.
pub(super) fn may_be_copy(there: &Stat, original: &Stat) -> bool {
    let (there_id, original_id) = ((there.st_dev, there.st_ino), (original.st_dev, original.st_ino));
    FileType::from_raw_mode(there.st_mode) == FileType::RegularFile
        && there_id != original_id
        && FileStamp::of(there).size == FileStamp::of(original).size
}

/// Whether two files have the same bytes.
pub(super) fn same_bytes(
    (first, one): (&Root, &Path),
    (second, other): (&Root, &Path),
) -> Result<bool, StorageError> {
    let open = |root: &Root, path: &Path| -> Result<File, StorageError> {
        let (folder, name) = root.open_folder(path, false)?;
        let reading = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat(&folder, name, reading, Mode::empty());
        file.map(File::from).map_err(|errno| StorageError::from_errno(errno, "read", root.full(path)))
    };
    let (a, b) = (open(first, one)?, open(second, other)?);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        for (file, buffer, root, path) in [(&a, &mut left, first, one), (&b, &mut right, second, other)] {
            buffer.clear();
            file.take(STEP_BYTES)
                .read_to_end(buffer)
                .map_err(|error| StorageError::from_io(&error, "read", root.full(path)))?;
        }
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}
