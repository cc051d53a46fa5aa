//! A fast BitTorrent seeder and client for Linux servers.
