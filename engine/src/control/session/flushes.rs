//! Bringing to disk what checks have found: a hash tells that a piece is right in memory, not that a power cut leaves it.
//! Until the files are flushed the next start hashes them again.

use super::super::work::Work;
use super::Session;
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::TorrentStore;
use std::collections::VecDeque;
use std::sync::Arc;

/// Torrents that are flushed at once: each waits for a disk, and most have nothing to be written.
const FLUSHES_MAX: usize = 4;

/// Torrents whose files are being flushed, and those that wait for that.
#[derive(Default)]
pub(super) struct Flushes {
    waiting: VecDeque<(TorrentId, Arc<TorrentStore>)>,
    running: Vec<Flush>,
    /// The number of the last one.
    last: u64,
}

struct Flush {
    number: u64,
    torrent_id: TorrentId,
    store: Arc<TorrentStore>,
    /// The store's count of writes before.
    writes: u64,
}

impl Flushes {
    /// Whether nothing is being flushed, or waits for it.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }
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
            self.flushes.last += 1;
            let (number, writes) = (self.flushes.last, store.writes_begun());
            self.work.push(Work::Flush { torrent_id, store: store.clone(), number });
            self.flushes.running.push(Flush { number, torrent_id, store, writes });
        }
    }

    /// The end of a flush.
    pub(super) fn flushed(&mut self, number: u64, flushed: bool) {
        let place = self.flushes.running.iter().position(|flush| flush.number == number);
        // One that is not there was about what an earlier check has found.
        if let Some(place) = place {
            let Flush { torrent_id, store, writes, .. } = self.flushes.running.swap_remove(place);
            if let Some(torrent) = self.torrent(&torrent_id)
                && flushed
                && Arc::ptr_eq(&torrent.entry.store, &store)
            {
                torrent.pieces.flushed(writes);
                self.unsaved.insert(torrent_id);
            }
        }
        self.begin_flushes();
    }
}
