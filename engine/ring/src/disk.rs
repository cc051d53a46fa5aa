//! Disk operations. Each holds what it uses (descriptor, buffer, map) until the kernel is done with it.

use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};

use crate::future::{Pending, outcome};
use crate::iobuf::{IoBuf, WriteSlice};
use crate::op::Resource;
use crate::ring::Ring;

/// A read or write takes at most this many bytes (the kernel's `MAX_RW_COUNT`); the rest is left to the caller,
/// as with any short read or write.
const TRANSFER_MAX: usize = 0x7fff_f000;

/// The future of [`Ring::read_at`].
#[must_use = "the result tells how much was read"]
pub struct ReadAt(ReadState);

enum ReadState {
    Running(Pending),
    /// The arguments were wrong.
    Refused(Option<IoBuf>),
}

impl Future for ReadAt {
    type Output = (io::Result<usize>, IoBuf);
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            ReadState::Refused(buf) => {
                Poll::Ready((Err(io::ErrorKind::InvalidInput.into()), buf.take().unwrap_or_default()))
            }
            ReadState::Running(pending) => pending.poll(cx).map(|ended| {
                let Resource::Read { buf, .. } = ended.resource else {
                    unreachable!("a read owns its buffer")
                };
                (outcome(ended.result), buf)
            }),
        }
    }
}

/// The future of an operation whose result is a number of bytes.
#[must_use = "the result tells how many bytes it was"]
pub struct Count(pub(crate) Pending);

impl Future for Count {
    type Output = io::Result<usize>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.0.poll(cx).map(|ended| outcome(ended.result))
    }
}

/// The future of an operation that only succeeds or fails.
#[must_use = "the result tells whether it succeeded"]
pub struct Done(Pending);

impl Future for Done {
    type Output = io::Result<()>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(cx).map(|ended| outcome(ended.result).map(drop))
    }
}

impl Ring {
    /// Reads up to `len` bytes at `offset` and appends them to `buf`. 0 is the end of the file; short reads
    /// are possible anywhere. Not for an eventfd: poll that, for a parked loop may not be woken by its write.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `buf` has less than `len` bytes spare.
    pub fn read_at(&self, file: &Arc<OwnedFd>, buf: IoBuf, offset: u64, len: usize) -> ReadAt {
        if len > buf.spare() {
            return ReadAt(ReadState::Refused(Some(buf)));
        }
        let pointer = buf.spare_ptr();
        let entry =
            opcode::Read::new(Fd(file.as_raw_fd()), pointer, len.min(TRANSFER_MAX) as u32).offset(offset);
        let resource = Resource::Read { buf, _file: Arc::clone(file) };
        ReadAt(ReadState::Running(disk(self, resource, entry.build())))
    }

    /// Writes the bytes of `slice` at `offset`; returns how many, which may be fewer.
    pub fn write_at(&self, file: &Arc<OwnedFd>, slice: impl Into<WriteSlice>, offset: u64) -> Count {
        let slice = slice.into();
        let len = slice.len().min(TRANSFER_MAX) as u32;
        let entry = opcode::Write::new(Fd(file.as_raw_fd()), slice.as_ptr(), len).offset(offset);
        Count(disk(self, Resource::Write { _slice: slice, _file: Arc::clone(file) }, entry.build()))
    }

    /// Reserves disk space for `len` bytes at `offset`. `mode` is that of `fallocate(2)`: 0 grows the file,
    /// `FALLOC_FL_KEEP_SIZE` does not. `ENOSPC`, `EOPNOTSUPP` and `EFBIG` are ordinary outcomes.
    pub fn fallocate(&self, file: &Arc<OwnedFd>, mode: i32, offset: u64, len: u64) -> Done {
        let entry = opcode::Fallocate::new(Fd(file.as_raw_fd()), len).offset(offset).mode(mode);
        self.on_file(file, entry.build())
    }

    /// Makes data and metadata durable.
    pub fn fsync(&self, file: &Arc<OwnedFd>) -> Done {
        self.on_file(file, opcode::Fsync::new(Fd(file.as_raw_fd())).build())
    }

    /// Makes data durable, and the metadata that is needed to read it.
    pub fn fdatasync(&self, file: &Arc<OwnedFd>) -> Done {
        let entry = opcode::Fsync::new(Fd(file.as_raw_fd())).flags(FsyncFlags::DATASYNC);
        self.on_file(file, entry.build())
    }

    /// Starts or awaits writeback of a range (`len` 0: to the end); `flags` as in `sync_file_range(2)`. It is no
    /// promise of durability.
    pub fn sync_file_range(&self, file: &Arc<OwnedFd>, offset: u64, len: u32, flags: u32) -> Done {
        let entry = opcode::SyncFileRange::new(Fd(file.as_raw_fd()), len).offset(offset).flags(flags);
        self.on_file(file, entry.build())
    }

    fn on_file(&self, file: &Arc<OwnedFd>, entry: squeue::Entry) -> Done {
        Done(disk(self, Resource::File(Arc::clone(file)), entry))
    }
}

/// Starts an operation that is not one of a socket.
pub(crate) fn disk(ring: &Ring, resource: Resource, entry: squeue::Entry) -> Pending {
    Pending::start(ring, resource, false, |id| [entry.user_data(id.0)])
}
