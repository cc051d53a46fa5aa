//! Writing pieces, and making them durable.
//!
//! The order that keeps the resume store honest: `write_piece` ends, then a `sync_dirty` that began after
//! it ends, then the piece may be claimed.

use super::budget::Bytes;
use super::confined::Purpose;
use super::disk::{InOrder, until, write_fully};
use super::error::StorageError;
use super::files::{DataFile, when_possible};
use super::limits::{Allocation, DIRTY_FILES_MAX, WRITE_BACK_BYTES};
use super::piece_buffers::PieceBuf;
use super::store::TorrentStore;
use ringseed_proto::units::{Block, PieceIndex};
use ringseed_ring::Ring;
use std::collections::HashMap;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

/// How a piece gets to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WritePath {
    /// Through the page cache, where whoever asks for it finds it.
    Cached,
    /// Past the page cache, for half the work: nobody is expected to ask for it soon.
    PastCache,
}

/// `fdatasync`s in flight: a journal commits those that wait together at once.
const SYNCS: usize = 32;

/// Files of a store with data that is not durable.
#[derive(Debug, Default)]
pub(super) struct DirtyFiles {
    files: HashMap<usize, Dirty>,
    /// Files whose space is being reserved.
    allocating: HashSet<usize>,
    syncing: bool,
    /// Data was lost: nothing may be claimed any more.
    lost: Option<StorageError>,
}

#[cfg(test)]
impl DirtyFiles {
    pub(super) fn files_len(&self) -> usize {
        self.files.len()
    }
}

/// Unsynced data of one file.
#[derive(Debug)]
struct Dirty {
    file: Arc<DataFile>,
    bytes: DirtyBytes,
    /// Bytes since write-back was last started.
    since_write_back: u64,
    /// The name of the file is not durable yet.
    new_name: bool,
}

/// Bytes counted as dirty until this is dropped.
#[derive(Debug)]
struct DirtyBytes {
    budget: Arc<Bytes>,
    bytes: u64,
}

impl DirtyBytes {
    fn add(&mut self, bytes: u64) {
        self.budget.add(bytes);
        self.bytes += bytes;
    }

    fn merge(&mut self, mut other: DirtyBytes) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for DirtyBytes {
    fn drop(&mut self) {
        self.budget.subtract(self.bytes);
    }
}

impl TorrentStore {
    /// Writes a piece that was hashed and found good. When this returns, the data is in the kernel's hands and
    /// can be served, but may not be claimed over a restart before a [`TorrentStore::sync_dirty`].
    ///
    /// `way` is a wish: what cannot go past the page cache goes through it. Files and folders are created when their
    /// first piece comes.
    ///
    /// # Errors
    /// A full disk, a read-only file system and the like, with the file's path. The piece counts as missing;
    /// parts of it may have been written.
    pub async fn write_piece(
        &self,
        ring: &Ring,
        piece: PieceIndex,
        data: Rc<PieceBuf>,
        way: WritePath,
    ) -> Result<(), StorageError> {
        let length = self.layout().piece_len(piece);
        if length == 0 || data.len() != length as usize {
            return Err(StorageError::OutOfRange(Block { piece, begin: 0, length: data.len() as u32 }));
        }
        if self.dirty().files.len() >= DIRTY_FILES_MAX {
            self.sync_dirty(ring).await?;
        }
        self.writes.fetch_add(1, Ordering::AcqRel);
        self.loaded.forget(piece);
        let spans: Vec<_> = self.layout().spans(piece, 0, u32::MAX).collect();
        let mut from = 0;
        for span in spans {
            let bytes = span.length as usize;
            if !span.padding {
                self.write_span(ring, span.file, &data, from, span.offset, bytes, way)
                    .await
                    .inspect_err(|error| self.files.note(span.file, error))?;
                self.limits().traffic.wrote(span.length);
            }
            from += bytes;
        }
        if way == WritePath::PastCache {
            // The kernel may have had pages from before there was something in them; it has let go of those.
            self.seen.forget(piece.0);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "two ranges, and the way between them")]
    async fn write_span(
        &self,
        ring: &Ring,
        file: usize,
        data: &Rc<PieceBuf>,
        from: usize,
        offset: u64,
        length: usize,
        way: WritePath,
    ) -> Result<(), StorageError> {
        let failed = |error: std::io::Error| StorageError::from_io(&error, "write", self.files.path(file));
        if self.is_compared(file) {
            return self.compare_span(ring, file, data, from, offset, length).await;
        }
        let open = match self.files.open(file, Purpose::Write, false) {
            Err(StorageError::TooManyOpenFiles { .. }) => {
                // Files with unsynced data keep their descriptors: those of this piece perhaps, when it has many.
                if !self.dirty().files.is_empty() {
                    self.sync_dirty(ring).await?;
                }
                self.files.open_when_possible(ring, file, Purpose::Write).await?
            }
            other => other?,
        };
        let _writing = self.files.begin_write(file, &open)?;
        self.allocate(ring, file, &open).await?;
        // Before anything is written: whatever becomes of that, the name is there and the descriptor stays.
        self.mark_dirty(file, &open, 0);
        // Each file that is written past the cache has a second descriptor for that as long as it is dirty.
        let past_cache = match way {
            WritePath::PastCache if self.dirty().files.len() <= DIRTY_FILES_MAX / 2 => {
                self.write_past_cache(ring, &open, data, from, offset, length).await.map_err(failed)?
            }
            WritePath::PastCache | WritePath::Cached => 0,
        };
        self.limits().traffic.wrote_past_cache(past_cache as u64);
        let cached = length - past_cache;
        if cached > 0 {
            // Counted before it is written: bytes on their way are as dirty as those that arrived.
            self.mark_dirty(file, &open, cached as u64);
            write_fully(ring, &open.fd, data, from + past_cache, offset + past_cache as u64, cached)
                .await
                .map_err(failed)?;
        }
        // A sync that began meanwhile has not seen it and took the mark: it is for the next. What went past the cache is
        // in the disk's own and takes no memory, but is no more durable.
        self.mark_dirty(file, &open, 0);
        if self.write_back_is_due(file) {
            // Starts write-back and does not wait for it, except when the disk's queue is full, which is the
            // moment to wait. Its errors come back from the sync.
            let _ = ring.sync_file_range(&open.fd, 0, 0, libc::SYNC_FILE_RANGE_WRITE).await;
        }
        Ok(())
    }

