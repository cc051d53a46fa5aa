//! The tracker on loopback, spoken to through raw sockets, as a client that behaves.

mod harness;

use std::net::SocketAddr;
use std::time::Duration;

use harness::{HttpClient, UdpClient, V4, V6, addresses, announce, started, target, tracker, tracker_with};
use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::tracker::AnnounceEvent;
use ringseed_proto::tracker::http::{parse_announce_response, parse_scrape_response, scrape_url};
use ringseed_proto::tracker::udp::{Request, Response};
use ringseed_tracker::{Endpoint, Tracker, TrackerConfig, TrackerError};

#[test]
fn http_peers_find_each_other() {
    for ip in [V4, V6] {
        let tracker = tracker(ip);
        let mut client = HttpClient::connect(tracker.http_addr().unwrap());
        let first = client.announce(&started(1, 1001));
        assert_eq!((addresses(&first), first.incomplete, first.complete), (vec![], Some(1), Some(0)));
        assert_eq!(first.interval, 1800);
        assert_eq!(first.external_ip, Some(ip));
        // On the same connection: it is kept.
        let second = client.announce(&announce(1, 1002, 0, AnnounceEvent::Started));
        assert_eq!(addresses(&second), [SocketAddr::new(ip, 1001)]);
        assert_eq!((second.incomplete, second.complete), (Some(1), Some(1)));
        let again = client.announce(&started(1, 1001));
        assert_eq!(addresses(&again), [SocketAddr::new(ip, 1002)]);
        assert_eq!(tracker.stats().announces, 3);
        assert_eq!((tracker.stats().peers, tracker.stats().seeders, tracker.stats().torrents), (2, 1, 1));
        tracker.shutdown();
    }
}

#[test]
fn udp_peers_find_each_other() {
    for ip in [V4, V6] {
        let tracker = tracker(ip);
        let client = UdpClient::connect(tracker.udp_addr().unwrap());
        assert_eq!(addresses(&client.announce(&started(1, 1001))), []);
        let second = client.announce(&announce(1, 1002, 0, AnnounceEvent::Started));
        assert_eq!(addresses(&second), [SocketAddr::new(ip, 1001)]);
        assert_eq!((second.interval, second.incomplete, second.complete), (1800, Some(1), Some(1)));
        let stop = announce(1, 1002, 0, AnnounceEvent::Stopped);
        assert_eq!(client.announce(&stop).complete, Some(0));
        tracker.shutdown();
    }
}

#[test]
fn both_transports_serve_one_swarm_and_a_dual_stack_socket_serves_both_families() {
    let any = "[::]:0".parse().unwrap();
    let config = TrackerConfig { http: Some(any), udp: Some(any), ..TrackerConfig::default() };
    let tracker = Tracker::start(config).unwrap();
    for ip in [V4, V6] {
        let http = SocketAddr::new(ip, tracker.http_addr().unwrap().port());
        let udp = SocketAddr::new(ip, tracker.udp_addr().unwrap().port());
        assert_eq!(addresses(&HttpClient::connect(http).announce(&started(1, 1001))), []);
        let found = UdpClient::connect(udp).announce(&started(1, 1002));
        assert_eq!(addresses(&found), [SocketAddr::new(ip, 1001)]);
    }
    assert_eq!(tracker.stats().peers, 4);
}

#[test]
fn scrapes_count() {
    let tracker = tracker(V4);
    let udp = UdpClient::connect(tracker.udp_addr().unwrap());
    let mut http = HttpClient::connect(tracker.http_addr().unwrap());
    udp.announce(&started(2, 1001));
    udp.announce(&announce(2, 1001, 0, AnnounceEvent::Completed));
    http.announce(&started(2, 1002));
    http.announce(&started(1, 1002));

    let hashes = [SwarmHash([2; 20]), SwarmHash([9; 20]), SwarmHash([1; 20])];
    let url = scrape_url("/announce", &hashes).unwrap();
    let scrape = parse_scrape_response(&http.get(&url).body).unwrap();
    let expected = [(1, 1, 1), (0, 0, 0), (0, 0, 1)];
    for (hash, expected) in hashes.iter().zip(expected) {
        let (_, entry) = scrape.torrents.iter().find(|(of, _)| *of == *hash).unwrap();
        assert_eq!((entry.complete, entry.downloaded, entry.incomplete), expected);
    }
    let torrents = hashes.map(|hash| hash.0);
    let connection_id = udp.connection_id();
    match udp.exchange(&Request::Scrape { connection_id, transaction_id: 5, torrents: &torrents }) {
        Response::Scrape { transaction_id: 5, entries } => {
            let found: Vec<_> = entries.iter().map(|e| (e.complete, e.downloaded, e.incomplete)).collect();
            assert_eq!(found, expected);
        }
        other => panic!("{other:?}"),
    }
    // A reply is counted once it is on its way, and before the next request is looked at.
    udp.connection_id();
    assert_eq!(tracker.stats().scrapes, 2);
}

