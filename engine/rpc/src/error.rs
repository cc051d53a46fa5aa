//! Why a method was not carried out. Both forms of the RPC are made of this: the legacy one tells the text, JSON-RPC 2.0 a
//! code, too.

use super::arguments::{ArgumentError, PathError};
use super::creations::CreationError;
use super::limits::{LABELS_MAX, NAMES_MAX};
use super::names::NamesError;
use super::space::SpaceError;
use super::trackers::TrackersError;
use ringseed_announce::FetchError;
use ringseed_handle::{BlocklistError, EngineError, ListError};
use ringseed_proto::metainfo::MetainfoError;
use std::io;
use tokio::task::JoinError;

/// Why a method was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum MethodError {
    /// No method has this name.
    #[error("method name not recognized")]
    UnknownMethod,
    /// The arguments are not of the types that the method takes.
    #[error("invalid argument: {0}")]
    Malformed(serde_json::Error),
    /// An argument has a value that it cannot have.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// A path is none that a directory or file can be named by.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A list of trackers is none, or does not fit the torrent.
    #[error(transparent)]
    Trackers(#[from] TrackersError),
    /// The names for the files of a torrent do not fit it.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// A file is named by its index, and the torrent has fewer.
    #[error("file {index} is out of range: the torrent has {count} files")]
    FileOutOfRange {
        /// The index, from 0.
        index: usize,
        /// The files of the torrent.
        count: usize,
    },
    /// It is not what this engine does, whatever the arguments are.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// There are as many as there may be. Trying again later may work.
    #[error(transparent)]
    LimitReached(#[from] LimitReached),
    /// What was to be added is no torrent that can be read.
    #[error(transparent)]
    TorrentFile(#[from] TorrentFileError),
    /// A file could not be fetched.
    #[error("cannot fetch {url}: {error}")]
    Fetch {
        /// Where it is, as the client said it.
        url: String,
        /// What went wrong.
        error: FetchError,
    },
    /// There is no URL to fetch a blocklist from.
    #[error("there is no blocklist-url")]
    NoBlocklistUrl,
    /// What was fetched is no blocklist.
    #[error(transparent)]
    Blocklist(#[from] BlocklistError),
    /// The blocklist cannot be written to the state directory.
    #[error("cannot keep the blocklist: {0}")]
    BlocklistNotKept(io::Error),
    /// A torrent cannot be made.
    #[error(transparent)]
    Creation(#[from] CreationError),
    /// The free space of a directory is not known.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine failed for some torrents of a list.
    #[error(transparent)]
    List(#[from] ListError),
    /// The answer cannot be written as JSON.
    #[error("{0}")]
    Answer(serde_json::Error),
    /// The work beside the control thread ended early.
    #[error(transparent)]
    Task(#[from] JoinError),
}

/// What clients of Transmission may ask for and this engine does not do. Nothing was changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsupported {
    /// A setting that the engine does not have.
    #[error("setting {0} is not supported; nothing was changed")]
    Setting(String),
    /// Another priority of a torrent than the usual one.
    #[error("bandwidthPriority is not supported; nothing was changed")]
    Priority,
    /// A torrent or group that limits of the session do not hold for.
    #[error("honorsSessionLimits cannot be turned off; nothing was changed")]
    NoSessionLimits,
    /// Limits of a group.
    #[error("limits of groups are not supported; nothing was changed")]
    GroupLimits,
    /// A test by somebody else's web site whether the port can be reached.
    #[error("port-test asks a web site of others, which is not done")]
    PortTest,
    /// A torrent by its magnet link.
    #[error("magnet links are not supported yet; send the torrent file")]
    Magnet,
}

/// What there is as much of as there may be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LimitReached {
    /// Categories of the session.
    #[error("there are {NAMES_MAX} categories already: remove some first")]
    Categories,
    /// Groups of the session.
    #[error("there are {NAMES_MAX} groups already")]
    Groups,
    /// Tags of the session.
    #[error("there are {NAMES_MAX} tags at most: delete some first")]
    Tags,
    /// Tags of a torrent.
    #[error("a torrent has at most {LABELS_MAX} tags")]
    TorrentTags,
    /// Long answers that are made at once.
    #[error("too many long answers at once; try again")]
    LongAnswers,
}

/// Why there is no torrent to be added.
#[derive(Debug, thiserror::Error)]
pub(super) enum TorrentFileError {
    /// The request neither carries nor names one.
    #[error("no filename or metainfo specified")]
    NotGiven,
    /// What it carries is not base64.
    #[error("metainfo is not base64")]
    NotBase64,
    /// The file cannot be read.
    #[error("cannot read {name}: {error}")]
    Unreadable {
        /// Its path.
        name: String,
        /// What the system says.
        error: io::Error,
    },
    /// A directory, a device or the like has this path.
    #[error("{0} is not a file")]
    NotAFile(String),
    /// The file cannot be a torrent file.
    #[error("{0} is larger than any torrent file")]
    TooLarge(String),
    /// It is not a torrent that can be used.
    #[error("invalid or corrupt torrent file: {0}")]
    Corrupt(#[from] MetainfoError),
}

/// What a client of the JSON-RPC form can tell errors apart by: the codes of JSON-RPC 2.0, and from 1 on those of
/// Transmission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// The request is not JSON, or breaks a bound.
    ParseError = -32700,
    /// It is JSON and no request.
    InvalidRequest = -32600,
    /// There is no such method.
    MethodNotFound = -32601,
    /// The arguments are wrong.
    InvalidParams = -32602,
    /// A fault of this program.
    InternalError = -32603,
    /// Refused for a reason that has no code of its own.
    Refused = -32000,
    /// A list of trackers is wrong.
    TrackerList = 2,
    /// A path is not absolute.
    PathNotAbsolute = 3,
    /// The system refused: files, disks, sockets.
    System = 5,
    /// The torrent has no such file.
    FileOutOfRange = 6,
    /// A web server gave no file.
    Http = 7,
    /// It is no torrent file.
    CorruptTorrent = 8,
}

impl Code {
    /// What JSON-RPC 2.0 calls it, when it is one of its codes.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Code::ParseError => Some("Parse error"),
            Code::InvalidRequest => Some("Invalid Request"),
            Code::MethodNotFound => Some("Method not found"),
            Code::InvalidParams => Some("Invalid params"),
            Code::InternalError => Some("Internal error"),
            Code::Refused
            | Code::TrackerList
            | Code::PathNotAbsolute
            | Code::System
            | Code::FileOutOfRange
            | Code::Http
            | Code::CorruptTorrent => None,
        }
    }
}

impl MethodError {
    /// Its code in the JSON-RPC form.
    pub(super) fn code(&self) -> Code {
        match self {
            MethodError::UnknownMethod => Code::MethodNotFound,
            MethodError::Malformed(_)
            | MethodError::Argument(_)
            | MethodError::Names(_)
            | MethodError::Path(PathError::TooLong) => Code::InvalidParams,
            MethodError::Path(PathError::NotAbsolute(_)) => Code::PathNotAbsolute,
            MethodError::Trackers(_) => Code::TrackerList,
            MethodError::FileOutOfRange { .. } => Code::FileOutOfRange,
            MethodError::Unsupported(_)
            | MethodError::LimitReached(_)
            | MethodError::NoBlocklistUrl
            | MethodError::Blocklist(_) => Code::Refused,
            MethodError::TorrentFile(error) => match error {
                TorrentFileError::NotGiven | TorrentFileError::NotBase64 => Code::InvalidParams,
                TorrentFileError::Unreadable { .. }
                | TorrentFileError::NotAFile(_)
                | TorrentFileError::TooLarge(_) => Code::System,
                TorrentFileError::Corrupt(_) => Code::CorruptTorrent,
            },
            MethodError::Fetch { .. } => Code::Http,
            MethodError::Creation(error) => error.code(),
            MethodError::BlocklistNotKept(_) | MethodError::Space(_) => Code::System,
            MethodError::Engine(error) => code_of_engine(error),
            MethodError::List(list) => code_of_engine(list.first()),
            MethodError::Answer(_) | MethodError::Task(_) => Code::InternalError,
        }
    }
}

fn code_of_engine(error: &EngineError) -> Code {
    match error {
        EngineError::UnknownTorrent(_) | EngineError::Rename(_) | EngineError::NotAPort => {
            Code::InvalidParams
        }
        EngineError::Stopping | EngineError::Busy(_) | EngineError::Conflict(_) => Code::Refused,
        EngineError::Store(_)
        | EngineError::NotStored
        | EngineError::StoredDamaged(_)
        | EngineError::Storage(_)
        | EngineError::HalfMoved { .. }
        | EngineError::NotDeleted(_)
        | EngineError::Port(_) => Code::System,
    }
}
