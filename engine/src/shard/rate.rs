//! Rate limits shared by all shards: token buckets of atomics, so that no shard waits for another.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A token bucket in bytes.
#[derive(Debug)]
pub struct RateLimit {
    /// [`UNLIMITED`], or the limit; 0 lets nothing through.
    bytes_per_second: AtomicU64,
    tokens: AtomicI64,
    /// Time of the last refill, in microseconds of the engine's clock.
    refilled_at: AtomicU64,
}

/// Tokens are added in steps of at least this long: finer steps would only cost more wake-ups.
pub const REFILL_STEP: Duration = Duration::from_millis(10);
/// The rate that stands for no limit.
const UNLIMITED: u64 = u64::MAX;
/// Highest limit, in bytes per second: beyond every link, and far from where sums of it overflow.
const RATE_MAX: u64 = 1 << 50;

impl RateLimit {
    /// A limit in bytes per second, 0 for nothing at all; `None` is no limit.
    pub fn new(rate: Option<u64>) -> Self {
        Self {
            bytes_per_second: AtomicU64::new(rate.map_or(UNLIMITED, |rate| rate.min(RATE_MAX))),
            tokens: AtomicI64::new(0),
            refilled_at: AtomicU64::new(0),
        }
    }

    /// The limit in bytes per second.
    pub fn get(&self) -> Option<u64> {
        Some(self.bytes_per_second.load(Ordering::Relaxed)).filter(|rate| *rate != UNLIMITED)
    }

    /// Changes the limit; shards see it with their next grant. What was saved up or overdrawn under another
    /// limit is forgotten.
    pub fn set(&self, rate: Option<u64>) {
        let rate = rate.map_or(UNLIMITED, |rate| rate.min(RATE_MAX));
        if self.bytes_per_second.swap(rate, Ordering::Relaxed) != rate {
            self.tokens.store(0, Ordering::Relaxed);
        }
    }

    /// The most that is saved up, in bytes: 200 ms of the rate, but enough for one block, or a low rate could
    /// never send. `None` without a limit.
    pub fn burst(&self) -> Option<u64> {
        self.get().map(burst)
    }

    /// Takes up to `wanted` bytes at `now` (microseconds); gives how many may be used. Who uses
    /// more, since a block is larger, charges it with [`RateLimit::give_back`]: nothing is granted until it is paid back.
    pub fn take(&self, wanted: u64, now: u64) -> u64 {
        let rate = self.bytes_per_second.load(Ordering::Relaxed);
        if rate == UNLIMITED {
            return wanted;
        }
        self.refill(rate, now);
        let mut tokens = self.tokens.load(Ordering::Relaxed);
        loop {
            if tokens <= 0 {
                return 0;
            }
            let granted = wanted.min(tokens as u64);
            match self.tokens.compare_exchange_weak(
                tokens,
                tokens - granted as i64,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return granted,
                Err(actual) => tokens = actual,
            }
        }
    }

    /// Returns bytes that were taken and not used, or charges bytes used beyond the grant (negative).
    pub fn give_back(&self, bytes: i64) {
        if self.bytes_per_second.load(Ordering::Relaxed) != UNLIMITED {
            self.tokens.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn refill(&self, rate: u64, now: u64) {
        let last = self.refilled_at.load(Ordering::Relaxed);
        let elapsed = now.saturating_sub(last);
        if elapsed < REFILL_STEP.as_micros() as u64 {
            return;
        }
        // One shard wins the step; the others find it taken and go on.
        if self.refilled_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let burst = burst(rate) as i64;
        let add = (u128::from(rate) * u128::from(elapsed.min(1_000_000)) / 1_000_000) as i64;
        let tokens = self.tokens.fetch_add(add, Ordering::Relaxed) + add;
        if tokens > burst {
            self.tokens.fetch_sub(tokens - burst, Ordering::Relaxed);
        }
    }
}

/// See [`RateLimit::burst`].
fn burst(rate: u64) -> u64 {
    if rate == 0 { 0 } else { (rate / 5).max(32 * 1024) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unset_limit_grants_everything() {
        assert_eq!(RateLimit::new(None).take(1 << 40, 0), 1 << 40);
    }

    #[test]
    fn over_a_minute_the_rate_is_kept_within_one_percent() {
        for rate in [20_000u64, 1_000_000, 500_000_000] {
            let limit = RateLimit::new(Some(rate));
            let mut granted = 0;
            for step in 1..=60_000u64 {
                granted += limit.take(16_384, step * 1_000);
                while limit.tokens.load(Ordering::Relaxed) > 16_384 {
                    granted += limit.take(16_384, step * 1_000);
                }
            }
            let wanted = rate * 60;
            let off = granted.abs_diff(wanted);
            assert!(off <= wanted / 100 + 65_536, "rate {rate}: granted {granted}, wanted {wanted}");
        }
    }

    #[test]
    fn a_limit_holds_from_when_it_is_set_until_it_is_lifted() {
        let limit = RateLimit::new(None);
        // All that is granted in ten seconds from `start`, asked for every millisecond.
        let ten_seconds =
            |start: u64| -> u64 { (1..=10_000).map(|step| limit.take(1 << 20, start + step * 1_000)).sum() };
        assert_eq!(ten_seconds(0), 10_000 << 20);
        limit.set(Some(1_000_000));
        assert_eq!((limit.get(), limit.burst()), (Some(1_000_000), Some(200_000)));
        let limited = ten_seconds(10_000_000);
        assert!(limited.abs_diff(10_000_000) <= 300_000, "granted {limited}");
        // A lower one takes nothing along of what the higher one had saved up.
        let _ = limit.take(1, 25_000_000);
        limit.set(Some(100_000));
        let lower = ten_seconds(25_000_000);
        assert!(lower.abs_diff(1_000_000) <= 40_000, "granted {lower}");
        limit.set(Some(0));
        assert_eq!((ten_seconds(40_000_000), limit.burst()), (0, Some(0)));
        limit.set(None);
        assert_eq!((limit.get(), ten_seconds(60_000_000)), (None, 10_000 << 20));
    }

    #[test]
    fn a_block_larger_than_the_burst_is_paid_back() {
        let rate = 32 * 1024;
        let limit = RateLimit::new(Some(rate));
        let (mut sent, block) = (0u64, 128 * 1024);
        for step in 1..=120_000u64 {
            let granted = limit.take(64 * 1024, step * 1_000);
            if granted > 0 {
                sent += block;
                limit.give_back(granted as i64 - block as i64);
            } else {
                limit.give_back(granted as i64);
            }
        }
        let wanted = rate * 120;
        assert!(sent.abs_diff(wanted) <= 2 * block, "sent {sent}, wanted {wanted}");
    }

    #[test]
    fn what_was_not_used_comes_back() {
        let limit = RateLimit::new(Some(100_000));
        let granted = limit.take(10_000, 1_000_000);
        assert_eq!(granted, 10_000);
        let left = limit.tokens.load(Ordering::Relaxed);
        limit.give_back(4_000);
        assert_eq!(limit.tokens.load(Ordering::Relaxed), left + 4_000);
    }
}
