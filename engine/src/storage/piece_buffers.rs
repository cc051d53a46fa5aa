//! Pieces being assembled from blocks, in memory, hashed as they grow.
//!
//! A piece is hashed from here before it is written; it is never read back. The hash follows the complete
//! blocks from the start of the piece while they are still in the CPU cache, so that little is left to do when the
//! last block arrives.

use ringseed_proto::layout::Layout;
use ringseed_proto::metainfo::Info;
use ringseed_proto::swarm::BlockSink;
use ringseed_proto::units::{BLOCK_LEN, PieceIndex};
use ringseed_ring::IoBuf;
use sha1::{Digest, Sha1};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// Buffers kept for reuse when no piece needs them, so that an idle torrent holds little memory.
const SPARE_BUFFERS_MAX: usize = 4;
/// Bytes hashed between two moments at which other work may run: about half a millisecond.
const HASH_SLICE: usize = 1 << 20;

/// The bytes of one whole piece. Its memory goes back to the [`PieceBuffers`] it came from when the last holder
/// (a write in flight, for example) drops it.
pub struct PieceBuf {
    bytes: IoBuf,
    home: Weak<RefCell<Vec<IoBuf>>>,
}

impl PieceBuf {
    /// A piece from bytes that were not assembled here.
    pub fn from_bytes(bytes: IoBuf) -> PieceBuf {
        PieceBuf { bytes, home: Weak::new() }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl AsRef<[u8]> for PieceBuf {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for PieceBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PieceBuf({} bytes)", self.len())
    }
}

impl Drop for PieceBuf {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade()
            && let Ok(mut spare) = home.try_borrow_mut()
            && spare.len() < SPARE_BUFFERS_MAX
        {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// A piece with blocks missing.
struct OpenPiece {
    bytes: IoBuf,
    /// Bytes received of each block, from its start.
    filled: Box<[u32]>,
    complete: u32,
    hasher: Sha1,
    /// Complete blocks that `hasher` has taken, from the start of the piece.
    hashed: u32,
}

impl OpenPiece {
    fn block_len(&self, block: u32) -> u32 {
        let begin = block * BLOCK_LEN;
        (self.bytes.len() as u32 - begin).min(BLOCK_LEN)
    }

    fn is_complete(&self, block: u32) -> bool {
        self.filled[block as usize] == self.block_len(block)
    }

    /// Takes a part of one block. A block comes in order, from one peer; when another peer begins it anew, what
    /// was there is forgotten.
    fn write(&mut self, block: u32, offset: u32, data: &[u8]) {
        let filled = self.filled[block as usize];
        if offset > filled {
            // A gap: the sink was not told the beginning. The block stays incomplete.
            return;
        }
        if filled == self.block_len(block) {
            self.complete -= 1;
            if block < self.hashed {
                // A block that was hashed is replaced; begin again.
                self.hasher = Sha1::new();
                self.hashed = 0;
            }
        }
        let begin = (block * BLOCK_LEN + offset) as usize;
        self.bytes[begin..begin + data.len()].copy_from_slice(data);
        self.filled[block as usize] = offset + data.len() as u32;
        if self.is_complete(block) {
            self.complete += 1;
        }
        if block == self.hashed && self.is_complete(block) {
            self.advance_hash(HASH_SLICE);
        }
    }

    /// Hashes complete blocks that follow what is hashed, up to `bytes_max`. True when nothing is left to do.
    fn advance_hash(&mut self, bytes_max: usize) -> bool {
        let start = self.hashed;
        let blocks_max = (bytes_max as u32 / BLOCK_LEN).max(1);
        let mut end = start;
        while end - start < blocks_max && (end as usize) < self.filled.len() && self.is_complete(end) {
            end += 1;
        }
        let from = ((start * BLOCK_LEN) as usize).min(self.bytes.len());
        let to = ((end * BLOCK_LEN) as usize).min(self.bytes.len());
        self.hasher.update(&self.bytes[from..to]);
        self.hashed = end;
        end as usize == self.filled.len() || !self.is_complete(end)
    }

    #[cfg(debug_assertions)]
    fn check_invariants(&self) {
        let complete = (0..self.filled.len() as u32).filter(|&block| self.is_complete(block)).count();
        assert_eq!(complete as u32, self.complete);
        assert!((0..self.hashed).all(|block| self.is_complete(block)));
    }
}

/// A piece that has all its blocks but is maybe not hashed to its end.
pub struct FullPiece {
    piece: OpenPiece,
    home: Weak<RefCell<Vec<IoBuf>>>,
}

impl FullPiece {
    /// Hashes what is not hashed yet: up to the whole piece at once.
    pub fn finish(mut self) -> (Rc<PieceBuf>, [u8; 20]) {
        while !self.piece.advance_hash(HASH_SLICE) {}
        self.seal()
    }

    /// As [`FullPiece::finish`], letting other tasks run between slices of 1 MiB: for large pieces whose
    /// first block came late.
    pub async fn finish_yielding(mut self) -> (Rc<PieceBuf>, [u8; 20]) {
        while !self.piece.advance_hash(HASH_SLICE) {
            super::disk::yield_now().await;
        }
        self.seal()
    }

    fn seal(self) -> (Rc<PieceBuf>, [u8; 20]) {
        let digest = self.piece.hasher.finalize().into();
        (Rc::new(PieceBuf { bytes: self.piece.bytes, home: self.home }), digest)
    }
}

/// The open pieces of one torrent, on its home shard.
pub struct PieceBuffers {
    info: Arc<Info>,
    open: HashMap<PieceIndex, OpenPiece>,
    spare: Rc<RefCell<Vec<IoBuf>>>,
    open_bytes: u64,
    open_bytes_max: u64,
    refused_bytes: u64,
}

impl PieceBuffers {
    /// No open pieces. `open_bytes_max` is the memory that open pieces may take; one piece is always allowed.
    pub fn new(info: Arc<Info>, open_bytes_max: u64) -> PieceBuffers {
        PieceBuffers {
            info,
            open: HashMap::new(),
            spare: Rc::default(),
            open_bytes: 0,
            open_bytes_max,
            refused_bytes: 0,
        }
    }

    fn layout(&self) -> &Layout {
        &self.info.layout
    }

    /// Takes a complete piece out. `None` when blocks are missing, and it stays.
    pub fn take(&mut self, piece: PieceIndex) -> Option<FullPiece> {
        let open = self.open.get(&piece)?;
        if open.complete as usize != open.filled.len() {
            return None;
        }
        let open = self.open.remove(&piece)?;
        self.open_bytes -= open.bytes.len() as u64;
        Some(FullPiece { piece: open, home: Rc::downgrade(&self.spare) })
    }

    /// Takes a complete piece out, with its SHA-1. `None` when blocks are missing, and it stays.
    pub fn finish(&mut self, piece: PieceIndex) -> Option<(Rc<PieceBuf>, [u8; 20])> {
        self.take(piece).map(FullPiece::finish)
    }

    /// Forgets a piece.
    pub fn discard(&mut self, piece: PieceIndex) {
        if let Some(open) = self.open.remove(&piece) {
            self.open_bytes -= open.bytes.len() as u64;
            self.recycle(open.bytes);
        }
    }

    /// Forgets everything, spare memory too.
    pub fn clear(&mut self) {
        self.open.clear();
        self.open_bytes = 0;
        self.spare.borrow_mut().clear();
    }

    /// Bytes that open pieces take.
    pub fn open_bytes(&self) -> u64 {
        self.open_bytes
    }

    /// Number of open pieces.
    pub fn open_pieces(&self) -> usize {
        self.open.len()
    }

    /// Bytes that were dropped since there was no room; a picker that keeps to its limit causes none.
    pub fn refused_bytes(&self) -> u64 {
        self.refused_bytes
    }

    fn recycle(&self, bytes: IoBuf) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_BUFFERS_MAX {
            spare.push(bytes);
        }
    }

    fn open_piece(&mut self, piece: PieceIndex) -> Option<&mut OpenPiece> {
        if !self.open.contains_key(&piece) {
            let length = self.layout().piece_len(piece);
            let blocks = self.layout().block_count(piece);
            let full = self.open_bytes.saturating_add(length.into()) > self.open_bytes_max;
            if length == 0 || (full && !self.open.is_empty()) {
                return None;
            }
            let mut bytes = self.spare.borrow_mut().pop().unwrap_or_default();
            if bytes.capacity() < length as usize {
                bytes =
                    IoBuf::with_capacity(self.layout().piece_length.min(length.next_power_of_two()) as usize);
            }
            if bytes.capacity() < length as usize {
                bytes = IoBuf::with_capacity(length as usize);
            }
            // Recycled memory is not cleared: every byte is received before the piece counts as complete.
            bytes.resize(length as usize);
            self.open_bytes += u64::from(length);
            let filled = vec![0; blocks as usize].into();
            self.open.insert(piece, OpenPiece { bytes, filled, complete: 0, hasher: Sha1::new(), hashed: 0 });
        }
        self.open.get_mut(&piece)
    }
}

impl BlockSink for PieceBuffers {
    /// Takes a chunk. What lies outside the piece, or finds no room, is dropped.
    fn write(&mut self, piece: PieceIndex, offset_in_piece: u32, data: &[u8]) {
        let Some(open) = self.open_piece(piece) else {
            self.refused_bytes += data.len() as u64;
            return;
        };
        let mut at = offset_in_piece;
        let mut rest = data;
        while !rest.is_empty() && (at as usize) < open.bytes.len() {
            let block = at / BLOCK_LEN;
            let offset = at % BLOCK_LEN;
            let take = rest.len().min((open.block_len(block) - offset) as usize);
            let (chunk, after) = rest.split_at(take);
            open.write(block, offset, chunk);
            rest = after;
            at += take as u32;
        }
        #[cfg(debug_assertions)]
        open.check_invariants();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::tests::noise;

    /// A torrent of three pieces, the last short and with a short last block.
    fn sample(piece_length: u32) -> (Arc<Info>, Vec<u8>) {
        let total = 2 * u64::from(piece_length) + u64::from(BLOCK_LEN) + 77;
        let layout = Layout::single("x", piece_length, total).unwrap();
        (Arc::new(Info::new("x".into(), layout, vec![[0; 20]; 3], false).unwrap()), noise(total as usize, 3))
    }

    fn piece_data<'a>(info: &Info, data: &'a [u8], piece: PieceIndex) -> &'a [u8] {
        &data[info.layout.piece_offset(piece) as usize..][..info.layout.piece_len(piece) as usize]
    }

