//! Rounds of sending: how a shard's time is shared between peers that ask for much and peers that ask for little.
//!
//! In a round each peer has one send. One that had its send waits until every other peer with something to send
//! has had one too; a turn of the loop that finds nobody left ends the round, so nobody waits for a peer that is
//! not ready. Each send takes at most 7/4 of the mean of the round before: a peer whose queue holds
//! thousands of requests gets little more than those that keep a handful, and peers of one kind are not limited.

use super::torrents::TorrentKey;
use crate::limits::SEND_BLOCKS_MAX;
use ringseed_proto::swarm::PeerKey;

/// A send may take this much of the mean of the last round, as a fraction.
const OF_MEAN: (usize, usize) = (7, 4);
/// Sends are not cut below this many blocks, whatever the mean: smaller ones cost twice as much per byte.
const BLOCKS_MIN: usize = 4;

/// The present round of a shard.
#[derive(Debug)]
pub(super) struct Round {
    number: u64,
    /// Sends with blocks in this round, and their blocks.
    sends: usize,
    blocks: usize,
    /// Most blocks of one send.
    limit: usize,
    /// Whether something was sent since the last turn ended.
    sent: bool,
    /// Peers that had their send and have more; each at most once.
    waiting: Vec<(TorrentKey, PeerKey)>,
}

/// A peer's place in the rounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The round of its last send; 0 is none.
    sent_in: u64,
    /// The round in which it waits for the next.
    waits_in: u64,
}

impl Default for Round {
    fn default() -> Round {
        Round { number: 1, sends: 0, blocks: 0, limit: SEND_BLOCKS_MAX, sent: false, waiting: Vec::new() }
    }
}

impl Round {
    /// Most blocks of one send in this round.
    pub(super) fn blocks_max(&self) -> usize {
        self.limit
    }

    /// Whether the peer may send now; one that may not is called up when the round ends.
    pub(super) fn admits(&mut self, place: &mut Place, torrent: TorrentKey, peer: PeerKey) -> bool {
        if place.sent_in != self.number {
            return true;
        }
        if place.waits_in != self.number {
            place.waits_in = self.number;
            self.waiting.push((torrent, peer));
        }
        false
    }

    /// A peer had its send, of `blocks` blocks; one with none is not counted.
    pub(super) fn sent(&mut self, place: &mut Place, blocks: usize) {
        self.sent = true;
        if blocks > 0 {
            place.sent_in = self.number;
            self.sends += 1;
            self.blocks += blocks;
        }
    }

    /// At the end of a turn: when nothing was sent in it the round is over, and those that waited are returned.
    pub(super) fn turn_ended(&mut self) -> Vec<(TorrentKey, PeerKey)> {
        if std::mem::take(&mut self.sent) || self.sends == 0 {
            return Vec::new();
        }
        let limit = self.blocks * OF_MEAN.0 / (self.sends * OF_MEAN.1);
        self.limit = limit.clamp(BLOCKS_MIN, SEND_BLOCKS_MAX);
        self.number += 1;
        (self.sends, self.blocks) = (0, 0);
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    /// `demands` are the blocks each peer has ready whenever it is asked; returns what each got in `rounds`.
    fn serve(demands: &[usize], rounds: usize) -> Vec<usize> {
        let torrent = SlotMap::<TorrentKey, ()>::with_key().insert(());
        let mut keys: SlotMap<PeerKey, ()> = SlotMap::with_key();
        let peers: Vec<PeerKey> = demands.iter().map(|_| keys.insert(())).collect();
        let mut places = vec![Place::default(); demands.len()];
        let (mut round, mut got) = (Round::default(), vec![0; demands.len()]);
        let mut ended = 0;
        while ended < rounds {
            for (at, &peer) in peers.iter().enumerate() {
                if round.admits(&mut places[at], torrent, peer) {
                    let blocks = demands[at].min(round.blocks_max());
                    round.sent(&mut places[at], blocks);
                    got[at] += blocks;
                }
            }
            let called = round.turn_ended();
            if !called.is_empty() {
                assert_eq!(called.len(), demands.iter().filter(|&&demand| demand > 0).count());
                ended += 1;
            }
        }
        got
    }

    #[test]
    fn greedy_peers_get_little_more_than_the_mean() {
        let mut demands = vec![5; 20];
        demands.extend([2000; 3]);
        let got = serve(&demands, 100);
        let mean = got.iter().sum::<usize>() as f64 / got.len() as f64;
        assert!(got[0] as f64 > 0.85 * mean, "{got:?}");
    }

    #[test]
    fn peers_of_one_kind_are_not_limited() {
        let got = serve(&[2000; 4], 10);
        assert!(got.iter().all(|&blocks| blocks == 10 * SEND_BLOCKS_MAX), "{got:?}");
    }

    #[test]
    fn a_lone_peer_goes_on_at_once() {
        assert_eq!(serve(&[2000], 10), [10 * SEND_BLOCKS_MAX]);
    }

    #[test]
    fn a_limit_that_fell_rises_again() {
        let torrent = SlotMap::<TorrentKey, ()>::with_key().insert(());
        let peer = SlotMap::<PeerKey, ()>::with_key().insert(());
        let (mut round, mut place) = (Round::default(), Place::default());
        let mut turn = |blocks_ready: usize| {
            let mut blocks = 0;
            if round.admits(&mut place, torrent, peer) {
                blocks = blocks_ready.min(round.blocks_max());
                round.sent(&mut place, blocks);
            }
            round.turn_ended();
            blocks
        };
        turn(1);
        turn(1);
        let blocks: Vec<usize> = (0..20).map(|_| turn(2000)).collect();
        assert_eq!(blocks.iter().max(), Some(&SEND_BLOCKS_MAX), "{blocks:?}");
    }

    #[test]
    fn control_messages_take_no_turn() {
        let torrent = SlotMap::<TorrentKey, ()>::with_key().insert(());
        let peer = SlotMap::<PeerKey, ()>::with_key().insert(());
        let (mut round, mut place) = (Round::default(), Place::default());
        round.sent(&mut place, 0);
        assert!(round.admits(&mut place, torrent, peer));
    }
}
