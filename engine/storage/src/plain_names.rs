//! Which names the files of a torrent have on disk: those that libtorrent gives, or those by the letter of the torrent.
//!
//! They differ for few torrents ([`Info::plain_paths`]). Clients of both kinds leave data behind, and a torrent that was made
//! of files with such names lies under them, so that it is looked for under both.

use super::confined::Root;
use super::error::StorageError;
use super::names::Names;
use super::relocate;
use ringseed_proto::layout::Layout;
use ringseed_proto::metainfo::Info;
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

/// Incomplete files of another client that have names of ours now.
#[derive(Debug)]
pub struct AdoptedFiles {
    root: Root,
    /// The path before and now, of each.
    renamed: Vec<(PathBuf, PathBuf)>,
}

impl AdoptedFiles {
    /// Gives them back the names that the other client knows.
    pub fn give_back(self) {
        for (before, now) in &self.renamed {
            if let Err(error) = relocate::shift(&self.root, now, &self.root, before) {
                tracing::warn!(%error, "an incomplete file of another client keeps its new name");
            }
        }
    }
}

/// Gives incomplete files of another client, which have `suffix` behind their names, the names that such files have here.
/// Files that are here under a name of ours stay as they are. `None` when there are none.
///
/// # Errors
/// The first file that cannot be renamed; then none is.
pub fn adopt_partial_names(
    directory: &Path,
    layout: &Layout,
    suffix: &str,
) -> Result<Option<AdoptedFiles>, StorageError> {
    if suffix.is_empty() || !directory.is_dir() {
        return Ok(None);
    }
    let names = Names::of(layout);
    let mut adopted = AdoptedFiles { root: Root::open(directory)?, renamed: Vec::new() };
    for file in layout.files.iter().filter(|file| !file.padding) {
        let mut foreign = file.path.clone().into_os_string();
        foreign.push(suffix);
        let foreign = PathBuf::from(foreign);
        let is_there = matches!(adopted.root.stat(&foreign), Ok(Some(_)));
        let own = names.partial(&file.path).unwrap_or_else(|| file.path.clone());
        let renamed = match names.find(&adopted.root, &file.path, false) {
            Ok(None) if is_there => relocate::shift(&adopted.root, &foreign, &adopted.root, &own),
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        if let Err(error) = renamed {
            adopted.give_back();
            return Err(error);
        }
        adopted.renamed.push((foreign, own));
    }
    Ok((!adopted.renamed.is_empty()).then_some(adopted))
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
        let adopted = adopt_partial_names(dir.path(), &layout, ".!qB").unwrap().unwrap();
        assert!(at("a.part").exists() && !at("a.!qB").exists());
        adopted.give_back();
        assert!(!at("a.part").exists() && at("a.!qB").exists());
        assert!(adopt_partial_names(dir.path(), &layout, ".!qB").unwrap().is_some());
        std::fs::write(at("a.!qB"), "new").unwrap();
        assert!(adopt_partial_names(dir.path(), &layout, ".!qB").unwrap().is_none());
        assert_eq!(std::fs::read(at("a.part")).unwrap(), b"old");
        assert!(adopt_partial_names(&at("none"), &layout, ".!qB").unwrap().is_none());
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
