//! What a session does by itself: the watch folder, queues, directories for incomplete torrents, and what survives.

use crate::daemon::Daemon;
use crate::support::until;
use serde_json::json;

#[test]
fn torrent_files_in_the_watch_folder_are_added() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&["--watch-dir", folder.path().to_str().unwrap()]);
    let (content, slow) = (daemon.single("one"), daemon.multi("many"));
    let whole = std::fs::read(&slow.torrent).unwrap();
    let written = folder.path().join("slow.torrent");
    std::fs::write(&written, &whole[..whole.len() / 2]).unwrap();
    std::fs::copy(&content.torrent, folder.path().join("good.torrent")).unwrap();
    until("the torrent", || (daemon.torrent(&content.info_hash, &["id"])["id"] == 1).then_some(()));
    until("its name", || folder.path().join("good.torrent.added").exists().then_some(()));
    // The other was looked at as well, and its writer goes on after a pause.
    assert!(written.exists());
    std::fs::write(&written, whole).unwrap();
    until("the slow one", || folder.path().join("slow.torrent.added").exists().then_some(()));
    assert_eq!(daemon.torrent(&slow.info_hash, &["id"])["id"], 2);
}

#[test]
fn a_queue_lets_so_many_run_and_starts_the_next() {
    let daemon = Daemon::start(&[]);
    daemon.call("session-set", json!({"seed-queue-enabled": true, "seed-queue-size": 1}));
    let (one, many) = (daemon.single("one"), daemon.multi("many"));
    daemon.seed(&one);
    daemon.call("torrent-add", json!({"filename": many.torrent, "download-dir": many.dir}));
    daemon.wait(&many.info_hash, "queued for seeding", |torrent| torrent["status"] == 5);
    assert_eq!(daemon.torrent(&one.info_hash, &["status"])["status"], 6);
    // The queue's order decides who runs.
    daemon.call("queue-move-top", json!({"ids": [many.info_hash]}));
    daemon.wait(&many.info_hash, "seeding", |torrent| torrent["status"] == 6);
    daemon.wait(&one.info_hash, "queued", |torrent| torrent["status"] == 5);
    daemon.call("torrent-start-now", json!({"ids": [one.info_hash]}));
    daemon.wait(&one.info_hash, "seeding out of turn", |torrent| torrent["status"] == 6);
    daemon.call("torrent-stop", json!({"ids": [one.info_hash, many.info_hash]}));
    daemon.wait(&one.info_hash, "paused", |torrent| torrent["status"] == 0);
}

#[test]
fn what_was_set_survives_a_kill() {
    let mut daemon = Daemon::start(&[]);
    let (one, many) = (daemon.single("one"), daemon.multi("many"));
    daemon.seed(&one);
    daemon.seed(&many);
    daemon.call(
        "session-set",
        json!({"alt-speed-up": 77, "seedRatioLimit": 3.5, "speed-limit-up": 999,
        "speed-limit-up-enabled": true, "download-dir": daemon.dir("elsewhere")}),
    );
    let set = json!({"ids": [one.info_hash], "labels": ["kept"], "seedRatioMode": 2, "peer-limit": 5,
        "trackerAdd": ["udp://127.0.0.1:9"], "queuePosition": 1});
    daemon.call("torrent-set", set);
    daemon.call("torrent-set", json!({"ids": [many.info_hash], "files-unwanted": [0], "priority-high": [2]}));
    let rename = json!({"ids": [one.info_hash], "path": one.name, "name": "renamed"});
    daemon.call("torrent-rename-path", rename);
    daemon.wait(&one.info_hash, "the new name", |torrent| {
        torrent["name"] == "renamed" && torrent["status"] == 6
    });
    daemon.kill_and_restart();
    let session = daemon.call("session-get", json!({}));
    assert_eq!((&session["alt-speed-up"], &session["seedRatioLimit"]), (&json!(77), &json!(3.5)));
    assert_eq!((&session["speed-limit-up"], &session["speed-limit-up-enabled"]), (&json!(999), &json!(true)));
    assert!(session["download-dir"].as_str().unwrap().ends_with("elsewhere"));
    let torrent = daemon.torrent(
        &one.info_hash,
        &["labels", "seedRatioMode", "peer-limit", "trackerList", "name", "queuePosition"],
    );
    assert_eq!(
        torrent,
        json!({"labels": ["kept"], "seedRatioMode": 2, "peer-limit": 5, "name": "renamed", "queuePosition": 1,
            "trackerList": "http://127.0.0.1:9/announce\n\nudp://127.0.0.1:9"})
    );
    let files = daemon.torrent(&many.info_hash, &["wanted", "priorities"]);
    assert_eq!(files, json!({"wanted": [0, 1, 1, 1, 1], "priorities": [0, 0, 1, 0, 0]}));
    daemon.wait(&one.info_hash, "seeding", |torrent| torrent["status"] == 6);
}
