//! Comparisons of seeders, small: every make is started, serves every peer, and its bytes are right.

mod support;

use ringseed_loadtest::{
    blast_compare::{self, CompareConfig},
    idle_run::{self, IdleRunConfig},
    progress::Progress,
    quantity::Bytes,
    seeder::Maker,
};
use support::{assert_passed, tools};

fn compared(seeders: &[Maker]) {
    let (tools, _dir) = tools();
    let config = CompareConfig {
        seeders: seeders.to_vec(),
        size: Bytes(8 << 20),
        piece: Bytes(256 << 10),
        connections: 4,
        depth: 40,
        measure: Bytes(12 << 20),
        warmup: Bytes(1 << 20),
        runs: 1,
        verify: true,
        ..CompareConfig::default()
    };
    let report = blast_compare::run(&config, &tools, &Progress::silent()).unwrap();
    assert_passed(&report);
    assert_eq!((report.tables[0].rows.len(), report.versions.len()), (seeders.len(), seeders.len()));
    for maker in seeders {
        let rate = report.value("payload_bytes_per_second", &[("seeder", maker.name())]);
        assert!(rate.is_some_and(|rate| rate > 0.0), "{}", maker.name());
    }
    assert_eq!(report.value("connections_served", &[("seeder", "ringseed")]), Some(4.0));
}

#[test]
fn ringseed_beside_rtorrent_and_libtorrent() {
    compared(&[Maker::Ringseed, Maker::Rtorrent, Maker::Libtorrent]);
}

#[test]
fn ringseed_beside_transmission_qbittorrent_and_aria2() {
    compared(&[Maker::Ringseed, Maker::Transmission, Maker::Qbittorrent, Maker::Aria2]);
}

#[test]
fn idle_peers_are_counted_and_cost_memory() {
    let (tools, _dir) = tools();
    let config = IdleRunConfig {
        connections: 200,
        hold_s: 0.5,
        size: Bytes(1 << 20),
        engine_args: vec!["--shards".into(), "1".into(), "--no-pin".into()],
        ..IdleRunConfig::default()
    };
    let report = idle_run::run(&config, &tools, &Progress::silent()).unwrap();
    assert_passed(&report);
    assert_eq!(report.value("connections_open", &[]), Some(200.0));
    assert!(report.value("memory_bytes_per_connection", &[]).is_some_and(|bytes| bytes < 200_000.0));
}
