//! `blast`: raw peers from one thread against one seeder of any make, of one torrent or spread evenly over many.
//!
//! The peers connect and are served first; the window opens when all of them have received a block (or the ramp
//! time is over) and the warm-up bytes have passed, and closes after the wanted bytes or seconds.

pub(crate) mod connection;
mod encrypted;
mod leech;
mod pace;
mod report;
mod target;
mod walk;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use connection::{Board, Slot};
pub use leech::{Leech, LeechConfig, LeechError, Tally};
pub use report::{BlastReport, Cost, LoadCost, Totals};
pub use target::{Target, TargetError};
pub use walk::{Order, PieceWalk, SplitMix};

use crate::{
    affinity,
    limits::{CONNECTIONS_MAX, DEPTH_MAX, PEER_NUMBER_MAX, READ_BUFFER_MAX, READ_BUFFER_MIN, RING_ENTRIES},
    seeder_process,
    spread::Spread,
};

/// When the measured window closes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Window {
    /// After this much payload.
    Bytes(u64),
    /// After this time.
    Time(Duration),
}

/// Peers that ask for more than the others, to see what the others are left with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greedy {
    /// Their number, at least 1.
    pub connections: u32,
    /// Requests in flight of each, 1 to [`DEPTH_MAX`].
    pub depth: u32,
}

/// One blast.
#[derive(Debug, Clone)]
pub struct BlastConfig {
    /// The seeder.
    pub addr: SocketAddr,
    /// The torrents it seeds, at least one; peer `n` is of torrent `n` modulo their number.
    pub targets: Vec<Target>,
    /// Number of peers, 1 to [`CONNECTIONS_MAX`].
    pub connections: u32,
    /// Requests in flight per peer, 1 to [`DEPTH_MAX`].
    pub depth: u32,
    /// Further peers, reported apart. They always ask for as much as their depth allows.
    pub greedy: Option<Greedy>,
    /// What is measured.
    pub window: Window,
    /// Payload before the window.
    pub warmup_bytes: u64,
    /// Longest wait until all peers are served.
    pub ramp: Duration,
    /// Give up when no byte arrives for this long.
    pub stall: Duration,
    /// What a peer asks for next.
    pub order: Order,
    /// Bytes per second that each peer wants, at least 1; `None` is as many as it can get.
    pub rate: Option<u64>,
    /// Seed of the order of pieces.
    pub seed: u64,
    /// Number of the first peer: loads side by side need peers with names and addresses of their own.
    pub first: u32,
    /// Announce the Fast extension.
    pub fast: bool,
    /// Check the SHA-1 of every piece.
    pub verify: bool,
    /// Give every peer a loopback address of its own, for seeders that accept one peer per address.
    pub spread_sources: bool,
    /// Receive buffer per peer, bytes.
    pub read_buffer: usize,
    /// Encrypt with RC4.
    pub rc4: bool,
    /// Process whose CPU time is measured.
    pub seeder_pid: Option<u32>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BlastError {
    /// A value outside its limits.
    #[error("{0}")]
    Config(String),
    /// The ring could not be made.
    #[error("cannot start the load thread's io_uring: {0}")]
    Ring(io::Error),
    /// No peer was served.
    #[error("no connection was served within {seconds} s{}", reasons(.ended))]
    NotServed {
        /// The ramp time.
        seconds: u64,
        /// Connections that ended, by reason.
        ended: BTreeMap<String, u32>,
    },
    /// Every peer was dropped.
    #[error("the load stopped before the window closed{}", reasons(.ended))]
    Stopped {
        /// Connections that ended, by reason.
        ended: BTreeMap<String, u32>,
    },
    /// The seeder's process cannot be read.
    #[error("seeder process: {0}")]
    Process(io::Error),
}

impl BlastConfig {
    fn wire(&self) -> connection::Wire {
        connection::Wire { addr: self.addr, read_buffer: self.read_buffer, rc4: self.rc4 }
    }

    /// Number of all peers, the greedy ones included; these have the highest numbers.
    #[must_use]
    pub fn all_connections(&self) -> u32 {
        self.connections.saturating_add(self.greedy.map_or(0, |greedy| greedy.connections))
    }

