//! What the tests of the ring share: sockets with chosen properties, and driving a ring without an executor.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ringseed_ring::{Completion, Ring, RingConfig};

/// Only bounds a test that hangs; no test passes because of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A ring with few small buffers.
pub fn ring(recv_buffers: u16, recv_buffer_len: u32) -> Ring {
    let recv_buffers_first = recv_buffers;
    let config =
        RingConfig { sq_entries: 16, cq_entries: 64, recv_buffers, recv_buffers_first, recv_buffer_len };
    Ring::new(&config).unwrap()
}

/// Turns the ring until `done` says so, handing it every completion.
pub fn drive(ring: &Ring, mut done: impl FnMut(Option<Completion>) -> bool) {
    let mut out = Vec::new();
    let mut idle_turns = 0;
    if done(None) {
        return;
    }
    loop {
        ring.submit_and_wait(Some(PATIENCE)).unwrap();
        ring.drain(&mut out);
        idle_turns = if out.is_empty() { idle_turns + 1 } else { 0 };
        assert!(idle_turns < 100, "nothing happens: {ring:?}");
        let mut finished = false;
        for completion in out.drain(..) {
            finished |= done(Some(completion));
        }
        if finished || done(None) {
            return;
        }
    }
}

/// The next `n` completions of token operations.
pub fn completions(ring: &Ring, n: usize) -> Vec<Completion> {
    let mut all = Vec::new();
    drive(ring, |completion| {
        all.extend(completion);
        all.len() >= n
    });
    all
}

/// The next completion, which must be the only one.
pub fn completion(ring: &Ring) -> Completion {
    let mut all = completions(ring, 1);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

struct Nothing;
impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

/// Runs a future on the ring alone; token completions meanwhile are an error.
pub fn block_on<F: Future>(ring: &Ring, future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Nothing));
    let mut result = None;
    drive(ring, |completion| {
        assert!(completion.is_none(), "{completion:?}");
        if result.is_none()
            && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
        {
            result = Some(output);
        }
        result.is_some()
    });
    result.unwrap()
}

/// Turns the ring until no operation is left.
pub fn finish(ring: &Ring) {
    drive(ring, |_| ring.is_idle());
}

/// Two ends of a connection over loopback.
pub fn pair() -> (TcpStream, TcpStream) {
    pair_on("127.0.0.1:0")
}

/// Two ends of a connection through a listener at `address`.
pub fn pair_on(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (b, _) = listener.accept().unwrap();
    (a, b)
}

/// Sets an integer option of a socket.
pub fn set_option(fd: RawFd, level: i32, name: i32, value: i32) {
    // SAFETY: `value` is an int, which is what the options used here take.
    let done = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), 4) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// Closes a connection with a reset.
pub fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the option takes a `linger`.
    let done = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as u32,
        )
    };
    assert_eq!(done, 0);
    drop(stream);
}

/// A blocking TCP socket for `address`'s family, not connected.
pub fn tcp_socket(address: SocketAddr) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: a plain system call.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: just made, owned by nobody else.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }
}

/// Bytes that tell where they come from.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}
