//! The way into a running engine from any thread: commands with an answer, and snapshots of what it does.
//!
//! It is the contract between the session, which carries out [`Command`]s and publishes [`EngineSnapshot`]s, and whoever
//! drives it: the RPC, the command line, tests.

mod chunked;
mod commands;
mod error;
mod listing;
mod shard_status;
mod share;
mod snapshot;

pub use chunked::*;
pub use commands::*;
pub use error::*;
pub use listing::*;
pub use ringseed_net::blocklist::{Blocklist, BlocklistError};
pub use ringseed_net::listener::ListenError;
pub use ringseed_storage::{
    AltSpeed, FilePriority, FileWork, Group, Rename, ResumeError, SessionSettings, SetLimit, ShareLimitMode,
    SpeedLimit, StorageError, Switch, TorrentSettings,
};
pub use shard_status::*;
pub use share::*;
pub use snapshot::*;
use std::time::{Duration, SystemTime};

/// How long a change or a removal of a torrent counts as recent for clients of the RPC, as in Transmission.
pub const REMOVED_LIFE: Duration = Duration::from_secs(60);

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
