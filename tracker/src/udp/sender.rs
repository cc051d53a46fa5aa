//! Replies on their way out, in as few datagrams' worth of work as the kernel allows.
//!
//! A client with many torrents announces them one after the other from one socket. Its replies go to the kernel as one large
//! datagram that is cut at the end of its way (`UDP_SEGMENT` of `udp(7)`): one walk through the network stack for all of them.
//! The pieces are of one length, only the last may be shorter. The client sees what it always saw, the longest reply first.

use std::cell::Cell;
use std::cmp::Reverse;
use std::io;
use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use super::batch::head;
use crate::limits::UDP_BATCH;

/// Most bytes of the replies that go together; with its head a datagram has no more than 65,535.
const TOGETHER_BYTES_MAX: usize = 60_000;
/// Words of a control message with one `u16`.
const CONTROL_WORDS: usize = 3;

/// A reply with where it goes.
pub struct Reply<'a> {
    name: &'a libc::sockaddr_storage,
    name_len: libc::socklen_t,
    bytes: &'a [u8],
}

impl<'a> Reply<'a> {
    /// `bytes` for the first `name_len` bytes of `name`, as the kernel writes addresses.
    ///
    /// # Safety
    /// All bytes of `name` have a value, padding included: it was zeros before the kernel wrote to it.
    pub unsafe fn new(
        name: &'a libc::sockaddr_storage,
        name_len: libc::socklen_t,
        bytes: &'a [u8],
    ) -> Reply<'a> {
        Reply { name, name_len, bytes }
    }
}

/// Sends replies of one socket.
#[derive(Debug)]
pub struct Sender {
    /// The kernel cuts datagrams for this socket.
    cuts: Cell<bool>,
}

impl Sender {
    /// Asks the kernel what it can do for `socket`.
    pub fn new(socket: &UdpSocket) -> Sender {
        Sender { cuts: Cell::new(can_cut(socket)) }
    }

    /// Sends up to [`UDP_BATCH`] replies. One that the kernel refuses is given to `failed` and left out.
    pub fn send<'a>(
        &self,
        socket: &UdpSocket,
        replies: impl Iterator<Item = Reply<'a>>,
        mut failed: impl FnMut(io::Error),
    ) {
        let cuts = self.cuts.get();
        let key = if cuts { key } else { |_: &Reply<'_>| 0 };
        let mut replies: Vec<_> = replies.take(UDP_BATCH).map(|reply| (key(&reply), reply)).collect();
        if cuts {
            // Those that may go together stand together, the longest first.
            replies.sort_unstable_by_key(|(key, reply)| (*key, Reverse(reply.bytes.len())));
        }
        // SAFETY: zeros are valid for both: null pointers with lengths of zero.
        let (mut buffers, mut heads): ([libc::iovec; UDP_BATCH], [libc::mmsghdr; UDP_BATCH]) =
            unsafe { (MaybeUninit::zeroed().assume_init(), MaybeUninit::zeroed().assume_init()) };
        let mut controls = [[0u64; CONTROL_WORDS]; UDP_BATCH];
        // The first of those that go together, while more may join them.
        let mut open: Option<&Reply<'_>> = None;
        let (mut count, mut together) = (0, 0);
        for (at, (_, reply)) in replies.iter().enumerate() {
            let len = reply.bytes.len();
            // The kernel only reads what it sends.
            buffers[at] = libc::iovec { iov_base: reply.bytes.as_ptr().cast_mut().cast(), iov_len: len };
            if let Some(first) = open.filter(|_| cuts && len > 0)
                && is_same(first, reply)
                && together + len <= TOGETHER_BYTES_MAX
            {
                together += len;
                heads[count - 1].msg_hdr.msg_iovlen += 1;
                open = open.filter(|first| first.bytes.len() == len);
                continue;
            }
            open = Some(reply);
            together = len;
            let name = std::ptr::from_ref(reply.name).cast_mut();
            heads[count] = head(name, reply.name_len, &raw mut buffers[at]);
            count += 1;
        }
        for (head, control) in heads[..count].iter_mut().zip(&mut controls) {
            if head.msg_hdr.msg_iovlen > 1 {
                // SAFETY: a head that is counted points to at least one vector of `buffers`.
                let len = unsafe { (*head.msg_hdr.msg_iov).iov_len };
                cut_every(len as u16, control, &mut head.msg_hdr);
            }
        }
        self.send_heads(socket, &mut heads[..count], &mut failed);
    }

    fn send_heads(
        &self,
        socket: &UdpSocket,
        heads: &mut [libc::mmsghdr],
        failed: &mut impl FnMut(io::Error),
    ) {
        let mut from = 0;
        while from < heads.len() {
            let left = &mut heads[from..];
            // SAFETY: each head points to a name, vectors, bytes and a control message that outlive the call; the
            // kernel only reads them.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as u32, 0) };
            match usize::try_from(sent) {
                Ok(sent) => from += sent.max(1),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() == io::ErrorKind::Interrupted {
                        continue;
                    }
                    // It is about the first.
                    let first = left[0].msg_hdr;
                    if first.msg_iovlen > 1 {
                        // For good: encryption on the way, or a card that computes no checksums.
                        if error.raw_os_error() == Some(libc::EIO) {
                            self.cuts.set(false);
                        }
                        // Alone they may pass.
                        for at in 0..first.msg_iovlen {
                            // SAFETY: the head has so many vectors.
                            let buffer = unsafe { first.msg_iov.add(at) };
                            let mut alone = head(first.msg_name.cast(), first.msg_namelen, buffer);
                            self.send_heads(socket, std::slice::from_mut(&mut alone), failed);
                        }
                    } else {
                        // No route, a firewall, port 0.
                        failed(error);
                    }
                    from += 1;
                }
            }
        }
    }
}

