//! Commands to a running daemon over its RPC.

pub mod args;

mod act;
mod client;
mod create;
mod import;
mod show;
mod top;

use super::failure::Failure;
use super::screen;
use args::{Health, Limit, Rate, Remote};
use client::Daemon;
pub use create::create;
use serde_json::{Value, json};

/// Runs a command.
pub fn run(command: &Remote) -> Result<(), Failure> {
    match command {
        Remote::Add(args) => act::add(args),
        Remote::List(args) => show::list(args),
        Remote::Info(args) => show::info(args),
        Remote::Pause(args) => {
            act::on(&args.connect, &args.which.torrents, "torrent-stop", json!({}), "paused")
        }
        Remote::Resume(args) => {
            let method = if args.now { "torrent-start-now" } else { "torrent-start" };
            act::on(&args.connect, &args.which.torrents, method, json!({}), "started")
        }
        Remote::Remove(args) => {
            let more = json!({"delete-local-data": args.delete_data});
            act::on(&args.connect, &args.which.torrents, "torrent-remove", more, "removed")
        }
        Remote::Move(args) => {
            let Some(to) = &args.to else {
                let done = "cancelling the move of";
                return act::on(&args.connect, &args.which.torrents, "torrent-cancel-move", json!({}), done);
            };
            let to = std::path::absolute(to).unwrap_or_else(|_| to.clone());
            let more = json!({"location": to.to_string_lossy(), "move": !args.found});
            act::on(&args.connect, &args.which.torrents, "torrent-set-location", more, "moving")
        }
        Remote::Limit(args) => limit(args),
        Remote::Stats(args) => show::stats(&args.connect),
        Remote::Health(args) => health(args),
        Remote::Import(args) => import::run(args),
        Remote::Top(args) => top::run(&args.connect),
    }
}

/// Asks the page that orchestrators ask, which is answered without credentials.
fn health(args: &Health) -> Result<(), Failure> {
    let page = if args.ready { "/readyz" } else { "/healthz" };
    let said = Daemon::new(&args.connect)?.page(page)?;
    screen::say(&if args.connect.json { json!({"health": said}).to_string() } else { said });
    Ok(())
}

fn limit(args: &Limit) -> Result<(), Failure> {
    if args.up.is_none() && args.down.is_none() {
        return Err(Failure::usage("give --up RATE, --down RATE or both"));
    }
    let session = args.torrents.is_empty();
    let names = match session {
        true => {
            [("speed-limit-up", "speed-limit-up-enabled"), ("speed-limit-down", "speed-limit-down-enabled")]
        }
        false => [("uploadLimit", "uploadLimited"), ("downloadLimit", "downloadLimited")],
    };
    let mut more = json!({});
    for (rate, (value, on)) in [args.up, args.down].into_iter().zip(names) {
        match rate {
            Some(Rate::Kilobytes(kilobytes)) => {
                more[value] = json!(kilobytes);
                more[on] = json!(true);
            }
            Some(Rate::None) => more[on] = json!(false),
            None => {}
        }
    }
    if !session {
        return act::on(&args.connect, &args.torrents, "torrent-set", more, "limited");
    }
    Daemon::new(&args.connect)?.call("session-set", more)?;
    if args.connect.json {
        screen::say("{}");
    } else {
        screen::say("limited");
    }
    Ok(())
}

/// A field as text, a number or a list; the default when it is missing.
fn field<T: serde::de::DeserializeOwned + Default>(torrent: &Value, name: &str) -> T {
    serde_json::from_value(torrent[name].clone()).unwrap_or_default()
}
