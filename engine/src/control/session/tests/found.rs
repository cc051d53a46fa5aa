//! What random walks have found, each as a walk of its own.

use super::invariants;
use super::world::World;
use crate::control::activity::{Activity, Next};
use crate::control::work::{Done, Work};
use ringseed_handle::{AddTorrent, TorrentChange, TorrentCommand};
use ringseed_storage::{FileWork, MoveError, RunState, StorageError};
use std::sync::Arc;

/// Adds a torrent that lies whole in a directory, and has it hashed.
fn add_whole(world: &mut World, number: usize, paused: bool) {
    let directory = world.path("data");
    world.contents[number].put(&directory).expect("written");
    let mut add = AddTorrent::new(world.contents[number].metainfo.clone());
    (add.paused, add.data_dir) = (paused, Some(directory));
    world.add(add);
    world.settle();
}

fn start_move(world: &mut World, number: usize, to: &str) {
    let (id, to) = (world.contents[number].id, world.path(to));
    world.command(vec![id], TorrentCommand::Handle(FileWork::Move(to)));
}

/// A seed that was paused and started again in one moment was to be moved to its last directory first. It waited for
/// shards that had let go of it already, and did so for ever.
#[test]
fn a_torrent_that_starts_with_its_last_move_does_not_wait_for_shards_that_have_let_go() {
    let mut world = World::new(2);
    add_whole(&mut world, 0, false);
    let (id, to) = (world.contents[0].id, world.path("done"));
    let last = to.clone();
    let change = move |settings: &mut ringseed_storage::TorrentSettings,
                       _: &ringseed_proto::metainfo::Metainfo| {
        settings.move_when_done = Some(last.clone());
    };
    world.command(vec![id], TorrentCommand::Pause);
    let change = TorrentChange { settings: Some(Arc::new(change)), ..TorrentChange::default() };
    world.command(vec![id], TorrentCommand::Change(change));
    world.command(vec![id], TorrentCommand::Resume { now: false });
    assert!(matches!(world.activity(0), Activity::Stopping { next: Next::Run, .. }));
    world.settle();
    invariants::check_settled(&mut world);
    assert!(matches!(world.activity(0), Activity::Running));
    assert_eq!(world.torrent(0).expect("it is there").data_dir, to);
}

/// A seed that was started was to be moved to its last directory first. With the move it was entered as one that is paused,
/// and was one after a kill, though the start was answered.
#[test]
fn a_start_that_begins_with_the_last_move_is_stored_as_a_start() {
    let mut world = World::new(1);
    add_whole(&mut world, 0, true);
    let (id, to) = (world.contents[0].id, world.path("done"));
    // What would have it moved at once is not set by a command.
    let torrent = world.session.torrent(&id).expect("it is there");
    Arc::make_mut(&mut torrent.settings).move_when_done = Some(to.clone());
    world.command(vec![id], TorrentCommand::Resume { now: false });
    assert_eq!(world.store.torrent(id).expect("it is stored").state, RunState::Running);
    let mut world = world.restart(|| false);
    world.settle();
    invariants::check_settled(&mut world);
    assert!(matches!(world.activity(0), Activity::Running));
    assert_eq!(world.torrent(0).expect("it is there").data_dir, to);
}

/// Of two torrents of the same files one was removed, without its data, and the other moved: that began while shards still
/// had the files for the one that was removed.
#[test]
fn files_are_moved_once_shards_have_let_go_of_a_removed_torrent_that_has_them() {
    let mut world = World::new(2);
    add_whole(&mut world, 3, false);
    add_whole(&mut world, 4, true);
    let (removed, moved) = (world.contents[3].id, world.torrent(4).expect("it is there").entry.id());
    let registry = world.registry.clone();
    world.shards[1].serve(removed, &registry);
    world.command(vec![removed], TorrentCommand::Remove { delete: false });
    start_move(&mut world, 4, "moved");
    let moves = |world: &World| world.work.iter().filter(|work| matches!(work, Work::Change(_))).count();
    assert_eq!(moves(&world), 0, "a shard has the files");
    assert!(world.torrent(4).is_some_and(|torrent| torrent.is_handled()));
    for shard in 0..2 {
        while world.shards[shard].take() {}
        while world.deliver(shard) {}
    }
    assert_eq!(moves(&world), 1);
    world.settle();
    invariants::check_settled(&mut world);
    assert_eq!(world.store.torrent(moved).expect("it is stored").data_dir, world.path("moved"));
}

/// A move that had ended halfway was gone on with, though another torrent used the files by then.
#[test]
fn a_move_does_not_go_on_while_another_torrent_uses_the_files() {
    let mut world = World::new(2);
    add_whole(&mut world, 3, true);
    start_move(&mut world, 3, "moved");
    let Some(Work::Change(change)) = world.work.pop() else { panic!("no move") };
    let result = Err(MoveError::Halfway(StorageError::DiskFull { path: "file".into() }));
    world.end_work(Done::Changed { torrent_id: change.torrent_id, work: change.work, result });
    add_whole(&mut world, 4, false);
    assert!(matches!(world.activity(4), Activity::Running));
    let list = vec![world.contents[3].id];
    world.command(list.clone(), TorrentCommand::Resume { now: false });
    assert!(world.work.is_empty() && matches!(world.activity(3), Activity::Failed(_)));
    world.command(vec![world.contents[4].id], TorrentCommand::Remove { delete: false });
    world.settle();
    world.command(list, TorrentCommand::Resume { now: false });
    world.settle();
    invariants::check_settled(&mut world);
    assert_eq!(world.torrent(3).expect("it is there").data_dir, world.path("moved"));
}

/// A complete torrent began to serve files that were about to be moved with another torrent that has them as well.
#[test]
fn a_complete_torrent_waits_while_its_files_are_moved_with_another() {
    let mut world = World::new(2);
    add_whole(&mut world, 3, true);
    start_move(&mut world, 3, "moved");
    // It comes while the move waits for its turn, and its files are hashed in time.
    let mut add = AddTorrent::new(world.contents[4].metainfo.clone());
    add.data_dir = Some(world.path("data"));
    world.add(add);
    while let Some(place) = world.work.iter().position(|work| !matches!(work, Work::Change(_))) {
        world.do_work(place);
    }
    let id = world.contents[4].id;
    for shard in 0..2 {
        while world.shards[shard].take() {}
        world.shards[shard].finish_check(id);
        while world.deliver(shard) {}
    }
    assert!(matches!(world.activity(4), Activity::Queued), "{:?}", world.activity(4));
    assert!(world.torrent(4).is_some_and(|torrent| torrent.waits && torrent.warning.is_some()));
    world.settle();
    invariants::check_settled(&mut world);
    assert!(matches!(world.activity(4), Activity::Missing { .. }), "its files are elsewhere now");
}
