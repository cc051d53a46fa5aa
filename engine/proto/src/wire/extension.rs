//! Extension messages: the handshake (BEP 10, 21), metadata exchange (BEP 9), peer exchange (BEP 11).
//!
//! The functions read and write payloads, that is what follows the id in [`Message::Extended`](super::Message).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::dict::{self, Value};
use super::limits::{CLIENT_NAME_LEN_MAX, PEX_PEERS_MAX};
use crate::peer_address;

/// Bytes of metadata in one `ut_metadata` message; only the last may be shorter (BEP 9).
pub const METADATA_PIECE_LEN: usize = 16 * 1024;

/// The extension handshake. A field that was absent or of the wrong type is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtensionHandshake {
    /// Id under which the sender wants `ut_metadata` messages; `Some(0)` switches the extension off.
    pub ut_metadata: Option<u8>,
    /// Id under which the sender wants `ut_pex` messages.
    pub ut_pex: Option<u8>,
    /// Id under which the sender wants `upload_only` messages, as libtorrent has them.
    pub upload_only_message: Option<u8>,
    /// Client name and version, cut to 64 bytes.
    pub version: Option<String>,
    /// TCP port the sender listens on.
    pub listen_port: Option<u16>,
    /// Requests the sender lets wait before it drops some.
    pub request_queue: Option<u32>,
    /// Length of the info dictionary in bytes.
    pub metadata_size: Option<u32>,
    /// The receiver's address as the sender sees it.
    pub your_ip: Option<IpAddr>,
    /// Whether the sender wants nothing any more (BEP 21).
    pub upload_only: Option<bool>,
}

impl ExtensionHandshake {
    /// Reads a payload; `None` when it is not a dictionary. Values of the wrong type count as absent.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<ExtensionHandshake> {
        let mut read = ExtensionHandshake::default();
        dict::read(payload, |key, value| match key {
            b"m" => {
                if let Value::Dict(bytes) = value {
                    dict::read(bytes, |name, id| {
                        let id = id.integer().and_then(|id| u8::try_from(id).ok());
                        match name {
                            b"ut_metadata" => read.ut_metadata = id,
                            b"ut_pex" => read.ut_pex = id,
                            b"upload_only" => read.upload_only_message = id,
                            _ => {}
                        }
                    });
                }
            }
            b"v" => {
                if let Some(name) = value.bytes() {
                    let name = &name[..name.len().min(CLIENT_NAME_LEN_MAX)];
                    read.version = Some(String::from_utf8_lossy(name).into_owned());
                }
            }
            b"p" => {
                read.listen_port =
                    value.integer().and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0);
            }
            b"reqq" => read.request_queue = value.integer().and_then(|count| u32::try_from(count).ok()),
            b"metadata_size" => {
                read.metadata_size = value.integer().and_then(|size| u32::try_from(size).ok())
            }
            b"yourip" => read.your_ip = value.bytes().and_then(parse_ip),
            b"upload_only" => read.upload_only = value.integer().map(|flag| flag != 0),
            _ => {}
        })?;
        Some(read)
    }

    /// Appends the payload to `out`, without the id 0 in front.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"d1:md");
        for (name, id) in [
            ("upload_only", self.upload_only_message),
            ("ut_metadata", self.ut_metadata),
            ("ut_pex", self.ut_pex),
        ] {
            if let Some(id) = id {
                integer(out, name, i64::from(id));
            }
        }
        out.push(b'e');
        if let Some(size) = self.metadata_size {
            integer(out, "metadata_size", i64::from(size));
        }
        if let Some(port) = self.listen_port {
            integer(out, "p", i64::from(port));
        }
        if let Some(count) = self.request_queue {
            integer(out, "reqq", i64::from(count));
        }
        if let Some(flag) = self.upload_only {
            integer(out, "upload_only", i64::from(flag));
        }
        if let Some(version) = &self.version {
            string(out, "v", version.as_bytes());
        }
        match self.your_ip {
            Some(IpAddr::V4(ip)) => string(out, "yourip", &ip.octets()),
            Some(IpAddr::V6(ip)) => string(out, "yourip", &ip.octets()),
            None => {}
        }
        out.push(b'e');
    }
}

/// A `ut_metadata` message (BEP 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataMessage<'a> {
    /// Asks for a piece of the metadata.
    Request {
        /// Index of a [`METADATA_PIECE_LEN`] piece.
        piece: u32,
    },
    /// A piece of the metadata.
    Data {
        /// Index of the piece.
        piece: u32,
        /// Length of the whole metadata in bytes, as the sender says.
        total_size: u32,
        /// At most [`METADATA_PIECE_LEN`] bytes.
        data: &'a [u8],
    },
    /// The request will not be answered.
    Reject {
        /// Index of the piece.
        piece: u32,
    },
    /// A message type of the future; BEP 9 says to ignore it.
    Unknown,
}

