//! Receiving: buffers that run out, resets, closes, cancels, and loans that outlive everything.

mod support;

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsRawFd;

use ringseed_ring::{Event, RecvBuf};
use support::{completion, completions, drive, finish, pair, pattern, reset, ring};

#[test]
fn enobufs_is_reported_and_receiving_goes_on_after_buffers_came_back() {
    let ring = ring(4, 64);
    let (mut a, b) = pair();
    let data = pattern(64 * 20);
    a.write_all(&data).unwrap();
    a.shutdown(Shutdown::Write).unwrap();
    ring.recv_multishot(b.as_raw_fd(), 7);
    let (mut got, mut held, mut starved, mut rounds) = (Vec::new(), Vec::<RecvBuf>::new(), false, 0);
    drive(&ring, |event| {
        match event.map(|c| (c.token, c.more, c.event)) {
            None => {
                if starved {
                    starved = false;
                    rounds += 1;
                    assert_eq!((ring.buffers_free(), held.len()), (0, 4), "all were out");
                    held.drain(..).for_each(|buf| got.extend_from_slice(&buf));
                    assert_eq!(ring.buffers_free(), 4);
                    ring.recv_multishot(b.as_raw_fd(), 7);
                }
            }
            Some((7, _, Event::Received(buf))) => held.push(buf),
            Some((7, false, Event::NoBuffers)) => starved = true,
            Some((7, false, Event::Closed)) => {
                held.drain(..).for_each(|buf| got.extend_from_slice(&buf));
                return true;
            }
            other => panic!("{other:?}"),
        }
        false
    });
    assert_eq!(got, data);
    let stats = ring.stats();
    assert!(rounds >= 4 && stats.enobufs == rounds, "{rounds} rounds, {stats:?}");
    assert_eq!((stats.received_bytes, stats.recv_buffers_free, stats.ops), (64 * 20, 4, 0));
}

#[test]
fn recv_once_takes_one_buffer_and_ends() {
    let ring = ring(4, 8);
    let (mut a, b) = pair();
    a.write_all(b"0123456789").unwrap();
    for want in [&b"01234567"[..], b"89"] {
        ring.recv_once(b.as_raw_fd(), 1);
        let done = completion(&ring);
        assert!(!done.more);
        let Event::Received(buf) = done.event else { panic!("{done:?}") };
        assert_eq!(&buf[..], want);
    }
    let held: Vec<_> = (0..4)
        .map(|_| {
            a.write_all(b"x").unwrap();
            ring.recv_once(b.as_raw_fd(), 1);
            completion(&ring)
        })
        .collect();
    a.write_all(b"y").unwrap();
    ring.recv_once(b.as_raw_fd(), 1);
    assert!(matches!(completion(&ring).event, Event::NoBuffers));
    drop(held);
    drop(a);
    ring.recv_once(b.as_raw_fd(), 1);
    let Event::Received(buf) = completion(&ring).event else { panic!() };
    assert_eq!(&buf[..], b"y");
    ring.recv_once(b.as_raw_fd(), 1);
    assert!(matches!(completion(&ring).event, Event::Closed));
    drop(buf);
    assert_eq!(ring.buffers_free(), 4);
}

#[test]
fn a_reset_ends_a_multishot_receive_with_its_error() {
    let ring = ring(4, 64);
    let (mut a, b) = pair();
    let op = ring.recv_multishot(b.as_raw_fd(), 3);
    a.write_all(b"last words").unwrap();
    let first = completion(&ring);
    assert!(first.more && matches!(&first.event, Event::Received(buf) if &buf[..] == b"last words"));
    reset(a);
    let end = completion(&ring);
    assert_eq!((end.op, end.token, end.more), (op, 3, false));
    assert!(
        matches!(&end.event, Event::RecvError(e) if e.raw_os_error() == Some(libc::ECONNRESET)),
        "{end:?}"
    );
    assert!(ring.is_idle());
    drop(first);
    assert_eq!(ring.buffers_free(), 4);
}

