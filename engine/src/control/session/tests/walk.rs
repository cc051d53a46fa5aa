//! Random walks: whatever happens, in whatever order, the invariants hold after each step, and all comes to rest. A walk
//! that fails says its seed; `WALK_SEED=n` walks that one alone, `WALKS=n` walks more of them.

use super::invariants;
use super::shard::Has;
use super::store::FakeStore;
use super::world::World;
use crate::control::work::{Done, Work};
use ringseed_handle::{
    AddTorrent, DeleteError, Earlier, EngineChange, LimitChange, QueueMove, Switch, TorrentChange,
    TorrentCommand,
};
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::{FileWork, MoveError, Rename, StorageError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Walks.
const WALKS: u64 = 200;
/// Steps of each.
const STEPS: usize = 300;

/// Numbers that look like chance and are the same for each seed.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// One of `0..end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// A walk under way.
struct Walk {
    seed: u64,
    chance: Chance,
    world: World,
    /// The last steps, for whoever looks at one that failed.
    trace: Vec<String>,
}

impl Drop for Walk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.trace.len().saturating_sub(60);
            eprintln!(
                "the walk with WALK_SEED={} failed after\n  {}",
                self.seed,
                self.trace[last..].join("\n  ")
            );
        }
    }
}

#[test]
fn whatever_happens_the_invariants_hold() {
    let number = |name| std::env::var(name).ok().and_then(|number: String| number.parse().ok());
    match number("WALK_SEED") {
        Some(seed) => walk(seed),
        None => (0..number("WALKS").unwrap_or(WALKS)).for_each(walk),
    }
}

fn walk(seed: u64) {
    let mut chance = Chance::new(seed);
    let world = World::new(1 + chance.below(3));
    let mut walk = Walk { seed, chance, world, trace: Vec::new() };
    for _ in 0..STEPS {
        walk.step();
        // Kills are few, or torrents would never come far.
        if walk.chance.one_in(150) {
            walk = walk.killed();
        }
    }
    walk.come_to_rest();
    walk.end();
}

impl Walk {
    fn note(&mut self, step: String) {
        if std::env::var("WALK_STATES").is_ok() {
            for (number, content) in self.world.contents.iter().enumerate() {
                if let Some(torrent) = self.world.session.by_id(&content.id) {
                    let activity = format!("{:?}", torrent.activity);
                    let activity: String = activity.chars().take(60).collect();
                    eprintln!(
                        "      {number} {:?} done {} {activity}",
                        torrent.data_dir.file_name(),
                        torrent.is_done()
                    );
                }
            }
            eprintln!("{step}");
        }
        self.trace.push(step);
    }

    fn step(&mut self) {
        match self.chance.below(100) {
            0..8 => self.add(),
            8..34 => self.command(),
            34..36 => self.change_engine(),
            36..54 => self.shard_takes(),
            54..72 => self.shard_reports(),
            72..79 => self.shard_works(),
            79..90 => self.work(),
            90..94 => self.time_passes(),
            94..96 => self.store_changes(),
            96..98 => self.disk_changes(),
            _ => {
                if self.world.session.is_behind() {
                    self.world.session.catch_up();
                    self.world.after_event();
                }
            }
        }
    }

    fn number(&mut self) -> usize {
        self.chance.below(self.world.contents.len())
    }

    fn directory(&mut self) -> PathBuf {
        let name = ["a", "b", "c/d"][self.chance.below(3)];
        self.world.path(name)
    }

    fn add(&mut self) {
        let (number, directory) = (self.number(), self.directory());
        let content = &self.world.contents[number];
        let (whole, part) = (self.chance.one_in(3), self.chance.one_in(4));
        if whole {
            // Something of another torrent may be in the way.
            let _ = content.put(&directory);
        } else if part {
            let _ = content.put_piece(content.layout(), &directory, 1);
        }
        let mut add = AddTorrent::new(content.metainfo.clone());
        add.paused = self.chance.one_in(3);
        add.earlier = Earlier { had_data: self.chance.one_in(8), ..Earlier::default() };
        if self.chance.one_in(6) {
            add.settings.move_when_done = Some(self.world.path("done"));
        }
        self.note(format!(
            "add {number} in {directory:?}, whole {whole}, part {part}, paused {}",
            add.paused
        ));
        add.data_dir = Some(directory);
        self.world.add(add);
    }

    fn list(&mut self) -> Vec<TorrentId> {
        let count = 1 + self.chance.below(3);
        let numbers: Vec<usize> = (0..count).map(|_| self.number()).collect();
        let mut list: Vec<TorrentId> = numbers.into_iter().map(|it| self.world.contents[it].id).collect();
        if self.chance.one_in(20) {
            list.push(TorrentId([9; 20]));
        }
        list
    }

