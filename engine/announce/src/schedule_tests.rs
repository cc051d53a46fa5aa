//! The schedule in paused time, with a transport that plays trackers.

#[path = "schedule_tests/counts.rs"]
mod counts;
#[path = "schedule_tests/edits.rs"]
mod edits;

use super::*;
use crate::AnnounceUpdate;
use crate::Announcer;
use crate::driver::Core;
use crate::limits::{HOST_FAILURES_MAX, HTTP_PER_HOST_MAX, HTTP_TIMEOUT, INTERVAL_DEFAULT, RETRY_LAST};
use crate::transport::{LocalFuture, RetryRule, Transport};
use AnnounceEvent::{Completed, None as Regular, Started, Stopped};
use ringseed_net::route::Route;
use ringseed_proto::tracker::PeerAddr;
use ringseed_proto::units::PeerId;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{advance, sleep};

/// What a played tracker does, by the host of its URL.
#[derive(Clone)]
enum Answers {
    After(Duration, AnnounceResponse),
    Refuses(RetryRule),
    /// Takes the whole timeout.
    Silent,
}

/// An announce that a played tracker heard: its host, the event, the torrent, when, and the bytes sent.
type Heard = (String, AnnounceEvent, SwarmHash, Instant, u64);

/// Trackers that are played; hosts that are not named answer at once.
#[derive(Default)]
struct Stage {
    answers: RefCell<HashMap<&'static str, Answers>>,
    heard: RefCell<Vec<Heard>>,
    running: Cell<usize>,
    most: Cell<usize>,
    both_families: Cell<bool>,
    six_is_dead: Cell<bool>,
}

impl Transport for Stage {
    fn families<'a>(&'a self, _: &'a TrackerUrl) -> LocalFuture<'a, Result<Vec<Family>, Failure>> {
        let families = if self.both_families.get() { vec![Family::V4, Family::V6] } else { vec![Family::V4] };
        Box::pin(async { Ok(families) })
    }

    fn announce<'a>(
        &'a self,
        request: &'a Request,
        family: Family,
    ) -> LocalFuture<'a, Result<AnnounceResponse, Failure>> {
        Box::pin(async move {
            let host = request.url.host.to_string();
            self.running.set(self.running.get() + 1);
            self.most.set(self.most.get().max(self.running.get()));
            let event = request.announce.event;
            let (hash, uploaded) = (request.announce.info_hash, request.announce.uploaded);
            self.heard.borrow_mut().push((host.clone(), event, hash, Instant::now(), uploaded));
            let answers = self.answers.borrow().get(&*host).cloned();
            let result = match answers {
                _ if family == Family::V6 && self.six_is_dead.get() => {
                    sleep(HTTP_TIMEOUT).await;
                    Err(Failure::Unreachable("no route".into()))
                }
                None => Ok(peers(&[if family == Family::V4 { "192.0.2.1:1" } else { "[2001:db8::1]:1" }])),
                Some(Answers::After(pause, response)) => {
                    sleep(pause).await;
                    Ok(response)
                }
                Some(Answers::Refuses(retry)) => Err(Failure::Refused { text: "go away".into(), retry }),
                Some(Answers::Silent) => {
                    sleep(HTTP_TIMEOUT).await;
                    Err(Failure::Unreachable("timed out".into()))
                }
            };
            self.running.set(self.running.get() - 1);
            result
        })
    }
}

impl Stage {
    fn set(&self, host: &'static str, answers: Answers) {
        self.answers.borrow_mut().insert(host, answers);
    }

    /// Events that a host heard, in order.
    fn events(&self, host: &str) -> Vec<AnnounceEvent> {
        self.heard.borrow().iter().filter(|heard| heard.0 == host).map(|heard| heard.1).collect()
    }

    /// Events that a host heard with the bytes that it was told of, in order.
    fn told(&self, host: &str) -> Vec<(AnnounceEvent, u64)> {
        let heard = self.heard.borrow();
        heard.iter().filter(|heard| heard.0 == host).map(|heard| (heard.1, heard.4)).collect()
    }

