//! Flags of each scenario; also used by benchmark programs that run a scenario in a process of their own.

mod scenario;
mod tools;

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
pub use scenario::{ChaosArgs, RunArgs, SoakArgs, SwarmArgs, TrackerArgs, overlay};
pub use tools::ToolArgs;

use ringseed_proto::metainfo::Metainfo;

use crate::{
    blast::{BlastConfig, Greedy, Order, Target, Window},
    idle::IdleConfig,
    quantity::Bytes,
    seeder::Maker,
};

/// Which torrents of which seeder, when one runs already.
#[derive(Debug, Clone, Args)]
pub struct SeederArgs {
    /// Torrent file, or directory of torrent files; may be repeated, peers are spread evenly
    #[arg(long, value_name = "PATH", requires = "addr")]
    pub torrent: Vec<PathBuf>,
    /// A seeder that runs already; without one, the scenario starts its own
    #[arg(long, value_name = "HOST:PORT", requires = "torrent")]
    pub addr: Option<String>,
}

/// Peers when nobody says how many.
const CONNECTIONS: u32 = 50;
/// Requests in flight when nobody says how many.
const DEPTH: u32 = 40;

/// What peers ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OrderArg {
    /// Whole pieces in random order
    Pieces,
    /// Random blocks of random pieces
    Blocks,
}

/// Flags of `blast`.
#[derive(Debug, Clone, Args)]
pub struct BlastArgs {
    /// Scenario of a comparison: a file, or the name of a shipped one [default: blast]
    #[arg(conflicts_with = "addr")]
    pub scenario: Option<PathBuf>,
    /// Who seeds; repeat it or separate names by commas to compare several with the first
    #[arg(long = "seeder", value_name = "MAKE", value_delimiter = ',', conflicts_with = "addr")]
    pub makers: Vec<Maker>,
    /// Runs of each seeder
    #[arg(long, conflicts_with = "addr")]
    pub runs: Option<u32>,
    /// Size of the torrent that is seeded
    #[arg(long, conflicts_with = "addr")]
    pub size: Option<Bytes>,
    /// Core of the seeder
    #[arg(long, value_name = "CORE", conflicts_with = "addr")]
    pub seeder_cpu: Option<usize>,
    /// Any key of the scenario
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "addr")]
    pub set: Vec<String>,
    /// The seeder and its torrents
    #[command(flatten)]
    pub seeder: SeederArgs,
    /// Number of peers [default: 50]
    #[arg(long, short = 'c')]
    pub connections: Option<u32>,
    /// Requests in flight per peer [default: 40]
    #[arg(long, short = 'd')]
    pub depth: Option<u32>,
    /// Further peers that ask for more, reported apart
    #[arg(long, value_name = "PEERS", default_value_t = 0, requires = "addr")]
    pub greedy: u32,
    /// Requests in flight per greedy peer
    #[arg(long, value_name = "REQUESTS", default_value_t = 2000, requires = "addr")]
    pub greedy_depth: u32,
    /// Measure until this much payload has arrived
    #[arg(long, conflicts_with = "seconds")]
    pub bytes: Option<Bytes>,
    /// Measure for this long (10 s when neither is given)
    #[arg(long, requires = "addr")]
    pub seconds: Option<f64>,
    /// Payload to let pass before measuring [default: 0]
    #[arg(long, value_name = "BYTES")]
    pub warmup: Option<Bytes>,
    /// Longest wait until all peers are served
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, requires = "addr")]
    pub ramp: f64,
    /// Give up after this long without a byte
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, requires = "addr")]
    pub stall: f64,
    /// What peers ask for
    #[arg(long, value_enum, default_value_t = OrderArg::Pieces, requires = "addr")]
    pub order: OrderArg,
    /// Bytes per second that each peer asks for (default: as many as it gets)
    #[arg(long, value_name = "BYTES", requires = "addr")]
    pub rate: Option<u64>,
    /// Seed of the order of pieces
    #[arg(long, default_value_t = 1, requires = "addr")]
    pub seed: u64,
    /// Number of the first peer, so that peers of other loads have other names and addresses
    #[arg(long, default_value_t = 0, requires = "addr")]
    pub first: u32,
    /// Do not announce the Fast extension
    #[arg(long, requires = "addr")]
    pub no_fast: bool,
    /// Check the SHA-1 of every piece
    #[arg(long)]
    pub verify: bool,
    /// Give every peer a loopback address of its own
    #[arg(long, requires = "addr")]
    pub spread_sources: bool,
    /// Receive buffer per peer
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024, requires = "addr")]
    pub read_buffer: usize,
    /// Run on this core
    #[arg(long, value_name = "CORE")]
    pub cpu: Option<usize>,
    /// Measure the CPU time and memory of this process
    #[arg(long, value_name = "PID", requires = "addr")]
    pub seeder_pid: Option<u32>,
    /// Print what was measured at `--addr` as JSON
    #[arg(long, requires = "addr")]
    pub json: bool,
}

