//! HTTP and UDP BitTorrent tracker.
