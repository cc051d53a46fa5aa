//! Why the resume store cannot be used.

use super::super::error::lacks_inodes;
use super::RESUME_VERSION;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::MetainfoError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the resume store cannot be used. All name the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The file is damaged, or is something else, and there is nothing beside it to make a new one of.
    #[error(
        "the resume file {} is damaged ({detail}); move it away and start again: your data files are not \
         affected, but torrents have to be added again", .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Another process uses it.
    #[error("the resume file {} is used by another running ringseed; stop that one first", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A later version of this program wrote it.
    #[error(
        "the resume file {} has version {found}, this ringseed knows {RESUME_VERSION}; use a newer ringseed",
        .path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// No space left.
    #[error("no space left on the disk for the resume file {}; free some space", .path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// No inodes left for a new file.
    #[error("no inodes left on the disk for the resume file {}; delete some files (df -i counts them)", .path.display())]
    NoInodes {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot use the resume file {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its error.
        error: io::Error,
    },
    /// An earlier operation failed: the file is closed until [`super::ResumeStore::reopen`] works.
    #[error("{reason} (ringseed opens the file again by itself as soon as it can)")]
    Closed {
        /// What failed.
        reason: Arc<ResumeError>,
    },
    /// Something larger than a torrent may be.
    #[error("the {what} of torrent {torrent_id} is too large to be kept")]
    TooLarge {
        /// The torrent.
        torrent_id: TorrentId,
        /// What is too large.
        what: &'static str,
    },
}

impl ResumeError {
    /// The same error once more: an [`io::Error`] is repeated by its kind and text.
    pub(super) fn copy(&self) -> ResumeError {
        match self {
            ResumeError::Damaged { path, detail } => {
                ResumeError::Damaged { path: path.clone(), detail: detail.clone() }
            }
            ResumeError::InUse { path } => ResumeError::InUse { path: path.clone() },
            ResumeError::TooNew { path, found } => ResumeError::TooNew { path: path.clone(), found: *found },
            ResumeError::DiskFull { path } => ResumeError::DiskFull { path: path.clone() },
            ResumeError::NoInodes { path } => ResumeError::NoInodes { path: path.clone() },
            ResumeError::Io { path, error } => {
                let error = io::Error::new(error.kind(), error.to_string());
                ResumeError::Io { path: path.clone(), error }
            }
            ResumeError::Closed { reason } => ResumeError::Closed { reason: reason.clone() },
            ResumeError::TooLarge { torrent_id, what } => {
                ResumeError::TooLarge { torrent_id: *torrent_id, what }
            }
        }
    }

    /// Whether the file as a whole cannot be used now, which concerns all torrents.
    pub fn is_of_the_file(&self) -> bool {
        !matches!(self, ResumeError::TooLarge { .. })
    }
}

/// Why a record in the store cannot be used; others are not concerned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Its settings are not what this version writes, or earlier ones wrote.
    #[error("its settings: {0}")]
    Settings(String),
    /// There is no torrent file with it.
    #[error("its torrent file is missing")]
    NoMetainfo,
    /// There are no pieces with it.
    #[error("its pieces are missing")]
    NoPieces,
    /// Its pieces are damaged.
    #[error("its pieces do not make a bitfield")]
    Pieces,
}

/// Why a copy beside the store cannot be used, or cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It is not there, or cannot be read.
    #[error("{}: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is larger than any that is kept.
    #[error("{} is larger than {bytes_max} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Most bytes that are kept.
        bytes_max: usize,
    },
    /// It is not a record or the settings of a session.
    #[error("{}: {error}", .path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        error: serde_json::Error,
    },
    /// It is not a torrent file.
    #[error("{}: {error}", .path.display())]
    Metainfo {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        error: MetainfoError,
    },
    /// It is the file of another torrent than its name says.
    #[error("{} is the torrent {torrent_id}", .path.display())]
    OtherTorrent {
        /// The file.
        path: PathBuf,
        /// Which torrent it is.
        torrent_id: TorrentId,
    },
    /// The directory of the copies does not take or give up files.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The store itself cannot be read, or does not take what the copy says.
    #[error(transparent)]
    Store(#[from] ResumeError),
}

pub(super) fn explain(path: &Path, error: redb::Error) -> ResumeError {
    let path_buf = || path.to_path_buf();
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            ResumeError::InUse { path: path_buf() }
        }
        redb::Error::Io(error) => explain_io(path, error),
        // The file itself may be whole: it has to be opened again.
        redb::Error::PreviousIo
        | redb::Error::DatabaseClosed
        | redb::Error::LockPoisoned(_)
        | redb::Error::Backend(_)
        | redb::Error::Unsupported => {
            ResumeError::Io { path: path_buf(), error: io::Error::other(error.to_string()) }
        }
        other => ResumeError::Damaged { path: path_buf(), detail: other.to_string() },
    }
}

pub(super) fn explain_io(path: &Path, error: io::Error) -> ResumeError {
    let path = path.to_path_buf();
    match error.kind() {
        io::ErrorKind::StorageFull if lacks_inodes(&path) => ResumeError::NoInodes { path },
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ResumeError::DiskFull { path },
        // What redb says of a file that is no database, or is cut off.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            ResumeError::Damaged { path, detail: error.to_string() }
        }
        _ => ResumeError::Io { path, error },
    }
}
