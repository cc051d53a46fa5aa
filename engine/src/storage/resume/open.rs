//! Opening the resume store: at the start, after a failed operation, and from what is kept beside it when it is damaged.

use super::beside::Beside;
use super::error::{explain, explain_io};
use super::mirror::Mirror;
use super::{METAINFO, PIECES, RESUME_VERSION, ResumeError, ResumeStore, SETTINGS, STAMPS, VERSION};
use arc_swap::ArcSwapOption;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
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
    pub unusable: Vec<String>,
}

impl ResumeStore {
    /// Opens the file, making it and its directory when there is none. Every checksum in it is verified.
    ///
    /// # Errors
    /// See [`ResumeError`]. A damaged file is left as it is.
    pub fn open(path: &Path) -> Result<ResumeStore, ResumeError> {
        let store = ResumeStore::closed(path);
        store.open_database()?;
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

    /// As [`ResumeStore::open`]; a store that is damaged, or that has no torrents while there are some beside it, is made
    /// anew of those. A damaged file is kept under another name.
    ///
    /// # Errors
    /// As [`ResumeStore::open`]; of damage only when there is nothing beside the file.
    pub fn open_or_rebuild(path: &Path) -> Result<(ResumeStore, Option<Rebuilt>), ResumeError> {
        let store = ResumeStore::closed(path);
        let rebuilt = store.open_database_or_rebuild()?;
        Ok((store, rebuilt))
    }

    /// Opens the file again after an operation failed ([`ResumeError::Closed`]); nothing to do when it is open. Reads all
    /// of it, so it belongs on a blocking task.
    ///
    /// # Errors
    /// As [`ResumeStore::open_or_rebuild`].
    pub fn reopen(&self) -> Result<Option<Rebuilt>, ResumeError> {
        if self.database.load().is_some() {
            return Ok(None);
        }
        let rebuilt = self.open_database_or_rebuild()?;
        self.probe()?;
        Ok(rebuilt)
    }

    /// Shows that there is room for changes: an open file that fails with the first of them helps nobody.
    fn probe(&self) -> Result<(), ResumeError> {
        let room = vec![0; PROBE_BYTES];
        self.change(|transaction| {
            transaction.open_table(PROBE)?.insert("room", room.as_slice())?;
            Ok(())
        })?;
        self.change(|transaction| Ok(_ = transaction.delete_table(PROBE)?))
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

    fn open_database_or_rebuild(&self) -> Result<Option<Rebuilt>, ResumeError> {
        let damage = match self.open_database() {
            Ok(()) if self.is_empty()? => None,
            Ok(()) => return Ok(None),
            Err(ResumeError::Damaged { detail, .. }) => Some(detail),
            Err(error) => return Err(error),
        };
        let failed = |error| explain_io(&self.path, error);
        let kept = self.beside.info_hashes().map_err(failed)?;
        if kept.is_empty() {
            return match damage {
                Some(detail) => Err(ResumeError::Damaged { path: self.path.clone(), detail }),
                None => Ok(None),
            };
        }
        let mut rebuilt = Rebuilt { damage, ..Rebuilt::default() };
        if rebuilt.damage.is_some() {
            rebuilt.aside = Some(ResumeStore::set_aside(&self.path).map_err(failed)?);
            self.open_database()?;
        }
        for info_hashes in kept.chunks(REBUILD_BATCH) {
            let mut records = Vec::with_capacity(info_hashes.len());
            for info_hash in info_hashes {
                match self.beside.read(*info_hash) {
                    Ok(record) => records.push(record),
                    Err(reason) => rebuilt.unusable.push(reason),
                }
            }
            self.put_all(&records)?;
            rebuilt.torrents += records.len();
        }
        match self.beside.read_session() {
            Ok(Some(settings)) => self.put_session(&settings)?,
            Ok(None) => {}
            Err(reason) => rebuilt.unusable.push(reason),
        }
        Ok(Some(rebuilt))
    }

    /// Opens the database and makes it the one that is used.
    fn open_database(&self) -> Result<(), ResumeError> {
        let path = &self.path;
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| explain_io(path, error))?;
        }
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
            .map_err(|error| explain(path, error))?;
        self.database.store(Some(Arc::new(database)));
        let checked = self.check_version();
        match &checked {
            Ok(()) => self.failure.store(None),
            // Not open, or a version that is not known.
            Err(_) => self.database.store(None),
        }
        checked
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

    fn is_empty(&self) -> Result<bool, ResumeError> {
        self.read(|database| Ok(database.begin_read()?.open_table(SETTINGS)?.is_empty()?))
    }
}
