//! What a UDP tracker does with a core: replies per second and CPU time of each, ours beside those that operators
//! choose between, under the load test of the fastest of them.

use std::{
    error::Error,
    fs,
    io::{self, BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::Instant,
};

use clap::Parser;
use ringseed_benches::{
    exit_code, process,
    results::{Measurement, Results, Target, Wanted},
    trackers::{Contestant, Trackers, Transport, write_whitelist},
};

/// Measures UDP trackers one after the other, several times over; each is alone on its core, the load on another.
#[derive(Debug, Parser)]
#[command(version)]
struct Plan {
    /// Who is measured
    #[arg(long, value_delimiter = ',', default_value = "ringseed,aquatic-uring,aquatic,opentracker")]
    who: Vec<Contestant>,
    /// Runs of each; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Seconds of one run that are measured, in steps of 5
    #[arg(long, default_value_t = 15)]
    seconds: u32,
    /// Seconds before that, in which swarms fill
    #[arg(long, default_value_t = 10)]
    warmup: u32,
    /// Core of the tracker
    #[arg(long, default_value_t = 0)]
    tracker_cpu: usize,
    /// Core of the load
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// Directory with `aquatic_udp` (built with its feature `io-uring`) and `aquatic_udp_load_test`
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

/// Torrents that the load test makes up when not told otherwise.
const TORRENTS: usize = 1_000_000;
/// Seconds between the lines in which it says what it did.
const STEP: u32 = 5;
const CASE: &str = "1,000,000 torrents, 2,000,000 peers";
const RATE: &str = "responses/s";
const COST: &str = "CPU us/response";

fn main() -> ExitCode {
    exit_code(run(&Plan::parse()))
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(&plan.dir)?;
    let _urgent = process::become_urgent()?;
    let whitelist = plan.dir.join("whitelist");
    if plan.who.contains(&Contestant::Opentracker) && !whitelist.exists() {
        write_whitelist(&whitelist, LoadHashes::new().take(TORRENTS))?;
    }
    let ours = match &plan.ringseed {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("ringseed-tracker"),
    };
    let trackers = Trackers {
        dir: plan.dir.clone(),
        programs: [("ringseed-tracker", ours), ("aquatic_udp", plan.aquatic.join("aquatic_udp"))].into(),
        whitelist,
        cpu: plan.tracker_cpu,
        arguments: Vec::new(),
    };
    let mut found: Vec<(Contestant, Vec<Sample>)> = plan.who.iter().map(|who| (*who, Vec::new())).collect();
    for number in 1..=plan.runs {
        for (who, samples) in &mut found {
            let sample = measure(plan, &trackers, *who)?;
            eprintln!(
                "run {number}, {}: {:.0} responses/s, {:.2} us each, load {:.0} % of its core, {:.0} MiB",
                who.name(),
                sample.rate,
                sample.cost,
                sample.load * 100.0,
                sample.memory
            );
            samples.push(sample);
        }
    }
    let mut results = Results::new("tracker_udp");
    results.versions.insert("ringseed-tracker".into(), env!("CARGO_PKG_VERSION").into());
    results.versions.insert("aquatic_udp, aquatic_udp_load_test".into(), "0.9.0".into());
    for (who, samples) in &found {
        let mut add = |what: &str, value: fn(&Sample) -> f64| {
            let runs = samples.iter().map(value).collect();
            results.measurements.push(Measurement::new(who.name(), CASE, what, runs));
        };
        add(RATE, |sample| sample.rate);
        add(COST, |sample| sample.cost);
        add("load, % of its core", |sample| sample.load * 100.0);
        add("anonymous MiB", |sample| sample.memory);
    }
    let ours = Contestant::Ringseed.name();
    let cost = results.median(ours, CASE, COST);
    results.targets.push(Target::new("CPU us/response", Wanted::AtMost, 6.5, cost));
    for who in plan.who.iter().filter(|who| **who != Contestant::Ringseed) {
        let name = who.name();
        let bound = if *who == Contestant::AquaticUring { 0.88 } else { 1.0 };
        let ratio = cost / results.median(name, CASE, COST);
        results.targets.push(Target::new(format!("CPU per response / {name}"), Wanted::AtMost, bound, ratio));
        let ratio = results.median(ours, CASE, RATE) / results.median(name, CASE, RATE);
        results.targets.push(Target::new(format!("responses/s / {name}"), Wanted::AtLeast, 1.0, ratio));
    }
    Ok(results.conclude(&plan.results)?)
}

/// What one run gave.
struct Sample {
    rate: f64,
    /// Microseconds of CPU for each reply.
    cost: f64,
    /// Share of its core that the load used.
    load: f64,
    /// Anonymous MiB of the tracker at the end.
    memory: f64,
}

/// A load test that ends with this value.
struct Load(Child);

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(plan: &Plan, trackers: &Trackers, who: Contestant) -> Result<Sample, Box<dyn Error>> {
    let (tracker, address) = trackers.start(who, Transport::Udp)?;
    let config = plan.dir.join("load.toml");
    let duration = plan.warmup + plan.seconds;
    fs::write(
        &config,
        format!("server_address = \"{address}\"\nduration = {duration}\nextra_statistics = false\n"),
    )?;
    let mut command = Command::new("taskset");
    command.args(["-c", &plan.load_cpu.to_string()]).arg(plan.aquatic.join("aquatic_udp_load_test"));
    let mut load = Load(command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    let output = load.0.stdout.take().ok_or("the load has no output")?;
    let cpu = |load: &Load| {
        Ok::<_, io::Error>((process::cpu_seconds(tracker.pid())?, process::cpu_seconds(load.0.id())?))
    };
    let mut step = 0;
    let mut responses = 0.0;
    let mut start = None;
    for line in BufReader::new(output).lines() {
        let line = line?;
        let Some(rate) = line.strip_prefix("Responses in: ") else { continue };
        let rate: f64 = rate.split('/').next().unwrap_or_default().parse()?;
        step += STEP;
        if step == plan.warmup {
            start = Some((Instant::now(), cpu(&load)?));
        } else if step > plan.warmup {
            responses += rate * f64::from(STEP);
        }
        if step >= duration {
            break;
        }
    }
    let (began, (tracker_before, load_before)) = start.ok_or("the load ended early")?;
    let elapsed = began.elapsed().as_secs_f64();
    let (tracker_after, load_after) = cpu(&load)?;
    Ok(Sample {
        rate: responses / elapsed,
        cost: (tracker_after - tracker_before) / responses * 1e6,
        load: (load_after - load_before) / elapsed,
        memory: process::memory(tracker.pid())?.anon as f64 / f64::from(1 << 20),
    })
}

/// The info-hashes of the load test, in its order: bytes of the generator that `rand` 0.8 calls `SmallRng`
/// (xoshiro256++, seeded from PCG32), from the seed that is built into it.
struct LoadHashes([u64; 4]);

impl LoadHashes {
    fn new() -> LoadHashes {
        let mut state = 0xc3aa_8be6_17b3_acce_u64;
        let mut pcg32 = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(11_634_580_027_462_260_723);
            let shifted = ((state >> 18 ^ state) >> 27) as u32;
            u64::from(shifted.rotate_right((state >> 59) as u32))
        };
        LoadHashes(std::array::from_fn(|_| pcg32() | pcg32() << 32))
    }

    fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }
}

impl Iterator for LoadHashes {
    type Item = [u8; 20];

    fn next(&mut self) -> Option<[u8; 20]> {
        // A byte is the lowest of the upper 32 bits.
        Some(std::array::from_fn(|_| (self.next_u64() >> 32) as u8))
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
    fn hashes_are_different() {
        let hashes: std::collections::HashSet<_> = LoadHashes::new().take(1000).collect();
        assert_eq!(hashes.len(), 1000);
    }
}
