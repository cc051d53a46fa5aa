//! A shard: one core with its own connections, swarms and rings, and no locks.
//!
//! The shard is one loop. Each turn takes completions from the data ring, hands bytes to swarms, does what
//! the swarms ask for and queues the next operations. Disk and dial tasks run beside the loop on the same
//! glommio executor and report to it ([`local`]). Nothing in a turn waits.

pub mod checks;
pub mod connections;
mod dialing;
mod gather;
mod grants;
pub mod hashing;
pub mod home;
mod listeners;
pub mod local;
pub mod loop_delay;
pub mod mailbox;
pub mod message;
mod pace;
pub mod publish;
pub mod rate;
mod reads;
pub mod registry;
mod room;
mod round;
mod staged;
mod table;
pub mod timers;
mod tokens;
pub mod torrents;
mod transmit;

use crate::config::EngineConfig;
use crate::descriptors::Descriptors;
use crate::limits::{DISK_WORKERS_MAX, SHARD_REPORTS, SNAPSHOT_INTERVAL};
use arc_swap::ArcSwap;
use checks::Checks;
use connections::{ConnKey, Connection};
use dialing::Dials;
use gather::Staging;
use glommio::timer::Timer;
use hashing::{GATHER_WAIT, Gathered};
use local::{LocalQueue, Sleeper, Woken};
use loop_delay::LoopWatch;
use message::{FromShard, ToShard};
use pace::Pace;
use publish::{ShardCounters, ShardSnapshot};
use rate::{REFILL_STEP, RateLimit};
use reads::Reads;
use registry::Registry;
use ringseed_net::accepting::Acceptors;
use ringseed_net::blocklist::Blocklist;
use ringseed_net::exchanges::Exchanges;
use ringseed_net::link::Cargo;
use ringseed_net::route::Route;
use ringseed_net::shares::{HalfOpen, Room};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::swarm::{PeerKey, SendBatch};
use ringseed_proto::units::{PeerId, Time};
use ringseed_ring::executor::give_way;
use ringseed_ring::{Completion, Ring, RingConfig, RingError, SendList};
use round::Round;
use slotmap::SlotMap;
use staged::Staged;
use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use timers::Timers;
use torrents::{ShardTorrent, TorrentKey};

/// Most receive buffers of a shard, shared by all its connections.
pub(crate) const RECV_BUFFERS: u16 = 256;
/// Receive buffers at first: enough for one fast peer, and small enough for the core's cache.
const RECV_BUFFERS_FIRST: u16 = 8;
/// Bytes of one receive buffer: two blocks with their headers, or thousands of requests.
const RECV_BUFFER_LEN: u32 = 64 * 1024;
/// Gather lists kept for reuse.
const SPARE_LISTS_MAX: usize = 1024;
/// How often timers of swarms, dials and requests under a limit are looked at while there are peers.
const TICK: Duration = Duration::from_millis(50);
/// How often a shard without peers looks around.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// How often files being served are looked at.
const FILE_CHECK: Duration = Duration::from_secs(2);
/// Longest time a stop waits for tasks.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// What a shard is given when it starts.
pub struct ShardContext {
    /// Its number, from 0.
    pub index: usize,
    /// Settings of the engine.
    pub settings: Arc<EngineConfig>,
    /// What it may open.
    pub descriptors: Descriptors,
    /// How peers are dialled.
    pub route: Route,
    /// Our peer id, the same on all shards.
    pub peer_id: PeerId,
    /// The TCP port of the listeners.
    pub listen_port: u16,
    /// The sockets that it listens on first.
    pub listeners: Vec<OwnedFd>,
    /// Messages for it.
    pub inbox: mailbox::Receiver<ToShard>,
    /// Mailboxes of all shards.
    pub shards: Vec<mailbox::Sender<ToShard>>,
    /// The control thread's mailbox.
    pub control: mailbox::Sender<FromShard>,
    /// The torrents of the engine.
    pub registry: Arc<Registry>,
    /// Where it publishes statistics.
    pub published: Arc<ArcSwap<ShardSnapshot>>,
    /// Connections open in the engine.
    pub connections: Arc<AtomicUsize>,
    /// Upload limit of the engine.
    pub upload_limit: Arc<RateLimit>,
    /// Download limit of the engine.
    pub download_limit: Arc<RateLimit>,
    /// Where time 0 of the engine's clock is.
    pub epoch: Instant,
}

