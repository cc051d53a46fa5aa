//! What a user wants of one torrent, beyond where it is and how fast it may be.

use super::SessionSettings;
use super::record::{stored_path, stored_path_option};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a goal of a torrent relates to the session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareLimitMode {
    /// The session's goal holds.
    #[default]
    Session,
    /// The torrent's own goal holds.
    Own,
    /// No goal holds.
    Never,
}

/// How much a file is wanted. On disk it is one number: bit 7 for "not wanted", the lower bits for the priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", from = "u8")]
pub struct FilePriority {
    /// Whether it is fetched.
    pub wanted: bool,
    /// -1 after the others, 0, or 1 before the others.
    pub priority: i8,
}

impl Default for FilePriority {
    fn default() -> FilePriority {
        FilePriority { wanted: true, priority: 0 }
    }
}

impl From<FilePriority> for u8 {
    fn from(wish: FilePriority) -> u8 {
        let priority = (wish.priority.clamp(-1, 1) + 1) as u8;
        if wish.wanted { priority } else { priority | 0x80 }
    }
}

impl From<u8> for FilePriority {
    fn from(byte: u8) -> FilePriority {
        FilePriority { wanted: byte & 0x80 == 0, priority: (byte & 0x7f).min(2) as i8 - 1 }
    }
}

/// What a user wants of one torrent. The default is what a torrent has about which nothing was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TorrentSettings {
    /// Labels (qBittorrent: tags), each once.
    pub labels: Vec<String>,
    /// Category as qBittorrent has it; empty for none.
    pub category: String,
    /// The name that it is shown by; empty for its own. Files keep theirs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How much each file is wanted; empty when all are as usual.
    pub files: Vec<FilePriority>,
    /// Which ratio goal holds.
    pub ratio_mode: ShareLimitMode,
    /// The torrent's own ratio goal.
    pub ratio: f64,
    /// Which idle goal holds.
    pub idle_mode: ShareLimitMode,
    /// The torrent's own idle goal in minutes without upload.
    pub idle_minutes: u32,
    /// Stop seeding after this many minutes of it; see [`TorrentSettings::seed_minutes`].
    pub seed_minutes: Option<u64>,
    /// No time of seeding ends it, when there is none in `seed_minutes`; otherwise the session's does.
    pub seed_time_never: bool,
    /// One of the share limits has stopped it, and nobody has started it since.
    pub limit_reached: bool,
    /// Place in the queue: a smaller one comes first.
    pub queue: i64,
    /// It was started over the head of its queue.
    pub forced: bool,
    /// Connections at most; the engine's setting when `None`.
    pub peer_limit: Option<u32>,
    /// Bandwidth group; empty for none.
    pub group: String,
    /// Trackers by tier in place of the torrent file's.
    pub tiers: Option<Vec<Vec<String>>>,
    /// When the trackers were edited, in seconds since 1970; 0 for never.
    pub edited_at: u64,
    /// Its files lie under their names by the letter of the torrent.
    pub plain_names: bool,
    /// Other names for its files and folders.
    pub renames: Vec<Rename>,
    /// Where its files go when the download is complete.
    #[serde(with = "stored_path_option")]
    pub move_when_done: Option<PathBuf>,
    /// What was begun with its files and has not ended: noted before the first file is touched, so that what is cut short
    /// is taken up again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_work: Option<FileWork>,
    /// Seconds it has downloaded.
    pub seconds_downloading: u64,
    /// Seconds it has seeded.
    pub seconds_seeding: u64,
    /// When payload moved last, in seconds since 1970; 0 for never.
    pub active_at: u64,
    /// All of it was here once: trackers are told `completed` no more.
    pub was_whole: bool,
    /// Another client had data of it, and nothing was found yet: nothing is fetched before there is or the user says so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub had_data: bool,
}

/// One rename: everything below `from` is below `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename {
    /// Path of the file or folder before.
    pub from: String,
    /// Its path after.
    pub to: String,
}

/// What is done with the files of a torrent while no shard has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileWork {
    /// They go to another directory.
    #[serde(with = "stored_path")]
    Move(PathBuf),
    /// They are already in another directory.
    #[serde(with = "stored_path")]
    Found(PathBuf),
    /// A file or folder gets another path.
    Rename(Rename),
}

impl FileWork {
    /// The directory that the files are below afterwards, when it is another.
    pub fn directory(&self) -> Option<&PathBuf> {
        match self {
            FileWork::Move(to) | FileWork::Found(to) => Some(to),
            FileWork::Rename(_) => None,
        }
    }
}

impl Default for TorrentSettings {
    fn default() -> TorrentSettings {
        TorrentSettings {
            labels: Vec::new(),
            category: String::new(),
            name: String::new(),
            files: Vec::new(),
            ratio_mode: ShareLimitMode::Session,
            ratio: 2.0,
            idle_mode: ShareLimitMode::Session,
            idle_minutes: 30,
            seed_minutes: None,
            seed_time_never: false,
            limit_reached: false,
            queue: 0,
            forced: false,
            peer_limit: None,
            group: String::new(),
            tiers: None,
            edited_at: 0,
            plain_names: false,
            renames: Vec::new(),
            move_when_done: None,
            file_work: None,
            seconds_downloading: 0,
            seconds_seeding: 0,
            active_at: 0,
            was_whole: false,
            had_data: false,
        }
    }
}

impl TorrentSettings {
    /// Minutes of seeding after which it ends.
    pub fn seed_minutes(&self, settings: &SessionSettings) -> Option<u64> {
        match self.seed_minutes {
            Some(minutes) => Some(minutes),
            None if self.seed_time_never => None,
            None => settings.seed_time.get().map(u64::from),
        }
    }

    /// How much a file is wanted.
    pub fn file(&self, index: usize) -> FilePriority {
        self.files.get(index).copied().unwrap_or_default()
    }

    /// Changes how much files are wanted; `indexes` empty means all `count` files.
    pub fn set_files(&mut self, count: usize, indexes: &[usize], change: impl Fn(&mut FilePriority)) {
        self.files.resize(count, FilePriority::default());
        match indexes {
            [] => self.files.iter_mut().for_each(change),
            some => {
                for &index in some {
                    if let Some(file) = self.files.get_mut(index) {
                        change(file);
                    }
                }
            }
        }
        if self.files.iter().all(|file| *file == FilePriority::default()) {
            self.files = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_priorities_survive_their_number() {
        for wanted in [true, false] {
            for priority in [-1, 0, 1] {
                let wish = FilePriority { wanted, priority };
                assert_eq!(FilePriority::from(u8::from(wish)), wish);
            }
        }
        assert_eq!(FilePriority::from(u8::from(FilePriority::default())), FilePriority::default());
        assert!(FilePriority::from(0xff).priority == 1 && !FilePriority::from(0xff).wanted);
    }

    #[test]
    fn usual_files_take_no_room() {
        let mut settings = TorrentSettings::default();
        settings.set_files(3, &[1, 9], |file| file.wanted = false);
        assert_eq!(settings.files.iter().map(|file| file.wanted).collect::<Vec<_>>(), [true, false, true]);
        settings.set_files(3, &[], |file| file.wanted = true);
        assert!(settings.files.is_empty() && settings.file(1).wanted);
    }

    #[test]
    fn what_an_older_version_wrote_has_defaults() {
        let settings: TorrentSettings = serde_json::from_str(r#"{"labels":["a"],"later":1}"#).unwrap();
        assert_eq!(settings, TorrentSettings { labels: vec!["a".into()], ..TorrentSettings::default() });
    }
}
