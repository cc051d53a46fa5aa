//! Exponentiations that are due: who gets one in this turn.
//!
//! Anybody can make us compute by sending 96 bytes, so exponentiations that others ask for are rationed: a number for each turn
//! of the loop, so that peers that are served do not notice, and a bucket for each host. Those of our own dials are
//! rationed by the turn alone.

use crate::limits::{
    EXCHANGES_OF_HOST_BURST, EXCHANGES_OF_HOST_PER_SECOND, EXCHANGES_PER_TURN, HOSTS_COUNTED_MAX,
};
use ringseed_proto::peer_address::host;
use ringseed_proto::units::Time;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Connections that are looked at in a turn.
const LOOKS_PER_TURN: usize = 64;

/// Connections of a shard that wait for an exponentiation.
#[derive(Debug)]
pub struct Exchanges<K> {
    waiting: VecDeque<(K, Option<IpAddr>)>,
    buckets: HashMap<IpAddr, Bucket>,
}

/// What a host may still have.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f32,
    since: Time,
}

impl Bucket {
    fn full(now: Time) -> Bucket {
        Bucket { left: EXCHANGES_OF_HOST_BURST, since: now }
    }

    fn fill(&mut self, now: Time) {
        let gained = now.saturating_since(self.since).as_secs_f32() * EXCHANGES_OF_HOST_PER_SECOND;
        self.left = (self.left + gained).min(EXCHANGES_OF_HOST_BURST);
        self.since = now;
    }
}

impl<K> Default for Exchanges<K> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), buckets: HashMap::new() }
    }
}

impl<K: Copy> Exchanges<K> {
    /// A connection waits. `from` is the host that asks for it; `None` for one that we began.
    pub fn wait(&mut self, key: K, from: Option<IpAddr>) {
        self.waiting.push_back((key, from.map(host)));
    }

    /// Whether somebody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Those whose turn it is. Hosts that have had more than their share wait for later. Not all are looked at in a turn
    /// when many wait.
    pub fn turn(&mut self, now: Time) -> Vec<K> {
        let mut chosen = Vec::new();
        for _ in 0..self.waiting.len().min(LOOKS_PER_TURN) {
            let Some((key, from)) = self.waiting.pop_front() else { break };
            match from {
                Some(host) if !self.take(host, now) => self.waiting.push_back((key, from)),
                _ => chosen.push(key),
            }
            if chosen.len() == EXCHANGES_PER_TURN {
                break;
            }
        }
        chosen
    }

    fn take(&mut self, host: IpAddr, now: Time) -> bool {
        if self.buckets.len() >= HOSTS_COUNTED_MAX && !self.buckets.contains_key(&host) {
            self.buckets.retain(|_, bucket| {
                bucket.fill(now);
                bucket.left < EXCHANGES_OF_HOST_BURST
            });
            if self.buckets.len() >= HOSTS_COUNTED_MAX {
                // As many hosts as that at once are not one: the turns alone ration them.
                return true;
            }
        }
        let bucket = self.buckets.entry(host).or_insert_with(|| Bucket::full(now));
        bucket.fill(now);
        let has = bucket.left >= 1.0;
        if has {
            bucket.left -= 1.0;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn at(seconds: u64) -> Time {
        Time::after_epoch(Duration::from_secs(seconds))
    }

    /// All that get their turn while nobody new comes and no time passes.
    fn all<K: Copy>(exchanges: &mut Exchanges<K>, now: Time) -> Vec<K> {
        let (mut all, mut empty) = (Vec::new(), 0);
        while empty < 100 {
            let turn = exchanges.turn(now);
            assert!(turn.len() <= EXCHANGES_PER_TURN);
            empty = if turn.is_empty() { empty + 1 } else { 0 };
            all.extend(turn);
        }
        all
    }

    #[test]
    fn a_host_that_asks_for_many_waits_and_others_do_not() {
        let mut exchanges = Exchanges::default();
        for key in 0..1000 {
            exchanges.wait(key, Some(address(1)));
        }
        exchanges.wait(2000, Some(address(2)));
        exchanges.wait(3000, None);
        let first = all(&mut exchanges, at(1));
        assert_eq!(first.len(), EXCHANGES_OF_HOST_BURST as usize + 2);
        assert!(first.contains(&2000) && first.contains(&3000));
        // The bucket fills.
        assert_eq!(all(&mut exchanges, at(2)).len(), EXCHANGES_OF_HOST_PER_SECOND as usize);
        assert!(!exchanges.is_empty());
    }

    #[test]
    fn a_flood_from_many_hosts_is_held_by_the_turns_and_takes_little_memory() {
        let mut exchanges = Exchanges::default();
        for key in 0..HOSTS_COUNTED_MAX as u32 + 100 {
            exchanges.wait(key, Some(IpAddr::from((key + 1).to_be_bytes())));
        }
        assert_eq!(all(&mut exchanges, at(1)).len(), HOSTS_COUNTED_MAX + 100);
        assert_eq!(exchanges.buckets.len(), HOSTS_COUNTED_MAX);
        exchanges.wait(0, Some(address(1)));
        assert_eq!(exchanges.turn(at(100)), [0]);
        assert_eq!(exchanges.buckets.len(), 1);
    }

    #[test]
    fn the_addresses_of_one_network_of_ipv6_are_one_host() {
        let mut exchanges = Exchanges::default();
        for key in 0..500u16 {
            exchanges.wait(key, Some(IpAddr::from([0x2001, 0xdb8, 0, 0, 1, 2, 3, key])));
        }
        assert_eq!(all(&mut exchanges, at(1)).len(), EXCHANGES_OF_HOST_BURST as usize);
    }
}
