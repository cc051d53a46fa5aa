//! A link: one peer's byte stream, whatever carries it.
//!
//! The owner of a link arms it ([`Link::receive`]), gives it what is to be sent ([`Link::send`]), and hands it the ring's
//! completions for it ([`Link::handle`]), which say what happened as a [`LinkEvent`]. What a swarm sees of a peer are the bytes
//! behind the handshake, in order; what carries them, and how it began, stays here.
//!
//! Until the peer's handshake is whole only single receives are used, so that nothing is in flight when a link moves to another
//! thread.
//!
//! A link has a cipher. What is received is deciphered where it lies. What is sent is enciphered once, and stays as it is until
//! all of it has left: a keystream does not go back.

use crate::limits::HANDSHAKE_TIMEOUT;
use crate::opening::{Obfuscation, Opening, OpeningError, Progress};
use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::mse::{Ciphers, Encryption, Methods, Random, Torrents};
use ringseed_proto::peer_address::canonical;
use ringseed_proto::units::Time;
use ringseed_proto::wire::Handshake;
use ringseed_ring::{Completion, Event, OpId, RecvBuf, Ring, SendList};
use rustix::io::Errno;
use rustix::net::SendFlags;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// How far a link is.
#[derive(Debug)]
enum Stage {
    /// The peer's handshake is not whole yet.
    Opening {
        /// How far it is.
        opening: Opening,
        /// When the link began.
        since: Time,
    },
    /// The peer's handshake is whole.
    Open,
    /// It ends when the kernel is done with its operations.
    Closing,
}

/// What is done to the bytes of the stream.
#[derive(Debug)]
enum Cipher {
    /// Nothing: they can be sent from wherever they lie.
    Plain,
    /// They are enciphered in memory of our own.
    Rc4(Box<Ciphers>),
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
    /// An exponentiation is due: [`Link::compute`] is to be called when there is time for it.
    Compute,
    /// The peer does not speak BitTorrent, or not as it is wanted here.
    Foreign(OpeningError),
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

/// What became of [`Link::send_enciphered`].
#[derive(Debug)]
pub enum SentNow {
    /// All of it has left.
    All(SendList),
    /// The rest is on its way: [`LinkEvent::Sent`] will tell.
    Part,
    /// The stream cannot go on.
    Failed(io::Error, SendList),
}

/// One peer's byte stream over TCP.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    address: SocketAddr,
    stage: Stage,
    cipher: Cipher,
    obfuscation: Obfuscation,
    receiving: Option<OpId>,
    sending: Option<OpId>,
    in_flight: Cargo,
}

impl Link {
    /// A link on a connection that was accepted; `None` when it is gone already.
    #[must_use]
    pub fn accepted(socket: OwnedFd, encryption: Encryption, now: Time) -> Option<Link> {
        // Canonical, for a v4 peer of a dual-stack socket would else be another one for bans and candidates.
        let address = SocketAddr::try_from(rustix::net::getpeername(&socket).ok()??).ok().map(canonical)?;
        Some(Link::new(socket, address, Opening::accepted(encryption), now))
    }

    /// A link on a connection that was dialled, maybe by a proxy for us. It is for the owner to send the handshake.
    #[must_use]
    pub fn dialled(socket: OwnedFd, address: SocketAddr, now: Time) -> Link {
        Link::new(socket, address, Opening::plain(), now)
    }

    /// As [`Link::dialled`], for one that begins with an exchange of keys and sends `handshake` in it. An exponentiation is due
    /// ([`LinkEvent::Compute`]).
    #[must_use]
    pub fn dialled_hidden(
        socket: OwnedFd,
        address: SocketAddr,
        swarm: SwarmHash,
        methods: Methods,
        handshake: &[u8],
        now: Time,
    ) -> Link {
        Link::new(socket, address, Opening::hidden(swarm, methods, handshake), now)
    }

