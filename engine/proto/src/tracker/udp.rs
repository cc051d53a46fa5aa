//! The UDP tracker protocol (BEP 15) with its URL option (BEP 41), both directions. Numbers are big-endian.

use std::net::SocketAddr;

use crate::hashes::SwarmHash;
use crate::limits::{
    TRACKER_INTERVAL_DEFAULT_S, TRACKER_PEERS_MAX, UDP_SCRAPE_TORRENTS_MAX, UDP_URL_DATA_BYTES_MAX,
};
use crate::tracker::{
    AnnounceEvent, AnnounceRequest, AnnounceResponse, Family, NO_REASON, PeerAddr, ScrapeEntry,
    compact_peers, count_from_tracker, interval_from_tracker, put_compact, text_from_tracker,
};
use crate::units::PeerId;

/// What a connect request has in place of a connection id.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;
/// Bytes of an announce request without options.
pub const ANNOUNCE_LEN: usize = 98;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;
const ERROR_REVERSED: u32 = ERROR.swap_bytes();

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_URL_DATA: u8 = 2;

/// A datagram that is not of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Shorter than its kind must be.
    #[error("the datagram is too short")]
    Truncated,
    /// A connect request without the protocol's number.
    #[error("not a datagram of a BitTorrent tracker client")]
    ProtocolId,
    /// An action that there is not.
    #[error("unknown action {0}")]
    Action(u32),
    /// An event that there is not.
    #[error("unknown event {0}")]
    Event(u32),
    /// A scrape of no torrents, of too many, or with a part of an info-hash.
    #[error("a scrape must name 1 to {UDP_SCRAPE_TORRENTS_MAX} info-hashes")]
    ScrapeLength,
    /// An option without its length or content, or too much URL data.
    #[error("the options are not well-formed")]
    Options,
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Asks for a connection id.
    Connect {
        /// Comes back in the answer.
        transaction_id: u32,
    },
    /// Announces.
    Announce {
        /// From the answer to a connect, at most a minute (client) or two (tracker) ago.
        connection_id: u64,
        /// Comes back in the answer.
        transaction_id: u32,
        /// The announce.
        announce: AnnounceRequest,
        /// Path and query of the tracker's URL (BEP 41); empty when there is none.
        url_data: Vec<u8>,
    },
    /// Asks for numbers.
    Scrape {
        /// As above.
        connection_id: u64,
        /// Comes back in the answer.
        transaction_id: u32,
        /// The torrents.
        torrents: &'a [[u8; 20]],
    },
}

impl Request<'_> {
    /// Appends the datagram. URL data beyond [`UDP_URL_DATA_BYTES_MAX`] and torrents beyond
    /// [`UDP_SCRAPE_TORRENTS_MAX`] are left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Request::Connect { transaction_id } => put_head(out, PROTOCOL_ID, CONNECT, *transaction_id),
            Request::Announce { connection_id, transaction_id, announce, url_data } => {
                put_head(out, *connection_id, ANNOUNCE, *transaction_id);
                out.extend_from_slice(&announce.info_hash.0);
                out.extend_from_slice(&announce.peer_id.0);
                out.extend_from_slice(&announce.downloaded.to_be_bytes());
                out.extend_from_slice(&announce.left.to_be_bytes());
                out.extend_from_slice(&announce.uploaded.to_be_bytes());
                let event: u32 = match announce.event {
                    AnnounceEvent::None | AnnounceEvent::Paused => 0,
                    AnnounceEvent::Completed => 1,
                    AnnounceEvent::Started => 2,
                    AnnounceEvent::Stopped => 3,
                };
                out.extend_from_slice(&event.to_be_bytes());
                // The address is the tracker's to see.
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(&announce.key.unwrap_or(0).to_be_bytes());
                let numwant = announce.numwant.and_then(|wanted| i32::try_from(wanted).ok()).unwrap_or(-1);
                out.extend_from_slice(&numwant.to_be_bytes());
                out.extend_from_slice(&announce.port.to_be_bytes());
                let url_data = &url_data[..url_data.len().min(UDP_URL_DATA_BYTES_MAX)];
                for part in url_data.chunks(255) {
                    out.extend_from_slice(&[OPTION_URL_DATA, part.len() as u8]);
                    out.extend_from_slice(part);
                }
                if !url_data.is_empty() {
                    out.push(OPTION_END);
                }
            }
            Request::Scrape { connection_id, transaction_id, torrents } => {
                put_head(out, *connection_id, SCRAPE, *transaction_id);
                for torrent in torrents.iter().take(UDP_SCRAPE_TORRENTS_MAX) {
                    out.extend_from_slice(torrent);
                }
            }
        }
    }

    /// Reads a datagram that a tracker received. The address that a client may name is not read: it could be
    /// a victim's. The caller checks the connection id before it believes the rest.
    ///
    /// # Errors
    /// When it is not a request.
    pub fn decode(datagram: &[u8]) -> Result<Request<'_>, PacketError> {
        let mut bytes = Reader(datagram);
        let connection_id = bytes.u64()?;
        let action = bytes.u32()?;
        let transaction_id = bytes.u32()?;
        match action {
            CONNECT if connection_id == PROTOCOL_ID => Ok(Request::Connect { transaction_id }),
            CONNECT => Err(PacketError::ProtocolId),
            ANNOUNCE => {
                let info_hash = SwarmHash(bytes.array()?);
                let peer_id = PeerId(bytes.array()?);
                let downloaded = bytes.u64()?;
                let left = bytes.u64()?;
                let uploaded = bytes.u64()?;
                let event = bytes.u32()?;
                let _ip: [u8; 4] = bytes.array()?;
                let key = bytes.u32()?;
                let numwant = bytes.u32()? as i32;
                let port = u16::from_be_bytes(bytes.array()?);
                let url_data = url_data(bytes.0)?;
                let event = match event {
                    0 => AnnounceEvent::None,
                    1 => AnnounceEvent::Completed,
                    2 => AnnounceEvent::Started,
                    3 => AnnounceEvent::Stopped,
                    other => return Err(PacketError::Event(other)),
                };
                let announce = AnnounceRequest {
                    info_hash,
                    peer_id,
                    port,
                    uploaded,
                    downloaded,
                    left,
                    event,
                    numwant: u32::try_from(numwant).ok(),
                    key: (key != 0).then_some(key),
                };
                Ok(Request::Announce { connection_id, transaction_id, announce, url_data })
            }
            SCRAPE => {
                let (torrents, rest) = bytes.0.as_chunks::<20>();
                let fits = (1..=UDP_SCRAPE_TORRENTS_MAX).contains(&torrents.len());
                if !fits || !rest.is_empty() {
                    return Err(PacketError::ScrapeLength);
                }
                Ok(Request::Scrape { connection_id, transaction_id, torrents })
            }
            other => Err(PacketError::Action(other)),
        }
    }
}

