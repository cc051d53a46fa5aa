//! `idle` with a seeder of its own: what open connections cost that want nothing.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{
    affinity,
    blast_compare::target_of,
    config_error::ConfigError,
    data::TestTorrent,
    idle::{self, IdleConfig, IdleReport},
    limits::{CONNECTIONS_MAX, PEER_NUMBER_MAX},
    progress::Progress,
    quantity::Bytes,
    report::{Chart, Report, Series},
    scenario::{Kind, check_number},
    seeder::{self, Launch, Maker},
    seeder_process,
    swarm::{RunError, Tools},
};

/// Number of the first peer.
const FIRST: u32 = 100_000;

/// Idle peers at one seeder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdleRunConfig {
    /// `idle`.
    pub kind: Kind,
    /// Name of the scenario.
    pub name: String,
    /// Who seeds.
    pub seeder: Maker,
    /// Peers.
    pub connections: u32,
    /// How long they stay, seconds.
    pub hold_s: f64,
    /// Longest wait until all are greeted, seconds.
    pub ramp_s: f64,
    /// Size of the torrent.
    pub size: Bytes,
    /// Core of the seeder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seeder_cpu: Option<usize>,
    /// Core of the load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_cpu: Option<usize>,
    /// Further arguments of `ringseed seed`.
    pub engine_args: Vec<String>,
}

impl Default for IdleRunConfig {
    fn default() -> IdleRunConfig {
        IdleRunConfig {
            kind: Kind::Idle,
            name: "idle".into(),
            seeder: Maker::Ringseed,
            connections: 1000,
            hold_s: 10.0,
            ramp_s: 60.0,
            size: Bytes(64 << 20),
            seeder_cpu: None,
            load_cpu: None,
            engine_args: Vec::new(),
        }
    }
}

impl IdleRunConfig {
    /// Looks whether it can run.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=CONNECTIONS_MAX.min(PEER_NUMBER_MAX - FIRST)).contains(&self.connections) {
            return Err(ConfigError::Range { key: "connections", max: CONNECTIONS_MAX });
        }
        if self.size.0 == 0 {
            return Err(ConfigError::NoSize);
        }
        for (key, value) in [("hold_s", self.hold_s), ("ramp_s", self.ramp_s)] {
            check_number(key, value)?;
        }
        Ok(())
    }
}

/// Runs it.
///
/// # Errors
/// The scenario cannot run, or the seeder does not start.
pub fn run(config: &IdleRunConfig, tools: &Tools, progress: &Progress) -> Result<Report, RunError> {
    config.check()?;
    let home = tools.run_dir()?;
    progress.say("making the torrent and starting the seeder");
    let torrent = TestTorrent::prepare(&tools.dir.join("torrents"), config.size.0, 256 << 10);
    let torrent = torrent.map_err(RunError::doing("make the torrent"))?;
    let mut arguments: Vec<String> = seeder::RINGSEED_ARGS.split_whitespace().map(str::to_owned).collect();
    // It has a bound of its own on connections, which must not be the one that is measured.
    let bound = (config.connections + 100).to_string();
    arguments.extend(["--max-connections".into(), bound]);
    arguments.extend(config.engine_args.iter().cloned());
    let launch = Launch {
        cpus: config.seeder_cpu.map(|cpu| cpu.to_string()),
        ringseed: tools.ringseed.clone(),
        ringseed_args: arguments,
        encrypted: false,
        scratch: home.path().to_owned(),
    };
    let running = config.seeder.start(&torrent, &launch).map_err(RunError::doing("start the seeder"))?;
    let pid = running.pid();
    let memory = || seeder_process::memory(pid).map_err(RunError::doing("read the seeder's memory"));
    let cpu = || seeder_process::cpu_seconds(pid).map_err(RunError::doing("read the seeder's CPU time"));
    let before = memory()?;
    let idle = IdleConfig {
        addr: running.addr,
        targets: vec![target_of(&torrent)?],
        connections: config.connections,
        first: FIRST,
        spread_sources: true,
        ramp: Duration::from_secs_f64(config.ramp_s),
    };
    let leave = Arc::new(Notify::new());
    let (sender, greeted) = std::sync::mpsc::channel::<IdleReport>();
    let (waiting, core) = (leave.clone(), config.load_cpu);
    let load = std::thread::spawn(move || {
        if let Some(core) = core {
            affinity::pin_to(core).map_err(RunError::doing(format!("run on core {core}")))?;
        }
        // Nobody listens only when the run was given up.
        let ready = |report: &IdleReport| drop(sender.send(report.clone()));
        Ok::<_, RunError>(idle::run(&idle, &waiting, ready)?)
    });
    progress.say("opening connections");
    let Ok(opened) = greeted.recv() else {
        let ended = load.join().map_err(|_| RunError::LoadPanicked)?;
        return Err(ended.err().unwrap_or(RunError::LoadPanicked));
    };
    let (open_memory, open_cpu) = (memory()?, cpu()?);
    let (mut growth, steps) = (vec![(0.0, open_memory.anon as f64 / 1e6)], 20u32);
    for step in 1..=steps {
        std::thread::sleep(Duration::from_secs_f64(config.hold_s / f64::from(steps)));
        growth.push((config.hold_s * f64::from(step) / f64::from(steps), memory()?.anon as f64 / 1e6));
        progress.show(u64::from(step * 1000 / steps), format!("{} connections are open", opened.open));
    }
    let (after, used) = (memory()?, cpu()? - open_cpu);
    leave.notify_one();
    let left = load.join().map_err(|_| RunError::LoadPanicked)??;
    let mut report = Report::new("idle", &config.name, config);
    if let Some(version) = config.seeder.version(&launch) {
        report.versions.insert(config.seeder.name().into(), version);
    }
    for (what, seen) in [("all are greeted", &opened), ("all stay", &left)] {
        let reasons: Vec<String> =
            seen.ended.iter().map(|(why, count)| format!("; {count} x {why}")).collect();
        let detail = format!("{} of {} open{}", seen.open, config.connections, reasons.concat());
        report.check(what, seen.open == config.connections, detail);
    }
    let each = (after.anon as f64 - before.anon as f64) / f64::from(left.open.max(1));
    report.number("connections_open", "Connections at the end.", f64::from(left.open));
    report.number("memory_bytes_per_connection", "Growth of the seeder's anonymous memory by each.", each);
    report.number("seeder_anonymous_memory_bytes", "Anonymous memory of the seeder.", after.anon as f64);
    report.number(
        "seeder_cpu_ratio",
        "Part of a core that the seeder used meanwhile.",
        used / config.hold_s.max(1e-9),
    );
    report.number("keep_alives", "Keep-alives received.", left.keep_alives as f64);
    let line = vec![Series::new("anonymous", &growth)];
    report.charts.push(Chart::lines("Memory of the seeder while nothing happens", "seconds", "MB", line));
    progress.done();
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_run_is_refused() {
        let good = IdleRunConfig::default();
        assert_eq!(good.check(), Ok(()));
        for bad in [
            IdleRunConfig { connections: 0, ..good.clone() },
            IdleRunConfig { hold_s: -1.0, ..good.clone() },
            IdleRunConfig { size: Bytes(0), ..good },
        ] {
            assert!(bad.check().is_err());
        }
    }
}
