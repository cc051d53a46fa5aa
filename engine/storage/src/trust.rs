//! Whether the files of a torrent are as this process left them: what may be claimed of them, and what is wrong.

use super::confined::{FileStamp, Purpose, SizeCheck};
use super::error::StorageError;
use super::known::is_regular;
use super::limits::LOOKS_IN_TURN;
use super::store::TorrentStore;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::layout::FileEntry;
use ringseed_ring::executor::give_way;
use rustix::fs::{fstat, ftruncate};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// What a look at all files of a torrent has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// They are as they were left: what is claimed of them holds.
    AsLeft,
    /// Some are not, or nothing is known of them: they have to be hashed before anything of them is claimed.
    Changed,
    /// Files that had data are not there, or their directory is not. Nothing may be fetched before the user says so:
    /// a disk that is not mounted looks like this.
    Missing(StorageError),
}

impl TorrentStore {
    /// Size and time of every file as this process hashed or left it; the default for what is not there or not known.
    /// For the resume record: never what happens to be on disk.
    pub fn stamps(&self) -> Vec<FileStamp> {
        self.files.known.stamps()
    }

    /// Size and time of every file as they are on disk now; the default for what is not there. To be taken before the
    /// files are hashed, and given to [`TorrentStore::vouch`] after it.
    pub fn stamps_on_disk(&self) -> Vec<FileStamp> {
        // Files without bytes have nothing that could be trusted.
        let stamp = |(file, entry): (usize, &FileEntry)| match entry.padding || entry.length == 0 {
            true => FileStamp::default(),
            false => match self.files.stat(file) {
                Ok(Some(stat)) if is_regular(&stat) => FileStamp::of(&stat),
                _ => FileStamp::default(),
            },
        };
        self.layout().files.iter().enumerate().map(stamp).collect()
    }

    /// Takes over how an earlier run or another store left the files, without a look at them.
    pub fn take_stamps(&self, stamps: &[FileStamp]) {
        self.files.known.set_all(stamps);
    }

    /// As [`TorrentStore::take_stamps`] from the store of the place that the files were just moved from. A file system
    /// that they were copied to may keep less of their times: down to two seconds (FAT).
    pub fn take_moved_stamps(&self, stamps: &[FileStamp]) {
        const COARSEST_NS: u64 = 2_000_000_000;
        let is_copy = |now: &FileStamp, then: &FileStamp| {
            now.size == then.size && now.modified_ns.abs_diff(then.modified_ns) < COARSEST_NS
        };
        let now = self.stamps_on_disk();
        let moved = now.iter().zip(stamps).map(|(now, then)| if is_copy(now, then) { *now } else { *then });
        self.take_stamps(&moved.collect::<Vec<_>>());
    }

    /// Files that were seen under the name of an incomplete one, by index: what has their own names meanwhile can be
    /// somebody else's.
    pub fn partial_files(&self) -> BTreeSet<usize> {
        self.files.partial()
    }

    /// Takes over which files were seen under the name of an incomplete one.
    pub fn take_partial_files(&self, files: BTreeSet<usize>) {
        self.files.take_partial(files);
    }

    /// Takes over that the files were hashed, which began when they had these stamps.
    ///
    /// # Errors
    /// [`StorageError::Changed`] for the first that changed meanwhile: what was found of it means nothing.
    pub fn vouch(&self, stamps: &[FileStamp]) -> Result<(), StorageError> {
        if self.files.times_count() {
            let now = self.stamps_on_disk();
            let changed = now.iter().zip(stamps).position(|(now, then)| now != then);
            if let Some(file) = changed {
                return Err(StorageError::Changed { path: self.files.path(file) });
            }
        }
        self.take_stamps(stamps);
        Ok(())
    }