impl<'a> MetadataMessage<'a> {
    /// Reads a payload; `None` when it is malformed or a number is out of range.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<MetadataMessage<'a>> {
        let (mut kind, mut piece, mut total_size) = (None, None, None);
        let data = dict::read(payload, |key, value| match key {
            b"msg_type" => kind = value.integer(),
            b"piece" => piece = value.integer(),
            b"total_size" => total_size = value.integer(),
            _ => {}
        })?;
        let piece = piece.and_then(|piece| u32::try_from(piece).ok());
        match kind? {
            0 => Some(MetadataMessage::Request { piece: piece? }),
            1 => {
                let total_size = u32::try_from(total_size?).ok()?;
                if data.len() > METADATA_PIECE_LEN {
                    return None;
                }
                Some(MetadataMessage::Data { piece: piece?, total_size, data })
            }
            2 => Some(MetadataMessage::Reject { piece: piece? }),
            _ => Some(MetadataMessage::Unknown),
        }
    }

    /// Appends the payload to `out`; [`MetadataMessage::Unknown`] appends nothing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, piece) = match *self {
            MetadataMessage::Request { piece } => (0, piece),
            MetadataMessage::Data { piece, .. } => (1, piece),
            MetadataMessage::Reject { piece } => (2, piece),
            MetadataMessage::Unknown => return,
        };
        out.push(b'd');
        integer(out, "msg_type", kind);
        integer(out, "piece", i64::from(piece));
        if let MetadataMessage::Data { total_size, data, .. } = *self {
            integer(out, "total_size", i64::from(total_size));
            out.push(b'e');
            out.extend_from_slice(data);
        } else {
            out.push(b'e');
        }
    }
}

/// A peer in a peer exchange message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PexPeer {
    /// Where it accepts connections.
    pub addr: SocketAddr,
    /// Whether it is a seed or upload-only (flag 0x02 of BEP 11).
    pub seed: bool,
    /// Whether the sender reached it by an outgoing connection (flag 0x10 of BEP 11).
    pub reachable: bool,
}

/// A `ut_pex` message (BEP 11).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PexMessage {
    /// Peers that the sender connected to since its last message.
    pub added: Vec<PexPeer>,
    /// Peers that it lost.
    pub dropped: Vec<SocketAddr>,
}

impl PexMessage {
    /// Reads a payload; `None` when it is not a dictionary. At most 200 peers are taken of each list,
    /// incomplete addresses and port 0 are left out.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<PexMessage> {
        let mut lists: [&[u8]; 6] = [&[]; 6];
        dict::read(payload, |key, value| {
            let index = match key {
                b"added" => 0,
                b"added.f" => 1,
                b"added6" => 2,
                b"added6.f" => 3,
                b"dropped" => 4,
                b"dropped6" => 5,
                _ => return,
            };
            lists[index] = value.bytes().unwrap_or(&[]);
        })?;
        let [added, flags, added6, flags6, dropped, dropped6] = lists;
        let mut message = PexMessage::default();
        for (addrs, flags, v6) in [(added, flags, false), (added6, flags6, true)] {
            let peers = compact(addrs, v6).enumerate().map(|(index, addr)| {
                let flags = flags.get(index).copied().unwrap_or(0);
                PexPeer { addr, seed: flags & 0x02 != 0, reachable: flags & 0x10 != 0 }
            });
            message.added.extend(peers.filter(|peer| peer.addr.port() != 0));
        }
        for (addrs, v6) in [(dropped, false), (dropped6, true)] {
            message.dropped.extend(compact(addrs, v6).filter(|addr| addr.port() != 0));
        }
        message.added.truncate(PEX_PEERS_MAX);
        message.dropped.truncate(PEX_PEERS_MAX);
        Some(message)
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'd');
        for v6 in [false, true] {
            let added: Vec<&PexPeer> = self.added.iter().filter(|peer| peer.addr.is_ipv6() == v6).collect();
            let mut addrs = Vec::new();
            added.iter().for_each(|peer| push_compact(&mut addrs, peer.addr));
            let flags: Vec<u8> =
                added.iter().map(|peer| u8::from(peer.seed) << 1 | u8::from(peer.reachable) << 4).collect();
            string(out, if v6 { "added6" } else { "added" }, &addrs);
            string(out, if v6 { "added6.f" } else { "added.f" }, &flags);
        }
        for v6 in [false, true] {
            let mut addrs = Vec::new();
            let dropped = self.dropped.iter().filter(|addr| addr.is_ipv6() == v6);
            dropped.for_each(|&addr| push_compact(&mut addrs, addr));
            string(out, if v6 { "dropped6" } else { "dropped" }, &addrs);
        }
        out.push(b'e');
    }
}

fn compact(bytes: &[u8], v6: bool) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.chunks_exact(if v6 { 18 } else { 6 }).take(PEX_PEERS_MAX).filter_map(|entry| {
        let (ip, port) = entry.split_at(entry.len() - 2);
        let address = SocketAddr::new(parse_ip(ip)?, u16::from_be_bytes([port[0], port[1]]));
        Some(peer_address::canonical(address))
    })
}

