//! Why a command was refused or failed, as a type that callers can tell apart; what a user reads is made of it at the end.

use ringseed_net::listener::ListenError;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::limits::PATH_BYTES_MAX;
use ringseed_proto::metainfo::MetainfoError;
use ringseed_storage::{FileWork, PARTIAL_SUFFIX, ResumeError, StorageError};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a command was refused, or was not carried out for a torrent. Cheap to clone: one cause may fail a whole list.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// No torrent has this id.
    #[error("no torrent {0} in this session")]
    UnknownTorrent(TorrentId),
    /// The engine stops or has stopped.
    #[error("the engine is stopping")]
    Stopping,
    /// The resume store did not take the change, or cannot be read.
    #[error(transparent)]
    Store(Arc<ResumeError>),
    /// The resume store does not have the torrent file.
    #[error("its torrent file is not stored")]
    NotStored,
    /// What is stored as the torrent file is none.
    #[error(transparent)]
    StoredDamaged(MetainfoError),
    /// The torrent's directory or files cannot be used.
    #[error(transparent)]
    Storage(StorageError),
    /// Other work with the torrent or its files has to end first.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// A file belongs to another torrent as well.
    #[error(transparent)]
    Conflict(#[from] FileConflict),
    /// The rename is not one that the torrent can have.
    #[error(transparent)]
    Rename(#[from] RenameError),
    /// A move failed and could not be undone: the files are in two directories.
    #[error("some files are in {} and some are not: {error}; starting the torrent goes on with the move", .to.display())]
    HalfMoved {
        /// Where they were to go.
        to: PathBuf,
        /// What failed.
        error: StorageError,
    },
    /// The torrent is removed; not all of its files are deleted.
    #[error(transparent)]
    NotDeleted(#[from] DeleteError),
    /// This is not a port.
    #[error("a port is a number from 1 to 65535")]
    NotAPort,
    /// The port cannot be listened on.
    #[error(transparent)]
    Port(Arc<ListenError>),
}

impl From<ResumeError> for EngineError {
    fn from(error: ResumeError) -> EngineError {
        EngineError::Store(Arc::new(error))
    }
}

impl From<StorageError> for EngineError {
    fn from(error: StorageError) -> EngineError {
        EngineError::Storage(error)
    }
}

/// Work that has to end before a command about a torrent can be carried out. Trying again later may work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Its files are being moved.
    #[error("its files are being moved: try again when that is done, or cancel the move")]
    Moving,
    /// Its files are being moved or deleted, and more work on them was asked for.
    #[error("its files are being moved or removed already")]
    Handled,
    /// The torrent that was to be added is being removed.
    #[error("{0} is being removed: try again in a moment")]
    BeingRemoved(TorrentId),
    /// Earlier work on its files was cut short.
    #[error("{} has ended in the midst: start the torrent, which goes on with it, and try again then", described(.0))]
    CutShort(FileWork),
    /// A move was to be cancelled, and there is none.
    #[error("its files are not being moved")]
    NotMoving,
}

/// Why not all files of a removed torrent are deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// Some could not be.
    #[error("it is removed, but not all of its files are deleted: {0}")]
    Storage(#[from] StorageError),
    /// The task that deleted them has ended in a way that nobody foresaw.
    #[error("it is removed, but deleting its files has ended badly")]
    EndedBadly,
    /// The engine stops before that is done.
    #[error("it is removed, but the engine stops before all of its files are deleted")]
    Stopped,
}

/// A file that a command is about belongs to another torrent, too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileConflict {
    /// Another torrent has the file, and other data for it.
    #[error(
        "{} is a file of the torrent {} ({other}) already, and {} has other data for it: give it another directory or \
         name, or remove that torrent first", shown(.path), shown(.other_name), shown(.name)
    )]
    OtherData {
        /// The file.
        path: PathBuf,
        /// Name of the torrent that the command is about.
        name: String,
        /// The torrent that has the file.
        other: TorrentId,
        /// Its name.
        other_name: String,
    },
    /// The torrent that has the file is being removed.
    #[error(
        "{} is a file of the torrent {} ({other}), which is being removed: try again in a moment",
        shown(.path), shown(.other_name)
    )]
    BeingRemoved {
        /// The file.
        path: PathBuf,
        /// The torrent that has the file.
        other: TorrentId,
        /// Its name.
        other_name: String,
    },
    /// Both torrents have the same file: it cannot be moved or renamed for one of them.
    #[error(
        "{} is a file of the torrents {} and {} ({other}): remove one of them, without its data, and try again",
        shown(.path), shown(.name), shown(.other_name)
    )]
    SameFile {
        /// The file.
        path: PathBuf,
        /// Name of the torrent that the command is about.
        name: String,
        /// The other torrent.
        other: TorrentId,
        /// Its name.
        other_name: String,
    },
    /// A folder that is to be renamed holds a file of another torrent.
    #[error(
        "{} is a file of the torrent {other} in the same folder: rename the files of this one, not the folder",
        shown(.path)
    )]
    InFolder {
        /// The file.
        path: PathBuf,
        /// The torrent that has it.
        other: TorrentId,
    },
}