/// Whether the kernel cuts datagrams for this socket: one that does not know the wish could send them as they are.
fn can_cut(socket: &UdpSocket) -> bool {
    set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0)
}

/// Sets an option that is an integer. Whether the kernel does.
fn set_option(socket: &UdpSocket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> bool {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the option's value is an integer that lives on this stack frame, and its own size is passed.
    unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) == 0 }
}

/// Has the datagram of `head` cut into pieces of `len` bytes, by a message in `control`.
fn cut_every(len: u16, control: &mut [u64; CONTROL_WORDS], head: &mut libc::msghdr) {
    const LEN: u32 = size_of::<u16>() as u32;
    // SAFETY: it computes a number.
    head.msg_controllen = unsafe { libc::CMSG_SPACE(LEN) } as _;
    debug_assert!(head.msg_controllen <= size_of_val(control));
    head.msg_control = control.as_mut_ptr().cast();
    // SAFETY: `control` is aligned for a message's head and has room for it and its value, as the head says, so the
    // pointers are not null and inside of it.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(&raw const *head);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(LEN) as _;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(len);
    }
}

/// The same for the same address. Others may share it.
fn key(reply: &Reply<'_>) -> u64 {
    address(reply).chunks(8).fold(0, |key, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (key ^ u64::from_ne_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
    })
}

fn is_same(one: &Reply<'_>, other: &Reply<'_>) -> bool {
    address(one) == address(other)
}

