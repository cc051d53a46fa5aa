//! Download: what it costs to get a torrent from one peer onto a real file system, with all hashes checked.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use ringseed_benches::{
    child::Usage,
    daemon,
    data::TestTorrent,
    exit_code,
    leecher::{Launch, Leecher, tracker_of},
    parts::{self, Spent},
    results::{Measurement, Results, Target, Wanted},
    seeder::{self, Seeder},
};

/// Most that Ringseed may cost, as a multiple of the sum of the parts.
const PARTS: f64 = 1.5;
/// Most that it may cost, as a part of the best rival's cost.
const RIVAL: f64 = 0.45;
/// Anonymous memory that a download may take: MiB of open pieces, buffers of a shard, the process itself.
const MEMORY_MIB: f64 = 64.0;

const CPU: &str = "CPU s/GB";
const RATE: &str = "MB/s";
const TO_THE_END: &str = "MB/s to the end";
const MEMORY: &str = "anonymous MiB, peak";

/// Downloads one torrent again and again with all contestants, each on one core, from libtorrent on the other.
#[derive(Debug, Parser)]
#[command(version)]
struct Plan {
    /// Directory on a real file system for the torrent (kept) and the downloads (removed)
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// Who downloads
    #[arg(long, value_delimiter = ',', default_value = "ringseed,libtorrent,aria2")]
    leechers: Vec<Leecher>,
    /// Downloads of each; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// MiB of the torrent
    #[arg(long, default_value_t = 2048)]
    torrent_mib: u64,
    /// KiB per piece
    #[arg(long, default_value_t = 1024)]
    piece_kib: u32,
    /// Core of the downloader
    #[arg(long, default_value_t = 0)]
    leecher_cpu: usize,
    /// Core of the seeder
    #[arg(long, default_value_t = 1)]
    seeder_cpu: usize,
    /// The ringseed binary; by default beside this program
    #[arg(long, env = "RINGSEED_BIN")]
    ringseed: Option<PathBuf>,
    /// Further arguments of `ringseed get`
    #[arg(long, default_value = "--shards 1", allow_hyphen_values = true)]
    ringseed_args: String,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

fn main() -> ExitCode {
    exit_code(run(&Plan::parse()))
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let torrent = TestTorrent::prepare(&plan.dir, plan.torrent_mib << 20, plan.piece_kib << 10)?;
    torrent.warm()?;
    let ringseed = daemon::program(plan.ringseed.as_deref())?;
    let launch = seeder::Launch {
        cpus: Some(plan.seeder_cpu.to_string()),
        ringseed: ringseed.clone(),
        ringseed_args: Vec::new(),
        encrypted: false,
        scratch: plan.dir.join("scratch"),
    };
    let seeding = Seeder::Libtorrent.start(&torrent, &launch)?;
    let launch = Launch {
        cpu: plan.leecher_cpu,
        ringseed,
        ringseed_args: plan.ringseed_args.split_whitespace().map(str::to_owned).collect(),
        peer: seeding.addr,
        tracker: tracker_of(seeding.addr)?,
    };
    let out = plan.dir.join("downloads");
    // Memory that a virtual machine touches for the first time costs several times more: the page cache of what
    // is downloaded is taken and given back before anything is measured.
    parts::on_core(plan.leecher_cpu, || {
        renew(&out)?;
        parts::write(&out, 2 * torrent.total)
    })?;

    let mut downloads: Vec<(Leecher, Vec<Usage>)> =
        plan.leechers.iter().map(|leecher| (*leecher, Vec::new())).collect();
    let mut measured: Vec<Parts> = Vec::new();
    for run in 1..=plan.runs {
        renew(&out)?;
        measured.push(Parts::measure(plan, &out, torrent.total)?);
        for (leecher, usages) in &mut downloads {
            renew(&out)?;
            let usage = leecher.run(&torrent, &out, &launch)?;
            eprintln!("run {run}: {}: {usage:?}", leecher.name());
            usages.push(usage);
        }
    }
    fs::remove_dir_all(&out)?;
    let mut results = Results::new("download");
    for leecher in &plan.leechers {
        let version = leecher.version(&launch.ringseed).unwrap_or_default();
        results.versions.insert(leecher.name().into(), version);
    }
    let case = format!("{} MiB in pieces of {} KiB", plan.torrent_mib, plan.piece_kib);
    enter(&mut results, &case, torrent.total, &measured, &downloads);
    results.targets = targets(&results, &case);
    Ok(results.conclude(&plan.results)?)
}

/// An empty directory.
fn renew(directory: &Path) -> io::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)
}

