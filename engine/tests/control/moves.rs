//! Where the files of torrents are: moves that fail, are cut short or cancelled, and the last directory.

use crate::daemon::Daemon;
use crate::pair::Pair;
use crate::support::content::{fill, torrent_of};
use crate::support::{rpc, until};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const NOBODY: &str = "http://127.0.0.1:9/announce";

/// Changes a byte in the middle of a file behind the engine's back, so that hashing it would be noticed.
fn mark(path: &Path) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.write_all(&bytes).unwrap();
    file.set_modified(time).unwrap();
}

fn set_location(daemon: &Daemon, hash: &str, to: &Path) {
    daemon.call("torrent-set-location", json!({"ids": [hash], "location": to, "move": true}));
}

#[test]
fn a_torrent_whose_move_fails_goes_on_where_it_was() {
    let mut daemon = Daemon::start(&[]);
    let content = daemon.single("content");
    daemon.seed(&content);
    let hash = content.info_hash.as_str();
    mark(&content.dir.join(&content.name));
    let target = daemon.dir("target");
    let taken = target.join(&content.name);
    fs::write(&taken, "mine").unwrap();
    let below_a_file = taken.join("below");
    for (to, names) in
        [(&target, &taken), (&below_a_file, &taken), (&PathBuf::from("/proc/none"), &"/proc/none".into())]
    {
        set_location(&daemon, hash, to);
        let failed =
            daemon.wait(hash, "the failure", |torrent| torrent["error"] == 3 && torrent["status"] == 6);
        let said = failed["errorString"].as_str().unwrap();
        assert!(said.contains(names.to_str().unwrap()), "{said}");
        assert_eq!((&failed["downloadDir"], &failed["leftUntilDone"]), (&json!(content.dir), &json!(0)));
    }
    assert_eq!(fs::read(&taken).unwrap(), b"mine");
    daemon.restart();
    let now = daemon.wait(hash, "seeding", |torrent| torrent["status"] == 6);
    assert!(now["error"] != 3 && now["leftUntilDone"] == 0, "it was hashed: {now}");
    // The same directory by another name is no reason to touch anything.
    let link = daemon.home.path().join("link");
    std::os::unix::fs::symlink(&content.dir, &link).unwrap();
    set_location(&daemon, hash, &link);
    daemon.wait(hash, "the other name", |torrent| {
        torrent["status"] == 6 && torrent["error"] != 3 && torrent["downloadDir"] == json!(link)
    });
    fs::remove_file(&taken).unwrap();
    set_location(&daemon, hash, &target);
    let now = daemon
        .wait(hash, "the move", |torrent| torrent["status"] == 6 && torrent["downloadDir"] == json!(target));
    assert!(now["error"] != 3 && now["leftUntilDone"] == 0, "it was hashed: {now}");
    // Nor is it at the next starts, running or not.
    daemon.kill_and_restart();
    let now = daemon.wait(hash, "seeding", |torrent| torrent["status"] == 6);
    assert!(now["error"] != 3 && now["leftUntilDone"] == 0, "it was hashed: {now}");
    daemon.call("torrent-stop", json!({"ids": [hash]}));
    daemon.wait(hash, "the stop", |torrent| torrent["status"] == 0);
    set_location(&daemon, hash, &content.dir);
    daemon.wait(hash, "the way back", |torrent| torrent["downloadDir"] == json!(content.dir));
    daemon.restart();
    let now = daemon.torrent(hash, &["status", "error", "leftUntilDone"]);
    assert_eq!((&now["status"], &now["error"], &now["leftUntilDone"]), (&json!(0), &json!(0), &json!(0)));
    daemon.call("torrent-start", json!({"ids": [hash]}));
    let now = daemon.wait(hash, "seeding", |torrent| torrent["status"] == 6);
    assert!(now["error"] != 3 && now["leftUntilDone"] == 0, "it was hashed: {now}");
}

