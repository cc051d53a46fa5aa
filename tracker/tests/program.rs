//! The program as a user or a service manager meets it: ready line, exit codes, signals.

mod harness;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};

use harness::{HttpClient, UdpClient, started};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed-tracker"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it and returns its ready line.
fn ready(command: &mut Command) -> (Child, String) {
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

fn stop(child: Child, signal: rustix::process::Signal) -> Output {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, signal).unwrap();
    child.wait_with_output().unwrap()
}

fn address(line: &str, before: &str, after: &str) -> SocketAddr {
    let start = line.find(before).unwrap() + before.len();
    let end = start + line[start..].find(after).unwrap();
    line[start..end].parse().unwrap()
}

#[test]
fn it_says_where_it_serves_and_stops_on_signals() {
    use rustix::process::Signal;
    for signal in [Signal::INT, Signal::TERM] {
        let (child, line) = ready(&mut program(&["--host", "127.0.0.1", "--port", "0", "--interval", "60"]));
        let mut http = HttpClient::connect(address(&line, "http://", "/announce"));
        assert_eq!(http.announce(&started(1, 1)).interval, 60);
        assert_eq!(
            UdpClient::connect(address(&line, "udp://", "\n")).announce(&started(1, 2)).peers.len(),
            1
        );
        let output = stop(child, signal);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn by_default_it_serves_both_families_and_json_is_json() {
    let (child, line) = ready(program(&["--log-format", "json"]).env("RINGSEED_TRACKER_PORT", "0"));
    let http = address(&line, "http://", "/announce");
    assert!(
        line.starts_with("{\"event\":\"ready\",\"urls\":[\"http://") && line.ends_with("\"]}\n"),
        "{line}"
    );
    for ip in [harness::V4, harness::V6] {
        HttpClient::connect(SocketAddr::new(ip, http.port())).announce(&started(1, 1));
    }
    assert_eq!(stop(child, rustix::process::Signal::TERM).status.code(), Some(0));
}

#[test]
fn a_taken_port_is_one_clear_message_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = program(&["--host", "127.0.0.1", "--port", &port, "--no-udp"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains(&port) && message.contains("taken") && message.lines().count() == 1,
        "{message}"
    );
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in
        [&["--port", "70000"][..], &["--no-udp", "--no-http"], &["--interval", "0"], &["--nonsense"]]
    {
        let output = program(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
