//! The files of one torrent: opened and mapped lazily, within the budgets of the process, and the memory of
//! which ones have failed.
//!
//! Every shard reads this at once. Getting at a map that exists takes no lock; making one does.

use super::budget::{Evictable, Lease};
use super::confined::{FileStamp, Opened, Purpose, Root, SizeCheck};
use super::disk::until;
use super::error::StorageError;
use super::file_map::{FileId, FileMap};
use super::known::KnownFiles;
use super::limits::StoreLimits;
use super::names::{Found, Names};
use super::past_cache;
use super::relocate;
use arc_swap::{ArcSwapOption, Guard};
use ringseed_proto::layout::{FileEntry, Layout};
use ringseed_proto::metainfo::Info;
use ringseed_ring::Ring;
use rustix::fs::Stat;
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// An open data file. Operations in flight hold it by `Arc`, so that it stays open for them.
#[derive(Debug)]
pub(super) struct DataFile {
    pub(super) fd: Arc<OwnedFd>,
    pub(super) id: FileId,
    pub(super) writable: bool,
    /// Length in bytes when it was opened.
    pub(super) size: u64,
    /// It or a folder above it was created by opening it.
    pub(super) created: bool,
    /// A second descriptor of it, which moves data past the page cache, once it was asked for: `None` where there can
    /// be none.
    past_cache: OnceLock<Option<(Arc<OwnedFd>, Lease)>>,
    cannot_pass: AtomicBool,
    _lease: Lease,
}

impl DataFile {
    /// A descriptor that reads, and writes when this one does, past the page cache, opened now if there is none; `None`
    /// where that cannot be.
    pub(super) fn past_cache(&self, lease: impl FnOnce() -> Option<Lease>) -> Option<&Arc<OwnedFd>> {
        if self.cannot_pass.load(Ordering::Relaxed) {
            return None;
        }
        let open = || {
            let lease = lease()?;
            past_cache::reopen(self).map(|fd| (Arc::new(fd), lease))
        };
        self.past_cache.get_or_init(open).as_ref().map(|(fd, _)| fd)
    }

    /// An operation past the cache was refused: there is no other.
    pub(super) fn never_past_cache(&self) {
        self.cannot_pass.store(true, Ordering::Relaxed);
    }
}

/// Longest wait for a descriptor of the budget: files that failed may keep theirs.
const BUDGET_PATIENCE: Duration = Duration::from_secs(5);

/// What is open of one file.
#[derive(Debug, Default)]
struct Slot {
    map: ArcSwapOption<FileMap>,
    file: ArcSwapOption<DataFile>,
    map_used: AtomicBool,
    file_used: AtomicBool,
    failed: AtomicBool,
    /// Operations that forbid closing the descriptor: unsynced data.
    pinned: AtomicU8,
}

/// All files of a torrent.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) root: Arc<Root>,
    pub(super) info: Arc<Info>,
    names: Names,
    pub(super) known: KnownFiles,
    /// Files that were seen under the name of an incomplete one, by index.
    partial: Mutex<BTreeSet<usize>>,
    limits: Arc<StoreLimits>,
    slots: Box<[Slot]>,
    /// Why the files whose `failed` is set have failed.
    failures: Mutex<HashMap<usize, StorageError>>,
    /// Serializes opening and mapping; never held while anything waits.
    opening: Mutex<()>,
}

impl Files {
    pub(super) fn new(root: Arc<Root>, info: Arc<Info>, limits: Arc<StoreLimits>) -> Arc<Files> {
        let slots = info.layout.files.iter().map(|_| Slot::default()).collect();
        Arc::new(Files {
            root,
            names: Names::of(&info.layout),
            known: KnownFiles::none(info.layout.files.len()),
            partial: Mutex::default(),
            info,
            limits,
            slots,
            failures: Mutex::default(),
            opening: Mutex::default(),
        })
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.info.layout
    }

    pub(super) fn limits(&self) -> &Arc<StoreLimits> {
        &self.limits
    }

    pub(super) fn entry(&self, file: usize) -> &FileEntry {
        &self.info.layout.files[file]
    }

