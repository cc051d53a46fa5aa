//! A link: one peer's byte stream, whatever carries it.
//!
//! The owner of a link arms it ([`Link::receive`]), gives it what is to be sent ([`Link::send`]), and hands it the ring's
//! completions for it ([`Link::handle`]), which say what happened as a [`LinkEvent`]. What a swarm sees of a peer are the bytes
//! behind the handshake, in order; what carries them, and how it began, stays here.
//!
//! Until the peer's handshake is whole only single receives are used, so that nothing is in flight when a link moves to another
//! thread.

use crate::limits::HANDSHAKE_TIMEOUT;
use ringseed_proto::peer_address::canonical;
use ringseed_proto::units::Time;
use ringseed_proto::wire::{Handshake, HandshakeError, HandshakeReader};
use ringseed_ring::{Completion, Event, OpId, RecvBuf, Ring, SendList};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// How far a link is.
#[derive(Debug)]
enum Opening {
    /// The peer's handshake is not whole yet.
    Handshake {
        /// What has arrived of it.
        reader: HandshakeReader,
        /// When the link began.
        since: Time,
    },
    /// The peer's handshake is whole.
    Open,
    /// It ends when the kernel is done with its operations.
    Closing,
}

/// What a send carries, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cargo {
    /// Blocks of pieces.
    pub payload: u64,
    /// Everything else.
    pub protocol: u64,
}

/// What happened to a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// Nothing that anybody has to know.
    Nothing,
    /// The peer's handshake is whole; what followed it in the same receive comes with it, and must be looked at before
    /// anything else that arrives.
    Opened {
        /// What the peer said.
        handshake: Handshake,
        /// What follows it.
        leftover: Vec<u8>,
    },
    /// Bytes of the stream behind the handshake.
    Bytes(RecvBuf),
    /// The peer does not speak BitTorrent.
    Foreign(HandshakeError),
    /// A receive found no buffer: arm it again when some came back.
    NoBuffers,
    /// A part of a send has left, the rest is on its way.
    SentPart {
        /// Whether the send carries blocks.
        with_payload: bool,
    },
    /// A send has left; the list may be used again.
    Sent(Cargo, SendList),
    /// A send failed: the stream cannot go on. `EFAULT` means that a mapped file was cut.
    SendFailed(io::Error, SendList),
    /// The peer, or the way to it, is gone; `None` when it closed in order.
    Closed(Option<io::Error>),
    /// It was closed here: a list that was in flight came back.
    Returned(SendList),
}

/// One peer's byte stream over TCP.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    address: SocketAddr,
    opening: Opening,
    receiving: Option<OpId>,
    sending: Option<OpId>,
    in_flight: Cargo,
}

impl Link {
    /// A link on a connection that was accepted; `None` when it is gone already.
    #[must_use]
    pub fn accepted(socket: OwnedFd, now: Time) -> Option<Link> {
        // Canonical, for a v4 peer of a dual-stack socket would else be another one for bans and candidates.
        let address = SocketAddr::try_from(rustix::net::getpeername(&socket).ok()??).ok().map(canonical)?;
        Some(Link::new(socket, address, now))
    }

    /// A link on a connection that was dialled, maybe by a proxy for us.
    #[must_use]
    pub fn dialled(socket: OwnedFd, address: SocketAddr, now: Time) -> Link {
        Link::new(socket, address, now)
    }

    fn new(socket: OwnedFd, address: SocketAddr, now: Time) -> Link {
        // Small messages (requests, haves) must not wait for acknowledgements of earlier ones.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        let opening = Opening::Handshake { reader: HandshakeReader::default(), since: now };
        Link { socket, address, opening, receiving: None, sending: None, in_flight: Cargo::default() }
    }

    /// The peer's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a send is in flight.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Whether it waits for the peer's handshake longer than any peer needs.
    #[must_use]
    pub fn is_late(&self, now: Time) -> bool {
        match &self.opening {
            Opening::Handshake { since, .. } => now.saturating_since(*since) >= HANDSHAKE_TIMEOUT,
            Opening::Open | Opening::Closing => false,
        }
    }

