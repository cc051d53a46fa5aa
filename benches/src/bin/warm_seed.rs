//! Warm seed: CPU seconds per GB and MB/s of the bare floor, Ringseed and rivals, in one run, pinned, interleaved.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Command, ExitCode},
};

use clap::{Args, Parser, Subcommand};
use ringseed_benches::{
    data::TestTorrent,
    floor::{self, Floor},
    machine::Machine,
    seeder::{Launch, Seeder},
    table,
};
use ringseed_loadtest::{affinity, blast, cli::BlastArgs, spread::median};
use serde::{Deserialize, Serialize};

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
    /// The load generator
    #[command(hide = true)]
    Load(BlastArgs),
}

#[derive(Debug, Args)]
struct Plan {
    /// Directory for the generated torrent and the seeders' state (kept; on tmpfs or a real file system)
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
    #[arg(long, default_value_t = 40)]
    depth: u32,
    /// Runs per seeder and number of peers; medians are reported
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
    #[arg(long, default_value_t = 1024)]
    piece_kib: u32,
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

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.part {
        Some(Part::Floor { file, piece_length, port, gather }) => {
            run_floor(&file, piece_length, port, gather)
        }
        Some(Part::Load(args)) => run_load(&args),
        None => run_plan(&cli.plan),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
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

fn run_load(args: &BlastArgs) -> Result<(), Box<dyn Error>> {
    let config = args.config()?;
    if let Some(cpu) = args.cpu {
        affinity::pin_to(cpu)?;
    }
    println!("{}", serde_json::to_string(&blast::run(&config)?)?);
    Ok(())
}

/// The part of the load generator's report that a comparison uses.
#[derive(Debug, Deserialize)]
struct Measured {
    mb_per_s: f64,
    seeder: Option<MeasuredCost>,
    load: MeasuredLoad,
    per_connection: MeasuredSpread,
}

#[derive(Debug, Deserialize)]
struct MeasuredCost {
    cpu_seconds_per_gb: f64,
}

#[derive(Debug, Deserialize)]
struct MeasuredLoad {
    cpu_seconds_per_gb: f64,
}

#[derive(Debug, Deserialize)]
struct MeasuredSpread {
    jain: f64,
}

/// Medians of one seeder at one number of peers.
#[derive(Debug, Clone, Serialize)]
struct Summary {
    seeder: Seeder,
    connections: u32,
    cpu_s_per_gb: f64,
    mb_per_s: f64,
    load_cpu_s_per_gb: f64,
    fairness: f64,
    runs_cpu_s_per_gb: Vec<f64>,
    runs_mb_per_s: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct Results {
    benchmark: &'static str,
    machine: Machine,
    versions: BTreeMap<&'static str, String>,
    depth: u32,
    read_buffer: usize,
    piece_length: u32,
    torrent_bytes: u64,
    summaries: Vec<Summary>,
    reports: Vec<serde_json::Value>,
}

fn run_plan(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let mut seeders = plan.seeders.clone();
    for rival in &plan.rival {
        if !seeders.contains(rival) {
            seeders.push(*rival);
        }
    }
    let launch = launch(plan)?;
    let mut versions = BTreeMap::new();
    for seeder in &seeders {
        let version = seeder.version(&launch).ok_or_else(|| format!("{} is not installed", seeder.name()))?;
        versions.insert(seeder.name(), version);
    }
    let torrent = TestTorrent::prepare(&plan.dir, plan.torrent_mib << 20, plan.piece_kib << 10)?;
    torrent.warm()?;

    let mut measured: BTreeMap<(u32, Seeder), Vec<Measured>> = BTreeMap::new();
    let mut reports = Vec::new();
    for connections in &plan.connections {
        for run in 1..=plan.runs {
            for seeder in &seeders {
                let report = measure(plan, &launch, &torrent, *seeder, *connections)?;
                let numbers: Measured = serde_json::from_value(report.clone())?;
                eprintln!(
                    "{:>4} peers, run {run}: {:<10} {:.3} CPU s/GB, {:.0} MB/s",
                    connections,
                    seeder.name(),
                    cpu(&numbers),
                    numbers.mb_per_s
                );
                measured.entry((*connections, *seeder)).or_default().push(numbers);
                reports.push(serde_json::json!({ "seeder": seeder, "run": run, "report": report }));
            }
        }
    }
    let summaries: Vec<Summary> =
        measured.iter().map(|((connections, seeder), runs)| summary(*seeder, *connections, runs)).collect();
    print!("{}", table::render(&rows(&summaries)));
    let results = Results {
        benchmark: "warm_seed",
        machine: Machine::here(),
        versions,
        depth: plan.depth,
        read_buffer: plan.read_buffer,
        piece_length: torrent.piece_length,
        torrent_bytes: torrent.total,
        summaries,
        reports,
    };
    fs::create_dir_all(&plan.results)?;
    let path = plan.results.join(format!("warm_seed-{}.json", results.machine.file_stamp()));
    fs::write(&path, serde_json::to_string_pretty(&results)? + "\n")?;
    println!("written to {}", path.display());
    Ok(())
}

fn launch(plan: &Plan) -> Result<Launch, Box<dyn Error>> {
    let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("ringseed"));
    Ok(Launch {
        cpu: plan.seeder_cpu,
        ringseed: plan.ringseed.clone().map_or_else(beside, Ok)?,
        ringseed_args: plan.ringseed_args.split_whitespace().map(str::to_owned).collect(),
        scratch: plan.dir.join("state"),
    })
}

/// One run: a fresh seeder, a fresh load.
fn measure(
    plan: &Plan,
    launch: &Launch,
    torrent: &TestTorrent,
    seeder: Seeder,
    connections: u32,
) -> Result<serde_json::Value, Box<dyn Error>> {
    let running = seeder.start(torrent, launch)?;
    let bytes = |gb: f64| ((gb * 1e9) as u64).to_string();
    let output = Command::new(std::env::current_exe()?)
        .args(["load", "--json", "--spread-sources", "--ramp", "60"])
        .arg("--torrent")
        .arg(&torrent.metainfo)
        .args(["--addr", &running.addr.to_string()])
        .args(["--connections", &connections.to_string(), "--depth", &plan.depth.to_string()])
        .args(["--read-buffer", &plan.read_buffer.to_string()])
        .args(["--bytes", &bytes(plan.gb), "--warmup", &bytes(plan.warmup_gb)])
        .args(["--cpu", &plan.load_cpu.to_string(), "--seeder-pid", &running.pid().to_string()])
        .output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("{} with {connections} peers: {words}", seeder.name()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn cpu(numbers: &Measured) -> f64 {
    numbers.seeder.as_ref().map_or(f64::NAN, |cost| cost.cpu_seconds_per_gb)
}

fn summary(seeder: Seeder, connections: u32, runs: &[Measured]) -> Summary {
    let all = |value: fn(&Measured) -> f64| runs.iter().map(value).collect::<Vec<f64>>();
    let middle = |value: fn(&Measured) -> f64| median(&all(value)).unwrap_or(f64::NAN);
    Summary {
        seeder,
        connections,
        cpu_s_per_gb: middle(cpu),
        mb_per_s: middle(|m| m.mb_per_s),
        load_cpu_s_per_gb: middle(|m| m.load.cpu_seconds_per_gb),
        fairness: middle(|m| m.per_connection.jain),
        runs_cpu_s_per_gb: all(cpu),
        runs_mb_per_s: all(|m| m.mb_per_s),
    }
}

/// A row per seeder and number of peers; ratios are of CPU per GB, Ringseed's over the row's, and the row's over
/// the floor's.
fn rows(summaries: &[Summary]) -> Vec<Vec<String>> {
    let head =
        ["seeder", "peers", "CPU s/GB", "MB/s", "x floor", "ringseed/this", "fairness", "load CPU s/GB"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for row in summaries {
        let of = |seeder| {
            summaries
                .iter()
                .find(|s| s.seeder == seeder && s.connections == row.connections)
                .map(|s| s.cpu_s_per_gb)
        };
        let ratio = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        rows.push(vec![
            row.seeder.name().to_owned(),
            row.connections.to_string(),
            format!("{:.3}", row.cpu_s_per_gb),
            format!("{:.0}", row.mb_per_s),
            ratio(of(Seeder::Floor).map(|floor| row.cpu_s_per_gb / floor)),
            ratio(of(Seeder::Ringseed).map(|ringseed| ringseed / row.cpu_s_per_gb)),
            format!("{:.3}", row.fairness),
            format!("{:.3}", row.load_cpu_s_per_gb),
        ]);
    }
    rows
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
    fn ratios_are_taken_at_the_same_number_of_peers() {
        let one = |seeder, connections, cpu_s_per_gb| Summary {
            seeder,
            connections,
            cpu_s_per_gb,
            mb_per_s: 1.0,
            load_cpu_s_per_gb: 0.1,
            fairness: 1.0,
            runs_cpu_s_per_gb: vec![],
            runs_mb_per_s: vec![],
        };
        let rows = rows(&[
            one(Seeder::Floor, 8, 0.2),
            one(Seeder::Ringseed, 8, 0.3),
            one(Seeder::Libtorrent, 8, 1.2),
            one(Seeder::Floor, 50, 0.4),
        ]);
        assert_eq!(rows[2][4..6], ["1.50", "1.00"]);
        assert_eq!(rows[3][4..6], ["6.00", "0.25"]);
        assert_eq!(rows[4][4..6], ["1.00", "-"]);
    }
}
