//! The hashes of an exchange, and the keystreams that follow from it.

use super::Rc4;
use crate::hashes::SwarmHash;
use sha1::{Digest, Sha1};

/// The first bytes of a keystream of RC4 tell of its key: both sides leave them out.
const KEYSTREAM_SKIPPED: usize = 1024;

/// Bytes of zeros that show that both have the same keys.
pub(super) const VERIFICATION_LEN: usize = 8;

/// What an initiator names a torrent by: the SHA-1 of `req2` and its swarm hash. A responder has a table of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupHash(pub [u8; 20]);

impl LookupHash {
    /// That of a swarm hash.
    pub fn of(swarm: &SwarmHash) -> LookupHash {
        LookupHash(hash(&[b"req2", &swarm.0]))
    }

    /// Hides the hash behind the secret, or finds it again.
    pub(super) fn masked(self, secret: &[u8]) -> LookupHash {
        let mut bytes = hash(&[b"req3", secret]);
        for (byte, own) in bytes.iter_mut().zip(self.0) {
            *byte ^= own;
        }
        LookupHash(bytes)
    }
}

/// By this a responder finds the end of the first padding.
pub(super) fn sync_hash(secret: &[u8]) -> [u8; 20] {
    hash(&[b"req1", secret])
}

/// The keystreams of a connection.
#[derive(Debug, Clone)]
pub struct Ciphers {
    /// For what is received.
    pub incoming: Rc4,
    /// For what is sent.
    pub outgoing: Rc4,
}

impl Ciphers {
    /// Those of the side that began the connection.
    pub(super) fn of_initiator(secret: &[u8], swarm: &SwarmHash) -> Ciphers {
        let stream = |name: &[u8]| {
            let mut stream = Rc4::new(&hash(&[name, secret, &swarm.0]));
            stream.skip(KEYSTREAM_SKIPPED);
            stream
        };
        Ciphers { outgoing: stream(b"keyA"), incoming: stream(b"keyB") }
    }

    /// Those of the other side.
    pub(super) fn of_responder(secret: &[u8], swarm: &SwarmHash) -> Ciphers {
        let Ciphers { incoming, outgoing } = Ciphers::of_initiator(secret, swarm);
        Ciphers { incoming: outgoing, outgoing: incoming }
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    for part in parts {
        sha1.update(part);
    }
    sha1.finalize().into()
}
