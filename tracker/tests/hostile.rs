//! Hostile clients: bounded memory, no panic, and the others are served.

mod harness;

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

use harness::{HttpClient, UdpClient, V4, V6, addresses, announce, started, target, tracker, tracker_with};
use ringseed_proto::tracker::http::parse_announce_response;
use ringseed_proto::tracker::udp::{Request, Response};
use ringseed_proto::tracker::{AnnounceEvent, AnnounceRequest, AnnounceResponse};

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_request_line_of_10_mb_is_refused_early() {
    let tracker = tracker(V4);
    let address = tracker.http_addr().unwrap();
    let chunk = vec![b'a'; 1 << 20];
    for start in ["GET /announce?info_hash=", "GET / HTTP/1.1\r\nX: ", "GET / HTTP/1.1\r\nX: y\r\n\r\n", ""] {
        let before = resident();
        let mut client = HttpClient::connect(address);
        client.send(start.as_bytes()).unwrap();
        let mut taken = 0;
        while taken < 10 {
            // Refused by a reset as soon as the bound is passed; the kernel's buffers take some.
            match client.send(&chunk) {
                Ok(()) => taken += 1,
                Err(error) => {
                    assert!(
                        matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                        "{error}"
                    );
                    break;
                }
            }
        }
        assert!(taken < 10, "{start:?} and 10 MB were taken");
        client.wait_for_end();
        assert!(resident() < before + (8 << 20), "{} bytes more", resident() - before);
        assert_eq!(HttpClient::connect(address).get("/healthz").status, 200);
    }
}

#[test]
fn too_many_headers_are_refused() {
    let tracker = tracker(V4);
    let mut client = HttpClient::connect(tracker.http_addr().unwrap());
    let headers = "a: b\r\n".repeat(65);
    client.send(format!("GET /healthz HTTP/1.1\r\n{headers}\r\n").as_bytes()).unwrap();
    assert_eq!(client.reply().map(|reply| reply.status), Some(431));
    client.wait_for_end();
}

#[test]
fn a_slow_client_is_cut_off_while_others_are_served() {
    let tracker = tracker_with(V4, |config| config.http_head_timeout = Duration::from_millis(300));
    let address = tracker.http_addr().unwrap();
    let mut slow = HttpClient::connect(address);
    slow.send(b"GET /announce?info").unwrap();
    let silent = HttpClient::connect(address);
    let mut idle = HttpClient::connect(address);
    idle.get("/healthz");
    for port in 1..=50 {
        // Byte by byte, never whole; at some point the tracker has closed.
        let _ = slow.send(b"_");
        HttpClient::connect(address).announce(&started(1, port));
    }
    slow.wait_for_end();
    silent.wait_for_end();
    idle.wait_for_end();
    assert_eq!(HttpClient::connect(address).get("/healthz").status, 200);
}

#[test]
fn connections_left_open_give_way_to_new_ones() {
    let tracker = tracker_with(V4, |config| config.http_connections_max = 20);
    let address = tracker.http_addr().unwrap();
    let mut working = HttpClient::connect(address);
    let mut left: Vec<HttpClient> = Vec::new();
    for port in 1..=200 {
        left.push(HttpClient::connect(address));
        HttpClient::connect(address).announce(&started(1, port));
        working.announce(&started(2, port));
    }
    assert!(tracker.stats().http_connections <= 25, "{:?}", tracker.stats());
    assert_eq!(tracker.stats().peers, 400);
    for client in left.drain(..170) {
        client.wait_for_end();
    }
}

