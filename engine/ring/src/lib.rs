//! The data ring: io_uring sockets and disk for one shard.
