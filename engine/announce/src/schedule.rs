//! The schedule: which tier announces when, through the queues of the tracker hosts.
//!
//! A tier waits in `due`, then in its tracker's host queue, then its announce is in flight as one task; each
//! is in exactly one of these places. Nothing here waits or talks to a tracker: [`super::driver`] does.

use super::counts::{Base, Untold};
use super::host::{Host, HostChange};
use super::jitter::Jitter;
use super::leaving::Farewell;
use super::limits::{
    HOST_RECOVERY_SPREAD, HOSTS_MAX, NUMWANT_DOWNLOADING, NUMWANT_SEEDING, RUNNING_CLOSING_MAX, RUNNING_MAX,
    STOP_IN_FLIGHT_PAUSE, TRACKERS_PER_TORRENT_MAX,
};
use super::tier::{LastResult, Tier, TierId, TierPhase};
use super::transport::{Failure, Request};
use super::url::{HostKey, TrackerUrl};
use super::{AnnounceConfig, TrackedTorrent, TrackerState, TransferTotals};
use ringseed_proto::hashes::{SwarmHash, TorrentId};
use ringseed_proto::tracker::{AnnounceEvent, AnnounceRequest, AnnounceResponse, Family};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::SystemTime;
use tokio::time::Instant;

/// What waits for a host.
pub(super) enum Job {
    /// The announce of a tier, as it will be when its turn comes.
    Tier(TorrentId, TierId),
    /// The last of a tracker that is left.
    Farewell(Box<Farewell>),
}

/// An announce in flight.
pub(super) struct Flight {
    pub(super) host: HostKey,
    job: Job,
    pub(super) request: Request,
}

impl Flight {
    /// Whether nobody wants its peers any more.
    pub(super) fn is_farewell(&self) -> bool {
        matches!(self.job, Job::Farewell(_))
    }
}

/// A torrent that is announced.
pub(super) struct AnnouncedTorrent {
    /// The info-hash that trackers are asked for.
    pub(super) swarm_hash: SwarmHash,
    pub(super) tiers: Vec<Tier>,
    totals: Box<dyn Fn() -> TransferTotals>,
}

impl AnnouncedTorrent {
    /// What was moved until now.
    pub(super) fn totals(&self) -> TransferTotals {
        (self.totals)()
    }
}

/// All that is scheduled.
pub(super) struct State {
    pub(super) torrents: HashMap<TorrentId, AnnouncedTorrent>,
    due: BTreeSet<(Instant, TorrentId, TierId)>,
    pub(super) hosts: HashMap<HostKey, Host<Job>>,
    /// Hosts which may have both a job and room for it, each once.
    ready: VecDeque<HostKey>,
    pub(super) running: usize,
    /// Farewells that are queued or in flight.
    pub(super) stopping: HashSet<(TorrentId, Rc<str>)>,
    /// Farewells to trackers that will know us if the announce in flight, of a tier that is gone, succeeds.
    pub(super) leaving: HashMap<TierId, Farewell>,
    pub(super) untold: Untold,
    /// Tiers that there have been.
    tiers: u64,
    /// Torrents whose trackers have news.
    pub(super) changed: HashSet<TorrentId>,
    pub(super) closing: bool,
    pub(super) jitter: Jitter,
}

/// What came of an announce over all families.
pub(super) struct Outcome {
    pub(super) result: Result<AnnounceResponse, Failure>,
    /// Peers in the answers of all families.
    pub(super) peers: u32,
    /// Peers that could not be handed over yet.
    pub(super) late: Vec<SocketAddr>,
    /// A family that failed where another worked.
    pub(super) broken: Option<Family>,
}

impl State {
    pub(super) fn new(seed: Option<u64>) -> State {
        State {
            torrents: HashMap::new(),
            due: BTreeSet::new(),
            hosts: HashMap::new(),
            ready: VecDeque::new(),
            running: 0,
            stopping: HashSet::new(),
            leaving: HashMap::new(),
            untold: Untold::default(),
            tiers: 0,
            changed: HashSet::new(),
            closing: false,
            jitter: Jitter::new(seed),
        }
    }

