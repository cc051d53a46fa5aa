//! Events that disk and dial tasks of a shard leave for its loop, and the waker of that loop.
//!
//! Tasks never touch the shard's state: they own what they need, and report here when they end.

use glommio::io::{PollState, PollableFd};
use glommio::timer::Timer;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::units::{Block, PieceIndex};
use ringseed_ring::Ring;
use ringseed_storage::{OwnBlock, StorageError};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::checks::Check;
use super::hashing::Hashed;
use super::torrents::TorrentKey;

/// What a task reports.
pub enum LocalEvent {
    /// Whole pieces with their digests.
    Hashed(Vec<Hashed>),
    /// A verified piece was written, or could not be.
    PieceWritten { torrent: TorrentKey, piece: PieceIndex, result: Result<(), StorageError> },
    /// The files are durable up to `have`.
    Synced { torrent: TorrentKey, have: Bitfield, result: Result<(), StorageError> },
    /// All files of a finished download were looked at before it is called complete.
    Finished { torrent: TorrentKey, result: Result<(), StorageError> },
    /// A cold part of a piece is resident now, or could not be read.
    BroughtIn { torrent: TorrentKey, part: Block, result: Result<Option<Arc<OwnBlock>>, StorageError> },
    /// This shard's part of a check ended.
    Checked { check: Arc<Check>, result: Result<Bitfield, StorageError> },
    /// A dial ended.
    Dialled { torrent: TorrentKey, address: SocketAddr, told: bool, result: io::Result<OwnedFd> },
}

#[derive(Default)]
struct Inner {
    events: RefCell<VecDeque<LocalEvent>>,
    waker: Cell<Option<Waker>>,
    tasks: Cell<usize>,
}

/// Where tasks leave events. Bounded by the number of tasks: each reports once.
#[derive(Clone, Default)]
pub struct LocalQueue(Rc<Inner>);

impl LocalQueue {
    /// Takes the oldest event.
    pub fn pop(&self) -> Option<LocalEvent> {
        self.0.events.borrow_mut().pop_front()
    }

    /// Tasks that have not reported yet.
    pub fn tasks(&self) -> usize {
        self.0.tasks.get()
    }

    /// Runs `task` beside the loop; its event wakes the loop, as does what it queues on the ring.
    pub fn spawn(&self, task: impl Future<Output = LocalEvent> + 'static) {
        let queue = self.clone();
        queue.0.tasks.set(queue.0.tasks.get() + 1);
        glommio::spawn_local(async move {
            let event = task.await;
            queue.0.tasks.set(queue.0.tasks.get() - 1);
            queue.0.events.borrow_mut().push_back(event);
            if let Some(waker) = queue.0.waker.take() {
                waker.wake();
            }
        })
        .detach();
    }
}

/// The number of a descriptor that somebody else owns, for glommio to poll.
struct WatchedFd(RawFd);

impl AsRawFd for WatchedFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Why a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The mailbox was signalled, which is to be acknowledged.
    Inbox,
    /// The ring, a task or the time.
    Other,
}

/// How the loop sleeps: until the ring or the mailbox is signalled, a task has reported, or a time has passed.
///
/// The mailbox is watched by glommio and not through the ring: a signal about an eventfd would have to raise
/// the ring's own eventfd, which the kernel does once only.
pub struct Sleeper {
    ring: Ring,
    ring_signal: PollableFd<WatchedFd>,
    ring_registration: PollState,
    inbox_signal: PollableFd<WatchedFd>,
    inbox_registration: PollState,
    local: LocalQueue,
}

impl Sleeper {
    /// A sleeper on `ring` and the mailbox's descriptor, which must live as long.
    ///
    /// # Errors
    /// Outside a glommio executor.
    pub fn new(ring: &Ring, inbox: RawFd, local: LocalQueue) -> io::Result<Self> {
        let watch = |fd| PollableFd::new(WatchedFd(fd)).map_err(io::Error::other);
        Ok(Self {
            ring: ring.clone(),
            ring_signal: watch(ring.as_raw_fd())?,
            ring_registration: PollState::new(),
            inbox_signal: watch(inbox)?,
            inbox_registration: PollState::new(),
            local,
        })
    }

    /// Sleeps at most `limit`.
    pub async fn sleep(&mut self, limit: Duration) -> Woken {
        let mut timer = Timer::new(limit);
        std::future::poll_fn(|context| {
            if !self.local.0.events.borrow().is_empty() {
                return Poll::Ready(Woken::Other);
            }
            self.local.0.waker.set(Some(context.waker().clone()));
            // Also lowers the signal, so that what comes from now on raises it.
            if self.ring.poll_queued(context).is_ready() {
                return Poll::Ready(Woken::Other);
            }
            // An error of a poll wakes the loop as well: its next submit reports what is wrong.
            if self.inbox_signal.poll_readable(context, &mut self.inbox_registration).is_ready() {
                return Poll::Ready(Woken::Inbox);
            }
            if self.ring_signal.poll_readable(context, &mut self.ring_registration).is_ready() {
                return Poll::Ready(Woken::Other);
            }
            Pin::new(&mut timer).poll(context).map(|_| Woken::Other)
        })
        .await
    }
}
