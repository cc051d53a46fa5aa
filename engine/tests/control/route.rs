//! Ways out of the host: an interface that is the only one, and a proxy. What leaves another way is a leak.

use crate::daemon::{Daemon, get};
use crate::support::content::{Content, assert_same, single};
use crate::support::namespaces::{ADDRESSES, Namespaces};
use crate::support::process::Process;
use crate::support::{free_port, rpc, until};
use ringseed_tracker::{Tracker, TrackerConfig};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

const BIN: &str = env!("CARGO_BIN_EXE_ringseed");

/// A tracker and a directory with a torrent of it.
fn tracked(dir: &Path) -> (Tracker, Content) {
    let config = TrackerConfig { http: Some("127.0.0.1:0".parse().unwrap()), ..TrackerConfig::default() };
    let tracker = Tracker::start(config).unwrap();
    let url = format!("http://{}/announce", tracker.http_addr().unwrap());
    (tracker, single(dir, 3_000_000, "64K", &url))
}

#[test]
fn everything_goes_over_the_interface_that_is_named() {
    let daemon = Daemon::start(&["--bind-interface", "lo"]);
    let (_tracker, content) = tracked(&daemon.dir("one"));
    daemon.seed(&content);
    let download = daemon.dir("download");
    get(&content, &download, &["--bind-interface", "lo"]).wait_success();
    assert_same(&content, &download);

    let mut refused = get(&content, &download, &["--bind-interface", "rs-none0"]);
    assert_eq!(refused.wait().code(), Some(1));
    assert!(refused.log().contains("interface rs-none0 is not there"), "{}", refused.log());
}

/// Runs `work` on a thread in a network namespace. The sockets that it makes stay there.
pub fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            use std::os::fd::AsRawFd;
            let file = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
            // SAFETY: setns takes an open descriptor and a flag; it changes this thread only, which ends below.
            assert_eq!(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
            work()
        });
        thread.join().unwrap()
    })
}

/// Asks over the Unix socket, which is reached from every namespace.
fn ask(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}

/// Two network namespaces with a link between them; `None`, and a word about it, when they cannot be made.
pub fn namespaces() -> Option<Namespaces> {
    // SAFETY: geteuid has no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: network namespaces can be made by root only");
        return None;
    }
    Some(Namespaces::create().unwrap())
}

/// Nobody came to any of these.
fn untouched(listeners: &[TcpListener], datagrams: &UdpSocket) -> bool {
    let came = listeners.iter().any(|listener| listener.accept().is_ok());
    !came && datagrams.recv(&mut [0; 2000]).is_err()
}

