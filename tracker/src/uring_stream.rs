//! hyper's `Read` and `Write` over a tokio-uring socket.
//!
//! hyper lends its buffers for a poll, the ring keeps a buffer until the kernel is done: so each direction has its
//! own buffer, which is either here or with its operation, and bytes are copied once.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio_uring::net::TcpStream;

use crate::limits::{HTTP_READ_BYTES, HTTP_WRITE_BYTES_MAX, HTTP_WRITE_TIMEOUT};

/// An operation that owns its buffer.
type Pending<T> = Pin<Box<dyn Future<Output = (io::Result<T>, Vec<u8>)>>>;

enum Reading {
    /// Nothing is under way; what lies in the buffer from `from` on has not been handed out.
    Here {
        buffer: Vec<u8>,
        from: usize,
    },
    InFlight(Pending<usize>),
    /// An operation failed or panicked; there is no buffer any more.
    Failed,
}

enum Writing {
    /// Nothing is under way.
    Here(Vec<u8>),
    InFlight(Pending<()>),
    Failed,
}

/// One connection. Clones are the same connection: hyper has one, its task keeps another to close it.
#[derive(Clone)]
pub(crate) struct UringStream(Rc<Inner>);

struct Inner {
    socket: Rc<TcpStream>,
    reading: RefCell<Reading>,
    writing: RefCell<Writing>,
}

impl UringStream {
    pub(crate) fn new(socket: TcpStream) -> UringStream {
        UringStream(Rc::new(Inner {
            socket: Rc::new(socket),
            reading: RefCell::new(Reading::Here { buffer: Vec::with_capacity(HTTP_READ_BYTES), from: 0 }),
            writing: RefCell::new(Writing::Here(Vec::new())),
        }))
    }

    /// Ends the connection and returns when the kernel works on none of its buffers any more. A dropped
    /// operation would otherwise keep the descriptor open until the client closes.
    pub(crate) async fn close(&self) {
        let inner = &self.0;
        // Fails only if the client has closed already; what the operations end with does not matter then either.
        let _ = inner.socket.shutdown(Shutdown::Both);
        if let Reading::InFlight(read) = inner.reading.replace(Reading::Failed) {
            let _ = read.await;
        }
        if let Writing::InFlight(write) = inner.writing.replace(Writing::Failed) {
            let _ = write.await;
        }
    }
}

impl Inner {
    fn poll_read(&self, cx: &mut Context<'_>, mut out: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut reading = self.reading.borrow_mut();
        loop {
            match &mut *reading {
                Reading::Failed => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                Reading::Here { buffer, from } if *from < buffer.len() => {
                    let count = out.remaining().min(buffer.len() - *from);
                    out.put_slice(&buffer[*from..*from + count]);
                    *from += count;
                    return Poll::Ready(Ok(()));
                }
                Reading::Here { buffer, .. } => {
                    let mut buffer = std::mem::take(buffer);
                    buffer.clear();
                    let socket = self.socket.clone();
                    *reading = Reading::InFlight(Box::pin(async move { socket.read(buffer).await }));
                }
                Reading::InFlight(read) => {
                    let (result, buffer) = ready!(read.as_mut().poll(cx));
                    match result {
                        Ok(count) => {
                            *reading = Reading::Here { buffer, from: 0 };
                            if count == 0 {
                                return Poll::Ready(Ok(()));
                            }
                        }
                        Err(error) => {
                            *reading = Reading::Failed;
                            return Poll::Ready(Err(error));
                        }
                    }
                }
            }
        }
    }

    /// Ready when no write is under way.
    fn poll_written(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writing = self.writing.borrow_mut();
        match &mut *writing {
            Writing::Here(_) => Poll::Ready(Ok(())),
            Writing::Failed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Writing::InFlight(write) => {
                let (result, mut buffer) = ready!(write.as_mut().poll(cx));
                buffer.clear();
                *writing = if result.is_ok() { Writing::Here(buffer) } else { Writing::Failed };
                Poll::Ready(result)
            }
        }
    }

    /// Starts to write a copy of these bytes; called when nothing is under way.
    fn start_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(HTTP_WRITE_BYTES_MAX)];
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut writing = self.writing.borrow_mut();
        let Writing::Here(buffer) = &mut *writing else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let mut buffer = std::mem::take(buffer);
        buffer.extend_from_slice(bytes);
        let mut write: Pending<()> = Box::pin(write_in_time(self.socket.clone(), buffer));
        // Polled once, for an operation is handed to the ring by its first poll.
        *writing = match write.as_mut().poll(cx) {
            Poll::Pending => Writing::InFlight(write),
            Poll::Ready((Ok(()), mut buffer)) => {
                buffer.clear();
                Writing::Here(buffer)
            }
            Poll::Ready((Err(error), _)) => {
                *writing = Writing::Failed;
                return Poll::Ready(Err(error));
            }
        };
        Poll::Ready(Ok(bytes.len()))
    }
}

/// Writes everything, or ends the connection when the client takes too long to accept it.
async fn write_in_time(socket: Rc<TcpStream>, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
    let write = socket.write_all(buffer);
    tokio::pin!(write);
    tokio::select! {
        biased;
        written = &mut write => return written,
        () = tokio::time::sleep(HTTP_WRITE_TIMEOUT) => {}
    }
    // Makes the kernel end the operation, which has to be waited for: it has the buffer.
    let _ = socket.shutdown(Shutdown::Both);
    write.await
}

impl Read for UringStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

impl Write for UringStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_written(cx))?;
        self.0.start_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_written(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_written(cx))?;
        Poll::Ready(self.0.socket.shutdown(Shutdown::Write))
    }
}
