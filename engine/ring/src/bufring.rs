//! The provided buffers: memory that the kernel fills when bytes arrive, and the loans of it.
//!
//! A buffer is with the kernel, in a completion, or in a [`RecvBuf`]; a `RecvBuf` gives it back when it is
//! dropped. The memory belongs to an `Rc` that each `RecvBuf` shares, so it outlives the ring if need be.

use std::cell::Cell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::mapping::Mapping;

/// The only buffer group of a data ring.
pub(crate) const GROUP: u16 = 0;

/// The buffers and the ring of entries through which the kernel takes them.
pub(crate) struct BufferRing {
    entries: Mapping,
    data: Mapping,
    /// A power of two.
    count: u16,
    buffer_len: u32,
    /// Mirror of the tail that the kernel reads.
    tail: Cell<u16>,
    free: Cell<u32>,
    /// Buffers in use, from the first on; the others were never touched.
    used: Cell<u16>,
    /// Whether the kernel still takes buffers from here.
    registered: Cell<bool>,
}

impl BufferRing {
    /// `count` must be a power of two up to 32768. The first `used` buffers start with the kernel's side of the ring.
    pub(crate) fn new(count: u16, used: u16, buffer_len: u32) -> io::Result<BufferRing> {
        debug_assert!(count.is_power_of_two() && used <= count);
        let too_big = || io::Error::from(io::ErrorKind::OutOfMemory);
        let data_len = usize::from(count).checked_mul(buffer_len as usize).ok_or_else(too_big)?;
        let ring = BufferRing {
            entries: Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?,
            data: Mapping::huge(data_len)?,
            count,
            buffer_len,
            tail: Cell::new(0),
            free: Cell::new(0),
            used: Cell::new(0),
            registered: Cell::new(true),
        };
        ring.use_up_to(used);
        Ok(ring)
    }

    /// Twice as many buffers are in use; false when all were.
    pub(crate) fn grow(&self) -> bool {
        let used = self.used.get();
        self.use_up_to(used.saturating_mul(2).min(self.count));
        self.used.get() > used
    }

    fn use_up_to(&self, used: u16) {
        for id in self.used.replace(used)..used {
            self.give_back(id);
        }
    }

    /// The address to register with the kernel.
    pub(crate) fn address(&self) -> u64 {
        self.entries.ptr().as_ptr().addr() as u64
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    pub(crate) fn buffer_len(&self) -> u32 {
        self.buffer_len
    }

    /// Buffers that the kernel can fill, as far as completions have been read.
    pub(crate) fn free(&self) -> u32 {
        self.free.get()
    }

    /// Buffers put to use.
    pub(crate) fn used(&self) -> u32 {
        self.used.get().into()
    }

    /// The kernel does not take buffers any more: what comes back is only forgotten.
    pub(crate) fn retire(&self) {
        self.registered.set(false);
    }

    fn buffer(&self, id: u16) -> *mut u8 {
        self.data.ptr().as_ptr().wrapping_add(usize::from(id) * self.buffer_len as usize)
    }

    /// Puts buffer `id` at the tail of the ring. Each buffer is there at most once: `use_up_to` puts each in once,
    /// and after that only the drop of the one `RecvBuf` of a buffer calls this.
    fn give_back(&self, id: u16) {
        if !self.registered.get() {
            return;
        }
        let tail = self.tail.get();
        let slot = usize::from(tail & (self.count - 1));
        let base = self.entries.ptr().as_ptr().cast::<BufRingEntry>();
        // SAFETY: `slot < count`, so the entry lies in the mapping, which is page-aligned and zeroed. The
        // kernel never writes there, and does not read this entry before the tail below passes it. The
        // setters leave the field alone that overlays the tail in entry 0.
        unsafe {
            let entry = &mut *base.add(slot);
            entry.set_addr(self.buffer(id).addr() as u64);
            entry.set_len(self.buffer_len);
            entry.set_bid(id);
        }
        let tail = tail.wrapping_add(1);
        self.tail.set(tail);
        self.free.set(self.free.get() + 1);
        debug_assert!(self.free.get() <= u32::from(self.count), "a buffer came back twice");
        // SAFETY: `base` is the first entry of an initialized ring; the tail is an aligned u16 that outlives
        // the reference and is accessed atomically by both sides.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) }.store(tail, Ordering::Release);
    }

    /// Lends out buffer `id`, which a completion says the kernel has filled with `len` bytes.
    pub(crate) fn lend(self: &Rc<Self>, id: u16, len: u32) -> Option<RecvBuf> {
        if id >= self.count {
            return None;
        }
        self.free.set(self.free.get().saturating_sub(1));
        Some(RecvBuf { ring: Rc::clone(self), id, len: len.min(self.buffer_len) })
    }
}

/// Received bytes in a provided buffer, on loan: dropping it gives the buffer back to the kernel.
///
/// It stays valid when its operation, its descriptor and even the [`Ring`](crate::Ring) are gone. Hold few and
/// not for long: while all buffers are out, no connection of the ring receives.
pub struct RecvBuf {
    ring: Rc<BufferRing>,
    id: u16,
    len: u32,
}

impl Deref for RecvBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer is ours from the completion until `give_back`, so nobody writes to it; the
        // mapping was zeroed, so all of it is initialized; `len` is at most the buffer's length.
        unsafe { std::slice::from_raw_parts(self.ring.buffer(self.id), self.len as usize) }
    }
}

