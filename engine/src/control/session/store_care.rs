//! What happens while the resume store cannot be used: one moment of a full or failing disk closes it. It is opened again
//! beside the control thread, with pauses that grow; until then commands that need it fail with the reason, what becomes
//! durable is remembered, and all of it is stored afterwards.

use super::super::pieces::StampUpdate;
use super::super::work::Work;
use super::Session;
use ringseed_handle::EngineError;
use ringseed_storage::{Rebuilt, ResumeError};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// First pause before the store is opened again: most disks are full for a moment only.
const WAIT_FIRST: Duration = Duration::from_millis(500);
/// Longest pause.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Records that are stored at once of those that are owed: a transaction of some ten milliseconds.
const OWED_AT_ONCE: usize = 1024;

/// A store that cannot be used.
pub(super) struct StoreFailure {
    reason: Arc<str>,
    /// The pause before the next attempt.
    wait: Duration,
    due: Instant,
    /// It is being opened.
    opening: bool,
}

impl StoreFailure {
    /// Another attempt failed; the next one is later.
    fn again(&mut self, error: &ResumeError, now: Instant) {
        // What failed first stays the reason when the file is just still closed.
        if !matches!(error, ResumeError::Closed { .. }) {
            self.reason = error.to_string().into();
        }
        self.wait_longer(now);
    }

    fn wait_longer(&mut self, now: Instant) {
        self.opening = false;
        self.wait = (self.wait * 2).min(WAIT_MAX);
        self.due = now + self.wait;
    }
}

impl Session {
    /// Notes that the store could not be used, and gives what the user is told.
    pub(super) fn store_failed(&mut self, error: ResumeError) -> EngineError {
        if error.is_of_the_file() && self.store_failure.is_none() {
            tracing::error!(%error, "the resume store cannot be used: it is opened again, and nothing is lost until a stop");
            let reason = match &error {
                ResumeError::Closed { reason } => reason.to_string().into(),
                error => error.to_string().into(),
            };
            let due = self.now() + WAIT_FIRST;
            self.store_failure = Some(StoreFailure { reason, wait: WAIT_FIRST, due, opening: false });
            self.dirty = true;
        }
        error.into()
    }

    /// Why nothing can be stored, when nothing can.
    pub(super) fn store_trouble(&self) -> Option<Arc<str>> {
        self.store_failure.as_ref().map(|failure| failure.reason.clone())
    }

    /// Has a store opened again that could not be used, or stores what was left behind.
    pub(super) fn watch_store(&mut self) {
        let now = self.now();
        match &self.store_failure {
            None => self.save_owed(),
            Some(failure) if now >= failure.due => self.open_store(),
            Some(_) => {}
        }
    }

    /// Has a store opened again that could not be used: on a thread of its own, for all of it is read.
    pub(super) fn open_store(&mut self) {
        if let (Some(resume), Some(failure)) = (&self.parts.resume, &mut self.store_failure)
            && !std::mem::replace(&mut failure.opening, true)
        {
            self.work.push(Work::Reopen(resume.clone()));
        }
    }

    /// Whether a store is being opened again.
    pub(super) fn is_opening_store(&self) -> bool {
        self.store_failure.as_ref().is_some_and(|failure| failure.opening)
    }

    /// The end of an attempt to open the store again.
    pub(super) fn store_reopened(&mut self, result: Result<Option<Rebuilt>, ResumeError>) {
        let now = self.now();
        match (result, &mut self.store_failure) {
            (Ok(rebuilt), _) => self.store_opened(rebuilt),
            (Err(error), Some(failure)) => {
                failure.again(&error, now);
                self.dirty = true;
            }
            (Err(_), None) => {}
        }
    }

    /// Stores all records that are owed, as long as the store can be used.
    pub(super) fn save_all_owed(&mut self) {
        while self.store_failure.is_none() && !self.owed.is_empty() {
            self.save_owed();
        }
    }

    fn store_opened(&mut self, rebuilt: Option<Rebuilt>) {
        let Some(mut failure) = self.store_failure.take() else { return };
        let now = self.now();
        self.dirty = true;
        if let (Some(rebuilt), Some(resume)) = (&rebuilt, &self.parts.resume) {
            tell_rebuilt(rebuilt, resume.path());
            // All that is in memory is newer than what was kept beside the store.
            self.owed.extend(self.ids.keys().copied());
            let pieces = self.torrents.values_mut().map(|torrent| &mut torrent.pieces);
            pieces.for_each(|pieces| pieces.note_stored(&StampUpdate::Clear));
            if let Err(error) = resume.clone().put_session(&self.settings) {
                self.store_failed(error);
            }
        }
        // Whether it can be written shows when it is.
        self.put_back();
        self.save_progress();
        self.save_owed();
        match &mut self.store_failure {
            Some(new) => {
                failure.reason = new.reason.clone();
                failure.wait_longer(now);
                *new = failure;
            }
            None => {
                tracing::info!("the resume store works again");
                // What is begun at the end is left halfway.
                if !self.stopping {
                    self.move_all_done();
                }
            }
        }
    }

    /// Stores torrents that are not in the store any more: a store that was made anew lacks those that were not whole beside
    /// it, and a failed removal may have been none.
    fn put_back(&mut self) {
        let Some(resume) = self.parts.resume.clone() else { return };
        let lacking = match resume.lacking(&mut self.ids.keys().copied()) {
            Ok(lacking) => lacking,
            Err(error) => {
                self.store_failed(error);
                return;
            }
        };
        for torrent_id in lacking {
            // One that is being removed has none.
            let Some(record) = self.record(torrent_id) else { continue };
            tracing::warn!(torrent = %torrent_id, "the torrent was not in the resume store any more: it is put back");
            if let Err(error) = self.save_new(&[(torrent_id, record.state)]) {
                tracing::error!(%error, torrent = %torrent_id, "the torrent cannot be put back into the resume store");
                if self.store_failure.is_some() {
                    return;
                }
            }
        }
    }

    /// Stores some of the records that could not be stored before.
    fn save_owed(&mut self) {
        let some: Vec<_> = self.owed.iter().take(OWED_AT_ONCE).copied().collect();
        if some.is_empty() {
            return;
        }
        if self.save_all(&some) {
            some.iter().for_each(|torrent_id| _ = self.owed.remove(torrent_id));
            return;
        }
        // One that is too large does not keep the others back.
        for torrent_id in some {
            let saved = self.save(torrent_id);
            if self.store_failure.is_some() {
                return;
            }
            if let Err(error) = saved {
                tracing::error!(%error, torrent = %torrent_id, "cannot save the torrent's state");
            }
            self.owed.remove(&torrent_id);
        }
    }
}

/// Says in the log that a store was made anew.
pub(in crate::control) fn tell_rebuilt(rebuilt: &Rebuilt, path: &Path) {
    let Rebuilt { damage, aside, torrents, unusable } = rebuilt;
    for error in unusable {
        tracing::error!(%error, "a torrent that is kept beside the resume file cannot be read: add it again");
    }
    let path = path.display();
    match (damage, aside) {
        (Some(damage), Some(aside)) => tracing::error!(
            damage,
            "the resume file {path} was damaged and is now {}: {torrents} torrents were put back from what is kept \
             beside it, and are hashed",
            aside.display()
        ),
        _ => tracing::error!(
            "the resume file {path} had no torrents, but there were some beside it: {torrents} were put back, and are \
             hashed"
        ),
    }
}
