//! One torrent's peers on one shard, as a state machine.
