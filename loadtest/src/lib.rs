//! Load generator for BitTorrent seeders.
