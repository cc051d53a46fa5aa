//! Hostile peers and hostile torrents against real processes: each is shut out, and others are served.

#[path = "support/mod.rs"]
mod support;

use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::units::PeerId;
use ringseed_proto::wire::{HANDSHAKE_LEN, Handshake};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::content::{Content, assert_same, single};
use support::process::Process;

const NO_TRACKER: &str = "http://127.0.0.1:9/announce";

fn dirs<const N: usize>() -> [tempfile::TempDir; N] {
    std::array::from_fn(|_| tempfile::tempdir().unwrap())
}

/// A seeding process on 127.0.0.2, so that a ban of 127.0.0.1 does not hit it.
fn seed(content: &Content, state: &Path) -> (Process, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
    command.args(["seed", "--port", "0", "--listen", "127.0.0.2", "--no-pin", "--shards", "2", "--data"]);
    command.arg(&content.dir).arg("--state-dir").arg(state).arg(&content.torrent);
    let mut process = Process::start("seed", &mut command);
    let line = process.wait_for("listening on port");
    process.wait_for("seeding");
    let port: u16 = line.rsplit(' ').next().unwrap().parse().unwrap();
    (process, SocketAddr::from(([127, 0, 0, 2], port)))
}

fn get(content: &Content, target: &Path, state: &Path, peers: &[SocketAddr]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
    command.args(["get", "--port", "0", "--no-pin", "--shards", "1", "-o"]).env("RINGSEED_LOG", "info");
    command.arg(target).arg("--state-dir").arg(state);
    // The peers of these tests speak in plaintext: an attempt to encrypt would let others serve everything meanwhile.
    command.args(["--encryption", "disabled"]);
    for peer in peers {
        command.arg("--peer").arg(peer.to_string());
    }
    Process::start("get", command.arg(&content.torrent))
}

fn handshake_for(content: &Content, name: u8) -> [u8; HANDSHAKE_LEN] {
    let info_hash: SwarmHash = content.info_hash.parse().unwrap();
    Handshake::new(info_hash, PeerId([name; 20])).encode()
}

/// A connection that has shaken hands.
fn connect(content: &Content, address: SocketAddr, name: u8) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream.write_all(&handshake_for(content, name)).unwrap();
    let mut theirs = [0; HANDSHAKE_LEN];
    stream.read_exact(&mut theirs).unwrap();
    stream
}

/// Reads until the other side closes.
fn assert_closed(mut stream: TcpStream) {
    let mut sink = vec![0; 65_536];
    loop {
        match stream.read(&mut sink) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("the connection was not closed: {error}"),
        }
    }
}

/// One seed, something hostile said to it, and a download from it afterwards.
fn seed_survives(hostile: impl FnOnce(&Content, SocketAddr)) {
    let [source, target, first, second] = dirs();
    let content = single(source.path(), 4 << 20, "64K", NO_TRACKER);
    let (mut seeder, address) = seed(&content, first.path());
    hostile(&content, address);
    get(&content, target.path(), second.path(), &[address]).wait_success();
    assert_same(&content, target.path());
    assert!(seeder.is_running());
    seeder.terminate();
    assert!(!seeder.log().contains("panicked"), "{}", seeder.log());
}

fn says(bytes: &[u8]) -> impl FnOnce(&Content, SocketAddr) {
    let bytes = bytes.to_vec();
    move |content, address| {
        let mut stream = connect(content, address, 7);
        let _ = stream.write_all(&bytes);
        assert_closed(stream);
    }
}

fn message(id: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 + 1).to_be_bytes().to_vec();
    bytes.push(id);
    bytes.extend(payload);
    bytes
}

fn request(piece: u32, begin: u32, length: u32) -> Vec<u8> {
    message(6, &[piece.to_be_bytes(), begin.to_be_bytes(), length.to_be_bytes()].concat())
}

#[test]
fn a_message_of_four_gigabytes_ends_the_connection() {
    seed_survives(says(&[0xff, 0xff, 0xff, 0xff, 7]));
}

#[test]
fn requests_out_of_range_end_the_connection() {
    seed_survives(says(&[message(2, &[]), request(64, 0, 16_384)].concat()));
    seed_survives(says(&[message(2, &[]), request(0, u32::MAX, 16_384)].concat()));
    seed_survives(says(&[message(2, &[]), request(0, 0, u32::MAX)].concat()));
}

