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
fn health_is_asked_with_the_settings_of_the_tracker() {
    for transport in ["--no-udp", "--no-http"] {
        let (child, line) = ready(&mut program(&["--host", "127.0.0.1", "--port", "0", transport]));
        let (before, after) =
            if transport == "--no-udp" { ("http://", "/announce") } else { ("udp://", "\n") };
        let port = address(&line, before, after).port().to_string();
        let arguments = ["--health", "--host", "127.0.0.1", "--port", &port, transport];
        let output = program(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        stop(child, rustix::process::Signal::TERM);
        let output = program(&arguments).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && message.contains(&port), "{message}");
    }
}

#[test]
fn manual_and_completions_name_every_flag() {
    for arguments in [&["--man"][..], &["--completions", "bash"], &["--completions", "fish"]] {
        let output = program(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap().replace('\\', "");
        for flag in ["allow-list", "announces-per-minute", "health"] {
            assert!(text.contains(flag), "{arguments:?} lacks {flag}");
        }
    }
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

#[test]
fn settings_come_from_file_then_environment_then_flags_and_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tracker.toml");
    std::fs::write(&file, "port = 1\ninterval_s = 2\nworkers = 3\n[limits]\npeers = 4\n").unwrap();
    let output = program(&["--config", file.to_str().unwrap(), "--print-config", "--workers", "7"])
        .env("RINGSEED_TRACKER_INTERVAL", "5")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for line in ["port = 1", "interval_s = 5", "workers = 7", "peers = 4", "udp = true"] {
        assert!(printed.lines().any(|found| found == line), "{line} is not in\n{printed}");
    }
    std::fs::write(&file, &printed).unwrap();
    let again = program(&["--config", file.to_str().unwrap(), "--print-config"]).output().unwrap();
    assert_eq!(String::from_utf8(again.stdout).unwrap(), printed);

    std::fs::write(&file, "prot = 1\n").unwrap();
    let output = program(&["--config", file.to_str().unwrap()]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && message.contains("prot"), "{message}");
}

#[test]
fn a_hang_up_has_the_lists_read_again_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("denied");
    std::fs::write(&list, "").unwrap();
    let (child, line) =
        ready(&mut program(&["--host", "127.0.0.1", "--port", "0", "--deny-list", list.to_str().unwrap()]));
    let mut http = HttpClient::connect(address(&line, "http://", "/announce"));
    http.announce(&started(1, 1));
    std::fs::write(&list, "01".repeat(20)).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let deadline = std::time::Instant::now() + harness::PATIENCE;
    while !http.get(&harness::target(&started(1, 1))).text().contains("does not serve") {
        assert!(std::time::Instant::now() < deadline, "the list was not read");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(stop(child, rustix::process::Signal::TERM).status.code(), Some(0));
}

#[test]
fn it_becomes_another_user_when_it_may() {
    let command = ["--host", "127.0.0.1", "--port", "0", "--user", "nobody"];
    if !rustix::process::geteuid().is_root() {
        let output = program(&command).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot become user"));
        return;
    }
    let (child, line) = ready(&mut program(&command));
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let ids = |name| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert_eq!(ids("Uid:").split_whitespace().skip(1).collect::<Vec<_>>(), ["65534"; 4]);
    assert_eq!(ids("Gid:").split_whitespace().skip(1).collect::<Vec<_>>(), ["65534"; 4]);
    HttpClient::connect(address(&line, "http://", "/announce")).announce(&started(1, 1));
    assert_eq!(stop(child, rustix::process::Signal::TERM).status.code(), Some(0));
}
