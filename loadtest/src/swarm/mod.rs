//! `swarm` and `chaos`: real engines, one tracker, and what happens to them, until every peer has everything.
//!
//! [`SwarmConfig`] says what is to be; the schedule says what is due and knows neither clocks nor processes; the world
//! does it and looks; the outcome turns what was seen into a report.

mod config;
mod files;
mod outcome;
mod schedule;
mod seat;
mod world;

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

pub use config::{Action, Announce, Arrival, Event, Place, SeedsLeave, SwarmConfig};
pub(crate) use files::same_bytes;
use schedule::Schedule;
use world::World;

use crate::{
    config_error::ConfigError, fleet, idle::IdleError, progress::Progress, report::Report, seeder::beside,
};

/// Programs and places that every scenario needs.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The `ringseed` binary.
    pub ringseed: PathBuf,
    /// The `ringseed-tracker` binary.
    pub tracker: PathBuf,
    /// Directory for data and state of runs.
    pub dir: PathBuf,
    /// Keep a run's directory.
    pub keep: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory has too little room for what is moved.
    #[error(
        "{} has room for {room_mib} MiB, and this takes {needed_mib} MiB: choose another --dir, or less --size or --peers",
        .dir.display()
    )]
    NoRoom {
        /// The directory.
        dir: PathBuf,
        /// MiB that it has.
        room_mib: u64,
        /// MiB that are needed.
        needed_mib: u64,
    },
    /// A program that takes part is not there.
    #[error(
        "there is no {}: build it with `cargo build --release -p {name}`, or name it with --{name}", .path.display()
    )]
    NoProgram {
        /// Where it was looked for.
        path: PathBuf,
        /// Its name.
        name: String,
    },
    /// There is no tracker to put under load.
    #[error("there is no tracker")]
    NoTracker,
    /// Connections could not be opened.
    #[error(transparent)]
    Idle(#[from] IdleError),
    /// The load ended in a way that nobody foresaw.
    #[error("the load thread panicked")]
    LoadPanicked,
    /// Something that was needed failed.
    #[error("cannot {what}: {error}")]
    Failed {
        /// What was to be done.
        what: String,
        /// Why it was not.
        error: io::Error,
    },
}

impl RunError {
    /// Says what was to be done when an error came.
    pub(crate) fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
        let what = what.into();
        move |error| RunError::Failed { what, error }
    }
}

impl Tools {
    /// The programs beside this one unless others are named, and `dir`.
    ///
    /// # Errors
    /// A program is not there.
    pub fn find(
        ringseed: Option<PathBuf>,
        tracker: Option<PathBuf>,
        dir: PathBuf,
    ) -> Result<Tools, RunError> {
        let find = |name: &str, named: Option<PathBuf>| {
            let path = beside(name, named.as_deref()).map_err(RunError::doing(format!("find {name}")))?;
            if path.exists() {
                return std::path::absolute(&path).map_err(RunError::doing(format!("find {name}")));
            }
            Err(RunError::NoProgram { path, name: name.to_owned() })
        };
        let dir = std::path::absolute(&dir).map_err(RunError::doing("use --dir"))?;
        Ok(Tools {
            ringseed: find("ringseed", ringseed)?,
            tracker: find("ringseed-tracker", tracker)?,
            dir,
            keep: false,
        })
    }

    /// A fresh directory for one run, removed with the value unless runs are kept.
    pub(crate) fn run_dir(&self) -> Result<tempfile::TempDir, RunError> {
        let make = || {
            std::fs::create_dir_all(&self.dir)?;
            let mut dir = tempfile::Builder::new().prefix("run-").tempdir_in(&self.dir)?;
            dir.disable_cleanup(self.keep);
            Ok(dir)
        };
        make().map_err(RunError::doing(format!("make a directory in {}", self.dir.display())))
    }

    /// What a program says its version is.
    pub(crate) fn version(program: &std::path::Path) -> String {
        let output = std::process::Command::new(program).arg("--version").output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

/// Runs a swarm to its end or its limit. It needs the calling thread for itself: with links or a full disk the thread
/// gets namespaces of its own.
///
/// # Errors
/// The scenario cannot run, or a program could not be started. What goes wrong in the swarm is part of the report.
pub fn run(config: &SwarmConfig, tools: &Tools, progress: &Progress) -> Result<Report, RunError> {
    config.check()?;
    if config.needs_isolation() {
        fleet::isolate().map_err(RunError::doing("make namespaces for this scenario"))?;
    }
    progress.say("preparing the torrent, the tracker and the seeds");
    let mut world = World::build(config, tools)?;
    let mut schedule = Schedule::new(config);
    let started = Instant::now();
    let pause = Duration::from_millis(config.sample_ms);
    let limit = Duration::from_secs_f64(config.limit_s);
    loop {
        let now = started.elapsed().as_secs_f64();
        for step in schedule.due(now, world.percent()) {
            world.step(now, step, &mut schedule)?;
        }
        world.look(now);
        progress.show((world.percent() * 10.0) as u64, world.line());
        if (world.all_complete() && schedule.is_over()) || started.elapsed() >= limit {
            break;
        }
        let next = Duration::from_secs_f64(now) + pause;
        std::thread::sleep(next.saturating_sub(started.elapsed()));
    }
    let seconds = started.elapsed().as_secs_f64();
    progress.say("comparing every byte");
    let mut report = outcome::report(config, &mut world, seconds);
    report.versions.insert("ringseed".into(), Tools::version(&tools.ringseed));
    report.versions.insert("ringseed-tracker".into(), Tools::version(&tools.tracker));
    progress.done();
    Ok(report)
}