/// Somebody with one address who opens connections all the time has ended those of everybody else.
#[test]
fn one_address_does_not_end_the_connections_of_others() {
    let any = "0.0.0.0:0".parse().unwrap();
    let tracker = tracker_with(V4, |config| {
        (config.http, config.udp) = (Some(any), None);
        (config.http_connections_max, config.http_connections_per_client_max, config.workers) = (20, 8, 1);
        config.service.exempt.clear();
    });
    let address = ([127, 0, 0, 1], tracker.http_addr().unwrap().port()).into();
    let mut other = HttpClient::connect_from([127, 0, 0, 2].into(), address);
    other.announce(&started(1, 1));
    let silent: Vec<HttpClient> = (0..100).map(|_| HttpClient::connect(address)).collect();
    // The last of them is served as well, at the cost of the first.
    let mut last = HttpClient::connect(address);
    last.announce(&started(1, 2));
    assert_eq!(other.announce(&started(1, 1)).peers.len(), 1);
    for client in silent.into_iter().take(90) {
        client.wait_for_end();
    }
    other.announce(&started(1, 1));
}

#[test]
fn a_client_that_reads_nothing_is_bounded() {
    let tracker = tracker(V4);
    let address = tracker.http_addr().unwrap();
    let before = resident();
    let greedy = std::net::TcpStream::connect(address).unwrap();
    greedy.set_nonblocking(true).unwrap();
    let requests = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    // Until both directions are full.
    let mut full = 0;
    while full < 20 {
        match std::io::Write::write(&mut &greedy, &requests) {
            Ok(_) => full = 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                full += 1;
                // A round trip gives the tracker its turn.
                assert_eq!(HttpClient::connect(address).get("/healthz").status, 200);
            }
            Err(_) => break,
        }
    }
    assert!(resident() < before + (8 << 20), "{} bytes more", resident() - before);
    drop(greedy);
    tracker.shutdown();
}

#[test]
fn nonsense_in_queries_is_answered_by_a_failure() {
    let tracker = tracker(V4);
    let address = tracker.http_addr().unwrap();
    let good = target(&started(1, 1001));
    let hash = "%01".repeat(20);
    let bad = [
        "/announce".to_owned(),
        "/announce?".to_owned(),
        "/announce?%".to_owned(),
        "/announce?&&&&=&=&".to_owned(),
        good.replace(&hash, "%0"),
        good.replace(&hash, "%zz"),
        good.replace(&hash, &"%01".repeat(19)),
        good.replace(&hash, &"%01".repeat(2000)),
        good.replace(&hash, &"%2501".repeat(20)),
        good.replace("port=1001", "port=0"),
        good.replace("port=1001", "port=65536"),
        good.replace("port=1001", "port=-1"),
        good.replace("left=1", "left=99999999999999999999999999"),
        good.replace("event=started", "event=%00"),
        format!("{good}&{}", &good["/announce?".len()..]),
        format!("{good}&numwant=x"),
        "/scrape".to_owned(),
        "/scrape?info_hash=".to_owned(),
        "/scrape?info_hash=%".to_owned(),
    ];
    for target in &bad {
        let reply = HttpClient::connect(address).get(target);
        assert_eq!(reply.status, 200, "{target}");
        assert!(reply.text().starts_with("d14:failure reason"), "{target}: {}", reply.text());
    }
    assert_eq!((tracker.stats().peers, tracker.stats().rejected), (0, bad.len() as u64));
    // Bytes that no URL has end the request, not the tracker.
    for target in ["/announce?info_hash=\0\0", "/announce?\x7f\u{80}", "//", "*", "http://"] {
        let mut client = HttpClient::connect(address);
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        client.wait_for_end();
    }
    assert_eq!(HttpClient::connect(address).announce(&started(1, 1001)).incomplete, Some(1));
}

