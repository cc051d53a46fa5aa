//! The UDP front end (BEP 15, BEP 41): answers datagrams, and the sockets on tokio-uring.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ringseed_proto::tracker::Family;
use ringseed_proto::tracker::udp::{
    AnnounceHead, Request as Packet, encode_announce, encode_connect, encode_error, encode_scrape,
};
use ringseed_proto::units::InfoHash;
use tokio_uring::net::UdpSocket;

use crate::limits::{SHORTAGE_PAUSE, UDP_REPLY_BYTES_MAX, UDP_REQUEST_BYTES_MAX};
use crate::metrics::{Outcome, Request};
use crate::shared::Shared;

/// What a client with an old or invented connection id is told. Short: see [`Answerer::refuse_unproven`].
const UNPROVEN: &str = "invalid connection id";

/// Answers datagrams, with buffers that it reuses.
pub(crate) struct Answerer {
    shared: Rc<Shared>,
    peers: Vec<SocketAddr>,
}

impl Answerer {
    pub(crate) fn new(shared: Rc<Shared>) -> Answerer {
        Answerer { shared, peers: Vec::new() }
    }

    /// Puts the reply into `reply`, which is emptied first and stays empty when there is none.
    ///
    /// Until a connection id has proven that the client receives at its address, a reply is never longer than the
    /// request: the tracker is no amplifier.
    pub(crate) fn answer(&mut self, from: SocketAddr, datagram: &[u8], reply: &mut Vec<u8>) {
        reply.clear();
        let metrics = &self.shared.metrics;
        if datagram.len() > UDP_REQUEST_BYTES_MAX {
            return metrics.count(Request::UdpOther, Outcome::Malformed);
        }
        match Packet::decode(datagram) {
            Err(_) => metrics.count(Request::UdpOther, Outcome::Malformed),
            Ok(Packet::Connect { transaction_id }) => {
                let id = self.shared.ids.issue(self.shared.now(), from.ip());
                encode_connect(reply, transaction_id, id);
                metrics.count(Request::UdpConnect, Outcome::Answered);
            }
            Ok(Packet::Announce { connection_id, transaction_id, .. })
                if !self.is_proven(from.ip(), connection_id) =>
            {
                refuse_unproven(datagram, transaction_id, reply);
                metrics.count(Request::UdpAnnounce, Outcome::Unproven);
            }
            Ok(Packet::Scrape { connection_id, transaction_id, .. })
                if !self.is_proven(from.ip(), connection_id) =>
            {
                refuse_unproven(datagram, transaction_id, reply);
                metrics.count(Request::UdpScrape, Outcome::Unproven);
            }
            Ok(Packet::Announce { transaction_id, announce, .. }) => {
                let family = Family::of(from.ip());
                let room = (UDP_REPLY_BYTES_MAX - 20) / family.compact_len();
                let room = u32::try_from(room).unwrap_or(u32::MAX);
                match self.shared.announce(from.ip(), &announce, room, &mut self.peers) {
                    Ok(announced) => {
                        let head = AnnounceHead {
                            interval: self.shared.interval_s(),
                            complete: announced.scrape.complete,
                            incomplete: announced.scrape.incomplete,
                        };
                        encode_announce(reply, transaction_id, &head, family, self.peers.iter().copied());
                        metrics.count(Request::UdpAnnounce, Outcome::Answered);
                    }
                    Err(refusal) => {
                        encode_error(reply, transaction_id, &refusal.to_string());
                        metrics.count(Request::UdpAnnounce, Outcome::Refused);
                    }
                }
            }
            Ok(Packet::Scrape { transaction_id, torrents, .. }) => {
                let family = Family::of(from.ip());
                let service = self.shared.service.borrow();
                let entries = torrents.iter().map(|hash| service.scrape(family, &InfoHash(*hash)));
                encode_scrape(reply, transaction_id, entries);
                metrics.count(Request::UdpScrape, Outcome::Answered);
            }
        }
    }

    fn is_proven(&self, client: IpAddr, connection_id: u64) -> bool {
        self.shared.ids.is_valid(self.shared.now(), client, connection_id)
    }
}

/// Tells a client whose connection id ran out to connect again, if that is no longer than what it sent.
fn refuse_unproven(datagram: &[u8], transaction_id: u32, reply: &mut Vec<u8>) {
    encode_error(reply, transaction_id, UNPROVEN);
    if reply.len() > datagram.len() {
        reply.clear();
    }
}

/// Receives and answers until the tracker stops. Several run on one socket.
pub(crate) async fn serve(shared: Rc<Shared>, socket: Rc<UdpSocket>) {
    let mut answerer = Answerer::new(shared.clone());
    // One byte more than a request may have shows that it was longer.
    let mut datagram = Vec::with_capacity(UDP_REQUEST_BYTES_MAX + 1);
    let mut reply = Vec::with_capacity(UDP_REPLY_BYTES_MAX);
    loop {
        datagram.clear();
        let (received, buffer) = socket.recv_from(datagram).await;
        datagram = buffer;
        if shared.is_stopping() {
            return;
        }
        let (len, from) = match received {
            Ok(received) => received,
            Err(error) => {
                shared.metrics.udp_receive_errors.inc();
                tracing::debug!(%error, "cannot receive a datagram");
                tokio::time::sleep(SHORTAGE_PAUSE).await;
                continue;
            }
        };
        answerer.answer(from, &datagram[..len.min(datagram.len())], &mut reply);
        if reply.is_empty() {
            continue;
        }
        let (sent, buffer) = socket.send_to(reply, from).await;
        reply = buffer;
        if let Err(error) = sent {
            // No route, a firewall, port 0: the client's loss.
            shared.metrics.udp_send_errors.inc();
            tracing::debug!(%error, %from, "cannot send a reply");
        }
    }
}

/// Sends a datagram to each task that waits on the socket at this address, so that it sees the stop. An operation
/// that the kernel still works on must not be dropped with the runtime: its buffer would go first.
pub(crate) fn wake(address: SocketAddr, tasks: usize) -> io::Result<()> {
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => ([127, 0, 0, 1], 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::LOCALHOST, 0).into(),
    };
    let target = if address.ip().is_unspecified() { local.ip() } else { address.ip() };
    let from = if target.is_loopback() { target } else { address.ip() };
    let socket = std::net::UdpSocket::bind((from, 0))?;
    for _ in 0..tasks {
        socket.send_to(&[], (target, address.port()))?;
    }
    Ok(())
}
