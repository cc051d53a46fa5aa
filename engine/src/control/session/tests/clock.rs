//! A clock that a test moves.

use crate::control::outside::Clock;
use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

/// A day in 2027, at noon.
const BEGIN: Duration = Duration::from_secs(1_800_014_400);

/// Stands still until it is moved.
pub struct FakeClock {
    began: Instant,
    passed: Cell<Duration>,
}

impl FakeClock {
    pub fn new() -> FakeClock {
        FakeClock { began: Instant::now(), passed: Cell::default() }
    }

    pub fn pass(&self, time: Duration) {
        self.passed.set(self.passed.get() + time);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Instant {
        self.began + self.passed.get()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + BEGIN + self.passed.get()
    }
}