/// The state of one core.
pub struct Shard {
    context: ShardContext,
    ring: Ring,
    local: LocalQueue,
    now: Time,
    connections: SlotMap<ConnKey, Connection>,
    torrents: SlotMap<TorrentKey, ShardTorrent>,
    by_id: HashMap<TorrentId, TorrentKey>,
    /// Torrents with work in this turn.
    touched: Vec<TorrentKey>,
    /// Torrents with work later.
    timers: Timers,
    /// Torrents that stop once their pieces are durable.
    stopping: HashSet<TorrentKey>,
    checks: Checks,
    /// Whole pieces that wait for others to be hashed with.
    gathered: Gathered,
    /// Connections in the order in which their handshake expires.
    handshaking: VecDeque<ConnKey>,
    /// Connections whose receive found no buffer.
    starved: Vec<ConnKey>,
    /// Connections from outside without a handshake.
    half_open: HalfOpen,
    /// Connections that may make room for others, of all torrents.
    room: Room<ConnKey>,
    /// Peers that wait for the upload limit.
    throttled: Vec<(TorrentKey, PeerKey)>,
    round: Round,
    /// Reads from disk for peers.
    reads: Reads,
    staged: Staged,
    acceptors: Acceptors,
    /// The blocklist that all connections were compared with.
    blocklist: Option<Arc<Blocklist>>,
    dials: Dials,
    /// Connections whose encryption handshake waits for an exponentiation.
    exchanges: Exchanges<ConnKey>,
    /// Memory that sends are enciphered in.
    staging: Staging,
    /// Sends of enciphered links that left at once in this turn.
    sent_at_once: Vec<(ConnKey, Cargo)>,
    /// Reports that the control thread's full mailbox did not take yet.
    reports: VecDeque<FromShard>,
    spare_lists: Vec<SendList>,
    batch: SendBatch,
    counters: ShardCounters,
    watch: LoopWatch,
    pace: Pace,
    sequence: u64,
    seed: u64,
    ticked_at: Time,
    published_at: Time,
    files_checked_at: Time,
    refilled_at: Time,
    /// Set by [`ToShard::Shutdown`]: when to end even if tasks still run.
    ends_at: Option<Time>,
}

