//! The ring itself: submission, completion, waking, and winding down.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode, squeue};

use crate::bufring::{BufferRing, GROUP};
use crate::error::{ProbeError, RingError};
use crate::event::{Completion, OpId, RingStats};
use crate::iobuf::IoBuf;
use crate::op::{Op, Ops};
use crate::probe;
use crate::slab::CONTROL;

/// How long dropping a ring waits for its operations before it leaks their memory instead.
const WIND_DOWN_MAX: Duration = Duration::from_secs(5);
/// How long it waits before it asks again for everything to be cancelled.
const WIND_DOWN_STEP: Duration = Duration::from_millis(100);

/// Sizes of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingConfig {
    /// Submission entries, 2 to 32768; rounded up to a power of two. A full queue submits early.
    pub sq_entries: u32,
    /// Completion entries, `sq_entries` to 65536; rounded up to a power of two. More completions than this
    /// are kept by the kernel, at the price of ending multishot operations.
    pub cq_entries: u32,
    /// Most receive buffers: a power of two, 1 to 32768.
    pub recv_buffers: u16,
    /// Receive buffers in use at first, 1 to `recv_buffers`; [`Ring::more_buffers`] doubles them. The kernel fills
    /// buffers in turn, so many cost memory and the core's cache even where few would do.
    pub recv_buffers_first: u16,
    /// Length of each, bytes, at least 1. Together: virtual memory, taken when first used.
    pub recv_buffer_len: u32,
}

impl Default for RingConfig {
    fn default() -> RingConfig {
        RingConfig {
            sq_entries: 512,
            cq_entries: 8192,
            recv_buffers: 256,
            recv_buffers_first: 32,
            recv_buffer_len: 65536,
        }
    }
}

impl RingConfig {
    fn check(&self) -> Result<(), RingError> {
        let wrong = |what| Err(RingError::Config(what));
        if !(2..=32768).contains(&self.sq_entries) {
            return wrong("sq_entries must be 2 to 32768");
        }
        if self.cq_entries < self.sq_entries.next_power_of_two() || self.cq_entries > 65536 {
            return wrong("cq_entries must be sq_entries to 65536");
        }
        if !self.recv_buffers.is_power_of_two() || self.recv_buffers > 32768 {
            return wrong("recv_buffers must be a power of two up to 32768");
        }
        if !(1..=self.recv_buffers).contains(&self.recv_buffers_first) {
            return wrong("recv_buffers_first must be 1 to recv_buffers");
        }
        if self.recv_buffer_len == 0 || self.recv_buffer_len > i32::MAX as u32 {
            return wrong("recv_buffer_len must be 1 to 2147483647");
        }
        Ok(())
    }
}

/// A data ring: a cheap handle for one thread. See the crate's documentation for the loop that drives it.
#[derive(Clone)]
pub struct Ring(pub(crate) Rc<Shared>);

/// What the handles share.
pub(crate) struct Shared {
    inner: RefCell<Inner>,
    pub(crate) buffers: Rc<BufferRing>,
    /// Where reads into the page cache put their bytes; made by the first.
    pub(crate) scratch: OnceCell<Rc<IoBuf>>,
    /// The loop, parked in `poll_queued`.
    loop_waker: Cell<Option<Waker>>,
    /// An eventfd that the kernel raises for completions and for deferred work.
    ///
    /// The ring's own descriptor does not do: a poll of it is not woken by deferred work (seen on 6.18: only
    /// the check at the end of the poll's timeout notices).
    signal: File,
    /// The loop parks with `poll_queued`, which lowers the signal; otherwise `submit` does.
    parks: Cell<bool>,
}

struct Inner {
    uring: IoUring,
    /// Entries that did not fit into the submission queue, in order.
    backlog: VecDeque<squeue::Entry>,
    ops: Ops,
}

