//! Sockets: where the engine listens and how a connection begins.

pub mod handshake;
pub mod listener;
