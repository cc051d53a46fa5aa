//! `fio` as the measure of a disk: the rate of reads of one size, in random order, so many in flight.

use std::{error::Error, path::Path, process::Command};

/// What `fio` reads.
#[derive(Debug, Clone, Copy)]
pub struct Reads<'a> {
    /// The file.
    pub file: &'a Path,
    /// Bytes of one read; reads begin at multiples of it.
    pub bytes: u32,
    /// Reads in flight.
    pub depth: u32,
    /// Past the page cache.
    pub direct: bool,
    /// Length of the run.
    pub seconds: u32,
}

impl Reads<'_> {
    /// Runs it; `command` is `fio` itself, wherever it is to run. The rate in 10^6 bytes per second.
    ///
    /// # Errors
    /// It is missing or failed.
    pub fn rate(&self, mut command: Command) -> Result<f64, Box<dyn Error>> {
        command.args(["--name=reads", "--rw=randread", "--ioengine=io_uring", "--output-format=json"]);
        command.args(["--time_based", "--randrepeat=0", "--thinktime=0"]);
        command.arg(format!("--filename={}", self.file.display()));
        command.arg(format!("--bs={}", self.bytes)).arg(format!("--iodepth={}", self.depth));
        command.arg(format!("--direct={}", u8::from(self.direct)));
        command.arg(format!("--runtime={}", self.seconds));
        read_rate(command)
    }
}

/// Runs a `fio` command with one job and its report as JSON: what it read, in 10^6 bytes per second.
///
/// # Errors
/// It is missing or failed.
pub fn read_rate(mut command: Command) -> Result<f64, Box<dyn Error>> {
    let output = command.output().map_err(|error| format!("fio: {error}"))?;
    if !output.status.success() {
        return Err(format!("fio: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    // Notes may stand before the report.
    let text = String::from_utf8_lossy(&output.stdout);
    let report: serde_json::Value = serde_json::from_str(&text[text.find('{').ok_or("fio: no report")?..])?;
    let rate = report["jobs"][0]["read"]["bw_bytes"].as_f64().ok_or("fio: no rate in its report")?;
    Ok(rate / 1e6)
}

/// The version of `fio`, when it is installed.
pub fn version() -> Option<String> {
    let output = Command::new("fio").arg("--version").output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
