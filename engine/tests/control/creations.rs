//! Torrents that a daemon makes: progress, results, and what it does not share.

use crate::daemon::Daemon;
use crate::support::content::{assert_same, fill};
use crate::support::{rpc, until};
use ringseed_api::{Creation, CreationState, Creations};
use ringseed_proto::metainfo::Metainfo;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::Path;

const TRACKER: &str = "http://127.0.0.1:9/announce";

fn get(daemon: &Daemon, arguments: Value) -> Vec<Creation> {
    let answer = daemon.call("torrent-create-get", arguments);
    serde_json::from_value::<Creations>(answer).unwrap().creations
}

/// Waits until a creation is done or has failed.
fn end(daemon: &Daemon, id: &Value) -> Creation {
    until("the end of a creation", || {
        let one = get(daemon, json!({"ids": [id], "metainfo": true})).remove(0);
        matches!(one.state, CreationState::Done | CreationState::Failed).then_some(one)
    })
}

fn parsed(creation: &Creation) -> Metainfo {
    // The answer of `ringseed show` is that of another reader of base64 and bencode.
    let mut bytes = Vec::new();
    let table = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut buffer, mut bits) = (0u32, 0);
    for byte in creation.metainfo.bytes().filter(|byte| *byte != b'=') {
        buffer = buffer << 6 | table.iter().position(|letter| *letter == byte).unwrap() as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
        }
    }
    Metainfo::parse(&bytes).unwrap()
}

/// The same content gives the same torrent as `ringseed create`, which the other tests compare with other programs.
#[test]
fn a_torrent_is_made_as_on_the_command_line() {
    let daemon = Daemon::start(&[]);
    // `downloads` is the download directory of its configuration.
    let content = daemon.multi("downloads");
    let path = content.dir.join(&content.name);
    let ask = json!({"path": path, "pieceSize": 65536, "trackers": [[TRACKER, "udp://127.0.0.1:9"]], "private": true,
        "comment": "words", "source": "S", "webSeeds": ["http://127.0.0.1:9/w"], "creationDate": 5});
    let id = daemon.call("torrent-create", ask)["id"].clone();
    let made = end(&daemon, &id);
    assert_eq!(
        (made.state, made.total_bytes, made.hashed_bytes),
        (CreationState::Done, content.length, content.length)
    );
    let torrent = parsed(&made);
    assert_eq!(torrent.id().to_string(), made.hash_string);
    assert_eq!(torrent.tiers, [[TRACKER, "udp://127.0.0.1:9"]]);
    assert_eq!((torrent.info.private, torrent.comment.as_deref()), (true, Some("words")));
    assert_eq!((torrent.info.source.as_deref(), torrent.creation_date), (Some("S"), Some(5)));
    assert_eq!(torrent.web_seeds, ["http://127.0.0.1:9/w"]);

    // Without what makes it another one it is that of the command line, and it can be seeded.
    let output = content.dir.join("made.torrent");
    let ask = json!({"path": path, "pieceSize": 65536, "trackers": [[TRACKER]], "output": output});
    let id = daemon.call("torrent-create", ask)["id"].clone();
    let made = end(&daemon, &id);
    assert_eq!((made.error.as_str(), &made.hash_string), ("", &content.info_hash));
    assert!(made.metainfo.is_empty() && made.output == output.to_str().unwrap());
    let add = json!({"filename": output, "download-dir": content.dir});
    daemon.call("torrent-add", add);
    daemon.wait(&content.info_hash, "seeding", |torrent| torrent["status"] == 6);
    // A second time nothing is replaced.
    let id = daemon.call("torrent-create", json!({"path": path, "output": output}))["id"].clone();
    assert!(end(&daemon, &id).error.contains("it exists"));

    assert_eq!(get(&daemon, json!({})).len(), 3);
    daemon.call("torrent-create-cancel", json!({"ids": [id]}));
    assert_eq!(get(&daemon, json!({})).len(), 2);
    for method in ["torrent-create-get", "torrent-create-cancel"] {
        let said = rpc::outcome(daemon.address, method, json!({"ids": [id]}));
        assert!(said.contains("under the id 3"), "{said}");
    }
}

