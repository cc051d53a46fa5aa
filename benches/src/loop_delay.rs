//! The loop delays of a daemon's first shard, from its metrics page.

use std::io;

use crate::daemon::Serving;

const NAME: &str = "ringseed_shard_loop_delay_seconds_bucket{";

/// Cumulative counts by upper bound in seconds, the last one infinite.
#[derive(Debug, Clone, PartialEq)]
pub struct LoopDelays(Vec<(f64, f64)>);

impl LoopDelays {
    /// Those of now.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn read(serving: &Serving) -> io::Result<LoopDelays> {
        Ok(LoopDelays::parse(&serving.metrics()?))
    }

    fn parse(page: &str) -> LoopDelays {
        let bucket = |line: &str| {
            let (labels, count) = line.strip_prefix(NAME)?.split_once("} ")?;
            if !labels.contains("shard=\"0\"") {
                return None;
            }
            let bound = labels.split("le=\"").nth(1)?.split('"').next()?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            Some((bound, count.parse().ok()?))
        };
        LoopDelays(page.lines().filter_map(bucket).collect())
    }

    /// The upper bound, in seconds, of the bucket that holds the quantile `q` of what came after `earlier`: the
    /// quantile is at most this. NaN when nothing came.
    pub fn quantile_since(&self, earlier: &LoopDelays, q: f64) -> f64 {
        let counts: Vec<(f64, f64)> = self
            .0
            .iter()
            .map(|&(bound, count)| {
                let before = earlier.0.iter().find(|(other, _)| *other == bound);
                (bound, count - before.map_or(0.0, |(_, count)| *count))
            })
            .collect();
        let all = counts.last().map_or(0.0, |(_, count)| *count);
        let found = counts.iter().find(|(_, count)| all > 0.0 && *count >= q * all);
        found.map_or(f64::NAN, |(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_of_a_quantile_of_what_came_since() {
        let page = |fast: u32, slow: u32| {
            format!(
                "# HELP ringseed_shard_loop_delay_seconds x\n\
                 ringseed_shard_loop_delay_seconds_bucket{{shard=\"0\",le=\"0.001\"}} {fast}\n\
                 ringseed_shard_loop_delay_seconds_bucket{{shard=\"0\",le=\"0.01\"}} {slow}\n\
                 ringseed_shard_loop_delay_seconds_bucket{{shard=\"0\",le=\"+Inf\"}} {slow}\n\
                 ringseed_shard_loop_delay_seconds_bucket{{shard=\"1\",le=\"0.001\"}} 7\n"
            )
        };
        let (before, after) = (LoopDelays::parse(&page(10, 1000)), LoopDelays::parse(&page(1009, 2000)));
        assert_eq!(after.quantile_since(&before, 0.99), 0.001);
        assert_eq!(after.quantile_since(&before, 0.9999), 0.01);
        assert!(after.quantile_since(&after, 0.5).is_nan());
    }
}
