//! Sending: gathering, short sends, pages that are gone, resets, cancels.

mod support;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread;

use ringseed_ring::{Event, Ring, SEGMENTS_PER_SEND_MAX, SendList};
use support::{completion, drive, finish, pair, pattern, reset, ring, set_option};

/// A read-only shared map of a whole file, which nobody dereferences.
struct Map {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: a plain address range; only the kernel reads it.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    fn new(file: &std::fs::File) -> Map {
        let len = file.metadata().unwrap().len() as usize;
        // SAFETY: a fresh mapping aliases nothing.
        let ptr = unsafe {
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        assert_ne!(ptr, libc::MAP_FAILED);
        Map { ptr: NonNull::new(ptr.cast()).unwrap(), len }
    }

    fn at(&self, offset: usize) -> *const u8 {
        assert!(offset < self.len);
        self.ptr.as_ptr().wrapping_add(offset)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; no operation holds this map any more.
        unsafe { libc::munmap(self.ptr.as_ptr().cast(), self.len) };
    }
}

/// Sends until the list is empty; returns the number of sends.
fn send_out(ring: &Ring, fd: i32, list: SendList) -> usize {
    let mut sends = 0;
    let mut next = Some(list);
    drive(ring, |event| {
        match event.map(|c| c.event) {
            None => {
                if let Some(list) = next.take() {
                    ring.send(fd, 5, list);
                    sends += 1;
                }
            }
            Some(Event::Sent { bytes, mut list }) => {
                assert!(bytes > 0);
                list.advance(bytes);
                if list.is_empty() {
                    return true;
                }
                next = Some(list);
            }
            other => panic!("{other:?}"),
        }
        false
    });
    sends
}

#[test]
fn short_sends_add_up_to_every_byte_in_order() {
    let ring = ring(4, 64);
    let (a, mut b) = pair();
    set_option(a.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, 4096);
    let blocks = Arc::new(pattern(64 * 16384));
    let mut list = SendList::new();
    let mut want = Vec::new();
    for n in [3usize, 1, 2, 0, 5, 4, 63].into_iter().chain(6..40) {
        let header = [n as u8; 13];
        list.push_bytes(&header);
        // SAFETY: within `blocks`, which is never changed.
        unsafe { list.push_external(blocks.as_ptr().wrapping_add(n * 16384), 16384, &blocks) };
        want.extend_from_slice(&header);
        want.extend_from_slice(&blocks[n * 16384..][..16384]);
    }
    // Nobody reads before the first send came back short.
    ring.send(a.as_raw_fd(), 5, list);
    let first = completion(&ring);
    let Event::Sent { bytes, mut list } = first.event else { panic!("{first:?}") };
    assert!(bytes < want.len());
    list.advance(bytes);
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        b.read_to_end(&mut got).unwrap();
        got
    });
    send_out(&ring, a.as_raw_fd(), list);
    drop(a);
    assert!(reader.join().unwrap() == want, "what arrived is not what was sent");
    let stats = ring.stats();
    assert!(stats.partial_sends >= 1, "{stats:?}");
    assert_eq!((stats.sent_bytes, stats.ops), (want.len() as u64, 0));
    assert_eq!(Arc::strong_count(&blocks), 1);
}

#[test]
fn send_all_completes_once() {
    let ring = ring(4, 64);
    let (a, mut b) = pair();
    set_option(a.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, 4096);
    let data = pattern(1 << 20);
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        b.read_to_end(&mut got).unwrap();
        got
    });
    let mut list = SendList::new();
    list.push_bytes(&data);
    ring.send_all(a.as_raw_fd(), 1, list);
    let done = completion(&ring);
    assert!(matches!(done.event, Event::Sent { bytes, .. } if bytes == 1 << 20), "{done:?}");
    drop(a);
    assert!(reader.join().unwrap() == data);
}

#[test]
fn more_segments_than_the_kernel_takes_are_sent_in_turns() {
    let ring = ring(4, 64);
    let (a, mut b) = pair();
    let data = Arc::new(pattern(8000));
    let mut list = SendList::new();
    let mut want = Vec::new();
    for n in (0..8000).step_by(2) {
        // SAFETY: within `data`, which is never changed.
        unsafe { list.push_external(data.as_ptr().wrapping_add(n), 1, &data) };
        want.push(data[n]);
    }
    assert_eq!(list.segment_count(), 4000);
    let sends = send_out(&ring, a.as_raw_fd(), list);
    assert!(sends >= 4000usize.div_ceil(SEGMENTS_PER_SEND_MAX), "{sends}");
    drop(a);
    let mut got = Vec::new();
    b.read_to_end(&mut got).unwrap();
    assert_eq!(got, want);
}

