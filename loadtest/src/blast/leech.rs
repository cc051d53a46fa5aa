//! One downloading peer as a state machine: bytes in, requests out, no sockets and no clock.
//!
//! It keeps a fixed number of requests in flight and survives what seeders do: availability by bitfield, HAVE or
//! have-all, choking again (with the Fast extension each request is answered or rejected, without it a choke
//! discards them all), rejects, keep-alives, blocks out of order.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use sha1::{Digest, Sha1};

use super::{
    pace::Pace,
    target::Target,
    walk::{Order, PieceWalk, SplitMix},
};
use crate::limits::BLOCK_LEN;
use crate::skim::{FAST_BIT, Item, PROTOCOL, SkimError, Skimmer};

/// How one peer behaves.
#[derive(Debug, Clone)]
pub struct LeechConfig {
    /// Requests to keep in flight.
    pub depth: u32,
    /// What is asked for next.
    pub order: Order,
    /// Bytes per second that are asked for; `None` is as many as `depth` gives.
    pub rate: Option<u64>,
    /// Seed of the order.
    pub seed: u64,
    /// Announce the Fast extension (BEP 6).
    pub fast: bool,
    /// Assemble pieces and compare their SHA-1.
    pub verify: bool,
    /// How the peer names itself.
    pub peer_id: [u8; 20],
}

/// Why a connection is dropped by us.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeechError {
    /// Bytes that are not the protocol.
    #[error(transparent)]
    Wire(#[from] SkimError),
    /// A handshake for another torrent.
    #[error("the seeder answered for another torrent")]
    OtherTorrent,
    /// A bitfield of the wrong size.
    #[error("a bitfield of {0} bytes")]
    Bitfield(usize),
}

/// What happened on a connection so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Bytes of block payload.
    pub payload: u64,
    /// Requested blocks that arrived whole.
    pub blocks: u64,
    /// Blocks that were not (or no longer) requested.
    pub stray_blocks: u64,
    /// Chokes after an unchoke.
    pub chokes: u64,
    /// Rejected requests.
    pub rejects: u64,
    /// Pieces whose SHA-1 was right.
    pub pieces_ok: u64,
    /// Pieces whose SHA-1 was wrong.
    pub pieces_bad: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Request {
    piece: u32,
    begin: u32,
    length: u32,
    sent_us: u64,
}

/// What the seeder may do for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Choked,
    /// `refused` counts rejects since the last block: each lowers the depth, so that a seeder which rejects all
    /// is not asked in a tight loop.
    Unchoked {
        refused: u32,
    },
}

/// A piece under verification.
#[derive(Debug)]
struct Assembly {
    bytes: Vec<u8>,
    missing: u32,
}

/// One peer. Invariant: a block is in flight or to be asked again at most once.
#[derive(Debug)]
pub struct Leech {
    target: Rc<Target>,
    config: LeechConfig,
    skimmer: Skimmer,
    service: Service,
    fast: bool,
    has: Vec<u8>,
    walk: PieceWalk,
    rng: SplitMix,
    pace: Option<Pace>,
    /// Place in the piece being asked for.
    cursor: Option<(u32, u32)>,
    again: VecDeque<Request>,
    in_flight: VecDeque<Request>,
    assemblies: HashMap<u32, Assembly>,
    tally: Tally,
}

impl Leech {
    /// A peer for `target`.
    pub fn new(target: Rc<Target>, config: LeechConfig) -> Leech {
        let pieces = target.pieces();
        Leech {
            skimmer: Skimmer::new(pieces),
            service: Service::Choked,
            fast: false,
            has: vec![0; pieces.div_ceil(8) as usize],
            walk: PieceWalk::new(pieces, config.seed),
            rng: SplitMix::new(config.seed),
            pace: config.rate.map(|rate| Pace::new(rate, u64::from(config.depth) * u64::from(BLOCK_LEN))),
            cursor: None,
            again: VecDeque::new(),
            in_flight: VecDeque::with_capacity(config.depth as usize),
            assemblies: HashMap::new(),
            tally: Tally::default(),
            target,
            config,
        }
    }

