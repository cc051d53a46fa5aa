//! Cold seed: a data set larger than memory, read in random order by many peers, beside `fio` reading the same.

use std::{
    error::Error,
    io,
    path::PathBuf,
    process::{ExitCode, Stdio},
    time::Duration,
};

use clap::Parser;
use ringseed_benches::{
    daemon::{self, Daemon, Serving},
    data::TestTorrent,
    exit_code,
    fio::{self, Reads},
    load::{Load, LoadReport},
    loop_delay::LoopDelays,
    memory_group::MemoryGroup,
    page_cache::forget,
    process,
    results::{Measurement, Results, Target, Wanted},
};
use serde_json::json;

/// Most disk bytes per byte sent, when peers read whole pieces.
const AMPLIFICATION: f64 = 1.1;
/// Least rate, as a part of fio's.
const FIO: f64 = 0.9;
/// Loop delay below which 99.9 % of the turns have to stay, seconds.
const DELAY: f64 = 0.010;
/// What peers of warm pieces keep at least of the rate they want.
const KEPT: f64 = 0.9;

const RATE: &str = "MB/s";
const DISK: &str = "disk bytes per byte sent";
const P999: &str = "loop delay p99.9, at most, ms";
const LONGEST: &str = "longest loop delay so far, ms";
const CPU: &str = "CPU s/GB";
const SHARE: &str = "part of the wanted rate";

const BLOCK: u32 = 16 * 1024;
const ENGINE: &str = "ringseed";
const BUFFERED: &str = "fio";
const DIRECT: &str = "fio, direct";
const BESIDE: &str = "warm peers beside whole pieces";

/// Measures seeding of data that does not fit in memory.
#[derive(Debug, Parser)]
#[command(version)]
struct Plan {
    /// Directory for the generated torrents and the daemon's state (kept), on the disk to be measured
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// MiB of the data set
    #[arg(long, default_value_t = 4096)]
    torrent_mib: u64,
    /// KiB per piece
    #[arg(long, default_value_t = 1024)]
    piece_kib: u32,
    /// MiB of memory, page cache included, that the seeder (and fio) may use
    #[arg(long, default_value_t = 512)]
    memory_mib: u64,
    /// Peers of the cold torrent
    #[arg(long, default_value_t = 50)]
    connections: u32,
    /// Requests in flight per peer
    #[arg(long, default_value_t = 40)]
    depth: u32,
    /// GB sent per run of whole pieces, after a quarter of that unmeasured
    #[arg(long, default_value_t = 3.0)]
    pieces_gb: f64,
    /// GB sent per run of random blocks, after a quarter of that unmeasured
    #[arg(long, default_value_t = 1.5)]
    blocks_gb: f64,
    /// Reads that fio has in flight, of pieces
    #[arg(long, default_value_t = 50)]
    fio_pieces: u32,
    /// Reads that fio has in flight, of blocks
    #[arg(long, default_value_t = 256)]
    fio_blocks: u32,
    /// Seconds of a run of fio
    #[arg(long, default_value_t = 4)]
    fio_seconds: u32,
    /// Peers that ask for warm pieces
    #[arg(long, default_value_t = 10)]
    warm_peers: u32,
    /// Bytes per second that each of them wants
    #[arg(long, default_value_t = 4_000_000)]
    warm_rate: u64,
    /// MiB of their torrent
    #[arg(long, default_value_t = 64)]
    warm_mib: u64,
    /// Runs; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Core of the seeder and of fio
    #[arg(long, default_value_t = 0)]
    seeder_cpu: usize,
    /// Core of the load
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// Measure only this: pieces, blocks, beside
    #[arg(long, value_delimiter = ',', default_value = "pieces,blocks,beside")]
    cases: Vec<String>,
    /// The ringseed binary; by default beside this program
    #[arg(long, env = "RINGSEED_BIN")]
    ringseed: Option<PathBuf>,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

/// How cold data is asked for.
#[derive(Debug, Clone, Copy)]
struct Pattern {
    case: &'static str,
    /// As the load names it.
    order: &'static str,
    read_bytes: u32,
    reads: u32,
    gb: f64,
}

fn main() -> ExitCode {
    exit_code(run(&Plan::parse()))
}

/// What is set up for all runs.
struct Bench<'a> {
    plan: &'a Plan,
    group: MemoryGroup,
    cold: TestTorrent,
    warm: TestTorrent,
    results: Results,
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let piece_bytes = plan.piece_kib << 10;
    let mut bench = Bench {
        plan,
        group: MemoryGroup::create(plan.memory_mib << 20)?,
        cold: TestTorrent::prepare(&plan.dir.join("cold"), plan.torrent_mib << 20, piece_bytes)?,
        warm: TestTorrent::prepare(&plan.dir.join("cold"), plan.warm_mib << 20, piece_bytes)?,
        results: Results::new("cold_seed"),
    };
    let versions = &mut bench.results.versions;
    versions.insert(ENGINE.into(), env!("CARGO_PKG_VERSION").into());
    versions.insert(BUFFERED.into(), fio::version().ok_or("fio is not installed")?);
    // Whoever generated the data has its pages, outside the group.
    forget(&bench.cold.file())?;
    forget(&bench.warm.file())?;
    let serving = bench.start()?;
    let patterns = [
        ("pieces", "whole pieces", piece_bytes, plan.fio_pieces, plan.pieces_gb),
        ("blocks", "random blocks", BLOCK, plan.fio_blocks, plan.blocks_gb),
    ];
    for run in 1..=plan.runs {
        for (order, case, read_bytes, reads, gb) in patterns {
            if plan.cases.iter().any(|wanted| wanted == order) {
                bench.pattern(&serving, Pattern { case, order, read_bytes, reads, gb }, run)?;
            }
        }
        if plan.cases.iter().any(|wanted| wanted == "beside") {
            bench.beside(&serving, run)?;
        }
    }
    drop(serving);
    let targets = targets(&bench.results);
    bench.results.targets = targets;
    print!("{}", bench.results.render());
    println!("written to {}", bench.results.write(&plan.results)?.display());
    Ok(())
}

