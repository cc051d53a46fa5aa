//! Pieces being assembled from blocks, in memory, and whole ones on their way to disk.
//!
//! A piece is hashed from here before it is written; it is never read back.

use ringseed_proto::layout::Layout;
use ringseed_proto::metainfo::Info;
use ringseed_proto::swarm::{BlockSink, PieceMemory};
use ringseed_proto::units::{BLOCK_LEN, PieceIndex};
use ringseed_ring::IoBuf;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// Bytes of buffers kept for reuse when no piece needs them: as much as may be on its way to disk, so that a fast
/// download takes no fresh memory, which costs a page fault for each 4 KiB. A torrent that is complete keeps none.
const SPARE_BYTES_MAX: u64 = 32 << 20;

/// Bytes in use from which on further memory is taken 2 MiB at a time, as huge pages. A download that needs less is slow,
/// and there may be thousands of those.
const HUGE_FROM: u64 = 4 << 20;

/// What whole pieces leave behind for the buffers that they came from.
struct Returned {
    /// What all torrents may keep.
    memory: Arc<PieceMemory>,
    spare: RefCell<Vec<IoBuf>>,
    /// Bytes of whole pieces that somebody holds.
    whole_bytes: Cell<u64>,
    /// Memory was taken as huge pages: buffers that are not of these are not kept.
    huge: Cell<bool>,
}

impl Returned {
    fn recycle(&self, bytes: IoBuf) {
        if self.huge.get() && !bytes.is_one_of_several() {
            return;
        }
        let mut spare = self.spare.borrow_mut();
        let kept: u64 = spare.iter().map(|kept| kept.capacity() as u64).sum();
        let capacity = bytes.capacity() as u64;
        if kept + capacity <= SPARE_BYTES_MAX && self.memory.take_spare(capacity) {
            spare.push(bytes);
        }
    }

    /// A buffer that was kept; the others stay.
    fn reuse(&self) -> Option<IoBuf> {
        let kept = self.spare.borrow_mut().pop()?;
        self.memory.give_spare(kept.capacity() as u64);
        Some(kept)
    }

    /// One of several buffers in huge pages, when there is room to keep the others.
    fn take_huge(&self, capacity: usize) -> Option<IoBuf> {
        let mut several = IoBuf::several(capacity).ok()?;
        let one = several.pop()?;
        if !self.memory.take_spare(several.iter().map(|other| other.capacity() as u64).sum()) {
            return None;
        }
        self.huge.set(true);
        self.spare.borrow_mut().append(&mut several);
        Some(one)
    }

    fn clear(&self) {
        while self.reuse().is_some() {}
        self.huge.set(false);
    }
}

impl Drop for Returned {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The bytes of one whole piece. Its memory goes back to the [`PieceBuffers`] it came from when the last holder
/// (a write in flight, for example) drops it.
pub struct PieceBuf {
    bytes: IoBuf,
    home: Weak<Returned>,
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
        if let Some(home) = self.home.upgrade() {
            home.whole_bytes.set(home.whole_bytes.get() - self.bytes.len() as u64);
            home.recycle(std::mem::take(&mut self.bytes));
        }
    }
}

/// A piece with blocks missing.
struct OpenPiece {
    bytes: IoBuf,
    /// Bytes received of each block, from its start.
    filled: Box<[u32]>,
    complete: u32,
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
        }
        let begin = (block * BLOCK_LEN + offset) as usize;
        self.bytes[begin..begin + data.len()].copy_from_slice(data);
        self.filled[block as usize] = offset + data.len() as u32;
        if self.is_complete(block) {
            self.complete += 1;
        }
    }

    #[cfg(debug_assertions)]
    fn check_invariants(&self) {
        let complete = (0..self.filled.len() as u32).filter(|&block| self.is_complete(block)).count();
        assert_eq!(complete as u32, self.complete);
    }
}

/// The open pieces of one torrent, on its home shard.
pub struct PieceBuffers {
    info: Arc<Info>,
    open: HashMap<PieceIndex, OpenPiece>,
    returned: Rc<Returned>,
    open_bytes: u64,
}

impl PieceBuffers {
    /// No open pieces. How many there may be is for the swarm to say, which takes their memory from `memory`; what is
    /// kept for reuse is taken from there here.
    pub fn new(info: Arc<Info>, memory: Arc<PieceMemory>) -> PieceBuffers {
        let returned = Returned {
            memory,
            spare: RefCell::default(),
            whole_bytes: Cell::default(),
            huge: Cell::default(),
        };
        PieceBuffers { info, open: HashMap::new(), returned: Rc::new(returned), open_bytes: 0 }
    }

    fn layout(&self) -> &Layout {
        &self.info.layout
    }

