//! Every bound of the load generator, with its reason.

/// Bytes of one request and of one block on the wire: what every client asks for (BEP 3 practice).
pub const BLOCK_LEN: u32 = 16 * 1024;

/// Longest `piece` payload that is taken from a seeder. We ask for [`BLOCK_LEN`]; a seeder that answers with
/// more than this is not speaking the protocol.
pub const PAYLOAD_LEN_MAX: u32 = 128 * 1024;

/// Longest message of a kind we ignore (extension messages, mostly), in bytes. It is skipped, never staged.
pub const IGNORED_LEN_MAX: u32 = 16 * 1024 * 1024;

/// Most pieces of a torrent: bounds the bitfield that is staged (256 KiB) and the walk (8 MiB per connection).
pub const PIECES_MAX: u32 = 2 * 1024 * 1024;

/// Deepest request pipeline of one connection. Out-of-order answers are looked up linearly in it.
pub const DEPTH_MAX: u32 = 4096;

/// Most connections of one run: ports of one source address, and 256 KiB of receive buffer each.
pub const CONNECTIONS_MAX: u32 = 60_000;

/// Highest number of a peer: each has a loopback address of its own below 127.255.0.0.
pub const PEER_NUMBER_MAX: u32 = 250 * 250 * 190;

/// Idle peers that connect at once: listen queues are a few hundred long.
pub const IDLE_CONNECTING_MAX: usize = 128;

/// Smallest and largest receive buffer of one connection, in bytes.
pub const READ_BUFFER_MIN: usize = 4 * 1024;
/// See [`READ_BUFFER_MIN`].
pub const READ_BUFFER_MAX: usize = 16 * 1024 * 1024;

/// Entries of the submission queue of the load thread's ring.
pub const RING_ENTRIES: u32 = 4096;

/// Most engines of a swarm: their addresses are of one network.
pub const SWARM_ENGINES_MAX: u32 = 250;

const _: () = assert!(PAYLOAD_LEN_MAX >= BLOCK_LEN);
