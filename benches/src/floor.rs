//! The floor: the least that a process must do to send warm blocks to peers over io_uring.
//!
//! One ring, one populated map, one gathered `SENDMSG` of some blocks in flight per peer. It counts requests
//! instead of checking them, knows one torrent and trusts everybody: it is a measure, not a seeder.
//! [`Floor::serve_by_readiness`] does the same with `epoll`.

use std::{
    collections::VecDeque,
    io::{self, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd},
};

mod readiness;

use io_uring::{IoUring, opcode, squeue, types::Fd};
use memmap2::{Advice, Mmap, MmapOptions};

/// Most blocks of one `SENDMSG`.
pub const BLOCKS_PER_SEND: usize = 16;

/// Most blocks that one send can gather.
pub const BLOCKS_PER_SEND_MAX: usize = 64;
const BLOCK_LEN: u64 = 16 * 1024;
const HANDSHAKE_LEN: usize = 68;
const ACCEPT: u64 = u64::MAX;
/// Bit of the user data that tells a send from a receive.
const SEND: u64 = 1 << 32;

/// What the floor serves.
pub struct Floor {
    /// Data of the torrent.
    pub map: Mmap,
    /// Bytes per piece.
    pub piece_length: u32,
    /// Blocks gathered per send, 1 to [`BLOCKS_PER_SEND_MAX`].
    pub gather: usize,
}

/// One peer. Lives in a box until the process ends: the kernel holds pointers into it.
struct Peer {
    stream: TcpStream,
    input: [u8; 16 * 1024],
    filled: usize,
    greeted: bool,
    requests: VecDeque<(u32, u32, u32)>,
    headers: [[u8; 13]; BLOCKS_PER_SEND_MAX],
    vectors: [libc::iovec; 2 * BLOCKS_PER_SEND_MAX],
    message: libc::msghdr,
    sending: bool,
}

/// Maps a file for serving, with all pages present.
///
/// # Errors
/// The file cannot be opened or mapped.
pub fn map_file(path: &std::path::Path) -> io::Result<Mmap> {
    let file = std::fs::File::open(path)?;
    // SAFETY: this process only hands the map's addresses to the kernel, which answers EFAULT for what is gone.
    let map = unsafe { MmapOptions::new().populate().map(&file)? };
    map.advise(Advice::Random)?;
    Ok(map)
}

impl Floor {
    /// Serves every peer that connects to `listener`, for ever.
    ///
    /// # Errors
    /// The ring cannot be made or used.
    pub fn serve(&self, listener: &TcpListener) -> io::Result<()> {
        let mut ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .build(4096)?;
        push(&mut ring, opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build().user_data(ACCEPT))?;
        let mut peers: Vec<Option<Box<Peer>>> = Vec::new();
        let mut completions = Vec::new();
        loop {
            ring.submit_and_wait(1)?;
            completions.extend(ring.completion().map(|c| (c.user_data(), c.result())));
            for (tag, result) in completions.drain(..) {
                let index = (tag & 0xffff_ffff) as usize;
                if tag == ACCEPT {
                    if result < 0 {
                        return Err(io::Error::from_raw_os_error(-result));
                    }
                    // SAFETY: a multishot accept gives each new descriptor once, to us.
                    let mut peer = Peer::new(unsafe { TcpStream::from_raw_fd(result) })?;
                    push(&mut ring, peer.receive(peers.len() as u64))?;
                    peers.push(Some(peer));
                    continue;
                }
                let Some(peer) = peers.get_mut(index).and_then(Option::as_mut) else { continue };
                let alive = if tag & SEND != 0 {
                    peer.sending = false;
                    result > 0 && peer.sent(result as usize)
                } else if result > 0 && peer.received(result as usize, self).is_ok() {
                    push(&mut ring, peer.receive(index as u64))?;
                    true
                } else {
                    false
                };
                if !alive {
                    // The other operation of this peer ends by the shutdown; its memory stays until the process
                    // ends, which is soon.
                    let _ = peer.stream.shutdown(std::net::Shutdown::Both);
                    std::mem::forget(peers[index].take());
                } else if let Some(entry) = peer.send(index as u64, self) {
                    push(&mut ring, entry)?;
                }
            }
        }
    }
}

fn push(ring: &mut IoUring, entry: squeue::Entry) -> io::Result<()> {
    loop {
        // SAFETY: entries point into boxed peers, which outlive the ring's use of them (see `serve`), and into
        // the map, which outlives the ring.
        if unsafe { ring.submission().push(&entry) }.is_ok() {
            return Ok(());
        }
        ring.submit()?;
    }
}

