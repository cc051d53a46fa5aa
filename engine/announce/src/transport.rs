//! The contract between the schedule and what speaks to trackers.
//!
//! The schedule calls [`Transport::families`] and then [`Transport::announce`] once per family, on the
//! control thread. A call is dropped when its answer is no longer wanted; it must then leave nothing behind.
//! Every call ends by itself within the times of `limits`.

use super::url::TrackerUrl;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::tracker::{AnnounceRequest, AnnounceResponse, Family};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// A future of the control thread.
pub(super) type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// One announce, the same for each family: a tracker learns the address it is spoken to from.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Whose announce it is.
    pub(super) torrent_id: TorrentId,
    pub(super) url: Rc<TrackerUrl>,
    pub(super) announce: AnnounceRequest,
    /// What the tracker asked to be told again.
    pub(super) tracker_id: Option<Rc<[u8]>>,
}

/// When a refused announce may be tried again (BEP 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryRule {
    Backoff,
    After(Duration),
    Never,
}

/// Why an announce failed. The text is for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The host did not answer: likely it answers no other torrent either.
    Unreachable(String),
    /// The tracker answered, and not with an announce response.
    Refused { text: String, retry: RetryRule },
}

impl Failure {
    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self::Refused { text: text.into(), retry: RetryRule::Backoff }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Unreachable(text) | Self::Refused { text, .. } => text,
        }
    }
}

/// Speaks to trackers.
pub(super) trait Transport {
    /// The families under which a tracker can be reached from here; never empty.
    fn families<'a>(&'a self, url: &'a TrackerUrl) -> LocalFuture<'a, Result<Vec<Family>, Failure>>;

    /// Sends one announce over one family.
    fn announce<'a>(
        &'a self,
        request: &'a Request,
        family: Family,
    ) -> LocalFuture<'a, Result<AnnounceResponse, Failure>>;
}
