//! The metrics pages, in the eyes of Prometheus' own tool.

use crate::daemon::Daemon;
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
