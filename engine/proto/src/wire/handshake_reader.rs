//! The beginning of a connection: the peer's 68 bytes, in whatever parts they come.

use super::{HANDSHAKE_LEN, Handshake, HandshakeError};

/// Collects the peer's handshake from what arrives.
#[derive(Debug, Default)]
pub struct HandshakeReader {
    bytes: Vec<u8>,
}

impl HandshakeReader {
    /// Takes received bytes; gives the handshake and what follows it once it is whole.
    ///
    /// # Errors
    /// When the bytes cannot become a handshake; known from the first wrong byte on.
    pub fn push(&mut self, received: &[u8]) -> Result<Option<(Handshake, Vec<u8>)>, HandshakeError> {
        self.bytes.extend_from_slice(received);
        let whole = Handshake::decode(&self.bytes)?;
        Ok(whole.map(|handshake| (handshake, self.bytes[HANDSHAKE_LEN..].to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashes::SwarmHash;

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
        assert_eq!(handshake.info_hash, SwarmHash([7; 20]));
        assert_eq!(leftover, [1, 2]);
    }

    #[test]
    fn the_first_wrong_byte_ends_it() {
        assert_eq!(HandshakeReader::default().push(b"GET / HTTP/1.1"), Err(HandshakeError::NotBitTorrent));
        assert_eq!(HandshakeReader::default().push(b"\x13BitTorrenX"), Err(HandshakeError::NotBitTorrent));
    }
}
