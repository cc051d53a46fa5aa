//! A peer-wire reader that looks at frame lengths only: payload passes through in place, control messages that
//! matter to a leech are staged (bounded), all others are skipped (BEP 3, BEP 6).

use crate::limits::{IGNORED_LEN_MAX, PAYLOAD_LEN_MAX};

/// Bytes of a handshake (BEP 3).
pub const HANDSHAKE_LEN: usize = 68;
/// The first twenty bytes of every handshake.
pub const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
/// Bit of the last reserved byte that announces the Fast extension (BEP 6).
pub const FAST_BIT: u8 = 0x04;

/// Bytes of a `piece` message before its payload: length, id, piece, begin.
const PIECE_HEADER_LEN: usize = 13;

/// What the seeder sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The 68 bytes that open the connection.
    Handshake {
        /// The eight capability bytes.
        reserved: [u8; 8],
        /// Torrent the seeder speaks about.
        info_hash: [u8; 20],
    },
    /// A message without a body.
    KeepAlive,
    /// The seeder stops serving us.
    Choke,
    /// The seeder serves us.
    Unchoke,
    /// One more piece is available.
    Have(u32),
    /// All pieces that are available, most significant bit first.
    Bitfield(&'a [u8]),
    /// Every piece is available (BEP 6).
    HaveAll,
    /// No piece is available (BEP 6).
    HaveNone,
    /// The seeder will not answer this request (BEP 6).
    Reject {
        /// Piece of the request.
        piece: u32,
        /// Offset in the piece, bytes.
        begin: u32,
    },
    /// A part of one block, as large as the input allows.
    Payload {
        /// Piece of the block.
        piece: u32,
        /// Offset of the block in the piece, bytes.
        begin: u32,
        /// Offset of `data` in the block, bytes.
        offset: u32,
        /// The bytes, in place.
        data: &'a [u8],
        /// This part ends the block.
        last: bool,
    },
    /// A message we do not look at, by id.
    Ignored(u8),
}

/// The seeder does not speak the protocol: drop the connection.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkimError {
    /// Not a BitTorrent handshake.
    #[error("the peer's first bytes are not a BitTorrent handshake")]
    NotBitTorrent,
    /// A length that the message kind cannot have.
    #[error("message {id} with a length of {length} bytes")]
    Length {
        /// Message id.
        id: u8,
        /// Announced length, bytes, with the id.
        length: u32,
    },
}

/// Where in the stream the reader stands.
#[derive(Debug)]
enum State {
    /// Collecting the handshake.
    Handshake,
    /// Collecting length, id and (for `piece`) the block's place.
    Header,
    /// Collecting `left` more bytes of a control message.
    Body { id: u8, left: u32 },
    /// Passing the payload of a block through.
    Payload { piece: u32, begin: u32, offset: u32, left: u32 },
    /// Dropping `left` bytes of a message we ignore.
    Skip { id: u8, left: u32 },
}

/// Streaming reader for one connection. Invariant: at most one handshake or one control message is staged.
#[derive(Debug)]
pub struct Skimmer {
    state: State,
    staged: Vec<u8>,
    bitfield: Vec<u8>,
    body_len_max: u32,
}

impl Skimmer {
    /// A reader for a torrent of `pieces` pieces; the bitfield may be no longer than they need.
    pub fn new(pieces: u32) -> Skimmer {
        Skimmer {
            state: State::Handshake,
            staged: Vec::new(),
            bitfield: Vec::new(),
            body_len_max: pieces.div_ceil(8),
        }
    }

