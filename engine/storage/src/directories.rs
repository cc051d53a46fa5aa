//! The directories that torrents are below, each open once however many torrents have it.

use super::budget::Leases;
use super::confined::Root;
use super::error::StorageError;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Directories that are open.
#[derive(Debug, Default)]
pub(super) struct Directories(Mutex<HashMap<PathBuf, Weak<Root>>>);

impl Directories {
    /// The directory that is at `path` now.
    ///
    /// # Errors
    /// As [`Root::open`].
    pub(super) fn open(&self, path: &Path, descriptors: &Arc<Leases>) -> Result<Arc<Root>, StorageError> {
        // An entry is whole or not there, whatever panics.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = known.get(path).and_then(Weak::upgrade);
        // Another may have been mounted or moved there since.
        if let Some(root) = open.filter(|root| root.is_at_its_path()) {
            return Ok(root);
        }
        let root = Arc::new(Root::open_within(path, Arc::clone(descriptors))?);
        // Now and then is enough to keep the map as small as twice what is used.
        if known.len().is_power_of_two() {
            known.retain(|_, root| root.strong_count() > 0);
        }
        known.insert(path.into(), Arc::downgrade(&root));
        Ok(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_directory_is_open_once_and_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let directories = Directories::default();
        let descriptors = Arc::new(Leases::new(8, u64::MAX));
        let open = |path: &Path| directories.open(path, &descriptors);
        assert!(open(&path).is_err());
        fs::create_dir(&path).unwrap();
        let first = open(&path).unwrap();
        assert!(Arc::ptr_eq(&first, &open(&path).unwrap()));
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        assert!(open(&path).is_err());
        fs::create_dir(&path).unwrap();
        assert!(!Arc::ptr_eq(&first, &open(&path).unwrap()));
    }

    #[test]
    fn what_nobody_uses_is_closed_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let directories = Directories::default();
        let descriptors = Arc::new(Leases::new(8, u64::MAX));
        for number in 0..64 {
            let path = dir.path().join(number.to_string());
            fs::create_dir(&path).unwrap();
            drop(directories.open(&path, &descriptors).unwrap());
        }
        assert!(directories.0.lock().unwrap().len() <= 2);
    }
}
