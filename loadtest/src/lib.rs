//! Load generator for BitTorrent seeders: raw peer load, measured from outside the seeder.
//!
//! Every scenario is a module with a `…Config` that deserializes (so that it can come from a file or from
//! flags), an `async` or blocking `run` and a report that serializes: [`blast`] asks for all it can get, [`idle`] for
//! nothing.
//!
//! The generator reads only frame lengths of what a seeder sends ([`skim`]), so that one core can discard more
//! than any seeder sends from another.

pub mod affinity;
pub mod blast;
pub mod cli;
pub mod histogram;
pub mod idle;
pub mod limits;
pub mod seeder_process;
pub mod skim;
pub mod spread;
