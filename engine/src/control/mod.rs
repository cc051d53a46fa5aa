//! The control thread: the session, its snapshots, announces, the resume store and the RPC.

pub mod handle;
pub mod snapshot;

pub use handle::{AddOutcome, AddTorrent, EngineError, EngineHandle};
pub use snapshot::{EngineSnapshot, PeerStatus, TorrentState, TorrentStatus, TrackerStatus};
