//! A daemon driven from outside: by the tools people have, by our own command line, and by those who should not be.

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod command_line;
mod creations;
mod daemon;
mod extensions;
mod kills;
mod metrics;
mod partial;
mod port;
mod route;
mod security;
mod session;
