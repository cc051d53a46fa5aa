//! Datagrams in batches: one system call receives many.
//!
//! The other way is a ring with multishot receives; the benchmark `tracker_io` measures both.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use super::sender::Reply;
use crate::limits::{UDP_BATCH, UDP_REPLY_BYTES_MAX, UDP_REQUEST_BYTES_MAX};

/// Bytes for one request: one more than it may have shows that it was longer.
const SLOT: usize = UDP_REQUEST_BYTES_MAX + 1;

/// Where received datagrams lie, and replies on their way out. Made once and used for ever.
pub(crate) struct Batch {
    names: Box<[libc::sockaddr_storage; UDP_BATCH]>,
    requests: Box<[[u8; SLOT]]>,
    lengths: [usize; UDP_BATCH],
    name_lengths: [libc::socklen_t; UDP_BATCH],
    received: usize,
    replies: Vec<Vec<u8>>,
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch {
            // SAFETY: zeros are a valid `sockaddr_storage`: of family AF_UNSPEC.
            names: Box::new(unsafe { MaybeUninit::zeroed().assume_init() }),
            requests: vec![[0; SLOT]; UDP_BATCH].into_boxed_slice(),
            lengths: [0; UDP_BATCH],
            name_lengths: [0; UDP_BATCH],
            received: 0,
            replies: (0..UDP_BATCH).map(|_| Vec::with_capacity(UDP_REPLY_BYTES_MAX)).collect(),
        }
    }

    /// Waits for a datagram, unless the socket has a time limit for that, and takes what else is there. Returns how
    /// many there are now; what there was before is gone.
    ///
    /// # Errors
    /// Those of `recvmmsg`, among them `WouldBlock` when the time is over.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.received = 0;
        let mut buffers: [libc::iovec; UDP_BATCH] = std::array::from_fn(|at| libc::iovec {
            iov_base: self.requests[at].as_mut_ptr().cast(),
            iov_len: SLOT,
        });
        let mut heads: [libc::mmsghdr; UDP_BATCH] =
            std::array::from_fn(|at| head(&raw mut self.names[at], NAME_LEN, &raw mut buffers[at]));
        // SAFETY: each head points to a name, a buffer and its one `iovec`, all alive and ours alone for the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                heads.as_mut_ptr(),
                UDP_BATCH as u32,
                libc::MSG_WAITFORONE,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (at, head) in heads.iter().take(count).enumerate() {
            self.lengths[at] = (head.msg_len as usize).min(SLOT);
            self.name_lengths[at] = head.msg_hdr.msg_namelen;
        }
        self.received = count;
        Ok(count)
    }

    /// The datagrams received, with their senders.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        (0..self.received).filter_map(|at| {
            let from = address(&self.names[at], self.name_lengths[at])?;
            Some((from, &self.requests[at][..self.lengths[at]]))
        })
    }

    /// Lets `answer` see each datagram with its sender; it fills the reply, which is empty before and may stay so.
    pub(crate) fn answer(&mut self, mut answer: impl FnMut(SocketAddr, &[u8], &mut Vec<u8>)) {
        for at in 0..self.received {
            self.replies[at].clear();
            if let Some(from) = address(&self.names[at], self.name_lengths[at]) {
                answer(from, &self.requests[at][..self.lengths[at]], &mut self.replies[at]);
            }
        }
    }

    /// The replies that are not empty, with whom the requests came from.
    pub(crate) fn replies(&self) -> impl Iterator<Item = Reply<'_>> {
        let all = self.names.iter().zip(&self.name_lengths).zip(&self.replies).take(self.received);
        let filled = all.filter(|(_, reply)| !reply.is_empty());
        // SAFETY: names were zeros before the kernel wrote to them.
        filled.map(|((name, &name_len), bytes)| unsafe { Reply::new(name, name_len, bytes) })
    }
}

const NAME_LEN: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// A datagram in one buffer, from or to this address.
pub(super) fn head(
    name: *mut libc::sockaddr_storage,
    name_len: libc::socklen_t,
    buffer: *mut libc::iovec,
) -> libc::mmsghdr {
    // SAFETY: zeros are a valid `mmsghdr`: null pointers with lengths of zero.
    let mut head: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    head.msg_hdr.msg_name = name.cast();
    head.msg_hdr.msg_namelen = name_len;
    head.msg_hdr.msg_iov = buffer;
    head.msg_hdr.msg_iovlen = 1;
    head
}

/// The address that the kernel wrote; `None` if it is not of a family that UDP has.
fn address(name: &libc::sockaddr_storage, len: libc::socklen_t) -> Option<SocketAddr> {
    let len = len as usize;
    match i32::from(name.ss_family) {
        libc::AF_INET if len >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the family says that it is one, a `sockaddr_storage` is large and aligned enough.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some((ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 if len >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(ip, port, name.sin6_flowinfo, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::sender::Sender;
    use super::*;

    fn echo(host: &str) {
        let server = UdpSocket::bind((host, 0)).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let clients: Vec<UdpSocket> = (0..UDP_BATCH + 9)
            .map(|n| {
                let client = UdpSocket::bind((host, 0)).unwrap();
                client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let text = format!("client {n}");
                client.send_to(text.as_bytes(), server.local_addr().unwrap()).unwrap();
                client
            })
            .collect();
        let mut batch = Batch::new();
        let mut answered = 0;
        while answered < clients.len() {
            let count = batch.receive(&server).unwrap();
            assert!((1..=UDP_BATCH).contains(&count));
            batch.answer(|from, request, reply| {
                assert!(clients.iter().any(|client| client.local_addr().unwrap() == from));
                reply.extend_from_slice(b"to ");
                reply.extend_from_slice(request);
            });
            Sender::new(&server).send(&server, batch.replies(), |error| panic!("{error}"));
            answered += count;
        }
        for (n, client) in clients.iter().enumerate() {
            let mut buffer = [0; 100];
            let len = client.recv(&mut buffer).unwrap();
            assert_eq!(std::str::from_utf8(&buffer[..len]).unwrap(), format!("to client {n}"));
        }
    }

    #[test]
    fn each_gets_its_own_reply_in_both_families() {
        echo("127.0.0.1");
        echo("::1");
    }

    #[test]
    fn too_long_ones_are_cut_and_no_reply_is_none() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(&[7; 10_000], server.local_addr().unwrap()).unwrap();
        let mut batch = Batch::new();
        batch.receive(&server).unwrap();
        batch.answer(|_, request, _| assert_eq!(request.len(), SLOT));
        Sender::new(&server).send(&server, batch.replies(), |error| panic!("{error}"));
        client.set_nonblocking(true).unwrap();
        assert!(client.recv(&mut [0; 9]).is_err());
    }

    #[test]
    fn a_reply_that_cannot_be_sent_stops_no_other() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let clients = [0; 3].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        for client in &clients {
            client.send_to(b"hi", server.local_addr().unwrap()).unwrap();
        }
        let mut batch = Batch::new();
        assert_eq!(batch.receive(&server).unwrap(), 3, "datagrams over loopback are there at once");
        let second = clients[1].local_addr().unwrap();
        batch.answer(|from, _, reply| reply.resize(if from == second { 70_000 } else { 5 }, 1));
        let mut errors = 0;
        Sender::new(&server).send(&server, batch.replies(), |_| errors += 1);
        assert_eq!(errors, 1);
        for at in [0, 2] {
            assert_eq!(clients[at].recv(&mut [0; 9]).unwrap(), 5);
        }
    }
}
