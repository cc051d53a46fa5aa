//! What the session asks of the outside, apart from its shards' mailboxes: the time, the resume store, the tracker
//! clients. Each is a trait with what the session uses and no more, so that a test can stand in its place.

mod clock;
mod store;
mod trackers;

pub use clock::{Clock, SystemClock};
pub use store::SessionStore;
pub use trackers::Trackers;
