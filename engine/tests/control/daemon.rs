//! A running `ringseed serve`.

use crate::support::content::{Content, multi, single};
use crate::support::process::Process;
use crate::support::{rpc, until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A daemon with a home of its own.
pub struct Daemon {
    pub process: Process,
    pub address: SocketAddr,
    pub home: TempDir,
    arguments: Vec<String>,
}

impl Daemon {
    /// Starts a daemon on free ports of the loopback interface.
    pub fn start(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (process, address) = run(home.path(), &arguments);
        Self { process, address, home, arguments }
    }

    /// Kills the daemon and starts it again.
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        (self.process, self.address) = run(self.home.path(), &self.arguments);
    }

    /// Stops the daemon as its users do and starts it again.
    pub fn restart(&mut self) {
        self.process.terminate();
        (self.process, self.address) = run(self.home.path(), &self.arguments);
    }

    /// A directory below its home, which is made.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.home.path().canonicalize().unwrap().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// One file with its torrent.
    pub fn single(&self, name: &str) -> Content {
        single(&self.dir(name), 300_000, "16K", "http://127.0.0.1:9/announce")
    }

    /// Several files with their torrent.
    pub fn multi(&self, name: &str) -> Content {
        multi(&self.dir(name), "64K", "http://127.0.0.1:9/announce")
    }

    /// Calls a method of its RPC.
    pub fn call(&self, method: &str, arguments: Value) -> Value {
        rpc::call(self.address, method, arguments)
    }

    /// Adds a torrent that is seeded from where its data is, and waits until it seeds.
    pub fn seed(&self, content: &Content) {
        let add = json!({"filename": content.torrent, "download-dir": content.dir});
        self.call("torrent-add", add);
        self.wait(&content.info_hash, "seeding", |torrent| torrent["status"] == 6);
    }

    /// The fields of a torrent; `Null` when there is no such torrent.
    pub fn torrent(&self, hash: &str, fields: &[&str]) -> Value {
        self.call("torrent-get", json!({"ids": [hash], "fields": fields}))["torrents"][0].clone()
    }

    /// Waits for a torrent to be as wanted.
    pub fn wait(&self, hash: &str, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        let fields =
            ["status", "error", "errorString", "leftUntilDone", "downloadDir", "name", "files", "isFinished"];
        let mut last = Value::Null;
        until(what, || {
            let torrent = self.torrent(hash, &fields);
            let now = json!([torrent["status"], torrent["errorString"], torrent["leftUntilDone"]]);
            if now != last {
                eprintln!("waiting for {what}: {now}");
                last = now;
            }
            Some(torrent).filter(|torrent| done(torrent))
        })
    }

    /// Sends raw bytes and reads until the daemon closes.
    pub fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A command of our own command line for this daemon.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
        command.env("XDG_STATE_HOME", self.home.path().join("nothing"));
        command.args(arguments).arg("--connect").arg(self.address.to_string());
        command
    }
}

/// `ringseed get` of a torrent into `download`.
pub fn get(content: &Content, download: &Path, more: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
    command.args(["get", "--quiet", "--port", "0", "--listen", "127.0.0.1", "--shards", "1", "--no-pin"]);
    command.arg("--state-dir").arg(download.with_extension("state"));
    Process::start("ringseed get", command.args(more).arg(&content.torrent).arg("-o").arg(download))
}

fn run(home: &Path, arguments: &[String]) -> (Process, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
    command
        .args([
            "serve",
            "--rpc",
            "127.0.0.1:0",
            "--port",
            "0",
            "--listen",
            "127.0.0.1",
            "--shards",
            "1",
            "--no-pin",
        ])
        .arg("--state-dir")
        .arg(home.join("state"))
        .arg("--download-dir")
        .arg(home.join("downloads"))
        .args(arguments);
    let mut process = Process::start("ringseed serve", &mut command);
    let line = process.wait_for("RPC on http");
    let address = line.split("://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
    process.wait_for("ready with");
    (process, address)
}
