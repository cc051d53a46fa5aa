//! Commands over lists of torrents: one transaction of the resume store, then what follows for each torrent, then one
//! snapshot and one answer. A torrent for which a command cannot be carried out does not keep it from the others; what
//! the store does not take, it takes of none.

use super::super::activity::Next;
use super::Session;
use ringseed_handle::{EngineError, Failures, Reply, TorrentChange, TorrentCommand};
use ringseed_proto::units::InfoHash;
use ringseed_storage::FileWork;
use ringseed_storage::{RunState, TorrentRecord, Wishes};
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// Torrents that are started before a command is answered: a few milliseconds. Of more the answer says that they will run,
/// and they start after it, in turns.
const STARTS_AT_ONCE: usize = 64;

/// Torrents that a command could not be carried out for, and why.
pub(super) type Failed = Vec<(InfoHash, EngineError)>;

/// A command that waits for torrents of its list. It is answered when the last of them gives up its ticket.
pub(super) type Ticket = Rc<Unanswered>;

/// See [`Ticket`].
pub(super) struct Unanswered {
    reply: Reply<Failures>,
    failed: RefCell<Failed>,
}

impl Unanswered {
    /// Notes that it could not be carried out for a torrent.
    pub(super) fn fail(&self, info_hash: InfoHash, error: EngineError) {
        self.failed.borrow_mut().push((info_hash, error));
    }

    /// Answers at the end of the session.
    pub(super) fn end(self) {
        let _ = self.reply.send(Ok(Failures::new(self.failed.into_inner())));
    }
}

impl Session {
    /// Carries out a command for the torrents of a list, each once.
    pub(super) fn on_list(&mut self, list: Vec<InfoHash>, command: TorrentCommand, reply: Reply<Failures>) {
        let mut seen = HashSet::with_capacity(list.len());
        let (list, unknown): (Vec<_>, Vec<_>) = list
            .into_iter()
            .filter(|info_hash| seen.insert(*info_hash))
            .partition(|info_hash| self.ids.contains_key(info_hash));
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
                session.parts.announcer.reannounce(hash);
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
        let failing: HashSet<InfoHash> = failed.iter().map(|(info_hash, _)| *info_hash).collect();
        let ticket = Rc::new(Unanswered { reply, failed: RefCell::new(failed) });
        for info_hash in wanted.into_iter().filter(|info_hash| !failing.contains(info_hash)) {
            match waits {
                // It is over in a moment, and whoever asked may add it again.
                Some(Waits::ForRemoval) if self.ids.contains_key(&info_hash) => {
                    self.leaving.entry(info_hash).or_default().push(ticket.clone());
                }
                // It is over in a moment, and whoever asked goes on with the new names.
                Some(Waits::ForRename) if self.moving_soon(info_hash) => {
                    _ = self.renaming.insert(info_hash, ticket.clone());
                }
                _ => {}
            }
        }
        self.give_up(ticket);
    }

