//! Moving, renaming and deleting the files of torrents: no shard has them meanwhile, and a blocking task does it.
//!
//! What is to be done is entered in the resume store before the first file is touched and taken out when it has ended, in
//! one transaction with where the files are then. Work that a kill or a stop has cut short is begun again at the next
//! start. Work that fails leaves the torrent as it was, and it goes on there.

use super::super::activity::{Activity, Handling, Next};
use super::super::torrent::Torrent;
use super::super::work::{Deletion, Done, FileChange, Work};
use super::{Session, renamed, renames};
use ringseed_handle::{Busy, DeleteError, EngineError};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use ringseed_storage::FileWork;
use ringseed_storage::{MoveError, MoveProgress, StorageError, TorrentSettings, TorrentStore};
use ringseed_storage::{RunState, TorrentRecord};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Work on the files of a torrent that is about to begin.
pub(super) struct Planned {
    /// Whether the torrent runs afterwards.
    pub(super) run: bool,
    /// It was begun before.
    pub(super) again: bool,
    /// What was noted before.
    pub(super) before: Option<FileWork>,
}

/// How work on files has ended for the torrent.
enum End {
    /// It is done.
    Done,
    /// Nothing has changed, for this reason; `None` when the user wanted it so.
    Undone(Option<EngineError>),
    /// It has to be begun again.
    Halfway(EngineError),
}

impl Session {
    /// Looks whether the files of a torrent can be handled, and notes in memory that they will be. `None` when there is
    /// nothing to do.
    pub(super) fn plan_work(
        &mut self,
        torrent_id: TorrentId,
        work: &FileWork,
    ) -> Result<Option<Planned>, EngineError> {
        let Some(torrent) = self.torrent(&torrent_id) else { return Ok(None) };
        if torrent.is_handled() {
            return Err(Busy::Handled.into());
        }
        let begun = torrent.settings.file_work.as_ref();
        let again = begun == Some(work);
        if let Some(begun) = begun.filter(|_| !again)
            && !matches!(work, FileWork::Found(_))
        {
            return Err(Busy::CutShort(begun.clone()).into());
        }
        match work {
            FileWork::Rename(rename) if rename.from == rename.to => return Ok(None),
            FileWork::Rename(rename) => renames::check(&torrent.entry.content.info.layout, rename)?,
            FileWork::Move(to) | FileWork::Found(to)
                if *to == torrent.data_dir && torrent.settings.move_when_done.is_none() =>
            {
                return Ok(None);
            }
            FileWork::Move(_) | FileWork::Found(_) => {}
        }
        let run = torrent.wanted_running();
        self.check_work(torrent_id, work)?;
        let before = self.set_work(torrent_id, Some(work.clone()));
        Ok(Some(Planned { run, again, before }))
    }

    /// Has a torrent that is complete moved to its last directory. False when there is nothing to be moved.
    pub(super) fn move_if_done(&mut self, torrent_id: TorrentId, run: bool) -> bool {
        let Some(torrent) = self.torrent(&torrent_id) else { return false };
        let Some(to) = torrent.last_directory().filter(|_| torrent.is_done()).cloned() else { return false };
        if torrent.is_handled() || torrent.entry.store.absence().is_some() {
            return false;
        }
        let work = FileWork::Move(to);
        let checked = self.check_work(torrent_id, &work);
        if let Err(error) = checked.and_then(|()| self.note_work(torrent_id, Some(work.clone()), run)) {
            tracing::error!(%error, torrent = %torrent_id, "a complete torrent is not moved");
            // One that could not be noted is moved when the store can be used again.
            let stays = self.store_failure.is_none();
            if let Some(torrent) = self.torrent(&torrent_id) {
                torrent.stays = stays;
                torrent.warning = Some(error.to_string());
            }
            return false;
        }
        self.start_work(torrent_id, work, run, false);
        true
    }

