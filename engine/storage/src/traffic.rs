//! What all stores of the process read and wrote, counted where it happens and read by whoever asks.

use super::limits::StoreLimits;
use super::store::TorrentStore;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that went between files and memory since the process started.
#[derive(Debug, Default)]
pub(super) struct DiskTraffic {
    serving: AtomicU64,
    verifying: AtomicU64,
    written: AtomicU64,
    written_past_cache: AtomicU64,
    hashed: AtomicU64,
    errors: AtomicU64,
}

impl DiskTraffic {
    /// Bytes were read because a peer asked for them and they were not in memory.
    pub(super) fn read_for_serving(&self, bytes: u64) {
        self.serving.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes were read to be hashed; the kernel may have had some of them.
    pub(super) fn read_for_verifying(&self, bytes: u64) {
        self.verifying.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Something about a file did not work.
    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of pieces were written, whichever way.
    pub(super) fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many of them went past the page cache.
    pub(super) fn wrote_past_cache(&self, bytes: u64) {
        self.written_past_cache.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Storage of the whole process at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StorageStatus {
    /// Bytes read from disk for peers, because they were not in memory.
    pub serving_read_bytes: u64,
    /// Bytes read to be hashed; the page cache may have had some of them.
    pub verifying_read_bytes: u64,
    /// Bytes of pieces written.
    pub written_bytes: u64,
    /// Those of them that went past the page cache.
    pub past_cache_written_bytes: u64,
    /// Bytes of received pieces that were hashed.
    pub hashed_bytes: u64,
    /// Errors of files.
    pub errors: u64,
    /// Bytes being read from disk for peers now.
    pub read_ahead_bytes: u64,
    /// Most of them at once.
    pub read_ahead_bytes_max: u64,
    /// Bytes read for peers and kept in memory of the engine's own.
    pub loaded_bytes: u64,
    /// Bytes written and not durable yet.
    pub dirty_bytes: u64,
    /// At how many of them requesting waits.
    pub dirty_bytes_max: u64,
    /// Bytes of pieces between network and disk.
    pub piece_bytes: u64,
    /// Bytes of buffers kept for pieces.
    pub spare_bytes: u64,
    /// Most of both together.
    pub piece_bytes_max: u64,
    /// Downloads that can begin no piece before others have given memory back.
    pub waiting_for_memory: u64,
    /// Files mapped.
    pub maps: u64,
    /// Bytes of those maps.
    pub mapped_bytes: u64,
    /// Data files and directories held open.
    pub open_files: u64,
}

impl TorrentStore {
    /// Counts bytes of received pieces that were hashed.
    pub fn note_hashed(&self, bytes: u64) {
        self.limits().traffic.hashed.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl StoreLimits {
    /// What all stores have done and what they use.
    pub fn status(&self) -> StorageStatus {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        StorageStatus {
            serving_read_bytes: read(&self.traffic.serving),
            verifying_read_bytes: read(&self.traffic.verifying),
            written_bytes: read(&self.traffic.written),
            past_cache_written_bytes: read(&self.traffic.written_past_cache),
            hashed_bytes: read(&self.traffic.hashed),
            errors: read(&self.traffic.errors),
            read_ahead_bytes: self.read_ahead().used(),
            read_ahead_bytes_max: self.read_ahead().max(),
            loaded_bytes: self.loaded_bytes(),
            dirty_bytes: self.dirty().used(),
            dirty_bytes_max: self.dirty().max(),
            piece_bytes: self.piece_memory().piece_bytes(),
            spare_bytes: self.piece_memory().spare_bytes(),
            piece_bytes_max: self.piece_memory().max(),
            waiting_for_memory: self.piece_memory().waiting() as u64,
            maps: self.maps() as u64,
            mapped_bytes: self.mapped_bytes(),
            open_files: self.open_files() as u64,
        }
    }
}
