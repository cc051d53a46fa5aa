//! `blast` against seeders of several makes in one run: each is started alone, put under the same load and measured, one
//! after the other and all over again; the table compares medians.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    affinity,
    blast::{self, BlastConfig, BlastReport, Order, Target, Window},
    config_error::ConfigError,
    data::TestTorrent,
    limits::{CONNECTIONS_MAX, DEPTH_MAX},
    progress::Progress,
    quantity::Bytes,
    report::{Chart, Report},
    scenario::{Kind, check_number, check_piece},
    seeder::{self, Launch, Maker},
    spread::median,
    swarm::{RunError, Tools},
};

/// A comparison of seeders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompareConfig {
    /// `blast`.
    pub kind: Kind,
    /// Name of the scenario.
    pub name: String,
    /// Who seeds; the others are compared with the first one.
    pub seeders: Vec<Maker>,
    /// Size of the torrent.
    pub size: Bytes,
    /// Length of a piece.
    pub piece: Bytes,
    /// Peers.
    pub connections: u32,
    /// Requests in flight of each.
    pub depth: u32,
    /// Payload that is measured in each run.
    pub measure: Bytes,
    /// Payload before that.
    pub warmup: Bytes,
    /// Longest wait until every peer is served, seconds; some makes never serve all.
    pub ramp_s: f64,
    /// Runs of each seeder.
    pub runs: u32,
    /// Check the hash of every piece.
    pub verify: bool,
    /// Core of the seeder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seeder_cpu: Option<usize>,
    /// Core of the load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_cpu: Option<usize>,
    /// Further arguments of `ringseed seed`.
    pub engine_args: Vec<String>,
}

impl Default for CompareConfig {
    fn default() -> CompareConfig {
        CompareConfig {
            kind: Kind::Blast,
            name: "blast".into(),
            seeders: vec![Maker::Ringseed],
            size: Bytes(512 << 20),
            piece: Bytes(1 << 20),
            connections: 50,
            depth: 40,
            measure: Bytes(2 << 30),
            warmup: Bytes(512 << 20),
            ramp_s: 20.0,
            runs: 3,
            verify: false,
            seeder_cpu: None,
            load_cpu: None,
            engine_args: Vec::new(),
        }
    }
}

impl CompareConfig {
    /// Looks whether it can run.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.seeders.is_empty() {
            return Err(ConfigError::NoSeeders);
        }
        if self.runs == 0 || self.measure.0 == 0 || self.size.0 == 0 {
            return Err(ConfigError::AtLeastOne("runs, measure and size"));
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return Err(ConfigError::Range { key: "connections", max: CONNECTIONS_MAX });
        }
        check_number("ramp_s", self.ramp_s)?;
        if !(1..=DEPTH_MAX).contains(&self.depth) {
            return Err(ConfigError::Range { key: "depth", max: DEPTH_MAX });
        }
        check_piece(self.piece)?;
        Ok(())
    }
}

/// Runs the comparison.
///
/// # Errors
/// The scenario cannot run, or the torrent cannot be made. A seeder that is missing or fails is part of the report.
pub fn run(config: &CompareConfig, tools: &Tools, progress: &Progress) -> Result<Report, RunError> {
    config.check()?;
    let home = tools.run_dir()?;
    progress.say("making the torrent");
    // Kept for the next run, as it is the same every time.
    let torrent = TestTorrent::prepare(&tools.dir.join("torrents"), config.size.0, config.piece.0 as u32);
    let torrent = torrent.map_err(RunError::doing("make the torrent"))?;
    torrent.warm().map_err(RunError::doing("read the torrent's data"))?;
    let mut arguments: Vec<String> = seeder::RINGSEED_ARGS.split_whitespace().map(str::to_owned).collect();
    // One core is one shard.
    arguments
        .extend(config.seeder_cpu.map(|_| ["--shards".to_owned(), "1".to_owned()]).into_iter().flatten());
    arguments.extend(config.engine_args.iter().cloned());
    let launch = Launch {
        cpus: config.seeder_cpu.map(|cpu| cpu.to_string()),
        ringseed: tools.ringseed.clone(),
        ringseed_args: arguments,
        encrypted: false,
        scratch: home.path().to_owned(),
    };
    let target = target_of(&torrent)?;
    let mut found: BTreeMap<Maker, Vec<BlastReport>> = BTreeMap::new();
    let mut failures: BTreeMap<Maker, String> = BTreeMap::new();
    let mut report = Report::new("blast", &config.name, config);
    for maker in &config.seeders {
        match maker.version(&launch) {
            Some(version) => {
                report.versions.insert(maker.name().into(), version);
            }
            None => {
                failures.insert(*maker, "it is not installed".into());
            }
        }
    }
    let steps = u64::from(config.runs) * config.seeders.len() as u64;
    for run in 0..config.runs {
        for (place, maker) in config.seeders.iter().enumerate() {
            if failures.contains_key(maker) {
                continue;
            }
            let step = u64::from(run) * config.seeders.len() as u64 + place as u64;
            progress
                .show(step * 1000 / steps, format!("run {} of {}: {}", run + 1, config.runs, maker.name()));
            match once(config, *maker, &torrent, &launch, &target) {
                Ok(measured) => found.entry(*maker).or_default().push(measured),
                Err(why) => {
                    failures.insert(*maker, why);
                }
            }
        }
    }
    conclude(&mut report, config, &found, &failures);
    progress.done();
    Ok(report)
}

