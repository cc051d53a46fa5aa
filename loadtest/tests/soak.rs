//! A short soak.

mod support;

use ringseed_loadtest::{
    progress::Progress,
    quantity::Bytes,
    soak::{self, SoakConfig},
};
use support::{assert_passed, tools};

#[test]
fn rounds_leave_nothing_behind() {
    let (tools, _dir) = tools();
    let config = SoakConfig {
        peers: 2,
        size: Bytes(4 << 20),
        piece: Bytes(64 << 10),
        rounds_max: 6,
        seconds: 60.0,
        // What small rounds leave in buffers is much beside what they need.
        growth_percent_max: 30.0,
        ..SoakConfig::default()
    };
    let report = soak::run(&config, &tools, &Progress::silent()).unwrap();
    assert_passed(&report);
    assert_eq!(report.value("rounds", &[]), Some(6.0));
    assert!(report.value("open_descriptors", &[("process", "peer 2")]).is_some_and(|open| open > 5.0));
}