impl Peer {
    fn new(stream: TcpStream) -> io::Result<Box<Peer>> {
        stream.set_nodelay(true)?;
        // SAFETY: an all-zero msghdr has no name, no vectors and no control data.
        let message = unsafe { std::mem::zeroed() };
        Ok(Box::new(Peer {
            stream,
            input: [0; 16 * 1024],
            filled: 0,
            greeted: false,
            requests: VecDeque::with_capacity(512),
            headers: [[0; 13]; BLOCKS_PER_SEND_MAX],
            vectors: [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 2 * BLOCKS_PER_SEND_MAX],
            message,
            sending: false,
        }))
    }

    fn receive(&mut self, index: u64) -> squeue::Entry {
        let space = &mut self.input[self.filled..];
        opcode::Recv::new(Fd(self.stream.as_raw_fd()), space.as_mut_ptr(), space.len() as u32)
            .build()
            .user_data(index)
    }

    /// Takes requests out of the input; answers the handshake at once.
    fn received(&mut self, n: usize, floor: &Floor) -> io::Result<()> {
        self.filled += n;
        let mut at = 0;
        if !self.greeted && self.filled >= HANDSHAKE_LEN {
            // The peer's own handshake with another name is a valid answer; then have-all and unchoke.
            let mut answer = self.input[..HANDSHAKE_LEN].to_vec();
            answer[48..].copy_from_slice(b"-FL0100-000000000000");
            answer.extend_from_slice(&[0, 0, 0, 1, 14, 0, 0, 0, 1, 1]);
            self.stream.write_all(&answer)?;
            self.greeted = true;
            at = HANDSHAKE_LEN;
        }
        while self.greeted && self.filled - at >= 4 {
            let field = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| self.input[at + i]));
            let length = field(at) as usize;
            if length > 13 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.filled - at < 4 + length {
                break;
            }
            if length == 13 && self.input[at + 4] == 6 {
                let (piece, begin, bytes) = (field(at + 5), field(at + 9), field(at + 13));
                let start = u64::from(piece) * u64::from(floor.piece_length) + u64::from(begin);
                if start + u64::from(bytes) > floor.map.len() as u64 || u64::from(bytes) > BLOCK_LEN {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                self.requests.push_back((piece, begin, bytes));
            }
            at += 4 + length;
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }

    /// One gathered send of what is asked for, unless one is under way.
    fn send(&mut self, index: u64, floor: &Floor) -> Option<squeue::Entry> {
        if self.sending || !self.gather(floor) {
            return None;
        }
        self.sending = true;
        let entry = opcode::SendMsg::new(Fd(self.stream.as_raw_fd()), &raw const self.message)
            .flags(libc::MSG_NOSIGNAL as u32)
            .build();
        Some(entry.user_data(index | SEND))
    }

    /// Fills the message with answers to what is asked for, unless a part of the last one is left. Whether there
    /// is anything to send.
    fn gather(&mut self, floor: &Floor) -> bool {
        if self.message.msg_iovlen > 0 {
            return true;
        }
        let count = self.requests.len().min(floor.gather);
        if count == 0 {
            return false;
        }
        for (slot, (piece, begin, bytes)) in self.requests.drain(..count).enumerate() {
            let header = &mut self.headers[slot];
            header[..4].copy_from_slice(&(9 + bytes).to_be_bytes());
            header[4] = 7;
            header[5..9].copy_from_slice(&piece.to_be_bytes());
            header[9..].copy_from_slice(&begin.to_be_bytes());
            let start = piece as usize * floor.piece_length as usize + begin as usize;
            self.vectors[2 * slot] = libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: 13 };
            self.vectors[2 * slot + 1] = libc::iovec {
                iov_base: floor.map[start..].as_ptr().cast_mut().cast(),
                iov_len: bytes as usize,
            };
        }
        self.message.msg_iov = self.vectors.as_mut_ptr();
        self.message.msg_iovlen = 2 * count;
        true
    }

    /// Advances past `n` sent bytes; what is left is sent by the next call of `send`.
    fn sent(&mut self, mut n: usize) -> bool {
        let first =
            (self.message.msg_iov as usize - self.vectors.as_ptr() as usize) / size_of::<libc::iovec>();
        let end = first + self.message.msg_iovlen;
        let mut at = first;
        while at < end && n >= self.vectors[at].iov_len {
            n -= self.vectors[at].iov_len;
            at += 1;
        }
        if at < end {
            let vector = &mut self.vectors[at];
            vector.iov_base = vector.iov_base.wrapping_byte_add(n);
            vector.iov_len -= n;
            self.message.msg_iov = vector;
        }
        self.message.msg_iovlen = end - at;
        true
    }
}

/// Listens on `addr` with room for `backlog` peers that are not accepted yet.
///
/// # Errors
/// The address is taken.
pub fn listen(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}
