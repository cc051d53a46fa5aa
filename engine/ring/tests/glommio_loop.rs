//! The loop of the crate's documentation inside a glommio executor: it wakes for socket data, for a
//! descriptor written by another thread and for futures of other tasks, and it does not spin in between.
//! Turns are counted, not timed.

mod support;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use glommio::io::{PollState, PollableFd};
use glommio::{LocalExecutorBuilder, Placement, channels::local_channel};
use ringseed_ring::{Completion, Event, IoBuf, Ring, RingConfig, SendList};

struct Watch(RawFd);
impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// The documented loop, which counts its turns and hands completions to `handle` until that says stop.
async fn drive(ring: Ring, turns: Rc<Cell<u64>>, mut handle: impl FnMut(Completion), stop: Rc<Cell<bool>>) {
    let readable = PollableFd::new(Watch(ring.as_raw_fd())).unwrap();
    let mut registration = PollState::new();
    let mut completions = Vec::new();
    while !stop.get() {
        turns.set(turns.get() + 1);
        ring.submit().unwrap();
        ring.drain(&mut completions);
        completions.drain(..).for_each(&mut handle);
        if ring.needs_turn() {
            glommio::yield_if_needed().await;
            continue;
        }
        if stop.get() {
            return;
        }
        poll_fn(|cx| match ring.poll_queued(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => readable.poll_readable(cx, &mut registration),
        })
        .await
        .unwrap();
    }
}

fn in_executor<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
    LocalExecutorBuilder::new(Placement::Unbound)
        .spawn(|| async move { test().await })
        .unwrap()
        .join()
        .unwrap();
}

fn small() -> Ring {
    Ring::new(&RingConfig {
        sq_entries: 64,
        cq_entries: 256,
        recv_buffers: 16,
        recv_buffers_first: 16,
        recv_buffer_len: 4096,
    })
    .unwrap()
}

/// A loop in the background, with its completions in a channel.
struct Background {
    ring: Ring,
    turns: Rc<Cell<u64>>,
    stop: Rc<Cell<bool>>,
    events: local_channel::LocalReceiver<Completion>,
    task: glommio::Task<()>,
}

fn background() -> Background {
    let ring = small();
    let (turns, stop) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let (sender, events) = local_channel::new_unbounded();
    let handle = move |completion| sender.try_send(completion).unwrap();
    let task = glommio::spawn_local(drive(ring.clone(), Rc::clone(&turns), handle, Rc::clone(&stop)));
    Background { ring, turns, stop, events, task }
}

impl Background {
    async fn finish(self) {
        self.stop.set(true);
        // Something queued wakes the loop.
        drop(self.ring.timeout(Duration::ZERO));
        self.task.await;
    }
}

#[test]
fn wakes_for_socket_data_once_per_message() {
    in_executor(|| async {
        let bg = background();
        let (a, b) = support::pair();
        bg.ring.recv_multishot(b.as_raw_fd(), 1);
        let (ask, asked) = mpsc::channel::<()>();
        let writer = std::thread::spawn(move || {
            let mut a = a;
            // Writes only when told to: each message finds the loop with nothing to do.
            while asked.recv().is_ok() {
                a.write_all(b"ping").unwrap();
            }
        });
        // Let it start.
        ask.send(()).unwrap();
        assert!(matches!(bg.events.recv().await.unwrap().event, Event::Received(_)));
        let before = bg.turns.get();
        for _ in 0..200 {
            ask.send(()).unwrap();
            let done = bg.events.recv().await.unwrap();
            assert!(matches!(&done.event, Event::Received(buf) if &buf[..] == b"ping"), "{done:?}");
        }
        let turns = bg.turns.get() - before;
        // One turn for the data, at most one more for a registration that had fired as well.
        assert!((200..=2 * 200 + 2).contains(&turns), "{turns} turns for 200 messages");
        drop(ask);
        writer.join().unwrap();
        assert!(matches!(bg.events.recv().await.unwrap().event, Event::Closed));
        bg.finish().await;
    });
}

#[test]
fn an_idle_loop_makes_no_turns() {
    in_executor(|| async {
        let bg = background();
        let (a, b) = support::pair();
        bg.ring.recv_multishot(b.as_raw_fd(), 1);
        (&a).write_all(b"x").unwrap();
        bg.events.recv().await.unwrap();
        // Operations are in flight, nothing happens to them. Other tasks run, the executor goes around and
        // sleeps in the kernel many times.
        for _ in 0..3 {
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        let before = bg.turns.get();
        for _ in 0..50 {
            glommio::yield_if_needed().await;
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(bg.turns.get(), before, "nothing happened, so the loop had nothing to do");
        bg.finish().await;
        drop(a);
    });
}

#[test]
fn wakes_for_an_eventfd_written_by_another_thread() {
    in_executor(|| async {
        let bg = background();
        // SAFETY: a plain system call.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        assert!(fd >= 0);
        // SAFETY: just made, owned by nobody else.
        let event = Arc::new(std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) }));
        let op = bg.ring.poll_in(event.as_raw_fd(), 42, true);
        let (ask, asked) = mpsc::channel::<()>();
        let remote = Arc::clone(&event);
        let mailbox = std::thread::spawn(move || {
            while asked.recv().is_ok() {
                (&*remote).write_all(&1u64.to_ne_bytes()).unwrap();
            }
        });
        let mut total = 0;
        for _ in 0..100 {
            ask.send(()).unwrap();
            let done = bg.events.recv().await.unwrap();
            assert!(matches!(done.event, Event::Readable) && done.more && done.token == 42, "{done:?}");
            let mut count = [0; 8];
            (&*event).read_exact(&mut count).unwrap();
            total += u64::from_ne_bytes(count);
        }
        assert_eq!(total, 100);
        assert!(bg.turns.get() <= 2 * 100 + 4, "{} turns", bg.turns.get());
        drop(ask);
        mailbox.join().unwrap();
        bg.ring.cancel(op);
        assert!(matches!(bg.events.recv().await.unwrap().event, Event::Cancelled));
        bg.finish().await;
    });
}

