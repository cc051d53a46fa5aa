//! Serde types of the RPC: Transmission's protocol in its legacy form (rpc-version 17), spoken by the engine
//! on `POST /transmission/rpc`, and used by the GUI and the command line.
//!
//! Field names are those of the wire. What the engine adds to the protocol is said to be an extension:
//!
//! - `torrent-get` has `ringseedCategory` and `ringseedSeedMinutes` (-1 for none), and `torrent-set` takes both.
//! - `torrent-get` has `ringseedCurrentDir`, where the files are now: `downloadDir` is the directory that they are for, also
//!   while they are in the incomplete directory. `ringseedMoveProgress` is the share of the bytes that a move has brought
//!   to `ringseedMoveTo`, -1 when the files are not being moved; `status` is 4 then. `torrent-cancel-move` has `ids`: a
//!   move ends, and what was moved goes back.
//! - `error` 3 with another `status` than 0 is something wrong with the files of a torrent that goes on nevertheless, such
//!   as a move that failed.
//! - `torrent-rename-path` is answered when the new name is there.
//! - `torrent-add` takes `ringseedEarlier` ([`EarlierArgs`]), what another client did with the torrent before.
//! - The method `shard-stats` has no arguments and answers [`ShardStats`].
//! - Torrents are made of files on the engine's machine, one at a time, on a thread of its own. `torrent-create` has
//!   [`CreateArgs`] and answers `{"id": N}` at once. `torrent-create-get` has [`CreationsArgs`] and answers [`Creations`]
//!   with progress, and in the end the torrent (`"metainfo": true`) or the reason why there is none.
//!   `torrent-create-cancel` has `ids`: what is not done ends, and all of them are forgotten. At most 16 wait or are
//!   made, more are refused; of those that are done the last 16 are known, and of their torrents 64 MiB. The content, and
//!   `output` when it is given, are below the download directory of the engine's configuration or a directory of
//!   `rpc-create-dirs`; symbolic links below it are not followed.
//! - `GET /ringseed/events` is a stream of server-sent events, behind the same checks of names, pages and credentials as
//!   the RPC, without a session id. The data of an event `torrents` is what `torrent-get` answers: `torrents` with the
//!   fields of `?fields=id,name,...` (a list of the usual ones by default) and `removed` with ids. The first event has all
//!   torrents, each later one those of which anything changed. There are at most two a second. A client that reads
//!   slowly gets fewer, and misses nothing. `:` alone shows every 20 seconds that the connection lives. There are at most
//!   32 streams, 16 of one client: when there are more, the oldest of the client that has most is closed, and so may be
//!   one when all connections of the RPC are open. Connect again. A stream whose client takes nothing for 30 seconds ends.

mod envelope;
mod extension;
mod session;
mod torrent;

pub use envelope::{Request, Response, SESSION_ID_HEADER, SUCCESS};
pub use extension::{
    CreateArgs, Creation, CreationState, Creations, CreationsArgs, EarlierArgs, Shard, ShardStats,
};
pub use session::{FreeSpace, FreeSpaceArgs, Session, SessionSetArgs, SessionStats, TransferStats};
pub use torrent::{
    AddArgs, Added, AddedTorrent, File, FileStats, GetArgs, Group, Id, Ids, IdsArgs, LocationArgs, Peer,
    RemoveArgs, RenameArgs, SetArgs, Status, Torrent, TrackerStats, Trackers,
};
