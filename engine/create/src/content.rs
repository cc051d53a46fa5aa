//! The files that a new torrent is made of: found below a path, in an order that depends on names only.

use super::CreateFailure;
use super::place::Place;
use ringseed_proto::limits::{FILES_MAX, PATH_DEPTH_MAX};
use std::fs::{File, Metadata};
use std::io;
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
#[derive(Debug)]
pub struct Content {
    /// The files in the order of their names, byte by byte.
    pub files: Vec<ContentFile>,
    /// Directories without anything in them, which a torrent cannot describe.
    pub empty_directories: Vec<PathBuf>,
    place: Place,
}

impl Content {
    /// Finds the regular files at `root`, a file or a directory. Symlinks to files and directories are followed.
    ///
    /// # Errors
    /// When something is neither file nor directory, cannot be read, leads back to a directory it is in, or is
    /// more than a torrent may hold.
    pub fn find(root: &Path) -> Result<Content, CreateFailure> {
        // Resolves `.` and `..`, which have no name to give the torrent.
        let resolved = root.canonicalize().map_err(|error| CreateFailure::share(root, error))?;
        // A symlink gives the torrent its own name, not that of its target.
        let name = root.file_name().or_else(|| resolved.file_name());
        Content::walk(root, &resolved, name, Place::Anywhere)
    }

    /// As [`Content::find`] for what is below one of these directories and nothing else: no symlink is followed, and
    /// nothing leads out, whatever is put there meanwhile. `root` is absolute.
    ///
    /// # Errors
    /// Also when `root` is below none of them.
    pub fn find_below(allowed: &[PathBuf], root: &Path) -> Result<Content, CreateFailure> {
        let place = Place::below(allowed, root)?;
        Content::walk(root, root, root.file_name(), place)
    }

    fn walk(
        root: &Path,
        resolved: &Path,
        name: Option<&std::ffi::OsStr>,
        place: Place,
    ) -> Result<Content, CreateFailure> {
        let unnamed = "it has no name that the torrent could have; name a directory or a file below it";
        let name = name.ok_or_else(|| CreateFailure::unusable(root, unnamed))?;
        let content = Content { files: Vec::new(), empty_directories: Vec::new(), place };
        let mut walk = Walk { content, above: Vec::new() };
        walk.enter(resolved, PathBuf::from(name))?;
        if walk.content.files.is_empty() {
            return Err(CreateFailure::unusable(root, "there are no files in it"));
        }
        Ok(walk.content)
    }

    /// Opens a file of it for reading.
    pub(super) fn open(&self, file: &ContentFile) -> io::Result<File> {
        self.place.open(&file.source)
    }

    /// The first file that is not what was found.
    pub fn changed(&self) -> Option<&ContentFile> {
        self.files.iter().find(|file| {
            let now = self.place.metadata(&file.source);
            !now.is_ok_and(|now| now.len() == file.length && Stamp::of(&now) == file.stamp)
        })
    }
}

struct Walk {
    content: Content,
    /// Device and inode of the directories above.
    above: Vec<(u64, u64)>,
}

impl Walk {
    fn enter(&mut self, source: &Path, path: PathBuf) -> Result<(), CreateFailure> {
        let failed = |error| CreateFailure::share(source, error);
        let unusable = |reason: &str| Err(CreateFailure::unusable(source, reason));
        let found = self.content.place.metadata(source).map_err(failed)?;
        if found.is_file() {
            if self.content.files.len() >= FILES_MAX {
                return unusable(&format!("a torrent holds at most {FILES_MAX} files"));
            }
            let file =
                ContentFile { source: source.into(), path, length: found.len(), stamp: Stamp::of(&found) };
            self.content.files.push(file);
            return Ok(());
        }
        if !found.is_dir() {
            return unusable("it is neither a file nor a directory; move it out of the way");
        }
        let identity = (found.dev(), found.ino());
        if self.above.contains(&identity) {
            return unusable("this symlink leads back to a directory it is in; remove it");
        }
        if self.above.len() >= PATH_DEPTH_MAX {
            return unusable(&format!("it is more than {PATH_DEPTH_MAX} directories deep"));
        }
        let mut names = self.content.place.names(source).map_err(failed)?;
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

    fn find(root: &Path) -> Result<Content, CreateFailure> {
        Content::find(root)
    }

    fn text(failure: CreateFailure) -> String {
        failure.to_string()
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
        assert!(refused.contains("dangling") && refused.contains("No such file"), "{refused}");
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
        assert!(content.changed().is_none());
        std::fs::write(dir.path().join("r/c"), b"four").expect("written");
        assert!(content.changed().is_some());
    }

    #[test]
    fn what_may_not_be_read_is_named() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tree();
        let top = dir.path().canonicalize().expect("there");
        std::fs::set_permissions(&top, std::fs::Permissions::from_mode(0o755)).expect("set");
        std::fs::set_permissions(top.join("r/b"), std::fs::Permissions::from_mode(0o000)).expect("set");
        // In a thread of its own that is nobody to the file system: root may read everything.
        let refused = std::thread::scope(|scope| {
            let nobody = || {
                // SAFETY: setfsuid takes a number and changes this thread only, which ends below.
                unsafe { libc::setfsuid(65534) };
                Content::find_below(std::slice::from_ref(&top), &top.join("r")).map(|_| ())
            };
            scope.spawn(nobody).join().expect("no panic")
        });
        let refused = text(refused.expect_err("nobody may not"));
        assert!(refused.contains("r/b") && refused.contains("Permission denied"), "{refused}");
        std::fs::set_permissions(top.join("r/b"), std::fs::Permissions::from_mode(0o755)).expect("set");
    }

    #[test]
    fn what_is_below_an_allowed_directory_stays_there() {
        let (dir, outside) = (tree(), tempfile::tempdir().expect("a directory"));
        std::fs::write(outside.path().join("secret"), b"12345").expect("written");
        let top = dir.path().canonicalize().expect("there");
        let below = |path: &Path| Content::find_below(std::slice::from_ref(&top), path);
        let content = below(&top.join("r")).expect("found");
        assert_eq!(content.files.len(), 4);
        assert!(content.changed().is_none() && content.open(&content.files[0]).is_ok());
        for path in [
            outside.path().join("secret"),
            "/etc/passwd".into(),
            "r".into(),
            top.join("r/../../x"),
            top.join(".."),
        ] {
            let refused = text(below(&path).expect_err("outside"));
            assert!(refused.contains("is not below"), "{refused}");
        }
        assert!(text(below(&top).expect_err("all of it")).contains("is not below"));
        assert!(text(below(&top.join("r/none")).expect_err("missing")).contains("No such file"));
        for (target, link) in [(outside.path().join("secret"), "r/link"), (outside.path().into(), "out")] {
            symlink(target, top.join(link)).expect("linked");
        }
        for path in ["r", "r/link", "out", "out/secret"] {
            let refused = text(below(&top.join(path)).expect_err("a link"));
            assert!(refused.contains("symbolic link"), "{refused}");
        }
        // One that came between the walk and the reading is not followed either.
        let open = &content.files[0];
        std::fs::remove_file(&open.source).expect("removed");
        symlink(outside.path().join("secret"), &open.source).expect("linked");
        assert!(content.open(open).is_err() && content.changed() == Some(open));
    }
}
