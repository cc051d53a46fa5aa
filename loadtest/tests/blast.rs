//! A whole blast against a tiny seeder in this process.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use ringseed_loadtest::blast::{self, BlastConfig, BlastError, Greedy, Order, Target, Window};
use sha1::{Digest, Sha1};

const PIECE: usize = 50_000;
const TOTAL: usize = 6 * PIECE + 777;

fn data() -> Vec<u8> {
    (0..TOTAL).map(|i| (i % 251) as u8 ^ (i / PIECE) as u8).collect()
}

fn target() -> Target {
    let hashes = data().chunks(PIECE).map(|piece| Sha1::digest(piece).into()).collect();
    Target::new([3; 20], PIECE as u32, TOTAL as u64, Some(hashes)).expect("valid")
}

/// How a test seeder treats its peers.
#[derive(Clone, Copy)]
enum Manner {
    /// Serves everything.
    Fair,
    /// Chokes (discarding what is asked) and unchokes after every third block, and never heard of BEP 6.
    Moody,
    /// Flips a byte of every block.
    Corrupt,
    /// Closes after the handshake.
    Rude,
}

/// Serves every peer on a thread of its own until it leaves.
fn seeder(manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let addr = listener.local_addr().expect("address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A peer that leaves ends its thread with an error.
            thread::spawn(move || serve(stream, manner));
        }
    });
    addr
}

fn serve(mut stream: TcpStream, manner: Manner) -> io::Result<()> {
    let data = data();
    let mut hello = [0; 68];
    stream.read_exact(&mut hello)?;
    if matches!(manner, Manner::Rude) {
        return Ok(());
    }
    if matches!(manner, Manner::Moody) {
        hello[27] = 0;
    }
    stream.write_all(&hello)?;
    stream.write_all(&[0, 0, 0, 2, 5, 0xfe, 0, 0, 0, 0, 0, 0, 0, 1, 1])?;
    let mut answered = 0;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body)?;
        if body.first() != Some(&6) {
            continue;
        }
        let field = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().expect("four")) as usize;
        let (piece, begin, length) = (field(1), field(5), field(9));
        answered += 1;
        if matches!(manner, Manner::Moody) && answered % 4 == 0 {
            stream.write_all(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1])?;
            continue;
        }
        let mut block = data[piece * PIECE + begin..][..length].to_vec();
        if matches!(manner, Manner::Corrupt) {
            block[0] ^= 1;
        }
        stream.write_all(&[&(9 + length as u32).to_be_bytes()[..], &[7], &body[1..9], &block].concat())?;
    }
}

fn config(addr: SocketAddr) -> BlastConfig {
    BlastConfig {
        addr,
        targets: vec![target()],
        connections: 3,
        depth: 5,
        greedy: None,
        window: Window::Bytes(5_000_000),
        warmup_bytes: 500_000,
        ramp: Duration::from_secs(60),
        stall: Duration::from_secs(60),
        order: Order::Pieces,
        rate: None,
        seed: 1,
        first: 0,
        fast: true,
        verify: true,
        spread_sources: true,
        read_buffer: 32 * 1024,
        rc4: false,
        seeder_pid: Some(std::process::id()),
    }
}

#[test]
fn a_fair_seeder_is_measured_and_verified() {
    let report = blast::run(&config(seeder(Manner::Fair))).expect("report");
    assert_eq!((report.served, report.connections), (3, 3));
    assert!(report.bytes >= 5_000_000 && report.warmup_bytes >= 500_000);
    assert!(report.totals.pieces_ok > 50);
    assert_eq!((report.totals.pieces_bad, report.totals.stray_blocks), (0, 0));
    assert!(report.per_connection.max > 0 && report.request_latency_us.count > 0);
    assert!(report.seeder.is_some_and(|cost| cost.memory.anon > 0));
    assert!(report.ended.is_empty());
}

#[test]
fn peers_that_want_a_rate_get_it_and_no_more() {
    let rate = 1_000_000;
    let report = blast::run(&BlastConfig {
        rate: Some(rate),
        order: Order::Blocks,
        verify: false,
        warmup_bytes: 0,
        window: Window::Bytes(3_000_000),
        ..config(seeder(Manner::Fair))
    })
    .expect("report");
    // Three peers and what each may have asked for at once in the beginning.
    let most = 3.0 * (rate as f64 * report.seconds + 5.0 * 16384.0);
    assert!(report.bytes as f64 <= most, "{} bytes in {} s", report.bytes, report.seconds);
    assert!(report.totals.blocks > 0 && report.ended.is_empty());
}

#[test]
fn greedy_peers_are_reported_apart_from_the_others() {
    let greedy = Some(Greedy { connections: 2, depth: 50 });
    let report = blast::run(&BlastConfig { greedy, ..config(seeder(Manner::Fair)) }).expect("report");
    assert_eq!((report.served, report.connections), (5, 3));
    let apart = report.greedy.expect("greedy peers");
    assert!(apart.min > 0 && report.per_connection.min > 0);
    let most = 3 * report.per_connection.max + 2 * apart.max;
    let least = 3 * report.per_connection.min + 2 * apart.min;
    assert!((least..=most).contains(&report.bytes), "{report}");
}

#[test]
fn a_seeder_that_chokes_again_is_asked_again() {
    // Every choke discards one request only, the others are answered: blocks that were given up may come too.
    let report = blast::run(&config(seeder(Manner::Moody))).expect("report");
    assert!(report.totals.chokes > 10);
    assert!(report.totals.pieces_ok > 20);
    assert_eq!(report.totals.pieces_bad, 0);
}

#[test]
fn corruption_is_seen() {
    let report = blast::run(&config(seeder(Manner::Corrupt))).expect("report");
    assert!(report.totals.pieces_bad > 50);
    assert_eq!(report.totals.pieces_ok, 0);
}

#[test]
fn a_seeder_that_drops_everybody_is_an_error_with_the_reason() {
    let error = blast::run(&config(seeder(Manner::Rude))).expect_err("nobody was served");
    assert!(matches!(&error, BlastError::NotServed { ended, .. } if ended.values().sum::<u32>() == 3));
}

#[test]
fn values_outside_their_limits_are_refused() {
    let good = config(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    for bad in [
        BlastConfig { connections: 0, ..good.clone() },
        BlastConfig { depth: 0, ..good.clone() },
        BlastConfig { first: u32::MAX, ..good.clone() },
        BlastConfig { greedy: Some(Greedy { connections: 0, depth: 5 }), ..good.clone() },
        BlastConfig { greedy: Some(Greedy { connections: 1, depth: 0 }), ..good.clone() },
        BlastConfig { greedy: Some(Greedy { connections: u32::MAX, depth: 5 }), ..good.clone() },
        BlastConfig { targets: Vec::new(), ..good.clone() },
        BlastConfig { read_buffer: 1, ..good.clone() },
        BlastConfig { order: Order::Blocks, ..good.clone() },
        BlastConfig { rate: Some(0), ..good.clone() },
        BlastConfig { addr: SocketAddr::from(([192, 0, 2, 1], 1)), ..good },
    ] {
        assert!(matches!(blast::run(&bad), Err(BlastError::Config(_))));
    }
}
