//! The way to peers: links, where the engine listens, which addresses it dials, whose connections stay when there is no room, and
//! over which interface or proxy everything goes.

pub mod accepting;
pub mod blocklist;
pub mod candidates;
pub mod dial;
pub mod exchanges;
pub mod hellos;
pub mod limits;
pub mod link;
pub mod listener;
pub mod opening;
pub mod route;
pub mod shares;
mod socks;
