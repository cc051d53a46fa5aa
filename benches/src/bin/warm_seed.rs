//! Warm seed: CPU seconds per GB and MB/s of the bare floor, Ringseed and rivals, in one run, pinned, interleaved.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use ringseed_benches::{
    data::TestTorrent,
    exit_code,
    floor::{self, Floor},
    load::{Load, LoadReport},
    results::{Measurement, Results, Target, Wanted},
    seeder::{Launch, Seeder},
};

/// Most that Ringseed may cost, as a multiple of the floor, at 40 requests in flight and at 5.
const FLOOR_DEEP: f64 = 1.25;
const FLOOR_SHALLOW: f64 = 1.6;
/// Depths below this count as shallow.
const SHALLOW: u32 = 16;
/// Most that Ringseed may cost, as a part of rTorrent's cost at 40 requests in flight.
const RTORRENT: f64 = 0.40;

const CPU: &str = "CPU s/GB";
const RATE: &str = "MB/s";
const FAIR: &str = "fairness";
const LOAD: &str = "load CPU s/GB";

/// Measures what sending a warm torrent costs: bare floor, Ringseed, rivals.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    plan: Plan,
}

/// Parts that the benchmark runs as processes of their own.
#[derive(Debug, Subcommand)]
enum Part {
    /// The bare ring sender
    #[command(hide = true)]
    Floor {
        file: PathBuf,
        piece_length: u32,
        port: u16,
        #[arg(long, default_value_t = floor::BLOCKS_PER_SEND)]
        gather: usize,
    },
}

#[derive(Debug, Args)]
struct Plan {
    /// Directory for the generated torrents and the seeders' state (kept; on tmpfs or a real file system)
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// Seeders to measure; floor and ringseed always come first in the ratios
    #[arg(long, value_delimiter = ',', default_value = "floor,ringseed,libtorrent")]
    seeders: Vec<Seeder>,
    /// Further seeders
    #[arg(long, value_name = "SEEDER")]
    rival: Vec<Seeder>,
    /// Numbers of peers
    #[arg(long, value_delimiter = ',', default_value = "8,50")]
    connections: Vec<u32>,
    /// Requests in flight per peer
    #[arg(long, value_delimiter = ',', default_value = "40")]
    depth: Vec<u32>,
    /// Runs per seeder and case; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// GB measured per run
    #[arg(long, default_value_t = 8.0)]
    gb: f64,
    /// GB before the measurement of each run
    #[arg(long, default_value_t = 2.0)]
    warmup_gb: f64,
    /// MiB of the torrent
    #[arg(long, default_value_t = 2048)]
    torrent_mib: u64,
    /// KiB per piece
    #[arg(long, value_delimiter = ',', default_value = "1024")]
    piece_kib: Vec<u32>,
    /// Receive buffer per peer of the load, bytes: a smaller one also sends its requests in smaller batches
    #[arg(long, default_value_t = 256 * 1024)]
    read_buffer: usize,
    /// Core of the seeder
    #[arg(long, default_value_t = 0)]
    seeder_cpu: usize,
    /// Core of the load
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// The ringseed binary; by default beside this program
    #[arg(long, env = "RINGSEED_BIN")]
    ringseed: Option<PathBuf>,
    /// Its arguments
    #[arg(
        long,
        default_value = "seed {torrent} --data {data} --port {port} --shards 1",
        allow_hyphen_values = true
    )]
    ringseed_args: String,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

/// One condition under which all seeders are measured.
#[derive(Debug, Clone, Copy)]
struct Case {
    piece_kib: u32,
    depth: u32,
    connections: u32,
}

impl Case {
    fn name(self) -> String {
        format!("{} KiB pieces, depth {}, {} peers", self.piece_kib, self.depth, self.connections)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.part {
        Some(Part::Floor { file, piece_length, port, gather }) => {
            run_floor(&file, piece_length, port, gather)
        }
        None => run_plan(&cli.plan),
    };
    exit_code(outcome)
}

fn run_floor(
    file: &std::path::Path,
    piece_length: u32,
    port: u16,
    gather: usize,
) -> Result<(), Box<dyn Error>> {
    let gather = gather.clamp(1, floor::BLOCKS_PER_SEND);
    let floor = Floor { map: floor::map_file(file)?, piece_length, gather };
    let listener = floor::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), 1024)?;
    Ok(floor.serve(&listener)?)
}

impl Plan {
    fn seeders(&self) -> Vec<Seeder> {
        let mut seeders = self.seeders.clone();
        seeders.extend(self.rival.iter().filter(|rival| !self.seeders.contains(rival)));
        seeders
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &piece_kib in &self.piece_kib {
            for &depth in &self.depth {
                cases.extend(self.connections.iter().map(|&connections| Case {
                    piece_kib,
                    depth,
                    connections,
                }));
            }
        }
        cases
    }
}

