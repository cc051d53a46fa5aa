//! Accepting, connecting, polling, and what drops in between.

mod support;

use std::collections::HashSet;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use ringseed_ring::{Event, Ring, RingConfig, RingError};
use support::{block_on, completion, completions, drive, finish, pair, ring, tcp_socket};

const LONG: Duration = Duration::from_secs(600);

#[test]
fn one_accept_takes_a_hundred_connections() {
    // Room for all completions: an overflow would end the accept early, as it may.
    let config = RingConfig {
        sq_entries: 16,
        cq_entries: 256,
        recv_buffers: 1,
        recv_buffers_first: 1,
        recv_buffer_len: 8,
    };
    let ring = Ring::new(&config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let op = ring.accept_multishot(listener.as_raw_fd(), 11);
    ring.submit().unwrap();
    let connect = std::thread::spawn(move || {
        (0..100).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>()
    });
    let mut accepted = Vec::new();
    drive(&ring, |event| {
        if let Some(done) = event {
            assert_eq!((done.op, done.token, done.more), (op, 11, true));
            let Event::Accepted(fd) = done.event else { panic!("{done:?}") };
            accepted.push(TcpStream::from(fd));
        }
        accepted.len() == 100
    });
    let clients = connect.join().unwrap();
    let theirs: HashSet<_> = clients.iter().map(|s| s.local_addr().unwrap()).collect();
    let ours: HashSet<_> = accepted.iter().map(|s| s.peer_addr().unwrap()).collect();
    assert_eq!((ours.len(), ours == theirs), (100, true));
    ring.cancel(op);
    let end = completion(&ring);
    assert!(!end.more && matches!(end.event, Event::Cancelled), "{end:?}");
}

#[test]
fn a_bad_listener_is_an_accept_error() {
    let ring = ring(4, 64);
    let (a, _b) = pair();
    ring.accept_multishot(a.as_raw_fd(), 1);
    let end = completion(&ring);
    assert!(
        !end.more && matches!(&end.event, Event::AcceptError(e) if e.raw_os_error() == Some(libc::EINVAL)),
        "{end:?}"
    );
}

fn connect_and_exchange(listen: &str) {
    let ring = ring(4, 64);
    let listener = TcpListener::bind(listen).unwrap();
    let address = listener.local_addr().unwrap();
    let socket = tcp_socket(address);
    block_on(&ring, ring.connect(socket.as_raw_fd(), address, LONG)).unwrap();
    let (mut peer, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), address.ip());
    peer.write_all(b"hello").unwrap();
    ring.recv_once(socket.as_raw_fd(), 1);
    let done = completion(&ring);
    assert!(matches!(&done.event, Event::Received(buf) if &buf[..] == b"hello"), "{done:?}");
}

#[test]
fn connects_over_ipv4() {
    connect_and_exchange("127.0.0.1:0");
}

#[test]
fn connects_and_accepts_over_ipv6() {
    connect_and_exchange("[::1]:0");
    let ring = ring(4, 64);
    let listener = TcpListener::bind("[::1]:0").unwrap();
    ring.accept_multishot(listener.as_raw_fd(), 1);
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let done = completion(&ring);
    let Event::Accepted(fd) = done.event else { panic!("{done:?}") };
    assert_eq!(TcpStream::from(fd).peer_addr().unwrap(), client.local_addr().unwrap());
}

