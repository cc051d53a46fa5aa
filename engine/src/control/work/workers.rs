//! Does the session's work beside the control thread.

use super::{Done, Work};
use crate::limits::{CONTROL_QUEUE, FILE_WORKS_MAX};
use ringseed_announce::Announcer;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Does work on tokio's blocking threads.
pub struct Workers {
    done: mpsc::Sender<Done>,
    /// Places for work on files: more at once would make each of it slower, and keep other work from the threads for it.
    places: Arc<Semaphore>,
    announcer: Rc<Announcer>,
}

impl Workers {
    /// Workers, and how what they do ends.
    pub fn new(announcer: Rc<Announcer>) -> (Workers, mpsc::Receiver<Done>) {
        let (done, ended) = mpsc::channel(CONTROL_QUEUE);
        (Workers { done, places: Arc::new(Semaphore::new(FILE_WORKS_MAX)), announcer }, ended)
    }

    /// Begins with work, on the current tokio `LocalSet`. What cannot begin yet waits: there is no more of it than torrents
    /// and commands.
    pub fn begin(&self, work: Work) {
        let done = self.done.clone();
        if let Work::TellTrackers(most) = work {
            return self.tell_trackers(most);
        }
        let places = work.takes_place().then(|| self.places.clone());
        tokio::task::spawn_local(async move {
            let _place = match places {
                Some(places) => places.acquire_owned().await.ok(),
                None => None,
            };
            let ended_badly = work.ended_badly();
            let end = tokio::task::spawn_blocking(move || work.run()).await.unwrap_or_else(|error| {
                tracing::error!(%error, "work beside the control thread has ended badly");
                ended_badly
            });
            // The session may be gone.
            let _ = done.send(end).await;
        });
    }

    fn tell_trackers(&self, most: Duration) {
        let (done, announcer) = (self.done.clone(), self.announcer.clone());
        tokio::task::spawn_local(async move {
            announcer.shutdown(most).await;
            let _ = done.send(Done::TrackersTold).await;
        });
    }
}