    fn new(socket: OwnedFd, address: SocketAddr, opening: Opening, now: Time) -> Link {
        // Small messages (requests, haves) must not wait for acknowledgements of earlier ones.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        Link {
            socket,
            address,
            stage: Stage::Opening { opening, since: now },
            cipher: Cipher::Plain,
            obfuscation: Obfuscation::None,
            receiving: None,
            sending: None,
            in_flight: Cargo::default(),
        }
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
        match &self.stage {
            Stage::Opening { since, .. } => now.saturating_since(*since) >= HANDSHAKE_TIMEOUT,
            Stage::Open | Stage::Closing => false,
        }
    }

    /// Whether all that is sent has to be enciphered, so that nothing can be sent from where it lies.
    #[must_use]
    pub fn is_enciphered(&self) -> bool {
        matches!(self.cipher, Cipher::Rc4(_))
    }

    /// How much of it others can read.
    #[must_use]
    pub fn obfuscation(&self) -> Obfuscation {
        self.obfuscation
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
        self.receiving = match &self.stage {
            // What comes waits in the socket until the exponentiation is done.
            Stage::Opening { opening, .. } if opening.is_due() => None,
            Stage::Opening { .. } => Some(ring.recv_once(socket, token)),
            Stage::Open => Some(ring.recv_multishot(socket, token)),
            Stage::Closing => None,
        };
    }

    /// Sends all of `list`. One send is in flight at most. On an enciphered link all of the list is its own bytes
    /// ([`SendList::push_bytes`]); blocks go by [`Link::send_enciphered`].
    pub fn send(&mut self, ring: &Ring, token: u64, mut list: SendList, cargo: Cargo) {
        if let Cipher::Rc4(ciphers) = &mut self.cipher {
            match list.own_bytes_mut() {
                Some(bytes) => ciphers.outgoing.apply(bytes),
                None => {
                    debug_assert!(false, "a list of foreign memory on an enciphered link");
                    // Better no stream than one in the clear.
                    let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
                }
            }
        }
        self.in_flight = cargo;
        self.submit(ring, token, list);
    }

    fn submit(&mut self, ring: &Ring, token: u64, list: SendList) {
        debug_assert!(self.sending.is_none());
        self.sending = Some(ring.send(self.socket.as_raw_fd(), token, list));
    }

    /// Enciphers `bytes`, which nobody needs afterwards, and sends as much as the socket takes at once, without the ring: the
    /// bytes are in the processor's cache now, and the next link can use their memory. What the socket does not take is copied
    /// to `list`, which is empty, and goes by the ring.
    pub fn send_enciphered(
        &mut self,
        ring: &Ring,
        token: u64,
        bytes: &mut [u8],
        mut list: SendList,
        cargo: Cargo,
    ) -> SentNow {
        debug_assert!(self.sending.is_none() && list.is_empty());
        if let Cipher::Rc4(ciphers) = &mut self.cipher {
            ciphers.outgoing.apply(bytes);
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let taken = loop {
            match rustix::net::send(&self.socket, bytes, flags) {
                Ok(taken) => break taken,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break 0,
                Err(error) => return SentNow::Failed(error.into(), list),
            }
        };
        if taken == bytes.len() {
            return SentNow::All(list);
        }
        list.push_bytes(&bytes[taken..]);
        self.in_flight = cargo;
        self.submit(ring, token, list);
        SentNow::Part
    }

    /// Ends the link. It is to be kept until [`Link::is_idle`].
    pub fn close(&mut self, ring: &Ring) {
        self.stage = Stage::Closing;
        for operation in [self.receiving, self.sending].into_iter().flatten() {
            ring.cancel(operation);
        }
    }

    /// Does the exponentiation that is due, and says what came of it. Receiving has to be armed again afterwards.
    pub fn compute(&mut self, random: &Random, torrents: &dyn Torrents) -> LinkEvent {
        let Stage::Opening { opening, .. } = &mut self.stage else { return LinkEvent::Nothing };
        let progress = opening.compute(random, torrents);
        self.progressed(progress)
    }

    /// Takes a completion of one of its operations. Receiving may have to be armed again afterwards. `torrents` are those
    /// that an exchange of keys may be about.
    pub fn handle(&mut self, ring: &Ring, completion: Completion, torrents: &dyn Torrents) -> LinkEvent {
        if !completion.more {
            if self.receiving == Some(completion.op) {
                self.receiving = None;
            } else if self.sending == Some(completion.op) {
                self.sending = None;
            }
        }
        if matches!(self.stage, Stage::Closing) {
            return match completion.event {
                Event::Sent { list, .. } | Event::SendError { list, .. } => LinkEvent::Returned(list),
                _ => LinkEvent::Nothing,
            };
        }
        match completion.event {
            Event::Received(buffer) => self.received(buffer, torrents),
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

    fn received(&mut self, mut buffer: RecvBuf, torrents: &dyn Torrents) -> LinkEvent {
        if let Cipher::Rc4(ciphers) = &mut self.cipher {
            ciphers.incoming.apply(&mut buffer);
        }
        let Stage::Opening { opening, .. } = &mut self.stage else { return LinkEvent::Bytes(buffer) };
        let progress = opening.receive(&buffer, torrents);
        self.progressed(progress)
    }

    fn progressed(&mut self, progress: Result<Progress, OpeningError>) -> LinkEvent {
        let Progress { send, ciphers, opened } = match progress {
            Ok(progress) => progress,
            Err(error) => return LinkEvent::Foreign(error),
        };
        if !send.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(&self.socket, &send, flags) {
                // What both sides say in an exchange, some hundred bytes, always fits the buffer of a socket.
                Ok(taken) if taken == send.len() => {}
                Ok(_) => return LinkEvent::Closed(Some(io::ErrorKind::WriteZero.into())),
                Err(error) => return LinkEvent::Closed(Some(error.into())),
            }
        }
        if let Some(ciphers) = ciphers {
            self.cipher = Cipher::Rc4(ciphers);
        }
        let Stage::Opening { opening, .. } = &self.stage else { return LinkEvent::Nothing };
        match opened {
            Some((handshake, leftover)) => {
                self.obfuscation = opening.obfuscation();
                self.stage = Stage::Open;
                LinkEvent::Opened { handshake, leftover }
            }
            None if opening.is_due() => LinkEvent::Compute,
            None => LinkEvent::Nothing,
        }
    }

    fn sent(&mut self, ring: &Ring, token: u64, bytes: usize, mut list: SendList) -> LinkEvent {
        list.advance(bytes);
        if list.is_empty() {
            return LinkEvent::Sent(std::mem::take(&mut self.in_flight), list);
        }
        let cargo = self.in_flight;
        // Not enciphered again.
        self.submit(ring, token, list);
        LinkEvent::SentPart { with_payload: bytes > 0 && cargo.payload > 0 }
    }
}

#[cfg(test)]
mod tests;
