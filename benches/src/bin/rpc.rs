//! RPC: how long a daemon with many torrents takes to tell about them, while it seeds at full rate, and what that
//! costs the seeding.

use std::{
    error::Error,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use ringseed_benches::{
    daemon::{self, Daemon, Serving},
    data::TestTorrent,
    exit_code,
    library::{Library, Shape},
    load::{self, Load},
    results::{Measurement, Results, Target, Wanted},
};
use serde_json::{Value, json};

/// Measures `torrent-get` of a daemon with many torrents that seeds one of them as fast as it can.
#[derive(Debug, Parser)]
#[command(version)]
struct Plan {
    /// Directory for the generated torrents and the daemon's state (kept)
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// Torrents
    #[arg(long, default_value_t = 10_000)]
    torrents: u32,
    /// Requests of each kind per run
    #[arg(long, default_value_t = 100)]
    requests: u32,
    /// Clients that poll once a second
    #[arg(long, default_value_t = 10)]
    clients: u32,
    /// GB that are sent in one measurement of the seeding rate
    #[arg(long, default_value_t = 24)]
    gb: u64,
    /// Runs; the seeding rate is measured without and with clients in each
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// The ringseed binary; by default beside this program
    #[arg(long, env = "RINGSEED_BIN")]
    ringseed: Option<PathBuf>,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

/// What a client with a list of torrents asks for.
const FIELDS: [&str; 15] = [
    "id",
    "hashString",
    "name",
    "status",
    "error",
    "errorString",
    "percentDone",
    "totalSize",
    "leftUntilDone",
    "rateDownload",
    "rateUpload",
    "uploadedEver",
    "uploadRatio",
    "eta",
    "downloadDir",
];

fn main() -> ExitCode {
    exit_code(run(&Plan::parse()))
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let shape = Shape { count: plan.torrents, pieces: 64, piece_length: 16 << 10, tracker: None };
    let library = Library::prepare(&plan.dir, shape)?;
    let torrent = TestTorrent::prepare(&plan.dir, 2 << 30, 1 << 20)?;
    torrent.warm()?;
    let daemon = Daemon {
        program: daemon::program(plan.ringseed.as_deref())?,
        state: library.state(),
        data: library.data(),
        cpu: None,
        arguments: vec!["--shards".into(), "1".into()],
    };
    let mut serving = daemon.start()?;
    let wanted = f64::from(plan.torrents);
    serving.wait(Duration::from_secs(120), Duration::from_millis(100), |serving| {
        (serving.metric("ringseed_torrents{state=\"seeding\"}").ok()? >= wanted).then_some(())
    })?;
    serving.call("torrent-add", &json!({"filename": torrent.metainfo, "download-dir": torrent.dir}))?;
    serving.wait(Duration::from_secs(120), Duration::from_millis(100), |serving| {
        (serving.metric("ringseed_torrents{state=\"seeding\"}").ok()? > wanted).then_some(())
    })?;
    // What was loaded just now has changed lately: `recently-active` is asked for when that is over.
    std::thread::sleep(Duration::from_secs(65));

    let mut results = Results::new("rpc");
    results.versions.insert("ringseed".into(), env!("CARGO_PKG_VERSION").into());
    let (mut alone, mut watched, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut all_p50, mut all_p99, mut recent_p99) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=plan.runs {
        let without = rate(plan, &torrent, &serving)?;
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..plan.clients).map(|number| poll(&serving, number, stop.clone())).collect();
        let with = rate(plan, &torrent, &serving);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().map_err(|_| "a client panicked")?;
        }
        let with = with?;
        eprintln!("run {run}: {without:.0} MB/s alone, {with:.0} MB/s with {} clients", plan.clients);
        alone.push(without);
        watched.push(with);
        ratios.push(with / without);

        // Latency while the seeding goes on.
        let load = blast(plan, &torrent, &serving);
        let mut child = load.command()?.stdout(std::process::Stdio::null()).spawn()?;
        std::thread::sleep(Duration::from_secs(1));
        // The client has no core of its own here: it must not wait for those who keep both of them busy.
        ringseed::turns::come_soon()?;
        let all = latencies(&serving, plan.requests, &json!({"fields": FIELDS}));
        let recent = latencies(&serving, plan.requests, &json!({"fields": FIELDS, "ids": "recently-active"}));
        child.kill()?;
        child.wait()?;
        let (all, recent) = (all?, recent?);
        all_p50.push(percentile(&all, 50));
        all_p99.push(percentile(&all, 99));
        recent_p99.push(percentile(&recent, 99));
        eprintln!(
            "run {run}: torrent-get p99 {:.1} ms, recently-active p99 {:.2} ms",
            percentile(&all, 99),
            percentile(&recent, 99)
        );
    }
    let case = format!("{} torrents, seeding", plan.torrents);
    for (what, runs) in [
        ("torrent-get p50, ms", all_p50),
        ("torrent-get p99, ms", all_p99),
        ("recently-active p99, ms", recent_p99),
        ("MB/s alone", alone),
        ("MB/s with clients", watched),
        ("with / alone", ratios),
    ] {
        results.measurements.push(Measurement::new("ringseed", &case, what, runs));
    }
    for (what, wanted, bound) in [
        ("torrent-get p99, ms", Wanted::AtMost, 80.0),
        ("recently-active p99, ms", Wanted::AtMost, 5.0),
        ("with / alone", Wanted::AtLeast, 0.97),
    ] {
        results.targets.push(Target::new(what, wanted, bound, results.median("ringseed", &case, what)));
    }
    results.conclude(&plan.results)?;
    serving.call("torrent-remove", &json!({"ids": [torrent.info_hash.to_string()]}))?;
    serving.stop()?;
    Ok(())
}

fn blast<'a>(plan: &Plan, torrent: &'a TestTorrent, serving: &Serving) -> Load<'a> {
    Load {
        torrent,
        addr: serving.peers,
        seeder_pid: serving.pid(),
        connections: 8,
        depth: 40,
        bytes: plan.gb * 1_000_000_000,
        warmup: 1_000_000_000,
        cpu: Some(1),
        more: Vec::new(),
    }
}

/// The seeding rate in MB/s.
fn rate(plan: &Plan, torrent: &TestTorrent, serving: &Serving) -> Result<f64, Box<dyn Error>> {
    let output = blast(plan, torrent, serving).command()?.output()?;
    Ok(load::read(&output)?.mb_per_s)
}

/// A client that looks at all torrents once and then at those that changed, once a second.
fn poll(serving: &Serving, number: u32, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let mut client = serving.client();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(u64::from(number) * 100));
        let mut arguments = json!({"fields": FIELDS});
        while !stop.load(Ordering::Relaxed) {
            if client.text("torrent-get", &arguments).is_err() {
                return;
            }
            arguments = json!({"fields": FIELDS, "ids": "recently-active"});
            std::thread::sleep(Duration::from_secs(1));
        }
    })
}

/// Times of requests in milliseconds, ascending.
fn latencies(serving: &Serving, requests: u32, arguments: &Value) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut times = Vec::new();
    let mut client = serving.client();
    for _ in 0..requests {
        let began = Instant::now();
        client.text("torrent-get", arguments)?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        std::thread::sleep(Duration::from_millis(20));
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn percentile(ascending: &[f64], percent: usize) -> f64 {
    let place = (ascending.len() * percent).div_ceil(100).saturating_sub(1);
    ascending.get(place).copied().unwrap_or(f64::NAN)
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
    fn percentiles_are_of_the_list() {
        let list: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(&list, 50), percentile(&list, 99)), (50.0, 99.0));
        assert!(percentile(&[], 99).is_nan());
    }
}