    /// Moves what became complete while the store could not be used.
    pub(super) fn move_all_done(&mut self) {
        let waits = |torrent: &&Torrent| {
            let rests = matches!(torrent.activity, Activity::Running | Activity::Queued | Activity::Paused);
            rests && torrent.is_done() && torrent.last_directory().is_some()
        };
        let waiting = self.torrents.values().filter(waits);
        let waiting: Vec<_> = waiting.map(|torrent| (torrent.entry.id(), torrent.wanted_running())).collect();
        for (torrent_id, run) in waiting {
            if let Some(torrent) = self.torrent(&torrent_id) {
                torrent.warning = None;
            }
            self.move_if_done(torrent_id, run);
        }
    }

    /// Has the move of a torrent's files end and everything put back.
    pub(super) fn cancel_move(&mut self, torrent_id: TorrentId) -> Result<(), EngineError> {
        let Some(torrent) = self.torrent(&torrent_id) else { return Ok(()) };
        match &mut torrent.activity {
            Activity::Handling { handling: Handling { work: FileWork::Move(_), progress }, .. } => {
                progress.cancel();
                Ok(())
            }
            Activity::Stopping { next, .. }
                if matches!(next, Next::Handle { work: FileWork::Move(_), .. }) =>
            {
                let Next::Handle { work, run, .. } = next.clone() else { return Ok(()) };
                // It holds once it is stored.
                self.note_work(torrent_id, None, run)?;
                let stopping = self.torrent(&torrent_id).map(|torrent| &mut torrent.activity);
                if let Some(Activity::Stopping { next, .. }) = stopping {
                    *next = if run { Next::Run } else { Next::Pause };
                }
                self.stay(torrent_id, &work);
                Ok(())
            }
            _ => Err(Busy::NotMoving.into()),
        }
    }

    /// The user does not want a torrent moved: not by itself either, when it was that.
    fn stay(&mut self, torrent_id: TorrentId, work: &FileWork) {
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        torrent.touch();
        if torrent.settings.move_when_done.as_ref() == work.directory() {
            Arc::make_mut(&mut torrent.settings).move_when_done = None;
        }
    }

    /// Enters what is begun with the files of a torrent, and whether it runs afterwards. On an error it is as before.
    fn note_work(
        &mut self,
        torrent_id: TorrentId,
        work: Option<FileWork>,
        run: bool,
    ) -> Result<(), EngineError> {
        let before = self.set_work(torrent_id, work);
        // One that rests may be about to run: a kill in between is not to make it one that was paused.
        let state = if run { RunState::Running } else { RunState::Paused };
        let record = self.record(torrent_id).map(|record| TorrentRecord { state, ..record });
        let records: Vec<_> = record.into_iter().collect();
        let result = self.save_settings(&records);
        if result.is_err() {
            self.set_work(torrent_id, before);
        }
        result
    }

    /// Notes in memory what is begun with the files of a torrent, and gives what was before.
    pub(super) fn set_work(&mut self, torrent_id: TorrentId, work: Option<FileWork>) -> Option<FileWork> {
        let torrent = self.torrent(&torrent_id)?;
        let before = std::mem::replace(&mut Arc::make_mut(&mut torrent.settings).file_work, work);
        self.hold_paths(torrent_id);
        before
    }

    /// Whether the files of a torrent are being handled, or will be in a moment.
    pub(super) fn moving_soon(&self, torrent_id: TorrentId) -> bool {
        let torrent = self.ids.get(&torrent_id).and_then(|id| self.torrents.get(id));
        torrent.is_some_and(|torrent| torrent.is_handled() && !torrent.is_leaving())
    }

