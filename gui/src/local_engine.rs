//! An engine on this machine that the window starts when none answers.

use crate::endpoint::Endpoint;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Ports that are tried, from the usual one on.
const PORTS: std::ops::Range<u16> = 9091..9131;

/// A started engine. It goes on when this is dropped.
#[derive(Debug)]
pub struct LocalEngine {
    child: Child,
    endpoint: Endpoint,
    log: PathBuf,
}

impl LocalEngine {
    /// Starts one at the first free port.
    ///
    /// `apart` gives it a state of its own, so that several windows can each have an engine.
    ///
    /// # Errors
    /// The program is not found or cannot be started, or no port is free. For people.
    pub fn start(apart: bool) -> Result<LocalEngine, String> {
        let program = program().ok_or("the program ringseed is not installed beside this one or in PATH")?;
        let port = free_port().ok_or("no port from 9091 on is free")?;
        let state = state_directory(apart.then_some(port)).ok_or("there is no home directory")?;
        let failed = |error: io::Error| format!("{} cannot be started: {error}", program.display());
        std::fs::create_dir_all(&state).map_err(failed)?;
        let log_path = state.join("gui-engine.log");
        let log = std::fs::File::create(&log_path).map_err(failed)?;
        let child = Command::new(&program)
            .args(["serve", "--rpc", &format!("127.0.0.1:{port}")])
            .arg("--state-dir")
            .arg(&state)
            .arg("--download-dir")
            .arg(download_directory())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // It may outlive the window, and Ctrl+C in the window's terminal is not for it.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        tracing::debug!(port, pid = child.id(), "started an engine");
        let endpoint = Endpoint::parse(&format!("127.0.0.1:{port}"))?;
        Ok(LocalEngine { child, endpoint, log: log_path })
    }

    /// Where it answers.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where it writes what happens.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end and waits until it has: it saves its state and says goodbye to trackers within 5 s.
    pub fn stop(mut self) {
        if !self.is_running() {
            return;
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid
            && rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok()
        {
            // An error would mean that it has been waited for already.
            let _ = self.child.wait();
        }
    }
}

/// The engine's program: beside this one, or in `PATH`.
pub(crate) fn program() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("ringseed")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|directory| directory.join("ringseed"));
    beside.into_iter().chain(in_path).find(|program| program.is_file())
}

fn free_port() -> Option<u16> {
    PORTS.into_iter().find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

/// Where the engine keeps its state: the place that `ringseed serve` uses, or one beside it.
fn state_directory(apart: Option<u16>) -> Option<PathBuf> {
    let variable = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = variable.or_else(|| Some(home()?.join(".local/state")))?;
    Some(match apart {
        None => base.join("ringseed"),
        Some(port) => base.join(format!("ringseed-{port}")),
    })
}

/// Where people look for downloads.
fn download_directory() -> PathBuf {
    let variable = std::env::var_os("XDG_DOWNLOAD_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let downloads = variable.or_else(|| home().map(|home| home.join("Downloads")));
    match downloads {
        Some(downloads) if std::fs::create_dir_all(&downloads).is_ok() => downloads,
        _ => home().unwrap_or_else(|| Path::new("/tmp").to_owned()),
    }
}