/// What of the name tells addresses apart: it may end in padding.
fn address<'a>(reply: &Reply<'a>) -> &'a [u8] {
    /// Family, port and address.
    const V4_BYTES: usize = 8;
    let len = match i32::from(reply.name.ss_family) {
        libc::AF_INET => V4_BYTES,
        _ => (reply.name_len as usize).min(size_of_val(reply.name)),
    };
    // SAFETY: all bytes of a name have a value (`Reply::new`), and `len` is within it.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(reply.name).cast(), len) }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn socket(host: &str) -> UdpSocket {
        let socket = UdpSocket::bind((host, 0)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    }

    fn name(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
        let name = socket2::SockAddr::from(address);
        // SAFETY: zeros are a valid `sockaddr_storage`, and any name fits into one.
        unsafe {
            let mut storage: libc::sockaddr_storage = std::mem::zeroed();
            std::ptr::copy_nonoverlapping(
                name.as_ptr().cast::<u8>(),
                (&raw mut storage).cast::<u8>(),
                name.len() as usize,
            );
            (storage, name.len())
        }
    }

    /// Has `sender` send texts of lengths that come again and again to two clients in turn, and looks that each comes
    /// once to whom it belongs, alone.
    fn deliver(host: &str, server: &UdpSocket, sender: &Sender) {
        let clients = [socket(host), socket(host)];
        let names = [0, 1].map(|n: usize| name(clients[n].local_addr().unwrap()));
        let texts: Vec<Vec<u8>> = (0..UDP_BATCH as u8).map(|n| vec![n; 20 + usize::from(n % 7)]).collect();
        let reply = |(at, bytes)| {
            let (name, name_len) = &names[at % 2];
            Reply { name, name_len: *name_len, bytes }
        };
        sender
            .send(server, texts.iter().map(Vec::as_slice).enumerate().map(reply), |error| panic!("{error}"));
        for (n, client) in clients.iter().enumerate() {
            let mut came: Vec<Vec<u8>> = (0..UDP_BATCH / 2)
                .map(|_| {
                    let mut buffer = [0; 5000];
                    let len = client.recv(&mut buffer).unwrap();
                    buffer[..len].to_vec()
                })
                .collect();
            came.sort_unstable();
            let mut sent: Vec<Vec<u8>> = texts.iter().skip(n).step_by(2).cloned().collect();
            sent.sort_unstable();
            assert_eq!(came, sent);
        }
    }

    #[test]
    fn replies_to_one_address_go_together_and_arrive_alone() {
        for host in ["127.0.0.1", "::1"] {
            let server = socket(host);
            let sender = Sender::new(&server);
            assert!(sender.cuts.get(), "Linux does since 4.18");
            deliver(host, &server, &sender);
        }
    }

    #[test]
    fn replies_go_alone_where_the_kernel_does_not_cut() {
        let server = socket("127.0.0.1");
        deliver("127.0.0.1", &server, &Sender { cuts: Cell::new(false) });
    }

    #[test]
    fn replies_go_alone_where_nobody_computes_checksums() {
        let server = socket("127.0.0.1");
        assert!(set_option(&server, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1));
        deliver("127.0.0.1", &server, &Sender { cuts: Cell::new(true) });
    }

    #[test]
    fn empty_replies_go_alone() {
        let (server, client) = (socket("127.0.0.1"), socket("127.0.0.1"));
        let (name, name_len) = name(client.local_addr().unwrap());
        let replies = [&[1][..], &[], &[]].map(|bytes| Reply { name: &name, name_len, bytes });
        Sender::new(&server).send(&server, replies.into_iter(), |error| panic!("{error}"));
        let mut lengths = [0; 3].map(|_| client.recv(&mut [0; 9]).unwrap());
        lengths.sort_unstable();
        assert_eq!(lengths, [0, 0, 1]);
    }

    #[test]
    fn what_is_too_much_together_goes_in_parts() {
        let (server, client) = (socket("127.0.0.1"), socket("127.0.0.1"));
        let (name, name_len) = name(client.local_addr().unwrap());
        let text = vec![1; TOGETHER_BYTES_MAX / 3];
        let replies = [0; 5].map(|_| Reply { name: &name, name_len, bytes: &text });
        Sender::new(&server).send(&server, replies.into_iter(), |error| panic!("{error}"));
        for _ in 0..5 {
            assert_eq!(client.recv(&mut vec![0; TOGETHER_BYTES_MAX]).unwrap(), text.len());
        }
    }
}