#[test]
fn the_address_in_the_request_is_ignored() {
    let tracker = tracker(V4);
    let mut client = HttpClient::connect(tracker.http_addr().unwrap());
    client.get(&format!("{}&ip=192.0.2.9&ipv4=192.0.2.9&ipv6=2001:db8::9", target(&started(1, 1001))));
    let found = client.announce(&started(1, 1002));
    assert_eq!(addresses(&found), [SocketAddr::new(V4, 1001)]);
}

#[test]
fn dictionaries_come_to_who_refuses_compact_peers() {
    let tracker = tracker(V4);
    let mut client = HttpClient::connect(tracker.http_addr().unwrap());
    client.announce(&started(1, 1001));
    let reply = client.get(&target(&started(1, 1002)).replace("compact=1", "compact=0"));
    assert!(reply.text().contains("5:peersld2:ip9:127.0.0.14:porti1001eee"), "{}", reply.text());
    assert_eq!(parse_announce_response(&reply.body).unwrap().peers.len(), 1);
}

#[test]
fn a_newcomer_to_a_full_tracker_is_warned() {
    let tracker = tracker_with(V4, |config| config.service.peers_max = 1);
    let mut client = HttpClient::connect(tracker.http_addr().unwrap());
    assert_eq!(client.announce(&started(1, 1001)).warning, None);
    let second = client.announce(&started(1, 1002));
    assert!(second.warning.is_some());
    assert_eq!(addresses(&second), [SocketAddr::new(V4, 1001)]);
    assert_eq!(tracker.stats().peers, 1);
}

#[test]
fn udp_replies_fit_a_packet() {
    for ip in [V4, V6] {
        let tracker = tracker(ip);
        let mut http = HttpClient::connect(tracker.http_addr().unwrap());
        for port in 1..=300 {
            http.announce(&started(1, port));
        }
        let mut request = started(1, 999);
        request.numwant = Some(10_000);
        assert_eq!(http.announce(&request).peers.len(), 200);
        let peers = UdpClient::connect(tracker.udp_addr().unwrap()).announce(&request).peers.len();
        assert_eq!(peers, if ip == V4 { 200 } else { (1400 - 20) / 18 });
    }
}

#[test]
fn pages_are_served() {
    let tracker = tracker(V4);
    let mut client = HttpClient::connect(tracker.http_addr().unwrap());
    client.announce(&started(1, 1001));
    assert_eq!(client.get("/healthz").text(), "ok\n");
    assert!(client.get("/stats").text().contains("peers"));
    let metrics = client.get("/metrics");
    assert!(metrics.head.contains("version=0.0.4"));
    let line = "ringseed_tracker_requests_total{kind=\"announce\",result=\"answered\",transport=\"http\"} 1";
    assert!(metrics.text().lines().any(|found| found == line), "{}", metrics.text());
    assert!(metrics.text().contains("ringseed_tracker_http_connections 1"));
    assert_eq!(client.get("/").status, 404);
    client.send(b"POST /announce HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(client.reply().unwrap().status, 405);
    client.send(b"HEAD /stats HTTP/1.0\r\n\r\n").unwrap();
    client.wait_for_end();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let tracker = tracker(V4);
    let mut client = HttpClient::connect(tracker.http_addr().unwrap());
    let all: String = (1..=100)
        .map(|port| format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", target(&started(1, port))))
        .collect();
    client.send(all.as_bytes()).unwrap();
    for n in 1..=100 {
        let response = parse_announce_response(&client.reply().unwrap().body).unwrap();
        assert_eq!(response.incomplete, Some(n));
    }
}

#[test]
fn a_taken_port_is_named() {
    let running = tracker(V4);
    for endpoint in [Endpoint::Http(running.http_addr().unwrap()), Endpoint::Udp(running.udp_addr().unwrap())]
    {
        let error =
            Tracker::start(TrackerConfig { more: vec![endpoint], ..TrackerConfig::default() }).unwrap_err();
        let (Endpoint::Http(address) | Endpoint::Udp(address)) = endpoint;
        assert!(matches!(error, TrackerError::PortTaken(_)), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
    assert!(matches!(Tracker::start(TrackerConfig::default()), Err(TrackerError::NothingToServe)));
    let config = TrackerConfig { http: running.http_addr(), ..TrackerConfig::default() };
    let error = Tracker::start(config.with_interval(Duration::ZERO)).unwrap_err();
    assert!(matches!(error, TrackerError::Interval));
}

/// The port is free again afterwards, which proves that no operation or connection holds a descriptor.
#[test]
fn a_stop_ends_idle_and_half_open_connections_and_frees_the_ports() {
    let tracker = tracker(V4);
    let (http, udp) = (tracker.http_addr().unwrap(), tracker.udp_addr().unwrap());
    let mut idle = HttpClient::connect(http);
    idle.announce(&started(1, 1001));
    let mut half = HttpClient::connect(http);
    half.send(b"GET /announce?info_hash=").unwrap();
    // Answered, so the two above are accepted as well.
    HttpClient::connect(http).get("/healthz");
    tracker.shutdown();
    idle.wait_for_end();
    half.wait_for_end();
    let config = TrackerConfig { http: Some(http), udp: Some(udp), ..TrackerConfig::default() };
    Tracker::start(config).unwrap();
}
