//! Blocks that were read past the page cache, between their read and their send.
//!
//! Peers that wait for one are told when it is there, and it goes when all of them have been sent it. What nobody comes
//! for is forgotten: the oldest when there are too many, all after some seconds, since files may change.

use super::torrents::TorrentKey;
use ringseed_proto::units::{Block, Time};
use ringseed_storage::OwnBlock;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Most blocks, and bytes of them.
const BLOCKS_MAX: usize = 1024;
const BYTES_MAX: usize = 16 << 20;
/// How long one may lie.
const LIFE: Duration = Duration::from_secs(5);

/// The blocks of all torrents of a shard.
#[derive(Debug, Default)]
pub(super) struct Staged {
    blocks: HashMap<(TorrentKey, Block), Entry>,
    bytes: usize,
    /// In the order in which they came, with those that have gone.
    order: VecDeque<(TorrentKey, Block)>,
}

#[derive(Debug)]
struct Entry {
    block: Arc<OwnBlock>,
    since: Time,
    /// Sends that are still to come.
    wanted: usize,
}

impl Staged {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether a block is there.
    pub(super) fn has(&self, torrent: TorrentKey, block: &Block, now: Time) -> bool {
        let entry = self.blocks.get(&(torrent, *block));
        entry.is_some_and(|entry| now.saturating_since(entry.since) < LIFE)
    }

    /// A block was read that so many peers wait for.
    pub(super) fn put(
        &mut self,
        torrent: TorrentKey,
        at: Block,
        block: Arc<OwnBlock>,
        peers: usize,
        now: Time,
    ) {
        self.bytes += block.size();
        // One that is read ahead is for the peer that will come to it.
        let entry = Entry { block, since: now, wanted: peers.max(1) };
        if let Some(before) = self.blocks.insert((torrent, at), entry) {
            self.bytes -= before.block.size();
        }
        self.order.push_back((torrent, at));
        while self.bytes > BYTES_MAX || self.order.len() > BLOCKS_MAX {
            let Some((torrent, at)) = self.order.pop_front() else { break };
            self.remove(torrent, &at);
        }
    }

    /// A block to be sent.
    pub(super) fn get(&self, torrent: TorrentKey, block: &Block) -> Option<&Arc<OwnBlock>> {
        self.blocks.get(&(torrent, *block)).map(|entry| &entry.block)
    }

    /// It was gathered for a send.
    pub(super) fn sent(&mut self, torrent: TorrentKey, block: &Block) {
        let Some(entry) = self.blocks.get_mut(&(torrent, *block)) else { return };
        entry.wanted -= 1;
        if entry.wanted == 0 {
            self.remove(torrent, block);
        }
    }

    fn remove(&mut self, torrent: TorrentKey, block: &Block) {
        if let Some(entry) = self.blocks.remove(&(torrent, *block)) {
            self.bytes -= entry.block.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::units::PieceIndex;

    fn block(number: u32) -> Block {
        Block { piece: PieceIndex(number), begin: 0, length: 16_384 }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_block_stays_until_all_who_waited_were_sent_it() {
        let (mut staged, torrent) = (Staged::default(), TorrentKey::default());
        staged.put(torrent, block(1), Arc::default(), 2, at(1));
        staged.put(torrent, block(2), Arc::default(), 0, at(1));
        assert!(staged.has(torrent, &block(1), at(2)) && !staged.has(torrent, &block(3), at(2)));
        for number in [1, 2, 3] {
            staged.sent(torrent, &block(number));
        }
        assert!(staged.get(torrent, &block(1)).is_some() && staged.get(torrent, &block(2)).is_none());
        staged.sent(torrent, &block(1));
        assert!(staged.is_empty());
    }

    #[test]
    fn what_nobody_comes_for_is_forgotten() {
        let (mut staged, torrent) = (Staged::default(), TorrentKey::default());
        staged.put(torrent, block(1), Arc::default(), 1, at(1));
        assert!(staged.has(torrent, &block(1), at(5)) && !staged.has(torrent, &block(1), at(6)));
        for number in 0..BLOCKS_MAX as u32 {
            staged.put(torrent, block(10 + number), Arc::default(), 1, at(7));
        }
        assert!(staged.get(torrent, &block(1)).is_none() && staged.get(torrent, &block(10)).is_some());
        assert_eq!((staged.blocks.len(), staged.order.len()), (BLOCKS_MAX, BLOCKS_MAX));
    }
}
