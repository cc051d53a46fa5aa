//! What the window of Ringseed does, without a window.
//!
//! [`rpc`] talks to an engine on a thread of its own; [`App`] takes its news and what the user does, keeps the
//! models up to date and says what a window has to redraw. The binary beside this library is the window: it only
//! maps between Slint and these types. So everything but the looks is tested without a display.

pub mod add;
pub mod args;
pub mod create;
pub mod details;
pub mod endpoint;
pub mod instance;
pub mod local_engine;
pub mod preferences;
pub mod quantity;
pub mod rpc;
pub mod settings;
pub mod theme;
pub mod torrents;
pub mod xdnd;

mod app;
mod status;

pub use app::{App, Notice, Redraw};
pub use status::{Connection, StatusLine};
