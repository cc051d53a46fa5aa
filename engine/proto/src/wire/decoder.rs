//! Streaming decoder of the peer wire: control messages come out whole, payload of blocks in the
//! slices in which it arrived.

use super::error::WireError;
use super::limits;
use super::message::{Message, PIECE_HEADER_LEN, id};
use crate::units::{Block, PieceIndex};

/// What the decoder found next in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole control message.
    Message(Message<'a>),
    /// A part of the payload of a `piece` message, never staged: `data` is a slice of the input.
    /// The parts of one block come in order, the first with `offset` 0; `data` is never empty.
    BlockChunk {
        /// The block the sender says this is.
        block: Block,
        /// Bytes of the block before this part.
        offset: u32,
        /// The bytes.
        data: &'a [u8],
        /// Whether the block ends here.
        last: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Between messages, or inside one whose bytes so far are in `partial`.
    Message,
    /// The message in `partial` was handed out; it is forgotten on the next call.
    HandedOut,
    /// Inside the payload of a `piece` message.
    Payload { block: Block, offset: u32 },
    /// Inside the payload of a message nobody understands.
    Skip { remaining: u32 },
}

/// Decodes one direction of one connection, after the handshake.
///
/// Memory is bounded by the longest control message allowed; payload of blocks is never copied.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    partial: Vec<u8>,
    bitfield_len_max: u32,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new(limits::BITFIELD_LEN_MAX)
    }
}

/// What the head of a message says about the rest of it.
enum Head {
    /// Bytes needed before more can be said.
    Need(usize),
    /// A control message of this many bytes, length prefix included.
    Whole(usize),
    /// A block; its payload follows the piece header.
    Piece(Block),
    /// Unknown id: skip this many bytes after length prefix and id.
    Unknown { id: u8, remaining: u32 },
}

impl Decoder {
    /// A decoder that accepts bitfields of at most `bitfield_len_max` bytes.
    #[must_use]
    pub fn new(bitfield_len_max: u32) -> Decoder {
        Decoder { state: State::Message, partial: Vec::new(), bitfield_len_max }
    }

    /// Bytes of memory that a message takes which is not whole yet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// Takes the next frame from the front of `input`; `None` when all of `input` is used up.
    ///
    /// # Errors
    /// When the peer broke the framing. The decoder must not be used after that.
    #[inline]
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<Frame<'s>>, WireError> {
        loop {
            match self.state {
                State::Message if self.partial.is_empty() => match head(input, self.bitfield_len_max)? {
                    Head::Whole(length) if input.len() >= length => {
                        let (message, rest) = input.split_at(length);
                        *input = rest;
                        return Ok(Some(Frame::Message(parse(message))));
                    }
                    Head::Piece(block) => {
                        *input = &input[PIECE_HEADER_LEN..];
                        self.state = State::Payload { block, offset: 0 };
                    }
                    Head::Unknown { id, remaining } => {
                        *input = &input[5..];
                        self.state = State::Skip { remaining };
                        return Ok(Some(Frame::Message(Message::Unknown { id })));
                    }
                    Head::Whole(_) | Head::Need(_) => {
                        self.partial.extend_from_slice(input);
                        *input = &[];
                        return Ok(None);
                    }
                },
                State::Message => match head(&self.partial, self.bitfield_len_max)? {
                    Head::Whole(length) if self.partial.len() >= length => {
                        self.state = State::HandedOut;
                        return Ok(Some(Frame::Message(parse(&self.partial))));
                    }
                    Head::Whole(length) | Head::Need(length) => {
                        if input.is_empty() {
                            return Ok(None);
                        }
                        let take = input.len().min(length.saturating_sub(self.partial.len()));
                        self.partial.extend_from_slice(&input[..take]);
                        *input = &input[take..];
                    }
                    Head::Piece(block) => {
                        self.partial.clear();
                        self.state = State::Payload { block, offset: 0 };
                    }
                    Head::Unknown { id, remaining } => {
                        self.partial.clear();
                        self.state = State::Skip { remaining };
                        return Ok(Some(Frame::Message(Message::Unknown { id })));
                    }
                },
                State::HandedOut => {
                    self.partial.clear();
                    if self.partial.capacity() > limits::DECODER_KEPT {
                        self.partial = Vec::new();
                    }
                    self.state = State::Message;
                }
                State::Payload { block, offset } => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let left = block.length - offset;
                    let take = input.len().min(left as usize);
                    let (data, rest) = input.split_at(take);
                    *input = rest;
                    // `take` is at most `left`, which is a u32.
                    let taken = take as u32;
                    let last = taken == left;
                    self.state =
                        if last { State::Message } else { State::Payload { block, offset: offset + taken } };
                    return Ok(Some(Frame::BlockChunk { block, offset, data, last }));
                }
                State::Skip { remaining } => {
                    let take = input.len().min(remaining as usize);
                    *input = &input[take..];
                    let remaining = remaining - take as u32;
                    if remaining > 0 {
                        self.state = State::Skip { remaining };
                        return Ok(None);
                    }
                    self.state = State::Message;
                }
            }
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_be_bytes(*four))
}

