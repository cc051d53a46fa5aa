//! The files that a new torrent is made of: found below a path, in an order that depends on names only.

use super::failure::{Failure, io_reason};
use super::quantity::printable;
use ringseed_proto::limits::{FILES_MAX, PATH_DEPTH_MAX};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file to be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentFile {
    /// Where it is.
    pub source: PathBuf,
    /// Its path in the torrent: for a directory it begins with the directory's name.
    pub path: PathBuf,
    /// Length in bytes when it was found.
    pub length: u64,
    stamp: Stamp,
}

/// What changes when a file's bytes change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// What lies below a path.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The files in the order of their names, byte by byte.
    pub files: Vec<ContentFile>,
    /// Directories without anything in them, which a torrent cannot describe.
    pub empty_directories: Vec<PathBuf>,
}

/// Finds the regular files at `root`, a file or a directory. Symlinks to files and directories are followed.
///
/// # Errors
/// When something is neither file nor directory, cannot be read, leads back to a directory it is in, or is
/// more than a torrent may hold.
pub fn find(root: &Path) -> Result<Content, Failure> {
    // Resolves `.` and `..`, which have no name to give the torrent.
    let resolved = root.canonicalize().map_err(|error| unusable(root, &io_reason(&error)))?;
    // A symlink gives the torrent its own name, not that of its target.
    let name = root.file_name().or_else(|| resolved.file_name()).ok_or_else(|| {
        unusable(root, "it has no name that the torrent could have; name a directory or a file below it")
    })?;
    let mut walk = Walk { content: Content::default(), above: Vec::new() };
    walk.enter(&resolved, PathBuf::from(name))?;
    if walk.content.files.is_empty() {
        return Err(unusable(root, "there are no files in it"));
    }
    Ok(walk.content)
}

fn unusable(path: &Path, reason: &str) -> Failure {
    Failure::failed(format!("cannot share {}: {reason}", printable(&path.to_string_lossy())))
}

struct Walk {
    content: Content,
    /// Device and inode of the directories above.
    above: Vec<(u64, u64)>,
}

impl Walk {
    fn enter(&mut self, source: &Path, path: PathBuf) -> Result<(), Failure> {
        let found = std::fs::metadata(source).map_err(|error| unusable(source, &io_reason(&error)))?;
        if found.is_file() {
            if self.content.files.len() >= FILES_MAX {
                return Err(unusable(source, &format!("a torrent holds at most {FILES_MAX} files")));
            }
            let file =
                ContentFile { source: source.into(), path, length: found.len(), stamp: Stamp::of(&found) };
            self.content.files.push(file);
            return Ok(());
        }
        if !found.is_dir() {
            return Err(unusable(source, "it is neither a file nor a directory; move it out of the way"));
        }
        let identity = (found.dev(), found.ino());
        if self.above.contains(&identity) {
            return Err(unusable(source, "this symlink leads back to a directory it is in; remove it"));
        }
        if self.above.len() >= PATH_DEPTH_MAX {
            return Err(unusable(source, &format!("it is more than {PATH_DEPTH_MAX} directories deep")));
        }
        let mut names = std::fs::read_dir(source)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>, _>>())
            .map_err(|error| unusable(source, &io_reason(&error)))?;
        if names.is_empty() {
            self.content.empty_directories.push(path);
            return Ok(());
        }
        names.sort_unstable();
        self.above.push(identity);
        for name in names {
            self.enter(&source.join(&name), path.join(&name))?;
        }
        self.above.pop();
        Ok(())
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { inode: metadata.ino(), seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() }
    }
}

impl ContentFile {
    /// Whether the file is still what was found.
    pub fn is_unchanged(&self) -> bool {
        std::fs::metadata(&self.source)
            .is_ok_and(|now| now.len() == self.length && Stamp::of(&now) == self.stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("r");
        std::fs::create_dir_all(root.join("b/empty")).expect("made");
        for (name, bytes) in [("c", 3), ("b/z", 0), ("b/a", 1), ("a.b", 2)] {
            std::fs::write(root.join(name), vec![0; bytes]).expect("written");
        }
        dir
    }

    fn text(failure: Failure) -> String {
        match failure {
            Failure::Failed(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_come_in_the_order_of_their_names() {
        let dir = tree();
        let content = find(&dir.path().join("r")).expect("found");
        let paths: Vec<_> =
            content.files.iter().map(|file| (file.path.to_str().expect("utf-8"), file.length)).collect();
        assert_eq!(paths, [("r/a.b", 2), ("r/b/a", 1), ("r/b/z", 0), ("r/c", 3)]);
        assert_eq!(content.empty_directories, [PathBuf::from("r/b/empty")]);
    }

    #[test]
    fn one_file_has_its_own_name() {
        let dir = tree();
        symlink(dir.path().join("r/c"), dir.path().join("link")).expect("linked");
        let content = find(&dir.path().join("link")).expect("found");
        assert_eq!(content.files.len(), 1);
        assert_eq!(content.files[0].path, PathBuf::from("link"));
        assert_eq!(content.files[0].length, 3);
    }

    #[test]
    fn dots_take_the_name_of_the_directory() {
        let dir = tree();
        let content = find(&dir.path().join("r/b/..")).expect("found");
        assert_eq!(content.files[0].path, PathBuf::from("r/a.b"));
    }

    #[test]
    fn symlinks_are_followed_and_loops_refused() {
        let dir = tree();
        let outside = tempfile::tempdir().expect("a directory");
        std::fs::write(outside.path().join("f"), b"12345").expect("written");
        symlink(outside.path(), dir.path().join("r/linked")).expect("linked");
        let content = find(&dir.path().join("r")).expect("found");
        assert!(content.files.iter().any(|file| file.path == Path::new("r/linked/f") && file.length == 5));
        symlink("..", dir.path().join("r/b/up")).expect("linked");
        let refused = text(find(&dir.path().join("r")).expect_err("a loop"));
        assert!(refused.contains("b/up") && refused.contains("leads back"), "{refused}");
    }

    #[test]
    fn nothing_is_skipped_silently() {
        let dir = tree();
        symlink("nowhere", dir.path().join("r/dangling")).expect("linked");
        let refused = text(find(&dir.path().join("r")).expect_err("dangling"));
        assert!(refused.contains("dangling") && refused.contains("does not exist"), "{refused}");
        std::fs::remove_file(dir.path().join("r/dangling")).expect("removed");
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("r/socket")).expect("bound");
        let refused = text(find(&dir.path().join("r")).expect_err("a socket"));
        assert!(refused.contains("r/socket") && refused.contains("neither"), "{refused}");
        let refused = text(find(&dir.path().join("r/b/empty")).expect_err("no files"));
        assert!(refused.contains("no files"), "{refused}");
    }

    #[test]
    fn changes_are_noticed() {
        let dir = tree();
        let content = find(&dir.path().join("r/c")).expect("found");
        assert!(content.files[0].is_unchanged());
        std::fs::write(dir.path().join("r/c"), b"four").expect("written");
        assert!(!content.files[0].is_unchanged());
    }
}
