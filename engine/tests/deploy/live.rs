//! A swarm watched by a real Prometheus with the shipped configuration: every name that rules and dashboards ask for is
//! exported, and every panel shows something.

use crate::http::{api, get};
use crate::names::{asked_for, queries};
use crate::support::content::single;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port};
use crate::{prometheus, text};
use ringseed_tracker::{Tracker, TrackerConfig};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TOKEN: &str = "a token for this test only";

/// A daemon that wants credentials of everybody, so that Prometheus has to show the token.
struct Engine {
    _process: Process,
    rpc: SocketAddr,
    token_file: std::path::PathBuf,
}

impl Engine {
    fn start(home: &Path, token_file: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
        command
            .args(["serve", "--rpc", "127.0.0.1:0", "--port", "0", "--listen", "127.0.0.1", "--shards", "1"])
            .args(["--no-pin", "--rpc-auth", "me:secret", "--rpc-token-file"])
            .arg(token_file)
            .arg("--state-dir")
            .arg(home.join("state"))
            .arg("--download-dir")
            .arg(home.join("downloads"))
            .args(more);
        let mut process = Process::start("ringseed serve", &mut command);
        let line = process.wait_for("RPC on http");
        process.wait_for("ready with");
        let rpc = line.split("://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        Self { _process: process, rpc, token_file: token_file.to_owned() }
    }

    /// Our own command line; wants it to work.
    fn command(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
        command.args(arguments).arg("--connect").arg(self.rpc.to_string());
        crate::run(command.arg("--token-file").arg(&self.token_file))
    }
}

/// Prometheus with the shipped files, but quicker and with the addresses of this test.
fn watch(dir: &Path, engines: &[&Engine], tracker: SocketAddr) -> (Process, SocketAddr) {
    prometheus::installed(dir, TOKEN);
    let shipped = text("prometheus/prometheus.yml");
    let engines: Vec<String> = engines.iter().map(|engine| format!("\"{}\"", engine.rpc)).collect();
    let here = shipped
        .replace("[ringseed:9091]", &format!("[{}]", engines.join(", ")))
        .replace("[tracker:6969]", &format!("[\"{tracker}\"]"))
        .replace(": 15s", ": 1s")
        .replace(": 60s", ": 1s");
    for gone in ["ringseed:9091", "tracker:6969", "15s", "60s"] {
        assert!(shipped.contains(gone) && !here.contains(gone), "{gone} is not what it was");
    }
    std::fs::write(dir.join("prometheus.yml"), here).unwrap();
    let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address={address}"));
    let mut process = Process::start("prometheus", &mut command);
    process.wait_for("Server is ready");
    (process, address)
}

/// A query of a dashboard as Grafana would send it.
fn concrete(expression: &str) -> String {
    let query =
        expression.replace("$__rate_interval", "5s").replace("$instance", ".+").replace("$shard", ".+");
    assert!(!query.contains('$'), "{query}");
    query
}

/// Whether a query gives a number.
fn answered(prometheus: SocketAddr, expression: &str) -> bool {
    let Some(data) = api(prometheus, "query", &[("query", &concrete(expression))]) else { return false };
    let samples = data["result"].as_array().unwrap();
    samples.iter().any(|sample| sample["value"][1].as_str().is_some_and(|value| value != "NaN"))
}

/// What scraped pages export beside what Prometheus adds.
fn exported(prometheus: SocketAddr) -> BTreeSet<String> {
    let data = api(prometheus, "label/__name__/values", &[]).unwrap_or_default();
    data.as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_panel_shows_something_of_a_running_swarm() {
    let dir = tempfile::tempdir().unwrap();
    let here = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let tracker =
        Tracker::start(TrackerConfig { http: here, udp: here, ..TrackerConfig::default() }).unwrap();
    let (http, udp) = (tracker.http_addrs()[0], tracker.udp_addrs()[0]);
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, TOKEN).unwrap();
    let seed = Engine::start(&dir.path().join("seed"), &token_file, &[]);
    // Slow enough to be looked at.
    let leech = Engine::start(&dir.path().join("leech"), &token_file, &["--download-limit", "1M"]);
    let (monitor, prometheus) = watch(&dir.path().join("prometheus"), &[&seed, &leech], http);

    let data = dir.path().join("data");
    let by_http = single(&data.join("http"), 96 << 20, "256K", &format!("http://{http}/announce"));
    let by_udp = single(&data.join("udp"), 24 << 20, "256K", &format!("udp://{udp}"));
    // Both files have one name.
    for (content, place) in [(&by_http, "http"), (&by_udp, "udp")] {
        let torrent = content.torrent.to_str().unwrap();
        seed.command(&["add", torrent, "--dir", content.dir.to_str().unwrap()]);
        leech.command(&[
            "add",
            torrent,
            "--dir",
            dir.path().join("leech/downloads").join(place).to_str().unwrap(),
        ]);
    }

    let mut left = queries();
    let mut missing = asked_for();
    let began = Instant::now();
    while !left.is_empty() || !missing.is_empty() {
        // The panels about the RPC are about calls.
        seed.command(&["list"]);
        leech.command(&["stats"]);
        left.retain(|query| !answered(prometheus, &query.expression));
        let exported = exported(prometheus);
        missing.retain(|name| !exported.contains(name));
        if began.elapsed() > PATIENCE {
            let left: Vec<_> =
                left.iter().map(|query| format!("{}: {}", query.panel, query.expression)).collect();
            panic!("nobody exports {missing:?}; without an answer:\n{}\n{}", left.join("\n"), monitor.log());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(!answered(prometheus, "ringseed_no_such_metric"));

    // What was scraped is what was shipped, and no rule fails.
    let targets = api(prometheus, "targets", &[]).unwrap();
    let targets = targets["activeTargets"].as_array().unwrap();
    assert_eq!(targets.len(), 5);
    for target in targets {
        assert_eq!(target["health"], "up", "{target}");
    }
    let rules = api(prometheus, "rules", &[]).unwrap();
    let rules: Vec<&Value> = rules["groups"].as_array().unwrap().iter().collect();
    let rules = rules.iter().flat_map(|group| group["rules"].as_array().unwrap());
    let mut count = 0;
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        count += 1;
    }
    assert!(count > 20);

    // Prometheus' own linter about the pages themselves.
    let authorization = format!("Authorization: Bearer {TOKEN}\r\n");
    for (address, path, headers) in [
        (seed.rpc, "/metrics", &*authorization),
        (leech.rpc, "/metrics/torrents", &authorization),
        (http, "/metrics", ""),
    ] {
        lint(&get(address, path, headers).unwrap());
    }
    assert!(get(seed.rpc, "/metrics", "").is_none(), "metrics without the token");
}

fn lint(page: &str) {
    let mut tool = Command::new("promtool");
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = tool.spawn().expect("promtool is installed: run engine/tests/run.sh");
    tool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "promtool:\n{said}");
}
