//! HTTP and UDP BitTorrent tracker: a library that runs one in its own thread, and the logic it consists of.
//!
//! [`announce_service`] knows who is in which swarm and is pure. [`Tracker`] puts it on the network: an HTTP front
//! end on hyper and a UDP one, both on one tokio-uring runtime in one thread.

pub mod announce_service;
pub mod connection_id;
mod connections;
mod http;
pub mod limits;
mod metrics;
mod server;
mod shared;
mod udp;
mod uring_stream;

pub use metrics::TrackerStats;
pub use server::{Endpoint, Listen, Tracker, TrackerConfig, TrackerError};
