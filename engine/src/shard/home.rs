//! What the home shard alone does for a torrent: verified pieces are written, made durable and reported, and what is
//! finished is looked at before it is called complete.

use super::Shard;
use super::local::LocalEvent;
use super::message::{DurablePieces, FromShard};
use super::registry::TorrentPhase;
use super::torrents::{Assembly, TorrentKey};
use crate::limits::CHECKPOINT_INTERVAL;
use ringseed_net::candidates::Candidates;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::units::{PieceIndex, Time};
use ringseed_storage::{StorageError, TorrentStore};

/// What only the home shard keeps of a torrent.
pub struct Home {
    /// Peers to dial.
    pub candidates: Candidates,
    /// Pieces were stored since the last checkpoint began.
    pub unsaved: bool,
    /// A checkpoint's fdatasync is under way.
    pub syncing: bool,
    /// The pieces that are on disk whatever happens: those it began with and what an fdatasync covered since. `None`
    /// for a complete torrent, of which there is nothing to report.
    durable: Option<Bitfield>,
    /// An fdatasync failed: what was written since the last good one may be lost.
    lost: bool,
    /// When the last checkpoint began.
    pub checkpoint_at: Time,
    /// Whole pieces on their way to disk: to be hashed, or being written.
    pub writes: usize,
    /// The download was reported as complete.
    pub completed: bool,
    /// No dials before: a limit keeps the torrent from them.
    pub dials_held: Time,
}

impl Home {
    pub(super) fn new(now: Time, durable: Option<Bitfield>) -> Self {
        let completed = durable.is_none();
        Self {
            candidates: Candidates::default(),
            unsaved: false,
            syncing: false,
            durable,
            lost: false,
            checkpoint_at: now,
            writes: 0,
            completed,
            dials_held: now,
        }
    }

    /// The pieces to be reported as durable, with whether the files hold nothing else by now.
    pub(super) fn durable(&self, store: &TorrentStore) -> Option<DurablePieces> {
        let quiet = self.writes == 0 && !self.unsaved && !self.syncing && !self.lost;
        let settled = quiet.then(|| store.writes_begun());
        self.durable.clone().map(|pieces| DurablePieces { pieces, settled })
    }

    /// When its stored pieces are to be made durable.
    pub(super) fn checkpoint_due(&self) -> Option<Time> {
        let soon = if self.completed { Time::ZERO } else { self.checkpoint_at + CHECKPOINT_INTERVAL };
        (self.unsaved && !self.syncing).then_some(soon)
    }

    pub(super) fn dial_due(&self) -> Option<Time> {
        self.candidates.due().map(|due| due.max(self.dials_held))
    }

    /// Whether nothing is under way and nobody is to be dialled. Addresses never to be dialled do not count: the
    /// next dial finds out again.
    pub(super) fn is_idle(&self) -> bool {
        self.candidates.due().is_none() && !self.unsaved && !self.syncing && self.writes == 0
    }
}

impl Shard {
    /// A piece with a right hash was written, or could not be.
    pub(super) fn piece_written(
        &mut self,
        key: TorrentKey,
        piece: PieceIndex,
        result: Result<(), StorageError>,
    ) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let Some(home) = &mut torrent.home else { return };
        home.writes -= 1;
        match result {
            Ok(()) => {
                home.unsaved = true;
                // Before the budget is used up, or requesting would stop until the next second.
                let soon = !home.syncing && torrent.entry.store.limits().dirty().half_used();
                torrent.swarm.piece_stored(self.now, piece);
                self.touch(key);
                if soon {
                    self.checkpoint(key);
                }
            }
            Err(error) => self.fail_torrent(key, error),
        }
        if self.stopping.contains(&key) {
            self.settle(key);
        }
    }

    /// Makes stored pieces durable and reports them.
    pub(super) fn checkpoint(&mut self, key: TorrentKey) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let Some(home) = &mut torrent.home else { return };
        home.unsaved = false;
        home.syncing = true;
        home.checkpoint_at = self.now;
        let have = torrent.swarm.have().clone();
        let (store, ring) = (torrent.entry.store.clone(), self.ring.clone());
        self.local.spawn(async move {
            let result = store.sync_dirty(&ring).await;
            LocalEvent::Synced { torrent: key, have, result }
        });
    }

    /// An fdatasync has ended: what it covered is reported.
    pub(super) fn synced(&mut self, key: TorrentKey, have: Bitfield, result: Result<(), StorageError>) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let Some(home) = &mut torrent.home else { return };
        home.syncing = false;
        match &result {
            Ok(()) => home.durable = Some(have),
            Err(_) => home.lost = true,
        }
        let (torrent_id, durable) = (torrent.entry.id(), home.durable(&torrent.entry.store));
        self.touch(key);
        match (result, durable) {
            (Ok(()), Some(durable)) => self.report(FromShard::Durable(torrent_id, durable)),
            (Ok(()), None) => {}
            (Err(error), _) => self.fail_torrent(key, error),
        }
        if self.stopping.contains(&key) {
            self.settle(key);
        }
    }

    /// All wanted pieces are stored: before that is told to anybody, the files are looked at. What somebody changed
    /// while they were downloaded is not complete.
    pub(super) fn look_at_finished(&mut self, key: TorrentKey) {
        let torrent = &self.torrents[key];
        let (store, have) = (torrent.entry.store.clone(), torrent.swarm.have().clone());
        self.local.spawn(async move {
            let result = store.finish(&have).await;
            LocalEvent::Finished { torrent: key, result }
        });
    }

    pub(super) fn looked_at_finished(&mut self, key: TorrentKey, result: Result<(), StorageError>) {
        let Some(torrent) = self.torrents.get(key) else { return };
        match result {
            Err(error) => self.fail_torrent(key, error),
            // Files may be wanted again by now, or the torrent is being stopped.
            Ok(())
                if torrent.entry.phase() == TorrentPhase::Downloading
                    && torrent.swarm.is_finished()
                    && (!torrent.swarm.is_complete() || torrent.entry.begin_seeding()) =>
            {
                self.swarm_finished(key);
                self.touch(key);
            }
            Ok(()) => {}
        }
    }

    fn swarm_finished(&mut self, key: TorrentKey) {
        let torrent = &mut self.torrents[key];
        if torrent.swarm.is_complete() {
            torrent.assembly = Assembly::Complete;
        }
        let Some(home) = &mut torrent.home else { return };
        if !std::mem::replace(&mut home.completed, true) {
            let torrent_id = torrent.entry.id();
            let (layout, have) = (&torrent.entry.content.info.layout, torrent.swarm.have());
            let here: u64 =
                have.iter_ones().map(|piece| u64::from(layout.piece_len(PieceIndex(piece)))).sum();
            let missing = layout.total_length.saturating_sub(here);
            // Trackers are told with it how much was received.
            self.count_totals(key);
            self.report(FromShard::Completed { torrent_id, missing });
        }
    }
}
