//! The parts of a download and a check, each alone on one core: hashing, writing, receiving.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::Path,
    time::Instant,
};

use ringseed_loadtest::affinity::pin_to;
use ringseed_proto::hash;
use sha1::{Digest, Sha1};

const MIB: usize = 1 << 20;

/// CPU and wall seconds of something that one thread did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// CPU seconds of the thread.
    pub cpu: f64,
    /// Seconds that passed.
    pub wall: f64,
}

impl Spent {
    /// What `work` takes on this thread.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn on(work: impl FnOnce() -> io::Result<()>) -> io::Result<Spent> {
        let (began, before) = (Instant::now(), thread_cpu_seconds());
        work()?;
        Ok(Spent { cpu: thread_cpu_seconds() - before, wall: began.elapsed().as_secs_f64() })
    }
}

/// User and system CPU seconds of the calling thread.
fn thread_cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Runs `work` on a thread of core `cpu`.
///
/// # Errors
/// Those of `work`.
///
/// # Panics
/// When `work` does.
pub fn on_core<T: Send>(cpu: usize, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin_to(cpu)?;
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// SHA-1 of `bytes` bytes in pieces of 1 MiB with the `sha1` crate, one after the other.
///
/// # Errors
/// None; the form is that of the other parts.
pub fn hash_single(bytes: u64) -> io::Result<Spent> {
    let pieces = noise(8 * MIB);
    let mut pieces = pieces.chunks(MIB).cycle();
    Spent::on(|| {
        for piece in (0..bytes / MIB as u64).filter_map(|_| pieces.next()) {
            std::hint::black_box(Sha1::digest(piece));
        }
        Ok(())
    })
}

/// The same with as many pieces side by side as the engine takes.
///
/// # Errors
/// None; the form is that of the other parts.
pub fn hash_together(bytes: u64) -> io::Result<Spent> {
    let pieces = noise(8 * MIB);
    let mut groups = pieces.chunks(hash::STREAMS * MIB).cycle();
    Spent::on(|| {
        for group in (0..bytes / (hash::STREAMS * MIB) as u64).filter_map(|_| groups.next()) {
            let pieces: [&[u8]; hash::STREAMS] = std::array::from_fn(|at| &group[at * MIB..][..MIB]);
            std::hint::black_box(hash::digests(pieces));
        }
        Ok(())
    })
}

/// Writes `bytes` bytes to a new file in `dir` whose space is reserved, 1 MiB at a time, and removes it.
///
/// # Errors
/// The directory cannot be written, or is full.
pub fn write(dir: &Path, bytes: u64) -> io::Result<Spent> {
    let path = dir.join("written");
    let data = noise(MIB);
    let spent = Spent::on(|| {
        let file = fs::File::create(&path)?;
        // SAFETY: a plain system call on an open descriptor.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes as i64) } != 0 {
            file.set_len(bytes)?;
        }
        (0..bytes / MIB as u64).try_for_each(|at| file.write_all_at(&data, at * MIB as u64))
    });
    fs::remove_file(path)?;
    spent
}

/// Receives `bytes` bytes over loopback from a thread on core `sender_cpu`, up to 256 KiB at a time.
///
/// # Errors
/// Loopback does not work.
pub fn receive(bytes: u64, sender_cpu: usize) -> io::Result<Spent> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let sender = std::thread::spawn(move || -> io::Result<()> {
        pin_to(sender_cpu)?;
        let data = noise(MIB);
        let mut stream = TcpStream::connect(address)?;
        (0..bytes / MIB as u64).try_for_each(|_| stream.write_all(&data))
    });
    let (mut stream, _) = listener.accept()?;
    let mut buffer = vec![0; 256 << 10];
    let spent = Spent::on(|| {
        let mut left = bytes / MIB as u64 * MIB as u64;
        while left > 0 {
            match stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => left -= n as u64,
            }
        }
        Ok(())
    });
    sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    spent
}

/// Bytes that are not all the same.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 21) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_takes_time() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = 16 << 20;
        let parts = on_core(0, || {
            Ok([hash_single(bytes)?, hash_together(bytes)?, write(dir.path(), bytes)?, receive(bytes, 0)?])
        });
        for part in parts.unwrap() {
            assert!(part.cpu > 0.0 && part.wall > 0.0, "{part:?}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
