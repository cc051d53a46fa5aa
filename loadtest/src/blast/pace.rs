//! A peer that wants a fixed rate and no more: requests are paid for with time.

/// A bucket that fills with time and is emptied by requests.
#[derive(Debug, Clone)]
pub struct Pace {
    bytes_per_s: u64,
    burst: u64,
    /// Bytes that may be requested now, times 10^6.
    level: u64,
    filled_us: u64,
}

const MICRO: u64 = 1_000_000;

impl Pace {
    /// A full bucket of `bytes_per_s` (at least 1), which holds at most `burst` bytes: so much is caught up on after
    /// the seeder was slow.
    pub fn new(bytes_per_s: u64, burst: u64) -> Pace {
        let burst = burst.min(u64::MAX / MICRO);
        Pace { bytes_per_s: bytes_per_s.max(1), burst, level: burst * MICRO, filled_us: 0 }
    }

    /// Whether `bytes` may be requested now; if so they are paid for.
    pub fn take(&mut self, now_us: u64, bytes: u64) -> bool {
        let passed = now_us.saturating_sub(self.filled_us);
        self.filled_us = self.filled_us.max(now_us);
        let gained = passed.saturating_mul(self.bytes_per_s);
        self.level = self.level.saturating_add(gained).min(self.burst * MICRO);
        let price = bytes.saturating_mul(MICRO);
        let enough = self.level >= price;
        if enough {
            self.level -= price;
        }
        enough
    }

    /// Microseconds from `now_us` until `bytes` may be requested.
    pub fn wait_us(&self, now_us: u64, bytes: u64) -> u64 {
        let missing = bytes.saturating_mul(MICRO).saturating_sub(self.level);
        (self.filled_us + missing.div_ceil(self.bytes_per_s)).saturating_sub(now_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_follow_the_rate_and_catch_up_within_the_burst() {
        let mut pace = Pace::new(1_000_000, 100);
        assert!(pace.take(0, 100) && !pace.take(0, 1));
        assert_eq!(pace.wait_us(0, 50), 50);
        assert!(!pace.take(49, 50) && pace.take(50, 50));
        // A long pause is forgotten but for one burst.
        assert!(pace.take(1_000_000, 100) && !pace.take(1_000_000, 1));
    }

    #[test]
    fn a_second_gives_as_much_as_the_rate() {
        let mut pace = Pace::new(5_000, 1_000);
        let mut taken = 0;
        for us in (0..=1_000_000).step_by(100) {
            while pace.take(us, 10) {
                taken += 10;
            }
        }
        assert_eq!(taken, 5_000 + 1_000);
    }
}
