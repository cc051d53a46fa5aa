//! Ringseed: a thread-per-core BitTorrent engine for Linux servers.
//!
//! `ARCHITECTURE.md` beside this crate describes the layers and threads. The binary in `main.rs` is a
//! thin wrapper around the command line in `cli`.

// One JSON object of qBittorrent's API has more fields than the macro takes by default.
#![recursion_limit = "256"]

pub mod cli;
pub mod config;
pub mod config_file;
pub mod control;
mod descriptors;
pub mod limits;
mod preflight;
mod shard;
mod start_error;
mod startup;
pub mod turns;

pub use start_error::{StartError, ThreadError};
pub use startup::Engine;
