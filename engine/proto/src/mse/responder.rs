//! The side that is called.

use super::exchange::{KEY_LEN, KeyPair};
use super::keys::{Ciphers, LookupHash, VERIFICATION_LEN, sync_hash};
use super::{Done, INITIAL_MAX, Method, Methods, MseError, PAD_MAX, Random, Step, without_leading_zeros};
use crate::hashes::SwarmHash;

/// Bytes of a hash.
const HASH_LEN: usize = 20;

/// Bytes of the zeros, the offer and the length of a padding.
const OFFER_LEN: usize = VERIFICATION_LEN + 6;

/// The torrents that a responder talks about.
pub trait Torrents {
    /// The torrent that an initiator means.
    fn named(&self, hash: &LookupHash) -> Option<SwarmHash>;
}

impl<F: Fn(&LookupHash) -> Option<SwarmHash>> Torrents for F {
    fn named(&self, hash: &LookupHash) -> Option<SwarmHash> {
        self(hash)
    }
}

/// The side of an exchange that is called.
pub struct Responder {
    allowed: Methods,
    received: Vec<u8>,
    to_send: Option<Vec<u8>>,
    state: State,
}

enum State {
    /// Waits for the other's key.
    Key,
    /// Has told its own.
    Told(Box<KeyPair>),
    /// Looks for the mark, which begins at `from` or later.
    Sync { secret: Box<[u8; KEY_LEN]>, from: usize },
    /// The mark, and the secret that it shows, are known: the torrent follows.
    Torrent { secret: Box<[u8; KEY_LEN]>, padded: bool },
    /// The offer follows.
    Offer(Box<Keys>),
    /// Padding of so many bytes and a length follow.
    Pad { keys: Box<Keys>, method: Method, length: usize },
    /// What is said first follows, of so many bytes.
    Initial { keys: Box<Keys>, method: Method, length: usize },
    /// Nothing follows.
    End,
}

struct Keys {
    swarm: SwarmHash,
    ciphers: Ciphers,
}

impl Responder {
    /// Waits for an exchange that leads to one of these methods.
    pub fn new(allowed: Methods) -> Responder {
        Responder { allowed, received: Vec::new(), to_send: None, state: State::Key }
    }

    /// Takes bytes of the other side.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// Does what [`Step::Compute`] asked for.
    pub fn compute(&mut self, random: &Random) {
        match std::mem::replace(&mut self.state, State::End) {
            State::Key => {
                let pair = KeyPair::new(random.exponent());
                self.to_send = Some([&pair.public, random.pad()].concat());
                self.state = State::Told(Box::new(pair));
            }
            State::Told(pair) => {
                self.state = match self.received.first_chunk::<KEY_LEN>() {
                    Some(theirs) => State::Sync { secret: Box::new(pair.agree(theirs)), from: KEY_LEN },
                    None => State::Told(pair),
                };
            }
            other => self.state = other,
        }
    }

