//! What a shard tells about itself.

use ringseed_net::opening::Obfuscation;
use ringseed_ring::RingStats;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

/// Counts of what a shard did since it started.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShardCounters {
    /// `SENDMSG` calls for peers in a swarm.
    pub sends: u64,
    /// Blocks they gathered.
    pub blocks_sent: u64,
    /// Sends that the socket took only a part of.
    pub partial_sends: u64,
    /// Reads that were begun because a block that a peer asked for was not in memory.
    pub cold_pieces: u64,
    /// Times a read for a peer waited until others were done.
    pub read_waits: u64,
    /// Page faults of the shard's thread that waited for a disk: each held up the loop.
    pub major_faults: u64,
    /// Times requesting waited for the dirty-byte budget.
    pub dirty_waits: u64,
    /// Times an address was banned from a torrent.
    pub bans: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Connections that were ended to make room for others.
    pub made_room: u64,
    /// Handshakes by how they ended, in the order of [`HandshakeEnd::NAMES`].
    pub handshakes: [u64; 5],
    /// Those that were done by how much of them others can read, in the order of [`OBFUSCATIONS`].
    pub obfuscations: [u64; 3],
    /// Exponentiations for encryption handshakes.
    pub exponentiations: u64,
    /// Bytes that were enciphered.
    pub enciphered: u64,
}

/// What kinds of [`Obfuscation`] are called where they are counted, in their order.
pub const OBFUSCATIONS: [&str; 3] = ["none", "handshake", "stream"];

/// How a handshake with a peer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeEnd {
    /// The peer is in its swarm.
    Done,
    /// It was whole, and the peer is not wanted: no such torrent, no room, or we are the peer.
    Refused,
    /// What came is not BitTorrent.
    Invalid,
    /// It was not whole in time.
    Late,
    /// The connection ended before.
    Closed,
}

impl HandshakeEnd {
    /// What they are called where they are counted.
    pub const NAMES: [&str; 5] = ["done", "refused", "invalid", "late", "closed"];
}

/// What a shard has under way at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// Connections that are being made.
    pub dialling: usize,
    /// Connections without a whole handshake.
    pub handshaking: usize,
    /// Connections in a swarm.
    pub active: usize,
    /// Connections that the kernel is not done with.
    pub closing: usize,
    /// Reads from disk for peers, begun and waiting.
    pub reads: (usize, usize),
    /// Whole pieces that are being hashed or written.
    pub pieces: usize,
}

/// One connected peer.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// Its address.
    pub address: SocketAddr,
    /// Client name and version as it says or as its peer id implies.
    pub client: String,
    /// Share of the pieces it has, 0.0 to 1.0.
    pub progress: f32,
    /// Bytes per second from it.
    pub download_rate: u64,
    /// Bytes per second to it.
    pub upload_rate: u64,
    /// Whether it connected to us.
    pub incoming: bool,
    /// Whether we choke it.
    pub am_choking: bool,
    /// Whether we want its pieces.
    pub am_interested: bool,
    /// Whether it chokes us.
    pub peer_choking: bool,
    /// Whether it wants our pieces.
    pub peer_interested: bool,
    /// How much of the connection others can read.
    pub obfuscation: Obfuscation,
}

/// An address that is banned from a torrent, since it sent wrong data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BannedPeer {
    /// The address.
    pub address: IpAddr,
    /// When the ban ends.
    pub until: SystemTime,
}

/// Upper bounds of the histogram's buckets in microseconds; what is longer falls into one more.
pub const BOUNDS_US: [u32; 13] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// A histogram of loop delays since the shard started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoopDelays {
    /// Turns by how long they took, and wake-ups by how late they were: one count per bound, then that of
    /// longer ones. Not cumulative.
    pub counts: [u64; BOUNDS_US.len() + 1],
    /// All delays together, microseconds: the time in which the loop did not sleep.
    pub sum_us: u64,
    /// The longest, microseconds.
    pub longest_us: u64,
}

impl LoopDelays {
    /// Counts one delay.
    pub fn record(&mut self, delay_us: u64) {
        let bucket = BOUNDS_US.iter().position(|bound| delay_us <= u64::from(*bound));
        self.counts[bucket.unwrap_or(BOUNDS_US.len())] += 1;
        self.sum_us += delay_us;
        self.longest_us = self.longest_us.max(delay_us);
    }

    /// Turns and late wake-ups recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// One shard at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShardStatus {
    /// Connections open on it.
    pub connections: usize,
    /// What is under way on it.
    pub under_way: UnderWay,
    /// What its loop did.
    pub counters: ShardCounters,
    /// How long its turns took.
    pub delays: LoopDelays,
    /// What its data ring did.
    pub ring: RingStats,
}
