//! What drives the schedule: starts its announces as tasks, hands on the peers they bring, and sees them off at the end.
//!
//! All state is behind one `RefCell` that is never borrowed over an await.

use super::families::announce_all;
use super::limits::SHUTDOWN_GRACE;
use super::schedule::{Flight, State, describe};
use super::transport::Transport;
use super::{AnnounceConfig, AnnounceUpdate, TrackedTorrent, TrackerState, TransferTotals};
use ringseed_proto::hashes::TorrentId;
use std::cell::RefCell;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

/// The announcer's shared state and what drives it.
pub(super) struct Core {
    config: RefCell<AnnounceConfig>,
    transport: Rc<dyn Transport>,
    events: mpsc::Sender<AnnounceUpdate>,
    pub(super) state: RefCell<State>,
    /// The driver has to look again.
    wake: Notify,
    /// A flight has landed.
    landed: Notify,
}

impl Core {
    pub(super) fn new(
        config: AnnounceConfig,
        transport: Rc<dyn Transport>,
        events: mpsc::Sender<AnnounceUpdate>,
        seed: Option<u64>,
    ) -> Rc<Self> {
        let state = State::new(seed);
        let (wake, landed) = (Notify::new(), Notify::new());
        let config = RefCell::new(config);
        Rc::new(Self { config, transport, events, state: RefCell::new(state), wake, landed })
    }

    /// Runs the schedule; never returns.
    pub(super) async fn drive(self: Rc<Self>) {
        loop {
            let next = self.state.borrow_mut().take_due(Instant::now());
            self.pump();
            match next {
                Some(moment) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = sleep_until(moment) => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    pub(super) fn start(&self, torrent: TrackedTorrent, totals: Box<dyn Fn() -> TransferTotals>) {
        self.state.borrow_mut().start(torrent, totals, Instant::now());
        self.wake.notify_one();
    }

    pub(super) fn completed(&self, torrent_id: TorrentId) {
        self.state.borrow_mut().reschedule(torrent_id, |tier, now| tier.complete(now));
        self.wake.notify_one();
    }

    pub(super) fn set_trackers(&self, torrent_id: TorrentId, tiers: Vec<Vec<String>>) {
        self.state.borrow_mut().set_trackers(torrent_id, tiers, Instant::now());
        self.wake.notify_one();
    }

    pub(super) fn reannounce(&self, torrent_id: TorrentId) {
        self.state.borrow_mut().reschedule(torrent_id, |tier, now| tier.reannounce(now));
        self.wake.notify_one();
    }

    pub(super) fn port_changed(&self, port: u16) {
        self.config.borrow_mut().listen_port = port;
        self.state.borrow_mut().reschedule_all(|tier, now| tier.moved(now));
        self.wake.notify_one();
    }

    pub(super) fn stop(&self, torrent_id: TorrentId) {
        self.state.borrow_mut().stop(torrent_id, Instant::now());
        self.wake.notify_one();
    }

    pub(super) fn status(&self, torrent_id: TorrentId) -> Vec<TrackerState> {
        let state = self.state.borrow();
        state.torrents.get(&torrent_id).map_or_else(Vec::new, |torrent| describe(&torrent.tiers))
    }

    pub(super) fn take_changed(&self) -> HashSet<TorrentId> {
        self.state.borrow_mut().take_changed()
    }

    pub(super) async fn shutdown(self: &Rc<Self>, most: Duration) {
        self.state.borrow_mut().close(Instant::now());
        self.pump();
        let grace_ends = Instant::now() + SHUTDOWN_GRACE;
        let told = async {
            loop {
                let landed = self.landed.notified();
                let (stopping, running) = {
                    let state = self.state.borrow();
                    (!state.stopping.is_empty(), state.running > 0)
                };
                if stopping {
                    landed.await;
                } else if running && Instant::now() < grace_ends {
                    // An announce in flight may register us yet, and then has a `stopped` to follow.
                    let _ = tokio::time::timeout_at(grace_ends, landed).await;
                } else {
                    return;
                }
            }
        };
        if timeout(most, told).await.is_err() {
            let untold = self.state.borrow().stopping.len();
            tracing::warn!(untold, "not every tracker answered in time that we leave");
        }
    }

    /// Starts announces while hosts have work and room.
    fn pump(self: &Rc<Self>) {
        loop {
            let flight = self.state.borrow_mut().launch(&self.config.borrow());
            let Some(flight) = flight else { return };
            tokio::task::spawn_local(self.clone().fly(flight));
        }
    }

    async fn fly(self: Rc<Self>, flight: Flight) {
        let request = &flight.request;
        let peers_wanted = !flight.is_farewell();
        let outcome = announce_all(
            &*self.transport,
            request,
            |families| self.state.borrow().usable(&flight.host, families),
            |peers| if peers_wanted { self.deliver(request.torrent_id, peers) } else { Ok(()) },
        )
        .await;
        let torrent_id = request.torrent_id;
        let late = self.state.borrow_mut().land(flight, outcome, Instant::now());
        self.landed.notify_waiters();
        self.wake.notify_one();
        self.pump();
        if !late.is_empty() && peers_wanted {
            let _ = self.events.send(AnnounceUpdate::Peers { torrent_id, peers: late }).await;
        }
    }

    /// Hands peers over if there is room now; gives them back if not.
    fn deliver(&self, torrent_id: TorrentId, peers: Vec<SocketAddr>) -> Result<(), Vec<SocketAddr>> {
        if peers.is_empty() {
            return Ok(());
        }
        match self.events.try_send(AnnounceUpdate::Peers { torrent_id, peers }) {
            Err(mpsc::error::TrySendError::Full(AnnounceUpdate::Peers { peers, .. })) => Err(peers),
            // Closed: nobody wants them any more.
            _ => Ok(()),
        }
    }
}
