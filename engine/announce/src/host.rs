//! One tracker host: who waits for it, how many announces it gets at once, and whether it is up.
//!
//! Thousands of torrents share a few hosts. Each host has a queue of its own, so a dead one delays nobody
//! else; once it counts as down, its torrents fail at once and move to their next tracker, and one probe at
//! a time finds out when it is back. Pure: time is an argument.

use super::jitter::Jitter;
use super::limits::{
    BROKEN_FAMILY_PAUSE, CLOSING_PER_HOST_MAX, HOST_FAILURES_MAX, HOST_PROBE_FIRST, HOST_PROBE_LAST,
    HTTP_PER_HOST_MAX, UDP_PER_HOST_MAX,
};
use ringseed_proto::tracker::Family;
use std::collections::VecDeque;
use tokio::time::Instant;

/// Whether a host answers.
#[derive(Debug)]
enum Health {
    /// It does, or has failed so many times in a row.
    Up { failures: u32 },
    /// It is probed at a moment.
    Down { probe_at: Instant, probes: u32, error: String },
}

/// A tracker host and the jobs `J` that wait for it.
#[derive(Debug)]
pub(super) struct Host<J> {
    pub(super) waiting: VecDeque<J>,
    pub(super) running: usize,
    /// It is in the list of hosts to look at.
    pub(super) listed: bool,
    running_max: usize,
    health: Health,
    /// A family that failed beside a working one, and until when it is left alone.
    broken: Option<(Family, Instant)>,
}

/// What a finished announce changed about its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostChange {
    None,
    /// It came back: torrents that wait for it may announce.
    Recovered,
    /// It counts as down: whoever waits for it should try elsewhere.
    WentDown,
}

impl<J> Host<J> {
    pub(super) fn new(udp: bool) -> Self {
        Self {
            waiting: VecDeque::new(),
            running: 0,
            listed: false,
            running_max: if udp { UDP_PER_HOST_MAX } else { HTTP_PER_HOST_MAX },
            health: Health::Up { failures: 0 },
            broken: None,
        }
    }

    /// Why, and until when, announcing is pointless now.
    pub(super) fn down(&self, now: Instant) -> Option<(Instant, &str)> {
        match &self.health {
            Health::Down { probe_at, error, .. } if *probe_at > now => Some((*probe_at, error)),
            _ => None,
        }
    }

    /// Whether another announce may start.
    pub(super) fn has_room(&self, closing: bool) -> bool {
        match self.health {
            Health::Up { .. } if closing => self.running < CLOSING_PER_HOST_MAX,
            Health::Up { .. } => self.running < self.running_max,
            Health::Down { .. } => self.running == 0,
        }
    }

    /// Somebody waits for it or speaks to it.
    pub(super) fn is_used(&self) -> bool {
        !self.waiting.is_empty() || self.running > 0 || self.listed
    }

    /// It answered, whatever it said.
    pub(super) fn answered(&mut self) -> HostChange {
        match std::mem::replace(&mut self.health, Health::Up { failures: 0 }) {
            Health::Up { .. } => HostChange::None,
            Health::Down { .. } => HostChange::Recovered,
        }
    }

    /// It did not answer.
    pub(super) fn unreachable(&mut self, now: Instant, text: &str, jitter: &mut Jitter) -> HostChange {
        let (probes, turn) = match &mut self.health {
            Health::Up { failures } if *failures + 1 < HOST_FAILURES_MAX => {
                *failures += 1;
                return HostChange::None;
            }
            Health::Up { .. } => (0, HostChange::WentDown),
            // What was in flight when it went down does not count as a probe.
            Health::Down { probe_at, .. } if *probe_at > now => return HostChange::None,
            Health::Down { probes, .. } => (probes.saturating_add(1), HostChange::WentDown),
        };
        let probe_at = now + jitter.backoff(HOST_PROBE_FIRST, HOST_PROBE_LAST, probes);
        self.health = Health::Down { probe_at, probes, error: text.to_owned() };
        turn
    }

    /// Leaves a family alone for a while: it failed where the other worked.
    pub(super) fn family_failed(&mut self, family: Family, now: Instant) {
        self.broken = Some((family, now + BROKEN_FAMILY_PAUSE));
    }

    /// Which of the resolved families to use.
    pub(super) fn usable(&self, mut families: Vec<Family>, now: Instant) -> Vec<Family> {
        if let (Some((broken, until)), 2..) = (self.broken, families.len())
            && until > now
        {
            families.retain(|family| *family != broken);
        }
        families
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_host_goes_down_is_probed_and_comes_back() {
        let mut jitter = Jitter::new(Some(5));
        let mut host = Host::<()>::new(false);
        let now = Instant::now();
        for _ in 1..HOST_FAILURES_MAX {
            assert_eq!(host.unreachable(now, "timed out", &mut jitter), HostChange::None);
            assert!(host.down(now).is_none());
        }
        assert_eq!(host.unreachable(now, "timed out", &mut jitter), HostChange::WentDown);
        let (first, error) = host.down(now).unwrap();
        assert_eq!(error, "timed out");
        assert_eq!(host.unreachable(now, "late", &mut jitter), HostChange::None);
        assert_eq!(host.down(now).unwrap().0, first);
        assert!(host.down(first).is_none());
        host.running = 1;
        assert!(!host.has_room(false), "one probe at a time");
        assert_eq!(host.unreachable(first, "timed out", &mut jitter), HostChange::WentDown);
        let (second, _) = host.down(first).unwrap();
        assert!(second - first > first - now);
        assert_eq!(host.answered(), HostChange::Recovered);
        assert!(host.down(first).is_none() && host.has_room(false));
        assert_eq!(host.answered(), HostChange::None);
    }

    #[test]
    fn answers_in_between_keep_a_host_up() {
        let mut jitter = Jitter::new(Some(5));
        let mut host = Host::<()>::new(true);
        let now = Instant::now();
        for _ in 0..20 {
            host.unreachable(now, "lost", &mut jitter);
            host.answered();
        }
        assert!(host.down(now).is_none());
        host.running = UDP_PER_HOST_MAX - 1;
        assert!(host.has_room(false));
        host.running += 1;
        assert!(!host.has_room(false));
    }

    #[test]
    fn a_broken_family_is_left_alone_unless_it_is_the_only_one() {
        let mut host = Host::<()>::new(true);
        let now = Instant::now();
        host.family_failed(Family::V6, now);
        assert_eq!(host.usable(vec![Family::V6, Family::V4], now), [Family::V4]);
        assert_eq!(host.usable(vec![Family::V6], now), [Family::V6]);
        let later = now + BROKEN_FAMILY_PAUSE + Duration::from_secs(1);
        assert_eq!(host.usable(vec![Family::V6, Family::V4], later).len(), 2);
    }
}
