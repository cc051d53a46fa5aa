//! A sender that gathers blocks from a warm map and hands them to the kernel, copied or not, and a receiver that
//! throws them away.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use io_uring::{IoUring, cqueue, opcode, squeue, types::Fd};
use memmap2::Mmap;
use ringseed_loadtest::affinity::own_cpu_seconds;
use serde::{Deserialize, Serialize};

/// Bytes of one block.
pub const BLOCK: usize = 16 * 1024;
/// Most blocks of one send.
const BLOCKS_MAX: usize = 64;
/// From the kernel's `io_uring.h`: asks for, and is, the word that data was copied after all.
const SEND_ZC_REPORT_USAGE: u16 = 1 << 3;
const NOTIF_USAGE_ZC_COPIED: i32 = 1 << 31;

/// How the kernel gets the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sending {
    /// `SENDMSG`: it copies them.
    Copied,
    /// `SENDMSG_ZC`: it sends them from where they are, if the way allows that.
    ZeroCopy,
}

/// What a sender did and used.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sent {
    /// Payload bytes.
    pub bytes: u64,
    /// Wall time.
    pub seconds: f64,
    /// User and system time of the process.
    pub cpu_seconds: f64,
    /// Zero-copy sends that the kernel has let go of.
    pub notified: u64,
    /// Those of which it copied something after all.
    pub copied_after_all: u64,
}

struct Stream {
    socket: TcpStream,
    vectors: Vec<libc::iovec>,
    message: libc::msghdr,
}

/// Sends `total` bytes over `streams` connections to `to`, one send of `size` bytes in flight on each.
///
/// # Errors
/// The ring cannot be made, or the receiver is gone.
pub fn send(
    map: &Mmap,
    to: SocketAddr,
    streams: usize,
    size: usize,
    total: u64,
    sending: Sending,
) -> io::Result<Sent> {
    let mut ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_submit_all()
        .build(1024)?;
    let blocks = (size / BLOCK).clamp(1, BLOCKS_MAX);
    let places = map.len() / BLOCK;
    let mut place = 0;
    let mut all: Vec<Box<Stream>> = Vec::new();
    for _ in 0..streams {
        let socket = connect(to)?;
        // SAFETY: an all-zero msghdr has no name, no vectors and no control data.
        let message = unsafe { std::mem::zeroed() };
        all.push(Box::new(Stream { socket, vectors: Vec::new(), message }));
    }
    let (began, cpu) = (Instant::now(), own_cpu_seconds());
    let mut sent = Sent { bytes: 0, seconds: 0.0, cpu_seconds: 0.0, notified: 0, copied_after_all: 0 };
    let (mut asked, mut in_flight, mut owed) = (0, 0, 0);
    for (index, stream) in all.iter_mut().enumerate() {
        push(&mut ring, stream.next(map, &mut place, places, blocks, sending).user_data(index as u64))?;
        asked += (blocks * BLOCK) as u64;
        in_flight += 1;
    }
    while in_flight + owed > 0 {
        ring.submit_and_wait(1)?;
        let completions: Vec<_> =
            ring.completion().map(|c| (c.user_data() as usize, c.result(), c.flags())).collect();
        for (index, result, flags) in completions {
            if cqueue::notif(flags) {
                owed -= 1;
                sent.notified += 1;
                sent.copied_after_all += u64::from(result & NOTIF_USAGE_ZC_COPIED != 0);
                continue;
            }
            in_flight -= 1;
            owed += u64::from(cqueue::more(flags));
            if result < 0 {
                return Err(io::Error::from_raw_os_error(-result));
            }
            // All or nothing: with MSG_WAITALL a send is short only when the connection ends.
            sent.bytes += result as u64;
            if asked < total {
                let entry = all[index].next(map, &mut place, places, blocks, sending);
                push(&mut ring, entry.user_data(index as u64))?;
                asked += (blocks * BLOCK) as u64;
                in_flight += 1;
            }
        }
    }
    sent.seconds = began.elapsed().as_secs_f64();
    sent.cpu_seconds = own_cpu_seconds() - cpu;
    Ok(sent)
}

