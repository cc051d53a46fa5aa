//! The peer wire protocol: handshake, message codec and extension messages (BEP 3, 6, 9, 10, 11, 21).
//!
//! Nothing here keeps state about a peer except [`Decoder`], which remembers an unfinished message.

mod decoder;
mod dict;
mod error;
pub mod extension;
mod handshake;
mod handshake_reader;
pub mod limits;
mod message;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Frame};
pub use error::WireError;
pub use handshake::{HANDSHAKE_LEN, Handshake, HandshakeError};
pub use handshake_reader::HandshakeReader;
pub use message::{Message, PIECE_HEADER_LEN, encode_piece_header};
