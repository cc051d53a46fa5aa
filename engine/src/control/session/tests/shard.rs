//! A shard that answers when it is told to, as a real one does: in the order of what it was sent, and late.

use super::content::verify;
use crate::shard::checks::Check;
use crate::shard::mailbox::Receiver;
use crate::shard::message::{DurablePieces, FromShard, ToShard};
use crate::shard::registry::{Registry, TorrentEntry, TorrentPhase};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::StorageError;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

/// What a shard does with a torrent.
pub enum Has {
    /// It downloads it.
    Home(Arc<TorrentEntry>, Bitfield),
    /// It serves it to peers.
    Serves(Arc<TorrentEntry>),
    /// It hashes its files.
    Check(Arc<Check>),
}

/// One of them.
pub struct FakeShard {
    index: usize,
    shards: usize,
    inbox: Receiver<ToShard>,
    /// Messages that it has not looked at.
    pub waiting: VecDeque<ToShard>,
    pub has: BTreeMap<TorrentId, Has>,
    /// Reports that are on their way to the session.
    pub reports: VecDeque<FromShard>,
}

impl FakeShard {
    pub fn new(index: usize, shards: usize, inbox: Receiver<ToShard>) -> FakeShard {
        let (waiting, has, reports) = (VecDeque::new(), BTreeMap::new(), VecDeque::new());
        FakeShard { index, shards, inbox, waiting, has, reports }
    }

    /// Takes messages out of the mailbox, without a look at them.
    pub fn collect(&mut self) {
        while let Some(message) = self.inbox.pop() {
            self.waiting.push_back(message);
        }
    }

    /// Whether it has a torrent, or will have it when it comes to what it was sent.
    pub fn has_or_will(&self, torrent: TorrentId) -> bool {
        self.has.contains_key(&torrent) || self.waiting.iter().any(|message| begins(message, torrent))
    }

    /// As [`FakeShard::has_or_will`], without checks: they only read, and notice what changes under them.
    pub fn uses_or_will(&self, torrent: TorrentId) -> bool {
        let starts =
            |it: &ToShard| matches!(it, ToShard::Start { torrent: entry, .. } if entry.id() == torrent);
        matches!(self.has.get(&torrent), Some(Has::Home(..) | Has::Serves(_)))
            || self.waiting.iter().any(starts)
    }

    /// Does what the oldest message says. False when there is none.
    pub fn take(&mut self) -> bool {
        let Some(message) = self.waiting.pop_front() else { return false };
        match message {
            ToShard::Start { torrent, have } => {
                assert_eq!(torrent.home, self.index, "a download at another home");
                self.begin(torrent.id(), Has::Home(torrent, have));
            }
            ToShard::Check(check) => {
                let id = check.torrent.id();
                match check.torrent.content.info.has_hashes() {
                    true => self.begin(id, Has::Check(check)),
                    false => panic!("a check without hashes"),
                }
            }
            ToShard::Stop(list) => list.iter().for_each(|torrent| self.stop(*torrent)),
            ToShard::Count(torrent_id) => {
                self.reports.push_back(FromShard::CountedTorrent { shard: self.index, torrent_id });
            }
            ToShard::Shutdown => {
                self.reports.push_back(FromShard::Counted { shard: self.index });
                let all: Vec<TorrentId> = self.has.keys().copied().collect();
                all.into_iter().for_each(|torrent| self.stop(torrent));
                self.reports.push_back(FromShard::Ended { shard: self.index });
            }
            ToShard::Changed(_)
            | ToShard::Metadata(..)
            | ToShard::Peers(..)
            | ToShard::Connection(_)
            | ToShard::Listen { .. } => {}
        }
        true
    }

    fn begin(&mut self, torrent: TorrentId, has: Has) {
        // A real one passes over the second of them.
        assert!(self.has.insert(torrent, has).is_none(), "a shard is to begin with a torrent that it has");
    }

