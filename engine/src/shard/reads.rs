//! Reads from disk for peers whose next block is not in memory.
//!
//! A peer waits for one part only, that of its next block; what it asks for after that is read meanwhile as long as
//! nobody else waits for a read. Parts that several peers want are read once. Reads in flight are bounded; over
//! that, parts are read in the order in which they were first asked for. Peers whose blocks are in memory do not
//! notice any of this.

use super::Shard;
use super::local::LocalEvent;
use super::torrents::TorrentKey;
use crate::limits::{READ_AHEAD_REQUESTS, READ_BYTES_IN_FLIGHT_MAX, READS_IN_FLIGHT_MAX};
use ringseed_proto::swarm::PeerKey;
use ringseed_proto::units::Block;
use ringseed_storage::{OwnBlock, Residency, StorageError};
use std::collections::VecDeque;
use std::sync::Arc;

/// Requests in a row from which a peer counts as reading one block after the other. Real clients do, within a
/// piece; whoever does not would have most of a chunk read in vain.
const SEQUENCE: usize = 4;

/// The page cache does not pay when more than one of so many blocks had to be read by itself.
const MISSES: u64 = 4;

/// Blocks between two looks from which they say something.
const BLOCKS_MIN: u64 = 64;

/// One of so many single blocks goes through the page cache all the same: when what peers want fits there after all, it
/// is there after a while.
const THROUGH_CACHE: u64 = 8;

/// Parts that are begun for a peer at a time: to ask the kernel about each costs some microseconds.
const PARTS_AHEAD_MAX: usize = 8;

/// Reads of a shard.
#[derive(Debug, Default)]
pub(super) struct Reads {
    in_flight: usize,
    bytes_in_flight: u64,
    /// Parts to be read when others are done; at most one for each peer, that of its next block.
    waiting: VecDeque<(TorrentKey, Block)>,
    /// Major faults of the thread at the last look.
    major_faults: u64,
    /// Single blocks that were not in memory, ever.
    singles: u64,
    /// These, and all blocks that were sent, at the last look.
    looked_at: (u64, u64),
    /// Single blocks are read past the page cache.
    past_cache: bool,
}

impl Reads {
    /// Whether one more may begin now.
    fn is_open(&self) -> bool {
        self.in_flight < READS_IN_FLIGHT_MAX && self.bytes_in_flight < READ_BYTES_IN_FLIGHT_MAX
    }

    /// Reads that were begun, and parts that wait for them.
    pub(super) fn depths(&self) -> (usize, usize) {
        (self.in_flight, self.waiting.len())
    }

    fn has_room(&self) -> bool {
        self.is_open() && self.waiting.is_empty()
    }

    /// Whether the disk has so much to do that looking ahead does not pay.
    fn is_busy(&self) -> bool {
        self.in_flight * 2 > READS_IN_FLIGHT_MAX || self.bytes_in_flight * 2 > READ_BYTES_IN_FLIGHT_MAX
    }
}

impl Shard {
    /// The next block of a peer is not in memory: it is read in, and the peer waits for it.
    pub(super) fn bring_in(&mut self, key: TorrentKey, next: &Block, peer: PeerKey) {
        let torrent = &mut self.torrents[key];
        let store = &torrent.entry.store;
        let under_way = [store.extent(next, true), *next].into_iter().find_map(|part| {
            let waiting = torrent.cold.get_mut(&part)?;
            // A peer comes here again with each request that it sends meanwhile.
            if !waiting.contains(&peer) {
                waiting.push(peer);
            }
            Some(())
        });
        // Looking ahead again while the next block is on its way only pays when the disk has little to do.
        if under_way.is_some() && self.reads.is_busy() {
            return;
        }
        let mut parts = Vec::with_capacity(PARTS_AHEAD_MAX);
        let requests: Vec<Block> = torrent.swarm.upcoming(peer).take(READ_AHEAD_REQUESTS).copied().collect();
        'ahead: for run in
            requests.chunk_by(|one, other| one.piece == other.piece && one.end() == u64::from(other.begin))
        {
            for block in run {
                let part = store.extent(block, run.len() >= SEQUENCE);
                let is_known = parts.contains(&part)
                    || torrent.cold.contains_key(&part)
                    || torrent.cold.contains_key(&store.extent(block, true))
                    || torrent.cold.contains_key(block);
                if is_known
                    || self.staged.has(key, block, self.now)
                    || store.residency(block) == Residency::Resident
                {
                    continue;
                }
                parts.push(part);
                if parts.len() == PARTS_AHEAD_MAX {
                    break 'ahead;
                }
            }
        }
        let mut waits = under_way.is_some();
        for part in parts {
            let is_next = !waits
                && part.piece == next.piece
                && (u64::from(part.begin)..part.end()).contains(&u64::from(next.begin));
            let has_room = self.reads.has_room();
            if !is_next && !has_room {
                break;
            }
            self.torrents[key].cold.insert(part, if is_next { vec![peer] } else { Vec::new() });
            waits |= is_next;
            if has_room {
                self.start_read(key, part);
            } else {
                self.counters.read_waits += 1;
                self.reads.waiting.push_back((key, part));
            }
        }
        if !waits {
            // It came in since the peer was told that it is not there.
            self.torrents[key].swarm.mark_ready(peer);
            self.touch(key);
        }
    }

