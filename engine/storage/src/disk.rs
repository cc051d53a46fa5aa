//! Whole reads and writes over the ring, and waiting without an executor's help.

use ringseed_ring::{IoBuf, Ring, WriteSlice};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::limits::CHUNK_BYTES;

/// Appends `length` bytes at `offset` of a file to `buf`, in reads of at most 1 MiB. The buffer comes back with
/// what was read: less than asked at the end of the file or on an error.
pub(super) async fn read_fully(
    ring: &Ring,
    file: &Arc<OwnedFd>,
    mut buf: IoBuf,
    mut offset: u64,
    length: usize,
) -> (io::Result<()>, IoBuf) {
    let end = buf.len() + length;
    while buf.len() < end {
        let want = (end - buf.len()).min(CHUNK_BYTES);
        let (result, back) = ring.read_at(file, buf, offset, want).await;
        buf = back;
        match result {
            Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buf),
            Ok(read) => offset += read as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (Err(error), buf),
        }
    }
    (Ok(()), buf)
}

/// Writes `length` bytes of `data` from `from` at `offset` of a file, in writes of at most 1 MiB.
pub(super) async fn write_fully<T: AsRef<[u8]> + 'static>(
    ring: &Ring,
    file: &Arc<OwnedFd>,
    data: &Rc<T>,
    mut from: usize,
    mut offset: u64,
    length: usize,
) -> io::Result<()> {
    let end = from + length;
    while from < end {
        let slice = WriteSlice::from_rc(Rc::clone(data), from..end.min(from + CHUNK_BYTES));
        match ring.write_at(file, slice, offset).await {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                from += written;
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until `attempt` gives something. For what another shard has to give back, which is rare and takes
/// as long as a disk does; hence by asking again, with growing pauses of 1 to 8 ms.
pub(super) async fn until<T>(ring: &Ring, mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        ring.timeout(pause).await;
        pause = (pause * 2).min(Duration::from_millis(8));
    }
}

/// Futures that run together and end in the order they were begun in.
pub(super) struct InOrder<'a, T> {
    queue: VecDeque<Slot<'a, T>>,
}

enum Slot<'a, T> {
    Running(Pin<Box<dyn Future<Output = T> + 'a>>),
    Done(T),
}

impl<'a, T> InOrder<'a, T> {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn push(&mut self, future: impl Future<Output = T> + 'a) {
        self.queue.push_back(Slot::Running(Box::pin(future)));
    }

    /// The result of the oldest; `None` when there is none.
    pub(super) async fn next(&mut self) -> Option<T> {
        poll_fn(|cx| {
            for slot in &mut self.queue {
                if let Slot::Running(future) = slot
                    && let Poll::Ready(value) = future.as_mut().poll(cx)
                {
                    *slot = Slot::Done(value);
                }
            }
            match self.queue.front() {
                None => Poll::Ready(None),
                Some(Slot::Running(_)) => Poll::Pending,
                Some(Slot::Done(_)) => match self.queue.pop_front() {
                    Some(Slot::Done(value)) => Poll::Ready(Some(value)),
                    _ => unreachable!("the front was just seen to be done"),
                },
            }
        })
        .await
    }
}
