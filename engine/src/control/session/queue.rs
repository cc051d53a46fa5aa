//! The queue: one order of all torrents, and how many of them download and seed at once.

use super::super::handle::{EngineError, QueueMove};
use super::super::torrent::{Activity, Next, unix_now};
use super::Session;
use ringseed_proto::units::InfoHash;
use ringseed_storage::{TorrentRecord, Wishes};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

impl Session {
    /// Brings the list of the queue up to date.
    pub(super) fn order_queue(&mut self) {
        if !std::mem::take(&mut self.queue_is_old) {
            return;
        }
        let mut order: Vec<(i64, u32)> =
            self.torrents.values().map(|torrent| (torrent.wishes.queue, torrent.id)).collect();
        order.sort_unstable();
        self.queue = Arc::new(order.into_iter().map(|(_, id)| id).collect());
    }

    /// Moves torrents in the queue; unknown ones are left out.
    pub(super) fn move_in_queue(&mut self, torrents: &[InfoHash], to: QueueMove) -> Result<(), EngineError> {
        self.order_queue();
        let chosen: HashSet<u32> =
            torrents.iter().filter_map(|info_hash| self.ids.get(info_hash).copied()).collect();
        if chosen.is_empty() {
            return Ok(());
        }
        let order = moved(&self.queue, &chosen, to);
        // Places need not be without gaps: at an end only what was moved gets new ones.
        let place = |session: &Self, id: u32| session.torrents[&id].wishes.queue;
        let count = chosen.len() as i64;
        let first = match to {
            QueueMove::Top => self.queue.first().map(|id| place(self, *id) - count),
            QueueMove::Bottom => Some(self.last_place + 1),
            QueueMove::Up | QueueMove::Down | QueueMove::To(_) => None,
        };
        let mut places: Vec<(u32, i64)> = match first {
            Some(first) => (first..)
                .zip(order.iter().filter(|id| chosen.contains(id)))
                .map(|(place, id)| (*id, place))
                .collect(),
            None => {
                let mut places: Vec<i64> = self.queue.iter().map(|id| place(self, *id)).collect();
                // Torrents of older versions may share one.
                for index in 1..places.len() {
                    places[index] = places[index].max(places[index - 1] + 1);
                }
                order.iter().copied().zip(places).collect()
            }
        };
        places.retain(|(id, new)| place(self, *id) != *new);
        let records: Vec<TorrentRecord> = places
            .iter()
            .filter_map(|(id, new)| {
                let record = self.record(self.torrents.get(id)?.entry.info_hash())?;
                let wishes = Wishes { queue: *new, ..record.wishes };
                Some(TorrentRecord { wishes, ..record })
            })
            .collect();
        self.save_settings(&records)?;
        for (id, new) in places {
            let Some(torrent) = self.torrents.get_mut(&id) else { continue };
            let wishes: &mut Wishes = Arc::make_mut(&mut torrent.wishes);
            wishes.queue = new;
            torrent.status = None;
            self.last_place = self.last_place.max(new);
        }
        (self.queue_is_old, self.queue_due) = (true, true);
        Ok(())
    }

    /// Starts torrents that a queue has places for, and queues those that are too many.
    pub(super) fn fill_queues(&mut self) {
        if self.stopping || !std::mem::take(&mut self.queue_due) {
            return;
        }
        self.order_queue();
        self.waits = self.torrents.values().any(|torrent| torrent.waits);
        let now = (Instant::now(), unix_now());
        for (seeding, switch) in [(false, self.settings.download_queue), (true, self.settings.seed_queue)] {
            let room = switch.get().map_or(usize::MAX, |places| places as usize);
            let stalled = self.settings.stalled.get().map(|minutes| u64::from(minutes) * 60);
            let (mut taken, mut start, mut stop) = (0, Vec::new(), Vec::new());
            for id in self.queue.iter() {
                let torrent = &self.torrents[id];
                if torrent.is_done() != seeding {
                    continue;
                }
                match &torrent.activity {
                    Activity::Running => {
                        let since = torrent.running_since.map_or(now.0, |(since, _)| since);
                        let quiet = now.1.saturating_sub(torrent.active_at);
                        let quiet = quiet.min(now.0.saturating_duration_since(since).as_secs());
                        if torrent.forced || stalled.is_some_and(|limit| quiet >= limit) {
                            continue;
                        }
                        if taken < room { taken += 1 } else { stop.push(torrent.entry.info_hash()) }
                    }
                    Activity::Queued if taken < room => {
                        // One that waits for another torrent takes no place before it runs.
                        taken += usize::from(!torrent.waits);
                        start.push(torrent.entry.info_hash());
                    }
                    _ => {}
                }
            }
            for info_hash in stop {
                self.begin_stop(info_hash, Next::Run);
                self.dirty = true;
            }
            for info_hash in start {
                self.run_queued(info_hash);
                self.dirty = true;
            }
        }
    }
}

/// The order with the chosen ones moved; they keep their order among themselves.
fn moved(order: &[u32], chosen: &HashSet<u32>, to: QueueMove) -> Vec<u32> {
    let (some, others): (Vec<u32>, Vec<u32>) = order.iter().partition(|id| chosen.contains(id));
    match to {
        QueueMove::Top => [some, others].concat(),
        QueueMove::Bottom => [others, some].concat(),
        QueueMove::To(place) => {
            let (before, after) = others.split_at(place.min(others.len()));
            [before, &some, after].concat()
        }
        QueueMove::Up => {
            let mut order = order.to_vec();
            for index in 1..order.len() {
                if chosen.contains(&order[index]) && !chosen.contains(&order[index - 1]) {
                    order.swap(index, index - 1);
                }
            }
            order
        }
        QueueMove::Down => {
            let mut order = order.to_vec();
            for index in (1..order.len()).rev() {
                if chosen.contains(&order[index - 1]) && !chosen.contains(&order[index]) {
                    order.swap(index, index - 1);
                }
            }
            order
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_keep_the_order_of_the_moved() {
        let order = [1, 2, 3, 4, 5];
        let chosen: HashSet<u32> = [2, 4].into();
        for (to, expected) in [
            (QueueMove::Top, [2, 4, 1, 3, 5]),
            (QueueMove::Bottom, [1, 3, 5, 2, 4]),
            (QueueMove::Up, [2, 1, 4, 3, 5]),
            (QueueMove::Down, [1, 3, 2, 5, 4]),
            (QueueMove::To(1), [1, 2, 4, 3, 5]),
            (QueueMove::To(99), [1, 3, 5, 2, 4]),
        ] {
            assert_eq!(moved(&order, &chosen, to), expected, "{to:?}");
        }
        assert_eq!(moved(&order, &[1, 2].into(), QueueMove::Up), order, "at the front already");
        assert_eq!(moved(&order, &[4, 5].into(), QueueMove::Down), order, "at the back already");
    }
}
