//! What the RPC has to withstand.

use crate::daemon::Daemon;
use crate::support::rpc;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

fn request(daemon: &Daemon, headers: &str, body: &str) -> String {
    let length = body.len();
    let text = format!(
        "POST /transmission/rpc HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    daemon.raw(text.as_bytes())
}

fn session_id(answer: &str) -> String {
    let header = "x-transmission-session-id: ";
    answer.lines().find_map(|line| line.strip_prefix(header)).expect("a session id").to_owned()
}

/// CVE-2018-5702: a page whose name was made to resolve to this machine.
#[test]
fn a_rebound_name_and_a_foreign_page_get_nothing() {
    let daemon = Daemon::start(&["--rpc-host", "seedbox.lan"]);
    let body = r#"{"method":"session-get"}"#;
    let id = session_id(&request(&daemon, "Host: localhost\r\n", body));
    let with_id = format!("X-Transmission-Session-Id: {id}\r\n");
    assert_eq!(status(&request(&daemon, &format!("Host: 127.0.0.1\r\n{with_id}"), body)), "200");
    for (headers, expected) in [
        ("Host: evil.example\r\n", "421"),
        ("Host: localhost.evil.example\r\n", "421"),
        ("Host: localhost\r\nOrigin: https://evil.example\r\n", "403"),
        ("Host: localhost\r\nOrigin: null\r\n", "403"),
        // A name that a proxy serves is for those who have credentials.
        ("Host: seedbox.lan\r\n", "401"),
        ("Host: localhost\r\nOrigin: https://seedbox.lan\r\n", "401"),
    ] {
        let answer = request(&daemon, &format!("{headers}{with_id}"), body);
        assert_eq!(status(&answer), expected, "{headers}: {answer}");
        assert!(!answer.contains("x-transmission-session-id"), "{headers}");
    }
    // A form can be sent across sites, and does not know the session id.
    assert_eq!(status(&request(&daemon, "Host: localhost\r\n", body)), "409");
}

#[test]
fn guessing_passwords_ends() {
    let daemon = Daemon::start(&["--rpc-auth", "me:secret"]);
    let shown = |word: &str| format!("Host: localhost\r\nAuthorization: Basic {word}\r\n");
    // base64 of me:secret and me:guess
    let (right, wrong) = (shown("bWU6c2VjcmV0"), shown("bWU6Z3Vlc3M="));
    let answer = request(&daemon, "Host: localhost\r\n", "");
    assert!(status(&answer) == "401" && answer.contains("www-authenticate: Basic"), "{answer}");
    assert_eq!(status(&request(&daemon, &right, "")), "409");
    let answers: Vec<String> = (0..30).map(|_| status(&request(&daemon, &wrong, "")).to_owned()).collect();
    assert!(answers.iter().take(10).all(|answer| answer == "401"), "{answers:?}");
    assert!(answers.iter().skip(10).all(|answer| answer == "403"), "{answers:?}");
    assert_eq!(status(&request(&daemon, &right, "")), "403", "not even the right one, for a while");
}

#[test]
fn the_token_of_the_state_directory_lets_in() {
    let daemon = Daemon::start(&["--rpc-host", "seedbox.lan"]);
    let token = std::fs::read_to_string(daemon.home.path().join("state/rpc-token")).unwrap();
    let token = token.trim();
    assert_eq!(
        status(&request(&daemon, &format!("Host: seedbox.lan\r\nAuthorization: Bearer {token}\r\n"), "")),
        "409"
    );
    let last = if token.ends_with('A') { 'B' } else { 'A' };
    let wrong = format!("{}{last}", &token[..token.len() - 1]);
    assert_eq!(
        status(&request(&daemon, &format!("Host: seedbox.lan\r\nAuthorization: Bearer {wrong}\r\n"), "")),
        "401"
    );
}

#[test]
fn the_unix_socket_serves_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rpc.sock");
    let daemon = Daemon::start(&["--rpc-socket", path.to_str().unwrap()]);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /transmission/rpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "409");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringseed"))
        .args(["stats", "--json", "--connect", &format!("unix:{}", path.display())])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    drop(daemon);
}

