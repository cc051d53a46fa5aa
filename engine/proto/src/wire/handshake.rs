//! The 68 bytes each side sends first (BEP 3), with the reserved bits of BEP 5, 6 and 10.

use thiserror::Error;

use crate::hashes::{InfoHashes, SwarmHash};
use crate::units::PeerId;

/// Length of a handshake in bytes.
pub const HANDSHAKE_LEN: usize = 68;

const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// Why a connection ends with its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// The first bytes are not those of a BitTorrent handshake, or they are encrypted.
    #[error("not a BitTorrent handshake")]
    NotBitTorrent,
    /// The info-hash is not the one we dialled for.
    #[error("the peer answered for another torrent")]
    OtherTorrent,
    /// The peer is this client.
    #[error("connected to ourselves")]
    Ourselves,
}

/// A BitTorrent handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// Feature bits.
    pub reserved: [u8; 8],
    /// The torrent that is spoken about.
    pub info_hash: SwarmHash,
    /// The name the sender gave itself.
    pub peer_id: PeerId,
}

impl Handshake {
    /// A handshake with the features this crate implements: Fast (BEP 6) and extension protocol (BEP 10).
    #[must_use]
    pub fn new(info_hash: SwarmHash, peer_id: PeerId) -> Handshake {
        let mut reserved = [0; 8];
        reserved[5] |= 0x10;
        reserved[7] |= 0x04;
        Handshake { reserved, info_hash, peer_id }
    }

    /// The same handshake with the DHT bit (BEP 5) set: the sender then accepts PORT messages.
    #[must_use]
    pub fn with_dht(mut self) -> Handshake {
        self.reserved[7] |= 0x01;
        self
    }

    /// Whether the sender understands the Fast extension (BEP 6).
    #[must_use]
    pub fn fast(&self) -> bool {
        self.reserved[7] & 0x04 != 0
    }

    /// Whether the sender understands the extension protocol (BEP 10).
    #[must_use]
    pub fn extension(&self) -> bool {
        self.reserved[5] & 0x10 != 0
    }

    /// Whether the sender runs a DHT node (BEP 5).
    #[must_use]
    pub fn dht(&self) -> bool {
        self.reserved[7] & 0x01 != 0
    }

    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut out = [0; HANDSHAKE_LEN];
        out[..20].copy_from_slice(PROTOCOL);
        out[20..28].copy_from_slice(&self.reserved);
        out[28..48].copy_from_slice(&self.info_hash.0);
        out[48..].copy_from_slice(&self.peer_id.0);
        out
    }

    /// Reads a handshake from the start of `bytes`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// As soon as the bytes that are there cannot begin a handshake, so that a stranger is dropped on
    /// its first byte.
    pub fn decode(bytes: &[u8]) -> Result<Option<Handshake>, HandshakeError> {
        let known = bytes.len().min(PROTOCOL.len());
        if bytes[..known] != PROTOCOL[..known] {
            return Err(HandshakeError::NotBitTorrent);
        }
        let Some(bytes) = bytes.first_chunk::<HANDSHAKE_LEN>() else { return Ok(None) };
        let mut reserved = [0; 8];
        reserved.copy_from_slice(&bytes[20..28]);
        let mut info_hash = [0; 20];
        info_hash.copy_from_slice(&bytes[28..48]);
        let mut peer_id = [0; 20];
        peer_id.copy_from_slice(&bytes[48..]);
        Ok(Some(Handshake { reserved, info_hash: SwarmHash(info_hash), peer_id: PeerId(peer_id) }))
    }

    /// Checks a peer's handshake: `dialled` is the torrent that the connection was made for, `ours` our own peer id.
    ///
    /// # Errors
    /// The peer speaks of another torrent, or is ourselves.
    pub fn check(&self, dialled: Option<&InfoHashes>, ours: &PeerId) -> Result<(), HandshakeError> {
        if dialled.is_some_and(|torrent| torrent.swarm_hashes().all(|hash| hash != self.info_hash)) {
            Err(HandshakeError::OtherTorrent)
        } else if self.peer_id == *ours {
            Err(HandshakeError::Ourselves)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_with_every_flag() {
        let plain = Handshake::new(SwarmHash([7; 20]), PeerId(*b"-RS0001-abcdefghijkl"));
        for handshake in [plain, plain.with_dht()] {
            let bytes = handshake.encode();
            assert_eq!(Handshake::decode(&bytes), Ok(Some(handshake)));
            assert!(handshake.fast() && handshake.extension());
        }
        assert!(plain.with_dht().dht() && !plain.dht());
    }

    #[test]
    fn asks_for_more_until_complete_and_ignores_what_follows() {
        let handshake = Handshake::new(SwarmHash([1; 20]), PeerId([2; 20]));
        let mut bytes = handshake.encode().to_vec();
        for cut in 0..HANDSHAKE_LEN {
            assert_eq!(Handshake::decode(&bytes[..cut]), Ok(None), "at {cut}");
        }
        bytes.extend_from_slice(b"rest");
        assert_eq!(Handshake::decode(&bytes), Ok(Some(handshake)));
    }

    #[test]
    fn refuses_a_stranger_on_its_first_byte() {
        assert_eq!(Handshake::decode(b"G"), Err(HandshakeError::NotBitTorrent));
        assert_eq!(Handshake::decode(b"\x13BitTorrent protocoX"), Err(HandshakeError::NotBitTorrent));
    }
}