    /// Begins work on files, or has it begin when the shards have let go. `again` says that it was begun before.
    pub(super) fn start_work(&mut self, torrent_id: TorrentId, work: FileWork, run: bool, again: bool) {
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        match &torrent.activity {
            Activity::Handling { .. } => {}
            Activity::Paused | Activity::Failed(_) | Activity::Missing { .. } | Activity::Queued => {
                self.begin_files(torrent_id, work, run, again);
            }
            Activity::Running | Activity::Checking { .. } | Activity::Stopping { .. } => {
                self.begin_stop(torrent_id, Next::Handle { work, run, again });
            }
        }
    }

    /// Takes up work on the files of a torrent that no shard has, which was begun and has not ended. False when there is
    /// none.
    pub(super) fn resume_work(&mut self, torrent_id: TorrentId, run: bool) -> bool {
        let Some(torrent) = self.torrent(&torrent_id) else { return false };
        let Some(work) = torrent.settings.file_work.clone() else { return false };
        // Another torrent may use the files by now.
        match self.check_work(torrent_id, &work) {
            Ok(()) => self.begin_files(torrent_id, work, run, true),
            Err(error) => {
                tracing::warn!(%error, torrent = %torrent_id, "work on files that was begun cannot go on");
                self.fail(torrent_id, error.to_string(), run);
            }
        }
        true
    }

    /// Handles the files of a torrent that no shard has. `again` says that this was begun before.
    pub(super) fn begin_files(&mut self, torrent_id: TorrentId, work: FileWork, run: bool, again: bool) {
        if self.is_used_until_removed(torrent_id, &work) {
            return self.hold_work(torrent_id, Next::Handle { work, run, again });
        }
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        let progress = Arc::new(MoveProgress::default());
        let handling = Handling { work: work.clone(), progress: progress.clone() };
        torrent.activity = Activity::Handling { run, handling };
        torrent.touch();
        let change = FileChange {
            torrent_id,
            work,
            info: torrent.entry.content.info.clone(),
            from: torrent.data_dir.clone(),
            have: torrent.pieces.durable().clone(),
            partial: torrent.entry.store.partial_files(),
            again,
            progress,
        };
        self.moving.insert(torrent_id);
        self.work.push(Work::Change(Box::new(change)));
    }

    /// Has work on files wait until the shards have let go of a torrent that has them as well and is being removed.
    fn hold_work(&mut self, torrent_id: TorrentId, next: Next) {
        if let Some(torrent) = self.torrent(&torrent_id) {
            torrent.activity = Activity::Stopping { waiting: Vec::new(), next };
            torrent.touch();
            self.held_work.push(torrent_id);
        }
    }

    /// Shards have let go of a torrent that is being removed: goes on with work that may have waited for that.
    pub(super) fn go_on_with_held(&mut self) {
        for torrent_id in std::mem::take(&mut self.held_work) {
            if let Some(home) = self.torrent(&torrent_id).map(|torrent| torrent.entry.home) {
                self.let_go.push_back((home, torrent_id));
            }
        }
    }

    /// Goes on with what was done beside the session.
    pub fn on_done(&mut self, done: Done) {
        self.dirty = true;
        if self.is_ending() {
            return self.on_last_done(done);
        }
        match done {
            Done::Changed { torrent_id, work, result } => self.files_handled(torrent_id, work, result),
            Done::Deleted { torrent_id, result } => self.files_deleted(torrent_id, result),
            Done::Opened(opening) => self.opened.push(*opening),
            Done::NotOpened(torrent_id) => _ = self.opening.remove(&torrent_id),
            // Nobody may be waiting any more.
            Done::GivenBack(reply, error) => _ = reply.send(Err(error)),
            Done::Flushed { number, flushed } => self.flushed(number, flushed),
            Done::Reopened(result) => self.store_reopened(result),
            Done::TrackersTold | Done::Nothing => {}
        }
    }

    fn files_deleted(&mut self, torrent_id: TorrentId, result: Result<(), DeleteError>) {
        if let Err(error) = result {
            self.removal_failed(torrent_id, &error.into());
        }
        self.forget(torrent_id);
    }

