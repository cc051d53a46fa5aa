//! Hashing what is on disk: reads of about 1 MiB, several in flight, two pieces side by side.

use super::budget::Bytes;
use super::confined::Purpose;
use super::disk::{InOrder, read_fully, until};
use super::error::StorageError;
use super::hashing::HASH_SLICE;
use super::limits::{CHUNK_BYTES, VERIFY_READS};
use super::piece_ranges::PieceRanges;
use super::store::TorrentStore;
use ringseed_proto::hash::{Hasher, update_together};
use ringseed_proto::layout::Layout;
use ringseed_proto::units::PieceIndex;
use ringseed_ring::executor::give_way;
use ringseed_ring::{IoBuf, Ring, RingConfig, RingError};
use std::cell::RefCell;
use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::task::{Context, Poll, Wake, Waker};

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

impl Verified {
    /// Takes what another thread found of the same torrent.
    fn merge(&mut self, other: Verified) {
        self.good += other.good;
        self.bad += other.bad;
        if self.unreadable.is_none() {
            self.unreadable = other.unreadable;
        }
    }
}

/// A run of bytes read at once: one or more whole pieces, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// The stretches that cover `pieces`, in an order in which neighbours belong to two pieces: small pieces come
/// several at a time, of large ones two in turns.
fn stretches(layout: &Layout, pieces: Range<u32>) -> Vec<Stretch> {
    let piece_length = u64::from(layout.piece_length);
    let chunk = CHUNK_BYTES as u64;
    let per_stretch = pieces_per_stretch(layout);
    let mut all = Vec::new();
    let whole = |first: u32, count: u32| {
        let start = u64::from(first) * piece_length;
        let end = u64::from(first.saturating_add(count).min(pieces.end)) * piece_length;
        start..end.min(layout.total_length)
    };
    let part = |range: &Range<u64>, at: u64| {
        let length = range.end.saturating_sub(range.start + at).min(chunk);
        (length > 0).then_some(Stretch { start: range.start + at, length: length as usize })
    };
    for first in pieces.clone().step_by(2 * per_stretch as usize) {
        let pair = [whole(first, per_stretch), whole(first.saturating_add(per_stretch), per_stretch)];
        let longest = pair.iter().map(|range| range.end.saturating_sub(range.start)).max().unwrap_or(0);
        for at in (0..longest).step_by(CHUNK_BYTES) {
            all.extend(pair.iter().filter_map(|range| part(range, at)));
        }
    }
    all
}

/// Pieces that are read at once: as many as fit 1 MiB, but one at least.
pub(super) fn pieces_per_stretch(layout: &Layout) -> u32 {
    (CHUNK_BYTES as u32 / layout.piece_length.max(1)).max(1)
}

/// A piece that is hashed to a part of it.
struct Open {
    piece: PieceIndex,
    hasher: Hasher,
    hole: bool,
}

/// The next bytes of one read: all of one piece.
struct Segment {
    range: Range<usize>,
    open: Open,
    /// The piece ends here.
    last: bool,
}

/// Follows the reads and tells which pieces are good.
struct Checker<'a> {
    store: &'a TorrentStore,
    /// At most two.
    open: Vec<Open>,
}

