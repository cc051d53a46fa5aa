//! Torrents whose files are at one path: refused when the data differs, shared when it is the same.

use crate::daemon::Daemon;
use crate::support::content::{Content, fill, torrent_of};
use crate::support::{rpc, until};
use ringseed_tracker::{Tracker, TrackerConfig};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const NAME: &str = "film.bin";
const LENGTH: u64 = 300_000;
const NOBODY: &str = "http://127.0.0.1:9/announce";

fn film(dir: &Path, seed: u64, piece_size: &str, tracker: &str) -> Content {
    fill(&dir.join(NAME), LENGTH, seed);
    torrent_of(dir, NAME, LENGTH, piece_size, tracker)
}

/// `torrents/add` of qBittorrent's API.
fn add_as_qbittorrent_does(daemon: &Daemon, torrent: &Path, dir: &Path) -> String {
    let mut body = Vec::new();
    body.extend_from_slice(b"--limit\r\nContent-Disposition: form-data; name=\"savepath\"\r\n\r\n");
    body.extend_from_slice(dir.to_str().unwrap().as_bytes());
    body.extend_from_slice(
        b"\r\n--limit\r\nContent-Disposition: form-data; name=\"torrents\"; filename=\"a.torrent\"\r\n\r\n",
    );
    body.extend_from_slice(&fs::read(torrent).unwrap());
    body.extend_from_slice(b"\r\n--limit--\r\n");
    let mut request = format!(
        "POST /api/v2/torrents/add HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \
         multipart/form-data; boundary=limit\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    daemon.raw(&request)
}

#[test]
fn other_data_for_a_path_is_refused_wherever_it_would_come_there() {
    let daemon = Daemon::start(&[]);
    let first = film(&daemon.dir("a"), 1, "16K", NOBODY);
    let other = film(&daemon.dir("b"), 2, "16K", NOBODY);
    daemon.seed(&first);
    let path = first.dir.join(NAME);
    let before = fs::read(&path).unwrap();
    let names_all = |said: &str| {
        assert!(said.contains(path.to_str().unwrap()) && said.contains(&first.info_hash), "{said}");
    };
    let link = daemon.home.path().join("link");
    std::os::unix::fs::symlink(&first.dir, &link).unwrap();
    for dir in [&first.dir, &link] {
        let add = json!({"filename": other.torrent, "download-dir": dir});
        names_all(&rpc::outcome(daemon.address, "torrent-add", add));
        let answer = add_as_qbittorrent_does(&daemon, &other.torrent, dir);
        assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
        names_all(&answer);
        let arguments = ["add", "--dir", dir.to_str().unwrap(), other.torrent.to_str().unwrap()];
        let output = daemon.command(&arguments).output().unwrap();
        assert!(!output.status.success());
        names_all(&String::from_utf8_lossy(&output.stderr));
    }
    // Nor does it come there later: as its last directory, by a move, by a rename.
    daemon.call("session-set", json!({"incomplete-dir": daemon.dir("inc"), "incomplete-dir-enabled": true}));
    fs::rename(&path, daemon.home.path().join("away")).unwrap();
    let add = json!({"filename": other.torrent, "download-dir": first.dir});
    names_all(&rpc::outcome(daemon.address, "torrent-add", add));
    fs::rename(daemon.home.path().join("away"), &path).unwrap();
    daemon.call("session-set", json!({"incomplete-dir-enabled": false}));
    daemon.seed(&other);
    for (method, more) in [
        ("torrent-set-location", json!({"location": first.dir, "move": true})),
        ("torrent-set-location", json!({"location": first.dir, "move": false})),
        ("torrent-set", json!({"location": first.dir})),
    ] {
        let mut arguments = more;
        arguments["ids"] = json!([other.info_hash]);
        names_all(&rpc::outcome(daemon.address, method, arguments));
    }
    fill(&first.dir.join("third.bin"), 20_000, 3);
    let third = torrent_of(&first.dir, "third.bin", 20_000, "16K", NOBODY);
    daemon.seed(&third);
    let rename = json!({"ids": [third.info_hash], "path": "third.bin", "name": NAME});
    names_all(&rpc::outcome(daemon.address, "torrent-rename-path", rename));
    for torrent in [&first, &other, &third] {
        let now = daemon.torrent(&torrent.info_hash, &["status", "error", "leftUntilDone"]);
        assert!(now["status"] == 6 && now["error"] != 3, "{now}");
    }
    assert!(fs::read(&path).unwrap() == before && other.dir.join(NAME).exists());
}

/// Two torrents that seed the same file from one path.
fn two_seeds(daemon: &Daemon) -> [Content; 2] {
    let first = film(&daemon.dir("a"), 1, "16K", NOBODY);
    let second = film(&daemon.dir("b"), 1, "64K", NOBODY);
    daemon.seed(&first);
    daemon.call("torrent-add", json!({"filename": second.torrent, "download-dir": first.dir}));
    daemon.wait(&second.info_hash, "the second", |torrent| torrent["status"] == 6 && torrent["error"] != 3);
    [first, second]
}

#[test]
fn two_torrents_of_the_same_files_seed_from_one_path() {
    let daemon = Daemon::start(&[]);
    let [first, second] = two_seeds(&daemon);
    let place = json!({"ids": [first.info_hash], "location": daemon.dir("c"), "move": true});
    let said = rpc::outcome(daemon.address, "torrent-set-location", place.clone());
    assert!(said.contains(&second.info_hash), "{said}");
    // Without one of them the other's file stays.
    daemon.call("torrent-remove", json!({"ids": [second.info_hash], "delete-local-data": true}));
    until("the second to be gone", || daemon.torrent(&second.info_hash, &["id"]).is_null().then_some(()));
    daemon.call("torrent-set-location", place);
    let moved = daemon.dir("c");
    daemon.wait(&first.info_hash, "the move", |torrent| {
        torrent["status"] == 6 && torrent["downloadDir"] == json!(moved)
    });
    assert_eq!(fs::read(moved.join(NAME)).unwrap(), fs::read(second.dir.join(NAME)).unwrap());
}

/// Each kept the files for the other, so that they stayed for ever.
#[test]
fn two_torrents_of_the_same_files_that_are_removed_together_take_them_along() {
    let daemon = Daemon::start(&[]);
    let [first, second] = two_seeds(&daemon);
    let both = [&first.info_hash, &second.info_hash];
    daemon.call("torrent-remove", json!({"ids": both, "delete-local-data": true}));
    assert!(!first.dir.join(NAME).exists());
}

/// The second has no other files, waits in the same directory and goes along when the first is moved.
#[test]
fn torrents_of_the_same_files_come_to_their_last_directory_together() {
    let daemon = Daemon::start(&[]);
    let (first, second) =
        (film(&daemon.dir("a"), 1, "16K", NOBODY), film(&daemon.dir("b"), 1, "64K", NOBODY));
    let (incomplete, last) = (daemon.dir("incomplete"), daemon.dir("last"));
    daemon.call("session-set", json!({"incomplete-dir": incomplete, "incomplete-dir-enabled": true}));
    for torrent in [&first, &second] {
        daemon.call("torrent-add", json!({"filename": torrent.torrent, "download-dir": last}));
    }
    daemon.wait(&second.info_hash, "the second to wait", |torrent| torrent["status"] == 3);
    daemon.call("torrent-stop", json!({"ids": [first.info_hash]}));
    daemon.wait(&first.info_hash, "the stop", |torrent| torrent["status"] == 0);
    daemon.call("torrent-stop", json!({"ids": [second.info_hash]}));
    daemon.wait(&second.info_hash, "the stop", |torrent| torrent["status"] == 0);
    fs::copy(first.dir.join(NAME), incomplete.join(NAME)).unwrap();
    daemon.call("torrent-verify", json!({"ids": [first.info_hash]}));
    until("the move", || last.join(NAME).exists().then_some(()));
    for torrent in [&first, &second] {
        daemon.call("torrent-start", json!({"ids": [torrent.info_hash]}));
        daemon.wait(&torrent.info_hash, "seeding", |torrent| torrent["status"] == 6 && torrent["error"] != 3);
    }
    assert!(!incomplete.join(NAME).exists());
}

/// The second was being hashed where its files had been, and stayed there without any.
#[test]
fn a_torrent_that_is_hashed_while_its_files_are_moved_with_another_goes_along() {
    let daemon = Daemon::start(&[]);
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return eprintln!("skipped: no /dev/shm") };
    let (name, length) = ("large.bin", 100 << 20);
    let [first, second] = [("a", "1M"), ("b", "256K")].map(|(dir, piece_size)| {
        let dir = daemon.dir(dir);
        fill(&dir.join(name), length, 1);
        torrent_of(&dir, name, length, piece_size, NOBODY)
    });
    let (incomplete, last) = (memory.path().canonicalize().unwrap(), daemon.dir("last"));
    daemon.call("session-set", json!({"incomplete-dir": incomplete, "incomplete-dir-enabled": true}));
    for torrent in [&first, &second] {
        let add = json!({"filename": torrent.torrent, "download-dir": last, "paused": true});
        daemon.call("torrent-add", add);
    }
    fs::copy(first.dir.join(name), incomplete.join(name)).unwrap();
    daemon.call("torrent-verify", json!({"ids": [first.info_hash]}));
    daemon.wait(&first.info_hash, "the move", |torrent| {
        torrent["status"] == 4 || torrent["leftUntilDone"] == 0
    });
    daemon.call("torrent-verify", json!({"ids": [second.info_hash]}));
    until("its end", || last.join(name).exists().then_some(()));
    for torrent in [&first, &second] {
        daemon.call("torrent-start", json!({"ids": [torrent.info_hash]}));
        daemon.wait(&torrent.info_hash, "seeding", |torrent| torrent["status"] == 6 && torrent["error"] != 3);
        let now = daemon.torrent(&torrent.info_hash, &["ringseedCurrentDir", "leftUntilDone"]);
        assert_eq!(now, json!({"ringseedCurrentDir": last, "leftUntilDone": 0}));
    }
}

