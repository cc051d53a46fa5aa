//! How many requests to keep in flight to one peer: its rate times the round trip, and a little more.
//!
//! It begins like TCP's slow start: each block that arrives allows one more request, so the depth
//! doubles every round trip, until the rate stops growing. From then on the depth follows rate and
//! latency, and is tried deeper from time to time.

use std::time::Duration;

use super::limits::{QUEUE_TIME, QUEUE_TIME_MAX, REQUEST_DEPTH_MIN, SNUB_AFTER_MAX, SNUB_AFTER_MIN};
use crate::units::{BLOCK_LEN, Time};

/// Shortest measuring interval.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// An interval is closed after this time however few blocks came.
const INTERVAL_MAX: Duration = Duration::from_secs(2);
/// Blocks that make an interval meaningful.
const INTERVAL_BLOCKS: u64 = 8;
/// How far the rate may fall before the proven depth shrinks with it.
const RATE_DIP: u64 = 4;
/// Time between attempts with a deeper queue.
const PROBE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PipelinePhase {
    /// The depth grows with each block as long as the rate grows.
    Growing { depth_before: u32, rate_before: u64 },
    /// The depth follows the rate; `depth` was proven useful at `rate`.
    Steady { depth: u32, rate: u64, probe_at: Time },
}

/// Depth of the request queue at one peer.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    depth: u32,
    phase: PipelinePhase,
    interval_start: Time,
    interval_bytes: u64,
    /// The interval leaves out pauses: the queue ran empty in it, so that the peer may be faster than was measured.
    paused: bool,
    /// When the last block of the interval came.
    last_block: Time,
    /// Bytes per second.
    rate: u64,
    /// Smallest time from a request to the first byte of its answer.
    latency_min: Option<Duration>,
}

impl Pipeline {
    pub(super) fn new(now: Time) -> Pipeline {
        Pipeline {
            depth: REQUEST_DEPTH_MIN,
            phase: PipelinePhase::Growing { depth_before: REQUEST_DEPTH_MIN, rate_before: 0 },
            interval_start: now,
            interval_bytes: 0,
            paused: false,
            last_block: now,
            rate: 0,
            latency_min: None,
        }
    }

    /// Requests to have in flight, at most `max`.
    pub(super) fn depth(&self, max: u32) -> u32 {
        self.depth.min(max).min(self.depth_by_time()).max(1)
    }

