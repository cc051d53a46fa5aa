//! Fifty thousand HTTP connections that are opened and left: memory stays bounded and others are served.
//!
//! In a program of its own, for it raises this process's limit of descriptors.

mod harness;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use harness::{HttpClient, started};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

const CROWD: u64 = 50_000;
/// Descriptors beside those of the crowd.
const OTHERS: u64 = 200;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As many connections as this process may hold; all, when it is root.
fn allowed() -> u64 {
    let wanted = Some(CROWD + OTHERS);
    let limit = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: wanted.max(limit.maximum) }).is_err() {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(CROWD + OTHERS);
    CROWD.min(allowed - OTHERS)
}

fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn fifty_thousand_connections_left_open_keep_nobody_out() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed-tracker"));
    command.args(["--host", "0.0.0.0", "--port", "0", "--no-udp"]).stdin(Stdio::null());
    let mut tracker = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(tracker.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let start = line.find("0.0.0.0:").unwrap() + "0.0.0.0:".len();
    let port = line[start..].split('/').next().unwrap().parse().unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));

    let crowd = allowed();
    let mut left = Vec::new();
    for n in 0..crowd {
        // One address has ports for some 28,000 connections.
        let from = SocketAddr::from(([127, 0, 1 + (n / 10_000) as u8, 1], 0));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&address.into()).unwrap();
        if n % 3 == 0 {
            // Some begin a request and never end it.
            let _ = socket.send(b"GET /announce?info_hash=");
        }
        left.push(socket);
        if n % 1000 == 0 {
            let answer = HttpClient::connect(address).announce(&started(1, 1 + (n / 1000) as u16));
            assert_eq!(answer.peers.len() as u64, (n / 1000).min(50));
        }
    }
    let resident = resident_mib(tracker.0.id());
    assert!(resident < 200, "{resident} MiB for {crowd} connections");
    assert_eq!(HttpClient::connect(address).get("/healthz").status, 200);
    eprintln!("{crowd} connections were opened; the tracker holds {resident} MiB");
}
