//! Tracker clients that only remember what they were told.

use crate::control::outside::Trackers;
use ringseed_announce::{TrackedTorrent, TrackerState, TransferTotals};
use ringseed_proto::hashes::TorrentId;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};

/// The torrents that are announced, each with its trackers by tier.
#[derive(Default)]
pub struct FakeTrackers {
    torrents: RefCell<BTreeMap<TorrentId, Vec<Vec<String>>>>,
    completed: RefCell<Vec<TorrentId>>,
}

impl FakeTrackers {
    /// Whether a torrent is announced.
    pub fn has(&self, torrent: TorrentId) -> bool {
        self.torrents.borrow().contains_key(&torrent)
    }

    /// The trackers that a torrent is announced to.
    pub fn tiers(&self, torrent: TorrentId) -> Vec<Vec<String>> {
        self.torrents.borrow().get(&torrent).cloned().unwrap_or_default()
    }

    /// How often a torrent was told of as completed.
    pub fn completions(&self, torrent: TorrentId) -> usize {
        self.completed.borrow().iter().filter(|other| **other == torrent).count()
    }
}

impl Trackers for FakeTrackers {
    fn start(&self, torrent: TrackedTorrent, _: Box<dyn Fn() -> TransferTotals>) {
        self.torrents.borrow_mut().insert(torrent.torrent_id, torrent.tiers);
    }

    fn completed(&self, torrent: TorrentId) {
        self.completed.borrow_mut().push(torrent);
    }

    fn set_trackers(&self, torrent: TorrentId, tiers: Vec<Vec<String>>) {
        if let Some(tracked) = self.torrents.borrow_mut().get_mut(&torrent) {
            *tracked = tiers;
        }
    }

    fn stop(&self, torrent: TorrentId) {
        self.torrents.borrow_mut().remove(&torrent);
    }

    fn reannounce(&self, _: TorrentId) {}

    fn port_changed(&self, _: u16) {}

    fn status(&self, _: TorrentId) -> Vec<TrackerState> {
        Vec::new()
    }

    fn take_changed(&self) -> HashSet<TorrentId> {
        HashSet::new()
    }
}
