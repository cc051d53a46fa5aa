//! What one client may take of a swarm: so many ports. A client is an IPv4 address, or the /64 of an IPv6 one, for
//! whoever has one address of a /64 has them all.
//!
//! A peer is found in a large swarm by the hash of its client, so that the ports of one client are found together and
//! counting them takes no memory. As a client has few of them, the entries of one hash are few as well.

use std::hash::BuildHasher;
use std::hash::RandomState;

use super::address::Address;
use crate::proxies::Network;

/// The shares of clients in swarms, and the hashes by which torrents and peers are found.
pub(super) struct Shares<H = RandomState> {
    /// Keyed by the operating system's randomness: nobody can aim at one bucket.
    pub(super) hasher: H,
    ports_max: usize,
    exempt: Box<[Network]>,
}

impl<H: BuildHasher> Shares<H> {
    /// At most `ports_max` ports of one client in a swarm; 0 is no bound, and there is none for clients in `exempt`.
    pub(super) fn new(hasher: H, ports_max: usize, exempt: &[Network]) -> Shares<H> {
        Shares { hasher, ports_max, exempt: exempt.into() }
    }

    /// How many ports the client of this address may have in one swarm; `None` is any number.
    pub(super) fn ports_max<A: Address>(&self, address: &A) -> Option<usize> {
        let limited = self.ports_max > 0 && !self.exempt.iter().any(|network| network.contains(address.ip()));
        limited.then_some(self.ports_max)
    }

    /// The hash by which a peer is found.
    pub(super) fn key<A: Address>(&self, address: &A) -> u64 {
        match self.ports_max(address) {
            Some(_) => self.hasher.hash_one(address.client()),
            // Thousands of ports of one client would be one long chain.
            None => self.hasher.hash_one(address),
        }
    }
}
