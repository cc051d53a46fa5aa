//! `soak`: the same swarm again and again for a bounded time, with an eye on what grows.
//!
//! The engines live through the whole run. In each round every peer downloads the torrent, the bytes are compared, and
//! torrent and data are removed again: whatever is not given back adds up.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{
    config_error::ConfigError,
    data::TestTorrent,
    fleet::{Engine, EngineSpec, Network, TrackerProcess},
    limits::SWARM_ENGINES_MAX,
    progress::Progress,
    quantity::Bytes,
    report::{Chart, Report, Series},
    scenario::{Kind, check_number, check_piece},
    seeder_process,
    spread::median,
    swarm::{RunError, Tools, same_bytes},
};

/// Memory that may come and go with the moment at which it is looked at, bytes.
const MEMORY_SLACK: f64 = 4e6;
/// The same for descriptors.
const DESCRIPTOR_SLACK: f64 = 4.0;
const LOOK: Duration = Duration::from_millis(50);

/// A swarm that downloads again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SoakConfig {
    /// `soak`.
    pub kind: Kind,
    /// Name of the scenario.
    pub name: String,
    /// Length, seconds. A round that has begun is brought to its end.
    pub seconds: f64,
    /// Most rounds; 0 is as many as there is time for.
    pub rounds_max: u32,
    /// Engines that download.
    pub peers: u32,
    /// Size of the torrent.
    pub size: Bytes,
    /// Length of a piece.
    pub piece: Bytes,
    /// Longest round, seconds.
    pub round_limit_s: f64,
    /// How much more memory the last third of the rounds may need than the second, percent. The first third fills
    /// buffers and caches.
    pub growth_percent_max: f64,
    /// Further arguments of `ringseed serve`.
    pub engine_args: Vec<String>,
}

impl Default for SoakConfig {
    fn default() -> SoakConfig {
        SoakConfig {
            kind: Kind::Soak,
            name: "soak".into(),
            seconds: 60.0,
            rounds_max: 0,
            peers: 3,
            size: Bytes(32 << 20),
            piece: Bytes(256 << 10),
            round_limit_s: 120.0,
            growth_percent_max: 10.0,
            engine_args: Vec::new(),
        }
    }
}

impl SoakConfig {
    /// Looks whether it can run.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.peers == 0 || self.peers >= SWARM_ENGINES_MAX {
            return Err(ConfigError::Range { key: "peers", max: SWARM_ENGINES_MAX - 1 });
        }
        if self.size.0 == 0 {
            return Err(ConfigError::NoSize);
        }
        check_piece(self.piece)?;
        for (key, value) in [
            ("seconds", self.seconds),
            ("round_limit_s", self.round_limit_s),
            ("growth_percent_max", self.growth_percent_max),
        ] {
            check_number(key, value)?;
        }
        Ok(())
    }
}

/// A process after one round.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reading {
    at: f64,
    anon: f64,
    descriptors: f64,
}