    /// Whether the kernel is done with it: it may be dropped then, or move to another thread.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.receiving.is_none() && self.sending.is_none()
    }

    /// Arms receiving, unless it is armed. `token` names the link in completions.
    pub fn receive(&mut self, ring: &Ring, token: u64) {
        if self.receiving.is_some() {
            return;
        }
        let socket = self.socket.as_raw_fd();
        self.receiving = match self.opening {
            Opening::Handshake { .. } => Some(ring.recv_once(socket, token)),
            Opening::Open => Some(ring.recv_multishot(socket, token)),
            Opening::Closing => None,
        };
    }

    /// Sends all of `list`. One send is in flight at most.
    pub fn send(&mut self, ring: &Ring, token: u64, list: SendList, cargo: Cargo) {
        debug_assert!(self.sending.is_none());
        self.in_flight = cargo;
        self.sending = Some(ring.send(self.socket.as_raw_fd(), token, list));
    }

    /// Ends the link. It is to be kept until [`Link::is_idle`].
    pub fn close(&mut self, ring: &Ring) {
        self.opening = Opening::Closing;
        for operation in [self.receiving, self.sending].into_iter().flatten() {
            ring.cancel(operation);
        }
    }

    /// Takes a completion of one of its operations. Receiving may have to be armed again afterwards.
    pub fn handle(&mut self, ring: &Ring, completion: Completion) -> LinkEvent {
        if !completion.more {
            if self.receiving == Some(completion.op) {
                self.receiving = None;
            } else if self.sending == Some(completion.op) {
                self.sending = None;
            }
        }
        if matches!(self.opening, Opening::Closing) {
            return match completion.event {
                Event::Sent { list, .. } | Event::SendError { list, .. } => LinkEvent::Returned(list),
                _ => LinkEvent::Nothing,
            };
        }
        match completion.event {
            Event::Received(buffer) => self.received(buffer),
            Event::NoBuffers => LinkEvent::NoBuffers,
            Event::Sent { bytes, list } => self.sent(ring, completion.token, bytes, list),
            Event::SendError { error, list } => LinkEvent::SendFailed(error, list),
            Event::Closed => LinkEvent::Closed(None),
            Event::RecvError(error) => LinkEvent::Closed(Some(error)),
            Event::Cancelled
            | Event::Readable
            | Event::PollError(_)
            | Event::Accepted(_)
            | Event::AcceptError(_) => LinkEvent::Nothing,
        }
    }

    fn received(&mut self, buffer: RecvBuf) -> LinkEvent {
        let Opening::Handshake { reader, .. } = &mut self.opening else { return LinkEvent::Bytes(buffer) };
        match reader.push(&buffer) {
            Ok(None) => LinkEvent::Nothing,
            Ok(Some((handshake, leftover))) => {
                self.opening = Opening::Open;
                LinkEvent::Opened { handshake, leftover }
            }
            Err(error) => LinkEvent::Foreign(error),
        }
    }

    fn sent(&mut self, ring: &Ring, token: u64, bytes: usize, mut list: SendList) -> LinkEvent {
        list.advance(bytes);
        if list.is_empty() {
            return LinkEvent::Sent(std::mem::take(&mut self.in_flight), list);
        }
        let cargo = self.in_flight;
        self.send(ring, token, list, cargo);
        LinkEvent::SentPart { with_payload: bytes > 0 && cargo.payload > 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::hashes::SwarmHash;
    use ringseed_proto::units::PeerId;
    use ringseed_ring::RingConfig;
    use std::collections::VecDeque;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    const TOKEN: u64 = 7;

    struct Pair {
        ring: Ring,
        link: Link,
        peer: TcpStream,
        completions: VecDeque<Completion>,
    }

    impl Pair {
        fn new() -> Pair {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (socket, _) = listener.accept().unwrap();
            let ring = Ring::new(&RingConfig::default()).unwrap();
            let mut link = Link::accepted(socket.into(), Time::ZERO).unwrap();
            assert_eq!(link.address(), peer.local_addr().unwrap());
            link.receive(&ring, TOKEN);
            Pair { ring, link, peer, completions: VecDeque::new() }
        }

        /// The next thing that happens.
        fn next(&mut self) -> LinkEvent {
            let completion = loop {
                if let Some(completion) = self.completions.pop_front() {
                    break completion;
                }
                self.ring.submit_and_wait(Some(Duration::from_secs(10))).unwrap();
                let mut drained = Vec::new();
                self.ring.drain(&mut drained);
                self.completions.extend(drained);
            };
            let event = self.link.handle(&self.ring, completion);
            self.link.receive(&self.ring, TOKEN);
            event
        }
    }

    fn handshake() -> Handshake {
        Handshake::new(SwarmHash([7; 20]), PeerId([9; 20]))
    }

    #[test]
    fn a_link_opens_with_the_handshake_and_gives_what_follows() {
        let mut pair = Pair::new();
        let bytes = handshake().encode();
        pair.peer.write_all(&bytes[..30]).unwrap();
        assert!(matches!(pair.next(), LinkEvent::Nothing));
        pair.peer.write_all(&[&bytes[30..], b"more"].concat()).unwrap();
        let LinkEvent::Opened { handshake: theirs, leftover } = pair.next() else { panic!("not opened") };
        assert_eq!((theirs, leftover.as_slice()), (handshake(), b"more".as_slice()));
        pair.peer.write_all(b"again").unwrap();
        let event = pair.next();
        let LinkEvent::Bytes(buffer) = event else { panic!("{event:?}") };
        assert_eq!(*buffer, *b"again");
        drop(buffer);
        drop(pair.peer.try_clone().unwrap());
        pair.peer.shutdown(std::net::Shutdown::Both).unwrap();
        assert!(matches!(pair.next(), LinkEvent::Closed(None)));
    }

    #[test]
    fn a_stranger_is_known_by_its_first_bytes() {
        let mut pair = Pair::new();
        pair.peer.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        assert!(matches!(pair.next(), LinkEvent::Foreign(HandshakeError::NotBitTorrent)));
    }

    #[test]
    fn a_handshake_has_its_time() {
        let mut pair = Pair::new();
        let at = |seconds| Time::after_epoch(Duration::from_secs(seconds));
        assert!(!pair.link.is_late(at(9)) && pair.link.is_late(at(10)));
        pair.peer.write_all(&handshake().encode()).unwrap();
        assert!(matches!(pair.next(), LinkEvent::Opened { .. }));
        assert!(!pair.link.is_late(at(1000)));
    }

    #[test]
    fn a_large_send_is_told_once_when_all_of_it_has_left() {
        let mut pair = Pair::new();
        let bytes: Vec<u8> = (0..12_000_000_u32).map(|at| (at >> 5) as u8).collect();
        let mut list = SendList::default();
        list.push_bytes(&bytes);
        let cargo = Cargo { payload: bytes.len() as u64 - 13, protocol: 13 };
        pair.link.send(&pair.ring, TOKEN, list, cargo);
        let mut peer = pair.peer.try_clone().unwrap();
        let reader = std::thread::spawn(move || {
            let mut read = vec![0; 12_000_000];
            peer.read_exact(&mut read).unwrap();
            read
        });
        let mut parts = 0;
        let told = loop {
            match pair.next() {
                LinkEvent::SentPart { with_payload: true } => parts += 1,
                LinkEvent::Sent(told, list) => {
                    assert!(list.is_empty());
                    break told;
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(told, cargo);
        assert!(parts > 0, "12 MB went into a socket at once");
        assert_eq!(reader.join().unwrap(), bytes);
        assert!(!pair.link.is_sending());
    }

    #[test]
    fn what_was_in_flight_comes_back_from_a_closed_link() {
        let mut pair = Pair::new();
        let mut list = SendList::default();
        list.push_bytes(&vec![1; 32 << 20]);
        pair.link.send(&pair.ring, TOKEN, list, Cargo { payload: 0, protocol: 32 << 20 });
        assert!(matches!(pair.next(), LinkEvent::SentPart { with_payload: false }));
        pair.link.close(&pair.ring);
        let mut returned = 0;
        while !pair.link.is_idle() {
            returned += usize::from(matches!(pair.next(), LinkEvent::Returned(_)));
        }
        assert_eq!(returned, 1);
    }
}
