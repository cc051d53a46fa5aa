//! Load tests for BitTorrent seeders, swarms and trackers, measured from outside.
//!
//! Every scenario has a `…Config` that comes from a file ([`scenario`]) or from flags ([`cli`]), a `run`, and a
//! [`report::Report`]: [`swarm`] (also `chaos`) and [`soak`] run real engines under [`fleet`]'s control; [`blast_compare`]
//! and [`idle_run`] start a [`seeder`] of any make; [`tracker_load`] announces. [`blast`] and [`idle`] are the bare loads
//! against any seeder: the one asks for all it can get, the other for nothing.
//!
//! The generator reads only frame lengths of what a seeder sends ([`skim`]), so that one core can discard more
//! than any seeder sends from another.

pub mod affinity;
pub mod blast;
pub mod blast_compare;
pub mod cli;
pub mod config_error;
pub mod data;
pub mod fleet;
pub mod histogram;
pub mod idle;
pub mod idle_run;
pub mod limits;
pub mod machine;
pub mod ports;
pub mod progress;
pub mod quantity;
pub mod report;
pub mod scenario;
pub mod seeder;
pub mod seeder_process;
pub mod skim;
pub mod soak;
pub mod spread;
pub mod swarm;
pub mod table;
pub mod tracker_load;
