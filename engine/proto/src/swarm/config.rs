//! Settings of a swarm and the content it exchanges.

use std::sync::Arc;

use super::memory::PieceMemory;
use crate::metainfo::Info;
use crate::units::PeerId;

/// How many interested peers may request at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadSlots {
    /// Starts generous and follows the measured capacity.
    Auto,
    /// Exactly this many.
    Fixed(usize),
}

/// How much a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Not wanted; pieces that it shares with wanted files are downloaded.
    Skip,
    /// After the others.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Before the others.
    High,
}

/// Settings of one swarm.
#[derive(Debug, Clone)]
pub struct SwarmConfig {
    /// Peers unchoked at the same time.
    pub upload_slots: UploadSlots,
    /// Most connected peers; further ones are refused.
    pub peers_max: usize,
    /// Most requests in flight to one peer.
    pub request_queue_max: u32,
    /// Most requests of one peer that wait here; announced to it as `reqq` (BEP 10).
    pub incoming_requests_max: u32,
    /// Most bytes of pieces that are incomplete at the same time; at least two pieces are always allowed.
    pub open_piece_bytes_max: u64,
    /// Memory for pieces that it shares with other swarms; `None` is no other bound than the one above.
    pub memory: Option<Arc<PieceMemory>>,
    /// Download pieces in order instead of rarest first.
    pub sequential: bool,
    /// TCP port to announce to peers, when there is one.
    pub listen_port: Option<u16>,
    /// Our peer id. When given, two connections between the same two clients are reduced to the one that
    /// both sides agree on, and a connection to ourselves is refused.
    pub peer_id: Option<PeerId>,
    /// Name and version to tell peers.
    pub client_version: String,
    /// Whether peers are exchanged (BEP 11). Never done for private torrents (BEP 27).
    pub pex: bool,
}

impl Default for SwarmConfig {
    fn default() -> SwarmConfig {
        SwarmConfig {
            upload_slots: UploadSlots::Auto,
            peers_max: 500,
            request_queue_max: 2000,
            incoming_requests_max: 2000,
            open_piece_bytes_max: 256 << 20,
            memory: None,
            sequential: false,
            listen_port: None,
            peer_id: None,
            client_version: concat!("Ringseed ", env!("CARGO_PKG_VERSION")).to_owned(),
            pex: true,
        }
    }
}

/// What the peers of a swarm exchange.
#[derive(Debug, Clone)]
pub struct Content {
    /// Layout and hashes.
    pub info: Arc<Info>,
    /// The info dictionary as it was hashed, to be served by `ut_metadata` (BEP 9). When it is empty and `info` was
    /// read from one, the swarm asks for it when a peer does ([`Action::MetadataWanted`](super::Action)).
    pub info_bytes: Arc<[u8]>,
}
