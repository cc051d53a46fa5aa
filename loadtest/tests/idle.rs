//! Idle peers against a tiny seeder in this process.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use ringseed_loadtest::{
    blast::Target,
    idle::{self, IdleConfig, IdleError},
};
use tokio::sync::Notify;

fn config(addr: SocketAddr) -> IdleConfig {
    let target = |hash| Target::new([hash; 20], 16_384, 100_000, None).expect("valid");
    IdleConfig {
        addr,
        targets: vec![target(1), target(2)],
        connections: 6,
        first: 500,
        spread_sources: true,
        ramp: Duration::from_secs(60),
    }
}

/// Answers `peers` handshakes; those of the second torrent with the first one's hash when `confused`. Returns
/// what each peer said before it left.
fn seeder(peers: usize, confused: bool) -> (SocketAddr, thread::JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let addr = listener.local_addr().expect("address");
    let serving = thread::spawn(move || {
        let peers: Vec<_> = (0..peers)
            .map(|_| {
                let (mut stream, _) = listener.accept().expect("accepted");
                thread::spawn(move || {
                    let mut hello = [0; 68];
                    stream.read_exact(&mut hello).expect("handshake");
                    if confused {
                        hello[28..48].fill(1);
                    }
                    stream.write_all(&hello).expect("sent");
                    let mut said = hello.to_vec();
                    // A peer that is let go may reset the connection.
                    let _ = stream.read_to_end(&mut said);
                    said
                })
            })
            .collect();
        peers.into_iter().map(|peer| peer.join().expect("peer")).collect()
    });
    (addr, serving)
}

#[test]
fn all_are_greeted_and_stay_until_they_are_let_go() {
    let (addr, serving) = seeder(6, false);
    let leave = Notify::new();
    let report = idle::run(&config(addr), &leave, |report| {
        assert_eq!((report.open, report.ended.len()), (6, 0));
        leave.notify_one();
    })
    .expect("report");
    assert_eq!(report.open, 6);
    let said = serving.join().expect("seeder");
    assert_eq!(said.iter().filter(|said| said[28..48] == [1; 20]).count(), 3, "spread over both torrents");
    // Have none, and an extension handshake with peer exchange.
    assert!(said.iter().all(|said| said[68..73] == [0, 0, 0, 1, 15] && said[77..79] == [20, 0]));
    assert!(said.iter().all(|said| said.windows(6).any(|window| window == b"ut_pex")));
}

#[test]
fn who_is_answered_for_another_torrent_is_told_apart() {
    let (addr, serving) = seeder(6, true);
    let leave = Notify::new();
    let report = idle::run(&config(addr), &leave, |_| leave.notify_one()).expect("report");
    assert_eq!((report.open, report.ended.values().sum::<u32>()), (3, 3));
    serving.join().expect("seeder");
}

#[test]
fn nobody_and_nothing_are_refused() {
    let good = config(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    for bad in [IdleConfig { connections: 0, ..good.clone() }, IdleConfig { targets: Vec::new(), ..good }] {
        assert!(matches!(idle::run(&bad, &Notify::new(), |_| ()), Err(IdleError::Config(_))));
    }
}
