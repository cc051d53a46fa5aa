//! Two torrents at one path. What differs is refused before anything is touched. The same files can be those of several
//! torrents (cross-seeding), by these rules:
//!
//! - A file has one writer: a download whose files another torrent is downloading waits, and is verified when that one has
//!   ended.
//! - What another torrent has of a file is not changed. A piece that lies there is compared with what is there, and one
//!   that differs stops the torrent that brings it. Only when the hashes of both say that the file is the same, and the
//!   other has not all of it and rests, the file is written; the other is verified before it runs again.
//! - Files of several torrents are not moved, renamed or deleted on behalf of one, unless the others rest and are for the
//!   same directory.

use super::super::activity::{Activity, Next};
use super::super::torrent::Torrent;
use super::claims::{Content, compare, overlap};
use super::{Session, renamed, renames};
use ringseed_handle::{EngineError, FileConflict};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::layout::Layout;
use ringseed_proto::metainfo::Info;
use ringseed_storage::{FileWork, Rename};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A torrent that has files of another.
pub(super) struct Sharer {
    pub(super) torrent: TorrentId,
    /// The indexes of a file in the torrent that was asked about, and in this one.
    pub(super) files: Vec<(usize, usize)>,
}

impl Session {
    /// Enters the paths that a torrent's files have or are about to have.
    pub(super) fn hold_paths(&mut self, torrent_id: TorrentId) {
        let Some(torrent) = self.ids.get(&torrent_id).and_then(|id| self.torrents.get(id)) else { return };
        let settings = &torrent.settings;
        let work = settings.file_work.as_ref();
        let directories =
            [Some(&torrent.data_dir), settings.move_when_done.as_ref(), work.and_then(FileWork::directory)];
        let roots = self.claims.roots(directories.into_iter().flatten().map(PathBuf::as_path), self.loading);
        let layout = &torrent.entry.content.info.layout;
        match work {
            Some(FileWork::Rename(rename)) => {
                self.claims.hold(torrent_id, roots, &[layout, &with_rename(layout, rename)]);
            }
            _ => self.claims.hold(torrent_id, roots, &[layout]),
        }
    }

    /// Whether a torrent can have its files below these directories ([`Claims::roots`](super::claims::Claims::roots)).
    ///
    /// # Errors
    /// When another has files there and they are not the same; it names both torrents and the path.
    pub(super) fn check_paths(
        &mut self,
        torrent_id: TorrentId,
        info: &Info,
        roots: &[PathBuf],
    ) -> Result<(), EngineError> {
        for other in self.claims.near(roots, &info.layout) {
            let Some(torrent) = self.by_id(&other).filter(|_| other != torrent_id) else { continue };
            let content = &torrent.entry.content.info;
            let theirs = (self.claims.roots_of(&other), &content.layout);
            let found = overlap((roots, &info.layout), theirs);
            let leaves = torrent.is_leaving();
            let refused = |path: &Path| {
                let (path, other_name) = (path.to_path_buf(), content.name.clone());
                EngineError::Conflict(match leaves {
                    true => FileConflict::BeingRemoved { path, other, other_name },
                    false => FileConflict::OtherData { path, name: info.name.clone(), other, other_name },
                })
            };
            if let Some(path) = found.clash {
                return Err(refused(&path));
            }
            if found.shared.is_empty() {
                continue;
            }
            // Which of its files are nobody else's was found out when their deletion began.
            if torrent.loses_files() {
                let file = found.shared.first().map(|(own, _)| info.layout.files[*own].path.as_path());
                return Err(refused(file.unwrap_or(Path::new(""))));
            }
            let full = self.info_with_hashes(&other);
            for (own_file, other_file) in found.shared {
                let other_info = full.as_deref().unwrap_or(content);
                if compare((info, own_file), (other_info, other_file)) == Content::Other {
                    let below = roots.first().map_or(Path::new(""), PathBuf::as_path);
                    return Err(refused(&below.join(&info.layout.files[own_file].path)));
                }
            }
        }
        Ok(())
    }

    /// As [`Session::check_paths`] for work on the files of a torrent, which has to have its files for itself.
    pub(super) fn check_work(&mut self, torrent_id: TorrentId, work: &FileWork) -> Result<(), EngineError> {
        let Some(info) = self.info_with_hashes(&torrent_id) else { return Ok(()) };
        let Some(torrent) = self.by_id(&torrent_id) else { return Ok(()) };
        let layout = torrent.entry.content.info.layout.clone();
        let (name, data_dir) = (torrent.entry.content.info.name.clone(), torrent.data_dir.clone());
        let (layout, directory) = match work {
            FileWork::Rename(rename) => (with_rename(&layout, rename), data_dir),
            FileWork::Move(to) | FileWork::Found(to) => (layout, to.clone()),
        };
        let follow = matches!(work, FileWork::Move(to) if self.followers(torrent_id, to).is_some());
        if !matches!(work, FileWork::Found(_))
            && !follow
            && let Some(sharer) = self.staying_sharers(&torrent_id).first()
            && let Some(other) = self.by_id(&sharer.torrent)
        {
            let content = &other.entry.content.info;
            let file =
                sharer.files.first().map(|(_, file)| other.data_dir.join(&content.layout.files[*file].path));
            let (path, other_name) = (file.unwrap_or_default(), content.name.clone());
            return Err(FileConflict::SameFile { path, name, other: sharer.torrent, other_name }.into());
        }
        if let FileWork::Rename(rename) = work
            && let Some((other, path)) = self.stranger_below(torrent_id, Path::new(&rename.from))
        {
            return Err(FileConflict::InFolder { path, other }.into());
        }
        let mut info = Info::clone(&info);
        (info.name, info.layout) = (name, layout);
        let roots = self.claims.roots([directory.as_path()], false);
        self.check_paths(torrent_id, &info, &roots)
    }

