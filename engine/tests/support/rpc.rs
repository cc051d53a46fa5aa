//! A bare client of the RPC.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

fn exchange(address: SocketAddr, session_id: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\nX-Transmission-Session-Id: {session_id}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Calls a method and wants it to work; gives the answer's arguments.
pub fn call(address: SocketAddr, method: &str, arguments: Value) -> Value {
    let body = json!({"method": method, "arguments": arguments}).to_string();
    let refused = exchange(address, "", &body);
    let header = "x-transmission-session-id: ";
    let id = refused.lines().find_map(|line| line.strip_prefix(header)).expect("a 409 with a session id");
    let answer = exchange(address, id, &body);
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let answer: Value = serde_json::from_str(body).unwrap();
    assert_eq!(answer["result"], "success", "{method}");
    answer["arguments"].clone()
}

/// Runs `transmission-remote`, wants it to work, and gives what it prints.
pub fn remote(address: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("transmission-remote")
        .arg(address.to_string())
        .args(arguments)
        .output()
        .expect("transmission-remote is installed: run engine/tests/run.sh");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
