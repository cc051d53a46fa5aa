//! The load generator as a process of its own on its own core, and what a comparison uses of its report.

use std::{error::Error, net::SocketAddr, path::PathBuf, process::Command};

use serde::Deserialize;

use crate::data::TestTorrent;

/// One blast of raw peers at one seeder.
#[derive(Debug, Clone)]
pub struct Load<'a> {
    /// The torrent that is asked for.
    pub torrent: &'a TestTorrent,
    /// The seeder.
    pub addr: SocketAddr,
    /// Its process, whose CPU time and memory are measured.
    pub seeder_pid: u32,
    /// Peers.
    pub connections: u32,
    /// Requests in flight per peer.
    pub depth: u32,
    /// Bytes measured, after `warmup` bytes that are not.
    pub bytes: u64,
    /// Bytes before the measurement.
    pub warmup: u64,
    /// Core of the load; `None` leaves it to the scheduler.
    pub cpu: Option<usize>,
    /// Further flags of `ringseed-loadtest blast`.
    pub more: Vec<String>,
}

/// The part of the load generator's report that comparisons use. MB and GB are 10^6 and 10^9 bytes of payload.
#[derive(Debug, Clone, Deserialize)]
pub struct LoadReport {
    /// Payload in the window, bytes.
    pub bytes: u64,
    /// Length of the window, seconds.
    pub seconds: f64,
    /// Payload rate.
    pub mb_per_s: f64,
    /// The seeder.
    pub seeder: Cost,
    /// The load itself.
    pub load: LoadCost,
    /// How evenly peers were served.
    pub per_connection: Spread,
    /// The same of greedy peers (`--greedy`).
    pub greedy: Option<Spread>,
}

/// What the seeder used.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Cost {
    /// User and system seconds of all threads per GB.
    pub cpu_seconds_per_gb: f64,
}

/// What the load used.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct LoadCost {
    /// User and system seconds per GB.
    pub cpu_seconds_per_gb: f64,
}

/// Bytes per connection in the window.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Spread {
    /// The least served.
    pub min: u64,
    /// The middle one.
    pub median: u64,
    /// The best served.
    pub max: u64,
    /// Jain's index: 1 is even.
    pub jain: f64,
}

impl Load<'_> {
    /// The command that runs it; every peer has a loopback address of its own.
    ///
    /// # Errors
    /// The path of this program is not known.
    pub fn command(&self) -> Result<Command, Box<dyn Error>> {
        let mut command = self.peers()?;
        command.args(["--bytes", &self.bytes.to_string()]);
        Ok(command)
    }

    /// The same, but it measures for `seconds` and not for [`Load::bytes`]: for loads that run side by side.
    ///
    /// # Errors
    /// The path of this program is not known.
    pub fn timed_command(&self, seconds: f64) -> Result<Command, Box<dyn Error>> {
        let mut command = self.peers()?;
        command.args(["--seconds", &seconds.to_string()]);
        Ok(command)
    }

    fn peers(&self) -> Result<Command, Box<dyn Error>> {
        let mut command = Command::new(program()?);
        command.args(["blast", "--json", "--spread-sources", "--ramp", "60"]);
        command.arg("--torrent").arg(&self.torrent.metainfo);
        command.args(["--addr", &self.addr.to_string(), "--seeder-pid", &self.seeder_pid.to_string()]);
        command.args(["--connections", &self.connections.to_string(), "--depth", &self.depth.to_string()]);
        command.args(["--warmup", &self.warmup.to_string()]);
        if let Some(cpu) = self.cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        command.args(&self.more);
        Ok(command)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// The load generator is missing or failed; its words are in the message.
    pub fn run(&self) -> Result<LoadReport, Box<dyn Error>> {
        let output = self.command()?.output().map_err(|error| format!("ringseed-loadtest: {error}"))?;
        read(&output)
    }
}

/// The report of a load that has ended.
///
/// # Errors
/// It failed; its words are in the message.
pub fn read(output: &std::process::Output) -> Result<LoadReport, Box<dyn Error>> {
    if !output.status.success() {
        return Err(format!("load: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// `ringseed-loadtest` beside this program.
///
/// # Errors
/// The path of this program is not known.
pub fn program() -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("ringseed-loadtest"))
}
