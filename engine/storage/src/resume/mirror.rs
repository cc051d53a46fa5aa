//! Keeping what is beside the store up to date: a thread of its own writes what changed, one torrent after the other, as
//! it is in the store by then.

use super::record::{self, Settings};
use super::{CopyError, METAINFO, PIECES, ResumeError, ResumeStore, SETTINGS};
use redb::ReadableDatabase;
use ringseed_proto::hashes::TorrentId;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long what is left may take at the end; the next start does the rest.
const LAST_WRITES_MAX: Duration = Duration::from_secs(2);
/// How long to wait after a write that failed: the disk is full or gone.
const RETRY: Duration = Duration::from_secs(10);

/// What is to be written beside the store.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    pending: Mutex<Pending>,
    wake: Condvar,
    /// Held while one torrent is written or removed.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Pending {
    /// At most one entry for each torrent of the store.
    torrents: BTreeSet<[u8; 20]>,
    session: bool,
    stopped: bool,
}

enum Task {
    Torrent(TorrentId),
    Session,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Single insertions and removals cannot be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mirror {
    /// A torrent changed.
    pub(super) fn note(&self, torrent_id: TorrentId) {
        lock(&self.pending).torrents.insert(torrent_id.0);
        self.wake.notify_all();
    }

    /// The session's settings changed.
    pub(super) fn note_session(&self) {
        lock(&self.pending).session = true;
        self.wake.notify_all();
    }

    /// Keeps everybody else from writing beside the store.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        lock(&self.turn)
    }

    fn stop(&self) {
        lock(&self.pending).stopped = true;
        self.wake.notify_all();
    }

