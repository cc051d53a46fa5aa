//! How torrents come in: step by step, several in one transaction, each answered once.

use super::invariants;
use super::world::{Answer, World};
use crate::control::activity::Activity;
use ringseed_handle::{AddOutcome, AddTorrent, TorrentCommand};
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::RunState;

fn add(world: &World, number: usize) -> AddTorrent {
    let mut add = AddTorrent::new(world.contents[number].metainfo.clone());
    add.data_dir = Some(world.path("data"));
    add
}

/// The outcomes of adds since the last call, in their order.
fn outcomes(world: &mut World) -> Vec<(TorrentId, Option<AddOutcome>)> {
    let answers = std::mem::take(&mut world.answers);
    let outcome = |answer| match answer {
        Answer::Add(id, result) => (id, result.ok()),
        _ => panic!("another answer"),
    };
    answers.into_iter().map(outcome).collect()
}

#[test]
fn a_torrent_is_there_when_its_add_is_answered_and_not_before() {
    let mut world = World::new(1);
    world.add(add(&world, 0));
    assert!(world.torrent(0).is_none() && world.store.torrents().is_empty());
    world.do_work(0);
    assert!(world.torrent(0).is_none(), "its directory is not there yet");
    world.do_work(0);
    let id = world.contents[0].id;
    assert_eq!(outcomes(&mut world), [(id, Some(AddOutcome::Added(1)))]);
    assert_eq!(world.store.torrent(id).expect("it is stored").state, RunState::Running);
    assert!(matches!(world.activity(0), Activity::Running));
}

#[test]
fn whoever_adds_a_torrent_that_is_being_added_hears_of_the_same() {
    let mut world = World::new(1);
    world.add(add(&world, 0));
    world.add(add(&world, 0));
    assert_eq!(world.work.len(), 1);
    world.settle();
    let id = world.contents[0].id;
    let mut told = outcomes(&mut world);
    told.sort_by_key(|(_, outcome)| matches!(outcome, Some(AddOutcome::Duplicate(_))));
    assert_eq!(told, [(id, Some(AddOutcome::Added(1))), (id, Some(AddOutcome::Duplicate(1)))]);
    world.add(add(&world, 0));
    assert_eq!(outcomes(&mut world), [(id, Some(AddOutcome::Duplicate(1)))]);
}

#[test]
fn what_the_store_does_not_take_is_not_added_and_keeps_no_other_out() {
    let mut world = World::new(1);
    std::fs::create_dir(world.path("data")).expect("made");
    let (first, second) = (world.contents[0].id, world.contents[1].id);
    world.store.refuse(Some(first));
    world.add(add(&world, 0));
    world.add(add(&world, 1));
    // Both are looked at before the session goes on.
    let works = std::mem::take(&mut world.work);
    works.into_iter().for_each(|work| world.session.on_done(work.run()));
    world.after_event();
    let told = outcomes(&mut world);
    assert!(told.contains(&(first, None)) && told.iter().any(|(id, it)| *id == second && it.is_some()));
    world.settle();
    invariants::check_settled(&mut world);
}

#[test]
fn torrents_whose_files_were_looked_at_are_entered_in_one_transaction() {
    let mut world = World::new(1);
    std::fs::create_dir(world.path("data")).expect("made");
    (0..4).for_each(|number| world.add(add(&world, number)));
    let before = world.store.transactions();
    let works = std::mem::take(&mut world.work);
    works.into_iter().for_each(|work| world.session.on_done(work.run()));
    world.after_event();
    assert_eq!(outcomes(&mut world).len(), 4);
    assert_eq!(world.store.transactions(), before + 1);
}

#[test]
fn one_that_is_being_removed_is_not_added() {
    let mut world = World::new(1);
    world.add(add(&world, 0));
    world.settle();
    let id = world.contents[0].id;
    world.answers.clear();
    world.command(vec![id], TorrentCommand::Remove { delete: false });
    world.add(add(&world, 0));
    assert_eq!(outcomes(&mut world), [(id, None)]);
    world.settle();
    world.answers.clear();
    world.add(add(&world, 0));
    world.settle();
    assert!(matches!(outcomes(&mut world)[..], [(_, Some(AddOutcome::Added(_)))]));
}