    /// The torrent that is asked for.
    pub fn info_hash(&self) -> [u8; 20] {
        self.target.info_hash()
    }

    /// The bytes that open the connection: handshake and interested. With the Fast extension BEP 6 wants our
    /// availability first, which is none.
    pub fn greeting(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(PROTOCOL);
        out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, if self.config.fast { FAST_BIT } else { 0 }]);
        out.extend_from_slice(&self.target.info_hash());
        out.extend_from_slice(&self.config.peer_id);
    }

    /// Takes bytes of the seeder. `latency` is told the microseconds from request to last byte, per block.
    ///
    /// # Errors
    /// The connection is useless and must be closed.
    pub fn received(
        &mut self,
        now_us: u64,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        mut latency: impl FnMut(u64),
    ) -> Result<(), LeechError> {
        while let Some(item) = self.skimmer.next(&mut bytes)? {
            match item {
                Item::Payload { piece, begin, offset, data, last } => {
                    self.tally.payload += data.len() as u64;
                    if self.config.verify
                        && let Some(assembly) = self.assemblies.get_mut(&piece)
                        && let Some(place) = assembly
                            .bytes
                            .get_mut((begin as usize + offset as usize)..)
                            .and_then(|rest| rest.get_mut(..data.len()))
                    {
                        place.copy_from_slice(data);
                    }
                    if last {
                        let length = offset + data.len() as u32;
                        if let Some(sent_us) = self.block_arrived(piece, begin, length) {
                            latency(now_us.saturating_sub(sent_us));
                        }
                    }
                }
                Item::Handshake { reserved, info_hash } => {
                    if info_hash != self.target.info_hash() {
                        return Err(LeechError::OtherTorrent);
                    }
                    self.fast = self.config.fast && reserved[7] & FAST_BIT != 0;
                    if self.fast {
                        out.extend_from_slice(&[0, 0, 0, 1, 15]);
                    }
                    out.extend_from_slice(&[0, 0, 0, 1, 2]);
                }
                Item::Unchoke => self.service = Service::Unchoked { refused: 0 },
                Item::Choke => {
                    if self.service != Service::Choked {
                        self.tally.chokes += 1;
                    }
                    self.service = Service::Choked;
                    if !self.fast {
                        self.again.extend(self.in_flight.drain(..));
                    }
                }
                Item::Reject { piece, begin } => {
                    self.tally.rejects += 1;
                    if let Some(request) = remove(&mut self.in_flight, piece, begin) {
                        self.again.push_back(request);
                        if let Service::Unchoked { refused } = &mut self.service {
                            *refused = refused.saturating_add(1);
                        }
                    }
                }
                Item::Have(piece) => {
                    if let Some(byte) = self.has.get_mut(piece as usize / 8) {
                        *byte |= 0x80 >> (piece % 8);
                    }
                }
                Item::Bitfield(bits) => {
                    if bits.len() != self.has.len() {
                        return Err(LeechError::Bitfield(bits.len()));
                    }
                    self.has.copy_from_slice(bits);
                }
                Item::HaveAll => self.has.fill(0xff),
                Item::HaveNone => self.has.fill(0),
                Item::KeepAlive | Item::Ignored(_) => {}
            }
        }
        Ok(())
    }

    /// Appends requests until the wanted number is in flight.
    pub fn fill_requests(&mut self, now_us: u64, out: &mut Vec<u8>) {
        let Service::Unchoked { refused } = self.service else { return };
        let wanted = self.config.depth.saturating_sub(refused) as usize;
        while self.in_flight.len() < wanted {
            // A block costs a whole one, as nearly all are.
            if self.pace.as_mut().is_some_and(|pace| !pace.take(now_us, BLOCK_LEN.into())) {
                break;
            }
            let Some(request) = self.again.pop_front().or_else(|| self.next_request()) else { break };
            out.extend_from_slice(&[0, 0, 0, 13, 6]);
            for number in [request.piece, request.begin, request.length] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            self.in_flight.push_back(Request { sent_us: now_us, ..request });
        }
    }

    /// What happened so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Number of requests the seeder owes us.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Microseconds until the rate allows the next request: to be waited before reading when nothing is in flight,
    /// for nothing will arrive. `None` without a rate, or when the seeder does not serve us.
    pub fn pause_us(&self, now_us: u64) -> Option<u64> {
        let pace = self.pace.as_ref().filter(|_| matches!(self.service, Service::Unchoked { .. }))?;
        self.in_flight.is_empty().then(|| pace.wait_us(now_us, BLOCK_LEN.into()))
    }

    fn next_request(&mut self) -> Option<Request> {
        match self.config.order {
            Order::Pieces => self.next_of_piece(),
            Order::Blocks => self.random_block(),
        }
    }

    /// A block anywhere that is not asked for already. Gives up after a few tries: then nearly everything is.
    fn random_block(&mut self) -> Option<Request> {
        for _ in 0..64 {
            let piece = self.rng.below(self.target.pieces());
            let blocks = self.target.piece_len(piece).div_ceil(BLOCK_LEN);
            let begin = self.rng.below(blocks) * BLOCK_LEN;
            let asked = |r: &Request| r.piece == piece && r.begin == begin;
            let has = self.has[piece as usize / 8] & (0x80 >> (piece % 8)) != 0;
            if has && !self.in_flight.iter().chain(&self.again).any(asked) {
                let length = self.target.block_len(piece, begin);
                return Some(Request { piece, begin, length, sent_us: 0 });
            }
        }
        None
    }

    fn next_of_piece(&mut self) -> Option<Request> {
        let (piece, begin) = match self.cursor {
            Some(place) => place,
            None => {
                let (has, assemblies) = (&self.has, &self.assemblies);
                let piece = self
                    .walk
                    .next(|p| has[p as usize / 8] & (0x80 >> (p % 8)) != 0 && !assemblies.contains_key(&p))?;
                if self.config.verify {
                    let missing = self.target.piece_len(piece);
                    self.assemblies.insert(piece, Assembly { bytes: vec![0; missing as usize], missing });
                }
                (piece, 0)
            }
        };
        let length = self.target.block_len(piece, begin);
        let next = begin + length;
        self.cursor = (next < self.target.piece_len(piece)).then_some((piece, next));
        Some(Request { piece, begin, length, sent_us: 0 })
    }

    /// A whole block is here; when it was requested, returns when.
    fn block_arrived(&mut self, piece: u32, begin: u32, length: u32) -> Option<u64> {
        let known = self.in_flight.iter().position(|r| r.piece == piece && r.begin == begin);
        let Some(request) =
            known.filter(|at| self.in_flight[*at].length == length).and_then(|at| self.in_flight.remove(at))
        else {
            self.tally.stray_blocks += 1;
            return None;
        };
        self.tally.blocks += 1;
        if let Service::Unchoked { refused } = &mut self.service {
            *refused = 0;
        }
        if let Some(assembly) = self.assemblies.get_mut(&piece) {
            assembly.missing = assembly.missing.saturating_sub(length);
            if assembly.missing == 0 {
                self.verify(piece);
            }
        }
        Some(request.sent_us)
    }

    fn verify(&mut self, piece: u32) {
        let Some(assembly) = self.assemblies.remove(&piece) else { return };
        let found: [u8; 20] = Sha1::digest(&assembly.bytes).into();
        if self.target.hash(piece) == Some(&found) {
            self.tally.pieces_ok += 1;
        } else {
            self.tally.pieces_bad += 1;
        }
    }
}

/// Takes the request for a block out of the queue; seeders mostly answer in order, so it is near the front.
fn remove(queue: &mut VecDeque<Request>, piece: u32, begin: u32) -> Option<Request> {
    let at = queue.iter().position(|r| r.piece == piece && r.begin == begin)?;
    queue.remove(at)
}

#[cfg(test)]
#[path = "leech_tests.rs"]
mod tests;