    fn times(&self, host: &str) -> Vec<Instant> {
        self.heard.borrow().iter().filter(|heard| heard.0 == host).map(|heard| heard.3).collect()
    }
}

fn peers(addresses: &[&str]) -> AnnounceResponse {
    let peers = addresses.iter().map(|text| PeerAddr::from(text.parse::<SocketAddr>().unwrap())).collect();
    AnnounceResponse { peers, ..AnnounceResponse::default() }
}

fn hash(number: u32) -> SwarmHash {
    let mut hash = [0; 20];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    SwarmHash(hash)
}

fn id(number: u32) -> TorrentId {
    TorrentId(hash(number).0)
}

fn torrent(number: u32, tiers: &[&[&str]]) -> TrackedTorrent {
    let url = |host: &&str| format!("http://{host}/announce");
    let tiers = tiers.iter().map(|tier| tier.iter().map(url).collect()).collect();
    TrackedTorrent { torrent_id: id(number), swarm_hash: hash(number), tiers, private: false }
}

struct Play {
    stage: Rc<Stage>,
    announcer: Announcer,
    updates: mpsc::Receiver<AnnounceUpdate>,
}

impl Play {
    fn start(&self, number: u32, tiers: &[&[&str]]) {
        let totals = TransferTotals { uploaded: 1, downloaded: 2, left: 3, ..TransferTotals::default() };
        self.announcer.start(torrent(number, tiers), Box::new(move || totals));
    }
}

impl Play {
    /// Starts a torrent whose sent bytes are what the cell says.
    fn start_counting(&self, tiers: &[&[&str]], uploaded: &Rc<Cell<u64>>) {
        let uploaded = uploaded.clone();
        let totals = move || TransferTotals { uploaded: uploaded.get(), ..TransferTotals::default() };
        self.announcer.start(torrent(1, tiers), Box::new(totals));
    }

    fn set_trackers(&self, tiers: &[&[&str]]) {
        self.announcer.set_trackers(id(1), torrent(1, tiers).tiers);
    }
}

fn play<F: Future<Output = ()>>(test: impl FnOnce(Play) -> F) {
    play_with(1024, test);
}

fn play_with<F: Future<Output = ()>>(room: usize, test: impl FnOnce(Play) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    tokio::task::LocalSet::new().block_on(&runtime.unwrap(), async {
        let stage = Rc::new(Stage::default());
        let (events, updates) = mpsc::channel(room);
        let config = AnnounceConfig {
            peer_id: PeerId(*b"-RS0010-abcdefghijkl"),
            key: 7,
            listen_port: 6881,
            user_agent: "Ringseed".into(),
            route: Route::default(),
            sockets_max: 256,
            trust: crate::Trust::default(),
        };
        let core = Core::new(config, stage.clone(), events, Some(11));
        test(Play { stage, announcer: Announcer::with(core), updates }).await;
    });
}

