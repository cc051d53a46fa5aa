//! Serde types of the RPC: Transmission's protocol in its legacy form (rpc-version 17), spoken by the engine
//! on `POST /transmission/rpc`, and used by the GUI and the command line.
//!
//! Field names are those of the wire. What the engine adds to the protocol is said to be an extension.

mod envelope;
mod session;
mod torrent;

pub use envelope::{Request, Response, SESSION_ID_HEADER, SUCCESS};
pub use session::{FreeSpace, FreeSpaceArgs, Session, SessionSetArgs, SessionStats, TransferStats};
pub use torrent::{
    AddArgs, Added, AddedTorrent, File, FileStats, GetArgs, Group, Id, Ids, IdsArgs, LocationArgs, Peer,
    RemoveArgs, RenameArgs, SetArgs, Status, Torrent, TrackerStats, Trackers,
};
