//! What the engine's thread tells the window.

use super::wire::Listed;
use ringseed_api::{AddedTorrent, Session, SessionStats, Torrent};
use serde::Deserialize;

/// News.
#[derive(Debug, Clone)]
pub enum Event {
    /// Connecting; nothing is known yet.
    Connecting {
        /// Host and port.
        host: String,
    },
    /// An engine answered. What was known before is void.
    Connected {
        /// Its settings.
        session: Box<Session>,
        /// All torrents.
        torrents: Vec<Listed>,
    },
    /// The engine does not answer.
    Lost {
        /// Why, for people.
        why: String,
        /// Milliseconds until the next try.
        retry_in_ms: u64,
        /// Whether nobody listens there, so that a local engine could be started.
        nobody_there: bool,
    },
    /// All torrents again.
    Everything(Vec<Listed>),
    /// Torrents that changed, and ids of those that are gone.
    Changed {
        /// As they are now.
        torrents: Vec<Listed>,
        /// Gone.
        removed: Vec<u32>,
    },
    /// Totals.
    Stats(SessionStats),
    /// Settings.
    Session(Box<Session>),
    /// A torrent was added.
    Added {
        /// Which.
        torrent: AddedTorrent,
        /// It was there before.
        duplicate: bool,
    },
    /// All about the torrent that is watched.
    Details(Box<DetailsNews>),
    /// A command failed.
    Failed {
        /// What it was to do.
        verb: &'static str,
        /// Why it did not.
        why: String,
    },
}

/// All about one torrent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DetailsNews {
    /// What the RPC's own type has.
    #[serde(flatten)]
    pub torrent: Torrent,
    /// Bytes that were received and thrown away.
    pub corrupt_ever: u64,
    /// When the torrent file was made, seconds since 1970.
    pub date_created: i64,
}