    fn command(&mut self) {
        let list = self.list();
        let (command, name) = match self.chance.below(24) {
            0..4 => (TorrentCommand::Pause, "pause".to_owned()),
            4..8 => (TorrentCommand::Resume { now: false }, "resume".to_owned()),
            8 => (TorrentCommand::Resume { now: true }, "resume now".to_owned()),
            9..11 => (TorrentCommand::Verify, "verify".to_owned()),
            11 => (TorrentCommand::Remove { delete: false }, "remove".to_owned()),
            12 => (TorrentCommand::Remove { delete: true }, "delete".to_owned()),
            13..16 => {
                let work = FileWork::Move(self.directory());
                let name = format!("{work:?}");
                (TorrentCommand::Handle(work), name)
            }
            16 => {
                let work = FileWork::Found(self.directory());
                let name = format!("{work:?}");
                (TorrentCommand::Handle(work), name)
            }
            17..19 => {
                let files = ["t0", "t1/first", "t2/second", "t3", "t3/first", "u/first", "t0/second"];
                let (from, to) = (self.chance.below(files.len()), self.chance.below(files.len()));
                let rename = Rename { from: files[from].into(), to: files[to].into() };
                let name = format!("{rename:?}");
                (TorrentCommand::Handle(FileWork::Rename(rename)), name)
            }
            19 => (TorrentCommand::CancelMove, "cancel".to_owned()),
            20 => {
                let to =
                    [QueueMove::Top, QueueMove::Up, QueueMove::Down, QueueMove::Bottom, QueueMove::To(1)];
                let to = to[self.chance.below(to.len())];
                (TorrentCommand::MoveInQueue(to), format!("{to:?}"))
            }
            21 => (TorrentCommand::AddPeers(vec![([10, 0, 0, 1], 6881).into()]), "peers".to_owned()),
            22 => (TorrentCommand::Reannounce, "reannounce".to_owned()),
            _ => (TorrentCommand::Change(self.change()), "change".to_owned()),
        };
        let short: Vec<String> = list.iter().map(|id| self.name_of(*id)).collect();
        self.note(format!("{name} {}", short.join(", ")));
        self.world.command(list, command);
    }

    fn name_of(&self, id: TorrentId) -> String {
        let number = self.world.contents.iter().position(|content| content.id == id);
        number.map_or("unknown".into(), |number| number.to_string())
    }

    fn change(&mut self) -> TorrentChange {
        let kind = self.chance.below(5);
        let directory = self.directory();
        let wanted = self.chance.one_in(2);
        let settings = move |settings: &mut ringseed_storage::TorrentSettings,
                             _: &ringseed_proto::metainfo::Metainfo| match kind {
            0 => settings.labels.push("label".into()),
            1 => settings.set_files(2, &[1], |file| file.wanted = wanted),
            2 => settings.tiers = Some(vec![vec!["http://other/ann".into()]]),
            3 => settings.move_when_done = Some(directory.clone()),
            _ => settings.peer_limit = Some(7),
        };
        TorrentChange {
            sequential: self.chance.one_in(3).then_some(true),
            in_turn: self.chance.one_in(4),
            settings: Some(Arc::new(settings)),
            ..TorrentChange::default()
        }
    }

    fn change_engine(&mut self) {
        let (on, value) = (self.chance.one_in(2), self.chance.below(3) as u32);
        let (seeds, partial) = (self.chance.one_in(2), self.chance.one_in(3));
        self.note(format!("queues: {on} {value}, seeds {seeds}, partial names {partial}"));
        let settings = move |settings: &mut ringseed_handle::SessionSettings| {
            let queue = if seeds { &mut settings.seed_queue } else { &mut settings.download_queue };
            *queue = Switch { on, value };
            settings.partial_names = partial;
        };
        let upload = LimitChange { rate: Some(1000), on: Some(on) };
        self.world.change_engine(EngineChange {
            upload,
            settings: Some(Arc::new(settings)),
            ..EngineChange::default()
        });
    }

    fn shard(&mut self) -> usize {
        self.chance.below(self.world.shards.len())
    }

    fn shard_takes(&mut self) {
        let shard = self.shard();
        let count = 1 + self.chance.below(4);
        self.note(format!("shard {shard} takes {count}"));
        for _ in 0..count {
            self.world.shards[shard].take();
        }
        self.world.session.flush();
        self.world.after_event();
    }

    fn shard_reports(&mut self) {
        let shard = self.shard();
        let count = 1 + self.chance.below(3);
        self.note(format!("shard {shard} reports {count}"));
        for _ in 0..count {
            self.world.deliver(shard);
        }
    }