    fn files_handled(&mut self, torrent_id: TorrentId, work: FileWork, result: Result<(), MoveError>) {
        self.moving.remove(&torrent_id);
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        let Activity::Handling { run, .. } = torrent.activity else { return };
        let followers = match &work {
            FileWork::Move(to) => self.followers(torrent_id, to).unwrap_or_default(),
            FileWork::Found(_) | FileWork::Rename(_) => Vec::new(),
        };
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        let moved = work.directory().is_some_and(|to| *to != torrent.data_dir);
        let end = match result {
            Ok(()) => match (self.reopen(torrent_id, &work), &work) {
                (Ok(()), _) => End::Done,
                (Err(error), FileWork::Found(_)) => End::Undone(Some(error)),
                (Err(error), _) => End::Halfway(error),
            },
            Err(MoveError::Undone(StorageError::Cancelled)) => End::Undone(None),
            Err(MoveError::Undone(error)) => End::Undone(Some(error.into())),
            Err(MoveError::Halfway(error)) => End::Halfway(EngineError::HalfMoved {
                to: work.directory().cloned().unwrap_or_default(),
                error,
            }),
            // The process ends: the next one goes on.
            Err(MoveError::Left) => return,
        };
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        torrent.touch();
        let halfway = matches!(end, End::Halfway(_));
        let outcome = match end {
            End::Halfway(error) => {
                self.fail(torrent_id, error.to_string(), run);
                Err(error)
            }
            End::Done => {
                Arc::make_mut(&mut torrent.settings).file_work = None;
                Ok(())
            }
            End::Undone(error) => {
                Arc::make_mut(&mut torrent.settings).file_work = None;
                match &error {
                    None => self.stay(torrent_id, &work),
                    // Who renames is told; a move was answered before it was done.
                    Some(error) if work.directory().is_some() => {
                        tracing::error!(%error, torrent = %torrent_id, "files are not moved");
                        torrent.stays = true;
                        torrent.warning = Some(format!("its files are not moved: {error}"));
                    }
                    Some(_) => {}
                }
                Err(error.unwrap_or(StorageError::Cancelled.into()))
            }
        };
        if let Some(torrent) = self.torrent(&torrent_id)
            && !halfway
        {
            torrent.activity = Activity::Paused;
            let check = matches!(work, FileWork::Found(_)) && moved && outcome.is_ok();
            self.go_on(torrent_id, run, check);
        }
        self.hold_paths(torrent_id);
        self.save_or_log(torrent_id);
        self.leave_trackers(torrent_id);
        if let (Ok(()), Some(to)) = (&outcome, work.directory()) {
            followers.into_iter().for_each(|follower| self.follow(follower, to));
        }
        // Another torrent may have waited for that.
        self.queue_due = true;
        if let Some(ticket) = self.renaming.remove(&torrent_id) {
            if let Err(error) = outcome {
                ticket.fail(torrent_id, error);
            }
            self.give_up(ticket);
        }
    }

    /// A torrent that rests has its files in another directory now, because they were moved with those of another torrent.
    fn follow(&mut self, torrent_id: TorrentId, to: &Path) {
        if let Err(error) = self.reopen(torrent_id, &FileWork::Found(to.to_path_buf())) {
            tracing::error!(%error, torrent = %torrent_id, "files that were moved with those of another torrent");
            return;
        }
        if let Some(torrent) = self.torrent(&torrent_id) {
            torrent.doubt_files();
            torrent.touch();
            match torrent.activity {
                // It was looked at while they were on their way.
                Activity::Missing { run: true, .. } => self.begin(torrent_id),
                // Or is being hashed where they were.
                Activity::Checking { run, .. } => self.begin_stop(torrent_id, Next::Check { run }),
                _ => {}
            }
        }
        self.hold_paths(torrent_id);
        self.save_or_log(torrent_id);
    }

