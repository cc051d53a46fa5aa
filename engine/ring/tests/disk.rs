//! Disk operations, and what stays alive for them.

mod support;

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use ringseed_ring::{IoBuf, Ring, WriteSlice};
use support::{block_on, finish, pattern, ring};

fn file() -> Arc<OwnedFd> {
    Arc::new(tempfile::tempfile().unwrap().into())
}

fn open(path: &str) -> Arc<OwnedFd> {
    Arc::new(std::fs::File::options().read(true).write(true).open(path).unwrap().into())
}

/// On a file system whose pages can be dropped, unlike those of one in memory.
fn file_on_disk() -> Arc<OwnedFd> {
    Arc::new(tempfile::tempfile_in("/var/tmp").unwrap().into())
}

/// Bytes of the pages of a file, as long as `len`, that are in memory.
fn cached_bytes(file: &Arc<OwnedFd>, len: usize) -> usize {
    let mut flags = vec![0u8; len.div_ceil(4096)];
    // SAFETY: a fresh mapping aliases nothing; `flags` has room for a byte per page; nobody else knows the map.
    unsafe {
        let (protection, fd) = (libc::PROT_READ, file.as_raw_fd());
        let map = libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, fd, 0);
        assert_ne!(map, libc::MAP_FAILED);
        assert_eq!(libc::mincore(map, len, flags.as_mut_ptr()), 0);
        libc::munmap(map, len);
    }
    flags.iter().filter(|flag| **flag & 1 == 1).count() * 4096
}

/// Advice on a whole file.
fn advise(file: &Arc<OwnedFd>, advice: i32) {
    // SAFETY: a call without memory.
    assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) }, 0);
}

fn write(ring: &Ring, file: &Arc<OwnedFd>, data: &[u8], offset: u64) {
    let n = block_on(ring, ring.write_at(file, IoBuf::from_slice(data), offset)).unwrap();
    assert_eq!(n, data.len());
}

#[test]
fn writes_and_reads_at_offsets() {
    let (ring, file) = (ring(1, 8), file());
    let data = pattern(3 << 20);
    let owner = Rc::new(data.clone());
    // Three in flight at once, out of order.
    let parts: Vec<_> = [2usize, 0, 1]
        .map(|n| {
            let range = n << 20..(n + 1) << 20;
            ring.write_at(&file, WriteSlice::from_rc(Rc::clone(&owner), range), (n as u64) << 20)
        })
        .into_iter()
        .collect();
    for part in parts {
        assert_eq!(block_on(&ring, part).unwrap(), 1 << 20);
    }
    assert_eq!(Rc::strong_count(&owner), 1);
    block_on(&ring, ring.sync_file_range(&file, 0, 1 << 20, libc::SYNC_FILE_RANGE_WRITE)).unwrap();
    block_on(&ring, ring.fdatasync(&file)).unwrap();
    block_on(&ring, ring.fsync(&file)).unwrap();
    advise(&file, libc::POSIX_FADV_DONTNEED);
    // Reads append.
    let mut buf = IoBuf::with_capacity(3 << 20);
    while buf.spare() > 0 {
        let (offset, len) = (buf.len() as u64, buf.spare().min(700_000));
        let (read, back) = block_on(&ring, ring.read_at(&file, buf, offset, len));
        assert!(read.unwrap() > 0);
        buf = back;
    }
    assert!(buf.as_slice() == data);
    let (read, buf) = block_on(&ring, ring.read_at(&file, IoBuf::with_capacity(10), 3 << 20, 10));
    assert_eq!((read.unwrap(), buf.len()), (0, 0), "the end of the file");
}

#[test]
fn a_read_beyond_the_buffer_is_refused_and_returns_it() {
    let (ring, file) = (ring(1, 8), file());
    let (read, buf) = block_on(&ring, ring.read_at(&file, IoBuf::from_slice(b"full"), 0, 1));
    assert_eq!((read.unwrap_err().kind(), &buf[..]), (std::io::ErrorKind::InvalidInput, &b"full"[..]));
    assert!(ring.is_idle());
}

#[test]
fn reading_ahead_fills_the_page_cache() {
    let (ring, file) = (ring(1, 8), file_on_disk());
    write(&ring, &file, &pattern(3 << 20), 0);
    block_on(&ring, ring.fsync(&file)).unwrap();
    for (offset, len) in [(0, Ring::READ_AHEAD_MAX), (2 << 20, 16_384), (2 << 20, 100_000)] {
        advise(&file, libc::POSIX_FADV_RANDOM);
        advise(&file, libc::POSIX_FADV_DONTNEED);
        assert_eq!(cached_bytes(&file, 3 << 20), 0);
        let mut done = 0;
        while done < len {
            done += block_on(&ring, ring.read_ahead(&file, offset + done as u64, len - done)).unwrap();
        }
        assert_eq!(cached_bytes(&file, 3 << 20), len.next_multiple_of(4096));
    }
    let more = block_on(&ring, ring.read_ahead(&file, 0, 3 << 20)).unwrap();
    assert!((1..=Ring::READ_AHEAD_MAX).contains(&more));
    assert_eq!(block_on(&ring, ring.read_ahead(&file, 3 << 20, 4096)).unwrap(), 0, "the end of the file");
}

