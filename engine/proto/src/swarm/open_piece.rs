//! A piece that is being downloaded, block by block.

use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use super::PeerKey;
use super::limits::{EXCLUSIVE_PATIENCE, UNKNOWN_RATE};
use crate::units::Time;

/// What is there of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockState {
    /// Nothing that counts.
    Missing,
    /// This peer is sending it; what others send of it is thrown away.
    Claimed(PeerKey),
    /// All of it.
    Done,
}

/// A block of an open piece.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenBlock {
    pub(super) state: BlockState,
    /// Peers that owe it: the request is in flight or being answered.
    pub(super) requests: u8,
    /// Who has sent it, when it is there: the place among the contributors, or the last that fits.
    pub(super) from: u8,
    /// When it was last requested.
    pub(super) asked: Time,
}

impl OpenBlock {
    /// Whether it should be requested.
    pub(super) fn is_free(&self) -> bool {
        self.requests == 0 && self.state != BlockState::Done
    }
}

/// What an open piece waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PiecePhase {
    /// For blocks.
    Filling,
    /// For the caller to hash it.
    Hashing,
    /// To be wanted again: its blocks are kept as long as nobody needs the room.
    Parked,
}

/// Who has sent blocks of a piece: a connection, and its canonical address.
pub(super) type Sender = (PeerKey, IpAddr);

/// A piece between its first request and its hash.
#[derive(Debug)]
pub(super) struct OpenPiece {
    pub(super) piece: u32,
    pub(super) phase: PiecePhase,
    pub(super) blocks: Vec<OpenBlock>,
    /// Blocks for which [`OpenBlock::is_free`] holds.
    pub(super) free: u32,
    pub(super) done: u32,
    /// No free block lies before this one.
    first_free: usize,
    /// The only peer that may deliver it, so that a bad hash names the sender.
    pub(super) exclusive: Option<PeerKey>,
    pub(super) opened: Time,
    /// When the last block came, or it was opened.
    pub(super) advanced: Time,
    /// Senders of which at least one block is in the piece.
    pub(super) contributors: SmallVec<[Sender; 4]>,
}

impl OpenPiece {
    pub(super) fn new(
        piece: u32,
        block_count: u32,
        mut blocks: Vec<OpenBlock>,
        exclusive: Option<PeerKey>,
        now: Time,
    ) -> OpenPiece {
        blocks.clear();
        let empty = OpenBlock { state: BlockState::Missing, requests: 0, from: 0, asked: now };
        blocks.resize(block_count as usize, empty);
        OpenPiece {
            piece,
            phase: PiecePhase::Filling,
            blocks,
            free: block_count,
            done: 0,
            first_free: 0,
            exclusive,
            opened: now,
            advanced: now,
            contributors: SmallVec::new(),
        }
    }

    /// Forgets all blocks; the requests for them must be forgotten by the caller.
    pub(super) fn reset(&mut self, exclusive: Option<PeerKey>, now: Time) {
        let blocks = std::mem::take(&mut self.blocks);
        let count = blocks.len() as u32;
        *self = OpenPiece::new(self.piece, count, blocks, exclusive, now);
    }

    /// Marks up to `count` free blocks as requested and passes their numbers on.
    pub(super) fn take_free(&mut self, now: Time, count: usize, mut taken: impl FnMut(u32)) {
        let mut left = count.min(self.free as usize);
        let mut at = self.first_free;
        while left > 0 && at < self.blocks.len() {
            let block = &mut self.blocks[at];
            if block.is_free() {
                block.requests = 1;
                block.asked = now;
                self.free -= 1;
                left -= 1;
                taken(at as u32);
            }
            at += 1;
        }
        self.first_free = at;
    }

    /// One peer more owes the block.
    pub(super) fn request(&mut self, n: usize, now: Time) {
        let block = &mut self.blocks[n];
        if block.is_free() {
            self.free -= 1;
        }
        block.requests = block.requests.saturating_add(1);
        block.asked = now;
    }

    /// One peer less owes the block.
    pub(super) fn release(&mut self, n: usize) {
        let block = &mut self.blocks[n];
        debug_assert!(block.requests > 0 || block.state == BlockState::Done);
        if block.requests > 0 {
            block.requests -= 1;
            if block.is_free() {
                self.free += 1;
                self.first_free = self.first_free.min(n);
            }
        }
    }

    /// The block is complete; returns how many peers still owed it.
    pub(super) fn finish(&mut self, now: Time, n: usize, from: Sender) -> u8 {
        let block = &mut self.blocks[n];
        if block.is_free() {
            self.free -= 1;
        }
        let owed = std::mem::take(&mut block.requests);
        block.state = BlockState::Done;
        self.done += 1;
        self.advanced = now;
        let known = self.contributors.iter().position(|sender| *sender == from);
        let place = known.unwrap_or_else(|| {
            self.contributors.push(from);
            self.contributors.len() - 1
        });
        self.blocks[n].from = u8::try_from(place).unwrap_or(u8::MAX);
        owed
    }

    /// Nobody sends it any more; the requests must be forgotten by the caller.
    pub(super) fn park(&mut self) {
        self.phase = PiecePhase::Parked;
        self.exclusive = None;
        for block in self.blocks.iter_mut().filter(|block| block.state != BlockState::Done) {
            block.state = BlockState::Missing;
        }
    }

    /// Time from its opening to its end at the pace at which it came so far.
    fn expected_time(&self, now: Time) -> Duration {
        let blocks = self.blocks.len() as u32;
        now.saturating_since(self.opened).saturating_mul(blocks) / self.done.max(1)
    }

    /// Time until its end at that pace.
    pub(super) fn time_left(&self, now: Time) -> Duration {
        self.expected_time(now).saturating_sub(now.saturating_since(self.opened))
    }

    /// Whether the peer that it is reserved to should not keep it, when another one delivers so many bytes per second (0
    /// is unknown: it is believed to be no slow one): no block came for a while, or that one would have all `length`
    /// bytes long before.
    pub(super) fn is_held_up(&self, now: Time, length: u32, rate: u64) -> bool {
        if self.opened + EXCLUSIVE_PATIENCE > now {
            return false;
        }
        let rate = if rate == 0 { UNKNOWN_RATE } else { rate };
        let needed = Duration::from_micros(u64::from(length) * 1_000_000 / rate);
        self.advanced + EXCLUSIVE_PATIENCE <= now || self.time_left(now) > needed * 2 + EXCLUSIVE_PATIENCE
    }

    pub(super) fn is_done(&self) -> bool {
        self.done as usize == self.blocks.len()
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.free as usize, self.blocks.iter().filter(|block| block.is_free()).count());
        assert_eq!(
            self.done as usize,
            self.blocks.iter().filter(|block| block.state == BlockState::Done).count()
        );
        let before = &self.blocks[..self.first_free.min(self.blocks.len())];
        assert!(before.iter().all(|block| !block.is_free()));
        assert!((self.phase == PiecePhase::Hashing) == self.is_done());
    }
}
