//! A small client for the control interfaces: an engine's RPC on its Unix socket, a tracker's pages on TCP.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Longest answer that is taken.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// The RPC of one engine. A Unix socket is reached whatever becomes of the network.
#[derive(Debug, Clone)]
pub struct Rpc {
    socket: PathBuf,
    session_id: String,
}

impl Rpc {
    /// The RPC at `socket`.
    pub fn new(socket: &Path) -> Rpc {
        Rpc { socket: socket.to_owned(), session_id: String::new() }
    }

    /// Calls a method; the arguments of the answer.
    ///
    /// # Errors
    /// Nobody answers, or the answer is not success.
    pub fn call(&mut self, method: &str, arguments: &Value) -> io::Result<Value> {
        let body = json!({ "method": method, "arguments": arguments }).to_string();
        for _ in 0..2 {
            let head = format!(
                "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 X-Transmission-Session-Id: {}\r\nContent-Length: {}\r\n\r\n",
                self.session_id,
                body.len()
            );
            let answer = self.exchange(&format!("{head}{body}"))?;
            if answer.status == 409 {
                let id = answer.header("x-transmission-session-id");
                self.session_id = id.ok_or_else(|| io::Error::other("no session id"))?;
                continue;
            }
            let value: Value = serde_json::from_str(&answer.body).map_err(io::Error::other)?;
            if value["result"] != "success" {
                return Err(io::Error::other(format!("{method}: {}", value["result"])));
            }
            return Ok(value["arguments"].clone());
        }
        Err(io::Error::other(format!("{method}: the session id is refused again and again")))
    }

    /// A page such as `/metrics`.
    ///
    /// # Errors
    /// Nobody answers, or not with 200.
    pub fn page(&self, path: &str) -> io::Result<String> {
        page_of(&self.exchange(&get(path))?, path)
    }

    fn exchange(&self, request: &str) -> io::Result<Answer> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        exchange(stream, request)
    }
}

/// A page of a server on TCP.
///
/// # Errors
/// Nobody answers, or not with 200.
pub(super) fn page(addr: SocketAddr, path: &str) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&addr, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    page_of(&exchange(stream, &get(path))?, path)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

fn page_of(answer: &Answer, path: &str) -> io::Result<String> {
    match answer.status {
        200 => Ok(answer.body.clone()),
        status => Err(io::Error::other(format!("{path} answers with {status}"))),
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The content.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, wanted: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        })
    }
}

/// One request on a connection that the server closes after it.
///
/// # Errors
/// Of the connection, or what came is no HTTP answer.
pub fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<Answer> {
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("not an HTTP answer"))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_session_id_is_learnt_and_errors_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rpc");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let answers = [
                "HTTP/1.1 409 Conflict\r\nX-Transmission-Session-Id: abc\r\n\r\n",
                "HTTP/1.1 200 OK\r\n\r\n{\"result\":\"success\",\"arguments\":{\"n\":5}}",
                "HTTP/1.1 200 OK\r\n\r\n{\"result\":\"no such torrent\",\"arguments\":{}}",
            ];
            let mut heads = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = vec![0; 4096];
                let n = stream.read(&mut request).unwrap();
                heads.push(String::from_utf8_lossy(&request[..n]).into_owned());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            heads
        });
        let mut rpc = Rpc::new(&path);
        assert_eq!(rpc.call("torrent-get", &json!({})).unwrap()["n"], 5);
        assert!(rpc.call("torrent-start", &json!({})).unwrap_err().to_string().contains("no such torrent"));
        let heads = server.join().unwrap();
        assert!(heads[1].contains("X-Transmission-Session-Id: abc\r\n"), "{heads:?}");
    }
}
