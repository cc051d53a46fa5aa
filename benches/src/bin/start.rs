//! Start: how soon a daemon with very many torrents answers and seeds, what it holds open, and what each costs.

use std::{
    error::Error,
    io::{self, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use ringseed_benches::{
    daemon::{self, Daemon, Serving},
    exit_code,
    library::{Library, Shape},
    process,
    results::{Measurement, Results, Target, Wanted},
};
use ringseed_loadtest::skim::{FAST_BIT, Item, PROTOCOL, Skimmer};
use ringseed_proto::metainfo::Metainfo;
use serde_json::json;

/// Starts a daemon that knows many complete torrents, again and again.
#[derive(Debug, Parser)]
#[command(version)]
struct Plan {
    /// Directory for the generated torrents and the daemon's state (kept)
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// Torrents
    #[arg(long, default_value_t = 10_000)]
    torrents: u32,
    /// Pieces of each
    #[arg(long, default_value_t = 1000)]
    pieces: u32,
    /// KiB per piece
    #[arg(long, default_value_t = 256)]
    piece_kib: u32,
    /// Starts; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// The ringseed binary; by default beside this program
    #[arg(long, env = "RINGSEED_BIN")]
    ringseed: Option<PathBuf>,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

/// What one start showed.
#[derive(Debug, Default)]
struct Start {
    answers: f64,
    seeding: f64,
    slowest_answer: f64,
    memory: f64,
    files: f64,
    maps: f64,
    descriptors: f64,
    maps_after_a_block: f64,
    stop: f64,
}

fn main() -> ExitCode {
    exit_code(run(&Plan::parse()))
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let shape = Shape {
        count: plan.torrents,
        pieces: plan.pieces,
        piece_length: plan.piece_kib << 10,
        tracker: None,
    };
    let library = Library::prepare(&plan.dir, shape)?;
    let empty = plan.dir.join("state-empty");
    std::fs::create_dir_all(&empty)?;
    let program = daemon::program(plan.ringseed.as_deref())?;
    let full = Daemon {
        program: program.clone(),
        state: library.state(),
        data: library.data(),
        cpu: None,
        arguments: Vec::new(),
    };
    let bare = Daemon { state: empty, ..full.clone() };

    let mut starts = Vec::new();
    let mut bare_memory = Vec::new();
    for run in 1..=plan.runs {
        bare_memory.push(memory_of_empty(&bare)?);
        let start = measure(&full, &library)?;
        eprintln!("run {run}: {start:?}");
        starts.push(start);
    }

    let mut results = Results::new("start");
    results.versions.insert("ringseed".into(), env!("CARGO_PKG_VERSION").into());
    let case = format!("{} torrents of {} pieces", plan.torrents, plan.pieces);
    let all = |value: fn(&Start) -> f64| starts.iter().map(value).collect::<Vec<f64>>();
    let base = Measurement::new("ringseed", "no torrents", "anonymous MiB", bare_memory);
    let own = base.median.unwrap_or(f64::NAN);
    let per_torrent =
        starts.iter().map(|start| (start.memory - own) * 1024.0 / f64::from(plan.torrents)).collect();
    for (what, runs) in [
        ("RPC answers, s", all(|s| s.answers)),
        ("all seeding, s", all(|s| s.seeding)),
        ("slowest RPC answer, s", all(|s| s.slowest_answer)),
        ("anonymous MiB", all(|s| s.memory)),
        ("KiB per torrent", per_torrent),
        ("data files open", all(|s| s.files)),
        ("data files mapped", all(|s| s.maps)),
        ("mapped after a block was asked for", all(|s| s.maps_after_a_block)),
        ("descriptors", all(|s| s.descriptors)),
        ("stop, s", all(|s| s.stop)),
    ] {
        results.measurements.push(Measurement::new("ringseed", &case, what, runs));
    }
    let value = |what: &str| results.median("ringseed", &case, what);
    let targets = [
        Target::new("RPC answers, s", Wanted::AtMost, 0.5, value("RPC answers, s")),
        Target::new("all seeding, s", Wanted::AtMost, 10.0, value("all seeding, s")),
        Target::new("data files open", Wanted::AtMost, 0.0, value("data files open")),
        Target::new("data files mapped", Wanted::AtMost, 0.0, value("data files mapped")),
        Target::new("KiB per torrent", Wanted::AtMost, 20.0, value("KiB per torrent")),
        Target::new("stop, s", Wanted::AtMost, 5.0, value("stop, s")),
    ];
    results.targets.extend(targets);
    results.measurements.push(base);
    Ok(results.conclude(&plan.results)?)
}

fn memory_of_empty(daemon: &Daemon) -> Result<f64, Box<dyn Error>> {
    let mut serving = daemon.start()?;
    serving.wait(Duration::from_secs(60), Duration::from_millis(20), |serving| {
        serving.status("/readyz").ok().filter(|status| *status == 200)
    })?;
    std::thread::sleep(Duration::from_secs(1));
    let memory = mebibytes(process::memory(serving.pid())?.anon);
    serving.stop()?;
    Ok(memory)
}

fn measure(daemon: &Daemon, library: &Library) -> Result<Start, Box<dyn Error>> {
    let mut start = Start::default();
    let mut serving = daemon.start()?;
    let minute = Duration::from_secs(120);
    serving.wait(minute, Duration::from_millis(2), |serving| {
        serving.call("session-get", &json!({ "fields": ["version"] })).ok()
    })?;
    start.answers = serving.age().as_secs_f64();
    let wanted = f64::from(library.shape.count);
    let mut slowest = 0f64;
    serving.wait(minute, Duration::from_millis(50), |serving| {
        let asked = std::time::Instant::now();
        let stats = serving.call("session-stats", &json!({})).ok()?;
        slowest = slowest.max(asked.elapsed().as_secs_f64());
        if stats["activeTorrentCount"].as_f64()? < wanted {
            return None;
        }
        let seeding = serving.metric("ringseed_torrents{state=\"seeding\"}").ok()?;
        (seeding >= wanted).then_some(())
    })?;
    start.seeding = serving.age().as_secs_f64();
    start.slowest_answer = slowest;
    std::thread::sleep(Duration::from_secs(3));
    let pid = serving.pid();
    start.memory = mebibytes(process::memory(pid)?.anon);
    start.files = process::files_open_below(pid, &library.data())? as f64;
    start.maps = process::maps_below(pid, &library.data())? as f64;
    start.descriptors = process::descriptors(pid)? as f64;
    ask_for_a_block(&serving, library)?;
    start.maps_after_a_block = process::maps_below(pid, &library.data())? as f64;
    start.stop = serving.stop()?;
    Ok(start)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Downloads the first block of one torrent, as a peer.
fn ask_for_a_block(serving: &Serving, library: &Library) -> Result<(), Box<dyn Error>> {
    let metainfo = Metainfo::parse(&std::fs::read(library.torrent(library.shape.count / 2))?)?;
    let mut stream = TcpStream::connect(serving.peers)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut hello = PROTOCOL.to_vec();
    hello.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, FAST_BIT]);
    hello.extend_from_slice(&metainfo.hashes.swarm_hash().0);
    hello.extend_from_slice(b"-RL0100-start-start-");
    // Have none, interested.
    hello.extend_from_slice(&[0, 0, 0, 1, 15, 0, 0, 0, 1, 2]);
    stream.write_all(&hello)?;
    let mut skimmer = Skimmer::new(library.shape.pieces);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut input = &buffer[..n];
        while let Some(item) = skimmer.next(&mut input)? {
            match item {
                Item::Unchoke => {
                    stream.write_all(&[0, 0, 0, 13, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0])?;
                }
                Item::Payload { last: true, .. } => return Ok(()),
                _ => {}
            }
        }
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
