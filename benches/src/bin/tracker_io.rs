//! Which way of receiving and sending datagrams costs the least: the tracker's batches of system calls, a ring with
//! multishot receives and provided buffers, or one system call for each datagram. The server only echoes, so this is
//! the kernel's part of a tracker's work.

use std::{
    error::Error,
    io,
    mem::MaybeUninit,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use clap::Parser;
use io_uring::{
    IoUring, cqueue, opcode,
    types::{BufRingEntry, Fd, Fixed, RecvMsgOut},
};
use memmap2::MmapMut;
use ringseed_benches::datagrams::{BATCH, batched, send_all};
use ringseed_benches::exit_code;
use ringseed_benches::results::{Measurement, Results};
use ringseed_loadtest::affinity::pin_to;

/// Measures an echo server in three ways, several times over.
#[derive(Debug, Parser)]
#[command(version)]
struct Plan {
    /// Runs of each; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Seconds of one run
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Bytes of a datagram
    #[arg(long, default_value_t = 98)]
    bytes: usize,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

/// Datagrams under way, and in one batch.
const WINDOW: usize = BATCH;
/// Receive buffers of the ring, and send slots.
const BUFFERS: u16 = 256;
const BUFFER_LEN: usize = 2048 + 64;
const RECEIVE: u64 = u64::MAX;

/// Receives and answers until it is told to stop.
type Way = fn(&UdpSocket, &Stop) -> io::Result<()>;

const WAYS: [(&str, Way); 4] = [
    ("recvmmsg, sendmmsg", batches),
    ("recvmmsg, sends of a ring", batches_and_ring),
    ("ring, multishot recvmsg", ring),
    ("recvfrom, sendto", one_by_one),
];

/// Tells the server to end, and what it used.
#[derive(Default)]
struct Stop {
    now: AtomicBool,
    served: AtomicU64,
}

impl Stop {
    /// So many more were served; whether to go on.
    fn served(&self, count: usize) -> bool {
        self.served.fetch_add(count as u64, Ordering::Relaxed);
        !self.now.load(Ordering::Relaxed)
    }
}

fn main() -> ExitCode {
    exit_code(run(&Plan::parse()))
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let mut found = WAYS.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..plan.runs {
        for ((_, serve), (costs, rates)) in WAYS.iter().zip(&mut found) {
            let (cost, rate) = measure(plan, *serve)?;
            costs.push(cost);
            rates.push(rate);
        }
    }
    let mut results = Results::new("tracker_io");
    let case = format!("{} bytes, {WINDOW} under way", plan.bytes);
    for ((who, _), (costs, rates)) in WAYS.iter().zip(found) {
        results.measurements.push(Measurement::new(who, &case, "CPU us/datagram", costs));
        results.measurements.push(Measurement::new(who, &case, "datagrams/s", rates));
    }
    Ok(results.conclude(&plan.results)?)
}

/// CPU microseconds for each datagram echoed, and datagrams per second.
fn measure(
    plan: &Plan,
    serve: fn(&UdpSocket, &Stop) -> io::Result<()>,
) -> Result<(f64, f64), Box<dyn Error>> {
    let server = UdpSocket::bind("127.0.0.1:0")?;
    server.set_read_timeout(Some(Duration::from_millis(100)))?;
    let address = server.local_addr()?;
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin_to(0)?;
            serve(&server, &stop)?;
            thread_seconds()
        });
        pin_to(1)?;
        let began = Instant::now();
        flood(address, plan)?;
        let elapsed = began.elapsed().as_secs_f64();
        stop.now.store(true, Ordering::Relaxed);
        // Wakes a server that waits.
        UdpSocket::bind("127.0.0.1:0")?.send_to(&[0], address)?;
        let used = thread.join().map_err(|_| "the server panicked")??;
        let served = stop.served.load(Ordering::Relaxed) as f64;
        Ok((used / served * 1e6, served / elapsed))
    })
}