#[test]
fn wakes_for_a_pipe_read_through_the_ring() {
    in_executor(|| async {
        let bg = background();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let reader: Arc<OwnedFd> = Arc::new(reader.into());
        let (ask, asked) = mpsc::channel::<()>();
        let remote = std::thread::spawn(move || {
            while asked.recv().is_ok() {
                writer.write_all(b"ping").unwrap();
            }
        });
        for _ in 0..50 {
            let read = bg.ring.read_at(&reader, IoBuf::with_capacity(8), 0, 8);
            ask.send(()).unwrap();
            let (n, buf) = read.await;
            assert_eq!((n.unwrap(), &buf[..]), (4, &b"ping"[..]));
        }
        drop(ask);
        remote.join().unwrap();
        bg.finish().await;
    });
}

#[test]
fn futures_of_other_tasks_are_submitted_and_woken() {
    in_executor(|| async {
        let bg = background();
        let file: Arc<OwnedFd> = Arc::new(tempfile::tempfile().unwrap().into());
        let tasks: Vec<_> = (0..50u64)
            .map(|n| {
                let (ring, file) = (bg.ring.clone(), Arc::clone(&file));
                glommio::spawn_local(async move {
                    let data = vec![n as u8; 1000];
                    assert_eq!(ring.write_at(&file, IoBuf::from_slice(&data), n * 1000).await.unwrap(), 1000);
                    ring.timeout(Duration::from_micros(n)).await;
                    let (read, buf) = ring.read_at(&file, IoBuf::with_capacity(1000), n * 1000, 1000).await;
                    assert_eq!((read.unwrap(), &buf[..]), (1000, &data[..]));
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let stats = bg.ring.stats();
        assert_eq!(stats.sqes, 150);
        assert!(stats.enters < 150 * 2 + 4, "{stats:?}");
        bg.finish().await;
    });
}

#[test]
fn echoes_between_two_connections_through_the_loop() {
    const BYTES: usize = 4 << 20;
    in_executor(|| async {
        let ring = small();
        let (a, b) = support::pair();
        let data = Rc::new(support::pattern(BYTES));
        let (got, stop) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(false)));
        let mut list = SendList::new();
        list.push_bytes(&data);
        ring.send(a.as_raw_fd(), 1, list);
        ring.recv_multishot(b.as_raw_fd(), 2);
        let handle = {
            let (ring, got, stop) = (ring.clone(), Rc::clone(&got), Rc::clone(&stop));
            let (a_fd, b_fd) = (a.as_raw_fd(), b.as_raw_fd());
            move |done: Completion| {
                let more = done.more;
                match done.event {
                    Event::Sent { bytes, mut list } => {
                        list.advance(bytes);
                        if !list.is_empty() {
                            ring.send(a_fd, 1, list);
                        }
                    }
                    Event::Received(buf) => {
                        got.borrow_mut().extend_from_slice(&buf);
                        drop(buf);
                        stop.set(got.borrow().len() == BYTES);
                        if !more {
                            ring.recv_multishot(b_fd, 2);
                        }
                    }
                    // The buffers of this turn are back by the time the next entry is submitted.
                    Event::NoBuffers => drop(ring.recv_multishot(b_fd, 2)),
                    other => panic!("{other:?}"),
                }
            }
        };
        drive(ring.clone(), Rc::new(Cell::new(0)), handle, stop).await;
        assert!(*got.borrow() == *data);
    });
}

#[test]
fn a_loop_that_only_watches_the_descriptor_wakes_and_does_not_spin() {
    in_executor(|| async {
        let ring = small();
        let (a, b) = support::pair();
        let readable = PollableFd::new(Watch(ring.as_raw_fd())).unwrap();
        // SAFETY: a plain system call.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        assert!(fd >= 0);
        // SAFETY: just made, owned by nobody else.
        let event = Arc::new(std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) }));
        ring.recv_multishot(b.as_raw_fd(), 1);
        ring.poll_in(event.as_raw_fd(), 2, true);
        let (ask, asked) = mpsc::channel::<bool>();
        let remote = Arc::clone(&event);
        let writer = std::thread::spawn(move || {
            let mut a = a;
            while let Ok(through_event) = asked.recv() {
                match through_event {
                    true => (&*remote).write_all(&1u64.to_ne_bytes()).unwrap(),
                    false => a.write_all(b"ping").unwrap(),
                }
            }
        });
        let (mut done, mut turns) = (Vec::new(), 0);
        for message in 0..100 {
            ask.send(message % 2 == 0).unwrap();
            loop {
                turns += 1;
                ring.submit().unwrap();
                ring.drain(&mut done);
                match done.pop().map(|c| c.event) {
                    None => readable.readable().await.unwrap(),
                    Some(Event::Received(_)) => break,
                    Some(Event::Readable) => {
                        (&*event).read_exact(&mut [0; 8]).unwrap();
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(done.is_empty());
        }
        assert!(turns <= 100 * 4, "{turns} turns for 100 messages");
        drop(ask);
        writer.join().unwrap();
    });
}
