//! The bounds of storage, each with its reason, and the process-wide budgets made from them.

use super::budget::{Bytes, DeviceBudgets, Leases};
use super::cache_room::CacheRoom;
use super::directories::Directories;
use super::residency::ResidencyClock;
use super::traffic::DiskTraffic;
use ringseed_proto::swarm::PieceMemory;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Maps of the process. `vm.max_map_count` is 65,530 by default, and the allocator, stacks and libraries
/// need some.
pub const MAPS_MAX: usize = 32_768;
/// Mapped bytes of the process: a quarter of the 128 TiB that a process can address on x86-64.
pub const MAPPED_BYTES_MAX: u64 = 32 << 40;
/// Data files and directories held open. Sockets need the descriptors more; a mapped file needs none.
pub const DESCRIPTORS_MAX: usize = 256;
/// Bytes being brought in from disk at once in the process: at 5 GB/s this is 13 ms of reading, and no more
/// than this is lost when peers turn away.
pub const READ_AHEAD_BYTES_MAX: u64 = 64 << 20;
/// Bytes of pieces that the ring-read store keeps in memory.
pub const LOADED_BYTES_MAX: u64 = 128 << 20;
/// Bytes written but not yet synced at which receiving has to wait. The kernel starts to block writers at
/// 20 % of memory; staying far below keeps write-back smooth.
pub const DIRTY_BYTES_MAX: u64 = 256 << 20;
/// Files with unsynced data at which a write syncs first, since each keeps its descriptor.
pub const DIRTY_FILES_MAX: usize = DESCRIPTORS_MAX / 2;
/// Write-back of a file is started whenever this many bytes were written to it.
pub const WRITE_BACK_BYTES: u64 = 8 << 20;
/// Bytes being written past the page cache at once in the process. What a disk does not take as fast as that goes
/// through the cache, whose memory is there to wait for disks. They are not counted as dirty: a file system that only
/// seems to write past the cache has them there until the sync of each second.
pub const PAST_CACHE_WRITES_MAX: u64 = 24 << 20;
/// Fewest bytes of one file that are written past the page cache: less is not worth a descriptor of its own.
pub const PAST_CACHE_WRITE_MIN: usize = 256 << 10;
/// Largest single read or write: past 1 MiB the cost per call is spread thin enough.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Bytes being read from one device at once by all verifications of the process, so that ten rechecks do not read
/// ten times as much from a disk as one does, and a slow disk does not hold up a fast one.
pub const VERIFY_BYTES_MAX: u64 = 32 << 20;
/// Reads in flight while a torrent is verified: enough for an SSD; a hard disk sees them in order.
pub const VERIFY_READS: usize = 6;

/// Files of a torrent that are looked at in turn every two seconds besides those that are open: 64 looks take about
/// 0.2 ms, and all files of a torrent with 10,000 have been looked at after five minutes.
pub const LOOKS_IN_TURN: usize = 64;

/// Whether space is reserved before a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// `fallocate` of the whole file at its first write: a full disk shows then, and files are laid out in
    /// few extents. File systems without it get a sparse file.
    Full,
    /// Sparse files of the final size; space is taken as pieces arrive.
    Sparse,
}

/// Settings of [`StoreLimits`].
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// See [`MAPS_MAX`].
    pub maps_max: usize,
    /// See [`MAPPED_BYTES_MAX`].
    pub mapped_bytes_max: u64,
    /// See [`DESCRIPTORS_MAX`].
    pub descriptors_max: usize,
    /// See [`READ_AHEAD_BYTES_MAX`].
    pub read_ahead_bytes_max: u64,
    /// See [`LOADED_BYTES_MAX`].
    pub loaded_bytes_max: u64,
    /// See [`DIRTY_BYTES_MAX`].
    pub dirty_bytes_max: u64,
    /// Bytes of pieces between network and disk, and of buffers kept for them.
    pub piece_bytes_max: u64,
    /// How space is reserved.
    pub allocation: Allocation,
    /// Use the ring-read store even where maps work.
    pub ring_read_always: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            maps_max: MAPS_MAX,
            mapped_bytes_max: MAPPED_BYTES_MAX,
            descriptors_max: DESCRIPTORS_MAX,
            read_ahead_bytes_max: READ_AHEAD_BYTES_MAX,
            loaded_bytes_max: LOADED_BYTES_MAX,
            dirty_bytes_max: DIRTY_BYTES_MAX,
            piece_bytes_max: super::memory::for_pieces(u64::MAX),
            allocation: Allocation::Full,
            ring_read_always: false,
        }
    }
}

