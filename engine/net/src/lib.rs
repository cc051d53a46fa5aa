//! The way to peers: where the engine listens, which addresses it dials, whose connections stay when there is no room, and
//! over which interface or proxy everything goes.

pub mod blocklist;
pub mod candidates;
pub mod limits;
pub mod listener;
pub mod route;
pub mod shares;
