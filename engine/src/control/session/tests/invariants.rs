//! What holds after each event, whatever has happened.

use super::content::verify;
use super::shard::{begins, stops};
use super::world::{Answer, Asked, World};
use crate::control::activity::{Activity, Next};
use crate::control::loader::Restored;
use crate::control::torrent::{QueueState, Torrent};
use crate::control::work::Work;
use crate::shard::message::{FromShard, ToShard};
use crate::shard::registry::TorrentPhase;
use ringseed_handle::{AddOutcome, EngineError, TorrentCommand};
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::{FileWork, RunState};
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

/// All of them.
pub fn check(world: &mut World) {
    if world.session.is_ending() {
        return;
    }
    world.session.take_changes();
    lists_agree(world);
    census_is_right(world);
    for torrent in world.session.torrents.values() {
        activity_is_whole(world, torrent);
    }
    nothing_is_left_behind(world);
    commands_wait_for_something(world);
}

/// A torrent is in each list or in none.
fn lists_agree(world: &World) {
    let session = &world.session;
    assert_eq!(session.ids.len(), session.torrents.len());
    let mut handled = HashSet::new();
    for (id, torrent) in &session.torrents {
        let torrent_id = torrent.entry.id();
        assert_eq!(session.ids.get(&torrent_id), Some(id));
        let entry = world.registry.get(&torrent_id).expect("shards know it");
        assert!(Arc::ptr_eq(&entry, &torrent.entry), "shards know another entry");
        assert!(!session.claims.roots_of(&torrent_id).is_empty(), "it holds no paths");
        assert!(!session.opening.contains_key(&torrent_id), "it is being added as well");
        if matches!(torrent.activity, Activity::Handling { .. }) {
            handled.insert(torrent_id);
        }
    }
    assert_eq!(handled, session.moving);
    let waiting = session.leaving.keys().filter(|id| !session.by_id(id).is_some_and(Torrent::is_leaving));
    assert_eq!(waiting.count(), 0, "somebody waits for the end of what is not removed");
    let renaming = session.renaming.keys().filter(|id| !session.moving_soon(**id));
    assert_eq!(renaming.count(), 0, "somebody waits for the end of no rename");
}

/// The census is what counting anew gives.
fn census_is_right(world: &World) {
    let (session, census) = (&world.session, &world.session.census);
    let mut order = BTreeSet::new();
    let mut queues: [[BTreeSet<(i64, u32)>; 2]; 2] = Default::default();
    let (mut waiting, mut handled) = (HashSet::new(), HashSet::new());
    let mut moved = (0, 0);
    for (id, torrent) in &session.torrents {
        let now = torrent.count();
        assert_eq!(torrent.counted_as, Some(now), "it did not tell that it has changed");
        let key = (now.place, *id);
        order.insert(key);
        match now.turn {
            QueueState::None => {}
            QueueState::Runs => _ = queues[usize::from(now.seed)][0].insert(key),
            QueueState::Waits => _ = queues[usize::from(now.seed)][1].insert(key),
        }
        if now.waits {
            waiting.insert(*id);
        }
        if now.handled {
            handled.insert(*id);
        }
        moved = (moved.0 + now.moved.0, moved.1 + now.moved.1);
    }
    assert!(census.order.iter().eq(order.iter()), "the order of the queue");
    for (found, [running, waiting]) in census.queues.iter().zip(&queues) {
        assert_eq!((&found.running, &found.waiting), (running, waiting));
    }
    assert_eq!((&census.waiting, &census.handled, census.moved), (&waiting, &handled, moved));
}

