//! Command line of the load generator.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringseed_loadtest::{affinity, blast, cli::BlastArgs};

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
}

fn main() -> ExitCode {
    let Cli { scenario: Scenario::Blast(args) } = Cli::parse();
    let config = match args.config() {
        Ok(config) => config,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    if let Some(cpu) = args.cpu
        && let Err(error) = affinity::pin_to(cpu)
    {
        eprintln!("error: cannot run on core {cpu}: {error}");
        return ExitCode::FAILURE;
    }
    match blast::run(&config) {
        Ok(report) if args.json => match serde_json::to_string_pretty(&report) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        },
        Ok(report) => print!("{report}"),
        Err(error) => {
            eprintln!("error: {error}");
            return match error {
                blast::BlastError::Config(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            };
        }
    }
    ExitCode::SUCCESS
}
