//! What time it is. The session looks nowhere else, so that a test says how time passes.

use std::time::{Instant, SystemTime};

/// Tells the time.
pub trait Clock {
    /// A time that only goes forward.
    fn now(&self) -> Instant;

    /// The time of day.
    fn wall(&self) -> SystemTime;

    /// The time of day in seconds since 1970.
    fn unix(&self) -> u64 {
        self.wall().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// The clocks of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
