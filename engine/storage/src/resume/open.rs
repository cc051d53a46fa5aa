//! Opening the resume store: at the start, after a failed operation, and from what is kept beside it when it is damaged.

use super::beside::Beside;
use super::error::{explain, explain_io};
use super::mirror::Mirror;
use super::{
    CopyError, METAINFO, PIECES, RESUME_VERSION, ResumeError, ResumeStore, SETTINGS, STAMPS, VERSION, change,
};
use arc_swap::ArcSwapOption;
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};
use ringseed_proto::hashes::TorrentId;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Memory for pages of the file: it is read through once, and what a checkpoint touches is small.
const CACHE_BYTES: usize = 4 << 20;
/// Bytes that there must be room for when the file is opened again after a failure.
const PROBE_BYTES: usize = 256 << 10;
const PROBE: TableDefinition<&str, &[u8]> = TableDefinition::new("probe");
/// Torrents entered in one transaction when the file is made anew.
const REBUILD_BATCH: usize = 64;
/// Key beside the version while not all torrents are back in a file that is made anew.
const REBUILDING: &str = "rebuilding";

/// A store that was made anew of what is kept beside it.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// What was wrong with the old file; `None` when it was empty or not there.
    pub damage: Option<String>,
    /// Where the old file is now, when there was one.
    pub aside: Option<PathBuf>,
    /// Torrents that came back.
    pub torrents: usize,
    /// Torrents that could not be read, with the reason.
    pub unusable: Vec<CopyError>,
}

impl ResumeStore {
    /// Opens the file, making it and its directory when there is none. Every checksum in it is verified.
    ///
    /// # Errors
    /// See [`ResumeError`]. A damaged file is left as it is.
    pub fn open(path: &Path) -> Result<ResumeStore, ResumeError> {
        let store = ResumeStore::closed(path);
        let database = store.open_database()?;
        store.publish(database);
        Ok(store)
    }

    fn closed(path: &Path) -> ResumeStore {
        ResumeStore {
            database: ArcSwapOption::empty(),
            failure: ArcSwapOption::empty(),
            path: path.into(),
            beside: Beside::of(path),
            mirror: Mirror::default(),
        }
    }

    /// Makes a database the one that is used.
    fn publish(&self, database: Database) {
        self.failure.store(None);
        self.database.store(Some(Arc::new(database)));
    }

    /// As [`ResumeStore::open`]; a store that is damaged, or that has no torrents while there are some beside it, is made
    /// anew of those. A damaged file is kept under another name.
    ///
    /// # Errors
    /// As [`ResumeStore::open`]; of damage only when there is nothing beside the file.
    pub fn open_or_rebuild(path: &Path) -> Result<(ResumeStore, Option<Rebuilt>), ResumeError> {
        let store = ResumeStore::closed(path);
        let (database, rebuilt) = store.open_database_or_rebuild(|_| Ok(()))?;
        store.publish(database);
        Ok((store, rebuilt))
    }

    /// Opens the file again after an operation failed ([`ResumeError::Closed`]); nothing to do when it is open. Reads all
    /// of it, so it belongs on a blocking task. Nobody else uses the file before all of it is there again.
    ///
    /// # Errors
    /// As [`ResumeStore::open_or_rebuild`].
    pub fn reopen(&self) -> Result<Option<Rebuilt>, ResumeError> {
        if self.is_open() {
            return Ok(None);
        }
        // An open file that fails with the first change helps nobody.
        match self.open_database_or_rebuild(|database| self.probe(database)) {
            Ok((database, rebuilt)) => {
                self.publish(database);
                Ok(rebuilt)
            }
            Err(error) => {
                self.failure.store(Some(Arc::new(error.copy())));
                Err(error)
            }
        }
    }

