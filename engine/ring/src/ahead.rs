//! Reading a range of a file into the page cache, for the sake of the cache alone.

use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use io_uring::opcode;
use io_uring::types::Fd;

use crate::disk::{Count, disk};
use crate::iobuf::IoBuf;
use crate::op::{Pinned, Resource};
use crate::ring::Ring;

/// Where the bytes land: small, so that it stays in the core's own cache.
const SCRATCH_LEN: usize = 64 << 10;
/// Most parts of [`SCRATCH_LEN`] that one call reads.
const PARTS_MAX: usize = 16;

/// Vectors of a read, all of them on the scratch memory.
pub(crate) type Parts = [libc::iovec; PARTS_MAX];

impl Ring {
    /// Most bytes that one [`read_ahead`](Ring::read_ahead) brings in.
    pub const READ_AHEAD_MAX: usize = SCRATCH_LEN * PARTS_MAX;

    /// Brings up to `len` bytes at `offset` of a file into the page cache, at most
    /// [`READ_AHEAD_MAX`](Ring::READ_AHEAD_MAX); the result is how many are there. 0 is the end of the file, and
    /// fewer than asked are possible anywhere.
    ///
    /// It is an ordinary buffered read into memory that all such reads share and nobody looks at. On file systems
    /// that can wait for pages without a thread (ext4, xfs, btrfs) no worker of the kernel takes part, which makes
    /// it several times cheaper than advice on a map. The kernel reads ahead on top of that unless the file was
    /// given [`Advice::Random`](crate::Advice::Random).
    pub fn read_ahead(&self, file: &Arc<OwnedFd>, offset: u64, len: usize) -> Count {
        let scratch = Rc::clone(self.0.scratch.get_or_init(|| Rc::new(IoBuf::with_capacity(SCRATCH_LEN))));
        let len = len.min(Self::READ_AHEAD_MAX);
        let mut parts: Parts = [libc::iovec { iov_base: scratch.spare_ptr().cast(), iov_len: 0 }; PARTS_MAX];
        let mut left = len;
        for part in &mut parts {
            part.iov_len = left.min(SCRATCH_LEN);
            left -= part.iov_len;
        }
        let count = len.div_ceil(SCRATCH_LEN) as u32;
        let parts = Pinned::new(parts);
        let entry = opcode::Readv::new(Fd(file.as_raw_fd()), parts.as_ptr().cast(), count).offset(offset);
        let resource = Resource::ReadAhead { _parts: parts, _scratch: scratch, _file: Arc::clone(file) };
        Count(disk(self, resource, entry.build()))
    }
}
