//! The end of a session.

use super::Session;
use crate::limits::SHUTDOWN_MAX;
use crate::shard::message::{FromShard, ToShard};
use std::time::Duration;

impl Session {
    /// Whether a stop was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Stops everything: trackers are told while shards finish, then the last state is saved.
    pub async fn stop(mut self, inbox: &mut super::super::Inbox) {
        self.broadcast(|| ToShard::Shutdown);
        let announcer = self.parts.announcer.clone();
        let deadline = tokio::time::Instant::now() + SHUTDOWN_MAX - Duration::from_millis(500);
        let trackers = async {
            announcer.shutdown(SHUTDOWN_MAX - Duration::from_secs(1)).await;
        };
        let shards = async {
            while self.ended.len() < self.parts.shards.len() {
                let Ok(message) = tokio::time::timeout_at(deadline, inbox.next()).await else { break };
                match message {
                    // The end of the process is not the end of the torrent: it runs again next time.
                    FromShard::Stopped { info_hash, durable: Some(durable), .. } => {
                        self.made_durable(info_hash, durable);
                    }
                    message
                    @ (FromShard::Durable(..) | FromShard::Ended { .. } | FromShard::Completed(_)) => {
                        self.on_shard(message);
                    }
                    _ => {}
                }
                self.flush();
            }
        };
        tokio::join!(trackers, shards);
        self.finish_flushes(deadline).await;
        self.save_progress();
        self.save_totals(usize::MAX);
        self.save_times();
        if let Some(reply) = self.shutdown.take() {
            let _ = reply.send(());
        }
    }
}
