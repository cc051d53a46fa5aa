//! BitTorrent protocol logic without sockets, files, clocks or threads.
