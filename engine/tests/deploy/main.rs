//! What `deploy/` holds, in the eyes of the tools that read it and of running engines.

#[path = "../support/mod.rs"]
mod support;

mod compose;
mod http;
mod kubernetes;
mod live;
mod names;
mod prometheus;
mod seccomp;
mod systemd;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file or folder below `deploy/`.
fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(path)
}

fn text(path: &str) -> String {
    let path = deploy(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a tool, wants it to work, and gives all it prints.
fn run(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{name} ({error}): run engine/tests/run.sh, which installs it"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?} ended with {}:\n{said}", output.status);
    said
}

/// Python with the packages that engine/tests/run.sh installs.
fn python() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("rpc-venv/bin/python")
}
