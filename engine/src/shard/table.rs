//! A map by hashes that one thread changes and all shards read without a lock.

use arc_swap::ArcSwap;
use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::mse::LookupHash;
use std::sync::Arc;

/// Parts of the map: with 100,000 torrents a change copies the hundred of one part.
const PARTS: usize = 1024;

/// The entries whose hashes end alike, sorted by them.
type Part<K, V> = Vec<(K, V)>;

/// A map in parts, each of which is replaced as a whole.
pub(super) struct Table<K, V> {
    parts: Box<[ArcSwap<Part<K, V>>]>,
}

/// What such a map can be by.
pub(super) trait Key: Copy + Ord {
    /// The last two bytes. Not the first, by which the home shard is found: with one of those in common there would be few.
    fn tail(&self) -> u16;
}

impl Key for SwarmHash {
    fn tail(&self) -> u16 {
        u16::from_be_bytes([self.0[18], self.0[19]])
    }
}

impl Key for LookupHash {
    fn tail(&self) -> u16 {
        u16::from_be_bytes([self.0[18], self.0[19]])
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        let empty = Arc::new(Part::new());
        Self { parts: (0..PARTS).map(|_| ArcSwap::new(empty.clone())).collect() }
    }
}

impl<K: Key, V: Clone> Table<K, V> {
    fn part_of(&self, key: &K) -> &ArcSwap<Part<K, V>> {
        &self.parts[usize::from(key.tail()) % PARTS]
    }

    /// What is there for a key.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        let part = self.part_of(key).load();
        let place = part.binary_search_by_key(key, |(key, _)| *key).ok()?;
        Some(part[place].1.clone())
    }

    /// Adds an entry, or puts it in the place of the one with its key.
    pub(super) fn insert(&self, key: K, value: V) {
        self.change(&key, |part| match part.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(place) => part[place].1 = value,
            Err(place) => part.insert(place, (key, value)),
        });
    }

    /// Removes an entry.
    pub(super) fn remove(&self, key: &K) {
        self.change(key, |part| part.retain(|(other, _)| other != key));
    }

    fn change(&self, key: &K, change: impl FnOnce(&mut Part<K, V>)) {
        let place = self.part_of(key);
        let old = place.load_full();
        let mut part = Part::with_capacity(old.len() + 1);
        part.extend_from_slice(&old);
        change(&mut part);
        place.store(Arc::new(part));
    }
}
