//! The end of a session, in steps: shards count and end while trackers are told, what checks have found is flushed, a store
//! that could not be used is opened once more, and the last state is saved. Each step has its time.

use super::super::activity::{Activity, Handling};
use super::super::torrent::Torrent;
use super::super::work::{Done, GivingBack, Work};
use super::Session;
use crate::limits::SHUTDOWN_MAX;
use crate::shard::message::{FromShard, ToShard};
use ringseed_handle::DeleteError;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long trackers wait for the shards to count what they moved: they do so in the turn that hears of the stop.
const COUNT_WAIT: Duration = Duration::from_millis(500);
/// What is left of [`SHUTDOWN_MAX`] when shards, flushes and the store have had their time.
const LAST_SAVES: Duration = Duration::from_millis(500);
/// What is left of it when trackers have had theirs.
const AFTER_TRACKERS: Duration = Duration::from_secs(1);

/// How far the end of a session is.
pub(super) struct Ending {
    /// When trackers are told, whether the shards have counted or not.
    counts_until: Instant,
    /// When trackers have had their time.
    trackers_until: Instant,
    /// When the last state is saved, whatever is missing.
    deadline: Instant,
    /// Shards that have not counted what they moved.
    uncounted: HashSet<usize>,
    trackers: Farewell,
    step: Step,
}

/// How far trackers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    NotBegun,
    Begun,
    Over,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Shards,
    Flushes,
    Store,
    Over,
}

impl Session {
    /// Whether a stop was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether the end has begun.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Begins with the end: trackers are told while shards finish, then the last state is saved.
    pub fn begin_end(&mut self) {
        self.stopping = true;
        // A copy to another file system may take hours: it ends where it is, and the next start goes on.
        for torrent in self.torrents.values() {
            if let Activity::Handling { handling: Handling { progress, .. }, .. } = &torrent.activity {
                progress.leave();
            }
        }
        self.end_removals();
        for opening in std::mem::take(&mut self.opened) {
            self.on_last_done(Done::Opened(Box::new(opening)));
        }
        self.broadcast(|| ToShard::Shutdown);
        let now = self.now();
        self.ending = Some(Ending {
            counts_until: now + COUNT_WAIT,
            trackers_until: now + SHUTDOWN_MAX - AFTER_TRACKERS,
            deadline: now + SHUTDOWN_MAX - LAST_SAVES,
            uncounted: (0..self.parts.shards.len()).collect(),
            trackers: Farewell::NotBegun,
            step: Step::Shards,
        });
        self.go_on_ending();
    }

    /// Answers those who wait for the end of a removal: what was removed is out of the store.
    fn end_removals(&mut self) {
        let leaving = std::mem::take(&mut self.leaving);
        let tickets =
            leaving.into_iter().flat_map(|(id, tickets)| tickets.into_iter().map(move |it| (id, it)));
        for (torrent_id, ticket) in tickets {
            if self.by_id(&torrent_id).is_some_and(Torrent::loses_files) {
                ticket.fail(torrent_id, DeleteError::Stopped.into());
            }
            if let Some(unanswered) = Rc::into_inner(ticket) {
                unanswered.end();
            }
        }
    }

    /// When [`Session::go_on_ending`] has something to do at the latest, whatever comes before.
    pub fn ends_by(&self) -> Instant {
        let now = self.now();
        self.ending.as_ref().map_or(now, |ending| match ending.trackers {
            Farewell::NotBegun => ending.counts_until,
            Farewell::Begun | Farewell::Over => ending.deadline,
        })
    }

    /// Goes on with the end: to be called after each event, and when [`Session::ends_by`] has come.
    pub fn go_on_ending(&mut self) {
        let now = self.now();
        self.flush();
        loop {
            let opening = self.is_opening_store();
            let Some(ending) = &mut self.ending else { return };
            let late = now >= ending.deadline;
            if ending.trackers == Farewell::NotBegun
                && (ending.uncounted.is_empty() || now >= ending.counts_until)
            {
                // What was moved last is told as well; a shard that is held up holds up no tracker.
                ending.trackers = Farewell::Begun;
                self.work.push(Work::TellTrackers(ending.trackers_until.saturating_duration_since(now)));
            }
            match ending.step {
                Step::Shards => {
                    let ended = self.ended.len() >= self.parts.shards.len();
                    let told = ending.trackers == Farewell::Over;
                    if !(late || ended && told) {
                        return;
                    }
                    ending.step = Step::Flushes;
                }
                Step::Flushes => {
                    if !late && !self.flushes.is_empty() {
                        return;
                    }
                    ending.step = Step::Store;
                    self.open_store();
                }
                Step::Store => {
                    if opening && !late {
                        return;
                    }
                    ending.step = Step::Over;
                    if opening {
                        tracing::error!(
                            "the resume store did not open in time: the last changes are not saved"
                        );
                    }
                    self.save_last();
                }
                Step::Over => return,
            }
        }
    }

    /// Whether all is done that the end waits for.
    pub fn has_ended(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.step == Step::Over)
    }

    fn save_last(&mut self) {
        self.save_all_owed();
        self.save_progress();
        self.save_all_owed();
        self.save_totals(usize::MAX);
        self.save_times();
        if let Some(reply) = self.shutdown.take() {
            let _ = reply.send(());
        }
    }

    /// A message of a shard while the session ends.
    pub(super) fn on_last_report(&mut self, message: FromShard) {
        if let FromShard::Counted { shard } | FromShard::Ended { shard } = &message
            && let Some(ending) = &mut self.ending
        {
            ending.uncounted.remove(shard);
        }
        match message {
            // The end of the process is not the end of the torrent: it runs again next time.
            FromShard::Stopped { torrents, .. } => self.made_durable_at_stop(torrents),
            message @ (FromShard::Durable(..) | FromShard::Ended { .. } | FromShard::Completed { .. }) => {
                self.on_report(message);
            }
            _ => {}
        }
    }

    /// The end of work while the session ends. What was done with files is found out by the next start.
    pub(super) fn on_last_done(&mut self, done: Done) {
        match done {
            Done::TrackersTold => {
                if let Some(ending) = &mut self.ending {
                    ending.trackers = Farewell::Over;
                }
            }
            Done::Flushed { number, flushed } => self.flushed(number, flushed),
            Done::Reopened(Ok(rebuilt)) => self.store_reopened(Ok(rebuilt)),
            Done::Reopened(Err(error)) => {
                tracing::error!(%error, "the last changes are not saved");
                self.store_reopened(Err(error));
            }
            // It was not added: the other client has it still. Whoever asked is told by the end of the channel.
            Done::Opened(opening) if !opening.adopted.is_empty() => {
                let (adopted, answer) = (opening.adopted, None);
                self.work.push(Work::GiveBack(Box::new(GivingBack { adopted, answer })));
            }
            Done::GivenBack(reply, error) => _ = reply.send(Err(error)),
            Done::Opened(_)
            | Done::NotOpened(_)
            | Done::Changed { .. }
            | Done::Deleted { .. }
            | Done::Nothing => {}
        }
    }
}
