//! Writing a torrent file so that it is there whole or not at all.

use super::failure::{Failure, io_reason};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Where a torrent file will be.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    replace: bool,
}

impl Target {
    /// Refuses a path that cannot be written, before any work is done for it.
    pub fn new(path: &Path, replace: bool) -> Result<Self, Failure> {
        let target = Self { path: path.to_owned(), replace };
        match path.symlink_metadata() {
            Ok(found) if found.is_dir() => Err(target.refused("it is a directory")),
            Ok(_) if !replace => Err(target.exists()),
            _ if !target.folder().is_dir() => Err(target.refused("its directory does not exist")),
            _ => Ok(target),
        }
    }

    /// Writes the file.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = self.folder().join(name);
        let flags = if self.replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        let written = File::create_new(&part)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| Ok(renameat_with(CWD, &part, CWD, &self.path, flags)?));
        written.map_err(|error| {
            let _ = std::fs::remove_file(&part);
            match error.kind() {
                ErrorKind::AlreadyExists => self.exists(),
                _ => self.refused(&io_reason(&error)),
            }
        })
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn exists(&self) -> Failure {
        self.refused("it exists; --force replaces it")
    }

    fn refused(&self, reason: &str) -> Failure {
        Failure::failed(format!("cannot write {}: {reason}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exists_is_replaced_by_force_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("t.torrent");
        let target = Target::new(&path, false).expect("free");
        std::fs::write(&path, b"came between").expect("written");
        assert!(matches!(target.write(b"new"), Err(Failure::Failed(text)) if text.contains("--force")));
        assert!(Target::new(&path, false).is_err());
        assert_eq!(std::fs::read(&path).expect("there"), b"came between");
        Target::new(&path, true).expect("forced").write(b"new").expect("written");
        assert_eq!(std::fs::read(&path).expect("there"), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1, "nothing is left behind");
    }

    #[test]
    fn impossible_targets_are_refused_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(Target::new(dir.path(), true).is_err());
        assert!(Target::new(&dir.path().join("no/t.torrent"), false).is_err());
    }
}
