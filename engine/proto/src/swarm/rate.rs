//! Bytes per second over a sliding window, with time as an argument.

use crate::units::Time;

/// Seconds remembered: the window of the choker (20 s in BEP 3).
const SECONDS: u64 = 20;

/// Counts bytes in buckets of one second.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    buckets: [u64; SECONDS as usize],
    /// The second of the newest bucket.
    newest: u64,
    since: Time,
}

impl Rate {
    pub(super) fn new(now: Time) -> Rate {
        Rate { buckets: [0; SECONDS as usize], newest: second(now), since: now }
    }

    #[inline]
    pub(super) fn add(&mut self, now: Time, bytes: u64) {
        let at = second(now);
        if at > self.newest {
            if at - self.newest >= SECONDS {
                self.buckets = [0; SECONDS as usize];
            } else {
                for gone in self.newest + 1..=at {
                    self.buckets[(gone % SECONDS) as usize] = 0;
                }
            }
            self.newest = at;
        }
        self.buckets[(self.newest % SECONDS) as usize] += bytes;
    }

    /// Bytes in the last 20 seconds.
    pub(super) fn total(&self, now: Time) -> u64 {
        self.sum(now, SECONDS)
    }

    /// Bytes per second over the last `seconds` (at most 19), or since the start when that is less.
    pub(super) fn per_second(&self, now: Time, seconds: u64) -> u64 {
        let seconds = seconds.clamp(1, SECONDS - 1);
        let sum = self.sum(now, seconds + 1);
        // The newest bucket is partly in the future.
        let window = seconds * 1_000_000 + now.micros() % 1_000_000;
        let lived = now.micros().saturating_sub(self.since.micros());
        let micros = window.min(lived).max(1_000_000);
        u64::try_from(u128::from(sum) * 1_000_000 / u128::from(micros)).unwrap_or(u64::MAX)
    }

    fn sum(&self, now: Time, buckets: u64) -> u64 {
        let at = second(now);
        (0..buckets)
            .filter_map(|age| at.checked_sub(age))
            .filter(|&second| second <= self.newest && second + SECONDS > self.newest)
            .map(|second| self.buckets[(second % SECONDS) as usize])
            .sum()
    }
}

fn second(now: Time) -> u64 {
    now.micros() / 1_000_000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn follows_a_constant_flow_and_forgets() {
        let start = Time::ZERO + Duration::from_millis(12_345);
        let mut rate = Rate::new(start);
        let mut now = start;
        for _ in 0..400 {
            now = now + Duration::from_millis(100);
            rate.add(now, 10_000);
        }
        for seconds in [1, 5, 19] {
            let measured = rate.per_second(now, seconds);
            assert!((90_000..=110_000).contains(&measured), "{measured} over {seconds} s");
        }
        assert!((1_900_000..=2_000_000).contains(&rate.total(now)));
        let later = now + Duration::from_secs(10);
        assert_eq!(rate.per_second(later, 5), 0);
        assert!(rate.total(later) > 0);
        assert_eq!(rate.total(now + Duration::from_secs(40)), 0);
        rate.add(now + Duration::from_secs(60), 7);
        assert_eq!(rate.total(now + Duration::from_secs(60)), 7);
    }

    #[test]
    fn a_burst_at_the_start_is_not_exaggerated() {
        let mut rate = Rate::new(Time::ZERO);
        rate.add(Time(10), 50_000);
        assert_eq!(rate.per_second(Time(20), 5), 50_000);
    }
}
