//! Adding torrents. What touches the disk (where the data is, its directory, its files) is done beside the control thread.
//! Here are the steps between: what is there already, whose paths these are, entering what is new in the resume store,
//! several torrents in one transaction, and only then the start.

use super::super::default_trackers::with_defaults;
use super::super::pieces::Pieces;
use super::claims::Directory;
use super::files::FilesDone;
use super::{Session, has_files, renamed};
use ringseed_handle::{AddOutcome, AddTorrent, EngineError, Found, Reply};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use ringseed_storage::{
    AdoptedFiles, Look, RunState, StorageError, StoreLimits, TorrentSettings, TorrentStore,
    adopt_partial_names, lies_under_plain_names,
};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A torrent that is being added, as far as its files were looked at.
pub struct Opening {
    add: AddTorrent,
    reply: Reply<AddOutcome>,
    data_dir: PathBuf,
    move_when_done: Option<PathBuf>,
    directories: Vec<Directory>,
    /// Files that got other names for it.
    adopted: Vec<AdoptedFiles>,
    /// `None` while its directory is not made.
    opened: Option<Result<Opened, StorageError>>,
}

/// The files of a torrent that is being added.
struct Opened {
    store: Arc<TorrentStore>,
    /// Another client had data of it, which is not there.
    lost: bool,
    /// Some of them are there, and are hashed before anything is claimed.
    found: bool,
}

impl Opened {
    fn look(store: Arc<TorrentStore>, had_data: bool) -> Opened {
        let lost = had_data && matches!(store.look_for_any(), Look::Missing(_));
        Opened { lost, found: !lost && has_files(&store), store }
    }
}

/// Somebody who added a torrent that is being added already.
pub(super) struct Second {
    peers: Vec<SocketAddr>,
    reply: Reply<AddOutcome>,
}

impl Session {
    /// Begins to add a torrent.
    pub(super) fn add(&mut self, add: AddTorrent, reply: Reply<AddOutcome>) {
        let torrent_id = add.metainfo.id();
        if let Some(seconds) = self.opening.get_mut(&torrent_id) {
            return seconds.push(Second { peers: add.peers, reply });
        }
        if let Some(id) = self.ids.get(&torrent_id).copied() {
            let result = match self.torrents[&id].is_leaving() {
                false => {
                    self.keep_peers(torrent_id, add.peers);
                    Ok(AddOutcome::Duplicate(id))
                }
                true => {
                    Err(EngineError::Storage(format!("{torrent_id} is being removed: try again in a moment")))
                }
            };
            return self.answer(reply, result);
        }
        self.opening.insert(torrent_id, Vec::new());
        let settings = &self.settings;
        let usual = settings.download_dir.clone().unwrap_or(self.parts.settings.download_dir.clone());
        let places = Places {
            usual,
            first: settings.incomplete_dir.clone().filter(|_| settings.incomplete_dir_on),
            limits: self.parts.store_limits.clone(),
        };
        self.beside(torrent_id, move || places.look(add, reply));
    }

    /// Does a step of an add beside the control thread.
    fn beside(&self, torrent_id: TorrentId, step: impl FnOnce() -> Opening + Send + 'static) {
        let done = self.files_done.clone();
        tokio::task::spawn_local(async move {
            let opened = match tokio::task::spawn_blocking(step).await {
                Ok(opening) => FilesDone::Opened(Box::new(opening)),
                Err(error) => {
                    tracing::error!(%error, torrent = %torrent_id, "opening the files of a new torrent has ended badly");
                    FilesDone::NotOpened(torrent_id)
                }
            };
            let _ = done.send(opened).await;
        });
    }

    /// The next step of the adds whose files were looked at: those that can be entered are, in one transaction.
    pub fn go_on_adding(&mut self) {
        if self.opened.is_empty() {
            return;
        }
        let mut new = Vec::new();
        for opening in std::mem::take(&mut self.opened) {
            let torrent_id = opening.add.metainfo.id();
            let roots = self.claims.settle(&opening.directories);
            if let Err(error) = self.check_paths(torrent_id, &opening.add.metainfo.info, &roots) {
                self.refused(opening, error);
                continue;
            }
            match opening.opened {
                None => {
                    let limits = self.parts.store_limits.clone();
                    self.beside(torrent_id, move || opening.make_directory(&limits));
                }
                Some(Err(ref error)) => {
                    let error = EngineError::Storage(error.to_string());
                    self.refused(opening, error);
                }
                Some(Ok(ref opened)) => {
                    let id = self.insert_new(&opening, opened, roots);
                    new.push((id, opening));
                }
            }
        }
        self.enter_new(new);
    }

