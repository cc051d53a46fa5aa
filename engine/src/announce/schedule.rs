//! The schedule: which tier announces when, through the queues of the tracker hosts.
//!
//! A tier waits in `due`, then in its tracker's host queue, then its announce is in flight as one task; each
//! is in exactly one of these places. Nothing here waits or talks to a tracker: [`super::driver`] does.

use super::host::{Host, Turn};
use super::jitter::Jitter;
use super::limits::{
    HOST_RECOVERY_SPREAD, HOSTS_MAX, NUMWANT_DOWNLOADING, NUMWANT_SEEDING, RUNNING_CLOSING_MAX, RUNNING_MAX,
    STOP_IN_FLIGHT_PAUSE, TRACKERS_PER_TORRENT_MAX,
};
use super::tier::{LastResult, Phase, Tier};
use super::transport::{Failure, Request};
use super::url::{HostKey, TrackerUrl};
use super::{AnnounceConfig, TrackedTorrent, TrackerState, TransferTotals};
use ringseed_proto::tracker::{AnnounceEvent, AnnounceRequest, AnnounceResponse, Family};
use ringseed_proto::units::InfoHash;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::SystemTime;
use tokio::time::Instant;

/// What waits for a host.
enum Job {
    /// The announce of a tier, as it will be when its turn comes.
    Tier { info_hash: InfoHash, generation: u64, tier: usize },
    /// The `stopped` of a torrent that is forgotten.
    Stop(Box<Request>),
}

/// An announce in flight.
pub(super) struct Flight {
    pub(super) host: HostKey,
    job: Job,
    pub(super) request: Request,
}

/// A torrent that is announced.
pub(super) struct Torrent {
    /// Tells a torrent from an earlier one with the same info-hash.
    generation: u64,
    pub(super) tiers: Vec<Tier>,
    totals: Box<dyn Fn() -> TransferTotals>,
}

/// All that is scheduled.
pub(super) struct State {
    pub(super) torrents: HashMap<InfoHash, Torrent>,
    due: BTreeSet<(Instant, InfoHash, usize)>,
    hosts: HashMap<HostKey, Host<Job>>,
    /// Hosts which may have both a job and room for it, each once.
    ready: VecDeque<HostKey>,
    pub(super) running: usize,
    /// `stopped` announces that are queued or in flight.
    pub(super) stopping: HashSet<(InfoHash, Rc<str>)>,
    generations: u64,
    /// Torrents whose trackers have news.
    changed: HashSet<InfoHash>,
    closing: bool,
    jitter: Jitter,
}