/// The files of the other went along with the folder, and were missing where they had been.
#[test]
fn a_folder_with_files_of_another_torrent_is_not_renamed() {
    let daemon = Daemon::start(&[]);
    let (dir, apart) = (daemon.dir("a"), daemon.dir("b"));
    let season = |number: u64| {
        let path = format!("show/{number}.bin");
        fill(&apart.join(&path), 50_000, number);
        let content = torrent_of(&apart, "show", 50_000, "16K", NOBODY);
        fs::create_dir_all(dir.join("show")).unwrap();
        fs::rename(apart.join(&path), dir.join(&path)).unwrap();
        Content { dir: dir.clone(), ..content }
    };
    let first = season(1);
    daemon.seed(&first);
    let second = season(2);
    daemon.seed(&second);
    let inside = dir.join("show/inside");
    let third = film(&inside, 3, "16K", NOBODY);
    daemon.seed(&third);
    let rename = |path: &str, name: &str| {
        let rename = json!({"ids": [first.info_hash], "path": path, "name": name});
        rpc::outcome(daemon.address, "torrent-rename-path", rename)
    };
    for other in [&second, &third] {
        let said = rename("show", "series");
        assert!(said.contains("of the torrent") && !said.contains(&first.info_hash), "{said}");
        daemon.call("torrent-remove", json!({"ids": [other.info_hash]}));
        until("it to be gone", || daemon.torrent(&other.info_hash, &["id"]).is_null().then_some(()));
    }
    assert_eq!(rename("show/1.bin", "one.bin"), "success");
    assert_eq!(rename("show", "series"), "success");
    assert!(dir.join("series/one.bin").exists());
}