#[test]
fn invented_and_future_and_foreign_connection_ids_are_refused() {
    for ip in [V4, V6] {
        let tracker = tracker(ip);
        let client = UdpClient::connect(tracker.udp_addr().unwrap());
        let good = client.connection_id();
        let next_second = good.wrapping_add(60 << 32);
        for connection_id in [0, u64::MAX, 0x0417_2710_1980, good ^ 1, good ^ 1 << 63, next_second] {
            let announce = started(1, 1001);
            let request =
                Request::Announce { connection_id, transaction_id: 9, announce, url_data: Vec::new() };
            assert!(matches!(client.exchange(&request), Response::Error { transaction_id: 9, .. }));
            // For so short a request even the refusal would be longer: nothing comes.
            client.send(&Request::Scrape { connection_id, transaction_id: 10, torrents: &[] });
            let torrents = [[1; 20]];
            let scrape = Request::Scrape { connection_id, transaction_id: 11, torrents: &torrents };
            assert!(matches!(client.exchange(&scrape), Response::Error { transaction_id: 11, .. }));
        }
        assert_eq!(tracker.stats().peers, 0);
        client.announce(&started(1, 1001));
        assert_eq!(tracker.stats().peers, 1);
    }
}

#[test]
fn a_connection_id_is_good_for_its_address_only() {
    // All of 127.0.0.0/8 is this machine.
    let any = "0.0.0.0:0".parse().unwrap();
    let tracker = tracker_with(V4, |config| (config.http, config.udp) = (None, Some(any)));
    let port = tracker.udp_addr().unwrap().port();
    let address = ([127, 0, 0, 1], port).into();
    let client = UdpClient::connect(address);
    let other = UdpClient::connect_from([127, 0, 0, 2].into(), address);
    let connection_id = client.connection_id();
    let request = Request::Announce {
        connection_id,
        transaction_id: 9,
        announce: started(1, 1001),
        url_data: Vec::new(),
    };
    assert!(matches!(other.exchange(&request), Response::Error { .. }));
    assert!(matches!(client.exchange(&request), Response::Announce { .. }));
    // It may be used again while it is valid, from any port of the address.
    let again = UdpClient::connect(address);
    assert!(matches!(again.exchange(&request), Response::Announce { .. }));
}

/// Nothing is ever answered to a stranger at greater length than it wrote.
#[test]
fn the_tracker_is_no_amplifier() {
    let tracker = tracker(V4);
    let mut http = HttpClient::connect(tracker.http_addr().unwrap());
    for port in 1..=200 {
        http.announce(&started(1, port));
    }
    let client = UdpClient::connect(tracker.udp_addr().unwrap());
    let torrents = [[1; 20]; 74];
    let strangers = [
        Request::Connect { transaction_id: 1 },
        Request::Announce {
            connection_id: 1,
            transaction_id: 1,
            announce: started(1, 1),
            url_data: Vec::new(),
        },
        Request::Scrape { connection_id: 1, transaction_id: 1, torrents: &torrents[..1] },
        Request::Scrape { connection_id: 1, transaction_id: 1, torrents: &torrents },
    ];
    for request in &strangers {
        let mut datagram = Vec::new();
        request.encode(&mut datagram);
        client.socket.send(&datagram).unwrap();
        assert!(client.receive().len() <= datagram.len(), "{request:?}");
    }
}

#[test]
fn cut_and_oversized_and_random_datagrams_are_dropped() {
    let tracker = tracker(V4);
    let client = UdpClient::connect(tracker.udp_addr().unwrap());
    let connection_id = client.connection_id();
    let announce = started(1, 1001);
    let mut whole = Vec::new();
    Request::Announce { connection_id, transaction_id: 3, announce, url_data: Vec::new() }.encode(&mut whole);
    for cut in 0..whole.len() {
        client.socket.send(&whole[..cut]).unwrap();
    }
    let mut long = whole.clone();
    // No-operation options, too many of them.
    long.resize(60_000, 1);
    client.socket.send(&long).unwrap();
    let other = UdpClient::connect(tracker.udp_addr().unwrap());
    let mut noise = 1u64;
    for n in 0..2000 {
        let mut datagram = whole.clone();
        for _ in 0..4 {
            noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (noise >> 33) as usize % datagram.len();
            datagram[at] = (noise >> 20) as u8;
        }
        client.socket.send(&datagram).unwrap();
        if n % 20 == 0 {
            // Another client is served meanwhile. Waiting for it also keeps the socket's queue from overflowing.
            other.connection_id();
        }
    }
    other.announce(&started(200, 1001));
    assert_eq!(addresses(&other.announce(&started(200, 1002))).len(), 1);
    assert!(tracker.stats().rejected > 90);
}

