//! Who gets a place among the candidates, and in which order they are dialled.

use super::*;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 6881))
}

/// Distinct public addresses.
fn many(network: u8, count: u16) -> impl Iterator<Item = SocketAddr> {
    (0..count).map(move |n| SocketAddr::from(([network, 1, (n >> 8) as u8, n as u8], 6881)))
}

fn peer(n: u8) -> Source {
    Source::Peer(IpAddr::from([90, 0, n, 1]))
}

fn next(candidates: &mut Candidates, now: Time) -> Option<SocketAddr> {
    candidates.next(now, true).map(|chosen| chosen.address)
}

fn check_invariants(candidates: &Candidates) {
    assert_eq!(candidates.all().count(), candidates.count);
    assert_eq!(candidates.all().filter(|one| one.source.is_told()).count(), candidates.told);
    assert_eq!(candidates.tellers.values().map(|teller| teller.held).sum::<usize>(), candidates.told);
    assert!(candidates.count <= CANDIDATES_MAX && candidates.told <= CANDIDATES_TOLD_MAX);
    assert!(candidates.tellers.values().all(|teller| (1..=CANDIDATES_OF_TELLER_MAX).contains(&teller.held)));
}

#[test]
fn each_address_is_dialled_once_until_it_ended_and_its_wait_is_over() {
    let mut candidates = Candidates::default();
    let now = Time::ZERO;
    candidates.learn(Source::Tracker, [address(1), address(2), address(1)], now);
    assert_eq!(next(&mut candidates, now), Some(address(1)));
    assert_eq!(next(&mut candidates, now), Some(address(2)));
    assert_eq!(next(&mut candidates, now), None);
    candidates.ended(&address(1), DialEnd::Failed, now);
    assert_eq!(next(&mut candidates, now), None);
    assert_eq!(next(&mut candidates, now + RETRY_FIRST), Some(address(1)));
}

#[test]
fn waits_double_up_to_their_limit() {
    let mut candidates = Candidates::default();
    candidates.learn(Source::Tracker, [address(1)], Time::ZERO);
    let mut now = Time::ZERO;
    for _ in 0..300 {
        assert!(next(&mut candidates, now).is_some());
        candidates.ended(&address(1), DialEnd::Failed, now);
        now = now + RETRY_MAX;
    }
}

#[test]
fn unusable_and_excluded_addresses_are_not_dialled() {
    let mut candidates = Candidates::default();
    let unusable = ["0.0.0.0:1", "127.0.0.1:0", "224.0.0.1:5", "255.255.255.255:5", "[::]:5", "[ff02::1]:5"];
    candidates.learn(Source::Tracker, unusable.map(|text| text.parse().unwrap()), Time::ZERO);
    assert_eq!((candidates.count, candidates.due()), (0, None));
    candidates.learn(Source::Tracker, [address(9)], Time::ZERO);
    candidates.exclude(&address(9));
    assert_eq!(next(&mut candidates, Time::ZERO), None);
    assert_eq!(candidates.due(), None);
}

#[test]
fn the_next_dial_is_due_when_the_first_wait_is_over() {
    let mut candidates = Candidates::default();
    let now = Time::ZERO;
    assert_eq!(candidates.due(), None);
    candidates.learn(Source::Tracker, [address(1), address(2)], now);
    assert_eq!(candidates.due(), Some(now));
    assert!(next(&mut candidates, now).is_some());
    assert_eq!(candidates.due(), Some(now));
    assert!(next(&mut candidates, now).is_some());
    assert_eq!(candidates.due(), None);
    candidates.ended(&address(2), DialEnd::Failed, now);
    candidates.ended(&address(1), DialEnd::Failed, now + RETRY_FIRST);
    assert_eq!(candidates.due(), Some(now + RETRY_FIRST));
    assert_eq!(next(&mut candidates, now + RETRY_FIRST), Some(address(2)));
    assert_eq!(next(&mut candidates, now + RETRY_FIRST), None);
    assert_eq!(candidates.due(), Some(now + RETRY_FIRST * 2));
}

#[test]
fn an_ipv4_mapped_address_is_the_same_candidate() {
    let mut candidates = Candidates::default();
    let mapped = "[::ffff:127.0.0.1]:6881".parse().unwrap();
    candidates.learn(Source::Tracker, [mapped, address(1)], Time::ZERO);
    assert_eq!(candidates.count, 1);
    assert_eq!(next(&mut candidates, Time::ZERO), Some(address(1)));
}

