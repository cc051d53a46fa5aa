//! Round trips, splits, truncation and mutation of the message codec.

use super::limits::{BLOCK_LEN_MAX, EXTENDED_LEN_MAX, UNKNOWN_LEN_MAX};
use super::{Decoder, Frame, Message, WireError, encode_piece_header};
use crate::units::{Block, PieceIndex};

/// A frame that owns its bytes; the parts of a block are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// A control message, encoded again.
    Control(Vec<u8>),
    Unknown(u8),
    Block(Block, Vec<u8>),
    PartOfBlock(Block, Vec<u8>),
}

fn decode(decoder: &mut Decoder, mut input: &[u8], seen: &mut Vec<Seen>) -> Result<(), WireError> {
    while let Some(frame) = decoder.next(&mut input)? {
        match frame {
            Frame::Message(Message::Unknown { id }) => seen.push(Seen::Unknown(id)),
            Frame::Message(message) => {
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                seen.push(Seen::Control(bytes));
            }
            Frame::BlockChunk { block, offset, data, last } => {
                assert!(!data.is_empty());
                let mut all = match seen.last() {
                    Some(Seen::PartOfBlock(part, bytes)) if offset > 0 => {
                        assert_eq!(*part, block);
                        let bytes = bytes.clone();
                        seen.pop();
                        bytes
                    }
                    _ => Vec::new(),
                };
                assert_eq!(all.len(), offset as usize);
                all.extend_from_slice(data);
                assert_eq!(last, all.len() == block.length as usize);
                seen.push(if last { Seen::Block(block, all) } else { Seen::PartOfBlock(block, all) });
            }
        }
    }
    assert!(input.is_empty(), "bytes were left");
    Ok(())
}

fn block(piece: u32, begin: u32, length: u32) -> Block {
    Block { piece: PieceIndex(piece), begin, length }
}

const CONTROL: [Message<'static>; 19] = [
    Message::KeepAlive,
    Message::Choke,
    Message::Unchoke,
    Message::Interested,
    Message::NotInterested,
    Message::Have(PieceIndex(u32::MAX)),
    Message::Bitfield(&[0xff, 0x80]),
    Message::Bitfield(&[]),
    Message::Request(Block { piece: PieceIndex(1), begin: 2, length: 3 }),
    Message::Cancel(Block { piece: PieceIndex(4), begin: u32::MAX, length: u32::MAX }),
    Message::Port(6881),
    Message::SuggestPiece(PieceIndex(7)),
    Message::HaveAll,
    Message::HaveNone,
    Message::RejectRequest(Block { piece: PieceIndex(9), begin: 16384, length: 16384 }),
    Message::AllowedFast(PieceIndex(0)),
    Message::Extended { id: 0, payload: b"d1:md6:ut_pexi1eee" },
    Message::Extended { id: 255, payload: b"" },
    Message::Extended { id: 3, payload: &[7; 3000] },
];

/// Every message, blocks of several lengths, and unknown messages between them.
fn stream() -> (Vec<u8>, Vec<Seen>) {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for (n, message) in CONTROL.iter().enumerate() {
        let start = bytes.len();
        message.encode(&mut bytes);
        expected.push(Seen::Control(bytes[start..].to_vec()));
        let length = [1, 5, 16_384, 17, 9000][n % 5];
        let block = block(n as u32, n as u32 * 16_384, length);
        let data: Vec<u8> = (0..length).map(|at| (at * 31 + n as u32) as u8).collect();
        encode_piece_header(&block, &mut bytes);
        bytes.extend_from_slice(&data);
        expected.push(Seen::Block(block, data));
        if n % 4 == 0 {
            bytes.extend_from_slice(&[0, 0, 0, 1 + n as u8, 99]);
            bytes.extend(std::iter::repeat_n(0xee, n));
            expected.push(Seen::Unknown(99));
        }
    }
    (bytes, expected)
}

/// Xorshift: the tests need repeatable choices, not good ones.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn every_message_round_trips() {
    for message in CONTROL {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let mut decoder = Decoder::default();
        let mut input = &bytes[..];
        assert_eq!(decoder.next(&mut input), Ok(Some(Frame::Message(message))));
        assert_eq!(decoder.next(&mut input), Ok(None));
        assert!(input.is_empty());
    }
}

