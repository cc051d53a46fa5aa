//! What the tests with real processes share: processes with their output, content, waiting for conditions.

#![allow(dead_code, reason = "each test crate uses its part of this")]

pub mod content;
pub mod engines;
#[path = "../../../benches/src/namespaces.rs"]
pub mod namespaces;
#[path = "../../../loadtest/src/ports.rs"]
pub mod ports;
pub mod process;
pub mod rpc;

use std::time::{Duration, Instant};

/// Longest wait for anything: far beyond what a slow machine needs, so that only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until `condition` gives something.
///
/// # Panics
/// After [`PATIENCE`], naming what was waited for.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// A port that is free, for programs that cannot choose one themselves.
pub fn free_port() -> u16 {
    ports::free_address().unwrap().port()
}
