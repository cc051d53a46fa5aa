//! Recheck: how fast a daemon hashes files it has, warm beside the SHA-1 of its cores, cold beside the disk.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use clap::Parser;
use ringseed_benches::{
    daemon::{self, Daemon, Serving},
    data::TestTorrent,
    exit_code, fio,
    page_cache::forget,
    parts, process,
    results::{Measurement, Results, Target, Wanted},
};
use serde_json::json;

/// Least rate, as a part of what it is held against.
const LEAST: f64 = 0.9;

const RATE: &str = "MB/s";
const CPU: &str = "CPU s/GB";
const DELAY: &str = "longest turn of a shard so far, ms";
const WARM: &str = "warm";
const COLD: &str = "cold";

/// Verifies a torrent again and again, its file in the page cache and not in it.
#[derive(Debug, Parser)]
#[command(version)]
struct Plan {
    /// Directory on a real file system for the generated torrent (kept)
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// MiB of the torrent
    #[arg(long, default_value_t = 4096)]
    torrent_mib: u64,
    /// KiB per piece
    #[arg(long, default_value_t = 1024)]
    piece_kib: u32,
    /// Checks of each kind; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Shards, each on a core of its own
    #[arg(long, default_value_t = 2)]
    shards: usize,
    /// The ringseed binary; by default beside this program
    #[arg(long, env = "RINGSEED_BIN")]
    ringseed: Option<PathBuf>,
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
    let state = plan.dir.join("recheck-state");
    if state.exists() {
        fs::remove_dir_all(&state)?;
    }
    fs::create_dir_all(&state)?;
    let daemon = Daemon {
        program: daemon::program(plan.ringseed.as_deref())?,
        state,
        data: torrent.dir.clone(),
        cpu: None,
        arguments: vec!["--shards".into(), plan.shards.to_string()],
    };
    let mut serving = daemon.start()?;
    serving.wait(Duration::from_secs(60), Duration::from_millis(20), |serving| {
        serving.status("/readyz").ok().filter(|status| *status == 200)
    })?;
    let metainfo = torrent.metainfo.to_string_lossy().into_owned();
    let arguments = json!({ "filename": metainfo, "download-dir": torrent.dir, "paused": true });
    serving.call("torrent-add", &arguments)?;
    serving
        .wait(Duration::from_secs(300), Duration::from_millis(20), |serving| is_checked(serving).ok()?)?;

    let gigabytes = torrent.total as f64 / 1e9;
    let mut found: Vec<(&str, &str, &str, f64)> = Vec::new();
    for run in 1..=plan.runs {
        for (who, spent) in [
            ("SHA-1 of one core", parts::on_core(0, || parts::hash_single(torrent.total))?),
            ("SHA-1 of one core, four streams", parts::on_core(0, || parts::hash_together(torrent.total))?),
        ] {
            found.push((who, WARM, RATE, gigabytes * 1000.0 / spent.wall));
            found.push((who, WARM, CPU, spent.cpu / gigabytes));
        }
        torrent.warm()?;
        for (case, prepare) in [(WARM, false), (COLD, true)] {
            if prepare {
                forget(&torrent.file())?;
            }
            let (seconds, cpu) = check(&mut serving)?;
            eprintln!("run {run}: {case}: {seconds:.3} s, CPU {cpu:.3} s");
            found.push(("ringseed", case, RATE, gigabytes * 1000.0 / seconds));
            found.push(("ringseed", case, CPU, cpu / gigabytes));
        }
        for (who, direct) in [("fio, direct", true), ("fio, through the page cache", false)] {
            forget(&torrent.file())?;
            let rate = read_in_order(&torrent.file(), direct)?;
            eprintln!("run {run}: {who}: {rate:.0} MB/s");
            found.push((who, COLD, RATE, rate));
        }
    }
    let longest = (0..plan.shards).map(|shard| {
        let name = format!("ringseed_shard_loop_delay_longest_seconds{{shard=\"{shard}\"}}");
        serving.metric(&name).unwrap_or(f64::NAN)
    });
    found.push(("ringseed", COLD, DELAY, longest.fold(0.0, f64::max) * 1000.0));
    serving.stop()?;