    /// What was deleted of a removed torrent is not all: whoever waits for that is told.
    pub(super) fn removal_failed(&mut self, info_hash: InfoHash, reason: String) {
        for ticket in self.leaving.get(&info_hash).into_iter().flatten() {
            ticket.fail(info_hash, EngineError::Storage(reason.clone()));
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
        list: Vec<InfoHash>,
        mut change: impl FnMut(&mut Self, InfoHash) -> Result<(), EngineError>,
    ) -> Failed {
        let results = list.into_iter().map(|info_hash| (info_hash, change(self, info_hash)));
        results.filter_map(|(info_hash, result)| Some((info_hash, result.err()?))).collect()
    }

    /// Pauses torrents once that is stored: those that report failure run on.
    pub(super) fn pause(&mut self, list: Vec<InfoHash>) -> Failed {
        self.count_times(&list);
        match self.save_states(&list, RunState::Paused, |wishes| wishes.forced = false) {
            Ok(()) => list.into_iter().for_each(|info_hash| self.pause_stored(info_hash)),
            Err(error) => return all_failed(&list, &error),
        }
        Failed::new()
    }

    /// Starts torrents once that is stored.
    pub(super) fn resume(&mut self, list: Vec<InfoHash>, now: bool) -> Failed {
        // Starting one looks at its files.
        let later = list.len() > STARTS_AT_ONCE;
        let wanted = |wishes: &mut Wishes| {
            wishes.forced |= now;
            wishes.limit_reached = false;
        };
        match self.save_states(&list, RunState::Running, wanted) {
            Ok(()) => self.each(list, |session, info_hash| session.resume_stored(info_hash, now, later)),
            Err(error) => all_failed(&list, &error),
        }
    }

    /// Removes torrents once that is stored.
    pub(super) fn remove(&mut self, list: Vec<InfoHash>, delete: bool) -> Failed {
        let handled = |info_hash: &InfoHash| {
            let torrent = self.ids.get(info_hash).and_then(|id| self.torrents.get(id));
            torrent.is_some_and(|torrent| torrent.is_handled() && !torrent.is_leaving())
        };
        let (kept, list): (Vec<_>, Vec<_>) = list.into_iter().partition(handled);
        let mut failed = all_failed(
            &kept,
            &EngineError::Storage(
                "its files are being moved: try again when that is done, or cancel the move".into(),
            ),
        );
        if let Some(resume) = self.parts.resume.clone()
            && let Err(error) = resume.remove_all(&list)
        {
            let error = self.store_failed(&error);
            failed.extend(all_failed(&list, &error));
            return failed;
        }
        self.note_removals(&list);
        list.into_iter().for_each(|info_hash| self.begin_stop(info_hash, Next::Remove { delete }));
        failed
    }

    /// Changes what is wanted of torrents: it holds once it is stored.
    fn change_torrents(&mut self, list: Vec<InfoHash>, change: &TorrentChange) -> Failed {
        let changes: Vec<_> = list
            .iter()
            .filter_map(|info_hash| Some((*info_hash, self.changed_as(*info_hash, change)?)))
            .collect();
        let records: Vec<TorrentRecord> =
            changes.iter().filter_map(|(info_hash, changed)| self.record_as(*info_hash, changed)).collect();
        if let Err(error) = self.save_settings(&records) {
            return all_failed(&list, &error);
        }
        drop(records);
        for (info_hash, changed) in changes {
            self.apply_change(info_hash, changed, change.in_turn);
        }
        self.queue_due = true;
        Failed::new()
    }

    /// Has the files of torrents moved, or renamed, once that is stored; they rest meanwhile.
    fn handle_files(&mut self, list: Vec<InfoHash>, work: &FileWork) -> Failed {
        let (mut failed, mut begun) = (Failed::new(), Vec::new());
        for info_hash in list {
            match self.plan_work(info_hash, work) {
                Ok(Some(planned)) => begun.push((info_hash, planned)),
                Ok(None) => {}
                Err(error) => failed.push((info_hash, error)),
            }
        }
        let records: Vec<TorrentRecord> = begun.iter().filter_map(|(hash, _)| self.record(*hash)).collect();
        if let Err(error) = self.save_settings(&records) {
            for (info_hash, planned) in begun {
                self.set_work(info_hash, planned.before);
                failed.push((info_hash, error.copy()));
            }
            return failed;
        }
        for (info_hash, planned) in begun {
            if let Some(torrent) = self.torrent(&info_hash) {
                (torrent.stays, torrent.warning) = (false, None);
            }
            self.start_work(info_hash, work.clone(), planned.run, planned.again);
        }
        failed
    }

    /// Enters the states that torrents are about to have, and what is wanted of them then, in one transaction.
    fn save_states(
        &mut self,
        list: &[InfoHash],
        state: RunState,
        wanted: impl Fn(&mut Wishes),
    ) -> Result<(), EngineError> {
        let records = list.iter().filter_map(|info_hash| self.record(*info_hash));
        let as_wanted = |mut record: TorrentRecord| {
            record.state = state;
            wanted(&mut record.wishes);
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
fn all_failed(list: &[InfoHash], error: &EngineError) -> Failed {
    list.iter().map(|info_hash| (*info_hash, error.copy())).collect()
}
