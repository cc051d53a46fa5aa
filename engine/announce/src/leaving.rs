//! Telling trackers that we leave: when a torrent stops, and when a tracker is taken from one.

use super::TransferTotals;
use super::counts::Base;
use super::schedule::{AnnouncedTorrent, Job, State, request};
use super::tier::{Tier, TierId, TierPhase, Tracker};
use super::transport::{Failure, Request};
use super::url::TrackerUrl;
use super::{AnnounceConfig, host::Host};
use ringseed_proto::hashes::{SwarmHash, TorrentId};
use ringseed_proto::tracker::{AnnounceEvent, AnnounceResponse};
use std::rc::Rc;
use tokio::time::Instant;

/// What a tracker is told last.
#[derive(Debug, Clone)]
pub(super) struct Farewell {
    pub(super) torrent_id: TorrentId,
    swarm_hash: SwarmHash,
    pub(super) url: Rc<TrackerUrl>,
    tracker_id: Option<Rc<[u8]>>,
    /// What was moved when we left.
    totals: TransferTotals,
    base: Base,
    /// It has not been told `completed` yet, which comes first.
    completed: bool,
    /// It has answered before.
    known: bool,
}

impl Farewell {
    /// The announce to send next.
    pub(super) fn request(&self, config: &AnnounceConfig) -> Request {
        let event = if self.completed { AnnounceEvent::Completed } else { AnnounceEvent::Stopped };
        let mut announce = request(config, self.swarm_hash, event, self.base.of(self.totals));
        announce.numwant = Some(0);
        let (torrent_id, url, tracker_id) = (self.torrent_id, self.url.clone(), self.tracker_id.clone());
        Request { torrent_id, url, announce, tracker_id }
    }

    fn key(&self) -> (TorrentId, Rc<str>) {
        (self.torrent_id, self.url.text.clone())
    }
}

/// The phase of a tier whose `completed` is in flight.
pub(super) const TELLING: TierPhase = TierPhase::Running(AnnounceEvent::Completed);

impl State {
    /// Forgets a torrent; trackers that know us are told `stopped`.
    pub(super) fn stop(&mut self, torrent_id: TorrentId, now: Instant) {
        let Some(torrent) = self.forget(torrent_id) else { return };
        let totals = torrent.totals();
        for tier in torrent.tiers {
            self.leave((torrent_id, torrent.swarm_hash), tier, totals, now);
        }
    }

    /// Leaves the trackers of a tier that is gone.
    fn leave(&mut self, torrent: (TorrentId, SwarmHash), tier: Tier, totals: TransferTotals, now: Instant) {
        let Tier { id, trackers, current, phase, completed_pending, .. } = tier;
        for (place, tracker) in trackers.into_iter().enumerate() {
            let serves = place == current;
            let completed = serves && completed_pending && phase != TELLING;
            let asked = serves && matches!(phase, TierPhase::Running(_));
            self.leave_tracker(torrent, tracker, asked.then_some(id), completed, totals, now);
        }
    }

    /// Leaves one tracker. `asked`: the tier whose announce to it is in flight.
    pub(super) fn leave_tracker(
        &mut self,
        (torrent_id, swarm_hash): (TorrentId, SwarmHash),
        tracker: Tracker,
        asked: Option<TierId>,
        completed: bool,
        totals: TransferTotals,
        now: Instant,
    ) {
        let Ok(url) = tracker.target else { return };
        let Tracker { tracker_id, base, registered, .. } = tracker;
        let farewell =
            Farewell { torrent_id, swarm_hash, url, tracker_id, totals, base, completed, known: registered };
        match asked {
            // `stopped` must not overtake what is in flight, after which the tracker may know us. At the end there is
            // no time for that.
            Some(tier) if !registered || !self.closing => _ = self.leaving.insert(tier, farewell),
            _ if registered => self.queue_farewell(farewell, now),
            _ => self.note_untold(&farewell),
        }
    }

