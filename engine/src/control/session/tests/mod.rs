//! The session, driven without shards, disks of its own, tracker clients or clocks: [`world`] brings it what happens and
//! carries out what it asks for, when and how a test wants it.

mod adding;
mod clock;
mod content;
mod ending;
mod files;
mod found;
mod invariants;
mod shard;
mod store;
mod stored;
mod trackers;
mod transitions;
mod walk;
mod world;