/// The torrent as the load asks for it, with its hashes.
pub(crate) fn target_of(torrent: &TestTorrent) -> Result<Target, RunError> {
    let read = || {
        let bytes = std::fs::read(&torrent.metainfo)?;
        let metainfo = ringseed_proto::metainfo::Metainfo::parse(&bytes).map_err(std::io::Error::other)?;
        let hashes = metainfo.info.piece_hashes().to_vec();
        Target::new(torrent.info_hash.0, torrent.piece_length, torrent.total, Some(hashes))
            .map_err(std::io::Error::other)
    };
    read().map_err(RunError::doing("read the torrent"))
}

/// One seeder, one load.
fn once(
    config: &CompareConfig,
    maker: Maker,
    torrent: &TestTorrent,
    launch: &Launch,
    target: &Target,
) -> Result<BlastReport, String> {
    let running = maker.start(torrent, launch).map_err(|error| error.to_string())?;
    let load = BlastConfig {
        addr: running.addr,
        targets: vec![target.clone()],
        connections: config.connections,
        depth: config.depth,
        greedy: None,
        window: Window::Bytes(config.measure.0),
        warmup_bytes: config.warmup.0,
        ramp: Duration::from_secs_f64(config.ramp_s),
        stall: Duration::from_secs(30),
        order: Order::Pieces,
        rate: None,
        seed: 1,
        first: 0,
        fast: true,
        verify: config.verify,
        spread_sources: true,
        read_buffer: 256 * 1024,
        rc4: false,
        seeder_pid: Some(running.pid()),
    };
    // A thread of its own: what this one starts next must not inherit the core.
    let cpu = config.load_cpu;
    let load = std::thread::spawn(move || {
        if let Some(cpu) = cpu {
            affinity::pin_to(cpu).map_err(|error| format!("cannot run on core {cpu}: {error}"))?;
        }
        blast::run(&load).map_err(|error| error.to_string())
    });
    load.join().map_err(|_| "the load thread panicked".to_owned())?
}

/// A quantity of the comparison.
struct Quantity {
    name: &'static str,
    help: &'static str,
    column: &'static str,
    of: fn(&BlastReport) -> f64,
    /// What a unit of it is in the column.
    unit: f64,
}

const QUANTITIES: [Quantity; 8] = [
    Quantity {
        name: "payload_bytes_per_second",
        help: "Payload rate.",
        column: "MB/s",
        of: |report| report.mb_per_s * 1e6,
        unit: 1e6,
    },
    Quantity {
        name: "seeder_cpu_seconds_per_gb",
        help: "CPU seconds of the seeder per 10^9 bytes of payload.",
        column: "CPU s/GB",
        of: |report| report.seeder.as_ref().map_or(f64::NAN, |cost| cost.cpu_seconds_per_gb),
        unit: 1.0,
    },
    Quantity {
        name: "request_p50_seconds",
        help: "Half of the requests were answered within this time.",
        column: "p50 ms",
        of: |report| report.request_latency_us.p50 as f64 / 1e6,
        unit: 1e-3,
    },
    Quantity {
        name: "request_p99_seconds",
        help: "99 % of the requests were answered within this time.",
        column: "p99 ms",
        of: |report| report.request_latency_us.p99 as f64 / 1e6,
        unit: 1e-3,
    },
    Quantity {
        name: "fairness",
        help: "Jain's index of the bytes per connection: 1 is even.",
        column: "fairness",
        of: |report| report.per_connection.jain,
        unit: 1.0,
    },
    Quantity {
        name: "connections_served",
        help: "Connections that were served before the measurement.",
        column: "served",
        of: |report| f64::from(report.served),
        unit: 1.0,
    },
    Quantity {
        name: "seeder_anonymous_memory_bytes",
        help: "Anonymous memory of the seeder at the end.",
        column: "memory MB",
        of: |report| report.seeder.as_ref().map_or(f64::NAN, |cost| cost.memory.anon as f64),
        unit: 1e6,
    },
    Quantity {
        name: "load_cpu_seconds_per_gb",
        help: "CPU seconds of the load per 10^9 bytes of payload.",
        column: "load CPU s/GB",
        of: |report| report.load.cpu_seconds_per_gb,
        unit: 1.0,
    },
];

