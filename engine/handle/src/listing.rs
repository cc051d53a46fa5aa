//! The torrents of a snapshot: found by number, by id and by when they changed, and counted, without a look at all
//! of them. Snapshots share what has not changed between them.

use crate::{Chunked, Iter, Keyed};
use crate::{TorrentState, TorrentStatus};
use ringseed_proto::hashes::TorrentId;
use std::ops::Index;
use std::sync::Arc;
use std::time::Instant;

impl Keyed for Arc<TorrentStatus> {
    type Key = u32;

    fn key(&self) -> u32 {
        self.id
    }
}

/// The number of a torrent, by its id.
#[derive(Debug, Clone, Copy)]
struct Named {
    torrent_id: TorrentId,
    id: u32,
}

impl Keyed for Named {
    type Key = TorrentId;

    fn key(&self) -> TorrentId {
        self.torrent_id
    }
}

/// What all torrents come to together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Payload bytes per second received.
    pub download_rate: u64,
    /// Payload bytes per second sent.
    pub upload_rate: u64,
    /// Bytes still wanted.
    pub left: u64,
    /// Bytes wanted in all.
    pub wanted: u64,
    /// Torrents in each state, by [`TorrentState::place`].
    pub states: [u32; TorrentState::NAMES.len()],
}

impl Sums {
    /// Sums of which each part is taken out again as it was put in, so wrapping is exact.
    fn add(&mut self, torrent: &TorrentStatus) {
        self.download_rate = self.download_rate.wrapping_add(torrent.download_rate);
        self.upload_rate = self.upload_rate.wrapping_add(torrent.upload_rate);
        self.left = self.left.wrapping_add(torrent.left);
        self.wanted = self.wanted.wrapping_add(torrent.wanted);
        self.states[torrent.state.place()] += 1;
    }

    fn take(&mut self, torrent: &TorrentStatus) {
        self.download_rate = self.download_rate.wrapping_sub(torrent.download_rate);
        self.upload_rate = self.upload_rate.wrapping_sub(torrent.upload_rate);
        self.left = self.left.wrapping_sub(torrent.left);
        self.wanted = self.wanted.wrapping_sub(torrent.wanted);
        self.states[torrent.state.place()] -= 1;
    }
}

/// The torrents of a snapshot, by ascending id.
#[derive(Debug, Clone, Default)]
pub struct Torrents {
    by_id: Chunked<Arc<TorrentStatus>>,
    by_hash: Chunked<Named>,
    by_change: Chunked<(Instant, u32)>,
    sums: Sums,
}

impl Torrents {
    /// Number of torrents.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The torrents by ascending id.
    pub fn iter(&self) -> Iter<'_, Arc<TorrentStatus>> {
        self.by_id.iter()
    }

    /// The torrent with the smallest id.
    pub fn first(&self) -> Option<&Arc<TorrentStatus>> {
        self.by_id.first()
    }

    /// The torrent with this id.
    pub fn get(&self, id: u32) -> Option<&Arc<TorrentStatus>> {
        self.by_id.get(id)
    }

    /// The torrent with this id.
    pub fn find(&self, torrent_id: &TorrentId) -> Option<&Arc<TorrentStatus>> {
        self.by_id.get(self.by_hash.get(*torrent_id)?.id)
    }

    /// Torrents that changed after `then`, by ascending id.
    pub fn changed_since(&self, then: Instant) -> Vec<Arc<TorrentStatus>> {
        let mut ids: Vec<u32> = self.by_change.from((then, u32::MAX)).map(|(_, id)| *id).collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.by_id.get(id).cloned()).collect()
    }

    /// What they come to together.
    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Puts a torrent in, in place of what was said of it before.
    pub fn insert(&mut self, torrent: Arc<TorrentStatus>) {
        self.sums.add(&torrent);
        self.by_change.insert((torrent.changed_at, torrent.id));
        let (id, torrent_id) = (torrent.id, torrent.torrent_id());
        match self.by_id.insert(torrent) {
            Some(old) => {
                self.sums.take(&old);
                if let Some(new) = self.by_id.get(id)
                    && new.changed_at != old.changed_at
                {
                    self.by_change.remove((old.changed_at, id));
                }
            }
            None => _ = self.by_hash.insert(Named { torrent_id, id }),
        }
    }

    /// Takes a torrent out.
    pub fn remove(&mut self, id: u32) -> Option<Arc<TorrentStatus>> {
        let old = self.by_id.remove(id)?;
        self.sums.take(&old);
        self.by_change.remove((old.changed_at, id));
        self.by_hash.remove(old.torrent_id());
        Some(old)
    }
}

impl<'a> IntoIterator for &'a Torrents {
    type Item = &'a Arc<TorrentStatus>;
    type IntoIter = Iter<'a, Arc<TorrentStatus>>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_id.iter()
    }
}

impl Index<usize> for Torrents {
    type Output = Arc<TorrentStatus>;

    fn index(&self, place: usize) -> &Arc<TorrentStatus> {
        &self.by_id[place]
    }
}

impl FromIterator<Arc<TorrentStatus>> for Torrents {
    fn from_iter<I: IntoIterator<Item = Arc<TorrentStatus>>>(torrents: I) -> Self {
        let mut list = Self::default();
        torrents.into_iter().for_each(|torrent| list.insert(torrent));
        list
    }
}
