//! Bounds of the engine's connection, each with its reason.

use std::time::Duration;

/// Commands that wait to be sent: more than a person clicks while one request is on its way.
pub(super) const COMMANDS_MAX: usize = 256;
/// News that wait for the window; when it is busy, the thread waits with it.
pub(super) const EVENTS_MAX: usize = 32;
/// Largest answer: 100,000 torrents with all their fields.
pub(super) const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Largest torrent file that is sent.
pub(super) const TORRENT_BYTES_MAX: u64 = 24 << 20;
/// Time to connect and to be answered.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How often news are asked for.
pub(super) const POLL_EVERY: Duration = Duration::from_secs(1);
/// How often everything is asked for, in case a change did not count as activity.
pub(super) const FULL_EVERY: Duration = Duration::from_secs(120);
/// How often settings and free space are asked for.
pub(super) const SESSION_EVERY: Duration = Duration::from_secs(15);
/// First pause before connecting again; it doubles each time.
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Longest pause before connecting again.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(8);
