//! Announcers of two clients find each other through Ringseed's own tracker, over HTTP and UDP, IPv4 and IPv6.

use ringseed_announce::{AnnounceConfig, AnnounceUpdate, Announcer, TrackedTorrent, TransferTotals, Trust};
use ringseed_net::route::Route;
use ringseed_proto::hashes::{SwarmHash, TorrentId};
use ringseed_proto::units::PeerId;
use ringseed_tracker::{Endpoint, Tracker, TrackerConfig};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;

#[path = "support/mod.rs"]
mod support;

const TORRENT: TorrentId = TorrentId([9; 20]);

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
    let torrent =
        TrackedTorrent { torrent_id: TORRENT, swarm_hash: SwarmHash(TORRENT.0), tiers, private: false };
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
    let AnnounceUpdate::Peers { torrent_id, peers } = second_hears.recv().await.unwrap();
    assert_eq!(torrent_id, TORRENT);
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

/// Waits until a tracker has as many peers.
async fn has_peers(tracker: &Tracker, peers: u64) {
    while tracker.stats().peers != peers {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn edited_trackers_are_left_and_entered_while_others_stay() {
    run(async {
        let any = "127.0.0.1:0".parse().unwrap();
        let http = || Tracker::start(TrackerConfig { http: Some(any), ..TrackerConfig::default() }).unwrap();
        let (left, stays) = (http(), http());
        let entered = Tracker::start(TrackerConfig { udp: Some(any), ..TrackerConfig::default() }).unwrap();
        let url = |tracker: &Tracker| format!("http://{}/announce", tracker.http_addr().unwrap());
        let (client, _updates) = client(3);
        start(&client, vec![vec![url(&left)], vec![url(&stays)]], 0);
        has_peers(&left, 1).await;
        has_peers(&stays, 1).await;
        let announces = stays.stats().announces;
        let udp = format!("udp://{}/announce", entered.udp_addr().unwrap());
        client.set_trackers(TORRENT, vec![vec![udp], vec![url(&stays)]]);
        has_peers(&entered, 1).await;
        has_peers(&left, 0).await;
        assert_eq!(stays.stats().announces, announces, "it hears nothing of the edit");
        client.shutdown(Duration::from_secs(10)).await;
        assert_eq!((stays.stats().peers, entered.stats().peers), (0, 0));
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

/// Torrents of whole engines, against a tracker that is played: what it hears.
mod told {
    use super::support::content::{Content, fill, single, torrent_of};
    use ringseed::Engine;
    use ringseed::config::{EngineConfig, ListenPort};
    use ringseed_handle::{AddTorrent, FilePriority, TorrentSettings, TorrentState};
    use ringseed_proto::hashes::SwarmHash;
    use ringseed_proto::metainfo::Metainfo;
    use ringseed_proto::tracker::http::parse_announce;
    use ringseed_proto::tracker::{AnnounceEvent, AnnounceRequest};
    use ringseed_proto::units::{Block, PeerId, PieceIndex};
    use ringseed_proto::wire::{Handshake, Message};
    use std::io::{Read, Write};
    use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    const LENGTH: u64 = 8 << 20;

    /// A tracker that knows nobody, and what it heard.
    struct Played {
        url: String,
        heard: Arc<Mutex<Vec<AnnounceRequest>>>,
    }

    impl Played {
        fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/announce", listener.local_addr().unwrap());
            let heard = Arc::new(Mutex::new(Vec::new()));
            let log = heard.clone();
            std::thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    let (mut head, mut byte) = (Vec::new(), [0]);
                    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1)
                    {
                        head.extend_from_slice(&byte);
                    }
                    let line = String::from_utf8_lossy(&head).into_owned();
                    let Some(query) = line.split(' ').nth(1).and_then(|path| path.split_once('?')) else {
                        continue;
                    };
                    log.lock().unwrap().push(parse_announce(query.1.as_bytes()).unwrap().request);
                    let body = "d8:intervali1800e12:min intervali1e5:peers0:e";
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
            Self { url, heard }
        }

        /// What a client said, in order; the clients are told apart by their ports.
        fn of(&self, port: u16) -> Vec<AnnounceRequest> {
            let heard = self.heard.lock().unwrap();
            heard.iter().filter(|request| request.port == port).cloned().collect()
        }

        fn wait_for(&self, port: u16, event: AnnounceEvent) -> AnnounceRequest {
            super::support::until(&format!("{event:?}"), || {
                self.of(port).into_iter().find(|request| request.event == event)
            })
        }
    }

    fn engine() -> Engine {
        Engine::start(EngineConfig {
            listen_port: ListenPort::Exact(0),
            listen_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            shards: Some(2),
            pin: false,
            ..EngineConfig::default()
        })
        .unwrap()
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    fn add(
        engine: &Engine,
        content: &Content,
        dir: &Path,
        peers: Vec<SocketAddr>,
        settings: TorrentSettings,
    ) {
        let metainfo = Arc::new(Metainfo::parse(&std::fs::read(&content.torrent).unwrap()).unwrap());
        let torrent =
            AddTorrent { data_dir: Some(dir.to_path_buf()), peers, settings, ..AddTorrent::new(metainfo) };
        block_on(engine.handle().add(torrent)).unwrap();
    }

    fn wait_for_seed(engine: &Engine) {
        super::support::until("a seed", || {
            let snapshot = engine.handle().snapshot();
            snapshot
                .torrents
                .first()
                .is_some_and(|torrent| torrent.state == TorrentState::Seeding)
                .then_some(())
        });
    }

    fn address(engine: &Engine) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, engine.handle().listen_port()))
    }

    #[test]
    fn completed_and_stopped_tell_all_bytes_up_to_the_last() {
        let (tracker, source) = (Played::start(), tempfile::tempdir().unwrap());
        let content = single(source.path(), LENGTH, "64K", &tracker.url);
        let seed = engine();
        let seed_port = seed.handle().listen_port();
        add(&seed, &content, source.path(), Vec::new(), TorrentSettings::default());
        wait_for_seed(&seed);
        tracker.wait_for(seed_port, AnnounceEvent::Started);
        let (mut sent, hash) = (0, Metainfo::parse(&std::fs::read(&content.torrent).unwrap()).unwrap().id());
        for verified in [true, false] {
            let target = tempfile::tempdir().unwrap();
            let leech = engine();
            let port = leech.handle().listen_port();
            add(&leech, &content, target.path(), vec![address(&seed)], TorrentSettings::default());
            let completed = tracker.wait_for(port, AnnounceEvent::Completed);
            assert_eq!((completed.downloaded, completed.left), (LENGTH, 0));
            // At once: what was sent until then must not be lost.
            if verified {
                block_on(seed.handle().verify(hash)).unwrap();
                wait_for_seed(&seed);
            }
            leech.stop();
            let stopped = tracker.wait_for(port, AnnounceEvent::Stopped);
            assert_eq!((stopped.downloaded, stopped.left), (LENGTH, 0));
            sent += LENGTH;
        }
        seed.stop();
        let told = tracker.of(seed_port);
        assert_eq!(told.last().map(|request| request.event), Some(AnnounceEvent::Stopped));
        // A tracker counts from each `started`.
        let mut counted = vec![0];
        for request in &told {
            if request.event == AnnounceEvent::Started {
                counted.push(0);
            }
            if let Some(most) = counted.last_mut() {
                *most = request.uploaded.max(*most);
            }
        }
        assert_eq!(counted.iter().sum::<u64>(), sent, "{told:?}");
    }

    /// What a seed has sent by the moment at which its trackers are edited belongs to those that it leaves.
    #[test]
    fn trackers_that_are_taken_away_hear_all_bytes_and_new_ones_none_of_them() {
        let (before, after) = (Played::start(), Played::start());
        let source = tempfile::tempdir().unwrap();
        let content = single(source.path(), LENGTH, "64K", &before.url);
        let hash = Metainfo::parse(&std::fs::read(&content.torrent).unwrap()).unwrap().id();
        let seed = engine();
        let seed_port = seed.handle().listen_port();
        add(&seed, &content, source.path(), Vec::new(), TorrentSettings::default());
        wait_for_seed(&seed);
        before.wait_for(seed_port, AnnounceEvent::Started);
        let mut peer = leech(address(&seed), SwarmHash(hash.0));
        for round in 1..=4 {
            fetch(&mut peer, 16);
            // At once, before the shard counts by itself.
            let (left, entered) = if round % 2 == 1 { (&before, &after) } else { (&after, &before) };
            let tiers = vec![vec![entered.url.clone()]];
            let change = ringseed_handle::TorrentChange {
                settings: Some(Arc::new(move |settings: &mut TorrentSettings, _: &_| {
                    settings.tiers = Some(tiers.clone())
                })),
                ..Default::default()
            };
            block_on(seed.handle().change_torrent(hash, change)).unwrap();
            let stopped = super::support::until("stopped", || {
                let told = left.of(seed_port);
                told.last().filter(|request| request.event == AnnounceEvent::Stopped).cloned()
            });
            assert_eq!(stopped.uploaded, 16 << 14, "round {round}");
            super::support::until("started", || {
                let told = entered.of(seed_port);
                told.last().filter(|request| request.event == AnnounceEvent::Started).cloned()
            });
        }
        seed.stop();
    }

    /// A peer that was let in and may ask.
    fn leech(seed: SocketAddr, hash: SwarmHash) -> TcpStream {
        let mut peer = TcpStream::connect(seed).unwrap();
        let hello = Handshake::new(hash, PeerId(*b"-XX0001-abcdefghijkl")).encode();
        peer.write_all(&hello).unwrap();
        peer.write_all(&[0, 0, 0, 1, 2]).unwrap(); // interested
        peer.read_exact(&mut [0; 68]).unwrap();
        while next_message(&mut peer).first() != Some(&1) {}
        peer
    }

    /// Asks for so many blocks of the first piece's beginning and waits for all of them.
    fn fetch(peer: &mut TcpStream, blocks: usize) {
        for _ in 0..blocks {
            let block = Block { piece: PieceIndex(0), begin: 0, length: 1 << 14 };
            let mut request = Vec::new();
            Message::Request(block).encode(&mut request);
            peer.write_all(&request).unwrap();
        }
        let mut left = blocks;
        while left > 0 {
            left -= usize::from(next_message(peer).first() == Some(&7));
        }
    }

    fn next_message(peer: &mut TcpStream) -> Vec<u8> {
        let mut length = [0; 4];
        peer.read_exact(&mut length).unwrap();
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        peer.read_exact(&mut message).unwrap();
        message
    }

    #[test]
    fn a_partial_download_is_a_partial_seed_until_the_rest_is_wanted() {
        let (tracker, source, target) =
            (Played::start(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (name, length, seed) in [("a", 1 << 20, 1), ("b", 3 << 20, 2)] {
            fill(&source.path().join("two").join(name), length, seed);
        }
        let content = torrent_of(source.path(), "two", 4 << 20, "64K", &tracker.url);
        let seed = engine();
        add(&seed, &content, source.path(), Vec::new(), TorrentSettings::default());
        wait_for_seed(&seed);
        let leech = engine();
        let (handle, port) = (leech.handle(), leech.handle().listen_port());
        let files = vec![FilePriority::default(), FilePriority { wanted: false, ..FilePriority::default() }];
        add(
            &leech,
            &content,
            target.path(),
            vec![address(&seed)],
            TorrentSettings { files, ..TorrentSettings::default() },
        );
        wait_for_seed(&leech);
        let hash = handle.snapshot().torrents[0].torrent_id();
        let paused = super::support::until("a regular announce", || {
            block_on(handle.reannounce(hash)).unwrap();
            tracker.of(port).into_iter().find(|request| request.event == AnnounceEvent::Paused)
        });
        assert_eq!((paused.left, paused.downloaded), (3 << 20, 1 << 20));
        assert!(tracker.of(port).iter().all(|request| request.event != AnnounceEvent::Completed));
        assert_eq!(handle.snapshot().torrents[0].left, 0, "what a user is shown is what is wanted");
        // Now all of it.
        let change = ringseed_handle::TorrentChange {
            settings: Some(Arc::new(|settings: &mut TorrentSettings, _: &_| settings.files = Vec::new())),
            ..Default::default()
        };
        block_on(handle.change_torrent(hash, change)).unwrap();
        block_on(handle.add_peers(hash, vec![address(&seed)])).unwrap();
        let completed = tracker.wait_for(port, AnnounceEvent::Completed);
        assert_eq!(completed.left, 0);
        leech.stop();
        seed.stop();
        let told = tracker.of(port);
        assert_eq!(told.iter().filter(|request| request.event == AnnounceEvent::Completed).count(), 1);
        let stopped: u64 = told
            .iter()
            .filter(|request| request.event == AnnounceEvent::Stopped)
            .map(|request| request.downloaded)
            .sum();
        assert_eq!(stopped, 4 << 20, "{told:?}");
    }
}
