//! Hashing what is on disk: reads of about 1 MiB, several in flight, hashed in order.

use super::budget::Permit;
use super::confined::Purpose;
use super::disk::{InOrder, read_fully, until, yield_now};
use super::error::StorageError;
use super::limits::{CHUNK_BYTES, VERIFY_READS};
use super::store::TorrentStore;
use ringseed_proto::layout::Layout;
use ringseed_proto::units::PieceIndex;
use ringseed_ring::{IoBuf, Ring, RingConfig, RingError};
use sha1::{Digest, Sha1};
use std::cell::Cell;
use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// How a verification ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Pieces whose data is there and right.
    pub good: u32,
    /// Pieces whose data is missing or wrong.
    pub bad: u32,
    /// The first file that could not be read for another reason than being missing or short, such as a
    /// symbolic link in the way or an error of the disk. Its pieces count as bad.
    pub unreadable: Option<StorageError>,
}

/// A run of bytes read at once: one or more whole pieces, or a part of one.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// First byte in the torrent.
    start: u64,
    length: usize,
}

/// What was read of a stretch.
struct Read {
    stretch: Stretch,
    buf: IoBuf,
    /// Bytes of the stretch that could not be had (zeros stand in for them), ascending.
    holes: Vec<Range<usize>>,
    unreadable: Option<StorageError>,
    _permit: Permit,
}

/// The stretches that cover `pieces`.
fn stretches(layout: &Layout, pieces: Range<u32>) -> impl Iterator<Item = Stretch> + use<> {
    let piece_length = u64::from(layout.piece_length);
    let mut at = u64::from(pieces.start) * piece_length;
    let end = (u64::from(pieces.end) * piece_length).min(layout.total_length);
    // Large pieces in parts of 1 MiB, small ones several at a time; neither crosses the other's edge.
    let chunk = CHUNK_BYTES as u64;
    let many = (chunk / piece_length).max(1) * piece_length;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let rest_of_piece = piece_length - at % piece_length;
        let most = if piece_length > chunk { rest_of_piece.min(chunk) } else { many };
        let length = most.min(end - at);
        let stretch = Stretch { start: at, length: length as usize };
        at += length;
        Some(stretch)
    })
}

/// Follows the stretches in order and tells which pieces are good.
struct Checker {
    piece: u32,
    hasher: Sha1,
    hole: bool,
}

impl TorrentStore {
    /// Hashes a range of pieces and tells `progress` about each, in order. Missing and short files give bad
    /// pieces, not errors. Call [`TorrentStore::forgive`] first when files had failed.
    ///
    /// Works on this thread, letting others run after every MiB; the reads of all verifications together
    /// are bounded.
    ///
    /// # Errors
    /// [`StorageError::Cancelled`] soon after `cancel` was set.
    pub async fn verify(
        &self,
        ring: &Ring,
        pieces: Range<u32>,
        mut progress: impl FnMut(PieceIndex, bool),
        cancel: &Cell<bool>,
    ) -> Result<Verified, StorageError> {
        let pieces = pieces.start..pieces.end.min(self.layout().piece_count());
        let mut todo = stretches(self.layout(), pieces.clone());
        let mut verified = Verified::default();
        let mut checker = Checker { piece: pieces.start, hasher: Sha1::new(), hole: false };
        let mut reads = InOrder::new();
        let mut spare: Vec<IoBuf> = Vec::new();
        loop {
            if cancel.get() {
                return Err(StorageError::Cancelled);
            }
            while reads.len() < VERIFY_READS
                && let Some(stretch) = todo.next()
            {
                // A shorter buffer is the one for the last stretch.
                let buf = spare.pop().filter(|buf| buf.capacity() >= stretch.length);
                let buf = buf.unwrap_or_else(|| IoBuf::with_capacity(stretch.length));
                reads.push(self.read_stretch(ring, stretch, buf));
            }
            let Some(read) = reads.next().await else { return Ok(verified) };
            self.check(&read, &mut checker, |piece, good| {
                *(if good { &mut verified.good } else { &mut verified.bad }) += 1;
                progress(piece, good);
            });
            if verified.unreadable.is_none() {
                verified.unreadable = read.unreadable;
            }
            let mut buf = read.buf;
            buf.clear();
            spare.push(buf);
            yield_now().await;
        }
    }

