//! What operators set: who is served, whom to believe, what outlives a restart, how many threads work.

mod harness;

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::{HttpClient, PATIENCE, UdpClient, V4, addresses, announce, started, target, tracker_with};
use ringseed_proto::tracker::udp::{Request, Response};
use ringseed_proto::tracker::{AnnounceEvent, AnnounceRequest};
use ringseed_tracker::{AccessConfig, Tracker};

fn hex(torrent: u8) -> String {
    format!("{torrent:02x}").repeat(20)
}

fn udp(tracker: &Tracker) -> UdpClient {
    UdpClient::connect(tracker.udp_addr().unwrap())
}

fn http(tracker: &Tracker) -> HttpClient {
    HttpClient::connect(tracker.http_addr().unwrap())
}

/// An announce over UDP to a path: the answer, or what the tracker says instead.
fn udp_announce(client: &UdpClient, request: &AnnounceRequest, path: &str) -> Result<usize, String> {
    let request = Request::Announce {
        connection_id: client.connection_id(),
        transaction_id: 5,
        announce: request.clone(),
        url_data: path.as_bytes().to_vec(),
    };
    match client.exchange(&request) {
        Response::Announce { response, .. } => Ok(response.peers.len()),
        Response::Error { message, .. } => Err(message),
        other => panic!("{other:?}"),
    }
}

/// Waits for something that another thread does.
fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never happened");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_allow_list_counts_on_both_transports_and_follows_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("allowed");
    fs::write(&list, hex(1)).unwrap();
    let tracker = tracker_with(V4, |config| {
        config.access = AccessConfig { allow: Some(list.clone()), ..AccessConfig::default() };
    });
    // Over HTTP and over UDP. They may differ only while the list changes.
    let refused = |torrent| {
        let text = http(&tracker).get(&target(&started(torrent, 1))).text();
        let over_udp = udp_announce(&udp(&tracker), &started(torrent, 2), "");
        [text.contains("does not serve this torrent"), over_udp.is_err()]
    };
    assert_eq!([refused(1), refused(2)], [[false; 2], [true; 2]]);
    assert_eq!(tracker.stats().peers, 2);
    // Seen without being told, and at once when told.
    fs::write(&list, format!("{}\n{}\n", hex(1), hex(2))).unwrap();
    eventually(|| refused(2) == [false; 2]);
    fs::write(&list, "").unwrap();
    tracker.reload_lists();
    eventually(|| refused(1) == [true; 2]);
    fs::write(&list, "nonsense").unwrap();
    tracker.reload_lists();
    assert_eq!(refused(1), [true; 2], "the last good list stays");
}

#[test]
fn announce_keys_are_needed_in_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    fs::write(&keys, "s3cret\nother\n").unwrap();
    let tracker = tracker_with(V4, |config| {
        config.access = AccessConfig { keys: Some(keys), ..AccessConfig::default() };
    });
    let query = target(&started(1, 1));
    let get = |path: &str| http(&tracker).get(&query.replace("/announce", path)).text();
    assert!(get("/s3cret/announce").contains("8:interval"));
    for path in ["/announce", "/wrong/announce", "//announce"] {
        assert!(get(path).contains("valid announce key"), "{path}: {}", get(path));
    }
    assert_eq!(http(&tracker).get("/a/s3cret/announce").status, 404);
    let scrape = format!("/scrape?info_hash={}", "%01".repeat(20));
    assert!(http(&tracker).get(&scrape).text().contains("valid announce key"));
    assert!(http(&tracker).get(&format!("/other{scrape}")).text().contains("8:complete"));
    assert_eq!(http(&tracker).get("/healthz").status, 200, "pages have no key");

    let client = udp(&tracker);
    assert_eq!(udp_announce(&client, &started(1, 2), "/s3cret/announce?x"), Ok(1));
    for path in ["", "/announce", "/wrong/announce"] {
        assert!(udp_announce(&client, &started(1, 3), path).unwrap_err().contains("key"), "{path}");
    }
    let scrape =
        Request::Scrape { connection_id: client.connection_id(), transaction_id: 9, torrents: &[[1; 20]] };
    assert!(matches!(client.exchange(&scrape), Response::Error { .. }));
    assert_eq!(tracker.stats().peers, 2);
}

