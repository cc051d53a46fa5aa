//! Where an engine's state lives between runs, and that only one engine uses it at a time.

use super::failure::{Failure, io_reason};
use ringseed_proto::hashes::TorrentId;
use sha1::{Digest, Sha1};
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A state directory that this process holds.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

/// `$XDG_STATE_HOME/ringseed`, by default `~/.local/state/ringseed`.
pub fn root() -> Result<PathBuf, Failure> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .map(|base| base.join("ringseed"))
        .ok_or_else(|| Failure::failed("neither HOME nor XDG_STATE_HOME is set; give --state-dir DIR"))
}

/// The state directory of a command that works on `torrents` in the existing directory `data`: the same
/// command finds it again, and any other has another one, so that several can run at once.
pub fn of_transfer(command: &str, data: &Path, torrents: &[TorrentId]) -> Result<PathBuf, Failure> {
    let canonical = data
        .canonicalize()
        .map_err(|error| Failure::failed(format!("cannot use {}: {}", data.display(), io_reason(&error))))?;
    Ok(root()?.join(command).join(key(&canonical, torrents)))
}

/// A file name from a path and a set of torrents.
fn key(path: &Path, torrents: &[TorrentId]) -> String {
    let mut sorted = torrents.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut hash = Sha1::new();
    hash.update(path.as_os_str().as_bytes());
    // A path holds no NUL, so that no path runs into the hashes.
    hash.update([0]);
    for torrent in &sorted {
        hash.update(torrent.0);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl StateDir {
    /// Makes the directory if needed and takes its lock, which the system gives back however the process
    /// ends.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::failed(format!(
                "cannot use the state directory {}: {}; give another one with --state-dir",
                path.display(),
                io_reason(&error)
            ))
        };
        let lock_path = path.join("lock");
        loop {
            // What is shared and with whom is nobody else's business.
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
            let mut lock = File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&lock_path)
                .map_err(failed)?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut lock)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // The former holder may have removed the directory between our open and its unlock.
            let still_there = lock.metadata().is_ok_and(|ours| {
                std::fs::metadata(&lock_path)
                    .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()))
            });
            if still_there {
                lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(failed)?;
                return Ok(Self { path: path.to_owned(), _lock: lock });
            }
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all it holds: nothing is left to be continued.
    pub fn remove(self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the state directory stays");
        }
    }
}

fn in_use(path: &Path, lock: &mut File) -> Failure {
    let mut holder = String::new();
    let _ = lock.take(32).read_to_string(&mut holder);
    let process = match holder.trim() {
        "" => String::new(),
        id => format!(" (process {id})"),
    };
    Failure::failed(format!(
        "the state directory {} is in use by another ringseed{process}; stop it, or give another --state-dir",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a/b");
        let held = StateDir::open(&path).expect("free");
        let Err(Failure::Failed(text)) = StateDir::open(&path) else { panic!("it is held") };
        assert!(text.contains(&path.display().to_string()), "{text}");
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        drop(held);
        StateDir::open(&path).expect("free again").remove();
        assert!(!path.exists());
    }

    #[test]
    fn keys_depend_on_path_and_set() {
        let (a, b) = (TorrentId([1; 20]), TorrentId([2; 20]));
        let path = Path::new("/data");
        assert_eq!(key(path, &[a, b]), key(path, &[b, a, a]));
        assert_ne!(key(path, &[a]), key(path, &[a, b]));
        assert_ne!(key(path, &[a]), key(Path::new("/datb"), &[a]));
    }
}
