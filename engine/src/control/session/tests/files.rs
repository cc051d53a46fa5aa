//! How work on files ends for the torrent, by how it has ended on the disk.

use super::invariants;
use super::world::{Answer, World};
use crate::control::activity::Activity;
use crate::control::work::{Done, Work};
use ringseed_handle::{AddTorrent, TorrentCommand};
use ringseed_storage::{FileWork, MoveError, Rename, StorageError};

/// A torrent with its data, at rest.
fn whole(paused: bool) -> World {
    let mut world = World::new(2);
    world.contents[0].put(&world.path("data")).expect("written");
    let mut add = AddTorrent::new(world.contents[0].metainfo.clone());
    (add.paused, add.data_dir) = (paused, Some(world.path("data")));
    world.add(add);
    world.settle();
    world.answers.clear();
    world
}

/// Has the torrent moved as far as to the disk's part, and gives what is asked for.
fn asked_to_move(world: &mut World) -> FileWork {
    let (id, work) = (world.contents[0].id, FileWork::Move(world.path("moved")));
    world.command(vec![id], TorrentCommand::Handle(work.clone()));
    assert!(matches!(world.answer(), Answer::List(..)), "a move is answered when it has begun");
    for shard in 0..world.shards.len() {
        while world.shards[shard].take() {}
        while world.deliver(shard) {}
    }
    assert!(matches!(world.activity(0), Activity::Handling { .. }));
    work
}

/// The disk's part of what was asked for ends so.
fn end(world: &mut World, result: Result<(), MoveError>) {
    let place = world.work.iter().position(|work| matches!(work, Work::Change(_))).expect("it is asked for");
    let Work::Change(change) = world.work.remove(place) else { panic!("another work") };
    world.end_work(Done::Changed { torrent_id: change.torrent_id, work: change.work, result });
}

fn full() -> StorageError {
    StorageError::DiskFull { path: "file".into() }
}

#[test]
fn a_move_that_is_done_is_stored_with_the_end_of_the_work() {
    let mut world = whole(false);
    asked_to_move(&mut world);
    world.settle();
    let record = world.store.torrent(world.contents[0].id).expect("it is stored");
    assert_eq!((record.data_dir, record.settings.file_work), (world.path("moved"), None));
    assert!(matches!(world.activity(0), Activity::Running));
    assert!(world.path("moved").join("t0/first").exists() && !world.path("data/t0").exists());
    invariants::check_settled(&mut world);
}

#[test]
fn a_move_that_was_undone_leaves_the_torrent_where_it_was_with_a_warning() {
    for paused in [true, false] {
        let mut world = whole(paused);
        asked_to_move(&mut world);
        end(&mut world, Err(MoveError::Undone(full())));
        world.settle();
        let torrent = world.torrent(0).expect("it is there");
        assert!(torrent.warning.as_ref().is_some_and(|warning| warning.contains("are not moved")));
        assert_eq!(matches!(torrent.activity, Activity::Paused), paused);
        let record = world.store.torrent(world.contents[0].id).expect("it is stored");
        assert_eq!((record.data_dir, record.settings.file_work), (world.path("data"), None));
        invariants::check_settled(&mut world);
    }
}

#[test]
fn a_move_that_was_cancelled_warns_of_nothing() {
    let mut world = whole(false);
    asked_to_move(&mut world);
    let id = world.contents[0].id;
    world.command(vec![id], TorrentCommand::CancelMove);
    world.settle();
    assert!(world.torrent(0).is_some_and(|torrent| torrent.warning.is_none()));
    assert!(matches!(world.activity(0), Activity::Running));
}

#[test]
fn a_move_that_ended_halfway_stays_noted_and_is_gone_on_with() {
    for paused in [true, false] {
        let mut world = whole(paused);
        let work = asked_to_move(&mut world);
        end(&mut world, Err(MoveError::Halfway(full())));
        world.settle();
        let id = world.contents[0].id;
        let record = world.store.torrent(id).expect("it is stored");
        assert_eq!(record.settings.file_work, Some(work));
        match world.activity(0) {
            Activity::Paused => assert!(paused, "one that was paused does not begin to run by itself"),
            Activity::Failed(reason) => assert!(!paused && reason.to_string().contains("some are not")),
            other => panic!("{other:?}"),
        }
        world.command(vec![id], TorrentCommand::Resume { now: false });
        let again = |work: &Work| matches!(work, Work::Change(change) if change.again);
        assert!(world.work.iter().any(again), "it goes on with the move");
        world.settle();
        assert_eq!(world.torrent(0).expect("it is there").data_dir, world.path("moved"));
        invariants::check_settled(&mut world);
    }
}

#[test]
fn a_rename_is_answered_when_it_is_done_or_with_why_it_is_not() {
    let rename = || FileWork::Rename(Rename { from: "t0/first".into(), to: "t0/other".into() });
    for fails in [false, true] {
        let mut world = whole(true);
        let id = world.contents[0].id;
        world.command(vec![id], TorrentCommand::Handle(rename()));
        assert!(world.answers.is_empty());
        if fails {
            end(&mut world, Err(MoveError::Undone(full())));
        }
        world.settle();
        let Answer::List(_, _, _, Ok(failed)) = world.answer() else { panic!("no answer") };
        assert_eq!(failed.iter().count(), usize::from(fails));
        assert_eq!(world.path("data/t0/other").exists(), !fails);
        invariants::check_settled(&mut world);
    }
}

#[test]
fn a_removal_with_data_is_answered_with_what_could_not_be_deleted() {
    let mut world = whole(false);
    let id = world.contents[0].id;
    world.command(vec![id], TorrentCommand::Remove { delete: true });
    for shard in 0..world.shards.len() {
        while world.shards[shard].take() {}
        while world.deliver(shard) {}
    }
    assert!(world.answers.is_empty() && world.torrent(0).is_some(), "its files are there");
    world.settle();
    let Answer::List(_, _, _, Ok(failed)) = world.answer() else { panic!("no answer") };
    assert_eq!(failed.iter().count(), 0);
    assert!(!world.path("data/t0").exists() && world.torrent(0).is_none());
    invariants::check_settled(&mut world);
}
