//! The control thread: the session, its snapshots, announces, the resume store and the RPC.

pub mod handle;
mod inbox;
pub mod session;
pub mod snapshot;
pub mod thread;
pub mod torrent;

pub use handle::{AddOutcome, AddTorrent, EngineError, EngineHandle};
pub use inbox::Inbox;
pub use snapshot::{EngineSnapshot, PeerStatus, TorrentState, TorrentStatus, TrackerStatus};
