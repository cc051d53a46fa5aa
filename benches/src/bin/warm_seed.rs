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
    seeder::{self, Launch, Seeder},
};

/// Most that Ringseed may cost, as a multiple of the floor, at 40 requests in flight and at 5.
const FLOOR_DEEP: f64 = 1.25;
const FLOOR_SHALLOW: f64 = 1.6;
/// Depths below this count as shallow.
const SHALLOW: u32 = 16;
/// Most that Ringseed may cost, as a part of rTorrent's cost at 40 requests in flight.
const RTORRENT: f64 = 0.40;

/// Most that Ringseed may cost with RC4, as a part of what the best rival costs.
const RC4: f64 = 0.75;

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
    /// Peers that encrypt with RC4: the results are called `rc4`, and there is no floor
    #[arg(long)]
    rc4: bool,
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
    /// An earlier ringseed binary, measured beside it as `before`
    #[arg(long, value_name = "BINARY")]
    before: Option<PathBuf>,
    /// Blocks that the floor gathers for a send: each number is measured, and the best is the floor
    #[arg(long, value_delimiter = ',', default_value = "8,16,32,64")]
    floor_blocks: Vec<usize>,
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
    let gather = gather.clamp(1, floor::BLOCKS_PER_SEND_MAX);
    let floor = Floor { map: floor::map_file(file)?, piece_length, gather };
    let listener = floor::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), 1024)?;
    Ok(floor.serve(&listener)?)
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contestant {
    /// The floor that gathers this many blocks for a send.
    Floor(usize),
    /// An earlier Ringseed.
    Before,
    /// Ringseed or a rival.
    Seeder(Seeder),
}

impl Contestant {
    fn name(self) -> String {
        match self {
            Contestant::Floor(blocks) => format!("floor of {blocks}"),
            Contestant::Before => "before".into(),
            Contestant::Seeder(seeder) => seeder.name().into(),
        }
    }
}

/// How seeders are started.
struct Launches {
    now: Launch,
    before: Option<Launch>,
}

impl Launches {
    fn new(plan: &Plan) -> Result<Launches, Box<dyn Error>> {
        let of = |binary: Option<&std::path::Path>| {
            let launch = Launch::new(&plan.seeder_cpu.to_string(), &plan.dir, binary, &plan.ringseed_args)?;
            Ok::<_, std::io::Error>(Launch { encrypted: plan.rc4, ..launch })
        };
        let before = plan.before.as_deref().map(|binary| of(Some(binary))).transpose()?;
        Ok(Launches { now: of(plan.ringseed.as_deref())?, before })
    }

    fn version(&self, contestant: Contestant) -> Option<String> {
        match (contestant, &self.before) {
            (Contestant::Floor(_), _) => Seeder::Floor.version(&self.now),
            (Contestant::Before, before) => Seeder::Ringseed.version(before.as_ref()?),
            (Contestant::Seeder(seeder), _) => seeder.version(&self.now),
        }
    }

    fn start(&self, contestant: Contestant, torrent: &TestTorrent) -> std::io::Result<seeder::Running> {
        match (contestant, &self.before) {
            (Contestant::Floor(blocks), _) => seeder::start_floor(torrent, &self.now, blocks),
            (Contestant::Before, Some(before)) => Seeder::Ringseed.start(torrent, before),
            (Contestant::Before, None) => Err(std::io::ErrorKind::NotFound.into()),
            (Contestant::Seeder(seeder), _) => seeder.start(torrent, &self.now),
        }
    }
}