#[test]
fn a_deeply_nested_extension_handshake_ends_the_connection() {
    seed_survives(says(&message(20, &[&[0u8][..], &b"l".repeat(60_000)].concat())));
}

#[test]
fn a_claim_of_two_gigabytes_of_metadata_is_ignored() {
    seed_survives(|content, address| {
        let mut stream = connect(content, address, 7);
        let claim = b"d1:md11:ut_metadatai2ee13:metadata_sizei2147483647ee";
        stream.write_all(&message(20, &[&[0u8][..], claim].concat())).unwrap();
        // Metadata that nobody asked for, then a request far behind the end.
        let data = b"d8:msg_typei1e5:piecei0e10:total_sizei2147483647eexxxx";
        let _ = stream.write_all(&message(20, &[&[1u8][..], data].concat()));
        let beyond = b"d8:msg_typei0e5:piecei999999999ee";
        let _ = stream.write_all(&message(20, &[&[1u8][..], beyond].concat()));
    });
}

#[test]
fn floods_of_keep_alives_leave_receive_buffers_to_others() {
    let flooded = Arc::new(AtomicU64::new(0));
    seed_survives(|content, address| {
        // Several for each shard, each with more to read at any time than all buffers of a shard hold.
        for name in 1..=6 {
            let (mut stream, flooded) = (connect(content, address, name), Arc::clone(&flooded));
            std::thread::spawn(move || {
                let keep_alives = vec![0; 1 << 20];
                while stream.write_all(&keep_alives).is_ok() {
                    flooded.fetch_add(1 << 20, Ordering::Relaxed);
                }
            });
        }
    });
    let flooded = flooded.load(Ordering::Relaxed);
    assert!(flooded > 64 << 20, "{flooded} bytes were taken: the floods did not last");
}

#[test]
fn random_bytes_after_the_handshake_end_the_connection() {
    seed_survives(|content, address| {
        let mut state = 88_172_645_463_325_252_u64;
        for name in 1..20 {
            let mut stream = connect(content, address, name);
            let bytes: Vec<u8> = (0..4096)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8
                })
                .collect();
            let _ = stream.write_all(&bytes);
        }
    });
}

#[test]
fn a_handshake_of_one_byte_a_second_ends_the_connection_and_others_are_served() {
    let [source, target, first, second] = dirs();
    let content = single(source.path(), 4 << 20, "64K", NO_TRACKER);
    let (mut seeder, address) = seed(&content, first.path());
    let mut dripping = TcpStream::connect(address).unwrap();
    let handshake = handshake_for(&content, 7);
    dripping.write_all(&handshake[..1]).unwrap();
    get(&content, target.path(), second.path(), &[address]).wait_success();
    dripping.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut closed = false;
    // The pace is the attack: a byte whenever a second has passed without an answer.
    for byte in &handshake[1..40] {
        match dripping.read(&mut [0; 68]) {
            Ok(0) => closed = true,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => closed = true,
        }
        if closed || dripping.write_all(&[*byte]).is_err() {
            closed = true;
            break;
        }
    }
    assert!(closed, "the connection is still open");
    assert!(seeder.is_running());
}

#[test]
fn a_peer_that_requests_and_never_reads_holds_nobody_up() {
    let [source, target, first, second] = dirs();
    let content = single(source.path(), 32 << 20, "256K", NO_TRACKER);
    let (mut seeder, address) = seed(&content, first.path());
    let deaf: Vec<TcpStream> = (1..=20)
        .map(|name| {
            let mut stream = connect(&content, address, name);
            stream.write_all(&message(2, &[])).unwrap();
            for piece in 0..128 {
                for block in 0..16 {
                    let _ = stream.write_all(&request(piece, block * 16_384, 16_384));
                }
            }
            stream
        })
        .collect();
    get(&content, target.path(), second.path(), &[address]).wait_success();
    assert_same(&content, target.path());
    let status = fs::read_to_string(format!("/proc/{}/status", seeder.pid())).unwrap();
    let kib = |key: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert!(kib("RssAnon:") < 200 << 10, "the seed holds {} KiB for deaf peers", kib("RssAnon:"));
    assert!(seeder.is_running());
    drop(deaf);
}

