//! A network of swarms in virtual time: links with latency and bandwidth, disks that take a moment,
//! peers that behave badly. Everything follows from one seed.

#![allow(dead_code, reason = "each test crate uses its part of this")]

mod caller;
mod content;
mod memory;
mod raw;

pub use content::{Dice, Torrent, torrent};
pub use memory::Disk;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hash::block_digests;
use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::layout::{FileSpec, Layout};
use ringseed_proto::metainfo::Info;
use ringseed_proto::swarm::{
    Action, BlockSink, Content, DisconnectReason, FillLimits, FillOutcome, Part, PeerError, PeerInfo,
    PeerKey, SendBatch, Swarm, SwarmConfig,
};
use ringseed_proto::units::{Block, PeerId, PieceIndex, Time};
use ringseed_proto::wire::{Decoder, Frame, Handshake, Message, encode_piece_header};
use sha1::{Digest, Sha1};

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);
const INFO_HASH: SwarmHash = SwarmHash([0x52; 20]);

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By the book.
    Honest,
    /// A swarm whose blocks are wrong once in so many.
    Corrupt { one_in: u64 },
    /// A swarm that has this piece wrong, always in the same way.
    Rotten { piece: u32 },
    /// Lets others ask and answers at once, all but the last block of each piece.
    Withholder,
    /// Asks for everything many times over whether it may or not.
    Flooder,
    /// Claims to have everything and answers a request with one byte a second.
    Dripper,
    /// Asks for everything and never reads.
    Deaf,
    /// Begins an extension message of 128 KiB and never ends it.
    Endless,
    /// Claims to have everything and never answers.
    Silent,
    /// Has the pieces from `from` to `to` and answers one request each so many seconds.
    Trickle { from: u32, to: u32, seconds: u64 },
}

/// What a node that is no swarm remembers of a link.
#[derive(Default)]
struct Raw {
    decoder: Decoder,
    owed: Option<(Block, u32)>,
    /// What a trickling node will answer.
    asked: std::collections::VecDeque<Block>,
}

pub struct Node {
    pub kind: Kind,
    pub swarm: Swarm,
    pub disk: Disk,
    pub addr: SocketAddr,
    pub alive: bool,
    pub finished_at: Option<Time>,
    pub banned: Vec<IpAddr>,
    pub stored_order: Vec<u32>,
    pub errors: Vec<PeerError>,
    pub disconnects: Vec<DisconnectReason>,
    up: u64,
    down: u64,
    up_free: Time,
    down_free: Time,
    timeout_at: Option<Time>,
    by_key: BTreeMap<PeerKey, usize>,
    raw: BTreeMap<usize, Raw>,
}

struct Link {
    ends: [usize; 2],
    keys: [Option<PeerKey>; 2],
    open: [bool; 2],
    sending: [bool; 2],
    latency: Duration,
}

#[derive(Debug)]
enum Event {
    Connect { from: usize, to: usize },
    Arrive { link: usize, to: usize, bytes: Vec<u8> },
    Deliver { link: usize, to: usize, bytes: Vec<u8> },
    Sent { link: usize, from: usize, payload: u64, protocol: u64 },
    Closed { link: usize, to: usize },
    Timeout { node: usize },
    Verified { node: usize, piece: PieceIndex, found: Result<(), [u8; 20]>, blocks: Vec<u64> },
    Stored { node: usize, piece: PieceIndex },
    Kill { node: usize },
    Drip { node: usize, link: usize },
}

pub struct Network {
    pub now: Time,
    pub nodes: Vec<Node>,
    pub dice: Dice,
    /// FNV hash of everything that happened.
    pub trace: u64,
    pub events_seen: u64,
    pub use_pex: bool,
    torrent: Torrent,
    links: Vec<Link>,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
    batch: SendBatch,
}

impl Network {
    pub fn new(torrent: Torrent, seed: u64) -> Network {
        Network {
            now: Time::ZERO,
            nodes: Vec::new(),
            dice: Dice(seed),
            trace: 0xcbf2_9ce4_8422_2325,
            events_seen: 0,
            use_pex: true,
            torrent,
            links: Vec::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            batch: SendBatch::default(),
        }
    }

    /// Adds a node with the pieces `have(piece)`; bandwidths in bytes per second.
    pub fn add(
        &mut self,
        kind: Kind,
        up: u64,
        down: u64,
        config: SwarmConfig,
        have: impl Fn(u32) -> bool,
    ) -> usize {
        let layout = &self.torrent.content.info.layout;
        let mut pieces = Bitfield::new(layout.piece_count());
        let mut data = vec![0; self.torrent.data.len()];
        let piece_length = layout.piece_length as usize;
        for piece in (0..layout.piece_count()).filter(|&piece| have(piece)) {
            pieces.set(piece);
            let start = piece as usize * piece_length;
            let end = data.len().min(start + piece_length);
            data[start..end].copy_from_slice(&self.torrent.data[start..end]);
        }
        let index = self.nodes.len();
        let config = SwarmConfig { listen_port: Some(6881), peer_id: Some(peer_id(index)), ..config };
        let seed = self.dice.next();
        let content = Arc::clone(&self.torrent.content);
        self.nodes.push(Node {
            kind,
            swarm: Swarm::new(config, content, pieces, seed, self.now),
            disk: Disk { data, open: BTreeMap::new(), piece_length },
            addr: SocketAddr::from(([10, 0, (index / 250) as u8, (index % 250) as u8 + 1], 6881)),
            alive: true,
            finished_at: None,
            banned: Vec::new(),
            stored_order: Vec::new(),
            errors: Vec::new(),
            disconnects: Vec::new(),
            up,
            down,
            up_free: Time::ZERO,
            down_free: Time::ZERO,
            timeout_at: None,
            by_key: BTreeMap::new(),
            raw: BTreeMap::new(),
        });
        index
    }