impl Plan {
    fn contestants(&self) -> Vec<Contestant> {
        let mut seeders = self.seeders.clone();
        seeders.extend(self.rival.iter().filter(|rival| !self.seeders.contains(rival)));
        let mut all = Vec::new();
        for seeder in seeders {
            match seeder {
                Seeder::Floor if self.rc4 => {}
                Seeder::Floor => all.extend(self.floor_blocks.iter().copied().map(Contestant::Floor)),
                other => all.push(Contestant::Seeder(other)),
            }
        }
        all.extend(self.before.is_some().then_some(Contestant::Before));
        all
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
    let contestants = plan.contestants();
    let launches = Launches::new(plan)?;
    let mut results = Results::new(if plan.rc4 { "rc4" } else { "warm_seed" });
    for contestant in &contestants {
        let version = launches.version(*contestant);
        let version = version.ok_or_else(|| format!("{} is not installed", contestant.name()))?;
        results.versions.insert(contestant.name(), version);
    }
    for case in plan.cases() {
        let torrent = TestTorrent::prepare(&plan.dir, plan.torrent_mib << 20, case.piece_kib << 10)?;
        torrent.warm()?;
        let mut measured: Vec<Vec<LoadReport>> = vec![Vec::new(); contestants.len()];
        for run in 1..=plan.runs {
            for (contestant, reports) in contestants.iter().zip(&mut measured) {
                let report = measure(plan, &launches, &torrent, *contestant, case)
                    .map_err(|error| format!("{}, {}: {error}", contestant.name(), case.name()))?;
                eprintln!(
                    "{}, run {run}: {:<12} {:.3} CPU s/GB, {:.0} MB/s",
                    case.name(),
                    contestant.name(),
                    report.seeder.cpu_seconds_per_gb,
                    report.mb_per_s
                );
                reports.push(report);
            }
        }
        for (contestant, reports) in contestants.iter().zip(&measured) {
            results.measurements.extend(summary(&contestant.name(), case, reports));
        }
        if let Some(blocks) = best_floor(&results, case, &plan.floor_blocks) {
            let reports = contestants.iter().zip(&measured).find(|(c, _)| **c == Contestant::Floor(blocks));
            let reports = reports.map_or(&[][..], |(_, reports)| reports);
            results.measurements.extend(summary(Seeder::Floor.name(), case, reports));
        }
        results.targets.extend(match plan.rc4 {
            true => encrypted_target(&results, case),
            false => targets(&results, case),
        });
    }
    Ok(results.conclude(&plan.results)?)
}

/// One run: a fresh seeder, a fresh load.
fn measure(
    plan: &Plan,
    launches: &Launches,
    torrent: &TestTorrent,
    contestant: Contestant,
    case: Case,
) -> Result<LoadReport, Box<dyn Error>> {
    let running = launches.start(contestant, torrent)?;
    let bytes = |gb: f64| (gb * 1e9) as u64;
    let rc4 = if plan.rc4 { vec!["--rc4".into()] } else { Vec::new() };
    let load = Load {
        torrent,
        addr: running.addr,
        seeder_pid: running.pid(),
        connections: case.connections,
        depth: case.depth,
        bytes: bytes(plan.gb),
        warmup: bytes(plan.warmup_gb),
        cpu: Some(plan.load_cpu),
        more: [vec!["--read-buffer".into(), plan.read_buffer.to_string()], rc4].concat(),
    };
    load.run()
}

/// The number of blocks with which the floor costs least.
fn best_floor(results: &Results, case: Case, blocks: &[usize]) -> Option<usize> {
    let cost = |blocks: &usize| results.median(&Contestant::Floor(*blocks).name(), &case.name(), CPU);
    let measured = blocks.iter().copied().filter(|blocks| !cost(blocks).is_nan());
    measured.min_by(|one, other| cost(one).total_cmp(&cost(other)))
}

fn summary(who: &str, case: Case, runs: &[LoadReport]) -> [Measurement; 4] {
    let all = |what, value: fn(&LoadReport) -> f64| {
        Measurement::new(who, &case.name(), what, runs.iter().map(value).collect())
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

/// What is wanted of Ringseed when all is enciphered: most of that is RC4 itself.
fn encrypted_target(results: &Results, case: Case) -> Vec<Target> {
    let cost = |seeder: Seeder| results.median(seeder.name(), &case.name(), CPU);
    let rivals = [Seeder::Rtorrent, Seeder::Libtorrent].map(cost);
    let best = rivals.into_iter().filter(|cost| !cost.is_nan()).min_by(f64::total_cmp);
    let Some(best) = best else { return Vec::new() };
    let what = format!("ringseed / best rival, RC4, {}", case.name());
    vec![Target::new(what, Wanted::AtMost, RC4, cost(Seeder::Ringseed) / best)]
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
    fn the_best_floor_of_a_case_is_the_floor() {
        let case = |connections| Case { piece_kib: 256, depth: 40, connections };
        let mut results = Results::new("warm_seed");
        for (connections, blocks, cost) in [(8, 16, 0.3), (8, 32, 0.25), (50, 16, 0.2), (50, 32, 0.21)] {
            let (who, name) = (Contestant::Floor(blocks).name(), case(connections).name());
            results.measurements.push(Measurement::new(&who, &name, CPU, vec![cost]));
        }
        assert_eq!(best_floor(&results, case(8), &[16, 32, 64]), Some(32));
        assert_eq!(best_floor(&results, case(50), &[16, 32, 64]), Some(16));
        assert_eq!(best_floor(&results, case(9), &[16, 32, 64]), None);
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