    let mut results = Results::new("recheck");
    results.versions.insert("ringseed".into(), env!("CARGO_PKG_VERSION").into());
    results.versions.insert("fio".into(), fio::version().unwrap_or_default());
    while let Some(&(who, case, what, _)) = found.first() {
        let same = |entry: &(&str, &str, &str, f64)| (entry.0, entry.1, entry.2) == (who, case, what);
        let runs = found.iter().filter(|entry| same(entry)).map(|entry| entry.3).collect();
        found.retain(|entry| !same(entry));
        results.measurements.push(Measurement::new(who, case, what, runs));
    }
    results.targets = targets(&results, plan.shards);
    Ok(results.conclude(&plan.results)?)
}

fn targets(results: &Results, shards: usize) -> Vec<Target> {
    let rate = |who: &str, case: &str| results.median(who, case, RATE);
    let cores = rate("SHA-1 of one core", WARM) * shards as f64;
    let disk = rate("fio, direct", COLD).max(rate("fio, through the page cache", COLD));
    let warm = rate("ringseed", WARM) / cores;
    vec![
        Target::new(format!("warm / (SHA-1 of one core x {shards})"), Wanted::AtLeast, LEAST, warm),
        Target::new("cold / best fio", Wanted::AtLeast, LEAST, rate("ringseed", COLD) / disk),
    ]
}

/// Verifies the only torrent; wall seconds and CPU seconds of the daemon.
fn check(serving: &mut Serving) -> Result<(f64, f64), Box<dyn Error>> {
    let pid = serving.pid();
    let before = process::cpu_seconds(pid)?;
    let began = Instant::now();
    serving.call("torrent-verify", &json!({}))?;
    serving
        .wait(Duration::from_secs(300), Duration::from_millis(10), |serving| is_checked(serving).ok()?)?;
    Ok((began.elapsed().as_secs_f64(), process::cpu_seconds(pid)? - before))
}

/// Some when the torrent is complete and not being checked.
fn is_checked(serving: &mut Serving) -> io::Result<Option<()>> {
    let fields = json!({ "fields": ["status", "leftUntilDone", "error", "errorString"] });
    let torrents = serving.call("torrent-get", &fields)?;
    let torrent = &torrents["torrents"][0];
    Ok((torrent["status"] == 0 && torrent["leftUntilDone"] == 0 && torrent["error"] == 0).then_some(()))
}

/// MB/s of reading a file in order, 1 MiB at a time, as many at once as one shard keeps in flight.
fn read_in_order(path: &Path, direct: bool) -> Result<f64, Box<dyn Error>> {
    let mut command = Command::new("fio");
    command.args(["--name=read", "--rw=read", "--bs=1M", "--ioengine=io_uring", "--iodepth=6", "--readonly"]);
    command.arg(format!("--direct={}", u8::from(direct))).arg("--output-format=json");
    command.arg("--invalidate=1").arg(format!("--filename={}", path.display()));
    fio::read_rate(command)
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
    fn the_better_fio_counts_and_every_shard() {
        let mut results = Results::new("recheck");
        for (who, case, rate) in [
            ("SHA-1 of one core", WARM, 1000.0),
            ("ringseed", WARM, 1900.0),
            ("ringseed", COLD, 900.0),
            ("fio, direct", COLD, 800.0),
            ("fio, through the page cache", COLD, 1000.0),
        ] {
            results.measurements.push(Measurement::new(who, case, RATE, vec![rate]));
        }
        let values: Vec<f64> = targets(&results, 2).iter().map(|target| target.value).collect();
        assert_eq!(values, [0.95, 0.9]);
    }
}
