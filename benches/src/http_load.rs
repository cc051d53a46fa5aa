//! Announces over HTTP on connections that stay open, one request in flight on each, as fast as they are answered.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

/// Torrents that are announced; few have most of the peers.
pub const TORRENTS: usize = 10_000;
/// Different announces, made before the start.
const REQUESTS: usize = 100_000;
/// An answer is shorter than this.
const BUFFER: usize = 16 << 10;

/// What happened in a span of time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Announces answered with peers or a number of them.
    pub answered: u64,
    /// Answers that are a failure.
    pub failed: u64,
    /// Connections that the tracker closed and that were opened again.
    pub reopened: u64,
}

/// The announces, and connections that carry them.
pub struct HttpLoad {
    address: SocketAddr,
    requests: Vec<Box<[u8]>>,
    next: usize,
    connections: Vec<Connection>,
    epoll: std::os::fd::OwnedFd,
}

struct Connection {
    stream: TcpStream,
    buffer: Box<[u8; BUFFER]>,
    filled: usize,
}

/// The info-hash of torrent `n`: any bytes do, if they are the same everywhere.
pub fn info_hash(n: usize) -> [u8; 20] {
    let mut state = n as u64 ^ 0x9e37_79b9_7f4a_7c15;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
}

impl HttpLoad {
    /// Opens the connections.
    ///
    /// # Errors
    /// The tracker does not accept them.
    pub fn open(address: SocketAddr, connections: usize) -> io::Result<HttpLoad> {
        use std::os::fd::FromRawFd;
        // SAFETY: a plain system call.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut load = HttpLoad {
            address,
            requests: requests(address),
            next: 0,
            connections: Vec::new(),
            // SAFETY: just made, owned by nobody else.
            epoll: unsafe { std::os::fd::OwnedFd::from_raw_fd(epoll) },
        };
        for at in 0..connections {
            let connection = load.connect(at)?;
            load.connections.push(connection);
            load.send(at)?;
        }
        Ok(load)
    }

    /// Asks and counts answers for so long.
    ///
    /// # Errors
    /// A connection fails, or nothing is answered for ten seconds.
    pub fn run(&mut self, time: Duration) -> io::Result<Counts> {
        let mut counts = Counts::default();
        let end = Instant::now() + time;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 128];
        while Instant::now() < end {
            // SAFETY: the array is writable and its length is right.
            let ready = unsafe {
                libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, 10_000)
            };
            if ready <= 0 {
                return Err(io::Error::other("the tracker answers nothing"));
            }
            for event in &events[..ready as usize] {
                self.receive(event.u64 as usize, &mut counts)?;
            }
        }
        Ok(counts)
    }

    fn connect(&self, at: usize) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: at as u64 };
        // SAFETY: both descriptors are open, the event is copied.
        let added = unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &mut event)
        };
        if added < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Connection { stream, buffer: Box::new([0; BUFFER]), filled: 0 })
    }

    fn send(&mut self, at: usize) -> io::Result<()> {
        let request = &self.requests[self.next];
        self.next = (self.next + 1) % self.requests.len();
        // It always fits: the answer to the one before was read.
        self.connections[at].stream.write_all(request)
    }

    fn receive(&mut self, at: usize, counts: &mut Counts) -> io::Result<()> {
        let connection = &mut self.connections[at];
        let received = connection.stream.read(&mut connection.buffer[connection.filled..]);
        let ended = match received {
            Ok(0) => true,
            Ok(count) => {
                connection.filled += count;
                false
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => true,
            Err(error) => return Err(error),
        };
        let bytes = &connection.buffer[..connection.filled];
        if let Some(body) = body(bytes, ended) {
            match body.starts_with(b"d14:failure") {
                true => counts.failed += 1,
                false => counts.answered += 1,
            }
            connection.filled = 0;
            if !ended {
                return self.send(at);
            }
        }
        if ended {
            counts.reopened += 1;
            self.connections[at] = self.connect(at)?;
            self.send(at)?;
        }
        Ok(())
    }
}

/// The body of a whole answer: as long as its head says, or up to the end of the connection.
fn body(bytes: &[u8], ended: bool) -> Option<&[u8]> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let length = bytes[..head].split(|&byte| byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(15)?;
        let value = name.eq_ignore_ascii_case(b"content-length:").then_some(value)?;
        std::str::from_utf8(value).ok()?.trim().parse::<usize>().ok()
    });
    match length {
        Some(length) => bytes.get(head..head + length),
        None => ended.then_some(&bytes[head..]),
    }
}

fn requests(address: SocketAddr) -> Vec<Box<[u8]>> {
    let mut state = 7u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let one = |_| {
        let chance = f64::from(random()) / f64::from(1u32 << 31);
        let torrent = (chance.powi(4) * TORRENTS as f64) as usize;
        let (peer, port) = (random(), 1024 + random() % 60_000);
        let left = u32::from(random() % 4 > 0) * 1000;
        format!(
            "GET /announce?info_hash={}&peer_id=-XX0001-{peer:012}&port={port}&uploaded=0&downloaded=0\
             &left={left}&numwant=50&compact=1&event=started HTTP/1.1\r\nHost: {address}\r\n\
             User-Agent: load\r\nAccept-Encoding: gzip\r\n\r\n",
            escaped(&info_hash(torrent.min(TORRENTS - 1)))
        )
        .into_bytes()
        .into_boxed_slice()
    };
    (0..REQUESTS).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_head_says_or_with_the_connection() {
        let whole = b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-Length: 3\r\n\r\nabc";
        assert_eq!(body(whole, false), Some(&b"abc"[..]));
        for cut in 0..whole.len() {
            assert_eq!(body(&whole[..cut], false), None, "{cut}");
        }
        assert_eq!(body(b"HTTP/1.0 200 OK\r\n\r\nab", false), None);
        assert_eq!(body(b"HTTP/1.0 200 OK\r\n\r\nab", true), Some(&b"ab"[..]));
    }

    #[test]
    fn requests_are_made_once_and_hashes_differ() {
        let requests = requests("127.0.0.1:1".parse().unwrap());
        assert_eq!(requests.len(), REQUESTS);
        let hashes: std::collections::HashSet<_> = (0..TORRENTS).map(info_hash).collect();
        assert_eq!(hashes.len(), TORRENTS);
    }
}
