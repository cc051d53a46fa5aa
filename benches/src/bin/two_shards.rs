//! Two shards: what a second shard on a second core adds when both serve one hot torrent.
//!
//! The load needs as much of a core as the seeder, so on a machine of two cores it cannot have one of its own. Each
//! core therefore carries one shard and one load: one shard and one load on the first core are compared with two
//! shards and two loads on both.

use std::{
    error::Error,
    path::PathBuf,
    process::{ExitCode, Stdio},
};

use clap::Parser;
use ringseed_benches::{
    data::TestTorrent,
    exit_code,
    load::{self, Load},
    results::{Measurement, Results, Target, Wanted},
    seeder::{Launch, Seeder},
};

/// Least rate of two shards, as a multiple of one's.
const SCALING: f64 = 1.8;

const RATE: &str = "MB/s";
const CPU: &str = "CPU s/GB";

/// Measures how the rate of one hot torrent grows with a second shard.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Directory for the generated torrent and the seeder's state (kept)
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// Peers per core
    #[arg(long, default_value_t = 50)]
    connections: u32,
    /// Requests in flight per peer
    #[arg(long, default_value_t = 40)]
    depth: u32,
    /// Runs; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Seconds measured per run
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// MiB of the torrent
    #[arg(long, default_value_t = 2048)]
    torrent_mib: u64,
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
    let torrent = TestTorrent::prepare(&plan.dir, plan.torrent_mib << 20, 1 << 20)?;
    torrent.warm()?;
    let mut results = Results::new("two_shards");
    let version = Seeder::Ringseed.version(&launch(plan, 1)?).ok_or("ringseed is not built")?;
    results.versions.insert(Seeder::Ringseed.name().into(), version);
    let mut measured = [Vec::new(), Vec::new()];
    for run in 1..=plan.runs {
        for (shards, found) in [1, 2].into_iter().zip(&mut measured) {
            let (rate, cpu) = measure(plan, &torrent, shards)?;
            eprintln!("run {run}: {} {rate:.0} MB/s, {cpu:.3} CPU s/GB", name(shards));
            found.push((rate, cpu));
        }
    }
    let case = format!("{} peers per core, depth {}", plan.connections, plan.depth);
    for (shards, found) in [1, 2].into_iter().zip(measured) {
        let (rates, cpus) = found.into_iter().unzip();
        results.measurements.push(Measurement::new(name(shards), &case, RATE, rates));
        results.measurements.push(Measurement::new(name(shards), &case, CPU, cpus));
    }
    let ratio = results.median(name(2), &case, RATE) / results.median(name(1), &case, RATE);
    results.targets.push(Target::new("rate of two shards / one", Wanted::AtLeast, SCALING, ratio));
    Ok(results.conclude(&plan.results)?)
}

fn name(shards: usize) -> &'static str {
    if shards == 1 { "one shard" } else { "two shards" }
}

fn launch(plan: &Cli, shards: usize) -> std::io::Result<Launch> {
    let cpus = if shards == 1 { "0" } else { "0,1" };
    let arguments = format!("seed {{torrent}} --data {{data}} --port {{port}} --shards {shards}");
    Launch::new(cpus, &plan.dir, plan.ringseed.as_deref(), &arguments)
}

/// One run with a load on each core of the seeder: MB/s of all, and CPU seconds of the seeder per GB.
fn measure(plan: &Cli, torrent: &TestTorrent, shards: usize) -> Result<(f64, f64), Box<dyn Error>> {
    let running = Seeder::Ringseed.start(torrent, &launch(plan, shards)?)?;
    let mut children = Vec::new();
    for cpu in 0..shards {
        let load = Load {
            torrent,
            addr: running.addr,
            seeder_pid: running.pid(),
            connections: plan.connections,
            depth: plan.depth,
            bytes: 0,
            warmup: 2_000_000_000,
            cpu: Some(cpu),
            more: vec!["--first".into(), (cpu as u32 * plan.connections).to_string()],
        };
        let mut command = load.timed_command(plan.seconds)?;
        children.push(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
    }
    let mut reports = Vec::new();
    for child in children {
        reports.push(load::read(&child.wait_with_output()?)?);
    }
    let rate: f64 = reports.iter().map(|report| report.mb_per_s).sum();
    // Each load saw the CPU time of the whole seeder over its own window.
    let cpu_per_second = reports.iter().map(|r| r.seeder.cpu_seconds_per_gb * r.mb_per_s / 1e3).sum::<f64>()
        / reports.len() as f64;
    Ok((rate, cpu_per_second * 1e3 / rate))
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
