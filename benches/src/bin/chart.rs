//! Draws a results file of `benches/runs` as an SVG beside it.

use std::{error::Error, fs, path::PathBuf, process::ExitCode};

use clap::Parser;
use ringseed_benches::chart::Charted;
use ringseed_benches::exit_code;

/// Draws one quantity of a results file as an SVG of bars.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Results file
    file: PathBuf,
    /// The quantity, as the results name it
    #[arg(long, default_value = "CPU s/GB")]
    what: String,
    /// The SVG; by default beside the results file
    #[arg(long, short)]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit_code(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let complain = |error: &dyn std::fmt::Display| format!("{}: {error}", cli.file.display());
    let text = fs::read_to_string(&cli.file).map_err(|e| complain(&e))?;
    let svg = Charted::parse(&text).and_then(|charted| charted.svg(&cli.what)).map_err(|e| complain(&e))?;
    let output = cli.output.clone().unwrap_or_else(|| cli.file.with_extension("svg"));
    fs::write(&output, svg).map_err(|error| format!("{}: {error}", output.display()))?;
    println!("{}", output.display());
    Ok(())
}
