//! The watch folder: torrent files that appear in it are added.
//!
//! A file is read once its size has stayed the same between two looks. It is then renamed: `.added` behind its name
//! when it was added or known, `.invalid` when it is no torrent, so that a look at the folder tells what happened.

use super::{AddOutcome, AddTorrent, EngineHandle};
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use ringseed_proto::metainfo::Metainfo;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// Files taken in one look; the others wait for the next.
const FILES_MAX: usize = 1000;

/// Adds what appears in `folder` until the engine ends.
pub async fn watch(folder: PathBuf, handle: EngineHandle) {
    let mut sizes = HashMap::new();
    let mut complained = false;
    loop {
        let (path, seen) = (folder.clone(), std::mem::take(&mut sizes));
        let looked = tokio::task::spawn_blocking(move || look(&path, &seen)).await;
        match looked {
            Ok(Ok((ready, now))) => {
                (sizes, complained) = (now, false);
                for file in ready {
                    if !take(&file, &handle).await {
                        return;
                    }
                }
            }
            Ok(Err(error)) if !complained => {
                complained = true;
                tracing::error!(%error, folder = %folder.display(), "cannot look into the watch folder");
            }
            Ok(Err(_)) => {}
            Err(error) => tracing::error!(%error, "the watch folder was not looked at"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The files that have stayed as they were since the last look, and the sizes of all now.
fn look(folder: &Path, seen: &HashMap<PathBuf, u64>) -> io::Result<(Vec<PathBuf>, HashMap<PathBuf, u64>)> {
    let (mut ready, mut sizes) = (Vec::new(), HashMap::new());
    for entry in std::fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        let torrent = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("torrent"));
        let Ok(metadata) = entry.metadata() else { continue };
        if !torrent || !metadata.is_file() || sizes.len() + ready.len() >= FILES_MAX {
            continue;
        }
        match seen.get(&path) {
            Some(size) if *size == metadata.len() => ready.push(path),
            _ => _ = sizes.insert(path, metadata.len()),
        }
    }
    ready.sort_unstable();
    Ok((ready, sizes))
}

/// Adds one file and renames it; false when the engine has ended.
async fn take(file: &Path, handle: &EngineHandle) -> bool {
    let path = file.to_path_buf();
    let parsed = tokio::task::spawn_blocking(move || parse(&path)).await;
    let suffix = match parsed {
        Ok(Ok(metainfo)) => {
            let settings = handle.snapshot().settings.clone();
            let torrent = AddTorrent {
                paused: !settings.start_added,
                data_dir: settings.download_dir.clone(),
                ..AddTorrent::new(Arc::new(metainfo))
            };
            match handle.add(torrent).await {
                Ok(AddOutcome::Added(id)) => {
                    tracing::info!(file = %file.display(), id, "added from the watch folder");
                    "added"
                }
                Ok(AddOutcome::Duplicate(_)) => "added",
                Err(super::EngineError::Stopping) => return false,
                Err(error) => {
                    tracing::error!(%error, file = %file.display(), "cannot add from the watch folder");
                    "invalid"
                }
            }
        }
        Ok(Err(reason)) => {
            tracing::error!(reason, file = %file.display(), "not a torrent in the watch folder");
            "invalid"
        }
        Err(_) => return true,
    };
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    if let Err(error) = std::fs::rename(file, &name) {
        tracing::error!(%error, file = %file.display(), "cannot rename a file of the watch folder");
    }
    true
}

fn parse(path: &Path) -> Result<Metainfo, String> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(TORRENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() > TORRENT_BYTES_MAX {
        return Err("it is larger than any torrent file".to_owned());
    }
    Metainfo::parse(&bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_ready_once_they_stop_growing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.torrent");
        std::fs::write(&file, "d").unwrap();
        std::fs::write(dir.path().join("b.txt"), "d").unwrap();
        let (ready, sizes) = look(dir.path(), &HashMap::new()).unwrap();
        assert!(ready.is_empty() && sizes.len() == 1);
        std::fs::write(&file, "de").unwrap();
        let (ready, sizes) = look(dir.path(), &sizes).unwrap();
        assert!(ready.is_empty(), "it grew");
        let (ready, sizes) = look(dir.path(), &sizes).unwrap();
        assert_eq!((ready, sizes.len()), (vec![file], 0));
    }
}
