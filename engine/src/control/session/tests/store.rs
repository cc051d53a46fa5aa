//! A resume store in memory, which fails when it is told to.

use crate::control::outside::SessionStore;
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::{
    FileStamp, PieceUpdate, Rebuilt, ResumeError, SessionSettings, TorrentRecord, Totals,
};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// Keeps what the file of a real one would have.
#[derive(Default)]
pub struct FakeStore(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    torrents: BTreeMap<TorrentId, TorrentRecord>,
    settings: SessionSettings,
    totals: Totals,
    /// Its disk does not work.
    broken: bool,
    /// It was closed by a failure, and not opened since.
    closed: bool,
    /// A torrent whose torrent file is too large to be kept.
    too_large: Option<TorrentId>,
    /// It lacks this one when it is opened again.
    loses: Option<TorrentId>,
    transactions: usize,
}

fn error() -> ResumeError {
    ResumeError::Io { path: "resume.redb".into(), error: io::Error::other("the disk does not work") }
}

impl FakeStore {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("no test panics in here")
    }

    /// The store for one transaction.
    fn change(&self) -> Result<MutexGuard<'_, Kept>, ResumeError> {
        let mut kept = self.kept();
        if kept.closed {
            return Err(ResumeError::Closed { reason: std::sync::Arc::new(error()) });
        }
        if kept.broken {
            kept.closed = true;
            return Err(error());
        }
        kept.transactions += 1;
        Ok(kept)
    }

    /// Has its disk fail from now on, or work again.
    pub fn set_broken(&self, broken: bool) {
        self.kept().broken = broken;
    }

    /// Is opened by another process, which has no part in the failures of the one before.
    pub fn restart(&self) {
        let mut kept = self.kept();
        (kept.broken, kept.closed) = (false, false);
    }

    /// Refuses the torrent file of one torrent from now on.
    pub fn refuse(&self, torrent: Option<TorrentId>) {
        self.kept().too_large = torrent;
    }

    /// Loses a torrent when it is opened again.
    pub fn lose(&self, torrent: TorrentId) {
        self.kept().loses = Some(torrent);
    }

    /// What is kept of a torrent.
    pub fn torrent(&self, torrent: TorrentId) -> Option<TorrentRecord> {
        self.kept().torrents.get(&torrent).cloned()
    }

    /// What is kept of all torrents.
    pub fn torrents(&self) -> Vec<TorrentRecord> {
        self.kept().torrents.values().cloned().collect()
    }

    /// Transactions until now.
    pub fn transactions(&self) -> usize {
        self.kept().transactions
    }
}

/// All of a record that is in the settings of the store.
fn settings_of(record: &TorrentRecord, kept: &TorrentRecord) -> TorrentRecord {
    TorrentRecord {
        metainfo: kept.metainfo.clone(),
        have: kept.have.clone(),
        uploaded: kept.uploaded,
        downloaded: kept.downloaded,
        stamps: kept.stamps.clone(),
        ..record.clone()
    }
}

impl SessionStore for FakeStore {
    fn path(&self) -> &Path {
        Path::new("resume.redb")
    }

    fn session(&self) -> Result<SessionSettings, ResumeError> {
        Ok(self.change()?.settings.clone())
    }

    fn put_session(&self, settings: &SessionSettings) -> Result<(), ResumeError> {
        self.change()?.settings = settings.clone();
        Ok(())
    }

    fn totals(&self) -> Result<Totals, ResumeError> {
        Ok(self.change()?.totals)
    }

    fn set_totals(&self, torrents: &[(TorrentId, u64, u64)], all: &Totals) -> Result<(), ResumeError> {
        let mut kept = self.change()?;
        for (torrent_id, uploaded, downloaded) in torrents {
            if let Some(record) = kept.torrents.get_mut(torrent_id) {
                (record.uploaded, record.downloaded) = (*uploaded, *downloaded);
            }
        }
        kept.totals = *all;
        Ok(())
    }

    fn put_all(&self, records: &[TorrentRecord]) -> Result<(), ResumeError> {
        let mut kept = self.change()?;
        if let Some(record) = records.iter().find(|record| kept.too_large == Some(record.torrent_id)) {
            return Err(ResumeError::TooLarge { torrent_id: record.torrent_id, what: "torrent file" });
        }
        for record in records {
            assert!(!record.metainfo.is_empty(), "a torrent without its torrent file");
            kept.torrents.insert(record.torrent_id, record.clone());
        }
        Ok(())
    }

    fn replace(&self, records: &[(TorrentRecord, Option<&[FileStamp]>)]) -> Result<(), ResumeError> {
        let mut kept = self.change()?;
        for (record, stamps) in records {
            if let Some(old) = kept.torrents.get_mut(&record.torrent_id) {
                let stamps = stamps.map_or_else(|| old.stamps.clone(), <[FileStamp]>::to_vec);
                *old = TorrentRecord { metainfo: old.metainfo.clone(), stamps, ..record.clone() };
            }
        }
        Ok(())
    }

    fn set_all_settings(&self, records: &[TorrentRecord]) -> Result<(), ResumeError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut kept = self.change()?;
        for record in records {
            if let Some(old) = kept.torrents.get_mut(&record.torrent_id) {
                *old = settings_of(record, old);
            }
        }
        Ok(())
    }

    fn set_pieces(&self, updates: &[PieceUpdate<'_>]) -> Result<(), ResumeError> {
        if updates.is_empty() {
            return Ok(());
        }
        let mut kept = self.change()?;
        for update in updates {
            if let Some(record) = kept.torrents.get_mut(&update.torrent_id) {
                record.have = update.have.clone();
                (record.uploaded, record.downloaded) = (update.uploaded, update.downloaded);
                if let Some(stamps) = update.stamps {
                    record.stamps = stamps.to_vec();
                }
            }
        }
        Ok(())
    }

    fn remove_all(&self, torrents: &[TorrentId]) -> Result<usize, ResumeError> {
        let mut kept = self.change()?;
        Ok(torrents.iter().filter(|torrent| kept.torrents.remove(torrent).is_some()).count())
    }

    fn metainfo(&self, torrent_id: TorrentId) -> Result<Option<Vec<u8>>, ResumeError> {
        Ok(self.change()?.torrents.get(&torrent_id).map(|record| record.metainfo.clone()))
    }

    fn metainfo_beside(&self, torrent_id: TorrentId) -> Option<Vec<u8>> {
        // What is beside the store has no part in its failures.
        self.kept().torrents.get(&torrent_id).map(|record| record.metainfo.clone())
    }

    fn lacking(&self, torrents: &mut dyn Iterator<Item = TorrentId>) -> Result<Vec<TorrentId>, ResumeError> {
        let kept = self.change()?;
        Ok(torrents.filter(|torrent| !kept.torrents.contains_key(torrent)).collect())
    }

    fn note_beside(&self, _: TorrentId) {}

    fn stop_beside(&self) {}

    fn reopen(&self) -> Result<Option<Rebuilt>, ResumeError> {
        let mut kept = self.kept();
        if kept.broken {
            return Err(error());
        }
        kept.closed = false;
        let Some(lost) = kept.loses.take() else { return Ok(None) };
        kept.torrents.remove(&lost);
        // As one that was made anew: what is beside it has no pieces.
        for record in kept.torrents.values_mut() {
            record.have = ringseed_proto::bitfield::Bitfield::new(record.have.len());
            record.stamps = Vec::new();
        }
        Ok(Some(Rebuilt {
            damage: Some("a page".into()),
            aside: Some(PathBuf::from("aside")),
            ..Rebuilt::default()
        }))
    }
}
