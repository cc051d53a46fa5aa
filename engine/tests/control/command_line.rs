//! Our own command line against a running daemon.

use crate::daemon::Daemon;
use serde_json::{Value, json};

impl Daemon {
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[arguments, &["--json"]].concat())).unwrap()
    }

    fn complains(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn commands_drive_a_daemon() {
    let daemon = Daemon::start(&[]);
    let content = daemon.multi("many");
    let (torrent, dir) = (content.torrent.to_str().unwrap(), content.dir.to_str().unwrap());
    let hash = content.info_hash.as_str();

    let added = daemon.says(&["add", torrent, "--dir", dir, "--label", "films"]);
    assert!(added.starts_with("added 1 ") && added.contains(hash), "{added}");
    assert!(daemon.says(&["add", torrent]).starts_with("already there 1 "));
    daemon.wait(hash, "seeding", |torrent| torrent["status"] == 6);

    let list = daemon.says(&["list"]);
    assert!(list.contains("seeding") && list.contains("100.0%") && list.contains(&content.name), "{list}");
    assert_eq!(daemon.json(&["list", "--label", "films"]).as_array().unwrap().len(), 1);
    assert_eq!(daemon.json(&["list", "--label", "music"]), json!([]));
    let info = daemon.says(&["info", "1"]);
    for text in [hash, "seeding", "tief.bin", "http://127.0.0.1:9/announce", "films"] {
        assert!(info.contains(text), "{text}:\n{info}");
    }
    assert_eq!(daemon.json(&["info", hash])[0]["hashString"], hash);

    assert!(daemon.says(&["pause", "1"]).starts_with("paused 1 "));
    daemon.wait(hash, "paused", |torrent| torrent["status"] == 0);
    assert!(daemon.says(&["resume", hash, "--now"]).starts_with("started 1 "));
    daemon.wait(hash, "seeding", |torrent| torrent["status"] == 6);

    daemon.says(&["limit", "1", "--up", "500K", "--down", "none"]);
    let limits = daemon.torrent(hash, &["uploadLimit", "uploadLimited", "downloadLimited"]);
    assert_eq!(limits, json!({"uploadLimit": 512, "uploadLimited": true, "downloadLimited": false}));
    daemon.says(&["limit", "--down", "1M"]);
    assert_eq!(daemon.call("session-get", json!({}))["speed-limit-down"], 1048);

    let target = daemon.dir("moved");
    daemon.says(&["move", "1", "--to", target.to_str().unwrap()]);
    daemon.wait(hash, "moved", |torrent| torrent["downloadDir"] == json!(target) && torrent["status"] == 6);

    assert!(daemon.says(&["stats"]).contains("torrents:  1 (0 paused)"));
    assert_eq!(daemon.json(&["stats"])["torrentCount"], 1);
    let top = daemon.says(&["top"]);
    assert!(top.contains("1 torrents") && top.contains(&content.name), "{top}");

    assert!(daemon.says(&["remove", "all", "--delete-data"]).starts_with("removed 1 "));
    assert_eq!(daemon.json(&["list"]), json!([]));
    crate::support::until("the files to be gone", || (!target.join(&content.name).exists()).then_some(()));
}

#[test]
fn torrents_of_other_clients_are_imported() {
    let daemon = Daemon::start(&[]);
    let (one, many) = (daemon.single("one"), daemon.multi("many"));
    let string = |text: &str| format!("{}:{text}", text.len());
    // As Transmission has them.
    let config = daemon.dir("config");
    std::fs::create_dir_all(config.join("torrents")).unwrap();
    std::fs::create_dir_all(config.join("resume")).unwrap();
    std::fs::copy(&one.torrent, config.join("torrents/x.torrent")).unwrap();
    let resume = format!(
        "d11:destination{}6:labelsl{}e6:pausedi0ee",
        string(one.dir.to_str().unwrap()),
        string("old")
    );
    std::fs::write(config.join("resume/x.resume"), resume).unwrap();
    let said = daemon.says(&["import", config.to_str().unwrap()]);
    assert!(said.contains("1 imported, 0 failed"), "{said}");
    daemon.wait(&one.info_hash, "seeding", |torrent| torrent["status"] == 6);
    assert_eq!(daemon.torrent(&one.info_hash, &["labels"])["labels"], json!(["old"]));
    // As qBittorrent has them.
    let backup = daemon.dir("BT_backup");
    std::fs::copy(&many.torrent, backup.join("y.torrent")).unwrap();
    let resume = format!("d14:qBt-ratioLimiti1500e12:qBt-savePath{}e", string(many.dir.to_str().unwrap()));
    std::fs::write(backup.join("y.fastresume"), resume).unwrap();
    daemon.says(&["import", backup.to_str().unwrap()]);
    daemon.wait(&many.info_hash, "seeding", |torrent| torrent["status"] == 6);
    assert_eq!(daemon.torrent(&many.info_hash, &["seedRatioLimit"])["seedRatioLimit"], 1.5);
}

#[test]
fn mistakes_are_told() {
    let daemon = Daemon::start(&[]);
    let (code, text) = daemon.complains(&["pause", "7"]);
    assert!(code == Some(1) && text.contains("no torrent 7"), "{text}");
    let (code, text) = daemon.complains(&["pause", "x y"]);
    assert!(code == Some(2) && text.contains("neither a number"), "{text}");
    assert_eq!(daemon.complains(&["limit"]).0, Some(2));
    let (code, text) = daemon.complains(&["add", "/no/such.torrent"]);
    assert!(code == Some(1) && text.contains("does not exist"), "{text}");
    let nobody = daemon.command(&["list"]).arg("--connect").arg("127.0.0.1:9").output().unwrap();
    // The second --connect is refused by the parser; a daemon that is not there by the connection.
    assert!(!nobody.status.success());
}

#[test]
fn health_needs_no_credentials_and_fails_without_a_daemon() {
    let mut daemon = Daemon::start(&["--rpc-auth", "me:secret"]);
    assert_eq!(daemon.says(&["health"]), "ok\n");
    assert_eq!(daemon.says(&["health", "--ready"]), "ready\n");
    assert_eq!(daemon.json(&["health"]), json!({"health": "ok"}));
    let (code, text) = daemon.complains(&["list"]);
    assert!(code == Some(1) && text.contains("credentials"), "{text}");

    // As in a container: the daemon's own variables say where it is and where its token is.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringseed"));
    command.arg("list").env("RINGSEED_RPC", daemon.address.to_string());
    command.env("RINGSEED_STATE_DIR", daemon.home.path().join("state"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");

    daemon.process.terminate();
    let (code, text) = daemon.complains(&["health"]);
    assert!(code == Some(1) && text.contains("does `ringseed serve` run?"), "{text}");
}
