//! All swarms, cut by info-hash into parts that threads work on side by side.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::tracker::{AnnounceRequest, Family, ScrapeEntry};
use ringseed_proto::units::Time;

use crate::announce_service::{
    Admission, AnnounceService, Announced, Held, Record, Refusal, Room, ServiceConfig, Stage,
};
use crate::limits::SHARDS;

/// One part on cache lines of its own: taking its lock disturbs no other part.
#[repr(align(128))]
struct Shard(Mutex<AnnounceService>);

/// All swarms of a tracker, shared by its threads.
///
/// A torrent is in the part that its info-hash names. Two threads meet only when they work on the same one of
/// [`SHARDS`] parts in the same microsecond; a free lock costs about as much as a write to a shared counter. The
/// bounds hold for the whole: the sums change only when a peer or torrent comes or goes, not when it comes back.
pub(crate) struct Shards {
    shards: Box<[Shard]>,
    hasher: RandomState,
    torrents_max: usize,
    peers_max: usize,
    torrents: AtomicUsize,
    peers: AtomicUsize,
}

impl Shards {
    pub(crate) fn new(config: &ServiceConfig) -> Shards {
        // Which peers are chosen should not be guessed.
        let seeds = RandomState::new();
        let hasher = RandomState::new();
        let shard = |n: usize| {
            let service = AnnounceService::with_hasher(config.clone(), seeds.hash_one(n), hasher.clone());
            Shard(Mutex::new(service))
        };
        Shards {
            shards: (0..SHARDS).map(shard).collect(),
            hasher,
            torrents_max: config.torrents_max,
            peers_max: config.peers_max,
            torrents: AtomicUsize::new(0),
            peers: AtomicUsize::new(0),
        }
    }

    /// Takes an announce; see [`AnnounceService::announce_within`]. `new_torrent` says whether the asker may bring in
    /// one more torrent.
    pub(crate) fn announce(
        &self,
        now: Time,
        from: IpAddr,
        request: &AnnounceRequest,
        peers_max: u32,
        new_torrent: &dyn Fn() -> bool,
        visit: impl FnMut(&[u8]),
    ) -> Result<Announced, Refusal> {
        let mut shard = self.shard(&request.info_hash);
        let admission = Admission { room: self.room(), new_torrent };
        let before = shard.held();
        let announced = shard.announce_within(admission, now, from, request, peers_max, visit);
        self.account(before, shard.held());
        announced
    }

    /// The key of a torrent, for [`fetch`](Self::fetch).
    pub(crate) fn key(&self, info_hash: &SwarmHash) -> u64 {
        self.hasher.hash_one(info_hash)
    }

    /// Has memory fetched ahead of an announce; see [`AnnounceService::fetch`].
    pub(crate) fn fetch(&self, stage: Stage, family: Family, info_hash: &SwarmHash, key: u64) {
        self.shard(info_hash).fetch(stage, family, key);
    }

    /// The numbers of a torrent; see [`AnnounceService::scrape`].
    pub(crate) fn scrape(&self, family: Family, info_hash: &SwarmHash) -> ScrapeEntry {
        self.shard(info_hash).scrape(family, info_hash)
    }

    /// Lets part number `at`, modulo their number, look at up to `budget` peers for those whose lifetime is over.
    /// Returns how many it forgot.
    pub(crate) fn expire(&self, at: usize, now: Time, budget: usize) -> usize {
        let mut shard = lock(&self.shards[at % self.shards.len()]);
        let before = shard.held();
        let expired = shard.expire(now, budget);
        self.account(before, shard.held());
        expired
    }

    /// Number of parts.
    pub(crate) fn len(&self) -> usize {
        self.shards.len()
    }

    /// Appends what one part holds; see [`AnnounceService::dump`].
    pub(crate) fn dump(&self, at: usize, now: Time, out: &mut Vec<u8>) {
        lock(&self.shards[at % self.shards.len()]).dump(now, out);
    }

    /// Takes the peers of a record; see [`AnnounceService::restore`].
    pub(crate) fn restore(&self, now: Time, away: Duration, record: &Record<'_>) {
        let mut shard = self.shard(&record.info_hash);
        let before = shard.held();
        shard.restore(self.room(), now, away, record);
        self.account(before, shard.held());
    }

    /// What all parts hold. They are asked one after the other.
    pub(crate) fn held(&self) -> Held {
        self.shards.iter().map(|shard| lock(shard).held()).fold(Held::default(), |sum, held| sum + held)
    }

    /// Peers of all parts, without asking them.
    pub(crate) fn peers(&self) -> usize {
        self.peers.load(Ordering::Relaxed)
    }

    fn room(&self) -> Room {
        Room {
            torrents: self.torrents_max.saturating_sub(self.torrents.load(Ordering::Relaxed)),
            peers: self.peers_max.saturating_sub(self.peers.load(Ordering::Relaxed)),
        }
    }

    fn account(&self, before: Held, after: Held) {
        for (sum, before, after) in [
            (&self.torrents, before.torrents(), after.torrents()),
            (&self.peers, before.peers(), after.peers()),
        ] {
            if before != after {
                // Wraps below zero in the middle and is right in the end.
                sum.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
            }
        }
    }

    fn shard(&self, info_hash: &SwarmHash) -> MutexGuard<'_, AnnounceService> {
        // An info-hash is a hash already. Someone may aim many torrents at one part; its table is keyed, so all
        // they get is what one core can serve.
        lock(&self.shards[usize::from(info_hash.0[7]) % self.shards.len()])
    }
}

/// A thread that panicked while it held the lock has left a service whose invariants hold: it is pure and checks
/// before it changes.
fn lock(shard: &Shard) -> MutexGuard<'_, AnnounceService> {
    shard.0.lock().unwrap_or_else(PoisonError::into_inner)
}
