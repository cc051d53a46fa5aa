//! Limits of the peer wire, each with its reason.

/// Longest block in bytes. Clients ask for 16 KiB; 128 KiB is the most that old ones send.
pub const BLOCK_LEN_MAX: u32 = 128 * 1024;

/// Longest bitfield in bytes when the torrent is not known: 16 million pieces.
pub const BITFIELD_LEN_MAX: u32 = 2 * 1024 * 1024;

/// Longest extension message in bytes. The largest legitimate ones carry 16 KiB of metadata or a few
/// hundred peers.
pub const EXTENDED_LEN_MAX: u32 = 128 * 1024;

/// Longest message of an unknown id, in bytes; it is skipped and never stored.
pub const UNKNOWN_LEN_MAX: u32 = 1024 * 1024;

/// Capacity in bytes that a decoder keeps for split messages; more is given back after use, so that
/// thousands of idle peers do not each keep the size of their bitfield.
pub const DECODER_KEPT: usize = 256;

/// Deepest nesting in a dictionary of an extension message. Known messages nest twice.
pub const DICT_DEPTH_MAX: usize = 8;

/// Most peers taken from one peer exchange message. BEP 11 allows 50 added of each family.
pub const PEX_PEERS_MAX: usize = 200;

/// Longest client name kept, in bytes.
pub const CLIENT_NAME_LEN_MAX: usize = 64;
