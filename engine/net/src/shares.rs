//! Who makes room when no more connections may be open: shares of addresses and networks.
//!
//! Nobody is kept out while there is room. When there is none, a connection that has been of no use for a while ends for
//! a new one: first one of the address with the most connections, and of those the one that was useless longest. Four
//! addresses of a network count like one address. Nobody gains by connecting again: a new connection never takes the
//! place of one whose address holds fewer than its own.

use crate::limits::{
    CROWD_CONNECTIONS_MIN, CROWD_USELESS_MIN, HALF_OPEN_OF_ADDRESS_MAX, HALF_OPEN_PATIENCE,
    ROOM_SEARCH_PAUSE, USELESS_MIN,
};
use ringseed_proto::peer_address::{Scope, host, network, scope};
use ringseed_proto::units::Time;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Connections that one search finds: as many as may end before the next search.
const FOUND_MAX: usize = 64;
/// Addresses of a network that count like one address.
const NETWORK_DISCOUNT: usize = 4;
/// An address with more than one of so many connections shares them even with what is in use.
const GREEDY_SHARE: usize = 4;
/// Connections that an address may hold and still get the place of one in use.
const MODEST: usize = 3;

/// An open connection, as the search for one that makes room sees it.
#[derive(Debug, Clone, Copy)]
pub struct Holder<K> {
    /// Which.
    pub key: K,
    /// The peer's address.
    pub address: IpAddr,
    /// When it was last of use, or began.
    pub used_at: Time,
    /// The peer's handshake is not whole.
    pub half_open: bool,
}

/// Counts of connections by address and by network.
#[derive(Debug, Default)]
struct Population {
    hosts: HashMap<IpAddr, usize>,
    networks: HashMap<IpAddr, usize>,
}

impl Population {
    fn add(&mut self, address: IpAddr) {
        *self.hosts.entry(host(address)).or_default() += 1;
        *self.networks.entry(network(address)).or_default() += 1;
    }