    /// Gives a file its final size, with its space reserved where that is wanted and possible. A longer one is cut: what
    /// is behind the end of the torrent's file belongs to an older file of that name.
    async fn allocate(&self, ring: &Ring, file: usize, open: &DataFile) -> Result<(), StorageError> {
        let length = self.files.entry(file).length;
        if open.size == length {
            return Ok(());
        }
        // One at a time per file: undoing a failed one must not cut off what another has written.
        until(ring, || self.dirty().allocating.insert(file).then_some(())).await;
        let _turn = AllocationTurn { store: self, file };
        let path = || self.files.path(file);
        let stat = |operation| {
            rustix::fs::fstat(&open.fd)
                .map(|stat| u64::try_from(stat.st_size).unwrap_or(0))
                .map_err(|errno| StorageError::from_errno(errno, operation, path()))
        };
        let before = stat("stat")?;
        if before == length {
            return Ok(());
        }
        if before < length && self.limits().allocation == Allocation::Full {
            match ring.fallocate(&open.fd, 0, 0, length).await {
                Ok(()) => return Ok(()),
                Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {}
                Err(error) => {
                    // Some file systems keep what they could reserve; give it back.
                    let _ = rustix::fs::ftruncate(&open.fd, before);
                    return Err(StorageError::from_io(&error, "reserve space for", path()));
                }
            }
        }
        rustix::fs::ftruncate(&open.fd, length)
            .map_err(|errno| StorageError::from_errno(errno, "set the size of", path()))
    }

    pub(super) fn mark_dirty(&self, file: usize, open: &Arc<DataFile>, bytes: u64) {
        self.files.pin(file);
        let mut dirty = self.dirty();
        let entry = dirty.files.entry(file).or_insert_with(|| Dirty {
            file: Arc::clone(open),
            bytes: DirtyBytes { budget: Arc::clone(&self.limits().dirty), bytes: 0 },
            since_write_back: 0,
            new_name: open.created,
        });
        entry.new_name |= open.created;
        entry.bytes.add(bytes);
        entry.since_write_back += bytes;
    }

