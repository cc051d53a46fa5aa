//! From a datagram to its reply (BEP 15, BEP 41): no sockets.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::tracker::Family;
use ringseed_proto::tracker::udp::{
    AnnounceHead, Request as Packet, encode_announce, encode_connect, encode_error, encode_scrape,
};
use ringseed_proto::units::Time;

use crate::announce_service::Stage;
use crate::limits::{UDP_REPLY_BYTES_MAX, UDP_REQUEST_BYTES_MAX};
use crate::metrics::{Outcome, Request, Tally};
use crate::shared::{Rejection, Shared};

/// What a client with an old or invented connection id is told. Short: see [`Answerer::answer`].
const UNPROVEN: &str = "invalid connection id";
/// Bytes of the reply to an announce before its peers.
const ANNOUNCE_HEAD: usize = 20;

/// Answers datagrams, and counts them by itself until it is asked.
pub(crate) struct Answerer {
    shared: Arc<Shared>,
    pub(crate) now: Time,
    pub(crate) tally: Tally,
    head: Vec<u8>,
    ahead: Vec<Ahead>,
}

/// An announce that will be answered soon.
struct Ahead {
    family: Family,
    info_hash: SwarmHash,
    key: u64,
}

impl Answerer {
    pub(crate) fn new(shared: Arc<Shared>) -> Answerer {
        Answerer {
            now: shared.now(),
            shared,
            tally: Tally::default(),
            head: Vec::with_capacity(ANNOUNCE_HEAD),
            ahead: Vec::new(),
        }
    }

    /// Has memory fetched that the answers to these datagrams will need, so that one does not wait after the other.
    pub(crate) fn look_ahead<'a>(&mut self, datagrams: impl Iterator<Item = (SocketAddr, &'a [u8])>) {
        let shards = &self.shared.shards;
        self.ahead.clear();
        self.ahead.extend(datagrams.filter_map(|(from, datagram)| {
            let info_hash = SwarmHash(*announced(datagram)?);
            Some(Ahead { family: Family::of(from.ip()), info_hash, key: shards.key(&info_hash) })
        }));
        for stage in [Stage::Index, Stage::Torrent, Stage::Peers] {
            for ahead in &self.ahead {
                shards.fetch(stage, ahead.family, &ahead.info_hash, ahead.key);
            }
        }
    }

    /// Puts the reply into `reply`, which is empty and stays so when there is none.
    ///
    /// Until a connection id has proven that the client receives at its address, a reply is never longer than the
    /// request: the tracker is no amplifier.
    pub(crate) fn answer(&mut self, from: SocketAddr, datagram: &[u8], reply: &mut Vec<u8>) {
        let (request, outcome) = self.outcome(from.ip(), datagram, reply);
        self.tally.count(request, outcome);
    }

    fn outcome(&mut self, from: IpAddr, datagram: &[u8], reply: &mut Vec<u8>) -> (Request, Outcome) {
        if datagram.len() > UDP_REQUEST_BYTES_MAX {
            return (Request::UdpOther, Outcome::Malformed);
        }
        match Packet::decode(datagram) {
            Err(_) => (Request::UdpOther, Outcome::Malformed),
            Ok(Packet::Connect { transaction_id }) => {
                encode_connect(reply, transaction_id, self.shared.ids.issue(self.now, from));
                (Request::UdpConnect, Outcome::Answered)
            }
            Ok(Packet::Announce { connection_id, transaction_id, announce, url_data }) => {
                if !self.is_proven(from, connection_id) {
                    refuse_unproven(datagram, transaction_id, reply);
                    return (Request::UdpAnnounce, Outcome::Unproven);
                }
                let family = Family::of(from);
                let room = (UDP_REPLY_BYTES_MAX - ANNOUNCE_HEAD) / family.compact_len();
                // The head follows when its numbers are known.
                reply.resize(ANNOUNCE_HEAD, 0);
                let peer = |peer: &[u8]| reply.extend_from_slice(peer);
                let announced = self.shared.announce(self.now, from, &url_data, &announce, room as u32, peer);
                let announced = match announced {
                    Ok(announced) => announced,
                    Err(rejection) => {
                        reply.clear();
                        encode_error(reply, transaction_id, &rejection.to_string());
                        return (Request::UdpAnnounce, Outcome::Refused);
                    }
                };
                let head = AnnounceHead {
                    interval: self.shared.interval_s(),
                    complete: announced.scrape.complete,
                    incomplete: announced.scrape.incomplete,
                };
                self.head.clear();
                encode_announce(&mut self.head, transaction_id, &head, family, []);
                reply[..ANNOUNCE_HEAD].copy_from_slice(&self.head);
                self.tally.peers_given += ((reply.len() - ANNOUNCE_HEAD) / family.compact_len()) as u64;
                self.tally.not_remembered += u64::from(!announced.remembered);
                (Request::UdpAnnounce, Outcome::Answered)
            }
            Ok(Packet::Scrape { connection_id, transaction_id, torrents }) => {
                if !self.is_proven(from, connection_id) {
                    refuse_unproven(datagram, transaction_id, reply);
                    return (Request::UdpScrape, Outcome::Unproven);
                }
                // A scrape has no options, so it cannot carry a key.
                let allowed = self.shared.access.check_key(b"").map_err(Rejection::from);
                if let Err(rejection) = allowed.and_then(|()| self.shared.admit_query(self.now, from)) {
                    encode_error(reply, transaction_id, &rejection.to_string());
                    return (Request::UdpScrape, Outcome::Refused);
                }
                let family = Family::of(from);
                let shards = &self.shared.shards;
                let entries = torrents.iter().map(|hash| shards.scrape(family, &SwarmHash(*hash)));
                encode_scrape(reply, transaction_id, entries);
                (Request::UdpScrape, Outcome::Answered)
            }
        }
    }

    fn is_proven(&self, client: IpAddr, connection_id: u64) -> bool {
        self.shared.ids.is_valid(self.now, client, connection_id)
    }
}

/// Tells a client whose connection id ran out to connect again, if that is no longer than what it sent.
fn refuse_unproven(datagram: &[u8], transaction_id: u32, reply: &mut Vec<u8>) {
    encode_error(reply, transaction_id, UNPROVEN);
    if reply.len() > datagram.len() {
        reply.clear();
    }
}

/// The info-hash of a datagram that looks like an announce.
fn announced(datagram: &[u8]) -> Option<&[u8; 20]> {
    const ACTION: [u8; 4] = 1u32.to_be_bytes();
    let (head, rest) = datagram.split_first_chunk::<16>()?;
    if head[8..12] == ACTION { rest.first_chunk() } else { None }
}
