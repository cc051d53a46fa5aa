//! A session with everything around it. A test says what happens and in which order: commands, what shards take and
//! report, what is done beside the session, how time passes. After each event the invariants are looked at.

use super::clock::FakeClock;
use super::content::Content;
use super::invariants;
use super::shard::FakeShard;
use super::store::FakeStore;
use super::trackers::FakeTrackers;
use crate::config::EngineConfig;
use crate::control::activity::Activity;
use crate::control::loader::{Loader, Loading, StoreGuard};
use crate::control::session::{Session, SessionParts};
use crate::control::torrent::Torrent;
use crate::control::work::{Done, Work};
use crate::shard::mailbox::mailbox;
use crate::shard::message::ToShard;
use crate::shard::rate::RateLimit;
use crate::shard::registry::Registry;
use arc_swap::ArcSwap;
use ringseed_handle::{
    AddOutcome, AddTorrent, Command, EngineChange, EngineError, Failures, Reply, TorrentCommand,
};
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::{StoreConfig, StoreLimits};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};

/// Messages that fit into the mailbox of a shard.
const MAILBOX: usize = 4;

/// A command that was not answered yet.
pub enum Asked {
    Add(TorrentId, oneshot::Receiver<Result<AddOutcome, EngineError>>),
    /// With the highest number of a torrent when it was asked.
    List(Vec<TorrentId>, TorrentCommand, u32, oneshot::Receiver<Result<Failures, EngineError>>),
    Engine(oneshot::Receiver<Result<(), EngineError>>),
    Shutdown(oneshot::Receiver<()>),
}

/// A command that was answered.
pub enum Answer {
    Add(TorrentId, Result<AddOutcome, EngineError>),
    List(Vec<TorrentId>, TorrentCommand, u32, Result<Failures, EngineError>),
    Engine(Result<(), EngineError>),
    Shutdown,
    /// The session has dropped it without an answer: whoever asked hears that the engine stops.
    Dropped,
}

/// The session and all that it speaks to.
pub struct World {
    pub session: Session,
    pub shards: Vec<FakeShard>,
    pub registry: Arc<Registry>,
    pub store: Arc<FakeStore>,
    pub trackers: Rc<FakeTrackers>,
    pub clock: Rc<FakeClock>,
    /// What the session has asked for and nobody has done yet.
    pub work: Vec<Work>,
    pub asked: Vec<Asked>,
    /// Answers since they were taken last.
    pub answers: Vec<Answer>,
    pub contents: Vec<Content>,
    pub dir: TempDir,
    pub limits: Arc<StoreLimits>,
}

impl World {
    /// A session of so many shards with its store, and torrents that can be added to it.
    pub fn new(shards: usize) -> World {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(FakeStore::default());
        let clock = Rc::new(FakeClock::new());
        World::with(shards, dir, store, clock, false)
    }

    /// As [`World::new`] in a directory and with a store that are there. `loads`: torrents are handed over first.
    pub fn with(
        shards: usize,
        dir: TempDir,
        store: Arc<FakeStore>,
        clock: Rc<FakeClock>,
        loads: bool,
    ) -> World {
        let (senders, inboxes): (Vec<_>, Vec<_>) =
            (0..shards).map(|_| mailbox::<ToShard>(MAILBOX).expect("a mailbox")).unzip();
        let inboxes = inboxes.into_iter().enumerate();
        let shards = inboxes.map(|(index, inbox)| FakeShard::new(index, shards, inbox)).collect::<Vec<_>>();
        let registry = Arc::new(Registry::default());
        let trackers = Rc::new(FakeTrackers::default());
        let limits = StoreLimits::new(&StoreConfig::default());
        let settings = EngineConfig { download_dir: dir.path().join("usual"), ..EngineConfig::default() };
        let resume: Arc<FakeStore> = store.clone();
        let session = Session::new(SessionParts {
            settings: Arc::new(settings),
            registry: registry.clone(),
            published: shards.iter().map(|_| Arc::default()).collect(),
            shards: senders,
            store_limits: limits.clone(),
            resume: if loads { None } else { Some(resume) },
            loads,
            trackers: trackers.clone(),
            clock: clock.clone(),
            listen_port: Arc::default(),
            claim: None,
            snapshot: Arc::new(ArcSwap::default()),
            changed: watch::channel(0).0,
            connections: Arc::default(),
            upload_limit: Arc::new(RateLimit::new(None)),
            download_limit: Arc::new(RateLimit::new(None)),
        });
        // The last is of the same files as the one before.
        let mut contents: Vec<Content> = (0..4).map(|number| Content::new(number, "one")).collect();
        contents.push(Content::new(3, "other"));
        let (work, asked, answers) = (Vec::new(), Vec::new(), Vec::new());
        World {
            session,
            shards,
            registry,
            store,
            trackers,
            clock,
            work,
            asked,
            answers,
            contents,
            dir,
            limits,
        }
    }