impl Checker<'_> {
    /// The bytes of `read` from `at`, up to the end of a piece or of a slice.
    fn segment(&mut self, read: &Read, at: usize) -> Option<Segment> {
        let layout = self.store.layout();
        let left = read.stretch.length.checked_sub(at).filter(|left| *left > 0)?;
        let start = read.stretch.start + at as u64;
        // Within the torrent, so it fits.
        let piece = PieceIndex((start / u64::from(layout.piece_length)) as u32);
        let end_of_piece = layout.piece_offset(piece) + u64::from(layout.piece_len(piece));
        let length = (end_of_piece - start).min(left.min(HASH_SLICE) as u64) as usize;
        let range = at..at + length;
        let begun = self.open.iter().position(|open| open.piece == piece);
        let mut open = match begun {
            Some(index) => self.open.swap_remove(index),
            None => Open { piece, hasher: Hasher::new(), hole: false },
        };
        open.hole |= read.holes.iter().any(|hole| hole.start < range.end && hole.end > range.start);
        Some(Segment { range, open, last: start + length as u64 == end_of_piece })
    }

    fn end(&mut self, segment: Segment, done: &mut impl FnMut(PieceIndex, bool)) {
        let Segment { open, last, .. } = segment;
        if last {
            let digest = open.hasher.finish();
            done(open.piece, !open.hole && self.store.info().verify(open.piece, &digest));
        } else {
            self.open.push(open);
        }
    }

    /// Hashes one read, or two of different pieces side by side.
    async fn check(
        &mut self,
        first: &Read,
        second: Option<&Read>,
        mut done: impl FnMut(PieceIndex, bool),
        cancelled: impl Fn() -> bool,
    ) -> Result<(), StorageError> {
        let mut at = [0, 0];
        let mut since_yield = 0;
        loop {
            let one = self.segment(first, at[0]);
            let two = second.and_then(|read| self.segment(read, at[1]));
            at[0] += one.as_ref().map_or(0, |segment| segment.range.len());
            at[1] += two.as_ref().map_or(0, |segment| segment.range.len());
            since_yield += one.as_ref().or(two.as_ref()).map_or(0, |segment| segment.range.len());
            match (one, second, two) {
                (Some(mut one), Some(second), Some(mut two)) => {
                    let (bytes_one, bytes_two) =
                        (&first.buf[one.range.clone()], &second.buf[two.range.clone()]);
                    update_together(&mut [
                        (&mut one.open.hasher, bytes_one),
                        (&mut two.open.hasher, bytes_two),
                    ]);
                    self.end(one, &mut done);
                    self.end(two, &mut done);
                }
                (Some(mut one), _, _) => {
                    one.open.hasher.update(&first.buf[one.range.clone()]);
                    self.end(one, &mut done);
                }
                (None, Some(second), Some(mut two)) => {
                    two.open.hasher.update(&second.buf[two.range.clone()]);
                    self.end(two, &mut done);
                }
                _ => return Ok(()),
            }
            if since_yield >= HASH_SLICE {
                since_yield = 0;
                give_way().await;
                if cancelled() {
                    return Err(StorageError::Cancelled);
                }
            }
        }
    }
}

impl TorrentStore {
    /// Hashes the ranges of pieces that `claim` gives until it gives none, and tells `progress` about each piece,
    /// in about their order. Missing and short files give bad pieces, not errors. Call
    /// [`TorrentStore::forgive`] first when files had failed.
    ///
    /// Works on this thread, letting others run after every half MiB. Several threads may share one `claim`
    /// ([`PieceRanges`]). At most eight reads of 1 MiB are held; those in flight are bounded for each device over
    /// all verifications of the process.
    ///
    /// # Errors
    /// [`StorageError::Cancelled`] soon after `cancelled` is true.
    pub async fn verify(
        &self,
        ring: &Ring,
        mut claim: impl FnMut() -> Option<Range<u32>>,
        mut progress: impl FnMut(PieceIndex, bool),
        cancelled: impl Fn() -> bool,
    ) -> Result<Verified, StorageError> {
        let count = self.layout().piece_count();
        let budget = self.limits().verifying.of(self.files.root.device());
        let spare = RefCell::new(Vec::new());
        let mut todo = Vec::new().into_iter();
        let mut next_stretch = || loop {
            if let Some(stretch) = todo.next() {
                return Some(stretch);
            }
            let range = claim()?;
            todo = stretches(self.layout(), range.start..range.end.min(count)).into_iter();
        };
        let mut verified = Verified::default();
        let mut checker = Checker { store: self, open: Vec::new() };
        let mut reads = InOrder::new();
        let mut held = None;
        loop {
            if cancelled() {
                return Err(StorageError::Cancelled);
            }
            while reads.len() < VERIFY_READS
                && let Some(stretch) = next_stretch()
            {
                reads.push(self.read_stretch(ring, stretch, &budget, &spare));
            }
            let first = match held.take() {
                Some(read) => read,
                None => match reads.next().await {
                    Some(read) => read,
                    None => return Ok(verified),
                },
            };
            let second: Option<Read> = reads.next().await;
            // Two parts of one piece follow each other.
            let second = match second {
                Some(second) if self.same_piece(first.stretch, second.stretch) => {
                    held = Some(second);
                    None
                }
                second => second,
            };
            let done = |piece, good| {
                *(if good { &mut verified.good } else { &mut verified.bad }) += 1;
                progress(piece, good);
            };
            checker.check(&first, second.as_ref(), done, &cancelled).await?;
            for read in [Some(first), second].into_iter().flatten() {
                if verified.unreadable.is_none() {
                    verified.unreadable = read.unreadable;
                }
                spare.borrow_mut().push(read.buf);
            }
        }
    }

