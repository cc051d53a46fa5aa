//! What the RPC has to withstand.

use crate::daemon::Daemon;
use crate::route::{inside, namespaces};
use crate::support::namespaces::ADDRESSES;
use crate::support::process::Process;
use crate::support::rpc;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

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

/// base64 of me:secret and me:guess
const RIGHT: &str = "Authorization: Basic bWU6c2VjcmV0\r\n";
const WRONG: &str = "Authorization: Basic bWU6Z3Vlc3M=\r\n";

/// Guesses become slow after ten, and the right ones are let in all the same.
#[test]
fn guessing_passwords_becomes_slow_and_locks_nobody_out() {
    let daemon = Daemon::start(&["--rpc-auth", "me:secret"]);
    let ask = |shown: &str| {
        let begun = Instant::now();
        let answer = request(&daemon, &format!("Host: localhost\r\n{shown}"), "");
        (status(&answer).to_owned(), begun.elapsed() >= Duration::from_secs(3))
    };
    let answer = request(&daemon, "Host: localhost\r\n", "");
    assert!(status(&answer) == "401" && answer.contains("www-authenticate: Basic"), "{answer}");
    for _ in 0..10 {
        assert_eq!(ask(WRONG).0, "401");
    }
    // Guesses at once: those that wait are few, the others are told to come back.
    let answers: Vec<(String, bool)> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..12).map(|_| scope.spawn(|| ask(WRONG))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let waited = answers.iter().filter(|answer| **answer == ("403".to_owned(), true)).count();
    assert!(
        waited >= 8 && answers.iter().all(|(status, _)| status == "403" || status == "429"),
        "{answers:?}"
    );
    assert_eq!(ask(RIGHT), ("409".to_owned(), true), "as late as any other guess");
    assert_eq!(ask(RIGHT).0, "409");
    assert_eq!(status(&request(&daemon, "Host: localhost\r\n", "")), "401");
}

