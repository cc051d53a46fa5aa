//! What happens to a transfer when something under it goes wrong: kills, disks, files, limits.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use support::content::{Content, assert_same, multi, single};
use support::process::Process;
use support::until;

const NO_TRACKER: &str = "http://127.0.0.1:9/announce";

fn ringseed(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
    command.args(arguments);
    command
}

/// A seeding process and its address.
fn seed(content: &Content, state: &Path, more: &[&str]) -> (Process, SocketAddr) {
    seed_all(&[content], state, more)
}

/// As [`seed`], for several torrents with their data in one directory.
fn seed_all(contents: &[&Content], state: &Path, more: &[&str]) -> (Process, SocketAddr) {
    let mut command = ringseed(&["seed", "--port", "0", "--no-pin", "--shards", "1", "--data"]);
    command.arg(&contents[0].dir).arg("--state-dir").arg(state).args(more);
    command.args(contents.iter().map(|content| &content.torrent));
    let mut process = Process::start("seed", &mut command);
    let line = process.wait_for("listening on port");
    for content in contents {
        process.wait_for(&format!("seeding {}", content.name));
    }
    let port = line.rsplit(' ').next().unwrap().parse().unwrap();
    (process, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn get_command(content: &Content, target: &Path, state: &Path, peer: SocketAddr) -> Command {
    let mut command = ringseed(&["get", "--port", "0", "--no-pin", "--shards", "1", "-o"]);
    command
        .arg(target)
        .arg("--state-dir")
        .arg(state)
        .arg("--peer")
        .arg(peer.to_string())
        .arg(&content.torrent);
    command
}

fn dirs<const N: usize>() -> [tempfile::TempDir; N] {
    std::array::from_fn(|_| tempfile::tempdir().unwrap())
}

/// Bytes that a file takes on disk.
fn blocks_of(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map_or(0, |file| file.blocks() * 512)
}

/// Changes a seed's file while it is being uploaded: its torrent stops with an error that names it, and the seed's
/// other torrent is served on.
fn error_after(change: impl FnOnce(&Path)) {
    let [source, target, other_target, state, first, second] = dirs();
    let content = single(source.path(), 64 << 20, "256K", NO_TRACKER);
    let other = multi(source.path(), "64K", NO_TRACKER);
    let (mut seeder, address) = seed_all(&[&content, &other], state.path(), &["--upload-limit", "8M"]);
    let getter = Process::start("get", &mut get_command(&content, target.path(), first.path(), address));
    let file = target.path().join(&content.name);
    until("the first pieces", || (blocks_of(&file) > 0).then_some(()));
    change(&source.path().join(&content.name));
    let line = seeder.wait_for("error");
    assert!(line.contains(&content.name), "the error names the file: {line}");
    drop(getter);
    let mut getter =
        Process::start("get", &mut get_command(&other, other_target.path(), second.path(), address));
    getter.wait_success();
    assert_same(&other, other_target.path());
    assert!(seeder.is_running());
    assert!(!seeder.log().contains("panicked"), "{}", seeder.log());
}

#[test]
fn a_file_truncated_under_its_upload_stops_the_torrent_with_an_error() {
    error_after(|file| fs::OpenOptions::new().write(true).open(file).unwrap().set_len(1000).unwrap());
}

#[test]
fn a_file_deleted_under_its_upload_stops_the_torrent_with_an_error() {
    error_after(|file| fs::remove_file(file).unwrap());
}

#[test]
fn a_file_replaced_under_its_upload_stops_the_torrent_with_an_error() {
    error_after(|file| {
        let other = file.with_extension("new");
        fs::write(&other, b"other").unwrap();
        fs::rename(other, file).unwrap();
    });
}

#[test]
fn a_full_disk_stops_the_download_with_an_error_that_says_so() {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: mounting a small tmpfs needs root");
        return;
    }
    let [source, target, first, second] = dirs();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
        .arg(target.path())
        .status()
        .unwrap();
    assert!(mounted.success());
    let content = single(source.path(), 64 << 20, "256K", NO_TRACKER);
    let (_seeder, address) = seed(&content, first.path(), &[]);
    let mut getter = Process::start("get", &mut get_command(&content, target.path(), second.path(), address));
    let status = getter.wait();
    let unmounted = Command::new("umount").arg(target.path()).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(status.code(), Some(1), "{}", getter.log());
    assert!(getter.log().contains("space") || getter.log().contains("full"), "{}", getter.log());
    assert!(!getter.log().contains("panicked"), "{}", getter.log());
}

#[test]
fn a_read_only_directory_is_a_clear_error() {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: mounting read-only needs root");
        return;
    }
    let [source, target, first, second] = dirs();
    let options = ["-t", "tmpfs", "-o", "ro,size=1m", "tmpfs"];
    assert!(Command::new("mount").args(options).arg(target.path()).status().unwrap().success());
    let content = single(source.path(), 1 << 20, "256K", NO_TRACKER);
    let (_seeder, address) = seed(&content, first.path(), &[]);
    let mut getter = Process::start("get", &mut get_command(&content, target.path(), second.path(), address));
    let status = getter.wait();
    assert!(Command::new("umount").arg(target.path()).status().unwrap().success());
    assert_eq!(status.code(), Some(1), "{}", getter.log());
    assert!(getter.log().to_lowercase().contains("read-only"), "{}", getter.log());
}