#[test]
fn a_peer_that_tells_thousands_of_addresses_does_not_keep_a_trackers_seed_from_being_dialled() {
    let mut candidates = Candidates::default();
    let seed = SocketAddr::from(([1, 2, 3, 4], 6881));
    // 22 connections of one address with 100 addresses each, then such peers of many networks.
    for n in 0..22 {
        candidates.learn(peer(1), many(20 + n, 100), Time::ZERO);
    }
    assert_eq!(candidates.count, CANDIDATES_OF_TELLER_MAX);
    for n in 0..100 {
        candidates.learn(peer(n), many(50 + n, 1000), Time::ZERO);
        check_invariants(&candidates);
    }
    assert_eq!(candidates.told, CANDIDATES_TOLD_MAX);
    candidates.learn(Source::Tracker, [seed], Time::ZERO);
    assert_eq!(candidates.next(Time::ZERO, true), Some(Chosen { address: seed, told: false }));
}

#[test]
fn all_networks_of_tellers_get_a_share() {
    let mut candidates = Candidates::default();
    for n in 0..20 {
        candidates.learn(peer(n), many(50 + n, 1000), Time::ZERO);
    }
    candidates.learn(peer(200), many(200, 40), Time::ZERO);
    assert_eq!(candidates.tellers[&IpAddr::from([90, 0, 200, 0])].held, 40);
    check_invariants(&candidates);
}

#[test]
fn what_trackers_and_users_name_takes_the_place_of_what_peers_told() {
    let mut candidates = Candidates::default();
    for n in 0..20 {
        candidates.learn(peer(n), many(50 + n, 1000), Time::ZERO);
    }
    candidates.learn(Source::Tracker, many(1, 5000), Time::ZERO);
    assert_eq!((candidates.count, candidates.told), (CANDIDATES_MAX, 0));
    candidates.learn(Source::User, many(2, 10), Time::ZERO);
    let first: Vec<_> = candidates.all().filter(|one| one.source == Source::User).collect();
    assert_eq!((candidates.count, first.len()), (CANDIDATES_MAX, 10));
    // A full table of one rank takes no more, until some of it failed.
    candidates.learn(Source::Tracker, many(3, 1), Time::ZERO);
    assert!(!candidates.known.contains_key(&IpAddr::from([3, 1, 0, 0])));
    let failed = next(&mut candidates, Time::ZERO).unwrap();
    candidates.ended(&failed, DialEnd::Failed, Time::ZERO);
    candidates.learn(Source::Tracker, many(3, 1), Time::ZERO);
    assert!(candidates.known.contains_key(&IpAddr::from([3, 1, 0, 0])));
    check_invariants(&candidates);
}

#[test]
fn ports_of_one_address_share_its_places() {
    let mut candidates = Candidates::default();
    let port = |port: u16| SocketAddr::from(([8, 8, 8, 8], port));
    candidates.learn(peer(1), (1..1000).map(port), Time::ZERO);
    assert_eq!(candidates.count, 1, "peers may name one port of an address");
    // The port that a tracker names is taken all the same, and the one that failed makes room for another.
    candidates.learn(Source::Tracker, (2000..3000).map(port), Time::ZERO);
    assert_eq!(candidates.count, TRACKER_PORTS_MAX);
    let mut candidates = Candidates::default();
    candidates.learn(peer(1), [port(1)], Time::ZERO);
    assert_eq!(next(&mut candidates, Time::ZERO), Some(port(1)));
    candidates.learn(peer(2), [port(2)], Time::ZERO);
    assert_eq!(candidates.count, 1, "a candidate that is being dialled stays");
    candidates.ended(&port(1), DialEnd::Failed, Time::ZERO);
    candidates.learn(peer(2), [port(2)], Time::ZERO);
    assert_eq!((candidates.count, next(&mut candidates, Time::ZERO)), (1, Some(port(2))));
    check_invariants(&candidates);
}

#[test]
fn trusted_sources_come_first_and_tellers_of_junk_last() {
    let mut candidates = Candidates::default();
    candidates.learn(peer(1), many(20, 3), Time::ZERO);
    candidates.learn(peer(2), many(30, 1), Time::ZERO);
    candidates.learn(Source::Tracker, [address(1)], Time::ZERO);
    assert_eq!(next(&mut candidates, Time::ZERO), Some(address(1)));
    let junk = next(&mut candidates, Time::ZERO).unwrap();
    assert_eq!(junk.ip(), IpAddr::from([20, 1, 0, 0]));
    candidates.ended(&junk, DialEnd::Failed, Time::ZERO);
    assert_eq!(next(&mut candidates, Time::ZERO).map(|one| one.ip()), Some(IpAddr::from([30, 1, 0, 0])));
    // What peers told can be left out, and is still due.
    assert_eq!(candidates.next(Time::ZERO, false), None);
    assert_eq!(candidates.due(), Some(Time::ZERO));
}

