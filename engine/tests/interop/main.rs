//! Ringseed with clients and trackers of other projects: byte-identical both ways.

#[allow(dead_code, reason = "the tests of imports use more of them")]
mod clients;
mod encryption;
#[path = "../support/mod.rs"]
mod support;
mod swarms;

use clients::{Client, Encryption, Role};
use ringseed_tracker::{Tracker, TrackerConfig};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use support::content::{Content, assert_same, assert_same_but_empty_files, multi, single};
use support::process::Process;
use support::{free_port, until};
use tempfile::TempDir;

/// Which tracker a transfer goes through.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Through {
    /// Ours over HTTP and IPv4.
    RingseedHttp,
    /// Ours over UDP and IPv4.
    RingseedUdp,
    /// Ours over HTTP and IPv6.
    RingseedHttp6,
    /// Debian's opentracker over HTTP and IPv4.
    Opentracker,
}

/// A running tracker.
pub(crate) enum RunningTracker {
    Ringseed(Tracker),
    Opentracker { process: Process, whitelist: TempDir, port: u16 },
}

impl RunningTracker {
    pub(crate) fn start(through: Through) -> Self {
        let address = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        match through {
            Through::Opentracker => opentracker(),
            Through::RingseedHttp | Through::RingseedUdp => Self::Ringseed(
                Tracker::start(TrackerConfig {
                    http: address("127.0.0.1:0"),
                    udp: address("127.0.0.1:0"),
                    ..TrackerConfig::default()
                })
                .unwrap(),
            ),
            Through::RingseedHttp6 => Self::Ringseed(
                Tracker::start(TrackerConfig {
                    http: address("[::1]:0"),
                    udp: None,
                    ..TrackerConfig::default()
                })
                .unwrap(),
            ),
        }
    }

    pub(crate) fn url(&self, through: Through) -> String {
        match (self, through) {
            (Self::Ringseed(tracker), Through::RingseedUdp) => {
                format!("udp://{}", tracker.udp_addr().unwrap())
            }
            (Self::Ringseed(tracker), _) => format!("http://{}/announce", tracker.http_addr().unwrap()),
            (Self::Opentracker { port, .. }, _) => format!("http://127.0.0.1:{port}/announce"),
        }
    }

    /// Lets opentracker serve a torrent: it knows those of its whitelist only.
    pub(crate) fn allow(&self, content: &Content) {
        if let Self::Opentracker { process, whitelist, port } = self {
            fs::write(whitelist.path().join("whitelist"), format!("{}\n", content.info_hash)).unwrap();
            process.signal(libc::SIGHUP);
            let escaped = escaped(&content.info_hash);
            until("opentracker to read its whitelist", || {
                let request = format!(
                    "GET /announce?info_hash={escaped}&peer_id=-TEST-aaaaaaaaaaaaaa&port=9&left=1&compact=1&event=stopped"
                );
                clients::http(*port, &request, "", &[]).filter(|answer| !answer.contains("failure"))
            });
        }
    }

    /// Waits until `peers` clients have announced the torrent.
    pub(crate) fn wait_peers(&self, content: &Content, peers: usize) {
        let escaped = escaped(&content.info_hash);
        let request = format!("GET /scrape?info_hash={escaped}");
        let address = match self {
            Self::Ringseed(tracker) => tracker.http_addr().unwrap(),
            Self::Opentracker { port, .. } => SocketAddr::from(([127, 0, 0, 1], *port)),
        };
        until("peers to announce", || {
            let text = scrape(address, &request)?;
            (number_after(&text, "8:completei") + number_after(&text, "10:incompletei") >= peers)
                .then_some(())
        });
    }
}

/// An info-hash in hex as it stands in a query.
fn escaped(info_hash: &str) -> String {
    info_hash.as_bytes().chunks(2).map(|pair| format!("%{}{}", pair[0] as char, pair[1] as char)).collect()
}

