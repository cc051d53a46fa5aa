//! The control thread: the session, its snapshots, announces, the resume store and the RPC.

pub mod chunked;
pub(crate) mod default_trackers;
pub(crate) mod handle;
mod inbox;
pub mod listing;
pub(crate) mod loader;
pub(crate) mod pieces;
pub mod rpc;
pub(crate) mod session;
pub mod share;
pub mod snapshot;
pub(crate) mod thread;
pub(crate) mod torrent;
pub(crate) mod watch;

pub(crate) use default_trackers::is_announce_url;
pub use handle::{
    AddOutcome, AddTorrent, Blocklist, Earlier, EngineChange, EngineError, EngineHandle, Failures, Found,
    LimitChange, QueueMove, SettingsChange, TorrentChange, TorrentCommand, WishChange,
};
pub(crate) use inbox::Inbox;
pub use listing::{Sums, Torrents};
pub use ringseed_storage::{
    AltSpeed, FileWish, FileWork, GoalMode, Group, Rename, SessionSettings, SetLimit, SpeedLimit, Switch,
    Wishes,
};
pub use snapshot::{
    BOUNDS_US, BannedPeer, EngineLimits, EngineSnapshot, HandshakeEnd, LoopDelays, PeerStatus, ShardCounters,
    ShardStatus, StorageStatus, TorrentState, TorrentStatus, Totals, TrackerStatus, UnderWay,
};