    pub(super) fn start(
        &mut self,
        torrent: TrackedTorrent,
        totals: Box<dyn Fn() -> TransferTotals>,
        now: Instant,
    ) {
        if self.closing {
            return;
        }
        let torrent_id = torrent.torrent_id;
        if let Some(known) = self.torrents.get_mut(&torrent_id) {
            known.totals = totals;
            return self.set_trackers(torrent_id, torrent.tiers, now);
        }
        let base = Base::at(totals());
        let mut started = AnnouncedTorrent { swarm_hash: torrent.swarm_hash, tiers: Vec::new(), totals };
        for urls in cut(torrent.tiers) {
            let tier = Tier::new(self.tier_id(), urls, base, &mut self.jitter);
            started.tiers.push(tier);
        }
        self.unqueue_farewells(&mut started, torrent_id);
        let tiers: Vec<TierId> = started.tiers.iter().map(|tier| tier.id).collect();
        self.torrents.insert(torrent_id, started);
        for tier in tiers {
            self.schedule(torrent_id, tier, Some(now));
        }
    }

    /// An id that no tier has had.
    pub(super) fn tier_id(&mut self) -> TierId {
        self.tiers += 1;
        TierId(self.tiers)
    }

    fn tier(&mut self, torrent_id: TorrentId, id: TierId) -> Option<&mut Tier> {
        self.torrents.get_mut(&torrent_id)?.tiers.iter_mut().find(|tier| tier.id == id)
    }

    /// Torrents whose trackers have other things to tell than at the last call.
    pub(super) fn take_changed(&mut self) -> HashSet<TorrentId> {
        std::mem::take(&mut self.changed)
    }

    /// Removes a torrent with everything that is scheduled for it.
    pub(super) fn forget(&mut self, torrent_id: TorrentId) -> Option<AnnouncedTorrent> {
        let torrent = self.torrents.remove(&torrent_id)?;
        for tier in &torrent.tiers {
            self.unschedule(torrent_id, tier.id, tier.phase, tier.host().as_ref());
        }
        Some(torrent)
    }

    /// Removes what is scheduled for a tier that is gone, or scheduled anew. `host`: where it waits when it does.
    pub(super) fn unschedule(
        &mut self,
        torrent_id: TorrentId,
        id: TierId,
        phase: TierPhase,
        host: Option<&HostKey>,
    ) {
        match phase {
            TierPhase::Waiting(Some(due)) => _ = self.due.remove(&(due, torrent_id, id)),
            TierPhase::Queued => {
                if let Some(host) = host.and_then(|key| self.hosts.get_mut(key)) {
                    host.waiting.retain(|job| !matches!(job, Job::Tier(_, other) if *other == id));
                }
            }
            TierPhase::Waiting(None) | TierPhase::Running(_) => {}
        }
    }

    pub(super) fn close(&mut self, now: Instant) {
        self.closing = true;
        for host in self.hosts.values_mut() {
            host.waiting.retain(|job| matches!(job, Job::Farewell(_)));
        }
        let torrents: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for torrent_id in torrents {
            self.stop(torrent_id, now);
        }
        // Every host may have more at once now.
        let keys: Vec<HostKey> = self.hosts.keys().cloned().collect();
        keys.iter().for_each(|key| self.list(key));
    }

    /// Sets when a tier announces next; `None` leaves it to the user.
    pub(super) fn schedule(&mut self, torrent_id: TorrentId, id: TierId, due: Option<Instant>) {
        let Some(tier) = self.tier(torrent_id, id) else { return };
        let before = std::mem::replace(&mut tier.phase, TierPhase::Waiting(due));
        self.unschedule(torrent_id, id, before, None);
        self.changed.insert(torrent_id);
        if let Some(due) = due {
            self.due.insert((due, torrent_id, id));
        }
    }