    /// An announce of a tier that is gone meanwhile has landed.
    pub(super) fn gone_landed(
        &mut self,
        tier: TierId,
        request: &Request,
        result: Result<AnnounceResponse, Failure>,
        now: Instant,
    ) {
        let (torrent_id, url) = (request.torrent_id, &request.url.text);
        match (self.leaving.remove(&tier), result) {
            (Some(farewell), Ok(response)) => {
                let tracker_id = response.tracker_id.map(Into::into).or(farewell.tracker_id.clone());
                self.queue_farewell(Farewell { tracker_id, known: true, ..farewell }, now);
            }
            (Some(farewell), Err(_)) if farewell.known => {
                let completed = farewell.completed || request.announce.event == AnnounceEvent::Completed;
                self.queue_farewell(Farewell { completed, ..farewell }, now);
            }
            (Some(farewell), Err(_)) => self.note_untold(&farewell),
            // The tracker is in another tier now.
            (None, Ok(_)) => {
                let torrent = self.torrents.get_mut(&torrent_id);
                let trackers = torrent.into_iter().flat_map(|torrent| torrent.tiers.iter_mut());
                let mut trackers = trackers.flat_map(|tier| tier.trackers.iter_mut());
                let known =
                    |tracker: &&mut Tracker| tracker.target.as_ref().is_ok_and(|target| target.text == *url);
                if let Some(tracker) = trackers.find(known) {
                    tracker.registered = true;
                }
            }
            (None, Err(_)) => {}
        }
    }

    /// What was told last has landed: `stopped` follows `completed`, and nothing follows `stopped`.
    pub(super) fn farewell_landed(
        &mut self,
        farewell: Farewell,
        result: &Result<AnnounceResponse, Failure>,
        now: Instant,
    ) {
        self.stopping.remove(&farewell.key());
        match result {
            Err(Failure::Unreachable(_)) => self.note_untold(&farewell),
            _ if farewell.completed => {
                self.queue_farewell(Farewell { completed: false, ..farewell }, now);
            }
            Err(Failure::Refused { .. }) => self.note_untold(&farewell),
            Ok(_) => {}
        }
    }

    fn queue_farewell(&mut self, farewell: Farewell, now: Instant) {
        let key = farewell.url.host_key();
        if self.host(&key).down(now).is_some() {
            // A tracker that is down forgets us by itself.
            return self.note_untold(&farewell);
        }
        self.stopping.insert(farewell.key());
        // Before regular announces: whoever stops something is waiting for it.
        self.host(&key).waiting.push_front(Job::Farewell(Box::new(farewell)));
        self.list(&key);
    }

    /// A tracker was not told all: when the torrent is back, it counts on from where it began.
    fn note_untold(&mut self, farewell: &Farewell) {
        if Base::at(farewell.totals) != farewell.base {
            self.untold.note(farewell.torrent_id, farewell.url.text.clone(), farewell.base);
        }
    }

    /// A farewell that is still queued is not sent when the torrent is back: the tracker knows us yet, and counts on.
    pub(super) fn unqueue_farewells(&mut self, torrent: &mut AnnouncedTorrent, torrent_id: TorrentId) {
        for tier in &mut torrent.tiers {
            for tracker in &mut tier.trackers {
                let Ok(url) = &tracker.target else { continue };
                if let Some(farewell) = self.unqueue(torrent_id, url) {
                    tracker.base = farewell.base;
                    tracker.registered = farewell.known;
                    tracker.tracker_id = farewell.tracker_id;
                    tier.completed_pending |= farewell.completed;
                }
                if let Some(base) = self.untold.take(torrent_id, &url.text) {
                    tracker.base = base;
                }
            }
        }
    }

    fn unqueue(&mut self, torrent_id: TorrentId, url: &TrackerUrl) -> Option<Farewell> {
        let key = (torrent_id, url.text.clone());
        let waits = self.leaving.iter().find(|(_, farewell)| farewell.key() == key);
        if let Some(tier) = waits.map(|(tier, _)| *tier) {
            return self.leaving.remove(&tier);
        }
        if !self.stopping.contains(&key) {
            return None;
        }
        let host: &mut Host<Job> = self.hosts.get_mut(&url.host_key())?;
        let queued = |job: &Job| matches!(job, Job::Farewell(farewell) if farewell.key() == key);
        let place = host.waiting.iter().position(queued)?;
        let Some(Job::Farewell(farewell)) = host.waiting.remove(place) else { return None };
        self.stopping.remove(&key);
        Some(*farewell)
    }
}
