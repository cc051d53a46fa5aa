//! How far a move has come, and what its owner wants of it: read and set by other threads while it runs.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a move is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on.
    Continue,
    /// Put everything back.
    Cancel,
    /// Leave everything as it is: the process ends, and the next one goes on.
    Leave,
}

/// One move of a torrent's files. The mover counts, others look and may end it early.
#[derive(Debug, Default)]
pub struct MoveProgress {
    total: AtomicU64,
    done: AtomicU64,
    order: AtomicU8,
}

impl MoveProgress {
    /// Share of the bytes that have arrived, 0.0 to 1.0. A rename within one file system moves all bytes of a file at
    /// once.
    pub fn share(&self) -> f32 {
        match self.total.load(Ordering::Relaxed) {
            0 => 0.0,
            total => (self.done.load(Ordering::Relaxed) as f64 / total as f64).min(1.0) as f32,
        }
    }

    /// Bytes that have arrived, and bytes in all; 0 until the files were looked at.
    pub fn bytes(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    /// Has the move undo what it did. A copy notices within a few MiB.
    pub fn cancel(&self) {
        self.order.store(1, Ordering::Relaxed);
    }

    /// Has the move stop where it is, to be taken up again by another process.
    pub fn leave(&self) {
        self.order.store(2, Ordering::Relaxed);
    }

    pub(super) fn order(&self) -> Order {
        match self.order.load(Ordering::Relaxed) {
            0 => Order::Continue,
            1 => Order::Cancel,
            _ => Order::Leave,
        }
    }

    pub(super) fn set_total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}
