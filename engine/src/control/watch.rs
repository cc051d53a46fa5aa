//! The watch folder: torrent files that appear in it are added.
//!
//! A file is read once it has stayed the same between two looks. It is then renamed: `.added` behind its name when it was
//! added or known, `.invalid` when it is no torrent, so that a look at the folder tells what happened. Writers may be slow,
//! and some make an empty file first: what is no torrent yet is tried again whenever it changes, and is invalid when it has
//! not changed for [`PATIENCE`]. A torrent that cannot be added now, because a disk is full or not mounted, is tried again
//! each [`PATIENCE`]. In a folder that cannot be written it is remembered what was taken, over restarts as
//! well, so that a torrent that is removed does not come back.

use ringseed_handle::{AddOutcome, AddTorrent, EngineHandle};
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use ringseed_proto::metainfo::Metainfo;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// Files looked at in one look; the others wait until some of these are gone.
const FILES_MAX: usize = 1000;
/// How long a file that is no torrent has to stay as it is to be given up: writers over a network pause for seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Files remembered that could not be renamed. In a folder of more the ones of the largest names are added again at a
/// restart, which does nothing to torrents that are there.
const TAKEN_MAX: usize = 10_000;
/// Where they are remembered, in the state directory.
const TAKEN_FILE: &str = "watch-taken.json";

/// By what a file is known to be the one that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: i64,
    modified_ns: i64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        }
    }
}

/// A file that is not taken yet.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    stamp: Stamp,
    /// Since when it is as it is.
    since: Instant,
    /// It was tried as it is.
    tried: bool,
}

/// What became of a file that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// It was added or known.
    Added,
    /// It is no torrent as it is.
    Refused,
    /// It is one, and cannot be added now.
    Later,
}

/// What is known of the files of a folder.
struct Folder {
    path: PathBuf,
    /// Where it is remembered what was taken; `None` keeps it in memory.
    memory: Option<PathBuf>,
    waiting: HashMap<OsString, Waiting>,
    taken: HashMap<OsString, Stamp>,
}

/// A file to be tried: its name, and whether it is the last time.
#[derive(Debug, PartialEq, Eq)]
struct Ready {
    name: OsString,
    last: bool,
}

/// Adds what appears in `folder` until the engine ends.
pub async fn watch(folder: PathBuf, state_dir: Option<PathBuf>, handle: EngineHandle) {
    let mut folder = Folder::open(folder, state_dir.map(|dir| dir.join(TAKEN_FILE)));
    let mut complained = false;
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            let ready = folder.look(Instant::now());
            (folder, ready)
        });
        let Ok((back, looked)) = looked.await else {
            tracing::error!("the watch folder was not looked at, and is not any more");
            return;
        };
        folder = back;
        match looked {
            Ok(ready) => {
                complained = false;
                for Ready { name, last } in ready {
                    let Some(tried) = try_one(&folder.path.join(&name), last, &handle).await else { return };
                    folder.settle(&name, tried, last, Instant::now());
                }
            }
            Err(error) if !complained => {
                complained = true;
                tracing::error!(%error, folder = %folder.path.display(), "cannot look into the watch folder");
            }
            Err(_) => {}
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

impl Folder {
    fn open(path: PathBuf, memory: Option<PathBuf>) -> Folder {
        let taken = memory.as_deref().map_or_else(HashMap::new, remembered);
        Folder { path, memory, waiting: HashMap::new(), taken }
    }

    /// The files that are to be tried now.
    fn look(&mut self, now: Instant) -> io::Result<Vec<Ready>> {
        let (mut ready, mut waiting) = (Vec::new(), HashMap::new());
        let mut there = HashMap::new();
        let mut empty = true;
        for entry in std::fs::read_dir(&self.path)?.flatten() {
            empty = false;
            let path = entry.path();
            let torrent = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("torrent"));
            // A link stands for the file that it leads to: the folder is the user's.
            let metadata = torrent.then(|| std::fs::metadata(&path).ok()).flatten();
            let Some(metadata) = metadata.filter(Metadata::is_file) else { continue };
            let name = entry.file_name();
            let stamp = Stamp::of(&metadata);
            if self.taken.get(&name) == Some(&stamp) {
                there.insert(name, stamp);
                continue;
            }
            if waiting.len() >= FILES_MAX {
                continue;
            }
            let before = self.waiting.get(&name).filter(|before| before.stamp == stamp);
            let file = match before {
                None => Waiting { stamp, since: now, tried: false },
                Some(before) => {
                    let last = now.duration_since(before.since) >= PATIENCE;
                    if !before.tried || last {
                        ready.push(Ready { name: name.clone(), last });
                    }
                    Waiting { tried: true, ..*before }
                }
            };
            waiting.insert(name, file);
        }
        self.waiting = waiting;
        // A folder in which nothing is may be one that is not mounted.
        if there.len() < self.taken.len() && !empty {
            self.taken = there;
            self.remember();
        }
        ready.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(ready)
    }

    /// Renames a file that is dealt with, and remembers it when it cannot be renamed.
    fn settle(&mut self, name: &OsStr, tried: Tried, last: bool, now: Instant) {
        let suffix = match tried {
            Tried::Added => "added",
            Tried::Refused if last => "invalid",
            Tried::Refused => return,
            Tried::Later => {
                if let Some(file) = self.waiting.get_mut(name).filter(|_| last) {
                    file.since = now;
                }
                return;
            }
        };
        let Some(file) = self.waiting.remove(name) else { return };
        let path = self.path.join(name);
        let mut renamed = path.clone().into_os_string();
        renamed.push(format!(".{suffix}"));
        if let Err(error) = std::fs::rename(&path, renamed) {
            tracing::error!(%error, file = %path.display(), "cannot rename a file of the watch folder: it is remembered");
            self.taken.insert(name.to_owned(), file.stamp);
            self.remember();
        }
    }

    /// Writes down what was taken; at the worst it is added again at the next start.
    fn remember(&self) {
        let Some(memory) = &self.memory else { return };
        let mut taken: Vec<(&OsStr, Stamp)> =
            self.taken.iter().map(|(name, stamp)| (name.as_os_str(), *stamp)).collect();
        taken.sort_unstable_by_key(|(name, _)| *name);
        taken.truncate(TAKEN_MAX);
        let write = || -> io::Result<()> {
            let new = memory.with_extension("new");
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(&taken)?)?;
            file.sync_all()?;
            std::fs::rename(&new, memory)
        };
        if let Err(error) = write() {
            tracing::warn!(%error, "cannot remember what was taken from the watch folder");
        }
    }
}

