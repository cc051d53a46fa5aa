//! The side that begins.

use super::exchange::{KEY_LEN, KeyPair};
use super::keys::{Ciphers, LookupHash, VERIFICATION_LEN, sync_hash};
use super::{Done, Method, Methods, MseError, PAD_MAX, Random, Step};
use crate::hashes::SwarmHash;

/// Bytes of a choice and of the length of a padding.
const CHOICE_LEN: usize = 6;

/// The side of an exchange that begins it.
pub struct Initiator {
    swarm: SwarmHash,
    offer: Methods,
    /// What it says first.
    initial: Vec<u8>,
    received: Vec<u8>,
    to_send: Option<Vec<u8>>,
    state: State,
}

enum State {
    /// Has no key yet.
    Begin,
    /// Waits for the other's key.
    Key(Box<KeyPair>),
    /// Looks for the eight zeros, which are these bytes; they begin at `from` or later.
    Sync { pattern: [u8; VERIFICATION_LEN], ciphers: Box<Ciphers>, from: usize },
    /// The zeros end where what was received begins.
    Choice(Box<Ciphers>),
    /// Padding of so many bytes follows.
    Pad { ciphers: Box<Ciphers>, method: Method, length: usize },
    /// Nothing follows.
    End,
}

impl Initiator {
    /// Begins an exchange about a torrent that says `initial` first.
    pub fn new(swarm: SwarmHash, offer: Methods, initial: &[u8]) -> Initiator {
        debug_assert!(initial.len() <= super::INITIAL_MAX);
        Initiator {
            swarm,
            offer,
            initial: initial.to_vec(),
            received: Vec::new(),
            to_send: None,
            state: State::Begin,
        }
    }

    /// Takes bytes of the other side.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// Whether the other side has shown that it has the keys: whatever goes wrong after that is not for want of them.
    pub fn is_understood(&self) -> bool {
        matches!(self.state, State::Choice(_) | State::Pad { .. } | State::End)
    }

    /// Does what [`Step::Compute`] asked for.
    pub fn compute(&mut self, random: &Random) {
        match std::mem::replace(&mut self.state, State::End) {
            State::Begin => {
                let pair = KeyPair::new(random.exponent());
                self.to_send = Some([&pair.public, random.pad()].concat());
                self.state = State::Key(Box::new(pair));
            }
            State::Key(pair) => match self.received.first_chunk::<KEY_LEN>() {
                Some(theirs) => {
                    let secret = pair.agree(theirs);
                    self.found(&secret);
                }
                None => self.state = State::Key(pair),
            },
            other => self.state = other,
        }
    }

    fn found(&mut self, secret: &[u8]) {
        let mut ciphers = Ciphers::of_initiator(secret, &self.swarm);
        let lookup = LookupHash::of(&self.swarm).masked(secret);
        let mut message = [sync_hash(secret), lookup.0].concat();
        let clear = message.len();
        message.extend([0; VERIFICATION_LEN]);
        message.extend(self.offer.bits().to_be_bytes());
        message.extend(0u16.to_be_bytes());
        message.extend((self.initial.len() as u16).to_be_bytes());
        message.append(&mut self.initial);
        ciphers.outgoing.apply(&mut message[clear..]);
        self.to_send = Some(message);
        let mut pattern = [0; VERIFICATION_LEN];
        ciphers.incoming.apply(&mut pattern);
        self.state = State::Sync { pattern, ciphers: Box::new(ciphers), from: KEY_LEN };
    }

    /// What is to be done now.
    ///
    /// # Errors
    /// The exchange came to nothing.
    pub fn step(&mut self) -> Result<Step, MseError> {
        if let Some(bytes) = self.to_send.take() {
            return Ok(Step::Send(bytes));
        }
        loop {
            match &mut self.state {
                State::Begin => return Ok(Step::Compute),
                State::Key(_) if self.received.len() >= KEY_LEN => return Ok(Step::Compute),
                State::Key(_) | State::End => return Ok(Step::Wait),
                State::Sync { pattern, from, .. } => {
                    let end = self.received.len().min(KEY_LEN + PAD_MAX + VERIFICATION_LEN);
                    let window = self.received.get(*from..end).unwrap_or_default();
                    match window.windows(VERIFICATION_LEN).position(|bytes| bytes == pattern) {
                        Some(at) => {
                            self.received.drain(..*from + at + VERIFICATION_LEN);
                            self.enter(|state| match state {
                                State::Sync { ciphers, .. } => State::Choice(ciphers),
                                other => other,
                            });
                        }
                        None if end == KEY_LEN + PAD_MAX + VERIFICATION_LEN => {
                            return Err(MseError::OutOfStep);
                        }
                        None => {
                            *from = (end + 1).saturating_sub(VERIFICATION_LEN).max(*from);
                            return Ok(Step::Wait);
                        }
                    }
                }
                State::Choice(ciphers) => {
                    let Some(mut choice) = self.received.first_chunk::<CHOICE_LEN>().copied() else {
                        return Ok(Step::Wait);
                    };
                    self.received.drain(..CHOICE_LEN);
                    ciphers.incoming.apply(&mut choice);
                    let [a, b, c, d, pad @ ..] = choice;
                    let bits = u32::from_be_bytes([a, b, c, d]);
                    let method = self.offer.chosen(bits).ok_or(MseError::NotOffered)?;
                    let length = usize::from(u16::from_be_bytes(pad));
                    if length > PAD_MAX {
                        return Err(MseError::PadTooLong);
                    }
                    self.enter(|state| match state {
                        State::Choice(ciphers) => State::Pad { ciphers, method, length },
                        other => other,
                    });
                }
                State::Pad { length, .. } if self.received.len() < *length => return Ok(Step::Wait),
                State::Pad { ciphers, method, length } => {
                    ciphers.incoming.skip(*length);
                    let mut stream = self.received.split_off(*length);
                    let ciphers = match method {
                        Method::Plain => None,
                        Method::Rc4 => {
                            ciphers.incoming.apply(&mut stream);
                            Some((**ciphers).clone())
                        }
                    };
                    self.state = State::End;
                    return Ok(Step::Done(Box::new(Done { swarm: self.swarm, ciphers, stream })));
                }
            }
        }
    }

    fn enter(&mut self, next: impl FnOnce(State) -> State) {
        self.state = next(std::mem::replace(&mut self.state, State::End));
    }
}

impl std::fmt::Debug for Initiator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Initiator").field("swarm", &self.swarm).finish_non_exhaustive()
    }
}
