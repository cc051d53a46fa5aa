//! Peer exchange with one peer (BEP 11): what it was told, when, and what is due.

use std::net::{IpAddr, SocketAddr};

use super::limits::{PEX_CHANGES_MAX, PEX_INTERVAL, PEX_KNOWN_MAX, PEX_RECEIVE_INTERVAL_MIN};
use crate::units::Time;
use crate::wire::extension::{PexMessage, PexPeer};

/// Peer exchange with one peer.
#[derive(Debug, Default)]
pub(super) struct PexState {
    /// Addresses it was told and not told to be gone; sorted.
    told: Vec<SocketAddr>,
    next_at: Option<Time>,
    received_at: Option<Time>,
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
                && let Err(at) = self.told.binary_search(&peer.addr)
            {
                self.told.insert(at, peer.addr);
                message.added.push(*peer);
            }
        }
        (!message.added.is_empty() || !message.dropped.is_empty()).then_some(message)
    }

    /// The usable addresses of a received message; none when messages come too often.
    pub(super) fn received(&mut self, now: Time, message: &PexMessage, sender: IpAddr) -> Vec<SocketAddr> {
        if self.received_at.is_some_and(|at| now < at + PEX_RECEIVE_INTERVAL_MIN) {
            return Vec::new();
        }
        self.received_at = Some(now);
        let usable = |addr: &SocketAddr| {
            let ip = addr.ip();
            let multicast = ip.is_multicast() || ip == IpAddr::from([255, 255, 255, 255]);
            // Only somebody on this machine may name addresses on this machine.
            !ip.is_unspecified() && !multicast && (!ip.is_loopback() || sender.is_loopback())
        };
        message.added.iter().map(|peer| peer.addr).filter(usable).take(PEX_CHANGES_MAX * 2).collect()
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

    #[test]
    fn takes_usable_addresses_at_a_bounded_rate() {
        let mut state = PexState::default();
        let addrs = ["10.1.1.1:5", "127.0.0.1:22", "0.0.0.0:7", "224.0.0.1:9", "[::1]:80", "[2001:db8::1]:6"];
        let added =
            addrs.iter().map(|addr| PexPeer { addr: addr.parse().unwrap(), seed: false, reachable: false });
        let message = PexMessage { added: added.collect(), dropped: Vec::new() };
        let stranger = IpAddr::from([9, 9, 9, 9]);
        assert_eq!(state.received(Time::ZERO, &message, stranger).len(), 2);
        assert!(state.received(Time(1), &message, stranger).is_empty());
        let later = Time::ZERO + PEX_INTERVAL;
        assert_eq!(state.received(later, &message, IpAddr::from([127, 0, 0, 1])).len(), 4);
    }
}
