//! Commands that change something.

use super::args::{Add, Connect};
use super::client::Daemon;
use super::field;
use crate::cli::failure::{Failure, io_reason};
use crate::cli::quantity::printable;
use crate::cli::{control_runtime, fetch, screen};
use ringseed_announce::Trust;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use serde_json::{Value, json};
use std::io::Read;

/// Adds torrents: files are read here, so that the daemon may be on another machine.
pub fn add(args: &Add) -> Result<(), Failure> {
    let daemon = Daemon::new(&args.connect)?;
    let dir = match &args.dir {
        Some(dir) => Some(std::path::absolute(dir).map_err(|error| Failure::failed(io_reason(&error)))?),
        None => None,
    };
    for source in &args.torrents {
        let bytes = read(source)?;
        let mut request = json!({"metainfo": ringseed_rpc::encode_base64(&bytes)});
        if let Some(dir) = &dir {
            request["download-dir"] = json!(dir.to_string_lossy());
        }
        if args.paused {
            request["paused"] = json!(true);
        }
        if args.sequential {
            request["sequential_download"] = json!(true);
        }
        if !args.label.is_empty() {
            request["labels"] = json!(args.label);
        }
        let answer = daemon.call("torrent-add", request)?;
        if args.connect.json {
            screen::say(&answer.to_string());
            continue;
        }
        let (word, torrent) = match answer.get("torrent-duplicate") {
            Some(torrent) => ("already there", torrent),
            None => ("added", &answer["torrent-added"]),
        };
        let (id, name, hash): (u32, String, String) =
            (field(torrent, "id"), field(torrent, "name"), field(torrent, "hashString"));
        screen::say(&format!("{word} {id} {hash} {}", printable(&name)));
    }
    Ok(())
}

fn read(source: &str) -> Result<Vec<u8>, Failure> {
    if source != "-" {
        return control_runtime()?.block_on(fetch::bytes(source, &Trust::default()));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(TORRENT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format!("cannot read standard input: {}", io_reason(&error))))?;
    Ok(bytes)
}

/// Calls a method for torrents that all have to exist, and says what was done to them.
pub fn on(
    connect: &Connect,
    which: &[String],
    method: &str,
    mut more: Value,
    done: &str,
) -> Result<(), Failure> {
    let daemon = Daemon::new(connect)?;
    let torrents = find(&daemon, which, &["id", "name", "hashString"])?;
    let hashes: Vec<String> = torrents.iter().map(|torrent| field(torrent, "hashString")).collect();
    if !hashes.is_empty() {
        more["ids"] = json!(hashes);
        daemon.call(method, more)?;
    }
    if connect.json {
        screen::say(&Value::Array(torrents).to_string());
        return Ok(());
    }
    for torrent in &torrents {
        let (id, name): (u32, String) = (field(torrent, "id"), field(torrent, "name"));
        screen::say(&format!("{done} {id} {}", printable(&name)));
    }
    Ok(())
}

/// The torrents named by number, info-hash or `all`, with these fields.
pub fn find(daemon: &Daemon, which: &[String], fields: &[&str]) -> Result<Vec<Value>, Failure> {
    let mut ids = Vec::new();
    let all = which.iter().any(|name| name == "all");
    for name in which.iter().filter(|_| !all) {
        match (name.parse::<u32>(), name.parse::<TorrentId>()) {
            (Ok(number), _) => ids.push(json!(number)),
            (_, Ok(hash)) => ids.push(json!(hash.to_string())),
            _ => {
                return Err(Failure::usage(format!(
                    "'{name}' is neither a number, nor an info-hash, nor 'all'"
                )));
            }
        }
    }
    let request = if all { json!({"fields": fields}) } else { json!({"ids": ids, "fields": fields}) };
    let torrents: Vec<Value> = field(&daemon.call("torrent-get", request)?, "torrents");
    let known = |wanted: &Value| {
        torrents.iter().any(|torrent| torrent["id"] == *wanted || torrent["hashString"] == *wanted)
    };
    match ids.iter().find(|wanted| !known(wanted)) {
        Some(missing) => Err(Failure::failed(format!(
            "the daemon has no torrent {}",
            missing.to_string().trim_matches('"')
        ))),
        None => Ok(torrents),
    }
}
