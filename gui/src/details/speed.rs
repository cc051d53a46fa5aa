//! Rates over time.

use std::collections::VecDeque;

/// Samples that are kept: ten minutes of one a second.
const SAMPLES_MAX: usize = 600;

/// Rates at one moment, in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Received.
    pub down: u64,
    /// Sent.
    pub up: u64,
}

/// The last ten minutes.
#[derive(Debug, Clone, Default)]
pub struct SpeedHistory {
    samples: VecDeque<Sample>,
}

impl SpeedHistory {
    /// Adds the sample of this second.
    pub fn push(&mut self, sample: Sample) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.samples.clear();
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.samples.len() < 2
    }

    /// The newest sample.
    pub fn latest(&self) -> Sample {
        self.samples.back().copied().unwrap_or_default()
    }

    /// The value at the upper edge of a graph.
    pub fn top(&self) -> u64 {
        nice_top(self.samples.iter().map(|sample| sample.down.max(sample.up)).max().unwrap_or(0))
    }

    /// Two lines for a graph of `width` by `height`, as commands of an SVG path: down and up. The newest sample
    /// is at the right edge.
    pub fn paths(&self, width: f32, height: f32) -> (String, String) {
        let top = self.top() as f32;
        let step = width / (SAMPLES_MAX - 1) as f32;
        let left = width - step * self.samples.len().saturating_sub(1) as f32;
        let line = |value: fn(&Sample) -> u64| {
            let mut path = String::new();
            for (index, sample) in self.samples.iter().enumerate() {
                let (x, y) = (left + step * index as f32, height - height * value(sample) as f32 / top);
                path.push_str(&format!("{} {x:.1} {y:.1} ", if index == 0 { "M" } else { "L" }));
            }
            path
        };
        (line(|sample| sample.down), line(|sample| sample.up))
    }
}

/// The next round value: 1, 2 or 5 times a power of ten of a binary unit; at least 10 KiB.
pub fn nice_top(value: u64) -> u64 {
    let mut unit = 1024u64;
    while value > unit.saturating_mul(500) && unit < 1 << 50 {
        unit *= 1024;
    }
    [10, 20, 50, 100, 200, 500, 1000]
        .into_iter()
        .map(|times| unit * times)
        .chain([1, 2, 5].into_iter().filter(|_| unit > 1024).map(|times| unit * times))
        .filter(|top| *top >= value)
        .min()
        .unwrap_or(value)
        .max(10 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_is_round_and_above_all() {
        for (value, top) in [
            (0, 10 << 10),
            (11 << 10, 20 << 10),
            (500 << 10, 500 << 10),
            (501 << 10, 1 << 20),
            (3 << 20, 5 << 20),
            (700 << 20, 1 << 30),
        ] {
            assert_eq!(nice_top(value), top, "{value}");
        }
    }

    #[test]
    fn ten_minutes_are_kept_and_the_newest_is_at_the_right() {
        let mut history = SpeedHistory::default();
        assert!(history.is_empty());
        for second in 0..700 {
            history.push(Sample { down: second, up: 0 });
        }
        let (down, up) = history.paths(599.0, 100.0);
        assert!(down.starts_with("M 0.0 ") && down.contains("L 599.0 "), "{down}");
        assert_eq!(up.matches('L').count(), 599);
    }
}
