//! The engine at the other end: requests and answers on a thread of their own.

mod client;
mod command;
mod event;
mod limits;
mod wire;
mod worker;

pub use client::RpcError;
pub use command::Command;
pub use event::{DetailsNews, Event};
pub use wire::{Listed, ListedTracker};
pub use worker::{Link, start};
