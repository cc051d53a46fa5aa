//! The beginning of a connection: 68 bytes each way (BEP 3), before a swarm knows of the peer.

use ringseed_proto::units::{InfoHash, PeerId};
use ringseed_proto::wire::{HANDSHAKE_LEN, Handshake};

/// Collects the peer's handshake from what arrives.
#[derive(Debug, Default)]
pub struct HandshakeReader {
    bytes: Vec<u8>,
}

/// Why a connection ends before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The first bytes are not BitTorrent's.
    #[error("not a BitTorrent handshake")]
    NotBitTorrent,
    /// The info-hash is not the one we dialled for.
    #[error("the peer answered for another torrent")]
    OtherTorrent,
    /// The peer is this engine.
    #[error("connected to ourselves")]
    Ourselves,
}

impl HandshakeReader {
    /// Takes received bytes; gives the handshake and what follows it once it is whole.
    ///
    /// # Errors
    /// When the bytes cannot become a handshake; known from the first wrong byte on.
    pub fn push(&mut self, received: &[u8]) -> Result<Option<(Handshake, Vec<u8>)>, HandshakeError> {
        self.bytes.extend_from_slice(received);
        let whole = Handshake::decode(&self.bytes).map_err(|_| HandshakeError::NotBitTorrent)?;
        Ok(whole.map(|handshake| (handshake, self.bytes[HANDSHAKE_LEN..].to_vec())))
    }
}

/// Checks a peer's handshake against what we know of the connection.
///
/// # Errors
/// See [`HandshakeError`].
pub fn check(theirs: &Handshake, dialled: Option<&InfoHash>, ours: &PeerId) -> Result<(), HandshakeError> {
    if dialled.is_some_and(|wanted| *wanted != theirs.info_hash) {
        Err(HandshakeError::OtherTorrent)
    } else if theirs.peer_id == *ours {
        Err(HandshakeError::Ourselves)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04".to_vec();
        bytes.extend([7; 20]);
        bytes.extend([9; 20]);
        bytes
    }

    #[test]
    fn a_handshake_dripped_byte_by_byte_is_whole_at_the_last_byte() {
        let mut reader = HandshakeReader::default();
        let bytes = sample();
        for byte in &bytes[..67] {
            assert!(reader.push(&[*byte]).unwrap().is_none());
        }
        let (handshake, leftover) = reader.push(&[9, 1, 2]).unwrap().unwrap();
        assert_eq!(handshake.info_hash, InfoHash([7; 20]));
        assert_eq!(leftover, [1, 2]);
    }

    #[test]
    fn the_first_wrong_byte_ends_it() {
        assert_eq!(HandshakeReader::default().push(b"GET / HTTP/1.1"), Err(HandshakeError::NotBitTorrent));
        assert_eq!(HandshakeReader::default().push(b"\x13BitTorrenX"), Err(HandshakeError::NotBitTorrent));
    }
}