#[test]
fn cancel_then_close_ends_the_receive_and_frees_the_socket() {
    use std::io::Read;
    let ring = ring(4, 64);
    let (mut a, b) = pair();
    let op = ring.recv_multishot(b.as_raw_fd(), 9);
    ring.submit().unwrap();
    ring.cancel(op);
    ring.close(b.into());
    let end = completion(&ring);
    assert_eq!((end.op, end.token, end.more), (op, 9, false));
    assert!(matches!(end.event, Event::Cancelled), "{end:?}");
    // The other side sees the close: the operation holds the socket no longer.
    assert_eq!(a.read(&mut [0; 1]).unwrap(), 0);
    // Again, for an operation that is over.
    ring.cancel(op);
    assert!(ring.is_idle(), "a cancel for a stale id queues nothing");
}

#[test]
fn close_cancels_what_was_only_queued() {
    use std::io::Read;
    let ring = ring(4, 64);
    let (mut a, b) = pair();
    // Nothing was submitted when the descriptor is given up; the number must not be free before that.
    ring.recv_multishot(b.as_raw_fd(), 1);
    ring.poll_in(b.as_raw_fd(), 2, true);
    ring.close(b.into());
    let mut ends = completions(&ring, 2);
    ends.sort_by_key(|end| end.token);
    assert!(ends.iter().all(|end| !end.more && matches!(end.event, Event::Cancelled)), "{ends:?}");
    assert_eq!(a.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_received_buffer_outlives_operation_socket_and_ring() {
    let ring = ring(2, 64);
    let (mut a, b) = pair();
    ring.recv_multishot(b.as_raw_fd(), 1);
    a.write_all(b"still here").unwrap();
    let first = completion(&ring);
    let Event::Received(buf) = first.event else { panic!("{first:?}") };
    // The receive is still armed: dropping the ring must end it first.
    drop(ring);
    a.write_all(b"overwritten?").unwrap();
    drop((a, b));
    assert_eq!(&buf[..], b"still here");
}

#[test]
fn a_stale_id_does_not_cancel_the_operation_that_took_its_slot() {
    let ring = ring(4, 64);
    let (mut a, b) = pair();
    a.write_all(b"1").unwrap();
    let old = ring.recv_once(b.as_raw_fd(), 1);
    completion(&ring);
    let new = ring.recv_once(b.as_raw_fd(), 2);
    assert_ne!(old, new);
    ring.cancel(old);
    ring.submit().unwrap();
    a.write_all(b"2").unwrap();
    let done = completion(&ring);
    assert_eq!((done.op, done.token), (new, 2));
    assert!(matches!(&done.event, Event::Received(buf) if &buf[..] == b"2"), "{done:?}");
    assert_eq!(ring.stats().stale, 0);
}

#[test]
fn more_operations_than_queue_entries_and_more_completions_than_fit() {
    // 16 submission and 64 completion entries; 300 sockets that all become readable before anything is read.
    let ring = ring(512, 16);
    let pairs: Vec<_> = (0..300).map(|_| pair()).collect();
    for (n, (_, b)) in pairs.iter().enumerate() {
        ring.recv_multishot(b.as_raw_fd(), n as u64);
    }
    assert!(ring.stats().sq_full > 0);
    ring.submit().unwrap();
    for (a, _) in &pairs {
        (&*a).write_all(b"x").unwrap();
        a.shutdown(Shutdown::Write).unwrap();
    }
    // Runs all the deferred work at once, without reading.
    ring.submit().unwrap();
    let (mut received, mut closed) = (vec![0; 300], vec![0; 300]);
    let mut rearm = Vec::new();
    drive(&ring, |event| {
        match event.map(|c| (c.token as usize, c.more, c.event)) {
            None => {
                for n in rearm.drain(..) {
                    let (_, b): &(_, std::net::TcpStream) = &pairs[n];
                    ring.recv_multishot(b.as_raw_fd(), n as u64);
                }
            }
            Some((n, more, Event::Received(buf))) => {
                received[n] += buf.len();
                if !more {
                    rearm.push(n);
                }
            }
            Some((n, false, Event::Closed)) => closed[n] += 1,
            other => panic!("{other:?}"),
        }
        closed.iter().all(|&n| n == 1)
    });
    assert_eq!(received, vec![1; 300]);
    finish(&ring);
    assert!(ring.stats().cq_overflows > 0, "{:?}", ring.stats());
    assert_eq!(ring.stats().recv_buffers_free, 512);
}
