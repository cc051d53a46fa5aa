//! Fairness: what ordinary peers get while a few others request as fast as they can.

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::Parser;
use ringseed_benches::{
    data::TestTorrent,
    exit_code,
    load::{Load, LoadReport},
    results::{Measurement, Results, Target, Wanted},
    seeder::{Launch, Seeder},
};

/// Least part of its fair share that the worst served ordinary peer has to get.
const SHARE: f64 = 0.8;

const WORST: &str = "worst share";
const MEDIAN: &str = "median share";
const GREEDY: &str = "greedy share";
const RATE: &str = "MB/s";
const KEPT: &str = "rate beside / alone";

/// Measures what ordinary peers are left with beside greedy ones. A fair share is all bytes over all peers, or what
/// an ordinary peer takes when no greedy one is there, whichever is less.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Directory for the generated torrent and the seeders' state (kept)
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// Seeders to measure
    #[arg(long, value_delimiter = ',', default_value = "ringseed")]
    seeders: Vec<Seeder>,
    /// Ordinary peers
    #[arg(long, default_value_t = 20)]
    connections: u32,
    /// Requests in flight per ordinary peer
    #[arg(long, value_delimiter = ',', default_value = "5,40")]
    depth: Vec<u32>,
    /// Greedy peers
    #[arg(long, default_value_t = 3)]
    greedy: u32,
    /// Requests in flight per greedy peer
    #[arg(long, default_value_t = 2000)]
    greedy_depth: u32,
    /// Runs per case; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// GB measured per run
    #[arg(long, default_value_t = 6.0)]
    gb: f64,
    /// MiB of the torrent
    #[arg(long, default_value_t = 2048)]
    torrent_mib: u64,
    /// Core of the seeder
    #[arg(long, default_value_t = 0)]
    seeder_cpu: usize,
    /// Core of the load
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// The ringseed binary; by default beside this program
    #[arg(long, env = "RINGSEED_BIN")]
    ringseed: Option<PathBuf>,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

fn main() -> ExitCode {
    exit_code(run(&Cli::parse()))
}

fn run(plan: &Cli) -> Result<(), Box<dyn Error>> {
    let arguments = "seed {torrent} --data {data} --port {port} --shards 1";
    let cpus = plan.seeder_cpu.to_string();
    let launch = Launch::new(&cpus, &plan.dir, plan.ringseed.as_deref(), arguments)?;
    let mut results = Results::new("fairness");
    let torrent = TestTorrent::prepare(&plan.dir, plan.torrent_mib << 20, 1 << 20)?;
    torrent.warm()?;
    for &seeder in &plan.seeders {
        let version = seeder.version(&launch).ok_or_else(|| format!("{} is not installed", seeder.name()))?;
        results.versions.insert(seeder.name().into(), version);
    }
    for &depth in &plan.depth {
        let case =
            format!("{} peers x {depth} beside {} x {}", plan.connections, plan.greedy, plan.greedy_depth);
        let mut measured = vec![Shares::default(); plan.seeders.len()];
        for run in 1..=plan.runs {
            for (&seeder, shares) in plan.seeders.iter().zip(&mut measured) {
                let alone = measure(plan, &launch, &torrent, seeder, depth, 0)?;
                let beside = measure(plan, &launch, &torrent, seeder, depth, plan.greedy)?;
                shares.add(plan, &alone, &beside);
                eprintln!("{case}, run {run}: {:<10} {}", seeder.name(), shares.last());
            }
        }
        for (seeder, shares) in plan.seeders.iter().zip(measured) {
            results.measurements.extend(shares.measurements(seeder.name(), &case));
        }
        let (us, wanted) = (Seeder::Ringseed.name(), Wanted::AtLeast);
        for what in [WORST, KEPT] {
            let value = results.median(us, &case, what);
            results.targets.push(Target::new(format!("ringseed, {what}, {case}"), wanted, SHARE, value));
        }
    }
    Ok(results.conclude(&plan.results)?)
}

/// What was measured of one seeder in one case, a value per run.
#[derive(Debug, Clone, Default)]
struct Shares {
    worst: Vec<f64>,
    median: Vec<f64>,
    greedy: Vec<f64>,
    rate: Vec<f64>,
    kept: Vec<f64>,
}

impl Shares {
    fn add(&mut self, plan: &Cli, alone: &LoadReport, beside: &LoadReport) {
        let per_second = |bytes: u64, report: &LoadReport| bytes as f64 / report.seconds;
        let even = per_second(beside.bytes, beside) / f64::from(plan.connections + plan.greedy);
        let fair = even.min(per_second(alone.per_connection.median, alone));
        self.worst.push(per_second(beside.per_connection.min, beside) / fair);
        self.median.push(per_second(beside.per_connection.median, beside) / fair);
        self.greedy.push(beside.greedy.map_or(f64::NAN, |s| per_second(s.median, beside) / fair));
        self.rate.push(beside.mb_per_s);
        self.kept.push(beside.mb_per_s / alone.mb_per_s);
    }

    fn last(&self) -> String {
        let last = |values: &[f64]| values.last().copied().unwrap_or(f64::NAN);
        format!(
            "worst {:.3}, median {:.3}, greedy {:.3} of a fair share; {:.0} MB/s, {:.3} of alone",
            last(&self.worst),
            last(&self.median),
            last(&self.greedy),
            last(&self.rate),
            last(&self.kept)
        )
    }

    fn measurements(self, who: &str, case: &str) -> [Measurement; 5] {
        [
            Measurement::new(who, case, WORST, self.worst),
            Measurement::new(who, case, MEDIAN, self.median),
            Measurement::new(who, case, GREEDY, self.greedy),
            Measurement::new(who, case, RATE, self.rate),
            Measurement::new(who, case, KEPT, self.kept),
        ]
    }
}

/// One run: a fresh seeder, a fresh load.
fn measure(
    plan: &Cli,
    launch: &Launch,
    torrent: &TestTorrent,
    seeder: Seeder,
    depth: u32,
    greedy: u32,
) -> Result<LoadReport, Box<dyn Error>> {
    let running = seeder.start(torrent, launch)?;
    let more =
        ["--greedy".into(), greedy.to_string(), "--greedy-depth".into(), plan.greedy_depth.to_string()];
    let bytes = (plan.gb * 1e9) as u64;
    let load = Load {
        torrent,
        addr: running.addr,
        seeder_pid: running.pid(),
        connections: plan.connections,
        depth,
        bytes,
        warmup: bytes / 4,
        cpu: Some(plan.load_cpu),
        more: more.to_vec(),
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

    #[test]
    fn a_share_is_of_all_bytes_but_no_more_than_is_taken_alone() {
        let plan = Cli::parse_from(["fairness", "--connections", "3", "--greedy", "1"]);
        let report = |bytes: u64, ordinary: u64, greedy: u64| {
            let spread =
                |value: u64| serde_json::json!({"min": value, "median": value, "max": value, "jain": 1.0});
            serde_json::from_value::<LoadReport>(serde_json::json!({
                "bytes": bytes, "seconds": 1.0, "mb_per_s": 1.0,
                "seeder": {"cpu_seconds_per_gb": 1.0}, "load": {"cpu_seconds_per_gb": 1.0},
                "per_connection": spread(ordinary), "greedy": spread(greedy),
            }))
            .unwrap()
        };
        let mut shares = Shares::default();
        shares.add(&plan, &report(300, 100, 0), &report(400, 80, 160));
        shares.add(&plan, &report(150, 50, 0), &report(400, 40, 280));
        assert_eq!((shares.worst, shares.greedy), (vec![0.8, 0.8], vec![1.6, 5.6]));
    }
}
