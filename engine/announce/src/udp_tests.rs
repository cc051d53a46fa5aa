//! UDP announces against sockets that play trackers.

use super::*;
use crate::samples::{a_start, run_within};
use crate::url::TrackerUrl;
use ringseed_proto::hashes::{SwarmHash, TorrentId};
use ringseed_proto::tracker::udp::{self as wire, AnnounceHead};

const PEER: &str = "192.0.2.9:6881";

fn run<F: Future<Output = ()>>(test: F) {
    run_within(30, test);
}

fn trackers() -> UdpTrackers {
    trackers_with(16)
}

fn trackers_with(sockets_max: usize) -> UdpTrackers {
    let patience = Patience { first: Duration::from_millis(60), attempts: 3 };
    UdpTrackers::new(Route::default(), Arc::new(Names::new()), sockets_max).with_patience(patience)
}

fn request(address: SocketAddr, path: &str) -> Request {
    let announce = a_start(SwarmHash([1; 20]));
    let url = Rc::new(TrackerUrl::parse(&format!("udp://{address}{path}")).unwrap());
    Request { torrent_id: TorrentId([1; 20]), url, announce, tracker_id: None }
}

/// What a played tracker was asked.
#[derive(Debug, Clone, PartialEq)]
enum Asked {
    Connect,
    Announce { id: u64, url_data: Vec<u8> },
}

/// Plays a tracker: `answer` gets each request with its number from 0, and says what to send back.
async fn tracker(
    bind: &str,
    answer: impl Fn(usize, &Packet<'_>) -> Vec<Vec<u8>> + 'static,
) -> (SocketAddr, Rc<RefCell<Vec<Asked>>>) {
    let socket = UdpSocket::bind(bind).await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Rc::new(RefCell::new(Vec::new()));
    let log = asked.clone();
    tokio::task::spawn_local(async move {
        let mut datagram = [0; 2048];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut datagram).await else { return };
            let packet = Packet::decode(&datagram[..length]).unwrap();
            let number = log.borrow().len();
            log.borrow_mut().push(match &packet {
                Packet::Announce { connection_id, url_data, .. } => {
                    Asked::Announce { id: *connection_id, url_data: url_data.clone() }
                }
                _ => Asked::Connect,
            });
            for reply in answer(number, &packet) {
                socket.send_to(&reply, from).await.unwrap();
            }
        }
    });
    (address, asked)
}

fn good(packet: &Packet<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match packet {
        Packet::Connect { transaction_id } => wire::encode_connect(&mut out, *transaction_id, 42),
        Packet::Announce { transaction_id, .. } => {
            let head = AnnounceHead { interval: 900, complete: 5, incomplete: 6 };
            wire::encode_announce(&mut out, *transaction_id, &head, Family::V4, [PEER.parse().unwrap()]);
        }
        Packet::Scrape { .. } => {}
    }
    out
}

fn error(packet: &Packet<'_>, text: &str) -> Vec<u8> {
    let (Packet::Connect { transaction_id }
    | Packet::Announce { transaction_id, .. }
    | Packet::Scrape { transaction_id, .. }) = packet;
    let mut out = Vec::new();
    wire::encode_error(&mut out, *transaction_id, text);
    out
}

#[test]
fn an_announce_connects_once_and_carries_the_path() {
    run(async {
        let (address, asked) = tracker("127.0.0.1:0", |_, packet| vec![good(packet)]).await;
        let trackers = trackers();
        let answer = trackers.announce(&request(address, "/announce"), Family::V4).await.unwrap();
        assert_eq!((answer.interval, answer.complete, answer.incomplete), (900, Some(5), Some(6)));
        assert_eq!(answer.peers[0].addr, PEER.parse().unwrap());
        trackers.announce(&request(address, "/x?passkey=1"), Family::V4).await.unwrap();
        let announce = |url_data: &[u8]| Asked::Announce { id: 42, url_data: url_data.to_vec() };
        assert_eq!(*asked.borrow(), [Asked::Connect, announce(b""), announce(b"/x?passkey=1")]);
    });
}