#[test]
fn the_map_of_a_truncated_file_gives_efault_and_the_list_back() {
    let ring = ring(4, 64);
    let (a, mut b) = pair();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&pattern(1 << 20)).unwrap();
    let map = Arc::new(Map::new(&file));
    file.set_len(0).unwrap();
    let mut list = SendList::new();
    list.push_bytes(b"header");
    // SAFETY: the range is mapped as long as `map` lives.
    unsafe { list.push_external(map.at(0), 16384, &map) };
    let mut sent = 0;
    let mut next = Some(list);
    let mut failed = None;
    drive(&ring, |event| {
        match event.map(|c| c.event) {
            None => {
                if let Some(list) = next.take() {
                    ring.send(a.as_raw_fd(), 1, list);
                }
            }
            Some(Event::Sent { bytes, mut list }) => {
                sent += bytes;
                list.advance(bytes);
                next = Some(list);
            }
            Some(Event::SendError { error, list }) => failed = Some((error, list)),
            other => panic!("{other:?}"),
        }
        failed.is_some()
    });
    let (error, mut list) = failed.unwrap();
    assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    assert_eq!(list.len(), 6 + 16384 - sent);
    assert!(sent <= 6, "only the header can have left");
    let externals: Vec<_> = list.externals().collect();
    assert_eq!(externals, [(6 - sent, map.at(0), 16384)]);
    // The connection still works.
    list.clear();
    assert_eq!(Arc::strong_count(&map), 1);
    list.push_bytes(b"alive");
    send_out(&ring, a.as_raw_fd(), list);
    drop(a);
    let mut got = Vec::new();
    b.read_to_end(&mut got).unwrap();
    assert!(got.ends_with(b"alive"));
}

#[test]
fn a_reset_in_flight_fails_the_send_and_returns_its_list() {
    let ring = ring(4, 64);
    let (a, b) = pair();
    set_option(a.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, 4096);
    let data = Arc::new(pattern(1 << 20));
    let list = || {
        let mut list = SendList::new();
        // SAFETY: `data` is never changed.
        unsafe { list.push_external(data.as_ptr(), data.len(), &data) };
        list
    };
    // Fill the socket, so that the last send waits inside the kernel.
    ring.send_all(a.as_raw_fd(), 1, list());
    ring.submit().unwrap();
    assert_eq!(ring.stats().ops, 1);
    reset(b);
    let done = completion(&ring);
    let list = match done.event {
        // What was taken before the reset.
        Event::Sent { bytes, list } => {
            assert!(bytes < data.len());
            ring.send(a.as_raw_fd(), 1, list);
            let done = completion(&ring);
            let Event::SendError { error, list } = done.event else { panic!("{done:?}") };
            assert!(matches!(error.raw_os_error(), Some(libc::ECONNRESET | libc::EPIPE)), "{error}");
            list
        }
        Event::SendError { error, list } => {
            assert!(matches!(error.raw_os_error(), Some(libc::ECONNRESET | libc::EPIPE)), "{error}");
            list
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((list.len(), Arc::strong_count(&data)), (data.len(), 2));
    drop(list);
    assert_eq!(Arc::strong_count(&data), 1);
}

#[test]
fn cancel_then_close_returns_the_list_of_a_blocked_send() {
    let ring = ring(4, 64);
    let (a, mut b) = pair();
    set_option(a.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, 4096);
    set_option(b.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 4096);
    let data = pattern(4 << 20);
    let mut filling = SendList::new();
    filling.push_bytes(&data);
    let op = ring.send_all(a.as_raw_fd(), 1, filling);
    ring.submit().unwrap();
    ring.cancel(op);
    ring.close(a.into());
    let done = completion(&ring);
    let taken = match done.event {
        Event::Sent { bytes, list } => {
            assert_eq!(list.len(), data.len());
            bytes
        }
        Event::SendError { error, list } => {
            assert_eq!((error.raw_os_error(), list.len()), (Some(libc::ECANCELED), data.len()));
            0
        }
        other => panic!("{other:?}"),
    };
    let mut got = Vec::new();
    b.read_to_end(&mut got).unwrap();
    assert!(got == data[..taken], "{} of {taken} bytes", got.len());
    assert!(ring.is_idle());
}

#[test]
fn a_ring_dropped_with_sends_in_flight_frees_them_after_the_kernel_is_done() {
    let ring = ring(4, 64);
    let data = Arc::new(pattern(8 << 20));
    let pairs: Vec<_> = (0..40).map(|_| pair()).collect();
    for (a, b) in &pairs {
        let mut list = SendList::new();
        // SAFETY: `data` is never changed.
        unsafe { list.push_external(data.as_ptr(), data.len(), &data) };
        ring.send_all(a.as_raw_fd(), 1, list);
        ring.recv_multishot(a.as_raw_fd(), 2);
        ring.recv_multishot(b.as_raw_fd(), 2);
    }
    assert_eq!(Arc::strong_count(&data), 41);
    // Some are in the kernel, the rest still queued.
    drop(ring);
    assert_eq!(Arc::strong_count(&data), 1, "nothing was leaked, nothing is in use");
}

#[test]
fn sends_reuse_their_lists() {
    let ring = ring(4, 64);
    let (a, mut b) = pair();
    let mut list = SendList::new();
    let mut buffer = [0; 100];
    for n in 0..100u8 {
        list.clear();
        list.push_bytes(&[n; 100]);
        ring.send(a.as_raw_fd(), 1, list);
        let done = completion(&ring);
        let Event::Sent { bytes: 100, list: back } = done.event else { panic!("{done:?}") };
        list = back;
        b.read_exact(&mut buffer).unwrap();
        assert_eq!(buffer, [n; 100]);
    }
    ring.send(a.as_raw_fd(), 1, SendList::new());
    assert!(matches!(completion(&ring).event, Event::Sent { bytes: 0, .. }));
    finish(&ring);
}
