//! Operations to await: connect, timeout, and what disk operations build on.
//!
//! An operation is queued when its future is made, not when it is polled. Dropping the future leaves what the
//! kernel uses in the ring until the last completion; a connect or timeout is cancelled then, a disk operation
//! runs to its end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use io_uring::types::{Fd, Timespec};
use io_uring::{opcode, squeue};

use crate::event::OpId;
use crate::op::{Awaited, ConnectArguments, Op, Pinned, Resource, Watcher};
use crate::ring::Ring;
use crate::slab::side_of;

/// The link between a future and its operation.
pub(crate) struct Pending {
    ring: Ring,
    op: OpId,
    cancel_on_drop: bool,
    /// The result was taken; the operation is gone.
    taken: bool,
}

impl Pending {
    pub(crate) fn start<const N: usize>(
        ring: &Ring,
        resource: Resource,
        cancel_on_drop: bool,
        build: impl FnOnce(OpId) -> [squeue::Entry; N],
    ) -> Pending {
        let awaited =
            Awaited { resource, watcher: Watcher::Quiet, pending: N as u8, result: 0, side_result: 0 };
        let op = ring.start_linked(Op::Awaited(awaited), build);
        Pending { ring: ring.clone(), op, cancel_on_drop, taken: false }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Awaited> {
        assert!(!self.taken, "polled after it was ready");
        let ended = self.ring.with_ops(|ops| {
            let Some(Op::Awaited(awaited)) = ops.slab.get_mut(self.op) else {
                unreachable!("the operation stays until its future takes it");
            };
            if awaited.pending == 0 {
                return ops.slab.remove(self.op);
            }
            match &mut awaited.watcher {
                Watcher::Waiting(waker) => waker.clone_from(cx.waker()),
                watcher => *watcher = Watcher::Waiting(cx.waker().clone()),
            }
            None
        });
        match ended {
            Some(Op::Awaited(awaited)) => {
                self.taken = true;
                Poll::Ready(awaited)
            }
            _ => Poll::Pending,
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let (over, waker) = self.ring.with_ops(|ops| {
            let Some(Op::Awaited(awaited)) = ops.slab.get_mut(self.op) else { return (None, None) };
            if awaited.pending == 0 {
                return (ops.slab.remove(self.op), None);
            }
            (None, Some(std::mem::replace(&mut awaited.watcher, Watcher::Gone)))
        });
        if waker.is_some() && self.cancel_on_drop {
            self.ring.cancel(self.op);
        }
        // Dropped outside of the borrow: owners of buffers and wakers are foreign code.
        drop((over, waker));
    }
}

/// `-errno` or a count, as an `io::Result`.
pub(crate) fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

/// The future of [`Ring::connect`].
#[must_use = "dropping the future cancels the connect"]
pub struct Connect(Pending);

impl Future for Connect {
    type Output = io::Result<()>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(cx).map(|ended| {
            let interrupted = matches!(-ended.result, libc::ECANCELED | libc::EINTR);
            if interrupted && -ended.side_result == libc::ETIME {
                return Err(io::ErrorKind::TimedOut.into());
            }
            outcome(ended.result).map(drop)
        })
    }
}

/// The future of [`Ring::timeout`].
#[must_use = "dropping the future cancels the timeout"]
pub struct Timeout(Pending);

impl Future for Timeout {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx).map(drop)
    }
}

impl Ring {
    /// Connects the socket `fd`; gives up after `timeout` with [`io::ErrorKind::TimedOut`]. Dropping the future
    /// cancels it. Keep `fd` open until then; close it with [`close`](Self::close).
    pub fn connect(&self, fd: RawFd, address: SocketAddr, timeout: Duration) -> Connect {
        let (address, address_len) = socket_address(address);
        let arguments = Pinned::new(ConnectArguments { address, timeout: Timespec::from(timeout) });
        let pointer = arguments.as_ptr();
        // SAFETY: only addresses of fields are taken; the operation owns the memory, on the heap, until both
        // completions are there, and nobody writes to it.
        let (address, timespec) = unsafe { (&raw const (*pointer).address, &raw const (*pointer).timeout) };
        Connect(Pending::start(self, Resource::Connect(arguments), true, |id| {
            [
                opcode::Connect::new(Fd(fd), address.cast(), address_len)
                    .build()
                    .flags(squeue::Flags::IO_LINK)
                    .user_data(id.0),
                opcode::LinkTimeout::new(timespec).build().user_data(side_of(id)),
            ]
        }))
    }

    /// Resolves after `duration` (`CLOCK_MONOTONIC`). Dropping the future cancels it.
    pub fn timeout(&self, duration: Duration) -> Timeout {
        let timespec = Pinned::new(Timespec::from(duration));
        let pointer = timespec.as_ptr();
        Timeout(Pending::start(self, Resource::Timeout(timespec), true, |id| {
            [opcode::Timeout::new(pointer).build().user_data(id.0)]
        }))
    }
}

/// `address` as the kernel wants it, with its length.
fn socket_address(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all-zero is a valid `sockaddr_storage`.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let len = match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: `sockaddr_storage` is larger than every address and aligned for it.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(raw) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(raw) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, len as libc::socklen_t)
}
