//! The loader: reads the resume store on a thread of its own, so that the RPC answers while it does, and hands the
//! torrents over in batches.

use super::activity::Activity;
use super::outside::SessionStore;
use super::session::{renamed, tell_rebuilt};
use crate::shard::registry::{TorrentEntry, home_shard};
use ringseed_handle::EngineError;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::metainfo::{Info, Metainfo};
use ringseed_storage::{
    FilePriority, Look, ResumeError, ResumeStore, RunState, StoreLimits, TorrentRecord, TorrentStore,
    lies_under_plain_names,
};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use tokio::sync::mpsc;

/// Torrents handed over at once: the session takes a batch in a few milliseconds and answers in between.
const BATCH: usize = 128;
/// Batches that may wait for the session: what is read is in memory.
pub const BATCHES_MAX: usize = 4;

/// What the loader has to say, in this order.
pub enum Loading {
    /// The store is open. Nothing may be written to it by others than the session.
    Opened(StoreGuard),
    /// Torrents that were in it.
    Torrents(Vec<Restored>),
    /// These were all.
    Done,
    /// The store cannot be read to its end.
    Failed(EngineError),
}

/// The open store. Dropping this ends the loader, which keeps what is beside the store up to date.
pub struct StoreGuard(Arc<dyn SessionStore>);

impl StoreGuard {
    /// A store that the session is to have for itself.
    pub fn new(store: Arc<dyn SessionStore>) -> StoreGuard {
        StoreGuard(store)
    }

    /// The store.
    pub fn store(&self) -> Arc<dyn SessionStore> {
        self.0.clone()
    }
}

impl Drop for StoreGuard {
    fn drop(&mut self) {
        self.0.stop_beside();
    }
}

/// A torrent of the store, ready for the session.
pub struct Restored {
    /// What the shards share of it.
    pub entry: Arc<TorrentEntry>,
    /// What was stored of it; its torrent file is taken out.
    pub record: TorrentRecord,
    /// Pieces that may be claimed.
    pub have: Bitfield,
    /// What it is to do.
    pub activity: Activity,
    /// Its files are as they were when they were entered.
    pub trusted: bool,
    /// They are there and are not so: they are to be hashed.
    pub changed: bool,
}

/// What a loader needs.
pub struct Loader {
    /// Directory of the resume store; made when there is none.
    pub state_dir: PathBuf,
    /// Budgets of all stores.
    pub store_limits: Arc<StoreLimits>,
    /// Number of shards.
    pub shards: usize,
    /// Where the torrents go.
    pub session: mpsc::Sender<Loading>,
}

/// Why there is no state that an engine could serve.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The state directory is not there and cannot be made.
    #[error("cannot make the state directory {}: {error}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The resume store cannot be opened.
    #[error(transparent)]
    Store(#[from] ResumeError),
}

impl Loader {
    /// Opens the store, tells `opened` whether that worked, and reads it. Then keeps what is beside the store up to date
    /// until the end of the session. Ends early when nobody takes the torrents.
    pub fn run(self, opened: &std_mpsc::Sender<Result<(), StateError>>) {
        let store = match self.open() {
            Ok(store) => Arc::new(store),
            Err(error) => {
                let _ = opened.send(Err(error));
                return;
            }
        };
        let _ = opened.send(Ok(()));
        if self.session.blocking_send(Loading::Opened(StoreGuard::new(store.clone()))).is_err() {
            return;
        }
        let end = match self.read(&store) {
            Ok(()) => Loading::Done,
            Err(error) => Loading::Failed(error),
        };
        if self.session.blocking_send(end).is_ok() {
            drop(self);
            store.note_session_beside();
            store.keep_beside();
        }
    }

    fn open(&self) -> Result<ResumeStore, StateError> {
        let dir = &self.state_dir;
        std::fs::create_dir_all(dir).map_err(|error| StateError::Directory { path: dir.clone(), error })?;
        let path = dir.join("resume.redb");
        let (store, rebuilt) = ResumeStore::open_or_rebuild(&path)?;
        if let Some(rebuilt) = rebuilt {
            tell_rebuilt(&rebuilt, &path);
        }
        Ok(store)
    }

