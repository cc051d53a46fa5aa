//! What the swarm knows of one connected peer, by direction.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::limits::{
    HAVES_HELD_FOR, HAVES_HELD_MAX, LATE_ANSWERS_MAX, PEER_REQUEST_QUEUE_DEFAULT, SLOW_PEER_RATE,
};
use super::pex::PexState;
use super::pipeline::Pipeline;
use super::rate::Rate;
use crate::bitfield::Bitfield;
use crate::hashes::SwarmHash;
use crate::peer_address::host;
use crate::units::{Block, PeerId, PieceIndex, Time};
use crate::wire::{Decoder, Message};

/// A request we sent that was not answered yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) block: Block,
    pub(super) at: Time,
}

/// The block whose bytes are arriving.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arriving {
    pub(super) block: Block,
    pub(super) began: Time,
    /// Whether its bytes are written to the sink.
    pub(super) accepted: bool,
    /// Whether the picker counts the peer as owing the block.
    pub(super) counted: bool,
    /// Whether it was requested and the answer is in time.
    pub(super) asked: bool,
}

impl Arriving {
    /// The block as it goes on when nobody wants the rest of it.
    pub(super) fn orphaned(self) -> Arriving {
        Arriving { accepted: false, counted: false, ..self }
    }
}

/// A piece that a connection has sent wrong, alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    pub(super) piece: PieceIndex,
    /// It is not asked for it before.
    pub(super) until: Time,
    /// How often it has sent it wrong.
    pub(super) times: u32,
}

/// What we get from the peer.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) peer_choking: bool,
    pub(super) am_interested: bool,
    /// Pieces of the peer that we want and have not stored.
    pub(super) interesting: u32,
    /// Requests in flight, oldest first.
    pub(super) asked: VecDeque<Asked>,
    pub(super) arriving: Option<Arriving>,
    pub(super) pipeline: Pipeline,
    /// Most requests the peer accepts.
    pub(super) queue_max: u32,
    /// Answers that may still come to requests that were cancelled or given up.
    pub(super) late: u32,
    pub(super) unrequested: u64,
    /// When it last finished a block, or began to owe us one.
    pub(super) progress: Time,
    pub(super) snubbed: bool,
    /// The picker had nothing for the peer at this generation.
    pub(super) starved_at: Option<u64>,
    /// Rejects since the last block.
    pub(super) rejects: u32,
    /// After a reject, no further requests before this.
    pub(super) pause_until: Time,
    pub(super) allowed_fast: Vec<PieceIndex>,
    pub(super) suggested: Vec<PieceIndex>,
    /// Pieces that it has sent wrong.
    pub(super) refused: Vec<Refused>,
    pub(super) rate: Rate,
    pub(super) total: u64,
}

impl Download {
    /// Requests were given up whose answers may still come.
    pub(super) fn forgive(&mut self, answers: usize) {
        let answers = u32::try_from(answers).unwrap_or(LATE_ANSWERS_MAX);
        self.late = self.late.saturating_add(answers).min(LATE_ANSWERS_MAX);
    }

    /// Takes the request for exactly this block off the list.
    pub(super) fn take_asked(&mut self, block: &Block) -> Option<Asked> {
        // Answers come in order nearly always, so that it is the first.
        let at = self.asked.iter().position(|asked| asked.block == *block)?;
        self.asked.remove(at)
    }

    /// Whether it was asked and did not deliver, or hardly anything.
    pub(super) fn is_slow(&self) -> bool {
        self.snubbed || (1..SLOW_PEER_RATE).contains(&self.pipeline.rate())
    }

    /// Whether the peer owes us anything.
    pub(super) fn is_pending(&self) -> bool {
        !self.asked.is_empty() || self.arriving.is_some()
    }
}

/// What the peer gets from us.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) am_choking: bool,
    pub(super) peer_interested: bool,
    /// When it was last unchoked, and bytes given since.
    pub(super) unchoked_at: Time,
    pub(super) given: u64,
    /// Since when it waits to be unchoked.
    pub(super) waiting_since: Time,
    pub(super) optimistic: bool,
    /// Requests to answer, oldest first. Only such that may be answered.
    pub(super) requests: VecDeque<Block>,
    /// Requests refused since one was answered.
    pub(super) refused: u32,
    /// Pieces it may request while choked, and bytes of them it may still have.
    pub(super) allowed_fast: Vec<PieceIndex>,
    pub(super) allowed_fast_left: u64,
    /// Pieces of the metadata that it asked for.
    pub(super) metadata: VecDeque<u32>,
    pub(super) metadata_left: u64,
    pub(super) metadata_refill_at: Time,
    /// How much of the swarm's list of stored pieces it was told.
    pub(super) haves_told: usize,
    pub(super) rate: Rate,
    pub(super) total: u64,
}

/// What was agreed by extension handshakes; ids are the peer's, 0 for not supported.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) ut_metadata: u8,
    pub(super) ut_pex: u8,
    pub(super) version: Option<String>,
    pub(super) listen_port: Option<u16>,
}

