//! Budgets that all shards share: byte counts, and a clock that decides which map or descriptor goes next.

use std::collections::{HashMap, VecDeque};
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

/// A budget of the same size for each device.
#[derive(Debug)]
pub(super) struct DeviceBudgets {
    bytes_max: u64,
    /// Looked at when a check of a torrent begins, never on the path of data.
    devices: Mutex<HashMap<u64, Arc<Bytes>>>,
}

impl DeviceBudgets {
    pub(super) fn new(bytes_max: u64) -> DeviceBudgets {
        DeviceBudgets { bytes_max, devices: Mutex::default() }
    }

    /// The budget of a device, by its number.
    pub(super) fn of(&self, device: u64) -> Arc<Bytes> {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(devices.entry(device).or_insert_with(|| Bytes::new(self.bytes_max)))
    }

    /// Bytes in use of all devices.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.values().map(|bytes| bytes.used()).sum()
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

/// How many of them [`Leases::evict_some`] evicts.
const EVICTED_AT_ONCE: usize = 8;

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

    /// Evicts some that were not used lately, because the system has no more to give; false when there are none.
    pub(super) fn evict_some(&self) -> bool {
        let mut hand = self.lock();
        let before = self.count();
        // Twice round: the first pass may only clear marks.
        for _ in 0..hand.len().saturating_mul(2) {
            if self.count() + EVICTED_AT_ONCE <= before {
                break;
            }
            let Some(entry) = hand.pop_front() else { break };
            if !entry.is_gone() && (entry.take_used() || !entry.evict()) {
                hand.push_back(entry);
            }
        }
        self.count() < before
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    /// Something leased: held until evicted, unless it is pinned.
    #[derive(Default)]
    struct Held {
        lease: Mutex<Option<Lease>>,
        used: AtomicBool,
        pinned: AtomicBool,
    }

    impl Evictable for Arc<Held> {
        fn take_used(&self) -> bool {
            self.used.swap(false, Ordering::Relaxed)
        }
        fn evict(&self) -> bool {
            let free = !self.pinned.load(Ordering::Relaxed);
            if free {
                *self.lease.lock().unwrap() = None;
            }
            free
        }
        fn is_gone(&self) -> bool {
            self.lease.lock().unwrap().is_none()
        }
    }

    fn hold(leases: &Leases, bytes: u64) -> Arc<Held> {
        let held = Arc::new(Held { lease: Mutex::new(Some(leases.lease(bytes))), ..Held::default() });
        leases.register(Box::new(Arc::clone(&held)));
        held
    }

    #[test]
    fn what_was_used_gets_a_second_chance() {
        let leases = Leases::new(3, u64::MAX);
        let held: Vec<_> = (0..3).map(|_| hold(&leases, 1)).collect();
        held[0].used.store(true, Ordering::Relaxed);
        held[2].used.store(true, Ordering::Relaxed);
        let newest = hold(&leases, 1);
        let gone: Vec<_> = held.iter().map(|held| held.is_gone()).collect();
        assert_eq!(gone, [false, true, false]);
        assert!(!newest.is_gone());
        assert_eq!((leases.count(), leases.bytes()), (3, 3));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let leases = Leases::new(100, 10);
        let held: Vec<_> = (0..4).map(|_| hold(&leases, 4)).collect();
        assert_eq!((leases.count(), leases.bytes()), (2, 8));
        assert!(held[0].is_gone() && held[1].is_gone());
    }

    #[test]
    fn only_what_cannot_be_spared_exceeds_the_budget() {
        let leases = Leases::new(2, u64::MAX);
        let held: Vec<_> = (0..2).map(|_| hold(&leases, 1)).collect();
        held.iter().for_each(|held| held.pinned.store(true, Ordering::Relaxed));
        assert!(leases.try_lease(1).is_none());
        let extra = leases.lease(1);
        assert_eq!(leases.count(), 3);
        drop(extra);
        held[1].pinned.store(false, Ordering::Relaxed);
        assert!(leases.try_lease(1).is_some());
        assert!(held[1].is_gone() && !held[0].is_gone());
    }

    #[test]
    fn the_queue_forgets_what_went_by_itself() {
        let leases = Leases::new(1_000_000, u64::MAX);
        for _ in 0..10_000 {
            *hold(&leases, 1).lease.lock().unwrap() = None;
        }
        assert!(leases.lock().len() <= 66);
        assert_eq!(leases.count(), 0);
    }

    #[test]
    fn permits_give_back_and_something_too_large_goes_alone() {
        let bytes = Bytes::new(10);
        let first = bytes.try_take(6).unwrap();
        assert!(bytes.try_take(5).is_none() && bytes.try_take(100).is_none());
        assert!(bytes.half_used() && !bytes.over_budget());
        drop(first);
        let large = bytes.try_take(100).unwrap();
        assert!(bytes.over_budget() && bytes.try_take(1).is_none());
        drop(large);
        assert_eq!(bytes.used(), 0);
    }
}
