//! How a link begins, until the peer's handshake is whole: in plaintext, or behind an exchange of keys.
//!
//! Nothing here knows sockets: bytes go in, and what is to be sent comes out.

use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::mse::{
    Ciphers, Encryption, Initiator, Methods, MseError, Random, Responder, Step, Torrents,
};
use ringseed_proto::wire::{Handshake, HandshakeError, HandshakeReader};
use thiserror::Error;

/// What every plaintext handshake begins with.
const PLAINTEXT: &[u8; 20] = b"\x13BitTorrent protocol";

/// Why a link does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpeningError {
    /// No handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The exchange of keys came to nothing.
    #[error(transparent)]
    Exchange(#[from] MseError),
    /// The peer begins in plaintext, and the user wants none.
    #[error("the peer does not encrypt, which is required here")]
    NotEncrypted,
    /// It answers an exchange of keys in plaintext.
    #[error("the peer knows no encryption")]
    Plaintext,
}

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hello {
    /// With a handshake that everybody can read.
    Plain,
    /// With an exchange of keys.
    Hidden,
}

/// How much of a link others can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Obfuscation {
    /// All of it.
    #[default]
    None,
    /// All but its beginning.
    Handshake,
    /// Nothing.
    Stream,
}

/// A link that is not open yet.
#[derive(Debug)]
pub(crate) enum Opening {
    /// Accepted, and nothing known of it but these bytes, with which a plaintext handshake begins.
    Unknown { first: Vec<u8>, encryption: Encryption },
    /// In an exchange of keys.
    Exchange(Exchange),
    /// The handshake is read.
    Handshake { reader: HandshakeReader, obfuscation: Obfuscation },
}

/// Either role in an exchange, and whether an exponentiation is due.
#[derive(Debug)]
pub(crate) struct Exchange {
    role: Role,
    due: bool,
    /// Bytes that have come as in a plaintext handshake; `None` once one was another.
    plain: Option<usize>,
}

impl Exchange {
    fn new(role: Role, due: bool) -> Exchange {
        Exchange { role, due, plain: Some(0) }
    }

    /// Whether the other side of an exchange that we began does not take part: some clients answer whatever comes with a
    /// handshake, and wait.
    fn answered_plain(&mut self, bytes: &[u8]) -> bool {
        let Some(at) = self.plain else { return false };
        let rest = &PLAINTEXT[at..];
        let known = rest.len().min(bytes.len());
        let same = matches!(self.role, Role::Initiator(_)) && bytes[..known] == rest[..known];
        self.plain = (same && known < rest.len()).then_some(at + known);
        same && known == rest.len()
    }
}

#[derive(Debug)]
enum Role {
    Initiator(Box<Initiator>),
    Responder(Box<Responder>),
}

/// What came of some bytes.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// To be sent now.
    pub send: Vec<u8>,
    /// Everything is enciphered with these from now on.
    pub ciphers: Option<Box<Ciphers>>,
    /// The peer's handshake, and what follows it.
    pub opened: Option<(Handshake, Vec<u8>)>,
}

impl Opening {
    pub(crate) fn accepted(encryption: Encryption) -> Opening {
        Opening::Unknown { first: Vec::new(), encryption }
    }

    /// One that we began in plaintext.
    pub(crate) fn plain() -> Opening {
        Opening::Handshake { reader: HandshakeReader::default(), obfuscation: Obfuscation::None }
    }

    /// One that we begin with an exchange; an exponentiation is due at once.
    pub(crate) fn hidden(swarm: SwarmHash, methods: Methods, handshake: &[u8]) -> Opening {
        let role = Role::Initiator(Box::new(Initiator::new(swarm, methods, handshake)));
        Opening::Exchange(Exchange::new(role, true))
    }

    /// Whether it waits for [`Opening::compute`]; it takes no bytes then.
    pub(crate) fn is_due(&self) -> bool {
        matches!(self, Opening::Exchange(exchange) if exchange.due)
    }

    pub(crate) fn obfuscation(&self) -> Obfuscation {
        match self {
            Opening::Handshake { obfuscation, .. } => *obfuscation,
            Opening::Unknown { .. } | Opening::Exchange(_) => Obfuscation::None,
        }
    }

