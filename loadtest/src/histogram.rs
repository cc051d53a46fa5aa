//! A log-linear histogram of durations in microseconds: 32 buckets per power of two, so that a quantile is at
//! most 3.2 % above the recorded value. Fixed size, no allocation when recording.

use serde::Serialize;

/// Bits of a value that are kept below its leading bit.
const SUB_BITS: u32 = 5;
const SUBS: u64 = 1 << SUB_BITS;
/// Highest leading bit that is told apart: 2^40 us is 12 days.
const TOP_BIT: u32 = 40;
const BUCKETS: usize = ((TOP_BIT - SUB_BITS + 2) as u64 * SUBS) as usize;

/// Counts of values by magnitude.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max: u64,
}

/// What a report tells of a histogram, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Number of values.
    pub count: u64,
    /// Half of the values are at most this.
    pub p50: u64,
    /// 99 % of the values are at most this.
    pub p99: u64,
    /// 99.9 % of the values are at most this.
    pub p999: u64,
    /// The largest value.
    pub max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts `value` (microseconds).
    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// Smallest bucket bound that at least `q` (0 to 1) of the values do not exceed; 0 without values.
    pub fn quantile(&self, q: f64) -> u64 {
        let wanted = (self.total as f64 * q.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_bound(index).min(self.max);
            }
        }
        self.max
    }

    /// The usual quantiles.
    pub fn quantiles(&self) -> Quantiles {
        Quantiles {
            count: self.total,
            p50: self.quantile(0.5),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: self.max,
        }
    }
}

/// Bucket of a value: exact below 32, then 32 per power of two.
fn bucket(value: u64) -> usize {
    if value < SUBS {
        return value as usize;
    }
    let top = (63 - value.leading_zeros()).min(TOP_BIT);
    let shift = top - SUB_BITS;
    let sub = (value >> shift).min(2 * SUBS - 1) - SUBS;
    ((u64::from(shift) + 1) * SUBS + sub) as usize
}

/// Largest value of a bucket.
fn upper_bound(index: usize) -> u64 {
    let index = index as u64;
    if index < SUBS {
        return index;
    }
    let shift = index / SUBS - 1;
    ((SUBS + index % SUBS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_its_bucket_and_three_percent() {
        for value in (0..10_000).chain([123_456, 9_999_999, 1 << 39, (1 << 41) - 1]) {
            let bound = upper_bound(bucket(value));
            assert!(bound >= value, "{value} above its bound {bound}");
            assert!(bound as f64 <= value as f64 * 1.032 + 0.5, "{value} far below its bound {bound}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_a_ramp() {
        let mut histogram = Histogram::default();
        for value in 1..=1000 {
            histogram.record(value);
        }
        let q = histogram.quantiles();
        assert_eq!((q.count, q.max), (1000, 1000));
        assert!((500..=516).contains(&q.p50), "{}", q.p50);
        assert!((990..=1000).contains(&q.p99), "{}", q.p99);
    }

    #[test]
    fn empty_is_zero() {
        assert_eq!(Histogram::default().quantiles(), Quantiles { count: 0, p50: 0, p99: 0, p999: 0, max: 0 });
    }
}