    /// An order of `0..count` that differs for every seed.
    fn shuffled(count: u32, seed: u64) -> Vec<u32> {
        let keys = noise(count as usize * 4, seed);
        let mut order: Vec<_> = (0..count).collect();
        order.sort_by_key(|&n| &keys[n as usize * 4..][..4]);
        order
    }

    #[test]
    fn blocks_in_any_order_and_in_parts_hash_as_the_whole() {
        let (info, data) = sample(20 * BLOCK_LEN);
        let mut buffers = PieceBuffers::new(Arc::clone(&info), u64::MAX);
        for seed in 1..60 {
            for piece in (0..3).map(PieceIndex) {
                let want = piece_data(&info, &data, piece);
                let blocks = info.layout.block_count(piece);
                for (turn, n) in shuffled(blocks, seed).into_iter().enumerate() {
                    assert!(buffers.take(piece).is_none(), "complete after {turn} of {blocks} blocks");
                    let block = info.layout.block(piece, n);
                    let mut at = block.begin as usize;
                    // Parts as a socket gives them.
                    for part in want[at..block.end() as usize].chunks(1 + seed as usize * 517) {
                        buffers.write(piece, at as u32, part);
                        at += part.len();
                    }
                }
                let (bytes, digest) = buffers.finish(piece).unwrap();
                assert!((*bytes).as_ref() == want);
                assert_eq!(digest, <[u8; 20]>::from(Sha1::digest(want)));
                assert!(buffers.finish(piece).is_none());
            }
        }
        assert_eq!((buffers.open_bytes(), buffers.open_pieces(), buffers.refused_bytes()), (0, 0, 0));
    }