impl DerefMut for RecvBuf {
    /// The bytes, to be deciphered where they lie. The kernel does not mind what is in a buffer that it gets back.
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; a buffer has one `RecvBuf` between the completion and `give_back`, and `&mut self` is
        // exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ring.buffer(self.id), self.len as usize) }
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        self.ring.give_back(self.id);
    }
}

impl std::fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvBuf").field("id", &self.id).field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_once_and_are_counted() {
        let ring = Rc::new(BufferRing::new(4, 4, 16).unwrap());
        assert_eq!(ring.free(), 4);
        let held: Vec<_> = (0..4).map(|id| ring.lend(id, 99).unwrap()).collect();
        assert_eq!((ring.free(), held[3].len()), (0, 16));
        drop(held);
        assert_eq!((ring.free(), ring.tail.get()), (4, 8));
        assert!(ring.lend(4, 1).is_none());
    }

    #[test]
    fn it_grows_to_its_size_and_no_further() {
        let ring = Rc::new(BufferRing::new(8, 3, 16).unwrap());
        let held: Vec<_> = (0..3).map(|id| ring.lend(id, 1).unwrap()).collect();
        assert_eq!(ring.free(), 0);
        assert!(ring.grow());
        assert_eq!(ring.free(), 3);
        assert!(ring.grow() && !ring.grow());
        drop(held);
        assert_eq!(ring.free(), 8);
    }

    #[test]
    fn a_loan_outlives_the_registration() {
        let ring = Rc::new(BufferRing::new(2, 2, 8).unwrap());
        let loan = ring.lend(1, 8).unwrap();
        ring.retire();
        drop(ring);
        assert_eq!(&loan[..], [0; 8]);
    }

    #[test]
    fn a_loan_can_be_changed_and_its_neighbours_do_not_notice() {
        let ring = Rc::new(BufferRing::new(2, 2, 8).unwrap());
        let (mut one, other) = (ring.lend(0, 5).unwrap(), ring.lend(1, 8).unwrap());
        one.fill(7);
        assert_eq!((&one[..], &other[..]), ([7; 5].as_slice(), [0; 8].as_slice()));
    }

    #[test]
    fn the_tail_wraps_around() {
        let ring = Rc::new(BufferRing::new(2, 2, 8).unwrap());
        for _ in 0..70_000 {
            drop(ring.lend(0, 1));
        }
        assert_eq!((ring.free(), ring.tail.get()), (2, 70_002u32 as u16));
    }
}