impl Ring {
    /// Makes a ring for the calling thread, with its receive buffers.
    pub fn new(config: &RingConfig) -> Result<Ring, RingError> {
        config.check()?;
        let uring = probe::set_up(config.sq_entries, config.cq_entries).map_err(RingError::Setup)?;
        let buffers = BufferRing::new(config.recv_buffers, config.recv_buffers_first, config.recv_buffer_len)
            .map_err(RingError::Buffers)?;
        // SAFETY: the memory is page-aligned, holds `count` entries, and stays mapped until the group is
        // unregistered in `Shared::drop`, or for ever if that cannot be done.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(buffers.address(), buffers.count(), GROUP, 0)
        }
        .map_err(RingError::Buffers)?;
        let signal = event_descriptor().map_err(|error| RingError::Setup(probe::explain_now(error)))?;
        uring
            .submitter()
            .register_eventfd(signal.as_raw_fd())
            .map_err(|error| RingError::Setup(probe::explain_now(error)))?;
        Ok(Ring(Rc::new(Shared {
            inner: RefCell::new(Inner { uring, backlog: VecDeque::new(), ops: Ops::new() }),
            buffers: Rc::new(buffers),
            scratch: OnceCell::new(),
            loop_waker: Cell::new(None),
            signal,
            parks: Cell::new(false),
        })))
    }

    /// How many threads of the kernel may wait at once for files and maps on behalf of this thread's rings. The
    /// kernel's own limit, four for each core, keeps a disk from being asked for more than that at a time.
    ///
    /// # Errors
    ///
    /// On kernels before 5.15.
    pub fn set_disk_workers(&self, most: u32) -> io::Result<()> {
        // 0 leaves the limit of those that wait for other things as it is.
        self.0.inner.borrow().uring.submitter().register_iowq_max_workers(&mut [most, 0])
    }

    /// Whether this thread may make such a ring on this kernel, and if not, why.
    pub fn probe() -> Result<(), ProbeError> {
        probe::probe()
    }

    /// Hands queued entries to the kernel and lets it do deferred work. Does not block. When there is neither,
    /// it makes no system call (except, for a loop that does not use [`poll_queued`](Self::poll_queued), to
    /// lower the signal).
    ///
    /// If the kernel is short of memory or its completion queue is full, some entries stay queued:
    /// [`needs_turn`](Self::needs_turn) is true then, and the next call tries again.
    ///
    /// # Errors
    ///
    /// Only when the ring is unusable: called on another thread (`EEXIST`), completions lost (`EBADR`).
    pub fn submit(&self) -> io::Result<()> {
        self.0.loop_waker.set(None);
        if !self.0.parks.get() && !self.needs_turn() {
            // A turn with nothing to do: the loop is about to park, or was woken by a signal left over from
            // work that is done. What comes between the check and here is seen below.
            self.lower_signal();
        }
        self.0.inner.borrow_mut().submit(0, None)
    }

    /// Like [`submit`](Self::submit), then blocks the thread until a completion is there or `timeout` is over.
    /// Returns at once when nothing is in flight, and early on a signal.
    pub fn submit_and_wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.loop_waker.set(None);
        let mut inner = self.0.inner.borrow_mut();
        let want = u32::from(inner.ops.slab.len() > 0);
        inner.submit(want, timeout)
    }

    /// Reads all completions: those of token operations are appended to `out`, the others wake their futures.
    pub fn drain(&self, out: &mut Vec<Completion>) {
        let mut inner = self.0.inner.borrow_mut();
        inner.drain(&self.0.buffers, out);
        let mut wakers = std::mem::take(&mut inner.ops.wakers);
        let mut dead = std::mem::take(&mut inner.ops.dead);
        drop(inner);
        // Foreign code runs here (wakers, owners of buffers); it may call the ring.
        wakers.drain(..).for_each(Waker::wake);
        dead.clear();
        let mut inner = self.0.inner.borrow_mut();
        if inner.ops.wakers.is_empty() {
            inner.ops.wakers = wakers;
        }
        if inner.ops.dead.is_empty() {
            inner.ops.dead = dead;
        }
    }

    /// Whether no operation is in flight and nothing is queued.
    pub fn is_idle(&self) -> bool {
        let mut inner = self.0.inner.borrow_mut();
        inner.ops.slab.len() == 0 && !inner.has_queued()
    }

    /// Whether entries wait for [`submit`](Self::submit).
    pub fn has_queued(&self) -> bool {
        self.0.inner.borrow_mut().has_queued()
    }

    /// Whether another `submit` and `drain` would find something to do. Do not park the loop while it is true.
    pub fn needs_turn(&self) -> bool {
        self.0.inner.borrow_mut().needs_turn()
    }

    /// Ready when [`needs_turn`](Self::needs_turn). The loop polls this before the readability of the ring's
    /// descriptor, each time: a future made in another task queues an entry and wakes the loop to submit it,
    /// and the descriptor is made ready for the next wake-up.
    pub fn poll_queued(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.needs_turn() {
            return Poll::Ready(());
        }
        // Lower the signal, then look again: what raised it before is seen now, what comes later raises it.
        // One read per park; none while the loop is busy.
        self.0.parks.set(true);
        self.lower_signal();
        if self.needs_turn() {
            return Poll::Ready(());
        }
        let waker = match self.0.loop_waker.take() {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            _ => cx.waker().clone(),
        };
        self.0.loop_waker.set(Some(waker));
        Poll::Pending
    }

    /// Receive buffers that the kernel can fill.
    pub fn buffers_free(&self) -> u32 {
        self.0.buffers.free()
    }

    /// Receive buffers put to use so far, whoever has them now.
    pub fn buffers_used(&self) -> u32 {
        self.0.buffers.used()
    }

    /// Puts twice as many receive buffers to use; false when all are in use. To be called when receives find none.
    pub fn more_buffers(&self) -> bool {
        self.0.buffers.grow()
    }

    /// Counters since the ring was made.
    pub fn stats(&self) -> RingStats {
        let inner = self.0.inner.borrow();
        RingStats {
            recv_buffers_free: self.0.buffers.free(),
            ops: u32::try_from(inner.ops.slab.len()).unwrap_or(u32::MAX),
            ..inner.ops.stats
        }
    }

    /// Asks for the end of an operation. Its terminal completion still arrives: `Cancelled`, `SendError` with
    /// `ECANCELED`, or whatever happened first. An id of an operation that is over is ignored.
    ///
    /// To cancel and close a descriptor, use [`close`](Self::close).
    pub fn cancel(&self, op: OpId) {
        if self.with_ops(|ops| ops.slab.get_mut(op).is_none()) {
            return;
        }
        self.queue_control(&[opcode::AsyncCancel::new(op.0).build()]);
    }

    pub(crate) fn with_ops<R>(&self, f: impl FnOnce(&mut Ops) -> R) -> R {
        f(&mut self.0.inner.borrow_mut().ops)
    }

    /// Starts `op` with its one entry. What the entry points to must be owned by `op`, on the heap.
    pub(crate) fn start(&self, op: Op, entry: squeue::Entry) -> OpId {
        self.start_linked(op, |id| [entry.user_data(id.0)])
    }

    /// Starts `op` with all the entries that `build` makes for its id; they are submitted together.
    pub(crate) fn start_linked<const N: usize>(
        &self,
        op: Op,
        build: impl FnOnce(OpId) -> [squeue::Entry; N],
    ) -> OpId {
        let mut inner = self.0.inner.borrow_mut();
        let id = inner.ops.slab.insert(op);
        inner.queue(&build(id));
        drop(inner);
        self.wake_loop();
        id
    }

    /// Queues entries that belong to no operation.
    pub(crate) fn queue_control(&self, entries: &[squeue::Entry]) {
        let mut inner = self.0.inner.borrow_mut();
        for entry in entries {
            inner.queue(&[entry.clone().user_data(CONTROL)]);
        }
        drop(inner);
        self.wake_loop();
    }

    fn lower_signal(&self) {
        self.renew_signal();
        // `WouldBlock` if it is not raised.
        let _ = (&self.0.signal).read(&mut [0; 8]);
    }

    /// Registers the signal anew while polls are in flight.
    ///
    /// A poll of an eventfd completes inside that eventfd's write, where the kernel may not raise another
    /// eventfd and defers it. On 6.18 it does so only once per registration: the second such wake-up is lost.
    /// With a registration per park, the one wake-up that a park needs always gets through.
    fn renew_signal(&self) {
        let inner = self.0.inner.borrow();
        if inner.ops.polls == 0 {
            return;
        }
        let submitter = inner.uring.submitter();
        // Neither fails for a descriptor that was registered before; if the second did, what follows would
        // hang, so it is worth a loud end.
        let _ = submitter.unregister_eventfd();
        submitter.register_eventfd(self.0.signal.as_raw_fd()).expect("the signal can be registered again");
    }

    fn wake_loop(&self) {
        if let Some(waker) = self.0.loop_waker.take() {
            waker.wake();
        }
    }
}

