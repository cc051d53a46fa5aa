//! One `ringseed serve` with its own address, state and data: started, asked, stopped, started again.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Metrics, Network, Program, Rpc, Signal};
use crate::{data::TestTorrent, ports::free_address, seeder_process};

/// Longest wait until an engine answers.
const START_MAX: Duration = Duration::from_secs(60);
/// Longest wait until an engine has ended when it was asked to.
const STOP_MAX: Duration = Duration::from_secs(30);
/// Longest path of a Unix socket.
const SOCKET_PATH_MAX: usize = 100;

/// What an engine is.
#[derive(Debug, Clone)]
pub struct EngineSpec {
    /// Name in messages and tables.
    pub name: String,
    /// Its number in the network.
    pub number: u32,
    /// The `ringseed` binary.
    pub program: PathBuf,
    /// Directory for state, log and control socket.
    pub home: PathBuf,
    /// Directory that holds the torrent's data, or will.
    pub data: PathBuf,
    /// Further arguments of `ringseed serve`.
    pub arguments: Vec<String>,
}

/// What an engine has used and moved, over all its processes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Traffic {
    /// User and system CPU seconds.
    pub cpu_seconds: f64,
    /// Payload received, bytes.
    pub payload_received: f64,
    /// Payload sent, bytes.
    pub payload_sent: f64,
    /// Bytes received from peers, protocol included.
    pub wire_received: f64,
    /// Payload that failed its hash or came twice, bytes.
    pub wasted: f64,
    /// Most anonymous memory of one process, bytes.
    pub anon_peak: f64,
}

/// What an engine says of its torrent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Bytes wanted.
    pub wanted: u64,
    /// Bytes missing.
    pub left: u64,
    /// Transmission's status code: 0 stopped, 2 checking, 4 downloading, 6 seeding.
    pub status: u64,
    /// Payload received over all runs, bytes.
    pub received: u64,
    /// Payload sent over all runs, bytes.
    pub sent: u64,
    /// What is wrong, when something is.
    pub error: Option<String>,
}

impl Sample {
    /// Whether everything is there.
    pub fn complete(&self) -> bool {
        self.wanted > 0 && self.left == 0 && self.status >= 5
    }
}

/// An engine, running or not.
#[derive(Debug)]
pub struct Engine {
    /// What it is.
    pub spec: EngineSpec,
    /// The same at every start: others remember it.
    port: u16,
    program: Option<Program>,
    rpc: Rpc,
    /// Of the processes that have ended.
    carried: Traffic,
    anon_peak: u64,
}

impl Engine {
    /// An engine that does not run yet.
    ///
    /// # Errors
    /// Its directories cannot be made, or their path is too long for a Unix socket.
    pub fn new(spec: EngineSpec) -> io::Result<Engine> {
        fs::create_dir_all(spec.home.join("state"))?;
        fs::create_dir_all(&spec.data)?;
        let socket = spec.home.join("rpc");
        if socket.as_os_str().len() > SOCKET_PATH_MAX {
            let text =
                format!("{} is too long for a control socket: choose a shorter --dir", socket.display());
            return Err(io::Error::other(text));
        }
        let rpc = Rpc::new(&socket);
        let port = free_address()?.port();
        Ok(Engine { spec, port, program: None, rpc, carried: Traffic::default(), anon_peak: 0 })
    }

    /// Whether there is a process.
    pub fn is_running(&self) -> bool {
        self.program.is_some()
    }

    /// Process id, when it runs.
    pub fn pid(&self) -> Option<u32> {
        self.program.as_ref().map(Program::pid)
    }

