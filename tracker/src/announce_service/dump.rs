//! Swarms as bytes, to outlive a restart.
//!
//! A record is one torrent in one address family: the info-hash, the family (4 or 6), finished downloads (u32), the
//! number of peers (u32), then for each peer its compact address, 1 for a seeder or 0, and the seconds since it
//! announced (u32). All numbers are big-endian.

use std::hash::BuildHasher;

use ringseed_proto::hashes::SwarmHash;

use super::address::{Address, V4, V6};
use super::shares::Shares;
use super::swarms::Swarms;

const HEAD: usize = 20 + 1 + 4 + 4;

/// Bytes that are no dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no dump of swarms")]
pub struct DumpError;

/// An address that a dump may have.
pub(super) trait Stored: Address {
    /// 4 or 6.
    const FAMILY: u8;
    /// Length of the compact form.
    const LEN: usize;

    /// From its compact form of [`Stored::LEN`] bytes.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl Stored for V4 {
    const FAMILY: u8 = 4;
    const LEN: usize = 6;

    fn from_bytes(bytes: &[u8]) -> Option<V4> {
        bytes.try_into().ok().map(V4)
    }
}

impl Stored for V6 {
    const FAMILY: u8 = 6;
    const LEN: usize = 18;

    fn from_bytes(bytes: &[u8]) -> Option<V6> {
        bytes.try_into().ok().map(V6)
    }
}

/// Appends all torrents of one family.
pub(super) fn write<A: Stored>(swarms: &Swarms<A>, now_s: u32, out: &mut Vec<u8>) {
    for torrent in swarms.iter() {
        out.extend_from_slice(&torrent.info_hash.0);
        out.push(A::FAMILY);
        out.extend_from_slice(&torrent.swarm.completed().to_be_bytes());
        out.extend_from_slice(&(torrent.swarm.len() as u32).to_be_bytes());
        for (address, seeder, seen_s) in torrent.swarm.peers() {
            out.extend_from_slice(address.bytes());
            out.push(u8::from(seeder));
            out.extend_from_slice(&now_s.saturating_sub(seen_s).to_be_bytes());
        }
    }
}

/// One record, read from the front of a dump.
pub struct Record<'a> {
    /// Which torrent.
    pub info_hash: SwarmHash,
    family: u8,
    completed: u32,
    peers: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes the first record off the front.
    ///
    /// # Errors
    /// When the bytes do not begin with one; `bytes` is as it was.
    pub fn read(bytes: &mut &'a [u8]) -> Result<Record<'a>, DumpError> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(DumpError)?;
        let info_hash = SwarmHash(*head.first_chunk::<20>().ok_or(DumpError)?);
        let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let family = head[20];
        let len = match family {
            V4::FAMILY => V4::LEN + 5,
            V6::FAMILY => V6::LEN + 5,
            _ => return Err(DumpError),
        };
        let len = len.checked_mul(number(25) as usize).ok_or(DumpError)?;
        let (peers, rest) = rest.split_at_checked(len).ok_or(DumpError)?;
        *bytes = rest;
        Ok(Record { info_hash, family, completed: number(21), peers })
    }

    /// Puts the peers of a record that is of this family into the swarms, except those that are older than
    /// `lifetime_s` when `away_s` seconds are added to their age.
    pub(super) fn restore<A: Stored>(
        &self,
        swarms: &mut Swarms<A>,
        shares: &Shares,
        (now_s, away_s, lifetime_s): (u32, u32, u32),
        mut room: usize,
    ) {
        if self.family != A::FAMILY {
            return;
        }
        let key = shares.hasher.hash_one(self.info_hash);
        for peer in self.peers.chunks_exact(A::LEN + 5) {
            let (address, rest) = peer.split_at(A::LEN);
            let (&[seeder], age) = rest.split_first_chunk::<1>().unwrap_or((&[0], &[]));
            let age_s = age.try_into().map_or(u32::MAX, u32::from_be_bytes).saturating_add(away_s);
            // Nobody can connect to port 0.
            let Some(address) = A::from_bytes(address).filter(|_| !address.ends_with(&[0, 0])) else {
                continue;
            };
            // Counts from before the clock's start cannot be told.
            let Some(seen_s) = now_s.checked_sub(age_s).filter(|_| age_s <= lifetime_s && room > 0) else {
                continue;
            };
            let torrent = match swarms.find(key, &self.info_hash) {
                Some(torrent) => torrent,
                None => swarms.add(key, self.info_hash),
            };
            swarms.change(shares, torrent, |swarm| {
                let known = swarm.find(shares, address);
                // The share of a client may have been larger when this was written.
                if known.is_none() && !swarm.has_share_left(shares, address) {
                    return;
                }
                swarm.upsert(shares, known, address, seeder == 1, seen_s);
                swarm.restore_completed(self.completed);
            });
            room -= 1;
        }
    }
}