#[test]
fn any_split_decodes_like_the_whole() {
    let (bytes, expected) = stream();
    let mut whole = Vec::new();
    decode(&mut Decoder::default(), &bytes, &mut whole).unwrap();
    assert_eq!(whole, expected);
    let mut state = 0x1234_5678_9abc_def1;
    for round in 0..200 {
        let (mut decoder, mut seen, mut rest) = (Decoder::default(), Vec::new(), &bytes[..]);
        let most = [1, 2, 5, 14, 40, 5000, 70_000][round % 7];
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(1 + next(&mut state) as usize % most));
            decode(&mut decoder, part, &mut seen).unwrap();
            rest = after;
        }
        assert_eq!(seen, expected, "round {round}");
    }
}

#[test]
fn a_truncated_stream_yields_a_prefix_and_waits() {
    let (bytes, expected) = stream();
    for cut in (0..bytes.len()).step_by(97).chain(0..300) {
        let mut seen = Vec::new();
        decode(&mut Decoder::default(), &bytes[..cut], &mut seen).unwrap();
        if let Some(Seen::PartOfBlock(..)) = seen.last() {
            seen.pop();
        }
        // An unknown message is reported before its payload is skipped.
        assert_eq!(seen[..], expected[..seen.len()]);
        assert!(seen.len() < expected.len() || cut == bytes.len());
    }
}

#[test]
fn payload_is_never_copied() {
    let block = block(0, 0, 16_384);
    let mut bytes = Vec::new();
    encode_piece_header(&block, &mut bytes);
    let header = bytes.len();
    bytes.resize(header + 16_384, 1);
    let mut input = &bytes[..];
    match Decoder::default().next(&mut input) {
        Ok(Some(Frame::BlockChunk { data, last: true, .. })) => {
            assert_eq!(data.as_ptr(), bytes[header..].as_ptr());
        }
        other => panic!("{other:?}"),
    };
}

#[test]
fn lengths_that_no_message_has_are_refused() {
    let head = |length: u32, id: u8| [&length.to_be_bytes()[..], &[id]].concat();
    let cases = [
        (head(2, 0), WireError::BadLength { id: 0, length: 2 }),
        (head(4, 4), WireError::BadLength { id: 4, length: 4 }),
        (head(14, 6), WireError::BadLength { id: 6, length: 14 }),
        (head(9, 7), WireError::BadLength { id: 7, length: 9 }),
        (head(BLOCK_LEN_MAX + 10, 7), WireError::TooLong { id: 7, length: BLOCK_LEN_MAX + 10 }),
        (head(12, 8), WireError::BadLength { id: 8, length: 12 }),
        (head(2, 9), WireError::BadLength { id: 9, length: 2 }),
        (head(2, 14), WireError::BadLength { id: 14, length: 2 }),
        (head(1, 20), WireError::BadLength { id: 20, length: 1 }),
        (head(EXTENDED_LEN_MAX + 1, 20), WireError::TooLong { id: 20, length: EXTENDED_LEN_MAX + 1 }),
        (head(UNKNOWN_LEN_MAX + 1, 77), WireError::TooLong { id: 77, length: UNKNOWN_LEN_MAX + 1 }),
        (head(u32::MAX, 5), WireError::TooLong { id: 5, length: u32::MAX }),
        (head(12, 5), WireError::TooLong { id: 5, length: 12 }),
    ];
    for (bytes, error) in cases {
        let mut decoder = Decoder::new(10);
        assert_eq!(decoder.next(&mut &bytes[..]), Err(error));
        // Byte by byte it is refused at the id already, before anything is stored.
        let mut decoder = Decoder::new(10);
        let results: Vec<bool> = bytes.chunks(1).map(|byte| decoder.next(&mut &byte[..]).is_err()).collect();
        assert_eq!(results, [false, false, false, false, true]);
    }
    assert!(Decoder::new(10).next(&mut &head(11, 5)[..]).is_ok());
}

#[test]
fn mutated_streams_never_panic_and_stay_bounded() {
    let (bytes, _) = stream();
    let mut state = 0x0bad_cafe_dead_beef;
    for _ in 0..3000 {
        let mut mutated = bytes.clone();
        for _ in 0..=next(&mut state) % 4 {
            let at = next(&mut state) as usize % mutated.len();
            mutated[at] = next(&mut state) as u8;
        }
        let mut decoder = Decoder::default();
        for part in mutated.chunks(1 + next(&mut state) as usize % 3000) {
            let mut input = part;
            let ended = loop {
                match decoder.next(&mut input) {
                    Ok(Some(_)) => {}
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            if ended {
                break;
            }
        }
    }
}