    /// Takes a complete piece out, not hashed yet. `None` when blocks are missing, and it stays.
    pub fn take(&mut self, piece: PieceIndex) -> Option<PieceBuf> {
        let open = self.open.get(&piece)?;
        if open.complete as usize != open.filled.len() {
            return None;
        }
        let open = self.open.remove(&piece)?;
        let length = open.bytes.len() as u64;
        self.open_bytes -= length;
        self.returned.whole_bytes.set(self.returned.whole_bytes.get() + length);
        Some(PieceBuf { bytes: open.bytes, home: Rc::downgrade(&self.returned) })
    }

    /// Checks that nothing is here that the swarm does not know of, unless that is much work; does nothing without
    /// `debug_assertions`.
    ///
    /// # Panics
    /// When a piece is not among those that are `known`.
    pub fn check_invariants(&self, known: impl FnOnce() -> Vec<PieceIndex>) {
        if cfg!(debug_assertions) && (1..64).contains(&self.open.len()) {
            let known = known();
            let leaked: Vec<_> = self.open.keys().filter(|piece| !known.contains(piece)).collect();
            assert!(leaked.is_empty(), "blocks are held of pieces that the swarm has given up: {leaked:?}");
        }
    }

    /// Forgets everything, spare memory too.
    pub fn clear(&mut self) {
        self.open.clear();
        self.open_bytes = 0;
        self.returned.clear();
    }

    /// Bytes that open pieces take.
    pub fn open_bytes(&self) -> u64 {
        self.open_bytes
    }

    /// Bytes of whole pieces that were taken out and are still held: hashed, or written.
    pub fn whole_bytes(&self) -> u64 {
        self.returned.whole_bytes.get()
    }

    /// Number of open pieces.
    pub fn open_pieces(&self) -> usize {
        self.open.len()
    }

    /// A buffer that holds `length` bytes, with whatever was in it before.
    fn buffer(&self, length: usize) -> IoBuf {
        if let Some(kept) = self.returned.reuse().filter(|kept| kept.capacity() >= length) {
            return kept;
        }
        // What is taken for a short last piece alone is no longer than that.
        let capacity = (self.layout().piece_length as usize).min(length.next_power_of_two()).max(length);
        if capacity == self.layout().piece_length as usize
            && self.open_bytes + self.whole_bytes() >= HUGE_FROM
            && let Some(one) = self.returned.take_huge(capacity)
        {
            return one;
        }
        IoBuf::with_capacity(capacity)
    }

    fn open_piece(&mut self, piece: PieceIndex) -> Option<&mut OpenPiece> {
        if !self.open.contains_key(&piece) {
            let length = self.layout().piece_len(piece);
            let blocks = self.layout().block_count(piece);
            if length == 0 {
                return None;
            }
            let mut bytes = self.buffer(length as usize);
            // Recycled memory is not cleared: every byte is received before the piece counts as complete.
            bytes.resize(length as usize);
            self.open_bytes += u64::from(length);
            let filled = vec![0; blocks as usize].into();
            self.open.insert(piece, OpenPiece { bytes, filled, complete: 0 });
        }
        self.open.get_mut(&piece)
    }
}

impl BlockSink for PieceBuffers {
    /// Takes a chunk. What lies outside the piece is dropped.
    fn write(&mut self, piece: PieceIndex, offset_in_piece: u32, data: &[u8]) {
        let Some(open) = self.open_piece(piece) else { return };
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

    fn discard(&mut self, piece: PieceIndex) {
        if let Some(open) = self.open.remove(&piece) {
            self.open_bytes -= open.bytes.len() as u64;
            self.returned.recycle(open.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::noise;
    use sha1::{Digest, Sha1};

    /// A torrent of three pieces, the last short and with a short last block.
    fn sample(piece_length: u32) -> (Arc<Info>, Vec<u8>) {
        let total = 2 * u64::from(piece_length) + u64::from(BLOCK_LEN) + 77;
        let layout = Layout::single("x", piece_length, total).unwrap();
        (Arc::new(Info::new("x".into(), layout, vec![[0; 20]; 3], false).unwrap()), noise(total as usize, 3))
    }

    fn piece_data<'a>(info: &Info, data: &'a [u8], piece: PieceIndex) -> &'a [u8] {
        &data[info.layout.piece_offset(piece) as usize..][..info.layout.piece_len(piece) as usize]
    }

    /// Takes a piece out when it is complete, with the hash of its bytes.
    fn finish(buffers: &mut PieceBuffers, piece: PieceIndex) -> Option<(PieceBuf, [u8; 20])> {
        let taken = buffers.take(piece)?;
        let digest = Sha1::digest(taken.as_ref()).into();
        Some((taken, digest))
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
        let mut buffers = PieceBuffers::new(Arc::clone(&info), PieceMemory::new(u64::MAX));
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
                let (bytes, digest) = finish(&mut buffers, piece).unwrap();
                assert!(bytes.as_ref() == want);
                assert_eq!(digest, <[u8; 20]>::from(Sha1::digest(want)));
                assert!(buffers.take(piece).is_none());
            }
        }
        assert_eq!((buffers.open_bytes(), buffers.open_pieces()), (0, 0));
    }