    /// The next thing to be done, waiting for it; `None` at the end.
    fn next(&self) -> Option<Task> {
        let mut pending = lock(&self.pending);
        loop {
            if std::mem::take(&mut pending.session) {
                return Some(Task::Session);
            }
            if let Some(torrent_id) = pending.torrents.pop_first() {
                return Some(Task::Torrent(TorrentId(torrent_id)));
            }
            if pending.stopped {
                return None;
            }
            pending = self.wake.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_idle(&self) -> bool {
        let pending = lock(&self.pending);
        pending.torrents.is_empty() && !pending.session
    }

    fn is_stopped(&self) -> bool {
        lock(&self.pending).stopped
    }

    /// Waits a while, or until the end.
    fn pause(&self, time: Duration) {
        let pending = lock(&self.pending);
        let _ = self.wake.wait_timeout_while(pending, time, |pending| !pending.stopped);
    }
}

impl ResumeStore {
    /// Has a torrent looked at by [`ResumeStore::keep_beside`].
    pub fn note_beside(&self, torrent_id: TorrentId) {
        self.mirror.note(torrent_id);
    }

    /// Has the session's settings looked at by [`ResumeStore::keep_beside`].
    pub fn note_session_beside(&self) {
        self.mirror.note_session();
    }

    /// Writes beside the store what was noted, until [`ResumeStore::stop_beside`]. Belongs on a thread of its own.
    pub fn keep_beside(&self) {
        self.note_strays();
        let mut ends = None;
        while let Some(task) = self.mirror.next() {
            if self.mirror.is_stopped() {
                let now = Instant::now();
                if now >= *ends.get_or_insert(now + LAST_WRITES_MAX) {
                    tracing::warn!("some torrents are written beside the resume file at the next start only");
                    break;
                }
            }
            let (what, done) = match task {
                Task::Torrent(torrent_id) => (Some(torrent_id), self.write_beside(torrent_id)),
                Task::Session => (None, self.write_session_beside()),
            };
            let done = match done {
                Ok(()) if self.mirror.is_idle() => self.beside.sync().map_err(CopyError::from),
                done => done,
            };
            if let Err(error) = done {
                tracing::warn!(%error, "cannot keep a copy of a torrent's record beside the resume file");
                if self.mirror.is_stopped() {
                    break;
                }
                match what {
                    Some(torrent_id) => self.mirror.note(torrent_id),
                    None => self.mirror.note_session(),
                }
                self.mirror.pause(RETRY);
            }
        }
    }

    /// Has torrents removed that are beside the store and not in it: a removal that could not be done there has left them,
    /// and a store that is made anew would bring them back. What is no use for that stays.
    fn note_strays(&self) {
        let strays = self
            .beside
            .torrent_ids()
            .map_err(CopyError::from)
            .and_then(|kept| Ok(self.lacking(kept.into_iter())?));
        match strays {
            Ok(strays) => {
                let usable = strays.into_iter().filter(|torrent_id| self.beside.read(*torrent_id).is_ok());
                usable.for_each(|torrent_id| self.mirror.note(torrent_id));
            }
            Err(error) => tracing::warn!(%error, "cannot look at what is kept beside the resume file"),
        }
    }

    /// Ends [`ResumeStore::keep_beside`], on whatever thread it runs.
    pub fn stop_beside(&self) {
        self.mirror.stop();
    }

    /// The torrent as it is kept beside the store, without its pieces.
    ///
    /// # Errors
    /// When a file of it is missing or wrong.
    pub fn record_beside(&self, torrent_id: TorrentId) -> Result<super::TorrentRecord, CopyError> {
        self.beside.read(torrent_id)
    }

    /// The torrent file as it is kept beside the store, when it is.
    pub fn metainfo_beside(&self, torrent_id: TorrentId) -> Option<Vec<u8>> {
        self.beside.read_metainfo(torrent_id).ok().map(|(bytes, _)| bytes)
    }

    /// Removes what is beside the store before `forget` removes the torrents from it: a store that is made anew must not
    /// bring them back.
    pub(super) fn removing<T>(
        &self,
        torrents: &[TorrentId],
        forget: impl FnOnce() -> Result<T, ResumeError>,
    ) -> Result<T, ResumeError> {
        // Of a closed store nothing is removed: what is beside it is all that there may be when it is opened again.
        if !self.is_open() {
            return Err(self.why_closed());
        }
        let _turn = self.mirror.turn();
        let removed = self.beside.remove(torrents);
        let forgotten = forget();
        if removed.is_err() || forgotten.is_err() {
            // They are written again, or removed after all.
            torrents.iter().for_each(|torrent_id| self.mirror.note(*torrent_id));
        }
        forgotten
    }

    fn write_beside(&self, torrent_id: TorrentId) -> Result<(), CopyError> {
        let _turn = self.mirror.turn();
        let stored = self.read(|database| {
            let transaction = database.begin_read()?;
            let settings =
                transaction.open_table(SETTINGS)?.get(torrent_id.0)?.map(|row| row.value().to_vec());
            let pieces = transaction.open_table(PIECES)?.get(torrent_id.0)?;
            let totals = pieces.map(|row| record::totals(row.value()));
            let metainfo = transaction.open_table(METAINFO)?.get(torrent_id.0)?;
            let metainfo = metainfo.map(|row| {
                let bytes = row.value();
                let kept = self.beside.has_metainfo(torrent_id, bytes.len());
                (!kept).then(|| bytes.to_vec())
            });
            Ok((settings, totals, metainfo))
        });
        let (settings, totals, metainfo) = match stored {
            Ok((Some(settings), totals, Some(metainfo))) => (settings, totals.flatten(), metainfo),
            Ok((None, ..)) => return Ok(self.beside.remove(&[torrent_id])?),
            // A record that is damaged in the store is not to replace a good one beside it.
            Ok((Some(_), _, None)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Ok(settings) = serde_json::from_slice::<Settings>(&settings) else { return Ok(()) };
        let (uploaded, downloaded) = totals.unwrap_or_default();
        let write = || -> io::Result<()> {
            if let Some(metainfo) = metainfo {
                self.beside.write_metainfo(torrent_id, &metainfo)?;
            }
            self.beside.write_record(torrent_id, settings, uploaded, downloaded)
        };
        Ok(write()?)
    }

    fn write_session_beside(&self) -> Result<(), CopyError> {
        let settings = self.session()?;
        Ok(self.beside.write_session(&settings)?)
    }
}
