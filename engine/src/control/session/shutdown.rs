//! The end of a session.

use super::super::activity::{Activity, Handling};
use super::super::torrent::Torrent;
use super::Session;
use crate::limits::SHUTDOWN_MAX;
use crate::shard::message::{FromShard, ToShard};
use ringseed_handle::EngineError;
use std::collections::HashSet;
use std::time::Duration;

/// How long trackers wait for the shards to count what they moved: they do so in the turn that hears of the stop.
const COUNT_WAIT: Duration = Duration::from_millis(500);

impl Session {
    /// Whether a stop was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Stops everything: trackers are told while shards finish, then the last state is saved.
    pub async fn stop(mut self, inbox: &mut super::super::Inbox) {
        // A copy to another file system may take hours: it ends where it is, and the next start goes on.
        for torrent in self.torrents.values() {
            if let Activity::Handling { handling: Handling { progress, .. }, .. } = &torrent.activity {
                progress.leave();
            }
        }
        // What was removed is out of the store.
        for (torrent_id, ticket) in std::mem::take(&mut self.leaving)
            .into_iter()
            .flat_map(|(torrent_id, tickets)| tickets.into_iter().map(move |ticket| (torrent_id, ticket)))
        {
            if self.by_id(&torrent_id).is_some_and(Torrent::loses_files) {
                let reason = "it is removed, but the engine stops before all of its files are deleted";
                ticket.fail(torrent_id, EngineError::Storage(reason.into()));
            }
            if let Some(unanswered) = std::rc::Rc::into_inner(ticket) {
                unanswered.end();
            }
        }
        self.broadcast(|| ToShard::Shutdown);
        let announcer = self.parts.announcer.clone();
        let deadline = tokio::time::Instant::now() + SHUTDOWN_MAX - Duration::from_millis(500);
        let (all_counted, counted) = tokio::sync::oneshot::channel::<()>();
        let trackers = async {
            let most = tokio::time::Instant::now() + SHUTDOWN_MAX - Duration::from_secs(1);
            // What was moved last is told as well; a shard that is held up holds up no tracker.
            let _ = tokio::time::timeout(COUNT_WAIT, counted).await;
            announcer.shutdown(most - tokio::time::Instant::now()).await;
        };
        let mut all_counted = Some(all_counted);
        let mut uncounted: HashSet<usize> = (0..self.parts.shards.len()).collect();
        let shards = async {
            while self.ended.len() < self.parts.shards.len() {
                let Ok(message) = tokio::time::timeout_at(deadline, inbox.next()).await else { break };
                if let FromShard::Counted { shard } | FromShard::Ended { shard } = &message {
                    uncounted.remove(shard);
                    if uncounted.is_empty() {
                        drop(all_counted.take());
                    }
                }
                match message {
                    // The end of the process is not the end of the torrent: it runs again next time.
                    FromShard::Stopped { torrents, .. } => self.made_durable_at_stop(torrents),
                    message @ (FromShard::Durable(..)
                    | FromShard::Ended { .. }
                    | FromShard::Completed { .. }) => {
                        self.on_shard(message);
                    }
                    _ => {}
                }
                self.flush();
            }
        };
        tokio::join!(trackers, shards);
        self.finish_flushes(deadline).await;
        self.last_attempt(deadline).await;
        self.save_progress();
        self.save_all_owed();
        self.save_totals(usize::MAX);
        self.save_times();
        if let Some(reply) = self.shutdown.take() {
            let _ = reply.send(());
        }
    }
}
