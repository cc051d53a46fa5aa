//! The control thread: the session, its snapshots, announces, the resume store and the RPC.

pub(crate) mod activity;
pub(crate) mod default_trackers;
mod inbox;
pub(crate) mod loader;
pub(crate) mod outside;
pub(crate) mod pieces;
pub(crate) mod session;
pub(crate) mod thread;
pub(crate) mod torrent;
pub(crate) mod watch;
pub(crate) mod work;

pub(crate) use inbox::Inbox;
