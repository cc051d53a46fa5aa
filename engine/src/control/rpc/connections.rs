//! The open connections of the RPC: a bounded number, of which the longest idle one makes room for a new one.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::task::AbortHandle;

/// Whether a connection is answering a request.
#[derive(Clone, Default)]
pub(super) struct Busy(Rc<Cell<bool>>);

impl Busy {
    /// Marks the connection as busy until the mark is dropped.
    pub(super) fn mark(&self) -> BusyMark {
        self.0.set(true);
        BusyMark(self.clone())
    }
}

/// See [`Busy::mark`].
pub(super) struct BusyMark(Busy);

impl Drop for BusyMark {
    fn drop(&mut self) {
        self.0.0.set(false);
    }
}

/// The open connections, oldest first.
pub(super) struct Connections {
    most: usize,
    open: BTreeMap<u64, (AbortHandle, Busy)>,
    next: u64,
}

impl Connections {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: BTreeMap::new(), next: 0 }
    }

    /// Takes in a connection.
    pub(super) fn insert(&mut self, task: AbortHandle, busy: Busy) {
        self.open.insert(self.next, (task, busy));
        self.next += 1;
    }

    /// Makes room for one more connection; false when all are busy.
    pub(super) fn make_room(&mut self) -> bool {
        if self.open.len() < self.most {
            return true;
        }
        self.open.retain(|_, (task, _)| !task.is_finished());
        if self.open.len() < self.most {
            return true;
        }
        let idle = self.open.iter().find(|(_, (_, busy))| !busy.0.get()).map(|(number, _)| *number);
        let Some((task, _)) = idle.and_then(|number| self.open.remove(&number)) else { return false };
        task.abort();
        true
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.open.values().for_each(|(task, _)| task.abort());
    }
}
