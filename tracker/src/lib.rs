//! HTTP and UDP BitTorrent tracker: a library that runs one in its own thread, and the logic it consists of.
//!
//! [`announce_service`] knows who is in which swarm and is pure. [`Tracker`] puts it on the network: an HTTP front
//! end on hyper and tokio-uring, and a UDP one that works in batches, on as many threads as there are cores.

mod access;
pub mod announce_service;
pub mod connection_id;
mod connections;
mod http;
pub mod limits;
mod metrics;
mod privileges;
mod proxies;
mod quota;
mod server;
mod shards;
mod shared;
mod sockets;
mod state;
mod udp;
mod upkeep;
mod uring_stream;

pub use access::{AccessConfig, ListError};
pub use metrics::TrackerStats;
pub use privileges::{Account, AccountError};
pub use proxies::{Network, NetworkError};
pub use server::{Endpoint, Tracker, TrackerConfig, TrackerError};
pub use sockets::Listen;
pub use udp::{Reply, Sender};
