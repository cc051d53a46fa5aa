//! Small swarms to which bad things happen: nothing may be lost.

mod support;

use support::{assert_passed, run};

#[test]
fn kills_a_stop_and_a_lost_tracker_lose_nothing() {
    let text = r#"
        kind = "chaos"
        peers = 3
        size = "16M"
        piece = "64K"
        seed_upload = "6M"
        peer_upload = "6M"
        interval_s = 1
        sample_ms = 50
        limit_s = 90
        [[event]]
        at_percent = 10
        do = "tracker-down"
        for_s = 1
        [[event]]
        at_percent = 20
        do = "kill"
        peers = [1]
        for_s = 0.2
        [[event]]
        at_percent = 40
        do = "stop"
        peers = [2]
        for_s = 1
        [[event]]
        at_percent = 60
        do = "kill"
        peers = [3]
        seeds = [1]
        for_s = 0.5
    "#;
    let (_, report, errors) = run(text, false, None);
    let report = report.unwrap_or_else(|| panic!("no report: {errors}"));
    assert_passed(&report);
    let marks: Vec<&str> = report.charts[0].marks.iter().map(|mark| mark.label.as_str()).collect();
    for wanted in
        ["tracker down", "tracker down over", "kill peer 1", "stop over peer 2", "kill seed 1, peer 3"]
    {
        assert!(marks.contains(&wanted), "{wanted} is not in {marks:?}");
    }
}

#[test]
fn a_partition_and_a_full_disk_lose_nothing() {
    let text = r#"
        kind = "chaos"
        peers = 3
        size = "16M"
        piece = "64K"
        network = "links"
        seed_upload = "6M"
        peer_upload = "6M"
        interval_s = 1
        sample_ms = 50
        limit_s = 120
        [[event]]
        at_s = 0
        do = "disk-full"
        peers = [1]
        for_s = 2
        [[event]]
        at_percent = 20
        do = "partition"
        peers = [2, 3]
        for_s = 2
    "#;
    let (_, report, errors) = run(text, true, None);
    let report = report.unwrap_or_else(|| panic!("no report: {errors}"));
    assert_passed(&report);
}
