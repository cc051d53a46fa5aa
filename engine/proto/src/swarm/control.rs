//! What the caller changes of a running swarm: budget of requests, port, wanted files, order of pieces.

use std::sync::Arc;

use super::config::Priority;
use super::event::Action;
use super::machine::{Role, Swarm};
use crate::units::{PieceIndex, Time};

impl Swarm {
    /// Bytes of new requests that may be sent, for rate limits and back-pressure; each request is taken off.
    /// `None` is no limit, `Some(0)` stops requesting. Any budget above zero allows at least one block.
    pub fn set_request_budget(&mut self, now: Time, bytes: Option<u64>) {
        self.request_budget = bytes;
        if self.budget_short && bytes != Some(0) {
            self.budget_short = false;
            self.pump_all(now);
        }
    }

    /// What is left of the last budget of requests.
    #[must_use]
    pub fn request_budget(&self) -> Option<u64> {
        self.request_budget
    }

    /// Where peers reach us: what those are told that join from now on.
    pub fn set_listen_port(&mut self, port: u16) {
        self.config.listen_port = Some(port);
    }

    /// How much each file of the layout is wanted; files beyond the list keep `Normal`. A piece is wanted as
    /// much as the most wanted file in it; padding wants nothing.
    pub fn set_file_priorities(&mut self, now: Time, priorities: &[Priority]) {
        let content = Arc::clone(&self.content);
        let layout = &content.info.layout;
        if matches!(self.role, Role::Seeding) {
            return;
        }
        let mut wanted: Vec<Option<Priority>> = vec![None; layout.piece_count() as usize];
        for (index, file) in layout.files.iter().enumerate().filter(|(_, file)| !file.padding) {
            let priority = priorities.get(index).copied().unwrap_or_default();
            for piece in layout.pieces_of_file(index) {
                if let Some(slot) = wanted.get_mut(piece as usize) {
                    *slot = (*slot).max(Some(priority));
                }
            }
            debug_assert!(file.offset <= layout.total_length);
        }
        for (piece, priority) in (0u32..).zip(wanted) {
            let priority = priority.unwrap_or_default();
            let Role::Leeching(picker) = &mut self.role else { return };
            if priority == Priority::Skip && picker.is_filling(piece) {
                self.forget_piece(PieceIndex(piece));
                let Role::Leeching(picker) = &mut self.role else { return };
                picker.park(PieceIndex(piece));
            }
            let Role::Leeching(picker) = &mut self.role else { return };
            picker.set_priority(piece, priority);
            if priority != Priority::Skip {
                picker.unpark(now, PieceIndex(piece));
            }
        }
        let Role::Leeching(picker) = &self.role else { return };
        let left = (0..layout.piece_count()).filter(|&piece| picker.wants(piece));
        self.wanted_left = left.map(|piece| u64::from(layout.piece_len(PieceIndex(piece)))).sum();
        for peer in self.peers.values_mut() {
            peer.down.interesting = peer.have.iter_ones().filter(|&piece| picker.wants(piece)).count() as u32;
            peer.update_interest(now);
        }
        if self.wanted_left > 0 && self.finished_told {
            self.finished_told = false;
            // One that the caller has not taken yet is true no more.
            self.actions.retain(|action| *action != Action::Completed);
            self.tell_upload_only(false);
        }
        self.check_finished(now);
        self.pump_all(now);
        self.queue_all_with_output();
    }

    /// Switches between in-order and rarest-first downloading.
    pub fn set_sequential(&mut self, sequential: bool) {
        self.config.sequential = sequential;
        if let Role::Leeching(picker) = &mut self.role {
            picker.sequential = sequential;
        }
    }
}
