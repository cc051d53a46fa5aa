//! All torrents of one address family, and their expiry in small steps.

use std::hash::BuildHasher;

use ringseed_proto::hashes::SwarmHash;

use super::address::Address;
use super::index::{Index, prefetch};
use super::shares::Shares;
use super::swarm::Swarm;

/// A torrent and its peers in one address family. Never without peers: with the last one it is forgotten.
pub(super) struct Torrent<A> {
    pub(super) info_hash: SwarmHash,
    pub(super) swarm: Swarm<A>,
}

/// All torrents of one address family.
///
/// Torrents lie in a vector, in no order, so that expiry can walk over them in steps; a table of positions finds
/// them.
pub(super) struct Swarms<A> {
    torrents: Vec<Torrent<A>>,
    index: Index,
    counts: Counts,
    walk: Walk,
}

/// What memory is fetched ahead of an announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Where the search for the torrent begins.
    Index,
    /// The torrent.
    Torrent,
    /// Its first peers.
    Peers,
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
            index: Index::default(),
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

    /// Where the torrent is. `key` is the hash of its info-hash.
    pub(super) fn find(&self, key: u64, info_hash: &SwarmHash) -> Option<usize> {
        self.index.find(key, |at| self.torrents[at].info_hash == *info_hash)
    }

    /// Has memory fetched that an announce for this key will need; each stage needs what the one before fetched.
    pub(super) fn fetch(&self, stage: Stage, key: u64) {
        if stage == Stage::Index {
            return self.index.prefetch(key);
        }
        let Some(torrent) = self.index.guess(key).and_then(|at| self.torrents.get(at)) else { return };
        match stage {
            Stage::Index => {}
            Stage::Torrent => {
                prefetch(&torrent.info_hash);
                prefetch(&torrent.swarm);
            }
            Stage::Peers => torrent.swarm.fetch(),
        }
    }

    pub(super) fn swarm(&self, at: usize) -> &Swarm<A> {
        &self.torrents[at].swarm
    }

    /// Adds a torrent; the caller gives it a peer at once.
    pub(super) fn add(&mut self, key: u64, info_hash: SwarmHash) -> usize {
        let at = self.torrents.len();
        self.torrents.push(Torrent { info_hash, swarm: Swarm::new() });
        self.index.insert(key, at);
        at
    }

    /// Lets `change` work on a swarm, keeps the counts and forgets the torrent if it has no peers any more.
    pub(super) fn change<R>(
        &mut self,
        shares: &Shares,
        at: usize,
        change: impl FnOnce(&mut Swarm<A>) -> R,
    ) -> R {
        let swarm = &mut self.torrents[at].swarm;
        let (peers, seeders) = (swarm.len(), swarm.seeders() as usize);
        let result = change(swarm);
        self.counts.peers = self.counts.peers - peers + swarm.len();
        self.counts.seeders = self.counts.seeders - seeders + swarm.seeders() as usize;
        if swarm.is_empty() {
            self.forget(shares, at);
        }
        result
    }

    fn forget(&mut self, shares: &Shares, at: usize) {
        self.index.remove(shares.hasher.hash_one(self.torrents[at].info_hash), at);
        let last = self.torrents.len() - 1;
        if at != last {
            self.index.replace(shares.hasher.hash_one(self.torrents[last].info_hash), last, at);
        }
        self.torrents.swap_remove(at);
        if self.torrents.capacity() > 64 && self.torrents.len() < self.torrents.capacity() / 4 {
            self.torrents.shrink_to(self.torrents.capacity() / 2);
        }
    }

    /// Looks at up to `budget` peers and torrents and removes peers that were seen last before `oldest_s`. Returns
    /// how many it removed.
    pub(super) fn expire(&mut self, shares: &Shares, oldest_s: u32, mut budget: usize) -> usize {
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
            removed += self.change(shares, at, |swarm| {
                let mut removed = 0;
                for peer in (last..first).rev() {
                    if swarm.seen_s(peer).is_some_and(|seen| seen < oldest_s) {
                        swarm.remove(shares, peer);
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