    /// Puts a torrent into the session that is not in the store yet.
    fn insert_new(&mut self, opening: &Opening, opened: &Opened, roots: Vec<PathBuf>) -> u32 {
        let Opening { add, data_dir, move_when_done, .. } = opening;
        let entry = self.entry(add.metainfo.clone(), opened.store.clone());
        let mut pieces = Pieces::none(entry.content.info.layout.piece_count());
        if opened.found {
            pieces.doubt();
        }
        let mut settings = TorrentSettings {
            queue: self.last_place + 1,
            move_when_done: move_when_done.clone(),
            had_data: opened.lost,
            ..add.settings.clone()
        };
        if !entry.content.info.private {
            let tiers = settings.tiers.as_deref().unwrap_or(&entry.metainfo.tiers);
            let with_more = with_defaults(tiers, self.settings.default_trackers_in_force());
            settings.tiers = with_more.or(settings.tiers);
        }
        if add.earlier.finished_at.is_some() && settings.files.is_empty() {
            settings.was_whole = true;
        }
        self.insert(entry, pieces, data_dir.clone(), Some(roots), |torrent| {
            torrent.settings = Arc::new(settings);
            torrent.apply_settings(add.sequential);
            torrent.uploaded_before = add.earlier.uploaded;
            torrent.downloaded_before = add.earlier.downloaded;
            torrent.added_at = add.earlier.added_at.unwrap_or(torrent.added_at);
            torrent.finished_at = add.earlier.finished_at;
        })
    }

    /// Enters torrents in the store, then lets them begin, then answers.
    fn enter_new(&mut self, new: Vec<(u32, Opening)>) {
        let states: Vec<_> = new.iter().map(|(_, opening)| opening.stored_as()).collect();
        let all = self.save_new(&states);
        let mut answers = Vec::new();
        for ((id, opening), state) in new.into_iter().zip(states) {
            let result = match &all {
                Ok(()) => Ok(()),
                // One that is too large does not keep the others out.
                Err(_) if self.store_failure.is_none() => self.save_new(&[state]),
                Err(error) => Err(error.copy()),
            };
            let result = match result {
                Ok(()) => {
                    self.begin_new(&opening);
                    Ok(id)
                }
                Err(error) => {
                    self.take_out(id);
                    Err(error)
                }
            };
            answers.push((opening, result));
        }
        for (opening, result) in answers {
            match result {
                Ok(id) => self.added(opening, id),
                Err(error) => self.refused(opening, error),
            }
        }
    }

    /// Lets a torrent begin that is stored.
    fn begin_new(&mut self, opening: &Opening) {
        let torrent_id = opening.add.metainfo.id();
        let Some(Ok(opened)) = &opening.opened else { return };
        let Some(entry) = self.torrent(&torrent_id).map(|torrent| torrent.entry.clone()) else { return };
        self.counted.added(entry.content.info.layout.files.len());
        self.parts.registry.insert([entry]);
        let run = !opening.add.paused;
        if opened.found {
            self.begin_check(torrent_id, run);
        } else if run && (!opened.lost || self.look(torrent_id, true).is_some()) {
            self.begin_run(torrent_id);
        }
    }

    /// A torrent was added.
    fn added(&mut self, opening: Opening, id: u32) {
        let Opening { add, reply, .. } = opening;
        let torrent_id = add.metainfo.id();
        self.keep_peers(torrent_id, add.peers);
        for Second { peers, reply } in self.opening.remove(&torrent_id).unwrap_or_default() {
            self.keep_peers(torrent_id, peers);
            self.answer(reply, Ok(AddOutcome::Duplicate(id)));
        }
        self.answer(reply, Ok(AddOutcome::Added(id)));
    }

    /// A torrent was not added.
    fn refused(&mut self, opening: Opening, error: EngineError) {
        let Opening { add, reply, adopted, .. } = opening;
        for Second { reply, .. } in self.opening.remove(&add.metainfo.id()).unwrap_or_default() {
            self.answer(reply, Err(error.copy()));
        }
        tokio::task::spawn_local(async move {
            // The other client has the torrent still.
            let give_back = || adopted.into_iter().for_each(AdoptedFiles::give_back);
            if let Err(error) = tokio::task::spawn_blocking(give_back).await {
                tracing::error!(%error, "giving files back to another client has ended badly");
            }
            // Nobody may be waiting any more.
            let _ = reply.send(Err(error));
        });
    }
}

