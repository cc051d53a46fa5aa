//! The `ringseed-tracker` program: arguments, log, signals, exit codes 0 (stopped), 1 (failed), 2 (usage).

mod arguments;
mod health;
mod settings;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use ringseed_tracker::{Tracker, TrackerError};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::arguments::{Arguments, LogFormat};
use crate::health::HealthError;
use crate::settings::{Settings, SettingsError};

fn main() -> ExitCode {
    // clap itself ends with 2 when the usage is wrong.
    let arguments = Arguments::parse();
    start_log(&arguments);
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match arguments.log_format {
                LogFormat::Human => eprintln!("ringseed-tracker: {error}"),
                LogFormat::Json => tracing::error!("{error}"),
            }
            match error {
                Failure::Settings(_)
                | Failure::Tracker(TrackerError::Interval | TrackerError::NothingToServe) => {
                    ExitCode::from(2)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Why the program ends before it is told to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Tracker(#[from] TrackerError),
    #[error(transparent)]
    Health(#[from] HealthError),
    #[error(transparent)]
    Print(#[from] toml::ser::Error),
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The log goes to standard error; standard output has the ready line only.
fn start_log(arguments: &Arguments) {
    let filter = EnvFilter::new(if arguments.debug { "warn,ringseed_tracker=debug" } else { "warn" });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match arguments.log_format {
        LogFormat::Human => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(text) = arguments.reference()? {
        io::stdout().write_all(&text)?;
        return Ok(());
    }
    let mut settings = match &arguments.config {
        Some(path) => Settings::read(path)?,
        None => Settings::default(),
    };
    arguments.override_settings(&mut settings);
    let config = settings.config()?;
    if arguments.print_config {
        io::stdout().write_all(settings.to_toml()?.as_bytes())?;
        return Ok(());
    }
    if arguments.health {
        return Ok(health::ask(&settings)?);
    }
    raise_descriptor_limit();
    let signals = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before the ready line, so that a signal sent on seeing it is not lost.
    let (mut interrupt, mut terminate, mut hang_up) = {
        let _entered = signals.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    let tracker = match Tracker::start(config) {
        Err(TrackerError::NoSuchAddress(..)) if settings.listens_everywhere() => {
            Tracker::start(settings.config_without_ipv6()?)?
        }
        started => started?,
    };
    print_ready(&tracker, arguments.log_format)?;
    signals.block_on(async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return,
                _ = terminate.recv() => return,
                _ = hang_up.recv() => tracker.reload_lists(),
            }
        }
    });
    tracker.shutdown();
    Ok(())
}

/// One line that scripts can wait for.
fn print_ready(tracker: &Tracker, format: LogFormat) -> io::Result<()> {
    let http = tracker.http_addrs().iter().map(|address| format!("http://{address}/announce"));
    let udp = tracker.udp_addrs().iter().map(|address| format!("udp://{address}"));
    let urls: Vec<String> = http.chain(udp).collect();
    let line = match format {
        LogFormat::Human => format!("ringseed-tracker is ready: {}", urls.join(" ")),
        // The URLs have no characters that JSON escapes.
        LogFormat::Json => format!("{{\"event\":\"ready\",\"urls\":[\"{}\"]}}", urls.join("\",\"")),
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Each HTTP connection is a descriptor: takes as many as the hard limit allows.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "cannot raise the limit of open files");
        }
    }
}