    fn at(&mut self, time: Time, event: Event) {
        self.sequence += 1;
        self.events.insert(self.sequence, event);
        self.queue.push(Reverse((time, self.sequence)));
    }

    pub fn connect_at(&mut self, time: Time, from: usize, to: usize) {
        self.at(time, Event::Connect { from, to });
    }

    pub fn connect(&mut self, from: usize, to: usize) {
        self.connect_at(self.now, from, to);
    }

    pub fn kill_at(&mut self, time: Time, node: usize) {
        self.at(time, Event::Kill { node });
    }

    /// Whether all honest nodes that are alive have everything they want.
    pub fn all_finished(&self) -> bool {
        let mut honest = self.nodes.iter().filter(|node| node.alive && node.kind == Kind::Honest);
        honest.all(|node| node.swarm.is_finished())
    }

    /// Runs until `stop` or `limit`; says whether `stop` was reached.
    pub fn run(&mut self, limit: Duration, stop: impl Fn(&Network) -> bool) -> bool {
        let end = self.now + limit;
        while !stop(self) {
            let Some(&Reverse((time, number))) = self.queue.peek() else { return false };
            if time > end {
                self.now = end;
                return false;
            }
            self.queue.pop();
            assert!(time >= self.now);
            self.now = time;
            let event = self.events.remove(&number).unwrap();
            self.record(&event);
            self.handle(event);
        }
        true
    }

    fn record(&mut self, event: &Event) {
        self.events_seen += 1;
        let (kind, a, b) = match event {
            Event::Connect { from, to } => (1, *from, *to),
            Event::Deliver { link, to, bytes } => {
                for &byte in bytes.iter().take(32) {
                    self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
                }
                (2, *link * 2 + to, bytes.len())
            }
            Event::Arrive { link, to, bytes } => (10, *link * 2 + to, bytes.len()),
            Event::Sent { link, payload, .. } => (3, *link, *payload as usize),
            Event::Closed { link, to } => (4, *link, *to),
            Event::Timeout { node } => (5, *node, 0),
            Event::Verified { node, piece, .. } => (6, *node, piece.0 as usize),
            Event::Stored { node, piece } => (7, *node, piece.0 as usize),
            Event::Kill { node } => (8, *node, 0),
            Event::Drip { node, link } => (9, *node, *link),
        };
        for number in [self.now.micros(), kind, a as u64, b as u64] {
            self.trace = (self.trace ^ number).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connect { from, to } => self.open_link(from, to),
            Event::Arrive { link, to, bytes } => self.arrive(link, to, bytes),
            Event::Deliver { link, to, bytes } => self.deliver(link, to, &bytes),
            Event::Sent { link, from, payload, protocol } => {
                let end = &mut self.links[link];
                end.sending[from] = false;
                let (node, key) = (end.ends[from], end.keys[from]);
                if let Some(key) = key.filter(|_| end.open[from]) {
                    self.nodes[node].swarm.sent(self.now, key, payload, protocol);
                    self.nodes[node].swarm.mark_ready(key);
                    self.serve(node);
                }
            }
            Event::Closed { link, to } => self.close_end(link, to),
            Event::Timeout { node } => {
                if self.nodes[node].timeout_at == Some(self.now) && self.nodes[node].alive {
                    self.nodes[node].timeout_at = None;
                    self.nodes[node].swarm.handle_timeout(self.now);
                    self.nodes[node].swarm.check_invariants();
                    self.serve(node);
                }
            }
            Event::Verified { node, piece, found, blocks } => {
                self.nodes[node].swarm.piece_verified(self.now, piece, found, &blocks);
                if found.is_ok() {
                    self.at(self.now + 5 * MS, Event::Stored { node, piece });
                }
                self.serve(node);
            }
            Event::Stored { node, piece } => {
                self.nodes[node].stored_order.push(piece.0);
                self.nodes[node].swarm.piece_stored(self.now, piece);
                self.serve(node);
            }
            Event::Kill { node } => {
                self.nodes[node].alive = false;
                for link in 0..self.links.len() {
                    for end in 0..2 {
                        if self.links[link].ends[end] == node && self.links[link].open[end] {
                            self.close_end(link, end);
                            let at = self.now + self.links[link].latency;
                            self.at(at, Event::Closed { link, to: 1 - end });
                        }
                    }
                }
            }
            Event::Drip { node, link } => match self.nodes[node].kind {
                Kind::Trickle { seconds, .. } => self.trickle(node, link, seconds),
                _ => self.drip(node, link),
            },
        }
        if self.dice.next().is_multiple_of(64) {
            let node = self.dice.below(self.nodes.len());
            self.nodes[node].swarm.check_invariants();
            self.check_buffers(node);
        }
    }

