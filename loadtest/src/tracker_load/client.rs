//! One connection to a tracker on the ring: a question, its answer, and what is done about silence.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use ringseed_proto::tracker::{
    Family,
    http::{announce_url, scrape_url},
    udp::{Request, Response},
};
use tokio_uring::net::{TcpStream, UdpSocket};

use super::crowd::Question;
use crate::blast::connection;

/// How long an answer may take before the question is asked again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often.
const TRIES: u32 = 4;
/// Age at which a UDP connection id is renewed: clients may use one for a minute (BEP 15).
const CONNECTION_ID_MAX: Duration = Duration::from_secs(50);
/// Longest answer that is taken.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Longest datagram that is taken.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// How a question was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// As it should be.
    Good,
    /// With a refusal.
    Refused(String),
}

/// A connection and what it has counted.
pub(super) struct Client {
    wire: Wire,
    /// Questions that were asked again.
    pub(super) repeated: u64,
    /// Connections that the tracker closed.
    pub(super) reopened: u64,
}

enum Wire {
    Udp(Box<Udp>),
    Http(Http),
}

type Received = (io::Result<usize>, Vec<u8>);

struct Udp {
    socket: Rc<UdpSocket>,
    /// The one receive in flight. It is kept over timeouts, so that no answer is lost to a forgotten one.
    receiving: Option<Pin<Box<dyn Future<Output = Received>>>>,
    connection_id: Option<(u64, Instant)>,
    transaction: u32,
    v6: bool,
}

struct Http {
    addr: SocketAddr,
    source: Option<Ipv4Addr>,
    stream: Option<TcpStream>,
}

impl Client {
    /// A UDP socket towards `addr`, from an address of its own when `source` is given.
    pub(super) fn udp(addr: SocketAddr, source: Option<Ipv4Addr>) -> io::Result<Client> {
        let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = match source {
            Some(source) => std::net::UdpSocket::bind((source, 0))?,
            None => std::net::UdpSocket::bind(any)?,
        };
        socket.connect(addr)?;
        let socket = Rc::new(UdpSocket::from_std(socket));
        let udp = Udp { socket, receiving: None, connection_id: None, transaction: 1, v6: addr.is_ipv6() };
        Ok(Client { wire: Wire::Udp(Box::new(udp)), repeated: 0, reopened: 0 })
    }

    /// A connection that is opened with the first question.
    pub(super) fn http(addr: SocketAddr, source: Option<Ipv4Addr>) -> Client {
        let http = Http { addr, source, stream: None };
        Client { wire: Wire::Http(http), repeated: 0, reopened: 0 }
    }

    /// Asks and waits for the answer.
    pub(super) async fn ask(&mut self, question: &Question) -> io::Result<Answer> {
        match &mut self.wire {
            Wire::Udp(udp) => udp.ask(question, &mut self.repeated).await,
            Wire::Http(http) => http.ask(question, &mut self.reopened).await,
        }
    }
}

impl Udp {
    async fn ask(&mut self, question: &Question, repeated: &mut u64) -> io::Result<Answer> {
        let connection_id = match self.connection_id {
            Some((id, since)) if since.elapsed() < CONNECTION_ID_MAX => id,
            _ => {
                self.transaction = self.transaction.wrapping_add(1);
                let request = Request::Connect { transaction_id: self.transaction };
                match self.exchange(&request, repeated).await? {
                    Response::Connect { connection_id, .. } => {
                        self.connection_id = Some((connection_id, Instant::now()));
                        connection_id
                    }
                    Response::Error { message, .. } => return Ok(Answer::Refused(message)),
                    _ => return Ok(Answer::Refused("another kind of answer".into())),
                }
            }
        };
        self.transaction = self.transaction.wrapping_add(1);
        let transaction_id = self.transaction;
        let torrents;
        let request = match question {
            Question::Announce(announce) => {
                let announce = announce.clone();
                Request::Announce { connection_id, transaction_id, announce, url_data: Vec::new() }
            }
            Question::Scrape(torrent) => {
                torrents = [torrent.0];
                Request::Scrape { connection_id, transaction_id, torrents: &torrents }
            }
        };
        Ok(match (self.exchange(&request, repeated).await?, question) {
            (Response::Announce { .. }, Question::Announce(_))
            | (Response::Scrape { .. }, Question::Scrape(_)) => Answer::Good,
            (Response::Error { message, .. }, _) => Answer::Refused(message),
            _ => Answer::Refused("another kind of answer".into()),
        })
    }

