//! Operations in flight: what each owns until its terminal completion, and what that completion means.
//!
//! Everything the kernel reads or writes for an operation is owned by its [`Op`] in the slab: it is freed only
//! after the terminal completion, whether or not anybody still waits for the result.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use io_uring::cqueue;
use io_uring::types::Timespec;

use crate::bufring::BufferRing;
use crate::event::{Completion, Event, OpId, RingStats};
use crate::iobuf::{IoBuf, WriteSlice};
use crate::sendlist::SendList;
use crate::slab::{self, Slab};

/// Messages kept for reuse; more sends in flight than this allocate again.
const MESSAGE_POOL_MAX: usize = 4096;

/// A value on the heap that the kernel holds a pointer to.
///
/// Like a `Box`, but moving it asserts nothing about who else reads the memory.
pub(crate) struct Pinned<T>(NonNull<T>);

impl<T> Pinned<T> {
    pub(crate) fn new(value: T) -> Pinned<T> {
        Pinned(NonNull::from(Box::leak(Box::new(value))))
    }

    pub(crate) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }

    /// # Safety
    ///
    /// No operation that uses the value is in flight.
    pub(crate) unsafe fn get_mut(&mut self) -> &mut T {
        // SAFETY: allocated in `new`, freed only in `drop`; exclusive because of `&mut self` and because the
        // caller says that the kernel is done with it.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        // SAFETY: came from a `Box` in `new`; the owner drops it only when the kernel is done with it.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// One gathered send: the header and the vector that `SENDMSG` points to, and the list they point into.
pub(crate) struct Message {
    pub(crate) header: libc::msghdr,
    pub(crate) iov: Vec<libc::iovec>,
    pub(crate) list: SendList,
}

/// Where a connect goes and how long it may take.
pub(crate) struct ConnectArguments {
    pub(crate) address: libc::sockaddr_storage,
    pub(crate) timeout: Timespec,
}

/// An operation that the kernel has not ended yet, or whose future has not been polled since.
pub(crate) enum Op {
    Accept { token: u64 },
    Receive { token: u64 },
    Send { token: u64, message: Pinned<Message> },
    Poll { token: u64 },
    Awaited(Awaited),
}

/// What an awaited operation owns for the kernel.
pub(crate) enum Resource {
    Connect(#[expect(dead_code, reason = "the kernel reads it")] Pinned<ConnectArguments>),
    Timeout(#[expect(dead_code, reason = "the kernel reads it")] Pinned<Timespec>),
    Read { buf: IoBuf, _file: Arc<OwnedFd> },
    ReadAhead { _scratch: Rc<IoBuf>, _file: Arc<OwnedFd> },
    Write { _slice: WriteSlice, _file: Arc<OwnedFd> },
    File(#[expect(dead_code, reason = "held open")] Arc<OwnedFd>),
}

/// Who waits for an awaited operation.
pub(crate) enum Watcher {
    /// The future exists but was not polled yet.
    Quiet,
    /// The future waits.
    Waiting(Waker),
    /// The future was dropped: the operation goes away with its last completion.
    Gone,
}

/// An operation behind a future.
pub(crate) struct Awaited {
    pub(crate) resource: Resource,
    pub(crate) watcher: Watcher,
    /// Completions still to come.
    pub(crate) pending: u8,
    /// Result of the main entry.
    pub(crate) result: i32,
    /// Result of the side entry, if there is one.
    pub(crate) side_result: i32,
}

/// All operations of a ring and what is left over after a round of completions.
pub(crate) struct Ops {
    pub(crate) slab: Slab<Op>,
    messages: Vec<Pinned<Message>>,
    /// How many `Op::Poll` are in flight.
    pub(crate) polls: usize,
    /// To be woken when nothing is borrowed any more.
    pub(crate) wakers: Vec<Waker>,
    /// To be dropped when nothing is borrowed any more: their owners' code may call the ring.
    pub(crate) dead: Vec<Op>,
    pub(crate) stats: RingStats,
}

impl Ops {
    pub(crate) fn new() -> Ops {
        Ops {
            slab: Slab::new(),
            messages: Vec::new(),
            polls: 0,
            wakers: Vec::new(),
            dead: Vec::new(),
            stats: RingStats::default(),
        }
    }

    /// A message that holds `list`, gathered, with the header pointing at the vector.
    pub(crate) fn message(&mut self, list: SendList) -> Pinned<Message> {
        let mut message = self.messages.pop().unwrap_or_else(|| {
            // SAFETY: all-zero is a valid `msghdr`.
            let header = unsafe { std::mem::zeroed() };
            Pinned::new(Message { header, iov: Vec::new(), list: SendList::new() })
        });
        // SAFETY: a message in the pool, or a fresh one, is in no operation.
        let inner = unsafe { message.get_mut() };
        inner.list = list;
        inner.list.gather(&mut inner.iov);
        inner.header.msg_iov = inner.iov.as_mut_ptr();
        inner.header.msg_iovlen = inner.iov.len() as _;
        message
    }

    /// Takes the list out of a message whose send has ended.
    fn take_list(&mut self, mut message: Pinned<Message>) -> SendList {
        // SAFETY: the caller has seen the terminal completion.
        let inner = unsafe { message.get_mut() };
        let list = std::mem::take(&mut inner.list);
        inner.iov.clear();
        if self.messages.len() < MESSAGE_POOL_MAX {
            self.messages.push(message);
        }
        list
    }

    /// Works on one completion.
    pub(crate) fn complete(
        &mut self,
        cqe: &cqueue::Entry,
        buffers: &Rc<BufferRing>,
        out: &mut Vec<Completion>,
    ) {
        self.stats.cqes += 1;
        let (result, flags) = (cqe.result(), cqe.flags());
        // Whoever the completion is for: a buffer that it names has left the kernel and must go back.
        let filled = u32::try_from(result).unwrap_or(0);
        let buffer = cqueue::buffer_select(flags).and_then(|id| buffers.lend(id, filled));
        if cqe.user_data() == slab::CONTROL {
            return;
        }
        let (op, side) = slab::split(cqe.user_data());
        let more = cqueue::more(flags);
        let failed = || io::Error::from_raw_os_error(-result);
        let (token, event) = match self.slab.get_mut(op) {
            None => {
                self.stats.stale += 1;
                return;
            }
            Some(Op::Awaited(_)) => return self.complete_awaited(op, side, result),
            Some(Op::Send { .. }) => return self.complete_send(op, result, out),
            Some(Op::Accept { token }) => {
                let event = match result {
                    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
                    0.. => Event::Accepted(unsafe { OwnedFd::from_raw_fd(result) }),
                    _ if -result == libc::ECANCELED => Event::Cancelled,
                    _ => Event::AcceptError(failed()),
                };
                (*token, event)
            }
            Some(Op::Receive { token }) => {
                let event = match (result, buffer) {
                    (1.., Some(buffer)) => {
                        self.stats.received_bytes += u64::from(filled);
                        Event::Received(buffer)
                    }
                    (1.., None) => Event::RecvError(io::Error::other("received without a buffer")),
                    (0, _) => Event::Closed,
                    (_, _) if -result == libc::ENOBUFS => {
                        self.stats.enobufs += 1;
                        Event::NoBuffers
                    }
                    (_, _) if -result == libc::ECANCELED => Event::Cancelled,
                    (_, _) => Event::RecvError(failed()),
                };
                (*token, event)
            }
            Some(Op::Poll { token }) => {
                let event = match result {
                    0.. => Event::Readable,
                    _ if -result == libc::ECANCELED => Event::Cancelled,
                    _ => Event::PollError(failed()),
                };
                (*token, event)
            }
        };
        if !more && let Some(Op::Poll { .. }) = self.slab.remove(op) {
            self.polls = self.polls.saturating_sub(1);
        }
        out.push(Completion { token, op, event, more });
    }

    fn complete_send(&mut self, op: OpId, result: i32, out: &mut Vec<Completion>) {
        let Some(Op::Send { token, message }) = self.slab.remove(op) else { return };
        let list = self.take_list(message);
        let event = match usize::try_from(result) {
            Ok(bytes) => {
                self.stats.sent_bytes += bytes as u64;
                self.stats.partial_sends += u64::from(bytes < list.len());
                Event::Sent { bytes, list }
            }
            Err(_) => Event::SendError { error: io::Error::from_raw_os_error(-result), list },
        };
        out.push(Completion { token, op, event, more: false });
    }

    fn complete_awaited(&mut self, op: OpId, side: bool, result: i32) {
        let Some(Op::Awaited(awaited)) = self.slab.get_mut(op) else { return };
        if side {
            awaited.side_result = result;
        } else {
            awaited.result = result;
            if let (Resource::Read { buf, .. }, Ok(n)) = (&mut awaited.resource, usize::try_from(result)) {
                // SAFETY: the kernel wrote `n` bytes at `spare_ptr`, no more than the read's length, which
                // was at most `spare`; nothing has changed the buffer since.
                unsafe { buf.filled(n) };
            }
        }
        awaited.pending = awaited.pending.saturating_sub(1);
        if awaited.pending > 0 {
            return;
        }
        match std::mem::replace(&mut awaited.watcher, Watcher::Quiet) {
            Watcher::Quiet => {}
            Watcher::Waiting(waker) => self.wakers.push(waker),
            Watcher::Gone => self.dead.extend(self.slab.remove(op)),
        }
    }
}