/// What a client sends as URL data for a tracker's URL (BEP 41): its path and query, empty when there is only a
/// host.
pub fn url_data_of(url: &str) -> &[u8] {
    let url = url.split('#').next().unwrap_or_default();
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[host..].find(['/', '?']).map_or(url.len(), |length| host + length);
    &url.as_bytes()[end..]
}

/// The URL data of the options that follow an announce (BEP 41), joined.
fn url_data(mut options: &[u8]) -> Result<Vec<u8>, PacketError> {
    let mut url = Vec::new();
    while let [kind, rest @ ..] = options {
        options = match *kind {
            OPTION_END => break,
            OPTION_NOP => rest,
            kind => {
                let (&length, rest) = rest.split_first().ok_or(PacketError::Options)?;
                let (content, rest) = rest.split_at_checked(length.into()).ok_or(PacketError::Options)?;
                if kind == OPTION_URL_DATA {
                    url.extend_from_slice(content);
                }
                rest
            }
        };
        if url.len() > UDP_URL_DATA_BYTES_MAX {
            return Err(PacketError::Options);
        }
    }
    Ok(url)
}

/// What a tracker answers, as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To a connect.
    Connect {
        /// Of the request.
        transaction_id: u32,
        /// For the requests of the next minute.
        connection_id: u64,
    },
    /// To an announce.
    Announce {
        /// Of the request.
        transaction_id: u32,
        /// The answer.
        response: AnnounceResponse,
    },
    /// To a scrape.
    Scrape {
        /// Of the request.
        transaction_id: u32,
        /// In the order of the request.
        entries: Vec<ScrapeEntry>,
    },
    /// The tracker refused.
    Error {
        /// Of the request.
        transaction_id: u32,
        /// For the user.
        message: String,
    },
}

impl Response {
    /// Which request it answers.
    pub fn transaction_id(&self) -> u32 {
        match *self {
            Response::Connect { transaction_id, .. }
            | Response::Announce { transaction_id, .. }
            | Response::Scrape { transaction_id, .. }
            | Response::Error { transaction_id, .. } => transaction_id,
        }
    }