fn run_plan(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let seeders = plan.seeders();
    let launch =
        Launch::new(&plan.seeder_cpu.to_string(), &plan.dir, plan.ringseed.as_deref(), &plan.ringseed_args)?;
    let mut results = Results::new("warm_seed");
    for seeder in &seeders {
        let version = seeder.version(&launch).ok_or_else(|| format!("{} is not installed", seeder.name()))?;
        results.versions.insert(seeder.name().into(), version);
    }
    for case in plan.cases() {
        let torrent = TestTorrent::prepare(&plan.dir, plan.torrent_mib << 20, case.piece_kib << 10)?;
        torrent.warm()?;
        let mut measured: Vec<Vec<LoadReport>> = vec![Vec::new(); seeders.len()];
        for run in 1..=plan.runs {
            for (seeder, reports) in seeders.iter().zip(&mut measured) {
                let report = measure(plan, &launch, &torrent, *seeder, case)
                    .map_err(|error| format!("{}, {}: {error}", seeder.name(), case.name()))?;
                eprintln!(
                    "{}, run {run}: {:<10} {:.3} CPU s/GB, {:.0} MB/s",
                    case.name(),
                    seeder.name(),
                    report.seeder.cpu_seconds_per_gb,
                    report.mb_per_s
                );
                reports.push(report);
            }
        }
        for (seeder, reports) in seeders.iter().zip(&measured) {
            results.measurements.extend(summary(*seeder, case, reports));
        }
        results.targets.extend(targets(&results, case));
    }
    Ok(results.conclude(&plan.results)?)
}

/// One run: a fresh seeder, a fresh load.
fn measure(
    plan: &Plan,
    launch: &Launch,
    torrent: &TestTorrent,
    seeder: Seeder,
    case: Case,
) -> Result<LoadReport, Box<dyn Error>> {
    let running = seeder.start(torrent, launch)?;
    let bytes = |gb: f64| (gb * 1e9) as u64;
    let load = Load {
        torrent,
        addr: running.addr,
        seeder_pid: running.pid(),
        connections: case.connections,
        depth: case.depth,
        bytes: bytes(plan.gb),
        warmup: bytes(plan.warmup_gb),
        cpu: Some(plan.load_cpu),
        more: vec!["--read-buffer".into(), plan.read_buffer.to_string()],
    };
    load.run()
}

fn summary(seeder: Seeder, case: Case, runs: &[LoadReport]) -> [Measurement; 4] {
    let all = |what, value: fn(&LoadReport) -> f64| {
        Measurement::new(seeder.name(), &case.name(), what, runs.iter().map(value).collect())
    };
    [
        all(CPU, |r| r.seeder.cpu_seconds_per_gb),
        all(RATE, |r| r.mb_per_s),
        all(FAIR, |r| r.per_connection.jain),
        all(LOAD, |r| r.load.cpu_seconds_per_gb),
    ]
}

/// What is wanted of Ringseed in this case, as far as those it is compared with were measured.
fn targets(results: &Results, case: Case) -> Vec<Target> {
    let name = case.name();
    let ringseed = results.median(Seeder::Ringseed.name(), &name, CPU);
    let bounds: &[_] = match case.depth {
        ..SHALLOW => &[(Seeder::Floor, FLOOR_SHALLOW)],
        _ => &[(Seeder::Floor, FLOOR_DEEP), (Seeder::Rtorrent, RTORRENT)],
    };
    bounds
        .iter()
        .copied()
        .map(|(other, bound)| (other, bound, ringseed / results.median(other.name(), &name, CPU)))
        .filter(|(.., ratio)| !ratio.is_nan())
        .map(|(other, bound, ratio)| {
            Target::new(format!("ringseed / {}, {name}", other.name()), Wanted::AtMost, bound, ratio)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ratios_are_taken_within_one_case() {
        let (few, many) = (
            Case { piece_kib: 256, depth: 40, connections: 8 },
            Case { piece_kib: 256, depth: 5, connections: 50 },
        );
        let mut results = Results::new("warm_seed");
        for (case, floor, ringseed) in [(few, 0.2, 0.24), (many, 0.4, 0.7)] {
            results.measurements.push(Measurement::new("floor", &case.name(), CPU, vec![floor]));
            results.measurements.push(Measurement::new("ringseed", &case.name(), CPU, vec![ringseed]));
        }
        let few = targets(&results, few);
        assert_eq!((few.len(), few[0].bound, few[0].met), (1, FLOOR_DEEP, true));
        let many = targets(&results, many);
        assert_eq!((many.len(), many[0].bound, many[0].met), (1, FLOOR_SHALLOW, false));
    }
}
