//! What a session keeps between runs: torrents from the resume store at start, and into it as they change.

use super::super::handle::EngineError;
use super::super::loader::{Loading, Restored};
use super::super::pieces::{Pieces, StampUpdate};
use super::super::torrent::{Activity, Next, Torrent};
use super::Session;
use super::renamed;
use crate::storage::{
    FileStamp, PieceUpdate, ResumeError, ResumeStore, RunState, StorageError, TorrentRecord, TorrentStore,
    Wishes,
};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::units::InfoHash;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Files of a torrent up to which their stamps are entered with each second of progress.
const STAMPED_FILES_MAX: usize = 1000;

/// Torrents whose times are entered when the engine stops.
const TIMES_MAX: usize = 20_000;

impl Session {
    /// What the loader says.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn on_loading(&mut self, message: Loading) -> Result<(), EngineError> {
        match message {
            Loading::Opened(store) => {
                self.take_settings(&store);
                self.take_totals(&store);
                self.parts.resume = Some(store);
            }
            Loading::Torrents(batch) => self.take_restored(batch),
            Loading::Done => {
                self.loading = false;
                self.dirty = true;
                for command in std::mem::take(&mut self.held) {
                    self.on_command(command);
                }
                self.refresh(true);
            }
            Loading::Failed(error) => return Err(error),
        }
        Ok(())
    }

    fn take_restored(&mut self, batch: Vec<Restored>) {
        self.dirty = true;
        self.parts.registry.insert(batch.iter().map(|restored| restored.entry.clone()));
        for Restored { entry, record, have, activity, trusted, changed } in batch {
            let info_hash = record.info_hash;
            let runs = activity == Activity::Running;
            // Of files that cannot be looked at, what was stored stays as it is.
            let pieces = Pieces::stored(have, !changed);
            self.insert(entry, pieces, record.data_dir, |torrent| {
                torrent.activity = activity;
                torrent.uploaded_before = record.uploaded;
                torrent.downloaded_before = record.downloaded;
                torrent.added_at = record.added_at;
                torrent.finished_at = record.finished_at;
                torrent.active_at = record.wishes.active_at;
                torrent.forced = record.wishes.forced;
                torrent.wishes = Arc::new(record.wishes);
                // As earlier versions entered it.
                if record.finished_at.is_some() && torrent.wishes.files.is_empty() {
                    Arc::make_mut(&mut torrent.wishes).was_whole = true;
                }
                torrent.upload_limit = record.upload_limit;
                torrent.download_limit = record.download_limit;
                torrent.unchecked = changed;
                torrent.apply_wishes(record.sequential);
            });
            // Files that changed since they were last entered are hashed: pieces written in the last second
            // before a kill are found, and pieces that somebody damaged are not claimed.
            match (runs, trusted) {
                (true, true) => self.begin_run(info_hash),
                (true, false) => self.begin(info_hash),
                (false, _) => {}
            }
        }
    }

    /// Gives a torrent that no shard runs what it lacks: its directory, when that was not there before or is another
    /// now, and with `hashes` those of its pieces, which are not kept in memory for what is complete. Gives whether it
    /// has them; without, it has failed. `run`: whether it runs once its directory is back.
    pub(super) fn make_whole(&mut self, info_hash: InfoHash, hashes: bool, run: bool) -> bool {
        let Some(torrent) = self.torrent(&info_hash) else { return false };
        let lean = hashes && torrent.entry.metainfo.is_lean();
        if torrent.entry.store.is_in_place() && !lean {
            return true;
        }
        let (metainfo, data_dir) = (torrent.entry.metainfo.clone(), torrent.data_dir.clone());
        let wishes = torrent.wishes.clone();
        let stored = || self.stored_metainfo(info_hash).map(|metainfo| Arc::new(renamed(metainfo, &wishes)));
        let metainfo = if lean { stored() } else { Ok(metainfo) };
        let limits = &self.parts.store_limits;
        let opened = metainfo.map_err(|error| Activity::Failed(error.to_string())).and_then(|metainfo| {
            let store = TorrentStore::open(&data_dir, metainfo.info.clone(), limits);
            store.map(|store| (metainfo, store)).map_err(|error| stopped_by(&error, run))
        });
        let entry = opened.map(|(metainfo, store)| self.entry(metainfo, store));
        let Some(torrent) = self.torrent(&info_hash) else { return false };
        torrent.status = None;
        match entry {
            Ok(entry) => {
                let sequential = torrent.entry.sequential.load(Ordering::Relaxed);
                (torrent.uploaded_before, torrent.downloaded_before) =
                    (torrent.uploaded(), torrent.downloaded());
                entry.store.take_stamps(&torrent.entry.store.stamps());
                torrent.pieces.reopened(&torrent.entry.store);
                torrent.entry = entry.clone();
                torrent.apply_wishes(sequential);
                self.parts.registry.insert([entry]);
                true
            }
            Err(activity) => {
                torrent.activity = activity;
                false
            }
        }
    }

    /// The torrent file as it is stored.
    pub(super) fn stored_metainfo(&self, info_hash: InfoHash) -> Result<Metainfo, EngineError> {
        let stored = self.parts.resume.as_ref().map(|resume| resume.metainfo(info_hash)).transpose();
        let bytes = stored.map_err(|error| EngineError::Store(error.to_string()))?.flatten();
        let bytes = bytes.ok_or_else(|| EngineError::Store("its torrent file is not stored".into()))?;
        Metainfo::parse(&bytes).map_err(|error| EngineError::Store(error.to_string()))
    }

    /// Enters a torrent that is new.
    pub(super) fn save_new(&mut self, info_hash: InfoHash) -> Result<(), EngineError> {
        self.enter(info_hash, |resume, torrent, record, stamps| {
            let (metainfo, stamps) = (torrent.entry.metainfo.to_bytes(), stamps.unwrap_or_default().to_vec());
            resume.put(&TorrentRecord { metainfo, stamps, ..record })
        })
    }

    /// Enters all that is kept of a torrent but its torrent file. Nothing to do for one that is being removed.
    pub(super) fn save(&mut self, info_hash: InfoHash) -> Result<(), EngineError> {
        self.enter(info_hash, |resume, torrent, record, stamps| {
            // Without its directory nothing new is known of its files: what was entered of them stays.
            if torrent.entry.store.absence().is_some() {
                return resume.set_settings(&record);
            }
            resume.replace(&record, stamps)
        })
    }

    /// Enters what the user wants of a torrent and when it was finished, and nothing about its files.
    pub(super) fn save_settings(&self, info_hash: InfoHash) -> Result<(), EngineError> {
        let (Some(resume), Some(record)) = (&self.parts.resume, self.record(info_hash)) else {
            return Ok(());
        };
        resume.set_settings(&record).map_err(|error| EngineError::Store(error.to_string()))
    }

    /// Hands the record of a torrent, without its torrent file, and the stamps that are to be entered with it to `how`.
    fn enter(
        &mut self,
        info_hash: InfoHash,
        how: impl FnOnce(&ResumeStore, &Torrent, TorrentRecord, Option<&[FileStamp]>) -> Result<(), ResumeError>,
    ) -> Result<(), EngineError> {
        let Some(resume) = self.parts.resume.clone() else { return Ok(()) };
        let Some(record) = self.record(info_hash) else { return Ok(()) };
        let Some(torrent) = self.torrent(&info_hash) else { return Ok(()) };
        let update = torrent.pieces.stamp_update(&torrent.entry.store);
        how(&resume, torrent, record, update.stamps())
            .map_err(|error| EngineError::Store(error.to_string()))?;
        torrent.pieces.note_stored(&update);
        Ok(())
    }

    /// The record of a torrent, without its torrent file and the stamps of its files; `None` for one that is being
    /// removed.
    fn record(&self, info_hash: InfoHash) -> Option<TorrentRecord> {
        let torrent = &self.torrents[self.ids.get(&info_hash)?];
        if matches!(torrent.activity, Activity::Stopping { next: Next::Remove { .. }, .. }) {
            return None;
        }
        let paused = match &torrent.activity {
            Activity::Paused | Activity::Handling { run: false } | Activity::Missing { run: false, .. } => {
                true
            }
            Activity::Stopping { next, .. } => matches!(next, Next::Pause | Next::Handle { run: false, .. }),
            _ => false,
        };
        Some(TorrentRecord {
            state: if paused { RunState::Paused } else { RunState::Running },
            have: Bitfield::clone(torrent.pieces.durable()),
            uploaded: torrent.uploaded(),
            downloaded: torrent.downloaded(),
            added_at: torrent.added_at,
            finished_at: torrent.finished_at,
            sequential: torrent.entry.sequential.load(Ordering::Relaxed),
            wishes: Wishes {
                active_at: torrent.active_at,
                forced: torrent.forced,
                ..Wishes::clone(&torrent.wishes)
            },
            upload_limit: torrent.upload_limit,
            download_limit: torrent.download_limit,
            ..TorrentRecord::new(
                info_hash,
                Vec::new(),
                torrent.data_dir.clone(),
                torrent.pieces.durable().len(),
            )
        })
    }

    /// Enters what has become durable since the last call, all torrents in one transaction.
    pub(super) fn save_progress(&mut self) {
        let Some(resume) = self.parts.resume.clone() else { return };
        let torrents = || {
            let known = self.unsaved.iter().filter_map(|info_hash| self.ids.get(info_hash));
            known.map(|id| &self.torrents[id])
        };
        let stamps: Vec<StampUpdate> = torrents()
            .map(|torrent| {
                let store = &torrent.entry.store;
                // Too much to be written every second of a torrent with very many.
                match store.layout().files.len() <= STAMPED_FILES_MAX || torrent.is_done() {
                    true => torrent.pieces.stamp_update(store),
                    false => StampUpdate::Clear,
                }
            })
            .collect();
        let updates: Vec<PieceUpdate<'_>> = torrents()
            .zip(&stamps)
            .map(|(torrent, stamps)| PieceUpdate {
                info_hash: torrent.entry.info_hash(),
                have: torrent.pieces.durable(),
                uploaded: torrent.uploaded(),
                downloaded: torrent.downloaded(),
                stamps: stamps.stamps(),
            })
            .collect();
        if let Err(error) = resume.set_pieces(&updates) {
            tracing::error!(%error, "cannot save progress");
            return; // it stays unsaved, and is saved the next time
        }
        let stored: Vec<u32> = self.unsaved.drain().filter_map(|hash| self.ids.get(&hash).copied()).collect();
        for (id, stamps) in stored.iter().zip(&stamps) {
            if let Some(torrent) = self.torrents.get_mut(id) {
                torrent.pieces.note_stored(stamps);
            }
        }
    }

    /// Enters how long torrents have run, in one transaction.
    pub(super) fn save_times(&mut self) {
        let Some(resume) = self.parts.resume.clone() else { return };
        let now = Instant::now();
        let mut records = Vec::new();
        for torrent in self.torrents.values_mut().filter(|torrent| torrent.running_since.is_some()) {
            torrent.count_time(now);
            // At the end of the process time is short.
            if records.len() < TIMES_MAX {
                records.push(torrent.entry.info_hash());
            }
        }
        let records: Vec<TorrentRecord> =
            records.into_iter().filter_map(|info_hash| self.record(info_hash)).collect();
        if let Err(error) = resume.set_all_settings(&records) {
            tracing::error!(%error, "cannot save how long torrents have run");
        }
    }

    pub(super) fn save_or_log(&mut self, info_hash: InfoHash) {
        if let Err(error) = self.save(info_hash) {
            tracing::error!(%error, torrent = %info_hash, "cannot save the torrent's state");
        }
    }
}

/// What a torrent is that such an error has stopped. `run`: whether it runs once data that is missing is back.
pub(super) fn stopped_by(error: &StorageError, run: bool) -> Activity {
    let reason = error.to_string();
    if error.is_missing() { Activity::Missing { reason, run } } else { Activity::Failed(reason) }
}