    fn remove(&mut self, address: IpAddr) {
        for (counts, key) in [(&mut self.hosts, host(address)), (&mut self.networks, network(address))] {
            if let Some(count) = counts.get_mut(&key) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// What an address holds: its connections, or a part of its network's.
    fn weight(&self, address: IpAddr) -> usize {
        let of = |counts: &HashMap<IpAddr, usize>, key| counts.get(&key).copied().unwrap_or(0);
        let own = of(&self.hosts, host(address));
        own.max(of(&self.networks, network(address)) / NETWORK_DISCOUNT)
    }
}

/// Connections that may make room, as they were found by one search.
#[derive(Debug)]
pub struct Room<K> {
    population: Population,
    /// Those of no use, the first to go first.
    useless: VecDeque<Holder<K>>,
    /// Those in use of addresses that hold far too much, the first to go first.
    greedy: VecDeque<Holder<K>>,
    searched_at: Option<Time>,
}

impl<K> Default for Room<K> {
    fn default() -> Self {
        Self {
            population: Population::default(),
            useless: VecDeque::new(),
            greedy: VecDeque::new(),
            searched_at: None,
        }
    }
}

impl<K: Copy> Room<K> {
    /// The connection that makes room for one from `newcomer`. What the last search found is used up first, for a while;
    /// `holders` gives all open connections for the next one. A search that found nothing is not repeated for some time,
    /// so that floods of connections cost little.
    pub fn take<I: Iterator<Item = Holder<K>>>(
        &mut self,
        newcomer: IpAddr,
        now: Time,
        holders: impl FnOnce() -> I,
    ) -> Option<Holder<K>> {
        if self.searched_at.is_none_or(|at| at + ROOM_SEARCH_PAUSE <= now) {
            self.search(now, holders().collect());
        }
        let own = self.population.weight(newcomer);
        let entitled = |holder: &Holder<K>| {
            let weight = self.population.weight(holder.address);
            own < weight && weight >= CROWD_CONNECTIONS_MIN || own <= weight && is_ripe(holder, now)
        };
        let found = if self.useless.front().is_some_and(entitled) {
            self.useless.pop_front()
        } else if own <= MODEST {
            self.greedy.pop_front()
        } else {
            None
        };
        if let Some(holder) = &found {
            self.population.remove(holder.address);
            self.population.add(newcomer);
        }
        found
    }

    fn search(&mut self, now: Time, holders: Vec<Holder<K>>) {
        self.searched_at = Some(now);
        self.population = Population::default();
        holders.iter().for_each(|holder| self.population.add(holder.address));
        let population = &self.population;
        let total = holders.len();
        let (mut useless, mut greedy) = (Vec::new(), Vec::new());
        for holder in holders {
            let weight = population.weight(holder.address);
            let crowded = weight >= CROWD_CONNECTIONS_MIN;
            if is_ripe(&holder, now) || crowded && age(&holder, now) >= CROWD_USELESS_MIN {
                useless.push((weight, holder));
            } else if crowded && weight * GREEDY_SHARE > total {
                greedy.push((weight, holder));
            }
        }
        self.useless = first(useless);
        self.greedy = first(greedy);
    }
}

/// The first to go: of the address that holds most, and of those the one that was useless longest.
fn first<K>(mut found: Vec<(usize, Holder<K>)>) -> VecDeque<Holder<K>> {
    let order = |(weight, holder): &(usize, Holder<K>)| (std::cmp::Reverse(*weight), holder.used_at);
    if found.len() > FOUND_MAX {
        found.select_nth_unstable_by_key(FOUND_MAX, order);
        found.truncate(FOUND_MAX);
    }
    found.sort_by_key(order);
    found.into_iter().map(|(_, holder)| holder).collect()
}

fn age<K>(holder: &Holder<K>, now: Time) -> std::time::Duration {
    now.saturating_since(holder.used_at)
}

/// Whether it was useless for so long that it makes room whoever its owner is.
fn is_ripe<K>(holder: &Holder<K>, now: Time) -> bool {
    age(holder, now) >= if holder.half_open { HALF_OPEN_PATIENCE } else { USELESS_MIN }
}

/// Connections from outside without a handshake, by address.
#[derive(Debug, Default)]
pub struct HalfOpen(HashMap<IpAddr, usize>);

impl HalfOpen {
    /// Counts one more; false when the address has more than it may while places are scarce. Those of this machine are
    /// not bounded here: proxies and load tests come from it.
    pub fn begin(&mut self, address: IpAddr) -> bool {
        let count = self.0.entry(host(address)).or_default();
        *count += 1;
        *count <= HALF_OPEN_OF_ADDRESS_MAX || scope(address) == Some(Scope::Loopback)
    }

    /// One is no longer half-open.
    pub fn end(&mut self, address: IpAddr) {
        if let Some(count) = self.0.get_mut(&host(address)) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&host(address));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn seconds(count: u64) -> Time {
        Time::ZERO + Duration::from_secs(count)
    }

    /// Connections of `address`, the first of which was last used at second 0, the next at second 1 and so on.
    fn of(address: &str, count: u64, from_key: u64) -> Vec<Holder<u64>> {
        let holder =
            |n| Holder { key: from_key + n, address: ip(address), used_at: seconds(n), half_open: false };
        (0..count).map(holder).collect()
    }

    /// The connection that makes room, when all is searched anew.
    fn victim(holders: &[Holder<u64>], newcomer: &str, now: Time) -> Option<u64> {
        let found = Room::default().take(ip(newcomer), now, || holders.iter().copied());
        found.map(|holder| holder.key)
    }

    #[test]
    fn useless_connections_of_the_address_with_most_make_room_the_longest_useless_first() {
        let crowd = of("9.9.9.9", 20, 100);
        let old = of("8.8.8.8", 2, 0);
        let all = [old, crowd].concat();
        // After ten seconds those of the crowd, although others have been useless as long.
        assert_eq!(victim(&all, "1.1.1.1", seconds(10)), Some(100));
        // The crowd itself gains nothing by connecting again before a minute is over, and then only of its own.
        assert_eq!(victim(&all, "9.9.9.9", seconds(59)), None);
        assert_eq!(victim(&all, "9.9.9.9", seconds(60)), Some(100));
    }

    #[test]
    fn what_was_useless_for_a_minute_makes_room_whoever_it_is() {
        let all = [of("8.8.8.8", 1, 0), of("7.7.7.7", 1, 1)].concat();
        assert_eq!(victim(&all, "1.1.1.1", seconds(59)), None);
        assert_eq!(victim(&all, "1.1.1.1", seconds(60)), Some(0));
        // But not for an address that holds more than it does.
        let all = [of("8.8.8.8", 1, 0), vec![Holder { used_at: seconds(60), ..of("7.7.7.7", 1, 1)[0] }; 2]];
        assert_eq!(victim(&all.concat(), "7.7.7.7", seconds(60)), None);
    }

    #[test]
    fn a_network_counts_like_a_part_of_its_addresses() {
        let network: Vec<_> = (0..100)
            .map(|n| Holder { address: ip(&format!("9.9.9.{n}")), ..of("9.9.9.9", 1, n)[0] })
            .collect();
        let all = [of("8.8.8.8", 3, 1000), network].concat();
        assert!(victim(&all, "1.1.1.1", seconds(10)).is_some_and(|key| key < 100));
        // An IPv6 host has a whole /64.
        let v6: Vec<_> = (0..20)
            .map(|n| Holder { address: ip(&format!("2001:db8::{n:x}")), ..of("::2", 1, n)[0] })
            .collect();
        assert_eq!(victim(&v6, "1.1.1.1", seconds(10)), Some(0));
        assert_eq!(victim(&v6, "2001:db8::ffff", seconds(10)), None);
    }

    #[test]
    fn what_is_in_use_stays_unless_one_address_holds_far_too_much() {
        let busy = |address: &str, count, key| {
            let used = of(address, count, key).into_iter();
            used.map(|holder| Holder { used_at: seconds(100), ..holder }).collect::<Vec<_>>()
        };
        // Many small ones, all in use.
        let small: Vec<_> = (0..50).flat_map(|n| busy(&format!("8.8.{n}.1"), 2, n * 10)).collect();
        assert_eq!(victim(&small, "1.1.1.1", seconds(100)), None);
        let all = [small, busy("9.9.9.9", 200, 1000)].concat();
        assert!(victim(&all, "1.1.1.1", seconds(100)).is_some_and(|key| key >= 1000));
        assert_eq!(victim(&all, "9.9.9.9", seconds(100)), None);
        // One machine's peers alone (a load test, a proxy) keep what they have.
        assert_eq!(victim(&busy("127.0.0.1", 500, 0), "127.0.0.1", seconds(100)), None);
    }

    #[test]
    fn half_open_connections_make_room_soon() {
        let half = [Holder { half_open: true, ..of("8.8.8.8", 1, 0)[0] }];
        assert_eq!(victim(&half, "1.1.1.1", Time::ZERO), None);
        assert_eq!(victim(&half, "1.1.1.1", Time::ZERO + HALF_OPEN_PATIENCE), Some(0));
    }

    #[test]
    fn floods_of_connections_search_seldom() {
        let mut room = Room::default();
        let mut searches = 0;
        for n in 0..1000 {
            let now = Time::ZERO + ROOM_SEARCH_PAUSE * n / 100;
            let all = || {
                searches += 1;
                of("8.8.8.8", 1, 0).into_iter()
            };
            assert!(room.take(ip("1.1.1.1"), now, all).is_none());
        }
        assert_eq!(searches, 10);
    }

    #[test]
    fn one_address_has_a_bounded_number_of_half_open_connections() {
        let mut half = HalfOpen::default();
        let within = (0..1000).filter(|_| half.begin(ip("8.8.8.8"))).count();
        assert_eq!(within, HALF_OPEN_OF_ADDRESS_MAX);
        assert!(half.begin(ip("8.8.8.9")));
        (HALF_OPEN_OF_ADDRESS_MAX..=1000).for_each(|_| half.end(ip("8.8.8.8")));
        assert!(half.begin(ip("8.8.8.8")) && !half.begin(ip("8.8.8.8")));
        assert!((0..5000).all(|_| half.begin(ip("127.0.0.1"))));
    }
}