    /// A file of another torrent below a folder of this one, which would go along when the folder gets another name.
    fn stranger_below(&mut self, torrent_id: TorrentId, folder: &Path) -> Option<(TorrentId, PathBuf)> {
        let id = self.ids.get(&torrent_id)?;
        let torrent = self.torrents.get(id)?;
        let layout = &torrent.entry.content.info.layout;
        if layout.files.iter().any(|file| file.path == folder) {
            return None;
        }
        let roots = self.claims.roots([torrent.data_dir.as_path()], false);
        let folder = roots.first()?.join(folder);
        let near = self.claims.near(&roots, layout);
        near.into_iter().filter(|other| *other != torrent_id).find_map(|other| {
            let torrent =
                self.by_id(&other).filter(|torrent| !torrent.is_leaving() || torrent.loses_files())?;
            let files = torrent.entry.content.info.layout.files.iter().filter(|file| !file.padding);
            let roots = self.claims.roots_of(&other);
            let mut paths = files.flat_map(|file| roots.iter().map(|root| root.join(&file.path)));
            paths.find(|path| path.starts_with(&folder)).map(|path| (other, path))
        })
    }

    /// Torrents that have files of this one where they are now.
    pub(super) fn sharers(&mut self, torrent_id: &TorrentId) -> Vec<Sharer> {
        let Some(torrent) = self.ids.get(torrent_id).and_then(|id| self.torrents.get(id)) else {
            return Vec::new();
        };
        let roots = self.claims.roots([torrent.data_dir.as_path()], false);
        let layout = &torrent.entry.content.info.layout;
        let near = self.claims.near(&roots, layout);
        let mut sharers = Vec::new();
        for other in near.into_iter().filter(|other| other != torrent_id) {
            let Some(torrent) = self.ids.get(&other).and_then(|id| self.torrents.get(id)) else { continue };
            let there = self.claims.roots([torrent.data_dir.as_path()], false);
            let files = overlap((&roots, layout), (&there, &torrent.entry.content.info.layout)).shared;
            if !files.is_empty() {
                sharers.push(Sharer { torrent: other, files });
            }
        }
        sharers
    }

    /// As [`Session::sharers`], without those that are being removed: they do nothing more with their files than to delete
    /// those that are nobody else's, which is found out at that moment.
    fn staying_sharers(&mut self, torrent_id: &TorrentId) -> Vec<Sharer> {
        let mut sharers = self.sharers(torrent_id);
        sharers.retain(|sharer| self.by_id(&sharer.torrent).is_some_and(|other| !other.is_leaving()));
        sharers
    }

    /// Whether a shard may still have the files of this one for a torrent that is being removed, so that they cannot be
    /// moved or renamed yet.
    pub(super) fn is_used_until_removed(&mut self, torrent_id: TorrentId, work: &FileWork) -> bool {
        if self.leaving.is_empty() || matches!(work, FileWork::Found(_)) {
            return false;
        }
        let sharers = self.sharers(&torrent_id);
        sharers.iter().filter_map(|sharer| self.by_id(&sharer.torrent)).any(|other| {
            matches!(&other.activity, Activity::Stopping { waiting, next: Next::Remove { .. } } if !waiting.is_empty())
        })
    }

    /// Torrents that go along when this one is moved to its last directory: they have no other files than this one has,
    /// rest or are being hashed, and are for the same directory. `None` when another torrent has files of it that does not go along.
    pub(super) fn followers(&mut self, torrent_id: TorrentId, to: &Path) -> Option<Vec<TorrentId>> {
        let sharers = self.staying_sharers(&torrent_id);
        let goes_along = |sharer: &Sharer| {
            self.by_id(&sharer.torrent).is_some_and(|other| {
                let rests = matches!(
                    other.activity,
                    Activity::Paused
                        | Activity::Queued
                        | Activity::Failed(_)
                        | Activity::Missing { .. }
                        | Activity::Checking { .. }
                );
                let files = &other.entry.content.info.layout.files;
                let has = |index| sharer.files.iter().any(|(_, file)| *file == index);
                // One that is about to be moved by itself is none of them.
                rests
                    && other.settings.file_work.is_none()
                    && other.settings.move_when_done.as_deref() == Some(to)
                    && files.iter().enumerate().all(|(index, file)| file.padding || has(index))
            })
        };
        sharers.iter().all(goes_along).then(|| sharers.iter().map(|sharer| sharer.torrent).collect())
    }