    /// What is to be done now.
    ///
    /// # Errors
    /// The exchange came to nothing.
    pub fn step(&mut self, torrents: &(impl Torrents + ?Sized)) -> Result<Step, MseError> {
        if let Some(bytes) = self.to_send.take() {
            return Ok(Step::Send(bytes));
        }
        loop {
            let received = self.received.len();
            match &mut self.state {
                State::Key if received >= KEY_LEN => return Ok(Step::Compute),
                // Who has sent no more than a key has not shown that it waits for anything but ours.
                State::Told(_) if received >= KEY_LEN + 2 * HASH_LEN => return Ok(Step::Compute),
                State::Key | State::Told(_) | State::End => return Ok(Step::Wait),
                State::Sync { secret, from } => {
                    let end = received.min(KEY_LEN + PAD_MAX + HASH_LEN);
                    let window = self.received.get(*from..end).unwrap_or_default();
                    let padded = sync_hash(&**secret);
                    let bare = without_leading_zeros(&**secret);
                    let bare = if bare.len() == KEY_LEN { padded } else { sync_hash(bare) };
                    let found = window.windows(HASH_LEN).position(|bytes| bytes == padded || bytes == bare);
                    let Some(at) = found else {
                        if end == KEY_LEN + PAD_MAX + HASH_LEN {
                            return Err(MseError::OutOfStep);
                        }
                        *from = (end + 1).saturating_sub(HASH_LEN).max(*from);
                        return Ok(Step::Wait);
                    };
                    let padded = window[at..at + HASH_LEN] == padded;
                    self.received.drain(..*from + at + HASH_LEN);
                    self.enter(|state| match state {
                        State::Sync { secret, .. } => State::Torrent { secret, padded },
                        other => other,
                    });
                }
                State::Torrent { secret, padded } => {
                    let Some(masked) = self.received.first_chunk::<HASH_LEN>().copied() else {
                        return Ok(Step::Wait);
                    };
                    let secret: &[u8] = match padded {
                        true => &**secret,
                        false => without_leading_zeros(&**secret),
                    };
                    let hash = LookupHash(masked).masked(secret);
                    let swarm = torrents.named(&hash).ok_or(MseError::UnknownTorrent)?;
                    let ciphers = Ciphers::of_responder(secret, &swarm);
                    self.received.drain(..HASH_LEN);
                    self.state = State::Offer(Box::new(Keys { swarm, ciphers }));
                }
                State::Offer(keys) => {
                    let Some(mut offer) = self.received.first_chunk::<OFFER_LEN>().copied() else {
                        return Ok(Step::Wait);
                    };
                    self.received.drain(..OFFER_LEN);
                    keys.ciphers.incoming.apply(&mut offer);
                    let [zeros @ .., a, b, c, d, e, f] = offer;
                    if zeros != [0; VERIFICATION_LEN] {
                        return Err(MseError::WrongKeys);
                    }
                    let bits = u32::from_be_bytes([a, b, c, d]);
                    let method = self.allowed.choose(bits).ok_or(MseError::NothingInCommon)?;
                    let length = usize::from(u16::from_be_bytes([e, f]));
                    if length > PAD_MAX {
                        return Err(MseError::PadTooLong);
                    }
                    self.enter(|state| match state {
                        State::Offer(keys) => State::Pad { keys, method, length },
                        other => other,
                    });
                }
                State::Pad { length, .. } if received < *length + 2 => return Ok(Step::Wait),
                State::Pad { keys, method, length } => {
                    keys.ciphers.incoming.skip(*length);
                    let mut initial = [self.received[*length], self.received[*length + 1]];
                    keys.ciphers.incoming.apply(&mut initial);
                    self.received.drain(..*length + 2);
                    let (method, length) = (*method, usize::from(u16::from_be_bytes(initial)));
                    if length > INITIAL_MAX {
                        return Err(MseError::InitialTooLong);
                    }
                    let mut answer = [0; OFFER_LEN];
                    answer[VERIFICATION_LEN..VERIFICATION_LEN + 4]
                        .copy_from_slice(&method.bit().to_be_bytes());
                    keys.ciphers.outgoing.apply(&mut answer);
                    self.enter(|state| match state {
                        State::Pad { keys, method, .. } => State::Initial { keys, method, length },
                        other => other,
                    });
                    return Ok(Step::Send(answer.to_vec()));
                }
                State::Initial { length, .. } if received < *length => return Ok(Step::Wait),
                State::Initial { keys, method, length } => {
                    let mut stream = std::mem::take(&mut self.received);
                    let enciphered = match method {
                        Method::Plain => *length,
                        Method::Rc4 => stream.len(),
                    };
                    keys.ciphers.incoming.apply(&mut stream[..enciphered]);
                    let ciphers = (*method == Method::Rc4).then(|| keys.ciphers.clone());
                    let done = Done { swarm: keys.swarm, ciphers, stream };
                    self.state = State::End;
                    return Ok(Step::Done(Box::new(done)));
                }
            }
        }
    }

    fn enter(&mut self, next: impl FnOnce(State) -> State) {
        self.state = next(std::mem::replace(&mut self.state, State::End));
    }
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}
