//! Anonymous memory straight from the kernel.

use std::io;
use std::ptr::NonNull;

/// Bytes of a huge page on x86-64, and on arm64 with pages of 4 KiB.
pub(crate) const HUGE: usize = 2 << 20;
/// No system of ours has larger small pages.
const PAGE_MAX: usize = 64 << 10;

/// An anonymous private mapping: zeroed, page-aligned, given memory only where it is touched.
pub(crate) struct Mapping {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: a `Mapping` is an address range that it owns. It gives out the address and nothing else: what is read or
// written there is the business of whoever does so.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` can only tell the address.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn new(len: usize) -> io::Result<Mapping> {
        // SAFETY: a fresh anonymous mapping aliases nothing.
        let ptr = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if ptr == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(ptr.cast())
            .map(|ptr| Mapping { ptr, len })
            .ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// As [`Mapping::new`], aligned so that the kernel can use huge pages for it, and asked to. Its length is rounded up
    /// to whole pages.
    pub(crate) fn huge(len: usize) -> io::Result<Mapping> {
        let too_big = || io::Error::from(io::ErrorKind::OutOfMemory);
        let len = len.checked_next_multiple_of(PAGE_MAX).ok_or_else(too_big)?;
        let wide = Mapping::new(len.checked_add(HUGE).ok_or_else(too_big)?)?;
        let start = wide.ptr.as_ptr();
        let before = start.align_offset(HUGE);
        let after = wide.len - len - before;
        let ptr = start.wrapping_add(before);
        std::mem::forget(wide);
        // SAFETY: the two ranges are parts of the mapping just made, with no address of it given out, and are at its
        // ends: `before + len + after` is its length, and `before`, less than `HUGE`, leaves `len` bytes and more. All
        // are multiples of a page.
        unsafe {
            if before > 0 {
                libc::munmap(start.cast(), before);
            }
            if after > 0 {
                libc::munmap(ptr.wrapping_add(len).cast(), after);
            }
            // Advice: where it is not taken there are small pages.
            libc::madvise(ptr.cast(), len, libc::MADV_HUGEPAGE);
        }
        NonNull::new(ptr).map(|ptr| Mapping { ptr, len }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Where it begins.
    pub(crate) fn ptr(&self) -> NonNull<u8> {
        self.ptr
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` or `huge` with this length; the owner drops it only when nobody points into it.
        unsafe { libc::munmap(self.ptr.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_ones_are_aligned_and_theirs_alone() {
        let mappings: Vec<Mapping> =
            [1, 4096, HUGE, 3 * HUGE, HUGE + 4096].map(|len| Mapping::huge(len).unwrap()).into();
        for mapping in &mappings {
            assert_eq!(mapping.ptr.as_ptr().align_offset(HUGE), 0);
            // SAFETY: this test owns the mapping.
            unsafe { mapping.ptr.as_ptr().write_bytes(7, mapping.len) };
        }
        assert!(Mapping::huge(usize::MAX).is_err());
        assert!(Mapping::huge(isize::MAX as usize).is_err());
    }
}