    fn write_back_is_due(&self, file: usize) -> bool {
        let mut dirty = self.dirty();
        let Some(entry) = dirty.files.get_mut(&file) else { return false };
        let due = entry.since_write_back >= WRITE_BACK_BYTES;
        if due {
            entry.since_write_back = 0;
        }
        due
    }

    /// Makes everything durable whose `write_piece` ended before this call. To be called about once a second,
    /// and when [`super::StoreLimits::dirty`] is half used.
    ///
    /// # Errors
    /// The first file that could not be synced. Its data may be lost, so this store claims nothing any more:
    /// every later call gives the same error, until [`TorrentStore::forgive`] and a verification.
    pub async fn sync_dirty(&self, ring: &Ring) -> Result<(), StorageError> {
        // A sync that began before us may not have seen what was written before us.
        until(ring, || {
            let mut dirty = self.dirty();
            (!dirty.syncing).then(|| dirty.syncing = true)
        })
        .await;
        let mut turn = SyncTurn { store: self, taken: std::mem::take(&mut self.dirty().files) };
        if let Some(lost) = self.dirty().lost.clone() {
            return Err(lost);
        }
        let mut syncs = InOrder::new();
        let mut waiting: Vec<(usize, Arc<DataFile>, bool)> =
            turn.taken.iter().map(|(&file, dirty)| (file, Arc::clone(&dirty.file), dirty.new_name)).collect();
        loop {
            while syncs.len() < SYNCS
                && let Some((file, open, new_name)) = waiting.pop()
            {
                syncs.push(async move { (file, self.sync_file(ring, file, &open, new_name).await) });
            }
            let Some((file, result)) = syncs.next().await else { return Ok(()) };
            turn.taken.remove(&file);
            if !self.dirty().files.contains_key(&file) {
                self.files.unpin(file);
            }
            if let Err(error) = result {
                self.files.fail(file, error.clone());
                self.dirty().lost.get_or_insert(error.clone());
                return Err(error);
            }
        }
    }

    async fn sync_file(
        &self,
        ring: &Ring,
        file: usize,
        open: &DataFile,
        new_name: bool,
    ) -> Result<(), StorageError> {
        let path = || self.files.path(file);
        ring.fdatasync(&open.fd).await.map_err(|error| StorageError::from_io(&error, "sync", path()))?;
        if new_name {
            let folders = || self.files.root.open_folders(&self.files.entry(file).path);
            for folder in when_possible(ring, |_| folders()).await? {
                ring.fsync(&Arc::new(folder))
                    .await
                    .map_err(|error| StorageError::from_io(&error, "sync the directory of", path()))?;
            }
        }
        Ok(())
    }

    /// Makes everything durable that is in the files, whoever wrote it. Waits for the disk, so it belongs on a thread of
    /// its own.
    ///
    /// # Errors
    /// The first file that could not be synced.
    pub fn flush_files(&self) -> Result<(), StorageError> {
        self.files.flush()
    }

    /// Whether data of this store is not durable yet.
    pub fn is_dirty(&self) -> bool {
        let dirty = self.dirty();
        dirty.syncing || !dirty.files.is_empty()
    }

    pub(super) fn forget_loss(&self) {
        self.dirty().lost = None;
    }

    fn dirty(&self) -> MutexGuard<'_, DirtyFiles> {
        // Short changes of counters and flags: whole whatever panics.
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to reserve space for a file; passed on when dropped.
struct AllocationTurn<'a> {
    store: &'a TorrentStore,
    file: usize,
}

impl Drop for AllocationTurn<'_> {
    fn drop(&mut self) {
        self.store.dirty().allocating.remove(&self.file);
    }
}

/// The right to sync. What was taken and not synced, because the caller went away, is dirty again on drop.
struct SyncTurn<'a> {
    store: &'a TorrentStore,
    taken: HashMap<usize, Dirty>,
}

impl Drop for SyncTurn<'_> {
    fn drop(&mut self) {
        let mut dirty = self.store.dirty();
        for (file, old) in self.taken.drain() {
            match dirty.files.entry(file) {
                std::collections::hash_map::Entry::Vacant(slot) => _ = slot.insert(old),
                std::collections::hash_map::Entry::Occupied(mut slot) => {
                    let new = slot.get_mut();
                    new.since_write_back += old.since_write_back;
                    new.new_name |= old.new_name;
                    new.bytes.merge(old.bytes);
                }
            }
        }
        dirty.syncing = false;
    }
}