/// A peer that has everything and sends wrong bytes for every request.
fn liar(content: &Content) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handshake = handshake_for(content, 66);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten().take(50) {
            std::thread::spawn(move || lie(stream, &handshake));
        }
    });
    address
}

fn lie(mut stream: TcpStream, handshake: &[u8; HANDSHAKE_LEN]) -> Option<()> {
    stream.read_exact(&mut [0; HANDSHAKE_LEN]).ok()?;
    stream.write_all(handshake).ok()?;
    // Have-all, unchoke.
    stream.write_all(&[message(14, &[]), message(1, &[])].concat()).ok()?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body).ok()?;
        if body.first() == Some(&6) {
            let size = u32::from_be_bytes(body[9..13].try_into().unwrap()) as usize;
            let mut answer = body[1..9].to_vec();
            answer.resize(8 + size, 0x66);
            stream.write_all(&message(7, &answer)).ok()?;
        }
    }
}

#[test]
fn a_peer_that_sends_wrong_blocks_is_banned_and_the_download_is_byte_exact() {
    let [source, target, first, second] = dirs();
    let content = single(source.path(), 16 << 20, "256K", NO_TRACKER);
    let (_seeder, address) = seed(&content, first.path());
    let liar = liar(&content);
    let mut getter = get(&content, target.path(), second.path(), &[liar, address]);
    getter.wait_success();
    assert_same(&content, target.path());
    assert!(getter.log().contains("banned a peer"), "{}", getter.log());
}

/// A torrent file of raw parts; one piece of zeros whose hash is right for `length` zero bytes.
fn torrent(dir: &Path, info_rest: &[u8]) -> std::path::PathBuf {
    let path = dir.join("hostile.torrent");
    let mut bytes = b"d8:announce28:http://127.0.0.1:9/announce/4:info".to_vec();
    bytes.extend(info_rest);
    bytes.push(b'e');
    fs::write(&path, bytes).unwrap();
    path
}

fn ringseed(arguments: &[&str], file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringseed")).args(arguments).arg(file).output().unwrap()
}

/// The torrent is refused with exit code 1 and one message.
fn refused(info: &[u8]) -> String {
    let [dir] = dirs();
    let output = ringseed(&["show"], &torrent(dir.path(), info));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error") && !text.contains("panicked"), "{text}");
    text
}

const PIECES: &[u8] = b"6:pieces20:aaaaaaaaaaaaaaaaaaaa";

fn with_files(files: &[u8]) -> Vec<u8> {
    [b"d5:filesl", files, b"e4:name1:t12:piece lengthi16384e", PIECES, b"e"].concat()
}

#[test]
fn names_that_escape_stay_below_the_directory() {
    let [dir] = dirs();
    for path in [
        &b"l2:..2:..6:passwde"[..],
        b"l1:/3:etc6:passwde",
        b"l11:/etc/passwde",
        b"l3:a\0be",
        b"l1:.2:..1:xe",
        b"l0:1:xe",
    ] {
        let file = torrent(dir.path(), &with_files(&[b"d6:lengthi5e4:path", path, b"e"].concat()));
        let output = ringseed(&["show", "--json"], &file);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!shown.contains("../") && !shown.contains("\"/") && !shown.contains("\\u0000"), "{shown}");
    }
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    refused(&with_files(b"d6:lengthi-5e4:pathl1:aee"));
    refused(&with_files(
        b"d6:lengthi9223372036854775807e4:pathl1:aeed6:lengthi9223372036854775807e4:pathl1:bee",
    ));
    refused(&[b"d6:lengthi99999e4:name1:t12:piece lengthi16384e", PIECES, b"e"].concat());
    refused(&[b"d6:lengthi5e4:name1:t12:piece lengthi0e", PIECES, b"e"].concat());
    refused(&[b"d6:lengthi5e4:name1:t12:piece lengthi-1e", PIECES, b"e"].concat());
    refused(b"d6:lengthi5e4:name1:t12:piece lengthi16384e6:pieces19:aaaaaaaaaaaaaaaaaaae");
}

