//! Whole pieces between memory and disk: compared with their hash two at a time, then written.

use super::Shard;
use super::local::LocalEvent;
use super::torrents::{Assembly, TorrentKey};
use crate::storage::{PieceBuf, hash_yielding};
use ringseed_proto::units::{PieceIndex, Time};
use std::rc::Rc;
use std::time::Duration;

/// How long a piece waits for a second one to be hashed with: above 100 MB/s and with pieces of 1 MiB there is one,
/// and below it does not matter what hashing costs.
pub(super) const PAIR_WAIT: Duration = Duration::from_millis(10);

/// A piece that has all its blocks.
pub struct WholePiece {
    pub torrent: TorrentKey,
    pub piece: PieceIndex,
    pub bytes: PieceBuf,
}

/// A piece that waits for a second one.
pub struct Unpaired {
    whole: WholePiece,
    since: Time,
}

impl Shard {
    /// All blocks of a piece are in memory.
    pub(super) fn piece_ready(&mut self, key: TorrentKey, piece: PieceIndex) {
        let torrent = &mut self.torrents[key];
        let Assembly::Open(buffers) = &mut torrent.assembly else { return };
        let Some(bytes) = buffers.take(piece) else { return };
        if let Some(home) = &mut torrent.home {
            home.writes += 1;
        }
        let whole = WholePiece { torrent: key, piece, bytes };
        match self.unpaired.take() {
            Some(first) => self.hash(first.whole, Some(whole)),
            None => self.unpaired = Some(Unpaired { whole, since: self.now }),
        }
    }

    /// Hashes a piece alone when no second one came in time.
    pub(super) fn hash_overdue(&mut self) {
        if let Some(first) =
            self.unpaired.take_if(|first| self.now.saturating_since(first.since) >= PAIR_WAIT)
        {
            self.hash(first.whole, None);
        }
    }

    fn hash(&mut self, first: WholePiece, second: Option<WholePiece>) {
        self.local.spawn(async move {
            let digests = hash_yielding(&first.bytes, second.as_ref().map(|second| &second.bytes)).await;
            let pieces = [Some(first), second].into_iter().flatten();
            LocalEvent::Hashed(pieces.zip(digests).collect())
        });
    }

    /// The hash of a piece is known: a right one is written.
    pub(super) fn hashed(&mut self, whole: WholePiece, digest: &[u8; 20]) {
        let WholePiece { torrent: key, piece, bytes } = whole;
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        torrent.entry.store.note_hashed(bytes.len() as u64);
        let ok = torrent.entry.content.info.piece_hash(piece) == Some(digest);
        torrent.swarm.piece_verified(self.now, piece, ok);
        if ok {
            let (store, ring) = (torrent.entry.store.clone(), self.ring.clone());
            self.local.spawn(async move {
                let result = store.write_piece(&ring, piece, Rc::new(bytes)).await;
                LocalEvent::PieceWritten { torrent: key, piece, result }
            });
        } else {
            tracing::info!(torrent = %torrent.entry.info_hash(), %piece, "a piece failed its hash");
            if let Some(home) = &mut torrent.home {
                home.writes -= 1;
            }
        }
        self.touch(key);
        if self.stopping.contains(&key) {
            self.settle(key);
        }
    }
}
