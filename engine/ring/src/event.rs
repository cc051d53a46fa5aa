//! What the ring reports: completions of token operations, and counters.

use std::io;
use std::os::fd::OwnedFd;

use crate::bufring::RecvBuf;
use crate::sendlist::SendList;

/// Names one operation for ever: a slot and its generation. A stale id is harmless.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpId(pub(crate) u64);

impl std::fmt::Debug for OpId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpId({}.{})", self.0 as u32, self.0 >> 32)
    }
}

/// One result of a token operation.
#[derive(Debug)]
pub struct Completion {
    /// The caller's number for the connection or listener.
    pub token: u64,
    /// The operation that reports.
    pub op: OpId,
    /// What happened.
    pub event: Event,
    /// Whether the operation goes on. When false it is over, whatever the event is: a multishot operation
    /// may end with a good `Received` or `Accepted` (the kernel ends it when it cannot queue a completion),
    /// and the caller starts it again if it wants more.
    pub more: bool,
}

/// What happened to a token operation.
#[derive(Debug)]
pub enum Event {
    /// A connection was accepted: close-on-exec, blocking mode (the ring never blocks on it).
    Accepted(OwnedFd),
    /// Bytes arrived. Never empty.
    Received(RecvBuf),
    /// The peer closed its sending side. Terminal.
    Closed,
    /// The provided buffers are used up. Terminal; start the receive again once buffers came back
    /// ([`Ring::buffers_free`](crate::Ring::buffers_free)).
    NoBuffers,
    /// Receiving failed, for example `ECONNRESET`. Terminal.
    RecvError(io::Error),
    /// Accepting failed, for example `EMFILE`. Terminal.
    AcceptError(io::Error),
    /// The socket took `bytes` bytes, maybe fewer than the list holds; the list is unchanged.
    Sent {
        /// Bytes taken.
        bytes: usize,
        /// The list, to be advanced or cleared.
        list: SendList,
    },
    /// Nothing was sent: `EFAULT` (a mapped page is gone), `ECONNRESET`, `EPIPE`, `ECANCELED`, ...
    SendError {
        /// The error, with its raw number.
        error: io::Error,
        /// The list, unchanged.
        list: SendList,
    },
    /// The polled descriptor is readable, or was hung up.
    Readable,
    /// Polling failed. Terminal.
    PollError(io::Error),
    /// An accept, receive or poll ended because it was cancelled. Terminal. (A cancelled send reports
    /// `SendError` with `ECANCELED`, because it returns its list.)
    Cancelled,
}

/// Counters since the ring was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingStats {
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// Submission entries handed to the kernel.
    pub sqes: u64,
    /// Completion entries read.
    pub cqes: u64,
    /// Receives that ended for lack of buffers.
    pub enobufs: u64,
    /// Sends that took fewer bytes than their list held.
    pub partial_sends: u64,
    /// Bytes received into provided buffers.
    pub received_bytes: u64,
    /// Bytes taken by sends.
    pub sent_bytes: u64,
    /// Completions whose operation was already over; ignored.
    pub stale: u64,
    /// Times the kernel had more completions than the queue could hold.
    pub cq_overflows: u64,
    /// Times the submission queue was full when an entry was added.
    pub sq_full: u64,
    /// Provided buffers that are with the kernel now.
    pub recv_buffers_free: u32,
    /// Operations that have not ended yet.
    pub ops: u32,
}