    /// Starts the process; returns at once.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&mut self, network: &Network) -> io::Result<()> {
        let spec = &self.spec;
        let socket = spec.home.join("rpc");
        // A killed process leaves its socket behind.
        let _ = fs::remove_file(&socket);
        let address: Ipv4Addr = network.address(spec.number);
        let mut command = Command::new(&spec.program);
        command.arg("serve").arg("--state-dir").arg(spec.home.join("state"));
        command.arg("--download-dir").arg(&spec.data).arg("--rpc-socket").arg(&socket);
        let (port, address) = (self.port.to_string(), IpAddr::from(address).to_string());
        command.args(["--rpc", "127.0.0.1:0", "--port", &port, "--listen", &address]);
        command.args(&spec.arguments).current_dir(&spec.home);
        // Settings of whoever runs the test are not those of the test.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("RINGSEED_"))
        {
            command.env_remove(key);
        }
        command.env("XDG_CONFIG_HOME", &spec.home).env("XDG_STATE_HOME", &spec.home);
        network.place(spec.number, &mut command);
        self.program = Some(Program::start(&spec.name, &mut command, &spec.home.join("log"))?);
        Ok(())
    }

    /// Waits until the engine answers and has loaded its torrents.
    ///
    /// # Errors
    /// It ended, or is silent for a minute; its last words are in the message.
    pub fn wait_ready(&mut self) -> io::Result<()> {
        let began = Instant::now();
        while self.rpc.page("/readyz").is_err() {
            self.complain_if_ended()?;
            if began.elapsed() > START_MAX {
                let words = self.program.as_ref().map(Program::last_words).unwrap_or_default();
                return Err(io::Error::other(format!("{} is not ready in time: {words}", self.spec.name)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Gives it the torrent, with its data directory.
    ///
    /// # Errors
    /// It refuses.
    pub fn add(&mut self, torrent: &TestTorrent) -> io::Result<()> {
        let arguments =
            json!({ "filename": torrent.metainfo, "download-dir": self.spec.data, "paused": false });
        self.rpc.call("torrent-add", &arguments).map(drop)
    }

    /// Removes the torrent with its data.
    ///
    /// # Errors
    /// It refuses.
    pub fn remove_torrent(&mut self, torrent: &TestTorrent) -> io::Result<()> {
        let hash = torrent.info_hash.to_string();
        let arguments = json!({ "ids": [hash], "delete-local-data": true });
        self.rpc.call("torrent-remove", &arguments).map(drop)
    }

    /// Starts the torrent again after an error.
    ///
    /// # Errors
    /// It refuses.
    pub fn resume(&mut self) -> io::Result<()> {
        self.rpc.call("torrent-start", &json!({})).map(drop)
    }

    /// What it says of its torrent; `None` when it has none.
    ///
    /// # Errors
    /// It does not answer.
    pub fn sample(&mut self) -> io::Result<Option<Sample>> {
        if let Some(memory) = self.pid().and_then(|pid| seeder_process::memory(pid).ok()) {
            self.anon_peak = self.anon_peak.max(memory.anon);
        }
        let fields =
            ["sizeWhenDone", "leftUntilDone", "status", "downloadedEver", "uploadedEver", "errorString"];
        let answer = self.rpc.call("torrent-get", &json!({ "fields": fields }))?;
        let Some(torrent) = answer["torrents"].get(0) else { return Ok(None) };
        let number = |field: &str| torrent[field].as_u64().unwrap_or(0);
        let error = torrent["errorString"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Some(Sample {
            wanted: number("sizeWhenDone"),
            left: number("leftUntilDone"),
            status: number("status"),
            received: number("downloadedEver"),
            sent: number("uploadedEver"),
            error,
        }))
    }

    /// Which pieces it has, as a bit field.
    ///
    /// # Errors
    /// It does not answer.
    pub fn pieces(&mut self) -> io::Result<Vec<u8>> {
        let answer = self.rpc.call("torrent-get", &json!({ "fields": ["pieces"] }))?;
        let text = answer["torrents"][0]["pieces"].as_str().unwrap_or_default();
        base64_decoded(text).ok_or_else(|| io::Error::other("pieces are not base64"))
    }

    /// What it has used and moved, now.
    ///
    /// # Errors
    /// It does not answer.
    pub fn traffic(&self) -> io::Result<Traffic> {
        let Some(pid) = self.pid() else { return Ok(self.carried) };
        let page = Metrics::parse(&self.rpc.page("/metrics")?);
        let torrents = Metrics::parse(&self.rpc.page("/metrics/torrents")?);
        let payload = |direction: &str| page.sum("ringseed_payload_bytes_total", &[direction]);
        let anon = seeder_process::memory(pid)?.anon.max(self.anon_peak);
        Ok(Traffic {
            cpu_seconds: self.carried.cpu_seconds + seeder_process::cpu_seconds(pid)?,
            payload_received: self.carried.payload_received + payload("direction=\"received\""),
            payload_sent: self.carried.payload_sent + payload("direction=\"sent\""),
            wire_received: self.carried.wire_received + page.sum("ringseed_ring_received_bytes_total", &[]),
            wasted: self.carried.wasted + torrents.sum("ringseed_torrent_wasted_bytes_total", &[]),
            anon_peak: self.carried.anon_peak.max(anon as f64),
        })
    }

    /// As [`Engine::traffic`], once the bytes of its connections, which shards publish a few times a second, are as new
    /// as the payload among them, which is counted at the end of a download. Waits a second for that at most.
    ///
    /// # Errors
    /// It does not answer.
    pub fn settled_traffic(&self) -> io::Result<Traffic> {
        let until = Instant::now() + Duration::from_secs(1);
        loop {
            let traffic = self.traffic()?;
            let settled = traffic.wire_received >= traffic.payload_received;
            if settled || self.pid().is_none() || Instant::now() >= until {
                return Ok(traffic);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its status, when it ended by itself.
    ///
    /// # Errors
    /// It did: its status and last words.
    pub fn complain_if_ended(&mut self) -> io::Result<()> {
        let Some(program) = &mut self.program else { return Ok(()) };
        match program.ended()? {
            Some(status) => {
                let text = format!("{} ended with {status}: {}", program.name(), program.last_words());
                self.program = None;
                Err(io::Error::other(text))
            }
            None => Ok(()),
        }
    }

    /// Sends a signal to its process.
    pub fn signal(&self, signal: Signal) {
        if let Some(program) = &self.program {
            program.signal(signal);
        }
    }

    /// Kills it, as a power failure of this process would.
    pub fn kill(&mut self) {
        self.carry();
        if let Some(program) = self.program.take() {
            program.kill();
        }
    }

    /// Asks it to stop and waits for that; seconds it took.
    ///
    /// # Errors
    /// It does not stop in time, or not with success.
    pub fn stop(&mut self) -> io::Result<f64> {
        self.carry();
        let Some(program) = self.program.take() else { return Ok(0.0) };
        let name = program.name().to_owned();
        let (status, took) = program.terminate(STOP_MAX)?;
        if status.success() {
            Ok(took.as_secs_f64())
        } else {
            Err(io::Error::other(format!("{name} stopped with {status}")))
        }
    }

    /// Keeps what the process has counted so far; one that does not answer is counted without.
    fn carry(&mut self) {
        if let Ok(traffic) = self.traffic() {
            self.carried = traffic;
        }
    }
}

/// The bytes of standard base64; `None` for anything else.
pub fn base64_decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, bytes) in
            [("", &b""[..]), ("TQ==", b"M"), ("TWE=", b"Ma"), ("TWFu", b"Man"), ("/+8=", b"\xff\xef")]
        {
            assert_eq!(base64_decoded(text).as_deref(), Some(bytes));
        }
        assert_eq!(base64_decoded("TW*u"), None);
    }

    #[test]
    fn a_torrent_is_complete_when_nothing_is_missing_and_it_is_not_being_checked() {
        let sample = Sample { wanted: 5, left: 0, status: 6, ..Sample::default() };
        assert!(sample.complete());
        assert!(!Sample { status: 2, ..sample.clone() }.complete());
        assert!(!Sample { left: 1, status: 4, ..sample.clone() }.complete());
        assert!(!Sample { wanted: 0, ..sample }.complete());
    }
}
