//! Who is in which swarm, and which peers an asker is told about: no clock, no sockets, no bytes.
//!
//! Both front ends share it. Time comes as an argument, random choice from a seed.
//!
//! Policy:
//! - A peer is an address with a port, of the family in which the request arrived. Its peer id is not kept:
//!   replies are compact, or dictionaries without ids, which every client takes.
//! - Each other peer of the swarm is equally likely to be chosen. The asker is never given to itself, and a seeder
//!   is given leechers only.
//! - A peer that does not come back is forgotten after its lifetime, by [`AnnounceService::expire`], which does a
//!   bounded amount of work per call.
//! - When a bound is reached, those who are known stay known and a newcomer is answered but not remembered:
//!   a flood of invented peers cannot push out real ones.
//! - One client, which is an IPv4 address or an IPv6 /64, has a share of each swarm: so many ports. More of it are
//!   not remembered, so that it cannot be most of what others are told.
//! - A torrent without peers is forgotten, its count of finished downloads too.

mod address;
mod draw;
mod dump;
mod index;
mod shares;
mod swarm;
mod swarms;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fastrand::Rng;
use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::tracker::{AnnounceEvent, AnnounceRequest, Family, ScrapeEntry};
use ringseed_proto::units::Time;

pub use self::address::socket_addr;
use self::address::{Address, Either, V4, V6};
pub use self::dump::{DumpError, Record};
use self::shares::Shares;
use self::swarm::Change;
pub use self::swarms::Stage;
use self::swarms::Swarms;
use crate::limits::{
    EXEMPT_DEFAULT, INTERVAL_DEFAULT, NUMWANT_DEFAULT, NUMWANT_MAX, PEER_LIFETIME_MIN, PEERS_MAX_DEFAULT,
    PORTS_PER_CLIENT_DEFAULT, SWARM_PEERS_MAX_DEFAULT, TORRENTS_MAX_DEFAULT,
};
use crate::proxies::Network;

/// Bounds and times of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// How long after its last announce a peer is forgotten.
    pub peer_lifetime: Duration,
    /// Most torrents, counted once per address family that they have peers in.
    pub torrents_max: usize,
    /// Most peers.
    pub peers_max: usize,
    /// Most peers of one torrent in one address family.
    pub swarm_peers_max: usize,
    /// Most ports of one client, an IPv4 address or IPv6 /64, in one swarm; 0 is no bound.
    pub ports_per_client_max: usize,
    /// Networks whose clients have no bound of this kind.
    pub exempt: Vec<Network>,
    /// Peers given when a request does not say how many.
    pub numwant_default: u32,
    /// Most peers given.
    pub numwant_max: u32,
}

impl ServiceConfig {
    /// The usual bounds, with a peer's lifetime that lets it miss one announce.
    pub fn for_interval(interval: Duration) -> ServiceConfig {
        ServiceConfig {
            peer_lifetime: interval.saturating_mul(2).max(PEER_LIFETIME_MIN),
            torrents_max: TORRENTS_MAX_DEFAULT,
            peers_max: PEERS_MAX_DEFAULT,
            swarm_peers_max: SWARM_PEERS_MAX_DEFAULT,
            ports_per_client_max: PORTS_PER_CLIENT_DEFAULT,
            exempt: EXEMPT_DEFAULT.iter().filter_map(|text| text.parse().ok()).collect(),
            numwant_default: NUMWANT_DEFAULT,
            numwant_max: NUMWANT_MAX,
        }
    }
}

impl Default for ServiceConfig {
    fn default() -> ServiceConfig {
        ServiceConfig::for_interval(INTERVAL_DEFAULT)
    }
}

/// What the service did with an announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The swarm after the announce, in the asker's address family.
    pub scrape: ScrapeEntry,
    /// False when a bound kept the asker out: nobody will be told about it.
    pub remembered: bool,
}

/// Why an announce has no effect. The text may be sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody can connect to port 0.
    #[error("port 0 cannot be connected to")]
    PortZero,
}

/// What the service holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Torrents with peers reached by IPv4.
    pub torrents_v4: usize,
    /// Torrents with peers reached by IPv6.
    pub torrents_v6: usize,
    /// Peers reached by IPv4.
    pub peers_v4: usize,
    /// Peers reached by IPv6.
    pub peers_v6: usize,
    /// Of all peers those that have everything.
    pub seeders: usize,
}

impl Held {
    /// Torrents, counted once per address family.
    pub fn torrents(&self) -> usize {
        self.torrents_v4 + self.torrents_v6
    }

    /// Peers of both families.
    pub fn peers(&self) -> usize {
        self.peers_v4 + self.peers_v6
    }
}

