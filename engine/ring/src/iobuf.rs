//! Buffers for disk operations: an owned page-aligned one to read into, a shared range to write from.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::any::Any;
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use crate::mapping::{HUGE, Mapping};

/// Alignment of every [`IoBuf`]: what `O_DIRECT` asks for on any disk.
const ALIGNMENT: usize = 4096;

/// A page-aligned buffer of fixed capacity, like a `Vec<u8>` that never grows by itself.
///
/// The memory does not move when the value does, so the kernel may fill it while the ring owns the value.
pub struct IoBuf {
    ptr: NonNull<u8>,
    len: usize,
    capacity: usize,
    /// The mapping that the memory is a part of, when it is not an allocation of its own.
    part_of: Option<Arc<Mapping>>,
}

// SAFETY: `IoBuf` owns its allocation, or its part of a mapping, exclusively and has no interior mutability, like
// `Vec<u8>`.
unsafe impl Send for IoBuf {}
// SAFETY: as above; `&IoBuf` only reads.
unsafe impl Sync for IoBuf {}

impl IoBuf {
    /// An empty buffer which can hold `capacity` bytes. A capacity of 0 allocates nothing.
    ///
    /// # Panics
    ///
    /// If `capacity` exceeds `isize::MAX` rounded down to a page, as `Vec::with_capacity` does.
    pub fn with_capacity(capacity: usize) -> IoBuf {
        if capacity == 0 {
            return IoBuf { ptr: NonNull::dangling(), len: 0, capacity: 0, part_of: None };
        }
        let layout = Self::layout(capacity);
        // SAFETY: the layout has a size above zero.
        let ptr = unsafe { alloc(layout) };
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        IoBuf { ptr, len: 0, capacity, part_of: None }
    }

    /// Empty buffers which can hold `capacity` bytes each, in memory that asks for huge pages: as many as fit 2 MiB, one
    /// at least. The kernel finds and locks such memory for a disk in one step where small pages take 512, and the
    /// processor needs fewer translations to copy it. None when `capacity` is 0.
    ///
    /// # Errors
    /// When no memory can be mapped.
    pub fn several(capacity: usize) -> io::Result<Vec<IoBuf>> {
        if capacity == 0 {
            return Ok(Vec::new());
        }
        let too_big = || io::Error::from(io::ErrorKind::OutOfMemory);
        let stride = capacity.checked_next_multiple_of(ALIGNMENT).ok_or_else(too_big)?;
        let count = (HUGE / stride).max(1);
        let mapping = Arc::new(Mapping::huge(count * stride)?);
        let part = |at: usize| {
            // SAFETY: `count` parts of `stride` bytes are the whole mapping.
            let ptr = unsafe { mapping.ptr().add(at * stride) };
            IoBuf { ptr, len: 0, capacity, part_of: Some(Arc::clone(&mapping)) }
        };
        Ok((0..count).map(part).collect())
    }

    /// Whether it is one of [`IoBuf::several`].
    pub fn is_one_of_several(&self) -> bool {
        self.part_of.is_some()
    }

    /// A copy of `data`.
    pub fn from_slice(data: &[u8]) -> IoBuf {
        let mut buf = IoBuf::with_capacity(data.len());
        buf.extend_from_slice(data);
        buf
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, ALIGNMENT).expect("capacity fits the address space")
    }

    /// Bytes filled.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is filled.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that still fit.
    pub fn spare(&self) -> usize {
        self.capacity - self.len
    }

    /// The filled bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are initialized (kept by every function that raises `len`).
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The filled bytes, mutable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }

    /// Appends as much of `data` as fits; returns how many bytes that was.
    pub fn extend_from_slice(&mut self, data: &[u8]) -> usize {
        let n = data.len().min(self.spare());
        // SAFETY: `n` bytes fit behind `len`; `data` cannot overlap memory that `&mut self` owns.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.ptr.as_ptr().add(self.len), n) };
        self.len += n;
        n
    }

    /// Sets the length to `len`, at most the capacity; bytes that were not filled become zero.
    pub fn resize(&mut self, len: usize) {
        let len = len.min(self.capacity);
        if len > self.len {
            // SAFETY: `self.len..len` lies within the capacity.
            unsafe { std::ptr::write_bytes(self.ptr.as_ptr().add(self.len), 0, len - self.len) };
        }
        self.len = len;
    }

    /// Shortens to `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Empties the buffer; the memory stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Where the next byte goes.
    pub(crate) fn spare_ptr(&self) -> *mut u8 {
        self.ptr.as_ptr().wrapping_add(self.len)
    }

    /// Declares `n` more bytes filled.
    ///
    /// # Safety
    ///
    /// `n <= self.spare()`, and the kernel has written that many bytes at `spare_ptr`.
    pub(crate) unsafe fn filled(&mut self, n: usize) {
        debug_assert!(n <= self.spare());
        self.len += n;
    }
}

impl Default for IoBuf {
    fn default() -> IoBuf {
        IoBuf::with_capacity(0)
    }
}

