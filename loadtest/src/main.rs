//! Command line of the load generator.

use std::{process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};
use ringseed_loadtest::{
    affinity, blast,
    cli::{BlastArgs, IdleArgs},
    idle,
};
use tokio::sync::Notify;

/// Puts BitTorrent seeders under load and measures them from outside.
#[derive(Debug, Parser)]
#[command(name = "ringseed-loadtest", version)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Raw peer connections against one seeder of any make
    Blast(BlastArgs),
    /// Peers that connect and then want nothing, until standard input ends
    Idle(IdleArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().scenario {
        Scenario::Blast(args) => run_blast(&args),
        Scenario::Idle(args) => run_idle(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, message)) => {
            eprintln!("error: {message}");
            ExitCode::from(status)
        }
    }
}

/// Exit status and message of a run that did not come to an end: 2 is wrong usage.
type Failure = (u8, String);

fn pin(cpu: Option<usize>) -> Result<(), Failure> {
    cpu.map_or(Ok(()), |cpu| {
        affinity::pin_to(cpu).map_err(|error| (1, format!("cannot run on core {cpu}: {error}")))
    })
}

fn run_blast(args: &BlastArgs) -> Result<(), Failure> {
    let config = args.config().map_err(|message| (2, message))?;
    pin(args.cpu)?;
    let report = blast::run(&config).map_err(|error| {
        (if matches!(error, blast::BlastError::Config(_)) { 2 } else { 1 }, error.to_string())
    })?;
    if args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| (1, error.to_string()))?;
        println!("{text}");
    } else {
        print!("{report}");
    }
    Ok(())
}

/// Says in one line of JSON what is open once everybody is, and again at the end.
fn run_idle(args: &IdleArgs) -> Result<(), Failure> {
    let config = args.config().map_err(|message| (2, message))?;
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
