//! A `ringseed serve` under measurement, and its RPC as any client sees it.

use std::{
    fs::File,
    io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ringseed_loadtest::fleet::{self, Answer};
use serde_json::{Value, json};

use crate::ports::free_address;

/// Longest wait for an answer: a command over all torrents of a large daemon may take this long.
const ANSWER_MAX: Duration = Duration::from_secs(600);

/// How a daemon is started.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// The `ringseed` binary.
    pub program: PathBuf,
    /// State directory.
    pub state: PathBuf,
    /// Download directory.
    pub data: PathBuf,
    /// Core, when pinned to one.
    pub cpu: Option<usize>,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// A running daemon; dropped, it is killed.
pub struct Serving {
    child: Child,
    /// When it was started.
    pub started: Instant,
    /// Where its RPC listens.
    pub rpc: SocketAddr,
    /// Where peers reach it.
    pub peers: SocketAddr,
    client: Client,
}

/// A client of a daemon's RPC.
#[derive(Debug, Clone)]
pub struct Client {
    rpc: SocketAddr,
    session_id: String,
}

impl Client {
    /// Calls an RPC method; the text of the answer.
    ///
    /// # Errors
    /// Nobody listens, or there is no session id.
    pub fn text(&mut self, method: &str, arguments: &Value) -> io::Result<String> {
        let body = json!({ "method": method, "arguments": arguments }).to_string();
        loop {
            let head = format!(
                "POST /transmission/rpc HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
                 X-Transmission-Session-Id: {}\r\nContent-Length: {}\r\n\r\n",
                self.rpc,
                self.session_id,
                body.len()
            );
            let answer = exchange(self.rpc, &format!("{head}{body}"))?;
            if answer.status != 409 {
                return Ok(answer.body);
            }
            let id = answer.header("x-transmission-session-id");
            self.session_id = id.ok_or_else(|| io::Error::other("no session id"))?;
        }
    }
}

impl Daemon {
    /// Starts it; returns at once.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self) -> io::Result<Serving> {
        let (rpc, peers) = (free_address()?, free_address()?);
        let mut command = match self.cpu {
            Some(cpu) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &cpu.to_string()]).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.arg("serve").arg("--state-dir").arg(&self.state).arg("--download-dir").arg(&self.data);
        command.args(["--rpc", &rpc.to_string(), "--port", &peers.port().to_string()]);
        command.args(["--listen", &peers.ip().to_string()]).args(&self.arguments);
        let log = File::create(self.state.with_extension("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        Ok(Serving {
            child: command.spawn()?,
            started,
            rpc,
            peers,
            client: Client { rpc, session_id: String::new() },
        })
    }
}

/// The `ringseed` binary beside the running program, unless another is named.
///
/// # Errors
/// The running program's path is not known.
pub fn program(named: Option<&Path>) -> io::Result<PathBuf> {
    match named {
        Some(path) => Ok(path.to_owned()),
        None => Ok(std::env::current_exe()?.with_file_name("ringseed")),
    }
}

impl Serving {
    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Time since it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Calls an RPC method; the arguments of the answer.
    ///
    /// # Errors
    /// Nobody listens, or the answer is not success.
    pub fn call(&mut self, method: &str, arguments: &Value) -> io::Result<Value> {
        let answer = self.client.text(method, arguments)?;
        let answer: Value = serde_json::from_str(&answer).map_err(io::Error::other)?;
        if answer["result"] != "success" {
            return Err(io::Error::other(format!("{method}: {answer}")));
        }
        Ok(answer["arguments"].clone())
    }

    /// Another client of its RPC.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The status code of a page.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn status(&self, path: &str) -> io::Result<u16> {
        self.page(path).map(|(status, _)| status)
    }

    /// A value of the metrics page; NaN when it is not there.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn metric(&self, name: &str) -> io::Result<f64> {
        let text = self.metrics()?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        Ok(value.unwrap_or(f64::NAN))
    }

    /// The metrics page.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn metrics(&self) -> io::Result<String> {
        self.page("/metrics").map(|(_, text)| text)
    }

    fn page(&self, path: &str) -> io::Result<(u16, String)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.rpc);
        exchange(self.rpc, &request).map(|answer| (answer.status, answer.body))
    }

    /// Waits, asking every `pause`, until `done` has something to say.
    ///
    /// # Errors
    /// It ended, or nothing came within `limit`.
    pub fn wait<T>(
        &mut self,
        limit: Duration,
        pause: Duration,
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> io::Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = done(self) {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("the daemon ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("the daemon did not come that far in time"));
            }
            std::thread::sleep(pause);
        }
    }

    /// Asks it to stop with SIGTERM; seconds until it has ended.
    ///
    /// # Errors
    /// It has not ended after a minute.
    pub fn stop(mut self) -> io::Result<f64> {
        let began = Instant::now();
        // SAFETY: kill has no memory effects; the child is ours and not reaped yet, so the id is its own.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > Duration::from_secs(60) {
                return Err(io::Error::other("the daemon does not stop"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own.
fn exchange(addr: SocketAddr, request: &str) -> io::Result<Answer> {
    let stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    fleet::exchange(stream, request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn an_answer_is_taken_apart() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 9];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 409 Conflict\r\nX-A: b\r\n\r\nbody").unwrap();
        });
        let Answer { status, head: headers, body } = exchange(addr, "GET / HTT").unwrap();
        assert_eq!((status, body.as_str()), (409, "body"));
        assert!(headers.ends_with("X-A: b"));
        server.join().unwrap();
    }
}