    /// The engine is killed and starts again with what is stored. Of what was being done beside the session, `is_done` says
    /// what came to its end.
    pub fn restart(self, is_done: impl FnMut() -> bool) -> World {
        self.restart_with(is_done, |_| {})
    }

    /// As [`World::restart`]; `meanwhile` happens when the first torrents are loaded.
    pub fn restart_with(
        self,
        mut is_done: impl FnMut() -> bool,
        meanwhile: impl FnOnce(&mut World),
    ) -> World {
        let World { session, shards, store, clock, work, dir, .. } = self;
        let count = shards.len();
        drop((session, shards));
        for work in work {
            // Whatever opens the store again now, nobody hears of it.
            if !matches!(work, Work::Reopen(_)) && is_done() {
                drop(work.run());
            }
        }
        store.restart();
        let mut world = World::with(count, dir, store.clone(), clock, true);
        world.load(meanwhile);
        world
    }

    /// Hands over what is stored, as the loader does.
    fn load(&mut self, meanwhile: impl FnOnce(&mut World)) {
        let loader = Loader {
            state_dir: self.path("state"),
            store_limits: self.limits.clone(),
            shards: self.shards.len(),
            session: mpsc::channel(1).0,
        };
        let say = |world: &mut World, message| {
            world.session.on_loading(message).expect("it is loaded");
            world.session.go_on_adding();
            world.session.flush();
            world.gather();
        };
        say(self, Loading::Opened(StoreGuard::new(self.store.clone())));
        let mut meanwhile = Some(meanwhile);
        for record in self.store.torrents() {
            let restored = loader.restore(record).expect("it is restored");
            invariants::check_restored(self, &restored);
            say(self, Loading::Torrents(vec![restored]));
            if let Some(meanwhile) = meanwhile.take() {
                meanwhile(self);
            }
        }
        say(self, Loading::Done);
        invariants::check(self);
    }

    /// A directory of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As [`World::path`], of a path that is relative to it.
    pub fn path_of(&self, path: &Path) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Looks after what follows an event, and at the invariants.
    pub fn after_event(&mut self) {
        self.session.go_on_adding();
        self.session.flush();
        self.gather();
        invariants::check(self);
    }

    /// Takes what the session asks for and what it answers.
    pub fn gather(&mut self) {
        self.shards.iter_mut().for_each(FakeShard::collect);
        for work in self.session.take_work() {
            invariants::check_work(self, &work);
            self.work.push(work);
        }
        for asked in std::mem::take(&mut self.asked) {
            match asked.poll() {
                Ok(answer) => {
                    invariants::check_answer(self, &answer);
                    self.answers.push(answer);
                }
                Err(asked) => self.asked.push(asked),
            }
        }
    }

    fn send<T>(
        &mut self,
        command: impl FnOnce(Reply<T>) -> Command,
        asked: impl FnOnce(Received<T>) -> Asked,
    ) {
        let (reply, received) = oneshot::channel();
        self.asked.push(asked(received));
        self.session.on_command(command(reply));
        self.after_event();
    }

    pub fn add(&mut self, add: AddTorrent) {
        let id = add.metainfo.id();
        self.send(|reply| Command::Add(Box::new(add), reply), |received| Asked::Add(id, received));
    }

    pub fn command(&mut self, list: Vec<TorrentId>, command: TorrentCommand) {
        let (ids, told, newest) = (list.clone(), command.clone(), self.session.next_id - 1);
        self.send(
            |reply| Command::Torrents(list, command, reply),
            |received| Asked::List(ids, told, newest, received),
        );
    }

