//! Bodies of requests: bounded in size and time. They are read only when all that can be told from the head was looked
//! at, credentials first of all; only the few bytes of a login come from anybody.

use super::limits::{
    BODY_BYTES_MAX, BODY_SMALL_BYTES, BODY_TIMEOUT, LARGE_BODY_PATIENCE, LARGE_BODY_RATE_MIN,
    LARGE_BODY_WINDOW, LOGIN_BYTES_MAX, LOGIN_TIMEOUT,
};
use super::server::{Answer, plain};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

/// Whose body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Somebody who wants to log in.
    Stranger,
    /// Somebody who may ask.
    Client,
}

/// A whole body. While it lives, it counts among the large ones if it is one.
#[derive(Debug)]
pub(super) struct Received<'a> {
    pub(super) bytes: Vec<u8>,
    _permit: Option<SemaphorePermit<'a>>,
}

/// Receives the body of a request; otherwise the answer that says which bound it broke.
pub(super) async fn receive(
    mut body: impl Body<Data = Bytes> + Unpin,
    of: Of,
    large_bodies: &Semaphore,
) -> Result<Received<'_>, Answer> {
    let (bytes_max, time, small_max) = match of {
        Of::Stranger => (LOGIN_BYTES_MAX, LOGIN_TIMEOUT, LOGIN_BYTES_MAX),
        Of::Client => (BODY_BYTES_MAX, BODY_TIMEOUT, BODY_SMALL_BYTES),
    };
    let claimed = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if claimed > bytes_max {
        return Err(too_large(of));
    }
    let mut permit = None;
    let mut bytes = Vec::with_capacity(claimed.min(small_max));
    let mut pace = Pace::begin(time);
    if claimed > small_max {
        permit = Some(large(large_bodies).await?);
        pace = Pace::begin(LARGE_BODY_WINDOW);
    }
    loop {
        let frame = match timeout_at(pace.until, body.frame()).await {
            Ok(frame) => frame,
            // Enough of it came: it goes on.
            Err(_) if permit.is_some() && pace.goes_on(bytes.len()) => continue,
            Err(_) => {
                return Err(plain(StatusCode::REQUEST_TIMEOUT, "the body of the request came too slowly\n"));
            }
        };
        let data = match frame {
            None => return Ok(Received { bytes, _permit: permit }),
            Some(Err(_)) => {
                return Err(plain(StatusCode::BAD_REQUEST, "the body of the request is broken\n"));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                // Trailers say nothing.
                Err(_) => continue,
            },
        };
        if bytes.len() + data.len() > bytes_max {
            return Err(too_large(of));
        }
        bytes.extend_from_slice(&data);
        // One that did not say how long it is takes part in the same bounds.
        if permit.is_none() && bytes.len() > small_max {
            permit = Some(large(large_bodies).await?);
            pace = Pace::begin(LARGE_BODY_WINDOW);
            pace.seen = bytes.len();
        }
    }
}

/// A body that is made while it is sent: it goes on until the other end of the channel is dropped.
pub(super) struct Streamed(pub(super) mpsc::Receiver<Bytes>);

impl Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

/// Until when more has to come.
struct Pace {
    until: Instant,
    /// Bytes that had come when this time began.
    seen: usize,
}

impl Pace {
    fn begin(time: Duration) -> Self {
        Self { until: Instant::now() + time, seen: 0 }
    }

    /// Whether enough has come in the time that is over; the next one begins.
    fn goes_on(&mut self, received: usize) -> bool {
        let enough = LARGE_BODY_RATE_MIN * LARGE_BODY_WINDOW.as_secs() as usize;
        let goes_on = received - self.seen >= enough;
        *self = Self { seen: received, ..Self::begin(LARGE_BODY_WINDOW) };
        goes_on
    }
}

async fn large(large_bodies: &Semaphore) -> Result<SemaphorePermit<'_>, Answer> {
    match timeout(LARGE_BODY_PATIENCE, large_bodies.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(plain(StatusCode::SERVICE_UNAVAILABLE, "too many large requests at once; try again\n")),
    }
}

fn too_large(of: Of) -> Answer {
    let why = match of {
        Of::Stranger => "a login is a name and a password\n",
        Of::Client => "add large torrents by their path\n",
    };
    plain(StatusCode::PAYLOAD_TOO_LARGE, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of `count` chunks of `bytes`, one each `pause`.
    fn chunks(count: usize, bytes: usize, pause: Duration) -> Streamed {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..count {
                tokio::time::sleep(pause).await;
                if sender.send(vec![b'x'; bytes].into()).await.is_err() {
                    return;
                }
            }
        });
        Streamed(receiver)
    }

    fn run<F: Future<Output = ()>>(test: F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(test);
    }

    fn refused(received: Result<Received<'_>, Answer>) -> u16 {
        received.map(|received| received.bytes.len()).unwrap_err().status().as_u16()
    }

    #[test]
    fn a_login_is_small_and_quick_and_holds_no_permit() {
        run(async {
            let none = Semaphore::new(0);
            let login = receive(chunks(4, 1000, Duration::from_secs(1)), Of::Stranger, &none).await;
            assert_eq!(login.unwrap().bytes.len(), 4000);
            let long = receive(chunks(100, 1000, Duration::ZERO), Of::Stranger, &none).await;
            assert_eq!(refused(long), 413);
            let slow = receive(chunks(100, 1, Duration::from_secs(1)), Of::Stranger, &none).await;
            assert_eq!(refused(slow), 408);
        });
    }

    #[test]
    fn large_bodies_hold_their_permits_only_while_they_come() {
        run(async {
            let permits = Semaphore::new(1);
            let second = Duration::from_secs(1);
            // A slow line: 2 MiB at 64 KiB/s.
            let slow = receive(chunks(32, 64 << 10, second), Of::Client, &permits).await.unwrap();
            assert_eq!((slow.bytes.len(), permits.available_permits()), (2 << 20, 0));
            // Another one waits, and is told to try again.
            let other = receive(chunks(32, 64 << 10, Duration::ZERO), Of::Client, &permits).await;
            assert_eq!(refused(other), 503);
            drop(slow);
            // The start of a large one, and then next to nothing.
            let (stuck, next) =
                tokio::join!(receive(chunks(2000, 1 << 10, second / 20), Of::Client, &permits), async {
                    let next = receive(chunks(32, 64 << 10, second), Of::Client, &permits).await;
                    next.unwrap().bytes.len()
                });
            assert_eq!((refused(stuck), next), (408, 2 << 20));
            assert_eq!(permits.available_permits(), 1);
        });
    }
}
