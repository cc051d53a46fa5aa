//! What a shard lets others read: statistics that it publishes a few times a second while it has work.

use super::Shard;
use super::connections::Stage;
use super::loop_delay::LoopDelays;
use super::torrents::TorrentKey;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::swarm::SwarmStats;
use ringseed_proto::units::InfoHash;
use ringseed_ring::RingStats;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

/// Peers listed for one torrent: more help nobody, and ten thousand would cost every reader.
const PEERS_LISTED_MAX: usize = 500;

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
}

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
}

/// One torrent as a shard sees it.
#[derive(Debug, Clone)]
pub struct TorrentSample {
    /// Which.
    pub info_hash: InfoHash,
    /// Numbers of the shard's swarm.
    pub stats: SwarmStats,
    /// Pieces on disk, from the home shard.
    pub have: Option<Arc<Bitfield>>,
    /// Connected peers.
    pub peers: Vec<PeerStatus>,
    /// Addresses that are banned from it.
    pub banned: Vec<BannedPeer>,
}

/// An address that is banned from a torrent, since it sent wrong data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BannedPeer {
    /// The address.
    pub address: IpAddr,
    /// When the ban ends.
    pub until: SystemTime,
}

/// What one shard published last.
#[derive(Debug, Clone, Default)]
pub struct ShardSnapshot {
    /// Grows with each publication.
    pub sequence: u64,
    /// Torrents with peers or with changes since the last publication.
    pub torrents: Vec<TorrentSample>,
    /// Pieces hashed, by all shards, of torrents being checked here.
    pub verifying: Vec<(InfoHash, u32)>,
    /// Connections open on this shard.
    pub connections: usize,
    /// What is under way.
    pub under_way: UnderWay,
    /// What it did.
    pub counters: ShardCounters,
    /// How long its turns took.
    pub delays: LoopDelays,
    /// What its data ring did.
    pub ring: RingStats,
}

impl Shard {
    fn under_way(&self) -> UnderWay {
        let mut now = UnderWay { reads: self.reads.depths(), ..UnderWay::default() };
        for connection in self.connections.values() {
            let count = match connection.stage {
                Stage::Handshaking { .. } => &mut now.handshaking,
                Stage::Active { .. } => &mut now.active,
                Stage::Closing => &mut now.closing,
            };
            *count += 1;
        }
        for torrent in self.torrents.values() {
            now.dialling += torrent.dials;
            now.pieces += torrent.home.as_ref().map_or(0, |home| home.writes);
        }
        now
    }

    /// Publishes statistics, and forgets complete torrents that nobody has wanted anything of since the last time.
    pub(super) fn publish(&mut self) {
        let by_hash = &mut self.by_hash;
        self.torrents.retain(|_, torrent| {
            let idle = torrent.is_idle();
            if idle {
                by_hash.remove(&torrent.entry.info_hash());
            }
            !idle
        });
        let keys: Vec<TorrentKey> = self
            .torrents
            .iter()
            .filter(|(_, torrent)| {
                torrent.published_peers > 0
                    || !torrent.peers.is_empty()
                    || torrent.home_changed()
                    || torrent.swarm.blames()
            })
            .map(|(key, _)| key)
            .collect();
        let mut torrents = Vec::with_capacity(keys.len());
        for key in keys {
            self.count_totals(key);
            let torrent = &mut self.torrents[key];
            torrent.published_peers = torrent.peers.len();
            let pieces = torrent.entry.content.info.layout.piece_count();
            let have_count = torrent.swarm.have().count_ones();
            let have = (torrent.home.is_some() && torrent.published_have != Some(have_count)).then(|| {
                torrent.published_have = Some(have_count);
                Arc::new(torrent.swarm.have().clone())
            });
            let peers = torrent.swarm.peers(self.now).take(PEERS_LISTED_MAX).map(|peer| PeerStatus {
                address: peer.addr,
                client: peer.client.clone(),
                progress: if peer.seed { 1.0 } else { peer.have_count as f32 / pieces.max(1) as f32 },
                download_rate: peer.download_rate,
                upload_rate: peer.upload_rate,
                incoming: !peer.outgoing,
                am_choking: !peer.unchoked,
                am_interested: peer.interesting,
                peer_choking: !peer.unchokes_us,
                peer_interested: peer.interested_in_us,
            });
            let peers = peers.collect();
            let stats = torrent.swarm.stats(self.now);
            let banned = torrent.swarm.banned(self.now).take(PEERS_LISTED_MAX).map(|(address, until)| {
                BannedPeer { address, until: SystemTime::now() + until.saturating_since(self.now) }
            });
            let (info_hash, banned) = (torrent.entry.info_hash(), banned.collect());
            torrents.push(TorrentSample { info_hash, stats, have, peers, banned });
        }
        self.sequence += 1;
        self.context.published.store(Arc::new(ShardSnapshot {
            sequence: self.sequence,
            torrents,
            verifying: self.checks.progress(),
            connections: self.connections.len(),
            under_way: self.under_way(),
            counters: self.counters,
            delays: self.watch.delays(),
            ring: self.ring.stats(),
        }));
    }
}
