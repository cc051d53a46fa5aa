//! What the tests with real programs share.

#![allow(dead_code, reason = "each test crate uses its part of this")]

use std::{path::Path, process::Command};

use ringseed_loadtest::{report::Report, swarm::Tools};
use tempfile::TempDir;

/// The built programs, with a directory for one test.
pub fn tools() -> (Tools, TempDir) {
    let dir = tempfile::Builder::new().prefix("lt").tempdir().expect("a directory");
    // What is missing and how to build it is in the message.
    let tools = Tools::find(None, None, dir.path().to_owned()).unwrap_or_else(|error| panic!("{error}"));
    (tools, dir)
}

/// Runs the program with the scenario `text`; gives its exit status, report and error output. Scenarios that need
/// namespaces get the rights for them when the test has not.
pub fn run(text: &str, isolated: bool, report: Option<&Path>) -> (Option<i32>, Option<Report>, String) {
    let (tools, dir) = tools();
    let scenario = dir.path().join("scenario.toml");
    std::fs::write(&scenario, text).expect("written");
    let program = env!("CARGO_BIN_EXE_ringseed-loadtest");
    // SAFETY: asks for the user, nothing else.
    let root = unsafe { libc::geteuid() } == 0;
    let mut command = if isolated && !root {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", program]);
        command
    } else {
        Command::new(program)
    };
    command.arg("run").arg(&scenario).args(["--quiet", "--format", "json", "--dir"]).arg(dir.path());
    command.arg("--ringseed").arg(&tools.ringseed).arg("--ringseed-tracker").arg(&tools.tracker);
    if let Some(report) = report {
        command.arg("--report").arg(report);
    }
    let output = command.output().expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), serde_json::from_slice(&output.stdout).ok(), errors)
}

/// Wants every check of a report to hold.
pub fn assert_passed(report: &Report) {
    let broken: Vec<_> = report.checks.iter().filter(|check| !check.passed).collect();
    assert!(
        broken.is_empty(),
        "{broken:#?}\n{:#?}\n{:#?}",
        report.tables,
        report.charts.first().map(|c| &c.marks)
    );
    assert!(!report.checks.is_empty());
}
