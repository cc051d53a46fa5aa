//! Torrents of other clients, from the directories that the real programs leave behind.

use crate::daemon::Daemon;
use crate::other_clients::{Client, Role};
use crate::support::content::{Content, multi, single};
use crate::support::until;
use serde_json::json;
use std::path::Path;
use std::process::Output;

fn import(daemon: &Daemon, dir: &Path) -> Output {
    daemon.command(&["import", dir.to_str().unwrap()]).output().unwrap()
}

fn contents(daemon: &Daemon) -> [Content; 2] {
    let tracker = "http://127.0.0.1:9/announce";
    [single(&daemon.dir("one"), 300_000, "16K", tracker), multi(&daemon.dir("many"), "64K", tracker)]
}

#[test]
fn transmissions_own_directory_is_imported() {
    let daemon = Daemon::start(&[]);
    let [one, many] = contents(&daemon);
    let mut other = Client::Transmission.start(Role::Seed, &one.torrent, &one.info_hash, &one.dir);
    let remote = |arguments: &[&str]| {
        let said = other.remote(arguments);
        assert!(said.as_deref().is_some_and(|said| said.contains("success")), "{arguments:?}: {said:?}");
    };
    remote(&["-t", "1", "-L", "films,new", "-sr", "1.5", "-u", "70"]);
    let torrent = many.torrent.to_str().unwrap();
    remote(&["-a", torrent, "-w", many.dir.to_str().unwrap(), "--start-paused"]);
    let hash = many.info_hash.as_str();
    remote(&["-t", hash, "-G", "0", "-ph", "2"]);
    remote(&["-t", hash, "-SR", "-d", "80"]);
    // It has started it to look at what is there, and starts it again after that.
    until("the other client's stop", || {
        let info = other.remote(&["-t", hash, "-i"])?;
        if info.contains("State: Stopped") {
            return Some(());
        }
        remote(&["-t", hash, "-S"]);
        None
    });
    let config = other.home().to_path_buf();
    other.end();

    let said = import(&daemon, &config);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("2 imported, 0 failed"), "{said:?}");
    daemon.wait(&one.info_hash, "seeding", |torrent| torrent["status"] == 6);
    let fields = ["downloadDir", "labels", "seedRatioMode", "seedRatioLimit", "uploadLimit", "uploadLimited"];
    assert_eq!(
        daemon.torrent(&one.info_hash, &fields),
        json!({"downloadDir": one.dir, "labels": ["films", "new"], "seedRatioMode": 1, "seedRatioLimit": 1.5,
            "uploadLimit": 70, "uploadLimited": true})
    );
    daemon.wait(hash, "the check", |torrent| torrent["status"] == 0 && torrent["leftUntilDone"] == 0);
    let fields =
        ["wanted", "priorities", "seedRatioMode", "downloadLimit", "downloadLimited", "uploadLimited"];
    assert_eq!(
        daemon.torrent(hash, &fields),
        json!({"wanted": [0, 1, 1, 1, 1], "priorities": [0, 0, 1, 0, 0], "seedRatioMode": 2, "downloadLimit": 80,
            "downloadLimited": true, "uploadLimited": false})
    );
    // A second time everything is there already.
    let again = import(&daemon, &config);
    assert!(String::from_utf8_lossy(&again.stdout).contains("already there"), "{again:?}");
}

#[test]
fn qbittorrents_own_directory_is_imported() {
    let daemon = Daemon::start(&[]);
    let [one, many] = contents(&daemon);
    let mut other = Client::Qbittorrent.start(Role::Seed, &many.torrent, &many.info_hash, &many.dir);
    let hash = many.info_hash.as_str();
    other.post("torrents/createCategory", "category=tv&savePath=");
    other.post("torrents/setCategory", &format!("hashes={hash}&category=tv"));
    other.post("torrents/addTags", &format!("hashes={hash}&tags=a,b"));
    let limits = "ratioLimit=2.5&seedingTimeLimit=90&inactiveSeedingTimeLimit=-2";
    other.post("torrents/setShareLimits", &format!("hashes={hash}&{limits}"));
    other.post("torrents/setUploadLimit", &format!("hashes={hash}&limit=70000"));
    other.post("torrents/filePrio", &format!("hash={hash}&id=4&priority=6"));
    other.post("torrents/filePrio", &format!("hash={hash}&id=0&priority=0"));
    other.add(Role::Seed, &one.torrent, &one.dir);
    other.post("torrents/pause", &format!("hashes={}", one.info_hash));
    let backup = other.home().join("qBittorrent/data/BT_backup");
    other.end();

    let said = import(&daemon, &backup);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("2 imported, 0 failed"), "{said:?}");
    daemon.wait(hash, "seeding", |torrent| torrent["status"] == 6);
    let fields = [
        "downloadDir",
        "labels",
        "seedRatioMode",
        "seedRatioLimit",
        "uploadLimit",
        "uploadLimited",
        "wanted",
        "priorities",
        "ringseedCategory",
        "ringseedSeedMinutes",
    ];
    let mut torrent = daemon.torrent(hash, &fields);
    torrent["labels"].as_array_mut().unwrap().sort_by_key(|label| label.to_string());
    assert_eq!(
        torrent,
        json!({"downloadDir": many.dir, "labels": ["a", "b"], "seedRatioMode": 1, "seedRatioLimit": 2.5,
            "uploadLimit": 70, "uploadLimited": true, "wanted": [0, 1, 1, 1, 1], "priorities": [0, 0, 0, 0, 1],
            "ringseedCategory": "tv", "ringseedSeedMinutes": 90})
    );
    let categories = daemon
        .raw(b"GET /api/v2/torrents/categories HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(categories.contains("\"tv\""), "{categories}");
    daemon
        .wait(&one.info_hash, "the check", |torrent| torrent["status"] == 0 && torrent["leftUntilDone"] == 0);
}
