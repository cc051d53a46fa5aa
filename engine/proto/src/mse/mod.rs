//! Message Stream Encryption, also called protocol encryption: how a connection hides that it speaks BitTorrent.
//!
//! Both sides agree on a secret (`exchange`); who knows the torrent's hash then knows the keystreams (`keys`). The side
//! that begins is an [`Initiator`], the other a [`Responder`]. Both are driven alike: bytes go in with `receive`, `step` says
//! what to do ([`Step`]), and exponentiations, which are all that takes time, are done when the caller calls `compute`.
//! None is due before the bytes that it needs have come.
//!
//! On the wire, A begins:
//!
//! - A: its public key, padding.
//! - B: its public key, padding.
//! - A: SHA-1 of `req1` and the secret, the torrent ([`LookupHash`], masked); enciphered: eight zeros, what it offers, padding,
//!   and what it has to say first.
//! - B: enciphered: eight zeros, what it chooses, padding.
//!
//! What A says first is enciphered also when the stream goes on without.

mod exchange;
mod initiator;
mod keys;
mod policy;
mod rc4;
mod responder;

pub use exchange::KEY_LEN;
pub use initiator::Initiator;
pub use keys::{Ciphers, LookupHash};
pub use policy::{Encryption, Method, Methods, Mode, UnknownEncryption};
pub use rc4::Rc4;
pub use responder::{Responder, Torrents};

use crate::hashes::SwarmHash;
use thiserror::Error;

/// Longest padding, bytes.
pub const PAD_MAX: usize = 512;

/// Most bytes that an initiator may say first. Clients send their handshake, which is 68; some may add what they have.
pub const INITIAL_MAX: usize = 16 << 10;

const RANDOM_EXPONENT_BYTES: usize = 20;

/// Random bytes that one side of an exchange needs.
pub struct Random([u8; Random::LEN]);

impl Random {
    /// How many that is: an exponent, the length of a padding, and the padding.
    pub const LEN: usize = RANDOM_EXPONENT_BYTES + 2 + PAD_MAX;

    /// From bytes that nobody can guess.
    pub fn new(bytes: [u8; Random::LEN]) -> Random {
        Random(bytes)
    }

    fn exponent(&self) -> [u8; RANDOM_EXPONENT_BYTES] {
        self.0.first_chunk().copied().unwrap_or_default()
    }

    fn pad(&self) -> &[u8] {
        let (length, pad) = self.0[RANDOM_EXPONENT_BYTES..].split_at(2);
        let length = u16::from_le_bytes([length[0], length[1]]);
        &pad[..usize::from(length) % (PAD_MAX + 1)]
    }
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// More bytes have to come.
    Wait,
    /// An exponentiation is due: to be done with `compute` when there is time for it. No bytes are needed before.
    Compute,
    /// These bytes are to be sent, then the next step is asked for.
    Send(Vec<u8>),
    /// The exchange is over. After that there is no step.
    Done(Box<Done>),
}

/// The end of an exchange.
#[derive(Debug)]
pub struct Done {
    /// The torrent it was about.
    pub swarm: SwarmHash,
    /// The keystreams, when the stream goes on enciphered.
    pub ciphers: Option<Ciphers>,
    /// What has come of the stream already, deciphered.
    pub stream: Vec<u8>,
}

impl Done {
    /// How the stream goes on.
    pub fn method(&self) -> Method {
        match self.ciphers {
            Some(_) => Method::Rc4,
            None => Method::Plain,
        }
    }
}

/// Why an exchange came to nothing. The connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MseError {
    /// The mark behind a padding did not come in time: the other side does not speak this, knows another torrent, or has
    /// found another secret.
    #[error("no encryption handshake, or one with other keys")]
    OutOfStep,
    /// Of a torrent that nobody here has.
    #[error("an encryption handshake for a torrent that is not here")]
    UnknownTorrent,
    /// The eight zeros are none.
    #[error("an encryption handshake with wrong keys")]
    WrongKeys,
    /// A padding of more than [`PAD_MAX`].
    #[error("an encryption handshake with too much padding")]
    PadTooLong,
    /// More than [`INITIAL_MAX`] said first.
    #[error("an encryption handshake that carries too much")]
    InitialTooLong,
    /// Nothing of what is offered is wanted here.
    #[error("no method of encryption in common")]
    NothingInCommon,
    /// What was chosen was not offered, or is not one method.
    #[error("a method of encryption that was not offered")]
    NotOffered,
}

/// A secret as hashes take it. It is a number; some clients (libtorrent before 2.0.13, rTorrent) hash it without the zeros in
/// front, and so does one in 256 of their handshakes fail with everybody else.
fn without_leading_zeros(secret: &[u8]) -> &[u8] {
    let zeros = secret.iter().take_while(|byte| **byte == 0).count();
    &secret[zeros..]
}

#[cfg(test)]
mod tests;