/// What came of an announce over all families.
pub(super) struct Outcome {
    pub(super) result: Result<AnnounceResponse, Failure>,
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
            generations: 0,
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
        let info_hash = torrent.info_hash;
        self.forget(info_hash);
        self.generations += 1;
        let mut room = TRACKERS_PER_TORRENT_MAX;
        let mut tiers = Vec::new();
        for mut urls in torrent.tiers {
            urls.truncate(room);
            room -= urls.len();
            if !urls.is_empty() {
                tiers.push(Tier::new(urls, &mut self.jitter));
            }
        }
        for tracker in tiers.iter().flat_map(|tier| &tier.trackers) {
            if let Ok(url) = &tracker.target {
                self.unqueue_stop(info_hash, url);
            }
        }
        let count = tiers.len();
        self.torrents.insert(info_hash, Torrent { generation: self.generations, tiers, totals });
        for tier in 0..count {
            self.schedule(info_hash, tier, Some(now));
        }
    }

    /// A `stopped` that is still queued is not sent when the torrent is back.
    fn unqueue_stop(&mut self, info_hash: InfoHash, url: &TrackerUrl) {
        let key = (info_hash, url.text.clone());
        if !self.stopping.contains(&key) {
            return;
        }
        let Some(host) = self.hosts.get_mut(&url.host_key()) else { return };
        let before = host.waiting.len();
        host.waiting.retain(|job| {
            !matches!(job, Job::Stop(request)
                if request.announce.info_hash == info_hash && request.url.text == url.text)
        });
        if host.waiting.len() < before {
            self.stopping.remove(&key);
        }
    }

    /// Torrents whose trackers have other things to tell than at the last call.
    pub(super) fn take_changed(&mut self) -> HashSet<InfoHash> {
        std::mem::take(&mut self.changed)
    }

    /// Removes a torrent with everything that is scheduled for it.
    fn forget(&mut self, info_hash: InfoHash) -> Option<Torrent> {
        let torrent = self.torrents.remove(&info_hash)?;
        for (index, tier) in torrent.tiers.iter().enumerate() {
            match tier.phase {
                Phase::Waiting(Some(due)) => {
                    self.due.remove(&(due, info_hash, index));
                }
                Phase::Queued => {
                    let tracker = tier.trackers.get(tier.current);
                    let key = tracker.and_then(|tracker| Some(tracker.target.as_ref().ok()?.host_key()));
                    if let Some(host) = key.and_then(|key| self.hosts.get_mut(&key)) {
                        host.waiting.retain(
                            |job| !matches!(job, Job::Tier { info_hash: other, .. } if *other == info_hash),
                        );
                    }
                }
                Phase::Waiting(None) | Phase::Running(_) => {}
            }
        }
        Some(torrent)
    }

    pub(super) fn stop(&mut self, info_hash: InfoHash, config: &AnnounceConfig, now: Instant) {
        let Some(torrent) = self.forget(info_hash) else { return };
        let totals = (torrent.totals)();
        for tracker in torrent.tiers.iter().flat_map(|tier| &tier.trackers) {
            if let (Ok(url), true) = (&tracker.target, tracker.registered) {
                let announce = request(config, info_hash, AnnounceEvent::Stopped, totals);
                let tracker_id = tracker.tracker_id.clone();
                self.queue_stop(Request { url: url.clone(), announce, tracker_id }, now);
            }
        }
    }

    fn queue_stop(&mut self, request: Request, now: Instant) {
        let key = request.url.host_key();
        let id = (request.announce.info_hash, request.url.text.clone());
        let host = self.host(&key);
        // A tracker that is down forgets us by itself.
        if host.down(now).is_none() {
            // Before regular announces: whoever stops something is waiting for it.
            host.waiting.push_front(Job::Stop(Box::new(request)));
            self.stopping.insert(id);
            self.list(&key);
        }
    }

    pub(super) fn close(&mut self, config: &AnnounceConfig, now: Instant) {
        self.closing = true;
        for host in self.hosts.values_mut() {
            host.waiting.retain(|job| matches!(job, Job::Stop(_)));
        }
        let torrents: Vec<InfoHash> = self.torrents.keys().copied().collect();
        for info_hash in torrents {
            self.stop(info_hash, config, now);
        }
        // Every host may have more at once now.
        let keys: Vec<HostKey> = self.hosts.keys().cloned().collect();
        keys.iter().for_each(|key| self.list(key));
    }

    /// Sets when a tier announces next; `None` leaves it to the user.
    fn schedule(&mut self, info_hash: InfoHash, index: usize, due: Option<Instant>) {
        let Some(torrent) = self.torrents.get_mut(&info_hash) else { return };
        let Some(tier) = torrent.tiers.get_mut(index) else { return };
        if let Phase::Waiting(Some(old)) = tier.phase {
            self.due.remove(&(old, info_hash, index));
        }
        self.changed.insert(info_hash);
        tier.phase = Phase::Waiting(due);
        if let Some(due) = due {
            self.due.insert((due, info_hash, index));
        }
    }

    /// Applies what a user or the session wants to each tier of a torrent.
    pub(super) fn reschedule(
        &mut self,
        info_hash: InfoHash,
        change: impl Fn(&mut Tier, Instant) -> Option<Instant>,
    ) {
        let now = Instant::now();
        let Some(torrent) = self.torrents.get_mut(&info_hash) else { return };
        let moments: Vec<_> = torrent.tiers.iter_mut().map(|tier| change(tier, now)).collect();
        for (index, due) in moments.into_iter().enumerate() {
            if due.is_some() {
                self.schedule(info_hash, index, due);
            }
        }
    }

    /// As [`State::reschedule`], for all torrents.
    pub(super) fn reschedule_all(&mut self, change: impl Fn(&mut Tier, Instant) -> Option<Instant>) {
        let torrents: Vec<InfoHash> = self.torrents.keys().copied().collect();
        for info_hash in torrents {
            self.reschedule(info_hash, &change);
        }
    }

    /// Moves the tiers that are due into host queues. Returns when the next is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Instant> {
        while let Some(&(due, info_hash, tier)) = self.due.first() {
            if due > now {
                return Some(due);
            }
            self.due.pop_first();
            self.queue_tier(info_hash, tier, now);
        }
        None
    }

    fn queue_tier(&mut self, info_hash: InfoHash, index: usize, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&info_hash) else { return };
        let generation = torrent.generation;
        let Some(tier) = torrent.tiers.get_mut(index) else { return };
        tier.phase = Phase::Waiting(None);
        let Some(chosen) = tier.choose(now) else {
            let due = tier.all_refuse();
            return self.schedule(info_hash, index, due);
        };
        let url = match &tier.trackers[chosen].target {
            Ok(url) => url.clone(),
            Err(why) => {
                let failure = Failure::refused(why.clone());
                return self.tier_failed(info_hash, index, &failure, now);
            }
        };
        if self.stopping.contains(&(info_hash, url.text.clone())) {
            // Its `stopped` is in flight: `started` must not overtake it.
            return self.schedule(info_hash, index, Some(now + STOP_IN_FLIGHT_PAUSE));
        }
        let key = url.host_key();
        if let Some((_, error)) = self.host(&key).down(now) {
            let failure = Failure::Unreachable(error.to_owned());
            return self.tier_failed(info_hash, index, &failure, now);
        }
        if let Some(tier) = self.torrents.get_mut(&info_hash).and_then(|torrent| torrent.tiers.get_mut(index))
        {
            tier.phase = Phase::Queued;
            self.host(&key).waiting.push_back(Job::Tier { info_hash, generation, tier: index });
            self.list(&key);
        }
    }

    fn tier_failed(&mut self, info_hash: InfoHash, index: usize, failure: &Failure, now: Instant) {
        let Some(torrent) = self.torrents.get_mut(&info_hash) else { return };
        let Some(tier) = torrent.tiers.get_mut(index) else { return };
        let due = tier.failed(now, failure, &mut self.jitter);
        self.schedule(info_hash, index, due);
    }

    fn host(&mut self, key: &HostKey) -> &mut Host<Job> {
        if self.hosts.len() >= HOSTS_MAX && !self.hosts.contains_key(key) {
            self.hosts.retain(|_, host| host.is_used());
        }
        self.hosts.entry(key.clone()).or_insert_with(|| Host::new(key.udp))
    }

    fn list(&mut self, key: &HostKey) {
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
        let (info_hash, generation, index) = match job {
            Job::Stop(request) => return Some((**request).clone()),
            Job::Tier { info_hash, generation, tier } => (*info_hash, *generation, *tier),
        };
        let torrent = self.torrents.get_mut(&info_hash).filter(|torrent| torrent.generation == generation)?;
        let totals = (torrent.totals)();
        let tier = torrent.tiers.get_mut(index)?;
        let event = tier.next_event();
        let tracker = tier.trackers.get_mut(tier.current)?;
        let url = tracker.target.as_ref().ok()?.clone();
        tracker.last_announce = Some(SystemTime::now());
        let tracker_id = tracker.tracker_id.clone();
        tier.phase = Phase::Running(event);
        Some(Request { url, announce: request(config, info_hash, event, totals), tracker_id })
    }

    /// Which families to speak to a host over.
    pub(super) fn usable(&self, host: &HostKey, families: Vec<Family>) -> Vec<Family> {
        match self.hosts.get(host) {
            Some(host) => host.usable(families, Instant::now()),
            None => families,
        }
    }

    /// Takes the outcome of an announce. Returns the peers that are still to be handed over.
    pub(super) fn land(
        &mut self,
        flight: Flight,
        outcome: Outcome,
        config: &AnnounceConfig,
        now: Instant,
    ) -> Vec<SocketAddr> {
        self.running -= 1;
        let mut turn = Turn::None;
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
            Ok(_) => tracing::debug!(url = %url.text, torrent = %announce.info_hash, "announced"),
            Err(error) => {
                tracing::debug!(url = %url.text, torrent = %announce.info_hash, error = error.text(), "announce failed");
            }
        }
        match flight.job {
            Job::Stop(request) => {
                self.stopping.remove(&(request.announce.info_hash, request.url.text.clone()));
            }
            Job::Tier { info_hash, generation, tier } => {
                let torrent = self.torrents.get(&info_hash);
                match (torrent.map(|torrent| torrent.generation == generation), outcome.result) {
                    (Some(true), result) => self.tier_landed(info_hash, tier, result, now),
                    // It was stopped meanwhile, and the tracker knows us only since now.
                    (None, Ok(response)) if flight.request.announce.event == AnnounceEvent::Started => {
                        let mut request = flight.request;
                        let totals = TransferTotals {
                            uploaded: request.announce.uploaded,
                            downloaded: request.announce.downloaded,
                            left: request.announce.left,
                        };
                        request.announce = self::request(config, info_hash, AnnounceEvent::Stopped, totals);
                        request.tracker_id = response.tracker_id.map(Into::into).or(request.tracker_id);
                        self.queue_stop(request, now);
                    }
                    _ => {}
                }
            }
        }
        match turn {
            Turn::None => {}
            Turn::WentDown => self.drain(&flight.host, now),
            Turn::Recovered => self.pull_forward(&flight.host, now),
        }
        self.list(&flight.host);
        outcome.late
    }

    fn tier_landed(
        &mut self,
        info_hash: InfoHash,
        index: usize,
        result: Result<AnnounceResponse, Failure>,
        now: Instant,
    ) {
        let Some(torrent) = self.torrents.get_mut(&info_hash) else { return };
        let Some(tier) = torrent.tiers.get_mut(index) else { return };
        let Phase::Running(event) = tier.phase else { return };
        match result {
            Ok(response) => {
                let due = tier.succeeded(now, event, &response, &mut self.jitter);
                self.schedule(info_hash, index, Some(due));
            }
            Err(failure) => self.tier_failed(info_hash, index, &failure, now),
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
                Job::Stop(request) => {
                    self.stopping.remove(&(request.announce.info_hash, request.url.text.clone()));
                }
                Job::Tier { info_hash, generation, tier } => {
                    let torrent = self.torrents.get(&info_hash);
                    if torrent.is_some_and(|torrent| torrent.generation == generation) {
                        self.tier_failed(info_hash, tier, &failure, now);
                    }
                }
            }
        }
    }

    /// A host is back: tiers that wait in vain and know it do not sit out their back-off.
    fn pull_forward(&mut self, key: &HostKey, now: Instant) {
        let mut earlier = Vec::new();
        for (info_hash, torrent) in &self.torrents {
            for (index, tier) in torrent.tiers.iter().enumerate() {
                let Phase::Waiting(Some(due)) = tier.phase else { continue };
                let knows = |url: &Rc<TrackerUrl>| url.host_key() == *key;
                if tier.is_failing()
                    && tier.trackers.iter().any(|tracker| tracker.target.as_ref().is_ok_and(knows))
                {
                    let moment = now + self.jitter.up_to(HOST_RECOVERY_SPREAD);
                    if moment < due {
                        earlier.push((*info_hash, index, moment));
                    }
                }
            }
        }
        for (info_hash, index, moment) in earlier {
            self.schedule(info_hash, index, Some(moment));
        }
    }
}

fn request(
    config: &AnnounceConfig,
    info_hash: InfoHash,
    event: AnnounceEvent,
    totals: TransferTotals,
) -> AnnounceRequest {
    let numwant = match event {
        AnnounceEvent::Stopped => 0,
        _ if totals.left == 0 => NUMWANT_SEEDING,
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
                Phase::Waiting(Some(due)) if current => clock.checked_add(due.saturating_duration_since(now)),
                Phase::Queued if current => Some(clock),
                _ => None,
            };
            states.push(TrackerState {
                url: tracker.text.clone(),
                tier: index,
                last_result,
                ok,
                announcing: current && matches!(tier.phase, Phase::Running(_)),
                seeders: tracker.seeders,
                leechers: tracker.leechers,
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