impl Shard {
    /// A shard with its data ring; to be called on its own thread, inside its executor.
    ///
    /// # Errors
    /// When the ring cannot be set up.
    pub fn new(mut context: ShardContext) -> Result<Self, RingError> {
        let ring = Ring::new(&RingConfig {
            sq_entries: 1024,
            cq_entries: 8192,
            recv_buffers: RECV_BUFFERS,
            recv_buffers_first: RECV_BUFFERS_FIRST,
            recv_buffer_len: RECV_BUFFER_LEN,
        })?;
        if let Err(error) = ring.set_disk_workers(DISK_WORKERS_MAX) {
            tracing::warn!(%error, "few reads from disk can wait at once");
        }
        let seed = u64::from_le_bytes(context.peer_id.0[12..20].try_into().unwrap_or_default())
            ^ (context.index as u64) << 32;
        Ok(Self {
            acceptors: Acceptors::new(std::mem::take(&mut context.listeners), context.descriptors.are_few),
            context,
            ring,
            local: LocalQueue::default(),
            now: Time::ZERO,
            connections: SlotMap::with_key(),
            torrents: SlotMap::with_key(),
            by_id: HashMap::new(),
            touched: Vec::new(),
            timers: Timers::default(),
            stopping: HashSet::new(),
            checks: Checks::default(),
            gathered: Gathered::default(),
            handshaking: VecDeque::new(),
            starved: Vec::new(),
            half_open: HalfOpen::default(),
            room: Room::default(),
            throttled: Vec::new(),
            round: Round::default(),
            reads: Reads::default(),
            staged: Staged::default(),
            blocklist: None,
            dials: Dials::default(),
            exchanges: Exchanges::default(),
            staging: Staging::default(),
            sent_at_once: Vec::new(),
            reports: VecDeque::new(),
            spare_lists: Vec::new(),
            batch: SendBatch::default(),
            counters: ShardCounters::default(),
            watch: LoopWatch::default(),
            pace: Pace::default(),
            sequence: 0,
            seed,
            ticked_at: Time::ZERO,
            published_at: Time::ZERO,
            files_checked_at: Time::ZERO,
            refilled_at: Time::ZERO,
            ends_at: None,
        })
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// When the data ring fails.
    pub async fn run(mut self) -> std::io::Result<()> {
        let mut sleeper = Sleeper::new(&self.ring, self.context.inbox.as_raw_fd(), self.local.clone())?;
        let mut completions: Vec<Completion> = Vec::with_capacity(1024);
        self.acceptors.arm(&self.ring, self.now);
        loop {
            self.ring.submit()?;
            self.ring.drain(&mut completions);
            self.now = self.clock();
            self.watch.turn(self.now);
            let found = completions.len();
            let mut busy = found > 0;
            busy |= self.tell_sent_at_once();
            for completion in completions.drain(..) {
                self.dispatch(completion);
            }
            while let Some(message) = self.context.inbox.pop() {
                busy = true;
                self.on_message(message);
            }
            while let Some(event) = self.local.pop() {
                busy = true;
                self.on_local(event);
            }
            busy |= self.compute_exchanges();
            self.housekeeping();
            self.serve_touched();
            self.end_round();
            self.hash_overdue();
            self.feed_starved();
            self.send_reports();
            self.counters.turns += 1;
            if self.has_ended() {
                self.ring.submit()?;
                return Ok(());
            }
            if busy || self.ring.has_queued() || !self.sent_at_once.is_empty() {
                self.ring.submit()?;
                match self.pace.rest(self.now, found) {
                    Some(rest) => self.rest(rest).await,
                    None => give_way().await,
                }
            } else {
                let (limit, slept_at) = (self.sleep_time(), self.clock());
                self.watch.sleeps(slept_at);
                if sleeper.sleep(limit).await == Woken::Inbox {
                    self.context.inbox.acknowledge();
                }
                self.watch.woke(slept_at, limit, self.clock());
            }
        }
    }

    /// Lets tasks run, and the kernel gather what comes, for a fixed time.
    async fn rest(&mut self, time: Duration) {
        let began = self.clock();
        self.watch.sleeps(began);
        Timer::new(time).await;
        self.watch.woke(began, time, self.clock());
    }

    fn serve_touched(&mut self) {
        while let Some(key) = self.touched.pop() {
            self.serve(key);
        }
    }

    fn clock(&self) -> Time {
        Time::after_epoch(self.context.epoch.elapsed())
    }

    fn dispatch(&mut self, completion: Completion) {
        match tokens::target(completion.token) {
            tokens::Target::Listener => self.on_accept(completion),
            tokens::Target::Connection(key) => self.on_connection(key, completion),
        }
    }

    fn on_message(&mut self, message: ToShard) {
        match message {
            ToShard::Start { torrent, have } => self.start_torrent(torrent, have),
            ToShard::Check(check) => self.join_check(check),
            ToShard::Stop(torrents) => self.stop_torrents(&torrents),
            ToShard::Changed(torrent_id) => self.entry_changed(&torrent_id),
            ToShard::Count(torrent_id) => {
                if let Some(key) = self.by_id.get(&torrent_id).copied() {
                    self.count_totals(key);
                }
                self.report(FromShard::CountedTorrent { shard: self.context.index, torrent_id });
            }
            ToShard::Metadata(torrent_id, bytes) => self.provide_metadata(&torrent_id, bytes),
            ToShard::Peers(torrent_id, source, addresses) => self.learn_peers(&torrent_id, source, addresses),
            ToShard::Connection(moved) => self.moved_here(*moved),
            ToShard::Listen { port, sockets } => self.listen_on(port, sockets),
            ToShard::Shutdown => {
                self.ends_at = Some(self.now + STOP_WAIT);
                self.checks.cancel(|_| true);
                // Before disks are waited for: trackers are told meanwhile.
                for key in self.torrents.keys().collect::<Vec<_>>() {
                    for connection in self.torrents[key].peers.values().copied().collect::<Vec<_>>() {
                        self.close(connection);
                    }
                    self.count_totals(key);
                }
                self.report(FromShard::Counted { shard: self.context.index });
                for key in self.by_id.values().copied().collect::<Vec<_>>() {
                    self.stop_torrent(key);
                }
                for key in self.connections.keys().collect::<Vec<_>>() {
                    self.close(key);
                }
            }
        }
    }

    /// What is due by time rather than by an event.
    fn housekeeping(&mut self) {
        if !self.throttled.is_empty() && self.now.saturating_since(self.refilled_at) >= REFILL_STEP {
            self.refilled_at = self.now;
            self.release_throttled();
        }
        if self.now.saturating_since(self.ticked_at) < TICK {
            return;
        }
        self.ticked_at = self.now;
        self.timers_due();
        self.watch_faults();
        self.watch_cache();
        self.expire_handshakes();
        if self.ends_at.is_none() {
            self.acceptors.arm(&self.ring, self.now);
        }
        if self.now.saturating_since(self.files_checked_at) >= FILE_CHECK {
            self.files_checked_at = self.now;
            self.check_files();
            self.drop_blocked();
        }
        if self.now.saturating_since(self.published_at) >= SNAPSHOT_INTERVAL {
            self.published_at = self.now;
            self.publish();
        }
    }

    /// Tells the control thread something, at the latest when its mailbox has room again.
    fn report(&mut self, report: FromShard) {
        if self.reports.len() < SHARD_REPORTS {
            self.reports.push_back(report);
        }
    }

    fn send_reports(&mut self) {
        while let Some(report) = self.reports.pop_front() {
            if let Err(back) = self.context.control.send(report) {
                self.reports.push_front(back);
                break;
            }
        }
    }

    fn sleep_time(&self) -> Duration {
        if !self.throttled.is_empty() {
            REFILL_STEP
        } else if !self.gathered.is_empty() {
            GATHER_WAIT
        } else if !self.connections.is_empty()
            || !self.checks.is_empty()
            || !self.reports.is_empty()
            || self.ends_at.is_some()
        {
            TICK
        } else {
            let due = self.timers.next().map(|due| due.saturating_since(self.now));
            due.map_or(IDLE_TICK, |wait| wait.clamp(TICK, IDLE_TICK))
        }
    }

    /// After a shutdown: whether everything is closed and written, or the time for that is over.
    fn has_ended(&mut self) -> bool {
        let Some(ends_at) = self.ends_at else { return false };
        let settled = self.torrents.is_empty() && self.local.tasks() == 0 && self.connections.is_empty();
        if self.now < ends_at && !(settled && self.reports.is_empty()) {
            return false;
        }
        if !settled {
            tracing::warn!(tasks = self.local.tasks(), "stopping with unfinished work");
        }
        let _ = self.context.control.send(FromShard::Ended { shard: self.context.index });
        true
    }
}
