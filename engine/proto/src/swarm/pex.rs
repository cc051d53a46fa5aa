//! Peer exchange with one peer (BEP 11): what it was told, when, and what is due.

use std::net::{IpAddr, SocketAddr};

use super::event::{PeerError, Violation};
use super::limits::{
    PEX_BURST, PEX_CHANGES_MAX, PEX_EXCESS_MAX, PEX_INTERVAL, PEX_KNOWN_MAX, PEX_RECEIVE_INTERVAL,
};
use crate::peer_address::{canonical, may_name};
use crate::units::Time;
use crate::wire::extension::{PexMessage, PexPeer};

/// Peer exchange with one peer.
#[derive(Debug, Default)]
pub(super) struct PexState {
    /// Addresses it was told and not told to be gone; sorted.
    told: Vec<SocketAddr>,
    next_at: Option<Time>,
    received: Received,
}

/// What a peer may still tell us: one message a minute, in bursts of [`PEX_BURST`].
#[derive(Debug)]
struct Received {
    /// Messages that are taken now.
    allowed: u32,
    /// Since when the next one is earned, while fewer than a burst are allowed.
    earning_since: Time,
    /// Messages in a row that came too early.
    excess: u32,
}

impl Default for Received {
    fn default() -> Self {
        Self { allowed: PEX_BURST, earning_since: Time::ZERO, excess: 0 }
    }
}

impl Received {
    /// Counts a message; false when it comes too early.
    fn take(&mut self, now: Time) -> bool {
        while self.allowed < PEX_BURST && self.earning_since + PEX_RECEIVE_INTERVAL <= now {
            self.allowed += 1;
            self.earning_since = self.earning_since + PEX_RECEIVE_INTERVAL;
        }
        if self.allowed == PEX_BURST {
            self.earning_since = now;
        }
        let early = self.allowed == 0;
        self.allowed = self.allowed.saturating_sub(1);
        self.excess = if early { self.excess + 1 } else { 0 };
        !early
    }
}