/// A proxy on this machine speaks for everybody: who guesses is the client that it names.
#[test]
fn behind_a_proxy_each_client_is_counted_by_itself() {
    let daemon = Daemon::start(&["--rpc-auth", "me:secret", "--rpc-proxy", "127.0.0.1"]);
    let ask = |client: &str, shown: &str| {
        let begun = Instant::now();
        let headers = format!("Host: localhost\r\nX-Forwarded-For: 6.6.6.6, {client}\r\n{shown}");
        (status(&request(&daemon, &headers, "")).to_owned(), begun.elapsed() >= Duration::from_secs(3))
    };
    for _ in 0..10 {
        assert_eq!(ask("198.51.100.1", WRONG).0, "401");
    }
    assert_eq!(ask("198.51.100.1", WRONG), ("403".to_owned(), true));
    assert_eq!(ask("198.51.100.2", WRONG).0, "401");
    assert_eq!(ask("198.51.100.3", RIGHT).0, "409");
    assert_eq!(status(&request(&daemon, &format!("Host: localhost\r\n{RIGHT}"), "")), "409");

    // Without credentials only who is at this machine gets in, whatever name the proxy asks for.
    let open = Daemon::start(&["--rpc-proxy", "127.0.0.1", "--rpc-network", "198.51.100.0/24"]);
    let ask = |client: &str| {
        let headers = format!("Host: 127.0.0.1\r\nX-Forwarded-For: {client}\r\n");
        status(&request(&open, &headers, "")).to_owned()
    };
    assert_eq!(["127.0.0.1", "198.51.100.1", "192.0.2.1"].map(ask), ["409", "401", "403"]);
    // Who is no proxy of ours names nobody, not even this machine.
    let plain = Daemon::start(&[]);
    for client in ["198.51.100.1", "127.0.0.1"] {
        let headers = format!("Host: 127.0.0.1\r\nX-Forwarded-For: {client}\r\n");
        assert_eq!(status(&request(&plain, &headers, "")), "401");
    }
    assert_eq!(status(&request(&plain, "Host: 127.0.0.1\r\n", "")), "409");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringseed"))
        .args(["serve", "--rpc", "127.0.0.1:0", "--port", "0", "--rpc-proxy", "nginx", "--state-dir"])
        .arg(plain.dir("other"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("'nginx' is neither"), "{said}");
}

/// Without credentials: bodies of logins that never come, chunked ones among them, and heads that never end.
#[test]
fn strangers_keep_nobody_out() {
    let daemon = Daemon::start(&["--rpc-auth", "me:secret"]);
    let mut open = Vec::new();
    let mut begin = |head: &str| {
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        let _ = stream.write_all(head.as_bytes());
        open.push(stream);
    };
    for number in 0..600 {
        match number % 3 {
            0 => begin(
                "POST /api/v2/auth/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nuse\r\n",
            ),
            1 => begin(
                "POST /api/v2/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nuser",
            ),
            _ => begin("GET /healthz HTTP/1.1\r\nHost: loc"),
        }
        if number % 100 == 99 {
            let probe = daemon.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            assert_eq!(status(&probe), "200");
            assert_eq!(status(&request(&daemon, &format!("Host: localhost\r\n{RIGHT}"), "")), "409");
        }
    }
    // A large body of a client that may ask.
    let id = session_id(&request(&daemon, &format!("Host: localhost\r\n{RIGHT}"), ""));
    let headers = format!("Host: localhost\r\n{RIGHT}X-Transmission-Session-Id: {id}\r\n");
    let tag = "x".repeat(900_000);
    let answer = request(&daemon, &headers, &format!(r#"{{"method":"session-stats","tag":"{tag}"}}"#));
    assert_eq!(status(&answer), "200", "{answer:.200}");
    // A login that is no login is not read to its end.
    let long = format!(
        "POST /api/v2/auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n{}",
        "x".repeat(1000)
    );
    assert_eq!(status(&daemon.raw(long.as_bytes())), "413");
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

/// A certificate for this machine and its key, made by openssl.
fn certificate(dir: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key, config) = (dir.join("cert.pem"), dir.join("key.pem"), dir.join("openssl.cnf"));
    let text = "[req]\ndistinguished_name=name\nprompt=no\nx509_extensions=own\n[name]\nCN=localhost\n[own]\n\
                basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n";
    std::fs::write(&config, text).unwrap();
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-noenc",
            "-days",
            "2",
        ])
        .arg("-config")
        .arg(&config)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is installed: run engine/tests/run.sh");
    assert!(made.status.success(), "{made:?}");
    (certificate, key)
}

/// What a client that trusts `certificate` is answered; the error is TLS's.
fn over_tls(daemon: &Daemon, certificate: &Path, name: &str, request: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(daemon.address).unwrap());
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn the_rpc_is_encrypted_with_the_certificate_that_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate_file, key) = certificate(dir.path());
    let arguments =
        ["--rpc-tls-cert", certificate_file.to_str().unwrap(), "--rpc-tls-key", key.to_str().unwrap()];
    let daemon = Daemon::start(&arguments);
    // One that never begins its handshake keeps nobody out.
    let _silent = TcpStream::connect(daemon.address).unwrap();
    let body = r#"{"method":"session-get","arguments":{"fields":["version"]}}"#;
    let ask = |id: &str| {
        format!(
            "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\nX-Transmission-Session-Id: {id}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let refused = over_tls(&daemon, &certificate_file, "localhost", &ask("")).unwrap();
    assert_eq!(status(&refused), "409");
    let answer = over_tls(&daemon, &certificate_file, "127.0.0.1", &ask(&session_id(&refused))).unwrap();
    assert!(status(&answer) == "200" && answer.contains("ringseed"), "{answer}");
    // Nothing is said in the clear, and the certificate is the one of this name.
    assert!(!daemon.raw(ask("").as_bytes()).contains("HTTP"));
    assert!(over_tls(&daemon, &certificate_file, "other.example", &ask("")).is_err());
    let elsewhere = tempfile::tempdir().unwrap();
    let (foreign, foreign_key) = certificate(elsewhere.path());
    assert!(over_tls(&daemon, &foreign, "localhost", &ask("")).is_err());

    // A key that does not belong to the certificate, and one that is not there, are named at the start.
    for wrong in [foreign_key, dir.path().join("none.pem")] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringseed"))
            .args(["serve", "--rpc", "127.0.0.1:0", "--port", "0", "--listen", "127.0.0.1", "--rpc-tls-cert"])
            .arg(&certificate_file)
            .arg("--rpc-tls-key")
            .arg(&wrong)
            .arg("--state-dir")
            .arg(dir.path().join("state"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(".pem"), "{said}");
    }
}

/// A large answer is in gzip for a client of another machine that takes it, and for no other.
fn packed_for_clients_elsewhere(namespace: &str, address: std::net::SocketAddr, bearer: &str) {
    let body = format!(r#"{{"method":"session-get","tag":"{}"}}"#, "x".repeat(9000));
    let post = |headers: &str| {
        inside(namespace, || {
            let mut stream = TcpStream::connect(address).unwrap();
            let head = format!(
                "POST /transmission/rpc HTTP/1.1\r\nHost: {}\r\n{bearer}{headers}Connection: close\r\n\
                 Content-Length: {}\r\n\r\n",
                address.ip(),
                body.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body.as_bytes()).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer
        })
    };
    let id = format!("X-Transmission-Session-Id: {}\r\n", session_id(&String::from_utf8_lossy(&post(""))));
    for (accepts, packed) in [("gzip, deflate", true), ("deflate", false), ("gzip;q=0", false)] {
        let answer = post(&format!("{id}Accept-Encoding: {accepts}\r\n"));
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        let (head, body) = answer.split_at(end);
        assert_eq!(String::from_utf8_lossy(head).contains("content-encoding: gzip"), packed, "{accepts}");
        let text = match packed {
            false => body.to_vec(),
            true => {
                assert!(body.len() < 4000, "{} bytes", body.len());
                let mut gunzip = std::process::Command::new("gzip")
                    .arg("-dc")
                    .stdin(std::process::Stdio::piped())
                    .stdout(std::process::Stdio::piped())
                    .spawn()
                    .unwrap();
                gunzip.stdin.take().unwrap().write_all(body).unwrap();
                gunzip.wait_with_output().unwrap().stdout
            }
        };
        let answer: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&answer["result"], answer["tag"].as_str().unwrap().len()), (&json!("success"), 9000));
    }
}

