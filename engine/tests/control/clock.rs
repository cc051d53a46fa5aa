//! A machine whose clock begins before 1970.

use crate::support::process::Process;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

/// Stands before the C library's clock: real time is ten days before 1970.
const CLOCK: &str = r"
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
int clock_gettime(clockid_t which, struct timespec *at) {
    long result = syscall(SYS_clock_gettime, which, at);
    if (result == 0 && which == CLOCK_REALTIME) at->tv_sec = -864000;
    return result;
}
";

/// There is no date for an answer then: hyper panicked on the control thread with each connection.
#[test]
fn a_clock_before_1970_is_got_over() {
    let home = tempfile::tempdir().unwrap();
    let (source, library) = (home.path().join("clock.c"), home.path().join("clock.so"));
    std::fs::write(&source, CLOCK).unwrap();
    let built = Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: another clock needs gcc");
        return;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
    command.env("LD_PRELOAD", &library).args(["serve", "--rpc", "127.0.0.1:0", "--port", "0"]);
    command.args(["--listen", "127.0.0.1", "--shards", "1", "--no-pin", "--state-dir"]);
    command.arg(home.path().join("state")).arg("--download-dir").arg(home.path());
    let mut process = Process::start("ringseed serve", &mut command);
    let line = process.wait_for("RPC on http");
    process.wait_for("ready with");
    let address: SocketAddr = line.split("://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 503 ") && answer.contains("before 1970"), "{answer}");
    }
    assert!(process.is_running());
    process.terminate();
    assert!(!process.log().contains("panicked"), "{}", process.log());
}
