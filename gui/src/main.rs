//! The window: it shows what the library's models say, and hands on what the user does.

mod window;

use clap::Parser;
use ringseed_gui::args::Args;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    let level = if args.debug { tracing::Level::DEBUG } else { tracing::Level::WARN };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    match window::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ringseed-gui: {why}");
            ExitCode::FAILURE
        }
    }
}