    // ---- links ----

    fn open_link(&mut self, from: usize, to: usize) {
        if from == to || !self.nodes[from].alive || !self.nodes[to].alive {
            return;
        }
        let linked = |link: &Link| {
            (link.open[0] || link.open[1]) && (link.ends == [from, to] || link.ends == [to, from])
        };
        if self.links.iter().any(linked) {
            return;
        }
        let latency = MS * (5 + self.dice.below(80) as u32);
        let index = self.links.len();
        self.links.push(Link {
            ends: [from, to],
            keys: [None; 2],
            open: [true; 2],
            sending: [false; 2],
            latency,
        });
        for end in 0..2 {
            let (node, other) = ([from, to][end], [to, from][end]);
            let info = PeerInfo {
                addr: if end == 0 {
                    self.nodes[other].addr
                } else {
                    SocketAddr::new(self.nodes[other].addr.ip(), 40_000 + index as u16 % 20_000)
                },
                outgoing: end == 0,
                handshake: Handshake::new(INFO_HASH, peer_id(other)),
            };
            if is_raw(self.nodes[node].kind) {
                self.nodes[node].raw.insert(index, Raw::default());
                continue;
            }
            match self.nodes[node].swarm.peer_connected(self.now, info) {
                Ok(key) => {
                    self.links[index].keys[end] = Some(key);
                    self.nodes[node].by_key.insert(key, index);
                }
                Err(_) => {
                    self.links[index].open[end] = false;
                    self.at(self.now + latency, Event::Closed { link: index, to: 1 - end });
                }
            }
        }
        for end in 0..2 {
            let node = self.links[index].ends[end];
            if is_raw(self.nodes[node].kind) { self.raw_greets(index, end) } else { self.serve(node) }
        }
    }

    fn close_end(&mut self, link: usize, end: usize) {
        if !self.links[link].open[end] {
            return;
        }
        self.links[link].open[end] = false;
        let node = self.links[link].ends[end];
        if let Some(key) = self.links[link].keys[end].take() {
            self.nodes[node].by_key.remove(&key);
            self.nodes[node].swarm.peer_disconnected(self.now, key);
            self.serve(node);
        }
    }

    fn end_of(&self, node: usize, link: usize) -> usize {
        usize::from(self.links[link].ends[1] == node)
    }

    /// Puts bytes on the wire in random pieces; returns when the sender is rid of them.
    fn transmit(&mut self, link: usize, from: usize, bytes: Vec<u8>) -> Time {
        let sender = self.links[link].ends[from];
        let latency = self.links[link].latency;
        let mut gone = self.nodes[sender].up_free.max(self.now);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(1 + self.dice.below(20_000)));
            gone = gone + transfer_time(part.len(), self.nodes[sender].up);
            self.at(gone + latency, Event::Arrive { link, to: 1 - from, bytes: part.to_vec() });
            rest = after;
        }
        self.nodes[sender].up_free = gone;
        gone
    }

    /// Bytes came to the receiver's line, which is shared by all its links.
    fn arrive(&mut self, link: usize, to: usize, bytes: Vec<u8>) {
        let receiver = &mut self.nodes[self.links[link].ends[to]];
        receiver.down_free = receiver.down_free.max(self.now) + transfer_time(bytes.len(), receiver.down);
        let at = receiver.down_free;
        self.at(at, Event::Deliver { link, to, bytes });
    }

    fn deliver(&mut self, link: usize, to: usize, bytes: &[u8]) {
        if !self.links[link].open[to] {
            return;
        }
        let node = self.links[link].ends[to];
        if is_raw(self.nodes[node].kind) {
            return self.raw_hears(link, to, bytes);
        }
        let Some(key) = self.links[link].keys[to] else { return };
        let Node { swarm, disk, errors, .. } = &mut self.nodes[node];
        if let Err(error) = swarm.received(self.now, key, bytes, disk) {
            if error != PeerError::Gone {
                errors.push(error);
            }
            self.close_end(link, to);
            let at = self.now + self.links[link].latency;
            self.at(at, Event::Closed { link, to: 1 - to });
        }
        self.serve(node);
    }
}

fn transfer_time(bytes: usize, rate: u64) -> Duration {
    Duration::from_micros(bytes as u64 * 1_000_000 / rate.max(1))
}

fn is_raw(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Flooder
            | Kind::Dripper
            | Kind::Deaf
            | Kind::Withholder
            | Kind::Silent
            | Kind::Endless
            | Kind::Trickle { .. }
    )
}

fn peer_id(node: usize) -> PeerId {
    let mut id = *b"-RS0001-000000000000";
    id[12..20].copy_from_slice(&(node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    PeerId(id)
}