#[test]
fn paths_do_not_escape() {
    let daemon = Daemon::start(&[]);
    let content = daemon.multi("many");
    daemon.seed(&content);
    let hash = &content.info_hash;
    let refused = |method: &str, arguments| {
        let said = rpc::outcome(daemon.address, method, arguments);
        assert_ne!(said, "success", "{method}");
    };
    for name in ["../x", "..", ".", "a/b", ""] {
        refused("torrent-rename-path", json!({"ids": [hash], "path": content.name, "name": name}));
    }
    for dir in ["relative", "../up", "/tmp/../etc", ""] {
        refused("torrent-set-location", json!({"ids": [hash], "location": dir, "move": true}));
    }
    refused("torrent-add", json!({"filename": content.torrent, "download-dir": "/tmp/../etc"}));
    refused("session-set", json!({"download-dir": "a/../../b"}));
    // A link in the place that files are moved to leads nowhere.
    let (target, outside) = (daemon.dir("target"), daemon.dir("outside"));
    std::os::unix::fs::symlink(&outside, target.join(&content.name)).unwrap();
    daemon.call("torrent-set-location", json!({"ids": [hash], "location": target, "move": true}));
    daemon.wait(hash, "the move to fail", |torrent| torrent["error"] == 3);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(content.dir.join(&content.name).exists());
}

#[test]
fn large_and_deep_requests_are_refused() {
    let daemon = Daemon::start(&[]);
    let id = session_id(&request(&daemon, "Host: localhost\r\n", ""));
    let head = format!("Host: localhost\r\nX-Transmission-Session-Id: {id}\r\n");
    let deep = format!(
        r#"{{"method":"session-get","arguments":{{"a":{}{}}}}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let answer = request(&daemon, &head, &deep);
    assert!(status(&answer) == "200" && answer.contains("cannot read the request"), "{answer:.200}");
    let large = daemon.raw(
        format!("POST /transmission/rpc HTTP/1.1\r\n{head}Connection: close\r\nContent-Length: 99999999999\r\n\r\n").as_bytes(),
    );
    assert_eq!(status(&large), "413");
    daemon.call("session-get", json!({}));
}

/// A thousand connections that say nothing, and some that say a little, keep nobody out.
#[test]
fn idle_and_slow_clients_keep_nobody_out() {
    let daemon = Daemon::start(&[]);
    let mut idle = Vec::new();
    for number in 0..1000 {
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        if number % 10 == 0 {
            let _ = stream.write_all(b"POST /transmission/rpc HTTP/1.1\r\nHost: loc");
        }
        idle.push(stream);
    }
    let before = std::time::Instant::now();
    for _ in 0..20 {
        daemon.call("session-get", json!({}));
    }
    // Far below the time that idle connections are left alone: nobody waited for one of them to end.
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.process.pid())).unwrap().count();
    assert!(open < 600, "{open} descriptors are open");
}

#[test]
fn torrents_are_not_fetched_from_local_addresses_unless_that_is_allowed() {
    let content_server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = content_server.local_addr().unwrap().port();
    let strict = Daemon::start(&[]);
    for url in [
        format!("http://127.0.0.1:{port}/x"),
        format!("http://localhost:{port}/x"),
        format!("http://[::ffff:127.0.0.1]:{port}/x"),
    ] {
        let said = rpc::outcome(strict.address, "torrent-add", json!({"filename": url}));
        assert!(said.contains("local addresses"), "{said}");
    }
    let allowing = Daemon::start(&["--rpc-fetch-local"]);
    let content = allowing.single("one");
    let torrent = std::fs::read(&content.torrent).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = content_server.accept().unwrap();
        let mut asked = [0; 2000];
        let _ = stream.read(&mut asked).unwrap();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", torrent.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&torrent).unwrap();
    });
    let add = json!({"filename": format!("http://127.0.0.1:{port}/x"), "download-dir": content.dir});
    assert_eq!(allowing.call("torrent-add", add)["torrent-added"]["hashString"], content.info_hash.as_str());
    server.join().unwrap();
}
