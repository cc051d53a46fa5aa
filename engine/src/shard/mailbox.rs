//! Bounded mailboxes between threads, woken by an eventfd.
//!
//! The eventfd is polled by the receiver's own reactor (the data ring of a shard, tokio on the control
//! thread), so a message wakes it from sleep without either thread holding a lock.

use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

struct Shared<T> {
    queue: ArrayQueue<T>,
    event: OwnedFd,
    /// Whether the eventfd was written since the receiver last emptied the queue: saves a system call
    /// for every message but the first of a burst.
    signalled: AtomicBool,
}

/// Sending end; clone it for every thread that sends.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Receiving end; one thread owns it.
pub struct Receiver<T>(Arc<Shared<T>>);

/// Makes a mailbox for at most `capacity` messages.
///
/// # Errors
/// When the process is out of descriptors.
pub fn mailbox<T>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let shared =
        Arc::new(Shared { queue: ArrayQueue::new(capacity), event, signalled: AtomicBool::new(false) });
    Ok((Sender(shared.clone()), Receiver(shared)))
}

impl<T> Sender<T> {
    /// Puts a message in and wakes the receiver. A full mailbox gives the message back.
    pub fn send(&self, message: T) -> Result<(), T> {
        self.0.queue.push(message)?;
        if !self.0.signalled.swap(true, Ordering::AcqRel) {
            // The counter can only be at its maximum when the receiver is about to wake anyway.
            let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
        }
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Resets the wake-up, to be called before emptying the queue with [`Receiver::pop`].
    pub fn acknowledge(&self) {
        let mut counter = [0u8; 8];
        let _ = rustix::io::read(&self.0.event, &mut counter);
        // After the read: a sender that comes later writes the eventfd again, one that came before has
        // its message in the queue that the caller empties now.
        // The swap reads what that sender wrote, so its message is visible to the pops that follow.
        self.0.signalled.swap(false, Ordering::AcqRel);
    }

    /// Takes the oldest message.
    pub fn pop(&self) -> Option<T> {
        self.0.queue.pop()
    }
}

impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

impl<T> AsRawFd for Receiver<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.event.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn readable<T>(receiver: &Receiver<T>, wait: bool) -> bool {
        let timeout = rustix::event::Timespec { tv_sec: if wait { 10 } else { 0 }, tv_nsec: 0 };
        poll(&mut [PollFd::new(receiver, PollFlags::IN)], Some(&timeout)).unwrap() == 1
    }

    #[test]
    fn a_message_makes_the_receiver_readable_until_it_is_acknowledged() {
        let (sender, receiver) = mailbox(2).unwrap();
        assert!(!readable(&receiver, false));
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        assert_eq!(sender.send(3), Err(3), "a full mailbox gives the message back");
        assert!(readable(&receiver, true));
        receiver.acknowledge();
        assert!(!readable(&receiver, false));
        assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some(1), Some(2), None));
        sender.send(4).unwrap();
        assert!(readable(&receiver, true), "a message after the acknowledgement wakes again");
    }

    #[test]
    fn no_message_is_slept_through() {
        let (sender, receiver) = mailbox(64).unwrap();
        const COUNT: u64 = 200_000;
        let thread = std::thread::spawn(move || {
            for number in 0..COUNT {
                let mut message = number;
                while let Err(back) = sender.send(message) {
                    message = back;
                    std::thread::yield_now();
                }
            }
        });
        let mut next = 0;
        while next < COUNT {
            assert!(readable(&receiver, true), "slept through message {next}");
            receiver.acknowledge();
            while let Some(number) = receiver.pop() {
                assert_eq!(number, next);
                next += 1;
            }
        }
        thread.join().unwrap();
    }
}
