//! One torrent's peers on one shard, as a state machine without clock, socket or file.
//!
//! The caller tells what happened ([`Swarm::peer_connected`], [`Swarm::received`], [`Swarm::piece_stored`],
//! [`Swarm::handle_timeout`], ...), then takes what is to be done: peers with something to send from
//! [`Swarm::next_ready`] and [`Swarm::fill`], everything else from [`Swarm::poll_action`].

mod allowed_fast;
mod batch;
mod blame;
mod check;
mod choker;
mod clock;
mod config;
mod control;
mod download;
mod event;
mod evidence;
mod fairness;
pub mod limits;
mod machine;
mod memory;
mod open_piece;
mod peer;
mod pex;
mod picker;
mod pipeline;
mod rarest;
mod rate;
mod report;
mod rng;
mod room;
mod session;
mod stats;
mod suspicion;
#[cfg(test)]
mod tests;
mod upload;

pub use batch::{FillLimits, FillOutcome, Part, SendBatch};
pub use config::{Content, Priority, SwarmConfig, UploadSlots};
pub use event::{Action, BlockSink, DisconnectReason, PeerError, PeerInfo, Refusal, Violation};
pub use machine::Swarm;
pub use memory::PieceMemory;
pub use stats::{PeerStats, SwarmStats};

slotmap::new_key_type! {
    /// Names a peer of one [`Swarm`] from its connection to its disconnection; never reused.
    pub struct PeerKey;
}
