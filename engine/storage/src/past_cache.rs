//! Data that is moved past the page cache, between disk and memory of our own.
//!
//! Blocks are read so for peers who ask for them here and there of more data than fits in memory: nobody wants such a
//! block a second time before the cache has lost it again, and to find room for it there costs the shard more than to
//! read it.
//!
//! Pieces are written so when they come fast and nobody who is connected lacks them: the copy that the cache would get is
//! half of what a write costs, and there is nobody to read it.

use super::disk::until;
use super::error::StorageError;
use super::files::DataFile;
use super::limits::{Allocation, CHUNK_BYTES, PAST_CACHE_WRITE_MIN};
use super::piece_buffers::PieceBuf;
use super::store::{Access, TorrentStore};
use ringseed_proto::units::Block;
use ringseed_ring::{IoBuf, Ring, SendList, WriteSlice};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

/// What offsets, lengths and addresses of such a read or write are multiples of, whatever the disk.
const ALIGNMENT: u64 = 4096;

/// A block in memory of its own.
#[derive(Debug, Default)]
pub struct OwnBlock {
    bytes: IoBuf,
    /// Where the block lies in what was read.
    range: Range<usize>,
}

impl OwnBlock {
    /// Gathers it.
    pub fn push(self: &Arc<Self>, list: &mut SendList) {
        let bytes = self.bytes();
        // SAFETY: `bytes` lies in the buffer of `self`, which is never changed after it was made and lives as long as
        // a clone of the `Arc` that is pushed with it.
        unsafe { list.push_external(bytes.as_ptr(), bytes.len(), self) };
    }

    /// Its bytes, to be copied.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice().get(self.range.clone()).unwrap_or_default()
    }

    /// Bytes of memory that it takes.
    pub fn size(&self) -> usize {
        self.bytes.capacity()
    }
}

impl TorrentStore {
    /// Reads a block past the page cache. `None` when it lies in more than one file or its file system has no such
    /// reads: [`TorrentStore::bring_in`] works always.
    ///
    /// # Errors
    /// When its file is missing, short or unreadable: it is marked as failed.
    pub async fn read_past_cache(
        &self,
        ring: &Ring,
        block: &Block,
    ) -> Result<Option<Arc<OwnBlock>>, StorageError> {
        if !self.layout().contains(block) {
            return Err(StorageError::OutOfRange(*block));
        }
        let mut spans = self.layout().spans(block.piece, block.begin, block.length);
        let (Some(span), None) = (spans.next(), spans.next()) else { return Ok(None) };
        if span.padding || self.access == Access::RingRead {
            return Ok(None);
        }
        let (_, file) = self.files.map_and_open_when_possible(ring, span.file).await?;
        let Some(direct) = file.past_cache(|| self.limits().descriptors.try_lease(0)) else {
            return Ok(None);
        };
        let from = span.offset - span.offset % ALIGNMENT;
        // A block and two pages at most.
        let range = (span.offset - from) as usize..(span.offset - from + span.length) as usize;
        let capacity = range.end.next_multiple_of(ALIGNMENT as usize);
        let budget = &self.limits().read_ahead;
        let _permit = until(ring, || budget.try_take(capacity as u64)).await;
        let mut bytes = IoBuf::with_capacity(capacity);
        while bytes.len() < range.end {
            let (at, left) = (from + bytes.len() as u64, capacity - bytes.len());
            if at % ALIGNMENT != 0 {
                // A short read that does not end where the next may begin.
                return Ok(None);
            }
            let (result, back) = ring.read_at(direct, bytes, at, left).await;
            bytes = back;
            match result {
                Ok(0) => return Err(self.unreadable(span.file, &io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::INTR) => {}
                    // Larger blocks than ours, or a file system that says only now what it cannot do.
                    Some(Errno::INVAL | Errno::OPNOTSUPP) => {
                        file.never_past_cache();
                        return Ok(None);
                    }
                    _ => return Err(self.unreadable(span.file, &error)),
                },
            }
        }
        self.limits().traffic.read_for_serving(bytes.len() as u64);
        Ok(Some(Arc::new(OwnBlock { bytes, range })))
    }

    /// Writes what it can of `length` bytes of `data` from `from` at `offset` of a file past the page cache, from the
    /// first on, and returns how many bytes that was: whole pages, none of less than [`PAST_CACHE_WRITE_MIN`], where file
    /// and memory are not aligned alike, where space is not to be reserved (each write would be an extent of its own),
    /// where the file system has no such writes, or when the disk has enough to do.
    ///
    /// # Errors
    /// Those of the write. Parts may have been written.
    pub(super) async fn write_past_cache(
        &self,
        ring: &Ring,
        file: &DataFile,
        data: &Rc<PieceBuf>,
        from: usize,
        offset: u64,
        length: usize,
    ) -> io::Result<usize> {
        let page = ALIGNMENT as usize;
        let whole = length - length % page;
        let aligned = offset.is_multiple_of(ALIGNMENT) && from.is_multiple_of(page);
        if !aligned || whole < PAST_CACHE_WRITE_MIN || self.limits().allocation != Allocation::Full {
            return Ok(0);
        }
        let Some(direct) = file.past_cache(|| self.limits().descriptors.try_lease(0)) else { return Ok(0) };
        let Some(_permit) = self.limits().past_cache_writes.try_take(whole as u64) else { return Ok(0) };
        let mut done = 0;
        while done < whole {
            let part = from + done..from + whole.min(done + CHUNK_BYTES);
            let slice = WriteSlice::from_rc(Rc::clone(data), part);
            match ring.write_at(direct, slice, offset + done as u64).await {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) if written % page == 0 => done += written,
                // The next write could not begin there.
                Ok(written) => return Ok(done + written - written % page),
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::INTR) => {}
                    Some(Errno::INVAL | Errno::OPNOTSUPP) => {
                        file.never_past_cache();
                        break;
                    }
                    _ => return Err(error),
                },
            }
        }
        Ok(done)
    }
}

/// The same file once more, for what goes past the cache; whatever its name is by now.
pub(super) fn reopen(file: &DataFile) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.fd.as_raw_fd());
    let access = if file.writable { OFlags::RDWR } else { OFlags::RDONLY };
    rustix::fs::open(path, access | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty()).ok()
}
