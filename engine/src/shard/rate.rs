//! Rate limits shared by all shards: token buckets of atomics, so that no shard waits for another.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A token bucket in bytes. Rate 0 means no limit.
#[derive(Debug)]
pub struct RateLimit {
    bytes_per_second: AtomicU64,
    tokens: AtomicI64,
    /// Time of the last refill, in microseconds of the engine's clock.
    refilled_at: AtomicU64,
}

/// Tokens are added in steps of at least this long: finer steps would only cost more wake-ups.
pub const REFILL_STEP: Duration = Duration::from_millis(10);

impl RateLimit {
    /// A limit in bytes per second; `None` is no limit.
    pub fn new(rate: Option<u64>) -> Self {
        Self {
            bytes_per_second: AtomicU64::new(rate.unwrap_or(0)),
            tokens: AtomicI64::new(0),
            refilled_at: AtomicU64::new(0),
        }
    }

    /// The limit in bytes per second.
    pub fn get(&self) -> Option<u64> {
        Some(self.bytes_per_second.load(Ordering::Relaxed)).filter(|rate| *rate > 0)
    }

    /// Takes up to `wanted` bytes at `now` (microseconds); gives how many may be used. A grant may
    /// overdraw by less than one block, which the next refill pays back.
    pub fn take(&self, wanted: u64, now: u64) -> u64 {
        let rate = self.bytes_per_second.load(Ordering::Relaxed);
        if rate == 0 {
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
        if self.bytes_per_second.load(Ordering::Relaxed) != 0 {
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
        // A burst of at most 200 ms, but enough for one block, or a low rate could never send.
        let burst = (rate / 5).max(32 * 1024) as i64;
        let add = (u128::from(rate) * u128::from(elapsed.min(1_000_000)) / 1_000_000) as i64;
        let tokens = self.tokens.fetch_add(add, Ordering::Relaxed) + add;
        if tokens > burst {
            self.tokens.fetch_sub(tokens - burst, Ordering::Relaxed);
        }
    }
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
    fn what_was_not_used_comes_back() {
        let limit = RateLimit::new(Some(100_000));
        let granted = limit.take(10_000, 1_000_000);
        assert_eq!(granted, 10_000);
        let left = limit.tokens.load(Ordering::Relaxed);
        limit.give_back(4_000);
        assert_eq!(limit.tokens.load(Ordering::Relaxed), left + 4_000);
    }
}
