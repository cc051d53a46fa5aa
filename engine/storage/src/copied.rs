//! Blocks that are copied out of their files, for streams that change them before they are sent.
//!
//! A map is only read by the kernel, and so is a file here: the copy is a read of pages that are known to be in memory.

use super::error::StorageError;
use super::store::{Access, TorrentStore};
use ringseed_proto::units::Block;
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;

impl TorrentStore {
    /// Copies a block that is resident into memory of the same length.
    ///
    /// # Errors
    /// Those of [`TorrentStore::push_block`], and [`StorageError::TooManyOpenFiles`] when there is no descriptor for its
    /// file.
    pub fn copy_block(&self, block: &Block, out: &mut [u8]) -> Result<(), StorageError> {
        if !self.layout().contains(block) || out.len() != block.length as usize {
            return Err(StorageError::OutOfRange(*block));
        }
        if self.access() == Access::RingRead {
            return self.loaded.copy_block(block, out);
        }
        let mut rest = out;
        for span in self.layout().spans(block.piece, block.begin, block.length) {
            // A span is not longer than its block.
            let (part, others) = rest.split_at_mut(span.length as usize);
            rest = others;
            if span.padding {
                part.fill(0);
                continue;
            }
            let (_, file) = self.files.map_and_open(span.file, false)?;
            read_exactly(&file.fd, part, span.offset).map_err(|error| self.unreadable(span.file, &error))?;
        }
        Ok(())
    }
}

fn read_exactly(file: &OwnedFd, mut out: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !out.is_empty() {
        match rustix::io::pread(file, &mut *out, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                out = &mut out[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
