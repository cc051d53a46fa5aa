//! Unmodified clients of other projects, each through a session as their users have it.

use crate::daemon::Daemon;
use crate::support::content::{Content, assert_same};
use crate::support::rpc::remote;
use crate::support::until;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Python with the clients, as `run.sh` installs it.
fn python() -> PathBuf {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("rpc-venv/bin/python");
    std::env::var_os("RINGSEED_TEST_PYTHON").map_or(venv, PathBuf::from)
}

/// Runs a script of this folder with a Python client.
fn script(name: &str, arguments: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control").join(name);
    let output = Command::new(python()).arg(path).args(arguments).output();
    let output = output
        .unwrap_or_else(|error| panic!("{error}: run engine/tests/run.sh, which installs Python's clients"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{name}:\n{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn transmission_remote_goes_through_all_it_can_do() {
    let daemon = Daemon::start(&[]);
    let (one, many) = (daemon.single("one"), daemon.multi("many"));
    daemon.seed(&one);
    daemon.seed(&many);
    let tool = |arguments: &[&str]| remote(daemon.address, arguments);
    let done = |arguments: &[&str]| {
        let text = tool(arguments);
        assert!(text.contains("success"), "{arguments:?}: {text}");
    };
    let (first, second) = (one.info_hash.as_str(), many.info_hash.as_str());

    done(&["-t", first, "-L", "films,new"]);
    let info = tool(&["-t", first, "-i"]);
    assert!(info.contains("films") && info.contains("State: Idle") || info.contains("Seeding"), "{info}");
    assert_eq!(daemon.torrent(first, &["labels"])["labels"], json!(["films", "new"]));

    // Files.
    done(&["-t", second, "-G", "0"]);
    done(&["-t", second, "-ph", "2"]);
    let files = tool(&["-t", second, "-f"]);
    assert!(files.contains("High") && files.lines().any(|line| line.contains(" No ")), "{files}");
    done(&["-t", second, "-g", "all"]);
    done(&["-t", second, "-pn", "all"]);
    let wanted = daemon.torrent(second, &["wanted", "priorities"]);
    assert_eq!(wanted, json!({"wanted": [1, 1, 1, 1, 1], "priorities": [0, 0, 0, 0, 0]}));

    // Limits, goals, peers.
    done(&["-t", first, "-u", "70", "-d", "80", "-sr", "1.5", "-pr", "33"]);
    let set = daemon
        .torrent(first, &["uploadLimit", "downloadLimited", "seedRatioLimit", "seedRatioMode", "peer-limit"]);
    assert_eq!(
        set,
        json!({"uploadLimit": 70, "downloadLimited": true, "seedRatioLimit": 1.5, "seedRatioMode": 1, "peer-limit": 33})
    );
    done(&["-t", first, "-SR"]);
    assert_eq!(daemon.torrent(first, &["seedRatioMode"])["seedRatioMode"], 2);

    // Trackers.
    done(&["-t", first, "-td", "http://127.0.0.1:9/other"]);
    assert!(tool(&["-t", first, "-it"]).contains("http://127.0.0.1:9"));
    assert_eq!(daemon.torrent(first, &["trackers"])["trackers"].as_array().unwrap().len(), 2);
    done(&["-t", first, "-tr", "0"]);
    assert_eq!(daemon.torrent(first, &["trackerList"])["trackerList"], "http://127.0.0.1:9/other");

    // The session.
    done(&["-as", "-asu", "90", "-asd", "91"]);
    done(&["-gsr", "2.5", "-w", daemon.dir("elsewhere").to_str().unwrap()]);
    let session = daemon.call("session-get", json!({}));
    assert_eq!((&session["alt-speed-enabled"], &session["alt-speed-up"]), (&json!(true), &json!(90)));
    assert_eq!((&session["seedRatioLimited"], &session["seedRatioLimit"]), (&json!(true), &json!(2.5)));
    assert!(tool(&["-si"]).contains("elsewhere"));
    done(&["-AS", "-GSR"]);
    assert!(tool(&["-st"]).contains("CURRENT SESSION"));

    // Stop, start, verify, and the place of the data.
    done(&["-t", first, "-S"]);
    daemon.wait(first, "paused", |torrent| torrent["status"] == 0);
    done(&["-t", first, "-s"]);
    daemon.wait(first, "seeding", |torrent| torrent["status"] == 6);
    done(&["-t", first, "-v"]);
    daemon.wait(first, "seeding", |torrent| torrent["status"] == 6);
    let target = daemon.dir("moved");
    done(&["-t", second, "--move", target.to_str().unwrap()]);
    daemon.wait(second, "moved", |torrent| torrent["downloadDir"] == json!(target) && torrent["status"] == 6);
    assert!(!many.dir.join(&many.name).exists(), "the files are still where they were");
    let back = many.dir.clone();
    done(&["-t", second, "--move", back.to_str().unwrap()]);
    daemon.wait(second, "moved back", |torrent| {
        torrent["downloadDir"] == json!(back) && torrent["status"] == 6
    });
    assert_same(&many, &many.dir);

    // Removal, without and with the data.
    done(&["-t", first, "-r"]);
    assert!(one.dir.join(&one.name).exists());
    done(&["-t", second, "--remove-and-delete"]);
    until("the files to be gone", || (!many.dir.join(&many.name).exists()).then_some(()));
    let list = tool(&["-l"]);
    assert!(list.lines().count() == 2, "{list}");
}

#[test]
fn pythons_qbittorrent_api_goes_through_what_automation_calls() {
    let daemon = Daemon::start(&[]);
    let (one, many) = (daemon.single("one"), daemon.multi("many"));
    script("use_qbittorrent_api.py", &session_arguments(&daemon, &one, &many));
}

/// One npm client; it needs a directory with its modules, which `run.sh` makes.
#[test]
fn npms_ctrl_transmission_goes_through_what_it_can_do() {
    let daemon = Daemon::start(&[]);
    let one = daemon.single("one");
    let target = daemon.dir("target");
    let modules = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("rpc-npm");
    let modules = std::env::var_os("RINGSEED_TEST_NODE_MODULES").map_or(modules, PathBuf::from);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control/use_ctrl_transmission.mjs");
    let output = Command::new("node")
        .arg(path)
        .arg(modules)
        .arg(daemon.address.port().to_string())
        .args([one.torrent.as_os_str(), one.dir.as_os_str(), target.as_os_str()])
        .output()
        .expect("node is installed: run engine/tests/run.sh");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// What the scripts are told of a daemon and its torrents.
fn session_arguments(daemon: &Daemon, one: &Content, many: &Content) -> Vec<String> {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let target = daemon.dir("target");
    let paths = [&one.torrent, &one.dir, &many.torrent, &many.dir, &target].map(|path| text(path));
    std::iter::once(daemon.address.port().to_string()).chain(paths).collect()
}

#[test]
fn pythons_transmission_rpc_goes_through_all_it_can_do() {
    let daemon = Daemon::start(&[]);
    let (one, many) = (daemon.single("one"), daemon.multi("many"));
    script("use_transmission_rpc.py", &session_arguments(&daemon, &one, &many));
}
