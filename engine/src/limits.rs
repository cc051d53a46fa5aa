//! Every limit of the engine process, each with its reason. Protocol limits are in `ringseed_proto::limits`.

use std::time::Duration;

/// Commands waiting for the control thread. A caller over it waits; RPC answers need one slot each.
pub const CONTROL_QUEUE: usize = 1024;

/// Moves and deletions of torrents' files at once: a disk is not faster with more, and the threads for blocking work, 512,
/// are needed for adds, answers and the resume store as well.
pub const FILE_WORKS_MAX: usize = 16;

/// Messages waiting for one shard. Each holds at most one connection or one command.
pub const SHARD_MAILBOX: usize = 4096;

/// Messages a shard may have waiting for the control thread before it retries at its next turn.
pub const SHARD_REPORTS: usize = 16_384;

/// Time a graceful stop may take, trackers included, before the process exits anyway.
pub const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// How often finished pieces are made durable and entered in the resume store.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// How often shards publish statistics.
pub const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(250);

/// Connections of the whole process by default; the descriptor limit lowers it.
pub const CONNECTIONS_MAX: usize = 20_000;

/// Connections over the limit while the kernel is not done with those that made room.
pub const MAKING_ROOM_MAX: usize = 32;

/// Least memory for pieces that may be set: below it even small pieces go one after the other.
pub const PIECE_MEMORY_MIN: u64 = 1 << 20;

/// Dials in flight on one shard: half-open connections cost routers and the kernel.
pub const DIALS_MAX: usize = 64;

/// Of those, one part of so many is for addresses that peers told: nobody vouches for them, and a dial to one that does
/// not answer takes its place for [`ringseed_net::limits::CONNECT_TIMEOUT`].
pub const TOLD_DIALS_PART: usize = 2;

/// Blocks gathered in one `SENDMSG`: at 16 blocks (256 KiB) the call's cost is spread thin enough.
pub const SEND_BLOCKS_MAX: usize = 32;

/// Reads from disk that a shard has in flight: blocks that peers ask for here and there, enough to keep a fast device
/// busy.
pub const READS_IN_FLIGHT_MAX: usize = 256;

/// Bytes of those reads: whole chunks are fewer at a time, for the shard copies what they bring in.
pub const READ_BYTES_IN_FLIGHT_MAX: u64 = 12 << 20;

/// Workers of the kernel that may wait for a disk at once on behalf of a shard, on file systems where a read needs one.
pub const DISK_WORKERS_MAX: u32 = 64;

/// Requests of a peer that are looked at to read what they want before it is their turn.
pub const READ_AHEAD_REQUESTS: usize = 64;

const _: () = assert!(SEND_BLOCKS_MAX * 3 < 1024, "headers, blocks and file splits must fit IOV_MAX");

/// Largest torrent file fetched from a URL, bytes: a million pieces are 20 MiB of hashes. Files on disk may
/// have `ringseed_proto::limits::TORRENT_BYTES_MAX`.
pub const TORRENT_FETCH_BYTES_MAX: usize = 32 << 20;

/// Most removed torrents remembered for that: a client that asks once a second sees them all.
pub const REMOVED_MAX: usize = 10_000;

/// Most blocks that one send enciphers: what is read, enciphered and sent stays in the core's own cache, and the turn of a
/// shard with many such peers does not become long.
pub const ENCIPHERED_BLOCKS_MAX: usize = 8;

/// Memory that blocks are enciphered in, kept by a shard between sends.
pub const STAGING_BYTES_KEPT: usize = 256 << 10;