    /// The next item of `input`, which is advanced past it; `None` when more bytes are needed.
    pub fn next<'s, 'a: 's>(&'s mut self, input: &mut &'a [u8]) -> Result<Option<Item<'s>>, SkimError> {
        loop {
            match self.state {
                State::Payload { piece, begin, offset, left } => {
                    if left > 0 && input.is_empty() {
                        return Ok(None);
                    }
                    let data = take(input, left);
                    let taken = data.len() as u32;
                    let last = taken == left;
                    self.state = if last {
                        State::Header
                    } else {
                        State::Payload { piece, begin, offset: offset + taken, left: left - taken }
                    };
                    return Ok(Some(Item::Payload { piece, begin, offset, data, last }));
                }
                State::Header => {
                    if !self.stage(input, 4) {
                        return Ok(None);
                    }
                    let length = be32(&self.staged);
                    if length == 0 {
                        self.staged.clear();
                        return Ok(Some(Item::KeepAlive));
                    }
                    if !self.stage(input, 5) {
                        return Ok(None);
                    }
                    let id = self.staged[4];
                    if id == 7 {
                        if !(9..=PAYLOAD_LEN_MAX + 9).contains(&length) {
                            return Err(SkimError::Length { id, length });
                        }
                        if !self.stage(input, PIECE_HEADER_LEN) {
                            return Ok(None);
                        }
                        let piece = be32(&self.staged[5..]);
                        let begin = be32(&self.staged[9..]);
                        self.staged.clear();
                        self.state = State::Payload { piece, begin, offset: 0, left: length - 9 };
                        continue;
                    }
                    self.staged.clear();
                    self.state = self.body_state(id, length)?;
                }
                State::Body { id, left } => {
                    if !self.stage(input, left as usize) {
                        return Ok(None);
                    }
                    self.state = State::Header;
                    return Ok(Some(self.control(id)));
                }
                State::Skip { id, left } => {
                    let left = left - take(input, left).len() as u32;
                    if left > 0 {
                        self.state = State::Skip { id, left };
                        return Ok(None);
                    }
                    self.state = State::Header;
                    return Ok(Some(Item::Ignored(id)));
                }
                State::Handshake => {
                    if !self.stage(input, HANDSHAKE_LEN) {
                        return Ok(None);
                    }
                    if !self.staged.starts_with(PROTOCOL) {
                        return Err(SkimError::NotBitTorrent);
                    }
                    let reserved = std::array::from_fn(|i| self.staged[20 + i]);
                    let info_hash = std::array::from_fn(|i| self.staged[28 + i]);
                    self.staged.clear();
                    self.state = State::Header;
                    return Ok(Some(Item::Handshake { reserved, info_hash }));
                }
            }
        }
    }

    /// Fills the stage up to `want` bytes; false when the input ran out.
    fn stage(&mut self, input: &mut &[u8], want: usize) -> bool {
        let missing = want.saturating_sub(self.staged.len());
        self.staged.extend_from_slice(take(input, missing as u32));
        self.staged.len() >= want
    }

    /// What follows the id of a message that is not `piece`; `length` counts the id.
    fn body_state(&self, id: u8, length: u32) -> Result<State, SkimError> {
        let left = length - 1;
        let wrong = SkimError::Length { id, length };
        match (id, left) {
            (0 | 1 | 14 | 15, 0) | (4, 4) | (16, 12) => Ok(State::Body { id, left }),
            (0 | 1 | 14 | 15 | 4 | 16, _) => Err(wrong),
            (5, left) if left <= self.body_len_max => Ok(State::Body { id, left }),
            (5, _) => Err(wrong),
            (_, left) if left <= IGNORED_LEN_MAX => Ok(State::Skip { id, left }),
            _ => Err(wrong),
        }
    }

    /// The staged control message; its length was checked by `body_state`.
    fn control(&mut self, id: u8) -> Item<'_> {
        let body = std::mem::take(&mut self.staged);
        match id {
            0 => Item::Choke,
            1 => Item::Unchoke,
            4 => Item::Have(be32(&body)),
            14 => Item::HaveAll,
            15 => Item::HaveNone,
            16 => Item::Reject { piece: be32(&body), begin: be32(&body[4..]) },
            5 => {
                self.bitfield = body;
                Item::Bitfield(&self.bitfield)
            }
            _ => Item::Ignored(id),
        }
    }
}

/// Splits up to `n` bytes off the front of `input`.
fn take<'a>(input: &mut &'a [u8], n: u32) -> &'a [u8] {
    let (head, rest) = input.split_at(input.len().min(n as usize));
    *input = rest;
    head
}