    pub(super) fn path(&self, file: usize) -> std::path::PathBuf {
        let path = &self.entry(file).path;
        let partial = lock(&self.partial).contains(&file).then(|| self.names.partial(path)).flatten();
        self.root.full(partial.as_deref().unwrap_or(path))
    }

    fn was_partial(&self, file: usize) -> bool {
        lock(&self.partial).contains(&file)
    }

    /// Files that were seen under the name of an incomplete one, by index.
    pub(super) fn partial(&self) -> BTreeSet<usize> {
        lock(&self.partial).clone()
    }

    /// Takes over which files were seen under the name of an incomplete one.
    pub(super) fn take_partial(&self, files: BTreeSet<usize>) {
        *lock(&self.partial) = files;
    }

    pub(super) fn note_name(&self, file: usize, partial: bool) {
        if partial {
            lock(&self.partial).insert(file);
        }
    }

    /// The state of a file now, under whichever name it has.
    pub(super) fn stat(&self, file: usize) -> Result<Option<Stat>, StorageError> {
        Ok(self.find(file)?.map(|found| found.stat))
    }

    /// Brings to disk what the kernel holds of each file that is there. Waits for the disk.
    pub(super) fn flush(&self) -> Result<(), StorageError> {
        let files = self.layout().files.iter().enumerate();
        for (file, _) in files.filter(|(_, entry)| !entry.padding && entry.length > 0) {
            match self.open_named(file, Purpose::Read) {
                Ok(opened) => rustix::fs::fdatasync(&opened.fd)
                    .map_err(|errno| StorageError::from_errno(errno, "sync", self.path(file)))?,
                Err(StorageError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn open_named(&self, file: usize, purpose: Purpose) -> Result<Opened, StorageError> {
        let (path, new_is_partial) = (&self.entry(file).path, self.limits.partial_names());
        if purpose == Purpose::Write && self.known.expected(file).stamp.is_some() {
            // It was there: whoever took it away is not answered by a new one.
            let missing = || StorageError::NotFound { path: self.path(file) };
            let found = self.find(file)?.ok_or_else(missing)?;
            // Of two that are there it is not known which one is ours, though one was hashed: as in `Names::open`.
            if !found.is_partial() && self.names.has_partial(&self.root, path) {
                return Err(StorageError::Exists { path: self.root.full(path) });
            }
            return self.root.open_existing(&found.path, purpose)?.ok_or_else(missing);
        }
        let was_partial = self.was_partial(file);
        let (opened, partial) = self.names.open(&self.root, path, purpose, new_is_partial, was_partial)?;
        self.note_name(file, partial);
        Ok(opened)
    }

    /// Gives files that were seen under the name of an incomplete one their own, when `complete` says so of them.
    ///
    /// # Errors
    /// The first that cannot be renamed; the others are.
    pub(super) fn finish_names(&self, complete: impl Fn(usize) -> bool) -> Result<(), StorageError> {
        let known: Vec<usize> = lock(&self.partial).iter().copied().collect();
        let mut result = Ok(());
        for file in known.into_iter().filter(|file| complete(*file)) {
            let path = &self.entry(file).path;
            let Some(partial) = self.names.partial(path) else { continue };
            match relocate::shift(&self.root, &partial, &self.root, path) {
                // It has lost the suffix, or was deleted, which shows when it is read.
                Ok(()) | Err(StorageError::NotFound { .. }) => _ = lock(&self.partial).remove(&file),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// The map of a file, made now if there is none.
    pub(super) fn map(self: &Arc<Self>, file: usize) -> Result<Guard<Option<Arc<FileMap>>>, StorageError> {
        let slot = &self.slots[file];
        if slot.failed.load(Ordering::Acquire) {
            return Err(self.failure(file));
        }
        let guard = slot.map.load();
        if guard.is_some() {
            // A plain store of the same value would move the cache line between cores for every block.
            if !slot.map_used.load(Ordering::Relaxed) {
                slot.map_used.store(true, Ordering::Relaxed);
            }
            return Ok(guard);
        }
        drop(guard);
        self.map_owned(file)?;
        Ok(slot.map.load())
    }

    /// As [`Files::map`], held so that it cannot be evicted meanwhile.
    pub(super) fn map_owned(self: &Arc<Self>, file: usize) -> Result<Arc<FileMap>, StorageError> {
        let slot = &self.slots[file];
        if slot.failed.load(Ordering::Acquire) {
            return Err(self.failure(file));
        }
        if let Some(map) = slot.map.load_full() {
            return Ok(map);
        }
        let _opening = lock(&self.opening);
        match slot.map.load_full() {
            Some(map) => Ok(map),
            None => self.make_map(file).inspect_err(|error| self.note(file, error)),
        }
    }

    /// Only under `opening`.
    fn make_map(self: &Arc<Self>, file: usize) -> Result<Arc<FileMap>, StorageError> {
        let slot = &self.slots[file];
        let entry = self.entry(file);
        let length =
            usize::try_from(entry.length).map_err(|_| StorageError::TooManyMaps { path: self.path(file) })?;
        let lease = self.limits.maps.lease(entry.length);
        let Opened { fd, stat, .. } = self.open_named(file, Purpose::Read)?;
        let stamp = FileStamp::of(&stat);
        if stamp.size < entry.length {
            return Err(StorageError::Truncated {
                path: self.path(file),
                expected: entry.length,
                found: stamp.size,
            });
        }
        self.check_as_known(file, stamp)?;
        let mincore_is_true = stat.st_uid == rustix::process::geteuid().as_raw() || Root::may_write(&fd);
        let map = FileMap::new(&fd, &stat, length, mincore_is_true, lease).map_err(|error| {
            match Errno::from_io_error(&error) {
                Some(Errno::NOMEM) => StorageError::TooManyMaps { path: self.path(file) },
                _ => StorageError::from_io(&error, "map", self.path(file)),
            }
        })?;
        let map = Arc::new(map);
        slot.map.store(Some(Arc::clone(&map)));
        slot.map_used.store(true, Ordering::Relaxed);
        self.limits.maps.register(Box::new(MapEntry(self.handle(file))));
        Ok(map)
    }

    /// An open descriptor of a file, opened now if it is not. Over the budget there is none, unless `anyway` says so.
    pub(super) fn open(
        self: &Arc<Self>,
        file: usize,
        purpose: Purpose,
        anyway: bool,
    ) -> Result<Arc<DataFile>, StorageError> {
        let slot = &self.slots[file];
        if slot.failed.load(Ordering::Acquire) {
            return Err(self.failure(file));
        }
        if let Some(open) = slot.file.load_full()
            && (open.writable || purpose == Purpose::Read)
        {
            slot.file_used.store(true, Ordering::Relaxed);
            return Ok(open);
        }
        let _opening = lock(&self.opening);
        if let Some(open) = slot.file.load_full()
            && (open.writable || purpose == Purpose::Read)
        {
            return Ok(open);
        }
        let descriptors = &self.limits.descriptors;
        let lease = match anyway {
            true => descriptors.lease(0),
            false => descriptors
                .try_lease(0)
                .ok_or_else(|| StorageError::TooManyOpenFiles { path: self.path(file) })?,
        };
        let Opened { fd, stat, created } = self.open_named(file, purpose)?;
        // Reads are as large as what is wanted; the kernel must not read on from there. It is advice: when it is
        // not taken, more is read than was needed.
        let _ = rustix::fs::fadvise(&fd, 0, None, rustix::fs::Advice::Random);
        let open = Arc::new(DataFile {
            fd: Arc::new(fd),
            id: FileId::of(&stat),
            writable: purpose == Purpose::Write,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            created,
            past_cache: OnceLock::new(),
            cannot_pass: AtomicBool::new(false),
            _lease: lease,
        });
        slot.file.store(Some(Arc::clone(&open)));
        slot.file_used.store(true, Ordering::Relaxed);
        self.limits.descriptors.register(Box::new(DescriptorEntry(self.handle(file))));
        Ok(open)
    }

    /// As [`Files::open`], waiting for a descriptor when there is none.
    pub(super) async fn open_when_possible(
        self: &Arc<Self>,
        ring: &Ring,
        file: usize,
        purpose: Purpose,
    ) -> Result<Arc<DataFile>, StorageError> {
        when_possible(ring, |anyway| self.open(file, purpose, anyway)).await
    }

    /// As [`Files::map_and_open`], waiting for a descriptor when there is none.
    pub(super) async fn map_and_open_when_possible(
        self: &Arc<Self>,
        ring: &Ring,
        file: usize,
    ) -> Result<(Arc<FileMap>, Arc<DataFile>), StorageError> {
        when_possible(ring, |anyway| self.map_and_open(file, anyway)).await
    }

    /// The map of a file, and a descriptor that reads the same file.
    pub(super) fn map_and_open(
        self: &Arc<Self>,
        file: usize,
        anyway: bool,
    ) -> Result<(Arc<FileMap>, Arc<DataFile>), StorageError> {
        let map = self.map_owned(file)?;
        let open = self.open(file, Purpose::Read, anyway).inspect_err(|error| self.note(file, error))?;
        if open.id != map.id {
            let error = StorageError::Replaced { path: self.path(file) };
            self.fail(file, error.clone());
            return Err(error);
        }
        Ok((map, open))
    }

    fn handle(self: &Arc<Self>, file: usize) -> Handle {
        Handle { files: Arc::downgrade(self), file }
    }

    /// Keeps the descriptor of a file open until [`Files::unpin`].
    pub(super) fn pin(&self, file: usize) {
        self.slots[file].pinned.store(1, Ordering::Relaxed);
    }

    pub(super) fn unpin(&self, file: usize) {
        self.slots[file].pinned.store(0, Ordering::Relaxed);
    }

    /// Remembers a failure of the file if it is one that stays: everything that needs it fails from now on.
    pub(super) fn note(&self, file: usize, error: &StorageError) {
        let passes = matches!(
            error,
            StorageError::TooManyOpenFiles { .. }
                | StorageError::TooManyMaps { .. }
                | StorageError::DiskFull { .. }
                | StorageError::NoInodes { .. }
                | StorageError::QuotaExceeded { .. }
                | StorageError::Cancelled
                | StorageError::NotLoaded(_)
                | StorageError::OutOfRange(_)
        );
        let nothing_wrong = matches!(
            error,
            StorageError::Cancelled | StorageError::NotLoaded(_) | StorageError::OutOfRange(_)
        );
        match (passes, nothing_wrong) {
            (true, true) => {}
            (true, false) => self.limits.traffic.failed(),
            (false, _) => self.fail(file, error.clone()),
        }
    }

    /// Marks a file as failed and lets go of it. The first reason is kept.
    pub(super) fn fail(&self, file: usize, error: StorageError) {
        self.limits.traffic.failed();
        lock(&self.failures).entry(file).or_insert(error);
        let slot = &self.slots[file];
        slot.failed.store(true, Ordering::Release);
        slot.map.store(None);
        slot.file.store(None);
    }

    pub(super) fn is_failed(&self, file: usize) -> bool {
        self.slots[file].failed.load(Ordering::Acquire)
    }

    /// Why a file has failed.
    pub(super) fn failure(&self, file: usize) -> StorageError {
        // `fail` enters the reason before it sets the flag; the rest is for a `forgive` in between.
        lock(&self.failures)
            .get(&file)
            .cloned()
            .unwrap_or_else(|| StorageError::NotFound { path: self.path(file) })
    }

    pub(super) fn failures(&self) -> Vec<(usize, StorageError)> {
        let mut all: Vec<_> =
            lock(&self.failures).iter().map(|(&file, error)| (file, error.clone())).collect();
        all.sort_by_key(|&(file, _)| file);
        all
    }

    /// Forgets failures, maps and descriptors: the user says that things are in order again.
    pub(super) fn forgive(&self) {
        let mut failures = lock(&self.failures);
        for slot in &self.slots {
            slot.map.store(None);
            slot.file.store(None);
            slot.failed.store(false, Ordering::Release);
        }
        failures.clear();
    }

    /// The identity of a file that is open or mapped, and its map.
    pub(super) fn held(&self, file: usize) -> (Option<FileId>, Option<Arc<FileMap>>) {
        let slot = &self.slots[file];
        let map = slot.map.load_full();
        let open = slot.file.load().as_ref().map(|open| open.id);
        (open.or(map.as_ref().map(|map| map.id)), map)
    }

    /// The file that has the name of one now, if any.
    pub(super) fn find(&self, file: usize) -> Result<Option<Found<'_>>, StorageError> {
        let found = self.names.find(&self.root, &self.entry(file).path, self.was_partial(file))?;
        self.note_name(file, found.as_ref().is_some_and(Found::is_partial));
        Ok(found)
    }

    /// What a file is like under its own name and under that of an incomplete one, when there is one under each.
    pub(super) fn both_names(&self, file: usize) -> Option<[FileStamp; 2]> {
        let own = &self.entry(file).path;
        let partial = self.names.partial(own)?;
        let stamp = |path| self.root.stat(path).ok().flatten().as_ref().map(FileStamp::of);
        Some([stamp(own)?, stamp(&partial)?])
    }

    /// Files that are open or have a map now.
    pub(super) fn in_use(&self) -> impl Iterator<Item = usize> + '_ {
        let in_use = |slot: &Slot| slot.map.load().is_some() || slot.file.load().is_some();
        self.slots.iter().enumerate().filter(move |(_, slot)| in_use(slot)).map(|(file, _)| file)
    }

    pub(super) fn check_size(&self, file: usize) -> Result<SizeCheck, StorageError> {
        let entry = self.entry(file);
        if entry.padding {
            return Ok(SizeCheck::Ok);
        }
        let Some(stat) = self.stat(file)? else { return Ok(SizeCheck::Missing) };
        let size = FileStamp::of(&stat).size;
        Ok(match size.cmp(&entry.length) {
            std::cmp::Ordering::Less => SizeCheck::Short(size),
            std::cmp::Ordering::Equal => SizeCheck::Ok,
            std::cmp::Ordering::Greater => SizeCheck::Long(size),
        })
    }
}

/// Tries until it is not for lack of a descriptor that something fails. They come back as soon as others have done what
/// they need them for: `attempt` is told when it has waited for so long that it may exceed the budget.
pub(super) async fn when_possible<T>(
    ring: &Ring,
    mut attempt: impl FnMut(bool) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let mut began = None;
    until(ring, || match attempt(began.get_or_insert_with(Instant::now).elapsed() > BUDGET_PATIENCE) {
        Err(StorageError::TooManyOpenFiles { .. }) => None,
        other => Some(other),
    })
    .await
}

/// What is kept under a lock here stays whole whatever panics.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One file of a store that may be gone.
struct Handle {
    files: std::sync::Weak<Files>,
    file: usize,
}

impl Handle {
    fn with<T>(&self, gone: T, then: impl FnOnce(&Slot) -> T) -> T {
        self.files.upgrade().map_or(gone, |files| then(&files.slots[self.file]))
    }
}

/// A file's map under the clock hand.
struct MapEntry(Handle);

impl Evictable for MapEntry {
    fn take_used(&self) -> bool {
        self.0.with(false, |slot| slot.map_used.swap(false, Ordering::Relaxed))
    }

    fn evict(&self) -> bool {
        // A send that gathers from the map keeps it, and its place in the budget, until it is done.
        self.0.with(true, |slot| {
            slot.map.store(None);
            true
        })
    }

    fn is_gone(&self) -> bool {
        self.0.with(true, |slot| slot.map.load().is_none())
    }
}

/// A file's descriptor under the clock hand.
struct DescriptorEntry(Handle);

impl Evictable for DescriptorEntry {
    fn take_used(&self) -> bool {
        self.0.with(false, |slot| slot.file_used.swap(false, Ordering::Relaxed))
    }

    fn evict(&self) -> bool {
        self.0.with(true, |slot| {
            let free = slot.pinned.load(Ordering::Relaxed) == 0;
            if free {
                slot.file.store(None);
            }
            free
        })
    }

    fn is_gone(&self) -> bool {
        self.0.with(true, |slot| slot.file.load().is_none())
    }
}
