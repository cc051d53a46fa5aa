//! BEP 12 order, events, intervals and back-off of one tier, in virtual time.

use super::*;

fn tier(urls: &[&str]) -> (Tier, Jitter) {
    let mut jitter = Jitter::new(Some(7));
    let urls = urls.iter().map(|url| (*url).to_owned()).collect();
    let mut tier = Tier::new(TierId(1), urls, Base::default(), &mut jitter);
    tier.trackers.sort_by(|a, b| a.text.cmp(&b.text)); // the order that the tests name
    (tier, jitter)
}

fn order(tier: &Tier) -> Vec<&str> {
    tier.trackers.iter().map(|tracker| &tracker.text[7..8]).collect()
}

const URLS: [&str; 3] = ["http://a/", "http://b/", "http://c/"];

#[test]
fn the_tracker_that_answers_moves_to_the_front() {
    let (mut tier, mut jitter) = tier(&URLS);
    let now = Instant::now();
    for _ in 0..2 {
        assert_eq!(tier.failed(now, &Failure::Unreachable("x".into()), &mut jitter), Some(now));
    }
    assert_eq!(tier.choose(now), Some(2));
    assert_eq!(tier.next_event(false), AnnounceEvent::Started);
    let due = tier.succeeded(now, AnnounceEvent::Started, &AnnounceResponse::default(), 0, &mut jitter);
    assert_eq!(order(&tier), ["c", "a", "b"]);
    assert!(due >= now + INTERVAL_DEFAULT && due <= now + INTERVAL_DEFAULT * 21 / 20);
    assert_eq!(tier.next_event(false), AnnounceEvent::None);
    // The front fails: the next in line is asked, as one who knows nothing of us.
    tier.failed(now, &Failure::refused("x"), &mut jitter);
    assert_eq!((tier.choose(now), tier.next_event(false)), (Some(1), AnnounceEvent::Started));
}

#[test]
fn another_address_is_told_at_once_and_not_to_those_that_do_not_answer() {
    let (mut tier, mut jitter) = tier(&URLS[..1]);
    let now = Instant::now();
    assert_eq!(tier.moved(now), None, "nobody knows the old one");
    let due = tier.succeeded(now, AnnounceEvent::Started, &AnnounceResponse::default(), 0, &mut jitter);
    tier.phase = TierPhase::Waiting(Some(due));
    assert_eq!(tier.moved(now), Some(now), "whatever the minimum interval");
    tier.phase = TierPhase::Running(AnnounceEvent::None);
    assert_eq!(tier.moved(now), None);
    let due = tier.succeeded(now, AnnounceEvent::None, &AnnounceResponse::default(), 0, &mut jitter);
    assert_eq!(due, now, "what was in flight told the old one");
    let due = tier.succeeded(now, AnnounceEvent::None, &AnnounceResponse::default(), 0, &mut jitter);
    assert!(due > now + INTERVAL_MIN);
    let due = tier.failed(now, &Failure::Unreachable("x".into()), &mut jitter);
    tier.phase = TierPhase::Waiting(due);
    assert_eq!(tier.moved(now), due, "a tracker that is down is told when it is back");
}

#[test]
fn a_round_of_failures_backs_off_and_doubles() {
    let (mut tier, mut jitter) = tier(&URLS[..1]);
    let now = Instant::now();
    let mut last = Duration::ZERO;
    for round in 0..30 {
        let due = tier.failed(now, &Failure::Unreachable("x".into()), &mut jitter).unwrap() - now;
        assert!(due <= RETRY_LAST && due > last / 2, "{round}: {due:?} after {last:?}");
        assert!(round > 6 || due > last);
        last = due;
    }
    assert!(last >= RETRY_LAST * 3 / 4);
    tier.succeeded(now, AnnounceEvent::None, &AnnounceResponse::default(), 0, &mut jitter);
    assert!(tier.failed(now, &Failure::refused("x"), &mut jitter).unwrap() - now <= RETRY_FIRST);
}

