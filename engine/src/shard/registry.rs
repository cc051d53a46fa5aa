//! The torrents of the engine, as every shard sees them when a handshake names one.
//!
//! The control thread replaces a part of the map when torrents come and go; shards read it without a lock. What
//! changes more often than the map (phase, totals, limits) are atomics inside an entry.

use super::rate::RateLimit;
use super::table::Table;
use arc_swap::ArcSwapOption;
use ringseed_net::blocklist::Blocklist;
use ringseed_proto::hashes::{SwarmHash, TorrentId};
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::mse::{Encryption, LookupHash, Torrents};
use ringseed_proto::swarm::{Content, Priority};
use ringseed_storage::TorrentStore;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// What peers of a torrent may expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TorrentPhase {
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
            phase: AtomicU8::new(TorrentPhase::Stopped as u8),
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

    /// What it is called in the engine.
    pub fn id(&self) -> TorrentId {
        self.metainfo.id()
    }

    /// The hashes by which peers name it.
    pub fn swarm_hashes(&self) -> impl Iterator<Item = SwarmHash> + use<> {
        self.metainfo.hashes.swarm_hashes()
    }

    /// What peers may expect now.
    pub fn phase(&self) -> TorrentPhase {
        match self.phase.load(Ordering::Acquire) {
            1 => TorrentPhase::Downloading,
            2 => TorrentPhase::Seeding,
            _ => TorrentPhase::Stopped,
        }
    }

    /// From now on a download is served by every shard. False when it is stopped meanwhile.
    pub fn begin_seeding(&self) -> bool {
        let (before, after) = (TorrentPhase::Downloading as u8, TorrentPhase::Seeding as u8);
        self.phase.compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Changes what peers may expect.
    pub fn set_phase(&self, phase: TorrentPhase) {
        self.phase.store(phase as u8, Ordering::Release);
    }
}

/// The map of torrents, read without a lock.
pub struct Registry {
    /// By each of their swarm hashes.
    torrents: Table<SwarmHash, Arc<TorrentEntry>>,
    /// The swarm hash that an encryption handshake means.
    lookups: Table<LookupHash, SwarmHash>,
    /// Addresses that are refused.
    pub blocklist: ArcSwapOption<Blocklist>,
    /// What the user wants of encryption.
    encryption: AtomicU8,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            torrents: Table::default(),
            lookups: Table::default(),
            blocklist: ArcSwapOption::empty(),
            encryption: AtomicU8::new(Encryption::default().to_bits()),
        }
    }
}

impl Registry {
    /// The torrent that peers name by this hash.
    pub fn find(&self, hash: &SwarmHash) -> Option<Arc<TorrentEntry>> {
        self.torrents.get(hash)
    }

    /// The torrent with this id.
    pub fn get(&self, id: &TorrentId) -> Option<Arc<TorrentEntry>> {
        // An id is the first of the torrent's swarm hashes.
        self.find(&SwarmHash(id.0)).filter(|entry| entry.id() == *id)
    }

    /// Adds torrents, or puts them in the place of those with their ids. One thread changes the map.
    pub fn insert(&self, entries: impl IntoIterator<Item = Arc<TorrentEntry>>) {
        for entry in entries {
            for hash in entry.swarm_hashes() {
                self.torrents.insert(hash, entry.clone());
                self.lookups.insert(LookupHash::of(&hash), hash);
            }
        }
    }

    /// Whether an address is refused.
    pub fn blocks(&self, address: IpAddr) -> bool {
        self.blocklist.load().as_ref().is_some_and(|list| list.contains(address))
    }

    /// Removes a torrent.
    pub fn remove(&self, id: &TorrentId) {
        let Some(entry) = self.get(id) else { return };
        for hash in entry.swarm_hashes() {
            if self.find(&hash).is_some_and(|entry| entry.id() == *id) {
                self.torrents.remove(&hash);
                self.lookups.remove(&LookupHash::of(&hash));
            }
        }
    }

    /// What the user wants of encryption.
    pub fn encryption(&self) -> Encryption {
        Encryption::from_bits(self.encryption.load(Ordering::Relaxed))
    }

    /// Changes what is wanted of encryption, for connections that begin from now on.
    pub fn set_encryption(&self, encryption: Encryption) {
        self.encryption.store(encryption.to_bits(), Ordering::Relaxed);
    }
}

impl Torrents for Registry {
    fn named(&self, hash: &LookupHash) -> Option<SwarmHash> {
        self.lookups.get(hash)
    }
}

/// The shard that is home to a torrent.
pub fn home_shard(id: &TorrentId, shards: usize) -> usize {
    let head = u64::from_be_bytes(id.0[..8].try_into().unwrap_or_default());
    (head % shards as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::hashes::InfoHashes;
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
        let entries: Vec<_> = (0..3 * 1024).map(|name| entry(name, 0)).collect();
        registry.insert(entries.iter().cloned());
        let found = |entry: &Arc<TorrentEntry>| registry.get(&entry.id());
        assert!(entries.iter().all(|entry| found(entry).is_some_and(|found| Arc::ptr_eq(&found, entry))));
        registry.insert([entry(5, 1)]);
        assert_eq!(found(&entries[5]).map(|entry| entry.home), Some(1), "it takes the place of the other");
        entries.iter().step_by(2).for_each(|entry| registry.remove(&entry.id()));
        for (number, entry) in entries.iter().enumerate() {
            assert_eq!(found(entry).is_some(), number % 2 == 1);
        }
    }

    #[test]
    fn a_hybrid_is_found_by_both_of_its_hashes_and_removed_by_its_id() {
        let registry = Registry::default();
        let mut hybrid = Arc::into_inner(entry(1, 0)).unwrap();
        let mut metainfo = Metainfo::clone(&hybrid.metainfo);
        metainfo.hashes = InfoHashes::new(metainfo.hashes.v1(), Some([2; 32])).unwrap();
        hybrid.metainfo = Arc::new(metainfo);
        let hashes: Vec<_> = hybrid.swarm_hashes().collect();
        let id = hybrid.id();
        registry.insert([Arc::new(hybrid)]);
        assert_eq!((hashes.len(), hashes[1]), (2, SwarmHash([2; 20])));
        assert!(hashes.iter().all(|hash| registry.find(hash).is_some_and(|found| found.id() == id)));
        let lookups = hashes.iter().map(|hash| registry.named(&LookupHash::of(hash)));
        assert!(lookups.eq(hashes.iter().copied().map(Some)), "as encryption handshakes name it");
        assert!(registry.get(&id).is_some() && registry.get(&TorrentId([2; 20])).is_none());
        registry.remove(&id);
        assert!(hashes.iter().all(|hash| registry.find(hash).is_none()));
        assert!(hashes.iter().all(|hash| registry.named(&LookupHash::of(hash)).is_none()));
    }
}
