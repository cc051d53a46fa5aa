//! What happens while the resume store cannot be used, and afterwards.

use super::invariants;
use super::world::{Answer, World};
use crate::control::activity::Activity;
use ringseed_handle::{AddTorrent, EngineError, TorrentCommand};
use ringseed_storage::FileWork;
use std::time::Duration;

fn running() -> World {
    let mut world = World::new(2);
    for number in 0..2 {
        let mut add = AddTorrent::new(world.contents[number].metainfo.clone());
        add.data_dir = Some(world.path("data"));
        world.add(add);
    }
    world.settle();
    world.answers.clear();
    world
}

#[test]
fn a_command_that_is_not_stored_holds_for_no_torrent_of_its_list() {
    let commands = [
        TorrentCommand::Pause,
        TorrentCommand::Resume { now: true },
        TorrentCommand::Remove { delete: true },
        TorrentCommand::Handle(FileWork::Move("/elsewhere".into())),
    ];
    for command in commands {
        let mut world = running();
        let list: Vec<_> = world.contents[..2].iter().map(|content| content.id).collect();
        world.store.set_broken(true);
        world.command(list, command);
        let Answer::List(_, _, _, Ok(failed)) = world.answer() else { panic!("no answer") };
        assert!(failed.iter().all(|(_, error)| matches!(error, EngineError::Store(_))));
        assert_eq!(failed.iter().count(), 2);
        for number in 0..2 {
            assert!(matches!(world.activity(number), Activity::Running), "{:?}", world.activity(number));
            assert_eq!(world.torrent(number).expect("it is there").settings.file_work, None);
        }
    }
}

#[test]
fn what_becomes_durable_while_the_store_is_closed_is_stored_afterwards() {
    let mut world = running();
    let (id, home) = (world.contents[0].id, world.torrent(0).expect("added").entry.home);
    world.store.set_broken(true);
    let content = &world.contents[0];
    world.shards[home]
        .fetch(id, 4, |entry, piece| content.put_piece(entry.store.layout(), entry.store.directory(), piece));
    while world.deliver(home) {}
    assert_eq!(world.trackers.completions(id), 1, "trackers are told all the same");
    world.pass(Duration::from_millis(250));
    assert!(world.session.store_trouble().is_some());
    assert_eq!(world.store.torrent(id).expect("it is stored").have.count_ones(), 0);
    // The first attempts fail as well.
    world.pass(Duration::from_secs(1));
    world.do_work(0);
    assert!(world.session.store_trouble().is_some());
    world.store.set_broken(false);
    world.settle();
    assert!(world.session.store_trouble().is_none());
    assert!(world.store.torrent(id).expect("it is stored").have.is_full());
    invariants::check_settled(&mut world);
}

#[test]
fn what_a_store_has_lost_that_was_made_anew_is_put_back() {
    let mut world = running();
    let id = world.contents[1].id;
    world.store.lose(id);
    world.store.set_broken(true);
    world.command(vec![id], TorrentCommand::Pause);
    world.store.set_broken(false);
    world.settle();
    assert!(world.store.torrent(id).is_some());
    invariants::check_settled(&mut world);
}

#[test]
fn a_command_over_many_torrents_is_one_transaction() {
    for command in [TorrentCommand::Pause, TorrentCommand::Resume { now: false }] {
        let mut world = running();
        let list: Vec<_> = world.contents[..2].iter().map(|content| content.id).collect();
        let before = world.store.transactions();
        world.command(list, command);
        assert_eq!(world.store.transactions(), before + 1);
    }
}

#[test]
fn what_was_wanted_holds_after_a_kill() {
    let mut world = running();
    let id = world.contents[0].id;
    world.command(vec![id], TorrentCommand::Pause);
    let mut world = world.restart(|| false);
    assert!(matches!(world.activity(0), Activity::Paused));
    assert!(matches!(world.activity(1), Activity::Running));
    world.settle();
    invariants::check_settled(&mut world);
}

#[test]
fn commands_wait_until_all_torrents_are_loaded() {
    let world = running();
    let (id, add) = (world.contents[0].id, AddTorrent::new(world.contents[2].metainfo.clone()));
    let mut world = world.restart_with(
        || false,
        |world| {
            world.command(vec![id], TorrentCommand::Pause);
            world.add(add.clone());
            assert!(world.answers.is_empty());
        },
    );
    world.settle();
    assert_eq!(world.answers.len(), 2);
    assert!(matches!(world.activity(0), Activity::Paused) && world.torrent(2).is_some());
    invariants::check_settled(&mut world);
}
