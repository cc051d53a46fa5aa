//! The command line: arguments in, lines and progress bars out, an exit code at the end.

pub mod args;
pub mod failure;
pub mod quantity;

mod create;
#[cfg(feature = "demo")]
mod demo;
mod fetch;
mod get;
mod logging;
mod manual;
mod remote;
#[cfg(feature = "demo")]
mod scratch;
mod screen;
mod seed;
mod serve;
mod session;
mod show;
mod signals;
mod sources;
mod state_dir;
mod torrent_file;
mod transfer_view;
mod verify;
mod work_bar;

use args::{Command, CommandLine};
use clap::Parser;
use failure::Failure;
use ringseed_proto::metainfo::Info;
use ringseed_storage::lies_under_plain_names;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

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
        Command::Get(args) => get::run(&args, &line.output),
        Command::Seed(args) => seed::run(&args, &line.output),
        Command::Serve(args) => serve::run(&args),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(&args, &line.output),
        Command::Create(args) => create::run(&args, &line.output),
        Command::Show(args) => show::run(&args),
        Command::Verify(args) => verify::run(&args, &line.output),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man => manual::man(),
        Command::Remote(command) => remote::run(&command),
    }
}

/// A runtime for the command's own thread.
fn control_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))
}

/// `path` as the engine needs it, without symlinks on the way; it must be a directory.
fn directory(path: &Path) -> Result<PathBuf, Failure> {
    let refused =
        |reason: String| Failure::failed(format!("cannot use the directory {}: {reason}", path.display()));
    let canonical = path.canonicalize().map_err(|error| refused(failure::io_reason(&error)))?;
    if canonical.is_dir() { Ok(canonical) } else { Err(refused("it is not a directory".into())) }
}

/// A torrent's content with the names that its files have below a directory: those of the torrent by the letter when the
/// data of a client that keeps these is there.
fn as_found(info: &Arc<Info>, data_dir: &Path) -> Arc<Info> {
    match lies_under_plain_names(data_dir, info) {
        true => Arc::new(Info::clone(info).with_plain_paths()),
        false => info.clone(),
    }
}
