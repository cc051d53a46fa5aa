//! Moving, renaming and deleting the files of torrents: no shard has them meanwhile, and a blocking task does it.

use super::super::handle::EngineError;
use super::super::torrent::{Activity, FileWork, Next};
use super::Session;
use crate::storage::{PARTIAL_SUFFIX, Rename, TorrentStore, Wishes, is_partial_name, relocate};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::units::InfoHash;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The end of work on a torrent's files.
pub struct FilesDone {
    info_hash: InfoHash,
    work: FileWork,
    result: Result<(), String>,
}

impl Session {
    /// Stops a torrent, has its files handled, and lets it go on as it was.
    pub(super) fn handle_files(&mut self, info_hash: InfoHash, work: FileWork) -> Result<(), EngineError> {
        if let FileWork::Rename(Rename { from, to }) = &work
            && Path::new(to)
                .iter()
                .any(|name| is_partial_name(name) && !Path::new(from).iter().any(|old| old == name))
        {
            return Err(EngineError::Storage(format!("{PARTIAL_SUFFIX} is for incomplete files: {to}")));
        }
        let Some(torrent) = self.torrent(&info_hash) else { return Ok(()) };
        let run = torrent.wanted_running();
        match &torrent.activity {
            Activity::Handling { .. }
            | Activity::Stopping { next: Next::Handle { .. } | Next::Remove { .. }, .. } => {
                return Err(EngineError::Storage("its files are being moved or removed already".into()));
            }
            Activity::Paused | Activity::Failed(_) | Activity::Missing { .. } | Activity::Queued => {
                self.begin_files(info_hash, work, run);
            }
            Activity::Running | Activity::Checking { .. } | Activity::Stopping { .. } => {
                self.begin_stop(info_hash, Next::Handle { work, run });
            }
        }
        Ok(())
    }

    /// Handles the files of a torrent that no shard has.
    pub(super) fn begin_files(&mut self, info_hash: InfoHash, work: FileWork, run: bool) {
        let done = self.files_done.clone();
        let Some(torrent) = self.torrent(&info_hash) else { return };
        torrent.activity = Activity::Handling { run };
        torrent.status = None;
        let (from, info) = (torrent.data_dir.clone(), torrent.entry.content.info.clone());
        tokio::task::spawn_local(async move {
            let doing = work.clone();
            let task = tokio::task::spawn_blocking(move || match &doing {
                FileWork::Move(to) if *to == from => Ok(()),
                FileWork::Move(to) => relocate::move_files(&info.layout, &from, to),
                FileWork::Found(_) => Ok(()),
                FileWork::Rename(Rename { from: old, to }) => {
                    relocate::rename(&info.layout, &from, Path::new(old), Path::new(to))
                }
            });
            let result = match task.await {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let _ = done.send(FilesDone { info_hash, work, result }).await;
        });
    }

    /// Goes on with a torrent whose files were handled.
    pub fn on_files_done(&mut self, done: FilesDone) {
        let FilesDone { info_hash, work, result } = done;
        self.dirty = true;
        let Some(torrent) = self.torrent(&info_hash) else { return };
        let Activity::Handling { run } = torrent.activity else { return };
        torrent.status = None;
        if let Err(reason) = result {
            torrent.activity = Activity::Failed(reason);
            return self.save_or_log(info_hash);
        }
        let mut check = false;
        match work {
            FileWork::Move(to) | FileWork::Found(to) if to == torrent.data_dir => {}
            FileWork::Move(to) => torrent.data_dir = to,
            FileWork::Found(to) => (torrent.data_dir, check) = (to, true),
            FileWork::Rename(rename) => Arc::make_mut(&mut torrent.wishes).renames.push(rename),
        }
        Arc::make_mut(&mut torrent.wishes).move_when_done = None;
        if let Err(error) = self.reopen(info_hash) {
            if let Some(torrent) = self.torrent(&info_hash) {
                torrent.activity = Activity::Failed(error);
            }
            return self.save_or_log(info_hash);
        }
        if let Some(torrent) = self.torrent(&info_hash) {
            torrent.activity = Activity::Paused;
        }
        match (check, run) {
            (true, run) => {
                if self.look(info_hash, run).is_some() {
                    self.begin_check(info_hash, run);
                }
            }
            (false, true) => self.begin(info_hash),
            (false, false) => {}
        }
        self.save_or_log(info_hash);
    }

    /// Opens a torrent's files where they are now and as they are called now.
    fn reopen(&mut self, info_hash: InfoHash) -> Result<(), String> {
        let Some(torrent) = self.torrent(&info_hash) else { return Ok(()) };
        let (data_dir, old) = (torrent.data_dir.clone(), torrent.entry.clone());
        let sequential = old.sequential.load(Ordering::Relaxed);
        let wishes = torrent.wishes.clone();
        let original = match old.metainfo.is_lean() {
            true => self.stored_metainfo(info_hash).map_err(|error| error.to_string())?,
            false => Metainfo::parse(&old.metainfo.to_bytes()).map_err(|error| error.to_string())?,
        };
        let metainfo = Arc::new(renamed(original, &wishes));
        let store = TorrentStore::open(&data_dir, metainfo.info.clone(), &self.parts.store_limits)
            .map_err(|error| error.to_string())?;
        store.take_moved_stamps(&old.store.stamps());
        let entry = self.entry(metainfo, store);
        let Some(torrent) = self.torrent(&info_hash) else { return Ok(()) };
        torrent.uploaded_before = torrent.uploaded();
        torrent.downloaded_before = torrent.downloaded();
        torrent.pieces.reopened(&old.store);
        torrent.entry = entry.clone();
        torrent.apply_wishes(sequential);
        self.parts.registry.insert([entry]);
        Ok(())
    }

    /// Deletes the files of a torrent that is being forgotten.
    pub(super) fn delete_files(&mut self, info_hash: InfoHash) {
        let Some(torrent) = self.torrent(&info_hash) else { return };
        let (data_dir, info) = (torrent.data_dir.clone(), torrent.entry.content.info.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = relocate::delete_files(&info.layout, &data_dir) {
                tracing::error!(%error, torrent = %info_hash, "cannot delete all files of a removed torrent");
            }
        });
    }
}

