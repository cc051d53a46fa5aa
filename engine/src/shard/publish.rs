//! What a shard lets others read: statistics that it publishes a few times a second while it has work.

use super::Shard;
use super::connections::{Connection, Stage};
use super::torrents::TorrentKey;
use ringseed_handle::ShardStatus;
use ringseed_handle::{BannedPeer, LoopDelays, PeerStatus, UnderWay};
pub use ringseed_handle::{HandshakeEnd, ShardCounters};
use ringseed_net::opening::Obfuscation;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::swarm::SwarmStats;
use ringseed_ring::RingStats;
use std::sync::Arc;
use std::time::SystemTime;

/// Peers listed for one torrent: more help nobody, and ten thousand would cost every reader.
const PEERS_LISTED_MAX: usize = 500;

/// One torrent as a shard sees it.
#[derive(Debug, Clone)]
pub struct TorrentSample {
    /// Which.
    pub torrent_id: TorrentId,
    /// Numbers of the shard's swarm.
    pub stats: SwarmStats,
    /// Pieces on disk, from the home shard.
    pub have: Option<Arc<Bitfield>>,
    /// Connected peers.
    pub peers: Vec<PeerStatus>,
    /// Addresses that are banned from it.
    pub banned: Vec<BannedPeer>,
}

/// What one shard published last.
#[derive(Debug, Clone, Default)]
pub struct ShardSnapshot {
    /// Grows with each publication.
    pub sequence: u64,
    /// Torrents with peers or with changes since the last publication.
    pub torrents: Vec<TorrentSample>,
    /// Pieces hashed, by all shards, of torrents being checked here.
    pub verifying: Vec<(TorrentId, u32)>,
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

fn obfuscation(connection: Option<&Connection>) -> Obfuscation {
    connection.map_or(Obfuscation::None, |connection| connection.link.obfuscation())
}

impl From<&ShardSnapshot> for ShardStatus {
    fn from(published: &ShardSnapshot) -> Self {
        Self {
            connections: published.connections,
            under_way: published.under_way,
            counters: published.counters,
            delays: published.delays,
            ring: published.ring,
        }
    }
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
        let by_id = &mut self.by_id;
        self.torrents.retain(|_, torrent| {
            let idle = torrent.is_idle();
            if idle {
                by_id.remove(&torrent.entry.id());
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
            let connections = &self.connections;
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
                obfuscation: obfuscation(torrent.peers.get(peer.key).and_then(|key| connections.get(*key))),
            });
            let peers = peers.collect();
            let stats = torrent.swarm.stats(self.now);
            let banned = torrent.swarm.banned(self.now).take(PEERS_LISTED_MAX).map(|(address, until)| {
                BannedPeer { address, until: SystemTime::now() + until.saturating_since(self.now) }
            });
            let (torrent_id, banned) = (torrent.entry.id(), banned.collect());
            torrents.push(TorrentSample { torrent_id, stats, have, peers, banned });
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
