//! The tracker of a run: one `ringseed-tracker`, with its load as it counts it itself.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{Metrics, Program, http};
use crate::{ports::free_address, seeder_process};

const START_MAX: Duration = Duration::from_secs(30);

/// The tracker, running or not.
#[derive(Debug)]
pub struct TrackerProcess {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    addr: SocketAddr,
    process: Option<Program>,
    carried: TrackerUse,
}

/// What a tracker had to do, over all its processes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TrackerUse {
    /// Announces that were answered.
    pub announces: f64,
    /// Requests that were refused or malformed.
    pub refused: f64,
    /// User and system CPU seconds.
    pub cpu_seconds: f64,
    /// Peers that it knows now.
    pub peers: f64,
    /// Its anonymous memory, bytes.
    pub anon: f64,
}

impl TrackerProcess {
    /// Starts `program` at a free port of `ip`, with further `arguments`, and waits until it serves.
    ///
    /// # Errors
    /// It cannot be started or ends; its last words are in the message.
    pub fn start(
        program: &Path,
        ip: std::net::Ipv4Addr,
        arguments: &[String],
        home: &Path,
    ) -> io::Result<TrackerProcess> {
        fs::create_dir_all(home)?;
        let mut tracker = TrackerProcess {
            program: program.to_owned(),
            arguments: arguments.to_vec(),
            log: home.join("tracker.log"),
            // One port for HTTP and UDP: 0 would take two.
            addr: SocketAddr::from((ip, free_address()?.port())),
            process: None,
            carried: TrackerUse::default(),
        };
        tracker.up()?;
        Ok(tracker)
    }

    /// Where it listens, for HTTP and UDP.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Process id, when it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Program::pid)
    }

    /// Starts it again at the same port.
    ///
    /// # Errors
    /// It cannot be started or ends; its last words are in the message.
    pub fn up(&mut self) -> io::Result<()> {
        // An old ready line must not count.
        let _ = fs::remove_file(&self.log);
        let mut command = Command::new(&self.program);
        let (ip, port) = (self.addr.ip().to_string(), self.addr.port().to_string());
        command.args(["--host", &ip, "--port", &port]).args(&self.arguments);
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("RINGSEED_"))
        {
            command.env_remove(key);
        }
        let mut process = Program::start("ringseed-tracker", &mut command, &self.log)?;
        self.addr = process.wait_for(START_MAX, ready_address)?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it at once.
    pub fn down(&mut self) {
        if let Ok(used) = self.used() {
            self.carried = TrackerUse { peers: 0.0, ..used };
        }
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// What it had to do, now.
    ///
    /// # Errors
    /// It does not answer.
    pub fn used(&self) -> io::Result<TrackerUse> {
        let Some(pid) = self.pid() else { return Ok(self.carried) };
        let page = Metrics::parse(&http::page(self.addr, "/metrics")?);
        let requests = |labels: &[&str]| page.sum("ringseed_tracker_requests_total", labels);
        let announces = requests(&["kind=\"announce\"", "result=\"answered\""]);
        let refused = requests(&["result=\"refused\""]) + requests(&["result=\"malformed\""]);
        Ok(TrackerUse {
            announces: self.carried.announces + announces,
            refused: self.carried.refused + refused,
            cpu_seconds: self.carried.cpu_seconds + seeder_process::cpu_seconds(pid)?,
            peers: page.sum("ringseed_tracker_peers", &[]),
            anon: seeder_process::memory(pid)?.anon as f64,
        })
    }
}

/// The address in the ready line: `ringseed-tracker is ready: http://127.0.0.1:6969/announce udp://...`.
fn ready_address(text: &str) -> Option<SocketAddr> {
    let line = text.lines().find_map(|line| line.split_once("is ready: "))?.1;
    let url = line.split_whitespace().next()?;
    let rest = url.split_once("://")?.1;
    rest.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_has_the_address() {
        let both = "x\nringseed-tracker is ready: http://127.0.0.1:6969/announce udp://127.0.0.1:6969\n";
        assert_eq!(ready_address(both), Some("127.0.0.1:6969".parse().unwrap()));
        let udp = "ringseed-tracker is ready: udp://127.0.0.9:81\n";
        assert_eq!(ready_address(udp), Some("127.0.0.9:81".parse().unwrap()));
        assert_eq!(ready_address("ringseed-tracker is rea"), None);
    }
}
