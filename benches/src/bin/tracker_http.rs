//! What an HTTP tracker does with a core: announces per second on connections that stay open, and CPU time of each,
//! ours beside those that operators choose between.

use std::{error::Error, fs, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use ringseed_benches::{
    exit_code,
    http_load::{Counts, HttpLoad, TORRENTS, info_hash},
    process,
    results::{Measurement, Results, Target, Wanted},
    trackers::{Contestant, Trackers, Transport, write_whitelist},
};
use ringseed_loadtest::affinity::pin_to;

/// Measures HTTP trackers one after the other, several times over; each is alone on its core, the load on another.
#[derive(Debug, Parser)]
#[command(version)]
struct Plan {
    /// Who is measured
    #[arg(long, value_delimiter = ',', default_value = "ringseed,aquatic,opentracker")]
    who: Vec<Contestant>,
    /// Runs of each; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Seconds of one run that are measured
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Seconds before that, in which swarms fill
    #[arg(long, default_value_t = 3)]
    warmup: u64,
    /// Connections that stay open
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// Core of the tracker
    #[arg(long, default_value_t = 0)]
    tracker_cpu: usize,
    /// Core of the load
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// Directory with `aquatic_http`
    #[arg(long, env = "AQUATIC_BIN")]
    aquatic: PathBuf,
    /// The tracker; by default beside this program
    #[arg(long)]
    ringseed: Option<PathBuf>,
    /// Directory for configurations and opentracker's list
    #[arg(long, default_value = "/var/tmp/ringseed-trackers")]
    dir: PathBuf,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

const RATE: &str = "responses/s";
const COST: &str = "CPU us/response";

fn main() -> ExitCode {
    exit_code(run(&Plan::parse()))
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(&plan.dir)?;
    let whitelist = plan.dir.join("whitelist-http");
    write_whitelist(&whitelist, (0..TORRENTS).map(info_hash))?;
    let ours = match &plan.ringseed {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("ringseed-tracker"),
    };
    let trackers = Trackers {
        dir: plan.dir.clone(),
        programs: [("ringseed-tracker", ours), ("aquatic_http", plan.aquatic.join("aquatic_http"))].into(),
        whitelist,
        cpu: plan.tracker_cpu,
        arguments: Vec::new(),
    };
    pin_to(plan.load_cpu)?;
    let _urgent = process::become_urgent()?;
    let case = format!("{} connections, {TORRENTS} torrents", plan.connections);
    let mut found: Vec<(Contestant, Vec<Sample>)> = plan.who.iter().map(|who| (*who, Vec::new())).collect();
    for number in 1..=plan.runs {
        for (who, samples) in &mut found {
            let sample = measure(plan, &trackers, *who)?;
            eprintln!(
                "run {number}, {}: {:.0} responses/s, {:.2} us each, {} failures, {} connections opened again",
                who.name(),
                sample.rate,
                sample.cost,
                sample.counts.failed,
                sample.counts.reopened
            );
            samples.push(sample);
        }
    }
    let mut results = Results::new("tracker_http");
    results.versions.insert("ringseed-tracker".into(), env!("CARGO_PKG_VERSION").into());
    results.versions.insert("aquatic_http".into(), "0.9.0".into());
    for (who, samples) in &found {
        let mut add = |what: &str, value: fn(&Sample) -> f64| {
            let runs = samples.iter().map(value).collect();
            results.measurements.push(Measurement::new(who.name(), &case, what, runs));
        };
        add(RATE, |sample| sample.rate);
        add(COST, |sample| sample.cost);
        add("% busy", |sample| sample.busy * 100.0);
        add("% reopened", |sample| {
            100.0 * sample.counts.reopened as f64 / sample.counts.answered.max(1) as f64
        });
    }
    let ours = Contestant::Ringseed.name();
    for who in plan.who.iter().filter(|who| **who != Contestant::Ringseed) {
        let name = who.name();
        let ratio = results.median(ours, &case, COST) / results.median(name, &case, COST);
        results.targets.push(Target::new(format!("CPU per response / {name}"), Wanted::AtMost, 1.0, ratio));
        let ratio = results.median(ours, &case, RATE) / results.median(name, &case, RATE);
        results.targets.push(Target::new(format!("responses/s / {name}"), Wanted::AtLeast, 1.0, ratio));
    }
    Ok(results.conclude(&plan.results)?)
}

/// What one run gave.
struct Sample {
    rate: f64,
    /// Microseconds of CPU for each answered announce.
    cost: f64,
    /// Share of its core that the tracker used.
    busy: f64,
    counts: Counts,
}

fn measure(plan: &Plan, trackers: &Trackers, who: Contestant) -> Result<Sample, Box<dyn Error>> {
    let (tracker, address) = trackers.start(who, Transport::Http)?;
    let mut load = HttpLoad::open(address, plan.connections)?;
    load.run(Duration::from_secs(plan.warmup))?;
    let before = process::cpu_seconds(tracker.pid())?;
    let seconds = plan.seconds as f64;
    let counts = load.run(Duration::from_secs(plan.seconds))?;
    let used = process::cpu_seconds(tracker.pid())? - before;
    let answered = counts.answered as f64;
    if counts.answered == 0 {
        return Err(format!("{} answered nothing but {} failures", who.name(), counts.failed).into());
    }
    Ok(Sample { rate: answered / seconds, cost: used / answered * 1e6, busy: used / seconds, counts })
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
