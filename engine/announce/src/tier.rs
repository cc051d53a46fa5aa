//! One tier of trackers of one torrent (BEP 12): which tracker is next, with which event, and when.
//!
//! Pure: time is an argument.

use super::counts::Base;
use super::jitter::Jitter;
use super::limits::{
    INTERVAL_DEFAULT, INTERVAL_MAX, INTERVAL_MIN, MANUAL_INTERVAL, RETRY_FIRST, RETRY_LAST, TEXT_CHARS_MAX,
};
use super::transport::{Failure, RetryRule};
use super::url::{HostKey, TrackerUrl, UrlError};
use ringseed_proto::tracker::{AnnounceEvent, AnnounceResponse};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// What a tracker's last announce ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LastResult {
    None,
    Ok(String),
    Failed(String),
}

/// One tracker of a tier.
#[derive(Debug)]
pub(super) struct Tracker {
    /// As the torrent gives it.
    pub(super) text: String,
    /// What it means, or why it cannot be used.
    pub(super) target: Result<Rc<TrackerUrl>, UrlError>,
    /// It answered an announce since the torrent started: it has to be told when we leave.
    pub(super) registered: bool,
    /// What was moved before it began to count.
    pub(super) base: Base,
    pub(super) tracker_id: Option<Rc<[u8]>>,
    pub(super) last: LastResult,
    pub(super) last_announce: Option<SystemTime>,
    pub(super) seeders: Option<u32>,
    pub(super) leechers: Option<u32>,
    /// Peers in its last answer.
    pub(super) peers: Option<u32>,
    refuses: Refuses,
}

impl Tracker {
    pub(super) fn new(text: String, base: Base) -> Self {
        Self {
            target: TrackerUrl::parse(&text).map(Rc::new),
            text,
            registered: false,
            base,
            tracker_id: None,
            last: LastResult::None,
            last_announce: None,
            seeders: None,
            leechers: None,
            peers: None,
            refuses: Refuses::No,
        }
    }
}

/// Tells a tier from all others that there were and will be, however the trackers of its torrent are edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TierId(pub(super) u64);

/// Whether a tracker asked not to be announced to (BEP 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refuses {
    No,
    Until(Instant),
    ForEver,
}

/// Where a tier is between two announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TierPhase {
    /// Waits for a moment, or, when there is none, for the user.
    Waiting(Option<Instant>),
    /// Waits for a free place at its tracker's host.
    Queued,
    /// An announce is in flight.
    Running(AnnounceEvent),
}

/// Trackers of which one at a time is announced to.
#[derive(Debug)]
pub(super) struct Tier {
    pub(super) id: TierId,
    /// In the order of trying; the one that answered is first.
    pub(super) trackers: Vec<Tracker>,
    pub(super) current: usize,
    pub(super) phase: TierPhase,
    /// `completed` has not been taken by a tracker yet.
    pub(super) completed_pending: bool,
    /// The user asked for an announce.
    manual: bool,
    /// Our address changed while an announce was in flight.
    moved: bool,
    /// Rounds in which every tracker failed, since the last success.
    rounds_failed: u32,
    /// No announce before, by the tracker's `min interval`.
    not_before: Option<Instant>,
}

impl Tier {
    /// A tier in random order, as BEP 12 wants it, of trackers that know nothing of us.
    pub(super) fn new(id: TierId, urls: Vec<String>, base: Base, jitter: &mut Jitter) -> Self {
        let mut trackers: Vec<Tracker> = urls.into_iter().map(|text| Tracker::new(text, base)).collect();
        jitter.shuffle(&mut trackers);
        Self::of(id, trackers)
    }

    /// A tier of trackers in their order.
    pub(super) fn of(id: TierId, trackers: Vec<Tracker>) -> Self {
        Self {
            id,
            trackers,
            current: 0,
            phase: TierPhase::Waiting(None),
            completed_pending: false,
            manual: false,
            moved: false,
            rounds_failed: 0,
            not_before: None,
        }
    }

    /// The same tier with other trackers, of which the first is the one that it is about now.
    pub(super) fn with(self, trackers: Vec<Tracker>) -> Self {
        Self { trackers, current: 0, ..self }
    }

    /// The tracker that it is about now.
    pub(super) fn serving(&self) -> Option<&Tracker> {
        self.trackers.get(self.current)
    }

    /// The host of that tracker; `None` when its URL cannot be used.
    pub(super) fn host(&self) -> Option<HostKey> {
        Some(self.serving()?.target.as_ref().ok()?.host_key())
    }

    /// The event that the next announce to the current tracker carries, for a partial seed or for another client.
    pub(super) fn next_event(&self, partial_seed: bool) -> AnnounceEvent {
        match self.serving() {
            Some(tracker) if tracker.registered && self.completed_pending => AnnounceEvent::Completed,
            Some(tracker) if tracker.registered && partial_seed => AnnounceEvent::Paused,
            Some(tracker) if tracker.registered => AnnounceEvent::None,
            _ => AnnounceEvent::Started,
        }
    }

    /// The download finished. Returns when to announce it; `None` when the answer in flight will tell.
    pub(super) fn complete(&mut self, now: Instant) -> Option<Instant> {
        self.completed_pending = true;
        match self.phase {
            // A tracker that takes nothing now gets it when it is tried again.
            TierPhase::Waiting(Some(due)) => Some(if self.rounds_failed == 0 { now } else { due }),
            TierPhase::Waiting(None) | TierPhase::Queued | TierPhase::Running(_) => None,
        }
    }