/// Lets everything happen that is due within a time.
async fn pass(time: Duration) {
    sleep(time).await;
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_torrent_lives_through_all_events() {
    play(|mut play| async move {
        play.start(1, &[&["a"]]);
        pass(SECOND).await;
        let expected = vec!["192.0.2.1:1".parse().unwrap()];
        let update = AnnounceUpdate::Peers { torrent_id: id(1), peers: expected };
        assert_eq!(play.updates.recv().await.unwrap(), update);
        play.announcer.completed(id(1));
        pass(SECOND).await;
        pass(INTERVAL_DEFAULT * 2).await;
        play.announcer.stop(id(1));
        pass(SECOND).await;
        assert_eq!(play.stage.events("a"), [Started, Completed, Regular, Stopped]);
        pass(INTERVAL_DEFAULT * 9).await;
        assert_eq!(play.stage.events("a").len(), 4);
        assert!(play.announcer.status(id(1)).is_empty());
    });
}

#[test]
fn all_tiers_announce_and_one_tracker_of_each() {
    play(|play| async move {
        play.start(1, &[&["a", "b"], &["c"], &["d"]]);
        play.stage.set("d", Answers::Silent);
        pass(SECOND).await;
        let (a, b) = (play.stage.events("a").len(), play.stage.events("b").len());
        assert_eq!(a + b, 1);
        assert_eq!((play.stage.events("c").len(), play.stage.events("d").len()), (1, 1));
        let status = play.announcer.status(id(1));
        assert_eq!(status.iter().map(|tracker| tracker.tier).collect::<Vec<_>>(), [0, 0, 1, 2]);
        assert!(status[0].ok && status[0].next_announce.is_some() && status[1].next_announce.is_none());
        assert!(status[3].announcing && !status[3].ok && status[3].last_result.is_empty());
    });
}

#[test]
fn a_dead_tracker_leaves_the_tier_to_the_next() {
    play(|play| async move {
        play.stage.set("a", Answers::Silent);
        play.stage.set("b", Answers::Refuses(RetryRule::Backoff));
        play.start(1, &[&["a", "b", "c"]]);
        pass(HTTP_TIMEOUT * 2).await;
        assert_eq!(play.stage.events("c"), [Started]);
        let status = play.announcer.status(id(1));
        assert!(status[0].ok && status[0].url.contains("//c/"), "{status:?}");
        // `c` stays in front: the others are not asked again.
        pass(INTERVAL_DEFAULT * 3).await;
        assert!(play.stage.events("c").len() >= 3);
        assert!(play.stage.events("a").len() + play.stage.events("b").len() <= 2);
        play.announcer.stop(id(1));
        pass(SECOND).await;
        assert_eq!(*play.stage.events("c").last().unwrap(), Stopped);
        assert!(!play.stage.events("a").contains(&Stopped), "it never knew us");
    });
}

#[test]
fn a_dead_host_is_probed_and_its_torrents_return_soon_after_it() {
    play(|play| async move {
        play.stage.set("a", Answers::Silent);
        for number in 0..200 {
            play.start(number, &[&["a"]]);
        }
        pass(Duration::from_secs(2 * 3600)).await;
        // 200 torrents alone would have tried more than a thousand times.
        let tries = play.stage.events("a").len();
        assert!((HOST_FAILURES_MAX as usize..60).contains(&tries), "{tries}");
        assert!(play.announcer.status(id(5))[0].last_result.contains("timed out"));
        play.stage.answers.borrow_mut().clear();
        pass(RETRY_LAST + HOST_RECOVERY_SPREAD).await;
        let ok = (0..200).filter(|number| play.announcer.status(id(*number))[0].ok).count();
        assert_eq!(ok, 200);
    });
}

#[test]
fn thousands_of_torrents_go_through_a_few_connections_and_a_dead_host_delays_nobody() {
    play(|play| async move {
        let answer = AnnounceResponse { interval: 3600, ..AnnounceResponse::default() };
        play.stage.set("a", Answers::After(Duration::from_millis(50), answer));
        play.stage.set("dead", Answers::Silent);
        let began = Instant::now();
        for number in 0..5000 {
            play.start(number, &[&["dead"], &["a"]]);
        }
        // 5,000 announces of 50 ms, six at a time, take 42 s.
        pass(Duration::from_secs(50)).await;
        let times = play.stage.times("a");
        assert_eq!(times.len(), 5000);
        assert!(*times.last().unwrap() - began < Duration::from_secs(45));
        assert!(play.stage.most.get() <= 2 * HTTP_PER_HOST_MAX, "{}", play.stage.most.get());
        // The next round is spread over minutes.
        pass(Duration::from_secs(3600 + 3600 / 20 + 60)).await;
        let times = &play.stage.times("a")[5000..];
        assert_eq!(times.len(), 5000);
        assert!(*times.last().unwrap() - times[0] > Duration::from_secs(150));
    });
}

#[test]
fn retry_in_holds_and_a_user_overrides_it() {
    play(|play| async move {
        play.stage.set("a", Answers::Refuses(RetryRule::Never));
        play.start(1, &[&["a"]]);
        pass(Duration::from_secs(90_000)).await;
        assert_eq!(play.stage.events("a").len(), 1);
        assert_eq!(play.announcer.status(id(1))[0].last_result, "go away");
        play.stage.answers.borrow_mut().clear();
        play.announcer.reannounce(id(1));
        pass(SECOND).await;
        assert_eq!(play.stage.events("a").len(), 2);
        assert!(play.announcer.status(id(1))[0].ok);
    });
}

#[test]
fn impatient_users_do_not_flood_a_tracker() {
    play(|play| async move {
        let answer = AnnounceResponse { min_interval: Some(300), ..AnnounceResponse::default() };
        play.stage.set("a", Answers::After(Duration::ZERO, answer));
        play.start(1, &[&["a"]]);
        for _ in 0..600 {
            pass(SECOND).await;
            play.announcer.reannounce(id(1));
        }
        assert_eq!(play.stage.events("a").len(), 2);
    });
}

#[test]
fn unusable_urls_are_told_and_skipped() {
    play(|play| async move {
        let tiers =
            vec![vec!["wss://t.example/".to_owned()], vec!["".to_owned(), "http://a/announce".to_owned()]];
        let torrent = TrackedTorrent { torrent_id: id(1), swarm_hash: hash(1), tiers, private: false };
        play.announcer.start(torrent, Box::new(TransferTotals::default));
        pass(SECOND).await;
        assert_eq!(play.stage.events("a"), [Started]);
        let status = play.announcer.status(id(1));
        assert!(status[0].last_result.contains("wss"), "{status:?}");
        // Hours of retrying do not spin.
        pass(Duration::from_secs(7200)).await;
        assert!(play.announcer.status(id(1))[0].next_announce.is_some());
    });
}

#[test]
fn a_million_trackers_are_cut_to_a_few() {
    play(|play| async move {
        let tiers = (0..100_000).map(|number| vec![format!("http://h{number}/")]).collect();
        let torrent = TrackedTorrent { torrent_id: id(1), swarm_hash: hash(1), tiers, private: false };
        play.announcer.start(torrent, Box::new(TransferTotals::default));
        pass(SECOND).await;
        assert_eq!(play.announcer.status(id(1)).len(), TRACKERS_PER_TORRENT_MAX);
    });
}

#[test]
fn stopped_follows_a_started_that_was_in_flight() {
    play(|play| async move {
        play.stage.set("a", Answers::After(SECOND * 5, AnnounceResponse::default()));
        play.start(1, &[&["a"]]);
        pass(SECOND).await;
        play.announcer.stop(id(1));
        pass(SECOND * 20).await;
        assert_eq!(play.stage.events("a"), [Started, Stopped]);
    });
}

#[test]
fn started_does_not_overtake_a_stopped_in_flight() {
    play(|play| async move {
        play.start(1, &[&["a"]]);
        pass(SECOND).await;
        play.stage.set("a", Answers::After(SECOND * 5, AnnounceResponse::default()));
        play.announcer.stop(id(1));
        pass(SECOND).await;
        play.start(1, &[&["a"]]);
        pass(SECOND).await;
        assert_eq!(play.stage.events("a"), [Started, Stopped]);
        pass(SECOND * 30).await;
        assert_eq!(play.stage.events("a"), [Started, Stopped, Started]);
        assert!(play.announcer.status(id(1))[0].ok);
    });
}

#[test]
fn shutdown_tells_every_tracker_that_answered_and_waits_for_no_dead_one() {
    play(|play| async move {
        play.stage.set("dead", Answers::Silent);
        for number in 0..300 {
            play.start(number, &[&["a"], &["b"], &["dead"]]);
        }
        pass(SECOND * 100).await;
        let answer = AnnounceResponse::default();
        play.stage.set("a", Answers::After(Duration::from_millis(100), answer));
        let began = Instant::now();
        play.announcer.shutdown(SECOND * 4).await;
        assert!(began.elapsed() < SECOND * 2, "{:?}", began.elapsed());
        let stopped = |host| play.stage.events(host).iter().filter(|event| **event == Stopped).count();
        assert_eq!((stopped("a"), stopped("b"), stopped("dead")), (300, 300, 0));
        // Nothing starts any more.
        play.start(999, &[&["c"]]);
        pass(SECOND * 9).await;
        assert!(play.stage.events("c").is_empty());
    });
}

#[test]
fn shutdown_is_bounded() {
    play(|play| async move {
        play.start(1, &[&["a"]]);
        pass(SECOND).await;
        play.stage.set("a", Answers::Silent);
        let began = Instant::now();
        play.announcer.shutdown(SECOND * 4).await;
        assert_eq!(began.elapsed(), SECOND * 4);
    });
}

#[test]
fn peers_of_both_families_come_and_a_dead_one_holds_up_nothing() {
    play(|mut play| async move {
        play.stage.both_families.set(true);
        play.start(1, &[&["a"]]);
        pass(SECOND).await;
        let mut found = Vec::new();
        while let Ok(AnnounceUpdate::Peers { peers, .. }) = play.updates.try_recv() {
            found.extend(peers);
        }
        found.sort();
        assert_eq!(found, ["192.0.2.1:1".parse().unwrap(), "[2001:db8::1]:1".parse().unwrap()]);
        play.stage.six_is_dead.set(true);
        play.start(2, &[&["b"]]);
        advance(Duration::from_millis(1)).await;
        pass(SECOND).await;
        assert!(play.updates.try_recv().is_ok(), "peers over IPv4 do not wait for IPv6");
        pass(SECOND * 10).await;
        assert!(play.announcer.status(id(2))[0].ok);
        // From now on IPv6 is left alone there.
        let before = play.stage.heard.borrow().len();
        play.announcer.stop(id(2));
        pass(SECOND * 10).await;
        assert_eq!(play.stage.heard.borrow().len(), before + 1);
    });
}

#[test]
fn a_full_event_queue_loses_no_peers() {
    play_with(1, |mut play| async move {
        for number in 0..50 {
            play.start(number, &[&["a"]]);
        }
        pass(SECOND).await;
        assert_eq!(play.stage.events("a").len(), 50);
        let mut found = HashSet::new();
        for _ in 0..50 {
            let AnnounceUpdate::Peers { torrent_id, .. } = play.updates.recv().await.unwrap();
            found.insert(torrent_id);
        }
        assert_eq!(found.len(), 50);
    });
}

#[test]
fn starting_and_stopping_leaves_nothing_behind() {
    play(|play| async move {
        play.stage.set("a", Answers::After(SECOND, AnnounceResponse::default()));
        for round in 0..50 {
            for number in 0..20 {
                play.start(number, &[&["a"], &["a"]]);
            }
            if round % 3 == 0 {
                pass(Duration::from_millis(700)).await;
            }
            (0..20).for_each(|number| play.announcer.stop(id(number)));
        }
        pass(SECOND * 300).await;
        let state = play.announcer.core.state.borrow();
        assert!(state.torrents.is_empty() && state.due.is_empty() && state.stopping.is_empty());
        assert!(state.hosts.values().all(|host| host.waiting.is_empty() && host.running == 0));
        assert_eq!(state.running, 0);
        drop(state);
        // Whoever was told `started` last was told `stopped` after it.
        for number in 0..20 {
            let heard = play.stage.heard.borrow();
            let last = heard.iter().rfind(|heard| heard.2 == hash(number));
            assert!(last.is_none_or(|last| last.1 == Stopped), "{number}");
        }
    });
}
