//! The session: all torrents, and the one place where their activity changes. What it keeps between runs is in
//! [`resume`], what it tells others in [`publish`], what the user may change of it in [`wishes`].

mod publish;
mod resume;
mod wishes;

use super::handle::{AddOutcome, AddTorrent, Command, EngineError, Reply};
use super::snapshot::{EngineLimits, EngineSnapshot};
use super::torrent::{Activity, Next, Torrent, missing_bytes};
use crate::announce::{AnnounceUpdate, Announcer, TrackedTorrent, TransferTotals};
use crate::config::EngineConfig;
use crate::limits::{CANDIDATES_MAX, CONTROL_QUEUE, SHUTDOWN_MAX};
use crate::shard::mailbox;
use crate::shard::message::{FromShard, ToShard};
use crate::shard::publish::ShardSnapshot;
use crate::shard::rate::RateLimit;
use crate::shard::registry::{Phase, Registry, TorrentEntry, home_shard};
use crate::storage::{ResumeStore, SizeCheck, SpeedLimit, StoreLimits, TorrentStore};
use arc_swap::ArcSwap;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::units::InfoHash;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{oneshot, watch};

/// What a session is made of.
pub struct SessionParts {
    /// Settings of the engine.
    pub settings: Arc<EngineConfig>,
    /// The torrents as shards see them.
    pub registry: Arc<Registry>,
    /// Mailboxes of the shards.
    pub shards: Vec<mailbox::Sender<ToShard>>,
    /// What the shards publish.
    pub published: Vec<Arc<ArcSwap<ShardSnapshot>>>,
    /// Budgets of all stores.
    pub store_limits: Arc<StoreLimits>,
    /// Where state is kept between runs, once it is open.
    pub resume: Option<Arc<ResumeStore>>,
    /// Whether a loader hands over what is in it.
    pub loads: bool,
    /// Tracker clients.
    pub announcer: Rc<Announcer>,
    /// Where snapshots go.
    pub snapshot: Arc<ArcSwap<EngineSnapshot>>,
    /// Told of each new snapshot.
    pub changed: watch::Sender<u64>,
    /// Connections open in the engine.
    pub connections: Arc<AtomicUsize>,
    /// Upload limit of the engine, as the shards see it.
    pub upload_limit: Arc<RateLimit>,
    /// Download limit of the engine, as the shards see it.
    pub download_limit: Arc<RateLimit>,
}

/// All torrents and what is under way with them.
pub struct Session {
    parts: SessionParts,
    torrents: BTreeMap<u32, Torrent>,
    ids: HashMap<InfoHash, u32>,
    next_id: u32,
    limits: EngineLimits,
    sequences: Vec<u64>,
    /// Torrents that each shard published something of last.
    sampled: Vec<HashSet<u32>>,
    /// Torrents that may have reached their ratio, though no shard publishes them.
    ratio_unsure: HashSet<u32>,
    /// Something changed that no shard published.
    dirty: bool,
    /// Messages that a full mailbox did not take yet, in order, by shard.
    unsent: Vec<std::collections::VecDeque<ToShard>>,
    /// Torrents with pieces, totals or stamps that the resume store does not have.
    unsaved: HashSet<InfoHash>,
    ended: HashSet<usize>,
    /// Stored torrents are still being handed over.
    loading: bool,
    /// Commands that came meanwhile, at most [`CONTROL_QUEUE`].
    held: Vec<Command>,
    shutdown: Option<oneshot::Sender<()>>,
    stopping: bool,
}

