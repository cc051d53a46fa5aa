//! An open directory that is closed while others need its descriptor more, and opened again when it is used.

use super::budget::{Evictable, Lease, Leases};
use super::error::StorageError;
use arc_swap::ArcSwapOption;
use rustix::fs::{Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// A directory and its path.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Device and inode: what is opened again must be the same directory.
    id: (u64, u64),
    open: ArcSwapOption<Directory>,
    used: AtomicBool,
    /// The budget that its descriptor is of. Without one it stays open.
    descriptors: Option<Arc<Leases>>,
}

/// The descriptor of a directory.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    _lease: Option<Lease>,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Place {
    /// Opens an existing directory.
    pub(super) fn open(path: &Path, descriptors: Option<Arc<Leases>>) -> Result<Arc<Place>, StorageError> {
        let (directory, id) = open(path, descriptors.as_deref())?;
        let place = Arc::new(Place {
            path: path.into(),
            id,
            open: ArcSwapOption::from_pointee(directory),
            used: AtomicBool::new(true),
            descriptors,
        });
        place.register();
        Ok(place)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Number of its device.
    pub(super) fn device(&self) -> u64 {
        self.id.0
    }

    /// Whether it is still what its path names.
    pub(super) fn is_at_its_path(&self) -> bool {
        rustix::fs::stat(&self.path).is_ok_and(|stat| id_of(&stat) == self.id)
    }

    /// The descriptor, opened again if it was closed.
    ///
    /// # Errors
    /// When the path does not name this directory any more: it was moved, or its disk is not mounted.
    pub(super) fn directory(self: &Arc<Self>) -> Result<Arc<Directory>, StorageError> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        if let Some(open) = self.open.load_full() {
            return Ok(open);
        }
        let (directory, id) = open(&self.path, self.descriptors.as_deref())?;
        if id != self.id {
            return Err(StorageError::DirectoryMissing { path: self.path.clone() });
        }
        // Another thread may have done the same: one of both descriptors is closed after its use.
        let directory = Arc::new(directory);
        self.open.store(Some(Arc::clone(&directory)));
        self.register();
        Ok(directory)
    }

    /// Tries `operation` again when there was no descriptor for it, after closing some that were not used lately.
    pub(super) fn retry<T>(&self, operation: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        retry(self.descriptors.as_deref(), operation)
    }

    fn register(self: &Arc<Self>) {
        if let Some(descriptors) = &self.descriptors {
            descriptors.register(Box::new(Entry(Arc::downgrade(self))));
        }
    }
}

fn open(path: &Path, descriptors: Option<&Leases>) -> Result<(Directory, (u64, u64)), StorageError> {
    let lease = descriptors.map(|descriptors| descriptors.lease(0));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = retry(descriptors, || openat(rustix::fs::CWD, path, flags, Mode::empty()));
    let fd = opened.map_err(|errno| match errno {
        Errno::NOENT => StorageError::DirectoryMissing { path: path.into() },
        other => StorageError::from_errno(other, "open", path),
    })?;
    let stat = fstat(&fd).map_err(|errno| StorageError::from_errno(errno, "stat", path))?;
    Ok((Directory { fd, _lease: lease }, id_of(&stat)))
}

fn id_of(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// `openat2` gives `EAGAIN` when a rename elsewhere made its check of the path inconclusive. Without a free descriptor
/// some that were not used lately are closed first.
fn retry<T>(
    descriptors: Option<&Leases>,
    mut operation: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let mut last = Errno::AGAIN;
    for _ in 0..16 {
        match operation() {
            Err(errno @ (Errno::AGAIN | Errno::INTR)) => last = errno,
            Err(errno @ (Errno::MFILE | Errno::NFILE)) => {
                last = errno;
                if !descriptors.is_some_and(Leases::evict_some) {
                    break;
                }
            }
            other => return other,
        }
    }
    Err(last)
}

/// A place under the clock hand of the descriptors.
struct Entry(Weak<Place>);

impl Evictable for Entry {
    fn take_used(&self) -> bool {
        self.0.upgrade().is_some_and(|place| place.used.swap(false, Ordering::Relaxed))
    }

    fn evict(&self) -> bool {
        // Whoever uses it at the moment keeps it, and its place in the budget, until that is done.
        if let Some(place) = self.0.upgrade() {
            place.open.store(None);
        }
        true
    }

    fn is_gone(&self) -> bool {
        self.0.upgrade().is_none_or(|place| place.open.load().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn hundreds_of_directories_share_a_few_descriptors_and_all_can_be_used() {
        let dir = tempfile::tempdir().unwrap();
        let descriptors = Arc::new(Leases::new(8, u64::MAX));
        let places: Vec<_> = (0..300)
            .map(|number| {
                let path = dir.path().join(number.to_string());
                fs::create_dir(&path).unwrap();
                Place::open(&path, Some(Arc::clone(&descriptors))).unwrap()
            })
            .collect();
        assert!(descriptors.count() <= 8);
        for place in places.iter().chain(&places) {
            let directory = place.directory().unwrap();
            assert_eq!(id_of(&fstat(&*directory).unwrap()), place.id);
            drop(directory);
            assert!(descriptors.count() <= 8);
        }
    }

    #[test]
    fn a_directory_that_was_replaced_while_it_was_closed_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        fs::create_dir(&path).unwrap();
        let descriptors = Arc::new(Leases::new(8, u64::MAX));
        let place = Place::open(&path, Some(Arc::clone(&descriptors))).unwrap();
        assert!(descriptors.evict_some());
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(place.directory(), Err(StorageError::DirectoryMissing { .. })));
        fs::remove_dir(&path).unwrap();
        fs::rename(dir.path().join("elsewhere"), &path).unwrap();
        assert!(place.directory().is_ok(), "it is back");
    }
}
