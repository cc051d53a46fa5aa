//! Which names the files of a torrent have on disk: those that libtorrent gives, or those by the letter of the torrent.
//!
//! They differ for few torrents ([`Info::plain_paths`]). Clients of both kinds leave data behind, and a torrent that was made
//! of files with such names lies under them, so that it is looked for under both.

use super::confined::Root;
use super::error::StorageError;
use super::names::Names;
use ringseed_proto::layout::Layout;
use ringseed_proto::metainfo::Info;
use rustix::fs::{RenameFlags, renameat_with};
use std::path::{Path, PathBuf};

/// Files that are looked for.
const FILES_MAX: usize = 1000;

/// Whether files of a torrent are below `directory` by the letter of the torrent, and none of these are there under the
/// names that they are given otherwise.
pub fn lies_under_plain_names(directory: &Path, info: &Info) -> bool {
    if info.plain_paths().is_empty() {
        return false;
    }
    let Ok(root) = Root::open(directory) else { return false };
    let names = Names::of(&info.layout);
    let is_there = |path: &Path| matches!(names.find(&root, path, false), Ok(Some(_)));
    let mut plain = false;
    for (index, path) in info.plain_paths().iter().take(FILES_MAX) {
        if is_there(&info.layout.files[*index].path) {
            return false;
        }
        plain |= is_there(path);
    }
    plain
}

/// Gives incomplete files of another client, which have `suffix` behind their names, the names that such files have here.
/// Files that are here under a name of ours stay as they are.
///
/// # Errors
/// The first file that cannot be renamed.
pub fn adopt_partial_names(directory: &Path, layout: &Layout, suffix: &str) -> Result<(), StorageError> {
    if suffix.is_empty() || !directory.is_dir() {
        return Ok(());
    }
    let (root, names) = (Root::open(directory)?, Names::of(layout));
    for file in layout.files.iter().filter(|file| !file.padding) {
        let mut foreign = file.path.clone().into_os_string();
        foreign.push(suffix);
        let foreign = PathBuf::from(foreign);
        if !matches!(root.stat(&foreign), Ok(Some(_))) || names.find(&root, &file.path, false)?.is_some() {
            continue;
        }
        let own = names.partial(&file.path).unwrap_or_else(|| file.path.clone());
        let (folder, old) = root.open_folder(&foreign, false)?;
        let new = own.file_name().unwrap_or_default();
        renameat_with(&folder, old, &folder, new, RenameFlags::NOREPLACE)
            .map_err(|errno| StorageError::from_errno(errno, "rename", root.full(&foreign)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_files_of_another_client_are_taken_over() {
        let layout = Layout::single("a", 16384, 3).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a.!qB"), "old").unwrap();
        adopt_partial_names(dir.path(), &layout, ".!qB").unwrap();
        assert!(at("a.part").exists() && !at("a.!qB").exists());
        std::fs::write(at("a.!qB"), "new").unwrap();
        adopt_partial_names(dir.path(), &layout, ".!qB").unwrap();
        assert_eq!(std::fs::read(at("a.part")).unwrap(), b"old");
        adopt_partial_names(&at("none"), &layout, ".!qB").unwrap();
    }

    #[test]
    fn data_of_clients_that_keep_names_is_found() {
        let info =
            b"d5:filesld6:lengthi1e4:pathl1:aeed6:lengthi1e4:pathl1:Aeee4:name1:t12:piece lengthi16384e\
            6:pieces20:aaaaaaaaaaaaaaaaaaaae";
        let info = Info::parse(info).unwrap();
        assert_eq!(info.layout.files[1].path, Path::new("t/A.1"));
        let dir = tempfile::tempdir().unwrap();
        assert!(!lies_under_plain_names(dir.path(), &info));
        std::fs::create_dir(dir.path().join("t")).unwrap();
        std::fs::write(dir.path().join("t/a"), "1").unwrap();
        assert!(!lies_under_plain_names(dir.path(), &info), "that one has one name");
        std::fs::write(dir.path().join("t/A"), "1").unwrap();
        assert!(lies_under_plain_names(dir.path(), &info));
        assert_eq!(info.clone().with_plain_paths().layout.files[1].path, Path::new("t/A"));
        std::fs::write(dir.path().join("t/A.1"), "1").unwrap();
        assert!(!lies_under_plain_names(dir.path(), &info));
    }
}
