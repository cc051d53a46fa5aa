//! What the engine has beside Transmission's protocol.

use serde::{Deserialize, Serialize};

/// What was done with a torrent before it was added here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EarlierArgs {
    /// Payload bytes sent.
    pub uploaded: u64,
    /// Payload bytes received.
    pub downloaded: u64,
    /// When it was added, in seconds since 1970; 0 when that is not known.
    pub added_date: u64,
    /// When it was complete, in seconds since 1970; 0 when that is not known or it was not.
    pub done_date: u64,
    /// There was data of it. When none is found, the torrent is one whose data is missing, and nothing is fetched.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub had_data: bool,
    /// Seconds it has downloaded.
    pub seconds_downloading: u64,
    /// Seconds it has seeded.
    pub seconds_seeding: u64,
    /// Directory that its files lie below until it is complete, when that is another than `download-dir`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub incomplete_dir: String,
    /// What its incomplete files have behind their names, such as `.!qB`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub partial_suffix: String,
    /// The name that it is shown by in qBittorrent's clients, when that is not the torrent's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The paths of its files, in the order of the torrent, below its directory; an empty one is the torrent's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Announce URLs by tier in place of the torrent's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trackers: Vec<Vec<String>>,
}

/// Arguments of `torrent-create`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CreateArgs {
    /// The file or directory to share, absolute, below one of the directories that the engine allows.
    pub path: String,
    /// Where the torrent file is written, absolute, below one of these directories; its name ends with `.torrent`.
    /// Nothing is replaced. When missing, the torrent is kept for `torrent-create-get`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Bytes of a piece, a power of two from 16384; chosen from the size when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub piece_size: Option<u32>,
    /// Announce URLs by tier.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trackers: Vec<Vec<String>>,
    /// URLs that serve the same data (BEP 19).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub web_seeds: Vec<String>,
    /// Peers come from the trackers only (BEP 27).
    pub private: bool,
    /// Makes the info-hash differ between private trackers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Text for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Seconds since 1970; 0 writes none. Now when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_date: Option<u64>,
}

/// Arguments of `torrent-create-get` and `torrent-create-cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CreationsArgs {
    /// Which; all when missing, which only `torrent-create-get` takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u32>>,
    /// Whether torrents that are done come along.
    pub metainfo: bool,
}

/// Answer to `torrent-create-get`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Creations {
    /// In the order of their ids.
    pub creations: Vec<Creation>,
}

/// A torrent that is being made, or was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Creation {
    /// Number in this run.
    pub id: u32,
    /// As asked.
    pub path: String,
    /// What happens with it.
    pub state: CreationState,
    /// Bytes hashed.
    pub hashed_bytes: u64,
    /// Bytes of the content; 0 until it was looked at.
    pub total_bytes: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Its info-hash in hexadecimal digits, once it is done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hash_string: String,
    /// Where it was written, when that was asked for and is done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// The torrent in base64, once it is done, when it is asked for and was not written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub metainfo: String,
}

/// What happens with a torrent that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CreationState {
    /// Others come first.
    #[default]
    Waiting,
    /// Its content is being read.
    Hashing,
    /// There it is.
    Done,
    /// There is none.
    Failed,
}

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