fn thread_seconds() -> io::Result<f64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is writable.
    match unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) } {
        0 => Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps a window of datagrams under way.
fn flood(address: SocketAddr, plan: &Plan) -> io::Result<()> {
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(address)?;
    client.set_nonblocking(true)?;
    let end = Instant::now() + Duration::from_secs(plan.seconds);
    let datagram = vec![7; plan.bytes];
    let mut reply = [0; 2048];
    let (mut sent, mut answered) = (0usize, 0usize);
    while Instant::now() < end {
        while sent - answered < WINDOW && client.send(&datagram).is_ok() {
            sent += 1;
        }
        while client.recv(&mut reply).is_ok() {
            answered += 1;
        }
    }
    Ok(())
}

fn one_by_one(socket: &UdpSocket, stop: &Stop) -> io::Result<()> {
    let mut buffer = [0; 2048];
    while !stop.now.load(Ordering::Relaxed) {
        let Ok((count, from)) = socket.recv_from(&mut buffer) else { continue };
        socket.send_to(&buffer[..count], from)?;
        stop.served.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn batches(socket: &UdpSocket, stop: &Stop) -> io::Result<()> {
    batched(socket, |heads| {
        send_all(socket, heads)?;
        Ok(stop.served(heads.len()))
    })
}

/// A ring for one thread, with so many submissions and completions.
fn new_ring(entries: u32, completions: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_submit_all()
        .setup_cqsize(completions)
        .build(entries)
}

/// A ring is told the address and the bytes of each reply, and needs no message header from this process.
fn batches_and_ring(socket: &UdpSocket, stop: &Stop) -> io::Result<()> {
    let mut uring = new_ring(WINDOW as u32, 2 * WINDOW as u32)?;
    uring.submitter().register_files(&[socket.as_raw_fd()])?;
    batched(socket, |heads| {
        for head in heads.iter() {
            // SAFETY: each head has one vector, filled in by `batched`.
            let buffer = unsafe { *head.msg_hdr.msg_iov };
            let send = opcode::Send::new(Fixed(0), buffer.iov_base.cast(), buffer.iov_len as u32)
                .dest_addr(head.msg_hdr.msg_name.cast())
                .dest_addr_len(size_of::<libc::sockaddr_in>() as u32)
                .build();
            // SAFETY: the name and the buffer are not touched before all sends are over.
            unsafe { uring.submission().push(&send) }.map_err(io::Error::other)?;
        }
        uring.submit_and_wait(heads.len())?;
        let failed = uring.completion().find(|completion| completion.result() < 0);
        if let Some(completion) = failed {
            return Err(io::Error::from_raw_os_error(-completion.result()));
        }
        Ok(stop.served(heads.len()))
    })
}

/// A reply under way: everything that its send points to.
struct Slot {
    name: libc::sockaddr_storage,
    buffer: libc::iovec,
    head: libc::msghdr,
    data: [u8; 2048],
}

fn ring(socket: &UdpSocket, stop: &Stop) -> io::Result<()> {
    let mut uring = new_ring(512, 4096)?;
    let fd = Fd(socket.as_raw_fd());
    let provided = Provided::new()?;
    // SAFETY: the ring of entries is page-aligned, zeroed, and leaked.
    unsafe { uring.submitter().register_buf_ring_with_flags(provided.entries as u64, BUFFERS, 0, 0)? };
    // SAFETY: zeros are valid.
    let mut shape: Box<libc::msghdr> = Box::new(unsafe { MaybeUninit::zeroed().assume_init() });
    shape.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
    let receive = opcode::RecvMsgMulti::new(fd, &raw const *shape, 0).build().user_data(RECEIVE);
    // SAFETY: zeros are valid for all fields.
    let mut slots: Vec<Slot> = (0..BUFFERS).map(|_| unsafe { MaybeUninit::zeroed().assume_init() }).collect();
    let mut free: Vec<usize> = (0..slots.len()).collect();
    let mut armed = false;
    while !stop.now.load(Ordering::Relaxed) {
        if !armed {
            // SAFETY: `shape` lives as long as the ring.
            unsafe { uring.submission().push(&receive) }.map_err(io::Error::other)?;
            armed = true;
        }
        uring.submit_and_wait(1)?;
        let completions: Vec<cqueue::Entry> = uring.completion().collect();
        for completion in completions {
            if completion.user_data() != RECEIVE {
                free.push(completion.user_data() as usize);
                continue;
            }
            armed &= cqueue::more(completion.flags());
            let Some(id) = cqueue::buffer_select(completion.flags()) else { continue };
            let filled = usize::try_from(completion.result()).unwrap_or(0);
            let bytes = provided.filled(id, filled);
            // With no slot free the datagram is dropped, as the kernel would.
            if let (Ok(received), Some(at)) = (RecvMsgOut::parse(bytes, &shape), free.pop()) {
                let slot = &mut slots[at];
                let payload = received.payload_data();
                slot.data[..payload.len()].copy_from_slice(payload);
                let name = received.name_data();
                // SAFETY: the name is at most as long as the storage that was asked for.
                unsafe {
                    std::ptr::copy_nonoverlapping(name.as_ptr(), (&raw mut slot.name).cast(), name.len());
                }
                slot.buffer = libc::iovec { iov_base: slot.data.as_mut_ptr().cast(), iov_len: payload.len() };
                slot.head.msg_name = (&raw mut slot.name).cast();
                slot.head.msg_namelen = name.len() as u32;
                slot.head.msg_iov = &raw mut slot.buffer;
                slot.head.msg_iovlen = 1;
                let send = opcode::SendMsg::new(fd, &raw const slot.head).build().user_data(at as u64);
                // SAFETY: the slot is not touched before its completion.
                unsafe { uring.submission().push(&send) }.map_err(io::Error::other)?;
                stop.served.fetch_add(1, Ordering::Relaxed);
            }
            provided.give_back(id);
        }
    }
    // The ring goes first, then what it points to.
    drop(uring);
    drop(slots);
    Ok(())
}

/// Provided buffers; leaked, for a benchmark ends soon.
struct Provided {
    entries: *mut BufRingEntry,
    data: *mut u8,
    tail: std::cell::Cell<u16>,
}

impl Provided {
    fn new() -> io::Result<Provided> {
        let map = |len| MmapMut::map_anon(len).map(|map| Box::leak(Box::new(map)).as_mut_ptr());
        let entries = map(usize::from(BUFFERS) * size_of::<BufRingEntry>())?.cast();
        let data = map(usize::from(BUFFERS) * BUFFER_LEN)?;
        let provided = Provided { entries, data, tail: std::cell::Cell::new(0) };
        (0..BUFFERS).for_each(|id| provided.give_back(id));
        Ok(provided)
    }

    fn filled(&self, id: u16, len: usize) -> &[u8] {
        // SAFETY: the buffer lies in the mapping and is ours until it is given back.
        unsafe {
            std::slice::from_raw_parts(self.data.add(usize::from(id) * BUFFER_LEN), len.min(BUFFER_LEN))
        }
    }

    fn give_back(&self, id: u16) {
        let tail = self.tail.get();
        // SAFETY: the slot lies in the mapping; the kernel reads it only after the tail passes it.
        unsafe {
            let entry = &mut *self.entries.add(usize::from(tail & (BUFFERS - 1)));
            entry.set_addr(self.data.add(usize::from(id) * BUFFER_LEN) as u64);
            entry.set_len(BUFFER_LEN as u32);
            entry.set_bid(id);
        }
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the tail is an aligned u16 that both sides access atomically.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) }
            .store(self.tail.get(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Plan::command().debug_assert();
    }

    #[test]
    fn each_way_echoes() {
        for (name, serve) in WAYS {
            let server = UdpSocket::bind("127.0.0.1:0").unwrap();
            server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect(server.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let stop = Stop::default();
            std::thread::scope(|scope| {
                scope.spawn(|| serve(&server, &stop).unwrap());
                for n in 0..1000u32 {
                    client.send(&n.to_be_bytes()).unwrap();
                    let mut reply = [0; 9];
                    assert_eq!(client.recv(&mut reply).unwrap(), 4, "{name}");
                    assert_eq!(reply[..4], n.to_be_bytes(), "{name}");
                }
                stop.now.store(true, Ordering::Relaxed);
                client.send(&[0]).unwrap();
            });
            assert!(stop.served.load(Ordering::Relaxed) >= 1000, "{name}");
        }
    }
}
