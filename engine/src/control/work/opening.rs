//! The steps of an add that touch the disk: where the data of a new torrent is, its directory, its files.

use super::super::session::claims::Directory;
use super::super::session::{has_files, renamed};
use super::Done;
use ringseed_handle::{AddOutcome, AddTorrent, EngineError, Found, Reply};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use ringseed_storage::{
    AdoptedFiles, Look, RunState, StorageError, StoreLimits, TorrentSettings, TorrentStore,
    adopt_partial_names, lies_under_plain_names,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A torrent that is being added, as far as its files were looked at.
pub struct Opening {
    /// What was asked for.
    pub add: AddTorrent,
    /// Whoever asked.
    pub reply: Reply<AddOutcome>,
    /// The directory that its files are below.
    pub data_dir: PathBuf,
    /// Where they go once they are complete.
    pub move_when_done: Option<PathBuf>,
    /// What the file system says of both.
    pub directories: Vec<Directory>,
    /// Files that got other names for it.
    pub adopted: Vec<AdoptedFiles>,
    /// `None` while its directory is not made.
    pub opened: Option<Result<Opened, StorageError>>,
}

/// The files of a torrent that is being added.
pub struct Opened {
    /// The files.
    pub store: Arc<TorrentStore>,
    /// Another client had data of it, which is not there.
    pub lost: bool,
    /// Some of them are there, and are hashed before anything is claimed.
    pub found: bool,
}

impl Opened {
    fn look(store: Arc<TorrentStore>, had_data: bool) -> Opened {
        let lost = had_data && matches!(store.look_for_any(), Look::Missing(_));
        Opened { lost, found: !lost && has_files(&store), store }
    }
}

impl Opening {
    /// The torrent.
    pub fn torrent_id(&self) -> TorrentId {
        self.add.metainfo.id()
    }

    /// The state that it is to have.
    pub fn stored_as(&self) -> (TorrentId, RunState) {
        let state = if self.add.paused { RunState::Paused } else { RunState::Running };
        (self.torrent_id(), state)
    }
}

/// The first step.
pub struct Search {
    /// What was asked for.
    pub add: AddTorrent,
    /// Whoever asked.
    pub reply: Reply<AddOutcome>,
    /// Where new torrents go.
    pub places: Places,
}

impl Search {
    pub(super) fn torrent_id(&self) -> TorrentId {
        self.add.metainfo.id()
    }

    pub(super) fn run(self) -> Opening {
        self.places.look(self.add, self.reply)
    }
}

/// The second step, when there is no directory yet: to be done when nobody else has the paths.
pub struct MakingDirectory {
    /// The first step's end.
    pub opening: Opening,
    /// Budgets of all stores.
    pub limits: Arc<StoreLimits>,
}

impl MakingDirectory {
    pub(super) fn torrent_id(&self) -> TorrentId {
        self.opening.torrent_id()
    }

    pub(super) fn run(self) -> Opening {
        let MakingDirectory { mut opening, limits } = self;
        let info = opening.add.metainfo.info.clone();
        let store = TorrentStore::open_or_create(&opening.data_dir, info, &limits);
        opening.opened = Some(store.map(|store| Opened::look(store, opening.add.earlier.had_data)));
        opening
    }
}

/// The way back, when the torrent is not added.
pub struct GivingBack {
    /// Files that got other names.
    pub adopted: Vec<AdoptedFiles>,
    /// Whoever added it, and why it is not; nobody when the engine stops.
    pub answer: Option<(Reply<AddOutcome>, EngineError)>,
}

impl GivingBack {
    pub(super) fn run(self) -> Done {
        self.adopted.into_iter().for_each(AdoptedFiles::give_back);
        self.answer.map_or(Done::Nothing, |(reply, error)| Done::GivenBack(reply, error))
    }
}

/// Where new torrents go.
pub struct Places {
    /// The directory when none is asked for.
    pub usual: PathBuf,
    /// Where incomplete ones are first.
    pub first: Option<PathBuf>,
    /// Budgets of all stores.
    pub limits: Arc<StoreLimits>,
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
