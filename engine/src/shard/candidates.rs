//! Addresses of a torrent's peers that could be dialled.

use crate::limits::CANDIDATES_MAX;
use ringseed_proto::units::Time;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Wait before the second dial to an address that failed once; doubled for each further failure.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// Longest wait between two dials to one address.
const RETRY_MAX: Duration = Duration::from_secs(1800);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// May be dialled from then on.
    Waiting(Time),
    /// Being dialled or connected.
    Busy,
    /// Never again: it is this engine, or banned.
    Excluded,
}

#[derive(Debug)]
struct Candidate {
    state: State,
    failures: u8,
}

/// The candidates of one torrent, at most [`CANDIDATES_MAX`].
#[derive(Debug, Default)]
pub struct Candidates {
    known: HashMap<SocketAddr, Candidate>,
    /// Addresses in the order of their next dial; each known and not excluded address is in it once.
    order: VecDeque<SocketAddr>,
    /// None may be dialled before; `None` when all are busy or excluded.
    due: Option<Time>,
}

impl Candidates {
    /// Learns addresses; what is known or over the limit is ignored, as are ports and hosts that cannot be
    /// connected to.
    pub fn learn(&mut self, addresses: impl IntoIterator<Item = SocketAddr>, now: Time) {
        for address in addresses {
            let unusable =
                address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast();
            if unusable || self.known.len() >= CANDIDATES_MAX || self.known.contains_key(&address) {
                continue;
            }
            self.known.insert(address, Candidate { state: State::Waiting(now), failures: 0 });
            self.order.push_back(address);
            self.due_at(now);
        }
    }

    /// When an address may be dialled, at the earliest: to be asked again then.
    pub fn due(&self) -> Option<Time> {
        self.due
    }

    fn due_at(&mut self, time: Time) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }

    /// The next address to dial now; it counts as busy until [`Candidates::ended`].
    pub fn next(&mut self, now: Time) -> Option<SocketAddr> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        self.due = None;
        for _ in 0..self.order.len() {
            let address = self.order.pop_front()?;
            let Some(candidate) = self.known.get_mut(&address) else { continue };
            match candidate.state {
                State::Excluded => continue,
                State::Waiting(from) if from <= now => {
                    candidate.state = State::Busy;
                    self.order.push_back(address);
                    // The others were not all looked at.
                    self.due = Some(now);
                    return Some(address);
                }
                State::Waiting(from) => {
                    self.order.push_back(address);
                    self.due_at(from);
                }
                State::Busy => self.order.push_back(address),
            }
        }
        None
    }

    /// A dial failed or a dialled connection ended. `useful`: it had become a working connection.
    pub fn ended(&mut self, address: &SocketAddr, useful: bool, now: Time) {
        let Some(candidate) = self.known.get_mut(address) else { return };
        if candidate.state == State::Excluded {
            return;
        }
        candidate.failures = if useful { 1 } else { candidate.failures.saturating_add(1) };
        let wait = RETRY_FIRST * (1 << u32::from(candidate.failures - 1).min(10));
        let from = now + wait.min(RETRY_MAX);
        candidate.state = State::Waiting(from);
        self.due_at(from);
    }

    /// Never dial this address again.
    pub fn exclude(&mut self, address: &SocketAddr) {
        if let Some(candidate) = self.known.get_mut(address) {
            candidate.state = State::Excluded;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 6881))
    }

    #[test]
    fn each_address_is_dialled_once_until_it_ended_and_its_wait_is_over() {
        let mut candidates = Candidates::default();
        let now = Time::ZERO;
        candidates.learn([address(1), address(2), address(1)], now);
        assert_eq!(candidates.next(now), Some(address(1)));
        assert_eq!(candidates.next(now), Some(address(2)));
        assert_eq!(candidates.next(now), None);
        candidates.ended(&address(1), false, now);
        assert_eq!(candidates.next(now), None);
        assert_eq!(candidates.next(now + RETRY_FIRST), Some(address(1)));
    }

    #[test]
    fn waits_double_up_to_their_limit() {
        let mut candidates = Candidates::default();
        candidates.learn([address(1)], Time::ZERO);
        let mut now = Time::ZERO;
        for _ in 0..300 {
            assert!(candidates.next(now).is_some());
            candidates.ended(&address(1), false, now);
            now = now + RETRY_MAX;
        }
    }

    #[test]
    fn unusable_and_excluded_addresses_are_not_dialled() {
        let mut candidates = Candidates::default();
        candidates
            .learn(["0.0.0.0:1".parse().unwrap(), "127.0.0.1:0".parse().unwrap(), address(9)], Time::ZERO);
        assert_eq!(candidates.known.len(), 1);
        candidates.exclude(&address(9));
        assert_eq!(candidates.next(Time::ZERO), None);
        assert_eq!(candidates.due(), None);
    }

    #[test]
    fn the_next_dial_is_due_when_the_first_wait_is_over() {
        let mut candidates = Candidates::default();
        let now = Time::ZERO;
        assert_eq!(candidates.due(), None);
        candidates.learn([address(1), address(2)], now);
        assert_eq!(candidates.due(), Some(now));
        assert!(candidates.next(now).is_some() && candidates.next(now).is_some());
        assert_eq!(candidates.next(now), None);
        assert_eq!(candidates.due(), None);
        candidates.ended(&address(2), false, now);
        candidates.ended(&address(1), false, now + RETRY_FIRST);
        assert_eq!(candidates.due(), Some(now + RETRY_FIRST));
        assert_eq!(candidates.next(now + RETRY_FIRST), Some(address(2)));
        assert_eq!(candidates.next(now + RETRY_FIRST), None);
        assert_eq!(candidates.due(), Some(now + RETRY_FIRST * 2));
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let mut candidates = Candidates::default();
        candidates.learn((0..60_000u16).map(|n| SocketAddr::from(([10, 0, 0, 1], n))), Time::ZERO);
        assert_eq!(candidates.known.len(), CANDIDATES_MAX);
    }
}
