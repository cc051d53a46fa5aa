//! Budgets that all shards share: byte counts, and a clock that decides which map or descriptor goes next.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A count of bytes with a limit.
#[derive(Debug)]
pub struct Bytes {
    used: AtomicU64,
    max: u64,
}

impl Bytes {
    pub(super) fn new(max: u64) -> Arc<Bytes> {
        Arc::new(Bytes { used: AtomicU64::new(0), max })
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Whether the limit is reached: cause no more until it is not.
    pub fn over_budget(&self) -> bool {
        self.used() >= self.max
    }

    /// Whether half of the limit is used: a good moment to start giving back.
    pub fn half_used(&self) -> bool {
        self.used() >= self.max / 2
    }

    /// Bytes up to the limit.
    pub fn available(&self) -> u64 {
        self.max.saturating_sub(self.used())
    }

    /// Takes `bytes` whether or not they fit.
    pub(super) fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back what was taken.
    pub(super) fn subtract(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "more was given back than taken");
    }

    /// Takes `bytes` if they fit. Something larger than the whole budget fits when nothing else is in use,
    /// so that it is slow rather than impossible.
    pub(super) fn try_take(self: &Arc<Bytes>, bytes: u64) -> Option<Permit> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let sum = used.checked_add(bytes)?;
                (sum <= self.max || used == 0).then_some(sum)
            })
            .ok()
            .map(|_| Permit { budget: Arc::clone(self), bytes })
    }
}

/// Bytes taken from a budget; given back on drop.
#[derive(Debug)]
pub(super) struct Permit {
    budget: Arc<Bytes>,
    bytes: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.subtract(self.bytes);
    }
}

/// What the clock may take back. Implemented by one file of a store.
pub(super) trait Evictable: Send + Sync {
    /// Whether it was used since the last call.
    fn take_used(&self) -> bool;
    /// Lets go of the map or descriptor. False when it cannot be spared now.
    fn evict(&self) -> bool;
    /// Whether there is nothing left to evict.
    fn is_gone(&self) -> bool;
}

/// A bounded number of maps or descriptors. Evicts by second chance: what was used since the hand last
/// passed stays for another round.
pub(super) struct Leases {
    count: Arc<AtomicUsize>,
    bytes: Arc<AtomicU64>,
    count_max: usize,
    bytes_max: u64,
    hand: Mutex<VecDeque<Box<dyn Evictable>>>,
}

/// One map or descriptor counted in a budget, until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    count: Arc<AtomicUsize>,
    total: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Leases {
    pub(super) fn new(count_max: usize, bytes_max: u64) -> Leases {
        Leases {
            count: Arc::default(),
            bytes: Arc::default(),
            count_max: count_max.max(1),
            bytes_max,
            hand: Mutex::default(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn full_for(&self, bytes: u64) -> bool {
        self.count() >= self.count_max || self.bytes().saturating_add(bytes) > self.bytes_max
    }

    /// Counts one more of `bytes` bytes, after evicting others if that is needed. The budget is exceeded
    /// only by what cannot be spared: files with unsynced data, and maps that a send still holds (those
    /// are bounded by the sends in flight).
    pub(super) fn lease(&self, bytes: u64) -> Lease {
        let mut hand = self.lock();
        self.make_room(&mut hand, bytes);
        self.count_one(bytes)
    }

    /// As [`Leases::lease`], but never exceeds the budget, except that something larger than all of it is
    /// let in alone.
    pub(super) fn try_lease(&self, bytes: u64) -> Option<Lease> {
        let mut hand = self.lock();
        self.make_room(&mut hand, bytes);
        (!self.full_for(bytes) || self.count() == 0).then(|| self.count_one(bytes))
    }

    fn make_room(&self, hand: &mut VecDeque<Box<dyn Evictable>>, bytes: u64) {
        // Twice round: the first pass may only clear marks.
        let mut turns = hand.len().saturating_mul(2);
        while self.full_for(bytes) && turns > 0 {
            turns -= 1;
            let Some(entry) = hand.pop_front() else { break };
            if entry.is_gone() {
                continue;
            }
            if entry.take_used() || !entry.evict() {
                hand.push_back(entry);
            }
        }
        // Entries whose owner let go by itself must not pile up.
        if hand.len() > self.count().saturating_mul(2).saturating_add(64) {
            hand.retain(|entry| !entry.is_gone());
        }
    }

    /// Only called under the lock, so that what `full_for` said still holds.
    fn count_one(&self, bytes: u64) -> Lease {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Lease { count: Arc::clone(&self.count), total: Arc::clone(&self.bytes), bytes }
    }

    /// Puts something that was leased under the hand.
    pub(super) fn register(&self, entry: Box<dyn Evictable>) {
        self.lock().push_back(entry);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Box<dyn Evictable>>> {
        // Every change of the queue is complete before anything can panic.
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leases")
            .field("count", &self.count())
            .field("bytes", &self.bytes())
            .field("count_max", &self.count_max)
            .finish_non_exhaustive()
    }
}
