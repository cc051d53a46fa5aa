//! The resume store: every torrent of the session in one file that is whole after any crash (`redb`).
//!
//! Each call is one transaction and is on disk when it returns: it waits for the disk, so it belongs on the control
//! thread or a blocking task. A claim of pieces is made only after [`super::TorrentStore::sync_dirty`].

mod record;
mod session;
#[cfg(test)]
mod tests;
mod wishes;

pub use record::{RunState, SpeedLimit, TorrentRecord};
pub use session::{AltSpeed, Group, SessionSettings, SetLimit, SetPort, Switch, Switched, Totals};
pub use wishes::{FileWish, GoalMode, Rename, Wishes};

use super::confined::FileStamp;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use ringseed_proto::units::InfoHash;
use std::io;
use std::path::{Path, PathBuf};

/// The version of the file's form that this program writes, and the newest that it reads.
pub const RESUME_VERSION: u64 = 1;
/// Memory for pages of the file: it is read through once, and what a checkpoint touches is small.
const CACHE_BYTES: usize = 4 << 20;
/// Largest record of settings in bytes: a priority for each of 2^20 files takes 4 MiB as JSON.
const SETTINGS_BYTES_MAX: usize = 8 << 20;

const VERSION: TableDefinition<&str, u64> = TableDefinition::new("version");
const SETTINGS: TableDefinition<[u8; 20], &[u8]> = TableDefinition::new("settings");
const METAINFO: TableDefinition<[u8; 20], &[u8]> = TableDefinition::new("metainfo");
const PIECES: TableDefinition<[u8; 20], &[u8]> = TableDefinition::new("pieces");
const STAMPS: TableDefinition<[u8; 20], &[u8]> = TableDefinition::new("stamps");

/// Why the resume store cannot be used. All name the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The file is damaged, or is something else.
    #[error(
        "the resume file {} is damaged ({detail}); move it away and start again: your data files are not \
         affected, but torrents have to be added again", .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Another process uses it.
    #[error("the resume file {} is used by another running ringseed; stop that one first", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A later version of this program wrote it.
    #[error(
        "the resume file {} has version {found}, this ringseed knows {RESUME_VERSION}; use a newer ringseed",
        .path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// No space left.
    #[error("no space left on the disk for the resume file {}; free some space", .path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot use the resume file {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its error.
        error: io::Error,
    },
    /// Something larger than a torrent may be.
    #[error("the {what} of torrent {info_hash} is too large to be kept")]
    TooLarge {
        /// The torrent.
        info_hash: InfoHash,
        /// What is too large.
        what: &'static str,
    },
}

/// A record that could not be read. It stays in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRecord {
    /// The torrent.
    pub info_hash: InfoHash,
    /// What is wrong.
    pub reason: String,
}

/// All that was in the file.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The torrents, by info-hash.
    pub records: Vec<TorrentRecord>,
    /// Torrents that could not be read, to be reported.
    pub damaged: Vec<DamagedRecord>,
}

/// New progress of one torrent.
#[derive(Debug, Clone, Copy)]
pub struct PieceUpdate<'a> {
    /// The torrent.
    pub info_hash: InfoHash,
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
    database: Database,
    path: PathBuf,
}