/// Importers take what is stopped or seeds with nothing left for done, and fetch it from where it is said to be.
#[test]
fn what_becomes_whole_in_the_incomplete_directory_goes_to_its_last_one() {
    let mut daemon = Daemon::start(&[]);
    let content = daemon.single("content");
    let hash = content.info_hash.as_str();
    let (incomplete, last) = (daemon.dir("incomplete"), daemon.dir("last"));
    daemon.call("session-set", json!({"incomplete-dir": incomplete, "incomplete-dir-enabled": true}));
    daemon.call("torrent-add", json!({"filename": content.torrent, "download-dir": last}));
    daemon.wait(hash, "the start", |torrent| torrent["status"] == 4);
    let qbittorrent = |field: &str| {
        let page =
            daemon.raw(b"GET /api/v2/torrents/info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let list: Value = serde_json::from_str(page.split_once("\r\n\r\n").unwrap().1).unwrap();
        list[0][field].clone()
    };
    assert_eq!(daemon.torrent(hash, &["downloadDir"])["downloadDir"], json!(last));
    assert_eq!(daemon.torrent(hash, &["ringseedCurrentDir"])["ringseedCurrentDir"], json!(incomplete));
    assert_eq!((qbittorrent("save_path"), qbittorrent("download_path")), (json!(last), json!(incomplete)));
    assert_eq!(qbittorrent("content_path"), json!(incomplete.join(&content.name)));

    daemon.call("torrent-stop", json!({"ids": [hash]}));
    daemon.wait(hash, "the stop", |torrent| torrent["status"] == 0);
    let here = incomplete.join(&content.name);
    fs::copy(content.dir.join(&content.name), &here).unwrap();
    // Not while something is in its place, and then at the next start.
    let there = last.join(&content.name);
    fs::write(&there, "mine").unwrap();
    daemon.call("torrent-verify", json!({"ids": [hash]}));
    let failed = daemon.wait(hash, "the failed move", |torrent| torrent["error"] == 3);
    assert!(failed["errorString"].as_str().unwrap().contains(there.to_str().unwrap()), "{failed}");
    assert!(here.exists());
    daemon.process.terminate();
    fs::remove_file(&there).unwrap();
    daemon.kill_and_restart();
    let done =
        |torrent: &Value| torrent["status"] == 0 && torrent["leftUntilDone"] == 0 && torrent["error"] != 3;
    daemon.wait(hash, "the move at the start", |torrent| done(torrent) && there.exists());
    assert!(!here.exists());

    // And after a verification.
    daemon.call("torrent-remove", json!({"ids": [hash]}));
    until("it to be gone", || daemon.torrent(hash, &["id"]).is_null().then_some(()));
    fs::remove_file(&there).unwrap();
    // The shards may not have let go yet.
    let add = json!({"filename": content.torrent, "download-dir": last, "paused": true});
    until("the removal", || {
        (rpc::outcome(daemon.address, "torrent-add", add.clone()) == "success").then_some(())
    });
    fs::copy(content.dir.join(&content.name), &here).unwrap();
    daemon.call("torrent-verify", json!({"ids": [hash]}));
    daemon.wait(hash, "the move after it", |torrent| done(torrent) && there.exists());
    assert_eq!(fs::read(&there).unwrap(), fs::read(content.dir.join(&content.name)).unwrap());
    assert_eq!((fs::read_dir(&incomplete).unwrap().count(), there.exists()), (0, true));
}

/// Whatever made it complete while it rested, or kept it from being moved before it was stopped: it was shown as moving for
/// ever, and nothing was moved.
#[test]
fn a_torrent_that_is_complete_and_rests_in_the_incomplete_directory_is_moved() {
    let daemon = Daemon::start(&[]);
    let (dir, other) = (daemon.dir("content"), "b.bin");
    fill(&dir.join("two/a.bin"), 65_536, 1);
    fill(&dir.join("two").join(other), 131_072, 2);
    let content = torrent_of(&dir, "two", 196_608, "16K", NOBODY);
    let hash = content.info_hash.as_str();
    let (incomplete, last) = (daemon.dir("incomplete"), daemon.dir("last"));
    daemon.call("session-set", json!({"incomplete-dir": incomplete, "incomplete-dir-enabled": true}));
    daemon.call("torrent-add", json!({"filename": content.torrent, "download-dir": last, "paused": true}));
    let [here, there] = [&incomplete, &last].map(|dir| dir.join(&content.name));
    fs::create_dir(&here).unwrap();
    fs::copy(dir.join("two").join(other), here.join(other)).unwrap();
    daemon.call("torrent-verify", json!({"ids": [hash]}));
    daemon.wait(hash, "the check", |torrent| torrent["status"] == 0 && torrent["leftUntilDone"] == 65_536);
    // Something is in the way at first.
    fs::create_dir(&there).unwrap();
    fs::write(there.join(other), "mine").unwrap();
    daemon.call("torrent-set", json!({"ids": [hash], "files-unwanted": [0]}));
    let failed = daemon.wait(hash, "the failed move", |torrent| torrent["error"] == 3);
    assert!(failed["errorString"].as_str().unwrap().contains(other), "{failed}");
    assert!(here.join(other).exists());
    fs::remove_file(there.join(other)).unwrap();
    daemon.call("torrent-start", json!({"ids": [hash]}));
    daemon.wait(hash, "the move", |torrent| torrent["status"] == 6 && torrent["error"] != 3);
    assert_eq!(daemon.torrent(hash, &["ringseedCurrentDir"])["ringseedCurrentDir"], json!(last));
    assert!(there.join(other).exists() && !here.exists());
}

/// Files in a directory.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_copy_to_another_file_system_that_is_cut_short_or_cancelled() {
    let mut daemon = Daemon::start(&[]);
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return eprintln!("skipped: no /dev/shm") };
    let (memory, disk) = (memory.path().canonicalize().unwrap(), daemon.dir("disk"));
    if memory.metadata().unwrap().dev() == disk.metadata().unwrap().dev() {
        return eprintln!("skipped: /dev/shm is no other file system");
    }
    let (name, length) = ("large.bin", 200 << 20);
    fill(&memory.join(name), length, 7);
    let original = daemon.home.path().join("original");
    let content = torrent_of(&memory, name, length, "1M", NOBODY);
    let hash = content.info_hash.as_str();
    fs::copy(&content.torrent, daemon.home.path().join("t")).unwrap();
    fs::remove_file(&content.torrent).unwrap();
    daemon.call("torrent-add", json!({"filename": daemon.home.path().join("t"), "download-dir": memory}));
    daemon.wait(hash, "seeding", |torrent| torrent["status"] == 6);
    mark(&memory.join(name));
    fs::copy(memory.join(name), &original).unwrap();

    let arrived = |daemon: &Daemon, from: &Path, to: &Path| {
        let now = daemon.wait(hash, "the end of the move", |torrent| {
            torrent["status"] == 6 && torrent["downloadDir"] == json!(to) && torrent["error"] != 3
        });
        assert_eq!(now["leftUntilDone"], 0, "it was hashed");
        assert_eq!((names(from), names(to)), (vec![], vec![name.to_owned()]));
        assert!(fs::read(to.join(name)).unwrap() == fs::read(&original).unwrap(), "other bytes");
    };
    // How the copy ends before its time. On a machine that is too fast for that it is tried again.
    // Each gives whether it came in time.
    type End<'a> = &'a dyn Fn(&mut Daemon) -> bool;
    let ends: [(&str, End<'_>); 3] = [
        ("a kill", &|daemon| {
            daemon.process.kill();
            let in_time = !disk.join(name).exists();
            daemon.kill_and_restart();
            in_time
        }),
        ("a stop", &|daemon| {
            daemon.process.terminate();
            let in_time = !disk.join(name).exists();
            daemon.kill_and_restart();
            in_time
        }),
        ("a cancel", &|daemon| {
            rpc::outcome(daemon.address, "torrent-cancel-move", json!({"ids": [hash]}));
            let there = daemon.wait(hash, "the end", |torrent| torrent["status"] == 6);
            there["downloadDir"] == json!(memory)
        }),
    ];
    for (what, end) in ends {
        let in_time = (0..10).any(|_| {
            set_location(&daemon, hash, &disk);
            let seen = daemon.torrent(hash, &["status", "ringseedMoveProgress", "ringseedMoveTo"]);
            if seen["ringseedMoveProgress"].as_f64().unwrap() >= 0.0 {
                assert_eq!((&seen["status"], &seen["ringseedMoveTo"]), (&json!(4), &json!(disk)), "{what}");
            }
            until("the copy", || (!names(&disk).is_empty()).then_some(()));
            let in_time = end(&mut daemon);
            if what != "a cancel" || !in_time {
                arrived(&daemon, &memory, &disk);
                set_location(&daemon, hash, &memory);
            }
            arrived(&daemon, &disk, &memory);
            in_time
        });
        assert!(in_time, "{what} never came in time");
    }
    let cancelled = daemon.command(&["move", "--cancel", hash]).output().unwrap();
    let said = String::from_utf8_lossy(&cancelled.stderr).into_owned();
    assert!(!cancelled.status.success() && said.contains("not being moved"), "{said}");
}

