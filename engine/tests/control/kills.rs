//! `kill -9` while a daemon is being told things: what it acknowledged is there afterwards, nothing is half done.

use crate::daemon::Daemon;
use crate::support::content::{Content, single};
use crate::support::rpc::try_call;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

/// What the daemon acknowledged of one torrent.
#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    present: bool,
    labels: Vec<String>,
    upload_limit: u64,
}

/// Adds, changes and removes torrents until the daemon is gone. Gives what was acknowledged, and what was asked last,
/// which may or may not have happened.
fn storm(
    address: SocketAddr,
    contents: &[Content],
    mut known: BTreeMap<String, Known>,
) -> (BTreeMap<String, Known>, String) {
    let mut step = 0u64;
    loop {
        let content = &contents[(step / 4) as usize % contents.len()];
        let hash = content.info_hash.clone();
        let entry = known.entry(hash.clone()).or_default();
        let mut after = entry.clone();
        let (method, arguments): (&str, Value) = match (entry.present, step % 4) {
            (false, _) => {
                after = Known { present: true, labels: Vec::new(), upload_limit: 0 };
                (
                    "torrent-add",
                    json!({"filename": content.torrent, "download-dir": content.dir, "paused": true}),
                )
            }
            (true, 3) if step.is_multiple_of(5) => {
                after = Known::default();
                ("torrent-remove", json!({"ids": [hash]}))
            }
            (true, 1) => {
                after.upload_limit = step + 1;
                ("torrent-set", json!({"ids": [hash], "uploadLimit": step + 1}))
            }
            (true, _) => {
                after.labels = vec![format!("step-{step}")];
                ("torrent-set", json!({"ids": [hash], "labels": after.labels}))
            }
        };
        match try_call(address, method, arguments) {
            Some(true) => *entry = after,
            // A torrent that is being removed cannot be added yet: nothing happened.
            Some(false) => std::thread::sleep(Duration::from_millis(5)),
            None => return (known, hash),
        }
        step += 1;
    }
}

#[test]
fn what_was_acknowledged_survives_kills_in_a_storm() {
    let mut daemon = Daemon::start(&[]);
    let contents: Vec<Content> = (0..6u64)
        .map(|number| {
            let dir = daemon.dir(&format!("t{number}"));
            single(&dir, 40_000 + number * 1000, "16K", "http://127.0.0.1:9/announce")
        })
        .collect();
    let mut known = BTreeMap::new();
    for round in 0..4u64 {
        let (address, contents_of_storm, before) = (daemon.address, &contents, known.clone());
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || sender.send(storm(address, contents_of_storm, before)).unwrap());
            std::thread::sleep(Duration::from_millis(150 + round * 97));
            daemon.process.kill();
        });
        let (acknowledged, last): (BTreeMap<String, Known>, String) = receiver.recv().unwrap();
        daemon.kill_and_restart();
        let fields = ["hashString", "labels", "uploadLimit"];
        let torrents = daemon.call("torrent-get", json!({"fields": fields}))["torrents"].clone();
        let mut found: BTreeMap<String, Known> =
            acknowledged.keys().map(|hash| (hash.clone(), Known::default())).collect();
        for torrent in torrents.as_array().unwrap() {
            let labels = serde_json::from_value(torrent["labels"].clone()).unwrap();
            let entry =
                Known { present: true, labels, upload_limit: torrent["uploadLimit"].as_u64().unwrap() };
            found.insert(torrent["hashString"].as_str().unwrap().to_owned(), entry);
        }
        for (hash, entry) in &acknowledged {
            // Only what was under way may be either way.
            if *hash != last {
                assert_eq!(found[hash], *entry, "round {round}, torrent {hash}");
            }
        }
        known = found;
    }
    assert!(known.values().any(|entry| entry.present));
}
