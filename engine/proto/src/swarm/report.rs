//! Numbers about the swarm for those who watch it.

use super::PeerKey;
use super::machine::{Role, Swarm};
use super::peer::Peer;
use super::stats::{PeerStats, SwarmStats};
use crate::units::{PieceIndex, Time};

/// Seconds over which displayed rates are averaged.
const RATE_SECONDS: u64 = 5;

impl Swarm {
    /// Payload bytes sent and received since the swarm was made.
    #[must_use]
    pub fn moved(&self) -> (u64, u64) {
        (self.totals.uploaded, self.totals.downloaded)
    }

    /// Bytes of blocks per second, over the last second or two.
    #[must_use]
    pub fn download_rate(&self, now: Time) -> u64 {
        self.totals.down_rate.per_second(now, 1)
    }

    /// Whether a peer is connected that has not said that it has this piece, and so may ask for it.
    #[must_use]
    pub fn is_lacked(&self, piece: PieceIndex) -> bool {
        match &self.role {
            Role::Leeching(picker) => {
                u64::from(picker.seeds) + u64::from(picker.availability(piece.0)) < self.peers.len() as u64
            }
            Role::Seeding => self.peers.values().any(|peer| !peer.have.get(piece.0)),
        }
    }

    /// When bytes of a wanted block last moved between this peer and us, in either direction, or waited for our limit;
    /// when it connected if none did. Since then the connection is of no use.
    #[must_use]
    pub fn last_used(&self, key: PeerKey) -> Option<Time> {
        self.peers.get(key).map(|peer| peer.used_at)
    }

    /// Numbers of the swarm. Costs a look at each peer and, unless seeding, at each piece.
    #[must_use]
    pub fn stats(&self, now: Time) -> SwarmStats {
        let mut stats = SwarmStats {
            downloaded: self.totals.downloaded,
            uploaded: self.totals.uploaded,
            protocol_received: self.totals.protocol_received,
            protocol_sent: self.totals.protocol_sent,
            download_rate: self.totals.down_rate.per_second(now, RATE_SECONDS),
            upload_rate: self.totals.up_rate.per_second(now, RATE_SECONDS),
            wasted: self.totals.wasted,
            hash_fails: self.totals.hash_fails,
            banned: self.banned(now).count() as u64,
            wrong_hash: self.wrong_hash(),
            only_wrong: self.only_wrong(),
            have_count: self.have.count_ones(),
            wanted_left: self.wanted_left,
            peers: count(self.peers.len()),
            unchoked: count(self.unchoked),
            upload_slots: count(self.slots.count()),
            ..SwarmStats::default()
        };
        for peer in self.peers.values() {
            stats.seeds += u32::from(peer.is_seed());
            stats.interested += u32::from(peer.up.peer_interested);
            stats.unchoking += u32::from(!peer.down.peer_choking);
            stats.requests_out += count(peer.down.asked.len());
            stats.requests_in += peer.up.requests.len() as u64;
        }
        if let Role::Leeching(picker) = &self.role {
            stats.open_pieces = count(picker.open_count());
            stats.waits_for_memory = self.waits_for_memory();
            stats.availability_min = Some(picker.availability_min());
        }
        stats
    }

    /// Numbers of each connected peer.
    pub fn peers(&self, now: Time) -> impl Iterator<Item = PeerStats> + '_ {
        self.peers.iter().map(move |(key, peer)| PeerStats {
            key,
            addr: peer.addr,
            outgoing: peer.outgoing,
            client: client_name(peer),
            downloaded: peer.down.total,
            uploaded: peer.up.total,
            download_rate: peer.down.rate.per_second(now, RATE_SECONDS),
            upload_rate: peer.up.rate.per_second(now, RATE_SECONDS),
            have_count: peer.have.count_ones(),
            seed: peer.is_seed(),
            unchokes_us: !peer.down.peer_choking,
            interested_in_us: peer.up.peer_interested,
            unchoked: !peer.up.am_choking,
            interesting: peer.down.am_interested,
            snubbed: peer.down.snubbed,
            requests_out: count(peer.down.asked.len()),
            request_depth: peer.down.pipeline.depth(self.config.request_queue_max.min(peer.down.queue_max)),
            requests_in: count(peer.up.requests.len()),
        })
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn client_name(peer: &Peer) -> String {
    match &peer.extensions.version {
        Some(version) => version.clone(),
        None => peer.id.to_string(),
    }
}