    /// Whether it can be used as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.database.load().is_some()
    }

    /// Shows that there is room for changes.
    fn probe(&self, database: &Database) -> Result<(), ResumeError> {
        let room = vec![0; PROBE_BYTES];
        self.change_in(database, |transaction| {
            transaction.open_table(PROBE)?.insert("room", room.as_slice())?;
            Ok(())
        })?;
        self.change_in(database, |transaction| Ok(_ = transaction.delete_table(PROBE)?))
    }

    /// One durable transaction of a database that is not the one that is used yet.
    fn change_in<T>(
        &self,
        database: &Database,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, ResumeError> {
        change(database, work).map_err(|error| explain(&self.path, error))
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

    /// `ready` is asked of an open file before anything is entered in it.
    fn open_database_or_rebuild(
        &self,
        ready: impl Fn(&Database) -> Result<(), ResumeError>,
    ) -> Result<(Database, Option<Rebuilt>), ResumeError> {
        // What is beside the store stays as it is until then.
        let _turn = self.mirror.turn();
        let (database, damage) = match self.open_database() {
            Ok(database) => {
                ready(&database)?;
                if !self.lacks_torrents(&database)? {
                    return Ok((database, None));
                }
                (Some(database), None)
            }
            Err(ResumeError::Damaged { detail, .. }) => (None, Some(detail)),
            Err(error) => return Err(error),
        };
        let failed = |error| explain_io(&self.path, error);
        let kept = self.beside.torrent_ids().map_err(failed)?;
        let mut rebuilt = Rebuilt { damage, ..Rebuilt::default() };
        let database = match database {
            Some(database) if kept.is_empty() => return Ok((database, None)),
            Some(database) => database,
            None if kept.is_empty() => {
                let detail = rebuilt.damage.unwrap_or_default();
                return Err(ResumeError::Damaged { path: self.path.clone(), detail });
            }
            None => {
                rebuilt.aside = Some(ResumeStore::set_aside(&self.path).map_err(failed)?);
                let database = self.open_database()?;
                ready(&database)?;
                database
            }
        };
        self.rebuild(&database, &kept, &mut rebuilt)?;
        Ok((database, Some(rebuilt)))
    }

    /// Enters what is kept beside the store. One that is cut short is begun again when the file is opened next.
    fn rebuild(
        &self,
        database: &Database,
        kept: &[TorrentId],
        rebuilt: &mut Rebuilt,
    ) -> Result<(), ResumeError> {
        for torrent_ids in kept.chunks(REBUILD_BATCH) {
            let mut records = Vec::with_capacity(torrent_ids.len());
            for torrent_id in torrent_ids {
                let record = self.beside.read(*torrent_id);
                match record.and_then(|record| Ok((self.encode_new(&record)?, record))) {
                    Ok(record) => records.push(record),
                    Err(error) => rebuilt.unusable.push(error),
                }
            }
            self.change_in(database, |transaction| {
                transaction.open_table(VERSION)?.insert(REBUILDING, 1)?;
                records
                    .iter()
                    .try_for_each(|(encoded, record)| encoded.enter_new(transaction, &record.metainfo))
            })?;
            rebuilt.torrents += records.len();
        }
        let settings = match self.beside.read_session() {
            Ok(settings) => settings.map(|settings| self.as_json(&settings)).transpose()?,
            Err(error) => {
                rebuilt.unusable.push(error);
                None
            }
        };
        self.change_in(database, |transaction| {
            if let Some(settings) = &settings {
                super::session::insert_settings(transaction, settings)?;
            }
            transaction.open_table(VERSION)?.remove(REBUILDING)?;
            Ok(())
        })
    }

    /// Opens the database.
    fn open_database(&self) -> Result<Database, ResumeError> {
        let path = &self.path;
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| explain_io(path, error))?;
        }
        let is_new = std::fs::metadata(path).map_or(true, |found| found.len() == 0);
        // A page that is damaged in an unforeseen way must not take the thread with it.
        let open = || {
            Database::builder()
                .set_cache_size(CACHE_BYTES)
                .set_check_integrity_on_open(true)
                .create(path)
                .map_err(redb::Error::from)
        };
        let database = catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|_| Err(redb::Error::Corrupted("its pages make no sense".into())))
            .map_err(|error| explain(path, error))
            .and_then(|database| self.check_version(&database).map(|()| database));
        if is_new && database.as_ref().is_err_and(|error| !matches!(error, ResumeError::InUse { .. })) {
            // A part of a new file would be taken for a damaged one.
            let _ = std::fs::remove_file(path);
        }
        database
    }

    fn check_version(&self, database: &Database) -> Result<(), ResumeError> {
        self.change_in(database, |transaction| {
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

    /// Whether it has no torrents, or not all of those yet that are to be put back.
    fn lacks_torrents(&self, database: &Database) -> Result<bool, ResumeError> {
        let look = || -> Result<bool, redb::Error> {
            let transaction = database.begin_read()?;
            let begun = transaction.open_table(VERSION)?.get(REBUILDING)?.is_some();
            Ok(begun || transaction.open_table(SETTINGS)?.is_empty()?)
        };
        look().map_err(|error| explain(&self.path, error))
    }
}