/// What the parts of a download took in one run.
struct Parts {
    hash: Spent,
    together: Spent,
    write: Spent,
    receive: Spent,
}

impl Parts {
    fn measure(plan: &Plan, out: &Path, bytes: u64) -> io::Result<Parts> {
        parts::on_core(plan.leecher_cpu, || {
            Ok(Parts {
                hash: parts::hash_single(bytes)?,
                together: parts::hash_together(bytes)?,
                write: parts::write(out, bytes)?,
                receive: parts::receive(bytes, plan.seeder_cpu)?,
            })
        })
    }
}

const SUM: &str = "sum of the parts";

fn enter(
    results: &mut Results,
    case: &str,
    bytes: u64,
    measured: &[Parts],
    downloads: &[(Leecher, Vec<Usage>)],
) {
    let gigabytes = bytes as f64 / 1e9;
    let mut add = |who: &str, what: &str, runs: Vec<f64>| {
        results.measurements.push(Measurement::new(who, case, what, runs));
    };
    for (leecher, usages) in downloads {
        let all = |value: fn(&Usage) -> f64| usages.iter().map(value).collect::<Vec<f64>>();
        add(leecher.name(), CPU, all(|usage| usage.cpu).iter().map(|cpu| cpu / gigabytes).collect());
        add(leecher.name(), RATE, all(|usage| usage.done).iter().map(|s| gigabytes * 1000.0 / s).collect());
        add(
            leecher.name(),
            TO_THE_END,
            all(|usage| usage.wall).iter().map(|s| gigabytes * 1000.0 / s).collect(),
        );
        add(leecher.name(), MEMORY, all(|usage| usage.anon_peak as f64 / f64::from(1 << 20)));
    }
    let all = |value: fn(&Parts) -> f64| measured.iter().map(|parts| value(parts) / gigabytes).collect();
    add("SHA-1, one stream", CPU, all(|parts| parts.hash.cpu));
    add("SHA-1, four streams", CPU, all(|parts| parts.together.cpu));
    add("writes of 1 MiB", CPU, all(|parts| parts.write.cpu));
    add("receiving", CPU, all(|parts| parts.receive.cpu));
    add(SUM, CPU, all(|parts| parts.hash.cpu + parts.write.cpu + parts.receive.cpu));
}

fn targets(results: &Results, case: &str) -> Vec<Target> {
    let of = |leecher: Leecher, what: &str| results.median(leecher.name(), case, what);
    let rivals = [Leecher::Libtorrent, Leecher::Aria2];
    let cheapest = rivals.map(|rival| of(rival, CPU)).into_iter().fold(f64::NAN, f64::min);
    let fastest = rivals.map(|rival| of(rival, RATE)).into_iter().fold(f64::NAN, f64::max);
    let ringseed = of(Leecher::Ringseed, CPU);
    let parts = ringseed / results.median(SUM, case, CPU);
    vec![
        Target::new("CPU, ringseed / sum of the parts", Wanted::AtMost, PARTS, parts),
        Target::new("CPU, ringseed / best rival", Wanted::AtMost, RIVAL, ringseed / cheapest),
        Target::new(
            "rate, ringseed / fastest rival",
            Wanted::AtLeast,
            1.0,
            of(Leecher::Ringseed, RATE) / fastest,
        ),
        Target::new("anonymous MiB", Wanted::AtMost, MEMORY_MIB, of(Leecher::Ringseed, MEMORY)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Plan::command().debug_assert();
    }

    #[test]
    fn targets_are_ratios_of_one_run() {
        let mut results = Results::new("download");
        let usage = |cpu, done| Usage { done, wall: done + 1.0, cpu, anon_peak: 32 << 20 };
        let downloads = [
            (Leecher::Ringseed, vec![usage(2.0, 4.0)]),
            (Leecher::Libtorrent, vec![usage(10.0, 6.0)]),
            (Leecher::Aria2, vec![usage(5.0, 8.0)]),
        ];
        let part = |cpu| Spent { cpu, wall: cpu };
        let parts = [Parts { hash: part(1.0), together: part(0.5), write: part(0.6), receive: part(0.4) }];
        enter(&mut results, "case", 1_000_000_000, &parts, &downloads);
        let targets = targets(&results, "case");
        let values: Vec<f64> = targets.iter().map(|target| target.value).collect();
        assert_eq!(values, [1.0, 0.4, 1.5, 32.0]);
        assert!(targets.iter().all(|target| target.met));
    }
}
