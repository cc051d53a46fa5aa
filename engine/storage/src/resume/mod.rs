//! The resume store: every torrent of the session in one file that is whole after any crash (`redb`).
//!
//! Each call is one transaction and is on disk when it returns: it waits for the disk, so it belongs on the control
//! thread or a blocking task. A claim of pieces is made only after [`super::TorrentStore::sync_dirty`].
//!
//! An operation that the disk fails closes the file: what follows fails with the same reason until
//! [`ResumeStore::reopen`] works (`open`). For a file that is damaged beyond that, each torrent is kept beside it once
//! more (`beside`, written by `mirror`).

mod beside;
mod error;
mod mirror;
mod open;
#[cfg(test)]
mod rebuilding_tests;
mod record;
mod session;
#[cfg(test)]
mod tests;
mod torrent_settings;

pub use error::{CopyError, RecordError, ResumeError};
pub use open::Rebuilt;
pub use record::{RunState, SpeedLimit, TorrentRecord};
pub use session::{AltSpeed, Group, SessionSettings, SetLimit, SetPort, Switch, Switched, Totals};
pub use torrent_settings::{FilePriority, FileWork, Rename, ShareLimitMode, TorrentSettings};

use super::confined::FileStamp;
use arc_swap::ArcSwapOption;
use beside::Beside;
use error::explain;
use mirror::Mirror;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The version of the file's form that this program writes, and the newest that it reads.
pub const RESUME_VERSION: u64 = 1;
/// Largest record of settings in bytes: a priority for each of 2^20 files takes 4 MiB as JSON.
const SETTINGS_BYTES_MAX: usize = 8 << 20;

const VERSION: TableDefinition<&str, u64> = TableDefinition::new("version");
const SETTINGS: TableDefinition<[u8; 20], &[u8]> = TableDefinition::new("settings");
const METAINFO: TableDefinition<[u8; 20], &[u8]> = TableDefinition::new("metainfo");
const PIECES: TableDefinition<[u8; 20], &[u8]> = TableDefinition::new("pieces");
const STAMPS: TableDefinition<[u8; 20], &[u8]> = TableDefinition::new("stamps");

/// A record that could not be read. It stays in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRecord {
    /// The torrent.
    pub torrent_id: TorrentId,
    /// What is wrong.
    pub reason: RecordError,
}

/// All that was in the file.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The torrents, by id.
    pub records: Vec<TorrentRecord>,
    /// Torrents that could not be read, to be reported.
    pub damaged: Vec<DamagedRecord>,
}

/// New progress of one torrent.
#[derive(Debug, Clone, Copy)]
pub struct PieceUpdate<'a> {
    /// The torrent.
    pub torrent_id: TorrentId,
    /// Its verified and durable pieces.
    pub have: &'a Bitfield,
    /// Payload bytes sent, over all runs.
    pub uploaded: u64,
    /// Payload bytes received, over all runs.
    pub downloaded: u64,
    /// Its files as they are now; `None` leaves the old ones.
    pub stamps: Option<&'a [FileStamp]>,
}

/// The session's torrents on disk.
#[derive(Debug)]
pub struct ResumeStore {
    /// `None` while it is closed.
    database: ArcSwapOption<Database>,
    /// Why it is closed.
    failure: ArcSwapOption<ResumeError>,
    path: PathBuf,
    beside: Beside,
    mirror: Mirror,
}