#[test]
fn reads_ahead_end_by_themselves_and_keep_the_file_until_then() {
    let (ring, file) = (ring(1, 8), file_on_disk());
    write(&ring, &file, &pattern(1 << 20), 0);
    let read = ring.read_ahead(&file, 0, 1 << 20);
    ring.submit().unwrap();
    drop(read);
    finish(&ring);
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
fn fallocate_grows_a_file_or_not() {
    let (ring, file) = (ring(1, 8), file());
    let len = || std::fs::File::from(file.try_clone().unwrap()).metadata().unwrap().len();
    block_on(&ring, ring.fallocate(&file, libc::FALLOC_FL_KEEP_SIZE, 0, 1 << 20)).unwrap();
    assert_eq!(len(), 0);
    block_on(&ring, ring.fallocate(&file, 0, 4096, 1 << 20)).unwrap();
    assert_eq!(len(), 4096 + (1 << 20));
}

#[test]
fn a_full_disk_is_an_ordinary_error() {
    let ring = ring(1, 8);
    let full = open("/dev/full");
    let error = block_on(&ring, ring.write_at(&full, IoBuf::from_slice(b"x"), 0)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    // More than any memory file system has.
    let file = file_in_memory();
    match block_on(&ring, ring.fallocate(&file, 0, 0, 1 << 55)) {
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{error}"),
        Ok(()) => panic!("32 PiB were reserved"),
    }
    write(&ring, &file, b"still works", 0);
}

fn file_in_memory() -> Arc<OwnedFd> {
    Arc::new(tempfile::tempfile_in("/dev/shm").unwrap().into())
}

#[test]
fn errors_of_the_kernel_are_reported() {
    let ring = ring(1, 8);
    let directory: Arc<OwnedFd> = Arc::new(std::fs::File::open("/").unwrap().into());
    let (read, buf) = block_on(&ring, ring.read_at(&directory, IoBuf::with_capacity(8), 0, 8));
    assert_eq!((read.unwrap_err().raw_os_error(), buf.capacity()), (Some(libc::EISDIR), 8));
    let read_only: Arc<OwnedFd> = Arc::new(std::fs::File::open("/dev/null").unwrap().into());
    let error = block_on(&ring, ring.write_at(&read_only, IoBuf::from_slice(b"x"), 0)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}

#[test]
fn dropped_futures_leave_their_buffers_to_the_kernel() {
    let ring = ring(1, 8);
    // A pipe that nobody writes to: the read stays in flight.
    let mut ends = [0; 2];
    // SAFETY: fills the two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    let [reader, writer] = ends.map(|fd| {
        // SAFETY: just made, owned by nobody else.
        unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) }
    });
    let reader = Arc::new(reader);
    let read = ring.read_at(&reader, IoBuf::with_capacity(1 << 16), 0, 1 << 16);
    ring.submit().unwrap();
    drop(read);
    assert_eq!((ring.stats().ops, Arc::strong_count(&reader)), (1, 2), "still with the kernel");
    let mut writer = std::fs::File::from(writer);
    writer.write_all(&pattern(1 << 15)).unwrap();
    finish(&ring);
    assert_eq!(Arc::strong_count(&reader), 1);
    // A write whose future goes before it is even submitted still happens, from memory that is still there.
    let file = file();
    let owner = Arc::new(pattern(1 << 20));
    drop(ring.write_at(&file, WriteSlice::from_arc(Arc::clone(&owner), 0..1 << 20), 0));
    assert_eq!(Arc::strong_count(&owner), 2);
    finish(&ring);
    assert_eq!(Arc::strong_count(&owner), 1);
    let mut got = Vec::new();
    std::fs::File::from(Arc::into_inner(file).unwrap()).read_to_end(&mut got).unwrap();
    assert!(got == *owner);
}

#[test]
fn a_dropped_ring_ends_reads_and_writes_first() {
    let ring = ring(1, 8);
    let (stuck, _peer) = support::pair();
    let stuck: Arc<OwnedFd> = Arc::new(stuck.into());
    let file = file();
    let owner = Arc::new(pattern(16 << 20));
    for n in 0..40u64 {
        drop(ring.read_at(&stuck, IoBuf::with_capacity(1 << 16), 0, 1 << 16));
        let slice = WriteSlice::from_arc(Arc::clone(&owner), 0..1 << 20);
        drop(ring.write_at(&file, slice, n << 20));
    }
    drop(ring);
    assert_eq!((Arc::strong_count(&stuck), Arc::strong_count(&file), Arc::strong_count(&owner)), (1, 1, 1));
}

#[test]
fn an_owner_may_use_the_ring_when_it_is_dropped() {
    /// Queues an operation while the ring works on completions.
    struct Nosy(Ring, Vec<u8>);
    impl AsRef<[u8]> for Nosy {
        fn as_ref(&self) -> &[u8] {
            &self.1
        }
    }
    impl Drop for Nosy {
        fn drop(&mut self) {
            drop(self.0.timeout(std::time::Duration::ZERO));
        }
    }
    let (ring, file) = (ring(1, 8), file());
    drop(ring.write_at(&file, WriteSlice::from_rc(Rc::new(Nosy(ring.clone(), pattern(100))), 0..100), 0));
    finish(&ring);
    assert_eq!(ring.stats().ops, 0);
}