    /// Reads a datagram from a tracker. The family of the peers is that of the socket it came from.
    ///
    /// # Errors
    /// When it is not an answer of a tracker.
    pub fn decode(datagram: &[u8], family: Family) -> Result<Response, PacketError> {
        let mut bytes = Reader(datagram);
        let action = bytes.u32()?;
        let transaction_id = bytes.u32()?;
        match action {
            CONNECT => Ok(Response::Connect { transaction_id, connection_id: bytes.u64()? }),
            ANNOUNCE => {
                let interval = bytes.u32()?;
                // What is cut off is not known; there are no peers then.
                let (incomplete, complete) = (bytes.u32().ok(), bytes.u32().ok());
                let peers = compact_peers(bytes.0, family, TRACKER_PEERS_MAX).map(PeerAddr::from).collect();
                let response = AnnounceResponse {
                    interval: interval_from_tracker(
                        count_from_datagram(interval).unwrap_or(TRACKER_INTERVAL_DEFAULT_S),
                    ),
                    complete: complete.and_then(count_from_datagram),
                    incomplete: incomplete.and_then(count_from_datagram),
                    peers,
                    ..AnnounceResponse::default()
                };
                Ok(Response::Announce { transaction_id, response })
            }
            SCRAPE => {
                // A part of an entry, and what is beyond the most that can be asked for, is left out.
                let (entries, _) = bytes.0.as_chunks::<12>();
                let number = |entry: &[u8; 12], at: usize| {
                    let number = [entry[at], entry[at + 1], entry[at + 2], entry[at + 3]];
                    count_from_datagram(u32::from_be_bytes(number)).unwrap_or(0)
                };
                let entries = entries.iter().take(UDP_SCRAPE_TORRENTS_MAX).map(|entry| ScrapeEntry {
                    complete: number(entry, 0),
                    downloaded: number(entry, 4),
                    incomplete: number(entry, 8),
                });
                Ok(Response::Scrape { transaction_id, entries: entries.collect() })
            }
            // Some trackers write the number of this action from its other end.
            ERROR | ERROR_REVERSED => {
                let message = Some(text_from_tracker(bytes.0)).filter(|message| !message.is_empty());
                let message = message.unwrap_or_else(|| NO_REASON.to_owned());
                Ok(Response::Error { transaction_id, message })
            }
            other => Err(PacketError::Action(other)),
        }
    }
}

/// Appends an answer to a connect: 16 bytes, no more than the request had.
pub fn encode_connect(out: &mut Vec<u8>, transaction_id: u32, connection_id: u64) {
    put_answer_head(out, CONNECT, transaction_id);
    out.extend_from_slice(&connection_id.to_be_bytes());
}

/// Appends an answer to an announce: 20 bytes and a compact address for each peer. The peers must be of the
/// client's family; others are left out.
pub fn encode_announce(
    out: &mut Vec<u8>,
    transaction_id: u32,
    response: &AnnounceHead,
    family: Family,
    peers: impl IntoIterator<Item = SocketAddr>,
) {
    put_answer_head(out, ANNOUNCE, transaction_id);
    out.extend_from_slice(&response.interval.to_be_bytes());
    out.extend_from_slice(&response.incomplete.to_be_bytes());
    out.extend_from_slice(&response.complete.to_be_bytes());
    for addr in peers.into_iter().filter(|addr| Family::of(addr.ip()) == family) {
        put_compact(out, addr);
    }
}

/// The numbers in an answer to an announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceHead {
    /// Seconds until the next announce.
    pub interval: u32,
    /// Number of seeds.
    pub complete: u32,
    /// Number of leeches.
    pub incomplete: u32,
}

/// Appends an answer to a scrape, in the order of the request: 8 bytes and 12 for each torrent.
pub fn encode_scrape(out: &mut Vec<u8>, transaction_id: u32, entries: impl IntoIterator<Item = ScrapeEntry>) {
    put_answer_head(out, SCRAPE, transaction_id);
    for entry in entries {
        for number in [entry.complete, entry.downloaded, entry.incomplete] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Appends an answer that refuses a request.
pub fn encode_error(out: &mut Vec<u8>, transaction_id: u32, message: &str) {
    put_answer_head(out, ERROR, transaction_id);
    out.extend_from_slice(message.as_bytes());
}

fn put_head(out: &mut Vec<u8>, connection_id: u64, action: u32, transaction_id: u32) {
    out.extend_from_slice(&connection_id.to_be_bytes());
    put_answer_head(out, action, transaction_id);
}

fn put_answer_head(out: &mut Vec<u8>, action: u32, transaction_id: u32) {
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction_id.to_be_bytes());
}

/// A number of seconds or peers. They are signed in BEP 15; a negative one means that it is not known.
fn count_from_datagram(number: u32) -> Option<u32> {
    count_from_tracker((number as i32).into())
}

/// Takes fixed-length values off the front of a datagram.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], PacketError> {
        let (value, rest) = self.0.split_first_chunk::<N>().ok_or(PacketError::Truncated)?;
        self.0 = rest;
        Ok(*value)
    }

    fn u32(&mut self) -> Result<u32, PacketError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, PacketError> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests;
