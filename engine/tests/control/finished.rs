//! Stops and kills just after a download is complete: the next start has all of it and fetches nothing.

use crate::daemon::Daemon;
use crate::support::content::{Content, assert_same, single};
use crate::support::until;
use ringseed_tracker::{Tracker, TrackerConfig};
use serde_json::{Value, json};
use std::time::Duration;

/// How the daemon ends after the download is complete.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Stop,
    Kill,
}

/// What the starts after it found.
#[derive(Debug, Default)]
struct Found {
    rounds: u32,
    /// Starts that hashed the files first.
    checked: u32,
    /// Starts that did not come to 100 % by themselves.
    incomplete: u32,
}

struct Rig {
    _tracker: Tracker,
    seed: Daemon,
    content: Content,
}

impl Rig {
    fn new(length: u64) -> Rig {
        let config = TrackerConfig { http: Some("127.0.0.1:0".parse().unwrap()), ..TrackerConfig::default() };
        let tracker = Tracker::start(config).unwrap();
        let seed = Daemon::start(&[]);
        let url = format!("http://{}/announce", tracker.http_addr().unwrap());
        let content = single(&seed.dir("content"), length, "64K", &url);
        seed.seed(&content);
        Rig { _tracker: tracker, seed, content }
    }

    /// Downloads all of it, ends the daemon after `pause`, starts it again without the seed's address and looks.
    fn round(&self, end: End, pause: Duration, found: &mut Found) {
        found.rounds += 1;
        let hash = &self.content.info_hash;
        let mut leech = Daemon::start(&[]);
        let target = leech.dir("target");
        leech.call("torrent-add", json!({"filename": self.content.torrent, "download-dir": target}));
        until("the whole torrent", || {
            let torrent = leech.torrent(hash, &["percentDone"]);
            (torrent["percentDone"] == 1.0 || torrent["percentDone"] == 1).then_some(())
        });
        std::thread::sleep(pause);
        // Nothing is to be had from anybody after the end.
        self.seed.call("torrent-stop", json!({"ids": [hash]}));
        match end {
            End::Stop => leech.restart(),
            End::Kill => leech.kill_and_restart(),
        }
        let mut checked = false;
        let last: Value = until("the check", || {
            let torrent = leech.torrent(hash, &["status", "percentDone", "leftUntilDone", "errorString"]);
            let checks = torrent["status"] == 1 || torrent["status"] == 2;
            checked |= checks;
            (!checks).then_some(torrent)
        });
        found.checked += u32::from(checked);
        if last["status"] != 6 || last["leftUntilDone"] != 0 {
            found.incomplete += 1;
            eprintln!("round {} ({end:?} after {pause:?}): {last}", found.rounds);
        }
        assert_same(&self.content, &target);
        self.seed.call("torrent-start", json!({"ids": [hash]}));
        self.seed.wait(hash, "the seed", |torrent| torrent["status"] == 6);
    }
}

fn rounds(end: End, count: u32, length: u64) {
    let rig = Rig::new(length);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut found = Found::default();
    for _ in 0..count {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        rig.round(end, Duration::from_millis((random >> 33) % 3000), &mut found);
    }
    println!("{end:?}: {found:?}");
    assert_eq!(found.incomplete, 0, "{found:?}");
    if end == End::Stop {
        assert_eq!(found.checked, 0, "after a stop in good order nothing is to be hashed: {found:?}");
    }
}

/// What a shard had published last was stored after what it had reported since, and was trusted at the next start.
#[test]
fn a_finished_download_is_complete_after_a_stop() {
    rounds(End::Stop, 4, 24 << 20);
}

#[test]
fn a_finished_download_is_complete_after_a_kill() {
    rounds(End::Kill, 3, 24 << 20);
}

#[test]
#[ignore = "a measurement: a hundred stops take some minutes"]
fn a_hundred_stops_after_the_end() {
    rounds(End::Stop, 100, 24 << 20);
}

#[test]
#[ignore = "a measurement: a hundred kills take some minutes"]
fn a_hundred_kills_after_the_end() {
    rounds(End::Kill, 100, 24 << 20);
}
