//! The way into a running engine from any thread: commands with an answer, and the latest snapshot.

use crate::{EngineError, EngineSnapshot, Failures};
use arc_swap::ArcSwap;
use ringseed_net::blocklist::Blocklist;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use ringseed_storage::{FileWork, SessionSettings, SpeedLimit, TorrentSettings};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};

/// A torrent to be added.
#[derive(Debug, Clone)]
pub struct AddTorrent {
    /// Its metainfo.
    pub metainfo: Arc<Metainfo>,
    /// Directory its files go below; the engine's download directory when `None`.
    pub data_dir: Option<PathBuf>,
    /// Add without starting it.
    pub paused: bool,
    /// Fetch pieces in order.
    pub sequential: bool,
    /// What else is wanted of it.
    pub settings: TorrentSettings,
    /// Peers known from elsewhere.
    pub peers: Vec<SocketAddr>,
    /// What another client did with it before.
    pub earlier: Earlier,
    /// Where another client left its data.
    pub found: Option<Found>,
}

/// Where another client left the data of a torrent that may be incomplete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Where it lies until it is complete; where it is to lie when `None`.
    pub dir: Option<PathBuf>,
    /// What incomplete files carry behind their names; empty for nothing.
    pub partial_suffix: String,
}

/// What was done with a torrent before this engine had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Earlier {
    /// Payload bytes sent.
    pub uploaded: u64,
    /// Payload bytes received.
    pub downloaded: u64,
    /// When it was added; now when `None`.
    pub added_at: Option<SystemTime>,
    /// When it was complete.
    pub finished_at: Option<SystemTime>,
    /// There was data of it: when none is found, nothing is fetched before the user says so.
    pub had_data: bool,
}

impl AddTorrent {
    /// A torrent with default choices.
    pub fn new(metainfo: Arc<Metainfo>) -> Self {
        Self {
            metainfo,
            data_dir: None,
            paused: false,
            sequential: false,
            settings: TorrentSettings::default(),
            peers: Vec::new(),
            earlier: Earlier::default(),
            found: None,
        }
    }
}

/// A change of a limit; what is `None` stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitChange {
    /// Bytes per second; 0 lets nothing through.
    pub rate: Option<u64>,
    /// Whether it holds.
    pub on: Option<bool>,
}

impl LimitChange {
    /// `limit` with this change.
    pub fn of(self, limit: SpeedLimit) -> SpeedLimit {
        SpeedLimit { rate: self.rate.unwrap_or(limit.rate), on: self.on.unwrap_or(limit.on) }
    }
}

/// Changes the settings for a torrent, of which it gets the metainfo.
pub type TorrentSettingsChange = Arc<dyn Fn(&mut TorrentSettings, &Metainfo) + Send + Sync>;

/// Changes the settings of the session.
pub type SettingsChange = Arc<dyn Fn(&mut SessionSettings) + Send + Sync>;

/// A change of what is wanted of a torrent; what is `None` stays.
#[derive(Clone, Default)]
pub struct TorrentChange {
    /// Limit of its upload.
    pub upload: LimitChange,
    /// Limit of its download.
    pub download: LimitChange,
    /// Fetch pieces in order.
    pub sequential: Option<bool>,
    /// It has to wait for its turn in the queue again, when it was started over its head.
    pub in_turn: bool,
    /// What else changes.
    pub settings: Option<TorrentSettingsChange>,
}

/// A change of what holds for the whole engine.
#[derive(Clone, Default)]
pub struct EngineChange {
    /// Limit of all uploads together.
    pub upload: LimitChange,
    /// Limit of all downloads together.
    pub download: LimitChange,
    /// The port to listen on; 0 is none.
    pub listen_port: Option<u16>,
    /// What else changes.
    pub settings: Option<SettingsChange>,
}

/// A move of torrents in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueMove {
    /// Before all others.
    Top,
    /// One place to the front.
    Up,
    /// One place to the back.
    Down,
    /// Behind all others.
    Bottom,
    /// To this place, from 0.
    To(usize),
}

/// How an add ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddOutcome {
    /// It is new and has this id.
    Added(u32),
    /// It was there already, under this id.
    Duplicate(u32),
}

/// The sender of a command's answer.
pub type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