    async fn exchange(&mut self, request: &Request<'_>, repeated: &mut u64) -> io::Result<Response> {
        let family = if self.v6 { Family::V6 } else { Family::V4 };
        for attempt in 0..TRIES {
            *repeated += u64::from(attempt > 0);
            let mut datagram = Vec::with_capacity(128);
            request.encode(&mut datagram);
            self.socket.write(datagram).submit().await.0?;
            let until = tokio::time::Instant::now() + PATIENCE;
            loop {
                let receiving = self.receiving.get_or_insert_with(|| {
                    let socket = self.socket.clone();
                    Box::pin(async move { socket.read(Vec::with_capacity(DATAGRAM_BYTES_MAX)).await })
                });
                let Ok((received, bytes)) = tokio::time::timeout_at(until, receiving).await else { break };
                self.receiving = None;
                received?;
                let response = Response::decode(&bytes, family).map_err(io::Error::other)?;
                // An answer to a question that was asked again before it came is passed over.
                if response.transaction_id() == self.transaction {
                    return Ok(response);
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the tracker does not answer"))
    }
}

impl Http {
    async fn ask(&mut self, question: &Question, reopened: &mut u64) -> io::Result<Answer> {
        let path = match question {
            Question::Announce(announce) => announce_url("/announce", announce, None),
            // The path is ours and follows the convention.
            Question::Scrape(torrent) => scrape_url("/announce", &[*torrent]).unwrap_or_default(),
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.addr);
        let mut fresh = false;
        loop {
            if self.stream.is_none() {
                self.stream = Some(connection::connect(self.addr, self.source).await?);
                fresh = true;
            }
            let Some(stream) = &self.stream else { continue };
            match tokio::time::timeout(PATIENCE * TRIES, exchange(stream, request.clone().into_bytes())).await
            {
                Ok(Ok(answer)) => return Ok(answer),
                // A connection that stayed open may be closed just when a question is on its way.
                Ok(Err(_)) if !fresh => {
                    self.stream = None;
                    *reopened += 1;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the tracker does not answer")),
            }
        }
    }
}

async fn exchange(stream: &TcpStream, request: Vec<u8>) -> io::Result<Answer> {
    stream.write_all(request).await.0?;
    let mut seen = Vec::new();
    let mut buffer = Vec::with_capacity(8 << 10);
    loop {
        let (received, filled) = stream.read(buffer).await;
        let n = received?;
        if n == 0 || seen.len() > ANSWER_BYTES_MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.extend_from_slice(&filled[..n]);
        buffer = filled;
        if let Some(answer) = parse(&seen)? {
            return Ok(answer);
        }
    }
}

/// An answer with its length in the head; `None` while it is not whole.
fn parse(seen: &[u8]) -> io::Result<Option<Answer>> {
    let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&seen[..end]);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
    let body = &seen[end + 4..];
    if body.len() < length {
        return Ok(None);
    }
    let good = head.split(' ').nth(1) == Some("200") && !body.starts_with(b"d14:failure reason");
    let words = || String::from_utf8_lossy(&body[..length.min(200)]).into_owned();
    Ok(Some(if good { Answer::Good } else { Answer::Refused(words()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_awaited_whole_and_failures_seen() {
        let good = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nd1:ae";
        for cut in 0..good.len() {
            assert_eq!(parse(&good[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(parse(good).unwrap(), Some(Answer::Good));
        let failure = b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\nd14:failure reason4:badxyee";
        assert!(matches!(parse(failure).unwrap(), Some(Answer::Refused(text)) if text.contains("bad")));
        let status = b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n";
        assert!(matches!(parse(status).unwrap(), Some(Answer::Refused(_))));
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
