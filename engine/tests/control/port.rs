//! The port for peers while a daemon runs: the way of port-forwarding hooks of VPN containers.

use crate::daemon::{Daemon, get};
use crate::support::content::{assert_same, single};
use crate::support::process::Process;
use crate::support::{free_port, rpc, until};
use ringseed_proto::metainfo::Metainfo;
use ringseed_tracker::{Tracker, TrackerConfig};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

/// Whether the tracker names a peer on 127.0.0.1 with this port.
fn names(tracker: SocketAddr, torrent: &std::path::Path, port: u16) -> bool {
    let hash = Metainfo::parse(&std::fs::read(torrent).unwrap()).unwrap().hashes.swarm_hash();
    let escaped = hash.0.iter().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "%{byte:02x}");
        all
    });
    let mut stream = TcpStream::connect(tracker).unwrap();
    let ask = format!(
        "GET /announce?info_hash={escaped}&peer_id=-XX0000-somebody1234&port=1&uploaded=0&downloaded=0&left=9\
         &compact=1&numwant=50 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let mut peer = vec![127, 0, 0, 1];
    peer.extend(port.to_be_bytes());
    answer.windows(6).any(|bytes| bytes == peer)
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn another_port_is_listened_on_announced_and_kept() {
    let config = TrackerConfig { http: Some("127.0.0.1:0".parse().unwrap()), ..TrackerConfig::default() };
    let tracker = Tracker::start(config).unwrap();
    let address = tracker.http_addr().unwrap();
    let mut daemon = Daemon::start(&[]);
    let url = format!("http://{address}/announce");
    let content = single(&daemon.dir("one"), 300_000, "16K", &url);
    daemon.seed(&content);
    let port = |daemon: &Daemon| daemon.call("session-get", json!({}))["peer-port"].as_u64().unwrap() as u16;
    let first = port(&daemon);
    until("the first announce", || names(address, &content.torrent, first).then_some(()));
    // A connection over the old port outlives it.
    let kept = TcpStream::connect(("127.0.0.1", first)).unwrap();

    let second = free_port();
    daemon.call("session-set", json!({"peer-port": second}));
    assert_eq!(port(&daemon), second);
    until("the end of the old port", || (!listens(first)).then_some(()));
    kept.set_nonblocking(true).unwrap();
    let still = (&kept).read(&mut [0; 8]).unwrap_err();
    assert_eq!(still.kind(), std::io::ErrorKind::WouldBlock);
    until("the new port at the tracker", || names(address, &content.torrent, second).then_some(()));
    let download = daemon.dir("download");
    get(&content, &download, &[]).wait_success();
    assert_same(&content, &download);

    // One that is taken changes nothing.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = taken.local_addr().unwrap().port();
    let said = rpc::outcome(daemon.address, "session-set", json!({"peer-port": wanted}));
    assert!(said.contains(&format!("port {wanted}")) && said.contains("in use"), "{said}");
    for wrong in [0, 70_000] {
        assert_ne!(rpc::outcome(daemon.address, "session-set", json!({"peer-port": wrong})), "success");
    }
    assert!(port(&daemon) == second && listens(second));

    daemon.kill_and_restart();
    // The kernel may need a moment to take it from the one that was killed.
    until("the kept port", || (port(&daemon) == second && listens(second)).then_some(()));
    until("the kept port at the tracker", || names(address, &content.torrent, second).then_some(()));
}

#[test]
fn the_port_is_set_over_qbittorrents_api() {
    let daemon = Daemon::start(&[]);
    let port = free_port();
    let body =
        format!("json=%7B%22listen_port%22%3A{port}%2C%22random_port%22%3Afalse%2C%22upnp%22%3Afalse%7D");
    let answer = daemon.raw(
        format!(
            "POST /api/v2/app/setPreferences HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \
             application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(listens(port));
    let preferences =
        daemon.raw(b"GET /api/v2/app/preferences HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(preferences.contains(&format!("\"listen_port\":{port}")), "{preferences}");
}

#[test]
fn the_hook_of_a_vpn_container_changes_it() {
    let daemon = Daemon::start(&[]);
    let port = free_port();
    let hook = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/compose/gluetun-port.sh");
    // As gluetun calls it: all ports that the provider forwards, the first of which is taken.
    let rpc = format!("http://{}", daemon.address);
    let said = Command::new("sh").args([hook, &format!("{port},1"), &rpc]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(daemon.call("session-get", json!({}))["peer-port"], port);
    until("the forwarded port to be listened on", || listens(port).then_some(()));
}

/// The kernel holds the sockets of a killed engine, which are in a ring, for some milliseconds more.
#[test]
fn a_port_is_had_again_right_after_a_kill() {
    let (home, port) = (tempfile::tempdir().unwrap(), free_port());
    for _ in 0..6 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
        command.args([
            "serve",
            "--listen",
            "127.0.0.1",
            "--shards",
            "1",
            "--no-pin",
            "--port",
            &port.to_string(),
        ]);
        command.arg("--state-dir").arg(home.path().join("state")).arg("--download-dir").arg(home.path());
        let mut process = Process::start("ringseed serve", command.args(["--rpc", "127.0.0.1:0"]));
        process.wait_for("ready with");
        assert!(listens(port));
        process.kill();
    }
}