fn scrape(address: SocketAddr, request: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    write!(stream, "{request} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer.iter().map(|byte| *byte as char).collect())
}

fn number_after(text: &str, key: &str) -> usize {
    let digits =
        text.split(key).nth(1).unwrap_or("").chars().take_while(char::is_ascii_digit).collect::<String>();
    digits.parse().unwrap_or(0)
}

fn opentracker() -> RunningTracker {
    let whitelist = tempfile::tempdir().unwrap();
    let port = free_port();
    let file = whitelist.path().join("whitelist");
    fs::write(&file, "").unwrap();
    // It gives up root for `nobody` and reads its files as that user.
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(whitelist.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("opentracker");
    command.args(["-i", "127.0.0.1", "-p", &port.to_string(), "-P", &port.to_string(), "-u", "nobody", "-d"]);
    command.arg(whitelist.path()).arg("-w").arg("whitelist").current_dir(whitelist.path());
    let process = Process::start("opentracker", &mut command);
    until("opentracker to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    RunningTracker::Opentracker { process, whitelist, port }
}

/// A Ringseed process that seeds or downloads.
pub(crate) fn ringseed(role: Role, content: &Content, dir: &Path, state: &Path, more: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
    match role {
        Role::Seed => command.arg("seed").arg("--data").arg(dir),
        Role::Download => command.arg("get").arg("-o").arg(dir),
    };
    command.arg("--state-dir").arg(state).args(["--port", "0", "--no-pin"]).args(more).arg(&content.torrent);
    Process::start("ringseed", &mut command)
}

fn transfer(client: Client, ringseed_seeds: bool, through: Through, make: impl Fn(&Path, &str) -> Content) {
    transfer_with(client, Encryption::Usual, &[], ringseed_seeds, through, make);
}

/// A transfer with a client that insists on one kind of encryption, and more arguments for Ringseed.
pub(crate) fn transfer_with(
    client: Client,
    encryption: Encryption,
    more: &[&str],
    ringseed_seeds: bool,
    through: Through,
    make: impl Fn(&Path, &str) -> Content,
) {
    let tracker = RunningTracker::start(through);
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let content = make(source.path(), &tracker.url(through));
    tracker.allow(&content);
    let (role, ringseed_role) =
        if ringseed_seeds { (Role::Download, Role::Seed) } else { (Role::Seed, Role::Download) };
    let dir = |role: Role| if role == Role::Seed { source.path() } else { target.path() };
    let start_client =
        || client.start_with(encryption, role, &content.torrent, &content.info_hash, dir(role));
    let start_ringseed = || ringseed(ringseed_role, &content, dir(ringseed_role), state.path(), more);
    // Transmission dials no loopback addresses, so it announces first and Ringseed dials it. With the others
    // the one that comes second finds the first.
    let (mut other, mut ours) = if client == Client::Transmission {
        let other = start_client();
        tracker.wait_peers(&content, 1);
        (other, start_ringseed())
    } else {
        let mut ours = start_ringseed();
        if ringseed_seeds {
            ours.wait_for("seeding");
        }
        tracker.wait_peers(&content, 1);
        (start_client(), ours)
    };
    if ringseed_seeds {
        other.wait_complete();
        // Some say that they are complete while their last writes are still on the way.
        let (from, to) = (content.dir.join(&content.name), target.path().join(&content.name));
        until("the last bytes to be written", || is_written(&from, &to).then_some(()));
        drop(other);
        ours.terminate();
    } else {
        ours.wait_success();
    }
    if client == Client::Transmission && ringseed_seeds {
        assert_same_but_empty_files(&content, target.path());
    } else {
        assert_same(&content, target.path());
    }
}

/// Whether every file of `expected` that is not empty is the same below `actual`.
fn is_written(expected: &Path, actual: &Path) -> bool {
    if expected.is_dir() {
        let mut names = fs::read_dir(expected).unwrap().map(|entry| entry.unwrap().file_name());
        return names.all(|name| is_written(&expected.join(&name), &actual.join(&name)));
    }
    let bytes = fs::read(expected).unwrap();
    bytes.is_empty() || fs::read(actual).is_ok_and(|found| found == bytes)
}

const LARGE: u64 = 256 << 20;

fn large(dir: &Path, tracker: &str) -> Content {
    single(dir, LARGE, "256K", tracker)
}

fn mixed(dir: &Path, tracker: &str) -> Content {
    multi(dir, "64K", tracker)
}

/// A test for each client, direction, content and tracker.
macro_rules! transfers {
    ($($module:ident: $client:expr;)*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn downloads_one_large_file_from_ringseed_through_its_tracker() {
                transfer($client, true, Through::RingseedHttp, large);
            }
            #[test]
            fn seeds_one_large_file_to_ringseed_through_its_tracker() {
                transfer($client, false, Through::RingseedUdp, large);
            }
            #[test]
            fn downloads_one_large_file_from_ringseed_through_opentracker() {
                transfer($client, true, Through::Opentracker, large);
            }
            #[test]
            fn seeds_one_large_file_to_ringseed_through_opentracker() {
                transfer($client, false, Through::Opentracker, large);
            }
            #[test]
            fn downloads_many_files_from_ringseed_through_its_tracker() {
                transfer($client, true, Through::RingseedUdp, mixed);
            }
            #[test]
            fn seeds_many_files_to_ringseed_through_its_tracker() {
                transfer($client, false, Through::RingseedHttp, mixed);
            }
            #[test]
            fn downloads_many_files_from_ringseed_through_opentracker() {
                transfer($client, true, Through::Opentracker, mixed);
            }
            #[test]
            fn seeds_many_files_to_ringseed_through_opentracker() {
                transfer($client, false, Through::Opentracker, mixed);
            }
            #[test]
            fn downloads_from_ringseed_over_ipv6() {
                transfer($client, true, Through::RingseedHttp6, mixed);
            }
            #[test]
            fn seeds_to_ringseed_over_ipv6() {
                transfer($client, false, Through::RingseedHttp6, mixed);
            }
        }
    )*};
}

transfers! {
    transmission: Client::Transmission;
    libtorrent: Client::Libtorrent;
    aria2: Client::Aria2;
    qbittorrent: Client::Qbittorrent;
}