#[test]
fn only_a_configured_proxy_names_other_addresses() {
    for (proxies, named) in [(vec![], false), (vec!["127.0.0.0/8".parse().unwrap()], true)] {
        let tracker = tracker_with(V4, |config| config.proxies = proxies);
        let mut client = http(&tracker);
        let query = target(&started(1, 1000));
        let head =
            format!("GET {query} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6, 198.51.100.7\r\n\r\n");
        client.send(head.as_bytes()).unwrap();
        assert_eq!(client.reply().unwrap().status, 200);
        // A client's own claim, which a proxy passes on.
        client.get(&format!("{}&ip=198.51.100.8", target(&started(1, 1001))));
        let given = addresses(&client.announce(&started(1, 1002)));
        let expected: Vec<SocketAddr> = match named {
            false => ["127.0.0.1:1000", "127.0.0.1:1001"].map(|text| text.parse().unwrap()).to_vec(),
            true => ["127.0.0.1:1001", "198.51.100.7:1000"].map(|text| text.parse().unwrap()).to_vec(),
        };
        assert_eq!(given, expected);
    }
}

#[test]
fn too_many_announces_from_one_address_are_refused() {
    // Two minutes may begin meanwhile, no more.
    let tracker = tracker_with(V4, |config| {
        config.announces_per_minute_max = 10;
        config.service.exempt.clear();
    });
    let client = udp(&tracker);
    let answered = (1..=50).filter(|port| udp_announce(&client, &started(1, *port), "").is_ok()).count();
    assert!((10..=20).contains(&answered), "{answered}");
    let text = http(&tracker).get(&target(&started(1, 99))).text();
    assert!(text.contains("too many requests") && text.contains("8:retry in"), "{text}");
    assert!(
        udp_announce(
            &UdpClient::connect_from("127.0.0.2".parse().unwrap(), tracker.udp_addr().unwrap()),
            &started(1, 1),
            ""
        )
        .is_ok()
    );
}

/// Scrapes and pages cost as much as announces: whoever asks for them all the time is told to wait.
#[test]
fn too_many_scrapes_and_pages_from_one_address_are_refused() {
    let tracker = tracker_with(V4, |config| {
        config.announces_per_minute_max = 10;
        config.service.exempt.clear();
    });
    let mut client = http(&tracker);
    let scrape = format!("/scrape?info_hash={}", "%01".repeat(20));
    let answered = (0..50).filter(|_| client.get(&scrape).text().contains("5:files")).count();
    assert!((10..=20).contains(&answered), "{answered}");
    for page in ["/stats", "/metrics"] {
        eventually(|| (0..11).any(|_| client.get(page).status == 429));
    }
    assert_eq!(client.get("/healthz").status, 200);
    let client = udp(&tracker);
    let connection_id = client.connection_id();
    let request = Request::Scrape { connection_id, transaction_id: 9, torrents: &[[1; 20]] };
    eventually(|| (0..11).any(|_| matches!(client.exchange(&request), Response::Error { .. })));
    // Announces have a quota of their own.
    assert!(udp_announce(&client, &started(1, 1), "").is_ok());
}

/// The numbers are of the address family that the client is told peers of.
#[test]
fn a_scrape_by_way_of_a_proxy_is_the_clients() {
    let tracker = tracker_with(V4, |config| config.proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let mut client = http(&tracker);
    let mut get = |target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 2001:db8::7\r\n\r\n");
        client.send(head.as_bytes()).unwrap();
        client.reply().unwrap().text()
    };
    get(&target(&started(1, 1000)));
    let text = get(&format!("/scrape?info_hash={}", "%01".repeat(20)));
    assert!(text.contains("10:incompletei1e"), "{text}");
}

