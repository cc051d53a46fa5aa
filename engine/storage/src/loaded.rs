//! Pieces of the ring-read store that are in memory: owned buffers that sends gather from.

use super::budget::{Evictable, Lease};
use super::error::StorageError;
use super::limits::StoreLimits;
use super::residency::{Residency, now_ms};
use ringseed_proto::units::{Block, PieceIndex};
use ringseed_ring::{IoBuf, SendList};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A piece said to be resident stays at least this long, so that the block can be pushed, in milliseconds.
const PROMISE_MS: u32 = 1_000;

/// One piece in memory.
#[derive(Debug)]
struct Loaded {
    bytes: IoBuf,
    promised_ms: AtomicU32,
    used: AtomicBool,
    _lease: Lease,
}

type Pieces = Mutex<HashMap<PieceIndex, Arc<Loaded>>>;

/// The loaded pieces of one torrent.
#[derive(Debug, Default)]
pub(super) struct LoadedPieces {
    pieces: Arc<Pieces>,
}

impl LoadedPieces {
    pub(super) fn residency(&self, piece: PieceIndex) -> Residency {
        match lock(&self.pieces).get(&piece) {
            Some(loaded) => {
                loaded.promised_ms.store(now_ms(), Ordering::Relaxed);
                loaded.used.store(true, Ordering::Relaxed);
                Residency::Resident
            }
            None => Residency::Cold,
        }
    }

    pub(super) fn push_block(&self, block: &Block, list: &mut SendList) -> Result<(), StorageError> {
        let loaded = lock(&self.pieces).get(&block.piece).cloned();
        let loaded = loaded.ok_or(StorageError::NotLoaded(block.piece))?;
        let range = block.begin as usize..block.end() as usize;
        let bytes = loaded.bytes.as_slice().get(range).ok_or(StorageError::OutOfRange(*block))?;
        // SAFETY: `bytes` lies in the buffer of `loaded`, which is never changed after it was made and lives
        // as long as a clone of the `Arc` that is pushed with it.
        unsafe { list.push_external(bytes.as_ptr(), bytes.len(), &loaded) };
        Ok(())
    }

    /// As [`LoadedPieces::push_block`], into memory that is as long as the block.
    pub(super) fn copy_block(&self, block: &Block, out: &mut [u8]) -> Result<(), StorageError> {
        let loaded = lock(&self.pieces).get(&block.piece).cloned();
        let loaded = loaded.ok_or(StorageError::NotLoaded(block.piece))?;
        let range = block.begin as usize..block.end() as usize;
        let bytes = loaded.bytes.as_slice().get(range).filter(|bytes| bytes.len() == out.len());
        out.copy_from_slice(bytes.ok_or(StorageError::OutOfRange(*block))?);
        Ok(())
    }

    /// Takes room for a piece, evicting others; `None` when nothing can be spared right now.
    pub(super) fn room(limits: &StoreLimits, bytes: u64) -> Option<Lease> {
        limits.loaded.try_lease(bytes)
    }

    pub(super) fn insert(&self, limits: &StoreLimits, piece: PieceIndex, bytes: IoBuf, lease: Lease) {
        let loaded = Loaded {
            bytes,
            promised_ms: AtomicU32::new(now_ms()),
            used: AtomicBool::new(true),
            _lease: lease,
        };
        lock(&self.pieces).insert(piece, Arc::new(loaded));
        limits.loaded.register(Box::new(Entry { pieces: Arc::downgrade(&self.pieces), piece }));
    }

    pub(super) fn forget(&self, piece: PieceIndex) {
        lock(&self.pieces).remove(&piece);
    }

    pub(super) fn clear(&self) {
        lock(&self.pieces).clear();
    }
}

fn lock(pieces: &Pieces) -> MutexGuard<'_, HashMap<PieceIndex, Arc<Loaded>>> {
    // Single insertions and removals cannot be left half done.
    pieces.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A loaded piece under the clock hand.
struct Entry {
    pieces: Weak<Pieces>,
    piece: PieceIndex,
}

impl Evictable for Entry {
    fn take_used(&self) -> bool {
        let Some(pieces) = self.pieces.upgrade() else { return false };
        lock(&pieces).get(&self.piece).is_some_and(|loaded| loaded.used.swap(false, Ordering::Relaxed))
    }

    fn evict(&self) -> bool {
        let Some(pieces) = self.pieces.upgrade() else { return true };
        let mut pieces = lock(&pieces);
        let promised = pieces.get(&self.piece).is_some_and(|loaded| {
            now_ms().wrapping_sub(loaded.promised_ms.load(Ordering::Relaxed)) < PROMISE_MS
        });
        if !promised {
            pieces.remove(&self.piece);
        }
        !promised
    }

    fn is_gone(&self) -> bool {
        self.pieces.upgrade().is_none_or(|pieces| !lock(&pieces).contains_key(&self.piece))
    }
}
