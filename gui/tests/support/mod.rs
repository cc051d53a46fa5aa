//! A real engine as a process, and a torrent with its data.

#![allow(dead_code, reason = "each test crate uses its part of this")]

pub mod bus;
pub mod display;
pub mod drag;
pub mod fake;
pub mod frames;
pub mod screen;
pub mod swarm;
pub mod witness;

use ringseed_gui::endpoint::Endpoint;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest wait for anything: far beyond what a slow machine needs, so that only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A program of the workspace, built beside this test.
///
/// # Panics
/// It is not built; says how to build it.
pub fn program(name: &str) -> PathBuf {
    if let Some(window) = std::env::var_os("RINGSEED_GUI_PROGRAM").filter(|_| name == "ringseed-gui") {
        // Another build of the window: the one that is measured.
        return std::path::absolute(window).unwrap();
    }
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is missing; build it with: cargo build --workspace --bins", path.display());
    path
}

/// An engine in a directory of its own. It ends with this value.
pub struct Engine {
    directory: tempfile::TempDir,
    child: Child,
    rpc: String,
    user: Option<&'static str>,
}

impl Engine {
    /// Starts one and waits until it answers.
    pub fn start() -> Engine {
        Engine::start_for(None)
    }

    /// Starts one that wants this name and password, separated by a colon.
    pub fn start_for(user: Option<&'static str>) -> Engine {
        let directory = tempfile::tempdir().unwrap();
        let (child, rpc) = launch(directory.path(), "127.0.0.1:0", user);
        Engine { directory, child, rpc, user }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it anew at the same address, after [`Engine::kill`].
    pub fn start_again(&mut self) {
        let address = self.rpc.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        (self.child, self.rpc) = launch(self.directory.path(), &address, self.user);
    }

    /// Where it answers.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&self.rpc).unwrap()
    }

    /// Its directory, for files of the test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(directory: &Path, rpc: &str, user: Option<&str>) -> (Child, String) {
    let downloads = directory.join("downloads");
    std::fs::create_dir_all(&downloads).unwrap();
    let mut child = Command::new(program("ringseed"))
        .args(["serve", "--rpc", rpc, "--port", "0", "--listen", "127.0.0.1", "--shards", "1", "--no-pin"])
        .arg("--state-dir")
        .arg(directory.join("state"))
        .arg("--download-dir")
        .arg(&downloads)
        .env("XDG_CONFIG_HOME", directory)
        .envs(user.map(|user| ("RINGSEED_RPC_AUTH", user)))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut rpc = None;
    for line in lines.by_ref() {
        let line = line.unwrap();
        if let Some(url) = line.split("RPC on ").nth(1) {
            rpc = Some(url.trim().to_owned());
        }
        if line.contains("ready with") {
            break;
        }
    }
    // Reads on, so that the engine never waits for a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, rpc.expect("the engine says where it answers"))
}

/// A torrent and its data.
pub struct Sample {
    /// The torrent file.
    pub torrent: PathBuf,
    /// Its one file.
    pub data: PathBuf,
}

/// A copy of the sample torrent below `directory`.
pub fn sample(directory: &Path) -> Sample {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/sample");
    let to = directory.join("sample");
    std::fs::create_dir_all(&to).unwrap();
    let copy = |name: &str| {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
        to.join(name)
    };
    Sample { torrent: copy("sample.torrent"), data: copy("sample.txt") }
}