/// What was taken in earlier runs; nothing when that cannot be read.
fn remembered(memory: &Path) -> HashMap<OsString, Stamp> {
    let bytes = match std::fs::read(memory) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return HashMap::new(),
        Err(error) => {
            tracing::warn!(%error, "cannot read what was taken from the watch folder");
            return HashMap::new();
        }
    };
    let taken: Vec<(OsString, Stamp)> = serde_json::from_slice(&bytes).unwrap_or_default();
    taken.into_iter().take(TAKEN_MAX).collect()
}

/// Adds one file, and complains when it is the last time that it is tried; `None` when the engine has ended.
async fn try_one(file: &Path, last: bool, handle: &EngineHandle) -> Option<Tried> {
    let path = file.to_path_buf();
    let (reason, tried) = match tokio::task::spawn_blocking(move || parse(&path)).await {
        Ok(Ok(metainfo)) => {
            let settings = handle.snapshot().settings.clone();
            let torrent = AddTorrent {
                paused: !settings.start_added,
                data_dir: settings.download_dir.clone(),
                ..AddTorrent::new(Arc::new(metainfo))
            };
            match handle.add(torrent).await {
                Ok(AddOutcome::Added(id)) => {
                    tracing::info!(file = %file.display(), id, "added from the watch folder");
                    return Some(Tried::Added);
                }
                Ok(AddOutcome::Duplicate(_)) => return Some(Tried::Added),
                Err(ringseed_handle::EngineError::Stopping) => return None,
                Err(error) => (error.to_string(), Tried::Later),
            }
        }
        Ok(Err(reason)) => (reason, Tried::Refused),
        Err(error) => (error.to_string(), Tried::Later),
    };
    let file = file.display();
    match tried {
        Tried::Refused if last => tracing::error!(reason, %file, "a file of the watch folder is no torrent"),
        Tried::Refused => tracing::info!(reason, %file, "a file of the watch folder is no torrent yet"),
        _ => {
            tracing::error!(reason, %file, "cannot add a file of the watch folder: it is tried again each minute")
        }
    }
    Some(tried)
}

