//! What the engine has sent and received: counted where torrents begin and end, so that nothing of it depends on when
//! somebody looks, and kept between runs.

use super::super::outside::SessionStore;
use super::super::torrent::Torrent;
use super::Session;
use ringseed_storage::Totals;
use std::ops::Bound;
use std::time::{Duration, Instant};

/// How often what was moved is entered.
const INTERVAL: Duration = Duration::from_secs(10);
/// Torrents whose totals are entered at once; the others follow the next time. This many take a few milliseconds.
const TORRENTS_MAX: usize = 500;

/// What is counted of a run.
pub(super) struct Counted {
    began: Instant,
    entered: Instant,
    /// What earlier runs did.
    before: Totals,
    /// What torrents moved in this run that are no longer there.
    gone: Totals,
    files_added: u64,
    /// The torrent whose totals were entered last.
    last: u32,
}

impl Counted {
    pub(super) fn new(now: Instant) -> Self {
        let (before, gone) = (Totals::default(), Totals::default());
        Self { began: now, entered: now, before, gone, files_added: 0, last: 0 }
    }

    /// A torrent of so many files was added.
    pub(super) fn added(&mut self, files: usize) {
        self.files_added += files as u64;
    }

    /// A torrent goes that moved this in this run.
    pub(super) fn leaves(&mut self, moved: (u64, u64)) {
        self.gone.uploaded += moved.0;
        self.gone.downloaded += moved.1;
    }
}

impl Session {
    /// Takes over what earlier runs did.
    pub(super) fn take_totals(&mut self, store: &dyn SessionStore) {
        match store.totals() {
            Ok(before) => self.counted.before = before,
            Err(error) => tracing::error!(%error, "what earlier runs did cannot be read"),
        }
    }

    /// What was done in this run, and over all runs, as far as the torrents were counted.
    pub(super) fn totals(&self) -> (Totals, Totals) {
        self.totals_with(self.census.moved)
    }

    /// What was done over all runs, up to this moment.
    fn totals_now(&self) -> Totals {
        let moved = self.torrents.values().map(Torrent::moved);
        self.totals_with(moved.fold((0, 0), |sum, moved| (sum.0 + moved.0, sum.1 + moved.1))).1
    }

    fn totals_with(&self, moved: (u64, u64)) -> (Totals, Totals) {
        let counted = &self.counted;
        let run = Totals {
            uploaded: counted.gone.uploaded + moved.0,
            downloaded: counted.gone.downloaded + moved.1,
            files_added: counted.files_added,
            runs: 1,
            seconds: self.now().duration_since(counted.began).as_secs(),
        };
        (run, counted.before.plus(run))
    }

    /// Enters what was moved, now and then.
    pub(super) fn keep_totals(&mut self) {
        let now = self.now();
        if now.duration_since(self.counted.entered) >= INTERVAL {
            self.counted.entered = now;
            if self.torrents.values().any(|torrent| torrent.has_moved()) {
                self.save_totals(TORRENTS_MAX);
            }
        }
    }

    /// Enters the totals of the engine and of at most so many torrents that moved anything since theirs were entered.
    pub(super) fn save_totals(&mut self, most: usize) {
        let Some(resume) = self.parts.resume.clone().filter(|_| self.store_failure.is_none()) else { return };
        let all = self.totals_now();
        // Those behind the last of the time before come first: more may move something all the time than have room here.
        let last = self.counted.last;
        let behind = self.torrents.range((Bound::Excluded(last), Bound::Unbounded));
        let moved = behind.chain(self.torrents.range(..=last)).filter(|(_, torrent)| torrent.has_moved());
        let chosen: Vec<_> = moved.take(most).collect();
        let last = chosen.last().map_or(last, |(id, _)| **id);
        let updates: Vec<_> = chosen
            .into_iter()
            .map(|(_, torrent)| (torrent.entry.id(), torrent.uploaded(), torrent.downloaded()))
            .collect();
        self.counted.last = last;
        if let Err(error) = resume.set_totals(&updates, &all) {
            tracing::error!(%error, "cannot save what was sent and received: it is tried again");
            self.store_failed(error);
            return;
        }
        for (torrent_id, uploaded, downloaded) in updates {
            if let Some(torrent) = self.torrent(&torrent_id) {
                torrent.entered = (uploaded, downloaded);
            }
        }
    }
}