/// What can be done to each torrent of a list.
#[derive(Clone)]
pub enum TorrentCommand {
    /// Stop its transfers; it stays paused over restarts.
    Pause,
    /// Start it when it is paused or failed, or put it in its queue.
    Resume {
        /// Start it whatever its queue says.
        now: bool,
    },
    /// Remove it from the session. Answered when it is gone.
    Remove {
        /// Delete its files, then the folders that are empty without them.
        delete: bool,
    },
    /// Move or rename its files; it rests meanwhile. Moves are answered when they have begun, renames when they are done.
    /// A move that fails leaves the torrent where it was, with [`crate::TorrentStatus::warning`].
    Handle(FileWork),
    /// End the move of its files and put everything back. Answered when that has begun.
    CancelMove,
    /// Move it in the queue; the torrents of the list keep their order among themselves.
    MoveInQueue(QueueMove),
    /// Hash all its files again.
    Verify,
    /// Announce to its trackers now (within their minimum interval).
    Reannounce,
    /// Try these peers, known from elsewhere.
    AddPeers(Vec<SocketAddr>),
    /// Change what is wanted of it; it holds over restarts.
    Change(TorrentChange),
}

/// A command to the control thread, with the sender of its answer.
pub enum Command {
    /// Add a torrent.
    Add(Box<AddTorrent>, Reply<AddOutcome>),
    /// Do this with these torrents.
    Torrents(Vec<TorrentId>, TorrentCommand, Reply<Failures>),
    /// Change what holds for the whole engine.
    ChangeEngine(EngineChange, Reply<()>),
    /// Replace the blocklist.
    SetBlocklist(Arc<Blocklist>, Reply<()>),
    /// Stop.
    Shutdown(oneshot::Sender<()>),
}

/// Commands to, and snapshots of, a running engine. Cheap to clone, usable from any thread or runtime.
#[derive(Clone)]
pub struct EngineHandle {
    commands: mpsc::Sender<Command>,
    snapshot: Arc<ArcSwap<EngineSnapshot>>,
    changed: watch::Receiver<u64>,
    listen_port: Arc<AtomicU16>,
}

impl EngineHandle {
    /// The handle of an engine that takes `commands`, publishes in `snapshot`, counts its publications in `changed` and
    /// listens on `listen_port`.
    pub fn new(
        commands: mpsc::Sender<Command>,
        snapshot: Arc<ArcSwap<EngineSnapshot>>,
        changed: watch::Receiver<u64>,
        listen_port: Arc<AtomicU16>,
    ) -> EngineHandle {
        EngineHandle { commands, snapshot, changed, listen_port }
    }