impl Bench<'_> {
    /// The daemon in its group, seeding both torrents.
    fn start(&self) -> Result<Serving, Box<dyn Error>> {
        let state = self.plan.dir.join("state-cold");
        // The state of an earlier run must not help a later one.
        let _ = std::fs::remove_dir_all(&state);
        let daemon = Daemon {
            program: daemon::program(self.plan.ringseed.as_deref())?,
            state,
            data: self.cold.dir.clone(),
            cpu: Some(self.plan.seeder_cpu),
            arguments: vec!["--shards".into(), "1".into()],
        };
        let mut serving = daemon.start()?;
        self.group.add(serving.pid())?;
        let pause = Duration::from_millis(100);
        serving.wait(Duration::from_secs(30), pause, |serving| {
            (serving.status("/readyz").ok()? == 200).then_some(())
        })?;
        for torrent in [&self.cold, &self.warm] {
            let arguments = json!({ "filename": torrent.metainfo, "download-dir": torrent.dir });
            serving.call("torrent-add", &arguments)?;
        }
        serving.wait(Duration::from_secs(300), pause, |serving| {
            (serving.metric("ringseed_torrents{state=\"seeding\"}").ok()? >= 2.0).then_some(())
        })?;
        Ok(serving)
    }

    /// The engine, then fio, each beginning with an empty cache.
    fn pattern(&mut self, serving: &Serving, pattern: Pattern, run: u32) -> Result<(), Box<dyn Error>> {
        self.group.drop_cache()?;
        let before = Counted::read(serving)?;
        let seed = run.to_string();
        let asked = ["--order", pattern.order, "--seed", &seed];
        let report = self.plan.load(&self.cold, serving, pattern.gb, &asked).run()?;
        let after = Counted::settled(serving)?;
        self.add_engine(pattern.case, &report, &before, &after);
        for (who, direct) in [(BUFFERED, false), (DIRECT, true)] {
            self.group.drop_cache()?;
            let file = self.cold.file();
            let reads = Reads {
                file: &file,
                bytes: pattern.read_bytes,
                depth: pattern.reads,
                direct,
                seconds: self.plan.fio_seconds,
            };
            let rate = reads.rate(self.group.command(self.plan.seeder_cpu, "fio"))?;
            eprintln!("{}, run {run}: {who} {rate:.0} MB/s", pattern.case);
            self.add(who, pattern.case, RATE, rate);
        }
        Ok(())
    }

    /// Peers with a fixed rate on a warm torrent, alone and then beside peers that read cold pieces.
    fn beside(&mut self, serving: &Serving, run: u32) -> Result<(), Box<dyn Error>> {
        self.group.drop_cache()?;
        let wanted = self.plan.warm_rate as f64 * f64::from(self.plan.warm_peers);
        let rate = self.plan.warm_rate.to_string();
        let torrent = self.warm.clone();
        let mut warm = self.plan.load(&torrent, serving, wanted * 5.0 / 1e9, &["--rate", &rate]);
        warm.connections = self.plan.warm_peers;
        let alone = warm.run()?;
        self.add(ENGINE, "warm peers alone", SHARE, alone.mb_per_s * 1e6 / wanted);

        let before = Counted::read(serving)?;
        let seed = (100 + run).to_string();
        let order = ["--order", "pieces", "--seed", &seed];
        // As long as it takes: it ends with the warm peers.
        let mut cold = self.plan.load(&self.cold, serving, 1000.0, &order).command()?;
        let cold = Helper(cold.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        std::thread::sleep(Duration::from_secs(2));
        let report = warm.run();
        drop(cold);
        let report = report?;
        let after = Counted::settled(serving)?;
        let share = report.mb_per_s * 1e6 / wanted;
        eprintln!("{BESIDE}, run {run}: {share:.3} of the wanted rate");
        self.add(ENGINE, BESIDE, SHARE, share);
        let least = report.per_connection.min as f64 / report.per_connection.median as f64;
        self.add(ENGINE, BESIDE, "least served / median", least);
        self.add(ENGINE, BESIDE, P999, 1e3 * after.delays.quantile_since(&before.delays, 0.999));
        Ok(())
    }

    fn add_engine(&mut self, case: &str, report: &LoadReport, before: &Counted, after: &Counted) {
        let disk = (after.disk - before.disk) / (after.sent - before.sent);
        let delay = 1e3 * after.delays.quantile_since(&before.delays, 0.999);
        eprintln!(
            "{case}: {:.0} MB/s, {disk:.3} disk bytes per byte, p99.9 <= {delay} ms, longest {:.0} ms",
            report.mb_per_s,
            1e3 * after.longest
        );
        self.add(ENGINE, case, RATE, report.mb_per_s);
        self.add(ENGINE, case, DISK, disk);
        self.add(ENGINE, case, P999, delay);
        self.add(ENGINE, case, LONGEST, 1e3 * after.longest);
        self.add(ENGINE, case, CPU, report.seeder.cpu_seconds_per_gb);
    }

    /// One more run of a measurement.
    fn add(&mut self, who: &str, case: &str, what: &str, value: f64) {
        let all = &mut self.results.measurements;
        match all.iter_mut().find(|m| m.who == who && m.case == case && m.what == what) {
            Some(known) => {
                let mut runs = std::mem::take(&mut known.runs);
                runs.push(value);
                *known = Measurement::new(who, case, what, runs);
            }
            None => all.push(Measurement::new(who, case, what, vec![value])),
        }
    }
}