    fn start_read(&mut self, key: TorrentKey, part: Block) {
        self.reads.in_flight += 1;
        self.reads.bytes_in_flight += u64::from(part.length);
        self.counters.cold_pieces += 1;
        let (store, ring) = (self.torrents[key].entry.store.clone(), self.ring.clone());
        let single = store.extent(&part, true) != part;
        self.reads.singles += u64::from(single);
        let past_cache = single && self.reads.past_cache && !self.reads.singles.is_multiple_of(THROUGH_CACHE);
        self.local.spawn(async move {
            let read = match past_cache {
                true => store.read_past_cache(&ring, &part).await,
                false => Ok(None),
            };
            let result = match read {
                Ok(None) => store.bring_in(&ring, &part).await.map(|()| None),
                other => other,
            };
            LocalEvent::BroughtIn { torrent: key, part, result }
        });
    }

    /// Decides whether single blocks are read past the page cache from now on: when memory is full and it has few of
    /// the blocks that peers want. To be called some times a second.
    pub(super) fn watch_cache(&mut self) {
        let now = (self.reads.singles, self.counters.blocks_sent);
        let singles = now.0 - self.reads.looked_at.0;
        let sent = now.1 - self.reads.looked_at.1;
        if singles.max(sent) < BLOCKS_MIN {
            return;
        }
        self.reads.looked_at = now;
        let misses = singles * MISSES > sent;
        let Some((_, torrent)) = self.torrents.iter().next() else { return };
        self.reads.past_cache = misses && torrent.entry.store.limits().cache_room().is_full();
    }

    /// A read has ended: the next begins, and peers that waited for this one go on.
    pub(super) fn brought_in(
        &mut self,
        key: TorrentKey,
        part: Block,
        result: Result<Option<Arc<OwnBlock>>, StorageError>,
    ) {
        self.reads.in_flight -= 1;
        self.reads.bytes_in_flight -= u64::from(part.length);
        while self.reads.is_open()
            && let Some((key, part)) = self.reads.waiting.pop_front()
        {
            if self.torrents.get(key).is_some_and(|torrent| torrent.cold.contains_key(&part)) {
                self.start_read(key, part);
            }
        }
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let waiting = torrent.cold.remove(&part).unwrap_or_default();
        match result {
            Ok(None) => {}
            Ok(Some(block)) => self.staged.put(key, part, block, waiting.len(), self.now),
            Err(error) if error.is_shortage() => {
                // What is lacking comes back; the peers do, too.
                let open = waiting.iter().filter_map(|peer| torrent.peers.get(*peer).copied());
                for connection in open.collect::<Vec<_>>() {
                    self.refuse(connection, &error.to_string());
                }
                return;
            }
            Err(error) => return self.fail_torrent(key, error),
        }
        if !waiting.is_empty() {
            for peer in waiting {
                torrent.swarm.mark_ready(peer);
            }
            self.touch(key);
        }
    }

    /// Looks whether this thread waited for a disk in a page fault: pages that were believed to be in memory are
    /// not, so belief ends.
    pub(super) fn watch_faults(&mut self) {
        // SAFETY: an all-zero rusage is valid, and the call fills it for the calling thread.
        let faults = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            match libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) {
                0 => usage.ru_majflt as u64,
                _ => return,
            }
        };
        let new = faults.saturating_sub(std::mem::replace(&mut self.reads.major_faults, faults));
        self.counters.major_faults += new;
        if let Some((_, torrent)) = self.torrents.iter().next() {
            torrent.entry.store.limits().residency().major_faults(new);
        }
    }
}
