//! What a swarm is told, what it wants done, and what it refuses.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use super::PeerKey;
use crate::units::PieceIndex;
use crate::wire::{Handshake, WireError};

/// A new connection, after both handshakes.
#[derive(Debug, Clone, Copy)]
pub struct PeerInfo {
    /// The remote end.
    pub addr: SocketAddr,
    /// Whether we connected.
    pub outgoing: bool,
    /// What the peer sent.
    pub handshake: Handshake,
}

/// Takes the data of blocks as it arrives.
///
/// The parts of a block come in order. A block may come again from its start, from another peer, until
/// [`Action::PieceReady`] was given for its piece and again after `piece_verified(piece, Err(_))`: the sink
/// must take the later bytes for both the data and the hash of the piece.
///
/// A piece holds memory from its first block until [`Action::PieceReady`], or until it is discarded: by
/// [`BlockSink::discard`] before the next block is written, or by [`Action::PieceDropped`], whichever comes first.
pub trait BlockSink {
    /// `data` belongs at `offset_in_piece` of `piece`; it lies inside the piece.
    fn write(&mut self, piece: PieceIndex, offset_in_piece: u32, data: &[u8]);

    /// What is there of the piece is not wanted any more. It may be begun again afterwards.
    fn discard(&mut self, piece: PieceIndex);
}

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Close the connection, then call `peer_disconnected`.
    Disconnect {
        /// The peer.
        peer: PeerKey,
        /// Why.
        reason: DisconnectReason,
    },
    /// All blocks of the piece are in the sink: hash it and call `piece_verified`, and when it is good
    /// and written, `piece_stored`.
    PieceReady(PieceIndex),
    /// What is in the sink of this piece is not wanted any more: discard it.
    PieceDropped(PieceIndex),
    /// The last wanted piece was stored.
    Completed,
    /// Addresses learned by peer exchange, in canonical form.
    PexPeers {
        /// The peer that told them.
        from: IpAddr,
        /// Where peers accept connections, as it says.
        addrs: Vec<SocketAddr>,
    },
    /// A peer asks for the metadata, which the swarm was made without: call `provide_metadata`.
    MetadataWanted,
    /// This address sent bad data and is banned from this torrent for a while ([`Swarm::is_banned`](super::Swarm)).
    /// Its connections are disconnected by other actions.
    Banned(IpAddr),
}

/// Why a peer is let go although it broke no rule of the protocol in the bytes just received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DisconnectReason {
    /// Neither side wants anything.
    #[error("both sides are seeds")]
    BothSeeds,
    /// It sent nothing for minutes.
    #[error("silent for too long")]
    Silent,
    /// It was of no use for minutes and others want its place.
    #[error("useless while the peer limit is reached")]
    Useless,
    /// It sent bad data.
    #[error("sent bad data")]
    Banned,
    /// What it makes us say piles up because it does not read.
    #[error("does not read what it asks for")]
    NotReading,
    /// Messages that wait take too much memory, and it has most of them.
    #[error("holds too much memory with what it says or does not read")]
    Heavy,
    /// The same client is connected by another connection.
    #[error("connected twice")]
    Duplicate,
}

/// Why a connection is not taken into the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The peer limit is reached.
    #[error("the peer limit is reached")]
    Full,
    /// The address is banned.
    #[error("the address is banned")]
    Banned,
    /// The same client is connected already.
    #[error("the peer is connected already")]
    Duplicate,
    /// The peer is this client.
    #[error("connected to ourselves")]
    Ourselves,
}

/// A peer must be disconnected because of what it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PeerError {
    /// The stream is not readable as BitTorrent.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A readable message that a peer must not send.
    #[error("{0}")]
    Violation(Violation),
    /// The peer is unknown or being disconnected; nothing was read.
    #[error("the peer is gone")]
    Gone,
}

/// What a peer must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Violation {
    /// A piece index or block outside the torrent, or an empty or too long block.
    #[error("a piece or block outside the torrent")]
    OutOfRange,
    /// A bitfield of the wrong length, with spare bits, or not as the first message.
    #[error("a bad bitfield")]
    Bitfield,
    /// A message of an extension that was not agreed on.
    #[error("a message of an extension not agreed on")]
    NotAgreed,
    /// Far more requests than were allowed to wait.
    #[error("too many requests")]
    RequestFlood,
    /// Data that was not asked for.
    #[error("too much data that was not asked for")]
    Unrequested,
    /// A malformed extension message.
    #[error("a malformed extension message")]
    Extension,
    /// Peer exchange far more often than once a minute.
    #[error("too many peer exchange messages")]
    PexFlood,
    /// Messages that cost us answers, faster than the peer reads them.
    #[error("too many answers pile up")]
    NotReading,
}