impl Stream {
    /// The next send: blocks from scattered places, as requests of peers name them.
    fn next(
        &mut self,
        map: &Mmap,
        place: &mut usize,
        places: usize,
        blocks: usize,
        sending: Sending,
    ) -> squeue::Entry {
        self.vectors.clear();
        for _ in 0..blocks {
            let start = *place % places * BLOCK;
            *place = place.wrapping_add(7919);
            let block = &map[start..start + BLOCK];
            self.vectors.push(libc::iovec { iov_base: block.as_ptr().cast_mut().cast(), iov_len: BLOCK });
        }
        self.message.msg_iov = self.vectors.as_mut_ptr();
        self.message.msg_iovlen = self.vectors.len();
        let (fd, message) = (Fd(self.socket.as_raw_fd()), &raw const self.message);
        let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32;
        match sending {
            Sending::Copied => opcode::SendMsg::new(fd, message).flags(flags).build(),
            Sending::ZeroCopy => {
                opcode::SendMsgZc::new(fd, message).flags(flags).ioprio(SEND_ZC_REPORT_USAGE).build()
            }
        }
    }
}

fn push(ring: &mut IoUring, entry: squeue::Entry) -> io::Result<()> {
    loop {
        // SAFETY: messages and vectors lie in boxed streams, which outlive the sends; the map is never unmapped
        // while the process lives, so notifications may come late.
        if unsafe { ring.submission().push(&entry) }.is_ok() {
            return Ok(());
        }
        ring.submit()?;
    }
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpStream::connect(to) {
            // The receiver is being started.
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            outcome => return outcome,
        }
    }
}

/// Accepts `streams` connections on `at` and throws away what they bring, without copying it, until they end.
///
/// # Errors
/// The address is taken.
pub fn discard(at: SocketAddr, streams: usize) -> io::Result<()> {
    let listener = TcpListener::bind(at)?;
    let mut sockets = Vec::new();
    for _ in 0..streams {
        let socket = listener.accept()?.0;
        socket.set_nonblocking(true)?;
        sockets.push(socket);
    }
    let mut polls: Vec<libc::pollfd> = sockets
        .iter()
        .map(|socket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    while !polls.is_empty() {
        // SAFETY: the array has as many entries as is said.
        if unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, -1) } < 0 {
            return Err(io::Error::last_os_error());
        }
        polls.retain(|poll| {
            if poll.revents == 0 {
                return true;
            }
            // SAFETY: with MSG_TRUNC TCP drops up to so many bytes and writes nothing anywhere.
            let n = unsafe { libc::recv(poll.fd, std::ptr::null_mut(), 1 << 20, libc::MSG_TRUNC) };
            n > 0 || (n < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock)
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn both_ways_bring_all_bytes_across() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 64 * BLOCK]).unwrap();
        // SAFETY: nobody changes the file.
        let map = unsafe { Mmap::map(&file) }.unwrap();
        for sending in [Sending::Copied, Sending::ZeroCopy] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let to = listener.local_addr().unwrap();
            let receiver = std::thread::spawn(move || {
                // Side by side: all connections end only when everything was sent over all of them.
                let ends = (0..3).map(|_| {
                    let mut end = listener.accept().unwrap().0;
                    std::thread::spawn(move || {
                        let mut bytes = Vec::new();
                        end.read_to_end(&mut bytes).unwrap();
                        assert!(bytes.iter().all(|byte| *byte == 7));
                        bytes.len() as u64
                    })
                });
                let ends: Vec<_> = ends.collect();
                ends.into_iter().map(|end| end.join().unwrap()).sum::<u64>()
            });
            let sent = send(&map, to, 3, 4 * BLOCK, 20 * 4 * BLOCK as u64, sending).unwrap();
            assert_eq!((sent.bytes, receiver.join().unwrap()), (20 * 4 * BLOCK as u64, sent.bytes));
            assert_eq!(sent.notified > 0, sending == Sending::ZeroCopy);
        }
    }
}