/// What a torrent waits for will come, and no shard has what it should not have.
fn activity_is_whole(world: &World, torrent: &Torrent) {
    let (session, id) = (&world.session, torrent.entry.id());
    let changes =
        world.work.iter().filter(|work| matches!(work, Work::Change(change) if change.torrent_id == id));
    let deletions = world.work.iter().filter(|work| matches!(work, Work::Delete(it) if it.torrent_id == id));
    let (changes, deletions) = (changes.count(), deletions.count());
    let stopped = torrent.entry.phase() == TorrentPhase::Stopped;
    let shards = || (0..world.shards.len()).filter(|shard| shard_has_or_will(world, *shard, id)).count();
    let let_go = |shard: usize| session.let_go.contains(&(shard, id));
    match &torrent.activity {
        Activity::Paused | Activity::Failed(_) | Activity::Missing { .. } | Activity::Queued => {
            assert!(stopped, "peers are let in to {:?}", torrent.activity);
            assert_eq!((shards(), changes, deletions), (0, 0, 0), "{:?}", torrent.activity);
        }
        Activity::Handling { handling, .. } => {
            assert!(stopped);
            assert_eq!(
                (shards(), changes, deletions),
                (0, 1, 0),
                "its files are handled once, by nobody else"
            );
            assert_eq!(torrent.settings.file_work.as_ref(), Some(&handling.work), "it is noted");
        }
        Activity::Checking { found, .. } => {
            assert!(stopped && changes + deletions == 0);
            assert!(Arc::ptr_eq(&found.check.torrent, &torrent.entry), "other files are hashed");
            let reports = |shard: usize| {
                let is_it = |report: &&FromShard| matches!(report, FromShard::Checked { check, .. } if Arc::ptr_eq(check, &found.check));
                shard_has_or_will(world, shard, id) || world.shards[shard].reports.iter().any(|it| is_it(&it))
            };
            let missing = (0..world.shards.len()).filter(|shard| reports(*shard)).count();
            assert_eq!(found.waiting, missing, "parts of a check");
        }
        Activity::Running => {
            assert_eq!((changes, deletions), (0, 0));
            assert!(torrent.announced && world.trackers.has(id), "trackers do not know it");
            let fails = |report: &FromShard| matches!(report, FromShard::Failed(failed, _) if *failed == id);
            match torrent.entry.phase() {
                TorrentPhase::Stopped => {
                    let failed = world.shards.iter().flat_map(|shard| &shard.reports).any(fails);
                    assert!(failed, "it is stopped and nobody says so");
                }
                TorrentPhase::Downloading => {
                    let home = torrent.entry.home;
                    let has = &world.shards[home].has;
                    assert!(
                        shard_has_or_will(world, home, id),
                        "shard {home} has not {id}, has {:?}, {} waiting {} unsent, done {}",
                        has.keys(),
                        world.shards[home].waiting.len(),
                        world.session.unsent[home].len(),
                        torrent.is_done()
                    );
                }
                TorrentPhase::Seeding => {}
            }
        }
        Activity::Stopping { waiting, next } => {
            assert!(stopped && changes == 0);
            for shard in waiting {
                let told = world.shards[*shard].waiting.iter().chain(&session.unsent[*shard]);
                let answers = |report: &FromShard| {
                    matches!(report, FromShard::Stopped { torrents, .. }
                        if torrents.iter().any(|(stopped, _)| *stopped == id))
                };
                let comes = told.into_iter().any(|message| stops(message, id))
                    || world.shards[*shard].reports.iter().any(answers)
                    || let_go(*shard);
                assert!(comes, "shard {shard} will not let go of it");
            }
            let deleted = matches!(next, Next::Remove { delete: true }) && deletions == 1;
            let held = session.held_work.contains(&id);
            let goes_on = !waiting.is_empty() || let_go(torrent.entry.home) || held;
            assert!(goes_on != deleted, "{next:?} does not follow, or twice");
        }
    }
}

/// Whether a shard has a torrent, or will have it by what it was sent or is to be sent.
pub fn shard_has_or_will(world: &World, shard: usize, id: TorrentId) -> bool {
    let unsent = world.session.unsent[shard].iter();
    world.shards[shard].has_or_will(id) || unsent.into_iter().any(|message: &ToShard| begins(message, id))
}

/// What is not in the session is nowhere.
fn nothing_is_left_behind(world: &World) {
    let session = &world.session;
    for content in world.contents.iter().filter(|content| !session.ids.contains_key(&content.id)) {
        let id = content.id;
        assert!(world.registry.get(&id).is_none(), "shards know it");
        assert!(!world.trackers.has(id), "trackers know it");
        assert!(session.claims.roots_of(&id).is_empty(), "it holds paths");
        for shard in 0..world.shards.len() {
            assert!(!shard_has_or_will(world, shard, id), "shard {shard} has it");
        }
        let kept = world.store.torrent(id).is_some();
        assert!(!kept || session.loading, "it is stored");
        let steps = |work: &&Work| match work {
            Work::Search(search) => search.add.metainfo.id() == id,
            Work::MakeDirectory(making) => making.opening.torrent_id() == id,
            _ => false,
        };
        let adding = usize::from(session.opening.contains_key(&id));
        assert_eq!(world.work.iter().filter(steps).count(), adding, "an add goes on as one");
    }
}

