//! Other clients as peers: each seeds or downloads a torrent and says when it has it.

use crate::support::process::Process;
use crate::support::{free_port, until};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A client of another project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Transmission,
    Libtorrent,
    Aria2,
    Qbittorrent,
    Rtorrent,
}

/// What a client is to insist on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// What it does by itself.
    Usual,
    /// Nothing but streams enciphered with RC4.
    Rc4,
    /// An encryption handshake, and plaintext after it.
    Handshake,
    /// No encryption.
    Plain,
}

/// What a client is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Seed,
    Download,
}

/// A client at work.
pub struct Running {
    client: Client,
    process: Process,
    control: u16,
    /// Of the torrent that was added last.
    info_hash: String,
    home: TempDir,
}

impl Client {
    /// Starts the client on `torrent` with its data below `dir`.
    pub fn start(self, role: Role, torrent: &Path, info_hash: &str, dir: &Path) -> Running {
        self.start_with(Encryption::Usual, role, torrent, info_hash, dir)
    }

    /// As [`Client::start`], insisting on one kind of encryption, as far as it can.
    pub fn start_with(
        self,
        encryption: Encryption,
        role: Role,
        torrent: &Path,
        info_hash: &str,
        dir: &Path,
    ) -> Running {
        let home = tempfile::tempdir().unwrap();
        let control = free_port();
        let port = free_port();
        let process = match self {
            Self::Transmission => transmission(home.path(), control, port, dir, encryption),
            Self::Libtorrent => libtorrent(role, torrent, dir, encryption),
            Self::Aria2 => aria2(home.path(), role, torrent, dir, port, encryption),
            Self::Qbittorrent => qbittorrent(home.path(), control, port, encryption),
            Self::Rtorrent => rtorrent(home.path(), torrent, dir, port, encryption),
        };
        let mut running = Running { client: self, process, control, info_hash: String::new(), home };
        running.add(role, torrent, info_hash, dir);
        running
    }
}

impl Running {
    /// Has it add another torrent, and waits for that one when it is to be seeded.
    pub fn add(&mut self, role: Role, torrent: &Path, info_hash: &str, dir: &Path) {
        info_hash.clone_into(&mut self.info_hash);
        match self.client {
            Client::Transmission => {
                until("transmission's RPC", || self.remote(&["-l"]));
                let torrent = torrent.to_str().unwrap();
                self.remote(&["-a", torrent, "-w", dir.to_str().unwrap()])
                    .expect("transmission takes the torrent");
            }
            Client::Qbittorrent => {
                until("qBittorrent's API", || http(self.control, "GET /api/v2/app/version", "", &[]));
                let (kind, body) = multipart(torrent, dir);
                let answer = http(self.control, "POST /api/v2/torrents/add", &kind, &body);
                assert_eq!(answer.as_deref().map(str::trim), Some("Ok."), "{}", self.process.log());
            }
            Client::Libtorrent | Client::Aria2 | Client::Rtorrent => {}
        }
        if role == Role::Seed {
            self.wait_complete();
        }
    }

    /// Waits until the client has everything of the torrent that was added last.
    pub fn wait_complete(&mut self) {
        match self.client {
            Client::Transmission => until("transmission to be complete", || {
                let text = self.remote(&["-t", &self.info_hash, "-i"])?;
                (text.contains("Percent Done: 100%") && !text.contains("State: Verif")).then_some(())
            }),
            Client::Libtorrent => drop(self.process.wait_for("complete")),
            // With everything in place it says that it seeds.
            Client::Aria2 => drop(self.process.wait_for("SEED(")),
            // It says so in a file.
            Client::Rtorrent => until("rTorrent to be complete", || {
                fs::exists(self.home.path().join("complete")).unwrap().then_some(())
            }),
            Client::Qbittorrent => until("qBittorrent to be complete", || {
                let torrent = self.qbittorrents(&self.info_hash)?;
                let state = torrent["state"].as_str()?;
                (torrent["progress"].as_f64()? >= 1.0 && !state.starts_with("checking")).then_some(())
            }),
        }
    }