/// Why the files of a torrent cannot get these names. Paths are as the user gave them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// Nothing of the torrent is at the path.
    #[error("the torrent has nothing at {0}")]
    NothingThere(String),
    /// The new path leads out of the torrent, or is no path.
    #[error("{0} is not a path of ordinary names")]
    NotAPath(String),
    /// The new path is below the old one.
    #[error("{from} cannot be moved into itself: {to} is below it")]
    IntoItself {
        /// The old path.
        from: String,
        /// The new path.
        to: String,
    },
    /// The new name is one for files that are incomplete.
    #[error("{PARTIAL_SUFFIX} is for incomplete files: {0}")]
    PartialName(String),
    /// Another file of the torrent is there.
    #[error("the torrent has a file {} already", .0.display())]
    Taken(PathBuf),
    /// A path would be longer than paths may be.
    #[error("the path of a file would be longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
}

/// What was begun with files.
fn described(work: &FileWork) -> String {
    match work {
        FileWork::Move(to) | FileWork::Found(to) => format!("a move to {}", to.display()),
        FileWork::Rename(rename) => format!("the rename of {} to {}", rename.from, rename.to),
    }
}

/// A name or path from a torrent as it may be shown: control characters could change what a terminal says.
fn shown(name: impl AsRef<Path>) -> String {
    name.as_ref().to_string_lossy().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Failures that are told in full of a command over many torrents.
const TOLD_MAX: usize = 3;

/// The torrents of a list that a command was not carried out for, each with the reason. It was for all others.
#[derive(Debug, Default)]
pub struct Failures(Vec<(TorrentId, EngineError)>);

impl Failures {
    /// These torrents failed.
    pub fn new(failed: Vec<(TorrentId, EngineError)>) -> Failures {
        Failures(failed)
    }

    /// The torrents and the reasons.
    pub fn iter(&self) -> impl Iterator<Item = &(TorrentId, EngineError)> {
        self.0.iter()
    }

    /// What a command about one torrent ended with.
    pub(crate) fn of_one(self) -> Result<(), EngineError> {
        self.0.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// What a command about `asked` torrents ended with when some of those that were named may be gone, which is no
    /// failure.
    ///
    /// # Errors
    /// The torrents that it failed for, and why.
    pub fn of_list(self, asked: usize) -> Result<(), ListError> {
        let known = |(_, error): &(TorrentId, EngineError)| !matches!(error, EngineError::UnknownTorrent(_));
        let mut failed = self.0.into_iter().filter(known);
        match failed.next() {
            None => Ok(()),
            Some(first) => Err(ListError { asked, first: Box::new(first), more: failed.collect() }),
        }
    }
}

/// A command failed for some torrents of a list and was carried out for the others. With more than one torrent asked for,
/// it tells the first few reasons, each with its torrent, and how many more there are.
#[derive(Debug)]
pub struct ListError {
    asked: usize,
    first: Box<(TorrentId, EngineError)>,
    more: Vec<(TorrentId, EngineError)>,
}

impl ListError {
    /// The first failure, which stands for all when one has to.
    pub fn first(&self) -> &EngineError {
        &self.first.1
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.asked <= 1 {
            return self.first.1.fmt(out);
        }
        let (failed, asked) = (1 + self.more.len(), self.asked);
        write!(out, "{failed} of {asked} torrents failed")?;
        let told = std::iter::once(&*self.first).chain(&self.more).take(TOLD_MAX);
        for (place, (torrent, error)) in told.enumerate() {
            let before = if place == 0 { ": " } else { "; " };
            write!(out, "{before}{torrent}: {error}")?;
        }
        match failed.saturating_sub(TOLD_MAX) {
            0 => Ok(()),
            more => write!(out, "; and {more} more"),
        }
    }
}

impl std::error::Error for ListError {}