    /// The user wants an announce. Returns when it may be: a minimum interval holds, a back-off does not.
    pub(super) fn reannounce(&mut self, now: Instant) -> Option<Instant> {
        let TierPhase::Waiting(due) = self.phase else { return None };
        self.manual = true;
        let earliest = self.not_before.map_or(now, |moment| moment.max(now));
        Some(due.map_or(earliest, |due| due.min(earliest)))
    }

    /// Our address changed. Returns when to announce it: peers cannot find us before, so no interval holds.
    pub(super) fn moved(&mut self, now: Instant) -> Option<Instant> {
        match self.phase {
            // Trackers that did not answer are told when they are tried again.
            TierPhase::Waiting(Some(due)) => Some(if self.rounds_failed == 0 { now } else { due }),
            TierPhase::Waiting(None) | TierPhase::Queued => None,
            TierPhase::Running(_) => {
                self.moved = true;
                None
            }
        }
    }

    /// The index of the tracker to announce to now: the current one, or the next that accepts announces.
    /// `None` when none does; then [`Tier::all_refuse`] says until when.
    pub(super) fn choose(&mut self, now: Instant) -> Option<usize> {
        let manual = std::mem::take(&mut self.manual);
        while let Some(tracker) = self.trackers.get(self.current) {
            match tracker.refuses {
                Refuses::Until(moment) if moment > now && !manual => self.current += 1,
                Refuses::ForEver if !manual => self.current += 1,
                _ => return Some(self.current),
            }
        }
        self.current = 0;
        None
    }

    /// No tracker of it has answered in the last round.
    pub(super) fn is_failing(&self) -> bool {
        self.rounds_failed > 0
    }

    /// When the first tracker that refuses accepts again; `None` for never.
    pub(super) fn all_refuse(&self) -> Option<Instant> {
        let until = |tracker: &Tracker| match tracker.refuses {
            Refuses::Until(moment) => Some(moment),
            Refuses::No | Refuses::ForEver => None,
        };
        self.trackers.iter().filter_map(until).min()
    }

    /// The current tracker answered: it moves to the front. Returns when the next announce is due.
    pub(super) fn succeeded(
        &mut self,
        now: Instant,
        event: AnnounceEvent,
        response: &AnnounceResponse,
        peers: u32,
        jitter: &mut Jitter,
    ) -> Instant {
        let mut tracker = self.trackers.remove(self.current);
        tracker.registered = true;
        tracker.refuses = Refuses::No;
        if let Some(id) = &response.tracker_id {
            tracker.tracker_id = Some(id.as_slice().into());
        }
        tracker.seeders = response.complete.or(tracker.seeders);
        tracker.leechers = response.incomplete.or(tracker.leechers);
        tracker.peers = Some(peers);
        tracker.last = LastResult::Ok(match &response.warning {
            Some(warning) => short(&format!("Success, with a warning: {warning}")),
            None => "Success".to_owned(),
        });
        self.trackers.insert(0, tracker);
        self.current = 0;
        self.rounds_failed = 0;
        let least = response.min_interval.map(seconds).filter(|least| !least.is_zero());
        self.not_before = Some(now + least.unwrap_or(MANUAL_INTERVAL).min(INTERVAL_MAX));
        if event == AnnounceEvent::Completed {
            self.completed_pending = false;
        } else if self.completed_pending {
            return now;
        }
        if std::mem::take(&mut self.moved) {
            return now;
        }
        let interval = match response.interval {
            0 => INTERVAL_DEFAULT,
            interval => seconds(interval),
        };
        let interval = interval.max(least.unwrap_or_default()).clamp(INTERVAL_MIN, INTERVAL_MAX);
        // Torrents that started together drift apart.
        now + interval + jitter.up_to(interval / 20)
    }

    /// The current tracker failed. Returns when the next one, or the tier from its front, is due.
    pub(super) fn failed(&mut self, now: Instant, failure: &Failure, jitter: &mut Jitter) -> Option<Instant> {
        if let Some(tracker) = self.trackers.get_mut(self.current) {
            tracker.last = LastResult::Failed(short(failure.text()));
            tracker.refuses = match failure {
                Failure::Refused { retry: RetryRule::After(pause), .. } => {
                    Refuses::Until(now + (*pause).min(INTERVAL_MAX))
                }
                Failure::Refused { retry: RetryRule::Never, .. } => Refuses::ForEver,
                _ => Refuses::No,
            };
        }
        self.moved = false; // the next announce tells it
        self.current += 1;
        if self.current < self.trackers.len() {
            return Some(now);
        }
        self.current = 0;
        let pause = jitter.backoff(RETRY_FIRST, RETRY_LAST, self.rounds_failed);
        self.rounds_failed = self.rounds_failed.saturating_add(1);
        // When all of them refuse, the first that accepts again decides; never is a pause without end.
        if self.trackers.iter().all(|tracker| tracker.refuses != Refuses::No) {
            return self.all_refuse().map(|moment| moment.max(now + pause));
        }
        Some(now + pause)
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

/// A text for display, of bounded length.
fn short(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "tier_tests.rs"]
mod tests;
