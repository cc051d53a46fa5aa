//! Moving, renaming and deleting the files of a torrent that nothing uses. Blocks; for a blocking task.
//!
//! Every folder on the way is opened below the download directory without following links, as for reading.

use super::confined::Root;
use super::error::StorageError;
use super::names::Names;
use ringseed_proto::layout::Layout;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat};
use rustix::io::Errno;
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Moves all files of a torrent to another directory, which is made when needed. Files that are not there are left
/// out. On an error everything that was moved goes back.
///
/// # Errors
/// The first file that cannot be moved; one is never put over another.
pub fn move_files(layout: &Layout, from: &Path, to: &Path) -> Result<(), StorageError> {
    std::fs::create_dir_all(to).map_err(|error| StorageError::from_io(&error, "create the directory", to))?;
    let (source, target, names) = (Root::open(from)?, Root::open(to)?, Names::of(layout));
    let mut moved: Vec<Cow<'_, Path>> = Vec::new();
    for path in stored(layout) {
        let one = || -> Result<Option<Cow<'_, Path>>, StorageError> {
            let Some(found) = names.find(&source, path)? else { return Ok(None) };
            // Under the other name it would stand beside the file and be taken for it.
            if let Some(there) = names.find(&target, path)? {
                return Err(StorageError::from_errno(Errno::EXIST, "move to", target.full(&there.path)));
            }
            shift(&source, &found.path, &target, &found.path)?;
            Ok(Some(found.path))
        };
        match one() {
            Ok(shifted) => moved.extend(shifted),
            Err(error) => {
                for path in moved.into_iter().rev() {
                    if let Err(error) = shift(&target, &path, &source, &path) {
                        tracing::error!(%error, "a file could not be moved back");
                    }
                }
                clear_folders(&target, layout);
                return Err(error);
            }
        }
    }
    clear_folders(&source, layout);
    Ok(())
}

/// Deletes the files of a torrent, then the folders that are empty without them. What is not there is no error.
///
/// # Errors
/// The first file that cannot be deleted; the others are deleted nevertheless.
pub fn delete_files(layout: &Layout, directory: &Path) -> Result<(), StorageError> {
    let (root, names) = (Root::open(directory)?, Names::of(layout));
    let mut result = Ok(());
    for path in stored(layout) {
        let delete = || -> Result<(), StorageError> {
            let Some(found) = names.find(&root, path)? else { return Ok(()) };
            let (folder, name) = root.open_folder(&found.path, false)?;
            match unlinkat(&folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(StorageError::from_errno(errno, "delete", root.full(&found.path))),
            }
        };
        result = result.and(delete());
    }
    clear_folders(&root, layout);
    result
}

/// Gives a file or folder of a torrent below `directory` another path below it. When it is not there nothing happens:
/// it will have the new path when it is made.
///
/// # Errors
/// When something has the new path already, or the system refuses.
pub fn rename(layout: &Layout, directory: &Path, from: &Path, to: &Path) -> Result<(), StorageError> {
    let (root, names) = (Root::open(directory)?, Names::of(layout));
    let Some(found) = names.find(&root, from)? else { return Ok(()) };
    if let Some(there) = names.find(&root, to)? {
        return Err(StorageError::from_errno(Errno::EXIST, "move to", root.full(&there.path)));
    }
    let partial = found.is_partial().then(|| names.partial(to)).flatten();
    shift(&root, &found.path, &root, partial.as_deref().unwrap_or(to))
}

fn stored(layout: &Layout) -> impl Iterator<Item = &Path> {
    layout.files.iter().filter(|file| !file.padding).map(|file| file.path.as_path())
}

/// Moves one file or folder; between file systems by a copy that is on disk before the original goes.
pub(super) fn shift(source: &Root, from: &Path, target: &Root, to: &Path) -> Result<(), StorageError> {
    let (old_folder, old_name) = source.open_folder(from, false)?;
    let (new_folder, new_name) = target.open_folder(to, true)?;
    match renameat_with(&old_folder, old_name, &new_folder, new_name, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::XDEV) => {
            let failed = |error: io::Error| StorageError::from_io(&error, "copy", target.full(to));
            let refused = |errno: Errno| StorageError::from_errno(errno, "copy", target.full(to));
            let reading = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let making = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut old = File::from(openat(&old_folder, old_name, reading, Mode::empty()).map_err(refused)?);
            let mode = Mode::from_raw_mode(0o666);
            let mut new = File::from(openat(&new_folder, new_name, making, mode).map_err(refused)?);
            let copied = io::copy(&mut old, &mut new)
                .and_then(|_| new.set_modified(old.metadata()?.modified()?))
                .and_then(|()| new.sync_all());
            if let Err(error) = copied {
                let _ = unlinkat(&new_folder, new_name, AtFlags::empty());
                return Err(failed(error));
            }
            unlinkat(&old_folder, old_name, AtFlags::empty())
                .map_err(|errno| StorageError::from_errno(errno, "delete", source.full(from)))
        }
        Err(errno) => Err(StorageError::from_errno(errno, "move to", target.full(to))),
    }
}