#[test]
fn an_address_that_a_tracker_confirms_begins_anew() {
    let mut candidates = Candidates::default();
    let seed = SocketAddr::from(([1, 2, 3, 4], 6881));
    candidates.learn(peer(1), [seed], Time::ZERO);
    let mut now = Time::ZERO;
    for _ in 0..10 {
        assert_eq!(next(&mut candidates, now), Some(seed));
        candidates.ended(&seed, DialEnd::Failed, now);
        now = now + RETRY_MAX;
    }
    now = Time::ZERO + RETRY_MAX * 9 + Duration::from_secs(1);
    assert_eq!(next(&mut candidates, now), None);
    candidates.learn(Source::Tracker, [seed], now);
    assert_eq!(candidates.next(now, false), Some(Chosen { address: seed, told: false }));
    check_invariants(&candidates);
}

#[test]
fn what_failed_makes_room_for_what_the_same_peer_tells_later() {
    let mut candidates = Candidates::default();
    candidates.learn(peer(1), many(20, 1000), Time::ZERO);
    candidates.learn(peer(1), many(21, 1), Time::ZERO);
    assert!(!candidates.known.contains_key(&IpAddr::from([21, 1, 0, 0])));
    let failed = next(&mut candidates, Time::ZERO).unwrap();
    candidates.ended(&failed, DialEnd::Failed, Time::ZERO);
    candidates.learn(peer(1), many(21, 1), Time::ZERO);
    assert!(candidates.known.contains_key(&IpAddr::from([21, 1, 0, 0])));
    check_invariants(&candidates);
}

#[test]
fn a_host_of_ipv6_has_a_few_places_whatever_its_addresses() {
    let of_host = |n: u16| SocketAddr::from(([0x2001, 0xdb8, 1, 2, 0, 0, 0, n], 6881));
    for source in [peer(1), Source::Tracker] {
        let mut candidates = Candidates::default();
        candidates.learn(source, (1..1000).map(of_host), Time::ZERO);
        assert_eq!(candidates.count, CANDIDATES_OF_HOST_MAX);
        candidates.learn(source, [SocketAddr::from(([0x2001, 0xdb8, 1, 3, 0, 0, 0, 1], 6881))], Time::ZERO);
        assert_eq!(candidates.count, CANDIDATES_OF_HOST_MAX + 1);
        // Those that failed make room.
        let failed = next(&mut candidates, Time::ZERO).unwrap();
        candidates.ended(&failed, DialEnd::Failed, Time::ZERO);
        candidates.learn(source, [of_host(2000)], Time::ZERO);
        assert!(candidates.get_mut(&of_host(2000)).is_some() && candidates.get_mut(&failed).is_none());
        check_invariants(&candidates);
    }
    let mut candidates = Candidates::default();
    candidates.learn(Source::User, (1..1000).map(of_host), Time::ZERO);
    assert_eq!(candidates.count, 999, "the user knows");
}

#[test]
fn connections_of_no_use_come_after_others_and_wait_longer_each_time() {
    let mut candidates = Candidates::default();
    candidates.learn(Source::Tracker, [address(1)], Time::ZERO);
    let mut now = Time::ZERO;
    for round in 0..5 {
        assert_eq!(next(&mut candidates, now), Some(address(1)));
        candidates.ended(&address(1), DialEnd::Idle, now);
        assert_eq!(candidates.due(), Some(now + RETRY_FIRST * (1 << round)));
        now = candidates.due().unwrap();
    }
    candidates.learn(peer(1), [address(2)], now);
    assert_eq!(next(&mut candidates, now), Some(address(2)));
    // What moved data is dialled again soon.
    assert_eq!(next(&mut candidates, now), Some(address(1)));
    candidates.ended(&address(1), DialEnd::Useful, now);
    assert_eq!(candidates.due(), Some(now + RETRY_FIRST));
}

#[test]
fn one_that_does_not_answer_is_dialled_again_at_once_with_the_other_hello() {
    let (mut candidates, address) = (Candidates::default(), SocketAddr::from(([192, 0, 2, 1], 1)));
    candidates.learn(Source::User, [address], Time::ZERO);
    let dial = |candidates: &mut Candidates| candidates.next(Time::ZERO, true).map(|chosen| chosen.address);
    assert_eq!(dial(&mut candidates), Some(address));
    assert_eq!(candidates.hello(&address, Mode::Prefer), Hello::Hidden);
    candidates.unanswered(&address, Hello::Hidden, Mode::Prefer, Time::ZERO);
    assert_eq!(dial(&mut candidates), Some(address));
    assert_eq!(candidates.hello(&address, Mode::Prefer), Hello::Plain);
    candidates.unanswered(&address, Hello::Plain, Mode::Prefer, Time::ZERO);
    // Both failed: it waits, as others that fail.
    assert_eq!(dial(&mut candidates), None);
    assert_eq!(candidates.due(), Some(Time::ZERO + RETRY_FIRST));
    // What answered is remembered.
    candidates.answered(&address, Hello::Plain);
    assert_eq!(candidates.hello(&address, Mode::Prefer), Hello::Plain);
    candidates.exclude(&address);
    candidates.unanswered(&address, Hello::Plain, Mode::Prefer, Time::ZERO);
    assert_eq!(dial(&mut candidates), None);
}