#[test]
fn completed_waits_for_a_tracker_that_knows_us() {
    let (mut tier, mut jitter) = tier(&URLS);
    let now = Instant::now();
    tier.phase = TierPhase::Running(AnnounceEvent::Started);
    assert_eq!(tier.complete(now), None);
    let response = AnnounceResponse::default();
    assert_eq!(tier.succeeded(now, AnnounceEvent::Started, &response, 0, &mut jitter), now);
    assert_eq!(tier.next_event(false), AnnounceEvent::Completed);
    assert!(tier.succeeded(now, AnnounceEvent::Completed, &response, 0, &mut jitter) > now);
    assert_eq!(tier.next_event(false), AnnounceEvent::None);
    tier.phase = TierPhase::Waiting(Some(now + INTERVAL_DEFAULT));
    assert_eq!(tier.complete(now), Some(now));
}

/// BEP 21: every regular announce says so, and the events that there are come first.
#[test]
fn a_partial_seed_says_so_with_each_regular_announce() {
    let (mut tier, mut jitter) = tier(&URLS[..1]);
    let now = Instant::now();
    assert_eq!(tier.next_event(true), AnnounceEvent::Started);
    tier.succeeded(now, AnnounceEvent::Started, &AnnounceResponse::default(), 0, &mut jitter);
    assert_eq!((tier.next_event(true), tier.next_event(false)), (AnnounceEvent::Paused, AnnounceEvent::None));
    tier.complete(now);
    assert_eq!(tier.next_event(true), AnnounceEvent::Completed);
}

#[test]
fn intervals_are_kept_within_reason() {
    let (mut tier, mut jitter) = tier(&URLS[..1]);
    let now = Instant::now();
    let mut due = |interval, min_interval| {
        let response = AnnounceResponse { interval, min_interval, ..AnnounceResponse::default() };
        tier.succeeded(now, AnnounceEvent::None, &response, 0, &mut jitter) - now
    };
    assert!(due(0, None) >= INTERVAL_DEFAULT);
    assert!(due(1, None) >= INTERVAL_MIN);
    assert!(due(u32::MAX, None) <= INTERVAL_MAX * 21 / 20);
    assert!(due(120, Some(600)) >= Duration::from_secs(600));
    assert!((120..=126).contains(&due(120, Some(0)).as_secs()));
}

#[test]
fn a_manual_announce_keeps_the_minimum_interval() {
    let (mut tier, mut jitter) = tier(&URLS[..1]);
    let now = Instant::now();
    let response = AnnounceResponse { min_interval: Some(300), ..AnnounceResponse::default() };
    let due = tier.succeeded(now, AnnounceEvent::Started, &response, 0, &mut jitter);
    tier.phase = TierPhase::Waiting(Some(due));
    assert_eq!(tier.reannounce(now), Some(now + Duration::from_secs(300)));
    let later = now + Duration::from_secs(301);
    assert_eq!(tier.reannounce(later), Some(later));
    tier.phase = TierPhase::Queued;
    assert_eq!(tier.reannounce(later), None);
}

#[test]
fn retry_in_is_obeyed_and_never_means_never() {
    let (mut tier, mut jitter) = tier(&URLS[..2]);
    let now = Instant::now();
    let refused = |retry| Failure::Refused { text: "go away".into(), retry };
    let pause = Duration::from_secs(7200);
    assert_eq!(tier.failed(now, &refused(RetryRule::Never), &mut jitter), Some(now));
    assert_eq!(tier.failed(now, &refused(RetryRule::After(pause)), &mut jitter), Some(now + pause));
    assert_eq!(tier.choose(now + Duration::from_secs(60)), None);
    assert_eq!(tier.choose(now + pause), Some(1));
    assert_eq!(tier.failed(now, &refused(RetryRule::Never), &mut jitter), None);
    // The user may ask all the same.
    tier.phase = TierPhase::Waiting(None);
    assert_eq!(tier.reannounce(now), Some(now));
    assert_eq!(tier.choose(now), Some(0));
}

#[test]
fn long_texts_are_cut_at_a_character() {
    let (mut tier, mut jitter) = tier(&URLS[..1]);
    tier.failed(Instant::now(), &Failure::refused("é".repeat(1000)), &mut jitter);
    let LastResult::Failed(text) = &tier.trackers[0].last else { panic!() };
    assert_eq!(text.chars().count(), TEXT_CHARS_MAX + 3);
}
