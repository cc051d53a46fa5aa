//! The torrents of the engine, as every shard sees them when a handshake names one.
//!
//! The control thread replaces the map when torrents come and go; shards read it without a lock. What
//! changes more often than the map (phase, totals, limits) are atomics inside an entry.

use super::rate::RateLimit;
use arc_swap::{ArcSwap, ArcSwapOption};
use ringseed_net::blocklist::Blocklist;
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::swarm::{Content, Priority};
use ringseed_proto::units::InfoHash;
use ringseed_storage::TorrentStore;
use std::collections::HashMap;
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

/// The map of torrents.
#[derive(Default)]
pub struct Registry {
    torrents: ArcSwap<HashMap<InfoHash, Arc<TorrentEntry>>>,
    /// Addresses that are refused.
    pub blocklist: ArcSwapOption<Blocklist>,
}

impl Registry {
    /// The torrent with this info-hash.
    pub fn get(&self, info_hash: &InfoHash) -> Option<Arc<TorrentEntry>> {
        self.torrents.load().get(info_hash).cloned()
    }

    /// Adds torrents. One call for many: the map is copied once.
    pub fn insert(&self, entries: impl IntoIterator<Item = Arc<TorrentEntry>>) {
        let mut map = HashMap::clone(&self.torrents.load());
        map.extend(entries.into_iter().map(|entry| (entry.info_hash(), entry)));
        self.torrents.store(Arc::new(map));
    }

    /// Whether an address is refused.
    pub fn blocks(&self, address: IpAddr) -> bool {
        self.blocklist.load().as_ref().is_some_and(|list| list.contains(address))
    }

    /// Removes a torrent.
    pub fn remove(&self, info_hash: &InfoHash) {
        let mut map = HashMap::clone(&self.torrents.load());
        map.remove(info_hash);
        self.torrents.store(Arc::new(map));
    }
}

/// The shard that is home to a torrent.
pub fn home_shard(info_hash: &InfoHash, shards: usize) -> usize {
    let head = u64::from_be_bytes(info_hash.0[..8].try_into().unwrap_or_default());
    (head % shards as u64) as usize
}
