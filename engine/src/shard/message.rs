//! What the control thread and the shards say to each other.

use super::checks::Check;
use super::registry::TorrentEntry;
use ringseed_net::candidates::Source;
use ringseed_net::link::Link;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::wire::Handshake;
use ringseed_storage::StorageError;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A connection whose handshake is done, on its way to the shard that is home to its torrent.
pub struct MovedConnection {
    /// Its link; no operation is in flight on it.
    pub link: Link,
    /// What the peer sent.
    pub handshake: Handshake,
    /// Bytes read after the handshake.
    pub leftover: Vec<u8>,
}

/// What the home shard of a torrent knows to be on disk, whatever happens to the machine.
#[derive(Debug, Clone)]
pub struct DurablePieces {
    /// The pieces that an `fdatasync` covered.
    pub pieces: Bitfield,
    /// How many writes the store had begun ([`ringseed_storage::TorrentStore::writes_begun`]) when its files held these
    /// pieces and no write was under way; `None` when one was.
    pub settled: Option<u64>,
}

/// To a shard.
pub enum ToShard {
    /// Be home to this torrent: serve it when `have` is full, download the rest otherwise.
    Start { torrent: Arc<TorrentEntry>, have: Bitfield },
    /// Take part in this check of a torrent's files, and report what was found.
    Check(Arc<Check>),
    /// Close the connections of these torrents and forget them. Their home shards make what they have durable and report it.
    Stop(Arc<[TorrentId]>),
    /// What the user wants of this torrent changed in its entry.
    Changed(TorrentId),
    /// Add what was moved until now to the totals of this torrent's entry, and say so.
    Count(TorrentId),
    /// The answer to [`FromShard::MetadataWanted`]; `None` when it cannot be had.
    Metadata(TorrentId, Option<Arc<[u8]>>),
    /// Addresses of peers, for the home shard, and who named them.
    Peers(TorrentId, Source, Vec<SocketAddr>),
    /// A connection from another shard.
    Connection(Box<MovedConnection>),
    /// Listen on these sockets, which have this port, and no longer on the ones before.
    Listen { port: u16, sockets: Vec<OwnedFd> },
    /// Stop all torrents, report, end.
    Shutdown,
}

/// Why a check of files did not find out which pieces there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// A file is there and cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is nothing to compare the pieces with.
    #[error("the hashes of its pieces are not in memory")]
    NoHashes,
}

/// From a shard to the control thread.
pub enum FromShard {
    /// A shard has no more to do for a check: the right pieces that it found.
    Checked { check: Arc<Check>, result: Result<Bitfield, CheckError> },
    /// These pieces are verified and durable.
    Durable(TorrentId, DurablePieces),
    /// All wanted pieces are on disk, and what they brought in is in the entry's totals. `missing` bytes of the torrent
    /// are not wanted; without any it is complete.
    Completed { torrent_id: TorrentId, missing: u64 },
    /// A peer of this shard asks for the info dictionary of a torrent, which is not in memory.
    MetadataWanted { shard: usize, torrent_id: TorrentId },
    /// The torrent cannot go on; what is wrong and what to do.
    Failed(TorrentId, StorageError),
    /// The answer to [`ToShard::Stop`], which may come in parts; the home shard gives the durable pieces.
    Stopped { shard: usize, torrents: Vec<(TorrentId, Option<DurablePieces>)> },
    /// After [`ToShard::Shutdown`]: all that was moved is in the totals of the torrents' entries.
    Counted { shard: usize },
    /// The answer to [`ToShard::Count`].
    CountedTorrent { shard: usize, torrent_id: TorrentId },
    /// The shard has ended.
    Ended { shard: usize },
}
