//! The glommio executors of shards, and how tasks on them give way to each other.

use glommio::io::{PollState, PollableFd};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use rustix::event::{EventfdFlags, eventfd};
use std::cell::{Cell, OnceCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// glommio's timer that interrupts ready tasks so that its own rings are looked at: never.
///
/// glommio-ng 0.12 takes an interruption that comes before the first task of a turn for having no task, and sleeps
/// although one is ready; until some other event comes, nothing wakes it. A thread that loses its core for longer than
/// the timer at that moment is enough. Mended there after that version (<https://github.com/glommio/glommio/pull/53>);
/// until it is released tasks that run long have the rings looked at themselves ([`give_way`]).
const INTERRUPT_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Time after which tasks that are always ready let glommio look at its own rings, which carry timers and wake-ups.
const LOOK_AFTER: Duration = Duration::from_millis(5);

/// An executor whose tasks [`give_way`] to each other.
pub struct Executor(LocalExecutor);

impl Executor {
    /// Makes the executor of this thread. Its own rings are small: files and sockets are on the data ring.
    ///
    /// # Errors
    /// The kernel refuses a ring, or memory for it.
    pub fn new(placement: Placement) -> io::Result<Executor> {
        let builder = LocalExecutorBuilder::new(placement)
            .name("ringseed")
            .io_memory(64 << 10)
            .ring_depth(32)
            .preempt_timer(INTERRUPT_AFTER);
        builder.make().map(Executor).map_err(|error| io::Error::other(error.to_string()))
    }

    /// Runs until `future` is done.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        LOOKED_AT.set(Some(Instant::now()));
        let value = self.0.run(future);
        LOOKED_AT.set(None);
        value
    }
}

thread_local! {
    /// Readable at any time.
    static ALWAYS: OnceCell<Rc<OwnedFd>> = const { OnceCell::new() };
    /// When glommio last looked at its rings at the wish of [`give_way`]; `None` outside an [`Executor`].
    static LOOKED_AT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Lets the other ready tasks of this thread's executor run once and, at the latest after `LOOK_AFTER`, those for which
/// timers and descriptors that glommio watches are due. A loop that never waits for anything else has to call it. Outside
/// glommio's executors it only lets others run.
pub async fn give_way() {
    let due = LOOKED_AT.get().is_some_and(|looked_at| looked_at.elapsed() >= LOOK_AFTER);
    if !due {
        return yield_now().await;
    }
    // Only when no task is ready glommio looks at its rings: this one waits for something that is there already. Other
    // tasks that give way meanwhile come here as well, for the time is set when the look is over.
    look().await;
    LOOKED_AT.set(Some(Instant::now()));
}

async fn look() {
    let Some(always) = always_readable() else { return yield_now().await };
    let mut state = PollState::new();
    // An error ends the wait as well.
    poll_fn(|context| always.poll_readable(context, &mut state).map(drop)).await;
}

/// `None` as long as the process is out of descriptors.
fn always_readable() -> Option<PollableFd<Rc<OwnedFd>>> {
    let event = ALWAYS.with(|always| match always.get() {
        Some(event) => Some(Rc::clone(event)),
        None => {
            let event = eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
            Some(Rc::clone(always.get_or_init(|| Rc::new(event))))
        }
    })?;
    PollableFd::new(event).ok()
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::timer::Timer;
    use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    #[test]
    fn an_executor_that_loses_its_core_again_and_again_never_sleeps_beside_ready_tasks() {
        static OVER: AtomicBool = AtomicBool::new(false);
        let mut core = CpuSet::new();
        core.set(sched_getcpu());
        let mut others = Vec::new();
        for _ in 0..6 {
            others.push(std::thread::spawn(move || {
                sched_setaffinity(None, &core).unwrap();
                while !OVER.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }));
        }
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            sched_setaffinity(None, &core).unwrap();
            Executor::new(Placement::Unbound).expect("glommio starts").run(async {
                // Each look wakes this task, and is a chance to lose the core between that and its turn.
                for _ in 0..20_000 {
                    look().await;
                }
            });
            let _ = sender.send(());
        });
        let ended = receiver.recv_timeout(Duration::from_secs(60));
        OVER.store(true, Ordering::Relaxed);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(ended, Ok(()), "the executor sleeps beside a task that is ready");
    }

    #[test]
    fn outside_an_executor_it_is_no_more_than_a_pause() {
        let began = Instant::now();
        while began.elapsed() < LOOK_AFTER * 3 {
            let mut pause = std::pin::pin!(give_way());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(pause.as_mut().poll(&mut context).is_pending());
            assert!(pause.as_mut().poll(&mut context).is_ready());
        }
    }

    #[test]
    fn timers_are_due_beside_a_task_that_is_always_ready() {
        Executor::new(Placement::Unbound).expect("glommio starts").run(async {
            let late = Rc::new(Cell::new(false));
            let due = Rc::clone(&late);
            glommio::spawn_local(async move {
                Timer::new(Duration::from_millis(1)).await;
                due.set(true);
            })
            .detach();
            while !late.get() {
                give_way().await;
            }
        });
    }
}