    /// Applies what a user or the session wants to each tier of a torrent.
    pub(super) fn reschedule(
        &mut self,
        torrent_id: TorrentId,
        change: impl Fn(&mut Tier, Instant) -> Option<Instant>,
    ) {
        let now = Instant::now();
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else { return };
        let moments: Vec<_> = torrent.tiers.iter_mut().map(|tier| (tier.id, change(tier, now))).collect();
        for (id, due) in moments {
            if due.is_some() {
                self.schedule(torrent_id, id, due);
            }
        }
    }

    /// As [`State::reschedule`], for all torrents.
    pub(super) fn reschedule_all(&mut self, change: impl Fn(&mut Tier, Instant) -> Option<Instant>) {
        let torrents: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for torrent_id in torrents {
            self.reschedule(torrent_id, &change);
        }
    }

    /// Moves the tiers that are due into host queues. Returns when the next is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Instant> {
        while let Some(&(due, torrent_id, tier)) = self.due.first() {
            if due > now {
                return Some(due);
            }
            self.due.pop_first();
            self.queue_tier(torrent_id, tier, now);
        }
        None
    }

    fn queue_tier(&mut self, torrent_id: TorrentId, id: TierId, now: Instant) {
        let Some(tier) = self.tier(torrent_id, id) else { return };
        tier.phase = TierPhase::Waiting(None);
        let Some(chosen) = tier.choose(now) else {
            let due = tier.all_refuse();
            return self.schedule(torrent_id, id, due);
        };
        let url = match &tier.trackers[chosen].target {
            Ok(url) => url.clone(),
            Err(why) => {
                let failure = Failure::refused(why.to_string());
                return self.tier_failed(torrent_id, id, &failure, now);
            }
        };
        if self.stopping.contains(&(torrent_id, url.text.clone())) {
            // Its `stopped` is in flight: `started` must not overtake it.
            return self.schedule(torrent_id, id, Some(now + STOP_IN_FLIGHT_PAUSE));
        }
        let key = url.host_key();
        if let Some((_, error)) = self.host(&key).down(now) {
            let failure = Failure::Unreachable(error.to_owned());
            return self.tier_failed(torrent_id, id, &failure, now);
        }
        if let Some(tier) = self.tier(torrent_id, id) {
            tier.phase = TierPhase::Queued;
            self.host(&key).waiting.push_back(Job::Tier(torrent_id, id));
            self.list(&key);
        }
    }

    fn tier_failed(&mut self, torrent_id: TorrentId, id: TierId, failure: &Failure, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else { return };
        let Some(tier) = torrent.tiers.iter_mut().find(|tier| tier.id == id) else { return };
        let due = tier.failed(now, failure, &mut self.jitter);
        self.schedule(torrent_id, id, due);
    }

    pub(super) fn host(&mut self, key: &HostKey) -> &mut Host<Job> {
        if self.hosts.len() >= HOSTS_MAX && !self.hosts.contains_key(key) {
            self.hosts.retain(|_, host| host.is_used());
        }
        self.hosts.entry(key.clone()).or_insert_with(|| Host::new(key.udp))
    }

    pub(super) fn list(&mut self, key: &HostKey) {
        if let Some(host) = self.hosts.get_mut(key)
            && !host.listed
        {
            host.listed = true;
            self.ready.push_back(key.clone());
        }
    }

    /// The next announce to send, hosts taking turns.
    pub(super) fn launch(&mut self, config: &AnnounceConfig) -> Option<Flight> {
        let running_max = if self.closing { RUNNING_CLOSING_MAX } else { RUNNING_MAX };
        while self.running < running_max.min(config.sockets_max) {
            let key = self.ready.pop_front()?;
            let Some(host) = self.hosts.get_mut(&key) else { continue };
            host.listed = false;
            if !host.has_room(self.closing) {
                continue; // listed again when one of its flights lands
            }
            let Some(job) = host.waiting.pop_front() else { continue };
            let more = !host.waiting.is_empty();
            if more {
                self.list(&key);
            }
            if let Some(request) = self.prepare(&job, config) {
                self.host(&key).running += 1;
                self.running += 1;
                return Some(Flight { host: key, job, request });
            }
        }
        None
    }

    /// The request of a job whose turn has come; `None` when it is no longer wanted.
    fn prepare(&mut self, job: &Job, config: &AnnounceConfig) -> Option<Request> {
        let (torrent_id, id) = match job {
            Job::Farewell(farewell) => return Some(farewell.request(config)),
            Job::Tier(torrent_id, id) => (*torrent_id, *id),
        };
        let torrent = self.torrents.get_mut(&torrent_id)?;
        let totals = torrent.totals();
        let tier = torrent.tiers.iter_mut().find(|tier| tier.id == id && tier.phase == TierPhase::Queued)?;
        let event = tier.next_event(totals.partial_seed);
        let tracker = tier.trackers.get_mut(tier.current)?;
        let url = tracker.target.as_ref().ok()?.clone();
        // The farewell before it may not have come through after all.
        if let Some(base) = self.untold.take(torrent_id, &url.text) {
            tracker.base = base;
        }
        tracker.last_announce = Some(SystemTime::now());
        let tracker_id = tracker.tracker_id.clone();
        let announce = request(config, torrent.swarm_hash, event, tracker.base.of(totals));
        tier.phase = TierPhase::Running(event);
        Some(Request { torrent_id, url, announce, tracker_id })
    }

    /// Which families to speak to a host over.
    pub(super) fn usable(&self, host: &HostKey, families: Vec<Family>) -> Vec<Family> {
        match self.hosts.get(host) {
            Some(host) => host.usable(families, Instant::now()),
            None => families,
        }
    }

    /// Takes the outcome of an announce. Returns the peers that are still to be handed over.
    pub(super) fn land(&mut self, flight: Flight, outcome: Outcome, now: Instant) -> Vec<SocketAddr> {
        self.running -= 1;
        let mut turn = HostChange::None;
        if let Some(host) = self.hosts.get_mut(&flight.host) {
            host.running -= 1;
            if let Some(family) = outcome.broken {
                host.family_failed(family, now);
            }
            turn = match &outcome.result {
                Err(Failure::Unreachable(text)) => host.unreachable(now, text, &mut self.jitter),
                _ => host.answered(),
            };
        }
        let Request { url, announce, .. } = &flight.request;
        match &outcome.result {
            Ok(_) => tracing::debug!(url = %url.shown(), torrent = %announce.info_hash, "announced"),
            Err(error) => {
                tracing::debug!(url = %url.shown(), torrent = %announce.info_hash, error = error.text(), "announce failed");
            }
        }
        match flight.job {
            Job::Farewell(farewell) => self.farewell_landed(*farewell, &outcome.result, now),
            Job::Tier(torrent_id, id) => match self.tier(torrent_id, id) {
                Some(_) => self.tier_landed(torrent_id, id, outcome.result, outcome.peers, now),
                None => self.gone_landed(id, &flight.request, outcome.result, now),
            },
        }
        match turn {
            HostChange::None => {}
            HostChange::WentDown => self.drain(&flight.host, now),
            HostChange::Recovered => self.pull_forward(&flight.host, now),
        }
        self.list(&flight.host);
        outcome.late
    }

    fn tier_landed(
        &mut self,
        torrent_id: TorrentId,
        id: TierId,
        result: Result<AnnounceResponse, Failure>,
        peers: u32,
        now: Instant,
    ) {
        let Some(torrent) = self.torrents.get_mut(&torrent_id) else { return };
        let Some(tier) = torrent.tiers.iter_mut().find(|tier| tier.id == id) else { return };
        let TierPhase::Running(event) = tier.phase else { return };
        match result {
            Ok(response) => {
                let due = tier.succeeded(now, event, &response, peers, &mut self.jitter);
                self.schedule(torrent_id, id, Some(due));
            }
            Err(failure) => self.tier_failed(torrent_id, id, &failure, now),
        }
    }

    /// A host went down: those that wait for it try their next tracker.
    fn drain(&mut self, key: &HostKey, now: Instant) {
        let host = self.host(key);
        let jobs = std::mem::take(&mut host.waiting);
        let text = host.down(now).map_or_else(String::new, |(_, error)| error.to_owned());
        let failure = Failure::Unreachable(text);
        for job in jobs {
            match job {
                Job::Farewell(farewell) => self.farewell_landed(*farewell, &Err(failure.clone()), now),
                Job::Tier(torrent_id, id) => self.tier_failed(torrent_id, id, &failure, now),
            }
        }
    }

    /// A host is back: tiers that wait in vain and know it do not sit out their back-off.
    fn pull_forward(&mut self, key: &HostKey, now: Instant) {
        let mut earlier = Vec::new();
        for (torrent_id, torrent) in &self.torrents {
            for tier in &torrent.tiers {
                let TierPhase::Waiting(Some(due)) = tier.phase else { continue };
                let knows = |url: &Rc<TrackerUrl>| url.host_key() == *key;
                if tier.is_failing()
                    && tier.trackers.iter().any(|tracker| tracker.target.as_ref().is_ok_and(knows))
                {
                    let moment = now + self.jitter.up_to(HOST_RECOVERY_SPREAD);
                    if moment < due {
                        earlier.push((*torrent_id, tier.id, moment));
                    }
                }
            }
        }
        for (torrent_id, id, moment) in earlier {
            self.schedule(torrent_id, id, Some(moment));
        }
    }
}