#[test]
fn stopping_under_load_does_not_hang() {
    let tracker = tracker(V4);
    let udp = tracker.udp_addr().unwrap();
    UdpClient::connect(udp).announce(&started(1, 1));
    let (flooding, flooded) = std::sync::mpsc::sync_channel(0);
    let stopped = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut connect = Vec::new();
            Request::Connect { transaction_id: 1 }.encode(&mut connect);
            for n in 0u64.. {
                // Refused once the tracker is gone; that is not the point here.
                let _ = socket.send_to(&connect, udp);
                if n == 1000 {
                    flooding.send(()).unwrap();
                }
                if n > 1000 && stopped.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        flooded.recv().unwrap();
        tracker.shutdown();
        stopped.store(true, Ordering::Relaxed);
    });
}

/// An announce over HTTP by way of a proxy, which names the client.
fn announce_as(client: &mut HttpClient, from: &str, request: &AnnounceRequest) -> AnnounceResponse {
    let target = target(request);
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {from}\r\n\r\n");
    client.send(head.as_bytes()).unwrap();
    let reply = client.reply().unwrap();
    parse_announce_response(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
}

/// Somebody with one address announces each port to one swarm: it stays a swarm of real peers.
#[test]
fn one_address_does_not_fill_a_swarm() {
    let tracker = tracker_with(V4, |config| config.proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let mut client = HttpClient::connect(tracker.http_addr().unwrap());
    let not_remembered = (1..=3000).filter(|port| {
        let answer = announce_as(&mut client, "198.51.100.1", &started(1, *port));
        answer.warning.is_some_and(|warning| warning.contains("no place"))
    });
    assert_eq!(not_remembered.count(), 3000 - 16);
    announce_as(&mut client, "203.0.113.5", &announce(1, 6881, 0, AnnounceEvent::Started));
    for n in 1..=20 {
        let given = addresses(&announce_as(&mut client, &format!("192.0.2.{n}"), &started(1, 6881)));
        assert!(given.contains(&"203.0.113.5:6881".parse().unwrap()), "{given:?}");
    }
    // People behind one address are served beside each other.
    for port in 1..=8 {
        let answer = announce_as(&mut client, "192.0.2.200", &started(1, port));
        assert_eq!(answer.warning, None);
    }
}

/// Nor does it fill the tracker with torrents that nobody else has.
#[test]
fn one_address_does_not_fill_the_tracker() {
    let tracker = tracker_with(V4, |config| {
        config.proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.new_torrents_per_minute_max = 50;
        config.service.torrents_max = 400;
    });
    let mut client = HttpClient::connect(tracker.http_addr().unwrap());
    for n in 0..=255 {
        announce_as(&mut client, "198.51.100.1", &started(n, 1));
    }
    let held = tracker.stats().torrents;
    // Another minute may have begun meanwhile.
    assert!((50..=100).contains(&held), "{held}");
    // Of the /64 that one customer has each address is the same client.
    for n in 0..=255 {
        announce_as(&mut client, &format!("2001:db8::{n:x}"), &started(n, 1));
    }
    let both = tracker.stats().torrents;
    assert!((100..=200).contains(&both), "{both}");
    // Others bring in theirs, and join what is there.
    assert_eq!(announce_as(&mut client, "203.0.113.5", &started(0, 1)).warning, None);
    let fresh =
        (0..=255).filter(|n| announce_as(&mut client, "203.0.113.6", &started(*n, 1)).warning.is_none());
    assert!(fresh.count() >= 50);
}