/// A tracker that counts, and answers that there is nobody.
fn counting_tracker() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = requests.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut buffer = [0; 2048];
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(read @ 1..) => head.extend_from_slice(&buffer[..read]),
                    _ => break,
                }
            }
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or("").to_owned();
            kept.lock().unwrap().push(line);
            let body = "d8:intervali1800e5:peers0:e";
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    (url, requests)
}

#[test]
fn a_rename_is_done_when_it_is_answered_and_is_nothing_to_trackers() {
    let daemon = Daemon::start(&[]);
    let (url, requests) = counting_tracker();
    let dir = daemon.dir("content");
    for number in 0..4 {
        fill(&dir.join(format!("s/f{number}")), 3000, number);
    }
    let content = torrent_of(&dir, "s", 12_000, "16K", &url);
    daemon.seed(&content);
    let hash = content.info_hash.as_str();
    until("the first announce", || (!requests.lock().unwrap().is_empty()).then_some(()));
    let rename = |path: &str, name: &str| {
        rpc::outcome(
            daemon.address,
            "torrent-rename-path",
            json!({"ids": [hash], "path": path, "name": name}),
        )
    };
    for number in 0..4 {
        assert_eq!(rename(&format!("s/f{number}"), &format!("g{number}")), "success");
        assert!(dir.join(format!("s/g{number}")).exists() && !dir.join(format!("s/f{number}")).exists());
    }
    assert_eq!(rename("s/g1", "g1"), "success", "its own name");
    assert_eq!(rename("s/g1", "G1"), "success");
    fs::write(dir.join("s/foreign"), "x").unwrap();
    let said = rename("s/g2", "foreign");
    assert!(said.contains("s/foreign"), "{said}");
    assert_eq!(rename("s", "Top"), "success");
    let now = daemon.torrent(hash, &["status", "error", "name"]);
    assert_eq!((&now["status"], &now["error"], &now["name"]), (&json!(6), &json!(0), &json!("Top")));
    // Into itself: before anything is touched.
    for (from, to) in [("Top", "Top/sub"), ("Top/g2", "Top/g2/g2")] {
        let form = format!("hash={hash}&oldPath={from}&newPath={to}");
        let answer = daemon.raw(
            format!(
                "POST /api/v2/torrents/renameFolder HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \
                 application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
                form.len()
            )
            .as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("into itself"), "{answer}");
    }
    assert_eq!(names(&dir.join("Top")), ["G1", "foreign", "g0", "g2", "g3"]);
    daemon.call("torrent-stop", json!({"ids": [hash]}));
    until("the last announce", || {
        requests.lock().unwrap().iter().any(|line| line.contains("event=stopped")).then_some(())
    });
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 2, "{requests:#?}");
    assert!(requests[0].contains("event=started"), "{requests:#?}");
}