/// Removes the torrent's folders that are empty, innermost first.
fn clear_folders(root: &Root, layout: &Layout) {
    let mut folders: Vec<PathBuf> = stored(layout)
        .flat_map(|path| path.ancestors().skip(1))
        .filter(|folder| !folder.as_os_str().is_empty())
        .map(Path::to_path_buf)
        .collect();
    folders.sort_unstable_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    folders.dedup();
    for folder in folders {
        if let Ok((above, name)) = root.open_folder(&folder, false) {
            // One that is not empty stays: what is in it is not ours.
            let _ = unlinkat(&above, name, AtFlags::REMOVEDIR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::layout::FileSpec;
    use std::fs;

    fn layout() -> Layout {
        let file = |path: &str, length| FileSpec { path: path.into(), length, padding: false };
        Layout::new(16384, vec![file("t/a", 3), file("t/sub/b", 4), file("t/missing", 5)]).unwrap()
    }

    fn filled() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("t/sub")).unwrap();
        fs::write(dir.path().join("t/a"), "aaa").unwrap();
        fs::write(dir.path().join("t/sub/b"), "bbbb").unwrap();
        dir
    }

    #[test]
    fn files_move_and_empty_folders_go() {
        let (from, to) = (filled(), tempfile::tempdir().unwrap());
        let target = to.path().join("new/place");
        move_files(&layout(), from.path(), &target).unwrap();
        assert_eq!(fs::read(target.join("t/sub/b")).unwrap(), b"bbbb");
        assert!(!from.path().join("t").exists() && !target.join("t/missing").exists());
    }

    #[test]
    fn nothing_is_overwritten_and_what_was_moved_goes_back() {
        let (from, to) = (filled(), tempfile::tempdir().unwrap());
        fs::create_dir_all(to.path().join("t/sub")).unwrap();
        fs::write(to.path().join("t/sub/b"), "mine").unwrap();
        assert!(move_files(&layout(), from.path(), to.path()).is_err());
        assert_eq!(fs::read(from.path().join("t/a")).unwrap(), b"aaa");
        assert_eq!(fs::read(to.path().join("t/sub/b")).unwrap(), b"mine");
        assert!(!to.path().join("t/a").exists());
    }

    #[test]
    fn only_the_torrents_own_files_are_deleted() {
        let dir = filled();
        fs::write(dir.path().join("t/sub/foreign"), "x").unwrap();
        delete_files(&layout(), dir.path()).unwrap();
        assert!(!dir.path().join("t/a").exists() && dir.path().join("t/sub/foreign").exists());
    }

    #[test]
    fn no_link_leads_out() {
        let (dir, outside) = (filled(), tempfile::tempdir().unwrap());
        fs::remove_dir_all(dir.path().join("t/sub")).unwrap();
        fs::write(outside.path().join("b"), "precious").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("t/sub")).unwrap();
        assert!(delete_files(&layout(), dir.path()).is_err());
        assert!(move_files(&layout(), dir.path(), &dir.path().join("elsewhere")).is_err());
        assert_eq!(fs::read(outside.path().join("b")).unwrap(), b"precious");
    }

    #[test]
    fn files_and_folders_are_renamed() {
        let dir = filled();
        let rename = |from: &str, to: &str| rename(&layout(), dir.path(), Path::new(from), Path::new(to));
        rename("t/a", "t/z").unwrap();
        rename("t", "u").unwrap();
        rename("u/none", "u/some").unwrap();
        assert!(rename("u/z", "u/sub").is_err());
        assert_eq!(fs::read(dir.path().join("u/z")).unwrap(), b"aaa");
    }

    #[test]
    fn incomplete_files_go_the_same_ways_under_their_name() {
        let (dir, to) = (filled(), tempfile::tempdir().unwrap());
        let at = |name: &str| dir.path().join(name);
        fs::rename(at("t/a"), at("t/a.part")).unwrap();
        rename(&layout(), dir.path(), Path::new("t/a"), Path::new("t/c")).unwrap();
        assert!(at("t/c.part").exists() && !at("t/c").exists());
        fs::rename(at("t/c.part"), at("t/a.part")).unwrap();
        assert!(
            rename(&layout(), dir.path(), Path::new("t/sub/b"), Path::new("t/a")).is_err(),
            "it is taken"
        );

        // A finished file in the place of an incomplete one is not shadowed, nor does it shadow.
        fs::create_dir(to.path().join("t")).unwrap();
        fs::write(to.path().join("t/a"), "mine").unwrap();
        assert!(move_files(&layout(), dir.path(), to.path()).is_err());
        assert!(at("t/a.part").exists() && !to.path().join("t/a.part").exists());
        fs::remove_file(to.path().join("t/a")).unwrap();
        move_files(&layout(), dir.path(), to.path()).unwrap();
        assert_eq!(fs::read(to.path().join("t/a.part")).unwrap(), b"aaa");
        assert!(!at("t").exists());
        delete_files(&layout(), to.path()).unwrap();
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
    }
}