/// A removal was answered while files were still being deleted: those of a torrent that was added at once were, too.
#[test]
fn a_removal_with_the_data_is_answered_when_the_data_is_gone() {
    let daemon = Daemon::start(&[]);
    let name = "many";
    let fill_all = |dir: &Path| {
        for number in 0..500 {
            let path = dir.join(name).join(format!("{number:03}/file"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [number as u8; 100]).unwrap();
        }
    };
    let dir = daemon.dir("a");
    fill_all(&dir);
    let content = torrent_of(&dir, name, 50_000, "16K", NOBODY);
    for _ in 0..3 {
        daemon.seed(&content);
        daemon.call("torrent-remove", json!({"ids": [content.info_hash], "delete-local-data": true}));
        assert!(!dir.join(name).exists(), "it is still being deleted");
        fill_all(&dir);
    }
    daemon.seed(&content);
}

struct Swarm {
    _tracker: Tracker,
    url: String,
    seed: Daemon,
    leech: Daemon,
}

impl Swarm {
    fn new() -> Self {
        let config = TrackerConfig { http: Some("127.0.0.1:0".parse().unwrap()), ..TrackerConfig::default() };
        let tracker = Tracker::start(config).unwrap();
        let url = format!("http://{}/announce", tracker.http_addr().unwrap());
        Self { _tracker: tracker, url, seed: Daemon::start(&[]), leech: Daemon::start(&[]) }
    }
}

/// Whether two files are the same cannot be told from hashes of pieces that begin elsewhere. Then nothing is written.
#[test]
fn a_download_never_changes_what_another_torrent_has() {
    let swarm = Swarm::new();
    let (seed, leech) = (&swarm.seed, &swarm.leech);
    let first = film(&leech.dir("a"), 1, "16K", NOBODY);
    leech.seed(&first);
    let before = fs::read(first.dir.join(NAME)).unwrap();
    let other = film(&seed.dir("b"), 2, "64K", &swarm.url);
    seed.seed(&other);
    leech.call("torrent-add", json!({"filename": other.torrent, "download-dir": first.dir}));
    let failed = leech.wait(&other.info_hash, "the end", |torrent| torrent["error"] == 3);
    let said = failed["errorString"].as_str().unwrap();
    assert!(
        said.contains(first.dir.join(NAME).to_str().unwrap()) && said.contains("another torrent"),
        "{said}"
    );
    assert!(fs::read(first.dir.join(NAME)).unwrap() == before, "the file was changed");
    let now = leech.torrent(&first.info_hash, &["status", "error"]);
    assert!(now["status"] == 6 && now["error"] != 3, "{now}");
}

#[test]
fn of_two_downloads_of_the_same_files_one_waits_and_is_verified_then() {
    let swarm = Swarm::new();
    let (seed, leech) = (&swarm.seed, &swarm.leech);
    let length = 3_000_000;
    let torrents: Vec<Content> = ["16K", "64K"]
        .iter()
        .map(|piece_size| {
            let dir = seed.dir(piece_size);
            fill(&dir.join(NAME), length, 5);
            torrent_of(&dir, NAME, length, piece_size, &swarm.url)
        })
        .collect();
    let (first, second) = (&torrents[0], &torrents[1]);
    seed.seed(first);
    seed.seed(second);
    leech.call("session-set", json!({"speed-limit-down": 400, "speed-limit-down-enabled": true}));
    let target = leech.dir("target");
    let add = |torrent: &Content| {
        leech.call("torrent-add", json!({"filename": torrent.torrent, "download-dir": target}));
    };
    add(first);
    let left = |torrent: &Value| torrent["leftUntilDone"].as_u64().unwrap();
    leech.wait(&first.info_hash, "progress", |torrent| left(torrent) < length);
    add(second);
    let waits = leech.wait(&second.info_hash, "the second to wait", |torrent| torrent["status"] == 3);
    assert!(waits["errorString"].as_str().unwrap().contains("waits for"), "{waits}");
    assert!(left(&leech.torrent(&first.info_hash, &["leftUntilDone"])) > 0, "the first was too fast to tell");
    leech.call("session-set", json!({"speed-limit-down-enabled": false}));
    for torrent in [first, second] {
        leech.wait(&torrent.info_hash, "the end", |torrent| torrent["status"] == 6 && torrent["error"] != 3);
    }
    assert_eq!(leech.torrent(&second.info_hash, &["downloadedEver"])["downloadedEver"], 0);
    assert!(fs::read(target.join(NAME)).unwrap() == fs::read(first.dir.join(NAME)).unwrap());
}

/// The check took what the other download wrote meanwhile for another program's, and stopped.
#[test]
fn a_torrent_that_is_checked_beside_the_download_of_its_files_waits_for_that() {
    let swarm = Swarm::new();
    let (seed, leech) = (&swarm.seed, &swarm.leech);
    // Hashed for much longer than it takes to write a piece.
    let length = 48_000_000;
    let torrents = ["16K", "64K"].map(|piece_size| {
        let dir = seed.dir(piece_size);
        fill(&dir.join(NAME), length, 5);
        torrent_of(&dir, NAME, length, piece_size, &swarm.url)
    });
    let [first, second] = &torrents;
    seed.seed(first);
    leech.call("session-set", json!({"speed-limit-down": 4000, "speed-limit-down-enabled": true}));
    let target = leech.dir("target");
    let add = |torrent: &Content| {
        leech.call("torrent-add", json!({"filename": torrent.torrent, "download-dir": target}));
    };
    add(first);
    leech.wait(&first.info_hash, "progress", |torrent| torrent["leftUntilDone"].as_u64().unwrap() < length);
    add(second);
    leech.wait(&second.info_hash, "the second to wait", |torrent| torrent["status"] == 3);
    leech.call("session-set", json!({"speed-limit-down-enabled": false}));
    for torrent in [first, second] {
        leech.wait(&torrent.info_hash, "the end", |torrent| torrent["status"] == 6 && torrent["error"] != 3);
    }
    assert!(fs::read(target.join(NAME)).unwrap() == fs::read(first.dir.join(NAME)).unwrap());
}