#[test]
fn many_torrents_share_one_connect() {
    run(async {
        let (address, asked) = tracker("127.0.0.1:0", |_, packet| vec![good(packet)]).await;
        let trackers = Rc::new(trackers());
        let mut tasks = Vec::new();
        for _ in 0..30 {
            let (trackers, request) = (trackers.clone(), request(address, "/announce"));
            tasks
                .push(tokio::task::spawn_local(async move { trackers.announce(&request, Family::V4).await }));
        }
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(asked.borrow().iter().filter(|asked| **asked == Asked::Connect).count(), 1);
        assert!(trackers.clients.borrow().values().all(|client| client.waiting.borrow().is_empty()));
    });
}

#[test]
fn ipv6_trackers_are_reached() {
    run(async {
        let (address, _) = tracker("[::1]:0", |_, packet| match packet {
            Packet::Announce { transaction_id, .. } => {
                let mut out = Vec::new();
                let head = AnnounceHead { interval: 900, complete: 0, incomplete: 0 };
                let peer = "[2001:db8::1]:9".parse().unwrap();
                wire::encode_announce(&mut out, *transaction_id, &head, Family::V6, [peer]);
                vec![out]
            }
            other => vec![good(other)],
        })
        .await;
        let answer = trackers().announce(&request(address, "/announce"), Family::V6).await.unwrap();
        assert_eq!(answer.peers[0].addr, "[2001:db8::1]:9".parse().unwrap());
    });
}

#[test]
fn lost_datagrams_are_sent_again() {
    run(async {
        // The first connect and the first announce get lost.
        let (address, asked) =
            tracker(
                "127.0.0.1:0",
                |number, packet| if number % 2 == 0 { vec![] } else { vec![good(packet)] },
            )
            .await;
        trackers().announce(&request(address, "/announce"), Family::V4).await.unwrap();
        assert_eq!(asked.borrow().len(), 4);
    });
}

#[test]
fn garbage_and_foreign_answers_are_passed_over() {
    run(async {
        let (address, _) = tracker("127.0.0.1:0", |_, packet| {
            let mut foreign = good(packet);
            foreign[7] ^= 1; // another transaction
            let mut other_action = good(packet);
            other_action[3] = 99;
            vec![vec![], vec![0; 3], vec![255; 2000], foreign, other_action, good(packet)]
        })
        .await;
        trackers().announce(&request(address, "/announce"), Family::V4).await.unwrap();
    });
}

#[test]
fn a_tracker_that_forgot_its_ids_is_connected_to_again() {
    run(async {
        let (address, asked) = tracker("127.0.0.1:0", |number, packet| {
            vec![if number == 2 { error(packet, "Connection ID mismatch.") } else { good(packet) }]
        })
        .await;
        let trackers = trackers();
        for _ in 0..2 {
            trackers.announce(&request(address, "/announce"), Family::V4).await.unwrap();
        }
        let connects = asked.borrow().iter().filter(|asked| **asked == Asked::Connect).count();
        assert_eq!((connects, asked.borrow().len()), (2, 5));
    });
}

#[test]
fn refusals_carry_the_trackers_words() {
    run(async {
        let (address, _) = tracker("127.0.0.1:0", |number, packet| {
            vec![if number == 0 { good(packet) } else { error(packet, "torrent not registered") }]
        })
        .await;
        let failure = trackers().announce(&request(address, "/announce"), Family::V4).await.unwrap_err();
        assert_eq!(failure, Failure::refused("torrent not registered"));
    });
}

#[test]
fn silence_and_closed_ports_are_unreachable_and_leave_nothing() {
    run(async {
        let (address, asked) = tracker("127.0.0.1:0", |_, _| vec![]).await;
        let trackers = trackers();
        let failure = trackers.announce(&request(address, "/announce"), Family::V4).await.unwrap_err();
        assert_eq!(failure, Failure::Unreachable("no answer".into()));
        assert_eq!(asked.borrow().len(), 3);
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failure = trackers.announce(&request(closed, "/announce"), Family::V4).await.unwrap_err();
        assert!(matches!(&failure, Failure::Unreachable(text) if text.contains("refused")), "{failure:?}");
        assert!(trackers.clients.borrow().values().all(|client| client.waiting.borrow().is_empty()));
    });
}

#[test]
fn a_tracker_that_comes_alive_is_found_on_the_same_socket() {
    run(async {
        let address = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let trackers = trackers();
        assert!(trackers.announce(&request(address, "/announce"), Family::V4).await.is_err());
        tracker(&address.to_string(), |_, packet| vec![good(packet)]).await;
        trackers.announce(&request(address, "/announce"), Family::V4).await.unwrap();
    });
}

