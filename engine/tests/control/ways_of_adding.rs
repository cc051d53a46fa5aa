//! Default trackers reach every way in which a torrent is added.

use crate::daemon::Daemon;
use crate::support::content::{Content, single};
use crate::support::process::Process;
use crate::support::until;
use serde_json::json;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

const OWN: &str = "http://127.0.0.1:9/announce";
const DEFAULT: &str = "http://127.0.0.1:9/default";

/// A torrent of its own; each needs another info-hash.
fn content(daemon: &Daemon, name: &str, private: bool) -> Content {
    let content = single(&daemon.dir(name), 300_000, "16K", OWN);
    let mut bytes = std::fs::read(&content.torrent).unwrap();
    let at = bytes.windows(6).position(|part| part == b"4:name").unwrap();
    // Keys are in order: `name`, `piece length`, `pieces`, `private`, `source`.
    let more = format!("4:from{}:{name}", name.len());
    bytes.splice(at..at, more.bytes());
    if private {
        let end = bytes.len() - 2;
        bytes.splice(end..end, *b"7:privatei1e");
    }
    std::fs::write(&content.torrent, &bytes).unwrap();
    content
}

fn trackers(daemon: &Daemon) -> Vec<(bool, String)> {
    let fields = json!({"fields": ["trackerList", "isPrivate"]});
    let torrents = daemon.call("torrent-get", fields)["torrents"].clone();
    let list = torrents.as_array().unwrap().iter();
    list.map(|torrent| (torrent["isPrivate"] == true, torrent["trackerList"].as_str().unwrap().to_owned()))
        .collect()
}

