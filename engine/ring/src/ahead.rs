//! Reading a range of a file into the page cache, for the sake of the cache alone.

use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use io_uring::opcode;
use io_uring::types::Fd;

use crate::disk::{Count, disk};
use crate::iobuf::IoBuf;
use crate::op::Resource;
use crate::ring::Ring;

impl Ring {
    /// Most bytes that one [`read_ahead`](Ring::read_ahead) brings in: the thread copies as much when it ends and finds
    /// pages for as much when it begins, which must not take long, for others wait; and it stays in the core's own cache.
    pub const READ_AHEAD_MAX: usize = 128 << 10;

    /// Brings up to `len` bytes at `offset` of a file into the page cache, at most
    /// [`READ_AHEAD_MAX`](Ring::READ_AHEAD_MAX); the result is how many are there. 0 is the end of the file, and
    /// fewer than asked are possible anywhere.
    ///
    /// It is an ordinary buffered read into memory that all such reads share and nobody looks at. On file systems
    /// that can wait for pages without a thread (ext4, xfs, btrfs) no worker of the kernel takes part, which makes
    /// it several times cheaper than advice on a map. The kernel reads ahead on top of that unless the file was
    /// given `POSIX_FADV_RANDOM`.
    pub fn read_ahead(&self, file: &Arc<OwnedFd>, offset: u64, len: usize) -> Count {
        let make = || Rc::new(IoBuf::with_capacity(Self::READ_AHEAD_MAX));
        let scratch = Rc::clone(self.0.scratch.get_or_init(make));
        let len = len.min(Self::READ_AHEAD_MAX) as u32;
        let entry = opcode::Read::new(Fd(file.as_raw_fd()), scratch.spare_ptr(), len).offset(offset);
        let resource = Resource::ReadAhead { _scratch: scratch, _file: Arc::clone(file) };
        Count(disk(self, resource, entry.build()))
    }
}