    /// Tells files that have the names of incomplete ones from others that have their own names meanwhile, by how an earlier
    /// run left them. Of a file of which that is not known, the incomplete one is the torrent's when some of it is in `have`
    /// and some is not. Gives whether there are any.
    pub fn tell_names(&self, have: &Bitfield) -> bool {
        let layout = self.layout();
        let mut told = false;
        for (file, entry) in layout.files.iter().enumerate().filter(|(_, it)| !it.padding && it.length > 0) {
            let Some([own, partial]) = self.files.both_names(file) else { continue };
            let is_partial = match self.files.known.expected(file).stamp {
                Some(left) => partial == left && own != left,
                None => {
                    let mut pieces = layout.pieces_of_file(file);
                    let (some, all) =
                        (pieces.clone().any(|piece| have.get(piece)), pieces.all(|piece| have.get(piece)));
                    let fits = |stamp: &FileStamp| stamp.size == entry.length;
                    (self.limits().partial_names() && some && !all) || (all && fits(&partial) && !fits(&own))
                }
            };
            if is_partial {
                self.files.note_name(file, true);
                told = true;
            }
        }
        told
    }

    /// Looks at all files of which something is claimed in `have`, which is durable. `wanted` says of which files the
    /// user minds that they are gone: another is only to be hashed. One look-up per file.
    pub fn look(&self, have: &Bitfield, wanted: impl Fn(usize) -> bool) -> Look {
        if let Some(error) = self.absence() {
            return Look::Missing(error.clone());
        }
        if !self.files.root.is_at_its_path() {
            return match self.directory().exists() {
                true => Look::Changed,
                false => Look::Missing(StorageError::DirectoryMissing { path: self.directory().into() }),
            };
        }
        let layout = self.layout();
        let (mut changed, mut missing, mut there) = (false, 0, 0);
        let mut first = None;
        for (file, entry) in layout.files.iter().enumerate().filter(|(_, it)| !it.padding && it.length > 0) {
            let claimed = layout.pieces_of_file(file).any(|piece| have.get(piece));
            let expected = self.files.known.expected(file).stamp;
            match self.files.stat(file) {
                // What is in the way is told by whoever hashes it.
                Err(_) => changed |= claimed || expected.is_some(),
                Ok(stat) => {
                    let stat = stat.filter(|stat| stat.st_size > 0);
                    let now = stat.as_ref().filter(|stat| is_regular(stat)).map(FileStamp::of);
                    changed |= now != expected || (claimed && now.is_none());
                    if claimed && stat.is_none() && wanted(file) {
                        missing += 1;
                        first.get_or_insert_with(|| self.files.root.full(&entry.path));
                    } else {
                        there += usize::from(claimed);
                    }
                }
            }
        }
        match first {
            Some(_) if there == 0 => Look::Missing(StorageError::NoData { path: self.directory().into() }),
            Some(path) => Look::Missing(StorageError::FilesMissing { path, missing, all: missing + there }),
            None if changed => Look::Changed,
            None => Look::AsLeft,
        }
    }

    /// As [`TorrentStore::look`] for a torrent of which nothing is known but that it had data.
    pub fn look_for_any(&self) -> Look {
        if let Some(error) = self.absence() {
            return Look::Missing(error.clone());
        }
        let has_bytes = |file: usize| match self.files.stat(file) {
            Ok(stat) => stat.is_some_and(|stat| stat.st_size > 0),
            // What is in the way is told by whoever hashes it.
            Err(_) => true,
        };
        let mut stored =
            self.layout().files.iter().enumerate().filter(|(_, it)| !it.padding && it.length > 0);
        match stored.any(|(file, _)| has_bytes(file)) {
            true => Look::Changed,
            false => Look::Missing(StorageError::NoData { path: self.directory().into() }),
        }
    }

    /// Looks whether files were truncated, deleted, replaced or changed by somebody else, and marks those as failed:
    /// all that are in use, and some others in turn. One look-up per file; to be called every few seconds.
    pub fn check_in_use(&self) -> Vec<StorageError> {
        let files = self.layout().files.len();
        let first = self.next_look.fetch_add(LOOKS_IN_TURN, Ordering::Relaxed) % files.max(1);
        let others = (first..files.min(first + LOOKS_IN_TURN)).filter(|file| !self.files.is_failed(*file));
        if first + LOOKS_IN_TURN >= files {
            self.next_look.store(0, Ordering::Relaxed);
        }
        let mut looked_at: Vec<usize> = self.files.in_use().chain(others).collect();
        looked_at.sort_unstable();
        looked_at.dedup();
        self.look_at(looked_at)
    }

    fn look_at(&self, files: impl IntoIterator<Item = usize>) -> Vec<StorageError> {
        let mut found: Vec<_> = self.check_directory().err().into_iter().collect();
        for file in files {
            match self.files.look(file) {
                Err(error) if !error.is_shortage() => {
                    self.files.fail(file, error.clone());
                    found.push(error);
                }
                _ => {}
            }
        }
        found
    }

