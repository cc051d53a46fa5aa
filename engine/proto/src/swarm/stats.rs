//! Numbers about a swarm and its peers.

use std::net::SocketAddr;

use super::PeerKey;
use crate::units::PieceIndex;

/// Numbers of one swarm. Bytes are counted since [`Swarm::new`](super::Swarm::new).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SwarmStats {
    /// Bytes of blocks received and kept or counted as wasted.
    pub downloaded: u64,
    /// Bytes of blocks sent.
    pub uploaded: u64,
    /// Bytes received that were not blocks.
    pub protocol_received: u64,
    /// Bytes sent that were not blocks.
    pub protocol_sent: u64,
    /// Bytes of blocks per second received over the last seconds.
    pub download_rate: u64,
    /// Bytes of blocks per second sent over the last seconds.
    pub upload_rate: u64,
    /// Bytes of blocks received that were thrown away: duplicates, late ones, failed pieces.
    pub wasted: u64,
    /// Pieces that failed their hash.
    pub hash_fails: u64,
    /// Addresses banned at present.
    pub banned: u64,
    /// A piece whose hash in the torrent seems to be wrong.
    pub wrong_hash: Option<PieceIndex>,
    /// A piece that every peer which has it has sent wrong.
    pub only_wrong: Option<PieceIndex>,
    /// Whether no piece can be begun before other torrents have given memory back.
    pub waits_for_memory: bool,
    /// Pieces stored.
    pub have_count: u32,
    /// Bytes of wanted pieces not yet stored.
    pub wanted_left: u64,
    /// Connected peers.
    pub peers: u32,
    /// Connected peers that have everything.
    pub seeds: u32,
    /// Peers that we let request.
    pub unchoked: u32,
    /// Peers that want something of us.
    pub interested: u32,
    /// Peers that let us request.
    pub unchoking: u32,
    /// Upload slots at present.
    pub upload_slots: u32,
    /// Block requests in flight to peers.
    pub requests_out: u32,
    /// Block requests of peers that wait.
    pub requests_in: u64,
    /// Pieces partly downloaded.
    pub open_pieces: u32,
    /// Copies of the rarest piece among the peers, without ours; `None` when seeding.
    pub availability_min: Option<u32>,
}

/// Numbers of one peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerStats {
    /// Its key.
    pub key: PeerKey,
    /// The remote end.
    pub addr: SocketAddr,
    /// Whether we connected.
    pub outgoing: bool,
    /// Client name: from the extension handshake, else from the peer id.
    pub client: String,
    /// Bytes of blocks received.
    pub downloaded: u64,
    /// Bytes of blocks sent.
    pub uploaded: u64,
    /// Bytes of blocks per second received over the last seconds.
    pub download_rate: u64,
    /// Bytes of blocks per second sent over the last seconds.
    pub upload_rate: u64,
    /// Pieces it has.
    pub have_count: u32,
    /// Whether it has everything.
    pub seed: bool,
    /// Whether it lets us request.
    pub unchokes_us: bool,
    /// Whether it wants something of us.
    pub interested_in_us: bool,
    /// Whether we let it request.
    pub unchoked: bool,
    /// Whether we want something of it.
    pub interesting: bool,
    /// Whether it did not deliver what was requested in time.
    pub snubbed: bool,
    /// Requests in flight to it.
    pub requests_out: u32,
    /// Most requests that we have in flight to it at present.
    pub request_depth: u32,
    /// Its requests that wait.
    pub requests_in: u32,
}