    fn read(&self, store: &ResumeStore) -> Result<(), EngineError> {
        let mut batch = Vec::with_capacity(BATCH);
        let read = store.for_each(|record| {
            // One record that is damaged in the store may be whole beside it.
            let record = record.or_else(|damaged| {
                let (torrent_id, reason) = (damaged.torrent_id, &damaged.reason);
                tracing::error!(torrent = %torrent_id, %reason, "a stored torrent is damaged");
                store.record_beside(torrent_id).map_err(|_| damaged)
            });
            // One that cannot be read was told of, and stays in the store.
            if let Ok(record) = record {
                let torrent_id = record.torrent_id;
                store.note_beside(torrent_id);
                match self.restore(record) {
                    Ok(restored) => batch.push(restored),
                    // It stays in the store, for a later version of this program may read it.
                    Err(error) => {
                        tracing::error!(%error, torrent = %torrent_id, "a stored torrent cannot be loaded");
                    }
                }
            }
            batch.len() < BATCH || self.hand_over(&mut batch)
        });
        read?;
        self.hand_over(&mut batch);
        Ok(())
    }

    /// False when nobody wants it any more.
    fn hand_over(&self, batch: &mut Vec<Restored>) -> bool {
        let full = std::mem::replace(batch, Vec::with_capacity(BATCH));
        self.session.blocking_send(Loading::Torrents(full)).is_ok()
    }

    /// Makes a torrent of a stored record. When its files are not as they were then, they are to be checked.
    pub(super) fn restore(&self, mut record: TorrentRecord) -> Result<Restored, EngineError> {
        let bytes = std::mem::take(&mut record.metainfo);
        let metainfo = Metainfo::parse(&bytes).map_err(EngineError::StoredDamaged)?;
        drop(bytes);
        // Earlier versions gave files other names.
        record.settings.plain_names |=
            record.settings.renames.is_empty() && lies_under_plain_names(&record.data_dir, &metainfo.info);
        let metainfo = renamed(metainfo, &record.settings);
        let open = |info: &Arc<Info>| TorrentStore::open(&record.data_dir, info.clone(), &self.store_limits);
        let pieces = metainfo.info.layout.piece_count();
        let stored = std::mem::take(&mut record.have);
        let fits = stored.len() == pieces;
        let opened = open(&metainfo.info);
        let on_the_way = record.settings.file_work.is_some();
        let stamps = std::mem::take(&mut record.stamps);
        let files = &record.settings.files;
        let wanted = |file: usize| files.get(file).is_none_or(|wish: &FilePriority| wish.wanted);
        let look = match &opened {
            // Files that are on their way to elsewhere are looked at when they have arrived.
            Ok(store) if fits && on_the_way => {
                store.take_stamps(&stamps);
                store.tell_names(&stored);
                Look::Changed
            }
            Ok(store) if fits => {
                store.take_stamps(&stamps);
                match (record.settings.had_data, store.look(&stored, wanted)) {
                    (true, _) => store.look_for_any(),
                    (false, Look::AsLeft) => Look::AsLeft,
                    // Somebody else's file may have the name that one of the torrent is to have when it is complete.
                    (false, look) => {
                        if store.tell_names(&stored) {
                            store.look(&stored, wanted)
                        } else {
                            look
                        }
                    }
                }
            }
            _ => Look::Changed,
        };
        let trusted = look == Look::AsLeft;
        if trusted && let Ok(store) = &opened {
            // The session says so when it cannot.
            let _ = store.finish_names(&stored);
        }
        let (metainfo, opened) = if trusted && stored.is_full() {
            // What is complete is only served: its hashes stay in the file until they are asked for.
            let partial = opened.map(|store| store.partial_files()).unwrap_or_default();
            let metainfo = metainfo.stub();
            let opened = open(&metainfo.info);
            if let Ok(store) = &opened {
                store.take_partial_files(partial);
            }
            (metainfo, opened)
        } else {
            (metainfo, opened)
        };
        let mut missing = match look {
            Look::Missing(error) => Some(error),
            Look::AsLeft | Look::Changed => None,
        };
        let store = opened.unwrap_or_else(|error| {
            missing = Some(error.clone());
            TorrentStore::absent(&record.data_dir, metainfo.info.clone(), &self.store_limits, error)
        });
        store.take_stamps(&stamps);
        let changed = !trusted && missing.is_none();
        if let Some(error) = &missing {
            tracing::error!(%error, torrent = %record.torrent_id, "a stored torrent has lost its data");
        }
        // What is not there or has changed is shown as it was, and looked at or hashed before anything of it is served.
        let have = if fits { stored } else { Bitfield::new(pieces) };
        let home = home_shard(&metainfo.id(), self.shards);
        let entry = Arc::new(TorrentEntry::new(Arc::new(metainfo), store, home));
        let activity = match (record.state, missing) {
            (RunState::Paused, _) => Activity::Paused,
            (RunState::Running, Some(error)) if !on_the_way => {
                Activity::Missing { reason: error.to_string(), run: true }
            }
            (RunState::Running, _) => Activity::Running,
        };
        Ok(Restored { entry, record, have, activity, trusted, changed })
    }
}
