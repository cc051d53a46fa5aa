//! Announces at our tracker, over both transports.

mod support;

use ringseed_loadtest::{
    progress::Progress,
    swarm::Announce,
    tracker_load::{self, TrackerConfig},
};
use support::{assert_passed, tools};

fn announced(transport: Announce) {
    let (tools, _dir) = tools();
    let config = TrackerConfig {
        transport,
        peers: 3000,
        torrents: 50,
        connections: 16,
        seconds: 1.0,
        ..TrackerConfig::default()
    };
    let report = tracker_load::run(&config, &tools, &Progress::silent()).unwrap();
    // Among the checks: the tracker counts exactly the peers that were announced.
    assert_passed(&report);
    assert_eq!(report.value("tracker_peers", &[]), Some(3000.0));
    assert!(report.value("requests_answered", &[("part", "mix")]).is_some_and(|answered| answered > 100.0));
}

#[test]
fn udp() {
    announced(Announce::Udp);
}

#[test]
fn http() {
    announced(Announce::Http);
}

#[test]
fn a_tracker_that_refuses_fails_the_checks() {
    let (tools, dir) = tools();
    let nothing = dir.path().join("allowed");
    std::fs::write(&nothing, "# nobody\n").unwrap();
    let config = TrackerConfig {
        peers: 20,
        connections: 2,
        seconds: 0.1,
        tracker_args: vec!["--allow-list".into(), nothing.to_string_lossy().into_owned()],
        ..TrackerConfig::default()
    };
    let report = tracker_load::run(&config, &tools, &Progress::silent()).unwrap();
    let refused = report.checks.iter().find(|check| check.what == "no request is refused or lost").unwrap();
    assert!(!refused.passed && refused.detail.contains(" x "), "{refused:?}");
}
