//! Where a send is gathered: a list that points into the maps, or memory in which everything is enciphered.

use crate::limits::STAGING_BYTES_KEPT;
use ringseed_proto::units::Block;
use ringseed_ring::SendList;
use ringseed_storage::{OwnBlock, StorageError, TorrentStore};
use std::sync::Arc;

/// Memory that one send after the other is enciphered in, so that it stays in the core's cache.
#[derive(Debug, Default)]
pub(super) struct Staging {
    memory: Vec<u8>,
    used: usize,
}

impl Staging {
    /// The next `length` bytes, with anything in them.
    fn room(&mut self, length: usize) -> &mut [u8] {
        let end = self.used + length;
        if self.memory.len() < end {
            self.memory.resize(end.max(STAGING_BYTES_KEPT), 0);
        }
        let from = std::mem::replace(&mut self.used, end);
        &mut self.memory[from..end]
    }

    /// What was gathered.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[..self.used]
    }

    /// Empties it for the next send. Memory that an unusual send took is given back.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        if self.memory.len() > STAGING_BYTES_KEPT {
            self.memory.truncate(STAGING_BYTES_KEPT);
            self.memory.shrink_to_fit();
        }
    }
}

/// A send that is being gathered.
pub(super) enum Gather<'a> {
    /// From where the blocks lie.
    InPlace(&'a mut SendList),
    /// In memory of our own.
    Copied(&'a mut Staging),
}

impl Gather<'_> {
    /// Messages.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        match self {
            Gather::InPlace(list) => list.push_bytes(bytes),
            Gather::Copied(staging) => staging.room(bytes.len()).copy_from_slice(bytes),
        }
    }

    /// A block that was read past the page cache.
    pub(super) fn push_own(&mut self, block: &Arc<OwnBlock>) {
        match self {
            Gather::InPlace(list) => block.push(list),
            Gather::Copied(staging) => staging.room(block.bytes().len()).copy_from_slice(block.bytes()),
        }
    }

    /// A block that is in memory.
    pub(super) fn push_block(&mut self, store: &TorrentStore, block: &Block) -> Result<(), StorageError> {
        match self {
            Gather::InPlace(list) => store.push_block(block, list),
            Gather::Copied(staging) => store.copy_block(block, staging.room(block.length as usize)),
        }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        match self {
            Gather::InPlace(list) => list.len(),
            Gather::Copied(staging) => staging.used,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_does_not_grow_for_good() {
        let mut staging = Staging::default();
        Gather::Copied(&mut staging).push_bytes(b"one");
        Gather::Copied(&mut staging).push_bytes(b"two");
        assert_eq!(staging.bytes(), b"onetwo");
        let place = staging.bytes().as_ptr();
        staging.clear();
        Gather::Copied(&mut staging).push_bytes(b"three");
        assert_eq!((staging.bytes().as_ptr(), staging.used), (place, 5));
        staging.room(STAGING_BYTES_KEPT * 4);
        staging.clear();
        assert_eq!((staging.memory.len(), staging.used), (STAGING_BYTES_KEPT, 0));
        assert!(staging.memory.capacity() < STAGING_BYTES_KEPT * 2);
    }
}
