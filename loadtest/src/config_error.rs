//! Why a scenario cannot run: what is wrong with which key.

use crate::limits::SWARM_ENGINES_MAX;
use crate::quantity::Bytes;

/// Why a scenario cannot run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// These keys are zero, or one of them is.
    #[error("{0} must be at least 1")]
    AtLeastOne(&'static str),
    /// A number is zero or too large.
    #[error("{key} must be 1 to {max}")]
    Range {
        /// The key.
        key: &'static str,
        /// Its largest value.
        max: u32,
    },
    /// More engines than one machine can run.
    #[error("peers and seeds together may be at most {SWARM_ENGINES_MAX}")]
    TooManyEngines,
    /// There is nothing to move.
    #[error("size must be at least one byte")]
    NoSize,
    /// Pieces of a length that no torrent has.
    #[error("piece is {0}: a power of two from 16K to 16M is needed")]
    Piece(Bytes),
    /// A number, a time mostly, that makes no sense.
    #[error("{key} is {value}: a number from 0 to a million is needed")]
    Number {
        /// The key.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// More peers than there are addresses with ports.
    #[error(
        "peers must be at most {max} with these connections: a peer is an address and a port{}",
        if *.loopback { "" } else { ", and only connections within 127.0.0.0/8 have addresses of their own" }
    )]
    TooManyPeers {
        /// How many there may be.
        max: u64,
        /// Whether each connection has an address of its own.
        loopback: bool,
    },
    /// More than all announces.
    #[error("the percentages of stopped, completed and scrape are more than 100 together")]
    Percentages,
    /// Nothing to compare.
    #[error("seeders must name at least one")]
    NoSeeders,
    /// The loopback network has no links that could be shaped.
    #[error("link shapes need network = \"links\"")]
    NoLinks,
    /// Chaos without anything that happens.
    #[error("chaos needs at least one [[event]]")]
    NoEvents,
    /// An event that cannot happen.
    #[error("event {number}: {error}")]
    Event {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        error: EventError,
    },
}

/// Why an event of a scenario cannot happen.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EventError {
    /// It has no time.
    #[error("at_s or at_percent is needed")]
    NoTime,
    /// It has two times.
    #[error("at_s and at_percent exclude each other")]
    TwoTimes,
    /// Its time never comes.
    #[error("at_s and at_percent must not be negative, and a percentage at most 100")]
    Time,
    /// A number of it makes no sense.
    #[error("for_s is {0}: a number from 0 to a million is needed")]
    Duration(f64),
    /// It happens to somebody who is not there.
    #[error("there is no {what} {number}: they are numbered from 1 to {count}")]
    Unknown {
        /// A peer or a seed.
        what: &'static str,
        /// Its number.
        number: u32,
        /// How many there are.
        count: u32,
    },
    /// A tracker has no peers.
    #[error("tracker-down happens to no peer and no seed")]
    TrackerHasNoPeers,
    /// It happens to nobody.
    #[error("peers or seeds must name somebody")]
    Nobody,
    /// Seeds do not fill disks.
    #[error("disk-full is for peers: seeds write nothing")]
    SeedsWriteNothing,
    /// The loopback network cannot be parted.
    #[error("partition needs network = \"links\"")]
    NoLinks,
}
