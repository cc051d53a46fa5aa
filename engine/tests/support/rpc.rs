//! A bare client of the RPC.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

fn exchange(mut stream: impl Read + Write, session_id: &str, body: &str) -> std::io::Result<String> {
    // In one write: the first answer may come, and the connection end, before the rest of a request.
    let request = format!(
        "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\nX-Transmission-Session-Id: {session_id}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Posts a request, over connections made by `connect`, and gives the whole answer; `None` when there is none.
pub fn post<S: Read + Write>(connect: impl Fn() -> std::io::Result<S>, request: &Value) -> Option<Value> {
    let body = request.to_string();
    let refused = exchange(connect().ok()?, "", &body).ok()?;
    let header = "x-transmission-session-id: ";
    let id = refused.lines().find_map(|line| line.strip_prefix(header))?;
    let answer = exchange(connect().ok()?, id, &body).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// The whole answer to a method; `None` when there is none.
fn answer(address: SocketAddr, method: &str, arguments: Value) -> Option<Value> {
    post(|| TcpStream::connect(address), &json!({"method": method, "arguments": arguments}))
}

/// Calls a method and wants it to work; gives the answer's arguments.
pub fn call(address: SocketAddr, method: &str, arguments: Value) -> Value {
    let answer = answer(address, method, arguments).expect("an answer");
    assert_eq!(answer["result"], "success", "{method}");
    answer["arguments"].clone()
}

/// What a method says of how it went.
pub fn outcome(address: SocketAddr, method: &str, arguments: Value) -> String {
    let answer = answer(address, method, arguments).expect("an answer");
    answer["result"].as_str().expect("a result").to_owned()
}

/// Whether a method worked; `None` when nobody answers.
pub fn try_call(address: SocketAddr, method: &str, arguments: Value) -> Option<bool> {
    answer(address, method, arguments).map(|answer| answer["result"] == "success")
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
