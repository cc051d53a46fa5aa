//! Checks of a torrent's files: all shards hash ranges of its pieces until none is left.

use super::Shard;
use super::local::LocalEvent;
use super::message::{CheckError, FromShard};
use super::registry::TorrentEntry;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::{PieceRanges, StorageError};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Checks that a shard works on at once, so that a slow disk does not hold up all others; each holds up to 8 MiB.
const CHECKS_MAX: usize = 4;

/// A check of one torrent, shared by all shards.
pub struct Check {
    /// The torrent, which is stopped.
    pub torrent: Arc<TorrentEntry>,
    ranges: PieceRanges,
    done: AtomicU32,
    cancelled: AtomicBool,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Check({}, {} pieces done)", self.torrent.id(), self.done())
    }
}

impl Check {
    /// A check that nobody has begun.
    pub fn new(torrent: Arc<TorrentEntry>) -> Arc<Check> {
        let ranges = PieceRanges::new(&torrent.content.info.layout);
        Arc::new(Check { torrent, ranges, done: AtomicU32::new(0), cancelled: AtomicBool::new(false) })
    }

    /// Pieces hashed by all shards.
    pub fn done(&self) -> u32 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends it early; what shards still report of it means nothing.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn claim(&self) -> Option<Range<u32>> {
        self.ranges.claim().filter(|_| !self.is_cancelled())
    }
}

/// The checks of one shard.
#[derive(Default)]
pub struct Checks {
    running: Vec<Arc<Check>>,
    /// In the order in which they came, which is the same on all shards.
    waiting: VecDeque<Arc<Check>>,
}

impl Checks {
    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// How many pieces are hashed of each torrent that is being checked here.
    pub fn progress(&self) -> Vec<(TorrentId, u32)> {
        self.running.iter().map(|check| (check.torrent.id(), check.done())).collect()
    }

    /// Ends the checks for which `which` holds.
    pub fn cancel(&self, which: impl Fn(&TorrentEntry) -> bool) {
        for check in self.running.iter().chain(&self.waiting).filter(|check| which(&check.torrent)) {
            check.cancel();
        }
    }
}

impl Shard {
    /// Takes part in a check as soon as there is room for one more.
    pub(super) fn join_check(&mut self, check: Arc<Check>) {
        if !check.torrent.content.info.has_hashes() {
            let result = Err(CheckError::NoHashes);
            return self.report(FromShard::Checked { check, result });
        }
        self.checks.waiting.push_back(check);
        self.begin_checks();
    }

    fn begin_checks(&mut self) {
        while self.checks.running.len() < CHECKS_MAX
            && let Some(check) = self.checks.waiting.pop_front()
        {
            self.checks.running.push(check.clone());
            let ring = self.ring.clone();
            self.local.spawn(async move {
                let mut have = Bitfield::new(check.torrent.content.info.layout.piece_count());
                let work = check.torrent.store.verify(
                    &ring,
                    || check.claim(),
                    |piece, good| {
                        if good {
                            have.set(piece.0);
                        }
                        check.done.fetch_add(1, Ordering::Relaxed);
                    },
                    || check.is_cancelled(),
                );
                let result = work.await.and_then(|verified| match verified.unreadable {
                    // What is not there is fetched; what is there and cannot be read is for the user to mend.
                    Some(error) => Err(error),
                    None => Ok(have),
                });
                LocalEvent::Checked { check, result }
            });
        }
    }

    /// This shard has no more to do for a check.
    pub(super) fn checked(&mut self, check: &Arc<Check>, result: Result<Bitfield, StorageError>) {
        self.checks.running.retain(|running| !Arc::ptr_eq(running, check));
        let result = result.map_err(CheckError::from);
        self.report(FromShard::Checked { check: check.clone(), result });
        self.begin_checks();
    }
}