/// The first four bytes, big endian. The caller has checked the length.
fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A readable copy of what came out, payload parts joined.
    #[derive(Debug, PartialEq, Eq, Clone)]
    enum Seen {
        Text(String),
        Block { piece: u32, begin: u32, data: Vec<u8>, complete: bool },
    }

    /// Feeds `bytes` in chunks of `chunk`.
    fn read(bytes: &[u8], chunk: usize) -> Result<Vec<Seen>, SkimError> {
        let mut skimmer = Skimmer::new(20);
        let mut seen = Vec::new();
        for part in bytes.chunks(chunk) {
            let mut input = part;
            while let Some(item) = skimmer.next(&mut input)? {
                match item {
                    Item::Payload { piece, begin, offset, data, last } => {
                        if offset == 0 {
                            seen.push(Seen::Block { piece, begin, data: vec![], complete: false });
                        }
                        let Some(Seen::Block { data: all, complete, .. }) = seen.last_mut() else {
                            panic!("payload without a start");
                        };
                        assert_eq!(all.len(), offset as usize);
                        all.extend_from_slice(data);
                        *complete = last;
                    }
                    other => seen.push(Seen::Text(format!("{other:?}"))),
                }
            }
            assert!(input.is_empty());
        }
        Ok(seen)
    }

    fn sample() -> Vec<u8> {
        let mut bytes = PROTOCOL.to_vec();
        bytes.extend([0, 0, 0, 0, 0, 0, 0, FAST_BIT]);
        bytes.extend([9; 20]);
        bytes.extend([b'x'; 20]);
        bytes.extend([0, 0, 0, 4, 5, 0xff, 0xff, 0xf0]);
        bytes.extend([0, 0, 0, 0]);
        bytes.extend([0, 0, 0, 6, 20, 0, b'd', b'e', b'e', b'e']);
        bytes.extend([0, 0, 0, 1, 1]);
        bytes.extend([0, 0, 0, 14, 7, 0, 0, 0, 3, 0, 0, 0x40, 0, 1, 2, 3, 4, 5]);
        bytes.extend([0, 0, 0, 9, 7, 0, 0, 0, 3, 0, 0, 0x80, 0]);
        bytes.extend([0, 0, 0, 5, 4, 0, 0, 0, 7]);
        bytes.extend([0, 0, 0, 13, 16, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        bytes.extend([0, 0, 0, 1, 14, 0, 0, 0, 1, 15, 0, 0, 0, 1, 0]);
        bytes
    }

    #[test]
    fn every_split_reads_the_same() {
        let bytes = sample();
        let whole = read(&bytes, bytes.len()).expect("valid");
        assert_eq!(whole.len(), 12);
        assert_eq!(whole[1], Seen::Text("Bitfield([255, 255, 240])".into()));
        assert_eq!(
            whole[5],
            Seen::Block { piece: 3, begin: 0x4000, data: vec![1, 2, 3, 4, 5], complete: true }
        );
        assert_eq!(whole[6], Seen::Block { piece: 3, begin: 0x8000, data: vec![], complete: true });
        assert_eq!(whole[8], Seen::Text("Reject { piece: 1, begin: 2 }".into()));
        for chunk in 1..bytes.len() {
            assert_eq!(read(&bytes, chunk).as_ref(), Ok(&whole), "chunks of {chunk}");
        }
    }

    #[test]
    fn wrong_lengths_are_errors_not_memory() {
        let after_handshake = |tail: &[u8]| {
            let mut bytes = sample()[..HANDSHAKE_LEN].to_vec();
            bytes.extend_from_slice(tail);
            read(&bytes, 7)
        };
        for tail in [
            &[0xff, 0xff, 0xff, 0xff, 7][..],
            &[0, 0, 0, 8, 7],
            &[0, 0, 0, 2, 1],
            &[0, 0, 0, 5, 5],
            &[0, 0, 0, 4, 4],
            &[0x7f, 0, 0, 0, 20],
        ] {
            assert!(matches!(after_handshake(tail), Err(SkimError::Length { .. })), "{tail:?}");
        }
        assert_eq!(read(&[b'H'; 68], 5), Err(SkimError::NotBitTorrent));
    }
}