impl ResumeStore {
    /// Opens the file, making it and its directory when there is none. Every checksum in it is verified.
    ///
    /// # Errors
    /// See [`ResumeError`]. A damaged file is left as it is.
    pub fn open(path: &Path) -> Result<ResumeStore, ResumeError> {
        let failed = |error: DatabaseError| explain(path, error.into());
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| explain_io(path, error))?;
        }
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create(path)
            .map_err(failed)?;
        let store = ResumeStore { database, path: path.into() };
        store.check_version()?;
        Ok(store)
    }

    /// Renames a damaged file, so that a new one can be made and the old one examined. Returns its new name,
    /// which no other file had.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
        for number in 1..=u32::MAX {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".damaged-{number}"));
            let cwd = rustix::fs::CWD;
            match rustix::fs::renameat_with(cwd, path, cwd, &name, rustix::fs::RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(name.into()),
                Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn check_version(&self) -> Result<(), ResumeError> {
        self.change(|transaction| {
            let mut table = transaction.open_table(VERSION)?;
            let found = table.get("version")?.map(|version| version.value());
            match found {
                None => _ = table.insert("version", RESUME_VERSION)?,
                Some(found) if found > RESUME_VERSION => return Ok(Err(found)),
                // Older forms would be converted here, in this transaction.
                Some(_) => {}
            }
            // Make all tables, so that reading needs no special case for a new file.
            transaction.open_table(SETTINGS)?;
            transaction.open_table(METAINFO)?;
            transaction.open_table(PIECES)?;
            transaction.open_table(STAMPS)?;
            Ok(Ok(()))
        })?
        .map_err(|found| ResumeError::TooNew { path: self.path.clone(), found })
    }

    /// One durable transaction.
    fn change<T>(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, ResumeError> {
        let run = || -> Result<T, redb::Error> {
            let transaction = self.database.begin_write()?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|error| explain(&self.path, error))
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

    /// Hands over every torrent by info-hash, one after the other, until `each` returns false. What is written
    /// meanwhile is not seen.
    ///
    /// # Errors
    /// When the file as a whole cannot be read.
    pub fn for_each(
        &self,
        mut each: impl FnMut(Result<TorrentRecord, DamagedRecord>) -> bool,
    ) -> Result<(), ResumeError> {
        let mut run = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_read()?;
            let settings = transaction.open_table(SETTINGS)?;
            let metainfo = transaction.open_table(METAINFO)?;
            let pieces = transaction.open_table(PIECES)?;
            let stamps = transaction.open_table(STAMPS)?;
            for row in settings.iter()? {
                let (key, value) = row?;
                let info_hash = InfoHash(key.value());
                let metainfo = metainfo.get(key.value())?;
                let pieces = pieces.get(key.value())?;
                let stamps = stamps.get(key.value())?;
                let record = decode(
                    info_hash,
                    value.value(),
                    metainfo.as_ref().map(|metainfo| metainfo.value()),
                    pieces.as_ref().map(|pieces| pieces.value()),
                    stamps.as_ref().map(|stamps| stamps.value()),
                );
                if !each(record.map_err(|reason| DamagedRecord { info_hash, reason })) {
                    break;
                }
            }
            Ok(())
        };
        run().map_err(|error| explain(&self.path, error))
    }

    /// Adds a torrent, or replaces all that is kept about it.
    ///
    /// # Errors
    /// When it is too large or the file cannot be written.
    pub fn put(&self, record: &TorrentRecord) -> Result<(), ResumeError> {
        if record.metainfo.len() > TORRENT_BYTES_MAX {
            return Err(ResumeError::TooLarge { info_hash: record.info_hash, what: "torrent file" });
        }
        self.enter(record, Some(&record.stamps), |transaction| {
            transaction.open_table(METAINFO)?.insert(record.info_hash.0, record.metainfo.as_slice())?;
            Ok(true)
        })
    }

    /// Replaces all that is kept about a torrent but its torrent file, when there is such a torrent. The stamps are
    /// `stamps`, not those of the record; `None` leaves the old ones, which belong to the pieces of the record then.
    ///
    /// # Errors
    /// As [`ResumeStore::put`].
    pub fn replace(&self, record: &TorrentRecord, stamps: Option<&[FileStamp]>) -> Result<(), ResumeError> {
        self.enter(record, stamps, |transaction| {
            Ok(transaction.open_table(METAINFO)?.get(record.info_hash.0)?.is_some())
        })
    }

    /// Enters everything but the torrent file, unless `first` says no.
    fn enter(
        &self,
        record: &TorrentRecord,
        stamps: Option<&[FileStamp]>,
        first: impl FnOnce(&redb::WriteTransaction) -> Result<bool, redb::Error>,
    ) -> Result<(), ResumeError> {
        let settings = serde_json::to_vec(&record.settings())
            .map_err(|error| ResumeError::Io { path: self.path.clone(), error: error.into() })?;
        if settings.len() > SETTINGS_BYTES_MAX {
            return Err(ResumeError::TooLarge { info_hash: record.info_hash, what: "settings record" });
        }
        let pieces = record::encode_pieces(&record.have, record.uploaded, record.downloaded);
        let stamps = stamps.map(record::encode_stamps);
        self.change(|transaction| {
            let key = record.info_hash.0;
            if first(transaction)? {
                transaction.open_table(SETTINGS)?.insert(key, settings.as_slice())?;
                transaction.open_table(PIECES)?.insert(key, pieces.as_slice())?;
                if let Some(stamps) = &stamps {
                    transaction.open_table(STAMPS)?.insert(key, stamps.as_slice())?;
                }
            }
            Ok(())
        })
    }

    /// The torrent file of a torrent, when it is there.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn metainfo(&self, info_hash: InfoHash) -> Result<Option<Vec<u8>>, ResumeError> {
        let run = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.database.begin_read()?.open_table(METAINFO)?;
            Ok(table.get(info_hash.0)?.map(|bytes| bytes.value().to_vec()))
        };
        run().map_err(|error| explain(&self.path, error))
    }

    /// Replaces the settings of a torrent (everything but its torrent file, pieces, totals and stamps), when
    /// there is such a torrent.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_settings(&self, record: &TorrentRecord) -> Result<(), ResumeError> {
        let settings = serde_json::to_vec(&record.settings())
            .map_err(|error| ResumeError::Io { path: self.path.clone(), error: error.into() })?;
        self.change(|transaction| {
            let mut table = transaction.open_table(SETTINGS)?;
            if table.get(record.info_hash.0)?.is_some() {
                table.insert(record.info_hash.0, settings.as_slice())?;
            }
            Ok(())
        })
    }

    /// As [`ResumeStore::set_settings`] for many torrents at once.
    ///
    /// # Errors
    /// When the file cannot be written: nothing of it is entered then.
    pub fn set_all_settings(&self, records: &[TorrentRecord]) -> Result<(), ResumeError> {
        if records.is_empty() {
            return Ok(());
        }
        self.change(|transaction| {
            let mut table = transaction.open_table(SETTINGS)?;
            for record in records {
                // Settings are numbers and text, which always make JSON.
                let Ok(settings) = serde_json::to_vec(&record.settings()) else { continue };
                if table.get(record.info_hash.0)?.is_some() {
                    table.insert(record.info_hash.0, settings.as_slice())?;
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
                let key = update.info_hash.0;
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
    pub fn set_totals(&self, torrents: &[(InfoHash, u64, u64)], all: &Totals) -> Result<(), ResumeError> {
        let all = self.as_json(all)?;
        self.change(|transaction| {
            let mut pieces = transaction.open_table(PIECES)?;
            for (info_hash, uploaded, downloaded) in torrents {
                let old = pieces.get(info_hash.0)?.map(|value| value.value().to_vec());
                if let Some(mut bytes) = old
                    && record::patch_totals(&mut bytes, *uploaded, *downloaded)
                {
                    pieces.insert(info_hash.0, bytes.as_slice())?;
                }
            }
            session::insert_totals(transaction, &all)
        })
    }

    /// Removes a torrent; true when it was there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remove(&self, info_hash: InfoHash) -> Result<bool, ResumeError> {
        self.change(|transaction| {
            let key = info_hash.0;
            transaction.open_table(METAINFO)?.remove(key)?;
            transaction.open_table(PIECES)?.remove(key)?;
            transaction.open_table(STAMPS)?.remove(key)?;
            Ok(transaction.open_table(SETTINGS)?.remove(key)?.is_some())
        })
    }
}

fn decode(
    info_hash: InfoHash,
    settings: &[u8],
    metainfo: Option<&[u8]>,
    pieces: Option<&[u8]>,
    stamps: Option<&[u8]>,
) -> Result<TorrentRecord, String> {
    let mut settings: record::Settings =
        serde_json::from_slice(settings).map_err(|error| format!("its settings: {error}"))?;
    let metainfo = metainfo.ok_or("its torrent file is missing")?;
    let pieces = pieces.ok_or("its pieces are missing")?;
    let (have, uploaded, downloaded) =
        record::decode_pieces(pieces).ok_or("its pieces do not make a bitfield")?;
    // Stamps only save a check of the files: without them they are checked.
    let stamps = stamps.and_then(record::decode_stamps).unwrap_or_default();
    let wishes = settings.wishes();
    Ok(TorrentRecord {
        info_hash,
        metainfo: metainfo.into(),
        data_dir: settings.data_dir.into(),
        state: settings.state,
        have,
        uploaded,
        downloaded,
        added_at: record::time(settings.added_at),
        finished_at: settings.finished_at.map(record::time),
        wishes,
        sequential: settings.sequential,
        upload_limit: settings.upload_limit,
        download_limit: settings.download_limit,
        clean_shutdown: settings.clean_shutdown,
        stamps,
    })
}

fn explain(path: &Path, error: redb::Error) -> ResumeError {
    let path_buf = || path.to_path_buf();
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            ResumeError::InUse { path: path_buf() }
        }
        redb::Error::Io(error) => explain_io(path, error),
        other => ResumeError::Damaged { path: path_buf(), detail: other.to_string() },
    }
}

fn explain_io(path: &Path, error: io::Error) -> ResumeError {
    let path = path.to_path_buf();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ResumeError::DiskFull { path },
        // What redb says of a file that is no database, or is cut off.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            ResumeError::Damaged { path, detail: error.to_string() }
        }
        _ => ResumeError::Io { path, error },
    }
}
