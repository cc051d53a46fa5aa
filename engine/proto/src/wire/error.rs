//! Why bytes of a peer could not be read as messages. Each of these ends the connection.

use thiserror::Error;

/// A peer broke the framing of the wire protocol; the stream cannot be read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// The length prefix is above what this kind of message may have.
    #[error("message {id} of {length} bytes is too long")]
    TooLong {
        /// Message id of BEP 3, 6 or 10.
        id: u8,
        /// The announced length in bytes, id included.
        length: u32,
    },
    /// The length prefix does not fit the kind of message.
    #[error("message {id} cannot have {length} bytes")]
    BadLength {
        /// Message id of BEP 3, 6 or 10.
        id: u8,
        /// The announced length in bytes, id included.
        length: u32,
    },
}
