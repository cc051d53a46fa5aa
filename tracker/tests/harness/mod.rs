//! What the tests of the running tracker share: raw clients that speak to it over loopback.
#![allow(dead_code, missing_docs)] // Each test program uses a part.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::tracker::http::{announce_url, parse_announce_response};
use ringseed_proto::tracker::udp::{Request, Response};
use ringseed_proto::tracker::{AnnounceEvent, AnnounceRequest, AnnounceResponse, Family};
use ringseed_proto::units::PeerId;
use ringseed_tracker::{Tracker, TrackerConfig};

/// Against a tracker that hangs; no test waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A tracker on free ports of this address.
pub fn tracker(ip: IpAddr) -> Tracker {
    tracker_with(ip, |_| {})
}

pub fn tracker_with(ip: IpAddr, change: impl FnOnce(&mut TrackerConfig)) -> Tracker {
    let address = Some(SocketAddr::new(ip, 0));
    let mut config = TrackerConfig { http: address, udp: address, ..TrackerConfig::default() };
    change(&mut config);
    Tracker::start(config).unwrap()
}

pub fn announce(torrent: u8, port: u16, left: u64, event: AnnounceEvent) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: SwarmHash([torrent; 20]),
        peer_id: PeerId(*b"-RS0001-\x00\xff%&=+ 12345"),
        port,
        uploaded: 0,
        downloaded: 0,
        left,
        event,
        numwant: None,
        key: None,
    }
}

pub fn started(torrent: u8, port: u16) -> AnnounceRequest {
    announce(torrent, port, 1, AnnounceEvent::Started)
}

/// A raw HTTP/1.1 client that keeps its connection.
pub struct HttpClient {
    stream: TcpStream,
    received: Vec<u8>,
}

pub struct HttpReply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl HttpReply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl HttpClient {
    pub fn connect(address: SocketAddr) -> HttpClient {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        HttpClient { stream, received: Vec::new() }
    }

    pub fn connect_from(ip: IpAddr, address: SocketAddr) -> HttpClient {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&SocketAddr::new(ip, 0).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        HttpClient { stream, received: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn get(&mut self, target: &str) -> HttpReply {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: tracker\r\n\r\n").as_bytes()).unwrap();
        self.reply().expect("the tracker closed the connection")
    }

    /// The next reply; `None` when the connection ends before a whole one.
    pub fn reply(&mut self) -> Option<HttpReply> {
        loop {
            if let Some(end) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(self.received[..end].to_vec()).unwrap();
                let length = head
                    .lines()
                    .find_map(|line| {
                        line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
                    })
                    .unwrap_or(0);
                if self.received.len() >= end + 4 + length {
                    let body = self.received[end + 4..end + 4 + length].to_vec();
                    self.received.drain(..end + 4 + length);
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    return Some(HttpReply { status, head, body });
                }
            }
            if !self.read_some() {
                return None;
            }
        }
    }

    /// True if bytes came, false at the end; panics when neither happens in time.
    fn read_some(&mut self) -> bool {
        let mut buffer = [0; 16384];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("no end of the connection")
            }
            Err(error) => {
                eprintln!("connection ended: {error}");
                false
            }
        }
    }

    /// Waits until the tracker has closed the connection.
    pub fn wait_for_end(mut self) {
        while self.read_some() {}
    }

    pub fn announce(&mut self, request: &AnnounceRequest) -> AnnounceResponse {
        let reply = self.get(&target(request));
        assert_eq!(reply.status, 200);
        parse_announce_response(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
    }
}

/// Path and query of an announce.
pub fn target(request: &AnnounceRequest) -> String {
    announce_url("/announce", request, None)
}

pub fn addresses(response: &AnnounceResponse) -> Vec<SocketAddr> {
    let mut peers: Vec<_> = response.peers.iter().map(|peer| peer.addr).collect();
    peers.sort();
    peers
}

/// A raw UDP client.
pub struct UdpClient {
    pub socket: UdpSocket,
    pub family: Family,
}

impl UdpClient {
    pub fn connect(address: SocketAddr) -> UdpClient {
        UdpClient::connect_from(address.ip(), address)
    }

    pub fn connect_from(ip: IpAddr, address: SocketAddr) -> UdpClient {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(address).unwrap();
        UdpClient { socket, family: Family::of(address.ip()) }
    }

    pub fn send(&self, request: &Request<'_>) {
        let mut datagram = Vec::new();
        request.encode(&mut datagram);
        self.socket.send(&datagram).unwrap();
    }

    pub fn receive(&self) -> Vec<u8> {
        let mut reply = vec![0; 65536];
        let count = self.socket.recv(&mut reply).expect("no reply");
        reply.truncate(count);
        reply
    }

    pub fn exchange(&self, request: &Request<'_>) -> Response {
        self.send(request);
        Response::decode(&self.receive(), self.family).unwrap()
    }

    pub fn connection_id(&self) -> u64 {
        match self.exchange(&Request::Connect { transaction_id: 77 }) {
            Response::Connect { transaction_id: 77, connection_id } => connection_id,
            other => panic!("{other:?}"),
        }
    }

    pub fn announce(&self, request: &AnnounceRequest) -> AnnounceResponse {
        let connection_id = self.connection_id();
        let request = Request::Announce {
            connection_id,
            transaction_id: 78,
            announce: request.clone(),
            url_data: b"/announce".to_vec(),
        };
        match self.exchange(&request) {
            Response::Announce { transaction_id: 78, response } => response,
            other => panic!("{other:?}"),
        }
    }
}
