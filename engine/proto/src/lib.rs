//! BitTorrent protocol logic without sockets, files, clocks or threads.
//!
//! Bytes come in as slices and time as an argument; bytes and actions go out. `clippy.toml` beside this
//! crate forbids the rest of the world.

pub mod base64;
pub mod bencode;
pub mod bitfield;
pub mod create;
pub mod hash;
pub mod hashes;
pub mod layout;
pub mod limits;
pub mod magnet;
pub mod metainfo;
pub mod mse;
#[cfg(test)]
mod noise;
pub mod peer_address;
pub mod percent;
pub mod socks5;
pub mod swarm;
pub mod tracker;
pub mod units;
pub mod wire;