/// Equal names, a file where another file's folder is, names that are equal only once they are made safe: each file
/// gets a place of its own, so that none writes over another.
#[test]
fn files_that_would_lie_in_one_place_become_distinct() {
    let [dir] = dirs();
    let path = |path: &str| format!("d6:lengthi5e4:path{path}e");
    let files =
        [path("l1:ae"), path("l1:ae"), path("l1:a1:be"), path("l2:..1:ae"), path("l1:a2:..1:be")].concat();
    let output = ringseed(&["show", "--json"], &torrent(dir.path(), &with_files(files.as_bytes())));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let paths: Vec<&str> =
        shown["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(paths.len(), 5, "{shown}");
    for (index, path) in paths.iter().enumerate() {
        for other in paths.iter().skip(index + 1) {
            let below = |a: &str, b: &str| b.starts_with(&format!("{a}/"));
            assert!(path != other && !below(path, other) && !below(other, path), "{paths:?}");
        }
    }
}

#[test]
fn a_deeply_nested_torrent_is_refused() {
    refused(&[b"l".repeat(1_000_000), b"e".repeat(1_000_000)].concat());
}

#[test]
fn a_million_files_are_read_or_refused_but_never_fatal() {
    let [dir] = dirs();
    let mut files = Vec::new();
    for number in 0..1_000_000 {
        files.extend(format!("d6:lengthi0e4:pathl7:{number:07}ee").bytes());
    }
    let mut info = b"d5:filesl".to_vec();
    info.extend(&files);
    info.extend(b"d6:lengthi5e4:pathl4:lastee");
    info.extend([&b"e4:name1:t12:piece lengthi16384e"[..], PIECES, b"e"].concat());
    let output = ringseed(&["show", "--json"], &torrent(dir.path(), &info));
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?}", output.status);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn a_symbolic_link_in_the_way_is_an_error_and_its_target_is_untouched() {
    let [source, target, first, second, outside] = dirs();
    let content = single(source.path(), 1 << 20, "64K", NO_TRACKER);
    let (_seeder, address) = seed(&content, first.path());
    let victim = outside.path().join("victim");
    fs::write(&victim, b"precious").unwrap();
    std::os::unix::fs::symlink(&victim, target.path().join(&content.name)).unwrap();
    let mut getter = get(&content, target.path(), second.path(), &[address]);
    assert_eq!(getter.wait().code(), Some(1), "{}", getter.log());
    assert!(getter.log().contains("symbolic link"), "{}", getter.log());
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

/// The answers to requests of these lengths, each at the begin of another piece, and to one of a block behind them.
fn answers(content: &Content, address: SocketAddr, lengths: &[u32]) -> Vec<usize> {
    let mut stream = connect(content, address, 9);
    stream.write_all(&message(2, &[])).unwrap();
    let mut asked = Vec::new();
    for (piece, &length) in (0..).zip(lengths.iter().chain([&16_384])) {
        asked.extend(request(piece, 0, length));
    }
    let mut answers = Vec::new();
    while answers.len() <= lengths.len() {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body).unwrap();
        match body.first() {
            Some(1) => stream.write_all(&asked).unwrap(),
            Some(7) => answers.push(body.len() - 9),
            _ => {}
        }
    }
    answers
}

#[test]
fn requests_of_up_to_128_kib_are_answered_at_any_upload_limit() {
    let [source, state] = dirs();
    let content = single(source.path(), 8 << 20, "1M", NO_TRACKER);
    let lengths = [65_536, 65_537, 98_304, 131_071, 131_072];
    for limit in ["0", "16K", "32K", "10M"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
        command.args(["seed", "--port", "0", "--listen", "127.0.0.2", "--no-pin", "--shards", "1"]);
        command.args(["--upload-limit", limit, "--data"]).arg(&content.dir);
        let mut seeder =
            Process::start("seed", command.arg("--state-dir").arg(state.path()).arg(&content.torrent));
        let line = seeder.wait_for("listening on port");
        seeder.wait_for("seeding");
        let port: u16 = line.rsplit(' ').next().unwrap().parse().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 2], port));
        // At 16 KiB/s all of them would take half a minute.
        let lengths = if limit == "16K" { &lengths[1..3] } else { &lengths[..] };
        let mut wanted: Vec<usize> = lengths.iter().map(|&length| length as usize).collect();
        wanted.push(16_384);
        assert_eq!(answers(&content, address, lengths), wanted, "limit {limit}");
        seeder.terminate();
    }
}