/// The report of one load at a seeder that ran already.
pub fn measured(found: &BlastReport) -> Report {
    let settings = serde_json::json!({ "connections": found.connections, "depth": found.depth });
    let mut report = Report::new("blast", &found.addr, &settings);
    let detail = format!("{} of {}", found.served, found.connections);
    report.check("somebody is served", found.served > 0, detail);
    if found.totals.pieces_ok + found.totals.pieces_bad > 0 {
        let detail = format!("{} pieces right, {} wrong", found.totals.pieces_ok, found.totals.pieces_bad);
        report.check("it sends the right bytes", found.totals.pieces_bad == 0, detail);
    }
    for quantity in &QUANTITIES {
        let value = (quantity.of)(found);
        // Without its process id nothing is known of the seeder's cost.
        if !value.is_nan() {
            report.number(quantity.name, quantity.help, value);
        }
    }
    report
}

fn conclude(
    report: &mut Report,
    config: &CompareConfig,
    found: &BTreeMap<Maker, Vec<BlastReport>>,
    failures: &BTreeMap<Maker, String>,
) {
    let middle = |maker: Maker, of: fn(&BlastReport) -> f64| {
        let values: Vec<f64> = found.get(&maker).into_iter().flatten().map(of).collect();
        median(&values).unwrap_or(f64::NAN)
    };
    let cpu = QUANTITIES[1].of;
    let first = config.seeders.first().copied();
    let mut rows = Vec::new();
    for maker in &config.seeders {
        let label = [("seeder", maker.name())];
        if let Some(why) = failures.get(maker) {
            report.check(&format!("{} is measured", maker.name()), false, why.as_str());
            continue;
        }
        let runs = found.get(maker).map_or(0, Vec::len);
        report.check(&format!("{} is measured", maker.name()), true, format!("{runs} runs"));
        if config.verify {
            let sum =
                |of: fn(&BlastReport) -> u64| found.get(maker).into_iter().flatten().map(of).sum::<u64>();
            let (right, wrong) = (sum(|run| run.totals.pieces_ok), sum(|run| run.totals.pieces_bad));
            let detail = format!("{right} pieces right, {wrong} wrong");
            report.check(&format!("{} sends the right bytes", maker.name()), wrong == 0 && right > 0, detail);
        }
        let mut row = vec![maker.name().to_owned()];
        for quantity in &QUANTITIES {
            let value = middle(*maker, quantity.of);
            report.labelled(quantity.name, quantity.help, &label, value);
            let shown = value / quantity.unit;
            let digits = if shown.fract() == 0.0 {
                0
            } else if shown < 10.0 {
                3
            } else {
                1
            };
            row.push(format!("{shown:.digits$}"));
        }
        let ratio = first.map_or(f64::NAN, |first| middle(*maker, cpu) / middle(first, cpu));
        row.push(format!("{ratio:.2}"));
        rows.push(row);
    }
    let over = first.map_or_else(String::new, |first| format!("CPU x {}", first.name()));
    let mut columns = vec!["seeder"];
    columns.extend(QUANTITIES.iter().map(|quantity| quantity.column));
    columns.push(&over);
    report.table(&format!("Medians of {} runs", config.runs), &columns, rows);
    for (title, quantity) in [
        ("Payload rate", &QUANTITIES[0]),
        ("CPU of the seeder", &QUANTITIES[1]),
        ("Slowest hundredth of the requests", &QUANTITIES[3]),
    ] {
        let bars: Vec<(String, f64)> = config
            .seeders
            .iter()
            .filter(|maker| found.contains_key(maker) && !failures.contains_key(maker))
            .map(|maker| (maker.name().to_owned(), middle(*maker, quantity.of) / quantity.unit))
            .collect();
        report.charts.push(Chart::bars(title, "", quantity.column, bars));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_run_is_refused() {
        let good = CompareConfig::default();
        assert_eq!(good.check(), Ok(()));
        for bad in [
            CompareConfig { seeders: Vec::new(), ..good.clone() },
            CompareConfig { runs: 0, ..good.clone() },
            CompareConfig { ramp_s: f64::NAN, ..good.clone() },
            CompareConfig { depth: DEPTH_MAX + 1, ..good.clone() },
            CompareConfig { connections: 0, ..good.clone() },
            CompareConfig { piece: Bytes(3), ..good },
        ] {
            assert!(bad.check().is_err());
        }
    }

    #[test]
    fn who_is_missing_fails_a_check_and_has_no_row() {
        let config =
            CompareConfig { seeders: vec![Maker::Ringseed, Maker::Aria2], ..CompareConfig::default() };
        let mut report = Report::new("blast", "x", &config);
        let failures =
            [(Maker::Aria2, "it is not installed".to_owned()), (Maker::Ringseed, "no".into())].into();
        conclude(&mut report, &config, &BTreeMap::new(), &failures);
        assert!(!report.passed() && report.checks.len() == 2);
        assert!(report.tables[0].rows.is_empty());
    }
}
