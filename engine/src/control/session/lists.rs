//! Commands over lists of torrents: one transaction of the resume store, then what follows for each torrent, then one
//! snapshot and one answer. A torrent for which a command cannot be carried out does not keep it from the others; what
//! the store does not take, it takes of none.

use super::super::activity::Next;
use super::Session;
use ringseed_handle::{Busy, EngineError, Failures, Reply, TorrentChange, TorrentCommand};
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::FileWork;
use ringseed_storage::{RunState, TorrentRecord, TorrentSettings};
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// Torrents that are started before a command is answered: a few milliseconds. Of more the answer says that they will run,
/// and they start after it, in turns.
const STARTS_AT_ONCE: usize = 64;

/// Torrents that a command could not be carried out for, and why.
pub(super) type Failed = Vec<(TorrentId, EngineError)>;

/// A command that waits for torrents of its list. It is answered when the last of them gives up its ticket.
pub(super) type Ticket = Rc<Unanswered>;

/// See [`Ticket`].
pub(super) struct Unanswered {
    reply: Reply<Failures>,
    failed: RefCell<Failed>,
}

impl Unanswered {
    /// Notes that it could not be carried out for a torrent.
    pub(super) fn fail(&self, torrent_id: TorrentId, error: EngineError) {
        self.failed.borrow_mut().push((torrent_id, error));
    }

    /// Answers at the end of the session.
    pub(super) fn end(self) {
        let _ = self.reply.send(Ok(Failures::new(self.failed.into_inner())));
    }
}

impl Session {
    /// Carries out a command for the torrents of a list, each once.
    pub(super) fn on_list(&mut self, list: Vec<TorrentId>, command: TorrentCommand, reply: Reply<Failures>) {
        let mut seen = HashSet::with_capacity(list.len());
        let (list, unknown): (Vec<_>, Vec<_>) = list
            .into_iter()
            .filter(|torrent_id| seen.insert(*torrent_id))
            .partition(|torrent_id| self.ids.contains_key(torrent_id));
        let mut failed: Failed =
            unknown.into_iter().map(|hash| (hash, EngineError::UnknownTorrent(hash))).collect();
        let wanted = list.clone();
        let waits = match &command {
            TorrentCommand::Remove { .. } => Some(Waits::ForRemoval),
            TorrentCommand::Handle(FileWork::Rename(_)) => Some(Waits::ForRename),
            _ => None,
        };
        failed.extend(match command {
            TorrentCommand::Pause => self.pause(list),
            TorrentCommand::Resume { now } => self.resume(list, now),
            TorrentCommand::Remove { delete } => self.remove(list, delete),
            TorrentCommand::Change(change) => self.change_torrents(list, &change),
            TorrentCommand::Handle(work) => self.handle_files(list, &work),
            TorrentCommand::CancelMove => self.each(list, Self::cancel_move),
            TorrentCommand::Verify => self.each(list, |session, hash| {
                session.verify(hash);
                Ok(())
            }),
            TorrentCommand::Reannounce => self.each(list, |session, hash| {
                session.parts.trackers.reannounce(hash);
                Ok(())
            }),
            TorrentCommand::AddPeers(peers) => self.each(list, |session, hash| {
                session.keep_peers(hash, peers.clone());
                Ok(())
            }),
            TorrentCommand::MoveInQueue(to) => match self.move_in_queue(&list, to) {
                Ok(()) => Failed::new(),
                Err(error) => all_failed(&list, &error),
            },
        });
        let failing: HashSet<TorrentId> = failed.iter().map(|(torrent_id, _)| *torrent_id).collect();
        let ticket = Rc::new(Unanswered { reply, failed: RefCell::new(failed) });
        for torrent_id in wanted.into_iter().filter(|torrent_id| !failing.contains(torrent_id)) {
            match waits {
                // It is over in a moment, and whoever asked may add it again.
                Some(Waits::ForRemoval) if self.ids.contains_key(&torrent_id) => {
                    self.leaving.entry(torrent_id).or_default().push(ticket.clone());
                }
                // It is over in a moment, and whoever asked goes on with the new names.
                Some(Waits::ForRename) if self.moving_soon(torrent_id) => {
                    _ = self.renaming.insert(torrent_id, ticket.clone());
                }
                _ => {}
            }
        }
        self.give_up(ticket);
    }

    /// What was deleted of a removed torrent is not all: whoever waits for that is told.
    pub(super) fn removal_failed(&mut self, torrent_id: TorrentId, error: &EngineError) {
        for ticket in self.leaving.get(&torrent_id).into_iter().flatten() {
            ticket.fail(torrent_id, error.clone());
        }
    }

    /// Gives up a ticket: with the last one the command is answered.
    pub(super) fn give_up(&mut self, ticket: Ticket) {
        if let Some(Unanswered { reply, failed }) = Rc::into_inner(ticket) {
            self.answer(reply, Ok(Failures::new(failed.into_inner())));
        }
    }