/// Whoever waits for an answer waits for something that goes on.
fn commands_wait_for_something(world: &World) {
    let session = &world.session;
    for asked in &world.asked {
        let goes_on = match asked {
            Asked::Add(id, _) => {
                session.opening.contains_key(id)
                    || world.work.iter().any(|work| matches!(work, Work::GiveBack(_)))
            }
            Asked::List(list, command, ..) => list.iter().any(|id| match command {
                TorrentCommand::Remove { .. } => session.leaving.contains_key(id),
                TorrentCommand::Handle(FileWork::Rename(_)) => session.renaming.contains_key(id),
                _ => false,
            }),
            Asked::Engine(_) => false,
            Asked::Shutdown(_) => session.is_ending(),
        };
        assert!(goes_on || session.loading, "a command is forgotten");
    }
}

/// Files are handled only when no shard has them, and when that is noted.
pub fn check_work(world: &World, work: &Work) {
    if world.session.is_ending() {
        return;
    }
    let (id, removed) = match work {
        Work::Change(change) => (change.torrent_id, false),
        Work::Delete(deletion) => (deletion.torrent_id, true),
        _ => return,
    };
    for shard in 0..world.shards.len() {
        assert!(!shard_has_or_will(world, shard, id), "shard {shard} has files that are handled");
    }
    let torrent = world.session.by_id(&id).expect("it is in the session");
    assert_eq!(torrent.entry.phase(), TorrentPhase::Stopped);
    let stored = world.store.torrent(id);
    match work {
        Work::Change(change) => {
            let noted = stored.and_then(|record| record.settings.file_work);
            assert_eq!(noted.as_ref(), Some(&change.work), "work is begun that is not noted");
        }
        _ => assert!(stored.is_none(), "files are deleted of a torrent that is stored"),
    }
    // Files that another torrent has as well.
    for other in world.session.torrents.values().filter(|other| other.entry.id() != id) {
        let common = common_files(torrent, other);
        let used = world.shards.iter().any(|shard| shard.uses_or_will(other.entry.id()));
        match work {
            Work::Delete(deletion) if removed && !other.is_being_deleted() => {
                assert!(common.iter().all(|file| deletion.shared.contains(file)), "another torrent's files");
            }
            Work::Change(change) if !matches!(change.work, FileWork::Found(_)) => {
                assert!(common.is_empty() || !used, "another torrent uses files that are handled");
            }
            _ => {}
        }
    }
}

/// Files of a torrent, by index, that are files of another as well.
fn common_files(torrent: &Torrent, other: &Torrent) -> Vec<usize> {
    let paths = |torrent: &Torrent| -> Vec<PathBuf> {
        let files = &torrent.entry.content.info.layout.files;
        files.iter().map(|file| torrent.data_dir.join(&file.path)).collect()
    };
    let theirs = paths(other);
    let own = paths(torrent).into_iter().enumerate();
    own.filter(|(_, path)| theirs.contains(path)).map(|(file, _)| file).collect()
}

/// What was answered holds, and is stored.
pub fn check_answer(world: &World, answer: &Answer) {
    match answer {
        Answer::Dropped => assert!(world.session.is_ending(), "a command was dropped"),
        Answer::Add(id, Ok(AddOutcome::Added(_))) => {
            let record = world.store.torrent(*id).expect("it is stored");
            assert!(!record.metainfo.is_empty() && world.session.ids.contains_key(id));
            assert!(world.session.parts.snapshot.load().torrents.find(id).is_some(), "it is shown");
        }
        Answer::List(list, command, newest, Ok(failed)) => {
            let failed: HashSet<TorrentId> = failed.iter().map(|(id, _)| *id).collect();
            for id in list.iter().filter(|id| !failed.contains(id)) {
                check_done(world, *id, command, *newest);
            }
        }
        Answer::List(.., Err(error)) => panic!("a list as a whole has failed: {error}"),
        Answer::Engine(Err(error)) => assert!(matches!(error, EngineError::Store(_)), "{error}"),
        Answer::Add(..) | Answer::Engine(Ok(())) | Answer::Shutdown => {}
    }
}

