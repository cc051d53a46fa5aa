//! Where a torrent's bytes live on disk, and the file that remembers torrents between runs.
//!
//! Three things, each used on its own:
//!
//! * [`TorrentStore`]: the data of one torrent, shared by all shards. Serving is `residency` → (cold:
//!   `bring_in`, once) → `push_block` → send; after a send that fails with `EFAULT`, `check_in_use` names the
//!   file. Keeping is `write_piece` → `sync_dirty` → claim. `check_in_use` now and then finds files that were
//!   pulled away under us.
//! * [`PieceBuffers`]: the pieces a downloading torrent is assembling in memory, on its home shard.
//! * [`ResumeStore`]: all torrents of the session, on the control thread.
//!
//! What "full" means: maps and descriptors over their budget evict others; read-ahead over its budget waits; dirty
//! bytes over theirs are for the caller to notice ([`StoreLimits::dirty`]) by requesting no more blocks.
//!
//! Nothing here dereferences a map; see `file_map`.

mod budget;
mod cache_room;
mod compared;
mod confined;
mod copied;
mod directories;
mod disk;
mod error;
mod file_map;
mod files;
mod hashing;
mod known;
pub mod limits;
mod loaded;
pub mod memory;
mod names;
mod past_cache;
mod piece_buffers;
mod piece_ranges;
mod place;
mod plain_names;
mod read_ahead;
pub mod relocate;
mod residency;
mod resume;
mod store;
mod traffic;
mod trust;
mod verify;
mod write;

#[cfg(test)]
mod tests;

pub use budget::Bytes;
pub use cache_room::CacheRoom;
pub use confined::{FileStamp, SizeCheck, ignores_case};
pub use error::StorageError;
pub use hashing::{hash_blocks_yielding, hash_yielding};
pub use limits::{Allocation, StoreConfig, StoreLimits};
pub use names::{PARTIAL_SUFFIX, is_partial_name, partial_path};
pub use past_cache::OwnBlock;
pub use piece_buffers::{PieceBuf, PieceBuffers};
pub use piece_ranges::PieceRanges;
pub use plain_names::{AdoptedFiles, adopt_partial_names, lies_under_plain_names};
pub use relocate::{Move, MoveError, MoveProgress};
pub use residency::{Residency, ResidencyClock};
pub use resume::{
    AltSpeed, CopyError, DamagedRecord, FilePriority, FileWork, Group, Loaded, PieceUpdate, RESUME_VERSION,
    Rebuilt, RecordError, Rename, ResumeError, ResumeStore, RunState, SessionSettings, SetLimit, SetPort,
    ShareLimitMode, SpeedLimit, Switch, Switched, TorrentRecord, TorrentSettings, Totals,
};
pub use store::{Access, TorrentStore};
pub use traffic::StorageStatus;
pub use trust::Look;
pub use verify::Verified;
pub use write::WritePath;
