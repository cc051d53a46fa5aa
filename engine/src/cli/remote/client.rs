//! A plain client of the RPC: one request per connection, over TCP or a Unix socket.

use super::args::Connect;
use crate::cli::failure::{Failure, io_reason};
use ringseed_api::{Response, SESSION_ID_HEADER};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time to connect, and between bytes of an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer: all fields of 100,000 torrents are less.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// Where the daemon is.
enum Place {
    Tcp(String),
    Unix(PathBuf),
}

/// A daemon.
pub struct Daemon {
    place: Place,
    credentials: Option<String>,
    session_id: RefCell<String>,
}

impl Daemon {
    /// The daemon that the arguments name. Nothing is sent yet.
    pub fn new(connect: &Connect) -> Result<Self, Failure> {
        let named = connect.connect.clone();
        let named = named.unwrap_or_else(|| here(std::env::var("RINGSEED_RPC").ok().as_deref()));
        let place = match named.strip_prefix("unix:") {
            Some(path) => Place::Unix(path.into()),
            None => {
                let address = named.strip_prefix("http://").unwrap_or(&named);
                if address.contains("://") {
                    return Err(Failure::usage("--connect takes HOST:PORT, http://HOST:PORT or unix:/PATH"));
                }
                let address = address.split('/').next().unwrap_or_default();
                let named = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
                Place::Tcp(if named { address.to_owned() } else { format!("{address}:9091") })
            }
        };
        let credentials = match (&connect.login.auth, &connect.login.token_file) {
            (Some(pair), _) => Some(format!("Basic {}", ringseed_rpc::encode_base64(pair.as_bytes()))),
            (None, Some(path)) => {
                let refused =
                    |error| Failure::failed(format!("cannot read {}: {}", path.display(), io_reason(&error)));
                Some(bearer(path).map_err(refused)?)
            }
            // Most daemons on this machine need none.
            (None, None) => {
                let named = std::env::var_os("RINGSEED_STATE_DIR").map(PathBuf::from);
                let dir = named.or_else(|| crate::cli::state_dir::root().ok());
                dir.and_then(|dir| bearer(&dir.join(ringseed_rpc::TOKEN_FILE)).ok())
            }
        };
        Ok(Self { place, credentials, session_id: RefCell::default() })
    }

    /// Calls a method and gives its arguments.
    pub fn call(&self, method: &str, arguments: Value) -> Result<Value, Failure> {
        let body = json!({"method": method, "arguments": arguments}).to_string();
        for _ in 0..2 {
            let (status, head, text) = self.exchange("POST /transmission/rpc", &body)?;
            match status {
                200 => {
                    let answer: Response = serde_json::from_slice(&text).map_err(|error| {
                        Failure::failed(format!("the daemon's answer is no answer: {error}"))
                    })?;
                    return match answer.is_success() {
                        true => Ok(answer.arguments),
                        false => Err(Failure::failed(answer.result)),
                    };
                }
                409 => {
                    let id = header(&head, SESSION_ID_HEADER).unwrap_or_default();
                    *self.session_id.borrow_mut() = id.to_owned();
                }
                401 => {
                    return Err(Failure::failed(
                        "the daemon wants credentials: give --auth NAME:PASSWORD or --token-file FILE",
                    ));
                }
                other => {
                    let text = String::from_utf8_lossy(&text);
                    return Err(Failure::failed(format!("the daemon refused ({other}): {}", text.trim())));
                }
            }
        }
        Err(Failure::failed("the daemon does not accept the session id that it gave"))
    }

    /// The text of a page that is answered with 200.
    pub fn page(&self, path: &str) -> Result<String, Failure> {
        let (status, _, text) = self.exchange(&format!("GET {path}"), "")?;
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        match status {
            200 => Ok(text),
            other => Err(Failure::failed(format!("the daemon is not well ({other}): {text}"))),
        }
    }

    fn exchange(&self, what: &str, body: &str) -> Result<(u16, String, Vec<u8>), Failure> {
        let failed = |error: io::Error| match &self.place {
            Place::Tcp(address) => {
                Failure::failed(format!("no answer from {address}: {error}; does `ringseed serve` run?"))
            }
            Place::Unix(path) => Failure::failed(format!(
                "no answer from {}: {error}; does `ringseed serve` run?",
                path.display()
            )),
        };
        let host = match &self.place {
            Place::Tcp(address) => address.as_str(),
            Place::Unix(_) => "localhost",
        };
        let mut request = format!(
            "{what} HTTP/1.1\r\nHost: {host}\r\n{SESSION_ID_HEADER}: {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n",
            self.session_id.borrow(),
            body.len()
        );
        if let Some(credentials) = &self.credentials {
            request.push_str(&format!("Authorization: {credentials}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(body);
        let bytes = match &self.place {
            Place::Tcp(address) => tcp(address).and_then(|stream| {
                stream.set_read_timeout(Some(TIMEOUT))?;
                talk(stream, &request)
            }),
            Place::Unix(path) => UnixStream::connect(path).and_then(|stream| {
                stream.set_read_timeout(Some(TIMEOUT))?;
                talk(stream, &request)
            }),
        };
        parse(&bytes.map_err(failed)?)
            .ok_or_else(|| Failure::failed("what answers there does not speak HTTP"))
    }
}

/// Where a daemon on this machine is, from what it was told to listen on.
fn here(rpc: Option<&str>) -> String {
    let Some(mut address) = rpc.and_then(|text| text.parse::<SocketAddr>().ok()) else {
        return "127.0.0.1:9091".to_owned();
    };
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address.to_string()
}

fn tcp(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn talk(mut stream: impl Read + Write, request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Status, head and body of an answer with a length or until its end.
fn parse(bytes: &[u8]) -> Option<(u16, String, Vec<u8>)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let length = header(&head, "content-length").and_then(|length| length.parse::<usize>().ok());
    // Less than was promised: it broke off.
    let body = body.get(..length.unwrap_or(body.len()))?;
    Some((status, head, body.to_vec()))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn bearer(path: &Path) -> io::Result<String> {
    Ok(format!("Bearer {}", std::fs::read_to_string(path)?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_here_is_where_it_was_told_to_listen() {
        for (rpc, expected) in [
            (None, "127.0.0.1:9091"),
            (Some("0.0.0.0:80"), "127.0.0.1:80"),
            (Some("[::]:80"), "[::1]:80"),
            (Some("192.0.2.1:80"), "192.0.2.1:80"),
            (Some("nonsense"), "127.0.0.1:9091"),
        ] {
            assert_eq!(here(rpc), expected);
        }
    }

    #[test]
    fn answers_are_taken_apart() {
        let whole = b"HTTP/1.1 409 Conflict\r\nX-Transmission-Session-Id: abc\r\nContent-Length: 2\r\n\r\nhi";
        let (status, head, body) = parse(whole).expect("an answer");
        assert_eq!((status, body.as_slice()), (409, &b"hi"[..]));
        assert_eq!(header(&head, SESSION_ID_HEADER), Some("abc"));
        assert!(parse(&whole[..whole.len() - 1]).is_none(), "it broke off");
        assert!(parse(b"SSH-2.0\r\n\r\n").is_none());
    }
}