    fn check_directory(&self) -> Result<(), StorageError> {
        if self.files.root.is_at_its_path() {
            return Ok(());
        }
        let path = self.directory().to_path_buf();
        Err(match path.exists() {
            true => StorageError::DirectoryReplaced { path },
            false => StorageError::DirectoryMissing { path },
        })
    }

    /// Whether the directory is still the one that was opened.
    pub fn is_in_place(&self) -> bool {
        self.absence().is_none() && self.check_directory().is_ok()
    }

    /// The last look before a download of the pieces in `have` is called complete: at all files, letting others run in
    /// between. Complete files that are longer than the torrent says are cut.
    ///
    /// # Errors
    /// The first file that somebody else changed, or that cannot be cut.
    pub async fn finish(&self, have: &Bitfield) -> Result<(), StorageError> {
        let files = self.layout().files.len();
        for first in (0..files).step_by(LOOKS_IN_TURN) {
            let part = first..files.min(first + LOOKS_IN_TURN);
            if let Some(error) = self.look_at(part.clone()).into_iter().next() {
                return Err(error);
            }
            for file in part {
                match self.cut_tail(file, have) {
                    Err(error) if !error.is_shortage() => return Err(error),
                    _ => {}
                }
            }
            give_way().await;
        }
        Ok(())
    }

    /// Cuts complete files that are longer than the torrent says: what is behind belongs to an older file of that name.
    ///
    /// # Errors
    /// The first that cannot be cut.
    pub fn cut_tails(&self, have: &Bitfield) -> Result<(), StorageError> {
        (0..self.layout().files.len()).try_for_each(|file| self.cut_tail(file, have))
    }

    fn cut_tail(&self, file: usize, have: &Bitfield) -> Result<(), StorageError> {
        let complete = self.layout().pieces_of_file(file).all(|piece| have.get(piece));
        if !complete || !matches!(self.files.check_size(file)?, SizeCheck::Long(_)) {
            return Ok(());
        }
        let path = || self.files.path(file);
        let Some(found) = self.files.find(file)? else { return Ok(()) };
        let Some(opened) = self.files.root.open_existing(&found.path, Purpose::Write)? else { return Ok(()) };
        self.writes.fetch_add(1, Ordering::AcqRel);
        ftruncate(&opened.fd, self.files.entry(file).length)
            .map_err(|errno| StorageError::from_errno(errno, "cut", path()))?;
        let opened = File::from(opened.fd);
        opened.sync_all().map_err(|error| StorageError::from_io(&error, "sync", path()))?;
        let stat = fstat(&opened).map_err(|errno| StorageError::from_errno(errno, "stat", path()))?;
        self.files.known.set(file, FileStamp::of(&stat));
        Ok(())
    }

    /// Files that are longer than the torrent says, with the bytes that they have too many. The torrent's own bytes can
    /// be right all the same.
    pub fn longer_files(&self) -> Vec<(PathBuf, u64)> {
        let longer = |file| match self.files.check_size(file) {
            Ok(SizeCheck::Long(size)) => Some((self.files.path(file), size - self.files.entry(file).length)),
            _ => None,
        };
        (0..self.layout().files.len()).filter_map(longer).collect()
    }

    /// Creates the files of length zero that are not there, which no piece ever writes.
    ///
    /// # Errors
    /// The first that cannot be created, or that something else is in the way of. `seeds`: where nothing can be written
    /// it does without them, for they have no data.
    pub fn create_empty_files(&self, seeds: bool) -> Result<(), StorageError> {
        let empty = |(_, entry): &(usize, &FileEntry)| entry.length == 0 && !entry.padding;
        for (file, entry) in self.layout().files.iter().enumerate().filter(empty) {
            match self.files.stat(file)? {
                Some(stat) if is_regular(&stat) => continue,
                Some(_) => return Err(StorageError::NotAFile { path: self.files.path(file) }),
                None => {}
            }
            match self.files.root.open_file(&entry.path, Purpose::Write) {
                Err(StorageError::ReadOnly { .. } | StorageError::Permission { .. }) if seeds => {}
                other => _ = other?,
            }
        }
        Ok(())
    }
}
