//! The peers of one torrent in one address family.

use std::hash::BuildHasher;

use fastrand::Rng;
use hashbrown::HashTable;

use super::address::Address;
use super::draw::draw;
use super::index::prefetch;
use super::shares::Shares;
use crate::limits::SWARM_SCANNED_MAX;

/// Never a position: a swarm is bounded far below.
const NOWHERE: u32 = u32::MAX;

/// A peer and when it announced last, in whole seconds of the service's time.
struct Peer<A> {
    address: A,
    seen_s: u32,
}

/// The peers of one torrent in one address family.
///
/// Seeders come first, leechers behind them, so that a seeder can be given leechers only and counting is free.
/// In a large swarm a hash table of positions finds a peer; the peers themselves are stored once.
pub(super) struct Swarm<A> {
    peers: Vec<Peer<A>>,
    seeders: u32,
    completed: u32,
    index: Option<Box<HashTable<u32>>>,
}

/// What an announce changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Added,
    Refreshed { was_seeder: bool },
}

impl<A: Address> Swarm<A> {
    pub(super) fn new() -> Swarm<A> {
        Swarm { peers: Vec::new(), seeders: 0, completed: 0, index: None }
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    pub(super) fn seeders(&self) -> u32 {
        self.seeders
    }

    pub(super) fn leechers(&self) -> u32 {
        position(self.peers.len()) - self.seeders
    }

    /// Downloads that ended here since the swarm came into being.
    pub(super) fn completed(&self) -> u32 {
        self.completed
    }

    pub(super) fn count_completed(&mut self) {
        self.completed = self.completed.saturating_add(1);
    }

    /// Downloads that ended here before a restart.
    pub(super) fn restore_completed(&mut self, completed: u32) {
        self.completed = self.completed.max(completed);
    }

    /// Each peer: its address, whether it has everything, when it announced last in seconds.
    pub(super) fn peers(&self) -> impl Iterator<Item = (&A, bool, u32)> {
        let seeders = self.seeders as usize;
        self.peers.iter().enumerate().map(move |(at, peer)| (&peer.address, at < seeders, peer.seen_s))
    }

    /// Has the memory of the first peers fetched.
    pub(super) fn fetch(&self) {
        prefetch(self.peers.as_ptr());
    }

    /// Where the peer is, if it is known.
    pub(super) fn find(&self, shares: &Shares<impl BuildHasher>, address: A) -> Option<usize> {
        match &self.index {
            None => self.peers.iter().position(|peer| peer.address == address),
            Some(index) => index
                .find(shares.key(&address), |&at| self.peers[at as usize].address == address)
                .map(|&at| at as usize),
        }
    }

    /// Whether a client may have one more peer here, which is not known yet.
    pub(super) fn has_share_left(&self, shares: &Shares<impl BuildHasher>, newcomer: A) -> bool {
        let Some(max) = shares.ports_max(&newcomer) else { return true };
        let its = |peer: &Peer<A>| peer.address.client() == newcomer.client();
        let count = match &self.index {
            None => self.peers.iter().filter(|peer| its(peer)).count(),
            Some(index) => {
                let same_hash = index.iter_hash(shares.key(&newcomer));
                same_hash.filter(|at| its(&self.peers[**at as usize])).count()
            }
        };
        count < max
    }

    /// Refreshes the peer found at `known`, or adds it. Says where it is now.
    pub(super) fn upsert(
        &mut self,
        shares: &Shares<impl BuildHasher>,
        known: Option<usize>,
        address: A,
        seeder: bool,
        seen_s: u32,
    ) -> (Change, usize) {
        let Some(at) = known else {
            let at = self.push(shares, Peer { address, seen_s });
            let at = if seeder { self.promote(shares, at) } else { at };
            self.check_invariants(shares);
            return (Change::Added, at);
        };
        self.peers[at].seen_s = seen_s;
        let was_seeder = at < self.seeders as usize;
        let at = match (was_seeder, seeder) {
            (false, true) => self.promote(shares, at),
            (true, false) => self.demote(shares, at),
            _ => at,
        };
        self.check_invariants(shares);
        (Change::Refreshed { was_seeder }, at)
    }

    /// Removes the peer at this position; true if it was a seeder. Its place is taken by a peer from behind it.
    pub(super) fn remove(&mut self, shares: &Shares<impl BuildHasher>, at: usize) -> bool {
        let was_seeder = at < self.seeders as usize;
        let at = if was_seeder { self.demote(shares, at) } else { at };
        let last = self.peers.len() - 1;
        self.swap(shares, at, last);
        if let Some(index) = &mut self.index
            && let Ok(entry) =
                index.find_entry(shares.key(&self.peers[last].address), |&at| at as usize == last)
        {
            entry.remove();
        }
        self.peers.pop();
        self.give_memory_back(shares);
        self.check_invariants(shares);
        was_seeder
    }

    /// When the peer at this position announced last, in seconds; `None` behind the end.
    pub(super) fn seen_s(&self, at: usize) -> Option<u32> {
        self.peers.get(at).map(|peer| peer.seen_s)
    }

    /// Visits up to `count` peers that an asker may be given: not itself (at `asker`), and no seeders for a seeder.
    pub(super) fn choose(
        &self,
        rng: &mut Rng,
        asker: Option<usize>,
        asker_seeds: bool,
        count: usize,
        mut visit: impl FnMut(A),
    ) {
        let first = if asker_seeds { self.seeders as usize } else { 0 };
        // Positions are numbered without the asker's, so that each other peer is equally likely.
        let asker = asker.filter(|&at| at >= first);
        let candidates = self.peers.len() - first - usize::from(asker.is_some());
        draw(rng, candidates, count, |i| {
            let at = first + i;
            let at = if asker.is_some_and(|asker| at >= asker) { at + 1 } else { at };
            visit(self.peers[at].address);
        });
    }

    fn push(&mut self, shares: &Shares<impl BuildHasher>, peer: Peer<A>) -> usize {
        let at = self.peers.len();
        self.peers.push(peer);
        if self.index.is_some() {
            self.index_position(shares, at);
        } else if self.peers.len() > SWARM_SCANNED_MAX {
            self.index = Some(Box::new(HashTable::with_capacity(2 * SWARM_SCANNED_MAX)));
            for at in 0..self.peers.len() {
                self.index_position(shares, at);
            }
        }
        at
    }

    fn index_position(&mut self, shares: &Shares<impl BuildHasher>, at: usize) {
        let peers = &self.peers;
        if let Some(index) = &mut self.index {
            let hash = shares.key(&peers[at].address);
            index.insert_unique(hash, position(at), |&at| shares.key(&peers[at as usize].address));
        }
    }

    /// Makes the leecher at this position a seeder and says where it is now.
    fn promote(&mut self, shares: &Shares<impl BuildHasher>, at: usize) -> usize {
        let to = self.seeders as usize;
        self.swap(shares, at, to);
        self.seeders += 1;
        to
    }

    /// Makes the seeder at this position a leecher and says where it is now.
    fn demote(&mut self, shares: &Shares<impl BuildHasher>, at: usize) -> usize {
        self.seeders -= 1;
        let to = self.seeders as usize;
        self.swap(shares, at, to);
        to
    }

    fn swap(&mut self, shares: &Shares<impl BuildHasher>, a: usize, b: usize) {
        if a == b {
            return;
        }
        if let Some(index) = &mut self.index {
            let hash_a = shares.key(&self.peers[a].address);
            let hash_b = shares.key(&self.peers[b].address);
            // Through NOWHERE, for with equal hashes the two entries differ by position only.
            for (hash, from, to) in [
                (hash_a, position(a), NOWHERE),
                (hash_b, position(b), position(a)),
                (hash_a, NOWHERE, position(b)),
            ] {
                if let Some(at) = index.find_mut(hash, |&at| at == from) {
                    *at = to;
                }
            }
        }
        self.peers.swap(a, b);
    }

    /// A swarm that shrank to a quarter gives half of its memory back, so a fading torrent does not keep its peak.
    fn give_memory_back(&mut self, shares: &Shares<impl BuildHasher>) {
        if self.peers.len() <= SWARM_SCANNED_MAX / 2 {
            self.index = None;
        }
        if self.peers.capacity() > 8 && self.peers.len() < self.peers.capacity() / 4 {
            self.peers.shrink_to(self.peers.capacity() / 2);
            let peers = &self.peers;
            if let Some(index) = &mut self.index {
                index.shrink_to(2 * peers.len(), |&at| shares.key(&peers[at as usize].address));
            }
        }
    }

    /// Seeders are counted within the peers, and the table has exactly the positions of all peers.
    fn check_invariants(&self, shares: &Shares<impl BuildHasher>) {
        if !cfg!(test) {
            return;
        }
        assert!(self.seeders as usize <= self.peers.len());
        if let Some(index) = &self.index {
            assert_eq!(index.len(), self.peers.len());
            for (at, peer) in self.peers.iter().enumerate() {
                let found = index.find(shares.key(&peer.address), |&found| found as usize == at);
                assert!(found.is_some(), "peer {at} of {} is not in the table", self.peers.len());
            }
        } else {
            assert!(self.peers.len() <= SWARM_SCANNED_MAX);
        }
    }
}

/// A position as it is stored. Swarms are bounded far below 2^32 peers.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NOWHERE)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::{BuildHasherDefault, Hasher, RandomState};
    use std::net::SocketAddr;