    #[test]
    fn a_block_that_comes_again_counts_for_data_and_hash() {
        let (info, data) = sample(4 * BLOCK_LEN);
        let piece = PieceIndex(0);
        let want = piece_data(&info, &data, piece);
        let mut buffers = PieceBuffers::new(Arc::clone(&info), u64::MAX);
        // Half a block from a bad peer, then the whole one from another.
        buffers.write(piece, 0, &[1; 8192]);
        buffers.write(piece, 0, &want[..16384]);
        // A whole bad block, already hashed, and one that is not the next to be hashed.
        buffers.write(piece, 16384, &[2; 16384]);
        buffers.write(piece, 49152, &[3; 16384]);
        buffers.write(piece, 49152, &want[49152..]);
        buffers.write(piece, 32768, &want[32768..49152]);
        buffers.write(piece, 16384, &want[16384..20000]);
        assert!(buffers.take(piece).is_none(), "a block is half replaced");
        buffers.write(piece, 20000, &want[20000..32768]);
        let (bytes, digest) = buffers.finish(piece).unwrap();
        assert!((*bytes).as_ref() == want);
        assert_eq!(digest, <[u8; 20]>::from(Sha1::digest(want)));
    }

    #[test]
    fn gaps_and_what_lies_outside_complete_nothing() {
        let (info, data) = sample(2 * BLOCK_LEN);
        let mut buffers = PieceBuffers::new(Arc::clone(&info), u64::MAX);
        let piece = PieceIndex(0);
        buffers.write(piece, 100, &data[100..16384]);
        buffers.write(piece, 16384, &data[16384..32768]);
        assert!(buffers.take(piece).is_none());
        buffers.write(PieceIndex(3), 0, &[0; 16384]);
        buffers.write(piece, u32::MAX, &[0; 16384]);
        // More than the last block of the short piece holds.
        let last = PieceIndex(2);
        buffers.write(last, 0, &[9; 3 * 16384]);
        let (bytes, _) = buffers.finish(last).unwrap();
        assert_eq!(bytes.len(), 16384 + 77);
        assert_eq!(buffers.open_pieces(), 1);
        buffers.discard(piece);
        assert_eq!(buffers.open_bytes(), 0);
    }

