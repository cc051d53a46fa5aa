//! Bringing to disk what checks have found: a hash tells that a piece is right in memory, not that a power cut leaves it.
//! Until the files are flushed the next start hashes them again.

use super::Session;
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::TorrentStore;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Torrents that are flushed at once: each waits for a disk, and most have nothing to be written.
const FLUSHES_MAX: usize = 4;

/// Torrents whose files are being flushed, and those that wait for that.
#[derive(Default)]
pub(super) struct Flushes {
    waiting: VecDeque<(TorrentId, Arc<TorrentStore>)>,
    running: Vec<Flush>,
}

struct Flush {
    torrent_id: TorrentId,
    store: Arc<TorrentStore>,
    /// The store's count of writes before.
    writes: u64,
    done: oneshot::Receiver<bool>,
}

impl Session {
    /// Flushes the files of a torrent that was just checked.
    pub(super) fn flush_found(&mut self, torrent_id: TorrentId) {
        let Some(torrent) = self.torrent(&torrent_id) else { return };
        let store = torrent.entry.store.clone();
        // What an earlier check of it has begun to flush says nothing about this one.
        self.flushes.waiting.retain(|(waiting, _)| *waiting != torrent_id);
        self.flushes.running.retain(|flush| flush.torrent_id != torrent_id);
        self.flushes.waiting.push_back((torrent_id, store));
        self.begin_flushes();
    }

    fn begin_flushes(&mut self) {
        while self.flushes.running.len() < FLUSHES_MAX
            && let Some((torrent_id, store)) = self.flushes.waiting.pop_front()
        {
            let (sender, done) = oneshot::channel();
            let (flushed, writes) = (store.clone(), store.writes_begun());
            tokio::task::spawn_blocking(move || {
                let result = flushed.flush_files();
                if let Err(error) = &result {
                    tracing::error!(%error, torrent = %torrent_id, "cannot bring to disk what a check found");
                }
                // The session may be gone.
                let _ = sender.send(result.is_ok());
            });
            self.flushes.running.push(Flush { torrent_id, store, writes, done });
        }
    }

    /// Takes over which torrents are flushed by now.
    pub(super) fn look_at_flushes(&mut self) {
        let mut index = 0;
        while let Some(flush) = self.flushes.running.get_mut(index) {
            let result = match flush.done.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => {
                    index += 1;
                    continue;
                }
                // A task that panicked has flushed nothing.
                result => result.unwrap_or(false),
            };
            let Flush { torrent_id, store, writes, .. } = self.flushes.running.swap_remove(index);
            if let Some(torrent) = self.torrent(&torrent_id)
                && result
                && Arc::ptr_eq(&torrent.entry.store, &store)
            {
                torrent.pieces.flushed(writes);
                self.unsaved.insert(torrent_id);
            }
        }
        self.begin_flushes();
    }

    /// Waits for what is left of them at the end of the process, and no longer than until `deadline`.
    pub(super) async fn finish_flushes(&mut self, deadline: tokio::time::Instant) {
        loop {
            self.begin_flushes();
            if self.flushes.running.is_empty() || tokio::time::Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            self.look_at_flushes();
        }
    }
}
