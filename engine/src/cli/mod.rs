//! The command line: arguments in, lines and progress bars out, an exit code at the end.

pub mod args;
pub mod failure;
pub mod quantity;

mod logging;
mod manual;
mod screen;

use args::{Command, CommandLine};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

/// Runs the process's command line.
pub fn run() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // Help and version come this way, too, and are no errors.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    logging::start(&line.output, matches!(line.command, Command::Serve(_)));
    match dispatch(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn dispatch(line: CommandLine) -> Result<(), Failure> {
    match line.command {
        Command::Completions { shell } => manual::completions(shell),
        Command::Man => manual::man(),
        _ => Err(Failure::failed("not there yet")),
    }
}
