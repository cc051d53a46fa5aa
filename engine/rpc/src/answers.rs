//! Long answers: a few are made at once, and those on their way to clients have a bounded number of bytes together, however
//! many clients ask for all torrents and read slowly.
//!
//! A request takes its turn before the first long part of its answer is written, and gives it back when the whole
//! answer has its place among those that are sent.

use super::error::LimitReached;
use super::limits::{
    ANSWER_SMALL_BYTES, LONG_ANSWER_BYTES_ALL_MAX, LONG_ANSWER_PATIENCE, LONG_ANSWERS_MADE_MAX,
};
use super::server::{Answer, plain};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::{Response, StatusCode};
use std::cell::RefCell;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// The long answers of all clients.
pub(super) struct LongAnswers {
    made: Semaphore,
    /// Room for those that are sent, in KiB.
    room: Arc<Semaphore>,
}

impl Default for LongAnswers {
    fn default() -> Self {
        let room = Semaphore::new(LONG_ANSWER_BYTES_ALL_MAX >> 10);
        Self { made: Semaphore::new(LONG_ANSWERS_MADE_MAX), room: Arc::new(room) }
    }
}

/// A request's right to make a long answer, once it has taken it and until this is dropped.
pub(super) struct AnswerTurn<'a> {
    answers: &'a LongAnswers,
    held: RefCell<Option<SemaphorePermit<'a>>>,
}

impl AnswerTurn<'_> {
    /// Waits for it; one that has it goes on.
    ///
    /// # Errors
    /// When none came.
    pub(super) async fn take(&self) -> Result<(), LimitReached> {
        if self.held.borrow().is_none() {
            let permit = timeout(LONG_ANSWER_PATIENCE, self.answers.made.acquire()).await;
            *self.held.borrow_mut() =
                Some(permit.ok().and_then(Result::ok).ok_or(LimitReached::LongAnswers)?);
        }
        Ok(())
    }
}

/// The bytes of an answer, and their place.
struct Placed {
    bytes: Bytes,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl LongAnswers {
    pub(super) fn turn(&self) -> AnswerTurn<'_> {
        AnswerTurn { answers: self, held: RefCell::new(None) }
    }

    /// The answer, once there is room for it, which it has until it is sent or dropped. Short ones need none.
    pub(super) async fn place(&self, answer: Answer) -> Answer {
        let length = answer.body().size_hint().lower();
        if length <= ANSWER_SMALL_BYTES as u64 {
            return answer;
        }
        // One that is larger than all the room is sent alone.
        let room = usize::try_from(length >> 10).unwrap_or(usize::MAX).min(LONG_ANSWER_BYTES_ALL_MAX >> 10);
        let place = self.room.clone().acquire_many_owned(room as u32);
        let Ok(Ok(place)) = timeout(LONG_ANSWER_PATIENCE, place).await else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", LimitReached::LongAnswers));
        };
        let (head, body) = answer.into_parts();
        let Ok(bytes) = body.collect().await.map(|body| body.to_bytes());
        Response::from_parts(head, Full::new(Bytes::from_owner(Placed { bytes, _place: place })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<F: Future<Output = ()>>(test: F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn few_are_made_at_once() {
        run(async {
            let answers = LongAnswers::default();
            let turns: Vec<_> = (0..LONG_ANSWERS_MADE_MAX).map(|_| answers.turn()).collect();
            for turn in &turns {
                turn.take().await.unwrap();
                turn.take().await.expect("one is enough for a batch");
            }
            let last = answers.turn();
            assert_eq!(last.take().await, Err(LimitReached::LongAnswers));
            drop(turns);
            assert_eq!(last.take().await, Ok(()));
        });
    }

    /// 200 clients that asked for all of 2,000 torrents and read slowly took more than a GiB.
    #[test]
    fn those_that_are_sent_have_their_bytes_together() {
        const LENGTH: usize = 4 << 20;
        run(async {
            let answers = LongAnswers::default();
            let long = || plain(StatusCode::OK, vec![b'x'; LENGTH]);
            let mut sent = Vec::new();
            for _ in 0..LONG_ANSWER_BYTES_ALL_MAX / LENGTH {
                sent.push(answers.place(long()).await);
                assert_eq!(sent.last().unwrap().status(), StatusCode::OK);
            }
            assert_eq!(answers.place(long()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answers.place(plain(StatusCode::OK, "short")).await.status(), StatusCode::OK);
            // The client took one of them.
            let taken = sent.pop().unwrap().into_body().collect().await.unwrap().to_bytes();
            assert_eq!(taken.len(), LENGTH);
            drop(taken);
            assert_eq!(answers.place(long()).await.status(), StatusCode::OK);
            drop(sent);
            let huge = plain(StatusCode::OK, vec![b'x'; LONG_ANSWER_BYTES_ALL_MAX + LENGTH]);
            assert_eq!(answers.place(huge).await.status(), StatusCode::OK);
        });
    }
}
