//! Blocks read past the page cache, into memory of their own.
//!
//! For peers who ask for blocks here and there of more data than fits in memory: nobody wants such a block a second time
//! before the cache has lost it again, and to find room for it there costs the shard more than to read it.

use super::disk::until;
use super::error::StorageError;
use super::files::DataFile;
use super::store::{Access, TorrentStore};
use ringseed_proto::units::Block;
use ringseed_ring::{IoBuf, Ring, SendList};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// What offsets, lengths and addresses of such a read are multiples of, whatever the disk.
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
        let Some(bytes) = self.bytes.as_slice().get(self.range.clone()) else { return };
        // SAFETY: `bytes` lies in the buffer of `self`, which is never changed after it was made and lives as long as
        // a clone of the `Arc` that is pushed with it.
        unsafe { list.push_external(bytes.as_ptr(), bytes.len(), self) };
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
        let (_, file) = self.files.map_and_open(span.file)?;
        let Some(direct) = file.past_cache(|| self.limits().descriptors.lease(0)) else { return Ok(None) };
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
}

/// The same file once more, for reads past the cache; whatever its name is by now.
pub(super) fn reopen(file: &DataFile) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.fd.as_raw_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty()).ok()
}
