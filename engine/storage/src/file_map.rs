//! A read-only map of one file whose memory only the kernel ever reads.
//!
//! Rust code must not touch a page of it: the file may be truncated at any moment, and a load then raises
//! SIGBUS, which kills the process. The kernel reading the same page reports `EFAULT` instead. So nothing
//! here gives out a slice or a reference, only addresses.

use super::budget::Lease;
use super::confined::FileStamp;
use memmap2::{Advice, MmapOptions, MmapRaw};
use ringseed_ring::SendList;
use rustix::fs::Stat;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// The identity of a file on disk, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(stat: &Stat) -> FileId {
        FileId { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// One mapped file. Shared by `Arc`: a send that gathers from it holds it until the kernel is done.
#[derive(Debug)]
pub(super) struct FileMap {
    map: MmapRaw,
    pub(super) id: FileId,
    /// As the file was when it was mapped.
    pub(super) stamp: FileStamp,
    /// Whether `mincore` tells the truth: for files that this user may neither own nor write it says
    /// "resident" to everything.
    pub(super) mincore_is_true: bool,
    _lease: Lease,
}

/// Bytes of a page.
fn page_size() -> usize {
    rustix::param::page_size()
}

impl FileMap {
    /// Maps the first `length` bytes of a file, which must be at least as long and not empty.
    pub(super) fn new(
        fd: &OwnedFd,
        stat: &Stat,
        length: usize,
        mincore_is_true: bool,
        lease: Lease,
    ) -> io::Result<FileMap> {
        let map = MmapOptions::new().len(length).map_raw_read_only(fd.as_raw_fd())?;
        // What is needed is brought in by the piece; a fault must not read around itself on top of that.
        map.advise(Advice::Random)?;
        Ok(FileMap { map, id: FileId::of(stat), stamp: FileStamp::of(stat), mincore_is_true, _lease: lease })
    }

    /// Gathers a range without touching it.
    ///
    /// Nothing is pushed and false is returned when the range does not lie in the map.
    pub(super) fn push(self: &Arc<Self>, offset: u64, length: u64, list: &mut SendList) -> bool {
        let Some((address, length)) = self.range(offset, length) else { return false };
        // SAFETY: `range` checked that the bytes lie in the map, which stays mapped (and is never mutated
        // through any reference: it is read-only and has no slice) as long as a clone of `self` exists.
        unsafe { list.push_external(address, length, self) };
        true
    }

    /// The address of a range. Not to be dereferenced.
    fn range(&self, offset: u64, length: u64) -> Option<(*const u8, usize)> {
        let end = offset.checked_add(length)?;
        if end > self.map.len() as u64 {
            return None;
        }
        // Both fit, for the length of the map does.
        Some((self.map.as_ptr().wrapping_add(offset as usize), length as usize))
    }

    /// The whole pages around a range, for calls that want pages.
    pub(super) fn pages(&self, offset: u64, length: u64) -> Option<PageRange> {
        let (address, length) = self.range(offset, length)?;
        let page = page_size();
        let before = address.addr() % page;
        // A map begins on a page, so `before` stays inside it; its last page is mapped as a whole.
        Some(PageRange {
            address: address.wrapping_sub(before),
            length: (length + before).next_multiple_of(page),
        })
    }

    /// Whether every page of the range is in memory.
    pub(super) fn is_resident(&self, offset: u64, length: u64) -> bool {
        self.mincore_is_true
            && self.pages_in_memory(offset, length, |flags| flags.iter().all(|flag| flag & 1 != 0))
    }

    /// Bytes of the range, in whole pages, that are not in memory; all of them where that cannot be known.
    pub(super) fn absent_bytes(&self, offset: u64, length: u64) -> u64 {
        let mut absent = 0;
        let known = self.pages_in_memory(offset, length, |flags| {
            absent += flags.iter().filter(|flag| **flag & 1 == 0).count() as u64 * page_size() as u64;
            true
        });
        if known && self.mincore_is_true { absent } else { length }
    }

    /// Tells `look` which pages of the range are in memory, part by part in order, the lowest bit of a byte per
    /// page, for as long as it returns true. Returns whether it did to the end.
    fn pages_in_memory(&self, offset: u64, length: u64, mut look: impl FnMut(&[u8]) -> bool) -> bool {
        /// Pages asked about at once: 8 MiB with the small pages.
        const PAGES: usize = 2048;
        let Some(pages) = self.pages(offset, length) else { return false };
        let page = page_size();
        let mut flags = [0u8; PAGES];
        let mut done = 0;
        while done < pages.length {
            let bytes = (pages.length - done).min(PAGES * page);
            let address = pages.address.wrapping_add(done).cast_mut().cast();
            // SAFETY: `flags` has room for one byte per page of `bytes`; the range is inside our map, and
            // `mincore` reads the page tables, not the pages.
            let result = unsafe { libc::mincore(address, bytes, flags.as_mut_ptr()) };
            if result != 0 || !look(&flags[..bytes.div_ceil(page)]) {
                return false;
            }
            done += bytes;
        }
        true
    }
}

/// Page-aligned address space inside a map. Not to be dereferenced.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageRange {
    pub(super) address: *const u8,
    pub(super) length: usize,
}
