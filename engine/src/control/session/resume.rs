//! What a session keeps between runs: torrents from the resume store at start, and into it as they change.

use super::super::handle::EngineError;
use super::super::torrent::{Activity, Next};
use super::Session;
use crate::shard::registry::TorrentEntry;
use crate::storage::{PieceUpdate, RunState, TorrentRecord, TorrentStore};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::units::InfoHash;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Files of a torrent up to which their stamps are entered with each second of progress.
const STAMPED_FILES_MAX: usize = 1000;

impl Session {
    /// Loads what the resume store holds.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn load(&mut self) -> Result<(), EngineError> {
        let Some(resume) = &self.parts.resume else { return Ok(()) };
        let loaded = resume.load_all().map_err(|error| EngineError::Store(error.to_string()))?;
        for damaged in &loaded.damaged {
            tracing::error!(torrent = %damaged.info_hash, reason = damaged.reason, "a stored torrent is damaged");
        }
        let mut restored = Vec::new();
        for record in loaded.records {
            let info_hash = record.info_hash;
            match self.restore(record) {
                Ok(found) => restored.push(found),
                // It stays in the store: the disk may only not be mounted yet.
                Err(error) => {
                    tracing::error!(%error, torrent = %info_hash, "a stored torrent cannot be loaded")
                }
            }
        }
        self.parts.registry.insert(restored.iter().cloned());
        for entry in restored {
            let info_hash = entry.info_hash();
            if self.torrent(&info_hash).is_none_or(|torrent| torrent.activity != Activity::Running) {
                continue;
            }
            // Files that changed since they were last entered are hashed: pieces written in the last second
            // before a kill are found, and pieces that somebody damaged are not claimed.
            self.begin(info_hash);
        }
        Ok(())
    }

    /// Makes a torrent of a stored record. When its files are not as they were then, they are to be checked.
    fn restore(&mut self, record: TorrentRecord) -> Result<Arc<TorrentEntry>, EngineError> {
        let metainfo =
            Metainfo::parse(&record.metainfo).map_err(|error| EngineError::Store(error.to_string()))?;
        let limits = &self.parts.store_limits;
        let mut missing = None;
        let store = TorrentStore::open(&record.data_dir, metainfo.info.clone(), limits).unwrap_or_else(|error| {
            tracing::error!(%error, torrent = %record.info_hash, "a stored torrent has lost its directory");
            missing = Some(error.to_string());
            TorrentStore::absent(&record.data_dir, metainfo.info.clone(), limits, error)
        });
        let entry = self.entry(Arc::new(metainfo), store);
        let pieces = entry.content.info.layout.piece_count();
        let fits = record.have.len() == pieces;
        let trusted = fits && missing.is_none() && record.stamps == entry.store.stamps();
        // What is on a disk that is not mounted is shown as it was, and hashed before anything of it is served.
        let have = if trusted || (fits && missing.is_some()) { record.have } else { Bitfield::new(pieces) };
        let activity = match (record.state, missing) {
            (RunState::Paused, _) => Activity::Paused,
            (RunState::Running, Some(reason)) => Activity::Failed(reason),
            (RunState::Running, None) => Activity::Running,
        };
        self.insert(entry.clone(), have, record.data_dir, |torrent| {
            torrent.activity = activity;
            torrent.uploaded_before = record.uploaded;
            torrent.downloaded_before = record.downloaded;
            torrent.added_at = record.added_at;
            torrent.finished_at = record.finished_at;
            torrent.seed_ratio = record.seed_ratio;
            torrent.upload_limit = record.upload_limit;
            torrent.download_limit = record.download_limit;
            torrent.unchecked = !trusted;
            torrent.apply_wishes(record.sequential);
        });
        Ok(entry)
    }

    /// Opens the directory of a torrent that was not there when the engine started. Gives whether the torrent has
    /// its directory; without it, it has failed.
    pub(super) fn find_directory(&mut self, info_hash: InfoHash) -> bool {
        let Some(torrent) = self.torrent(&info_hash) else { return false };
        if torrent.entry.store.absence().is_none() {
            return true;
        }
        let (metainfo, data_dir) = (torrent.entry.metainfo.clone(), torrent.data_dir.clone());
        let opened = TorrentStore::open(&data_dir, metainfo.info.clone(), &self.parts.store_limits);
        let entry = opened.map(|store| self.entry(metainfo, store));
        let Some(torrent) = self.torrent(&info_hash) else { return false };
        torrent.status = None;
        match entry {
            Ok(entry) => {
                let sequential = torrent.entry.sequential.load(Ordering::Relaxed);
                torrent.entry = entry.clone();
                torrent.apply_wishes(sequential);
                torrent.set_have(Bitfield::new(entry.content.info.layout.piece_count()));
                self.parts.registry.insert([entry]);
                true
            }
            Err(error) => {
                torrent.activity = Activity::Failed(error.to_string());
                false
            }
        }
    }

    /// Enters all that is kept of a torrent. Nothing to do for one that is being removed.
    pub(super) fn save(&self, info_hash: InfoHash) -> Result<(), EngineError> {
        let (Some(resume), Some(id)) = (&self.parts.resume, self.ids.get(&info_hash)) else { return Ok(()) };
        let torrent = &self.torrents[id];
        if matches!(torrent.activity, Activity::Stopping { next: Next::Remove, .. }) {
            return Ok(());
        }
        let paused =
            matches!(torrent.activity, Activity::Paused | Activity::Stopping { next: Next::Pause, .. });
        let record = TorrentRecord {
            state: if paused { RunState::Paused } else { RunState::Running },
            have: Bitfield::clone(&torrent.have),
            uploaded: torrent.uploaded(),
            downloaded: torrent.downloaded(),
            added_at: torrent.added_at,
            finished_at: torrent.finished_at,
            sequential: torrent.entry.sequential.load(Ordering::Relaxed),
            seed_ratio: torrent.seed_ratio,
            upload_limit: torrent.upload_limit,
            download_limit: torrent.download_limit,
            stamps: torrent.entry.store.stamps(),
            ..TorrentRecord::new(
                info_hash,
                torrent.entry.metainfo.to_bytes(),
                torrent.data_dir.clone(),
                torrent.have.len(),
            )
        };
        // Without its directory nothing new is known of its files: what was entered of them stays.
        let entered = match torrent.entry.store.absence() {
            Some(_) => resume.set_settings(&record),
            None => resume.put(&record),
        };
        entered.map_err(|error| EngineError::Store(error.to_string()))
    }

    /// Enters what has become durable since the last call, all torrents in one transaction.
    pub(super) fn save_progress(&mut self) {
        let Some(resume) = &self.parts.resume else { return };
        let torrents = || {
            let known = self.unsaved.iter().filter_map(|info_hash| self.ids.get(info_hash));
            known.map(|id| &self.torrents[id])
        };
        let stamps: Vec<_> = torrents()
            .map(|torrent| {
                let store = &torrent.entry.store;
                // One look-up per file: too much for every second of a torrent with very many.
                (store.layout().files.len() <= STAMPED_FILES_MAX).then(|| store.stamps())
            })
            .collect();
        let updates: Vec<PieceUpdate<'_>> = torrents()
            .zip(&stamps)
            .map(|(torrent, stamps)| PieceUpdate {
                info_hash: torrent.entry.info_hash(),
                have: &torrent.have,
                uploaded: torrent.uploaded(),
                downloaded: torrent.downloaded(),
                stamps: stamps.as_deref(),
            })
            .collect();
        if let Err(error) = resume.set_pieces(&updates) {
            tracing::error!(%error, "cannot save progress");
        }
        self.unsaved.clear();
    }

    pub(super) fn save_or_log(&self, info_hash: InfoHash) {
        if let Err(error) = self.save(info_hash) {
            tracing::error!(%error, torrent = %info_hash, "cannot save the torrent's state");
        }
    }
}