    fn shard_works(&mut self) {
        let shard = self.shard();
        let number = self.number();
        let id = self.world.contents[number].id;
        let world = &mut self.world;
        let step = match world.shards[shard].has.get(&id) {
            Some(Has::Check(_)) => {
                world.shards[shard].finish_check(id);
                "ends its part of a check"
            }
            Some(Has::Home(..)) if !self.chance.one_in(5) => {
                let content = &world.contents[number];
                let wanted = 1 + self.chance.below(4) as u32;
                world.shards[shard].fetch(id, wanted, |entry, piece| {
                    content.put_piece(entry.store.layout(), entry.store.directory(), piece)
                });
                "fetches"
            }
            Some(Has::Home(..) | Has::Serves(_)) => {
                let path = PathBuf::from("file");
                let error = match self.chance.below(3) {
                    0 => StorageError::DiskFull { path },
                    1 => StorageError::NotFound { path },
                    _ => StorageError::Changed { path },
                };
                world.shards[shard].fail(id, error);
                "fails"
            }
            None => {
                let registry = world.registry.clone();
                world.shards[shard].serve(id, &registry);
                "may serve"
            }
        };
        self.note(format!("shard {shard} {step} {number}"));
        self.world.after_event();
    }

    fn work(&mut self) {
        if self.world.work.is_empty() {
            return;
        }
        let place = self.chance.below(self.world.work.len());
        if !self.chance.one_in(4) {
            self.note(format!("work: {}", name(&self.world.work[place])));
            return self.world.do_work(place);
        }
        let path = PathBuf::from("file");
        let done = match &self.world.work[place] {
            Work::Change(change) => {
                let result = match (self.chance.below(3), &change.work) {
                    (0, _) => Err(MoveError::Undone(StorageError::Cancelled)),
                    (1, _) | (_, FileWork::Rename(_)) => {
                        Err(MoveError::Undone(StorageError::DiskFull { path }))
                    }
                    _ => Err(MoveError::Halfway(StorageError::DiskFull { path })),
                };
                Done::Changed { torrent_id: change.torrent_id, work: change.work.clone(), result }
            }
            Work::Delete(deletion) => {
                let result = Err(DeleteError::Storage(StorageError::Permission { path }));
                Done::Deleted { torrent_id: deletion.torrent_id, result }
            }
            Work::Flush { number, .. } => Done::Flushed { number: *number, flushed: false },
            _ => return self.world.do_work(place),
        };
        self.note(format!("fails: {}", name(&self.world.work[place])));
        self.world.work.remove(place);
        self.world.end_work(done);
    }

    fn time_passes(&mut self) {
        let time = [1, 250, 1000, 40_000][self.chance.below(4)];
        self.note(format!("{time} ms pass"));
        self.world.pass(Duration::from_millis(time));
    }

    fn store_changes(&mut self) {
        let number = self.number();
        let id = self.world.contents[number].id;
        let store: &FakeStore = &self.world.store;
        let step = match self.chance.below(5) {
            0 => {
                store.set_broken(true);
                "fails from now on"
            }
            1..4 => {
                store.set_broken(false);
                "works again"
            }
            _ => {
                store.refuse(if self.chance.one_in(2) { Some(id) } else { None });
                "refuses another torrent, or none"
            }
        };
        self.note(format!("the store {step} ({number})"));
    }

    fn disk_changes(&mut self) {
        let number = self.number();
        let Some(torrent) = self.world.torrent(number) else { return };
        let (directory, layout) = (torrent.data_dir.clone(), torrent.entry.content.info.layout.clone());
        let file = directory.join(&layout.files[self.chance.below(2)].path);
        let kind = self.chance.below(3);
        self.note(format!("somebody else changes {file:?} of {number}, in way {kind}"));
        match kind {
            0 => _ = std::fs::remove_file(file),
            1 => _ = std::fs::write(file, b"other bytes"),
            _ => _ = self.world.contents[number].put_piece(&layout, &directory, 0),
        }
    }

    /// The process is killed, and the next one begins with what is stored.
    fn killed(mut self) -> Walk {
        self.note("the engine is killed and starts again".into());
        let (seed, trace, mut chance) = (self.seed, self.trace.clone(), Chance(self.chance.next()));
        let shards = self.world.shards.len();
        let world = std::mem::replace(&mut self.world, World::new(shards));
        let world = world.restart(|| chance.one_in(2));
        Walk { seed, chance, world, trace }
    }

    /// Everything works again, and what is under way ends.
    fn come_to_rest(&mut self) {
        self.note("all comes to rest".into());
        self.world.store.set_broken(false);
        self.world.store.refuse(None);
        self.world.settle();
        invariants::check_settled(&mut self.world);
    }

    /// The engine stops.
    fn end(&mut self) {
        self.note("the engine stops".into());
        self.world.shut_down();
        self.world.settle();
        assert!(self.world.session.has_ended() && self.world.asked.is_empty(), "it has not ended");
    }
}

fn name(work: &Work) -> String {
    match work {
        Work::Search(_) => "search".into(),
        Work::MakeDirectory(_) => "make the directory".into(),
        Work::GiveBack(_) => "give back".into(),
        Work::Change(change) => format!("{:?}", change.work),
        Work::Delete(_) => "delete".into(),
        Work::Flush { .. } => "flush".into(),
        Work::Reopen(_) => "open the store".into(),
        Work::TellTrackers(_) => "tell trackers".into(),
    }
}
