//! How much room the file systems of the torrents have, asked beside the control thread: a network share whose server is
//! gone answers never.

use super::page::Page;
use crate::limits::{DISK_PATIENCE, DISKS_MAX};
use crate::space::space;
use prometheus::Result;
use ringseed_handle::EngineSnapshot;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A file system by one of the directories on it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Disk {
    directory: String,
    free_bytes: f64,
    size_bytes: f64,
}

/// What was found at the last look.
#[derive(Default)]
pub(super) struct Disks {
    found: Rc<RefCell<Vec<Disk>>>,
    looking: Rc<Cell<bool>>,
}

impl Disks {
    /// Looks at the file systems that torrents are on or would come to. Has to run inside a `LocalSet`. What is not
    /// answered soon is awaited by the next looks, and the last answer counts until then.
    pub(super) async fn look(&self, download_dir: &Path, snapshot: &EngineSnapshot) {
        if self.looking.replace(true) {
            return;
        }
        let directories = directories(download_dir, snapshot);
        let (found, looking) = (self.found.clone(), self.looking.clone());
        let look = tokio::task::spawn_local(async move {
            if let Ok(disks) = tokio::task::spawn_blocking(move || disks(&directories)).await {
                found.replace(disks);
            }
            looking.set(false);
        });
        let _ = tokio::time::timeout(DISK_PATIENCE, look).await;
    }

    pub(super) fn tell(&self, page: &Page) -> Result<()> {
        let disks = self.found.borrow();
        let values =
            |value: fn(&Disk) -> f64| disks.iter().map(move |disk| (vec![&*disk.directory], value(disk)));
        page.gauge(
            "disk_free_bytes",
            "Bytes free on the file system of a directory that torrents are in.",
            &["directory"],
            values(|disk| disk.free_bytes),
        )?;
        page.gauge(
            "disk_size_bytes",
            "Bytes of the file system of a directory that torrents are in.",
            &["directory"],
            values(|disk| disk.size_bytes),
        )
    }
}

/// The directory for new torrents, then those of the torrents; never more than are looked at.
fn directories(download_dir: &Path, snapshot: &EngineSnapshot) -> Vec<PathBuf> {
    let others: BTreeSet<&Path> = snapshot.torrents.iter().map(|torrent| &*torrent.data_dir).collect();
    let others = others.into_iter().filter(|other| *other != download_dir);
    std::iter::once(download_dir).chain(others).take(DISKS_MAX).map(Path::to_owned).collect()
}

/// The file systems of directories, each once and under the first one on it.
fn disks(directories: &[PathBuf]) -> Vec<Disk> {
    let mut devices = BTreeSet::new();
    let mut disks = Vec::new();
    for directory in directories {
        // One that is not there yet is made below one that is.
        let Some((there, found)) = directory.ancestors().find_map(|at| Some((at, at.metadata().ok()?)))
        else {
            continue;
        };
        if !devices.insert(found.dev()) {
            continue;
        }
        if let Ok((free, size)) = space(there) {
            let directory = directory.to_string_lossy().into_owned();
            disks.push(Disk { directory, free_bytes: free as f64, size_bytes: size as f64 });
        }
    }
    disks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_told_of_once() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("not yet/there"), dir.path().to_owned());
        let found = disks(&[one.clone(), two, "/proc".into()]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].directory, one.to_string_lossy());
        assert!(found[0].size_bytes >= found[0].free_bytes && found[0].size_bytes > 0.0, "{found:?}");
    }

    #[tokio::test]
    async fn the_page_has_what_was_found() {
        let disks = Disks::default();
        let local = tokio::task::LocalSet::new();
        local.run_until(disks.look(Path::new("/tmp"), &EngineSnapshot::default())).await;
        let page = Page::default();
        disks.tell(&page).unwrap();
        let names: Vec<String> = page.gather().iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(names, ["ringseed_disk_free_bytes", "ringseed_disk_size_bytes"]);
        assert!(!disks.looking.get());
    }
}
