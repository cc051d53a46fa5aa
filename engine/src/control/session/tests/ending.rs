//! How a session ends: in steps, each of which has its time.

use super::world::{Answer, World};
use crate::control::work::Work;
use ringseed_handle::{AddTorrent, TorrentCommand};
use ringseed_storage::FileWork;
use std::time::Duration;

fn downloading() -> World {
    let mut world = World::new(2);
    world.add(AddTorrent::new(world.contents[0].metainfo.clone()));
    world.settle();
    world.answers.clear();
    world
}

fn tells_trackers(world: &World) -> bool {
    world.work.iter().any(|work| matches!(work, Work::TellTrackers(_)))
}

#[test]
fn trackers_are_told_once_all_shards_have_counted() {
    let mut world = downloading();
    world.shut_down();
    assert!(!tells_trackers(&world));
    assert!(world.shards[0].take() && world.deliver(0));
    assert!(!tells_trackers(&world), "one has not counted");
    assert!(world.shards[1].take() && world.deliver(1));
    assert!(tells_trackers(&world));
    world.settle();
    assert!(world.session.has_ended() && matches!(world.answer(), Answer::Shutdown));
}

#[test]
fn a_shard_that_is_held_up_holds_up_neither_trackers_nor_the_end() {
    let mut world = downloading();
    world.shut_down();
    world.pass(Duration::from_millis(500));
    assert!(tells_trackers(&world) && !world.session.has_ended());
    world.pass(Duration::from_secs(4));
    assert!(world.session.has_ended() && matches!(world.answer(), Answer::Shutdown));
}

#[test]
fn what_becomes_durable_at_the_end_is_stored() {
    let mut world = downloading();
    let (id, home) = (world.contents[0].id, world.torrent(0).expect("added").entry.home);
    let content = &world.contents[0];
    world.shards[home]
        .fetch(id, 2, |entry, piece| content.put_piece(entry.store.layout(), entry.store.directory(), piece));
    world.shards[home].reports.clear();
    world.shut_down();
    world.settle();
    assert_eq!(world.store.torrent(id).expect("it is stored").have.count_ones(), 2);
}

#[test]
fn a_store_that_has_failed_is_opened_once_more() {
    let mut world = downloading();
    let id = world.contents[0].id;
    world.store.set_broken(true);
    world.command(vec![id], TorrentCommand::Pause);
    let Answer::List(_, _, _, Ok(failed)) = world.answer() else { panic!("no answer") };
    assert_eq!(failed.iter().count(), 1, "a pause that is not stored holds not");
    world.store.set_broken(false);
    let content = &world.contents[0];
    let home = world.torrent(0).expect("added").entry.home;
    world.shards[home]
        .fetch(id, 4, |entry, piece| content.put_piece(entry.store.layout(), entry.store.directory(), piece));
    while world.deliver(home) {}
    world.shut_down();
    world.settle();
    assert!(world.session.has_ended());
    assert!(world.store.torrent(id).expect("it is stored").have.is_full());
}

#[test]
fn a_removal_whose_files_are_not_deleted_in_time_is_answered_so() {
    let mut world = downloading();
    let id = world.contents[0].id;
    world.command(vec![id], TorrentCommand::Remove { delete: true });
    assert!(world.answers.is_empty());
    world.shut_down();
    let Some(Answer::List(_, _, _, Ok(failed))) = world.answers.pop() else { panic!("no answer") };
    assert_eq!(failed.iter().count(), 1);
}

#[test]
fn a_move_that_is_cut_short_by_the_end_is_begun_again_by_the_next_start() {
    let mut world = downloading();
    let (id, to) = (world.contents[0].id, world.path("moved"));
    world.command(vec![id], TorrentCommand::Pause);
    world.settle();
    world.command(vec![id], TorrentCommand::Handle(FileWork::Move(to.clone())));
    assert!(world.work.iter().any(|work| matches!(work, Work::Change(_))));
    world.shut_down();
    let place = world.work.iter().position(|work| matches!(work, Work::Change(_))).expect("it is asked for");
    world.work.remove(place);
    world.settle();
    let mut world = world.restart(|| false);
    assert!(world.torrent(0).is_some_and(|torrent| torrent.is_handled()), "the work is noted");
    world.settle();
    assert_eq!(world.store.torrent(id).expect("it is stored").data_dir, to);
}
