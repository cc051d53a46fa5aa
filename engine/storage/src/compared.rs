//! Files that another torrent has as well: what a piece would write there is compared with what is there, and nothing of
//! it is changed.

use super::confined::Purpose;
use super::disk::read_fully;
use super::error::StorageError;
use super::limits::CHUNK_BYTES;
use super::piece_buffers::PieceBuf;
use super::store::TorrentStore;
use ringseed_ring::{IoBuf, Ring};
use std::collections::BTreeSet;
use std::sync::Arc;

impl TorrentStore {
    /// From now on the files with these indexes are not written.
    pub fn set_compared(&self, files: BTreeSet<usize>) {
        self.compared.store((!files.is_empty()).then(|| Arc::new(files)));
    }

    /// Whether a file is not written, because another torrent has it as well.
    pub fn is_compared(&self, file: usize) -> bool {
        self.compared.load().as_ref().is_some_and(|files| files.contains(&file))
    }

    /// Compares bytes of a piece with those of a file.
    ///
    /// # Errors
    /// [`StorageError::Shared`] when they differ.
    pub(super) async fn compare_span(
        &self,
        ring: &Ring,
        file: usize,
        data: &PieceBuf,
        mut from: usize,
        mut offset: u64,
        length: usize,
    ) -> Result<(), StorageError> {
        let open = self.files.open_when_possible(ring, file, Purpose::Read).await?;
        let end = from + length;
        let mut buffer = IoBuf::with_capacity(length.min(CHUNK_BYTES));
        while from < end {
            let step = (end - from).min(CHUNK_BYTES);
            buffer.clear();
            let (read, back) = read_fully(ring, &open.fd, buffer, offset, step).await;
            buffer = back;
            match read {
                Ok(()) => {}
                // It is shorter than it has to be: there is nothing that would be the same.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(StorageError::from_io(&error, "read", self.files.path(file))),
            }
            if data.as_ref().get(from..from + step) != Some(buffer.as_slice()) {
                return Err(StorageError::Shared { path: self.files.path(file) });
            }
            from += step;
            offset += step as u64;
        }
        // The other torrent may have written it a moment ago: it is no more durable than what this one writes.
        self.mark_dirty(file, &open, 0);
        Ok(())
    }
}