#[test]
fn what_is_not_below_its_directories_is_not_shared() {
    let elsewhere = tempfile::tempdir().unwrap();
    let more = elsewhere.path().join("more");
    std::fs::create_dir(&more).unwrap();
    let daemon = Daemon::start(&["--rpc-create-dir", more.to_str().unwrap()]);
    let downloads = daemon.dir("downloads");
    fill(&downloads.join("a"), 100_000, 1);
    fill(&more.join("b"), 100_000, 2);
    std::fs::write(elsewhere.path().join("secret"), "secret").unwrap();
    symlink(elsewhere.path().join("secret"), downloads.join("link")).unwrap();
    symlink(elsewhere.path(), downloads.join("out")).unwrap();
    std::fs::create_dir(downloads.join("with")).unwrap();
    symlink(elsewhere.path().join("secret"), downloads.join("with/link")).unwrap();
    let at = |path: &Path| path.to_str().unwrap().to_owned();

    let both = [downloads.join("a"), more.join("b")];
    for path in &both {
        let id = daemon.call("torrent-create", json!({"path": path}))["id"].clone();
        assert_eq!(end(&daemon, &id).error, "");
    }
    // What a client sets as download directory allows nothing.
    daemon.call("session-set", json!({"download-dir": elsewhere.path()}));
    for path in [
        at(&elsewhere.path().join("secret")),
        "/etc/passwd".to_owned(),
        at(&downloads.join("../state/rpc-token")),
        at(&downloads),
        "a".to_owned(),
        String::new(),
    ] {
        let said = rpc::outcome(daemon.address, "torrent-create", json!({"path": path}));
        assert!(said.contains("is not below") && said.contains("downloads"), "{path}: {said}");
        let ask = json!({"path": both[0], "output": path});
        assert!(rpc::outcome(daemon.address, "torrent-create", ask).contains("is not below"), "{path}");
    }
    for (path, why) in [
        (downloads.join("link"), "symbolic link"),
        (downloads.join("out/secret"), "symbolic link"),
        (downloads.join("with"), "symbolic link"),
        (downloads.join("none"), "No such file"),
    ] {
        let id = daemon.call("torrent-create", json!({"path": path}))["id"].clone();
        let failed = end(&daemon, &id);
        assert!(failed.state == CreationState::Failed && failed.error.contains(why), "{failed:?}");
    }
    for (output, why) in
        [(downloads.join("out/x.torrent"), "symbolic link"), (downloads.join("x.txt"), "ends with .torrent")]
    {
        let id = daemon.call("torrent-create", json!({"path": both[0], "output": output}))["id"].clone();
        assert!(end(&daemon, &id).error.contains(why));
    }
    for (wrong, why) in [
        (json!({"path": both[0], "trackers": [["ftp://x"]]}), "announce URL"),
        (json!({"path": both[0], "webSeeds": ["file:///etc"]}), "http, https or ftp"),
        (json!({"path": both[0], "nonsense": 1}), "nonsense"),
        (json!({"path": 5}), "invalid"),
    ] {
        let said = rpc::outcome(daemon.address, "torrent-create", wrong);
        assert!(said.contains(why), "{said}");
    }
    let id = daemon.call("torrent-create", json!({"path": both[0], "pieceSize": 100_000}))["id"].clone();
    assert!(end(&daemon, &id).error.contains("powers of two"));
}

#[test]
fn many_wait_their_turn_more_are_refused_and_all_can_be_called_off() {
    let daemon = Daemon::start(&[]);
    let path = daemon.dir("downloads").join("large");
    // Sparse: hours of zeros take no space.
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let ask = json!({"path": path, "pieceSize": 1 << 24});
    let ids: Vec<Value> = (0..16).map(|_| daemon.call("torrent-create", ask.clone())["id"].clone()).collect();
    let said = rpc::outcome(daemon.address, "torrent-create", ask.clone());
    assert!(said.contains("16 torrents are being made"), "{said}");
    let states = || get(&daemon, json!({})).into_iter().map(|one| one.state).collect::<Vec<_>>();
    until("progress", || {
        get(&daemon, json!({})).first().filter(|one| one.hashed_bytes > 50_000_000).cloned()
    });
    let states = states();
    assert!(
        states[0] == CreationState::Hashing
            && states[1..].iter().all(|state| *state == CreationState::Waiting)
    );
    // It has a thread with less right than those of the shards, and answers meanwhile.
    let tasks = format!("/proc/{}/task", daemon.process.pid());
    let nice: Vec<i32> = std::fs::read_dir(tasks)
        .unwrap()
        .filter_map(|task| {
            let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
            (name == "create").then(|| rest.split_whitespace().nth(16)?.parse().ok())?
        })
        .collect();
    assert_eq!(nice, [10]);
    daemon.call("torrent-create-cancel", json!({"ids": ids}));
    assert_eq!(get(&daemon, json!({})), []);
    // The thread is free again soon.
    let small = daemon.dir("downloads").join("small");
    fill(&small, 1000, 1);
    let id = until("room", || {
        let tried = rpc::try_call(daemon.address, "torrent-create", json!({"path": small}));
        tried.unwrap().then(|| get(&daemon, json!({})).last().map(|one| json!(one.id))).flatten()
    });
    assert_eq!(end(&daemon, &id).error, "");
    // One under way does not hold up the end of the daemon.
    daemon.call("torrent-create", ask);
    let mut daemon = daemon;
    daemon.process.terminate();
}

#[test]
fn the_command_line_has_a_daemon_make_one() {
    let daemon = Daemon::start(&[]);
    let content = daemon.multi("downloads");
    let here = tempfile::tempdir().unwrap();
    let output = here.path().join("made.torrent");
    let create = |path: &Path| {
        let mut command = daemon.command(&["create", "--tracker", TRACKER, "--piece-size", "64K"]);
        command.arg(path).arg("-o").arg(&output).output().unwrap()
    };
    let made = create(&content.dir.join(&content.name));
    assert!(made.status.success(), "{made:?}");
    let torrent = Metainfo::parse(&std::fs::read(&output).unwrap()).unwrap();
    assert_eq!(torrent.id().to_string(), content.info_hash);
    assert_eq!(get(&daemon, json!({})), [], "it is not kept");
    std::fs::remove_file(&output).unwrap();
    let refused = create(Path::new("/etc/passwd"));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("is not below"), "{said}");
    assert!(!output.exists());
    assert_same(&content, &content.dir);
}