fn targets(results: &Results) -> Vec<Target> {
    let of = |who, case, what| results.median(who, case, what);
    let mut targets = Vec::new();
    for case in ["whole pieces", "random blocks"] {
        let ratio = of(ENGINE, case, RATE) / of(BUFFERED, case, RATE);
        targets.push(Target::new(format!("ringseed / fio, {case}"), Wanted::AtLeast, FIO, ratio));
    }
    let disk = of(ENGINE, "whole pieces", DISK);
    targets.push(Target::new(format!("{DISK}, whole pieces"), Wanted::AtMost, AMPLIFICATION, disk));
    for case in ["whole pieces", "random blocks", BESIDE] {
        let delay = of(ENGINE, case, P999);
        targets.push(Target::new(format!("{P999}, {case}"), Wanted::AtMost, DELAY * 1e3, delay));
    }
    let share = of(ENGINE, BESIDE, SHARE);
    targets.push(Target::new(format!("{SHARE}, {BESIDE}"), Wanted::AtLeast, KEPT, share));
    targets.retain(|target| !target.value.is_nan());
    targets
}

/// Counters of the daemon at one moment.
struct Counted {
    /// Bytes that its threads had the disk read.
    disk: f64,
    /// Payload bytes sent.
    sent: f64,
    delays: LoopDelays,
    /// The longest loop delay since it started, seconds.
    longest: f64,
}

impl Counted {
    fn read(serving: &Serving) -> io::Result<Counted> {
        Ok(Counted {
            disk: process::disk_read_bytes(serving.pid())? as f64,
            sent: serving.metric("ringseed_payload_bytes_total{direction=\"sent\"}")?,
            delays: LoopDelays::read(serving)?,
            longest: serving.metric("ringseed_shard_loop_delay_longest_seconds{shard=\"0\"}")?,
        })
    }

    /// When what was counted is published: four times a second.
    fn settled(serving: &Serving) -> io::Result<Counted> {
        std::thread::sleep(Duration::from_millis(600));
        Counted::read(serving)
    }
}

impl Plan {
    fn load<'a>(&self, torrent: &'a TestTorrent, serving: &Serving, gb: f64, more: &[&str]) -> Load<'a> {
        Load {
            torrent,
            addr: serving.peers,
            seeder_pid: serving.pid(),
            connections: self.connections,
            depth: self.depth,
            bytes: (gb * 1e9) as u64,
            warmup: (gb * 0.25e9) as u64,
            cpu: Some(self.load_cpu),
            more: more.iter().map(|flag| (*flag).to_owned()).collect(),
        }
    }
}

/// A child that is killed when it is no longer needed.
struct Helper(std::process::Child);

impl Drop for Helper {
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

    #[test]
    fn runs_are_collected_and_held_against_fio() {
        let mut results = Results::new("cold_seed");
        for (who, rates) in [(ENGINE, vec![90.0, 95.0, 96.0]), (BUFFERED, vec![100.0])] {
            results.measurements.push(Measurement::new(who, "whole pieces", RATE, rates));
        }
        let targets = targets(&results);
        assert_eq!((targets.len(), targets[0].value, targets[0].met), (1, 0.95, true));
    }
}