impl Session {
    /// A session of `parts`, empty.
    pub fn new(parts: SessionParts) -> Self {
        let (shards, loading) = (parts.shards.len(), parts.loads);
        let limits = EngineLimits {
            upload: parts.settings.upload_rate_max.into(),
            download: parts.settings.download_rate_max.into(),
        };
        Self {
            parts,
            limits,
            torrents: BTreeMap::new(),
            ids: HashMap::new(),
            next_id: 1,
            sequences: vec![0; shards],
            sampled: vec![HashSet::new(); shards],
            ratio_unsure: HashSet::new(),
            dirty: true,
            unsent: (0..shards).map(|_| std::collections::VecDeque::new()).collect(),
            unsaved: HashSet::new(),
            ended: HashSet::new(),
            loading,
            held: Vec::new(),
            shutdown: None,
            stopping: false,
        }
    }

    fn entry(&self, metainfo: Arc<Metainfo>, store: Arc<TorrentStore>) -> Arc<TorrentEntry> {
        let home = home_shard(&metainfo.info_hash, self.parts.shards.len());
        Arc::new(TorrentEntry::new(metainfo, store, home))
    }

    fn insert(
        &mut self,
        entry: Arc<TorrentEntry>,
        have: Bitfield,
        data_dir: PathBuf,
        set: impl FnOnce(&mut Torrent),
    ) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        entry.left.store(missing_bytes(&entry.content.info.layout, &have), Ordering::Relaxed);
        self.ids.insert(entry.info_hash(), id);
        let mut torrent = Torrent {
            id,
            entry,
            activity: Activity::Paused,
            have: Arc::new(have),
            data_dir,
            uploaded_before: 0,
            downloaded_before: 0,
            added_at: SystemTime::now(),
            finished_at: None,
            seed_ratio: None,
            upload_limit: SpeedLimit::default(),
            download_limit: SpeedLimit::default(),
            unchecked: false,
            known_peers: Vec::new(),
            samples: vec![None; self.parts.shards.len()],
            status: None,
        };
        set(&mut torrent);
        self.torrents.insert(id, torrent);
        id
    }

    /// Whether there is room for a command.
    pub fn takes_commands(&self) -> bool {
        self.held.len() < CONTROL_QUEUE
    }

    /// A command from a handle. While torrents are loaded it waits: it may be about one of them.
    pub fn on_command(&mut self, command: Command) {
        if self.loading && !matches!(command, Command::Shutdown(_)) {
            return self.held.push(command);
        }
        match command {
            Command::Add(add, reply) => {
                let result = self.add(*add);
                self.answer(reply, result);
            }
            Command::Pause(info_hash, reply) => {
                let result = self.known(info_hash).and_then(|()| self.pause(info_hash));
                self.answer(reply, result);
            }
            Command::Resume(info_hash, reply) => {
                let result = self.known(info_hash).and_then(|()| self.resume(info_hash));
                self.answer(reply, result);
            }
            Command::Remove(info_hash, reply) => {
                let result = self.known(info_hash).and_then(|()| self.remove(info_hash));
                self.answer(reply, result);
            }
            Command::Verify(info_hash, reply) => {
                let result = self.known(info_hash).map(|()| self.verify(info_hash));
                self.answer(reply, result);
            }
            Command::Reannounce(info_hash, reply) => {
                let result = self.known(info_hash).map(|()| self.parts.announcer.reannounce(info_hash));
                self.answer(reply, result);
            }
            Command::AddPeers(info_hash, peers, reply) => {
                let result = self.known(info_hash).map(|()| self.keep_peers(info_hash, peers));
                self.answer(reply, result);
            }
            Command::ChangeTorrent(info_hash, change, reply) => {
                let result = self.known(info_hash).and_then(|()| self.change_torrent(info_hash, change));
                self.answer(reply, result);
            }
            Command::ChangeEngine(change, reply) => {
                self.change_engine(change);
                self.answer(reply, Ok(()));
            }
            Command::Shutdown(reply) => {
                self.shutdown = Some(reply);
                self.stopping = true;
            }
        }
    }

    /// Answers a command once its effect is in the snapshot. Nobody may be waiting any more.
    fn answer<T>(&mut self, reply: Reply<T>, result: Result<T, EngineError>) {
        self.refresh(true);
        let _ = reply.send(result);
    }

    /// Peers that the user named: tried now, and again whenever the torrent starts.
    fn keep_peers(&mut self, info_hash: InfoHash, peers: Vec<SocketAddr>) {
        if let Some(torrent) = self.torrent(&info_hash) {
            let room = CANDIDATES_MAX.saturating_sub(torrent.known_peers.len());
            torrent.known_peers.extend(peers.iter().take(room));
        }
        self.send_peers(info_hash, peers);
    }

    fn known(&self, info_hash: InfoHash) -> Result<(), EngineError> {
        if self.ids.contains_key(&info_hash) { Ok(()) } else { Err(EngineError::UnknownTorrent(info_hash)) }
    }

    fn torrent(&mut self, info_hash: &InfoHash) -> Option<&mut Torrent> {
        self.torrents.get_mut(self.ids.get(info_hash)?)
    }

    fn add(&mut self, add: AddTorrent) -> Result<AddOutcome, EngineError> {
        let info_hash = add.metainfo.info_hash;
        if let Some(id) = self.ids.get(&info_hash).copied() {
            let leaving =
                matches!(&self.torrents[&id].activity, Activity::Stopping { next: Next::Remove, .. });
            if !leaving {
                self.keep_peers(info_hash, add.peers);
                return Ok(AddOutcome::Duplicate(id));
            }
            return Err(EngineError::Storage(format!("{info_hash} is being removed: try again in a moment")));
        }
        let data_dir = add.data_dir.unwrap_or_else(|| self.parts.settings.download_dir.clone());
        let data_dir = std::path::absolute(&data_dir).unwrap_or(data_dir);
        let store =
            TorrentStore::open_or_create(&data_dir, add.metainfo.info.clone(), &self.parts.store_limits)
                .map_err(|error| EngineError::Storage(error.to_string()))?;
        let entry = self.entry(add.metainfo, store);
        let have = Bitfield::new(entry.content.info.layout.piece_count());
        entry.sequential.store(add.sequential, Ordering::Relaxed);
        let id = self.insert(entry.clone(), have, data_dir, |torrent| torrent.seed_ratio = add.seed_ratio);
        self.parts.registry.insert([entry.clone()]);
        if has_data(&entry) {
            self.begin_check(info_hash, !add.paused);
        } else if !add.paused {
            self.begin_run(info_hash);
        }
        if let Err(error) = self.save(info_hash) {
            self.torrents.remove(&id);
            self.ids.remove(&info_hash);
            self.broadcast(|| ToShard::Stop(info_hash));
            self.parts.registry.remove(&info_hash);
            return Err(error);
        }
        self.keep_peers(info_hash, add.peers);
        Ok(AddOutcome::Added(id))
    }

    /// Hashes the files of a torrent that no shard runs.
    fn begin_check(&mut self, info_hash: InfoHash, run: bool) {
        if !self.make_whole(info_hash) {
            return;
        }
        let Some(torrent) = self.torrent(&info_hash) else { return };
        torrent.activity = Activity::Checking { run, done: 0 };
        // Until it is done: a check that a pause ends early has told nothing about the files.
        torrent.unchecked = true;
        torrent.status = None;
        let entry = torrent.entry.clone();
        entry.store.forgive();
        self.send(entry.home, ToShard::Verify(entry));
    }

    /// Starts a torrent that no shard runs: files that nobody vouches for are hashed first.
    fn begin(&mut self, info_hash: InfoHash) {
        let unsure =
            self.torrent(&info_hash).is_some_and(|torrent| torrent.unchecked && has_data(&torrent.entry));
        if unsure { self.begin_check(info_hash, true) } else { self.begin_run(info_hash) }
    }

    /// Lets the shards run a torrent that none runs.
    fn begin_run(&mut self, info_hash: InfoHash) {
        let Some(torrent) = self.torrent(&info_hash) else { return };
        torrent.activity = Activity::Running;
        torrent.status = None;
        if let (Some(_), id) = (torrent.seed_ratio, torrent.id) {
            self.ratio_unsure.insert(id);
        }
        let Some(torrent) = self.torrent(&info_hash) else { return };
        if torrent.have.is_full() && torrent.finished_at.is_none() {
            torrent.finished_at = Some(SystemTime::now());
        }
        let entry = torrent.entry.clone();
        let have = torrent.have.clone();
        let (uploaded, downloaded) = (torrent.uploaded_before, torrent.downloaded_before);
        if let Err(error) = entry.store.create_empty_files() {
            torrent.activity = Activity::Failed(error.to_string());
            return;
        }
        let known_peers = torrent.known_peers.clone();
        if have.is_full() {
            // Every shard serves it once somebody asks; there is nothing to be told before.
            entry.set_phase(Phase::Seeding);
        } else {
            entry.set_phase(Phase::Downloading);
            self.send(entry.home, ToShard::Start { torrent: entry.clone(), have: Bitfield::clone(&have) });
        }
        self.send_peers(info_hash, known_peers);
        let tracked = TrackedTorrent {
            info_hash,
            tiers: entry.metainfo.tiers.clone(),
            private: entry.metainfo.info.private,
        };
        let totals = move || TransferTotals {
            uploaded: uploaded + entry.uploaded.load(Ordering::Relaxed),
            downloaded: downloaded + entry.downloaded.load(Ordering::Relaxed),
            left: entry.left.load(Ordering::Relaxed),
        };
        self.parts.announcer.start(tracked, Box::new(totals));
    }

    /// Has all shards let go of a torrent; `next` follows.
    fn begin_stop(&mut self, info_hash: InfoHash, next: Next) {
        let shards = (0..self.parts.shards.len()).collect();
        let Some(torrent) = self.torrent(&info_hash) else { return };
        torrent.entry.set_phase(Phase::Stopped);
        torrent.status = None;
        if let Activity::Stopping { next: planned, .. } = &mut torrent.activity {
            *planned = next; // the shards are letting go already
            return;
        }
        torrent.activity = Activity::Stopping { waiting: shards, next };
        self.parts.announcer.stop(info_hash);
        self.broadcast(|| ToShard::Stop(info_hash));
    }

    fn pause(&mut self, info_hash: InfoHash) -> Result<(), EngineError> {
        if let Some(torrent) = self.torrent(&info_hash) {
            match torrent.activity {
                Activity::Paused => {}
                Activity::Failed(_) => torrent.activity = Activity::Paused,
                Activity::Checking { .. } | Activity::Running | Activity::Stopping { .. } => {
                    self.begin_stop(info_hash, Next::Pause);
                }
            }
        }
        self.save(info_hash)
    }

    fn resume(&mut self, info_hash: InfoHash) -> Result<(), EngineError> {
        if let Some(torrent) = self.torrent(&info_hash) {
            match &mut torrent.activity {
                Activity::Paused => self.begin(info_hash),
                // What failed may have changed under us: look at the files before serving them.
                Activity::Failed(_) => self.begin_check(info_hash, true),
                Activity::Checking { run, .. } => *run = true,
                Activity::Running => {}
                Activity::Stopping { next: Next::Remove, .. } => {
                    return Err(EngineError::UnknownTorrent(info_hash));
                }
                Activity::Stopping { next, .. } => *next = Next::Run,
            }
        }
        self.save(info_hash)
    }

    fn verify(&mut self, info_hash: InfoHash) {
        let Some(torrent) = self.torrent(&info_hash) else { return };
        let run = torrent.wanted_running();
        match torrent.activity {
            Activity::Paused | Activity::Failed(_) => self.begin_check(info_hash, run),
            Activity::Checking { .. } => {}
            Activity::Running | Activity::Stopping { .. } => self.begin_stop(info_hash, Next::Check { run }),
        }
    }

    fn remove(&mut self, info_hash: InfoHash) -> Result<(), EngineError> {
        if let Some(resume) = &self.parts.resume {
            resume.remove(info_hash).map_err(|error| EngineError::Store(error.to_string()))?;
        }
        self.begin_stop(info_hash, Next::Remove);
        Ok(())
    }

    /// A message of a shard.
    pub fn on_shard(&mut self, message: FromShard) {
        self.dirty = true;
        match message {
            FromShard::Verified(info_hash, result) => self.verified(info_hash, result),
            FromShard::Durable(info_hash, have) => {
                if let Some(torrent) = self.torrent(&info_hash) {
                    torrent.set_have(have);
                    self.unsaved.insert(info_hash);
                }
            }
            FromShard::Completed(info_hash) => {
                if let Some(torrent) = self.torrent(&info_hash) {
                    torrent.finished_at = Some(SystemTime::now());
                    torrent.entry.left.store(0, Ordering::Relaxed);
                    torrent.status = None;
                    self.parts.announcer.completed(info_hash);
                    if let Err(error) = self.save_settings(info_hash) {
                        tracing::error!(%error, torrent = %info_hash, "cannot save that it was finished");
                    }
                }
            }
            FromShard::MetadataWanted { shard, info_hash } => {
                let bytes = self.stored_metainfo(info_hash).map(|metainfo| metainfo.info_bytes);
                if let Err(error) = &bytes {
                    tracing::warn!(%error, torrent = %info_hash, "cannot read the metadata that a peer asks for");
                }
                self.send(shard, ToShard::Metadata(info_hash, bytes.ok()));
            }
            FromShard::Failed(info_hash, reason) => self.begin_stop(info_hash, Next::Fail(reason)),
            FromShard::Stopped { shard, info_hash, have } => self.stopped(shard, info_hash, have),
            FromShard::Ended { shard } => {
                self.ended.insert(shard);
            }
        }
    }

    fn verified(&mut self, info_hash: InfoHash, result: Result<Bitfield, String>) {
        let Some(torrent) = self.torrent(&info_hash) else { return };
        let Activity::Checking { run, .. } = torrent.activity else { return };
        torrent.status = None;
        match result {
            Ok(have) => {
                torrent.set_have(have);
                torrent.unchecked = false;
                torrent.activity = Activity::Paused;
                if run {
                    self.begin_run(info_hash);
                }
            }
            Err(reason) => torrent.activity = Activity::Failed(reason),
        }
        self.save_or_log(info_hash);
    }

    fn stopped(&mut self, shard: usize, info_hash: InfoHash, have: Option<Bitfield>) {
        let Some(torrent) = self.torrent(&info_hash) else { return };
        if let Some(have) = have {
            torrent.set_have(have);
        }
        torrent.set_sample(shard, None);
        let Activity::Stopping { waiting, next } = &mut torrent.activity else { return };
        waiting.retain(|other| *other != shard);
        if !waiting.is_empty() {
            return;
        }
        match std::mem::replace(next, Next::Pause) {
            Next::Pause => torrent.activity = Activity::Paused,
            Next::Fail(reason) => torrent.activity = Activity::Failed(reason),
            Next::Run => self.begin(info_hash),
            Next::Check { run } => self.begin_check(info_hash, run),
            Next::Remove => {
                if let Some(id) = self.ids.remove(&info_hash) {
                    self.torrents.remove(&id);
                }
                self.parts.registry.remove(&info_hash);
                return;
            }
        }
        self.save_or_log(info_hash);
    }

    /// Peers or news from trackers.
    pub fn on_announce(&mut self, update: AnnounceUpdate) {
        let AnnounceUpdate::Peers { info_hash, peers } = update;
        self.send_peers(info_hash, peers);
    }

    fn send_peers(&mut self, info_hash: InfoHash, peers: Vec<SocketAddr>) {
        let Some(torrent) = self.torrent(&info_hash) else { return };
        torrent.status = None;
        let home = torrent.entry.home;
        if !peers.is_empty() {
            self.send(home, ToShard::Peers(info_hash, peers));
        }
    }

    fn broadcast(&mut self, mut message: impl FnMut() -> ToShard) {
        for shard in 0..self.parts.shards.len() {
            self.send(shard, message());
        }
    }

    fn send(&mut self, shard: usize, message: ToShard) {
        self.unsent[shard].push_back(message);
        self.flush();
    }

    /// Sends what full mailboxes have not taken.
    fn flush(&mut self) {
        for (queue, shard) in self.unsent.iter_mut().zip(&self.parts.shards) {
            while let Some(message) = queue.pop_front() {
                if let Err(back) = shard.send(message) {
                    queue.push_front(back);
                    break;
                }
            }
        }
    }

    /// Takes over what shards published and makes a new snapshot when something changed, or at once when
    /// `now` is set.
    pub fn refresh(&mut self, now: bool) {
        self.flush();
        for shard in 0..self.parts.published.len() {
            let published = self.parts.published[shard].load_full();
            if published.sequence != self.sequences[shard] {
                self.sequences[shard] = published.sequence;
                self.take_samples(shard, &published);
            }
        }
        self.pause_at_ratio();
        if !self.unsaved.is_empty() {
            self.save_progress();
        }
        if self.dirty || now {
            self.dirty = false;
            self.make_snapshot();
        }
    }

    fn pause_at_ratio(&mut self) {
        let sampled = self.sampled.iter().flatten();
        let unsure = std::mem::take(&mut self.ratio_unsure);
        let moving = sampled.chain(&unsure).filter_map(|id| self.torrents.get(id));
        let reached: HashSet<InfoHash> = moving
            .filter(|torrent| torrent.has_reached_ratio())
            .map(|torrent| torrent.entry.info_hash())
            .collect();
        for info_hash in reached {
            tracing::info!(torrent = %info_hash, "seed ratio reached: pausing");
            if let Err(error) = self.pause(info_hash) {
                tracing::error!(%error, torrent = %info_hash, "cannot save the pause");
            }
        }
    }

    /// Whether a stop was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Stops everything: trackers are told while shards finish, then the last state is saved.
    pub async fn stop(mut self, inbox: &mut super::Inbox) {
        self.broadcast(|| ToShard::Shutdown);
        let announcer = self.parts.announcer.clone();
        let deadline = tokio::time::Instant::now() + SHUTDOWN_MAX - Duration::from_millis(500);
        let trackers = async {
            announcer.shutdown(SHUTDOWN_MAX - Duration::from_secs(1)).await;
        };
        let shards = async {
            while self.ended.len() < self.parts.shards.len() {
                let Ok(message) = tokio::time::timeout_at(deadline, inbox.next()).await else { break };
                match message {
                    // The end of the process is not the end of the torrent: it runs again next time.
                    FromShard::Stopped { info_hash, have, .. } => {
                        if let (Some(torrent), Some(have)) = (self.torrent(&info_hash), have)
                            && *torrent.have != have
                        {
                            torrent.set_have(have);
                            self.unsaved.insert(info_hash);
                        }
                    }
                    message
                    @ (FromShard::Durable(..) | FromShard::Ended { .. } | FromShard::Completed(_)) => {
                        self.on_shard(message);
                    }
                    _ => {}
                }
                self.flush();
            }
        };
        tokio::join!(trackers, shards);
        self.save_progress();
        self.save_totals();
        if let Some(reply) = self.shutdown.take() {
            let _ = reply.send(());
        }
    }
}

/// Whether any file of the torrent is there.
fn has_data(entry: &TorrentEntry) -> bool {
    let layout = &entry.content.info.layout;
    // What cannot be looked at is looked at by the verification, which tells what is wrong.
    entry.store.check_sizes().map_or(true, |checks| {
        let mut files = checks.iter().zip(&layout.files);
        files.any(|(check, file)| *check != SizeCheck::Missing && !file.padding && file.length > 0)
    })
}