fn push_compact(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

fn parse_ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
}

fn integer(out: &mut Vec<u8>, key: &str, value: i64) {
    out.extend_from_slice(format!("{}:{key}i{value}e", key.len()).as_bytes());
}

fn string(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    out.extend_from_slice(format!("{}:{key}{}:", key.len(), value.len()).as_bytes());
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(encode: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out);
        out
    }

    #[test]
    fn handshake_round_trips() {
        for your_ip in ["10.1.2.3", "2001:db8::1"] {
            let handshake = ExtensionHandshake {
                ut_metadata: Some(3),
                ut_pex: Some(1),
                upload_only_message: Some(2),
                version: Some("Ringseed 0.1".to_owned()),
                listen_port: Some(6881),
                request_queue: Some(2000),
                metadata_size: Some(31_235),
                your_ip: Some(your_ip.parse().unwrap()),
                upload_only: Some(true),
            };
            let bytes = encoded(|out| handshake.encode(out));
            assert_eq!(ExtensionHandshake::parse(&bytes), Some(handshake));
        }
        let empty = ExtensionHandshake::default();
        let bytes = encoded(|out| empty.encode(out));
        assert_eq!(bytes, b"d1:mdee");
        assert_eq!(ExtensionHandshake::parse(&bytes), Some(empty));
    }

    #[test]
    fn handshake_treats_absurd_values_as_absent() {
        let absurd =
            b"d1:md11:ut_metadatai300e6:ut_pex1:xe13:metadata_sizei-1e1:pi0e4:reqqi-5e6:yourip3:abc1:vi7ee";
        assert_eq!(ExtensionHandshake::parse(absurd), Some(ExtensionHandshake::default()));
        assert_eq!(
            ExtensionHandshake::parse(b"d13:metadata_sizei99999999999ee").unwrap().metadata_size,
            None
        );
        assert_eq!(ExtensionHandshake::parse(b"le"), None);
        let long = [b"d1:v200:".to_vec(), vec![b'x'; 200], b"e".to_vec()].concat();
        assert_eq!(ExtensionHandshake::parse(&long).unwrap().version.unwrap().len(), CLIENT_NAME_LEN_MAX);
    }

    #[test]
    fn metadata_round_trips_and_is_bounded() {
        let block = [9; METADATA_PIECE_LEN];
        for message in [
            MetadataMessage::Request { piece: 4 },
            MetadataMessage::Reject { piece: u32::MAX },
            MetadataMessage::Data { piece: 0, total_size: 20_000, data: &block },
        ] {
            let bytes = encoded(|out| message.encode(out));
            assert_eq!(MetadataMessage::parse(&bytes), Some(message));
        }
        assert_eq!(MetadataMessage::parse(b"d8:msg_typei0e5:piecei-1ee"), None);
        assert_eq!(MetadataMessage::parse(b"d8:msg_typei0e5:piecei4294967296ee"), None);
        assert_eq!(MetadataMessage::parse(b"d8:msg_typei1e5:piecei0ee"), None);
        assert_eq!(MetadataMessage::parse(b"d8:msg_typei7ee"), Some(MetadataMessage::Unknown));
        let long = MetadataMessage::Data { piece: 0, total_size: 20_000, data: &[0; METADATA_PIECE_LEN + 1] };
        assert_eq!(MetadataMessage::parse(&encoded(|out| long.encode(out))), None);
    }

    #[test]
    fn pex_round_trips_both_families() {
        let peer = |addr: &str, seed, reachable| PexPeer { addr: addr.parse().unwrap(), seed, reachable };
        let message = PexMessage {
            added: vec![
                peer("1.2.3.4:5", true, false),
                peer("9.9.9.9:9", false, true),
                peer("[2001:db8::5]:6", true, true),
            ],
            dropped: vec!["4.3.2.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()],
        };
        let bytes = encoded(|out| message.encode(out));
        assert_eq!(PexMessage::parse(&bytes), Some(message));
    }

    #[test]
    fn pex_is_bounded_and_drops_unusable_entries() {
        let mut addrs = vec![1, 2, 3, 4, 0, 0];
        for index in 0..5000u16 {
            addrs.extend_from_slice(&[1, 1, 1, 1]);
            addrs.extend_from_slice(&(index + 1).to_be_bytes());
        }
        addrs.push(7);
        let bytes = [format!("d5:added{}:", addrs.len()).into_bytes(), addrs, b"e".to_vec()].concat();
        let message = PexMessage::parse(&bytes).unwrap();
        assert!(message.added.len() <= PEX_PEERS_MAX && message.added.len() >= PEX_PEERS_MAX - 1);
        assert!(message.added.iter().all(|peer| peer.addr.port() != 0));
    }
}
