//! Moving, renaming and deleting the files of a torrent that nothing uses. Blocks; for a blocking task.
//!
//! Every folder on the way is opened below the download directory without following links, as for reading.

mod copying;
mod moving;
mod progress;
#[cfg(test)]
mod tests;

pub use moving::{Move, MoveError, move_files};
pub use progress::MoveProgress;

use super::confined::Root;
use super::error::StorageError;
use super::names::Names;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::layout::Layout;
use rustix::fs::{AtFlags, RenameFlags, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Deletes the files of a torrent for which `is_own` says so by their index, copies that a move has left, then the
/// folders that are empty without them. What is not there is no error. `partial`: as in [`Move::partial`].
///
/// # Errors
/// The first file that cannot be deleted; the others are deleted nevertheless.
pub fn delete_files(
    layout: &Layout,
    directory: &Path,
    torrent: &TorrentId,
    partial: &BTreeSet<usize>,
    is_own: impl Fn(usize) -> bool,
) -> Result<(), StorageError> {
    let (root, names) = (Root::open(directory)?, Names::of(layout));
    let mut result = Ok(());
    for (file, path) in stored(layout).filter(|(file, _)| is_own(*file)) {
        let delete = || -> Result<(), StorageError> {
            let Some(found) = names.find(&root, path, partial.contains(&file))? else { return Ok(()) };
            let (folder, name) = root.open_folder(&found.path, false)?;
            match unlinkat(&folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(StorageError::from_errno(errno, "delete", root.full(&found.path))),
            }
        };
        result = result.and(delete());
    }
    moving::remove_copies(&root, layout, torrent);
    result
}

/// Gives a file or folder of a torrent below `directory` another path below it. When it is not there nothing happens:
/// it will have the new path when it is made. `partial`: as in [`Move::partial`]. `again` says that this was begun before
/// and may be done already.
///
/// # Errors
/// When something has the new path already, or the system refuses.
pub fn rename(
    layout: &Layout,
    directory: &Path,
    (from, to): (&Path, &Path),
    partial: &BTreeSet<usize>,
    again: bool,
) -> Result<(), StorageError> {
    if from == to {
        return Ok(());
    }
    let (root, names) = (Root::open(directory)?, Names::of(layout));
    let was_partial = stored(layout).any(|(file, path)| path == from && partial.contains(&file));
    let (found, there) = (names.find(&root, from, was_partial)?, names.find(&root, to, false)?);
    let found = match (found, there) {
        (None, Some(_)) if again => return Ok(()),
        (_, Some(there)) => return Err(StorageError::Exists { path: root.full(&there.path) }),
        (None, None) => return Ok(()),
        (Some(found), None) => found,
    };
    let partial = found.is_partial().then(|| names.partial(to)).flatten();
    let new = partial.as_deref().unwrap_or(to);
    let result = put((&root, &found.path), (&root, new)).map_err(|(_, error)| error);
    // The folders that it left, or those that were made for it, when they are empty.
    let left: &Path = if result.is_ok() { &found.path } else { new };
    for folder in left.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
        let Ok((above, name)) = root.open_folder(folder, false) else { break };
        if unlinkat(&above, name, AtFlags::REMOVEDIR).is_err() {
            break;
        }
    }
    result?;
    sync_folders(&root, [new].into_iter())
}

/// Files that are stored, with their indexes.
fn stored(layout: &Layout) -> impl Iterator<Item = (usize, &Path)> {
    let files = layout.files.iter().enumerate().filter(|(_, file)| !file.padding);
    files.map(|(index, file)| (index, file.path.as_path()))
}

/// Gives a file or folder another name on the same file system.
///
/// # Errors
/// When something has that name already; [`StorageError::Io`] with `EXDEV` for another file system.
pub(super) fn shift(source: &Root, from: &Path, target: &Root, to: &Path) -> Result<(), StorageError> {
    put((source, from), (target, to)).map_err(|(_, error)| error)
}

/// As [`shift`], with the number of the error.
fn put((source, from): (&Root, &Path), (target, to): (&Root, &Path)) -> Result<(), (Errno, StorageError)> {
    let other = |error: StorageError| (Errno::IO, error);
    let (old_folder, old_name) = source.open_folder(from, false).map_err(other)?;
    let (new_folder, new_name) = target.open_folder(to, true).map_err(other)?;
    let result = match renameat_with(&old_folder, old_name, &new_folder, new_name, RenameFlags::NOREPLACE) {
        // Some network file systems do not know the flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            match statat(&new_folder, new_name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => renameat(&old_folder, old_name, &new_folder, new_name),
                Err(errno) => Err(errno),
            }
        }
        result => result,
    };
    result.map_err(|errno| match errno {
        Errno::NOENT => (errno, StorageError::NotFound { path: source.full(from) }),
        _ => (errno, StorageError::from_errno(errno, "move to", target.full(to))),
    })
}

/// Makes the names of files durable.
fn sync_folders<'a>(root: &Root, files: impl Iterator<Item = &'a Path>) -> Result<(), StorageError> {
    let folders: BTreeSet<&Path> = files.flat_map(|path| path.ancestors().skip(1)).collect();
    for folder in folders {
        let inside = folder.join("file");
        for open in root.open_folders(&inside)?.iter().take(1) {
            match rustix::fs::fsync(open) {
                // A file system that keeps nothing has nothing to sync.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => {
                    return Err(StorageError::from_errno(errno, "sync the directory", root.full(folder)));
                }
            }
        }
    }
    Ok(())
}

/// Removes the torrent's folders that are empty, innermost first.
fn clear_folders(root: &Root, layout: &Layout) {
    let mut folders: Vec<PathBuf> = stored(layout)
        .flat_map(|(_, path)| path.ancestors().skip(1))
        .filter(|folder| !folder.as_os_str().is_empty())
        .map(Path::to_path_buf)
        .collect();
    folders.sort_unstable();
    folders.dedup();
    folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    for folder in folders {
        if let Ok((above, name)) = root.open_folder(&folder, false) {
            // One that is not empty stays: what is in it is not ours.
            let _ = unlinkat(&above, name, AtFlags::REMOVEDIR);
        }
    }
}
