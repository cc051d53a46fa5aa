//! HTTP and UDP BitTorrent tracker.

pub mod announce_service;
pub mod connection_id;
pub mod limits;