impl Opening {
    fn stored_as(&self) -> (TorrentId, RunState) {
        let state = if self.add.paused { RunState::Paused } else { RunState::Running };
        (self.add.metainfo.id(), state)
    }

    /// Makes the directory of a torrent, to be called when nobody else has its paths.
    fn make_directory(mut self, limits: &Arc<StoreLimits>) -> Opening {
        let info = self.add.metainfo.info.clone();
        let store = TorrentStore::open_or_create(&self.data_dir, info, limits);
        self.opened = Some(store.map(|store| Opened::look(store, self.add.earlier.had_data)));
        self
    }
}

/// Where new torrents go.
struct Places {
    /// The directory when none is asked for.
    usual: PathBuf,
    /// Where incomplete ones are first.
    first: Option<PathBuf>,
    limits: Arc<StoreLimits>,
}

impl Places {
    /// Looks where the files of a torrent are and are to be, and opens them.
    fn look(self, mut add: AddTorrent, reply: Reply<AddOutcome>) -> Opening {
        add.metainfo = as_named(add.metainfo, &add.settings);
        let mut adopted = Vec::new();
        let (data_dir, move_when_done) = self.place(&mut add, &mut adopted);
        if add.settings.renames.is_empty() && lies_under_plain_names(&data_dir, &add.metainfo.info) {
            add.settings.plain_names = true;
            add.metainfo = as_named(add.metainfo, &add.settings);
        }
        let directories = std::iter::once(&data_dir).chain(&move_when_done);
        let directories = directories.map(|directory| Directory::look(directory)).collect();
        let opened = match TorrentStore::open(&data_dir, add.metainfo.info.clone(), &self.limits) {
            Ok(store) => Some(Ok(Opened::look(store, add.earlier.had_data))),
            Err(StorageError::DirectoryMissing { .. }) => None,
            Err(error) => Some(Err(error)),
        };
        Opening { add, reply, data_dir, move_when_done, directories, adopted, opened }
    }

    /// Where a new torrent's files go, and where they go once they are complete. Data that another client had lies where
    /// that client says, be it there now or not. Files that get other names for it come into `adopted`.
    fn place(&self, add: &mut AddTorrent, adopted: &mut Vec<AdoptedFiles>) -> (PathBuf, Option<PathBuf>) {
        let (metainfo, had_data) = (&add.metainfo, add.earlier.had_data);
        let last = add.data_dir.take().unwrap_or_else(|| self.usual.clone());
        let last = std::path::absolute(&last).unwrap_or(last);
        if let Some(Found { dir, partial_suffix }) = add.found.take() {
            let dir = dir.unwrap_or_else(|| last.clone());
            for place in [&dir, &last] {
                match adopt_partial_names(place, &metainfo.info.layout, &partial_suffix) {
                    Ok(files) => adopted.extend(files),
                    Err(error) => {
                        tracing::warn!(%error, "incomplete files of another client keep their names");
                    }
                }
            }
            let lies_there = self.is_there(&dir, metainfo) || (had_data && !self.is_there(&last, metainfo));
            if dir != last && lies_there {
                return (dir, Some(last));
            }
        }
        match &self.first {
            Some(first) if *first != last && !had_data && !self.is_there(&last, metainfo) => {
                (first.clone(), Some(last))
            }
            _ => (last, None),
        }
    }

    /// Whether files of a torrent are in a directory already: then it is left where it is.
    fn is_there(&self, directory: &Path, metainfo: &Metainfo) -> bool {
        let store = TorrentStore::open(directory, metainfo.info.clone(), &self.limits);
        store.is_ok_and(|store| has_files(&store)) || lies_under_plain_names(directory, &metainfo.info)
    }
}

/// A torrent with the names that `settings` say its files have.
fn as_named(metainfo: Arc<Metainfo>, settings: &TorrentSettings) -> Arc<Metainfo> {
    match settings.plain_names || !settings.renames.is_empty() {
        true => Arc::new(renamed(Arc::unwrap_or_clone(metainfo), settings)),
        false => metainfo,
    }
}
