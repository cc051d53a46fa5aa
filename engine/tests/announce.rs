//! Announcers of two clients find each other through Ringseed's own tracker, over HTTP and UDP, IPv4 and IPv6.

use ringseed::announce::{AnnounceConfig, AnnounceUpdate, Announcer, TrackedTorrent, TransferTotals, Trust};
use ringseed::route::Route;
use ringseed_proto::units::{InfoHash, PeerId};
use ringseed_tracker::{Endpoint, Tracker, TrackerConfig};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;

const TORRENT: InfoHash = InfoHash([9; 20]);

fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(60), test).await.unwrap() };
    tokio::task::LocalSet::new().block_on(&runtime, limited);
}

fn client(number: u8) -> (Announcer, mpsc::Receiver<AnnounceUpdate>) {
    let (events, updates) = mpsc::channel(16);
    let config = AnnounceConfig {
        peer_id: PeerId([number; 20]),
        key: number.into(),
        listen_port: 7000 + u16::from(number),
        user_agent: "Ringseed".into(),
        route: Route::default(),
        sockets_max: 256,
        trust: Trust::default(),
    };
    (Announcer::new(config, events), updates)
}

fn start(announcer: &Announcer, tiers: Vec<Vec<String>>, left: u64) {
    let totals = TransferTotals { left, ..TransferTotals::default() };
    let torrent = TrackedTorrent { info_hash: TORRENT, tiers, private: false };
    announcer.start(torrent, Box::new(move || totals));
}

/// Two clients announce to one tracker; the second hears of the first, and both leave.
async fn meet(tracker: &Tracker, tiers: Vec<Vec<String>>, first_at: SocketAddr) {
    let (first, mut first_hears) = client(1);
    start(&first, tiers.clone(), 0);
    // Its answer tells that it is known; a seed that is alone hears of itself or of nobody.
    while first.status(TORRENT).iter().all(|state| !state.ok) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (second, mut second_hears) = client(2);
    start(&second, tiers, 5);
    let AnnounceUpdate::Peers { info_hash, peers } = second_hears.recv().await.unwrap();
    assert_eq!(info_hash, TORRENT);
    assert!(peers.contains(&first_at), "{peers:?}");
    while second.status(TORRENT).iter().all(|state| !state.ok) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(tracker.stats().peers >= 2 && tracker.stats().seeders >= 1, "{:?}", tracker.stats());
    for announcer in [&first, &second] {
        announcer.shutdown(Duration::from_secs(10)).await;
    }
    assert_eq!(tracker.stats().peers, 0, "stopped was not told");
    first_hears.close();
}

#[test]
fn clients_meet_over_http() {
    run(async {
        let config = TrackerConfig { http: Some("127.0.0.1:0".parse().unwrap()), ..TrackerConfig::default() };
        let tracker = Tracker::start(config).unwrap();
        let url = format!("http://{}/announce", tracker.http_addr().unwrap());
        meet(&tracker, vec![vec![url]], "127.0.0.1:7001".parse().unwrap()).await;
    });
}

#[test]
fn clients_meet_over_udp_and_pass_a_dead_tracker_on_the_way() {
    run(async {
        let config = TrackerConfig { udp: Some("127.0.0.1:0".parse().unwrap()), ..TrackerConfig::default() };
        let tracker = Tracker::start(config).unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("udp://{}/announce", tracker.udp_addr().unwrap());
        let tiers = vec![vec![format!("http://{closed}/announce"), url]];
        meet(&tracker, tiers, "127.0.0.1:7001".parse().unwrap()).await;
    });
}

#[test]
fn clients_meet_over_ipv6() {
    run(async {
        for http in [true, false] {
            let address: SocketAddr = "[::1]:0".parse().unwrap();
            let endpoint = if http { Endpoint::Http(address) } else { Endpoint::Udp(address) };
            let tracker =
                Tracker::start(TrackerConfig { more: vec![endpoint], ..TrackerConfig::default() }).unwrap();
            let url = match http {
                true => format!("http://{}/announce", tracker.http_addr().unwrap()),
                false => format!("udp://{}/announce", tracker.udp_addr().unwrap()),
            };
            meet(&tracker, vec![vec![url]], "[::1]:7001".parse().unwrap()).await;
        }
    });
}
