//! What the session asks of the resume store.

use ringseed_proto::hashes::TorrentId;
use ringseed_storage::{
    FileStamp, PieceUpdate, Rebuilt, ResumeError, ResumeStore, SessionSettings, TorrentRecord, Totals,
};
use std::path::Path;

/// Keeps the torrents between runs. Each change is one transaction: all of it is on disk when the call returns, or
/// nothing of it is entered. What the methods promise is said of those of [`ResumeStore`] with the same names.
pub trait SessionStore: Send + Sync {
    /// Its file.
    fn path(&self) -> &Path;

    /// The session's settings.
    ///
    /// # Errors
    /// When they cannot be read.
    fn session(&self) -> Result<SessionSettings, ResumeError>;

    /// Enters the session's settings.
    ///
    /// # Errors
    /// When they cannot be written.
    fn put_session(&self, settings: &SessionSettings) -> Result<(), ResumeError>;

    /// What earlier runs did.
    ///
    /// # Errors
    /// When it cannot be read.
    fn totals(&self) -> Result<Totals, ResumeError>;

    /// Enters what torrents have sent and received, and what the engine did.
    ///
    /// # Errors
    /// When it cannot be written.
    fn set_totals(&self, torrents: &[(TorrentId, u64, u64)], all: &Totals) -> Result<(), ResumeError>;

    /// Adds torrents, or replaces all that is kept about them.
    ///
    /// # Errors
    /// When one is too large, or the file cannot be written.
    fn put_all(&self, records: &[TorrentRecord]) -> Result<(), ResumeError>;

    /// Replaces all that is kept about torrents but their torrent files, of those that are there.
    ///
    /// # Errors
    /// As [`SessionStore::put_all`].
    fn replace(&self, records: &[(TorrentRecord, Option<&[FileStamp]>)]) -> Result<(), ResumeError>;

    /// Replaces the settings of torrents that are there.
    ///
    /// # Errors
    /// When they cannot be written.
    fn set_all_settings(&self, records: &[TorrentRecord]) -> Result<(), ResumeError>;

    /// Enters the progress of torrents that are there.
    ///
    /// # Errors
    /// When it cannot be written.
    fn set_pieces(&self, updates: &[PieceUpdate<'_>]) -> Result<(), ResumeError>;

    /// Removes torrents; gives how many were there.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn remove_all(&self, torrents: &[TorrentId]) -> Result<usize, ResumeError>;

    /// The torrent file of a torrent, when it is there.
    ///
    /// # Errors
    /// When it cannot be read.
    fn metainfo(&self, torrent_id: TorrentId) -> Result<Option<Vec<u8>>, ResumeError>;

    /// The torrent file as it is kept beside the store, when it is.
    fn metainfo_beside(&self, torrent_id: TorrentId) -> Option<Vec<u8>>;

    /// Those of `torrents` that are not there.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn lacking(&self, torrents: &mut dyn Iterator<Item = TorrentId>) -> Result<Vec<TorrentId>, ResumeError>;

    /// Has what is beside the store brought up to date for a torrent.
    fn note_beside(&self, torrent_id: TorrentId);

    /// Ends the thread that writes beside the store.
    fn stop_beside(&self);

    /// Opens it again after an operation failed. Reads all of it, so it belongs on a blocking task.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn reopen(&self) -> Result<Option<Rebuilt>, ResumeError>;
}

impl SessionStore for ResumeStore {
    fn path(&self) -> &Path {
        ResumeStore::path(self)
    }

    fn session(&self) -> Result<SessionSettings, ResumeError> {
        ResumeStore::session(self)
    }

    fn put_session(&self, settings: &SessionSettings) -> Result<(), ResumeError> {
        ResumeStore::put_session(self, settings)
    }

    fn totals(&self) -> Result<Totals, ResumeError> {
        ResumeStore::totals(self)
    }

    fn set_totals(&self, torrents: &[(TorrentId, u64, u64)], all: &Totals) -> Result<(), ResumeError> {
        ResumeStore::set_totals(self, torrents, all)
    }

    fn put_all(&self, records: &[TorrentRecord]) -> Result<(), ResumeError> {
        ResumeStore::put_all(self, records)
    }

    fn replace(&self, records: &[(TorrentRecord, Option<&[FileStamp]>)]) -> Result<(), ResumeError> {
        ResumeStore::replace(self, records)
    }

    fn set_all_settings(&self, records: &[TorrentRecord]) -> Result<(), ResumeError> {
        ResumeStore::set_all_settings(self, records)
    }

    fn set_pieces(&self, updates: &[PieceUpdate<'_>]) -> Result<(), ResumeError> {
        ResumeStore::set_pieces(self, updates)
    }

    fn remove_all(&self, torrents: &[TorrentId]) -> Result<usize, ResumeError> {
        ResumeStore::remove_all(self, torrents)
    }

    fn metainfo(&self, torrent_id: TorrentId) -> Result<Option<Vec<u8>>, ResumeError> {
        ResumeStore::metainfo(self, torrent_id)
    }

    fn metainfo_beside(&self, torrent_id: TorrentId) -> Option<Vec<u8>> {
        ResumeStore::metainfo_beside(self, torrent_id)
    }

    fn lacking(&self, torrents: &mut dyn Iterator<Item = TorrentId>) -> Result<Vec<TorrentId>, ResumeError> {
        ResumeStore::lacking(self, torrents)
    }

    fn note_beside(&self, torrent_id: TorrentId) {
        ResumeStore::note_beside(self, torrent_id);
    }

    fn stop_beside(&self) {
        ResumeStore::stop_beside(self);
    }

    fn reopen(&self) -> Result<Option<Rebuilt>, ResumeError> {
        ResumeStore::reopen(self)
    }
}
