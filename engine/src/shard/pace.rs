//! Rests between looks at the sockets while bytes come fast from few peers.
//!
//! A shard that keeps up with a fast peer would look at its socket whenever a segment or two have come, some ten thousand
//! times per GB, and each look costs as much as copying 100 KiB. Data that waits some hundred microseconds in the kernel
//! is fetched at once instead, and peers whose request queue is as deep as their rate asks for do not notice.

use ringseed_proto::units::Time;
use std::time::Duration;

/// How many bytes come while the loop rests: fewer than a sender may have under way, which would stop otherwise.
const REST_BYTES: u64 = 448 << 10;
/// Longest rest.
const REST_MAX: Duration = Duration::from_millis(1);
/// Bytes per second received by the shard from which on it rests: below, looking costs little altogether.
const FAST: u64 = 64 << 20;
/// How long the rate is measured.
const INTERVAL: Duration = Duration::from_millis(50);
/// A turn that found so much has no need of a rest: there was enough to do, and more may be waiting.
const ENOUGH: u64 = 256 << 10;
/// A turn with more completions has many peers to serve, who do not all ask far ahead.
const FEW: usize = 16;

/// What was received lately.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Bytes in this turn.
    turn: u64,
    /// Bytes in the turns since `since`.
    interval: u64,
    since: Time,
    /// Bytes per second in the interval before.
    rate: u64,
}

impl Pace {
    /// Bytes were received.
    pub(super) fn received(&mut self, bytes: usize) {
        self.turn += bytes as u64;
    }

    /// A turn that began at `now` and had so many completions is over: how long to rest before the next.
    pub(super) fn rest(&mut self, now: Time, completions: usize) -> Option<Duration> {
        let turn = std::mem::take(&mut self.turn);
        self.interval += turn;
        let passed = now.saturating_since(self.since);
        if passed >= INTERVAL {
            let per_second = u128::from(self.interval) * 1_000_000 / passed.as_micros();
            self.rate = u64::try_from(per_second).unwrap_or(u64::MAX);
            (self.interval, self.since) = (0, now);
        }
        let gain = self.rate >= FAST && turn > 0 && turn < ENOUGH && completions <= FEW;
        gain.then(|| Duration::from_micros(REST_BYTES * 1_000_000 / self.rate).min(REST_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state after 200 ms of one turn per millisecond with `bytes` each.
    fn after(bytes: usize) -> (Pace, Time) {
        let (mut pace, mut now) = (Pace::default(), Time::ZERO);
        for _ in 0..200 {
            now = now + Duration::from_millis(1);
            pace.received(bytes);
            pace.rest(now, 1);
        }
        (pace, now)
    }

    fn rests(pace: &mut Pace, now: Time, bytes: usize, completions: usize) -> bool {
        pace.received(bytes);
        pace.rest(now, completions).is_some()
    }

    #[test]
    fn it_rests_when_bytes_come_fast_and_in_small_parts() {
        let (mut fast, now) = after(100_000);
        assert!(rests(&mut fast, now, 16_384, 1));
        assert!(rests(&mut fast, now, 1_448, FEW));
        assert!(!rests(&mut fast, now, ENOUGH as usize, 3), "there was enough to do");
        assert!(!rests(&mut fast, now, 16_384, FEW + 1), "many peers wait");
        assert!(!rests(&mut fast, now, 0, 1), "nothing came: the loop sleeps until something does");
        let (mut slow, now) = after(60_000);
        assert!(!rests(&mut slow, now, 16_384, 1));
    }

    #[test]
    fn the_faster_bytes_come_the_shorter_it_rests() {
        let rest = |bytes| {
            let (mut pace, now) = after(bytes);
            pace.received(16_384);
            pace.rest(now, 1)
        };
        assert_eq!(rest(100_000), Some(REST_MAX));
        let each_ms = REST_BYTES as usize;
        assert_eq!(rest(each_ms), Some(REST_MAX));
        assert_eq!(rest(2 * each_ms), Some(REST_MAX / 2));
        assert_eq!(rest(20 * each_ms), Some(REST_MAX / 20));
    }

    #[test]
    fn it_is_fast_no_longer_than_the_bytes_come() {
        let (mut pace, now) = after(100_000);
        let later = now + INTERVAL * 3;
        assert!(!rests(&mut pace, later, 16_384, 1));
        assert!(!rests(&mut pace, later + Duration::from_millis(1), 16_384, 1));
    }
}