    fn stop(&mut self, torrent: TorrentId) {
        let durable = match self.has.remove(&torrent) {
            Some(Has::Home(entry, pieces)) => {
                let settled = Some(entry.store.writes_begun());
                (!pieces.is_full()).then_some(DurablePieces { pieces, settled })
            }
            Some(Has::Check(check)) => {
                // It notices in a moment.
                check.cancel();
                self.report_stopped(torrent, None);
                let result = Err(StorageError::Cancelled.into());
                return self.reports.push_back(FromShard::Checked { check, result });
            }
            Some(Has::Serves(_)) | None => None,
        };
        self.report_stopped(torrent, durable);
    }

    fn report_stopped(&mut self, torrent: TorrentId, durable: Option<DurablePieces>) {
        let torrents = vec![(torrent, durable)];
        self.reports.push_back(FromShard::Stopped { shard: self.index, torrents });
    }

    /// Ends its part of a check. Each shard has some of the pieces.
    pub fn finish_check(&mut self, torrent: TorrentId) {
        if matches!(self.has.get(&torrent), Some(Has::Check(_)))
            && let Some(Has::Check(check)) = self.has.remove(&torrent)
        {
            let store = &check.torrent.store;
            let right = verify(&check.torrent.metainfo, store.layout(), store.directory());
            let mut have = Bitfield::new(right.len());
            let own = right.iter_ones().filter(|piece| *piece as usize % self.shards == self.index);
            own.for_each(|piece| _ = have.set(piece));
            self.reports.push_back(FromShard::Checked { check: check.clone(), result: Ok(have) });
        }
    }

    /// Has fetched some pieces of a download, whose bytes `put` writes. What cannot be written is not there.
    pub fn fetch(
        &mut self,
        torrent: TorrentId,
        wanted: u32,
        put: impl Fn(&TorrentEntry, u32) -> io::Result<()>,
    ) {
        let Some(Has::Home(entry, have)) = self.has.get_mut(&torrent) else { return };
        let lacking: Vec<u32> =
            (0..have.len()).filter(|piece| !have.get(*piece)).take(wanted as usize).collect();
        for piece in lacking {
            if put(entry, piece).is_ok() {
                have.set(piece);
            }
        }
        // As the store does for its own writes.
        entry.store.take_stamps(&entry.store.stamps_on_disk());
        let (entry, pieces) = (entry.clone(), have.clone());
        let done = pieces.is_full() && entry.begin_seeding();
        let settled = Some(entry.store.writes_begun());
        self.reports.push_back(FromShard::Durable(torrent, DurablePieces { pieces, settled }));
        if done {
            self.reports.push_back(FromShard::Completed { torrent_id: torrent, missing: 0 });
        }
    }

    /// A peer asks for a torrent, which a shard serves when it is complete.
    pub fn serve(&mut self, torrent: TorrentId, registry: &Registry) {
        if let Some(entry) = registry.get(&torrent).filter(|entry| entry.phase() == TorrentPhase::Seeding) {
            self.has.entry(torrent).or_insert(Has::Serves(entry));
        }
    }

    /// A torrent that it has cannot go on.
    pub fn fail(&mut self, torrent: TorrentId, error: StorageError) {
        if let Some(Has::Home(entry, _) | Has::Serves(entry)) = self.has.get(&torrent)
            && entry.phase() != TorrentPhase::Stopped
        {
            entry.set_phase(TorrentPhase::Stopped);
            self.reports.push_back(FromShard::Failed(torrent, error));
        }
    }
}

/// Whether a shard has a torrent after it was sent this.
pub fn begins(message: &ToShard, torrent: TorrentId) -> bool {
    match message {
        ToShard::Start { torrent: entry, .. } => entry.id() == torrent,
        ToShard::Check(check) => check.torrent.id() == torrent,
        _ => false,
    }
}

/// Whether a message has a torrent let go of.
pub fn stops(message: &ToShard, torrent: TorrentId) -> bool {
    matches!(message, ToShard::Stop(list) if list.contains(&torrent))
}
