//! The torrents of the engine, as every shard sees them when a handshake names one.
//!
//! The control thread replaces a part of the map when torrents come and go; shards read it without a lock. What
//! changes more often than the map (phase, totals, limits) are atomics inside an entry.

use super::rate::RateLimit;
use arc_swap::{ArcSwap, ArcSwapOption};
use ringseed_net::blocklist::Blocklist;
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::swarm::{Content, Priority};
use ringseed_proto::units::InfoHash;
use ringseed_storage::TorrentStore;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// What peers of a torrent may expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Paused, being checked, or failed: connections are refused.
    Stopped = 0,
    /// Its home shard downloads it: connections move there.
    Downloading = 1,
    /// Complete: every shard serves it.
    Seeding = 2,
}

/// One torrent, shared by all shards.
pub struct TorrentEntry {
    /// What the torrent is.
    pub metainfo: Arc<Metainfo>,
    /// What a swarm needs of it.
    pub content: Arc<Content>,
    /// Its files.
    pub store: Arc<TorrentStore>,
    /// The shard that downloads it and dials its peers.
    pub home: usize,
    phase: AtomicU8,
    /// Payload bytes sent since the engine started. An entry that takes the place of this one goes on counting here
    /// ([`TorrentEntry::in_place_of`]), as do the others.
    pub uploaded: Arc<AtomicU64>,
    /// Payload bytes received since the engine started.
    pub downloaded: Arc<AtomicU64>,
    /// Limit of sending in bytes per second.
    pub upload_limit: RateLimit,
    /// Limit of receiving in bytes per second.
    pub download_limit: RateLimit,
    /// Fetch pieces in order.
    pub sequential: AtomicBool,
    /// How much each file is wanted; `None` when all are as usual.
    pub priorities: ArcSwapOption<Vec<Priority>>,
    /// Connections of a download at most; 0 for the engine's setting.
    pub peers_max: AtomicUsize,
    /// Bytes missing of the files that are wanted.
    pub left: Arc<AtomicU64>,
    /// Bytes missing of the whole torrent, as trackers are told.
    pub missing: Arc<AtomicU64>,
    /// Open connections on all shards.
    pub connections: AtomicUsize,
}

impl TorrentEntry {
    /// A stopped torrent.
    pub fn new(metainfo: Arc<Metainfo>, store: Arc<TorrentStore>, home: usize) -> Self {
        let content =
            Arc::new(Content { info: metainfo.info.clone(), info_bytes: metainfo.info_bytes.clone() });
        Self {
            metainfo,
            content,
            store,
            home,
            phase: AtomicU8::new(Phase::Stopped as u8),
            uploaded: Arc::default(),
            downloaded: Arc::default(),
            upload_limit: RateLimit::new(None),
            download_limit: RateLimit::new(None),
            sequential: AtomicBool::new(false),
            priorities: ArcSwapOption::empty(),
            peers_max: AtomicUsize::new(0),
            left: Arc::default(),
            missing: Arc::default(),
            connections: AtomicUsize::new(0),
        }
    }

    /// This entry, with the counters of one that it takes the place of: what counts with them, such as the announces,
    /// goes on.
    pub fn in_place_of(mut self, other: &TorrentEntry) -> Self {
        self.uploaded = other.uploaded.clone();
        self.downloaded = other.downloaded.clone();
        self.left = other.left.clone();
        self.missing = other.missing.clone();
        self
    }

    /// Its info-hash.
    pub fn info_hash(&self) -> InfoHash {
        self.metainfo.info_hash
    }

    /// What peers may expect now.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            1 => Phase::Downloading,
            2 => Phase::Seeding,
            _ => Phase::Stopped,
        }
    }

    /// Changes what peers may expect.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }
}

/// Parts of the map: with 100,000 torrents a change copies the hundred of one part.
const PARTS: usize = 1024;

/// Torrents whose info-hashes begin alike, sorted by them.
type Part = Vec<Arc<TorrentEntry>>;