/// One connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    pub(super) id: PeerId,
    pub(super) info_hash: SwarmHash,
    pub(super) outgoing: bool,
    pub(super) fast: bool,
    pub(super) extension: bool,
    /// A disconnect was asked for: nothing is read from it or said to it.
    pub(super) closing: bool,
    pub(super) decoder: Decoder,
    /// Whether it is in the queue of `next_ready`.
    pub(super) queued: bool,
    /// Control messages to send.
    pub(super) control: Vec<u8>,
    pub(super) connected: Time,
    pub(super) last_received: Time,
    pub(super) last_sent: Time,
    /// Since when a batch is with the socket.
    pub(super) sending_since: Option<Time>,
    /// When bytes of a wanted block last moved in either direction; at first when it connected.
    pub(super) used_at: Time,
    /// Since when neither side wants anything.
    pub(super) useless_since: Option<Time>,
    pub(super) have: Bitfield,
    /// Whether its bitfield, HAVE ALL or HAVE NONE came.
    pub(super) bitfield_seen: bool,
    /// Whether it told anything about its pieces.
    pub(super) told_pieces: bool,
    /// Whether it is one of the picker's `seeds` instead of in the availability of each piece.
    pub(super) counted_as_seed: bool,
    pub(super) upload_only: bool,
    pub(super) extensions: Extensions,
    pub(super) pex: PexState,
    pub(super) down: Download,
    pub(super) up: Upload,
}

impl Peer {
    pub(super) fn new(now: Time, info: &super::PeerInfo, piece_count: u32) -> Peer {
        let have = Bitfield::new(piece_count);
        let bitfield_len = u32::try_from(have.as_bytes().len()).unwrap_or(u32::MAX);
        Peer {
            addr: info.addr,
            id: info.handshake.peer_id,
            info_hash: info.handshake.info_hash,
            outgoing: info.outgoing,
            fast: info.handshake.fast(),
            extension: info.handshake.extension(),
            closing: false,
            decoder: Decoder::new(bitfield_len),
            queued: false,
            control: Vec::new(),
            connected: now,
            last_received: now,
            last_sent: now,
            sending_since: None,
            used_at: now,
            useless_since: Some(now),
            have,
            bitfield_seen: false,
            told_pieces: false,
            counted_as_seed: false,
            upload_only: false,
            extensions: Extensions::default(),
            pex: PexState::default(),
            down: Download {
                peer_choking: true,
                am_interested: false,
                interesting: 0,
                asked: VecDeque::new(),
                arriving: None,
                pipeline: Pipeline::new(now),
                queue_max: PEER_REQUEST_QUEUE_DEFAULT,
                late: 0,
                unrequested: 0,
                progress: now,
                snubbed: false,
                starved_at: None,
                rejects: 0,
                pause_until: Time::ZERO,
                allowed_fast: Vec::new(),
                suggested: Vec::new(),
                refused: Vec::new(),
                rate: Rate::new(now),
                total: 0,
            },
            up: Upload {
                am_choking: true,
                peer_interested: false,
                unchoked_at: now,
                given: 0,
                waiting_since: now,
                optimistic: false,
                requests: VecDeque::new(),
                refused: 0,
                allowed_fast: Vec::new(),
                allowed_fast_left: 0,
                metadata: VecDeque::new(),
                metadata_left: 0,
                metadata_refill_at: Time::ZERO,
                haves_told: 0,
                rate: Rate::new(now),
                total: 0,
            },
        }
    }

    /// Its host: what bans and shares of upload slots go by.
    pub(super) fn host(&self) -> IpAddr {
        host(self.addr.ip())
    }

    pub(super) fn is_seed(&self) -> bool {
        // A torrent without pieces makes nobody a seed before it says so.
        self.told_pieces && self.have.is_full()
    }

    pub(super) fn say(&mut self, message: &Message<'_>) {
        message.encode(&mut self.control);
    }

    /// Whether `fill` would find something, when the swarm stored `stored` pieces so far.
    pub(super) fn has_output(&self, stored: usize) -> bool {
        !self.control.is_empty()
            || !self.up.requests.is_empty()
            || !self.up.metadata.is_empty()
            || self.up.haves_told < stored
    }

    /// Whether the pieces to announce are few and the peer was sent something just now: then they go with
    /// the next message or tick, so that fast downloads do not send one packet per piece and peer.
    pub(super) fn haves_may_wait(&self, now: Time, stored: usize) -> bool {
        stored - self.up.haves_told < HAVES_HELD_MAX && now.saturating_since(self.last_sent) < HAVES_HELD_FOR
    }

    /// Says whether we are interested when that changed.
    pub(super) fn update_interest(&mut self, now: Time) {
        let interested = self.down.interesting > 0;
        if interested != self.down.am_interested && !self.closing {
            self.down.am_interested = interested;
            self.down.starved_at = None;
            self.say(if interested { &Message::Interested } else { &Message::NotInterested });
            self.note_use(now);
        }
    }

    /// Remembers since when the connection is of no use to either side.
    pub(super) fn note_use(&mut self, now: Time) {
        let useful = self.down.am_interested || self.up.peer_interested;
        self.useless_since = if useful { None } else { self.useless_since.or(Some(now)) };
    }

    /// Bytes of control messages that may wait.
    pub(super) fn control_max(&self) -> usize {
        super::limits::CONTROL_BYTES_MAX + self.have.as_bytes().len()
    }

    /// Memory of what it has said in part, and of what waits to be said to it.
    pub(super) fn control_bytes(&self) -> u64 {
        (self.control.capacity() + self.decoder.held()) as u64
    }

    /// Whether the peer may ask for this piece at present.
    pub(super) fn may_request(&self, piece: PieceIndex) -> bool {
        !self.up.am_choking || self.up.allowed_fast.contains(&piece) && self.up.allowed_fast_left > 0
    }
}
