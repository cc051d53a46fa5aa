//! Messages of BEP 3, BEP 6 and the envelope of BEP 10, and their encoding.

use crate::units::{Block, PieceIndex};

pub(crate) mod id {
    //! Message ids on the wire.
    pub const CHOKE: u8 = 0;
    pub const UNCHOKE: u8 = 1;
    pub const INTERESTED: u8 = 2;
    pub const NOT_INTERESTED: u8 = 3;
    pub const HAVE: u8 = 4;
    pub const BITFIELD: u8 = 5;
    pub const REQUEST: u8 = 6;
    pub const PIECE: u8 = 7;
    pub const CANCEL: u8 = 8;
    pub const PORT: u8 = 9;
    pub const SUGGEST: u8 = 13;
    pub const HAVE_ALL: u8 = 14;
    pub const HAVE_NONE: u8 = 15;
    pub const REJECT: u8 = 16;
    pub const ALLOWED_FAST: u8 = 17;
    pub const EXTENDED: u8 = 20;
}

/// Bytes before the payload of a `piece` message: length, id, piece index, begin.
pub const PIECE_HEADER_LEN: usize = 13;

/// A control message; `piece` is not one, its payload streams (see [`Frame`](super::Frame)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Zero-length message.
    KeepAlive,
    /// The sender will not answer requests from now on.
    Choke,
    /// The sender answers requests from now on.
    Unchoke,
    /// The sender wants pieces the receiver has.
    Interested,
    /// The sender wants nothing from the receiver.
    NotInterested,
    /// The sender now has this piece.
    Have(PieceIndex),
    /// The pieces the sender has, as bytes; the length is not yet checked against the torrent.
    Bitfield(&'a [u8]),
    /// Asks for a block.
    Request(Block),
    /// Takes back a request.
    Cancel(Block),
    /// UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// Suggests to download this piece (BEP 6).
    SuggestPiece(PieceIndex),
    /// The sender has all pieces (BEP 6).
    HaveAll,
    /// The sender has no pieces (BEP 6).
    HaveNone,
    /// The sender will not answer this request (BEP 6).
    RejectRequest(Block),
    /// The piece may be requested even when choked (BEP 6).
    AllowedFast(PieceIndex),
    /// An extension message (BEP 10): its id, chosen by the receiver, and its payload.
    Extended {
        /// 0 is the extension handshake.
        id: u8,
        /// What follows the id.
        payload: &'a [u8],
    },
    /// A message of an id this crate does not know; its payload has been skipped.
    Unknown {
        /// The id on the wire.
        id: u8,
    },
}

impl Message<'_> {
    /// Appends the message to `out`. [`Message::Unknown`] appends nothing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Message::KeepAlive => out.extend_from_slice(&[0; 4]),
            Message::Choke => bare(out, id::CHOKE),
            Message::Unchoke => bare(out, id::UNCHOKE),
            Message::Interested => bare(out, id::INTERESTED),
            Message::NotInterested => bare(out, id::NOT_INTERESTED),
            Message::Have(piece) => with_piece(out, id::HAVE, piece),
            Message::Bitfield(bytes) => {
                header(out, id::BITFIELD, bytes.len());
                out.extend_from_slice(bytes);
            }
            Message::Request(block) => with_block(out, id::REQUEST, &block),
            Message::Cancel(block) => with_block(out, id::CANCEL, &block),
            Message::Port(port) => {
                header(out, id::PORT, 2);
                out.extend_from_slice(&port.to_be_bytes());
            }
            Message::SuggestPiece(piece) => with_piece(out, id::SUGGEST, piece),
            Message::HaveAll => bare(out, id::HAVE_ALL),
            Message::HaveNone => bare(out, id::HAVE_NONE),
            Message::RejectRequest(block) => with_block(out, id::REJECT, &block),
            Message::AllowedFast(piece) => with_piece(out, id::ALLOWED_FAST, piece),
            Message::Extended { id, payload } => {
                header(out, id::EXTENDED, payload.len() + 1);
                out.push(id);
                out.extend_from_slice(payload);
            }
            Message::Unknown { .. } => {}
        }
    }
}

/// Appends what stands before the payload of a `piece` message; the payload of `block.length` bytes
/// must follow on the wire.
pub fn encode_piece_header(block: &Block, out: &mut Vec<u8>) {
    let mut bytes = [0; PIECE_HEADER_LEN];
    bytes[..4].copy_from_slice(&block.length.saturating_add(9).to_be_bytes());
    bytes[4] = id::PIECE;
    bytes[5..9].copy_from_slice(&block.piece.0.to_be_bytes());
    bytes[9..].copy_from_slice(&block.begin.to_be_bytes());
    out.extend_from_slice(&bytes);
}

fn header(out: &mut Vec<u8>, id: u8, payload: usize) {
    let length = u32::try_from(payload + 1).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(id);
}

fn bare(out: &mut Vec<u8>, id: u8) {
    out.extend_from_slice(&[0, 0, 0, 1, id]);
}

fn with_piece(out: &mut Vec<u8>, id: u8, piece: PieceIndex) {
    let mut bytes = [0, 0, 0, 5, id, 0, 0, 0, 0];
    bytes[5..].copy_from_slice(&piece.0.to_be_bytes());
    out.extend_from_slice(&bytes);
}

fn with_block(out: &mut Vec<u8>, id: u8, block: &Block) {
    let mut bytes = [0; 17];
    bytes[3] = 13;
    bytes[4] = id;
    bytes[5..9].copy_from_slice(&block.piece.0.to_be_bytes());
    bytes[9..13].copy_from_slice(&block.begin.to_be_bytes());
    bytes[13..].copy_from_slice(&block.length.to_be_bytes());
    out.extend_from_slice(&bytes);
}
