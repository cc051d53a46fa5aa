//! What a session keeps between runs: torrents from the resume store at start, and into it as they change.

use super::super::activity::{Activity, Next};
use super::super::loader::{Loading, Restored};
use super::super::pieces::{Pieces, StampUpdate};
use super::Session;
use super::renamed;
use ringseed_handle::EngineError;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use ringseed_storage::{PieceUpdate, RunState, StorageError, TorrentRecord, TorrentSettings, TorrentStore};
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
            Loading::Opened(guard) => {
                let store = guard.store();
                self.take_settings(&*store);
                self.take_totals(&*store);
                self.parts.resume = Some(store);
                self.store_guard = Some(guard);
            }
            Loading::Torrents(batch) => self.take_restored(batch),
            Loading::Done => {
                self.loading = false;
                self.claims.forget_known();
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
            let torrent_id = record.torrent_id;
            let runs = activity == Activity::Running;
            // Of files that cannot be looked at, what was stored stays as it is.
            // So does what belongs to files that are on their way to another directory.
            let on_the_way = record.settings.file_work.is_some();
            let pieces = Pieces::stored(have, !changed || on_the_way);
            self.insert(entry, pieces, record.data_dir, None, |torrent| {
                torrent.activity = activity;
                torrent.uploaded_before = record.uploaded;
                torrent.downloaded_before = record.downloaded;
                torrent.added_at = record.added_at;
                torrent.finished_at = record.finished_at;
                torrent.active_at = record.settings.active_at;
                torrent.forced = record.settings.forced;
                torrent.settings = Arc::new(record.settings);
                // As earlier versions entered it.
                if record.finished_at.is_some() && torrent.settings.files.is_empty() {
                    Arc::make_mut(&mut torrent.settings).was_whole = true;
                }
                torrent.upload_limit = record.upload_limit;
                torrent.download_limit = record.download_limit;
                // Those are looked at when they have arrived.
                torrent.unchecked = changed && !on_the_way;
                torrent.apply_settings(record.sequential);
            });
            // Files that changed since they were last entered are hashed: pieces written in the last second
            // before a kill are found, and pieces that somebody damaged are not claimed.
            if on_the_way {
                self.resume_work(torrent_id, runs);
                continue;
            }
            // It may have been completed, and the process have ended before it was moved.
            match (runs, trusted) {
                (_, true) if self.move_if_done(torrent_id, runs) => {}
                (true, true) => self.begin_run(torrent_id),
                (true, false) => self.begin(torrent_id),
                (false, _) => {}
            }
        }
    }

    /// Gives a torrent that no shard runs what it lacks: its directory, when that was not there before or is another
    /// now, and with `hashes` those of its pieces, which are not kept in memory for what is complete. Gives whether it
    /// has them; without, it has failed. `run`: whether it runs once its directory is back.
    pub(super) fn make_whole(&mut self, torrent_id: TorrentId, hashes: bool, run: bool) -> bool {
        let Some(torrent) = self.torrent(&torrent_id) else { return false };
        let lean = hashes && torrent.entry.metainfo.is_stub();
        if torrent.entry.store.is_in_place() && !lean {
            return true;
        }
        let (metainfo, data_dir) = (torrent.entry.metainfo.clone(), torrent.data_dir.clone());
        let settings = torrent.settings.clone();
        let stored =
            || self.stored_metainfo(torrent_id).map(|metainfo| Arc::new(renamed(metainfo, &settings)));
        let metainfo = if lean { stored() } else { Ok(metainfo) };
        let limits = &self.parts.store_limits;
        let opened = metainfo.map_err(|error| Activity::Failed(error.to_string())).and_then(|metainfo| {
            let store = TorrentStore::open(&data_dir, metainfo.info.clone(), limits);
            store.map(|store| (metainfo, store)).map_err(|error| stopped_by(&error, run))
        });
        let Some(old) = self.torrent(&torrent_id).map(|torrent| torrent.entry.clone()) else { return false };
        let entry = opened.map(|(metainfo, store)| self.entry_in_place_of(&old, metainfo, store));
        let Some(torrent) = self.torrent(&torrent_id) else { return false };
        torrent.touch();
        match entry {
            Ok(entry) => {
                let sequential = torrent.entry.sequential.load(Ordering::Relaxed);
                entry.store.take_partial_files(torrent.entry.store.partial_files());
                entry.store.take_stamps(&torrent.entry.store.stamps());
                if torrent.entry.store.absence().is_some() {
                    entry.store.tell_names(torrent.pieces.durable());
                }
                torrent.pieces.reopened(&torrent.entry.store);
                torrent.entry = entry.clone();
                torrent.apply_settings(sequential);
                self.parts.registry.insert([entry]);
                true
            }
            Err(Activity::Failed(reason)) => {
                self.fail(torrent_id, reason, run);
                false
            }
            Err(activity) => {
                torrent.activity = activity;
                false
            }
        }
    }

    /// The torrent file as it is stored.
    pub(super) fn stored_metainfo(&self, torrent_id: TorrentId) -> Result<Metainfo, EngineError> {
        let resume = self.parts.resume.as_ref();
        let stored = resume.map(|resume| match resume.metainfo(torrent_id) {
            // A closed store, or one that was made anew, has it once more beside it.
            Err(error) => resume.metainfo_beside(torrent_id).map(Some).ok_or(error),
            Ok(None) => Ok(resume.metainfo_beside(torrent_id)),
            stored => stored,
        });
        let bytes = stored.transpose()?.flatten();
        let bytes = bytes.ok_or(EngineError::NotStored)?;
        Metainfo::parse(&bytes).map_err(EngineError::StoredDamaged)
    }

    /// Enters torrents that are new, and that are to be in these states, in one transaction.
    pub(super) fn save_new(&mut self, new: &[(TorrentId, RunState)]) -> Result<(), EngineError> {
        let Some(resume) = self.parts.resume.clone().filter(|_| !new.is_empty()) else { return Ok(()) };
        let (mut records, mut updates) = (Vec::with_capacity(new.len()), Vec::with_capacity(new.len()));
        for (torrent_id, state) in new {
            let Some(record) = self.record(*torrent_id) else { continue };
            let Some(entry) = self.torrent(torrent_id).map(|torrent| torrent.entry.clone()) else { continue };
            let metainfo = match entry.metainfo.is_stub() {
                true => self.stored_metainfo(*torrent_id)?.to_bytes(),
                false => entry.metainfo.to_bytes(),
            };
            let Some(torrent) = self.torrent(torrent_id) else { continue };
            // What an earlier file had of them is not in this one.
            torrent.pieces.note_stored(&StampUpdate::Clear);
            let update = torrent.pieces.stamp_update(&entry.store);
            let stamps = update.stamps().unwrap_or_default().to_vec();
            records.push(TorrentRecord { metainfo, stamps, state: *state, ..record });
            updates.push((*torrent_id, update));
        }
        resume.put_all(&records).map_err(|error| self.store_failed(error))?;
        for (torrent_id, update) in updates {
            if let Some(torrent) = self.torrent(&torrent_id) {
                torrent.pieces.note_stored(&update);
            }
        }
        Ok(())
    }

    /// Enters all that is kept of a torrent but its torrent file. Nothing to do for one that is being removed.
    pub(super) fn save(&mut self, torrent_id: TorrentId) -> Result<(), EngineError> {
        self.save_records(self.record(torrent_id).into_iter().collect())
    }

    /// As [`Session::save`] for many torrents, in one transaction. False when that failed.
    pub(super) fn save_all(&mut self, torrents: &[TorrentId]) -> bool {
        let records = torrents.iter().filter_map(|torrent_id| self.record(*torrent_id)).collect();
        self.save_records(records).is_ok()
    }

    fn save_records(&mut self, records: Vec<TorrentRecord>) -> Result<(), EngineError> {
        let Some(resume) = self.parts.resume.clone() else { return Ok(()) };
        // Without its directory nothing new is known of a torrent's files: what was entered of them stays.
        let (absent, present): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| {
            let torrent = self.ids.get(&record.torrent_id).and_then(|id| self.torrents.get(id));
            torrent.is_some_and(|torrent| torrent.entry.store.absence().is_some())
        });
        let updates: Vec<StampUpdate> = present
            .iter()
            .map(|record| match self.ids.get(&record.torrent_id).and_then(|id| self.torrents.get(id)) {
                Some(torrent) => torrent.pieces.stamp_update(&torrent.entry.store),
                None => StampUpdate::Keep,
            })
            .collect();
        let hashes: Vec<TorrentId> = present.iter().map(|record| record.torrent_id).collect();
        let present: Vec<_> =
            present.into_iter().zip(&updates).map(|(record, update)| (record, update.stamps())).collect();
        let stored = resume.set_all_settings(&absent).and_then(|()| match present.is_empty() {
            true => Ok(()),
            false => resume.replace(&present),
        });
        stored.map_err(|error| self.store_failed(error))?;
        absent.iter().for_each(|record| resume.note_beside(record.torrent_id));
        for (torrent_id, update) in hashes.iter().zip(&updates) {
            if let Some(torrent) = self.torrent(torrent_id) {
                torrent.pieces.note_stored(update);
            }
        }
        Ok(())
    }

    /// Enters what the user wants of torrents, as these records say, and nothing about their files.
    pub(super) fn save_settings(&mut self, records: &[TorrentRecord]) -> Result<(), EngineError> {
        let Some(resume) = self.parts.resume.clone() else { return Ok(()) };
        resume.set_all_settings(records).map_err(|error| self.store_failed(error))?;
        records.iter().for_each(|record| resume.note_beside(record.torrent_id));
        Ok(())
    }

    /// The record of a torrent, without its torrent file and the stamps of its files; `None` for one that is being
    /// removed.
    pub(super) fn record(&self, torrent_id: TorrentId) -> Option<TorrentRecord> {
        let torrent = &self.torrents[self.ids.get(&torrent_id)?];
        if torrent.is_leaving() {
            return None;
        }
        let paused = match &torrent.activity {
            Activity::Paused
            | Activity::Handling { run: false, .. }
            | Activity::Checking { run: false, .. }
            | Activity::Missing { run: false, .. } => true,
            Activity::Stopping { next, .. } => {
                matches!(next, Next::Pause | Next::Check { run: false } | Next::Handle { run: false, .. })
            }
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
            settings: TorrentSettings {
                active_at: torrent.active_at,
                forced: torrent.forced,
                ..TorrentSettings::clone(&torrent.settings)
            },
            upload_limit: torrent.upload_limit,
            download_limit: torrent.download_limit,
            ..TorrentRecord::new(
                torrent_id,
                Vec::new(),
                torrent.data_dir.clone(),
                torrent.pieces.durable().len(),
            )
        })
    }

    /// Enters what has become durable since the last call, all torrents in one transaction.
    pub(super) fn save_progress(&mut self) {
        let Some(resume) = self.parts.resume.clone().filter(|_| self.store_failure.is_none()) else { return };
        let torrents = || {
            let known = self.unsaved.iter().filter_map(|torrent_id| self.ids.get(torrent_id));
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
                torrent_id: torrent.entry.id(),
                have: torrent.pieces.durable(),
                uploaded: torrent.uploaded(),
                downloaded: torrent.downloaded(),
                stamps: stamps.stamps(),
            })
            .collect();
        if let Err(error) = resume.set_pieces(&updates) {
            tracing::error!(%error, "cannot save progress: it is tried again");
            self.store_failed(error);
            return;
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
        let now = self.now();
        let mut records = Vec::new();
        for torrent in self.torrents.values_mut().filter(|torrent| torrent.running_since.is_some()) {
            torrent.count_time(now);
            // At the end of the process time is short.
            if records.len() < TIMES_MAX {
                records.push(torrent.entry.id());
            }
        }
        let records: Vec<TorrentRecord> =
            records.into_iter().filter_map(|torrent_id| self.record(torrent_id)).collect();
        if let Err(error) = resume.set_all_settings(&records) {
            tracing::error!(%error, "cannot save how long torrents have run");
        }
    }

    /// Enters all that is kept of a torrent; when that fails, as soon as the store can be used again.
    pub(super) fn save_or_log(&mut self, torrent_id: TorrentId) {
        if let Err(error) = self.save(torrent_id) {
            tracing::error!(%error, torrent = %torrent_id, "cannot save the torrent's state");
            if self.store_failure.is_some() {
                self.owed.insert(torrent_id);
            }
        }
    }
}

/// What a torrent is that such an error has stopped. `run`: whether it runs once data that is missing is back.
pub(super) fn stopped_by(error: &StorageError, run: bool) -> Activity {
    let reason = error.to_string();
    if error.is_missing() { Activity::Missing { reason, run } } else { Activity::Failed(reason) }
}
