//! Token operations on sockets and descriptors: their results come out of [`Ring::drain`].
//!
//! They take raw descriptors: the caller keeps a descriptor open until the operation was submitted, and gives
//! it to [`Ring::close`] rather than closing it, so that nothing queued can hit a reused number.

use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{opcode, squeue};

use crate::bufring::GROUP;
use crate::event::OpId;
use crate::op::Op;
use crate::ring::Ring;
use crate::sendlist::SendList;

impl Ring {
    /// Accepts connections until cancelled or failed: [`Event::Accepted`](crate::Event::Accepted) for each.
    pub fn accept_multishot(&self, fd: RawFd, token: u64) -> OpId {
        let entry = opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build();
        self.start(Op::Accept { token }, entry)
    }

    /// Accepts one connection: as [`Ring::accept_multishot`], with one [`Event::Accepted`](crate::Event::Accepted).
    pub fn accept_once(&self, fd: RawFd, token: u64) -> OpId {
        let none = (std::ptr::null_mut(), std::ptr::null_mut());
        let entry = opcode::Accept::new(Fd(fd), none.0, none.1).flags(libc::SOCK_CLOEXEC).build();
        self.start(Op::Accept { token }, entry)
    }

    /// Receives until the peer closes, an error, a cancel, or no buffers:
    /// [`Event::Received`](crate::Event::Received) for each filled buffer.
    pub fn recv_multishot(&self, fd: RawFd, token: u64) -> OpId {
        self.start(Op::Receive { token }, opcode::RecvMulti::new(Fd(fd), GROUP).build())
    }

    /// Receives once, at most one buffer.
    pub fn recv_once(&self, fd: RawFd, token: u64) -> OpId {
        let len = self.0.buffers.buffer_len();
        let entry = opcode::Recv::new(Fd(fd), std::ptr::null_mut(), len).buf_group(GROUP).build();
        self.start(Op::Receive { token }, entry.flags(squeue::Flags::BUFFER_SELECT))
    }

    /// Sends as much of `list` as the socket takes now, waiting until it takes something.
    ///
    /// The list comes back in [`Event::Sent`](crate::Event::Sent) or
    /// [`Event::SendError`](crate::Event::SendError); have one send in flight per socket, for the order of two is
    /// not defined. An empty list completes with 0 bytes. `EPIPE` raises no signal.
    pub fn send(&self, fd: RawFd, token: u64, list: SendList) -> OpId {
        self.send_with(fd, token, list, libc::MSG_NOSIGNAL)
    }

    /// Like [`send`](Self::send), but the kernel waits until all of the list is sent (at most
    /// [`SEGMENTS_PER_SEND_MAX`](crate::SEGMENTS_PER_SEND_MAX) segments); short only after an error or a cancel.
    pub fn send_all(&self, fd: RawFd, token: u64, list: SendList) -> OpId {
        self.send_with(fd, token, list, libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
    }

    fn send_with(&self, fd: RawFd, token: u64, list: SendList, flags: i32) -> OpId {
        let message = self.with_ops(|ops| ops.message(list));
        // SAFETY: only the address of the field is taken; header and vector lie on the heap, owned by the
        // operation, and are not touched before its completion.
        let header = unsafe { &raw const (*message.as_ptr()).header };
        let entry = opcode::SendMsg::new(Fd(fd), header).flags(flags as u32).build();
        self.start(Op::Send { token, message }, entry)
    }

    /// Reports [`Event::Readable`](crate::Event::Readable) once, or with `multishot` each time data arrives (so
    /// read until `EAGAIN` after each).
    ///
    /// While polls are in flight, each park of the loop costs two more system calls (see the source). A loop
    /// that waits for its own eventfd all the time does better to await it beside the ring.
    pub fn poll_in(&self, fd: RawFd, token: u64, multishot: bool) -> OpId {
        let entry = opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(multishot).build();
        self.with_ops(|ops| ops.polls += 1);
        self.start(Op::Poll { token }, entry)
    }

    /// Cancels every operation on a socket, queued ones included, and closes it, in that order. The operations
    /// still report their ends.
    pub fn close(&self, fd: OwnedFd) {
        // The ring owns the number from here: the kernel works on the entries in order, so operations queued
        // earlier still find this socket, then are cancelled, then the number becomes free.
        let fd = fd.into_raw_fd();
        self.queue_control(&[
            opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(fd)).all()).build(),
            opcode::Close::new(Fd(fd)).build(),
        ]);
    }
}