    fn same_piece(&self, first: Stretch, second: Stretch) -> bool {
        let length = u64::from(self.layout().piece_length);
        first.start / length == second.start / length
    }

    async fn read_stretch(
        &self,
        ring: &Ring,
        stretch: Stretch,
        budget: &Arc<Bytes>,
        spare: &RefCell<Vec<IoBuf>>,
    ) -> Read {
        let _permit = until(ring, || budget.try_take(stretch.length as u64)).await;
        // One that is too small is the last stretch's; there is none smaller before it.
        let recycled = spare.borrow_mut().pop().filter(|buf| buf.capacity() >= stretch.length);
        let mut buf = recycled.unwrap_or_else(|| IoBuf::with_capacity(stretch.length));
        buf.clear();
        let mut holes = Vec::new();
        let mut unreadable = None;
        let spans: Vec<_> = self.layout().spans_at(stretch.start, stretch.length as u64).collect();
        for span in spans {
            let end = buf.len() + span.length as usize;
            if span.padding {
                buf.resize(end);
                continue;
            }
            let failure = match self.files.open_when_possible(ring, span.file, Purpose::Read).await {
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
        Read { stretch, buf, holes, unreadable }
    }

    /// As [`TorrentStore::verify`] for a thread without an executor: the whole torrent, on `threads` further
    /// threads with a ring each. `progress` runs on this one and returns whether to go on.
    ///
    /// # Errors
    /// When there is no ring to be had. `Ok(None)` when it was stopped.
    pub fn verify_blocking(
        &self,
        threads: usize,
        mut progress: impl FnMut(PieceIndex, bool) -> bool,
    ) -> Result<Option<Verified>, RingError> {
        let ranges = PieceRanges::new(self.layout());
        let cancelled = AtomicBool::new(false);
        let (sender, found) = sync_channel(1024);
        let work = |sender: SyncSender<(PieceIndex, bool)>| -> Result<Option<Verified>, RingError> {
            let ring = Ring::new(&RingConfig::default())?;
            let tell = |piece, good| {
                // The other end stays until this thread has ended.
                let _ = sender.send((piece, good));
            };
            let work = self.verify(&ring, || ranges.claim(), tell, || cancelled.load(Ordering::Relaxed));
            Ok(block_on(&ring, work).ok())
        };
        std::thread::scope(|scope| {
            let started: Vec<_> = (0..threads.max(1))
                .map(|_| {
                    let sender = sender.clone();
                    scope.spawn(move || work(sender))
                })
                .collect();
            drop(sender);
            for (piece, good) in found {
                if !progress(piece, good) {
                    cancelled.store(true, Ordering::Relaxed);
                }
            }
            let mut all = Some(Verified::default());
            for thread in started {
                // A panic goes on in the caller.
                match thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))? {
                    Some(part) => {
                        all = all.map(|mut sum| {
                            sum.merge(part);
                            sum
                        })
                    }
                    None => all = None,
                }
            }
            Ok(all)
        })
    }
}

/// Remembers that a future wants to be polled again at once.
#[derive(Default)]
struct Again(AtomicBool);

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Drives a future that waits for nothing but the ring.
pub(super) fn block_on<F: Future>(ring: &Ring, future: F) -> F::Output {
    let mut future = pin!(future);
    let again = Arc::new(Again::default());
    let waker = Waker::from(Arc::clone(&again));
    let mut context = Context::from_waker(&waker);
    let mut completions = Vec::new();
    loop {
        again.0.store(false, Ordering::Relaxed);
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        // One that only let others run goes on; what it asked for is begun meanwhile.
        // An error (EINTR, EBUSY) shows again if it lasts; the completions are what counts.
        let _ = match again.0.load(Ordering::Relaxed) || ring.is_idle() {
            true => ring.submit(),
            false => ring.submit_and_wait(Some(std::time::Duration::from_millis(100))),
        };
        ring.drain(&mut completions);
        completions.clear();
    }
}
