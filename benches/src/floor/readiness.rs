//! The floor without a ring: `epoll` tells what is ready, `recv` and `sendmsg` do it.

use super::{Floor, Peer};
use std::{
    io,
    net::TcpListener,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// Events taken at once.
const EVENTS: usize = 1024;
const LISTENER: u64 = u64::MAX;

impl Floor {
    /// As [`Floor::serve`], with readiness instead of a ring: edge-triggered, one `sendmsg` at a time per peer in
    /// each round, so that rounds are as fair as those of the ring.
    ///
    /// # Errors
    /// The descriptors cannot be made or used.
    pub fn serve_by_readiness(&self, listener: &TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        // SAFETY: makes a new descriptor or fails.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else has it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        watch(&epoll, listener.as_raw_fd(), libc::EPOLLIN, LISTENER)?;
        let mut peers: Vec<Option<Box<Peer>>> = Vec::new();
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // Peers that may be able to send: as far as is known their sockets have room.
        let mut senders: Vec<usize> = Vec::new();
        loop {
            let wait = if senders.is_empty() { -1 } else { 0 };
            // SAFETY: `events` has room for as many events as are announced.
            let count =
                unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), EVENTS as i32, wait) };
            if count < 0 {
                return Err(io::Error::last_os_error());
            }
            for event in &events[..count as usize] {
                if event.u64 == LISTENER {
                    while let Ok((stream, _)) = listener.accept() {
                        stream.set_nonblocking(true)?;
                        let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET;
                        watch(&epoll, stream.as_raw_fd(), interest, peers.len() as u64)?;
                        peers.push(Some(Peer::new(stream)?));
                    }
                    continue;
                }
                let index = event.u64 as usize;
                let Some(peer) = peers.get_mut(index).and_then(Option::as_mut) else { continue };
                if event.events & libc::EPOLLIN as u32 != 0 && peer.receive_ready(self).is_err() {
                    peers[index] = None;
                    continue;
                }
                if !peer.sending {
                    peer.sending = true;
                    senders.push(index);
                }
            }
            senders.retain(|&index| {
                let Some(peer) = peers[index].as_mut() else { return false };
                match peer.send_ready(self) {
                    Ok(true) => true,
                    Ok(false) => {
                        peer.sending = false;
                        false
                    }
                    Err(_) => {
                        peers[index] = None;
                        false
                    }
                }
            });
        }
    }
}

fn watch(epoll: &OwnedFd, fd: i32, interest: i32, token: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: interest as u32, u64: token };
    // SAFETY: `event` is valid for the call, which copies it.
    match unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Peer {
    /// Takes all that has arrived.
    fn receive_ready(&mut self, floor: &Floor) -> io::Result<()> {
        loop {
            let space = &mut self.input[self.filled..];
            // SAFETY: `space` is ours and as long as is said.
            let n = unsafe { libc::recv(self.stream.as_raw_fd(), space.as_mut_ptr().cast(), space.len(), 0) };
            match n {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                1.. => {
                    let full = n as usize == space.len();
                    self.received(n as usize, floor)?;
                    // A short read has emptied the socket; what comes later raises a new event.
                    if !full {
                        return Ok(());
                    }
                }
                _ if would_block() => return Ok(()),
                _ => return Err(io::Error::last_os_error()),
            }
        }
    }

    /// One gathered `sendmsg`. Whether another may follow now: not when the socket is full, which raises an event
    /// once it is not, nor when nothing is asked for.
    fn send_ready(&mut self, floor: &Floor) -> io::Result<bool> {
        if !self.gather(floor) {
            return Ok(false);
        }
        // SAFETY: `gather` pointed the message at our headers and the floor's map, which live longer than the call.
        let n =
            unsafe { libc::sendmsg(self.stream.as_raw_fd(), &raw const self.message, libc::MSG_NOSIGNAL) };
        if n < 0 {
            return if would_block() { Ok(false) } else { Err(io::Error::last_os_error()) };
        }
        self.sent(n as usize);
        Ok(!self.requests.is_empty() || self.message.msg_iovlen > 0)
    }
}

fn would_block() -> bool {
    io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}