    fn leech(&self, index: u32) -> LeechConfig {
        let greedy = self.greedy.filter(|_| index >= self.connections);
        LeechConfig {
            depth: greedy.map_or(self.depth, |greedy| greedy.depth),
            order: self.order,
            rate: self.rate.filter(|_| greedy.is_none()),
            seed: self.seed.wrapping_mul(0x1_0000_0001).wrapping_add(u64::from(index)),
            fast: self.fast,
            verify: self.verify,
            peer_id: peer_id(self.first.saturating_add(index)),
        }
    }
}

fn reasons(ended: &BTreeMap<String, u32>) -> String {
    ended.iter().map(|(reason, count)| format!("; {count} x {reason}")).collect()
}

/// Runs a blast on the calling thread, on a runtime of its own.
///
/// # Errors
/// See [`BlastError`]; a connection that fails while others go on is part of the report instead.
pub fn run(config: &BlastConfig) -> Result<BlastReport, BlastError> {
    check(config)?;
    let mut ring = tokio_uring::uring_builder();
    // Completions are only looked at by this thread, between its turns: no interrupts for them.
    ring.setup_coop_taskrun().setup_cqsize(RING_ENTRIES * 4);
    let mut builder = tokio_uring::builder();
    builder.entries(RING_ENTRIES).uring_builder(&ring);
    let runtime = tokio_uring::Runtime::new(&builder).map_err(BlastError::Ring)?;
    runtime.block_on(coordinate(config))
}

fn check(config: &BlastConfig) -> Result<(), BlastError> {
    let refuse = |text: String| Err(BlastError::Config(text));
    let greedy = config.greedy.unwrap_or(Greedy { connections: 1, depth: 1 });
    if config.connections == 0 || greedy.connections == 0 || config.all_connections() > CONNECTIONS_MAX {
        return refuse(format!("connections must be 1 to {CONNECTIONS_MAX}"));
    }
    if config.first > PEER_NUMBER_MAX - config.all_connections() {
        return refuse(format!("peers are numbered up to {PEER_NUMBER_MAX}"));
    }
    if [config.depth, greedy.depth].iter().any(|depth| !(1..=DEPTH_MAX).contains(depth)) {
        return refuse(format!("depth must be 1 to {DEPTH_MAX}"));
    }
    if !(READ_BUFFER_MIN..=READ_BUFFER_MAX).contains(&config.read_buffer) {
        return refuse(format!("the receive buffer must be {READ_BUFFER_MIN} to {READ_BUFFER_MAX} bytes"));
    }
    if config.targets.is_empty() {
        return refuse("at least one torrent is needed".into());
    }
    if config.verify && !config.targets.iter().all(Target::has_hashes) {
        return refuse("verification needs the torrent file".into());
    }
    if config.verify && config.order == Order::Blocks {
        return refuse("single blocks cannot be verified: pieces can".into());
    }
    if config.rate == Some(0) {
        return refuse("a rate of 0 never ends".into());
    }
    if config.spread_sources && !matches!(config.addr, SocketAddr::V4(a) if a.ip().is_loopback()) {
        return refuse("peers can only have addresses of their own towards 127.0.0.0/8".into());
    }
    Ok(())
}

/// Loopback source of peer `index`: 127.64.0.1 and up, never .0 or .255 in the last place.
pub(crate) fn source_of(index: u32) -> Ipv4Addr {
    let (high, low) = (index / 250, index % 250);
    Ipv4Addr::new(127, 64 + (high / 250) as u8, (high % 250) as u8, low as u8 + 1)
}

pub(crate) fn peer_id(index: u32) -> [u8; 20] {
    let mut id = *b"-RL0100-000000000000";
    for (place, digit) in id.iter_mut().rev().zip(format!("{index:08x}").bytes().rev()) {
        *place = digit;
    }
    id
}

async fn coordinate(config: &BlastConfig) -> Result<BlastReport, BlastError> {
    let board = Rc::new(Board::new());
    let targets: Vec<Rc<Target>> = config.targets.iter().cloned().map(Rc::new).collect();
    let mut slots = Vec::new();
    let mut tasks = Vec::new();
    for index in 0..config.all_connections() {
        let leech = Leech::new(targets[index as usize % targets.len()].clone(), config.leech(index));
        let slot = Rc::new(Slot::default());
        let source = config.spread_sources.then(|| source_of(config.first.saturating_add(index)));
        let task = connection::drive(config.wire(), source, leech, board.clone(), slot.clone());
        tasks.push(tokio_uring::spawn(task));
        slots.push(slot);
    }
    let result = measure(config, &board, &slots).await;
    for slot in &slots {
        if let Some(stream) = slot.stream.borrow().as_ref() {
            // The peer may be gone already.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
    for task in tasks {
        // A task can only end by its stream, which is shut down; it does not panic by itself.
        let _ = task.await;
    }
    result
}

/// A reading of everything at one moment.
struct Reading {
    at: Instant,
    per_connection: Vec<u64>,
    total: u64,
    seeder_cpu: Option<f64>,
    own_cpu: f64,
}

fn read_all(config: &BlastConfig, board: &Board, slots: &[Rc<Slot>]) -> Result<Reading, BlastError> {
    let seeder_cpu =
        config.seeder_pid.map(seeder_process::cpu_seconds).transpose().map_err(BlastError::Process)?;
    Ok(Reading {
        at: Instant::now(),
        per_connection: slots.iter().map(|slot| slot.tally.get().payload).collect(),
        total: board.payload.get(),
        seeder_cpu,
        own_cpu: affinity::own_cpu_seconds(),
    })
}

async fn measure(config: &BlastConfig, board: &Board, slots: &[Rc<Slot>]) -> Result<BlastReport, BlastError> {
    let all = config.all_connections();
    let everybody = || board.serving.get() + board.ended.get() >= all;
    // An elapsed ramp is not an error as long as somebody is served.
    let _ = tokio::time::timeout(config.ramp, until(board, everybody)).await;
    if board.serving.get() == 0 {
        return Err(BlastError::NotServed { seconds: config.ramp.as_secs(), ended: ended(slots) });
    }
    bytes(config, board, slots, config.warmup_bytes).await?;

    let served = board.serving.get();
    let before = read_all(config, board, slots)?;
    board.measuring.set(true);
    match config.window {
        Window::Bytes(count) => bytes(config, board, slots, count).await?,
        Window::Time(time) => {
            let nobody = || board.ended.get() >= all;
            if tokio::time::timeout(time, until(board, nobody)).await.is_ok() {
                return Err(BlastError::Stopped { ended: ended(slots) });
            }
        }
    }
    board.measuring.set(false);
    let after = read_all(config, board, slots)?;
    report(config, board, slots, served, &before, &after)
}

/// Waits until `done`, looking whenever a connection reports something.
async fn until(board: &Board, done: impl Fn() -> bool) {
    while !done() {
        board.changed.notified().await;
    }
}

/// Waits for `count` more payload bytes.
async fn bytes(
    config: &BlastConfig,
    board: &Board,
    slots: &[Rc<Slot>],
    count: u64,
) -> Result<(), BlastError> {
    let goal = board.payload.get().saturating_add(count);
    board.wake_at.set(goal);
    let done = || board.payload.get() >= goal || board.ended.get() >= config.all_connections();
    loop {
        let seen = board.payload.get();
        let waited = tokio::time::timeout(config.stall, until(board, done)).await;
        let stalled = waited.is_err() && board.payload.get() == seen;
        if stalled || (waited.is_ok() && board.payload.get() < goal) {
            return Err(BlastError::Stopped { ended: ended(slots) });
        }
        if waited.is_ok() {
            board.wake_at.set(u64::MAX);
            return Ok(());
        }
    }
}

fn ended(slots: &[Rc<Slot>]) -> BTreeMap<String, u32> {
    let mut reasons = BTreeMap::new();
    for slot in slots {
        if let Some(end) = slot.end.borrow().as_ref() {
            *reasons.entry(end.to_string()).or_insert(0) += 1;
        }
    }
    reasons
}

fn report(
    config: &BlastConfig,
    board: &Board,
    slots: &[Rc<Slot>],
    served: u32,
    before: &Reading,
    after: &Reading,
) -> Result<BlastReport, BlastError> {
    let bytes = after.total - before.total;
    let seconds = (after.at - before.at).as_secs_f64();
    let per_gb = |cpu: f64| if bytes > 0 { cpu / (bytes as f64 / 1e9) } else { 0.0 };
    let shares: Vec<u64> =
        after.per_connection.iter().zip(&before.per_connection).map(|(a, b)| a - b).collect();
    let seeder = match (config.seeder_pid, before.seeder_cpu, after.seeder_cpu) {
        (Some(pid), Some(from), Some(to)) => Some(Cost {
            pid,
            cpu_seconds: to - from,
            cpu_seconds_per_gb: per_gb(to - from),
            memory: seeder_process::memory(pid).map_err(BlastError::Process)?,
        }),
        _ => None,
    };
    let own = after.own_cpu - before.own_cpu;
    let mut totals = Totals::default();
    for tally in slots.iter().map(|slot| slot.tally.get()) {
        totals.blocks += tally.blocks;
        totals.stray_blocks += tally.stray_blocks;
        totals.chokes += tally.chokes;
        totals.rejects += tally.rejects;
        totals.pieces_ok += tally.pieces_ok;
        totals.pieces_bad += tally.pieces_bad;
    }
    let (ordinary, greedy) = shares.split_at(config.connections as usize);
    Ok(BlastReport {
        addr: config.addr.to_string(),
        connections: config.connections,
        served,
        depth: config.depth,
        warmup_bytes: before.total,
        bytes,
        seconds,
        mb_per_s: if seconds > 0.0 { bytes as f64 / 1e6 / seconds } else { 0.0 },
        per_connection: Spread::of(ordinary),
        greedy: config.greedy.map(|_| Spread::of(greedy)),
        request_latency_us: board.latency.borrow().quantiles(),
        seeder,
        load: LoadCost { cpu_seconds: own, cpu_seconds_per_gb: per_gb(own) },
        totals,
        ended: ended(slots),
    })
}
