//! What the session asks of the tracker clients while it runs. Their end is [`crate::control::work::Work::TellTrackers`].

use ringseed_announce::{Announcer, TrackedTorrent, TrackerState, TransferTotals};
use ringseed_proto::hashes::TorrentId;
use std::collections::HashSet;

/// Announces torrents. What the methods promise is said of those of [`Announcer`] with the same names.
pub trait Trackers {
    /// Announces a torrent until it is stopped; `totals` is asked at each announce.
    fn start(&self, torrent: TrackedTorrent, totals: Box<dyn Fn() -> TransferTotals>);

    /// Tells that a download has finished.
    fn completed(&self, torrent: TorrentId);

    /// Announces a torrent that is announced already to these trackers from now on.
    fn set_trackers(&self, torrent: TorrentId, tiers: Vec<Vec<String>>);

    /// Tells that we leave, and forgets the torrent.
    fn stop(&self, torrent: TorrentId);

    /// Announces as soon as may be.
    fn reannounce(&self, torrent: TorrentId);

    /// Peers reach us on another port from now on.
    fn port_changed(&self, port: u16);

    /// The trackers of a torrent; empty for an unknown one.
    fn status(&self, torrent: TorrentId) -> Vec<TrackerState>;

    /// Torrents of which the status is another than at the last call.
    fn take_changed(&self) -> HashSet<TorrentId>;
}

impl Trackers for Announcer {
    fn start(&self, torrent: TrackedTorrent, totals: Box<dyn Fn() -> TransferTotals>) {
        Announcer::start(self, torrent, totals);
    }

    fn completed(&self, torrent: TorrentId) {
        Announcer::completed(self, torrent);
    }

    fn set_trackers(&self, torrent: TorrentId, tiers: Vec<Vec<String>>) {
        Announcer::set_trackers(self, torrent, tiers);
    }

    fn stop(&self, torrent: TorrentId) {
        Announcer::stop(self, torrent);
    }

    fn reannounce(&self, torrent: TorrentId) {
        Announcer::reannounce(self, torrent);
    }

    fn port_changed(&self, port: u16) {
        Announcer::port_changed(self, port);
    }

    fn status(&self, torrent: TorrentId) -> Vec<TrackerState> {
        Announcer::status(self, torrent)
    }

    fn take_changed(&self) -> HashSet<TorrentId> {
        Announcer::take_changed(self)
    }
}