impl ResumeStore {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One durable transaction.
    fn change<T>(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, ResumeError> {
        self.read(|database| change(database, work))
    }

    /// Work on the database. A failure of the disk closes it.
    fn read<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, ResumeError> {
        let Some(database) = self.database.load_full() else { return Err(self.why_closed()) };
        work(&database).map_err(|error| {
            let closes = matches!(
                error,
                redb::Error::Io(_)
                    | redb::Error::PreviousIo
                    | redb::Error::Corrupted(_)
                    | redb::Error::DatabaseClosed
                    | redb::Error::LockPoisoned(_)
                    | redb::Error::Backend(_)
                    | redb::Error::Unsupported
            );
            let error = explain(&self.path, error);
            let current = self.database.load();
            if closes && current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &database)) {
                self.failure.store(Some(Arc::new(error.copy())));
                self.database.store(None);
            }
            error
        })
    }

    fn why_closed(&self) -> ResumeError {
        let unknown = || {
            let error = std::io::Error::other("it is not open");
            Arc::new(ResumeError::Io { path: self.path.clone(), error })
        };
        ResumeError::Closed { reason: self.failure.load_full().unwrap_or_else(unknown) }
    }

    /// Every torrent. A record that cannot be read does not keep the others from being read.
    ///
    /// # Errors
    /// When the file as a whole cannot be read.
    pub fn load_all(&self) -> Result<Loaded, ResumeError> {
        let mut loaded = Loaded::default();
        self.for_each(|record| {
            match record {
                Ok(record) => loaded.records.push(record),
                Err(damaged) => loaded.damaged.push(damaged),
            }
            true
        })?;
        Ok(loaded)
    }

    /// Hands over every torrent by id, one after the other, until `each` returns false. What is written
    /// meanwhile is not seen.
    ///
    /// # Errors
    /// When the file as a whole cannot be read.
    pub fn for_each(
        &self,
        mut each: impl FnMut(Result<TorrentRecord, DamagedRecord>) -> bool,
    ) -> Result<(), ResumeError> {
        self.read(|database| {
            let transaction = database.begin_read()?;
            let settings = transaction.open_table(SETTINGS)?;
            let metainfo = transaction.open_table(METAINFO)?;
            let pieces = transaction.open_table(PIECES)?;
            let stamps = transaction.open_table(STAMPS)?;
            for row in settings.iter()? {
                let (key, value) = row?;
                let torrent_id = TorrentId(key.value());
                let metainfo = metainfo.get(key.value())?;
                let pieces = pieces.get(key.value())?;
                let stamps = stamps.get(key.value())?;
                let record = decode(
                    torrent_id,
                    value.value(),
                    metainfo.as_ref().map(|metainfo| metainfo.value()),
                    pieces.as_ref().map(|pieces| pieces.value()),
                    stamps.as_ref().map(|stamps| stamps.value()),
                );
                if !each(record.map_err(|reason| DamagedRecord { torrent_id, reason })) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Adds a torrent, or replaces all that is kept about it.
    ///
    /// # Errors
    /// When it is too large or the file cannot be written.
    pub fn put(&self, record: &TorrentRecord) -> Result<(), ResumeError> {
        self.put_all(std::slice::from_ref(record))
    }

    /// As [`ResumeStore::put`] for many torrents at once.
    ///
    /// # Errors
    /// As [`ResumeStore::put`]: nothing of it is entered then.
    pub fn put_all(&self, records: &[TorrentRecord]) -> Result<(), ResumeError> {
        let encoded = records.iter().map(|record| self.encode_new(record)).collect::<Result<Vec<_>, _>>()?;
        self.change(|transaction| {
            let mut all = encoded.iter().zip(records);
            all.try_for_each(|(encoded, record)| encoded.enter_new(transaction, &record.metainfo))
        })?;
        records.iter().for_each(|record| self.mirror.note(record.torrent_id));
        Ok(())
    }

    /// Replaces all that is kept about torrents but their torrent files, of those that are there. The stamps are the ones
    /// beside the record, not those in it; `None` leaves the old ones, which belong to the pieces of the record then.
    ///
    /// # Errors
    /// As [`ResumeStore::put`]: nothing of it is entered then.
    pub fn replace(&self, records: &[(TorrentRecord, Option<&[FileStamp]>)]) -> Result<(), ResumeError> {
        let encoded = records.iter().map(|(record, stamps)| self.encode(record, *stamps));
        let encoded = encoded.collect::<Result<Vec<_>, _>>()?;
        self.change(|transaction| {
            for encoded in &encoded {
                if transaction.open_table(METAINFO)?.get(encoded.key)?.is_some() {
                    encoded.enter(transaction)?;
                }
            }
            Ok(())
        })?;
        records.iter().for_each(|(record, _)| self.mirror.note(record.torrent_id));
        Ok(())
    }

    /// The rows of a new record, without its torrent file.
    fn encode_new(&self, record: &TorrentRecord) -> Result<Encoded, ResumeError> {
        if record.metainfo.len() > TORRENT_BYTES_MAX {
            return Err(ResumeError::TooLarge { torrent_id: record.torrent_id, what: "torrent file" });
        }
        self.encode(record, Some(&record.stamps))
    }

    /// The rows of a record, without its torrent file.
    fn encode(&self, record: &TorrentRecord, stamps: Option<&[FileStamp]>) -> Result<Encoded, ResumeError> {
        let settings = self.as_json(&record.settings())?;
        if settings.len() > SETTINGS_BYTES_MAX {
            return Err(ResumeError::TooLarge { torrent_id: record.torrent_id, what: "settings record" });
        }
        Ok(Encoded {
            key: record.torrent_id.0,
            settings,
            pieces: record::encode_pieces(&record.have, record.uploaded, record.downloaded),
            stamps: stamps.map(record::encode_stamps),
        })
    }

    /// Those of `torrents` that are not in the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn lacking(&self, torrents: impl Iterator<Item = TorrentId>) -> Result<Vec<TorrentId>, ResumeError> {
        self.read(|database| {
            let table = database.begin_read()?.open_table(METAINFO)?;
            let mut lacking = Vec::new();
            for torrent_id in torrents {
                if table.get(torrent_id.0)?.is_none() {
                    lacking.push(torrent_id);
                }
            }
            Ok(lacking)
        })
    }

    /// The torrent file of a torrent, when it is there.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn metainfo(&self, torrent_id: TorrentId) -> Result<Option<Vec<u8>>, ResumeError> {
        self.read(|database| {
            let table = database.begin_read()?.open_table(METAINFO)?;
            Ok(table.get(torrent_id.0)?.map(|bytes| bytes.value().to_vec()))
        })
    }

    /// Replaces the settings of a torrent (everything but its torrent file, pieces, totals and stamps), when
    /// there is such a torrent.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_settings(&self, record: &TorrentRecord) -> Result<(), ResumeError> {
        self.set_all_settings(std::slice::from_ref(record))?;
        self.mirror.note(record.torrent_id);
        Ok(())
    }

    /// As [`ResumeStore::set_settings`] for many torrents at once. What is kept beside the store is left as it is, for
    /// times that run on: [`ResumeStore::note_beside`] brings it up to date.
    ///
    /// # Errors
    /// When the file cannot be written: nothing of it is entered then.
    pub fn set_all_settings(&self, records: &[TorrentRecord]) -> Result<(), ResumeError> {
        if records.is_empty() {
            return Ok(());
        }
        // In the order of the file: of very many, each page is read and written once.
        let mut records: Vec<&TorrentRecord> = records.iter().collect();
        records.sort_unstable_by_key(|record| record.torrent_id);
        self.change(|transaction| {
            let mut table = transaction.open_table(SETTINGS)?;
            for record in records {
                // Settings are numbers and text, which always make JSON.
                let Ok(settings) = serde_json::to_vec(&record.settings()) else { continue };
                if table.get(record.torrent_id.0)?.is_some() {
                    table.insert(record.torrent_id.0, settings.as_slice())?;
                }
            }
            Ok(())
        })
    }

    /// Enters the progress of many torrents at once. Torrents that are not (any more) in the store are left out.
    ///
    /// # Errors
    /// When the file cannot be written: nothing of it is entered then.
    pub fn set_pieces(&self, updates: &[PieceUpdate<'_>]) -> Result<(), ResumeError> {
        if updates.is_empty() {
            return Ok(());
        }
        self.change(|transaction| {
            let settings = transaction.open_table(SETTINGS)?;
            let mut pieces = transaction.open_table(PIECES)?;
            let mut stamps = transaction.open_table(STAMPS)?;
            for update in updates {
                let key = update.torrent_id.0;
                if settings.get(key)?.is_none() {
                    continue;
                }
                let bytes = record::encode_pieces(update.have, update.uploaded, update.downloaded);
                pieces.insert(key, bytes.as_slice())?;
                if let Some(new) = update.stamps {
                    stamps.insert(key, record::encode_stamps(new).as_slice())?;
                }
            }
            Ok(())
        })
    }

    /// Enters what torrents have sent and received over all runs, and what the engine did; what is known of their
    /// pieces stays as it is. Torrents that are not in the file are left out.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_totals(&self, torrents: &[(TorrentId, u64, u64)], all: &Totals) -> Result<(), ResumeError> {
        let all = self.as_json(all)?;
        self.change(|transaction| {
            let mut pieces = transaction.open_table(PIECES)?;
            for (torrent_id, uploaded, downloaded) in torrents {
                let old = pieces.get(torrent_id.0)?.map(|value| value.value().to_vec());
                if let Some(mut bytes) = old
                    && record::patch_totals(&mut bytes, *uploaded, *downloaded)
                {
                    pieces.insert(torrent_id.0, bytes.as_slice())?;
                }
            }
            session::insert_totals(transaction, &all)
        })
    }

    /// Removes a torrent; true when it was there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remove(&self, torrent_id: TorrentId) -> Result<bool, ResumeError> {
        Ok(self.remove_all(&[torrent_id])? > 0)
    }

    /// Removes torrents, all or none of them; gives how many were there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remove_all(&self, torrents: &[TorrentId]) -> Result<usize, ResumeError> {
        let mut torrents = torrents.to_vec();
        torrents.sort_unstable();
        self.removing(&torrents, || {
            self.change(|transaction| {
                let mut settings = transaction.open_table(SETTINGS)?;
                let mut others = [METAINFO, PIECES, STAMPS]
                    .into_iter()
                    .map(|table| transaction.open_table(table))
                    .collect::<Result<Vec<_>, _>>()?;
                let mut there = 0;
                for TorrentId(key) in &torrents {
                    for table in &mut others {
                        table.remove(key)?;
                    }
                    there += usize::from(settings.remove(key)?.is_some());
                }
                Ok(there)
            })
        })
    }
}

