//! What a peer is to be sent next, in a form that a gathering send takes without copying blocks.

use std::ops::Range;

use crate::units::Block;
use crate::wire::encode_piece_header;

/// A part of a [`SendBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// This range of [`SendBatch::bytes`].
    Bytes(Range<usize>),
    /// The data of this block; its message header lies in the `Bytes` before it.
    Block(Block),
}

/// Bytes and blocks in wire order. Reuse it: after a few rounds filling it does not allocate.
#[derive(Debug, Default)]
pub struct SendBatch {
    /// Control messages and headers of blocks.
    pub bytes: Vec<u8>,
    /// What to send, in order.
    pub parts: Vec<Part>,
}

impl SendBatch {
    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.parts.clear();
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes of block data in the batch.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        let length = |part: &Part| if let Part::Block(block) = part { u64::from(block.length) } else { 0 };
        self.parts.iter().map(length).sum()
    }

    /// Bytes of protocol in the batch: control messages and headers of blocks.
    #[must_use]
    pub fn protocol_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Makes what was appended to `bytes` since `start` a part, joined to the one before when it can be.
    pub(super) fn close_bytes(&mut self, start: usize) {
        let end = self.bytes.len();
        if start == end {
            return;
        }
        match self.parts.last_mut() {
            Some(Part::Bytes(range)) if range.end == start => range.end = end,
            _ => self.parts.push(Part::Bytes(start..end)),
        }
    }

    /// Appends a `piece` message.
    #[inline]
    pub(super) fn push_block(&mut self, block: Block) {
        let start = self.bytes.len();
        encode_piece_header(&block, &mut self.bytes);
        self.close_bytes(start);
        self.parts.push(Part::Block(block));
    }
}

/// How much one call of [`Swarm::fill`](super::Swarm::fill) may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FillLimits {
    /// Most blocks.
    pub blocks_max: usize,
    /// Most bytes of block data, for rate limits; 0 is none at all. A block is never split: one that does not fit waits,
    /// unless it is the first. The caller charges what is over, so that the next has to wait for it.
    pub payload_bytes_max: u64,
}

/// Why [`Swarm::fill`](super::Swarm::fill) stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FillOutcome {
    /// Nothing is left to send; the peer comes back through `next_ready` when there is.
    Drained,
    /// `blocks_max` was reached: call again when this batch is sent.
    More,
    /// The next block is not ready: bring its piece in, then `mark_ready`. What came before is in the batch.
    Cold(Block),
    /// `payload_bytes_max` does not allow the next block: call again when there is budget.
    Budget,
}
