//! Tracker clients: HTTP(S) and UDP announces of every torrent, scheduled per tracker host.
//!
//! [`Announcer`] lives on the control thread, inside a tokio `LocalSet`. Each tier of each torrent (BEP 12)
//! announces to one tracker at a time; `tier` says to which and when, `host` says how many at once, `schedule`
//! drives both, `retier` edits the trackers of a torrent while it runs, `leaving` tells trackers that we go, `counts`
//! says what each of them has counted, and `http` and `udp` speak to trackers behind the contract in `transport`.

mod address;
mod counts;
mod dial;
mod driver;
mod encoding;
mod families;
mod fetch;
mod host;
mod http;
mod jitter;
mod leaving;
mod limits;
mod names;
mod redirect;
mod retier;
#[cfg(test)]
mod samples;
mod schedule;
mod tier;
mod transport;
mod trust;
mod udp;
mod url;

use driver::Core;
pub use encoding::EncodingError;
pub use fetch::{FetchError, FetchRequest, fetch};
pub use redirect::RedirectError;
use ringseed_net::route::Route;
use ringseed_proto::hashes::{SwarmHash, TorrentId};
use ringseed_proto::units::PeerId;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
pub use trust::{CertificateProblem, TlsClock, Trust, TrustError};
pub use url::shown as shown_url;

/// Who announces, and how. The same for all torrents.
#[derive(Debug, Clone)]
pub struct AnnounceConfig {
    /// Our peer id.
    pub peer_id: PeerId,
    /// Proves to trackers that we are the same client when our address changes; random per run.
    pub key: u32,
    /// TCP port where peers reach us.
    pub listen_port: u16,
    /// `User-Agent` of HTTP announces.
    pub user_agent: String,
    /// How trackers are reached.
    pub route: Route,
    /// Sockets that may be open at once.
    pub sockets_max: usize,
    /// Whose certificates are believed.
    pub trust: Trust,
}

/// A torrent to announce.
#[derive(Debug, Clone)]
pub struct TrackedTorrent {
    /// The torrent, as updates name it.
    pub torrent_id: TorrentId,
    /// The info-hash that its trackers are asked for.
    pub swarm_hash: SwarmHash,
    /// Its tracker URLs by tier (BEP 12).
    pub tiers: Vec<Vec<String>>,
    /// Peers come from its trackers only (BEP 27). Trackers are spoken to in the same way.
    pub private: bool,
}

/// What was moved of a torrent, in payload bytes. A tracker is told what was added since it was told `started`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransferTotals {
    /// Sent, counted from whenever: it never becomes less while the torrent is announced.
    pub uploaded: u64,
    /// Received, counted likewise.
    pub downloaded: u64,
    /// Missing of the whole torrent, wanted or not; 0 makes us a seed.
    pub left: u64,
    /// Something is missing, and nothing of it is wanted: a partial seed (BEP 21).
    pub partial_seed: bool,
}

/// What the announcer has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnnounceUpdate {
    /// A tracker named peers. They may include ourselves and ones named before.
    Peers {
        /// The torrent.
        torrent_id: TorrentId,
        /// Its peers; never empty, bounded.
        peers: Vec<SocketAddr>,
    },
}

/// One tracker of a torrent as a user wants to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerState {
    /// Announce URL as the torrent gives it.
    pub url: String,
    /// Tier, from 0 (BEP 12).
    pub tier: usize,
    /// What the last announce ended with; empty before the first.
    pub last_result: String,
    /// Whether the last announce succeeded.
    pub ok: bool,
    /// Whether an announce is in flight.
    pub announcing: bool,
    /// Seeders the tracker reported.
    pub seeders: Option<u32>,
    /// Leechers the tracker reported.
    pub leechers: Option<u32>,
    /// Peers in its last answer; `None` before the first.
    pub peers: Option<u32>,
    /// When its next announce is due; `None` while another tracker of the tier serves.
    pub next_announce: Option<SystemTime>,
    /// When the last announce was sent.
    pub last_announce: Option<SystemTime>,
}

/// Announces torrents. Dropping it ends its schedule without telling trackers; see [`Announcer::shutdown`].
pub struct Announcer {
    core: Rc<Core>,
    driver: AbortHandle,
}

impl Announcer {
    /// Starts announcing on the current tokio `LocalSet`. Peers go to `events`; when it is full they wait.
    ///
    /// # Panics
    /// Outside of a `LocalSet`.
    pub fn new(config: AnnounceConfig, events: mpsc::Sender<AnnounceUpdate>) -> Self {
        let transport = Rc::new(families::Trackers::new(&config));
        Self::with(Core::new(config, transport, events, None))
    }

    fn with(core: Rc<Core>) -> Self {
        let driver = tokio::task::spawn_local(core.clone().drive()).abort_handle();
        Self { core, driver }
    }

    /// Announces a torrent with `started` and then regularly, until [`Announcer::stop`]. `totals` is asked at
    /// each announce. One that is announced already goes on, as by [`Announcer::set_trackers`].
    pub fn start(&self, torrent: TrackedTorrent, totals: Box<dyn Fn() -> TransferTotals>) {
        self.core.start(torrent, totals);
    }

    /// Tells the trackers that the download has finished.
    pub fn completed(&self, torrent: TorrentId) {
        self.core.completed(torrent);
    }

    /// Announces a torrent that is announced already to these trackers from now on: those that stay go on as they
    /// are, new ones are told `started`, and those that are gone `stopped`.
    pub fn set_trackers(&self, torrent: TorrentId, tiers: Vec<Vec<String>>) {
        self.core.set_trackers(torrent, tiers);
    }

    /// Tells the trackers that we leave, and forgets the torrent. What was moved until now is told: call it when
    /// nothing more will be.
    pub fn stop(&self, torrent: TorrentId) {
        self.core.stop(torrent);
    }

    /// Announces as soon as the trackers' minimum intervals allow.
    pub fn reannounce(&self, torrent: TorrentId) {
        self.core.reannounce(torrent);
    }

    /// Peers reach us on another port from now on: all trackers that answer are told at once.
    pub fn port_changed(&self, port: u16) {
        self.core.port_changed(port);
    }

    /// The trackers of a torrent by tier, in the order in which they are tried; empty for an unknown one.
    pub fn status(&self, torrent: TorrentId) -> Vec<TrackerState> {
        self.core.status(torrent)
    }

    /// Torrents of which [`Announcer::status`] is another than at the last call.
    pub fn take_changed(&self) -> HashSet<TorrentId> {
        self.core.take_changed()
    }

    /// Stops all torrents: `stopped` goes in parallel to every tracker that answered. Returns when they have
    /// answered or the time is over, whichever is first.
    pub async fn shutdown(&self, most: Duration) {
        self.core.shutdown(most).await;
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
