//! What this process knows of each file: its size and time as we hashed them or left them after our own last write.
//!
//! A file that differs from that was changed by somebody else, and is no longer trusted. The stamps in the resume store
//! are these, and never what happens to be on disk when they are saved.
//!
//! While one of our writes is in flight the time moves, and says nothing. So each write looks at the file before it when
//! no other is in flight, and the last one of several looks after it. A change that another program makes in between is
//! seen; one that it makes during our own write is not.

use super::confined::FileStamp;
use super::error::StorageError;
use super::file_map::FileId;
use super::files::{DataFile, Files, lock};
use rustix::fs::{FileType, Stat, fstat};
use std::collections::HashMap;
use std::sync::Mutex;

/// What is known of the files of one torrent.
#[derive(Debug)]
pub(super) struct KnownFiles(Mutex<State>);

#[derive(Debug)]
struct State {
    /// By file; the default for one of which nothing is known, or that it is not there.
    stamps: Box<[FileStamp]>,
    /// Files that this process has written.
    written: HashMap<usize, Writes>,
}

/// Our own writes of one file.
#[derive(Debug, Default, Clone, Copy)]
struct Writes {
    in_flight: u32,
    /// Writes that were begun, ever.
    begun: u64,
}

/// What a file should be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    /// Its size and time when nobody changed it since; `None` when nothing is known.
    pub(super) stamp: Option<FileStamp>,
    /// One of our writes is in flight: only the identity of the file says something.
    pub(super) in_flight: bool,
    /// Our writes that were begun, ever: when it has grown, a look at the file in between says nothing.
    pub(super) begun: u64,
}

impl KnownFiles {
    pub(super) fn none(files: usize) -> KnownFiles {
        let stamps = vec![FileStamp::default(); files].into();
        KnownFiles(Mutex::new(State { stamps, written: HashMap::new() }))
    }

    /// What is known of a file now.
    pub(super) fn expected(&self, file: usize) -> Expected {
        let state = lock(&self.0);
        let writes = state.written.get(&file).copied().unwrap_or_default();
        let stamp = state.stamps.get(file).copied().filter(|stamp| *stamp != FileStamp::default());
        Expected { stamp, in_flight: writes.in_flight > 0, begun: writes.begun }
    }

    /// All stamps, by file.
    pub(super) fn stamps(&self) -> Vec<FileStamp> {
        lock(&self.0).stamps.to_vec()
    }

    /// Takes over what was hashed, or what an earlier run left. Stamps of another number of files say nothing.
    pub(super) fn set_all(&self, stamps: &[FileStamp]) {
        let mut state = lock(&self.0);
        let fits = stamps.len() == state.stamps.len();
        for (index, stamp) in state.stamps.iter_mut().enumerate() {
            *stamp = if fits { stamps[index] } else { FileStamp::default() };
        }
    }

    /// Takes over how this process has left a file.
    pub(super) fn set(&self, file: usize, new: FileStamp) {
        if let Some(stamp) = lock(&self.0).stamps.get_mut(file) {
            *stamp = new;
        }
    }

    fn begin(&self, file: usize) {
        let mut state = lock(&self.0);
        let writes = state.written.entry(file).or_default();
        writes.in_flight += 1;
        writes.begun += 1;
    }

    /// The end of a write: `look` gives the stamp of the file when no other is in flight.
    fn end(&self, file: usize, look: impl FnOnce() -> Option<FileStamp>) {
        let mut state = lock(&self.0);
        let Some(writes) = state.written.get_mut(&file) else { return };
        writes.in_flight = writes.in_flight.saturating_sub(1);
        if writes.in_flight == 0
            && let Some(new) = look()
            && let Some(stamp) = state.stamps.get_mut(file)
        {
            *stamp = new;
        }
    }
}

/// A write of ours in flight. When it ends, the file is known as it is then.
pub(super) struct Writing<'a> {
    files: &'a Files,
    file: usize,
    open: &'a DataFile,
}

impl Files {
    /// Whether the time of a file says who wrote to it last. Over a network or in a file system of another program it
    /// may move after our own writes; only sizes count there.
    pub(super) fn times_count(&self) -> bool {
        !self.root.maps_are_bad()
    }

    /// Compares a file with the one that has its name now, and with how we know it. Nothing is said of one that is
    /// neither open nor known.
    ///
    /// # Errors
    /// What was done to it: it is gone, replaced, shorter or changed.
    pub(super) fn look(&self, file: usize) -> Result<(), StorageError> {
        let (entry, expected) = (self.entry(file), self.known.expected(file));
        let (id, map) = self.held(file);
        if entry.padding || entry.length == 0 || (expected.stamp.is_none() && id.is_none()) {
            return Ok(());
        }
        let Some(found) = self.find(file)? else {
            return Err(StorageError::NotFound { path: self.path(file) });
        };
        let path = || self.root.full(&found.path);
        if !is_regular(&found.stat) || id.is_some_and(|id| FileId::of(&found.stat) != id) {
            return Err(StorageError::Replaced { path: path() });
        }
        let now = FileStamp::of(&found.stat);
        if map.is_some() && now.size < entry.length {
            return Err(StorageError::Truncated { path: path(), expected: entry.length, found: now.size });
        }
        let after = self.known.expected(file);
        if after.in_flight || after.begun != expected.begun {
            return Ok(());
        }
        let stamp = expected.stamp.or(map.map(|map| map.stamp));
        self.compare_stamp(file, stamp, now)
    }

    /// As [`Files::look`] for a file that was just opened to be served.
    pub(super) fn check_as_known(&self, file: usize, now: FileStamp) -> Result<(), StorageError> {
        let expected = self.known.expected(file);
        if expected.in_flight { Ok(()) } else { self.compare_stamp(file, expected.stamp, now) }
    }

    /// Compares a file that is not being written with how it should be.
    pub(super) fn compare_stamp(
        &self,
        file: usize,
        expected: Option<FileStamp>,
        now: FileStamp,
    ) -> Result<(), StorageError> {
        let Some(expected) = expected else { return Ok(()) };
        let wanted = expected.size.min(self.entry(file).length);
        if now.size < wanted {
            return Err(StorageError::Truncated {
                path: self.path(file),
                expected: self.entry(file).length,
                found: now.size,
            });
        }
        if now.size != expected.size || (self.times_count() && now != expected) {
            return Err(StorageError::Changed { path: self.path(file) });
        }
        Ok(())
    }

    /// To be held for as long as a file is being written.
    ///
    /// # Errors
    /// When the file is not as we left it, or has no name any more: nothing may be written to it then.
    pub(super) fn begin_write<'a>(
        &'a self,
        file: usize,
        open: &'a DataFile,
    ) -> Result<Writing<'a>, StorageError> {
        let expected = self.known.expected(file);
        // A look at a file over a network would wait for what was written before.
        if !expected.in_flight && self.times_count() {
            let stat =
                fstat(&open.fd).map_err(|errno| StorageError::from_errno(errno, "stat", self.path(file)))?;
            if stat.st_nlink == 0 {
                // Another may have its name by now.
                self.look(file)?;
                return Err(StorageError::NotFound { path: self.path(file) });
            }
            self.compare_stamp(file, expected.stamp, FileStamp::of(&stat))?;
        }
        self.known.begin(file);
        Ok(Writing { files: self, file, open })
    }
}

/// Whether it is neither a directory nor a device.
pub(super) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let look = || fstat(&self.open.fd).ok().map(|stat| FileStamp::of(&stat));
        self.files.known.end(self.file, look);
    }
}