/// Runs it.
///
/// # Errors
/// The scenario cannot run, or a program could not be started. A round that fails is part of the report.
pub fn run(config: &SoakConfig, tools: &Tools, progress: &Progress) -> Result<Report, RunError> {
    config.check()?;
    let home = tools.run_dir()?;
    let network = Network::loopback(config.peers + 1).map_err(RunError::doing("make the network"))?;
    let arguments = ["--interval".to_owned(), "30".into()];
    let tracker = TrackerProcess::start(&tools.tracker, network.address(0), &arguments, home.path());
    let tracker = tracker.map_err(RunError::doing("start the tracker"))?;
    let url = format!("http://{}/announce", tracker.addr());
    let torrent = TestTorrent::with_tiers(
        &home.path().join("original"),
        config.size.0,
        config.piece.0 as u32,
        &[vec![url]],
    );
    let torrent = torrent.map_err(RunError::doing("make the torrent"))?;
    let mut engines = Vec::new();
    for number in 1..=config.peers + 1 {
        let seed = number == 1;
        let name = if seed { "seed".to_owned() } else { format!("peer {}", number - 1) };
        let own = home.path().join(format!("e{number}"));
        let data = if seed { torrent.dir.clone() } else { own.join("data") };
        let mut arguments: Vec<String> =
            ["--quiet", "--no-pin", "--shards", "1"].into_iter().map(str::to_owned).collect();
        arguments.extend(config.engine_args.iter().cloned());
        let program = tools.ringseed.clone();
        let spec = EngineSpec { name: name.clone(), number, program, home: own, data, arguments };
        let mut engine = Engine::new(spec).map_err(RunError::doing(format!("prepare {name}")))?;
        engine.spawn(&network).map_err(RunError::doing(format!("start {name}")))?;
        engine.wait_ready().map_err(RunError::doing(format!("start {name}")))?;
        engines.push(engine);
    }
    engines[0].add(&torrent).map_err(RunError::doing("give the seed the torrent"))?;

    let (began, length) = (Instant::now(), Duration::from_secs_f64(config.seconds));
    let mut readings: Vec<Vec<Reading>> = vec![Vec::new(); engines.len() + 1];
    let mut round_seconds = Vec::new();
    let failure = loop {
        let started = Instant::now();
        if let Err(why) = round(config, &mut engines[1..], &torrent) {
            break Some(format!("round {}: {why}", round_seconds.len() + 1));
        }
        round_seconds.push(started.elapsed().as_secs_f64());
        let processes = engines.iter().map(Engine::pid).chain([tracker.pid()]);
        for (pid, list) in processes.zip(&mut readings) {
            if let Some(reading) = pid.and_then(|pid| read(pid, began.elapsed().as_secs_f64())) {
                list.push(reading);
            }
        }
        let share = began.elapsed().as_secs_f64() / config.seconds.max(1e-9);
        progress.show((share * 1000.0) as u64, format!("{} rounds", round_seconds.len()));
        if began.elapsed() >= length || round_seconds.len() as u32 == config.rounds_max {
            break None;
        }
    };
    let mut report = Report::new("soak", &config.name, config);
    report.versions.insert("ringseed".into(), Tools::version(&tools.ringseed));
    report.versions.insert("ringseed-tracker".into(), Tools::version(&tools.tracker));
    let rounds = round_seconds.len();
    let detail = failure.clone().unwrap_or_else(|| format!("{rounds} rounds of {} downloads", config.peers));
    report.check("every download is byte-exact", failure.is_none() && rounds > 0, detail);
    let names: Vec<String> =
        engines.iter().map(|engine| engine.spec.name.clone()).chain(["tracker".into()]).collect();
    conclude(&mut report, config, &names, &readings);
    report.number("rounds", "Rounds that were completed.", rounds as f64);
    report.number("round_seconds", "Median length of a round.", median(&round_seconds).unwrap_or(f64::NAN));
    let moved = torrent.total as f64 * f64::from(config.peers) * rounds as f64;
    report.number("content_bytes", "Bytes that were downloaded in all.", moved);
    let mut bad = Vec::new();
    for engine in &mut engines {
        if let Err(error) = engine.stop() {
            bad.push(error.to_string());
        }
    }
    report.check("every engine stops well", bad.is_empty(), bad.join("; "));
    progress.done();
    Ok(report)
}

