//! What was moved, as each tracker counts it: from the moment that it was told `started`.

use super::TransferTotals;
use std::collections::HashMap;
use std::rc::Rc;

use super::limits::UNTOLD_MAX;
use ringseed_proto::hashes::TorrentId;

/// Payload bytes sent and received before a tracker began to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Base {
    uploaded: u64,
    downloaded: u64,
}

impl Base {
    /// Of a tracker that begins to count now.
    pub(super) fn at(totals: TransferTotals) -> Self {
        Self { uploaded: totals.uploaded, downloaded: totals.downloaded }
    }

    /// What is told to a tracker: the totals without what was before.
    pub(super) fn of(self, totals: TransferTotals) -> TransferTotals {
        TransferTotals {
            uploaded: totals.uploaded.saturating_sub(self.uploaded),
            downloaded: totals.downloaded.saturating_sub(self.downloaded),
            ..totals
        }
    }
}

/// Trackers that were not told all of what was moved before a torrent stopped: when it starts again, they go on
/// counting from where they began.
#[derive(Debug, Default)]
pub(super) struct Untold(HashMap<(TorrentId, Rc<str>), Base>);

impl Untold {
    /// Notes a tracker. Beyond the limit some other one is forgotten.
    pub(super) fn note(&mut self, torrent_id: TorrentId, url: Rc<str>, base: Base) {
        if self.0.len() >= UNTOLD_MAX
            && let Some(other) = self.0.keys().next().cloned()
        {
            self.0.remove(&other);
        }
        self.0.insert((torrent_id, url), base);
    }

    /// Takes what is noted of a tracker.
    pub(super) fn take(&mut self, torrent_id: TorrentId, url: &Rc<str>) -> Option<Base> {
        if self.0.is_empty() { None } else { self.0.remove(&(torrent_id, url.clone())) }
    }
}