    fn check(&self, read: &Read, checker: &mut Checker, mut done: impl FnMut(PieceIndex, bool)) {
        let layout = self.layout();
        let mut at = 0;
        while at < read.stretch.length {
            let piece = PieceIndex(checker.piece);
            let end_of_piece = layout.piece_offset(piece) + u64::from(layout.piece_len(piece));
            // Not past the stretch, so it fits.
            let to = ((end_of_piece - read.stretch.start).min(read.stretch.length as u64)) as usize;
            checker.hole |= read.holes.iter().any(|hole| hole.start < to && hole.end > at);
            if !checker.hole {
                checker.hasher.update(&read.buf[at..to]);
            }
            if read.stretch.start + to as u64 == end_of_piece {
                let digest: [u8; 20] = checker.hasher.finalize_reset().into();
                let good = !checker.hole && self.info().piece_hash(piece) == Some(&digest);
                done(piece, good);
                checker.hole = false;
                checker.piece += 1;
            }
            at = to;
        }
    }

    async fn read_stretch(&self, ring: &Ring, stretch: Stretch, mut buf: IoBuf) -> Read {
        let budget = &self.limits().verifying;
        let permit = until(ring, || budget.try_take(stretch.length as u64)).await;
        let mut holes = Vec::new();
        let mut unreadable = None;
        let spans: Vec<_> = self.layout().spans_at(stretch.start, stretch.length as u64).collect();
        for span in spans {
            let end = buf.len() + span.length as usize;
            if span.padding {
                buf.resize(end);
                continue;
            }
            let failure = match self.files.open(span.file, Purpose::Read) {
                Err(StorageError::NotFound { .. }) => None,
                Err(error) => Some(error),
                Ok(file) => {
                    let from = buf.len();
                    let (result, back) =
                        read_fully(ring, &file.fd, buf, span.offset, span.length as usize).await;
                    self.limits().traffic.read_for_verifying((back.len() - from) as u64);
                    buf = back;
                    result
                        .err()
                        .filter(|error| error.kind() != std::io::ErrorKind::UnexpectedEof)
                        .map(|error| StorageError::from_io(&error, "read", self.files.path(span.file)))
                }
            };
            if unreadable.is_none() {
                unreadable = failure;
            }
            if buf.len() < end {
                holes.push(buf.len()..end);
                buf.resize(end);
            }
        }
        Read { stretch, buf, holes, unreadable, _permit: permit }
    }

    /// As [`TorrentStore::verify`] for a thread without an executor: the whole torrent, with a ring of its own.
    /// `progress` returns whether to go on.
    ///
    /// # Errors
    /// When there is no ring to be had. `Ok(None)` when it was stopped.
    pub fn verify_blocking(
        &self,
        mut progress: impl FnMut(PieceIndex, bool) -> bool,
    ) -> Result<Option<Verified>, RingError> {
        let ring = Ring::new(&RingConfig::default())?;
        let cancel = Cell::new(false);
        let all = 0..self.layout().piece_count();
        let work = self.verify(
            &ring,
            all,
            |piece, good| {
                if !progress(piece, good) {
                    cancel.set(true);
                }
            },
            &cancel,
        );
        Ok(block_on(&ring, work).ok())
    }
}

/// Drives a future that waits for nothing but the ring.
pub(super) fn block_on<F: Future>(ring: &Ring, future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    let mut completions = Vec::new();
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        // A future that only yielded has reads in flight, or nothing to wait for.
        if ring.is_idle() {
            continue;
        }
        // An error (EINTR, EBUSY) shows again if it lasts; the completions are what counts.
        let _ = ring.submit_and_wait(Some(std::time::Duration::from_millis(100)));
        ring.drain(&mut completions);
        completions.clear();
    }
}
