//! A gather list: what one `SENDMSG` sends, in wire order, and what keeps that memory alive.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// The kernel refuses a message of more segments (`UIO_MAXIOV`); what lies beyond waits for the next send.
pub const SEGMENTS_PER_SEND_MAX: usize = 1024;

/// What keeps the memory of an external segment valid.
type Keep = Arc<dyn Any + Send + Sync>;

/// A run of bytes: either in the list's own storage or somewhere the caller vouches for.
enum Segment {
    /// A range of `SendList::bytes`.
    Own(Range<usize>),
    /// Memory that only the kernel reads. The pointer is never dereferenced by Rust code.
    External { ptr: *const u8, len: usize },
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Segment::Own(range) => range.len(),
            Segment::External { len, .. } => *len,
        }
    }
}

/// An owned gather list whose allocations are reused: `clear` keeps them.
///
/// Small pieces (message headers) are copied in with [`push_bytes`](Self::push_bytes); block data is
/// referenced where it lies with [`push_external`](Self::push_external). The list comes back in
/// [`Event::Sent`](crate::Event::Sent) and [`Event::SendError`](crate::Event::SendError); after a short
/// send, [`advance`](Self::advance) it and send it again.
///
/// One send takes at most [`SEGMENTS_PER_SEND_MAX`] segments; a longer list is sent as if the socket had
/// taken only that much, so the caller that handles short sends needs nothing more.
#[derive(Default)]
pub struct SendList {
    bytes: Vec<u8>,
    segments: VecDeque<Segment>,
    keeps: Vec<Keep>,
    len: usize,
}

impl SendList {
    /// An empty list.
    pub fn new() -> SendList {
        SendList::default()
    }

    /// Copies `data` to the end of the list.
    pub fn push_bytes(&mut self, data: &[u8]) {
        self.bytes_mut(|bytes| bytes.extend_from_slice(data));
    }

    /// Lets `write` append to the list's own bytes, without a copy in between.
    ///
    /// Only appending counts: if `write` shortens the vector, what was pushed earlier is restored as zeros.
    pub fn bytes_mut(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        if end <= start {
            self.bytes.resize(start, 0);
            return;
        }
        self.len = self.len.saturating_add(end - start);
        if let Some(Segment::Own(last)) = self.segments.back_mut()
            && last.end == start
        {
            last.end = end;
        } else {
            self.segments.push_back(Segment::Own(start..end));
        }
    }

    /// Appends `len` bytes at `ptr` without touching them; `keep` is held until the list is cleared.
    ///
    /// Consecutive pushes with the same `keep` clone it once. A segment that begins where the previous one
    /// ends is merged with it.
    ///
    /// # Safety
    ///
    /// As long as a clone of `keep` exists, `ptr..ptr + len` must stay mapped or reserved address space that
    /// no Rust reference mutates. It need not be readable: a page that cannot be faulted in (a truncated
    /// file) makes the send fail with `EFAULT`, or short.
    pub unsafe fn push_external<T: Any + Send + Sync>(&mut self, ptr: *const u8, len: usize, keep: &Arc<T>) {
        if len == 0 {
            return;
        }
        let same = self.keeps.last().is_some_and(|last| Arc::as_ptr(last).cast::<T>() == Arc::as_ptr(keep));
        if !same {
            self.keeps.push(Arc::clone(keep) as Keep);
        }
        self.len = self.len.saturating_add(len);
        if let Some(Segment::External { ptr: last, len: last_len }) = self.segments.back_mut()
            && last.wrapping_add(*last_len) == ptr
        {
            *last_len += len;
        } else {
            self.segments.push_back(Segment::External { ptr, len });
        }
    }

    /// All bytes still to be sent, to be enciphered where they lie; `None` when some lie elsewhere.
    pub fn own_bytes_mut(&mut self) -> Option<&mut [u8]> {
        let mut segments = self.segments.iter();
        match (segments.next(), segments.next()) {
            (None, _) => Some(&mut []),
            // Own bytes that follow each other are one segment.
            (Some(Segment::Own(range)), None) => self.bytes.get_mut(range.clone()),
            _ => None,
        }
    }

    /// Bytes still to be sent.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is left to be sent.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Segments still to be sent, after merging.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Removes the first `n` bytes, which were sent. Removing everything clears the list.
    pub fn advance(&mut self, n: usize) {
        if n >= self.len {
            self.clear();
            return;
        }
        self.len -= n;
        let mut left = n;
        while let Some(front) = self.segments.front_mut() {
            let here = front.len();
            if left >= here {
                left -= here;
                self.segments.pop_front();
                continue;
            }
            match front {
                Segment::Own(range) => range.start += left,
                Segment::External { ptr, len } => {
                    *ptr = ptr.wrapping_add(left);
                    *len -= left;
                }
            }
            break;
        }
    }

    /// Drops all content and what kept it alive; the allocations stay for the next use.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.segments.clear();
        self.keeps.clear();
        self.len = 0;
    }

    /// The external segments still to be sent: offset from the head of the list, address, length in bytes.
    ///
    /// After `EFAULT` the faulty page is in one of the first: the kernel copies a message in chunks and
    /// reports a chunk that failed as a whole, headers included.
    pub fn externals(&self) -> impl Iterator<Item = (usize, *const u8, usize)> {
        self.segments
            .iter()
            .scan(0usize, |offset, segment| {
                let at = *offset;
                *offset += segment.len();
                Some((at, segment))
            })
            .filter_map(|(at, segment)| match segment {
                Segment::Own(_) => None,
                Segment::External { ptr, len } => Some((at, *ptr, *len)),
            })
    }

    /// Fills `iov` with the first [`SEGMENTS_PER_SEND_MAX`] segments.
    ///
    /// The addresses stay valid while this list is neither changed nor dropped; moving it is harmless, for
    /// `bytes` lies on the heap.
    pub(crate) fn gather(&self, iov: &mut Vec<libc::iovec>) {
        iov.clear();
        let base = self.bytes.as_ptr();
        iov.extend(self.segments.iter().take(SEGMENTS_PER_SEND_MAX).map(|segment| match segment {
            Segment::Own(range) => libc::iovec {
                iov_base: base.wrapping_add(range.start).cast_mut().cast(),
                iov_len: range.len(),
            },
            Segment::External { ptr, len } => libc::iovec { iov_base: ptr.cast_mut().cast(), iov_len: *len },
        }));
    }
}