/// Tiers of at most [`TRACKERS_PER_TORRENT_MAX`] trackers together, none of them empty.
pub(super) fn cut(tiers: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let mut room = TRACKERS_PER_TORRENT_MAX;
    let cut = tiers.into_iter().map(|mut urls| {
        urls.truncate(room);
        room -= urls.len();
        urls
    });
    cut.filter(|urls| !urls.is_empty()).collect()
}

pub(super) fn request(
    config: &AnnounceConfig,
    info_hash: SwarmHash,
    event: AnnounceEvent,
    totals: TransferTotals,
) -> AnnounceRequest {
    let numwant = match event {
        AnnounceEvent::Stopped => 0,
        _ if totals.left == 0 || totals.partial_seed => NUMWANT_SEEDING,
        _ => NUMWANT_DOWNLOADING,
    };
    AnnounceRequest {
        info_hash,
        peer_id: config.peer_id,
        port: config.listen_port,
        uploaded: totals.uploaded,
        downloaded: totals.downloaded,
        left: totals.left,
        event,
        numwant: Some(numwant),
        key: Some(config.key),
    }
}

pub(super) fn describe(tiers: &[Tier]) -> Vec<TrackerState> {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut states = Vec::new();
    for (index, tier) in tiers.iter().enumerate() {
        for (place, tracker) in tier.trackers.iter().enumerate() {
            let current = place == tier.current;
            let (ok, last_result) = match &tracker.last {
                LastResult::None => (false, String::new()),
                LastResult::Ok(text) => (true, text.clone()),
                LastResult::Failed(text) => (false, text.clone()),
            };
            let next_announce = match tier.phase {
                TierPhase::Waiting(Some(due)) if current => {
                    clock.checked_add(due.saturating_duration_since(now))
                }
                TierPhase::Queued if current => Some(clock),
                _ => None,
            };
            states.push(TrackerState {
                url: tracker.text.clone(),
                tier: index,
                last_result,
                ok,
                announcing: current && matches!(tier.phase, TierPhase::Running(_)),
                seeders: tracker.seeders,
                leechers: tracker.leechers,
                peers: tracker.peers,
                next_announce,
                last_announce: tracker.last_announce,
            });
        }
    }
    states
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