/// A pipe that nobody writes to held up the start, and a device was replaced at the stop.
#[test]
fn a_state_that_is_no_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("swarms");
    rustix::fs::mknodat(rustix::fs::CWD, &state, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let tracker = tracker_with(V4, |config| config.state = Some(state.clone()));
    http(&tracker).announce(&started(1, 1000));
    tracker.shutdown();
    assert!(!fs::metadata(&state).unwrap().is_file());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// What could be written of it filled the disk that was full.
#[test]
fn a_state_that_cannot_take_its_place_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("swarms");
    let tracker = tracker_with(V4, |config| config.state = Some(state.clone()));
    http(&tracker).announce(&started(1, 1000));
    // All writes to this device fail as on a full disk.
    std::os::unix::fs::symlink("/dev/full", folder.path().join("swarms.new")).unwrap();
    tracker.shutdown();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn swarms_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("swarms");
    let start = || tracker_with(V4, |config| config.state = Some(state.clone()));
    let tracker = start();
    for torrent in 1..=200 {
        http(&tracker).announce(&started(torrent, 1000));
    }
    http(&tracker).announce(&announce(1, 1000, 0, AnnounceEvent::Completed));
    tracker.shutdown();
    let tracker = start();
    assert_eq!((tracker.stats().peers, tracker.stats().torrents, tracker.stats().seeders), (200, 200, 1));
    assert_eq!(addresses(&udp(&tracker).announce(&started(1, 1001))), ["127.0.0.1:1000".parse().unwrap()]);
    let scrape = format!("/scrape?info_hash={}", "%01".repeat(20));
    assert!(http(&tracker).get(&scrape).text().contains("10:downloadedi1e"));
    drop(tracker);
    assert_eq!(start().stats().peers, 201, "a dropped tracker saves as well");

    let whole = fs::read(&state).unwrap();
    for damaged in [&b"something else"[..], &whole[..whole.len() - 1], b""] {
        fs::write(&state, damaged).unwrap();
        let tracker = start();
        // Of a file that was cut the whole records are taken: all but the last torrent.
        let kept = if damaged.starts_with(&whole[..16]) { 150..202 } else { 0..1 };
        assert!(kept.contains(&tracker.stats().peers), "{}", tracker.stats().peers);
        let aside = folder.path().join("swarms.damaged");
        assert_eq!(fs::read(&aside).unwrap(), damaged, "a file that was not understood is kept");
        assert!(!state.exists());
        http(&tracker).announce(&started(250, 1000));
        drop(tracker);
        assert!(fs::read(&state).unwrap().starts_with(&whole[..16]), "a new one takes its place");
    }
    // What cannot be read at all is no reason to stay away either.
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    assert_eq!(start().stats().peers, 0);
}

#[test]
fn many_threads_serve_one_swarm() {
    let tracker = tracker_with(V4, |config| config.workers = 4);
    let ports: Vec<u16> = (1..=64).collect();
    std::thread::scope(|scope| {
        for ports in ports.chunks(8) {
            let tracker = &tracker;
            scope.spawn(move || {
                for &port in ports {
                    // A new socket each time: the kernel chooses another thread.
                    match port % 2 {
                        0 => udp(tracker).announce(&started(1, port)),
                        _ => http(tracker).announce(&started(1, port)),
                    };
                }
            });
        }
    });
    // A batch of replies is counted once it is on its way.
    let deadline = Instant::now() + PATIENCE;
    while tracker.stats().announces < 64 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!((tracker.stats().peers, tracker.stats().torrents, tracker.stats().announces), (64, 1, 64));
    let request = AnnounceRequest { numwant: Some(200), ..started(1, 1) };
    assert_eq!(udp(&tracker).announce(&request).peers.len(), 63);
}
