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