impl Drop for IoBuf {
    fn drop(&mut self) {
        if let Some(mapping) = &self.part_of {
            if Arc::strong_count(mapping) > 1 {
                let bytes = self.capacity.next_multiple_of(ALIGNMENT);
                // The other parts may live for long. Where pages are larger than a part the kernel refuses it.
                // SAFETY: this part of the mapping, rounded up as `several` did, is nobody else's and not used again.
                unsafe { libc::madvise(self.ptr.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
            }
        } else if self.capacity > 0 {
            // SAFETY: allocated in `with_capacity` with this very layout, freed only here.
            unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.capacity)) }
        }
    }
}

impl Deref for IoBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for IoBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

impl AsRef<[u8]> for IoBuf {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl std::fmt::Debug for IoBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IoBuf").field("len", &self.len).field("capacity", &self.capacity).finish()
    }
}

/// A range of shared bytes to be written: the owner stays alive and unchanged until the write has ended.
pub struct WriteSlice {
    ptr: *const u8,
    len: usize,
    /// Never read: it exists to be dropped after the write.
    _owner: Owner,
}

/// The two kinds of shared ownership that a write can hold.
enum Owner {
    Local(#[expect(dead_code, reason = "held for its drop")] Rc<dyn Any>),
    Shared(#[expect(dead_code, reason = "held for its drop")] Arc<dyn Any + Send + Sync>),
}

impl WriteSlice {
    /// The bytes `range` of `owner`.
    ///
    /// # Panics
    ///
    /// If the range lies outside, as indexing does.
    pub fn from_rc<T: AsRef<[u8]> + 'static>(owner: Rc<T>, range: Range<usize>) -> WriteSlice {
        // The borrow that `as_ref` takes is in effect held until the write ends: the clone of `owner` makes
        // sure that nobody gets `&mut T` or drops it meanwhile.
        let (ptr, len) = Self::parts(&(*owner).as_ref()[range]);
        WriteSlice { ptr, len, _owner: Owner::Local(owner) }
    }

    /// The bytes `range` of `owner`.
    ///
    /// # Panics
    ///
    /// If the range lies outside, as indexing does.
    pub fn from_arc<T: AsRef<[u8]> + Any + Send + Sync>(owner: Arc<T>, range: Range<usize>) -> WriteSlice {
        let (ptr, len) = Self::parts(&(*owner).as_ref()[range]);
        WriteSlice { ptr, len, _owner: Owner::Shared(owner) }
    }

    fn parts(bytes: &[u8]) -> (*const u8, usize) {
        (bytes.as_ptr(), bytes.len())
    }

    /// Bytes to be written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.ptr
    }
}

impl From<IoBuf> for WriteSlice {
    fn from(buf: IoBuf) -> WriteSlice {
        let all = 0..buf.len();
        WriteSlice::from_rc(Rc::new(buf), all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_to_its_capacity_and_no_further() {
        let mut buf = IoBuf::with_capacity(10);
        assert_eq!(buf.extend_from_slice(b"0123456"), 7);
        assert_eq!(buf.extend_from_slice(b"789ab"), 3);
        assert_eq!(&buf[..], b"0123456789");
        assert_eq!(buf.as_slice().as_ptr().addr() % ALIGNMENT, 0);
        buf.truncate(2);
        buf.resize(4);
        assert_eq!(&buf[..], b"01\0\0");
        buf.resize(100);
        assert_eq!(buf.len(), 10);
        assert!(IoBuf::default().is_empty());
    }

    #[test]
    fn several_lie_apart_and_live_on_their_own() {
        for (capacity, count) in [(4096, 512), (10_000, 170), (1 << 20, 2), (3 << 20, 1)] {
            let mut bufs = IoBuf::several(capacity).unwrap();
            assert_eq!(bufs.len(), count, "{capacity}");
            for (number, buf) in bufs.iter_mut().enumerate() {
                assert!(buf.is_one_of_several() && buf.is_empty() && buf.capacity() == capacity);
                assert_eq!(buf.as_slice().as_ptr().addr() % ALIGNMENT, 0);
                buf.resize(capacity);
                buf.fill(number as u8);
            }
            let last = bufs.pop().unwrap();
            for (number, buf) in bufs.iter().enumerate() {
                assert!(buf.iter().all(|&byte| byte == number as u8));
            }
            drop(bufs);
            assert!(last.iter().all(|&byte| byte == (count - 1) as u8));
        }
        assert!(IoBuf::several(0).unwrap().is_empty());
        assert!(IoBuf::several(usize::MAX).is_err());
    }

    #[test]
    fn a_write_slice_keeps_its_owner() {
        let owner = Rc::new(vec![1u8, 2, 3]);
        let slice = WriteSlice::from_rc(Rc::clone(&owner), 1..3);
        assert_eq!((slice.len(), Rc::strong_count(&owner)), (2, 2));
        assert_eq!(slice.as_ptr(), owner[1..].as_ptr());
        drop(slice);
        assert_eq!(Rc::strong_count(&owner), 1);
    }
}