impl PexState {
    /// Whether a message is due.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.next_at.is_none_or(|at| at <= now)
    }

    /// The message that is due, given the peers that are connected now except the receiver, sorted by
    /// address; `None` when nothing changed.
    pub(super) fn message(
        &mut self,
        now: Time,
        current: &[PexPeer],
        receiver: SocketAddr,
    ) -> Option<PexMessage> {
        self.next_at = Some(now + PEX_INTERVAL);
        let mut message = PexMessage::default();
        self.told.retain(|addr| {
            let here = current.binary_search_by_key(addr, |peer| peer.addr).is_ok();
            let drop = !here && message.dropped.len() < PEX_CHANGES_MAX;
            if drop {
                message.dropped.push(*addr);
            }
            !drop
        });
        for peer in current {
            if message.added.len() >= PEX_CHANGES_MAX || self.told.len() >= PEX_KNOWN_MAX {
                break;
            }
            if peer.addr != receiver
                && may_name(receiver.ip(), peer.addr)
                && let Err(at) = self.told.binary_search(&peer.addr)
            {
                self.told.insert(at, peer.addr);
                message.added.push(*peer);
            }
        }
        (!message.added.is_empty() || !message.dropped.is_empty()).then_some(message)
    }

    /// The usable addresses of a received message, in canonical form; none when messages come too often.
    ///
    /// # Errors
    /// When the peer goes on for long to send messages that come too early.
    pub(super) fn received(
        &mut self,
        now: Time,
        message: &PexMessage,
        sender: IpAddr,
    ) -> Result<Vec<SocketAddr>, PeerError> {
        if !self.received.take(now) {
            return match self.received.excess > PEX_EXCESS_MAX {
                true => Err(PeerError::Violation(Violation::PexFlood)),
                false => Ok(Vec::new()),
            };
        }
        let added = message.added.iter().map(|peer| canonical(peer.addr));
        Ok(added.filter(|addr| may_name(sender, *addr)).take(PEX_CHANGES_MAX * 2).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(range: std::ops::Range<u16>) -> Vec<PexPeer> {
        range
            .map(|n| PexPeer { addr: SocketAddr::from(([10, 0, 1, 1], n)), seed: false, reachable: true })
            .collect()
    }

    #[test]
    fn tells_changes_only_and_never_too_many() {
        let mut state = PexState::default();
        let mut now = Time::ZERO;
        let receiver = SocketAddr::from(([10, 0, 1, 1], 3));
        assert!(state.is_due(now));
        let first = state.message(now, &peers(1..11), receiver).unwrap();
        assert_eq!((first.added.len(), first.dropped.len()), (9, 0));
        assert!(!state.is_due(now));
        now = now + PEX_INTERVAL;
        assert!(state.is_due(now));
        assert_eq!(state.message(now, &peers(1..11), receiver), None);
        let next = state.message(now, &peers(5..13), receiver).unwrap();
        assert_eq!((next.added.len(), next.dropped.len()), (2, 3));
        for _ in 0..10 {
            if let Some(message) = state.message(now, &peers(100..1000), receiver) {
                assert!(message.added.len() <= PEX_CHANGES_MAX && message.dropped.len() <= PEX_CHANGES_MAX);
            }
        }
        assert!(state.told.len() <= PEX_KNOWN_MAX);
    }

    fn told(addrs: &[&str]) -> PexMessage {
        let added =
            addrs.iter().map(|addr| PexPeer { addr: addr.parse().unwrap(), seed: false, reachable: false });
        PexMessage { added: added.collect(), dropped: Vec::new() }
    }

    #[test]
    fn takes_only_addresses_that_the_sender_may_name() {
        let message = told(&[
            "1.1.1.1:5",
            "10.1.1.1:5",
            "127.0.0.1:22",
            "[::ffff:127.0.0.1]:22",
            "[::ffff:1.1.1.2]:5",
            "0.0.0.0:7",
            "224.0.0.1:9",
            "255.255.255.255:9",
            "1.1.1.1:0",
            "[::1]:80",
            "[fe80::1]:80",
            "[2001:db8::1]:6",
        ]);
        let taken = |sender: &str| {
            let taken = PexState::default().received(Time::ZERO, &message, sender.parse().unwrap()).unwrap();
            taken.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(taken("9.9.9.9"), ["1.1.1.1:5", "1.1.1.2:5", "[2001:db8::1]:6"]);
        assert_eq!(
            taken("192.168.1.1"),
            ["1.1.1.1:5", "10.1.1.1:5", "1.1.1.2:5", "[fe80::1]:80", "[2001:db8::1]:6"]
        );
        assert_eq!(taken("127.0.0.1").len(), 8);
    }

    #[test]
    fn private_addresses_are_not_told_to_public_peers() {
        let message = PexState::default().message(Time::ZERO, &peers(1..11), SocketAddr::from(([9; 4], 3)));
        assert_eq!(message, None);
    }

    #[test]
    fn messages_are_taken_in_bursts_of_six_and_once_a_minute_then_ignored_and_then_end_the_connection() {
        let mut state = PexState::default();
        let (message, sender) = (told(&["1.1.1.1:5"]), IpAddr::from([9, 9, 9, 9]));
        let mut now = Time::ZERO;
        let mut taken = |now| state.received(now, &message, sender).map(|addrs| addrs.len());
        for _ in 0..PEX_BURST {
            assert_eq!(taken(now), Ok(1));
        }
        for _ in 0..PEX_EXCESS_MAX {
            assert_eq!(taken(now), Ok(0));
        }
        now = now + PEX_RECEIVE_INTERVAL;
        assert_eq!(taken(now), Ok(1), "a minute earns one");
        // Twice as often as allowed: every second one is ignored, and the connection stays.
        for _ in 0..100 {
            now = now + PEX_RECEIVE_INTERVAL / 2;
            assert!(taken(now).is_ok());
        }
        // A quiet time earns no more than a burst.
        now = now + PEX_RECEIVE_INTERVAL * 1000;
        let answers: Vec<_> = (0..=PEX_BURST + PEX_EXCESS_MAX).map(|_| taken(now)).collect();
        let burst = PEX_BURST as usize;
        assert!(answers[..burst].iter().all(|answer| *answer == Ok(1)));
        assert!(answers[burst..answers.len() - 1].iter().all(|answer| *answer == Ok(0)));
        assert_eq!(answers.last(), Some(&Err(PeerError::Violation(Violation::PexFlood))));
    }
}