#[test]
fn a_refused_connect_says_so() {
    let ring = ring(4, 64);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = tcp_socket(address);
    let error = block_on(&ring, ring.connect(socket.as_raw_fd(), address, LONG)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(ring.is_idle());
}

/// A listener whose queue is full, so that the next connect is never answered, and what fills it.
fn full_listener(ring: &Ring) -> (OwnedFd, std::net::SocketAddr, Vec<OwnedFd>) {
    let any = "127.0.0.1:0".parse().unwrap();
    let listener = tcp_socket(any);
    // SAFETY: all-zero is a valid `sockaddr_in`.
    let mut raw: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    raw.sin_family = libc::AF_INET as _;
    raw.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    // SAFETY: the address is valid and as long as stated.
    unsafe {
        assert_eq!(libc::bind(listener.as_raw_fd(), (&raw const raw).cast(), size_of_val(&raw) as u32), 0);
        assert_eq!(libc::listen(listener.as_raw_fd(), 0), 0);
    }
    let listener = TcpListener::from(listener);
    let address = listener.local_addr().unwrap();
    let mut fill = Vec::new();
    // A queue of length 0 holds one connection; the second would wait.
    let socket = tcp_socket(address);
    block_on(ring, ring.connect(socket.as_raw_fd(), address, LONG)).unwrap();
    fill.push(socket);
    (listener.into(), address, fill)
}

#[test]
fn an_unanswered_connect_times_out() {
    let ring = ring(4, 64);
    let (_listener, address, _fill) = full_listener(&ring);
    let socket = tcp_socket(address);
    let error =
        block_on(&ring, ring.connect(socket.as_raw_fd(), address, Duration::from_millis(50))).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(ring.is_idle());
}

#[test]
fn a_dropped_connect_is_cancelled_and_its_memory_stays_until_then() {
    let ring = ring(4, 64);
    let (_listener, address, _fill) = full_listener(&ring);
    let sockets: Vec<_> = (0..20).map(|_| tcp_socket(address)).collect();
    let connects: Vec<_> =
        sockets.iter().map(|socket| ring.connect(socket.as_raw_fd(), address, LONG)).collect();
    ring.submit().unwrap();
    assert_eq!(ring.stats().ops, 20);
    drop(connects);
    assert_eq!(ring.stats().ops, 20, "the kernel is not done with them");
    finish(&ring);
    // Some that were never submitted when their future went.
    drop(sockets.iter().map(|socket| ring.connect(socket.as_raw_fd(), address, LONG)).collect::<Vec<_>>());
    for socket in sockets {
        ring.close(socket);
    }
    finish(&ring);
    assert_eq!(ring.stats().stale, 0);
}

#[test]
fn connects_and_their_timeouts_stay_linked_when_the_queue_is_full() {
    let ring = Ring::new(&RingConfig {
        sq_entries: 4,
        cq_entries: 8,
        recv_buffers: 1,
        recv_buffers_first: 1,
        recv_buffer_len: 8,
    })
    .unwrap();
    let (_listener, address, _fill) = full_listener(&ring);
    let (a, _b) = pair();
    // An odd entry first, so that pairs do not fit the queue evenly.
    ring.poll_in(a.as_raw_fd(), 1, false);
    let sockets: Vec<_> = (0..33).map(|_| tcp_socket(address)).collect();
    let connects: Vec<_> = sockets
        .iter()
        .map(|socket| ring.connect(socket.as_raw_fd(), address, Duration::from_millis(50)))
        .collect();
    for connect in connects {
        assert_eq!(block_on(&ring, connect).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}

#[test]
fn timeouts_resolve_and_can_be_dropped() {
    let ring = ring(4, 64);
    drop(ring.timeout(LONG));
    let dropped_later = ring.timeout(LONG);
    block_on(&ring, ring.timeout(Duration::from_millis(1)));
    drop(dropped_later);
    finish(&ring);
}

#[test]
fn a_dropped_ring_does_not_wait_for_long_operations() {
    let ring = ring(4, 64);
    let (_listener, address, _fill) = full_listener(&ring);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (a, b) = pair();
    ring.accept_multishot(listener.as_raw_fd(), 1);
    ring.recv_multishot(a.as_raw_fd(), 2);
    ring.poll_in(b.as_raw_fd(), 3, true);
    let socket = tcp_socket(address);
    let connect = ring.connect(socket.as_raw_fd(), address, LONG);
    let timeout = ring.timeout(LONG);
    ring.submit().unwrap();
    drop((connect, timeout));
    drop(ring);
    // The listener is free again: no accept holds it.
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn polls_report_once_or_many_times() {
    let ring = ring(4, 64);
    // SAFETY: a plain system call.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: just made, owned by nobody else.
    let mut event = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let once = ring.poll_in(fd, 1, false);
    let many = ring.poll_in(fd, 2, true);
    ring.submit().unwrap();
    event.write_all(&1u64.to_ne_bytes()).unwrap();
    let mut first = completions(&ring, 2);
    first.sort_by_key(|done| done.token);
    assert!(first.iter().all(|done| matches!(done.event, Event::Readable)), "{first:?}");
    assert_eq!((first[0].op, first[0].more, first[1].op, first[1].more), (once, false, many, true));
    event.write_all(&1u64.to_ne_bytes()).unwrap();
    let again = completion(&ring);
    assert_eq!((again.op, again.more), (many, true));
    ring.cancel(many);
    let end = completion(&ring);
    assert!(!end.more && matches!(end.event, Event::Cancelled), "{end:?}");
}

#[test]
fn sizes_out_of_range_are_refused() {
    let good = RingConfig::default();
    for bad in [
        RingConfig { sq_entries: 0, ..good.clone() },
        RingConfig { sq_entries: 65536, ..good.clone() },
        RingConfig { cq_entries: 16, ..good.clone() },
        RingConfig { recv_buffers: 3, ..good.clone() },
        RingConfig { recv_buffers: 0, ..good.clone() },
        RingConfig { recv_buffers_first: 0, ..good.clone() },
        RingConfig { recv_buffers_first: good.recv_buffers + 1, ..good.clone() },
        RingConfig { recv_buffer_len: 0, ..good.clone() },
    ] {
        assert!(matches!(Ring::new(&bad), Err(RingError::Config(_))), "{bad:?}");
    }
    Ring::new(&good).unwrap();
}