/// A VPN that goes away and comes back: nothing takes the way around, and the engine is there again with it.
#[test]
fn without_its_interface_an_engine_is_silent() {
    let Some(spaces) = namespaces() else { return };
    let home = tempfile::tempdir().unwrap();
    let [here, there] = spaces.names();
    // What a fallback would reach: trackers on the engine's own loopback.
    let (listeners, datagrams) = inside(here, || {
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        (listeners, UdpSocket::bind("127.0.0.1:0").unwrap())
    });
    listeners.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
    datagrams.set_nonblocking(true).unwrap();
    let content = single(home.path(), 3_000_000, "64K", "http://127.0.0.1:9/announce");
    let (port, socket) = (6881, home.path().join("rpc.sock"));
    let start = |namespace: &str, name: &str, arguments: &[&str]| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, BIN]).args(arguments);
        command.args(["--shards", "1", "--no-pin", "--state-dir"]).arg(home.path().join(name));
        command
    };
    let serve = ["serve", "--rpc", "127.0.0.1:0", "--bind-interface", "link0", "--port", "6881"];
    let mut command = start(here, "state", &serve);
    let mut daemon = Process::start("ringseed serve", command.arg("--rpc-socket").arg(&socket));
    daemon.wait_for("ready with");
    let call = |method: &str, arguments: Value| rpc_over(&socket, method, &arguments);
    call("torrent-add", json!({"filename": content.torrent, "download-dir": content.dir}));
    until("seeding", || {
        let torrents = call("torrent-get", json!({"fields": ["status"]}))["torrents"].clone();
        (torrents[0]["status"] == 6).then_some(())
    });
    assert!(ask(&socket, "/readyz").starts_with("HTTP/1.1 200"));
    let download = |name: &str| {
        let into = home.path().join(name);
        let peer = format!("{}:{port}", ADDRESSES[0]);
        let state = format!("state of {name}");
        let mut command = start(there, &state, &["get", "--quiet", "--port", "0", "--peer", &peer]);
        command.arg(&content.torrent).arg("-o").arg(&into);
        Process::start("ringseed get", &mut command).wait_success();
        assert_same(&content, &into);
    };
    download("first");

    // The interface goes, with both of its ends.
    ip(&["-n", here, "link", "delete", "link0"]);
    let gone = until("the error", || {
        Some(ask(&socket, "/readyz")).filter(|answer| answer.starts_with("HTTP/1.1 503"))
    });
    assert!(gone.contains("interface link0 is not there"), "{gone}");
    // Another torrent, with every reason to speak: trackers of both kinds.
    let other = home.path().join("other");
    std::fs::create_dir_all(&other).unwrap();
    let at = |listener: &TcpListener| listener.local_addr().unwrap();
    let wanted = single(&other, 100_000, "32K", &format!("http://{}/announce", at(&listeners[0])));
    let udp = format!("udp://{}/announce", datagrams.local_addr().unwrap());
    let add =
        json!({"filename": wanted.torrent, "download-dir": home.path().join("nothing"), "paused": true});
    call("torrent-add", add);
    call("torrent-set", json!({"ids": [wanted.info_hash], "trackerAdd": [udp]}));
    call("torrent-start", json!({"ids": [wanted.info_hash]}));
    let tried = until("announces that fail", || {
        let fields = json!({"ids": [wanted.info_hash], "fields": ["trackerStats"]});
        let stats = call("torrent-get", fields)["torrents"][0]["trackerStats"].clone();
        let results: Vec<String> = stats
            .as_array()?
            .iter()
            .map(|tracker| tracker["lastAnnounceResult"].as_str().unwrap_or("").to_owned())
            .collect();
        (results.len() == 2 && results.iter().all(|result| !result.is_empty())).then_some(results)
    });
    assert!(tried.iter().all(|result| result.contains("interface link0 is not there")), "{tried:?}");
    assert!(untouched(&listeners, &datagrams), "something went around the interface");
    let local = inside(here, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    assert!(!local, "the engine is heard on another interface");

    // It comes back as a new interface of the same name.
    ip(&["-n", here, "link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", there]);
    for (name, address) in [here, there].iter().zip(ADDRESSES) {
        ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", "link0"]);
        ip(&["-n", name, "link", "set", "link0", "up"]);
    }
    until("the network", || ask(&socket, "/readyz").starts_with("HTTP/1.1 200").then_some(()));
    download("second");
    assert!(untouched(&listeners, &datagrams), "something went around the interface");
    daemon.terminate();
}