/// The map of torrents. Each part of it is replaced as a whole and read without a lock.
pub struct Registry {
    parts: Box<[ArcSwap<Part>]>,
    /// Addresses that are refused.
    pub blocklist: ArcSwapOption<Blocklist>,
}

impl Default for Registry {
    fn default() -> Self {
        let empty = Arc::new(Part::new());
        let parts = (0..PARTS).map(|_| ArcSwap::new(empty.clone())).collect();
        Self { parts, blocklist: ArcSwapOption::empty() }
    }
}

/// The part that has a torrent. Not by the bytes that its home shard is found by alone: those are few then.
fn part_of(info_hash: &InfoHash) -> usize {
    usize::from(u16::from_be_bytes([info_hash.0[18], info_hash.0[19]])) % PARTS
}

impl Registry {
    /// The torrent with this info-hash.
    pub fn get(&self, info_hash: &InfoHash) -> Option<Arc<TorrentEntry>> {
        let part = self.parts[part_of(info_hash)].load();
        let place = part.binary_search_by_key(info_hash, |entry| entry.info_hash()).ok()?;
        Some(part[place].clone())
    }

    /// Adds torrents, or puts them in the place of those with their info-hashes. One thread changes the map.
    pub fn insert(&self, entries: impl IntoIterator<Item = Arc<TorrentEntry>>) {
        for entry in entries {
            let info_hash = entry.info_hash();
            self.change(&info_hash, |part| {
                match part.binary_search_by_key(&info_hash, |entry| entry.info_hash()) {
                    Ok(place) => part[place] = entry,
                    Err(place) => part.insert(place, entry),
                }
            });
        }
    }

    /// Whether an address is refused.
    pub fn blocks(&self, address: IpAddr) -> bool {
        self.blocklist.load().as_ref().is_some_and(|list| list.contains(address))
    }

    /// Removes a torrent.
    pub fn remove(&self, info_hash: &InfoHash) {
        self.change(info_hash, |part| part.retain(|entry| entry.info_hash() != *info_hash));
    }

    fn change(&self, info_hash: &InfoHash, change: impl FnOnce(&mut Part)) {
        let place = &self.parts[part_of(info_hash)];
        let old = place.load_full();
        let mut part = Part::with_capacity(old.len() + 1);
        part.extend_from_slice(&old);
        change(&mut part);
        place.store(Arc::new(part));
    }
}

/// The shard that is home to a torrent.
pub fn home_shard(info_hash: &InfoHash, shards: usize) -> usize {
    let head = u64::from_be_bytes(info_hash.0[..8].try_into().unwrap_or_default());
    (head % shards as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_storage::{StoreConfig, StoreLimits};

    fn entry(name: u32, home: usize) -> Arc<TorrentEntry> {
        let head = format!("d6:lengthi3e4:name8:{name:08}12:piece lengthi16384e6:pieces20:");
        let info = [head.as_bytes(), &[b'h'; 20], b"e"].concat();
        let metainfo = Metainfo::from_info_bytes(&info).unwrap();
        let limits = StoreLimits::new(&StoreConfig::default());
        let store = TorrentStore::open(&std::env::temp_dir(), metainfo.info.clone(), &limits).unwrap();
        Arc::new(TorrentEntry::new(Arc::new(metainfo), store, home))
    }

    #[test]
    fn torrents_are_found_until_they_are_removed() {
        let registry = Registry::default();
        // Several in each part.
        let entries: Vec<_> = (0..3 * PARTS as u32).map(|name| entry(name, 0)).collect();
        registry.insert(entries.iter().cloned());
        let found = |entry: &Arc<TorrentEntry>| registry.get(&entry.info_hash());
        assert!(entries.iter().all(|entry| found(entry).is_some_and(|found| Arc::ptr_eq(&found, entry))));
        registry.insert([entry(5, 1)]);
        assert_eq!(found(&entries[5]).map(|entry| entry.home), Some(1), "it takes the place of the other");
        entries.iter().step_by(2).for_each(|entry| registry.remove(&entry.info_hash()));
        for (number, entry) in entries.iter().enumerate() {
            assert_eq!(found(entry).is_some(), number % 2 == 1);
        }
    }
}