    async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Command) -> Result<T, EngineError> {
        let (sender, receiver) = oneshot::channel();
        self.commands.send(make(sender)).await.map_err(|_| EngineError::Stopping)?;
        receiver.await.map_err(|_| EngineError::Stopping)?
    }

    /// Adds a torrent. It is in the next snapshot when this returns.
    pub async fn add(&self, torrent: AddTorrent) -> Result<AddOutcome, EngineError> {
        self.ask(|reply| Command::Add(Box::new(torrent), reply)).await
    }

    /// Carries out a command for torrents: what changes is in one transaction of the resume store and on disk when this
    /// returns, and in the next snapshot. A torrent that it fails for does not keep it from the others.
    ///
    /// # Errors
    /// When the engine stops.
    pub async fn command(
        &self,
        torrents: Vec<TorrentId>,
        command: TorrentCommand,
    ) -> Result<Failures, EngineError> {
        self.ask(|reply| Command::Torrents(torrents, command, reply)).await
    }

    async fn one(&self, torrent: TorrentId, command: TorrentCommand) -> Result<(), EngineError> {
        self.command(vec![torrent], command).await?.of_one()
    }

    /// As [`TorrentCommand::Pause`] for one torrent.
    pub async fn pause(&self, torrent: TorrentId) -> Result<(), EngineError> {
        self.one(torrent, TorrentCommand::Pause).await
    }

    /// As [`TorrentCommand::Resume`] for one torrent.
    pub async fn resume(&self, torrent: TorrentId) -> Result<(), EngineError> {
        self.one(torrent, TorrentCommand::Resume { now: false }).await
    }

    /// Starts a torrent whatever its queue says.
    pub async fn resume_now(&self, torrent: TorrentId) -> Result<(), EngineError> {
        self.one(torrent, TorrentCommand::Resume { now: true }).await
    }

    /// Removes a torrent from the session. Its data stays.
    pub async fn remove(&self, torrent: TorrentId) -> Result<(), EngineError> {
        self.one(torrent, TorrentCommand::Remove { delete: false }).await
    }

    /// Removes a torrent from the session and deletes its files, then the folders that are empty without them.
    pub async fn remove_with_data(&self, torrent: TorrentId) -> Result<(), EngineError> {
        self.one(torrent, TorrentCommand::Remove { delete: true }).await
    }

    /// As [`TorrentCommand::Handle`] for one torrent.
    pub async fn handle_files(&self, torrent: TorrentId, work: FileWork) -> Result<(), EngineError> {
        self.one(torrent, TorrentCommand::Handle(work)).await
    }

    /// As [`TorrentCommand::CancelMove`] for one torrent.
    pub async fn cancel_move(&self, torrent: TorrentId) -> Result<(), EngineError> {
        self.one(torrent, TorrentCommand::CancelMove).await
    }

    /// Moves torrents in the queue, keeping their order among themselves.
    pub async fn move_in_queue(&self, torrents: Vec<TorrentId>, to: QueueMove) -> Result<(), EngineError> {
        self.command(torrents, TorrentCommand::MoveInQueue(to)).await?.of_one()
    }

    /// Hashes all files of a torrent again.
    pub async fn verify(&self, torrent: TorrentId) -> Result<(), EngineError> {
        self.one(torrent, TorrentCommand::Verify).await
    }

    /// Announces to the trackers now (within their minimum interval).
    pub async fn reannounce(&self, torrent: TorrentId) -> Result<(), EngineError> {
        self.one(torrent, TorrentCommand::Reannounce).await
    }

    /// Gives a torrent peers known from elsewhere.
    pub async fn add_peers(&self, torrent: TorrentId, peers: Vec<SocketAddr>) -> Result<(), EngineError> {
        self.one(torrent, TorrentCommand::AddPeers(peers)).await
    }

    /// Changes what is wanted of a torrent. It is saved when this returns, and holds over restarts.
    pub async fn change_torrent(&self, torrent: TorrentId, change: TorrentChange) -> Result<(), EngineError> {
        self.one(torrent, TorrentCommand::Change(change)).await
    }

    /// Changes what holds for the whole engine. It is saved when this returns, and holds over restarts.
    pub async fn change_engine(&self, change: EngineChange) -> Result<(), EngineError> {
        self.ask(|reply| Command::ChangeEngine(change, reply)).await
    }

    /// Replaces the blocklist; it holds when the session's settings say so. Peers that are connected stay.
    pub async fn set_blocklist(&self, list: Arc<Blocklist>) -> Result<(), EngineError> {
        self.ask(|reply| Command::SetBlocklist(list, reply)).await
    }

    /// Stops the engine: trackers are told, resume data is saved. Returns when that is done or
    /// five seconds has passed.
    pub async fn shutdown(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.commands.send(Command::Shutdown(sender)).await.is_ok() {
            let _ = receiver.await;
        }
    }

    /// As [`EngineHandle::shutdown`], from any thread and without waiting for the end.
    pub fn begin_shutdown(&self) {
        let (reply, _) = oneshot::channel();
        let mut command = Command::Shutdown(reply);
        // The queue is full only for a moment: the control thread empties it.
        while let Err(mpsc::error::TrySendError::Full(back)) = self.commands.try_send(command) {
            command = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The latest snapshot, at most a quarter of a second old while anything changes.
    pub fn snapshot(&self) -> Arc<EngineSnapshot> {
        self.snapshot.load_full()
    }

    /// Resolves when a newer snapshot than the last one waited for is there.
    pub async fn changed(&mut self) -> Result<(), EngineError> {
        self.changed.changed().await.map_err(|_| EngineError::Stopping)
    }

    /// The TCP port the engine listens on.
    pub fn listen_port(&self) -> u16 {
        self.listen_port.load(Ordering::Relaxed)
    }
}
