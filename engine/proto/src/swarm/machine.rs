//! The swarm itself: entry points of the caller.

use std::sync::Arc;

use super::PeerKey;
use super::batch::{FillLimits, FillOutcome, SendBatch};
use super::config::{Content, Priority, SwarmConfig, UploadSlots};
use super::event::{Action, BlockSink, PeerError, PeerInfo, Refusal};
use super::stats::{PeerStats, SwarmStats};
use crate::bitfield::Bitfield;
use crate::units::{Block, PieceIndex, Time};

/// One torrent's peers on one shard.
#[derive(Debug)]
pub struct Swarm {
    config: SwarmConfig,
    content: Arc<Content>,
    have: Bitfield,
}

#[expect(unused_variables, clippy::unused_self, missing_docs, reason = "bodies follow")]
impl Swarm {
    pub fn new(config: SwarmConfig, content: Arc<Content>, have: Bitfield, seed: u64, now: Time) -> Swarm {
        Swarm { config, content, have }
    }

    pub fn peer_connected(&mut self, now: Time, info: PeerInfo) -> Result<PeerKey, Refusal> {
        Err(Refusal::Full)
    }

    pub fn peer_disconnected(&mut self, now: Time, peer: PeerKey) {}

    pub fn received(
        &mut self,
        now: Time,
        peer: PeerKey,
        bytes: &[u8],
        sink: &mut impl BlockSink,
    ) -> Result<(), PeerError> {
        Err(PeerError::Gone)
    }

    pub fn next_ready(&mut self) -> Option<PeerKey> {
        None
    }

    pub fn fill(
        &mut self,
        now: Time,
        peer: PeerKey,
        out: &mut SendBatch,
        limits: FillLimits,
        ready: impl FnMut(&Block) -> bool,
    ) -> FillOutcome {
        FillOutcome::Drained
    }

    pub fn sent(&mut self, now: Time, peer: PeerKey, payload_bytes: u64, protocol_bytes: u64) {}

    pub fn mark_ready(&mut self, peer: PeerKey) {}

    pub fn piece_verified(&mut self, now: Time, piece: PieceIndex, ok: bool) {}

    pub fn piece_stored(&mut self, now: Time, piece: PieceIndex) {}

    pub fn poll_action(&mut self) -> Option<Action> {
        None
    }

    pub fn handle_timeout(&mut self, now: Time) {}

    pub fn next_timeout(&self) -> Option<Time> {
        None
    }

    pub fn set_request_budget(&mut self, now: Time, bytes: Option<u64>) {}

    pub fn set_upload_slots(&mut self, now: Time, slots: UploadSlots) {}

    /// One priority per file of the layout; files beyond the list keep `Normal`.
    pub fn set_file_priorities(&mut self, now: Time, priorities: &[Priority]) {}

    pub fn set_sequential(&mut self, sequential: bool) {}

    pub fn stats(&self, now: Time) -> SwarmStats {
        SwarmStats::default()
    }

    pub fn peers(&self, now: Time) -> impl Iterator<Item = PeerStats> + '_ {
        std::iter::empty()
    }

    pub fn peer_count(&self) -> usize {
        0
    }

    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    pub fn is_complete(&self) -> bool {
        self.have.is_full()
    }

    pub fn is_finished(&self) -> bool {
        self.have.is_full()
    }

    pub fn content(&self) -> &Arc<Content> {
        &self.content
    }

    pub fn config(&self) -> &SwarmConfig {
        &self.config
    }

    pub fn check_invariants(&self) {}
}