/// What was asked for a torrent was done. `newest` had the highest number then.
fn check_done(world: &World, id: TorrentId, command: &TorrentCommand, newest: u32) {
    let session = &world.session;
    if let TorrentCommand::Remove { .. } = command {
        // It may have been added again before the last of the list was gone.
        if session.by_id(&id).is_some_and(|torrent| torrent.id > newest) {
            return;
        }
        assert!(world.store.torrent(id).is_none(), "it was removed and is stored");
        if !session.is_ending() {
            assert!(!session.ids.contains_key(&id), "it was removed and is there");
            assert!(
                session.parts.snapshot.load().torrents.find(&id).is_none(),
                "it was removed and is shown"
            );
        }
        return;
    }
    // Whatever was said of one that is being removed, it goes.
    let Some(torrent) = session.by_id(&id).filter(|torrent| !torrent.is_leaving()) else { return };
    let record = world.store.torrent(id).expect("it is stored");
    match command {
        TorrentCommand::Pause => assert_eq!(record.state, RunState::Paused),
        TorrentCommand::Resume { .. } => {
            assert_eq!(record.state, RunState::Running);
            assert!(!matches!(torrent.activity, Activity::Paused), "it was started and rests");
        }
        TorrentCommand::Handle(work) => {
            let arrived = match work {
                FileWork::Move(to) | FileWork::Found(to) => {
                    // What could not be stored is noted still, and begun again after a kill.
                    let owed = session.owed.contains(&id) && record.settings.file_work.is_some();
                    record.data_dir == *to || (owed && torrent.data_dir == *to)
                }
                FileWork::Rename(rename) => {
                    rename.from == rename.to || record.settings.renames.contains(rename)
                }
            };
            assert!(arrived || record.settings.file_work.as_ref() == Some(work), "{work:?} is not noted");
        }
        TorrentCommand::Change(_) => {
            assert_eq!(record.settings.labels, torrent.settings.labels);
            assert_eq!(record.settings.files, torrent.settings.files);
            assert_eq!(record.settings.tiers, torrent.settings.tiers);
        }
        TorrentCommand::MoveInQueue(_) => assert_eq!(record.settings.queue, torrent.settings.queue),
        _ => {}
    }
}

/// What is claimed of files that are taken for what they were is in them.
pub fn check_restored(world: &World, restored: &Restored) {
    let id = restored.record.torrent_id;
    let content = world.contents.iter().find(|content| content.id == id).expect("one of the test");
    if restored.trusted {
        let store = &restored.entry.store;
        let right = verify(&content.metainfo, store.layout(), store.directory());
        let claimed = restored.have.iter_ones().all(|piece| right.get(piece));
        assert!(claimed, "pieces are claimed that are not there");
    }
}

/// What holds once all that was under way has come to its end.
pub fn check_settled(world: &mut World) {
    check(world);
    let session = &world.session;
    assert!(world.asked.is_empty(), "{} commands have no answer", world.asked.len());
    assert!(session.store_failure.is_none() && session.flushes.is_empty());
    assert!(session.opening.is_empty() && session.leaving.is_empty() && session.renaming.is_empty());
    assert!(session.let_go.is_empty() && session.stops.is_empty() && session.moving.is_empty());
    assert!(session.owed.is_empty() && session.unsaved.is_empty() && session.counting.is_empty());
    assert!(session.unsent.iter().all(|messages| messages.is_empty()));
    for torrent in session.torrents.values() {
        let rests = matches!(
            torrent.activity,
            Activity::Paused
                | Activity::Failed(_)
                | Activity::Missing { .. }
                | Activity::Queued
                | Activity::Running
        );
        assert!(rests, "{:?} has no end", torrent.activity);
        let id = torrent.entry.id();
        let stored = world.store.torrent(id).expect("it is stored");
        let record = session.record(id).expect("it is not removed");
        assert_eq!((stored.state, stored.data_dir), (record.state, record.data_dir));
        assert_eq!((stored.have, stored.settings.renames), (record.have, record.settings.renames));
        assert_eq!(stored.settings.file_work, record.settings.file_work);
        assert_eq!(stored.settings.queue, record.settings.queue);
        assert_eq!(world.trackers.has(id), torrent.announced, "trackers know it, or do not");
        assert!(!torrent.announced || world.trackers.tiers(id) == torrent.tiers(), "other trackers are told");
    }
    let stored: HashSet<TorrentId> = world.store.torrents().iter().map(|record| record.torrent_id).collect();
    assert_eq!(stored, session.ids.keys().copied().collect(), "what is stored is what is there");
}