    /// What follows work on the files of a torrent.
    fn go_on(&mut self, torrent_id: TorrentId, run: bool, check: bool) {
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        // After work that an earlier run has begun the files are looked at first.
        let unsure = torrent.unchecked;
        if check {
            if self.look(torrent_id, run).is_some() {
                self.begin_check(torrent_id, run);
            }
        } else if (unsure || !self.move_if_done(torrent_id, run)) && run {
            self.begin(torrent_id);
        }
    }

    /// Tells trackers that a torrent has left that was to go on and does not.
    fn leave_trackers(&mut self, torrent_id: TorrentId) {
        let trackers = self.parts.trackers.clone();
        if let Some(torrent) = self.torrent(&torrent_id)
            && torrent.announced
            && torrent.activity != Activity::Running
        {
            torrent.announced = false;
            trackers.stop(torrent_id);
        }
    }

    /// Opens a torrent's files where they are and as they are called after this work. On an error nothing has changed.
    fn reopen(&mut self, torrent_id: TorrentId, work: &FileWork) -> Result<(), EngineError> {
        let Some(torrent) = self.torrent(&torrent_id) else { return Ok(()) };
        let old = torrent.entry.clone();
        let data_dir = work.directory().unwrap_or(&torrent.data_dir).clone();
        let mut settings = TorrentSettings::clone(&torrent.settings);
        if let FileWork::Rename(rename) = work {
            settings.renames.push(rename.clone());
        }
        let original = match old.metainfo.is_stub() {
            true => self.stored_metainfo(torrent_id)?,
            false => Metainfo::parse(&old.metainfo.to_bytes()).map_err(EngineError::StoredDamaged)?,
        };
        let metainfo = Arc::new(renamed(original, &settings));
        let store = TorrentStore::open(&data_dir, metainfo.info.clone(), &self.parts.store_limits)?;
        store.take_partial_files(old.store.partial_files());
        store.take_moved_stamps(&old.store.stamps());
        let entry = self.entry_in_place_of(&old, metainfo, store);
        let Some(torrent) = self.torrent(&torrent_id) else { return Ok(()) };
        torrent.pieces.reopened(&old.store);
        if work.directory().is_some() {
            settings.move_when_done = None;
        }
        torrent.settings = Arc::new(settings);
        torrent.data_dir = data_dir;
        torrent.entry = entry.clone();
        torrent.apply_settings(old.sequential.load(Ordering::Relaxed));
        let unflushed = torrent.pieces.is_unflushed();
        self.parts.registry.insert([entry]);
        if unflushed {
            // What had begun was of the files where they were.
            self.flush_found(torrent_id);
        }
        Ok(())
    }

    /// Deletes the files of a torrent that is being forgotten once that is done: until then its paths are taken, so that
    /// nothing is deleted of a torrent that is added meanwhile. What is another torrent's as well stays.
    pub(super) fn delete_files(&mut self, torrent_id: TorrentId) {
        let mut sharers = self.sharers(&torrent_id);
        // One whose own files are being deleted wants them no more: both may be removed by one command.
        sharers.retain(|sharer| !self.by_id(&sharer.torrent).is_some_and(Torrent::is_being_deleted));
        let shared = sharers.into_iter().flat_map(|sharer| sharer.files);
        let shared: HashSet<usize> = shared.map(|(file, _)| file).collect();
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        torrent.activity = Activity::Stopping { waiting: Vec::new(), next: Next::Remove { delete: true } };
        // A move that was cut short has left some of them elsewhere.
        let elsewhere = torrent.settings.file_work.as_ref().and_then(FileWork::directory).cloned();
        let deletion = Deletion {
            torrent_id,
            info: torrent.entry.content.info.clone(),
            directories: std::iter::once(torrent.data_dir.clone()).chain(elsewhere).collect(),
            partial: torrent.entry.store.partial_files(),
            shared,
        };
        self.work.push(Work::Delete(Box::new(deletion)));
    }
}