/// Every peer downloads, is compared and forgets.
fn round(config: &SoakConfig, peers: &mut [Engine], torrent: &TestTorrent) -> Result<(), String> {
    let limit = Instant::now() + Duration::from_secs_f64(config.round_limit_s);
    let named = |engine: &Engine, error: std::io::Error| format!("{}: {error}", engine.spec.name);
    for engine in peers.iter_mut() {
        engine.add(torrent).map_err(|error| named(engine, error))?;
    }
    for engine in peers.iter_mut() {
        loop {
            engine.complain_if_ended().map_err(|error| error.to_string())?;
            let sample = engine.sample().map_err(|error| named(engine, error))?;
            if sample.as_ref().is_some_and(crate::fleet::Sample::complete) {
                break;
            }
            if Instant::now() > limit {
                return Err(format!("{} is not complete in time: {sample:?}", engine.spec.name));
            }
            std::thread::sleep(LOOK);
        }
    }
    for engine in peers.iter_mut() {
        let copy = engine.spec.data.join(&torrent.name);
        let differs = same_bytes(&torrent.file(), &copy).map_err(|error| named(engine, error))?;
        if let Some(at) = differs {
            return Err(format!("{} differs at byte {at}", engine.spec.name));
        }
        engine.remove_torrent(torrent).map_err(|error| named(engine, error))?;
        while copy.exists() {
            if Instant::now() > limit {
                return Err(format!("{} does not delete its data", engine.spec.name));
            }
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}

fn read(pid: u32, at: f64) -> Option<Reading> {
    let anon = seeder_process::memory(pid).ok()?.anon as f64;
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as f64;
    Some(Reading { at, anon, descriptors })
}

/// Medians of the second and the last third of a list; `None` when it is too short for that.
fn thirds(values: &[f64]) -> Option<(f64, f64)> {
    let third = values.len() / 3;
    if third == 0 {
        return None;
    }
    Some((median(&values[third..2 * third])?, median(&values[values.len() - third..])?))
}

fn conclude(report: &mut Report, config: &SoakConfig, names: &[String], readings: &[Vec<Reading>]) {
    type Of = fn(&Reading) -> f64;
    let anon: Of = |reading| reading.anon;
    let descriptors: Of = |reading| reading.descriptors;
    let kinds = [
        ("memory", "anonymous_memory_bytes", anon, MEMORY_SLACK),
        ("descriptors", "open_descriptors", descriptors, DESCRIPTOR_SLACK),
    ];
    for (what, number, of, slack) in kinds {
        let (mut grown, mut seen) = (Vec::new(), 0);
        for (name, list) in names.iter().zip(readings) {
            let values: Vec<f64> = list.iter().map(of).collect();
            let Some((before, after)) = thirds(&values) else { continue };
            seen += 1;
            report.labelled(
                number,
                "Median of the last third of the rounds.",
                &[("process", name.as_str())],
                after,
            );
            if after > before * (1.0 + config.growth_percent_max / 100.0) + slack {
                grown.push(format!("{name} from {before:.0} to {after:.0}"));
            }
        }
        let detail = if grown.is_empty() { format!("{seen} processes are steady") } else { grown.join("; ") };
        // With fewer than three rounds nothing can be said.
        let passed = grown.is_empty() && seen == names.len();
        report.check(&format!("{what} does not grow"), passed, detail);
        let unit = if what == "memory" { 1e6 } else { 1.0 };
        let lines = names.iter().zip(readings).map(|(name, list)| {
            let points: Vec<(f64, f64)> =
                list.iter().map(|reading| (reading.at, of(reading) / unit)).collect();
            Series::new(name, &points)
        });
        let axis = if what == "memory" { "anonymous MB" } else { "open" };
        report.charts.push(Chart::lines(&format!("Growth of {what}"), "seconds", axis, lines.collect()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concluded(anon: impl Fn(usize) -> f64, rounds: usize) -> Report {
        let config = SoakConfig::default();
        let mut report = Report::new("soak", "x", &config);
        let list = (0..rounds)
            .map(|round| Reading { at: round as f64, anon: anon(round), descriptors: 30.0 })
            .collect();
        conclude(&mut report, &config, &["peer 1".into()], &[list]);
        report
    }

    #[test]
    fn what_grows_without_end_is_found_and_what_settles_is_not() {
        assert!(concluded(|round| 50e6 + 10e6 * (round.min(3) as f64), 30).passed());
        let leaking = concluded(|round| 50e6 + 2e6 * round as f64, 30);
        let failed: Vec<&str> =
            leaking.checks.iter().filter(|check| !check.passed).map(|check| check.what.as_str()).collect();
        assert_eq!(failed, ["memory does not grow"]);
    }

    #[test]
    fn two_rounds_prove_nothing() {
        assert!(!concluded(|_| 1e6, 2).passed());
        assert_eq!(thirds(&[1.0, 2.0]), None);
        assert_eq!(thirds(&[1.0, 2.0, 3.0]), Some((2.0, 3.0)));
    }

    #[test]
    fn what_cannot_run_is_refused() {
        let good = SoakConfig::default();
        assert_eq!(good.check(), Ok(()));
        for bad in [
            SoakConfig { peers: 0, ..good.clone() },
            SoakConfig { seconds: f64::INFINITY, ..good.clone() },
            SoakConfig { piece: Bytes(5), ..good },
        ] {
            assert!(bad.check().is_err());
        }
    }
}
