//! Small swarms of real engines.

mod support;

use ringseed_loadtest::{
    progress::Progress,
    quantity::Bytes,
    swarm::{self, Arrival, SeedsLeave, SwarmConfig},
};
use support::{assert_passed, run, tools};

#[test]
fn four_engines_get_everything_and_the_report_has_all_formats() {
    let reports = tempfile::tempdir().unwrap();
    let text = "kind = \"swarm\"\nname = \"four\"\npeers = 4\nsize = \"8M\"\npiece = \"64K\"\nsample_ms = 50\n\
                limit_s = 60\n";
    let (status, report, errors) = run(text, false, Some(reports.path()));
    let report = report.unwrap_or_else(|| panic!("no report: {errors}"));
    assert_passed(&report);
    assert_eq!(status, Some(0), "{errors}");
    let total = f64::from(4 * (8 << 20));
    let received = report.value("payload_received_bytes", &[]).unwrap();
    assert!((total..total * 1.5).contains(&received), "{received} of {total}");
    assert!(report.value("wire_overhead_ratio", &[]).unwrap() > 1.0);
    assert!(report.value("time_to_complete_seconds", &[("percent", "100")]).unwrap() > 0.0);
    // Four starts and the seed's at least.
    assert!(report.value("tracker_announces", &[]).unwrap() >= 5.0);
    assert_eq!(report.tables[0].rows.len(), 5);
    let mut kinds: Vec<_> = std::fs::read_dir(reports.path())
        .unwrap()
        .map(|entry| entry.unwrap().path().extension().unwrap().to_string_lossy().into_owned())
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["html", "json", "prom", "txt"]);
}

#[test]
fn peers_finish_among_themselves_when_the_seed_leaves_at_one_copy() {
    let (tools, _dir) = tools();
    let config = SwarmConfig {
        peers: 3,
        size: Bytes(8 << 20),
        piece: Bytes(64 << 10),
        seed_upload: Bytes(4 << 20),
        seeds_leave: SeedsLeave::AtOneCopy,
        arrival: Arrival::Staggered,
        arrival_s: 0.4,
        sample_ms: 50,
        interval_s: 2,
        limit_s: 60.0,
        ..SwarmConfig::default()
    };
    let report = swarm::run(&config, &tools, &Progress::silent()).unwrap();
    assert_passed(&report);
    assert!(report.charts[0].marks.iter().any(|mark| mark.label == "seeds leave"), "{:?}", report.charts[0]);
}

#[test]
fn a_swarm_that_does_not_finish_in_time_fails_and_says_what() {
    let text =
        "kind = \"swarm\"\npeers = 2\nsize = \"8M\"\nseed_upload = \"100K\"\nsample_ms = 50\nlimit_s = 1.5\n";
    let (status, report, errors) = run(text, false, None);
    assert_eq!(status, Some(1), "{errors}");
    assert!(errors.contains("did not hold: every peer has everything; byte-exact"), "{errors}");
    let report = report.expect("a report all the same");
    assert_eq!(report.value("time_to_complete_seconds", &[("percent", "100")]), None);
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    let (status, report, errors) = run("kind = \"swarm\"\npeers = 0\n", false, None);
    assert_eq!((status, report.is_none()), (Some(2), true), "{errors}");
    assert!(errors.contains("at least 1"), "{errors}");
}