/// Reads as much of the head of a message as `bytes` holds, and checks its length.
#[inline]
fn head(bytes: &[u8], bitfield_len_max: u32) -> Result<Head, WireError> {
    let Some(prefix) = bytes.first_chunk::<4>() else { return Ok(Head::Need(4)) };
    let length = u32::from_be_bytes(*prefix);
    if length == 0 {
        return Ok(Head::Whole(4));
    }
    let Some(&id) = bytes.get(4) else { return Ok(Head::Need(5)) };
    let exact = |expected: u32| {
        if length == expected {
            Ok(Head::Whole(length as usize + 4))
        } else {
            Err(WireError::BadLength { id, length })
        }
    };
    match id {
        id::REQUEST | id::CANCEL | id::REJECT => exact(13),
        id::PIECE => {
            if length <= 9 {
                return Err(WireError::BadLength { id, length });
            }
            if length - 9 > limits::BLOCK_LEN_MAX {
                return Err(WireError::TooLong { id, length });
            }
            if bytes.len() < PIECE_HEADER_LEN {
                return Ok(Head::Need(PIECE_HEADER_LEN));
            }
            Ok(Head::Piece(Block {
                piece: PieceIndex(u32_at(bytes, 5)),
                begin: u32_at(bytes, 9),
                length: length - 9,
            }))
        }
        id::HAVE | id::SUGGEST | id::ALLOWED_FAST => exact(5),
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED | id::HAVE_ALL | id::HAVE_NONE => {
            exact(1)
        }
        id::PORT => exact(3),
        id::BITFIELD => {
            if length - 1 > bitfield_len_max {
                return Err(WireError::TooLong { id, length });
            }
            Ok(Head::Whole(length as usize + 4))
        }
        id::EXTENDED => {
            if length < 2 {
                return Err(WireError::BadLength { id, length });
            }
            if length > limits::EXTENDED_LEN_MAX {
                return Err(WireError::TooLong { id, length });
            }
            Ok(Head::Whole(length as usize + 4))
        }
        _ => {
            if length > limits::UNKNOWN_LEN_MAX {
                return Err(WireError::TooLong { id, length });
            }
            Ok(Head::Unknown { id, remaining: length - 1 })
        }
    }
}

/// Parses a whole control message whose length `head` accepted.
#[inline]
fn parse(bytes: &[u8]) -> Message<'_> {
    let Some(&id) = bytes.get(4) else { return Message::KeepAlive };
    let piece = || PieceIndex(u32_at(bytes, 5));
    let block = || Block { piece: piece(), begin: u32_at(bytes, 9), length: u32_at(bytes, 13) };
    match id {
        id::REQUEST => Message::Request(block()),
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE => Message::Have(piece()),
        id::BITFIELD => Message::Bitfield(&bytes[5..]),
        id::CANCEL => Message::Cancel(block()),
        // The length was checked, so both bytes are there.
        id::PORT => Message::Port((u32_at(bytes, 3) & 0xffff) as u16),
        id::SUGGEST => Message::SuggestPiece(piece()),
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::REJECT => Message::RejectRequest(block()),
        id::ALLOWED_FAST => Message::AllowedFast(piece()),
        id::EXTENDED => Message::Extended {
            id: bytes.get(5).copied().unwrap_or(0),
            payload: bytes.get(6..).unwrap_or(&[]),
        },
        _ => Message::Unknown { id },
    }
}
