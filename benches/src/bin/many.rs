//! Many: what ten thousand connections cost when only a few of them want something, and what a thousand torrents
//! cost beside one.

use std::{
    error::Error,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use ringseed_benches::{
    daemon::{self, Daemon, Serving},
    exit_code,
    library::{Library, Shape},
    load::{self, LoadReport},
    process,
    results::{Measurement, Results, Target, Wanted},
};

/// Measures idle connections beside active ones, and many torrents beside one.
#[derive(Debug, Parser)]
#[command(version)]
struct Plan {
    /// Directory for the generated torrents and the daemon's state (kept)
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// What to measure
    #[arg(long, value_delimiter = ',', default_value = "connections,torrents")]
    parts: Vec<Part>,
    /// Connections that want nothing
    #[arg(long, default_value_t = 9_800)]
    idle: u32,
    /// Connections that ask for as much as they get, beside them
    #[arg(long, default_value_t = 200)]
    active: u32,
    /// Torrents that are asked for at once, by one peer each
    #[arg(long, default_value_t = 1000)]
    torrents: u32,
    /// Requests in flight per active peer
    #[arg(long, default_value_t = 40)]
    depth: u32,
    /// Pieces of each of them; the one torrent beside them has as many as all together
    #[arg(long, default_value_t = 8)]
    pieces: u32,
    /// KiB per piece
    #[arg(long, default_value_t = 256)]
    piece_kib: u32,
    /// GB measured per run
    #[arg(long, default_value_t = 8.0)]
    gb: f64,
    /// GB before the measurement of each run
    #[arg(long, default_value_t = 2.0)]
    warmup_gb: f64,
    /// Seconds for which idle connections alone are watched
    #[arg(long, default_value_t = 10)]
    watch: u64,
    /// Runs; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
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

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Idle connections beside active ones
    Connections,
    /// Many torrents beside one
    Torrents,
}

const CPU: &str = "CPU s/GB";
const RATE: &str = "MB/s";
const LOAD: &str = "load CPU s/GB";
const WHO: &str = "ringseed";

fn main() -> ExitCode {
    exit_code(run(&Plan::parse()))
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let mut results = Results::new("many");
    results.versions.insert(WHO.into(), env!("CARGO_PKG_VERSION").into());
    for part in &plan.parts {
        match part {
            Part::Connections => connections(plan, &mut results)?,
            Part::Torrents => torrents(plan, &mut results)?,
        }
    }
    Ok(results.conclude(&plan.results)?)
}

/// Idle connections beside active ones, all at one torrent. Each run has a fresh seeder, for memory that was used
/// once is used again.
fn connections(plan: &Plan, results: &mut Results) -> Result<(), Box<dyn Error>> {
    let library = plan.library(1)?;
    let alone = format!("{} active", plan.active);
    let beside = format!("{} active, {} idle", plan.active, plan.idle);
    let only = format!("{} idle", plan.idle);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let (mut memory, mut shares, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=plan.runs {
        let serving = plan.serve(&library)?;
        let pid = serving.pid();
        let first = plan.blast(&library, &serving, plan.active)?;
        settle();
        let before = process::memory(pid)?.anon;
        let idle = Idle::open(plan, &library, &serving)?;
        settle();
        let after = process::memory(pid)?.anon;
        memory.push(after.saturating_sub(before) as f64 / 1024.0 / f64::from(plan.idle));
        let (began, used) = (Instant::now(), process::cpu_seconds(pid)?);
        std::thread::sleep(Duration::from_secs(plan.watch));
        shares.push((process::cpu_seconds(pid)? - used) / began.elapsed().as_secs_f64() * 100.0);
        let among = plan.blast(&library, &serving, plan.active)?;
        idle.close()?;
        settle();
        let second = plan.blast(&library, &serving, plan.active)?;
        serving.stop()?;
        ratios.push(among.mb_per_s * 2.0 / (first.mb_per_s + second.mb_per_s));
        eprintln!(
            "run {run}: {:.0} and {:.0} MB/s alone, {:.0} beside {} idle ({:.2} KiB each, {:.2} % of a core)",
            first.mb_per_s,
            second.mb_per_s,
            among.mb_per_s,
            plan.idle,
            memory[memory.len() - 1],
            shares[shares.len() - 1],
        );
        without.extend([first, second]);
        with.push(among);
    }
    report(results, &alone, &without);
    report(results, &beside, &with);
    let ratio = Measurement::new(WHO, &beside, "rate over the active alone", ratios);
    let memory = Measurement::new(WHO, &only, "anonymous KiB each", memory);
    results.targets.push(Target::new(
        format!("anonymous KiB per idle connection, {only}"),
        Wanted::AtMost,
        12.0,
        memory.median.unwrap_or(f64::NAN),
    ));
    results.targets.push(Target::new(
        format!("rate beside {} idle connections / alone", plan.idle),
        Wanted::AtLeast,
        0.9,
        ratio.median.unwrap_or(f64::NAN),
    ));
    results.measurements.extend([ratio, memory, Measurement::new(WHO, &only, "% of one core", shares)]);
    Ok(())
}

/// The same bytes to as many peers, from one torrent and from many.
fn torrents(plan: &Plan, results: &mut Results) -> Result<(), Box<dyn Error>> {
    let libraries = [plan.library(1)?, plan.library(plan.torrents)?];
    let case = |library: &Library| format!("{} torrents, {} peers", library.shape.count, plan.torrents);
    let mut reports = [Vec::new(), Vec::new()];
    for run in 1..=plan.runs {
        for (library, reports) in libraries.iter().zip(&mut reports) {
            let serving = plan.serve(library)?;
            let report = plan.blast(library, &serving, plan.torrents)?;
            serving.stop()?;
            eprintln!(
                "run {run}: {}: {:.0} MB/s, {:.3} CPU s/GB",
                case(library),
                report.mb_per_s,
                report.seeder.cpu_seconds_per_gb
            );
            reports.push(report);
        }
    }
    for (library, reports) in libraries.iter().zip(&reports) {
        report(results, &case(library), reports);
    }
    let [one, many] = libraries.map(|library| case(&library));
    let ratio = |what| results.median(WHO, &many, what) / results.median(WHO, &one, what);
    let (rate, cpu) = (ratio(RATE), ratio(CPU));
    let name = |what| format!("{what}, {} torrents / one", plan.torrents);
    results.targets.push(Target::new(name(RATE), Wanted::AtLeast, 0.85, rate));
    results.targets.push(Target::new(name(CPU), Wanted::AtMost, 1.15, cpu));
    Ok(())
}

fn report(results: &mut Results, case: &str, reports: &[LoadReport]) {
    let mut add = |what, value: fn(&LoadReport) -> f64| {
        let runs = reports.iter().map(value).collect();
        results.measurements.push(Measurement::new(WHO, case, what, runs));
    };
    add(CPU, |report| report.seeder.cpu_seconds_per_gb);
    add(RATE, |report| report.mb_per_s);
    add(LOAD, |report| report.load.cpu_seconds_per_gb);
}

/// Time for what follows a change: statistics, closed connections.
fn settle() {
    std::thread::sleep(Duration::from_secs(3));
}

impl Plan {
    /// A library of all bytes in `count` torrents, in the page cache.
    fn library(&self, count: u32) -> Result<Library, Box<dyn Error>> {
        let (pieces, piece_length) = (self.pieces * self.torrents / count, self.piece_kib << 10);
        let library = Library::prepare(&self.dir, Shape { count, pieces, piece_length, tracker: None })?;
        for entry in std::fs::read_dir(library.data())? {
            std::io::copy(&mut std::fs::File::open(entry?.path())?, &mut std::io::sink())?;
        }
        Ok(library)
    }

    /// A daemon that seeds all of `library` to as many peers as come.
    fn serve(&self, library: &Library) -> Result<Serving, Box<dyn Error>> {
        let daemon = Daemon {
            program: daemon::program(self.ringseed.as_deref())?,
            state: library.state(),
            data: library.data(),
            cpu: Some(self.seeder_cpu),
            arguments: ["--shards", "1", "--upload-slots", "2000"].map(str::to_owned).to_vec(),
        };
        let mut serving = daemon.start()?;
        let wanted = f64::from(library.shape.count);
        serving.wait(Duration::from_secs(60), Duration::from_millis(50), |serving| {
            (serving.metric("ringseed_torrents{state=\"seeding\"}").ok()? >= wanted).then_some(())
        })?;
        Ok(serving)
    }

    fn load(&self, scenario: &str, library: &Library, serving: &Serving) -> Result<Command, Box<dyn Error>> {
        let mut command = Command::new(load::program()?);
        command.arg(scenario).arg("--torrent").arg(library.torrents());
        command.args(["--addr", &serving.peers.to_string(), "--cpu", &self.load_cpu.to_string()]);
        command.args(["--spread-sources", "--ramp", "60"]);
        Ok(command)
    }

    /// `peers` that take what they get.
    fn blast(&self, library: &Library, serving: &Serving, peers: u32) -> Result<LoadReport, Box<dyn Error>> {
        let mut command = self.load("blast", library, serving)?;
        let bytes = |gb: f64| ((gb * 1e9) as u64).to_string();
        command.args(["--json", "--connections", &peers.to_string(), "--depth", &self.depth.to_string()]);
        command.args(["--bytes", &bytes(self.gb), "--warmup", &bytes(self.warmup_gb)]);
        command.args(["--seeder-pid", &serving.pid().to_string()]);
        load::read(&command.output()?)
    }
}

/// Idle connections, open until this is closed or dropped.
struct Idle(Child);

impl Idle {
    fn open(plan: &Plan, library: &Library, serving: &Serving) -> Result<Idle, Box<dyn Error>> {
        let mut command = plan.load("idle", library, serving)?;
        command.args(["--connections", &plan.idle.to_string()]);
        let mut idle = Idle(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        let output = idle.0.stdout.as_mut().ok_or("the idle load has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let said: serde_json::Value = serde_json::from_str(&line)?;
        match said["open"].as_u64() {
            Some(open) if open == u64::from(plan.idle) => Ok(idle),
            _ => Err(format!("not all idle connections are open: {}", line.trim()).into()),
        }
    }

    fn close(mut self) -> Result<(), Box<dyn Error>> {
        drop(self.0.stdin.take());
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Plan::command().debug_assert();
    }
}