/// Gives files that are complete the names of complete ones. One that cannot have its name keeps the other, under which
/// it is found as well.
pub(in crate::control) fn finish_names(store: &TorrentStore, have: &Bitfield) {
    if let Err(error) = store.finish_names(have) {
        tracing::error!(%error, "a complete file cannot be given its name");
    }
}

/// The torrent with the names that its files have on disk, and those that the user gave them.
pub(in crate::control) fn renamed(metainfo: Metainfo, wishes: &Wishes) -> Metainfo {
    let renames = &wishes.renames;
    if renames.is_empty() && !wishes.plain_names {
        return metainfo;
    }
    let mut info = (*metainfo.info).clone();
    if wishes.plain_names {
        info = info.with_plain_paths();
    }
    let single = info.layout.files.len() == 1 && info.layout.files[0].path == Path::new(&info.name);
    for file in &mut info.layout.files {
        for rename in renames {
            if let Some(path) = after(&file.path, rename) {
                file.path = path;
            }
        }
    }
    let top = info.layout.files.first().and_then(|file| match single {
        true => Some(file.path.as_path()),
        false => file.path.iter().next().map(Path::new),
    });
    if let Some(top) = top {
        info.name = top.to_string_lossy().into_owned();
    }
    Metainfo { info: Arc::new(info), ..metainfo }
}

/// The path of a file after a rename that concerns it.
fn after(path: &Path, rename: &Rename) -> Option<PathBuf> {
    let rest = path.strip_prefix(&rename.from).ok()?;
    let to = Path::new(&rename.to);
    Some(if rest.as_os_str().is_empty() { to.to_path_buf() } else { to.join(rest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_change_whole_names_only() {
        let rename = |from: &str, to: &str| Rename { from: from.into(), to: to.into() };
        let path = Path::new("t/sub/a.txt");
        assert_eq!(after(path, &rename("t", "u")), Some("u/sub/a.txt".into()));
        assert_eq!(after(path, &rename("t/sub/a.txt", "t/sub/b")), Some("t/sub/b".into()));
        assert_eq!(after(path, &rename("t/su", "x")), None);
    }
}
