//! Who announces what: peers and their torrents, without sockets.

use ringseed_proto::{
    hashes::SwarmHash,
    tracker::{AnnounceEvent, AnnounceRequest},
    units::PeerId,
};

use super::{PORTS, TrackerConfig};
use crate::blast::SplitMix;

/// First port of announced peers.
const PORT_FIRST: u64 = 2000;

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Question {
    /// A peer announces.
    Announce(AnnounceRequest),
    /// Somebody wants the numbers of a torrent.
    Scrape(SwarmHash),
}

/// The peers of one connection: those whose number is its own modulo the connections.
#[derive(Debug)]
pub(super) struct Crowd {
    connection: u64,
    connections: u64,
    peers: u64,
    torrents: u32,
    percents: [u32; 3],
    numwant: u32,
    rng: SplitMix,
    /// A peer that said it stopped and starts with the next request.
    away: Option<u64>,
    grown: u64,
}

impl Crowd {
    pub(super) fn new(config: &TrackerConfig, connection: u32) -> Crowd {
        Crowd {
            connection: connection.into(),
            connections: config.connections.into(),
            peers: config.peers,
            torrents: config.torrents,
            percents: [config.stopped_percent, config.completed_percent, config.scrape_percent],
            numwant: config.numwant,
            rng: SplitMix::new(u64::from(connection) + 1),
            away: None,
            grown: 0,
        }
    }

    /// Number of its peers.
    fn own(&self) -> u64 {
        (self.peers + self.connections - 1 - self.connection) / self.connections
    }

    /// The next peer that has not announced itself yet.
    pub(super) fn newcomer(&mut self) -> Option<Question> {
        (self.grown < self.own()).then(|| {
            self.grown += 1;
            self.announce(self.grown - 1, AnnounceEvent::Started)
        })
    }

    /// Any request of the mix; `None` when no peer of this connection was announced.
    pub(super) fn anything(&mut self) -> Option<Question> {
        if let Some(peer) = self.away.take() {
            return Some(self.announce(peer, AnnounceEvent::Started));
        }
        if self.grown == 0 {
            return None;
        }
        let peer = self.rng.below(u32::try_from(self.grown).unwrap_or(u32::MAX)).into();
        let chance = self.rng.below(100);
        let [stopped, completed, scrape] = self.percents;
        Some(if chance < stopped {
            self.away = Some(peer);
            self.announce(peer, AnnounceEvent::Stopped)
        } else if chance < stopped + completed {
            self.announce(peer, AnnounceEvent::Completed)
        } else if chance < stopped + completed + scrape {
            Question::Scrape(self.torrent(peer))
        } else {
            self.announce(peer, AnnounceEvent::None)
        })
    }

    /// Has who is away start again, so that all are known at the end.
    pub(super) fn returning(&mut self) -> Option<Question> {
        let peer = self.away.take()?;
        Some(self.announce(peer, AnnounceEvent::Started))
    }

    fn torrent(&self, peer: u64) -> SwarmHash {
        let number = peer * self.connections + self.connection;
        // Cubed, so that a tenth of the torrents has nearly half of the peers.
        let share = (SplitMix::new(number).next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let torrent = (f64::from(self.torrents) * share.powi(3)) as u64;
        let mut rng = SplitMix::new(torrent ^ 0x7046_6e74);
        let mut hash = [0; 20];
        for bytes in hash.chunks_mut(8) {
            let length = bytes.len();
            bytes.copy_from_slice(&rng.next_u64().to_be_bytes()[..length]);
        }
        SwarmHash(hash)
    }

    fn announce(&self, peer: u64, event: AnnounceEvent) -> Question {
        let number = peer * self.connections + self.connection;
        let mut id = *b"-RL0100-000000000000";
        for (place, digit) in id.iter_mut().rev().zip(format!("{number:012x}").bytes().rev()) {
            *place = digit;
        }
        // Without an address for each connection their peers are told apart by ports alone.
        let port = PORT_FIRST + if self.peers <= PORTS { number } else { peer };
        let complete = event == AnnounceEvent::Completed || number.is_multiple_of(4);
        Question::Announce(AnnounceRequest {
            info_hash: self.torrent(peer),
            peer_id: PeerId(id),
            // Checked with the configuration to be below 62,000.
            port: port as u16,
            uploaded: number,
            downloaded: 0,
            left: if complete { 0 } else { 1 << 20 },
            event,
            numwant: Some(self.numwant),
            key: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn announced(question: Question) -> AnnounceRequest {
        match question {
            Question::Announce(request) => request,
            Question::Scrape(_) => panic!("a scrape"),
        }
    }

    #[test]
    fn all_peers_come_once_with_names_of_their_own() {
        let config = TrackerConfig { peers: 1003, connections: 10, torrents: 50, ..TrackerConfig::default() };
        let (mut ids, mut ports, mut torrents) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for connection in 0..10 {
            let mut crowd = Crowd::new(&config, connection);
            while let Some(question) = crowd.newcomer() {
                let request = announced(question);
                assert_eq!(request.event, AnnounceEvent::Started);
                assert!(ids.insert(request.peer_id.0));
                assert!(ports.insert(request.port), "with few peers even the ports differ");
                torrents.insert(request.info_hash.0);
            }
        }
        assert_eq!(ids.len(), 1003);
        assert!((25..=50).contains(&torrents.len()), "{}", torrents.len());
    }

    #[test]
    fn who_stopped_starts_again_and_the_mix_is_as_wanted() {
        let config = TrackerConfig { peers: 100, connections: 1, ..TrackerConfig::default() };
        let mut crowd = Crowd::new(&config, 0);
        assert_eq!(crowd.anything(), None);
        while crowd.newcomer().is_some() {}
        let mut counts = [0; 5];
        let mut stopped = None;
        for _ in 0..10_000 {
            match crowd.anything().unwrap() {
                Question::Scrape(_) => counts[4] += 1,
                Question::Announce(request) => {
                    if let Some(peer) = stopped.take() {
                        assert_eq!((request.peer_id, request.event), (peer, AnnounceEvent::Started));
                    }
                    if request.event == AnnounceEvent::Stopped {
                        stopped = Some(request.peer_id);
                    }
                    counts[request.event as usize] += 1;
                }
            }
        }
        let none = counts[AnnounceEvent::None as usize];
        assert!(none > 7500 && counts.iter().all(|count| *count > 300), "{counts:?}");
        assert_eq!(crowd.returning().is_some(), stopped.is_some());
        assert_eq!(crowd.returning(), None);
    }
}
