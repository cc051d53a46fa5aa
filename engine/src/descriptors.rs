//! One budget of file descriptors for the whole engine, made from the limit of the process.
//!
//! What needs few of them and must always work comes first: rings and listeners, the resume store, the RPC, trackers.
//! Files and directories of torrents are caches that close what was not used lately. Peers get the rest. When there is
//! no descriptor all the same, whoever needs one waits and tries again: that is never the end of a torrent or a listener.

use crate::limits::{DIALS_MAX, MAKING_ROOM_MAX};
use std::io;

/// Descriptors without which an engine is of no use.
pub const LIMIT_MIN: u64 = 256;

/// Standard streams, the resume store, the control thread, listeners of the RPC: 24 of one engine, and what is open for
/// a moment (a folder that is walked, a file that is fetched or listed).
const ENGINE: usize = 40;
/// Rings, eventfds and listeners of a shard: nine with two listeners.
const SHARD: usize = 12;
/// Of the limit, one part of so many is for the RPC, and as many for trackers.
const SERVICE_PART: usize = 8;
/// Most descriptors of the RPC, and of trackers.
const SERVICE_MAX: usize = 256;
/// Of what is left, one part of so many is for files and directories.
const FILES_PART: usize = 4;
/// Most descriptors of files and directories: a file that is being served is mapped and needs none.
const FILES_MAX: usize = 512;
/// Of what is left then, one part of so many is for dials and for connections that make room for others.
const PASSING_PART: usize = 8;
/// Limit below which connections are accepted one by one: many at once would take the descriptors of everything else
/// before they can be counted.
const FEW: u64 = 8192;

/// How many descriptors each part of an engine may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// Shards for which there are enough.
    pub shards: usize,
    /// Connections of the RPC.
    pub rpc: usize,
    /// Sockets to trackers.
    pub trackers: usize,
    /// Files and directories of torrents.
    pub files: usize,
    /// Dials in flight on one shard.
    pub dials: usize,
    /// Connections over their limit while the kernel is not done with those that made room.
    pub making_room: usize,
    /// Connections with peers.
    pub peers: usize,
    /// So few that connections are accepted one by one.
    pub are_few: bool,
}

impl Descriptors {
    /// Shares out `limit` descriptors, of which [`LIMIT_MIN`] are there, for an engine of so many shards.
    #[must_use]
    pub fn share(limit: u64, shards: usize) -> Self {
        let all = usize::try_from(limit).unwrap_or(usize::MAX).min(1 << 30);
        // A quarter of all at most: shards without peers and files are of no use.
        let shards = shards.min(all / 4 / SHARD).max(1);
        let left = all.saturating_sub(ENGINE + shards * SHARD);
        let service = (all / SERVICE_PART).min(SERVICE_MAX);
        let left = left.saturating_sub(2 * service);
        let files = (left / FILES_PART).clamp(16, FILES_MAX);
        let left = left.saturating_sub(files);
        let passing = (left / PASSING_PART).max(2 * shards);
        let dials = (passing / 2 / shards).clamp(1, DIALS_MAX);
        let making_room = (passing / 2).min(MAKING_ROOM_MAX);
        let peers = left.saturating_sub(passing).max(16);
        Self {
            shards,
            rpc: service,
            trackers: service,
            files,
            dials,
            making_room,
            peers,
            are_few: limit < FEW,
        }
    }
}

/// Whether an operation failed because there was no descriptor, of the process or of the system.
#[must_use]
pub fn are_used_up(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CONNECTIONS_MAX;

    /// All that may be open at once.
    fn sum(shares: &Descriptors) -> usize {
        let passing = shares.shards * shares.dials + shares.making_room;
        ENGINE + shares.shards * SHARD + shares.rpc + shares.trackers + shares.files + shares.peers + passing
    }

    #[test]
    fn the_shares_never_exceed_the_limit_and_everybody_gets_one() {
        for limit in [256, 300, 512, 1024, 4096, 20_000, 1 << 20, u64::MAX] {
            for shards in [1, 2, 4, 8, 64, 1024] {
                let shares = Descriptors::share(limit, shards);
                assert!(sum(&shares) as u64 <= limit, "{limit} for {shards} shards: {shares:?}");
                assert!(shares.shards >= 1 && shares.shards <= shards);
                assert!(shares.rpc >= 32 && shares.trackers >= 32 && shares.files >= 16, "{shares:?}");
                assert!(shares.peers >= 40 && shares.dials >= 1, "{limit} for {shards} shards: {shares:?}");
            }
        }
    }

    #[test]
    fn a_usual_limit_leaves_all_cores_and_connections() {
        let shares = Descriptors::share(1 << 20, 16);
        assert_eq!((shares.shards, shares.dials), (16, DIALS_MAX));
        assert!(shares.peers > CONNECTIONS_MAX && !shares.are_few);
        assert!(Descriptors::share(1024, 2).peers > 400);
    }
}
