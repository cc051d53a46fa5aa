//! Work that waits for a disk or for others, as values: the session says what is to be done ([`Work`]), somebody else does
//! it, and how it ended comes back as an event ([`Done`]). [`Workers`] does it beside the control thread; a test does it
//! when it likes, or says that it has failed.

mod handling;
mod opening;
mod workers;

pub use handling::{Deletion, FileChange};
pub use opening::{GivingBack, MakingDirectory, Opened, Opening, Places, Search};
pub use workers::Workers;

use super::outside::SessionStore;
use ringseed_handle::{AddOutcome, DeleteError, EngineError, Reply};
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::{FileWork, MoveError, Rebuilt, ResumeError, TorrentStore};
use std::sync::Arc;
use std::time::Duration;

/// What is to be done.
pub enum Work {
    /// Look where the files of a new torrent are.
    Search(Box<Search>),
    /// Make the directory of a new torrent.
    MakeDirectory(Box<MakingDirectory>),
    /// Give files back to another client whose torrent was not added.
    GiveBack(Box<GivingBack>),
    /// Move or rename the files of a torrent.
    Change(Box<FileChange>),
    /// Delete the files of a torrent that is being forgotten.
    Delete(Box<Deletion>),
    /// Bring to disk what a check has found.
    Flush {
        /// The torrent, for the log.
        torrent_id: TorrentId,
        /// Its files.
        store: Arc<TorrentStore>,
        /// Says which flush has ended.
        number: u64,
    },
    /// Open the resume store again.
    Reopen(Arc<dyn SessionStore>),
    /// Tell all trackers that we leave, and wait at most so long for their answers.
    TellTrackers(Duration),
}

/// How work has ended.
pub enum Done {
    /// The files of a torrent that is being added were looked at.
    Opened(Box<Opening>),
    /// That ended in a way that nobody foresaw. Whoever added it is told by the end of the channel.
    NotOpened(TorrentId),
    /// Another client has its files again: now this answer may be given.
    GivenBack(Reply<AddOutcome>, EngineError),
    /// Nobody is to be told of it.
    Nothing,
    /// Files were moved or renamed, or could not be.
    Changed {
        /// The torrent.
        torrent_id: TorrentId,
        /// What was done.
        work: FileWork,
        /// Whether it is.
        result: Result<(), MoveError>,
    },
    /// Files were deleted, for the torrent is being forgotten.
    Deleted {
        /// The torrent.
        torrent_id: TorrentId,
        /// Whether all are.
        result: Result<(), DeleteError>,
    },
    /// Files were flushed, or could not be.
    Flushed {
        /// Which flush.
        number: u64,
        /// Whether all is on disk.
        flushed: bool,
    },
    /// The resume store was opened again, or could not be.
    Reopened(Result<Option<Rebuilt>, ResumeError>),
    /// The trackers know that we leave, or had their time.
    TrackersTold,
}

impl Work {
    /// Does it. Waits for the disk.
    pub fn run(self) -> Done {
        match self {
            Work::Search(search) => Done::Opened(Box::new(search.run())),
            Work::MakeDirectory(making) => Done::Opened(Box::new(making.run())),
            Work::GiveBack(giving) => giving.run(),
            Work::Change(change) => change.run(),
            Work::Delete(deletion) => deletion.run(),
            Work::Flush { torrent_id, store, number } => {
                let result = store.flush_files();
                if let Err(error) = &result {
                    tracing::error!(%error, torrent = %torrent_id, "cannot bring to disk what a check found");
                }
                Done::Flushed { number, flushed: result.is_ok() }
            }
            Work::Reopen(store) => Done::Reopened(store.reopen()),
            // Nothing of it is a matter of disks: `Workers` asks the announcer.
            Work::TellTrackers(_) => Done::TrackersTold,
        }
    }

    /// How it has ended when nobody foresaw how it did.
    fn ended_badly(&self) -> Done {
        match self {
            Work::Search(search) => Done::NotOpened(search.torrent_id()),
            Work::MakeDirectory(making) => Done::NotOpened(making.torrent_id()),
            Work::GiveBack(_) => Done::Nothing,
            Work::Change(change) => change.ended_badly(),
            Work::Delete(deletion) => {
                Done::Deleted { torrent_id: deletion.torrent_id, result: Err(DeleteError::EndedBadly) }
            }
            Work::Flush { number, .. } => Done::Flushed { number: *number, flushed: false },
            Work::Reopen(store) => {
                let error = std::io::Error::other("opening it has ended badly");
                Done::Reopened(Err(ResumeError::Io { path: store.path().into(), error }))
            }
            Work::TellTrackers(_) => Done::TrackersTold,
        }
    }

    /// Whether it takes one of the places for work on files. A rename is over in a moment, and somebody waits for it.
    fn takes_place(&self) -> bool {
        match self {
            Work::Change(change) => !matches!(change.work, FileWork::Rename(_)),
            Work::Delete(_) => true,
            _ => false,
        }
    }
}
