//! How long the turns of a shard's loop take, and how late it wakes: what a peer waits for the loop itself.
//!
//! Nothing in a turn may wait, so a turn is the longest that anything on the shard is held up. Time that the
//! loop slept on purpose does not count, but waking later than was due does.

use ringseed_handle::LoopDelays;
use ringseed_proto::units::Time;
use std::time::Duration;

/// Watches the turns of one loop. The caller reads the clock: once per turn, and once more before a sleep.
#[derive(Debug, Default)]
pub struct LoopWatch {
    delays: LoopDelays,
    /// When the turn began that is going on.
    began: Option<Time>,
}

impl LoopWatch {
    /// A turn begins.
    pub fn turn(&mut self, now: Time) {
        if let Some(began) = self.began.replace(now) {
            self.delays.record(now.micros().saturating_sub(began.micros()));
        }
    }

    /// The turn is over and the loop goes to sleep.
    pub fn sleeps(&mut self, now: Time) {
        if let Some(began) = self.began.take() {
            self.delays.record(now.micros().saturating_sub(began.micros()));
        }
    }

    /// The loop woke after a sleep of at most `limit` that began at `slept_at`. When an event woke it, the
    /// moment of that event is not known and it counts as on time; the end of the sleep is known.
    pub fn woke(&mut self, slept_at: Time, limit: Duration, now: Time) {
        let due = slept_at + limit;
        if now > due {
            self.delays.record(now.micros() - due.micros());
        }
    }

    /// What was recorded.
    pub fn delays(&self) -> LoopDelays {
        self.delays
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_handle::BOUNDS_US;

    fn at(us: u64) -> Time {
        Time::after_epoch(Duration::from_micros(us))
    }

    #[test]
    fn turns_that_follow_each_other_are_delays() {
        let mut watch = LoopWatch::default();
        watch.turn(at(1_000));
        watch.turn(at(1_050));
        watch.turn(at(4_050));
        let delays = watch.delays();
        assert_eq!((delays.counts[0], delays.counts[5]), (1, 1));
        assert_eq!((delays.count(), delays.sum_us, delays.longest_us), (2, 3_050, 3_000));
    }

    #[test]
    fn sleep_does_not_count_but_the_turn_before_it_and_waking_late_do() {
        let mut watch = LoopWatch::default();
        watch.turn(at(0));
        watch.sleeps(at(200));
        // Woken by an event after 30 of 50 ms: on time as far as anybody can tell.
        watch.woke(at(200), Duration::from_millis(50), at(30_200));
        watch.turn(at(30_200));
        watch.sleeps(at(30_300));
        // Woken 20 ms after the time was over.
        watch.woke(at(30_300), Duration::from_millis(50), at(100_300));
        watch.turn(at(100_300));
        let delays = watch.delays();
        assert_eq!(delays.sum_us, 200 + 100 + 20_000);
        assert_eq!((delays.counts[0], delays.counts[1], delays.counts[7]), (1, 1, 1));
    }

    #[test]
    fn what_is_longer_than_all_bounds_has_its_place() {
        let mut watch = LoopWatch::default();
        watch.turn(at(0));
        watch.turn(at(5_000_000));
        assert_eq!(watch.delays().counts[BOUNDS_US.len()], 1);
    }
}