impl std::ops::Add for Held {
    type Output = Held;

    fn add(self, other: Held) -> Held {
        Held {
            torrents_v4: self.torrents_v4 + other.torrents_v4,
            torrents_v6: self.torrents_v6 + other.torrents_v6,
            peers_v4: self.peers_v4 + other.peers_v4,
            peers_v6: self.peers_v6 + other.peers_v6,
            seeders: self.seeders + other.seeders,
        }
    }
}

/// All swarms of a tracker.
pub struct AnnounceService {
    config: ServiceConfig,
    shares: Shares,
    rng: Rng,
    v4: Swarms<V4>,
    v6: Swarms<V6>,
}

impl AnnounceService {
    /// A service without peers. The seed decides which peers are chosen.
    pub fn new(config: ServiceConfig, seed: u64) -> AnnounceService {
        AnnounceService::with_hasher(config, seed, RandomState::new())
    }

    /// Like [`new`](Self::new), with the hasher of a torrent's key.
    pub fn with_hasher(config: ServiceConfig, seed: u64, hasher: RandomState) -> AnnounceService {
        let shares = Shares::new(hasher, config.ports_per_client_max, &config.exempt);
        AnnounceService { config, shares, rng: Rng::with_seed(seed), v4: Swarms::new(), v6: Swarms::new() }
    }

    /// Takes an announce from this address and visits the peers that the asker is told about. `peers_max` bounds
    /// them further, for a front end whose replies have less room.
    ///
    /// # Errors
    /// When the request makes no sense; then nothing changed.
    pub fn announce(
        &mut self,
        now: Time,
        from: IpAddr,
        request: &AnnounceRequest,
        peers_max: u32,
        mut visit: impl FnMut(SocketAddr),
    ) -> Result<Announced, Refusal> {
        let held = self.held();
        let room = Room {
            torrents: self.config.torrents_max.saturating_sub(held.torrents()),
            peers: self.config.peers_max.saturating_sub(held.peers()),
        };
        let admission = Admission { room, new_torrent: &|| true };
        self.announce_within(admission, now, from, request, peers_max, |peer| {
            if let Some(peer) = socket_addr(peer) {
                visit(peer);
            }
        })
    }

    /// Like [`announce`](Self::announce), with what may be added as the caller decides it, and peers as compact
    /// entries of the asker's address family.
    ///
    /// # Errors
    /// When the request makes no sense; then nothing changed.
    pub fn announce_within(
        &mut self,
        admission: Admission<'_>,
        now: Time,
        from: IpAddr,
        request: &AnnounceRequest,
        peers_max: u32,
        mut visit: impl FnMut(&[u8]),
    ) -> Result<Announced, Refusal> {
        if request.port == 0 {
            return Err(Refusal::PortZero);
        }
        let wanted = request.numwant.unwrap_or(self.config.numwant_default);
        let wanted = wanted.min(self.config.numwant_max).min(peers_max);
        let step = Step {
            request,
            wanted: wanted as usize,
            now_s: seconds(now),
            admission,
            swarm_peers_max: self.config.swarm_peers_max,
        };
        let (shares, rng) = (&self.shares, &mut self.rng);
        Ok(match Either::from(SocketAddr::new(from, request.port)) {
            Either::V4(asker) => step.take(&mut self.v4, shares, rng, asker, |peer| visit(peer.bytes())),
            Either::V6(asker) => step.take(&mut self.v6, shares, rng, asker, |peer| visit(peer.bytes())),
        })
    }

    /// Has memory fetched that an announce for the torrent of this key (the hash of its info-hash) will need. Nothing
    /// waits for it: who does so for many announces first, stage by stage, finds all in the cache later.
    pub fn fetch(&self, stage: Stage, family: Family, key: u64) {
        match family {
            Family::V4 => self.v4.fetch(stage, key),
            Family::V6 => self.v6.fetch(stage, key),
        }
    }

    /// The numbers of a torrent among peers of one address family; zeros if it is unknown.
    pub fn scrape(&self, family: Family, info_hash: &SwarmHash) -> ScrapeEntry {
        match family {
            Family::V4 => scrape(&self.v4, &self.shares, info_hash),
            Family::V6 => scrape(&self.v6, &self.shares, info_hash),
        }
    }

    /// Looks at up to `budget` peers, going on where the last call stopped, and forgets those whose lifetime is
    /// over. Returns how many it forgot.
    pub fn expire(&mut self, now: Time, budget: usize) -> usize {
        let lifetime_s = u32::try_from(self.config.peer_lifetime.as_secs()).unwrap_or(u32::MAX);
        let Some(oldest_s) = seconds(now).checked_sub(lifetime_s) else { return 0 };
        self.v4.expire(&self.shares, oldest_s, budget.div_ceil(2))
            + self.v6.expire(&self.shares, oldest_s, budget / 2)
    }

