//! The metrics pages, in the eyes of Prometheus' own tool.

use crate::daemon::{Daemon, get};
use crate::support::until;
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};

fn page(daemon: &Daemon, path: &str) -> String {
    let answer =
        daemon.raw(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

fn lint(text: &str) {
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed: run engine/tests/run.sh");
    tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "promtool:\n{said}");
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let daemon = Daemon::start(&[]);
    let (one, many) = (daemon.single("one"), daemon.multi("many"));
    daemon.seed(&one);
    daemon.seed(&many);
    let text = page(&daemon, "/metrics");
    lint(&text);
    assert!(!text.contains(&one.info_hash), "a series per torrent on the page that is always scraped");
    let of_disks = |line: &&str| line.starts_with("ringseed_disk_free_bytes{directory=");
    assert!(text.lines().filter(of_disks).count() >= 1, "no file system is told of:\n{text}");
    let types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let names: std::collections::HashSet<&str> =
        types.iter().map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert_eq!(types.len(), names.len(), "a family has two TYPE lines");

    let text = page(&daemon, "/metrics/torrents");
    lint(&text);
    let hash = many.info_hash.as_str();
    for line in [
        format!("ringseed_torrent_info{{infohash=\"{hash}\",label=\"\",name=\"{}\"}} 1", many.name),
        format!("ringseed_torrent_left_bytes{{infohash=\"{hash}\"}} 0"),
        "ringseed_torrent_series_truncated 0".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is missing:\n{text}");
    }
    daemon.call("torrent-remove", json!({"ids": [hash]}));
    assert!(!page(&daemon, "/metrics/torrents").contains(hash), "a removed torrent keeps its series");
}

/// The value of a series of the page.
fn value(page: &str, series: &str) -> u64 {
    let line =
        page.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_else(|| panic!("no {series}"));
    line.trim().parse::<f64>().unwrap() as u64
}

/// Bytes that moved before anybody looked were missed after a restart: the page took what it saw first as the beginning.
#[test]
fn what_moves_before_the_first_look_is_counted_and_what_moved_is_kept() {
    const SENT: &str = "ringseed_payload_bytes_total{direction=\"sent\"}";
    let mut daemon = Daemon::start(&[]);
    let content = daemon.single("one");
    daemon.seed(&content);
    let hash = content.info_hash.as_str();
    let length = content.length;
    // The bytes of so many transfers were sent in all.
    let transfer = |daemon: &Daemon, name: &str, times: u64| {
        let peer = format!("127.0.0.1:{}", daemon.call("session-get", json!({}))["peer-port"]);
        get(&content, &daemon.dir(name), &["--peer", &peer]).wait_success();
        until("what was sent", || {
            (daemon.torrent(hash, &["uploadedEver"])["uploadedEver"] == times * length).then_some(())
        });
    };
    transfer(&daemon, "first", 1);
    daemon.restart();
    daemon.wait(hash, "seeding", |torrent| torrent["status"] == 6);
    transfer(&daemon, "second", 2);
    // Only now does anybody look.
    assert_eq!(value(&page(&daemon, "/metrics"), SENT), length);
    let stats = daemon.call("session-stats", json!({}));
    assert_eq!(stats["current-stats"]["uploadedBytes"], length);
    assert_eq!(stats["cumulative-stats"]["uploadedBytes"], 2 * length);
    assert_eq!(
        (&stats["cumulative-stats"]["sessionCount"], &stats["cumulative-stats"]["filesAdded"]),
        (&json!(2), &json!(1))
    );

    // It is entered while it runs, too: a kill takes away the last seconds and no more.
    let entered = || {
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join("resume.redb");
        std::fs::copy(daemon.home.path().join("state/resume.redb"), &path).ok()?;
        // A copy of a file that is being written may not be whole.
        ringseed_storage::ResumeStore::open(&path).ok()?.totals().ok()
    };
    until("the totals", || entered().filter(|totals| totals.uploaded == 2 * length));
    daemon.kill_and_restart();
    assert_eq!(daemon.torrent(hash, &["uploadedEver"])["uploadedEver"], 2 * length);
    transfer(&daemon, "third", 3);
    // What is removed stays counted.
    daemon.call("torrent-remove", json!({"ids": [hash]}));
    until("the end", || daemon.torrent(hash, &["id"]).is_null().then_some(()));
    assert_eq!(value(&page(&daemon, "/metrics"), SENT), length);
    let stats = daemon.call("session-stats", json!({}));
    assert_eq!(stats["cumulative-stats"]["uploadedBytes"], 3 * length);
}
