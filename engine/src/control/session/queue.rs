//! The queue: one order of all torrents, and how many of them download and seed at once.

use super::super::activity::Next;
use super::Session;
use ringseed_handle::{EngineError, QueueMove};
use ringseed_proto::hashes::TorrentId;
use ringseed_storage::{TorrentRecord, TorrentSettings};
use std::collections::HashSet;
use std::sync::Arc;

impl Session {
    /// Moves torrents in the queue; unknown ones are left out.
    pub(super) fn move_in_queue(&mut self, torrents: &[TorrentId], to: QueueMove) -> Result<(), EngineError> {
        self.take_changes();
        let chosen: HashSet<u32> =
            torrents.iter().filter_map(|torrent_id| self.ids.get(torrent_id).copied()).collect();
        if chosen.is_empty() {
            return Ok(());
        }
        let places = self.new_places(&chosen, to);
        let records: Vec<TorrentRecord> = places
            .iter()
            .filter_map(|(id, new)| {
                let record = self.record(self.torrents.get(id)?.entry.id())?;
                let settings = TorrentSettings { queue: *new, ..record.settings };
                Some(TorrentRecord { settings, ..record })
            })
            .collect();
        self.save_settings(&records)?;
        for (id, new) in places {
            let Some(torrent) = self.torrents.get_mut(&id) else { continue };
            let settings: &mut TorrentSettings = Arc::make_mut(&mut torrent.settings);
            settings.queue = new;
            torrent.touch();
            self.last_place = self.last_place.max(new);
        }
        self.queue_due = true;
        Ok(())
    }

    /// The torrents that get another place when the chosen ones are moved. Places need not be without gaps: at an end
    /// only what is moved gets new ones.
    fn new_places(&self, chosen: &HashSet<u32>, to: QueueMove) -> Vec<(u32, i64)> {
        let order = &self.census.order;
        let first = match to {
            QueueMove::Top => order.first().map(|(first, _)| first - chosen.len() as i64),
            QueueMove::Bottom => Some(self.last_place + 1),
            QueueMove::Up | QueueMove::Down | QueueMove::To(_) => None,
        };
        if let Some(first) = first {
            let place = |id: &u32| self.torrents.get(id).map(|torrent| (torrent.settings.queue, *id));
            let mut moved: Vec<(i64, u32)> = chosen.iter().filter_map(place).collect();
            moved.sort_unstable();
            return moved.into_iter().zip(first..).map(|((_, id), place)| (id, place)).collect();
        }
        let (before, ids): (Vec<i64>, Vec<u32>) = order.iter().copied().unzip();
        let mut places = before.clone();
        // Torrents of older versions may share one.
        for index in 1..places.len() {
            places[index] = places[index].max(places[index - 1] + 1);
        }
        let order = moved(&ids, chosen, to);
        let all = order.into_iter().zip(places).zip(ids.into_iter().zip(before));
        all.filter(|(new, old)| new != old).map(|(new, _)| new).collect()
    }

    /// Starts torrents that a queue has places for, and queues those that are too many.
    pub(super) fn fill_queues(&mut self) {
        if self.stopping || !std::mem::take(&mut self.queue_due) {
            return;
        }
        let (now, unix) = (self.now(), self.parts.clock.unix());
        let stalled = self.settings.stalled.get().map(|minutes| u64::from(minutes) * 60);
        for (seeding, switch) in [(false, self.settings.download_queue), (true, self.settings.seed_queue)] {
            self.take_changes();
            let queue = &self.census.queues[usize::from(seeding)];
            // Without a limit nothing has to stop.
            let running = queue.running.iter().filter(|_| switch.on).map(|key| {
                let takes_place = self.torrents.get(&key.1).is_some_and(|torrent| {
                    let since = torrent.running_since.map_or(now, |(since, _)| since);
                    let quiet = unix.saturating_sub(torrent.active_at);
                    let quiet = quiet.min(now.saturating_duration_since(since).as_secs());
                    !torrent.forced && stalled.is_none_or(|limit| quiet < limit)
                });
                (*key, takes_place)
            });
            // One that waits for another torrent takes no place before it runs.
            let waiting = queue.waiting.iter().map(|key| (*key, !self.census.waiting.contains(&key.1)));
            let room = switch.get().map_or(usize::MAX, |places| places as usize);
            let turns = take_turns(running, waiting, room);
            self.dirty |= turns != Turns::default();
            for torrent_id in self.hashes_of(&turns.stop) {
                self.begin_stop(torrent_id, Next::Run);
            }
            for torrent_id in self.hashes_of(&turns.start) {
                self.run_queued(torrent_id);
            }
        }
    }

    fn hashes_of(&self, ids: &[u32]) -> Vec<TorrentId> {
        ids.iter().filter_map(|id| Some(self.torrents.get(id)?.entry.id())).collect()
    }
}

/// Torrents of a queue that start and that stop, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Turns {
    start: Vec<u32>,
    stop: Vec<u32>,
}

/// Gives out the places of a queue in its order. Of those that run and of those that wait each has its key, and whether it
/// takes a place: what is forced, and what stalls, runs without.
fn take_turns(
    running: impl Iterator<Item = ((i64, u32), bool)>,
    waiting: impl Iterator<Item = ((i64, u32), bool)>,
    room: usize,
) -> Turns {
    let (mut running, mut waiting) = (running.filter(|(_, takes)| *takes).peekable(), waiting.peekable());
    let (mut taken, mut turns) = (0, Turns::default());
    while taken < room {
        let before = running.peek().map(|(key, _)| *key);
        match waiting.next_if(|(key, _)| before.is_none_or(|before| *key < before)) {
            Some(((_, id), takes)) => {
                turns.start.push(id);
                taken += usize::from(takes);
            }
            None if running.next().is_some() => taken += 1,
            None => break,
        }
    }
    turns.stop.extend(running.map(|((_, id), _)| id));
    turns
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
    fn places_are_given_out_in_the_order_of_the_queue() {
        let all = |ids: &[u32]| ids.iter().map(|id| ((i64::from(*id), *id), true)).collect::<Vec<_>>();
        let turns = |running: &[u32], waiting: &[u32], room| {
            let turns = take_turns(all(running).into_iter(), all(waiting).into_iter(), room);
            (turns.start, turns.stop)
        };
        assert_eq!(turns(&[1, 4], &[2, 3], 3), (vec![2, 3], vec![4]));
        assert_eq!(turns(&[1, 2, 3], &[], 2), (vec![], vec![3]));
        assert_eq!(turns(&[], &[5, 6], usize::MAX), (vec![5, 6], vec![]));
        assert_eq!(turns(&[2], &[1, 3], 1), (vec![1], vec![2]));
        assert_eq!(turns(&[1], &[2], 0), (vec![], vec![1]));
        // What is forced or stalls is not counted, and what waits for another torrent is tried beside the others.
        let running = [((1, 1), false), ((2, 2), true)];
        let waiting = [((3, 3), false), ((4, 4), true), ((5, 5), true)];
        let turns = take_turns(running.into_iter(), waiting.into_iter(), 2);
        assert_eq!((turns.start, turns.stop), (vec![3, 4], vec![]));
    }

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
