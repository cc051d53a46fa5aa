//! The downloaders under measurement: each gets one torrent from one peer, checks it, and ends.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use clap::ValueEnum;

use crate::{
    child::{self, Usage},
    data::TestTorrent,
};

/// Who downloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Leecher {
    /// `ringseed get`.
    Ringseed,
    /// libtorrent (Rasterbar) through python3-libtorrent.
    Libtorrent,
    /// aria2c.
    Aria2,
}

/// How the downloaders are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Core of the downloader.
    pub cpu: usize,
    /// The `ringseed` binary.
    pub ringseed: PathBuf,
    /// Further arguments of `ringseed get`.
    pub ringseed_args: Vec<String>,
    /// Where the seeder listens.
    pub peer: SocketAddr,
    /// Announce URL of a tracker that knows the seeder, for who cannot be told an address.
    pub tracker: String,
}

impl Leecher {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Leecher::Ringseed => "ringseed",
            Leecher::Libtorrent => "libtorrent",
            Leecher::Aria2 => "aria2",
        }
    }

    /// Its version, as it says itself; `None` when it is not installed.
    pub fn version(self, ringseed: &Path) -> Option<String> {
        let mut command = match self {
            Leecher::Ringseed => Command::new(ringseed),
            Leecher::Libtorrent => Command::new("/usr/bin/python3"),
            Leecher::Aria2 => Command::new("aria2c"),
        };
        match self {
            Leecher::Libtorrent => command.args(["-c", "import libtorrent; print(libtorrent.version)"]),
            Leecher::Ringseed | Leecher::Aria2 => command.arg("--version"),
        };
        let output = command.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
        String::from_utf8_lossy(&output.stdout).lines().next().map(|line| line.trim().to_owned())
    }

    /// Downloads `torrent` into `directory`, which is empty, and looks at the size of what came.
    ///
    /// # Errors
    /// It cannot be started, fails, takes longer than ten minutes, or the file is not there.
    pub fn run(self, torrent: &TestTorrent, directory: &Path, launch: &Launch) -> io::Result<Usage> {
        let state = directory.join("state");
        std::fs::create_dir_all(&state)?;
        let mut command = Command::new("taskset");
        command.args(["-c", &launch.cpu.to_string()]);
        command.env("HOME", &state).env("XDG_STATE_HOME", &state).env("XDG_CONFIG_HOME", &state);
        let complete = match self {
            Leecher::Ringseed => {
                command.arg(&launch.ringseed).arg("get").arg(&torrent.metainfo).arg("-o").arg(directory);
                command.args(["--peer", &launch.peer.to_string(), "--port", "0", "--quiet"]);
                command.args(&launch.ringseed_args);
                Some("complete")
            }
            Leecher::Libtorrent => {
                let script = state.join("get.py");
                std::fs::write(&script, include_str!("get_libtorrent.py"))?;
                command.arg("/usr/bin/python3").arg(script).arg(&torrent.metainfo).arg(directory);
                command.arg(launch.peer.port().to_string());
                Some("complete")
            }
            Leecher::Aria2 => {
                command.args(["aria2c", "--no-conf", "--enable-dht=false", "--bt-enable-lpd=false"]);
                command.args(["--seed-time=0", "--file-allocation=falloc", "--bt-max-peers=0"]);
                command.args(["--disk-cache=64M", "--summary-interval=0", "--console-log-level=error"]);
                command.args(["--bt-exclude-tracker=*", "--enable-peer-exchange=false"]);
                command.arg(format!("--bt-tracker={}", launch.tracker));
                command.arg(format!("--dir={}", directory.display())).arg(&torrent.metainfo);
                None
            }
        };
        let log = std::fs::File::create(state.join("log"))?;
        let usage = child::run(command.stderr(log), complete, Duration::from_secs(600)).map_err(|error| {
            let words = std::fs::read_to_string(state.join("log")).unwrap_or_default();
            io::Error::other(format!("{}: {error}: {}", self.name(), words.trim()))
        })?;
        let length = std::fs::metadata(directory.join(&torrent.name))?.len();
        if length != torrent.total {
            return Err(io::Error::other(format!("{}: {length} bytes came", self.name())));
        }
        Ok(usage)
    }
}

/// A tracker that gives everybody who asks one peer, until the process ends. Returns its announce URL.
///
/// # Errors
/// No port is free.
pub fn tracker_of(peer: SocketAddr) -> io::Result<String> {
    let SocketAddr::V4(peer) = peer else { return Err(io::Error::other("an IPv4 peer is needed")) };
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let url = format!("http://{}/announce", listener.local_addr()?);
    let mut body = b"d8:intervali1800e5:peers6:".to_vec();
    body.extend_from_slice(&peer.ip().octets());
    body.extend_from_slice(&peer.port().to_be_bytes());
    body.push(b'e');
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            // An announce fits one packet. Whoever went away is not missed.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.read(&mut request);
            let _ = stream.write_all(&[head.as_bytes(), &body[..]].concat());
        }
    });
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn the_tracker_gives_the_peer() {
        let url = tracker_of("127.0.0.1:258".parse().unwrap()).unwrap();
        let address = url.strip_prefix("http://").unwrap().strip_suffix("/announce").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /announce HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(b"d8:intervali1800e5:peers6:\x7f\0\0\x01\x01\x02e"), "{answer:?}");
    }
}
