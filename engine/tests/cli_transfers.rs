//! Transfers as users start them: `get`, `seed`, `serve` and `demo`, their lines, exit codes and state.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

#[path = "support/mod.rs"]
mod support;
use support::content::{Content, assert_same, multi, single};
use support::process::Process;

use ringseed_tracker::{Tracker, TrackerConfig};

/// The promise is 5 s; a loaded machine gets time to start and end processes beside it.
const STOP_MAX: Duration = Duration::from_secs(7);

/// Nobody listens there: tests that name peers themselves have no use for a tracker.
const NO_TRACKER: &str = "http://127.0.0.1:9/announce";

/// A home directory for the program.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).expect("made");
        path
    }

    /// The program with nothing of the user's environment, on one loopback address and any port.
    fn command(&self, command: &str) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_ringseed"));
        program
            .arg(command)
            .env_clear()
            .env("HOME", self.directory("home"))
            .env("TMPDIR", self.directory("tmp"));
        if command != "demo" {
            program.args(["--listen", "127.0.0.1", "--port", "0", "--shards", "1", "--no-pin"]);
        }
        program
    }

    fn seed(&self, content: &Content) -> (Process, SocketAddr) {
        let mut command = self.command("seed");
        let mut seed = Process::start("seed", command.arg(&content.torrent).arg("--data").arg(&content.dir));
        let port = port_of(&seed.wait_for("ringseed seed: listening on port "));
        (seed, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    fn get(&self, content: &Content, into: &Path) -> Command {
        let mut command = self.command("get");
        command.arg(&content.torrent).arg("-o").arg(into);
        command
    }
}

fn port_of(line: &str) -> u16 {
    line.rsplit(' ').next().and_then(|port| port.parse().ok()).expect("the line ends with the port")
}

/// Exit code, with what it printed for a failing test to show.
fn code(process: &mut Process) -> Option<i32> {
    process.wait().code()
}

fn entries(path: &Path) -> usize {
    std::fs::read_dir(path).map_or(0, Iterator::count)
}

#[test]
fn get_finds_the_seed_through_the_tracker() {
    let home = Home::new();
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let tracker =
        Tracker::start(TrackerConfig { http: Some(nowhere), ..TrackerConfig::default() }).expect("tracker");
    let url = format!("http://{}/announce", tracker.http_addr().expect("address"));
    let content = multi(&home.directory("seed"), "64K", &url);
    let (mut seed, _) = home.seed(&content);
    let line = seed.wait_for(&format!("seeding {} (", content.name));
    assert!(line.contains(&content.info_hash), "{line}");
    support::until("the seed's announce", || (tracker.stats().announces > 0).then_some(()));

    let into = home.path("new/directory");
    let mut get = Process::start("get", &mut home.get(&content, &into));
    get.wait_success();
    get.wait_for(&format!("complete {}", content.name));
    assert_same(&content, &into);
    assert_eq!(entries(&home.path("home/.local/state/ringseed/get")), 0, "nothing is left to be continued");

    assert!(seed.terminate() < STOP_MAX);
    assert_eq!(code(&mut seed), Some(0), "{}", seed.log());
}

#[test]
fn an_interrupted_get_continues() {
    let home = Home::new();
    let content = single(&home.directory("seed"), 40 << 20, "64K", NO_TRACKER);
    let (_seed, address) = home.seed(&content);
    let into = home.directory("into");
    let peer = ["--peer".to_owned(), address.to_string()];
    let mut get =
        Process::start("get", home.get(&content, &into).args(&peer).args(["--download-limit", "3M"]));
    // The line that has a peer comes 2 s after the first one: at this limit a part is there by then.
    get.wait_for("1 peer");
    get.signal(libc::SIGINT);
    assert_eq!(code(&mut get), Some(1), "{}", get.log());
    get.wait_for("error: interrupted with 0 of 1 complete; the same command continues");
    assert_eq!(entries(&home.path("home/.local/state/ringseed/get")), 1);

    let mut again = Process::start("get again", home.get(&content, &into).args(&peer));
    again.wait_success();
    assert_same(&content, &into);
    let first = again.log();
    assert!(!first.contains("downloading 0.0 %"), "it began anew:\n{first}");
}

#[test]
fn get_of_what_is_there_is_done_without_peers() {
    let home = Home::new();
    let content = multi(&home.directory("seed"), "64K", NO_TRACKER);
    let mut get = Process::start("get", &mut home.get(&content, &content.dir));
    get.wait_success();
    get.wait_for(&format!("complete {}", content.name));
}

/// An older, longer file of the same name: "ok" said `verify`, and `get` was content with it.
#[test]
fn a_longer_file_is_named_by_verify_and_cut_by_get() {
    let home = Home::new();
    let content = single(&home.directory("seed"), 100_000, "16K", NO_TRACKER);
    let path = content.dir.join(&content.name);
    let right = std::fs::read(&path).expect("read");
    std::fs::write(&path, [right.as_slice(), &[7; 5000]].concat()).expect("written");
    let verify = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
        command.arg("verify").arg(&content.torrent).arg("--data").arg(&content.dir);
        Process::start("verify", &mut command)
    };
    let mut before = verify();
    assert_eq!(code(&mut before), Some(1), "{}", before.log());
    before.wait_for("is longer than the torrent says by 5000 bytes");

    Process::start("get", &mut home.get(&content, &content.dir)).wait_success();
    assert!(std::fs::read(&path).expect("read") == right);
    verify().wait_success();
}