    use super::super::address::{Either, V4};
    use super::*;

    fn address(n: u16) -> V4 {
        match Either::from(SocketAddr::from(([10, 0, 0, 1], n))) {
            Either::V4(address) => address,
            Either::V6(_) => unreachable!(),
        }
    }

    /// All peers in one bucket: positions alone tell the entries apart.
    #[derive(Default)]
    struct SameHash;

    impl Hasher for SameHash {
        fn finish(&self) -> u64 {
            7
        }
        fn write(&mut self, _: &[u8]) {}
    }

    fn behaves_like_a_map(shares: &Shares<impl BuildHasher>, steps: usize) {
        let mut rng = Rng::with_seed(3);
        let mut swarm = Swarm::new();
        let mut model: HashMap<u16, (bool, u32)> = HashMap::new();
        for step in 0..steps {
            let n = rng.u16(1..120);
            let known = swarm.find(shares, address(n));
            assert_eq!(known.is_some(), model.contains_key(&n));
            // Phases of growth and of decay, so that the table comes and goes.
            let grow = if step / 500 % 2 == 0 { 0.8 } else { 0.2 };
            if rng.f64() < grow {
                let seeder = rng.bool();
                let now = u32::try_from(step).unwrap();
                let (change, at) = swarm.upsert(shares, known, address(n), seeder, now);
                assert_eq!(swarm.find(shares, address(n)), Some(at));
                match model.insert(n, (seeder, now)) {
                    None => assert_eq!(change, Change::Added),
                    Some((was_seeder, _)) => assert_eq!(change, Change::Refreshed { was_seeder }),
                }
            } else if let Some(at) = known {
                assert_eq!(Some(swarm.remove(shares, at)), model.remove(&n).map(|(seeder, _)| seeder));
            }
            assert_eq!(swarm.len(), model.len());
            assert_eq!(swarm.seeders() as usize, model.values().filter(|(seeder, _)| *seeder).count());
            assert_eq!((swarm.seeders() + swarm.leechers()) as usize, model.len());
        }
        for (n, (seeder, seen)) in model {
            let at = swarm.find(shares, address(n)).unwrap();
            assert_eq!(at < swarm.seeders as usize, seeder);
            assert_eq!(swarm.seen_s(at), Some(seen));
        }
    }