    pub fn change_engine(&mut self, change: EngineChange) {
        self.send(|reply| Command::ChangeEngine(change, reply), Asked::Engine);
    }

    /// Asks for the end. The control thread begins it.
    pub fn shut_down(&mut self) {
        let (reply, received) = oneshot::channel();
        self.asked.push(Asked::Shutdown(received));
        self.session.on_command(Command::Shutdown(reply));
        self.session.begin_end();
        self.after_event();
    }

    /// Has the oldest report of a shard come to the session. False when there is none.
    pub fn deliver(&mut self, shard: usize) -> bool {
        let Some(report) = self.shards[shard].reports.pop_front() else { return false };
        self.session.on_shard(report);
        self.session.go_on_ending();
        self.after_event();
        true
    }

    /// Does one of the works that were asked for.
    pub fn do_work(&mut self, place: usize) {
        let work = self.work.remove(place);
        self.end_work(work.run());
    }

    /// Has work end that was taken out of the list.
    pub fn end_work(&mut self, done: Done) {
        self.session.on_done(done);
        self.session.go_on_ending();
        self.after_event();
    }

    /// Time passes, and the session looks around.
    pub fn pass(&mut self, time: Duration) {
        self.clock.pass(time);
        if self.session.is_ending() {
            self.session.go_on_ending();
        } else {
            self.session.refresh(false);
        }
        self.after_event();
    }

    /// Has everything that is under way come to its end: shards take and report, checks end, work is done, the store is
    /// opened again.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..10_000 {
            let mut idle = true;
            for shard in 0..self.shards.len() {
                while self.shards[shard].take() {
                    idle = false;
                }
                for content in 0..self.contents.len() {
                    self.shards[shard].finish_check(self.contents[content].id);
                }
                while self.deliver(shard) {
                    idle = false;
                }
            }
            while !self.work.is_empty() {
                idle = false;
                self.do_work(0);
            }
            if self.session.is_behind() {
                self.session.catch_up();
                self.after_event();
            }
            if idle {
                // The store is opened again after a pause, and queues are filled with each look.
                quiet += 1;
                if quiet > 3 {
                    return;
                }
                self.pass(Duration::from_secs(60));
            } else {
                quiet = 0;
            }
        }
        panic!("it does not come to rest");
    }

    /// The torrent of this number in [`World::contents`].
    pub fn torrent(&self, number: usize) -> Option<&Torrent> {
        self.session.by_id(&self.contents[number].id)
    }

    /// What happens with the torrent of this number.
    pub fn activity(&self, number: usize) -> &Activity {
        &self.torrent(number).expect("it is in the session").activity
    }

    /// The only answer since the last call.
    pub fn answer(&mut self) -> Answer {
        let mut answers = std::mem::take(&mut self.answers);
        assert_eq!(answers.len(), 1, "answers");
        answers.remove(0)
    }
}

type Received<T> = oneshot::Receiver<Result<T, EngineError>>;

impl Asked {
    /// The answer, when there is one.
    fn poll(self) -> Result<Answer, Asked> {
        use oneshot::error::TryRecvError::{Closed, Empty};
        match self {
            Asked::Add(id, mut received) => match received.try_recv() {
                Ok(result) => Ok(Answer::Add(id, result)),
                Err(Empty) => Err(Asked::Add(id, received)),
                Err(Closed) => Ok(Answer::Dropped),
            },
            Asked::List(list, command, newest, mut received) => match received.try_recv() {
                Ok(result) => Ok(Answer::List(list, command, newest, result)),
                Err(Empty) => Err(Asked::List(list, command, newest, received)),
                Err(Closed) => Ok(Answer::Dropped),
            },
            Asked::Engine(mut received) => match received.try_recv() {
                Ok(result) => Ok(Answer::Engine(result)),
                Err(Empty) => Err(Asked::Engine(received)),
                Err(Closed) => Ok(Answer::Dropped),
            },
            Asked::Shutdown(mut received) => match received.try_recv() {
                Ok(()) => Ok(Answer::Shutdown),
                Err(Empty) => Err(Asked::Shutdown(received)),
                Err(Closed) => Ok(Answer::Dropped),
            },
        }
    }
}
