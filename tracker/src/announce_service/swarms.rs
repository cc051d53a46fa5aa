//! All torrents of one address family, and their expiry in small steps.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use ringseed_proto::units::InfoHash;

use super::address::Address;
use super::swarm::Swarm;

/// A torrent and its peers in one address family. Never without peers: with the last one it is forgotten.
pub(super) struct Torrent<A> {
    pub(super) info_hash: InfoHash,
    pub(super) swarm: Swarm<A>,
}

/// All torrents of one address family.
///
/// Torrents lie in a vector, in no order, so that expiry can walk over them in steps; a hash table of positions
/// finds them.
pub(super) struct Swarms<A> {
    torrents: Vec<Torrent<A>>,
    index: HashTable<u32>,
    counts: Counts,
    walk: Walk,
}

/// What one family holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) peers: usize,
    pub(super) seeders: usize,
}

/// Where expiry goes on: both count down, for a removed entry is replaced by one from behind, which the walk has
/// seen already.
#[derive(Default)]
struct Walk {
    /// Torrents from the start that this round has not finished.
    torrents: usize,
    /// Peers from the start of the last of them that it has not looked at; `None` before its first.
    peers: Option<usize>,
}

impl<A: Address> Swarms<A> {
    pub(super) fn new() -> Swarms<A> {
        Swarms {
            torrents: Vec::new(),
            index: HashTable::new(),
            counts: Counts::default(),
            walk: Walk::default(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn torrents(&self) -> usize {
        self.torrents.len()
    }

    /// All torrents, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Torrent<A>> {
        self.torrents.iter()
    }

    pub(super) fn find(&self, hasher: &RandomState, info_hash: &InfoHash) -> Option<usize> {
        self.index
            .find(hasher.hash_one(info_hash), |&at| self.torrents[at as usize].info_hash == *info_hash)
            .map(|&at| at as usize)
    }

    pub(super) fn swarm(&self, at: usize) -> &Swarm<A> {
        &self.torrents[at].swarm
    }

    /// Adds a torrent; the caller gives it a peer at once.
    pub(super) fn add(&mut self, hasher: &RandomState, info_hash: InfoHash) -> usize {
        let at = self.torrents.len();
        self.torrents.push(Torrent { info_hash, swarm: Swarm::new() });
        let torrents = &self.torrents;
        let position = u32::try_from(at).unwrap_or(u32::MAX);
        self.index.insert_unique(hasher.hash_one(info_hash), position, |&at| {
            hasher.hash_one(torrents[at as usize].info_hash)
        });
        at
    }

    /// Lets `change` work on a swarm, keeps the counts and forgets the torrent if it has no peers any more.
    pub(super) fn change<R>(
        &mut self,
        hasher: &RandomState,
        at: usize,
        change: impl FnOnce(&mut Swarm<A>) -> R,
    ) -> R {
        let swarm = &mut self.torrents[at].swarm;
        let (peers, seeders) = (swarm.len(), swarm.seeders() as usize);
        let result = change(swarm);
        self.counts.peers = self.counts.peers - peers + swarm.len();
        self.counts.seeders = self.counts.seeders - seeders + swarm.seeders() as usize;
        if swarm.is_empty() {
            self.forget(hasher, at);
        }
        result
    }

    fn forget(&mut self, hasher: &RandomState, at: usize) {
        let hash = hasher.hash_one(self.torrents[at].info_hash);
        if let Ok(entry) = self.index.find_entry(hash, |&found| found as usize == at) {
            entry.remove();
        }
        let last = self.torrents.len() - 1;
        if at != last {
            let hash = hasher.hash_one(self.torrents[last].info_hash);
            if let Some(found) = self.index.find_mut(hash, |&found| found as usize == last) {
                *found = u32::try_from(at).unwrap_or(u32::MAX);
            }
        }
        self.torrents.swap_remove(at);
        if self.torrents.capacity() > 64 && self.torrents.len() < self.torrents.capacity() / 4 {
            self.torrents.shrink_to(self.torrents.capacity() / 2);
            let torrents = &self.torrents;
            self.index.shrink_to(2 * torrents.len(), |&at| hasher.hash_one(torrents[at as usize].info_hash));
        }
    }

    /// Looks at up to `budget` peers and torrents and removes peers that were seen last before `oldest_s`. Returns
    /// how many it removed.
    pub(super) fn expire(&mut self, hasher: &RandomState, oldest_s: u32, mut budget: usize) -> usize {
        let mut removed = 0;
        // At most one round in a step, so that few torrents are not looked at over and over.
        let mut rounds = 0;
        while budget > 0 {
            if self.walk.torrents == 0 || self.walk.torrents > self.torrents.len() {
                rounds += 1;
                if rounds > 1 {
                    break;
                }
                self.walk = Walk { torrents: self.torrents.len(), peers: None };
            }
            let Some(at) = self.walk.torrents.checked_sub(1) else { break };
            budget -= 1;
            let len = self.torrents[at].swarm.len();
            let first = self.walk.peers.unwrap_or(len).min(len);
            let last = first.saturating_sub(budget);
            budget -= first - last;
            removed += self.change(hasher, at, |swarm| {
                let mut removed = 0;
                for peer in (last..first).rev() {
                    if swarm.seen_s(peer).is_some_and(|seen| seen < oldest_s) {
                        swarm.remove(hasher, peer);
                        removed += 1;
                    }
                }
                removed
            });
            self.walk = match last {
                0 => Walk { torrents: at, peers: None },
                _ => Walk { torrents: self.walk.torrents, peers: Some(last) },
            };
        }
        removed
    }
}
