//! A daemon driven from outside: by the tools people have, by our own command line, and by those who should not be.

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod clock;
mod command_line;
mod creations;
mod daemon;
mod extensions;
mod finished;
mod import;
mod kills;
mod metrics;
mod moves;
#[path = "../interop/clients.rs"]
#[allow(dead_code, reason = "two of the clients and a part of what they do are used here")]
mod other_clients;
mod pair;
mod partial;
mod port;
mod route;
mod security;
mod session;
mod sharing;
mod specification;
mod torrent_settings;
mod ways_of_adding;
