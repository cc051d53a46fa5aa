//! A temporary directory that goes away with the command, also when it is interrupted.

use super::failure::{Failure, io_reason};
use super::quantity::size;
use super::signals::Stop;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Directories tried before giving up: left-overs of killed processes may be in the way.
const NAMES_MAX: u32 = 1000;

/// A directory of our own; removed with all it holds when dropped or when a second signal ends the process.
pub struct Scratch {
    path: PathBuf,
    stop: Stop,
}

impl Scratch {
    /// Makes one below `parent`, the system's directory for temporary files when `None`.
    pub fn new(parent: Option<&Path>, stop: &Stop) -> Result<Self, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let failed = |error: &std::io::Error| {
            Failure::failed(format!(
                "cannot make a temporary directory in {}: {}; name another one with --dir",
                parent.display(),
                io_reason(error)
            ))
        };
        for number in 0..NAMES_MAX {
            let path = parent.join(format!("ringseed-demo-{}-{number}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    stop.remove_when_killed(Some(path.clone()));
                    return Ok(Self { path, stop: stop.clone() });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Err(failed(&ErrorKind::AlreadyExists.into()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory in it.
    pub fn directory(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        std::fs::create_dir(&path).map_err(|error| {
            Failure::failed(format!("cannot make {}: {}", path.display(), io_reason(&error)))
        })?;
        Ok(path)
    }

    /// Refuses when the disk has less than `bytes` free.
    pub fn require_space(&self, bytes: u64) -> Result<(), Failure> {
        let Ok(disk) = rustix::fs::statvfs(&self.path) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < bytes {
            return Err(Failure::failed(format!(
                "{} are needed, but {} has {} free; give a smaller --size or another --dir",
                size(bytes),
                self.path.display(),
                size(free)
            )));
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            super::screen::note(&format!("note: {} stays: {}", self.path.display(), io_reason(&error)));
        }
        self.stop.remove_when_killed(None);
    }
}