    /// Takes bytes of the peer.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        torrents: &dyn Torrents,
    ) -> Result<Progress, OpeningError> {
        match self {
            Opening::Unknown { first, encryption } => {
                first.extend_from_slice(bytes);
                let known = first.len().min(PLAINTEXT.len());
                let (first, encryption) = (std::mem::take(first), *encryption);
                if first[..known] != PLAINTEXT[..known] {
                    if !encryption.takes_exchange() {
                        return Err(HandshakeError::NotBitTorrent.into());
                    }
                    let role = Role::Responder(Box::new(Responder::new(encryption.methods)));
                    *self = Opening::Exchange(Exchange::new(role, false));
                } else if known < PLAINTEXT.len() {
                    *self = Opening::Unknown { first, encryption };
                    return Ok(Progress::default());
                } else if encryption.takes_plaintext() {
                    *self = Opening::plain();
                } else {
                    return Err(OpeningError::NotEncrypted);
                }
                self.receive(&first, torrents)
            }
            Opening::Exchange(exchange) => {
                exchange.role.receive(bytes);
                if exchange.answered_plain(bytes) {
                    return Err(OpeningError::Plaintext);
                }
                self.go_on(torrents)
            }
            Opening::Handshake { reader, .. } => {
                Ok(Progress { opened: reader.push(bytes)?, ..Progress::default() })
            }
        }
    }

    /// Does the exponentiation that is due.
    pub(crate) fn compute(
        &mut self,
        random: &Random,
        torrents: &dyn Torrents,
    ) -> Result<Progress, OpeningError> {
        if let Opening::Exchange(exchange) = self
            && std::mem::take(&mut exchange.due)
        {
            exchange.role.compute(random);
        }
        self.go_on(torrents)
    }

    fn go_on(&mut self, torrents: &dyn Torrents) -> Result<Progress, OpeningError> {
        let mut progress = Progress::default();
        let Opening::Exchange(exchange) = self else { return Ok(progress) };
        loop {
            match exchange.role.step(torrents)? {
                Step::Wait => return Ok(progress),
                Step::Compute => {
                    exchange.due = true;
                    return Ok(progress);
                }
                Step::Send(bytes) => progress.send.extend(bytes),
                Step::Done(done) => {
                    let obfuscation = match done.ciphers {
                        Some(_) => Obfuscation::Stream,
                        None => Obfuscation::Handshake,
                    };
                    let mut reader = HandshakeReader::default();
                    progress.opened = reader.push(&done.stream)?;
                    progress.ciphers = done.ciphers.map(Box::new);
                    *self = Opening::Handshake { reader, obfuscation };
                    return Ok(progress);
                }
            }
        }
    }
}

impl Role {
    fn receive(&mut self, bytes: &[u8]) {
        match self {
            Role::Initiator(initiator) => initiator.receive(bytes),
            Role::Responder(responder) => responder.receive(bytes),
        }
    }

    fn compute(&mut self, random: &Random) {
        match self {
            Role::Initiator(initiator) => initiator.compute(random),
            Role::Responder(responder) => responder.compute(random),
        }
    }

    fn step(&mut self, torrents: &dyn Torrents) -> Result<Step, MseError> {
        match self {
            Role::Initiator(initiator) => initiator.step(),
            Role::Responder(responder) => responder.step(torrents),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::mse::LookupHash;

    #[test]
    fn one_that_answers_a_key_in_plaintext_is_known_before_it_has_sent_as_much_as_a_key() {
        let nobody = |_: &LookupHash| None;
        let random = Random::new([9; Random::LEN]);
        let mut opening = Opening::hidden(SwarmHash([7; 20]), Methods::Both, b"handshake");
        assert!(opening.is_due());
        assert!(opening.compute(&random, &nobody).unwrap().send.len() >= 96);
        assert!(opening.receive(&PLAINTEXT[..7], &nobody).unwrap().send.is_empty());
        assert_eq!(opening.receive(&PLAINTEXT[7..], &nobody).unwrap_err(), OpeningError::Plaintext);
        // A key may begin alike.
        let mut opening = Opening::hidden(SwarmHash([7; 20]), Methods::Both, b"handshake");
        opening.compute(&random, &nobody).unwrap();
        for part in [&PLAINTEXT[..19], &[0; 77]] {
            opening.receive(part, &nobody).unwrap();
        }
        assert!(opening.is_due());
    }
}
