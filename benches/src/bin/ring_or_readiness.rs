//! Ring or readiness: the same bare sender over io_uring and over `epoll`, under the same load, interleaved.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand, ValueEnum};
use ringseed_benches::{
    data::TestTorrent,
    exit_code,
    floor::{self, Floor},
    load::{Load, LoadReport},
    ports::free_address,
    results::{Measurement, Results},
    seeder::offers_everything,
};

const CPU: &str = "CPU s/GB";
const RATE: &str = "MB/s";
const RATIO: &str = "CPU, over that of epoll";

/// Measures what the ring is worth: CPU time of a bare sender with io_uring and with epoll.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    plan: Plan,
}

/// Parts that run as processes of their own.
#[derive(Debug, Subcommand)]
enum Part {
    /// One bare sender
    #[command(hide = true)]
    Serve { path: Way, file: PathBuf, piece_length: u32, port: u16, gather: usize },
}

/// How the sender learns what it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// Completions of io_uring
    Ring,
    /// Readiness by epoll
    Epoll,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Ring => "ring",
            Way::Epoll => "epoll",
        }
    }
}

#[derive(Debug, clap::Args)]
struct Plan {
    /// Directory for the generated torrent (kept)
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// Numbers of peers
    #[arg(long, value_delimiter = ',', default_value = "8,50,500")]
    connections: Vec<u32>,
    /// Requests in flight per peer
    #[arg(long, value_delimiter = ',', default_value = "40,5")]
    depth: Vec<u32>,
    /// Most blocks in one send
    #[arg(long, value_delimiter = ',', default_value = "16,1")]
    gather: Vec<usize>,
    /// Runs per sender and case; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// GB measured per run
    #[arg(long, default_value_t = 4.0)]
    gb: f64,
    /// MiB of the torrent
    #[arg(long, default_value_t = 1024)]
    torrent_mib: u64,
    /// Core of the sender
    #[arg(long, default_value_t = 0)]
    seeder_cpu: usize,
    /// Core of the load
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.part {
        Some(Part::Serve { path, file, piece_length, port, gather }) => {
            serve(path, &file, piece_length, port, gather)
        }
        None => run(&cli.plan),
    };
    exit_code(outcome)
}

fn serve(path: Way, file: &Path, piece_length: u32, port: u16, gather: usize) -> Result<(), Box<dyn Error>> {
    let gather = gather.clamp(1, floor::BLOCKS_PER_SEND_MAX);
    let floor = Floor { map: floor::map_file(file)?, piece_length, gather };
    let listener = floor::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), 1024)?;
    match path {
        Way::Ring => Ok(floor.serve(&listener)?),
        Way::Epoll => Ok(floor.serve_by_readiness(&listener)?),
    }
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let torrent = TestTorrent::prepare(&plan.dir, plan.torrent_mib << 20, 1 << 20)?;
    torrent.warm()?;
    let ways = [Way::Ring, Way::Epoll];
    let mut results = Results::new("ring_or_readiness");
    for &gather in &plan.gather {
        for &depth in &plan.depth {
            for &connections in &plan.connections {
                let case = format!("{gather} blocks per send, depth {depth}, {connections} peers");
                let mut measured: [Vec<LoadReport>; 2] = Default::default();
                for _ in 0..plan.runs {
                    for (way, reports) in ways.iter().zip(&mut measured) {
                        reports.push(measure(plan, &torrent, *way, gather, depth, connections)?);
                    }
                }
                let cpu = |reports: &[LoadReport]| -> Vec<f64> {
                    reports.iter().map(|report| report.seeder.cpu_seconds_per_gb).collect()
                };
                for (way, reports) in ways.iter().zip(&measured) {
                    let rates = reports.iter().map(|report| report.mb_per_s).collect();
                    let all = &mut results.measurements;
                    all.push(Measurement::new(way.name(), &case, CPU, cpu(reports)));
                    all.push(Measurement::new(way.name(), &case, RATE, rates));
                }
                // Pair by pair: the two of a pair ran one after the other.
                let ratios = cpu(&measured[0]).iter().zip(cpu(&measured[1])).map(|(a, b)| a / b).collect();
                results.measurements.push(Measurement::new("ring", &case, RATIO, ratios));
                eprintln!("{case}: {:.3}", results.median("ring", &case, RATIO));
            }
        }
    }
    Ok(results.conclude(&plan.results)?)
}

/// A sender; dropped, it is killed.
struct Sender(Child);

impl Drop for Sender {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(
    plan: &Plan,
    torrent: &TestTorrent,
    way: Way,
    gather: usize,
    depth: u32,
    connections: u32,
) -> Result<LoadReport, Box<dyn Error>> {
    let addr = free_address()?;
    let mut command = Command::new("taskset");
    command.args(["-c", &plan.seeder_cpu.to_string()]).arg(std::env::current_exe()?);
    command.args(["serve", way.name()]).arg(torrent.file()).arg(torrent.piece_length.to_string());
    command.args([addr.port().to_string(), gather.to_string()]).stdin(Stdio::null());
    let sender = Sender(command.spawn()?);
    let pieces = torrent.total.div_ceil(u64::from(torrent.piece_length)) as u32;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !offers_everything(addr, &torrent.info_hash, pieces).unwrap_or(false) {
        if Instant::now() > deadline {
            return Err(format!("the sender ({}) does not answer", way.name()).into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let load = Load {
        torrent,
        addr,
        seeder_pid: sender.0.id(),
        connections,
        depth,
        bytes: (plan.gb * 1e9) as u64,
        warmup: (plan.gb * 0.25e9) as u64,
        cpu: Some(plan.load_cpu),
        more: Vec::new(),
    };
    load.run()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }
}
