//! The state of the connection, and the line at the bottom of the window.

use crate::quantity;
use ringseed_api::{Session, SessionStats};

/// Whether an engine answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Connection {
    /// Not known yet.
    #[default]
    Connecting,
    /// It answers.
    Connected,
    /// It does not.
    Lost {
        /// Why, for people.
        why: String,
        /// Milliseconds from one try to the next.
        retry_in_ms: u64,
        /// Nobody listens there at all.
        nobody_there: bool,
    },
}

/// Texts of the status bar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusLine {
    /// Engine and its state.
    pub engine: String,
    /// How many torrents, shown and selected.
    pub torrents: String,
    /// Free space of the download directory; empty when unknown.
    pub free_space: String,
    /// Rate of downloads.
    pub down: String,
    /// Rate of uploads.
    pub up: String,
}

pub(crate) struct StatusParts<'a> {
    pub(crate) host: &'a str,
    pub(crate) connection: &'a Connection,
    pub(crate) session: Option<&'a Session>,
    pub(crate) stats: &'a SessionStats,
    pub(crate) total: usize,
    pub(crate) shown: usize,
    pub(crate) selected: usize,
}

impl StatusParts<'_> {
    pub(crate) fn line(&self) -> StatusLine {
        let connected = *self.connection == Connection::Connected;
        let engine = match self.connection {
            Connection::Connecting => format!("Connecting to {}", self.host),
            Connection::Connected => format!("Connected to {}", self.host),
            Connection::Lost { .. } => format!("No connection to {}", self.host),
        };
        let mut torrents = quantity::count(self.total, "torrent");
        if self.shown != self.total {
            torrents.push_str(&format!(", {} shown", self.shown));
        }
        if self.selected > 1 {
            torrents.push_str(&format!(", {} selected", self.selected));
        }
        let free = self.session.and_then(|session| u64::try_from(session.download_dir_free_space).ok());
        let limit = |on: bool, kilobytes: u64| {
            if on {
                format!("  (max {})", quantity::rate_or_zero(kilobytes.saturating_mul(1000)))
            } else {
                String::new()
            }
        };
        let (down_limit, up_limit) = self.session.map_or_else(Default::default, |session| {
            (
                limit(session.speed_limit_down_enabled, session.speed_limit_down),
                limit(session.speed_limit_up_enabled, session.speed_limit_up),
            )
        });
        let rate = |rate: u64, limit: String| {
            if connected { quantity::rate_or_zero(rate) + &limit } else { "–".to_owned() }
        };
        StatusLine {
            engine,
            torrents: if connected { torrents } else { String::new() },
            free_space: match free {
                Some(free) if connected => format!("{} free", quantity::bytes(free)),
                _ => String::new(),
            },
            down: rate(self.stats.download_speed, down_limit),
            up: rate(self.stats.upload_speed, up_limit),
        }
    }
}