    #[test]
    fn a_swarm_behaves_like_a_map() {
        behaves_like_a_map(&Shares::new(RandomState::new(), 0, &[]), 6000);
    }

    #[test]
    fn a_swarm_survives_equal_hashes() {
        behaves_like_a_map(&Shares::new(BuildHasherDefault::<SameHash>::default(), 0, &[]), 3000);
        // All peers are of one client, so that they have one hash.
        behaves_like_a_map(&Shares::new(RandomState::new(), 16, &[]), 3000);
    }

    /// In a small swarm and in one with a table, beside others.
    #[test]
    fn a_client_has_a_share_of_a_swarm() {
        for others in [0, 200] {
            let exempt = ["10.0.0.9".parse().unwrap()];
            let shares = Shares::new(RandomState::new(), 3, &exempt);
            let mut swarm = Swarm::new();
            let of = |last: u8, port| match Either::from(SocketAddr::from(([10, 0, 0, last], port))) {
                Either::V4(address) => address,
                Either::V6(_) => unreachable!(),
            };
            for n in 0..others {
                swarm.upsert(&shares, None, of(10 + n, 1), n % 2 == 0, 0);
            }
            for port in 1..=3 {
                assert!(swarm.has_share_left(&shares, of(1, port)));
                swarm.upsert(&shares, None, of(1, port), port == 1, 0);
            }
            assert!(!swarm.has_share_left(&shares, of(1, 4)) && swarm.has_share_left(&shares, of(2, 4)));
            for port in 1..=100 {
                assert!(swarm.has_share_left(&shares, of(9, port)), "an exempt one has no bound");
                swarm.upsert(&shares, None, of(9, port), false, 0);
            }
            let at = swarm.find(&shares, of(1, 2)).unwrap();
            swarm.remove(&shares, at);
            assert!(swarm.has_share_left(&shares, of(1, 4)), "there is room again");
        }
    }

    #[test]
    fn a_large_swarm_costs_less_than_40_bytes_a_peer() {
        let shares = Shares::new(BuildHasherDefault::<std::hash::DefaultHasher>::default(), 0, &[]);
        assert_eq!(size_of::<Peer<V4>>(), 12);
        let mut swarm = Swarm::new();
        // `check_invariants` is quadratic here, so peers are pushed below it.
        for n in 1..=50_000 {
            swarm.push(&shares, Peer { address: address(n), seen_s: 0 });
        }
        let table = swarm.index.as_ref().unwrap().allocation_size();
        let bytes = swarm.peers.capacity() * size_of::<Peer<V4>>() + table;
        assert!(bytes <= 40 * swarm.len(), "{} bytes a peer", bytes / swarm.len());
    }
}
