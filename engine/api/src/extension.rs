//! What the engine has beside Transmission's protocol.

use serde::{Deserialize, Serialize};

/// Answer to `shard-stats`: counts since the start, a quarter of a second old at most while anything happens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShardStats {
    /// One for each core that serves peers, in their order.
    pub shards: Vec<Shard>,
}

/// What one shard did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Shard {
    /// Connections that are open on it.
    pub connections: u64,
    /// Turns of its loop.
    pub turns: u64,
    /// Sends to peers in a swarm.
    pub sends: u64,
    /// Blocks that these gathered.
    pub blocks_sent: u64,
    /// Sends of which a part was taken.
    pub partial_sends: u64,
    /// Reads from disk for blocks that were not in memory.
    pub cold_reads: u64,
    /// Times a read waited for others.
    pub read_waits: u64,
    /// Times requesting waited for the disk.
    pub dirty_waits: u64,
    /// Page faults that waited for a disk.
    pub major_faults: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Operations of its ring that have not ended.
    pub operations: u64,
    /// Time in which it did not sleep.
    pub busy_microseconds: u64,
    /// Its longest turn.
    pub longest_turn_microseconds: u64,
}
