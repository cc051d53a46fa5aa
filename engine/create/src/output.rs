//! A torrent file that is written below one of some directories, whole or not at all.

use super::CreateFailure;
use super::place::{open_allowed, open_below};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, openat, renameat_with, statat, unlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where a torrent file will be.
#[derive(Debug)]
pub struct Output {
    folder: OwnedFd,
    name: OsString,
    path: PathBuf,
}

impl Output {
    /// Refuses a path that cannot be written or is below none of the directories, before any work is done for it.
    /// Nothing is replaced, and no symlink is followed.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn below(allowed: &[PathBuf], path: &Path) -> Result<Output, CreateFailure> {
        let refused = |reason: String| CreateFailure::Write { path: path.into(), reason };
        let (root, _, rest) = open_allowed(allowed, path).map_err(|error| match error {
            CreateFailure::Unusable { reason, .. } => refused(reason),
            other => refused(other.to_string()),
        })?;
        let name = rest.file_name().filter(|name| Path::new(name).extension() == Some(OsStr::new("torrent")));
        let name = name.ok_or_else(|| refused("the name of a torrent file ends with .torrent".into()))?;
        let above = rest.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = open_below(&root, above, OFlags::PATH | OFlags::DIRECTORY).map_err(|error| {
            refused(match error.raw_os_error() {
                Some(libc::ELOOP) => "a symbolic link is not followed here".into(),
                Some(libc::ENOENT) => "its directory does not exist".into(),
                _ => error.to_string(),
            })
        })?;
        match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(refused("it exists".into())),
            Err(Errno::NOENT) => Ok(Output { folder, name: name.to_owned(), path: path.into() }),
            Err(errno) => Err(refused(io::Error::from(errno).to_string())),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When something has its name by now, or the system refuses.
    pub fn write(&self, bytes: &[u8]) -> Result<(), CreateFailure> {
        let mut part = self.name.clone();
        part.push(format!(".{}.part", std::process::id()));
        let making = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = openat(&self.folder, &part, making, Mode::from_raw_mode(0o666))
            .map_err(io::Error::from)
            .and_then(|fd| {
                let mut file = File::from(fd);
                file.write_all(bytes)?;
                file.sync_all()?;
                let (folder, flags) = (&self.folder, RenameFlags::NOREPLACE);
                Ok(renameat_with(folder, &part, folder, &self.name, flags)?)
            });
        written.map_err(|error| {
            let _ = unlinkat(&self.folder, &part, AtFlags::empty());
            CreateFailure::Write { path: self.path.clone(), reason: error.to_string() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn it_is_written_where_that_is_allowed_and_replaces_nothing() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("sub")).unwrap();
        symlink(outside.path(), top.join("out")).unwrap();
        symlink(outside.path().join("x"), top.join("link.torrent")).unwrap();
        let to = |path: &Path| Output::below(std::slice::from_ref(&top), path);
        let output = to(&top.join("sub/a.torrent")).unwrap();
        output.write(b"one").unwrap();
        assert_eq!(std::fs::read(top.join("sub/a.torrent")).unwrap(), b"one");
        assert!(output.write(b"two").unwrap_err().to_string().contains("exists"));
        assert_eq!(std::fs::read_dir(top.join("sub")).unwrap().count(), 1, "nothing is left behind");
        for (path, why) in [
            (top.join("sub/a.torrent"), "it exists"),
            (top.join("link.torrent"), "it exists"),
            (top.join("out/b.torrent"), "symbolic link"),
            (top.join("none/b.torrent"), "does not exist"),
            (top.join("sub/../../b.torrent"), "is not below"),
            (outside.path().join("b.torrent"), "is not below"),
            ("b.torrent".into(), "is not below"),
            (top.join("authorized_keys"), "ends with .torrent"),
        ] {
            let error = to(&path).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("cannot write"), "{error}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