fn parse(path: &Path) -> Result<Metainfo, String> {
    let mut bytes = Vec::new();
    // A pipe that came in its place would never end, nor be opened.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let read = opened.and_then(|file| match file.metadata()?.is_file() {
        true => file.take(TORRENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes),
        false => Err(io::Error::other("it is not a file")),
    });
    read.map_err(|error| error.to_string())?;
    if bytes.len() > TORRENT_BYTES_MAX {
        return Err("it is larger than any torrent file".to_owned());
    }
    Metainfo::parse(&bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder, and times from the first look on.
    fn folder() -> (tempfile::TempDir, Folder, impl Fn(u64) -> Instant) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path().to_path_buf(), None);
        let start = Instant::now();
        (dir, folder, move |seconds| start + Duration::from_secs(seconds))
    }

    fn names(ready: io::Result<Vec<Ready>>) -> Vec<(String, bool)> {
        ready.unwrap().into_iter().map(|ready| (ready.name.into_string().unwrap(), ready.last)).collect()
    }

    #[test]
    fn files_are_ready_once_they_stop_growing() {
        let (dir, mut folder, at) = folder();
        let file = dir.path().join("a.torrent");
        std::fs::write(&file, "d").unwrap();
        std::fs::write(dir.path().join("b.txt"), "d").unwrap();
        assert!(names(folder.look(at(0))).is_empty());
        std::fs::write(&file, "de").unwrap();
        assert!(names(folder.look(at(2))).is_empty(), "it grew");
        assert_eq!(names(folder.look(at(4))), [("a.torrent".to_owned(), false)]);
        folder.settle("a.torrent".as_ref(), Tried::Added, false, Instant::now());
        assert!(dir.path().join("a.torrent.added").exists() && !file.exists());
        assert!(names(folder.look(at(6))).is_empty());
    }

    #[test]
    fn a_slow_writer_is_waited_for() {
        let (dir, mut folder, at) = folder();
        let file = dir.path().join("a.torrent");
        std::fs::write(&file, "").unwrap();
        folder.look(at(0)).unwrap();
        let tried = |ready: Vec<(String, bool)>| ready == [("a.torrent".to_owned(), false)];
        assert!(tried(names(folder.look(at(2)))), "an empty file is looked at as well");
        folder.settle("a.torrent".as_ref(), Tried::Refused, false, Instant::now());
        for second in (4..60).step_by(2) {
            assert!(names(folder.look(at(second))).is_empty(), "it is not read again before it changes");
        }
        std::fs::write(&file, "half").unwrap();
        assert!(names(folder.look(at(60))).is_empty());
        assert!(tried(names(folder.look(at(62)))), "its time begins anew");
        folder.settle("a.torrent".as_ref(), Tried::Refused, false, Instant::now());
        assert!(file.exists());
        assert!(names(folder.look(at(118))).is_empty());
        assert_eq!(names(folder.look(at(120))), [("a.torrent".to_owned(), true)]);
        folder.settle("a.torrent".as_ref(), Tried::Refused, true, Instant::now());
        assert!(dir.path().join("a.torrent.invalid").exists() && !file.exists());
    }

    #[test]
    fn a_torrent_that_cannot_be_added_now_is_tried_again_and_again() {
        let (dir, mut folder, at) = folder();
        let file = dir.path().join("a.torrent");
        std::fs::write(&file, "d").unwrap();
        folder.look(at(0)).unwrap();
        assert_eq!(names(folder.look(at(2))), [("a.torrent".to_owned(), false)]);
        folder.settle("a.torrent".as_ref(), Tried::Later, false, at(2));
        assert!(names(folder.look(at(4))).is_empty());
        for second in [60, 120, 180] {
            assert_eq!(names(folder.look(at(second))), [("a.torrent".to_owned(), true)]);
            folder.settle("a.torrent".as_ref(), Tried::Later, true, at(second));
            assert!(names(folder.look(at(second + 2))).is_empty());
        }
        folder.settle("a.torrent".as_ref(), Tried::Added, false, at(182));
        assert!(dir.path().join("a.torrent.added").exists());
    }

    #[test]
    fn what_cannot_be_renamed_is_taken_once_and_not_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (watched, memory) = (dir.path().join("w"), dir.path().join("taken.json"));
        std::fs::create_dir(&watched).unwrap();
        let file = watched.join("a.torrent");
        std::fs::write(&file, "d").unwrap();
        // A directory that is not empty stands where it would go.
        std::fs::create_dir_all(watched.join("a.torrent.added/x")).unwrap();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut folder = Folder::open(watched.clone(), Some(memory.clone()));
        folder.look(at(0)).unwrap();
        assert_eq!(names(folder.look(at(2))).len(), 1);
        folder.settle("a.torrent".as_ref(), Tried::Added, false, Instant::now());
        for mut folder in [folder, Folder::open(watched.clone(), Some(memory.clone()))] {
            assert!(names(folder.look(at(4))).is_empty() && names(folder.look(at(6))).is_empty());
        }
        // Nor after a while in which the folder was not mounted.
        let away = dir.path().join("away");
        std::fs::rename(&watched, &away).unwrap();
        std::fs::create_dir(&watched).unwrap();
        let mut folder = Folder::open(watched.clone(), Some(memory.clone()));
        assert!(names(folder.look(at(6))).is_empty());
        std::fs::remove_dir(&watched).unwrap();
        std::fs::rename(&away, &watched).unwrap();
        assert!(names(folder.look(at(7))).is_empty() && names(folder.look(at(8))).is_empty());
        // Another file under its name is another one.
        let mut folder = Folder::open(watched, Some(memory.clone()));
        std::fs::write(&file, "de").unwrap();
        folder.look(at(8)).unwrap();
        assert_eq!(names(folder.look(at(10))).len(), 1);
        assert!(remembered(&memory).is_empty(), "what is gone is forgotten");
    }

    #[test]
    fn a_link_to_a_file_is_taken_and_a_pipe_or_directory_is_not() {
        let (dir, mut folder, at) = folder();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link.torrent")).unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("dangling.torrent")).unwrap();
        std::fs::create_dir(dir.path().join("dir.torrent")).unwrap();
        let pipe = dir.path().join("pipe.torrent");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        folder.look(at(0)).unwrap();
        assert_eq!(names(folder.look(at(2))), [("link.torrent".to_owned(), false)]);
        folder.settle("link.torrent".as_ref(), Tried::Added, false, Instant::now());
        assert!(dir.path().join("link.torrent.added").is_symlink() && outside.path().exists());
        assert!(parse(&pipe).is_err());
    }
}