    /// Appends everything that is held as [`Record`]s.
    pub fn dump(&self, now: Time, out: &mut Vec<u8>) {
        dump::write(&self.v4, seconds(now), out);
        dump::write(&self.v6, seconds(now), out);
    }

    /// Takes the peers of a record that was written `away` ago, as far as there is room and their lifetime is not
    /// over.
    pub fn restore(&mut self, room: Room, now: Time, away: Duration, record: &Record<'_>) {
        if room.torrents == 0 {
            return;
        }
        let whole = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let times = (seconds(now), whole(away), whole(self.config.peer_lifetime));
        let room = room.peers.min(self.config.swarm_peers_max);
        record.restore(&mut self.v4, &self.shares, times, room);
        record.restore(&mut self.v6, &self.shares, times, room);
    }

    /// What is held now.
    pub fn held(&self) -> Held {
        let (v4, v6) = (self.v4.counts(), self.v6.counts());
        Held {
            torrents_v4: self.v4.torrents(),
            torrents_v6: self.v6.torrents(),
            peers_v4: v4.peers,
            peers_v6: v6.peers,
            seeders: v4.seeders + v6.seeders,
        }
    }
}

/// What may still be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Torrents, counted once per address family.
    pub torrents: usize,
    /// Peers of both families.
    pub peers: usize,
}

/// What an announce may add.
#[derive(Clone, Copy)]
pub struct Admission<'a> {
    /// What there is room for.
    pub room: Room,
    /// Whether the asker may bring in one more torrent; asked only when it is about to.
    pub new_torrent: &'a dyn Fn() -> bool,
}

/// One announce, whatever the family.
struct Step<'a> {
    request: &'a AnnounceRequest,
    wanted: usize,
    now_s: u32,
    admission: Admission<'a>,
    swarm_peers_max: usize,
}

impl Step<'_> {
    fn take<A: Address>(
        &self,
        swarms: &mut Swarms<A>,
        shares: &Shares,
        rng: &mut Rng,
        asker: A,
        visit: impl FnMut(A),
    ) -> Announced {
        let info_hash = self.request.info_hash;
        let key = shares.hasher.hash_one(info_hash);
        let room = self.admission.room;
        let stopped = self.request.event == AnnounceEvent::Stopped;
        let seeds = self.request.left == 0;
        let torrent = match swarms.find(key, &info_hash) {
            Some(torrent) => torrent,
            None if stopped => return Announced { scrape: ScrapeEntry::default(), remembered: true },
            None if room.torrents > 0
                && room.peers > 0
                && self.swarm_peers_max > 0
                && (self.admission.new_torrent)() =>
            {
                swarms.add(key, info_hash)
            }
            None => return Announced { scrape: ScrapeEntry::default(), remembered: false },
        };
        swarms.change(shares, torrent, |swarm| {
            let known = swarm.find(shares, asker);
            if stopped {
                if let Some(at) = known {
                    swarm.remove(shares, at);
                }
                // Who leaves needs no peers.
                return Announced { scrape: entry(swarm), remembered: true };
            }
            let has_room = || room.peers > 0 && swarm.len() < self.swarm_peers_max;
            let remembered = known.is_some() || (has_room() && swarm.has_share_left(shares, asker));
            let mut at = None;
            if remembered {
                let (change, position) = swarm.upsert(shares, known, asker, seeds, self.now_s);
                // Only a leecher that was seen downloading can finish, and only once: the count is not for sale.
                if change == (Change::Refreshed { was_seeder: false })
                    && seeds
                    && self.request.event == AnnounceEvent::Completed
                {
                    swarm.count_completed();
                }
                at = Some(position);
            }
            swarm.choose(rng, at, seeds, self.wanted, visit);
            Announced { scrape: entry(swarm), remembered }
        })
    }
}

fn scrape<A: Address>(swarms: &Swarms<A>, shares: &Shares, info_hash: &SwarmHash) -> ScrapeEntry {
    swarms
        .find(shares.hasher.hash_one(info_hash), info_hash)
        .map(|torrent| entry(swarms.swarm(torrent)))
        .unwrap_or_default()
}

fn entry<A: Address>(swarm: &swarm::Swarm<A>) -> ScrapeEntry {
    ScrapeEntry { complete: swarm.seeders(), downloaded: swarm.completed(), incomplete: swarm.leechers() }
}

/// Whole seconds; 32 bits of them are 136 years.
fn seconds(time: Time) -> u32 {
    u32::try_from(time.micros() / 1_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
