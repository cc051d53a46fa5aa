//! Flags of each scenario; also used by benchmark programs that run a scenario in a process of their own.

mod scenario;
mod tools;

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::{Duration, TryFromFloatSecsError},
};

use clap::{Args, ValueEnum};
pub use scenario::{ChaosArgs, OverlayError, RunArgs, SoakArgs, SwarmArgs, TrackerArgs, overlay};
pub use tools::ToolArgs;

use ringseed_proto::metainfo::{Metainfo, MetainfoError};

use crate::{
    blast::{BlastConfig, Greedy, Order, Target, TargetError, Window},
    idle::IdleConfig,
    quantity::Bytes,
    seeder::Maker,
};

/// The seeder that already runs, and its torrents.
#[derive(Debug, Clone, Args)]
pub struct SeederArgs {
    /// Torrent file, or directory of torrent files; may be repeated. Peers are distributed evenly
    #[arg(long, value_name = "PATH", requires = "addr")]
    pub torrent: Vec<PathBuf>,
    /// Address of a running seeder [default: the scenario starts one]
    #[arg(long, value_name = "HOST:PORT", requires = "torrent")]
    pub addr: Option<String>,
}

/// Default number of peers.
const CONNECTIONS: u32 = 50;
/// Default number of requests in flight.
const DEPTH: u32 = 40;

/// What peers request.
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
    /// Scenario of a comparison: a file, or the name of a shipped scenario [default: blast]
    #[arg(conflicts_with = "addr")]
    pub scenario: Option<PathBuf>,
    /// Seeding client. Repeat it, or separate names by commas, to compare several with the first
    #[arg(long = "seeder", value_name = "MAKE", value_delimiter = ',', conflicts_with = "addr")]
    pub makers: Vec<Maker>,
    /// Runs of each seeder
    #[arg(long, conflicts_with = "addr")]
    pub runs: Option<u32>,
    /// Size of the seeded torrent
    #[arg(long, conflicts_with = "addr")]
    pub size: Option<Bytes>,
    /// Core of the seeder
    #[arg(long, value_name = "CORE", conflicts_with = "addr")]
    pub seeder_cpu: Option<usize>,
    /// Set any key of the scenario
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
    /// Additional greedy peers, reported separately
    #[arg(long, value_name = "PEERS", default_value_t = 0, requires = "addr")]
    pub greedy: u32,
    /// Requests in flight per greedy peer
    #[arg(long, value_name = "REQUESTS", default_value_t = 2000, requires = "addr")]
    pub greedy_depth: u32,
    /// Measure until this much payload was received
    #[arg(long, conflicts_with = "seconds")]
    pub bytes: Option<Bytes>,
    /// Measure for this time [default: 10 s without a byte limit]
    #[arg(long, requires = "addr")]
    pub seconds: Option<f64>,
    /// Payload to receive before measuring [default: 0]
    #[arg(long, value_name = "BYTES")]
    pub warmup: Option<Bytes>,
    /// Maximum wait until all peers are served
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, requires = "addr")]
    pub ramp: f64,
    /// Abort after this time without a byte
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, requires = "addr")]
    pub stall: f64,
    /// What peers request
    #[arg(long, value_enum, default_value_t = OrderArg::Pieces, requires = "addr")]
    pub order: OrderArg,
    /// Bytes per second that each peer requests [default: unlimited]
    #[arg(long, value_name = "BYTES", requires = "addr")]
    pub rate: Option<u64>,
    /// Seed of the order of pieces
    #[arg(long, default_value_t = 1, requires = "addr")]
    pub seed: u64,
    /// Number of the first peer, to separate names and addresses from those of other loads
    #[arg(long, default_value_t = 0, requires = "addr")]
    pub first: u32,
    /// Do not announce the Fast extension
    #[arg(long, requires = "addr")]
    pub no_fast: bool,
    /// Check the SHA-1 of every piece
    #[arg(long)]
    pub verify: bool,
    /// Give every peer its own loopback address
    #[arg(long, requires = "addr")]
    pub spread_sources: bool,
    /// Receive buffer per peer
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024, requires = "addr")]
    pub read_buffer: usize,
    /// Encrypt with RC4
    #[arg(long, requires = "addr")]
    pub rc4: bool,
    /// Run on this core
    #[arg(long, value_name = "CORE")]
    pub cpu: Option<usize>,
    /// Measure the CPU time and memory of this process
    #[arg(long, value_name = "PID", requires = "addr")]
    pub seeder_pid: Option<u32>,
    /// Print the measurement at `--addr` as JSON
    #[arg(long, requires = "addr")]
    pub json: bool,
}