impl BlastArgs {
    /// The scenario these flags describe.
    ///
    /// # Errors
    /// A message for the user: what is wrong with which flag.
    pub fn config(&self) -> Result<BlastConfig, String> {
        let window = match (self.bytes, self.seconds) {
            (Some(bytes), _) => Window::Bytes(bytes.0),
            (None, seconds) => Window::Time(duration("--seconds", seconds.unwrap_or(10.0))?),
        };
        Ok(BlastConfig {
            addr: self.seeder.resolve()?,
            targets: read_targets(&self.seeder.torrent)?,
            connections: self.connections.unwrap_or(CONNECTIONS),
            depth: self.depth.unwrap_or(DEPTH),
            greedy: (self.greedy > 0)
                .then_some(Greedy { connections: self.greedy, depth: self.greedy_depth }),
            window,
            warmup_bytes: self.warmup.unwrap_or_default().0,
            ramp: duration("--ramp", self.ramp)?,
            stall: duration("--stall", self.stall)?,
            order: match self.order {
                OrderArg::Pieces => Order::Pieces,
                OrderArg::Blocks => Order::Blocks,
            },
            rate: self.rate,
            seed: self.seed,
            first: self.first,
            fast: !self.no_fast,
            verify: self.verify,
            spread_sources: self.spread_sources,
            read_buffer: self.read_buffer,
            seeder_pid: self.seeder_pid,
        })
    }
}

/// Flags of `idle`.
#[derive(Debug, Clone, Args)]
pub struct IdleArgs {
    /// Scenario with a seeder of its own: a file, or the name of a shipped one [default: idle]
    #[arg(conflicts_with = "addr")]
    pub scenario: Option<PathBuf>,
    /// Who seeds
    #[arg(long = "seeder", value_name = "MAKE", conflicts_with = "addr")]
    pub maker: Option<Maker>,
    /// How long the peers stay
    #[arg(long, value_name = "SECONDS", conflicts_with = "addr")]
    pub hold: Option<f64>,
    /// Any key of the scenario
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "addr")]
    pub set: Vec<String>,
    /// The seeder and its torrents; the peers stay until standard input ends
    #[command(flatten)]
    pub seeder: SeederArgs,
    /// Number of peers [default: 1000]
    #[arg(long, short = 'c')]
    pub connections: Option<u32>,
    /// Number of the first peer, so that peers of other scenarios have other addresses
    #[arg(long, default_value_t = 100_000, requires = "addr")]
    pub first: u32,
    /// Longest wait until all peers are greeted
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, requires = "addr")]
    pub ramp: f64,
    /// Give every peer a loopback address of its own
    #[arg(long, requires = "addr")]
    pub spread_sources: bool,
    /// Run on this core
    #[arg(long, value_name = "CORE")]
    pub cpu: Option<usize>,
}

impl IdleArgs {
    /// The scenario these flags describe.
    ///
    /// # Errors
    /// A message for the user: what is wrong with which flag.
    pub fn config(&self) -> Result<IdleConfig, String> {
        Ok(IdleConfig {
            addr: self.seeder.resolve()?,
            targets: read_targets(&self.seeder.torrent)?,
            connections: self.connections.unwrap_or(1000),
            first: self.first,
            spread_sources: self.spread_sources,
            ramp: duration("--ramp", self.ramp)?,
        })
    }
}

fn duration(flag: &str, seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|e| format!("{flag}: {e}"))
}

impl SeederArgs {
    fn resolve(&self) -> Result<SocketAddr, String> {
        let addr = self.addr.as_deref().ok_or("--addr is needed")?;
        let mut found = addr.to_socket_addrs().map_err(|e| format!("--addr {addr}: {e}"))?;
        found.next().ok_or_else(|| format!("--addr {addr}: no address"))
    }
}

/// The torrents of files and directories; those of a directory in the order of their names.
fn read_targets(paths: &[PathBuf]) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    for path in paths {
        if !path.is_dir() {
            targets.push(read_target(path)?);
            continue;
        }
        let complain = |e: std::io::Error| format!("--torrent {}: {e}", path.display());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(complain)? {
            files.push(entry.map_err(complain)?.path());
        }
        files.retain(|file| file.extension().is_some_and(|extension| extension == "torrent"));
        files.sort_unstable();
        for file in files {
            targets.push(read_target(&file)?);
        }
    }
    if targets.is_empty() {
        return Err("--torrent: there is no torrent file".into());
    }
    Ok(targets)
}

fn read_target(path: &Path) -> Result<Target, String> {
    let complain = |e: &dyn std::fmt::Display| format!("--torrent {}: {e}", path.display());
    let bytes = std::fs::read(path).map_err(|e| complain(&e))?;
    let metainfo = Metainfo::parse(&bytes).map_err(|e| complain(&e))?;
    let info = &metainfo.info;
    let hashes = info.piece_hashes().to_vec();
    Target::new(
        metainfo.hashes.swarm_hash().0,
        info.layout.piece_length,
        info.layout.total_length,
        Some(hashes),
    )
    .map_err(|e| complain(&e))
}
