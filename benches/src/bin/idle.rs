//! Idle: what a daemon with many seeding torrents and no peers does all day.

use std::{
    error::Error,
    fs, io,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use clap::Parser;
use ringseed_benches::{
    daemon::{self, Daemon},
    exit_code,
    library::{Library, Shape},
    process,
    results::{Measurement, Results, Target, Wanted},
    rivals::{Rival, RivalDaemon},
};

/// Measures the CPU share of seeding daemons that nobody asks for anything, all in the same minutes.
#[derive(Debug, Parser)]
#[command(version)]
struct Plan {
    /// Directory for the generated torrents and the daemons' state (kept)
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// Torrents
    #[arg(long, default_value_t = 1000)]
    torrents: u32,
    /// Pieces of each
    #[arg(long, default_value_t = 64)]
    pieces: u32,
    /// KiB per piece
    #[arg(long, default_value_t = 16)]
    piece_kib: u32,
    /// Seconds of one measurement
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Measurements, one after the other; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Seconds to settle before the first
    #[arg(long, default_value_t = 15)]
    settle: u64,
    /// Port of the tracker that answers the announces of the second library
    #[arg(long, default_value_t = 16969)]
    tracker_port: u16,
    /// Other daemons, beside it in the same minutes
    #[arg(long, value_name = "DAEMON")]
    rival: Vec<Rival>,
    /// The ringseed binary; by default beside this program, with ringseed-tracker
    #[arg(long, env = "RINGSEED_BIN")]
    ringseed: Option<PathBuf>,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

/// Somebody whose time is measured.
struct Measured {
    who: String,
    case: &'static str,
    pid: u32,
    before: f64,
    shares: Vec<f64>,
}

fn main() -> ExitCode {
    exit_code(run(&Plan::parse()))
}

/// A child that is killed with the benchmark.
struct Helper(Child);

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const UNTRACKED: &str = "no tracker";
const TRACKED: &str = "tracker that answers";

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let program = daemon::program(plan.ringseed.as_deref())?;
    let shape = |tracker| Shape {
        count: plan.torrents,
        pieces: plan.pieces,
        piece_length: plan.piece_kib << 10,
        tracker,
    };
    let untracked = Library::prepare(&plan.dir, shape(None))?;
    let url = format!("http://127.0.0.1:{}/announce", plan.tracker_port);
    let tracked = Library::prepare(&plan.dir, shape(Some(url)))?;
    let mut command = Command::new(program.with_file_name("ringseed-tracker"));
    command.args(["--port", &plan.tracker_port.to_string()]).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(fs::File::create(plan.dir.join("idle-tracker.log"))?);
    let mut tracker = Helper(command.spawn()?);

    let mut results = Results::new("idle");
    results.versions.insert("ringseed".into(), env!("CARGO_PKG_VERSION").into());
    let mut servings = Vec::new();
    let mut measured = Vec::new();
    for (library, case) in [(&untracked, UNTRACKED), (&tracked, TRACKED)] {
        let daemon = Daemon {
            program: program.clone(),
            state: library.state(),
            data: library.data(),
            cpu: None,
            arguments: vec!["--no-pin".into()],
        };
        let mut serving = daemon.start()?;
        let wanted = f64::from(plan.torrents);
        serving.wait(Duration::from_secs(120), Duration::from_millis(100), |serving| {
            (serving.metric("ringseed_torrents{state=\"seeding\"}").ok()? >= wanted).then_some(())
        })?;
        measured.push(Measured {
            who: "ringseed".into(),
            case,
            pid: serving.pid(),
            before: 0.0,
            shares: Vec::new(),
        });
        servings.push(serving);
    }
    let mut rivals = Vec::new();
    for rival in &plan.rival {
        let running = RivalDaemon::start(*rival, &untracked, &plan.dir.join("state-rival"))?;
        let seconds = running.wait_until_seeding(Duration::from_secs(600))?;
        eprintln!("{}: all seeding after {seconds:.1} s", rival.name());
        let start = Measurement::new(rival.name(), UNTRACKED, "all seeding, s", vec![seconds]);
        results.measurements.push(start);
        results.versions.insert(rival.name().into(), rival.version());
        measured.push(Measured {
            who: rival.name().into(),
            case: UNTRACKED,
            pid: running.pid(),
            before: 0.0,
            shares: Vec::new(),
        });
        rivals.push(running);
    }
    std::thread::sleep(Duration::from_secs(plan.settle));
    if let Some(status) = tracker.0.try_wait()? {
        return Err(io::Error::other(format!("the tracker ended with {status}")).into());
    }
    for run in 1..=plan.runs {
        let began = Instant::now();
        for one in &mut measured {
            one.before = process::cpu_seconds(one.pid)?;
        }
        std::thread::sleep(Duration::from_secs(plan.seconds));
        for one in &mut measured {
            let used = process::cpu_seconds(one.pid)? - one.before;
            let share = used / began.elapsed().as_secs_f64() * 100.0;
            eprintln!("run {run}: {} ({}): {share:.3} % of one core", one.who, one.case);
            one.shares.push(share);
        }
    }
    for one in &measured {
        let memory = process::memory(one.pid)?.anon as f64 / f64::from(1 << 20);
        results.measurements.push(Measurement::new(&one.who, one.case, "% of one core", one.shares.clone()));
        results.measurements.push(Measurement::new(&one.who, one.case, "anonymous MiB", vec![memory]));
    }
    for case in [UNTRACKED, TRACKED] {
        let value = results.median("ringseed", case, "% of one core");
        results.targets.push(Target::new(format!("% of one core, {case}"), Wanted::AtMost, 0.5, value));
    }
    results.conclude(&plan.results)?;
    for serving in servings {
        serving.stop()?;
    }
    Ok(())
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