impl BlastArgs {
    /// The scenario these flags describe.
    ///
    /// # Errors
    /// What is wrong with which flag.
    pub fn config(&self) -> Result<BlastConfig, FlagError> {
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
            rc4: self.rc4,
            seeder_pid: self.seeder_pid,
        })
    }
}

/// Flags of `idle`.
#[derive(Debug, Clone, Args)]
pub struct IdleArgs {
    /// Scenario that starts a seeder: a file, or the name of a shipped scenario [default: idle]
    #[arg(conflicts_with = "addr")]
    pub scenario: Option<PathBuf>,
    /// Seeding client
    #[arg(long = "seeder", value_name = "MAKE", conflicts_with = "addr")]
    pub maker: Option<Maker>,
    /// Time that the peers stay
    #[arg(long, value_name = "SECONDS", conflicts_with = "addr")]
    pub hold: Option<f64>,
    /// Set any key of the scenario
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "addr")]
    pub set: Vec<String>,
    /// The seeder and its torrents. The peers stay until standard input ends
    #[command(flatten)]
    pub seeder: SeederArgs,
    /// Number of peers [default: 1000]
    #[arg(long, short = 'c')]
    pub connections: Option<u32>,
    /// Number of the first peer, to separate addresses from those of other scenarios
    #[arg(long, default_value_t = 100_000, requires = "addr")]
    pub first: u32,
    /// Maximum wait until all handshakes are complete
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, requires = "addr")]
    pub ramp: f64,
    /// Give every peer its own loopback address
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
    /// What is wrong with which flag.
    pub fn config(&self) -> Result<IdleConfig, FlagError> {
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

/// What is wrong with which flag.
#[derive(Debug, thiserror::Error)]
pub enum FlagError {
    /// A time that there is not.
    #[error("{flag}: {error}")]
    Time {
        /// The flag.
        flag: &'static str,
        /// Why it is no time.
        error: TryFromFloatSecsError,
    },
    /// Nobody to load is named.
    #[error("--addr is needed")]
    NoAddress,
    /// The name of who is to be loaded cannot be resolved.
    #[error("--addr {addr}: {error}")]
    Resolve {
        /// The name.
        addr: String,
        /// What the resolver says.
        error: io::Error,
    },
    /// It has no address.
    #[error("--addr {0}: no address")]
    Unresolved(String),
    /// A torrent file cannot be read.
    #[error("--torrent {}: {error}", .path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is not a torrent file.
    #[error("--torrent {}: {error}", .path.display())]
    Metainfo {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        error: MetainfoError,
    },
    /// Its pieces cannot be asked for.
    #[error("--torrent {}: {error}", .path.display())]
    Target {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: TargetError,
    },
    /// There is nothing to ask for.
    #[error("--torrent: there is no torrent file")]
    NoTorrent,
}

fn duration(flag: &'static str, seconds: f64) -> Result<Duration, FlagError> {
    Duration::try_from_secs_f64(seconds).map_err(|error| FlagError::Time { flag, error })
}

impl SeederArgs {
    fn resolve(&self) -> Result<SocketAddr, FlagError> {
        let addr = self.addr.as_deref().ok_or(FlagError::NoAddress)?;
        let mut found =
            addr.to_socket_addrs().map_err(|error| FlagError::Resolve { addr: addr.to_owned(), error })?;
        found.next().ok_or_else(|| FlagError::Unresolved(addr.to_owned()))
    }
}

/// The torrents of files and directories; those of a directory in the order of their names.
fn read_targets(paths: &[PathBuf]) -> Result<Vec<Target>, FlagError> {
    let mut targets = Vec::new();
    for path in paths {
        if !path.is_dir() {
            targets.push(read_target(path)?);
            continue;
        }
        let complain = |error: io::Error| FlagError::Unreadable { path: path.clone(), error };
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
        return Err(FlagError::NoTorrent);
    }
    Ok(targets)
}

fn read_target(path: &Path) -> Result<Target, FlagError> {
    let at = || path.to_path_buf();
    let bytes = std::fs::read(path).map_err(|error| FlagError::Unreadable { path: at(), error })?;
    let metainfo = Metainfo::parse(&bytes).map_err(|error| FlagError::Metainfo { path: at(), error })?;
    let info = &metainfo.info;
    let hashes = info.piece_hashes().to_vec();
    Target::new(
        metainfo.hashes.swarm_hash().0,
        info.layout.piece_length,
        info.layout.total_length,
        Some(hashes),
    )
    .map_err(|error| FlagError::Target { path: at(), error })
}