    /// Prepares a torrent that is about to run for those that have files of it. Gives why it has to wait, when it has to.
    pub(super) fn admit(&mut self, torrent_id: TorrentId) -> Option<String> {
        let torrent = self.by_id(&torrent_id)?;
        let (have, entry) = (torrent.pieces.live().clone(), torrent.entry.clone());
        // What is complete is only read: it minds nothing but that files are moved, renamed or deleted.
        if have.is_full() {
            self.take_changes();
            if self.census.handled.is_empty() {
                return None;
            }
        }
        let layout = &entry.content.info.layout;
        let (mut compared, mut written) = (BTreeSet::new(), BTreeSet::new());
        let mut own_info = None;
        for sharer in self.sharers(&torrent_id) {
            let mut other_info = None;
            for (own_file, other_file) in sharer.files {
                let Some(other) = self.by_id(&sharer.torrent) else { continue };
                if layout.pieces_of_file(own_file).all(|piece| have.get(piece)) && !other.is_handled() {
                    continue;
                }
                let pieces = || other.entry.content.info.layout.pieces_of_file(other_file);
                let all = pieces().all(|piece| other.pieces.live().get(piece));
                let any = pieces().any(|piece| other.pieces.live().get(piece));
                let active = matches!(other.activity, Activity::Running | Activity::Stopping { .. });
                let writes = active && !all && !other.entry.store.is_compared(other_file);
                if writes || other.is_handled() {
                    return Some(format!(
                        "waits for the torrent {}, which downloads or moves {}, too",
                        shown(Path::new(&other.entry.content.info.name)),
                        shown(&other.data_dir.join(&other.entry.content.info.layout.files[other_file].path)),
                    ));
                }
                let same = any && !all && {
                    let own = own_info.get_or_insert_with(|| self.info_with_hashes(&torrent_id)).as_ref();
                    let theirs =
                        other_info.get_or_insert_with(|| self.info_with_hashes(&sharer.torrent)).as_ref();
                    own.zip(theirs).is_some_and(|(own, theirs)| {
                        compare((own, own_file), (theirs, other_file)) == Content::Same
                    })
                };
                if any && !same {
                    compared.insert(own_file);
                } else if !all {
                    written.insert(sharer.torrent);
                }
            }
        }
        entry.store.set_compared(compared);
        for other in written {
            if let Some(other) = self.torrent(&other) {
                other.doubt_files();
            }
        }
        None
    }

    /// A check has failed, or somebody wrote to the files meanwhile. When that is another torrent of the same files, this one
    /// waits for it; when it has just ended, they are hashed once more.
    pub(super) fn check_failed(&mut self, torrent_id: TorrentId, reason: String, run: bool) {
        if run && self.hold_back(torrent_id) {
            return;
        }
        if !run && let Some(why) = self.admit(torrent_id) {
            return self.fail(torrent_id, why, false);
        }
        let again = |activity: &Activity| matches!(activity, Activity::Checking { found, .. } if found.again);
        let first = self.by_id(&torrent_id).is_some_and(|torrent| !again(&torrent.activity));
        if !first || self.staying_sharers(&torrent_id).is_empty() {
            return self.fail(torrent_id, reason, run);
        }
        self.begin_check(torrent_id, run);
        if let Some(Torrent { activity: Activity::Checking { found, .. }, .. }) = self.torrent(&torrent_id) {
            found.again = true;
        }
    }

    pub(super) fn by_id(&self, torrent_id: &TorrentId) -> Option<&Torrent> {
        self.torrents.get(self.ids.get(torrent_id)?)
    }

    /// What a torrent is, with the hashes of its pieces; its files have the names that they have now.
    fn info_with_hashes(&self, torrent_id: &TorrentId) -> Option<Arc<Info>> {
        let torrent = self.by_id(torrent_id)?;
        if !torrent.entry.metainfo.is_stub() {
            return Some(torrent.entry.content.info.clone());
        }
        match self.stored_metainfo(*torrent_id) {
            Ok(metainfo) => Some(renamed(metainfo, &torrent.settings).info),
            Err(error) => {
                tracing::warn!(%error, torrent = %torrent_id, "cannot read the hashes of a torrent to compare them");
                None
            }
        }
    }
}

/// The files after a rename.
fn with_rename(layout: &Layout, rename: &Rename) -> Layout {
    let mut layout = layout.clone();
    for file in &mut layout.files {
        if let Some(path) = renames::after(&file.path, rename) {
            file.path = path;
        }
    }
    layout
}

/// A path as it may be shown on a terminal: names from torrents can hold control characters.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