/// One durable transaction.
fn change<T>(
    database: &Database,
    work: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
) -> Result<T, redb::Error> {
    let transaction = database.begin_write()?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// The rows of one torrent, without its torrent file.
struct Encoded {
    key: [u8; 20],
    settings: Vec<u8>,
    pieces: Vec<u8>,
    /// `None` leaves the old ones.
    stamps: Option<Vec<u8>>,
}

impl Encoded {
    fn enter_new(&self, transaction: &redb::WriteTransaction, metainfo: &[u8]) -> Result<(), redb::Error> {
        transaction.open_table(METAINFO)?.insert(self.key, metainfo)?;
        self.enter(transaction)
    }

    fn enter(&self, transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
        transaction.open_table(SETTINGS)?.insert(self.key, self.settings.as_slice())?;
        transaction.open_table(PIECES)?.insert(self.key, self.pieces.as_slice())?;
        if let Some(stamps) = &self.stamps {
            transaction.open_table(STAMPS)?.insert(self.key, stamps.as_slice())?;
        }
        Ok(())
    }
}

fn decode(
    torrent_id: TorrentId,
    settings: &[u8],
    metainfo: Option<&[u8]>,
    pieces: Option<&[u8]>,
    stamps: Option<&[u8]>,
) -> Result<TorrentRecord, RecordError> {
    let settings: record::Settings =
        serde_json::from_slice(settings).map_err(|error| RecordError::Settings(error.to_string()))?;
    let metainfo = metainfo.ok_or(RecordError::NoMetainfo)?;
    let pieces = pieces.ok_or(RecordError::NoPieces)?;
    let (have, uploaded, downloaded) = record::decode_pieces(pieces).ok_or(RecordError::Pieces)?;
    // Stamps only save a check of the files: without them they are checked.
    let stamps = stamps.and_then(record::decode_stamps).unwrap_or_default();
    let record = TorrentRecord {
        have,
        uploaded,
        downloaded,
        stamps,
        ..TorrentRecord::new(torrent_id, metainfo.into(), PathBuf::new(), 0)
    };
    Ok(settings.into_record(record))
}