/// A public server may not send the engine to this machine, by an address or a name of it.
#[test]
fn a_redirect_from_a_public_server_to_a_local_address_is_refused() {
    let Some(spaces) = namespaces() else { return };
    let home = tempfile::tempdir().unwrap();
    let [here, there] = spaces.names();
    // Addresses for documentation, which are public ones to whoever does not know better.
    for (name, address) in [(here, "203.0.113.1"), (there, "203.0.113.2")] {
        ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", "link0"]);
    }
    let inner = inside(here, || TcpListener::bind("127.0.0.1:0").unwrap());
    let public = inside(there, || TcpListener::bind("203.0.113.2:0").unwrap());
    inner.set_nonblocking(true).unwrap();
    let port = inner.local_addr().unwrap().port();
    let url = format!("http://{}/x.torrent", public.local_addr().unwrap());
    let content = single(home.path(), 100_000, "32K", "http://127.0.0.1:9/announce");
    let torrent = std::fs::read(&content.torrent).unwrap();
    let targets = [
        format!("http://127.0.0.1:{port}/x"),
        format!("http://localhost:{port}/x"),
        format!("http://[::1]:{port}/x"),
    ];
    let answers: Vec<Vec<u8>> = targets
        .iter()
        .map(|to| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n").into_bytes())
        .chain([format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", torrent.len()).into_bytes()])
        .collect();
    let served = std::thread::spawn(move || {
        for head in answers {
            let (mut stream, _) = public.accept().unwrap();
            let _ = stream.read(&mut [0; 2000]).unwrap();
            stream.write_all(&head).unwrap();
            stream.write_all(b"Connection: close\r\n\r\n").unwrap();
            if head.starts_with(b"HTTP/1.1 200") {
                stream.write_all(&torrent).unwrap();
            }
        }
    });
    let socket = home.path().join("rpc.sock");
    let mut command = Command::new("ip");
    command.args([
        "netns",
        "exec",
        here,
        BIN,
        "serve",
        "--rpc",
        "127.0.0.1:0",
        "--port",
        "0",
        "--shards",
        "1",
    ]);
    command.args(["--no-pin", "--state-dir"]).arg(home.path().join("state")).arg("--rpc-socket").arg(&socket);
    let mut daemon = Process::start("ringseed serve", &mut command);
    daemon.wait_for("ready with");
    for target in targets {
        let said = outcome_over(&socket, "torrent-add", &json!({"filename": url}));
        // Over IPv4, which the server was reached by, there is no way to the last one at all.
        let why = if target.contains("::1") { "no IPv4 address" } else { "local addresses" };
        assert!(said["result"].as_str().unwrap().contains(why), "{target}: {said}");
        assert!(inner.accept().is_err(), "{target} was asked");
    }
    // The way itself works.
    rpc_over(&socket, "torrent-add", &json!({"filename": url, "paused": true}));
    served.join().unwrap();
    daemon.terminate();
}

/// Calls a method over the Unix socket and wants it to work.
fn rpc_over(socket: &Path, method: &str, arguments: &Value) -> Value {
    let answer = outcome_over(socket, method, arguments);
    assert_eq!(answer["result"], "success", "{method}: {answer}");
    answer["arguments"].clone()
}

/// Calls a method over the Unix socket.
fn outcome_over(socket: &Path, method: &str, arguments: &Value) -> Value {
    let request = json!({"method": method, "arguments": arguments});
    rpc::post(|| UnixStream::connect(socket), &request).expect("an answer")
}

/// Debian's microsocks, which says whom it connects.
fn proxy(arguments: &[&str]) -> (Process, u16) {
    let port = free_port();
    let mut command = Command::new("microsocks");
    command.args(["-i", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
    let process = Process::start("microsocks", &mut command);
    until("the proxy", || TcpStream::connect(("127.0.0.1", port)).ok());
    (process, port)
}

#[test]
fn peers_and_trackers_are_reached_through_the_proxy() {
    let home = tempfile::tempdir().unwrap();
    let (tracker, content) = tracked(home.path());
    let daemon = Daemon::start(&[]);
    daemon.seed(&content);
    let seeded = daemon.call("session-get", json!({}))["peer-port"].as_u64().unwrap();
    let (mut socks, port) = proxy(&["-u", "me", "-P", "p@ss"]);
    let download = home.path().join("download");
    let url = format!("socks5://me:p%40ss@127.0.0.1:{port}");
    get(&content, &download, &["--proxy", &url]).wait_success();
    assert_same(&content, &download);
    for target in [tracker.http_addr().unwrap().to_string(), format!("127.0.0.1:{seeded}")] {
        socks.wait_for(&format!("connected to {target}"));
    }
}

/// What a downloader tells of its trackers when it cannot reach them through the proxy, while peers and trackers of both
/// kinds wait where they could be reached without it.
fn leaks(proxy_url: &str, expected: &str) {
    let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    listeners.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
    datagrams.set_nonblocking(true).unwrap();
    let daemon = Daemon::start(&["--proxy", proxy_url, "--rpc-fetch-local"]);
    let at = |number: usize| -> SocketAddr { listeners[number].local_addr().unwrap() };
    let content = single(&daemon.dir("one"), 100_000, "32K", &format!("http://{}/announce", at(0)));
    let udp = format!("udp://{}/announce", datagrams.local_addr().unwrap());
    let add = json!({"filename": content.torrent, "download-dir": daemon.dir("empty"), "paused": true});
    daemon.call("torrent-add", add);
    daemon.call("torrent-set", json!({"ids": [content.info_hash], "trackerAdd": [udp]}));
    daemon.call("torrent-start", json!({"ids": [content.info_hash]}));
    let results = until("announces that fail", || {
        let stats = daemon.torrent(&content.info_hash, &["trackerStats"])["trackerStats"].clone();
        let result = |tracker: &Value| tracker["lastAnnounceResult"].as_str().unwrap_or("").to_owned();
        let results: Vec<String> = stats.as_array()?.iter().map(result).collect();
        (results.len() == 2 && results.iter().all(|result| !result.is_empty())).then_some(results)
    });
    assert!(results.iter().any(|result| result.contains(expected)), "{results:?}");
    assert!(results.iter().any(|result| result.contains("UDP trackers")), "{results:?}");
    let url = json!({"filename": format!("http://{}/x.torrent", at(0))});
    assert_ne!(crate::support::rpc::outcome(daemon.address, "torrent-add", url), "success");
    let download = daemon.dir("download");
    let peer = at(1).to_string();
    let mut dialling = get(&content, &download, &["--proxy", proxy_url, "--peer", &peer, "--debug"]);
    dialling.wait_for("dial failed");
    assert!(untouched(&listeners, &datagrams), "something went around the proxy");
}

#[test]
fn with_the_proxy_down_nothing_is_dialled() {
    leaks(&format!("socks5://127.0.0.1:{}", free_port()), "does not answer");
}

#[test]
fn a_proxy_that_refuses_is_not_gone_around() {
    let (_socks, port) = proxy(&["-u", "me", "-P", "right"]);
    leaks(&format!("socks5://me:wrong@127.0.0.1:{port}"), "refused the login");
}
