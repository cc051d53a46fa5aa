//! Every activity with every command: what a torrent does at once, and what it does when all has come to rest. The tables
//! are read like this: in the state of the row, the command of the column leads there.

use super::invariants;
use super::world::World;
use crate::control::activity::{Activity, Next};
use ringseed_handle::{
    AddTorrent, Earlier, EngineChange, FilePriority, Switch, TorrentChange, TorrentCommand,
};
use ringseed_storage::{FileWork, StorageError};
use std::sync::Arc;

/// A state of the torrent 0, and a way there.
type State = (&'static str, fn() -> World);

const STATES: [State; 17] = [
    ("paused", paused),
    ("queued", queued),
    ("failed", failed),
    ("missing", missing),
    ("checks", checking),
    ("checks to run", checking_to_run),
    ("handled", handled),
    ("handled to run", handled_to_run),
    ("downloads", downloading),
    ("seeds", seeding),
    ("stops to pause", || after(downloading(), TorrentCommand::Pause)),
    ("stops to run", reopened),
    ("stops to check", || after(downloading(), TorrentCommand::Verify)),
    ("stops to fail", || failing(StorageError::DiskFull { path: "file".into() })),
    ("stops to miss", || failing(StorageError::NotFound { path: "file".into() })),
    ("stops to handle", || after(downloading(), TorrentCommand::Handle(FileWork::Move("moved".into())))),
    ("stops to go", || after(downloading(), TorrentCommand::Remove { delete: false })),
];

/// The commands, each with its name.
fn commands() -> [(&'static str, TorrentCommand); 7] {
    [
        ("pause", TorrentCommand::Pause),
        ("resume", TorrentCommand::Resume { now: false }),
        ("resume now", TorrentCommand::Resume { now: true }),
        ("verify", TorrentCommand::Verify),
        ("move", TorrentCommand::Handle(FileWork::Move("elsewhere".into()))),
        ("cancel", TorrentCommand::CancelMove),
        ("remove", TorrentCommand::Remove { delete: true }),
    ]
}

fn add(paused: bool) -> (World, AddTorrent) {
    let world = World::new(2);
    let mut add = AddTorrent::new(world.contents[0].metainfo.clone());
    (add.paused, add.data_dir) = (paused, Some(world.path("data")));
    (world, add)
}

/// Has the torrent added and all that follows happen beside the session, but nothing on the shards.
fn added(mut world: World, add: AddTorrent) -> World {
    world.add(add);
    while !world.work.is_empty() {
        world.do_work(0);
    }
    world.answers.clear();
    world
}

/// Has shards take what they were sent.
fn taken(mut world: World) -> World {
    world.shards.iter_mut().for_each(|shard| while shard.take() {});
    world.after_event();
    world
}

fn after(mut world: World, command: TorrentCommand) -> World {
    let command = match command {
        TorrentCommand::Handle(FileWork::Move(to)) => {
            TorrentCommand::Handle(FileWork::Move(world.path_of(&to)))
        }
        command => command,
    };
    world.command(vec![world.contents[0].id], command);
    world
}

fn paused() -> World {
    let (world, add) = add(true);
    added(world, add)
}

fn downloading() -> World {
    let (world, add) = add(false);
    taken(added(world, add))
}

fn queued() -> World {
    let (mut world, add) = add(false);
    let settings = |settings: &mut ringseed_handle::SessionSettings| {
        (settings.download_queue, settings.seed_queue) =
            (Switch { on: true, value: 0 }, Switch { on: true, value: 0 });
    };
    world.change_engine(EngineChange { settings: Some(Arc::new(settings)), ..EngineChange::default() });
    added(world, add)
}

fn failing(error: StorageError) -> World {
    let mut world = downloading();
    let (home, id) = (world.torrent(0).expect("added").entry.home, world.contents[0].id);
    world.shards[home].fail(id, error);
    world.deliver(home);
    world
}

fn failed() -> World {
    let mut world = failing(StorageError::DiskFull { path: "file".into() });
    world.settle();
    world
}

fn missing() -> World {
    let (world, mut add) = add(false);
    std::fs::create_dir(world.path("data")).expect("made");
    add.earlier = Earlier { had_data: true, ..Earlier::default() };
    added(world, add)
}

fn checked(paused: bool) -> World {
    let (world, add) = add(paused);
    world.contents[0].put(&world.path("data")).expect("written");
    taken(added(world, add))
}

fn checking() -> World {
    checked(true)
}

fn checking_to_run() -> World {
    checked(false)
}

fn handled() -> World {
    after(paused(), TorrentCommand::Handle(FileWork::Move("moved".into())))
}

fn handled_to_run() -> World {
    after(handled(), TorrentCommand::Resume { now: false })
}

fn seeding() -> World {
    let mut world = checked(false);
    world.settle();
    world
}

/// A download of one file that had ended, of which the other is wanted as well now.
fn reopened() -> World {
    let (mut world, mut add) = add(false);
    add.settings.files = vec![FilePriority::default(), FilePriority { wanted: false, priority: 0 }];
    let first = world.contents[0].layout().pieces_of_file(0);
    for piece in first {
        world.contents[0].put_piece(world.contents[0].layout(), &world.path("data"), piece).expect("written");
    }
    world = added(world, add);
    world.settle();
    assert!(
        matches!(world.activity(0), Activity::Running) && world.torrent(0).is_some_and(|it| it.is_done())
    );
    let all = |settings: &mut ringseed_storage::TorrentSettings, _: &ringseed_proto::metainfo::Metainfo| {
        settings.files.clear();
    };
    let change = TorrentChange { settings: Some(Arc::new(all)), ..TorrentChange::default() };
    after(world, TorrentCommand::Change(change))
}

/// What the torrent does.
fn doing(world: &World) -> String {
    let Some(torrent) = world.torrent(0) else { return "gone".into() };
    let then = |run: bool| if run { ", runs" } else { "" };
    match &torrent.activity {
        Activity::Paused => "paused".into(),
        Activity::Failed(_) => "failed".into(),
        Activity::Missing { run, .. } => format!("missing{}", then(*run)),
        Activity::Queued => "queued".into(),
        Activity::Handling { run, .. } => format!("handled{}", then(*run)),
        Activity::Checking { run, .. } => format!("checks{}", then(*run)),
        Activity::Running if torrent.is_done() => "seeds".into(),
        Activity::Running => "downloads".into(),
        Activity::Stopping { next, .. } => match next {
            Next::Pause => "-> pause".into(),
            Next::Run => "-> run".into(),
            Next::Check { run } => format!("-> check{}", then(*run)),
            Next::Fail(_) => "-> fail".into(),
            Next::Miss(_) => "-> miss".into(),
            Next::Handle { run, .. } => format!("-> handle{}", then(*run)),
            Next::Remove { .. } => "-> go".into(),
        },
    }
}

/// A table of what `end` says of the torrent after each command in each state.
fn table(end: impl Fn(&mut World) -> String) -> String {
    let mut table = String::new();
    for (state, way) in STATES {
        let cells: Vec<String> = commands()
            .into_iter()
            .map(|(name, command)| {
                let mut world = after(way(), command);
                let cell = end(&mut world);
                world.settle();
                invariants::check_settled(&mut world);
                format!("{name}: {cell}")
            })
            .collect();
        table.push_str(&format!("{state} | {}\n", cells.join(" | ")));
    }
    table
}

fn expect(found: &str, expected: &str) {
    let rows = found.lines().zip(expected.trim().lines().map(str::trim));
    for (found, expected) in rows {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.trim().lines().count());
}

#[test]
fn what_each_command_does_at_once_in_each_state() {
    let found = table(|world| doing(world));
    expect(&found, AT_ONCE);
}

#[test]
fn what_each_command_leads_to_in_each_state() {
    let found = table(|world| {
        world.settle();
        doing(world)
    });
    expect(&found, AT_REST);
}

const AT_ONCE: &str = "
    paused | pause: paused | resume: downloads | resume now: downloads | verify: checks | move: handled | cancel: paused | remove: -> go
    queued | pause: paused | resume: queued | resume now: downloads | verify: checks, runs | move: handled, runs | cancel: queued | remove: -> go
    failed | pause: paused | resume: checks, runs | resume now: checks, runs | verify: checks | move: handled | cancel: failed | remove: -> go
    missing | pause: paused | resume: missing, runs | resume now: missing, runs | verify: checks, runs | move: handled, runs | cancel: missing, runs | remove: -> go
    checks | pause: -> pause | resume: checks, runs | resume now: checks, runs | verify: checks | move: -> handle | cancel: checks | remove: -> go
    checks to run | pause: -> pause | resume: checks, runs | resume now: checks, runs | verify: checks, runs | move: -> handle, runs | cancel: checks, runs | remove: -> go
    handled | pause: handled | resume: handled, runs | resume now: handled, runs | verify: handled | move: handled | cancel: handled | remove: handled
    handled to run | pause: handled | resume: handled, runs | resume now: handled, runs | verify: handled, runs | move: handled, runs | cancel: handled, runs | remove: handled, runs
    downloads | pause: -> pause | resume: downloads | resume now: downloads | verify: -> check, runs | move: -> handle, runs | cancel: downloads | remove: -> go
    seeds | pause: -> pause | resume: seeds | resume now: seeds | verify: -> check, runs | move: -> handle, runs | cancel: seeds | remove: -> go
    stops to pause | pause: -> pause | resume: -> run | resume now: -> run | verify: -> check | move: -> handle | cancel: -> pause | remove: -> go
    stops to run | pause: -> pause | resume: -> run | resume now: -> run | verify: -> check, runs | move: -> handle, runs | cancel: -> run | remove: -> go
    stops to check | pause: -> pause | resume: -> check, runs | resume now: -> check, runs | verify: -> check, runs | move: -> handle, runs | cancel: -> check, runs | remove: -> go
    stops to fail | pause: -> pause | resume: -> run | resume now: -> run | verify: -> check | move: -> handle | cancel: -> fail | remove: -> go
    stops to miss | pause: -> pause | resume: -> run | resume now: -> run | verify: -> check, runs | move: -> handle, runs | cancel: -> miss | remove: -> go
    stops to handle | pause: -> handle | resume: -> handle, runs | resume now: -> handle, runs | verify: -> handle, runs | move: -> handle, runs | cancel: -> run | remove: -> handle, runs
    stops to go | pause: -> go | resume: -> go | resume now: -> go | verify: -> go | move: -> go | cancel: -> go | remove: -> go
";
const AT_REST: &str = "
    paused | pause: paused | resume: downloads | resume now: downloads | verify: paused | move: paused | cancel: paused | remove: gone
    queued | pause: paused | resume: queued | resume now: downloads | verify: queued | move: queued | cancel: queued | remove: gone
    failed | pause: paused | resume: downloads | resume now: downloads | verify: paused | move: paused | cancel: failed | remove: gone
    missing | pause: paused | resume: missing, runs | resume now: missing, runs | verify: downloads | move: missing, runs | cancel: missing, runs | remove: gone
    checks | pause: paused | resume: seeds | resume now: seeds | verify: paused | move: paused | cancel: paused | remove: gone
    checks to run | pause: paused | resume: seeds | resume now: seeds | verify: seeds | move: seeds | cancel: seeds | remove: gone
    handled | pause: paused | resume: downloads | resume now: downloads | verify: paused | move: paused | cancel: paused | remove: paused
    handled to run | pause: paused | resume: downloads | resume now: downloads | verify: downloads | move: downloads | cancel: downloads | remove: downloads
    downloads | pause: paused | resume: downloads | resume now: downloads | verify: downloads | move: downloads | cancel: downloads | remove: gone
    seeds | pause: paused | resume: seeds | resume now: seeds | verify: seeds | move: seeds | cancel: seeds | remove: gone
    stops to pause | pause: paused | resume: downloads | resume now: downloads | verify: paused | move: paused | cancel: paused | remove: gone
    stops to run | pause: paused | resume: downloads | resume now: downloads | verify: downloads | move: downloads | cancel: downloads | remove: gone
    stops to check | pause: paused | resume: downloads | resume now: downloads | verify: downloads | move: downloads | cancel: downloads | remove: gone
    stops to fail | pause: paused | resume: downloads | resume now: downloads | verify: paused | move: paused | cancel: failed | remove: gone
    stops to miss | pause: paused | resume: downloads | resume now: downloads | verify: downloads | move: downloads | cancel: missing, runs | remove: gone
    stops to handle | pause: paused | resume: downloads | resume now: downloads | verify: downloads | move: downloads | cancel: downloads | remove: downloads
    stops to go | pause: gone | resume: gone | resume now: gone | verify: gone | move: gone | cancel: gone | remove: gone
";