    #[test]
    fn a_block_that_comes_again_counts_for_data_and_hash() {
        let (info, data) = sample(4 * BLOCK_LEN);
        let piece = PieceIndex(0);
        let want = piece_data(&info, &data, piece);
        let mut buffers = PieceBuffers::new(Arc::clone(&info), PieceMemory::new(u64::MAX));
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
        let (bytes, digest) = finish(&mut buffers, piece).unwrap();
        assert!(bytes.as_ref() == want);
        assert_eq!(digest, <[u8; 20]>::from(Sha1::digest(want)));
    }

    #[test]
    fn gaps_and_what_lies_outside_complete_nothing() {
        let (info, data) = sample(2 * BLOCK_LEN);
        let mut buffers = PieceBuffers::new(Arc::clone(&info), PieceMemory::new(u64::MAX));
        let piece = PieceIndex(0);
        buffers.write(piece, 100, &data[100..16384]);
        buffers.write(piece, 16384, &data[16384..32768]);
        assert!(buffers.take(piece).is_none());
        buffers.write(PieceIndex(3), 0, &[0; 16384]);
        buffers.write(piece, u32::MAX, &[0; 16384]);
        // More than the last block of the short piece holds.
        let last = PieceIndex(2);
        buffers.write(last, 0, &[9; 3 * 16384]);
        let (bytes, _) = finish(&mut buffers, last).unwrap();
        assert_eq!(bytes.len(), 16384 + 77);
        assert_eq!(buffers.open_pieces(), 1);
        buffers.discard(piece);
        assert_eq!(buffers.open_bytes(), 0);
    }

    #[test]
    fn memory_is_bounded_and_used_again() {
        let (info, data) = sample(4 * BLOCK_LEN);
        let memory = PieceMemory::new(512 << 20);
        let mut buffers = PieceBuffers::new(Arc::clone(&info), Arc::clone(&memory));
        buffers.write(PieceIndex(0), 0, &data[..16384]);
        let spare = |buffers: &PieceBuffers| buffers.returned.spare.borrow().len();
        buffers.discard(PieceIndex(0));
        assert_eq!(spare(&buffers), 1);
        // A recycled buffer holds old bytes; a piece is made of new ones all the same.
        let want = piece_data(&info, &data, PieceIndex(1));
        buffers.write(PieceIndex(1), 0, want);
        let (bytes, digest) = finish(&mut buffers, PieceIndex(1)).unwrap();
        assert_eq!(digest, <[u8; 20]>::from(Sha1::digest(want)));
        assert_eq!((spare(&buffers), buffers.whole_bytes()), (0, 65536));
        drop(bytes);
        assert_eq!((spare(&buffers), buffers.whole_bytes()), (1, 0));
        for _ in 0..20 {
            let held: Vec<_> = (0..200)
                .map(|_| {
                    buffers.write(PieceIndex(0), 0, &data[..65536]);
                    finish(&mut buffers, PieceIndex(0)).unwrap()
                })
                .collect();
            assert_eq!(buffers.whole_bytes(), 200 * 65536);
            drop(held);
            assert!(spare(&buffers) as u64 <= SPARE_BYTES_MAX / 65536);
        }
        // So many bytes in use come as huge pages, and only buffers of these are kept.
        assert!(buffers.returned.huge.get());
        assert!(buffers.returned.spare.borrow().iter().all(IoBuf::is_one_of_several));
        buffers.clear();
        assert!(!buffers.returned.huge.get() && spare(&buffers) == 0);
        buffers.write(PieceIndex(0), 0, &data[..65536]);
        drop(finish(&mut buffers, PieceIndex(0)).unwrap());
        assert!(!buffers.returned.spare.borrow()[0].is_one_of_several(), "a slow download takes small pages");
        assert_eq!(memory.spare_bytes(), 65536);
        drop(buffers);
        assert_eq!(memory.spare_bytes(), 0);
    }

    #[test]
    fn what_is_kept_for_reuse_is_bounded_for_all_torrents_together() {
        let (info, data) = sample(4 * BLOCK_LEN);
        // Room to keep three pieces, and for no huge page.
        let memory = PieceMemory::new(8 * 3 * 65536);
        let mut torrents: Vec<_> =
            (0..4).map(|_| PieceBuffers::new(Arc::clone(&info), Arc::clone(&memory))).collect();
        for buffers in &mut torrents {
            let held: Vec<_> = (0..100)
                .map(|_| {
                    buffers.write(PieceIndex(0), 0, &data[..65536]);
                    buffers.take(PieceIndex(0)).unwrap()
                })
                .collect();
            drop(held);
        }
        let kept: usize = torrents.iter().map(|buffers| buffers.returned.spare.borrow().len()).sum();
        assert_eq!((kept, memory.spare_bytes()), (3, 3 * 65536));
        assert!(torrents.iter().all(|buffers| !buffers.returned.huge.get()));
        torrents.clear();
        assert_eq!(memory.spare_bytes(), 0);
    }
}
