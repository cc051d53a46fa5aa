//! The data ring: io_uring sockets and disk for one shard.
//!
//! A [`Ring`] belongs to one thread. *Token operations* (accept, receive, send, poll) report through
//! [`Ring::drain`]; everything else is a future that `drain` wakes. The kernel owns the memory of an operation
//! until its terminal completion, so that memory is owned by the ring, whatever happens to the caller.
//!
//! # The loop
//!
//! One task per ring submits, reads completions and parks. It must wake for two reasons: the ring's descriptor
//! became readable (completions, or deferred work for this thread), or another task queued an operation that
//! nobody has submitted yet. [`Ring::poll_queued`] covers the second and prepares the descriptor for the first,
//! so it is polled before the descriptor every time. In a glommio executor:
//!
//! ```no_run
//! # use glommio::io::{PollState, PollableFd};
//! # use ringseed_ring::{Ring, RingConfig};
//! # use std::{future::poll_fn, os::fd::AsRawFd};
//! # struct Watch(std::os::fd::RawFd);
//! # impl AsRawFd for Watch { fn as_raw_fd(&self) -> std::os::fd::RawFd { self.0 } }
//! # async fn run() -> std::io::Result<()> {
//! let ring = Ring::new(&RingConfig::default()).expect("io_uring was probed");
//! let readable = PollableFd::new(Watch(ring.as_raw_fd()))?;
//! let mut registration = PollState::new();
//! let mut completions = Vec::new();
//! loop {
//!     ring.submit()?;
//!     ring.drain(&mut completions);
//!     for completion in completions.drain(..) {
//!         // Handle it; this may start operations, which the next turn submits together.
//! #       let _ = completion;
//!     }
//!     if ring.needs_turn() {
//!         glommio::yield_if_needed().await;
//!         continue;
//!     }
//!     // One registration serves many parks: when the other reason woke us, it stays armed.
//!     poll_fn(|cx| match ring.poll_queued(cx) {
//!         std::task::Poll::Ready(()) => std::task::Poll::Ready(Ok(())),
//!         std::task::Poll::Pending => readable.poll_readable(cx, &mut registration),
//!     })
//!     .await?;
//! }
//! # }
//! ```
//!
//! Without an executor, [`Ring::submit_and_wait`] takes the place of `submit` and of parking.

mod ahead;
mod bufring;
mod disk;
mod error;
mod event;
#[cfg(feature = "executor")]
pub mod executor;
mod future;
mod iobuf;
mod mapping;
mod op;
mod probe;
mod ring;
mod sendlist;
mod slab;
mod socket;

pub use bufring::RecvBuf;
pub use disk::{Count, Done, ReadAt};
pub use error::{ProbeError, RingError};
pub use event::{Completion, Event, OpId, RingStats};
pub use future::{Connect, Timeout};
pub use iobuf::{IoBuf, WriteSlice};
pub use ring::{Ring, RingConfig};
pub use sendlist::{SEGMENTS_PER_SEND_MAX, SendList};