    /// Pauses a complete torrent of qBittorrent, and waits until it is.
    pub fn pause(&self, info_hash: &str) {
        self.post("torrents/pause", &format!("hashes={info_hash}"));
        until("qBittorrent to pause", || {
            (self.qbittorrents(info_hash)?["state"] == "pausedUP").then_some(())
        });
    }

    /// What qBittorrent says of a torrent.
    fn qbittorrents(&self, info_hash: &str) -> Option<serde_json::Value> {
        let text = http(self.control, &format!("GET /api/v2/torrents/info?hashes={info_hash}"), "", &[])?;
        Some(serde_json::from_str::<serde_json::Value>(&text).ok()?.as_array()?.first()?.clone())
    }

    /// Where it keeps what it remembers.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Posts a form to qBittorrent's API.
    pub fn post(&self, method: &str, form: &str) {
        let kind = "application/x-www-form-urlencoded";
        let answer = http(self.control, &format!("POST /api/v2/{method}"), kind, form.as_bytes());
        assert!(answer.is_some(), "{method} {form}: {}", self.process.log());
    }

    /// Has it save what it remembers and end.
    pub fn end(&mut self) {
        self.process.terminate();
    }

    /// Runs `transmission-remote` for it.
    pub fn remote(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("transmission-remote")
            .arg(format!("127.0.0.1:{}", self.control))
            .args(arguments)
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn transmission(home: &Path, control: u16, port: u16, dir: &Path, encryption: Encryption) -> Process {
    let encryption = match encryption {
        Encryption::Usual => 1,
        Encryption::Rc4 => 2,
        // It has no more for those.
        Encryption::Handshake | Encryption::Plain => 0,
    };
    let settings = serde_json::json!({
        "rpc-port": control, "rpc-bind-address": "127.0.0.1", "rpc-authentication-required": false,
        "peer-port": port, "port-forwarding-enabled": false, "dht-enabled": false, "lpd-enabled": false,
        "download-dir": dir, "preallocation": 0, "trash-original-torrent-files": false,
        "encryption": encryption,
    });
    fs::write(home.join("settings.json"), settings.to_string()).unwrap();
    let mut command = Command::new("transmission-daemon");
    command.args(["--foreground", "--log-error", "--config-dir"]).arg(home);
    Process::start("transmission-daemon", &mut command)
}

fn libtorrent(role: Role, torrent: &Path, dir: &Path, encryption: Encryption) -> Process {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop/libtorrent_peer.py");
    // Debian's module belongs to Debian's Python.
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).arg(if role == Role::Seed { "seed" } else { "download" }).arg(torrent).arg(dir);
    command.arg(match encryption {
        Encryption::Usual => "usual",
        Encryption::Rc4 => "rc4",
        Encryption::Handshake => "handshake",
        Encryption::Plain => "plain",
    });
    let mut process = Process::start("libtorrent", &mut command);
    process.wait_for("listening");
    process
}

fn aria2(home: &Path, role: Role, torrent: &Path, dir: &Path, port: u16, encryption: Encryption) -> Process {
    let mut command = Command::new("aria2c");
    command
        .arg(format!("--listen-port={port}"))
        .arg(format!("--dir={}", dir.display()))
        // It speaks to UDP trackers only with its DHT on; without entry points that reaches nobody.
        .arg(format!("--dht-file-path={}", home.join("dht.dat").display()))
        .arg(format!("--dht-listen-port={port}"))
        .args(["--no-conf", "--enable-dht=true", "--enable-dht6=false", "--bt-enable-lpd=false"])
        .args(["--file-allocation=none", "--console-log-level=notice", "--summary-interval=1"])
        .args(["--bt-detach-seed-only=false", "--seed-ratio=0.0", "--seed-time=600", "--follow-torrent=mem"]);
    if role == Role::Seed {
        command.args(["--check-integrity=true", "--bt-hash-check-seed=true"]);
    }
    match encryption {
        Encryption::Rc4 => _ = command.arg("--bt-force-encryption=true"),
        Encryption::Handshake => {
            _ = command.args(["--bt-require-crypto=true", "--bt-min-crypto-level=plain"])
        }
        Encryption::Usual | Encryption::Plain => {}
    }
    command.arg(torrent);
    Process::start("aria2c", &mut command)
}

fn qbittorrent(home: &Path, control: u16, port: u16, encryption: Encryption) -> Process {
    let encryption = match encryption {
        Encryption::Usual => 0,
        Encryption::Rc4 | Encryption::Handshake => 1,
        Encryption::Plain => 2,
    };
    let config = home.join("qBittorrent/config");
    fs::create_dir_all(&config).unwrap();
    let settings = format!(
        "[LegalNotice]\nAccepted=true\n\n[BitTorrent]\nSession\\Port={port}\nSession\\DHTEnabled=false\n\
         Session\\LSDEnabled=false\nSession\\MultiConnectionsPerIp=true\nSession\\Preallocation=false\n\
         Session\\Encryption={encryption}\n\n\
         [Network]\nPortForwardingEnabled=false\n\n\
         [Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\Port={control}\nWebUI\\LocalHostAuth=false\n\
         WebUI\\CSRFProtection=false\nWebUI\\HostHeaderValidation=false\n"
    );
    fs::write(config.join("qBittorrent.conf"), settings).unwrap();
    let mut command = Command::new("qbittorrent-nox");
    command.arg(format!("--profile={}", home.display())).env("HOME", home).env("LC_ALL", "C.UTF-8");
    Process::start("qbittorrent-nox", &mut command)
}

fn rtorrent(home: &Path, torrent: &Path, dir: &Path, port: u16, encryption: Encryption) -> Process {
    let session = home.join("session");
    fs::create_dir_all(&session).unwrap();
    let encryption = match encryption {
        Encryption::Usual => "allow_incoming,try_outgoing,enable_retry",
        Encryption::Rc4 => "allow_incoming,try_outgoing,require,require_RC4",
        Encryption::Handshake => "allow_incoming,try_outgoing,require",
        Encryption::Plain => "none",
    };
    let text = format!(
        "system.daemon.set = true\n\
         network.port_range.set = {port}-{port}\n\
         network.port_random.set = no\n\
         protocol.encryption.set = {encryption}\n\
         protocol.pex.set = no\n\
         dht.mode.set = disable\n\
         trackers.use_udp.set = yes\n\
         session.path.set = {session}\n\
         directory.default.set = \"{dir}\"\n\
         pieces.hash.on_completion.set = no\n\
         method.set_key = event.download.finished, mark, \"execute.nothrow=touch,{complete}\"\n\
         method.set_key = event.download.hash_done, mark, \"branch=d.complete=,\\\"execute.nothrow=touch,{complete}\\\"\"\n\
         schedule2 = load, 0, 0, \"load.start=\\\"{torrent}\\\"\"\n",
        session = session.display(),
        dir = dir.display(),
        complete = home.join("complete").display(),
        torrent = torrent.display(),
    );
    let config = home.join("rtorrent.rc");
    fs::write(&config, text).unwrap();
    let mut command = Command::new("rtorrent");
    command.args(["-n", "-o"]).arg(format!("import={}", config.display())).env("HOME", home);
    Process::start("rtorrent", &mut command)
}

fn multipart(torrent: &Path, dir: &Path) -> (String, Vec<u8>) {
    let boundary = "----ringseedtest";
    let mut body = Vec::new();
    for (name, value) in [("savepath", dir.to_str().unwrap()), ("autoTMM", "false")] {
        let part =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.into_bytes());
    }
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"torrents\"; filename=\"a.torrent\"\r\n\
         Content-Type: application/x-bittorrent\r\n\r\n"
    );
    body.extend(head.into_bytes());
    body.extend(fs::read(torrent).unwrap());
    body.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// One HTTP exchange with a local server; the body of a 200 answer.
pub fn http(port: u16, request: &str, content_type: &str, body: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let kind =
        if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
    let head = format!(
        "{request} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n{kind}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let (mut answer, mut part) = (Vec::new(), [0; 8192]);
    // qBittorrent leaves a connection open for a while after an answer without a body.
    while !is_whole(&answer) {
        match stream.read(&mut part).ok()? {
            0 => break,
            length => answer.extend_from_slice(&part[..length]),
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.split_whitespace().nth(1).filter(|code| *code == "200")?;
    Some(body.to_owned())
}

/// Whether an answer that says how long it is has arrived.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    length.is_some_and(|length: usize| answer.len() >= head + 4 + length)
}