/// The data is under the name of an incomplete file then, and stays right.
#[test]
fn a_foreign_file_under_the_name_of_an_incomplete_one_is_named() {
    let pair = Pair::new(json!({"rename-partial-files": true}));
    pair.add();
    pair.until_the_first_file();
    let hash = pair.content.info_hash.as_str();
    let folder = pair.target().join(&pair.content.name);
    let partial = until("an incomplete file", || {
        names(&folder).into_iter().find(|name| name.ends_with(".part")).map(|name| folder.join(name))
    });
    pair.stop();
    assert!(partial.exists(), "it was too fast to tell");
    let own = partial.with_extension("");
    fs::write(&own, "mine").unwrap();
    pair.limit(None);
    pair.act("torrent-start", json!({}));
    let done = pair.leech.wait(hash, "the end", |torrent| torrent["status"] == 6 && torrent["error"] == 3);
    let said = done["errorString"].as_str().unwrap();
    assert!(said.contains(own.to_str().unwrap()) && !said.contains(".part"), "{said}");
    assert_eq!((fs::read(&own).unwrap().as_slice(), partial.exists()), (b"mine".as_slice(), true));
    fs::remove_file(&own).unwrap();
    pair.act("torrent-verify", json!({}));
    pair.leech.wait(hash, "the name", |torrent| {
        torrent["status"] == 6 && torrent["error"] == 0 && own.exists() && !partial.exists()
    });
}
