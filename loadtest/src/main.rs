//! Command line of the load test. Exit codes: 0 success, 1 a failure or a failed check, 2 wrong usage.

use std::{process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};
use ringseed_loadtest::{
    affinity, blast, blast_compare,
    cli::{BlastArgs, ChaosArgs, IdleArgs, RunArgs, SoakArgs, SwarmArgs, ToolArgs, TrackerArgs},
    idle, idle_run,
    progress::Progress,
    report::{Output, Report},
    scenario::{SHIPPED, Scenario, ScenarioError},
    soak,
    swarm::{self, RunError},
    tracker_load,
};
use tokio::sync::Notify;

/// Puts load on BitTorrent seeders, swarms and trackers and measures them from outside.
#[derive(Debug, Parser)]
#[command(name = "ringseed-loadtest", version)]
#[command(after_help = "Exit codes: 0 success, 1 a failure or a failed check, 2 wrong usage.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a swarm of real engines until every peer has all data
    Swarm(Whole<SwarmArgs>),
    /// Run a swarm in which engines, disks, tracker and network fail
    Chaos(Whole<ChaosArgs>),
    /// Load seeders of any client with raw peer connections
    Blast(Box<Whole<BlastArgs>>),
    /// Connect peers that request nothing
    Idle(Whole<IdleArgs>),
    /// Load a tracker with announces over UDP or HTTP
    Tracker(Whole<TrackerArgs>),
    /// Repeat the same swarm and check that memory and descriptors do not grow
    Soak(Whole<SoakArgs>),
    /// Run a scenario of any kind
    Run(Whole<RunArgs>),
    /// List the shipped scenarios, or print one as a template
    Scenarios {
        /// The scenario to print
        name: Option<String>,
    },
}

/// A scenario with its programs and its report.
#[derive(Debug, clap::Args)]
struct Whole<T: clap::Args> {
    #[command(flatten)]
    args: T,
    #[command(flatten)]
    tools: ToolArgs,
    #[command(flatten)]
    output: Output,
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    affinity::raise_descriptor_limit();
    let outcome = match &command {
        Command::Swarm(whole) => run(whole, SwarmArgs::scenario),
        Command::Chaos(whole) => run(whole, ChaosArgs::scenario),
        Command::Blast(whole) if whole.args.seeder.addr.is_some() => blast_at(&whole.args, &whole.output),
        Command::Blast(whole) => run(whole, BlastArgs::scenario),
        Command::Idle(whole) if whole.args.seeder.addr.is_some() => idle_at(&whole.args, &whole.output),
        Command::Idle(whole) => run(whole, IdleArgs::scenario),
        Command::Tracker(whole) => run(whole, TrackerArgs::scenario),
        Command::Soak(whole) => run(whole, SoakArgs::scenario),
        Command::Run(whole) => run(whole, RunArgs::scenario),
        Command::Scenarios { name } => scenarios(name.as_deref()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, message)) => {
            eprintln!("error: {message}");
            ExitCode::from(status)
        }
    }
}

/// Exit status and message of a run that did not come to a good end: 2 is wrong usage.
type Failure = (u8, String);

fn usage(error: impl ToString) -> Failure {
    (2, error.to_string())
}

fn failed(error: impl ToString) -> Failure {
    (1, error.to_string())
}

fn run<T: clap::Args>(
    whole: &Whole<T>,
    scenario: impl Fn(&T) -> Result<Scenario, ScenarioError>,
) -> Result<(), Failure> {
    let scenario = scenario(&whole.args).map_err(usage)?;
    let tools = whole.tools.tools().map_err(usage)?;
    let progress = Progress::new(whole.output.quiet, 1000);
    let report = match &scenario {
        Scenario::Swarm(config) => swarm::run(config, &tools, &progress),
        Scenario::Blast(config) => blast_compare::run(config, &tools, &progress),
        Scenario::Idle(config) => idle_run::run(config, &tools, &progress),
        Scenario::Tracker(config) => tracker_load::run(config, &tools, &progress),
        Scenario::Soak(config) => soak::run(config, &tools, &progress),
    };
    let report = report.map_err(|error| match error {
        RunError::Config(_) | RunError::NoRoom { .. } | RunError::NoProgram { .. } => usage(error),
        RunError::Idle(idle::IdleError::Config(_)) => usage(error),
        RunError::NoTracker | RunError::Idle(_) | RunError::LoadPanicked | RunError::Failed { .. } => {
            failed(error)
        }
    })?;
    tell(&report, &whole.output)
}

/// Writes the report; a check that did not hold is a failure.
fn tell(report: &Report, output: &Output) -> Result<(), Failure> {
    print!("{}", report.render(output.format).map_err(failed)?);
    if let Some(dir) = &output.report {
        for path in report.write_files(dir).map_err(failed)? {
            eprintln!("wrote {}", path.display());
        }
    }
    let broken: Vec<&str> =
        report.checks.iter().filter(|check| !check.passed).map(|check| check.what.as_str()).collect();
    if broken.is_empty() { Ok(()) } else { Err(failed(format!("did not hold: {}", broken.join("; ")))) }
}

fn scenarios(name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else {
        for (name, text) in SHIPPED {
            let first = text.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']);
            println!("{name:<16} {first}");
        }
        return Ok(());
    };
    let found = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
    let (_, text) = found.ok_or_else(|| usage(format!("there is no scenario '{name}'")))?;
    print!("{text}");
    Ok(())
}

fn pin(cpu: Option<usize>) -> Result<(), Failure> {
    cpu.map_or(Ok(()), |cpu| {
        affinity::pin_to(cpu).map_err(|error| failed(format!("cannot run on core {cpu}: {error}")))
    })
}

/// Measures a seeder that runs already.
fn blast_at(args: &BlastArgs, output: &Output) -> Result<(), Failure> {
    let config = args.config().map_err(usage)?;
    pin(args.cpu)?;
    let report = blast::run(&config).map_err(|error| {
        (if matches!(error, blast::BlastError::Config(_)) { 2 } else { 1 }, error.to_string())
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(failed)?);
    } else if output.is_plain() {
        print!("{report}");
    } else {
        tell(&blast_compare::measured(&report), output)?;
    }
    Ok(())
}

/// Says in one line of JSON what is open once everybody is, and again at the end.
fn idle_at(args: &IdleArgs, output: &Output) -> Result<(), Failure> {
    if !output.is_plain() {
        return Err(usage(
            "--report and --format are for scenarios: with --addr there are two lines of JSON",
        ));
    }
    let config = args.config().map_err(usage)?;
    pin(args.cpu)?;
    let leave = Arc::new(Notify::new());
    let waiting = leave.clone();
    std::thread::spawn(move || {
        // Whatever ends standard input ends the run.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        waiting.notify_one();
    });
    let say = |report: &idle::IdleReport| match serde_json::to_string(report) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("error: {error}"),
    };
    let report = idle::run(&config, &leave, say).map_err(|error| {
        (if matches!(error, idle::IdleError::Config(_)) { 2 } else { 1 }, error.to_string())
    })?;
    say(&report);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_a_running_seeder_need_one() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).map(drop);
        assert!(parse("x blast --seeder ringseed,rtorrent --runs 2 -c 8").is_ok());
        assert!(parse("x blast --addr 127.0.0.1:1 --torrent a.torrent --json --spread-sources").is_ok());
        for line in [
            "x blast --json",
            "x blast --addr 127.0.0.1:1",
            "x blast --addr a:1 --torrent t --seeder rtorrent",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
