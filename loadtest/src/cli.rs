//! Flags of each scenario; also used by benchmark programs that run a scenario in a process of their own.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};

use ringseed_proto::metainfo::Metainfo;

use crate::{
    blast::{BlastConfig, Greedy, Order, Target, Window},
    idle::IdleConfig,
};

/// Which torrents of which seeder.
#[derive(Debug, Clone, Args)]
pub struct SeederArgs {
    /// Torrent file, or directory of torrent files; may be repeated, peers are spread evenly
    #[arg(long, value_name = "PATH", required = true)]
    pub torrent: Vec<PathBuf>,
    /// The seeder
    #[arg(long, value_name = "HOST:PORT")]
    pub addr: String,
}

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
    /// The seeder and its torrents
    #[command(flatten)]
    pub seeder: SeederArgs,
    /// Number of peers
    #[arg(long, short = 'c', default_value_t = 50)]
    pub connections: u32,
    /// Requests in flight per peer
    #[arg(long, short = 'd', default_value_t = 40)]
    pub depth: u32,
    /// Further peers that ask for more, reported apart
    #[arg(long, value_name = "PEERS", default_value_t = 0)]
    pub greedy: u32,
    /// Requests in flight per greedy peer
    #[arg(long, value_name = "REQUESTS", default_value_t = 2000)]
    pub greedy_depth: u32,
    /// Measure until this much payload has arrived
    #[arg(long, conflicts_with = "seconds")]
    pub bytes: Option<u64>,
    /// Measure for this long (10 s when neither is given)
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Payload to let pass before measuring
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub warmup: u64,
    /// Longest wait until all peers are served
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub ramp: f64,
    /// Give up after this long without a byte
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub stall: f64,
    /// What peers ask for
    #[arg(long, value_enum, default_value_t = OrderArg::Pieces)]
    pub order: OrderArg,
    /// Bytes per second that each peer asks for (default: as many as it gets)
    #[arg(long, value_name = "BYTES")]
    pub rate: Option<u64>,
    /// Seed of the order of pieces
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Number of the first peer, so that peers of other loads have other names and addresses
    #[arg(long, default_value_t = 0)]
    pub first: u32,
    /// Do not announce the Fast extension
    #[arg(long)]
    pub no_fast: bool,
    /// Check the SHA-1 of every piece
    #[arg(long)]
    pub verify: bool,
    /// Give every peer a loopback address of its own
    #[arg(long)]
    pub spread_sources: bool,
    /// Receive buffer per peer
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    pub read_buffer: usize,
    /// Run on this core
    #[arg(long, value_name = "CORE")]
    pub cpu: Option<usize>,
    /// Measure the CPU time and memory of this process
    #[arg(long, value_name = "PID")]
    pub seeder_pid: Option<u32>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

impl BlastArgs {
    /// The scenario these flags describe.
    ///
    /// # Errors
    /// A message for the user: what is wrong with which flag.
    pub fn config(&self) -> Result<BlastConfig, String> {
        let window = match (self.bytes, self.seconds) {
            (Some(bytes), _) => Window::Bytes(bytes),
            (None, seconds) => Window::Time(duration("--seconds", seconds.unwrap_or(10.0))?),
        };
        Ok(BlastConfig {
            addr: resolve(&self.seeder.addr)?,
            targets: read_targets(&self.seeder.torrent)?,
            connections: self.connections,
            depth: self.depth,
            greedy: (self.greedy > 0)
                .then_some(Greedy { connections: self.greedy, depth: self.greedy_depth }),
            window,
            warmup_bytes: self.warmup,
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
    /// The seeder and its torrents
    #[command(flatten)]
    pub seeder: SeederArgs,
    /// Number of peers
    #[arg(long, short = 'c', default_value_t = 1000)]
    pub connections: u32,
    /// Number of the first peer, so that peers of other scenarios have other addresses
    #[arg(long, default_value_t = 100_000)]
    pub first: u32,
    /// Longest wait until all peers are greeted
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    pub ramp: f64,
    /// Give every peer a loopback address of its own
    #[arg(long)]
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
            addr: resolve(&self.seeder.addr)?,
            targets: read_targets(&self.seeder.torrent)?,
            connections: self.connections,
            first: self.first,
            spread_sources: self.spread_sources,
            ramp: duration("--ramp", self.ramp)?,
        })
    }
}

fn duration(flag: &str, seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|e| format!("{flag}: {e}"))
}

fn resolve(addr: &str) -> Result<SocketAddr, String> {
    let mut found = addr.to_socket_addrs().map_err(|e| format!("--addr {addr}: {e}"))?;
    found.next().ok_or_else(|| format!("--addr {addr}: no address"))
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
    Target::new(metainfo.info_hash.0, info.layout.piece_length, info.layout.total_length, Some(hashes))
        .map_err(|e| complain(&e))
}