/// Clients elsewhere are let in from the networks that were named, with credentials, and from no other.
#[test]
fn only_the_networks_that_were_named_reach_it() {
    let Some(spaces) = namespaces() else { return };
    let [here, there] = spaces.names();
    for (network, without, with_token) in [("10.213.77.0/24", "401", "409"), ("192.0.2.0/24", "403", "403")] {
        let home = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new("ip");
        command.args(["netns", "exec", here, env!("CARGO_BIN_EXE_ringseed"), "serve", "--rpc", "0.0.0.0:0"]);
        command.args(["--port", "0", "--shards", "1", "--no-pin", "--rpc-network", network, "--state-dir"]);
        let mut daemon = Process::start("ringseed serve", command.arg(home.path()));
        let line = daemon.wait_for("RPC on http");
        let port: u16 = line.split("0.0.0.0:").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        let token = std::fs::read_to_string(home.path().join("rpc-token")).unwrap();
        let ask = |namespace: &str, address: std::net::Ipv4Addr, headers: &str| {
            inside(namespace, || {
                let mut stream = TcpStream::connect((address, port)).unwrap();
                let host = format!("Host: {address}\r\nConnection: close\r\n{headers}\r\n");
                stream.write_all(format!("GET /transmission/rpc HTTP/1.1\r\n{host}").as_bytes()).unwrap();
                let mut answer = String::new();
                let _ = stream.read_to_string(&mut answer);
                status(&answer).to_owned()
            })
        };
        let bearer = format!("Authorization: Bearer {}\r\n", token.trim());
        assert_eq!(ask(there, ADDRESSES[0], ""), without, "{network}");
        assert_eq!(ask(there, ADDRESSES[0], &bearer), with_token, "{network}");
        assert_eq!(ask(here, std::net::Ipv4Addr::LOCALHOST, ""), "409", "{network}: this machine");
        if with_token == "409" {
            packed_for_clients_elsewhere(there, (ADDRESSES[0], port).into(), &bearer);
        }
        daemon.terminate();
    }
}

/// A client that asks for much and reads nothing holds one connection, and no request of others.
#[test]
fn clients_that_do_not_read_keep_nobody_out() {
    let daemon = Daemon::start(&[]);
    let id = session_id(&request(&daemon, "Host: localhost\r\n", ""));
    let body = r#"{"method":"session-get"}"#;
    let ask = format!(
        "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\nX-Transmission-Session-Id: {id}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        // Requests until nothing more is taken: the answers fill what is between us.
        for _ in 0..20_000 {
            if stream.write_all(ask.as_bytes()).is_err() {
                break;
            }
        }
        deaf.push(stream);
    }
    let before = std::time::Instant::now();
    for _ in 0..20 {
        daemon.call("session-get", json!({}));
    }
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
}
