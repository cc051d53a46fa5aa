//! Whole pieces between memory and disk: compared with their hash several at a time, then written.

use super::Shard;
use super::local::LocalEvent;
use super::torrents::{Assembly, TorrentKey};
use ringseed_proto::hash::{BlockDigest, STREAMS};
use ringseed_proto::metainfo::Info;
use ringseed_proto::units::{PieceIndex, Time};
use ringseed_storage::{PieceBuf, WritePath, hash_blocks_yielding, hash_yielding};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a piece waits for others to be hashed with: at 400 MB/s and with pieces of 1 MiB there are as many as go
/// together, and below 100 MB/s it does not matter what hashing costs.
pub(super) const GATHER_WAIT: Duration = Duration::from_millis(10);

/// Bytes per second of a torrent from which on pieces that nobody else lacks are written past the page cache: below, what
/// a write costs does not matter, and a copy in memory may still be of use to somebody.
const PAST_CACHE_RATE: u64 = 64 << 20;

/// A piece that has all its blocks.
pub struct WholePiece {
    pub torrent: TorrentKey,
    pub piece: PieceIndex,
    pub bytes: PieceBuf,
}

impl AsRef<[u8]> for WholePiece {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// A whole piece whose hash is known.
pub struct Hashed {
    pub whole: WholePiece,
    pub digest: [u8; 20],
    /// Digests of its blocks, when they are wanted.
    pub blocks: Vec<BlockDigest>,
}

/// What is known of a piece before it is hashed.
struct Expected {
    /// Of its torrent; `None` when that is gone.
    info: Option<Arc<Info>>,
    /// Its blocks are wanted even when it is right.
    compares: bool,
}

impl Expected {
    fn is_right(&self, piece: PieceIndex, digest: &[u8; 20]) -> bool {
        self.info.as_ref().is_some_and(|info| info.verify(piece, digest))
    }
}

/// Pieces, fewer than [`STREAMS`], that wait for others to be hashed with.
#[derive(Default)]
pub(super) struct Gathered {
    pieces: Vec<WholePiece>,
    /// When the first of them came.
    since: Time,
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

impl Shard {
    /// All blocks of a piece are in memory.
    pub(super) fn piece_ready(&mut self, key: TorrentKey, piece: PieceIndex) {
        let torrent = &mut self.torrents[key];
        let Assembly::Open(buffers) = &mut torrent.assembly else { return };
        let Some(bytes) = buffers.take(piece) else {
            debug_assert!(false, "blocks of piece {piece} are missing that the swarm has seen");
            tracing::error!(torrent = %torrent.entry.id(), %piece, "blocks of a piece are missing; it is fetched again");
            return torrent.swarm.piece_missing(self.now, piece);
        };
        if let Some(home) = &mut torrent.home {
            home.writes += 1;
        }
        if self.gathered.is_empty() {
            self.gathered.since = self.now;
        }
        self.gathered.pieces.push(WholePiece { torrent: key, piece, bytes });
        if self.gathered.pieces.len() == STREAMS {
            self.hash_gathered();
        }
    }

    /// Hashes pieces for which not enough others came in time.
    pub(super) fn hash_overdue(&mut self) {
        if !self.gathered.is_empty() && self.now.saturating_since(self.gathered.since) >= GATHER_WAIT {
            self.hash_gathered();
        }
    }

    fn hash_gathered(&mut self) {
        let pieces = std::mem::take(&mut self.gathered.pieces);
        let expected: Vec<Expected> = pieces.iter().map(|whole| self.expected(whole)).collect();
        self.local.spawn(async move {
            let digests = hash_yielding(&pieces).await;
            let mut hashed = Vec::with_capacity(pieces.len());
            for ((whole, digest), expected) in pieces.into_iter().zip(digests).zip(expected) {
                let blocks = match expected.compares || !expected.is_right(whole.piece, &digest) {
                    true => hash_blocks_yielding(whole.as_ref()).await,
                    false => Vec::new(),
                };
                hashed.push(Hashed { whole, digest, blocks });
            }
            LocalEvent::Hashed(hashed)
        });
    }

    fn expected(&self, whole: &WholePiece) -> Expected {
        let torrent = self.torrents.get(whole.torrent);
        Expected {
            info: torrent.map(|torrent| torrent.entry.content.info.clone()),
            compares: torrent.is_some_and(|torrent| torrent.swarm.compares_blocks(whole.piece)),
        }
    }

    /// The hash of a piece is known: a right one is written.
    pub(super) fn hashed(&mut self, hashed: Hashed) {
        let Hashed { whole: WholePiece { torrent: key, piece, bytes }, digest, blocks } = hashed;
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        torrent.entry.store.note_hashed(bytes.len() as u64);
        let ok = torrent.entry.content.info.verify(piece, &digest);
        torrent.swarm.piece_verified(self.now, piece, if ok { Ok(()) } else { Err(digest) }, &blocks);
        if ok {
            let fast = torrent.swarm.download_rate(self.now) >= PAST_CACHE_RATE;
            let way = if fast && !torrent.swarm.is_lacked(piece) {
                WritePath::PastCache
            } else {
                WritePath::Cached
            };
            let (store, ring) = (torrent.entry.store.clone(), self.ring.clone());
            self.local.spawn(async move {
                let result = store.write_piece(&ring, piece, Rc::new(bytes), way).await;
                LocalEvent::PieceWritten { torrent: key, piece, result }
            });
        } else {
            tracing::info!(torrent = %torrent.entry.id(), %piece, "a piece failed its hash");
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
