//! Why work on files has not ended as it was to.

use ringseed_storage::StorageError;

/// Why not all files of a removed torrent are deleted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeleteError {
    /// Some could not be.
    #[error("it is removed, but not all of its files are deleted: {0}")]
    Storage(#[from] StorageError),
    /// The task that deleted them has ended in a way that nobody foresaw.
    #[error("it is removed, but deleting its files has ended badly")]
    EndedBadly,
}
