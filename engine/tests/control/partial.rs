//! Files that are not complete: the suffix of their names and the directory of their own, through transfers, kills, moves,
//! renames and removal.

use crate::daemon::Daemon;
use crate::pair::Pair;
use crate::support::content::{Content, assert_same};
use crate::support::{rpc, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// All files below a directory by their path in it, with their bytes.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(dir: &Path, top: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, top, into);
            } else {
                let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
                into.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(dir, dir, &mut all);
    all
}

/// Names with the suffix, and those without it, which have to be complete.
fn partial_and_complete(dir: &Path, content: &Content) -> (Vec<String>, Vec<String>) {
    let original = tree(&content.dir.join(&content.name));
    let (mut partial, mut complete) = (Vec::new(), Vec::new());
    for (name, bytes) in tree(&dir.join(&content.name)) {
        match name.strip_suffix(".part") {
            Some(own) => {
                assert!(original.contains_key(own), "{name} is no file of the torrent");
                partial.push(own.to_owned());
            }
            None => {
                assert!(original[&name] == bytes, "{name} has its name and is not complete");
                complete.push(name);
            }
        }
    }
    assert!(partial.iter().all(|name| !complete.contains(name)), "{partial:?} {complete:?}");
    (partial, complete)
}

#[test]
fn incomplete_files_are_elsewhere_and_named_so_through_kills() {
    let home = tempfile::tempdir().unwrap();
    let incomplete = home.path().join("incomplete");
    let mut pair = Pair::new(json!({"incomplete-dir": incomplete, "incomplete-dir-enabled": true,
        "rename-partial-files": true}));
    assert_eq!(pair.leech.call("session-get", json!({}))["rename-partial-files"], true);
    pair.add();
    let hash = pair.content.info_hash.clone();
    let mut seen = (false, false);
    for round in 0..6u64 {
        // Here and there, and in one round just when a file has been completed.
        let before = pair.left();
        match round {
            2 => pair.until_the_first_file(),
            _ => until("progress", || (pair.left() + 200_000 * (round % 3 + 1) <= before).then_some(())),
        }
        let left = pair.left();
        pair.leech.process.kill();
        let (partial, complete) = partial_and_complete(&incomplete, &pair.content);
        assert!(!partial.is_empty(), "round {round}: nothing is under way");
        seen = (true, seen.1 || complete.iter().any(|name| name == "a/b/c/tief.bin"));
        assert!(tree(&pair.target()).is_empty(), "round {round}: something came to its last place");
        pair.leech.kill_and_restart();
        pair.leech.wait(&hash, "the download to go on", |torrent| torrent["status"] == 4);
        assert!(pair.left() <= left, "round {round}: {} are missing, {left} were", pair.left());
    }
    assert_eq!(seen, (true, true), "the first file was never seen under its own name");
    pair.limit(None);
    let target = pair.target();
    pair.leech
        .wait(&hash, "the end", |torrent| torrent["status"] == 6 && torrent["downloadDir"] == json!(target));
    assert_same(&pair.content, &target);
    let (partial, complete) = partial_and_complete(&target, &pair.content);
    assert_eq!((partial.len(), complete.len()), (0, 5));
    assert_eq!(std::fs::read_dir(&incomplete).unwrap().count(), 0, "something stayed behind");
    // And after another start it is known as it is.
    pair.leech.kill_and_restart();
    pair.leech.wait(&hash, "seeding", |torrent| torrent["status"] == 6);
}

#[test]
fn incomplete_files_are_moved_renamed_and_verified_as_they_are() {
    let pair = Pair::new(json!({"rename-partial-files": true}));
    pair.add();
    pair.until_the_first_file();
    pair.stop();
    // It is told as stopped before the last shard has let go.
    let (partial, complete) = until("the name of the first file", || {
        let names = partial_and_complete(&pair.target(), &pair.content);
        names.1.iter().any(|name| name == "a/b/c/tief.bin").then_some(names)
    });
    assert!(!partial.is_empty());

    // The setting decides about new files only.
    pair.leech.call("session-set", json!({"rename-partial-files": false}));
    let moved = pair.leech.dir("moved");
    pair.act("torrent-set-location", json!({"location": moved, "move": true}));
    let hash = pair.content.info_hash.as_str();
    pair.leech
        .wait(hash, "the move", |torrent| torrent["downloadDir"] == json!(moved) && torrent["status"] == 0);
    let left = pair.left();
    assert!(tree(&pair.target()).is_empty());
    assert_eq!(partial_and_complete(&moved, &pair.content), (partial.clone(), complete));

    let path = format!("{}/{}", pair.content.name, partial[0]);
    pair.act("torrent-rename-path", json!({"path": path, "name": "renamed.bin"}));
    let renamed =
        |torrent: &Value| torrent["files"].to_string().contains("renamed.bin") && torrent["status"] == 0;
    pair.leech.wait(hash, "the new name", renamed);
    let names: Vec<String> = tree(&moved).into_keys().collect();
    assert!(names.contains(&format!("{}/renamed.bin.part", pair.content.name)), "{names:?}");
    pair.act("torrent-rename-path", json!({"path": pair.content.name, "name": "top"}));
    pair.leech.wait(hash, "the new folder", |torrent| torrent["name"] == "top" && torrent["status"] == 0);
    assert!(moved.join("top/renamed.bin.part").exists());
    let refused = json!({"ids": [hash], "path": "top/one byte", "name": "b.part"});
    let said = rpc::outcome(pair.leech.address, "torrent-rename-path", refused);
    assert!(said.contains("incomplete files"), "{said}");

    pair.act("torrent-verify", json!({}));
    pair.leech.wait(hash, "the verification", |torrent| torrent["status"] == 0);
    assert_eq!(pair.left(), left);
    pair.limit(None);
    pair.act("torrent-start", json!({}));
    pair.leech.wait(hash, "the end", |torrent| torrent["status"] == 6);
    let (original, mut found) = (tree(&pair.content.dir.join(&pair.content.name)), tree(&moved.join("top")));
    let bytes = found.remove("renamed.bin").unwrap();
    found.insert(partial[0].clone(), bytes);
    assert!(original == found, "{:?}", found.keys());
}

#[test]
fn a_removed_download_leaves_nothing() {
    let pair = Pair::new(json!({"rename-partial-files": true}));
    pair.add();
    pair.until_the_first_file();
    pair.act("torrent-remove", json!({"delete-local-data": true}));
    until("the files to be gone", || {
        std::fs::read_dir(pair.target()).unwrap().next().is_none().then_some(())
    });
}

/// It would be fetched again otherwise, and could not be moved over what is there.
#[test]
fn what_is_in_its_last_place_already_stays_there() {
    let daemon = Daemon::start(&[]);
    let incomplete = daemon.dir("incomplete");
    daemon.call("session-set", json!({"incomplete-dir": incomplete, "incomplete-dir-enabled": true}));
    let content = daemon.multi("content");
    daemon.seed(&content);
    let place = daemon.torrent(&content.info_hash, &["downloadDir"])["downloadDir"].clone();
    assert_eq!(place, json!(content.dir));
    assert_eq!(std::fs::read_dir(&incomplete).unwrap().count(), 0);
}