#[test]
fn one_engine_per_state_directory() {
    let home = Home::new();
    let content = single(&home.directory("seed"), 100_000, "16K", NO_TRACKER);
    let (into, state) = (home.directory("into"), home.path("state"));
    let command = || {
        let mut command = home.get(&content, &into);
        command.arg("--state-dir").arg(&state);
        command
    };
    let mut first = Process::start("first", &mut command());
    first.wait_for("ringseed get: listening on port");
    let mut second = Process::start("second", &mut command());
    assert_eq!(code(&mut second), Some(1), "{}", second.log());
    let line = second.wait_for("error: ");
    assert!(line.contains("in use by another ringseed") && line.contains(&first.pid().to_string()), "{line}");
    assert!(line.contains(&state.display().to_string()) && line.contains("--state-dir"), "{line}");

    // Another directory is another matter, also without naming the state directory.
    let (_seed, address) = home.seed(&content);
    let elsewhere = home.path("elsewhere");
    let peer = address.to_string();
    Process::start("third", home.get(&content, &elsewhere).args(["--peer", &peer])).wait_success();
    assert_same(&content, &elsewhere);
    assert!(first.is_running());
}

#[test]
fn damaged_data_is_not_seeded_and_not_touched() {
    let home = Home::new();
    let content = single(&home.directory("seed"), 1 << 20, "64K", NO_TRACKER);
    let path = content.dir.join(&content.name);
    let (mut good, _) = home.seed(&content);
    good.wait_for("seeding ");
    good.terminate();

    let mut bytes = std::fs::read(&path).expect("read");
    bytes[500_000] ^= 1;
    // The second run has a state that says all is well, the first and third have none or know better.
    std::fs::write(&path, &bytes).expect("written");
    for _ in 0..2 {
        let (mut seed, _) = home.seed(&content);
        assert_eq!(code(&mut seed), Some(1), "{}", seed.log());
        let line = seed.wait_for("error: ");
        assert!(line.contains("15 of 16 pieces are right") && line.contains("ringseed get"), "{line}");
        assert_eq!(std::fs::read(&path).expect("read"), bytes, "the data is as it was");
    }
}

#[test]
fn a_seed_that_stops_starts_again_without_being_told_twice() {
    let home = Home::new();
    let content = multi(&home.directory("seed"), "64K", NO_TRACKER);
    for _ in 0..2 {
        let (mut seed, _) = home.seed(&content);
        seed.wait_for("seeding ");
        assert!(seed.terminate() < STOP_MAX);
        assert_eq!(code(&mut seed), Some(0), "{}", seed.log());
    }
}

#[test]
fn a_torrent_that_fails_ends_get_with_its_reason() {
    let home = Home::new();
    let content = multi(&home.directory("seed"), "64K", NO_TRACKER);
    let into = home.directory("into");
    // A file where the torrent needs a directory.
    std::fs::write(into.join(&content.name), b"in the way").expect("written");
    let mut get = Process::start("get", &mut home.get(&content, &into));
    assert_eq!(code(&mut get), Some(1), "{}", get.log());
    let line = get.wait_for("error: ");
    assert!(line.contains(&content.name), "{line}");
    assert_eq!(std::fs::read(into.join(&content.name)).expect("read"), b"in the way");
}

#[test]
fn get_seeds_on_until_the_ratio() {
    let home = Home::new();
    let content = single(&home.directory("seed"), 3 << 20, "64K", NO_TRACKER);
    let (mut seed, address) = home.seed(&content);
    let middle = home.directory("middle");
    let mut get = Process::start(
        "middle",
        home.get(&content, &middle).args(["--seed-ratio", "0.9", "--peer", &address.to_string()]),
    );
    let port = port_of(&get.wait_for("ringseed get: listening on port "));
    get.wait_for("complete ");
    assert!(get.is_running(), "the ratio is not reached");
    // Nobody else may serve the last one, or the ratio is never reached.
    seed.terminate();
    let last = home.directory("last");
    let peer = format!("127.0.0.1:{port}");
    // The one that reached its ratio may end before the last has everything.
    let _last =
        Process::start("last", home.get(&content, &last).args(["--peer", &peer, "--download-limit", "1M"]));
    get.wait_success();
}

#[test]
fn serve_is_ready_and_stops_in_time() {
    let home = Home::new();
    let mut serve = Process::start("serve", home.command("serve").args(["--rpc", "127.0.0.1:0"]));
    serve.wait_for("ringseed serve: listening on port ");
    let line = serve.wait_for("ringseed serve: RPC on http://127.0.0.1:");
    assert!(!line.contains(":0/"), "the port that was chosen: {line}");
    serve.wait_for("ringseed serve: ready with 0 torrents");
    assert!(serve.terminate() < STOP_MAX);
    assert_eq!(code(&mut serve), Some(0), "{}", serve.log());
}

#[test]
fn the_demo_verifies_and_cleans_up() {
    let home = Home::new();
    let mut demo = Process::start("demo", home.command("demo").args(["--size", "20M"]));
    demo.wait_success();
    demo.wait_for("verified: the copy is identical to the original");
    demo.wait_for("20.0 MiB in ");
    assert_eq!(entries(&home.path("tmp")), 0);
}

#[test]
fn an_interrupted_demo_cleans_up() {
    let home = Home::new();
    let mut demo = Process::start("demo", home.command("demo").args(["--size", "2G"]));
    demo.wait_for("generated data in");
    assert_eq!(entries(&home.path("tmp")), 1);
    demo.signal(libc::SIGINT);
    assert_eq!(code(&mut demo), Some(1), "{}", demo.log());
    demo.wait_for("error: interrupted");
    assert_eq!(entries(&home.path("tmp")), 0);
}

#[test]
fn the_sample_torrent_fits_its_data() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/sample");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
    let output = command.arg("verify").arg(sample.join("sample.torrent")).arg("--data").arg(&sample).output();
    let output = output.expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