    #[test]
    fn memory_is_bounded_and_used_again() {
        let (info, data) = sample(4 * BLOCK_LEN);
        let mut buffers = PieceBuffers::new(Arc::clone(&info), 4 * u64::from(BLOCK_LEN));
        buffers.write(PieceIndex(0), 0, &data[..16384]);
        buffers.write(PieceIndex(1), 0, &data[..16384]);
        assert_eq!((buffers.open_pieces(), buffers.refused_bytes()), (1, 16384));
        let spare = |buffers: &PieceBuffers| buffers.spare.borrow().len();
        buffers.discard(PieceIndex(0));
        assert_eq!(spare(&buffers), 1);
        // A recycled buffer holds old bytes; a piece is made of new ones all the same.
        let want = piece_data(&info, &data, PieceIndex(1));
        buffers.write(PieceIndex(1), 0, want);
        let (bytes, digest) = buffers.finish(PieceIndex(1)).unwrap();
        assert_eq!(digest, <[u8; 20]>::from(Sha1::digest(want)));
        assert_eq!(spare(&buffers), 0);
        drop(bytes);
        assert_eq!(spare(&buffers), 1);
        for _ in 0..20 {
            let held: Vec<_> = (0..8)
                .map(|_| {
                    buffers.write(PieceIndex(0), 0, &data[..65536]);
                    buffers.finish(PieceIndex(0)).unwrap()
                })
                .collect();
            drop(held);
            assert!(spare(&buffers) <= SPARE_BUFFERS_MAX);
        }
        // The first piece is let in whatever its size.
        let mut small = PieceBuffers::new(info, 1);
        small.write(PieceIndex(0), 0, &data[..65536]);
        assert!(small.finish(PieceIndex(0)).is_some());
    }
}
