//! When torrents of a shard have something to do by time: a tick costs nothing for those that have not.

use super::torrents::TorrentKey;
use ringseed_proto::units::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The torrents that wait for a time, the next first.
///
/// Each torrent remembers the earliest time at which it comes up (`armed`). Entries of times that were moved
/// forward stay in the heap until they come up, and are passed over then: there are few, for times are moved
/// forward only by what begins (the first unchoked peer, a stored piece, a failed dial).
#[derive(Debug, Default)]
pub struct Timers(BinaryHeap<Reverse<(Time, TorrentKey)>>);

impl Timers {
    /// Lets a torrent come up at `at`, unless it comes up earlier.
    pub fn arm(&mut self, key: TorrentKey, at: Time, armed: &mut Option<Time>) {
        if armed.is_none_or(|earlier| at < earlier) {
            *armed = Some(at);
            self.0.push(Reverse((at, key)));
        }
    }

    /// When the next torrent comes up.
    pub fn next(&self) -> Option<Time> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes a torrent that has come up, with its time; to be passed over when the torrent is not armed for it.
    pub fn pop(&mut self, now: Time) -> Option<(Time, TorrentKey)> {
        if self.next().is_none_or(|at| at > now) {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn the_earliest_time_holds_and_comes_up_once() {
        let mut keys: SlotMap<TorrentKey, Option<Time>> = SlotMap::with_key();
        let (a, b) = (keys.insert(None), keys.insert(None));
        let mut timers = Timers::default();
        for (key, at) in [(a, 30), (b, 20), (a, 10), (a, 40)] {
            timers.arm(key, Time(at), &mut keys[key]);
        }
        assert_eq!(timers.next(), Some(Time(10)));
        assert_eq!(timers.pop(Time(9)), None);
        let mut came = Vec::new();
        while let Some((at, key)) = timers.pop(Time(100)) {
            if keys[key] == Some(at) {
                keys[key] = None;
                came.push((key, at));
            }
        }
        assert_eq!(came, [(a, Time(10)), (b, Time(20))]);
        timers.arm(a, Time(200), &mut keys[a]);
        assert_eq!(timers.next(), Some(Time(200)));
    }
}
