//! Lists of torrents that the session keeps, so that no command looks at all of them: the order of the queue, what runs and
//! what waits for a place, what was moved. Torrents tell that they have changed ([`Torrent::touch`]), and are counted anew
//! before anybody asks.

use super::super::torrent::{Changes, CountedAs, QueueState};
use super::Session;
use ringseed_handle::Chunked;
use std::collections::{BTreeSet, HashSet};

/// Torrents of one queue by their places.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Those that run.
    pub(super) running: BTreeSet<(i64, u32)>,
    /// Those that wait for a place.
    pub(super) waiting: BTreeSet<(i64, u32)>,
}

/// All torrents, as far as they were counted.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// Where torrents tell that they have changed.
    pub(super) changes: Changes,
    /// All in the order of the queue.
    pub(super) order: Chunked<(i64, u32)>,
    /// Downloads, and seeds.
    pub(super) queues: [Queue; 2],
    /// Those that wait for another torrent.
    pub(super) waiting: HashSet<u32>,
    /// Those whose files are handled, or will be in a moment.
    pub(super) handled: HashSet<u32>,
    /// Payload bytes that they sent and received in this run.
    pub(super) moved: (u64, u64),
    /// Torrents that changed since the last snapshot, or are gone.
    unshown: Vec<u32>,
}

impl Census {
    /// Counts a torrent as something else than before; `None` is not there.
    fn count(&mut self, id: u32, before: Option<CountedAs>, now: Option<CountedAs>) {
        if before == now {
            return;
        }
        if let Some(before) = before {
            let key = (before.place, id);
            self.moved.0 -= before.moved.0;
            self.moved.1 -= before.moved.1;
            self.waiting.remove(&id);
            self.handled.remove(&id);
            if now.is_none_or(|now| now.place != before.place) {
                self.order.remove(key);
            }
            match before.turn {
                QueueState::None => {}
                QueueState::Runs => _ = self.queues[usize::from(before.seed)].running.remove(&key),
                QueueState::Waits => _ = self.queues[usize::from(before.seed)].waiting.remove(&key),
            }
        }
        if let Some(now) = now {
            let key = (now.place, id);
            self.moved.0 += now.moved.0;
            self.moved.1 += now.moved.1;
            if now.waits {
                self.waiting.insert(id);
            }
            if now.handled {
                self.handled.insert(id);
            }
            if before.is_none_or(|before| before.place != now.place) {
                self.order.insert(key);
            }
            match now.turn {
                QueueState::None => {}
                QueueState::Runs => _ = self.queues[usize::from(now.seed)].running.insert(key),
                QueueState::Waits => _ = self.queues[usize::from(now.seed)].waiting.insert(key),
            }
        }
    }

    /// Torrents that changed since the last call.
    pub(super) fn take_unshown(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.unshown)
    }
}

impl Session {
    /// Counts torrents anew that have changed.
    pub(super) fn take_changes(&mut self) {
        for id in self.census.changes.take() {
            let Some(torrent) = self.torrents.get_mut(&id) else { continue };
            torrent.listed = false;
            let now = torrent.count();
            self.census.count(id, torrent.counted_as.replace(now), Some(now));
            self.census.unshown.push(id);
        }
    }

    /// Takes a torrent out of the session's lists.
    pub(super) fn take_out(&mut self, id: u32) {
        let Some(torrent) = self.torrents.remove(&id) else { return };
        let torrent_id = torrent.entry.id();
        self.ids.remove(&torrent_id);
        self.claims.release(&torrent_id);
        self.census.count(id, torrent.counted_as, None);
        self.census.unshown.push(id);
        self.counted.leaves(torrent.moved());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(place: i64, seed: bool, turn: QueueState) -> CountedAs {
        CountedAs { place, seed, turn, waits: false, handled: false, moved: (place as u64, 1) }
    }

    #[test]
    fn what_was_counted_is_taken_out_as_it_was_put_in() {
        let mut census = Census::default();
        let first = counted(5, false, QueueState::Runs);
        let second = counted(3, true, QueueState::Waits);
        census.count(1, None, Some(first));
        census.count(2, None, Some(second));
        assert_eq!(census.order.iter().copied().collect::<Vec<_>>(), [(3, 2), (5, 1)]);
        assert_eq!(census.moved, (8, 2));
        assert!(census.queues[0].running.contains(&(5, 1)) && census.queues[1].waiting.contains(&(3, 2)));
        let done = CountedAs { seed: true, waits: true, turn: QueueState::Waits, place: 1, ..first };
        census.count(1, Some(first), Some(done));
        assert!(census.queues[0].running.is_empty() && census.waiting.contains(&1));
        assert_eq!(census.order.iter().copied().collect::<Vec<_>>(), [(1, 1), (3, 2)]);
        census.count(1, Some(done), None);
        census.count(2, Some(second), None);
        assert!(census.order.is_empty() && census.waiting.is_empty() && census.moved == (0, 0));
        assert!(census.queues.iter().all(|queue| queue.running.is_empty() && queue.waiting.is_empty()));
    }
}
