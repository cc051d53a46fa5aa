//! All about one torrent: what the pane below the table shows.

mod files;
mod overview;
mod pane;
mod peers;
mod pieces;
mod speed;
mod trackers;

pub use files::{FileRow, FileTree, Priority};
pub use overview::{Fact, overview};
pub use pane::{Details, LogEntry};
pub use peers::{PeerRow, peers};
pub use pieces::{PieceMap, piece_map};
pub use speed::{Sample, SpeedHistory, nice_top};
pub use trackers::{TrackerRow, trackers};