impl AsRawFd for Ring {
    /// An eventfd: readable when completions or deferred work have come since
    /// [`poll_queued`](Ring::poll_queued) returned `Pending`. Then `submit`, `drain`, and poll again.
    ///
    /// A loop that never calls `poll_queued` works as well, with a turn more before each park; it has to learn
    /// of queued entries by itself.
    fn as_raw_fd(&self) -> RawFd {
        self.0.signal.as_raw_fd()
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("stats", &self.stats()).finish()
    }
}

impl Inner {
    /// Adds entries, all next to each other, behind everything queued before.
    fn queue(&mut self, entries: &[squeue::Entry]) {
        if self.backlog.is_empty() && self.push(entries) {
            return;
        }
        self.ops.stats.sq_full += 1;
        self.backlog.extend(entries.iter().cloned());
        // Should this fail, the entries wait in the backlog and `submit` reports the error.
        let _ = self.enter(0, None);
        self.refill();
    }

    /// Pushes all of `entries` or none.
    fn push(&mut self, entries: &[squeue::Entry]) -> bool {
        // SAFETY: whatever an entry points to is owned by its operation in the slab until the terminal
        // completion (`Op`), on the heap, so it stays where it is when the slab grows.
        unsafe { self.uring.submission().push_multiple(entries) }.is_ok()
    }