#[test]
fn data_of_the_wrong_size_is_not_claimed_and_is_mended() {
    let [source, target, first, second] = dirs();
    let content = single(source.path(), 8 << 20, "256K", NO_TRACKER);
    let file = target.path().join(&content.name);
    let original = fs::read(source.path().join(&content.name)).unwrap();
    // The first half is right, then wrong bytes, and too short.
    let mut damaged = original[..4 << 20].to_vec();
    damaged.extend(vec![0xaa; 1 << 20]);
    fs::write(&file, damaged).unwrap();
    let (_seeder, address) = seed(&content, first.path(), &[]);
    let mut getter = Process::start("get", &mut get_command(&content, target.path(), second.path(), address));
    getter.wait_success();
    assert_same(&content, target.path());
}

#[test]
fn a_locked_memory_limit_of_64_kib_is_one_clear_error() {
    let [source, state] = dirs();
    let content = single(source.path(), 1 << 20, "256K", NO_TRACKER);
    let mut command = ringseed(&["seed", "--port", "0", "--data"]);
    command.arg(source.path()).arg("--state-dir").arg(state.path()).arg(&content.torrent);
    // SAFETY: setrlimit is async-signal-safe and gets a valid structure.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 64 << 10, rlim_max: 64 << 10 };
            if libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
    let mut process = Process::start("seed", &mut command);
    assert_eq!(process.wait().code(), Some(1), "{}", process.log());
    let log = process.log();
    assert!(log.contains("ulimit -l") && !log.contains("panicked"), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("error")).count(), 1, "one message: {log}");
}

/// A seccomp filter that answers io_uring's calls with an error, as container runtimes do.
fn forbid_io_uring(errno: i32) -> std::io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jump = |k: u32, jt: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt,
        jf: 0,
        k,
    };
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        jump(libc::SYS_io_uring_setup as u32, 3),
        jump(libc::SYS_io_uring_enter as u32, 2),
        jump(libc::SYS_io_uring_register as u32, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: prctl gets the arguments its manual asks for; the program outlives the call, which copies it.
    let results = unsafe {
        [
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program),
        ]
    };
    if results == [0, 0] { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn without_io_uring(errno: i32) {
    let [source, state] = dirs();
    let content = single(source.path(), 1 << 20, "256K", NO_TRACKER);
    let mut command = ringseed(&["seed", "--port", "0", "--data"]);
    command.arg(source.path()).arg("--state-dir").arg(state.path()).arg(&content.torrent);
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || forbid_io_uring(errno));
    }
    let mut process = Process::start("seed", &mut command);
    assert_eq!(process.wait().code(), Some(1), "{}", process.log());
    let log = process.log();
    assert!(log.contains("io_uring") && log.contains("seccomp") && !log.contains("panicked"), "{log}");
}

#[test]
fn io_uring_blocked_as_by_docker_is_one_clear_error() {
    without_io_uring(libc::EPERM);
}

#[test]
fn io_uring_blocked_as_by_podman_is_one_clear_error() {
    without_io_uring(libc::ENOSYS);
}