/// Sockets of this process to one of these addresses, by the kernel's table.
fn sockets_to(addresses: &[SocketAddr]) -> usize {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let remote = |line: &str| {
        let port = line.split_whitespace().nth(2)?.rsplit_once(':')?.1.to_owned();
        u16::from_str_radix(&port, 16).ok()
    };
    table
        .lines()
        .filter_map(remote)
        .filter(|port| addresses.iter().any(|known| known.port() == *port))
        .count()
}

#[test]
fn idle_sockets_are_closed_for_others_when_there_are_many() {
    run(async {
        let trackers = trackers_with(4);
        let mut addresses = Vec::new();
        for _ in 0..12 {
            let (address, _) = tracker("127.0.0.1:0", |_, packet| vec![good(packet)]).await;
            trackers.announce(&request(address, "/announce"), Family::V4).await.unwrap();
            addresses.push(address);
        }
        assert_eq!(trackers.clients.borrow().len(), 4);
        assert!(trackers.clients.borrow().contains_key(&addresses[11]));
        while sockets_to(&addresses) > 4 {
            tokio::task::yield_now().await;
        }
        // One that was closed is opened again.
        trackers.announce(&request(addresses[0], "/announce"), Family::V4).await.unwrap();
    });
}

#[test]
fn of_several_addresses_one_that_answers_is_found() {
    run(async {
        let (address, asked) = tracker("127.0.0.2:0", |_, packet| vec![good(packet)]).await;
        // Nobody listens at the first one, and the second does not answer.
        let silent = UdpSocket::bind(("127.0.0.3", address.port())).await.unwrap();
        let addresses = ["127.0.0.1", "127.0.0.3", "127.0.0.2"].map(|ip| ip.parse().unwrap());
        let names = Arc::new(Names::knowing("two.example", &addresses));
        let patience = Patience { first: Duration::from_millis(500), attempts: 2 };
        let trackers = UdpTrackers::new(Route::default(), names, 16).with_patience(patience);
        let url = Rc::new(TrackerUrl::parse(&format!("udp://two.example:{}/", address.port())).unwrap());
        let request = Request { url, ..request(address, "/") };
        assert!(trackers.announce(&request, Family::V4).await.is_err(), "the second is waited for");
        trackers.announce(&request, Family::V4).await.unwrap();
        trackers.announce(&request, Family::V4).await.unwrap();
        assert_eq!(asked.borrow().len(), 3, "and stayed with: one connect, two announces");
        drop(silent);
    });
}

/// They stayed open for minutes outside of the budget, and trackers that are gone are many.
#[test]
fn the_socket_to_a_tracker_that_does_not_answer_is_closed() {
    run(async {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let trackers = Rc::new(trackers());
        let waits = [1, 2].map(|_| {
            let (trackers, request) = (trackers.clone(), request(address, "/announce"));
            tokio::task::spawn_local(async move { trackers.announce(&request, Family::V4).await })
        });
        for wait in waits {
            assert!(wait.await.unwrap().is_err());
        }
        assert!(trackers.clients.borrow().is_empty());
        while sockets_to(&[address]) > 0 {
            tokio::task::yield_now().await;
        }
    });
}

/// For a second family it is not waited for long, so that the same silent address was asked first each time.
#[test]
fn an_address_that_is_not_waited_for_comes_after_others() {
    run(async {
        let (address, _) = tracker("127.0.0.2:0", |_, packet| vec![good(packet)]).await;
        let silent = UdpSocket::bind(("127.0.0.3", address.port())).await.unwrap();
        let addresses = ["127.0.0.3", "127.0.0.2"].map(|ip| ip.parse().unwrap());
        let names = Arc::new(Names::knowing("two.example", &addresses));
        let trackers = UdpTrackers::new(Route::default(), names, 16);
        let url = Rc::new(TrackerUrl::parse(&format!("udp://two.example:{}/", address.port())).unwrap());
        let request = Request { url, ..request(address, "/") };
        let given_up = timeout(Duration::from_millis(50), trackers.announce(&request, Family::V4)).await;
        assert!(given_up.is_err(), "the first does not answer");
        trackers.announce(&request, Family::V4).await.unwrap();
        drop(silent);
    });
}