/// The budgets that all stores of the process share, and what is used of them.
#[derive(Debug)]
pub struct StoreLimits {
    pub(super) allocation: Allocation,
    pub(super) ring_read_always: bool,
    pub(super) maps: Leases,
    pub(super) descriptors: Arc<Leases>,
    pub(super) read_ahead: Arc<Bytes>,
    pub(super) verifying: DeviceBudgets,
    pub(super) loaded: Leases,
    pub(super) dirty: Arc<Bytes>,
    piece_memory: Arc<PieceMemory>,
    pub(super) past_cache_writes: Arc<Bytes>,
    pub(super) residency: ResidencyClock,
    pub(super) cache_room: CacheRoom,
    pub(super) traffic: DiskTraffic,
    pub(super) directories: Directories,
    partial_names: AtomicBool,
}

impl StoreLimits {
    /// Unused budgets.
    pub fn new(config: &StoreConfig) -> Arc<StoreLimits> {
        Arc::new(StoreLimits {
            allocation: config.allocation,
            ring_read_always: config.ring_read_always,
            maps: Leases::new(config.maps_max, config.mapped_bytes_max),
            descriptors: Arc::new(Leases::new(config.descriptors_max, u64::MAX)),
            read_ahead: Bytes::new(config.read_ahead_bytes_max),
            verifying: DeviceBudgets::new(VERIFY_BYTES_MAX),
            loaded: Leases::new(usize::MAX, config.loaded_bytes_max),
            dirty: Bytes::new(config.dirty_bytes_max),
            piece_memory: PieceMemory::new(config.piece_bytes_max),
            past_cache_writes: Bytes::new(PAST_CACHE_WRITES_MAX),
            residency: ResidencyClock::default(),
            cache_room: CacheRoom::default(),
            traffic: DiskTraffic::default(),
            directories: Directories::default(),
            partial_names: AtomicBool::new(false),
        })
    }

    /// Whether files that are made from now on carry [`super::PARTIAL_SUFFIX`] until they are complete.
    pub fn set_partial_names(&self, on: bool) {
        self.partial_names.store(on, Ordering::Relaxed);
    }

    pub(super) fn partial_names(&self) -> bool {
        self.partial_names.load(Ordering::Relaxed)
    }

    /// Bytes written and not yet synced, over all stores.
    pub fn dirty(&self) -> &Bytes {
        &self.dirty
    }

    /// Memory of the pieces that are being downloaded, by all torrents.
    pub fn piece_memory(&self) -> &Arc<PieceMemory> {
        &self.piece_memory
    }

    /// Bytes being brought in from disk.
    pub fn read_ahead(&self) -> &Bytes {
        &self.read_ahead
    }

    /// Bytes of pieces held by ring-read stores.
    pub fn loaded_bytes(&self) -> u64 {
        self.loaded.bytes()
    }

    /// Maps that exist, including those which only a send still holds.
    pub fn maps(&self) -> usize {
        self.maps.count()
    }

    /// Bytes of those maps.
    pub fn mapped_bytes(&self) -> u64 {
        self.maps.bytes()
    }

    /// Data files and directories held open.
    pub fn open_files(&self) -> usize {
        self.descriptors.count()
    }

    /// Whether what is read into the page cache takes the place of something else there.
    pub fn cache_room(&self) -> &CacheRoom {
        &self.cache_room
    }

    /// How long residency is believed; tell it when page faults show that it was believed too long.
    pub fn residency(&self) -> &ResidencyClock {
        &self.residency
    }
}
