//! `kill -9` at twenty random moments of one download.

#[path = "support/mod.rs"]
mod support;

use ringseed_proto::bitfield::Bitfield;
use ringseed_storage::ResumeStore;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use support::content::{Content, assert_same, single};
use support::process::Process;

const PIECE: usize = 256 << 10;
const LENGTH: usize = 320 << 20;
const KILLS: usize = 20;
/// What one kill may cost at most, in bytes that have to be fetched again.
const LOSS_MAX: u64 = 64 << 20;

/// When the download is to be killed: after so many more bytes from the seed.
#[derive(Default)]
struct Fuse {
    left: Option<u64>,
    process: Option<u32>,
    /// Bytes from the seed that went through, over all rounds.
    passed: u64,
}

/// A way to the seed that counts what comes through and kills the download in the middle of it. It hands on no
/// byte after that, so a round never gets more than its fuse allows, on however fast a machine.
fn tap(seed: SocketAddr, fuse: Arc<Mutex<Fuse>>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(seed) else { continue };
            let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            let fuse = fuse.clone();
            std::thread::spawn(move || hand_on(far, near, &fuse));
        }
    });
    address
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, fuse: &Mutex<Fuse>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let mut fuse = fuse.lock().unwrap();
        if let (Some(left), Some(process)) = (fuse.left, fuse.process) {
            if left <= read as u64 {
                fuse.left = None;
                // SAFETY: kill takes two integers; the test reaps this child only after it has died of this.
                unsafe { libc::kill(process as i32, libc::SIGKILL) };
                break;
            }
            fuse.left = Some(left - read as u64);
        }
        fuse.passed += read as u64;
        drop(fuse);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn ringseed(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
    command.args(arguments);
    command
}

/// The pieces of `file` that are as in `original`.
fn right_pieces(original: &[u8], file: &Path) -> Bitfield {
    let mut right = Bitfield::new((LENGTH / PIECE) as u32);
    let Ok(mut file) = fs::File::open(file) else { return right };
    let mut found = vec![0; PIECE];
    for (index, piece) in original.chunks(PIECE).enumerate() {
        if file.read_exact(&mut found).is_err() {
            break;
        }
        if found == piece {
            right.set(index as u32);
        }
    }
    right
}

/// The pieces that the resume store claims. A copy is read: the file itself stays as the kill left it.
fn claimed_pieces(state: &Path) -> Option<Bitfield> {
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("resume.redb");
    fs::copy(state.join("resume.redb"), &path).ok()?;
    let loaded = ResumeStore::open(&path).unwrap().load_all().unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    loaded.records.into_iter().next().map(|record| record.have)
}

struct Download<'a> {
    content: &'a Content,
    target: &'a Path,
    state: &'a Path,
    peer: SocketAddr,
}

impl Download<'_> {
    fn start(&self) -> Process {
        let mut command = ringseed(&["get", "--port", "0", "--no-pin", "--shards", "1", "-o"]);
        command.arg(self.target).arg("--state-dir").arg(self.state);
        command.arg("--peer").arg(self.peer.to_string()).arg(&self.content.torrent);
        Process::start("get", &mut command)
    }
}

#[test]
fn killed_twenty_times_a_download_finishes_byte_exact_and_fetches_little_again() {
    let [source, target, seed_state, state] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let content = single(source.path(), LENGTH as u64, "256K", "http://127.0.0.1:9/announce");
    let original = fs::read(source.path().join(&content.name)).unwrap();
    let mut command = ringseed(&["seed", "--port", "0", "--no-pin", "--shards", "1", "--data"]);
    command.arg(source.path()).arg("--state-dir").arg(seed_state.path()).arg(&content.torrent);
    let mut seeder = Process::start("seed", &mut command);
    let line = seeder.wait_for("listening on port");
    seeder.wait_for("seeding");
    let port: u16 = line.rsplit(' ').next().unwrap().parse().unwrap();
    let fuse = Arc::new(Mutex::new(Fuse::default()));
    let peer = tap(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), fuse.clone());
    let download = Download { content: &content, target: target.path(), state: state.path(), peer };
    let file = target.path().join(&content.name);

    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    let mut before = Bitfield::new((LENGTH / PIECE) as u32);
    let mut lost_in_all = 0;
    for round in 0..KILLS {
        // Some in the middle of the handshakes, most after some pieces, three after more than one kill may cost.
        // Together less than the content, so that no round can finish it.
        let allowed = match round % 7 {
            0 => 1 + below(300),
            5 => (64 << 20) + below(6 << 20),
            _ => below(6 << 20),
        };
        let passed_before;
        let mut process = {
            let mut fuse = fuse.lock().unwrap();
            let process = download.start();
            passed_before = fuse.passed;
            (fuse.left, fuse.process) = (Some(allowed), Some(process.pid()));
            process
        };
        let status = process.wait();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "round {round}: {}", process.log());
        let passed = fuse.lock().unwrap().passed - passed_before;

        let right = right_pieces(&original, &file);
        assert!(!right.is_full(), "round {round}: killed while incomplete");
        let claimed = claimed_pieces(state.path()).expect("the torrent is in the resume store");
        for piece in claimed.iter_ones() {
            assert!(right.get(piece), "round {round}: piece {piece} is claimed and not on disk");
        }
        for piece in before.iter_ones() {
            assert!(right.get(piece), "round {round}: piece {piece} was on disk and is not any more");
        }
        let stored = u64::from(right.count_ones() - before.count_ones()) * PIECE as u64;
        let lost = passed.saturating_sub(stored);
        eprintln!(
            "round {round}: {} pieces right, {} claimed, {passed} bytes came, {lost} of them lost",
            right.count_ones(),
            claimed.count_ones()
        );
        assert!(lost <= LOSS_MAX, "round {round}: {lost} bytes have to be fetched again");
        lost_in_all += lost;
        before = right;
    }
    fuse.lock().unwrap().left = None;
    download.start().wait_success();
    assert_same(&content, target.path());
    // What was on disk at a kill was not fetched again: beyond the content only what the kills lost came twice,
    // and headers, which are below a thousandth.
    let passed = fuse.lock().unwrap().passed;
    let most = LENGTH as u64 + lost_in_all + LENGTH as u64 / 1000;
    assert!(passed <= most, "{passed} bytes came, {most} are explained");
    seeder.terminate();
}
