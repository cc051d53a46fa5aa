//! Bringing parts of pieces into memory before they are sent.
//!
//! Mapped: an ordinary read of the part into memory that nobody looks at, which leaves its pages in the cache. It waits
//! in the kernel without a thread, and a page that cannot be read is an error here instead of a signal.
//! Ring-read: the whole piece is read into memory of our own.

use super::confined::Purpose;
use super::disk::{read_fully, until};
use super::error::StorageError;
use super::loaded::LoadedPieces;
use super::store::{Access, TorrentStore};
use ringseed_proto::units::{Block, PieceIndex};
use ringseed_ring::{IoBuf, Ring};
use std::io;

impl TorrentStore {
    /// Brings a part of a piece into memory, as [`TorrentStore::extent`] gave it, so that
    /// [`TorrentStore::residency`] says so and [`TorrentStore::push_block`] does not wait. What all shards bring
    /// in at once is bounded; over it this waits. Callers that want the same part should share one call.
    ///
    /// # Errors
    /// When a file of the part is missing, short or unreadable: it is marked as failed.
    pub async fn bring_in(&self, ring: &Ring, part: &Block) -> Result<(), StorageError> {
        if !self.layout().contains(part) {
            return Err(StorageError::OutOfRange(*part));
        }
        let budget = &self.limits().read_ahead;
        let _permit = until(ring, || budget.try_take(part.length.into())).await;
        match self.access {
            Access::Mapped => self.read_into_cache(ring, part).await,
            Access::RingRead => self.load(ring, part.piece, self.layout().piece_len(part.piece)).await,
        }
    }

    async fn read_into_cache(&self, ring: &Ring, part: &Block) -> Result<(), StorageError> {
        let mut reads = Vec::new();
        let mut absent = 0;
        for span in self.layout().spans(part.piece, part.begin, part.length).filter(|span| !span.padding) {
            let (map, file) = self.files.map_and_open_when_possible(ring, span.file).await?;
            absent += map.absent_bytes(span.offset, span.length);
            let end = span.offset + span.length;
            let started = ring.read_ahead(&file.fd, span.offset, span.length as usize);
            reads.push((span.file, file, span.offset, end, started));
        }
        self.limits().traffic.read_for_serving(absent);
        // Before they are there: what they take the place of may go from now on.
        self.limits().residency.read(absent);
        for (index, file, mut offset, end, started) in reads {
            let mut result = started.await;
            loop {
                match result {
                    Ok(0) => return Err(self.unreadable(index, &io::ErrorKind::UnexpectedEof.into())),
                    Ok(bytes) => offset += bytes as u64,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(self.unreadable(index, &error)),
                }
                if offset >= end {
                    break;
                }
                result = ring.read_ahead(&file.fd, offset, (end - offset) as usize).await;
            }
        }
        self.saw(part);
        Ok(())
    }

    /// What is wrong with a file that could not be read; it is marked as failed.
    pub(super) fn unreadable(&self, file: usize, error: &io::Error) -> StorageError {
        let found = self.files.look(file).err().unwrap_or_else(|| self.short_or(file, error));
        self.files.fail(file, found.clone());
        found
    }

    async fn load(&self, ring: &Ring, piece: PieceIndex, length: u32) -> Result<(), StorageError> {
        let lease = until(ring, || LoadedPieces::room(self.limits(), length.into())).await;
        let mut buf = IoBuf::with_capacity(length as usize);
        let spans: Vec<_> = self.layout().spans(piece, 0, u32::MAX).collect();
        for span in spans {
            // A span is not longer than its piece.
            let bytes = span.length as usize;
            if span.padding {
                buf.resize(buf.len() + bytes);
                continue;
            }
            let file = self
                .files
                .open_when_possible(ring, span.file, Purpose::Read)
                .await
                .and_then(|open| self.files.look(span.file).map(|()| open))
                .inspect_err(|error| self.files.note(span.file, error))?;
            let from = buf.len();
            let (result, back) = read_fully(ring, &file.fd, buf, span.offset, bytes).await;
            self.limits().traffic.read_for_serving((back.len() - from) as u64);
            buf = back;
            if let Err(error) = result {
                let found = self.short_or(span.file, &error);
                self.files.fail(span.file, found.clone());
                return Err(found);
            }
        }
        self.loaded.insert(self.limits(), piece, buf, lease);
        Ok(())
    }

    /// The error for a read that gave too little or failed.
    pub(super) fn short_or(&self, file: usize, error: &io::Error) -> StorageError {
        use super::confined::SizeCheck;
        let path = self.files.path(file);
        let expected = self.files.entry(file).length;
        match self.files.check_size(file) {
            Err(cause) => cause,
            Ok(SizeCheck::Missing) => StorageError::NotFound { path },
            Ok(SizeCheck::Short(found)) => StorageError::Truncated { path, expected, found },
            // Short when it was read, whole again or another file now.
            Ok(_) if error.kind() == io::ErrorKind::UnexpectedEof => StorageError::Replaced { path },
            Ok(_) => StorageError::from_io(error, "read", path),
        }
    }
}