    /// Moves entries from the backlog to the submission queue; linked ones stay together, because the kernel
    /// ends a chain at the end of a submission.
    fn refill(&mut self) {
        while let Some(first) = self.backlog.front() {
            let linked = begins_chain(first);
            let chain: Vec<_> = self.backlog.iter().take(if linked { 2 } else { 1 }).cloned().collect();
            if !self.push(&chain) {
                return;
            }
            self.backlog.drain(..chain.len());
        }
    }

    fn has_queued(&mut self) -> bool {
        !self.backlog.is_empty() || !self.uring.submission().is_empty()
    }

    fn needs_turn(&mut self) -> bool {
        let queue = self.uring.submission();
        let work = !queue.is_empty() || queue.taskrun() || queue.cq_overflow();
        drop(queue);
        work || !self.backlog.is_empty() || !self.uring.completion().is_empty()
    }

    fn submit(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        // Each round empties the queue; it ends when the kernel takes no more.
        while !self.backlog.is_empty() {
            self.refill();
            if self.backlog.is_empty() || self.enter(0, None)? == 0 {
                break;
            }
        }
        self.enter(want, timeout).map(drop)
    }

    /// One `io_uring_enter`, if there is anything to do. Returns how many entries the kernel took.
    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<usize> {
        let queue = self.uring.submission();
        let queued = queue.len();
        let work = queue.taskrun() || queue.cq_overflow();
        drop(queue);
        if queued == 0 && !work && want == 0 {
            return Ok(0);
        }
        // GETEVENTS with nothing wanted runs deferred task work and flushes an overflow.
        let flags = EnterFlags::GETEVENTS;
        let submitter = self.uring.submitter();
        let taken = match timeout {
            None => {
                // SAFETY: no argument; `queued` entries are in the queue.
                unsafe { submitter.enter::<libc::sigset_t>(queued as u32, want, flags.bits(), None) }
            }
            Some(timeout) => {
                let timespec = Timespec::from(timeout);
                let arguments = SubmitArgs::new().timespec(&timespec);
                let flags = flags | EnterFlags::EXT_ARG;
                // SAFETY: with EXT_ARG the argument is a `getevents_arg`, which `SubmitArgs` is; it and the
                // timespec outlive the call.
                unsafe { submitter.enter(queued as u32, want, flags.bits(), Some(&arguments)) }
            }
        };
        self.ops.stats.enters += 1;
        let left = self.uring.submission().len();
        self.ops.stats.sqes += queued.saturating_sub(left) as u64;
        match taken {
            Ok(taken) => Ok(taken),
            // The time is over, a signal came, or the kernel wants completions read or memory freed first.
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(0),
                _ => Err(error),
            },
        }
    }

    fn drain(&mut self, buffers: &Rc<BufferRing>, out: &mut Vec<Completion>) {
        // The second round is for what did not fit into the completion queue. If still more waits,
        // `needs_turn` says so.
        for round in 0..2 {
            for cqe in self.uring.completion() {
                self.ops.complete(&cqe, buffers, out);
            }
            if round > 0 || !self.uring.submission().cq_overflow() {
                break;
            }
            self.ops.stats.cq_overflows += 1;
            if self.enter(0, None).is_err() {
                break;
            }
        }
    }

    /// Ends every operation; false if some could not be ended in time.
    fn wind_down(&mut self, buffers: &Rc<BufferRing>) -> bool {
        let start = Instant::now();
        let mut out = Vec::new();
        // What is queued goes first: a close must happen, and an entry must not be left behind in the queue.
        if self.has_queued() && self.submit(0, None).is_err() {
            return false;
        }
        let mut waited = true;
        while self.ops.slab.len() > 0 {
            if start.elapsed() > WIND_DOWN_MAX {
                return false;
            }
            if waited {
                let cancel = opcode::AsyncCancel2::new(CancelBuilder::any()).build().user_data(CONTROL);
                self.queue(&[cancel]);
            }
            let before = Instant::now();
            if self.submit(1, Some(WIND_DOWN_STEP)).is_err() {
                return false;
            }
            waited = before.elapsed() >= WIND_DOWN_STEP;
            self.drain(buffers, &mut out);
            out.clear();
            self.ops.dead.clear();
        }
        true
    }
}

/// A fresh eventfd.
fn event_descriptor() -> io::Result<File> {
    // SAFETY: a plain system call.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, owned by nobody else.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Whether the entry is linked to the one behind it: only a connect is, to its timeout.
fn begins_chain(entry: &squeue::Entry) -> bool {
    entry.get_opcode() == u32::from(opcode::Connect::CODE)
}

impl Drop for Shared {
    /// Cancels and waits for what is in flight, so that memory is freed only after the kernel is done with it.
    ///
    /// No future can be pending (each holds the ring), so all that is left are token operations and operations
    /// whose future was dropped. A disk operation cannot be cancelled while it runs; if one has not ended
    /// after [`WIND_DOWN_MAX`] (a dead network file system), everything the kernel might still touch is leaked.
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        let ended = inner.wind_down(&self.buffers);
        if ended {
            // Nothing is left that could take a buffer; if the kernel disagrees, the memory stays.
            if inner.uring.submitter().unregister_buf_ring(GROUP).is_err() {
                std::mem::forget(Rc::clone(&self.buffers));
            }
        } else {
            std::mem::forget(std::mem::replace(&mut inner.ops, Ops::new()));
            std::mem::forget(Rc::clone(&self.buffers));
        }
        self.buffers.retire();
    }
}