fn web_api_add(daemon: &Daemon, torrent: &Path, fields: &[(&str, &str)]) {
    let field = |(name, value): &(&str, &str)| {
        format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields: String = fields.iter().map(field).collect();
    let head = "--X\r\nContent-Disposition: form-data; name=\"torrents\"; filename=\"a.torrent\"\r\n\r\n";
    let body =
        [fields.as_bytes(), head.as_bytes(), &std::fs::read(torrent).unwrap(), b"\r\n--X--\r\n"].concat();
    let request = format!(
        "POST /api/v2/torrents/add HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: multipart/form-data; boundary=X\r\n\r\n",
        body.len()
    );
    let answer = daemon.raw(&[request.as_bytes(), &body].concat());
    assert!(answer.contains("Ok."), "{answer}");
}

#[test]
fn default_trackers_reach_every_way_of_adding() {
    let watched = tempfile::tempdir().unwrap();
    let daemon =
        Daemon::start(&["--default-tracker", DEFAULT, "--watch-dir", watched.path().to_str().unwrap()]);
    let [rpc, web, watch, command, private] =
        ["rpc", "web", "watch", "command", "private"].map(|name| content(&daemon, name, name == "private"));
    let empty = daemon.dir("empty");
    for content in [&rpc, &private] {
        let add = json!({"filename": content.torrent, "download-dir": empty, "paused": true});
        daemon.call("torrent-add", add);
    }
    web_api_add(&daemon, &web.torrent, &[]);
    std::fs::copy(&watch.torrent, watched.path().join("w.torrent")).unwrap();
    let added = daemon.command(&["add", "--paused", command.torrent.to_str().unwrap()]).output().unwrap();
    assert!(added.status.success(), "{added:?}");
    let all = until("all torrents", || Some(trackers(&daemon)).filter(|all| all.len() == 5));
    for (private, list) in all {
        assert_eq!(list == format!("{OWN}\n\n{DEFAULT}"), !private, "{list}");
        assert_eq!(list == OWN, private, "a private torrent has its own alone: {list}");
    }
    // What is set holds over the configuration.
    let set = |list: &str| daemon.call("session-set", json!({"default-trackers": list}));
    assert_eq!(daemon.call("session-get", json!({}))["default-trackers"], DEFAULT);
    set("");
    let plain = content(&daemon, "plain", false);
    daemon.call("torrent-add", json!({"filename": plain.torrent, "download-dir": empty, "paused": true}));
    assert!(trackers(&daemon).iter().any(|(private, list)| !private && list == OWN));
}

/// `get` and `seed` have no session whose settings they could follow.
#[test]
fn commands_announce_to_the_default_tracker() {
    let daemon = Daemon::start(&[]);
    let seeded = content(&daemon, "seeded", false);
    for seed in [true, false] {
        let tracker = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/default", tracker.local_addr().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
        command.args([if seed { "seed" } else { "get" }, "--quiet", "--port", "0", "--listen", "127.0.0.1"]);
        command.args(["--shards", "1", "--no-pin", "--default-tracker", &url]);
        command.arg("--state-dir").arg(daemon.home.path().join(format!("of-{seed}")));
        let place = if seed { seeded.dir.clone() } else { daemon.dir("got") };
        command.arg(if seed { "--data" } else { "-o" }).arg(place).arg(&seeded.torrent);
        let process = Process::start("ringseed", &mut command);
        let (mut stream, _) = tracker.accept().unwrap();
        let mut request = [0; 2000];
        let count = stream.read(&mut request).unwrap();
        let request = String::from_utf8_lossy(&request[..count]).into_owned();
        assert!(request.starts_with("GET /default?info_hash="), "{request}");
        drop((stream, process));
    }
}

/// How files are to lie and the name that a torrent is to have were ignored.
#[test]
fn files_lie_and_torrents_are_called_as_qbittorrents_clients_ask() {
    let daemon = Daemon::start(&[]);
    let add = |content: &Content, fields: &[(&str, &str)]| {
        let place = content.dir.to_str().unwrap();
        web_api_add(
            &daemon,
            &content.torrent,
            &[fields, &[("savepath", place), ("stopped", "true")]].concat(),
        );
        let torrent = daemon.torrent(&content.info_hash, &["files"]);
        torrent["files"][0]["name"].as_str().unwrap().to_owned()
    };
    let [subfolder, original] = [("subfolder", 300_000), ("original", 200_000)]
        .map(|(name, length)| single(&daemon.dir(name), length, "16K", OWN));
    let file = subfolder.name.as_str();
    let folder = file.split('.').next().unwrap();
    // Data that lies so is found.
    std::fs::create_dir(subfolder.dir.join(folder)).unwrap();
    std::fs::rename(subfolder.dir.join(file), subfolder.dir.join(folder).join(file)).unwrap();
    assert_eq!(add(&subfolder, &[("contentLayout", "Subfolder")]), format!("{folder}/{file}"));
    daemon.wait(&subfolder.info_hash, "the check", |torrent| {
        torrent["status"] == 0 && torrent["leftUntilDone"] == 0
    });
    assert_eq!(add(&original, &[("contentLayout", "Original"), ("rename", "Another name")]), file);
    let several = daemon.multi("several");
    let first = "a/b/c/tief.bin";
    assert_eq!(add(&several, &[("root_folder", "false")]), first);

    let get = |path: &str| {
        let page = daemon
            .raw(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes());
        serde_json::from_str::<serde_json::Value>(page.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let shown =
        |content: &Content| get(&format!("/api/v2/torrents/info?hashes={}", content.info_hash))[0].clone();
    assert_eq!(shown(&original)["name"], "Another name");
    assert_eq!(shown(&original)["content_path"], json!(original.dir.join(file)));
    assert_eq!(shown(&subfolder)["name"], file);
    assert_eq!(shown(&several)["name"], several.name);
    let rename = |hash: &str| {
        let body = format!("hash={hash}&name=A+third");
        daemon.raw(
            format!(
                "POST /api/v2/torrents/rename HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \
                 application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        )
    };
    assert!(rename(&original.info_hash).starts_with("HTTP/1.1 200"));
    assert!(rename(&"0".repeat(40)).starts_with("HTTP/1.1 404"));
    assert_eq!(shown(&original)["name"], "A third");
}