    /// As many as the peer answers in [`QUEUE_TIME_MAX`]: what waits for long is asked for again, and comes twice.
    fn depth_by_time(&self) -> u32 {
        if self.rate == 0 {
            return u32::MAX;
        }
        let blocks = self.rate.saturating_mul(QUEUE_TIME_MAX.as_secs()) / u64::from(BLOCK_LEN);
        u32::try_from(blocks).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Bytes per second at the last measurement; 0 when there was none since it began or stopped to deliver.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    /// The first requests after a pause are about to be sent: the pause must not count as slowness. There is one of no
    /// length each time when all that was asked for arrives at once: what came before it still counts.
    pub(super) fn resumed(&mut self, now: Time) {
        if self.interval_bytes == 0 {
            self.interval_start = now;
            return;
        }
        self.interval_start = self.interval_start + now.saturating_since(self.last_block);
        self.paused = true;
    }

    /// The answer to a request begins to arrive.
    pub(super) fn first_byte(&mut self, now: Time, asked: Time) {
        let latency = now.saturating_since(asked);
        self.latency_min = Some(self.latency_min.map_or(latency, |least| least.min(latency)));
    }

    /// A requested block has arrived.
    pub(super) fn block(&mut self, now: Time, bytes: u32, max: u32) {
        self.interval_bytes += u64::from(bytes);
        self.last_block = now;
        if matches!(self.phase, PipelinePhase::Growing { .. }) && self.depth < max {
            self.depth += 1;
        }
        let passed = now.saturating_since(self.interval_start);
        let least = INTERVAL_MIN.max(self.latency_min.unwrap_or_default() * 2);
        let enough = self.interval_bytes >= INTERVAL_BLOCKS * u64::from(BLOCK_LEN);
        if passed >= least && (enough || passed >= INTERVAL_MAX) {
            self.close_interval(now, passed);
        }
    }

    fn close_interval(&mut self, now: Time, passed: Duration) {
        let micros = passed.as_micros().max(1);
        let measured =
            u64::try_from(u128::from(self.interval_bytes) * 1_000_000 / micros).unwrap_or(u64::MAX);
        self.interval_start = now;
        self.interval_bytes = 0;
        if std::mem::take(&mut self.paused) && measured <= self.rate {
            return;
        }
        self.rate = if measured > self.rate { measured } else { (self.rate * 3 + measured) / 4 };
        match self.phase {
            PipelinePhase::Growing { rate_before, .. } if measured > rate_before + rate_before / 10 => {
                self.phase = PipelinePhase::Growing { depth_before: self.depth, rate_before: measured };
            }
            PipelinePhase::Growing { depth_before, rate_before } => {
                let rate = rate_before.max(1);
                self.phase = PipelinePhase::Steady { depth: depth_before, rate, probe_at: now + PROBE_EVERY };
                self.follow(depth_before, rate);
            }
            PipelinePhase::Steady { probe_at, .. } if now >= probe_at => {
                self.phase = PipelinePhase::Growing { depth_before: self.depth, rate_before: self.rate };
            }
            PipelinePhase::Steady { depth, rate, .. } => self.follow(depth, rate),
        }
    }

    fn follow(&mut self, proven_depth: u32, proven_rate: u64) {
        let cover = self.latency_min.unwrap_or_default() * 2 + QUEUE_TIME;
        let bytes = u128::from(self.rate) * cover.as_micros() / 1_000_000;
        let by_rate = u32::try_from(bytes / u128::from(BLOCK_LEN)).unwrap_or(u32::MAX);
        // A queue that shrank with every dip of the rate would cause the next dip at peers that serve in turns
        // (transmission: half a second): what was proven stays until the rate is far below.
        let kept = self.rate.saturating_mul(RATE_DIP).min(proven_rate);
        let part = u128::from(proven_depth) * u128::from(kept) / u128::from(proven_rate);
        let by_proof = u32::try_from(part).unwrap_or(proven_depth);
        self.depth = by_rate.max(by_proof).saturating_add(1).max(REQUEST_DEPTH_MIN);
    }

    /// The peer stopped delivering: begin again.
    pub(super) fn collapse(&mut self, now: Time) {
        *self = Pipeline { latency_min: self.latency_min, ..Pipeline::new(now) };
    }

    /// Time without a finished block after which the peer counts as snubbing us.
    pub(super) fn patience(&self, outstanding: usize) -> Duration {
        if self.rate == 0 {
            return SNUB_AFTER_MAX / 2;
        }
        let bytes = (outstanding as u64 + 1) * u64::from(BLOCK_LEN);
        let expected = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.rate);
        (expected * 2 + self.latency_min.unwrap_or_default() * 4).clamp(SNUB_AFTER_MIN, SNUB_AFTER_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::limits::REQUEST_AGE_MAX;
    use super::*;

    /// Runs a peer of `rate` bytes per second at `rtt` for `seconds`; returns depth and bytes per
    /// second in the last quarter of the time.
    fn run(rate: u64, rtt: Duration, seconds: u64, max: u32) -> (u32, u64) {
        let mut now = Time::ZERO;
        let mut pipeline = Pipeline::new(now);
        let mut asked: VecDeque<Time> = VecDeque::new();
        let mut free_at = Time::ZERO;
        let end = Time::ZERO + Duration::from_secs(seconds);
        let (mut late_bytes, late) = (0, Time(end.0 / 4 * 3));
        while now < end {
            while asked.len() < pipeline.depth(max) as usize {
                asked.push_back(now);
            }
            let at = asked.pop_front().unwrap();
            let begin = (at + rtt).max(free_at);
            free_at = begin + Duration::from_micros(u64::from(BLOCK_LEN) * 1_000_000 / rate);
            pipeline.first_byte(begin, at);
            now = free_at;
            pipeline.block(now, BLOCK_LEN, max);
            if now > late {
                late_bytes += u64::from(BLOCK_LEN);
            }
        }
        (pipeline.depth(max), late_bytes * 1_000_000 / (end.0 - late.0))
    }

    #[test]
    fn fills_links_of_every_shape() {
        for (rate, rtt, slack) in [
            (100_000, 50, 24),
            (1_000_000, 300, 100),
            (20_000_000, 100, 1200),
            (200_000_000, 1, 2000),
            (5_000_000, 1, 200),
        ] {
            let (depth, achieved) = run(rate, Duration::from_millis(rtt), 60, 2000);
            assert!(
                achieved * 100 >= rate * 90,
                "{rate} B/s at {rtt} ms: only {achieved} with depth {depth}"
            );
            assert!(depth <= slack, "{rate} B/s at {rtt} ms: depth {depth}");
        }
    }

    #[test]
    fn a_dip_of_the_rate_does_not_shrink_the_queue_and_a_lasting_fall_does() {
        let mut pipeline = Pipeline::new(Time::ZERO);
        pipeline.rate = 400_000;
        pipeline.follow(100, 1_000_000);
        assert!(pipeline.depth >= 100, "a dip to 0.4 shrank it to {}", pipeline.depth);
        pipeline.rate = 25_000;
        pipeline.follow(100, 1_000_000);
        assert!(pipeline.depth <= 12, "a fall to 0.025 left {}", pipeline.depth);
    }

    #[test]
    fn a_slow_peer_has_no_queue_that_takes_minutes() {
        for rate in [500, 2_500, 10_000] {
            let (depth, achieved) = run(rate, Duration::from_millis(100), 3600, 2000);
            let seconds = u64::from(depth) * u64::from(BLOCK_LEN) / rate;
            assert!(seconds < REQUEST_AGE_MAX.as_secs(), "{rate} B/s: {depth} requests take {seconds} s");
            assert!(achieved * 100 >= rate * 90, "{rate} B/s: {achieved}");
        }
    }

    /// All that is asked for arrives at once, `rtt` later, as often as `times` says.
    fn run_in_bursts(pipeline: &mut Pipeline, now: &mut Time, rtt: Duration, times: u32) {
        for _ in 0..times {
            pipeline.resumed(*now);
            let (asked, count) = (*now, pipeline.depth(200));
            *now = *now + rtt;
            for _ in 0..count {
                pipeline.first_byte(*now, asked);
                pipeline.block(*now, BLOCK_LEN, 200);
            }
        }
    }

    #[test]
    fn a_peer_that_began_slowly_gets_a_deep_queue_when_it_is_fast() {
        for rtt in [1, 50, 300].map(Duration::from_millis) {
            let mut now = Time::ZERO;
            let mut pipeline = Pipeline::new(now);
            for _ in 0..4 {
                let asked = now;
                now = now + Duration::from_secs(16);
                pipeline.first_byte(asked + rtt, asked);
                pipeline.block(now, BLOCK_LEN, 200);
            }
            assert!(pipeline.depth(200) <= 3);
            run_in_bursts(&mut pipeline, &mut now, rtt, 1000);
            let depth = pipeline.depth(200);
            assert!(depth >= 20, "depth {depth} at {rtt:?}");
        }
    }

    #[test]
    fn pauses_do_not_count_as_slowness() {
        let mut now = Time::ZERO;
        let mut pipeline = Pipeline::new(now);
        let rtt = Duration::from_millis(50);
        run_in_bursts(&mut pipeline, &mut now, rtt, 100);
        let before = (pipeline.depth(200), pipeline.rate());
        assert!(before.1 > 1_000_000, "{before:?}");
        // One block a minute is asked for.
        for _ in 0..100 {
            now = now + Duration::from_secs(60);
            pipeline.resumed(now);
            pipeline.first_byte(now + rtt, now);
            pipeline.block(now + rtt, BLOCK_LEN, 200);
        }
        assert_eq!((pipeline.depth(200), pipeline.rate()), before);
    }

    #[test]
    fn stays_within_what_the_peer_accepts() {
        let (depth, _) = run(100_000_000, Duration::from_millis(100), 10, 50);
        assert_eq!(depth, 50);
    }

    #[test]
    fn ramps_within_a_few_round_trips() {
        let rtt = Duration::from_millis(100);
        let (depth, _) = run(100_000_000, rtt, 1, 2000);
        assert!(depth > 200, "after ten round trips the depth is {depth}");
    }

    #[test]
    fn patience_grows_with_slowness_but_not_forever() {
        let mut pipeline = Pipeline::new(Time::ZERO);
        assert_eq!(pipeline.patience(4), SNUB_AFTER_MAX / 2);
        pipeline.rate = 10_000_000;
        assert_eq!(pipeline.patience(100), SNUB_AFTER_MIN);
        pipeline.rate = 100;
        assert_eq!(pipeline.patience(4), SNUB_AFTER_MAX);
    }
}