    /// Carries something out for each torrent of a list that needs no transaction.
    fn each(
        &mut self,
        list: Vec<TorrentId>,
        mut change: impl FnMut(&mut Self, TorrentId) -> Result<(), EngineError>,
    ) -> Failed {
        let results = list.into_iter().map(|torrent_id| (torrent_id, change(self, torrent_id)));
        results.filter_map(|(torrent_id, result)| Some((torrent_id, result.err()?))).collect()
    }

    /// Pauses torrents once that is stored: those that report failure run on.
    pub(super) fn pause(&mut self, list: Vec<TorrentId>) -> Failed {
        self.count_times(&list);
        match self.save_states(&list, RunState::Paused, |settings| settings.forced = false) {
            Ok(()) => list.into_iter().for_each(|torrent_id| self.pause_stored(torrent_id)),
            Err(error) => return all_failed(&list, &error),
        }
        Failed::new()
    }

    /// Starts torrents once that is stored.
    pub(super) fn resume(&mut self, list: Vec<TorrentId>, now: bool) -> Failed {
        // Starting one looks at its files.
        let later = list.len() > STARTS_AT_ONCE;
        let wanted = |settings: &mut TorrentSettings| {
            settings.forced |= now;
            settings.limit_reached = false;
        };
        match self.save_states(&list, RunState::Running, wanted) {
            Ok(()) => self.each(list, |session, torrent_id| session.resume_stored(torrent_id, now, later)),
            Err(error) => all_failed(&list, &error),
        }
    }

    /// Removes torrents once that is stored.
    pub(super) fn remove(&mut self, list: Vec<TorrentId>, delete: bool) -> Failed {
        let handled = |torrent_id: &TorrentId| {
            let torrent = self.ids.get(torrent_id).and_then(|id| self.torrents.get(id));
            torrent.is_some_and(|torrent| torrent.is_handled() && !torrent.is_leaving())
        };
        let (kept, list): (Vec<_>, Vec<_>) = list.into_iter().partition(handled);
        let mut failed = all_failed(&kept, &Busy::Moving.into());
        if let Some(resume) = self.parts.resume.clone()
            && let Err(error) = resume.remove_all(&list)
        {
            let error = self.store_failed(error);
            failed.extend(all_failed(&list, &error));
            return failed;
        }
        self.note_removals(&list);
        list.into_iter().for_each(|torrent_id| self.begin_stop(torrent_id, Next::Remove { delete }));
        failed
    }

    /// Changes what is wanted of torrents: it holds once it is stored.
    fn change_torrents(&mut self, list: Vec<TorrentId>, change: &TorrentChange) -> Failed {
        let changes: Vec<_> = list
            .iter()
            .filter_map(|torrent_id| Some((*torrent_id, self.changed_as(*torrent_id, change)?)))
            .collect();
        let records: Vec<TorrentRecord> =
            changes.iter().filter_map(|(torrent_id, changed)| self.record_as(*torrent_id, changed)).collect();
        if let Err(error) = self.save_settings(&records) {
            return all_failed(&list, &error);
        }
        drop(records);
        for (torrent_id, changed) in changes {
            self.apply_change(torrent_id, changed, change.in_turn);
        }
        self.queue_due = true;
        Failed::new()
    }

    /// Has the files of torrents moved, or renamed, once that is stored; they rest meanwhile.
    fn handle_files(&mut self, list: Vec<TorrentId>, work: &FileWork) -> Failed {
        let (mut failed, mut begun) = (Failed::new(), Vec::new());
        for torrent_id in list {
            match self.plan_work(torrent_id, work) {
                Ok(Some(planned)) => begun.push((torrent_id, planned)),
                Ok(None) => {}
                Err(error) => failed.push((torrent_id, error)),
            }
        }
        let records: Vec<TorrentRecord> = begun.iter().filter_map(|(hash, _)| self.record(*hash)).collect();
        if let Err(error) = self.save_settings(&records) {
            for (torrent_id, planned) in begun {
                self.set_work(torrent_id, planned.before);
                failed.push((torrent_id, error.clone()));
            }
            return failed;
        }
        for (torrent_id, planned) in begun {
            if let Some(torrent) = self.torrent(&torrent_id) {
                (torrent.stays, torrent.warning) = (false, None);
            }
            self.start_work(torrent_id, work.clone(), planned.run, planned.again);
        }
        failed
    }

    /// Enters the states that torrents are about to have, and what is wanted of them then, in one transaction.
    fn save_states(
        &mut self,
        list: &[TorrentId],
        state: RunState,
        wanted: impl Fn(&mut TorrentSettings),
    ) -> Result<(), EngineError> {
        let records = list.iter().filter_map(|torrent_id| self.record(*torrent_id));
        let as_wanted = |mut record: TorrentRecord| {
            record.state = state;
            wanted(&mut record.settings);
            record
        };
        let records: Vec<_> = records.map(as_wanted).collect();
        self.save_settings(&records)
    }
}

/// What a command waits for with each torrent of its list.
#[derive(Clone, Copy)]
enum Waits {
    ForRemoval,
    ForRename,
}

/// The same failure for all of a list.
fn all_failed(list: &[TorrentId], error: &EngineError) -> Failed {
    list.iter().map(|torrent_id| (*torrent_id, error.clone())).collect()
}