impl std::fmt::Debug for SendList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendList")
            .field("len", &self.len)
            .field("segments", &self.segments.len())
            .field("keeps", &self.keeps.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(list: &SendList) -> Vec<u8> {
        let mut iov = Vec::new();
        list.gather(&mut iov);
        let mut out = Vec::new();
        for v in &iov {
            // SAFETY: the tests push only memory that they own and hold while this runs.
            out.extend_from_slice(unsafe { std::slice::from_raw_parts(v.iov_base.cast::<u8>(), v.iov_len) });
        }
        out
    }

    #[test]
    fn adjacent_externals_merge_and_share_one_keep() {
        let map = Arc::new((0..=255u8).collect::<Vec<_>>());
        let mut list = SendList::new();
        for block in 0..16 {
            // SAFETY: the range lies in `map`, which is never changed.
            unsafe { list.push_external(map.as_ptr().wrapping_add(block * 16), 16, &map) };
        }
        assert_eq!((list.segment_count(), list.len(), Arc::strong_count(&map)), (1, 256, 2));
        list.push_bytes(b"ab");
        list.push_bytes(b"cd");
        // SAFETY: as above.
        unsafe { list.push_external(map.as_ptr(), 1, &map) };
        assert_eq!((list.segment_count(), Arc::strong_count(&map)), (3, 2));
        let mut want = map.to_vec();
        want.extend_from_slice(b"abcd\0");
        assert_eq!(flat(&list), want);
        list.clear();
        assert_eq!(Arc::strong_count(&map), 1);
    }

    #[test]
    fn own_bytes_can_be_changed_when_there_are_no_others() {
        let mut list = SendList::new();
        assert_eq!(list.own_bytes_mut(), Some([].as_mut_slice()));
        list.push_bytes(b"abc");
        list.push_bytes(b"def");
        list.advance(1);
        list.own_bytes_mut().unwrap().make_ascii_uppercase();
        assert_eq!(flat(&list), b"BCDEF");
        let map = Arc::new(b"0123456789".to_vec());
        // SAFETY: in `map`, which is never changed.
        unsafe { list.push_external(map.as_ptr(), 4, &map) };
        assert_eq!(list.own_bytes_mut(), None);
    }

    #[test]
    fn different_keeps_are_all_held() {
        let (a, b) = (Arc::new([1u8; 4]), Arc::new(vec![2u8; 4]));
        let mut list = SendList::new();
        // SAFETY: both arrays outlive the list's use and are never changed.
        unsafe {
            list.push_external(a.as_ptr(), 4, &a);
            list.push_external(b.as_ptr(), 4, &b);
            list.push_external(a.as_ptr(), 4, &a);
        }
        assert_eq!((Arc::strong_count(&a), Arc::strong_count(&b)), (3, 2));
        assert_eq!(flat(&list), [1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn advance_by_every_length_keeps_the_rest() {
        let map = Arc::new(b"0123456789".to_vec());
        let build = || {
            let mut list = SendList::new();
            list.push_bytes(b"head");
            // SAFETY: in `map`, which is never changed.
            unsafe { list.push_external(map.as_ptr(), 4, &map) };
            list.push_bytes(b"xy");
            // SAFETY: in `map`, which is never changed.
            unsafe { list.push_external(map.as_ptr().wrapping_add(5), 3, &map) };
            list
        };
        let all = flat(&build());
        assert_eq!(all, b"head0123xy567");
        for n in 0..=all.len() + 2 {
            let mut list = build();
            list.advance(n);
            assert_eq!(flat(&list), all[n.min(all.len())..], "after {n}");
            assert_eq!(list.len(), all.len().saturating_sub(n));
            // Appending goes on after a partial send.
            list.push_bytes(b"!");
            assert_eq!(flat(&list).last(), Some(&b'!'));
        }
        let mut step = build();
        for n in 0..all.len() {
            assert_eq!(flat(&step), all[n..]);
            step.advance(1);
        }
        assert!(step.is_empty() && step.segment_count() == 0);
    }

    #[test]
    fn a_send_never_takes_more_than_the_kernel_allows() {
        let map = Arc::new(vec![7u8; 4096]);
        let mut list = SendList::new();
        for n in 0..1500 {
            // SAFETY: in `map`, which is never changed.
            unsafe { list.push_external(map.as_ptr().wrapping_add(n * 2), 1, &map) };
        }
        assert_eq!((list.segment_count(), flat(&list).len()), (1500, SEGMENTS_PER_SEND_MAX));
    }

    #[test]
    fn externals_are_located_from_the_head() {
        let map = Arc::new([0u8; 8]);
        let mut list = SendList::new();
        list.push_bytes(b"abc");
        // SAFETY: in `map`, which is never changed.
        unsafe { list.push_external(map.as_ptr(), 8, &map) };
        list.advance(1);
        assert_eq!(list.externals().collect::<Vec<_>>(), [(2, map.as_ptr(), 8)]);
    }
}
