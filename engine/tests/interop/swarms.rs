//! Swarms of several clients.

use super::{RunningTracker, Through, clients::Client, clients::Role, ringseed};
use crate::support::content::{assert_same, single};

#[test]
fn five_ringseed_and_two_others_complete_from_one_seed() {
    let through = Through::RingseedHttp;
    let tracker = RunningTracker::start(through);
    let source = tempfile::tempdir().unwrap();
    let content = single(source.path(), 64 << 20, "256K", &tracker.url(through));
    let folders: Vec<_> = (0..7).map(|_| tempfile::tempdir().unwrap()).collect();
    let states: Vec<_> = (0..6).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut seed = ringseed(Role::Seed, &content, source.path(), states[5].path(), &["--shards", "1"]);
    seed.wait_for("seeding");
    tracker.wait_peers(&content, 1);
    let mut others = [
        Client::Libtorrent.start(Role::Download, &content.torrent, &content.info_hash, folders[5].path()),
        Client::Aria2.start(Role::Download, &content.torrent, &content.info_hash, folders[6].path()),
    ];
    let mut ours: Vec<_> = (0..5)
        .map(|n| {
            let more = ["--shards", "1", "--seed-ratio", "1000"];
            ringseed(Role::Download, &content, folders[n].path(), states[n].path(), &more)
        })
        .collect();
    for process in &mut ours {
        process.wait_for("complete");
    }
    for other in &mut others {
        other.wait_complete();
    }
    drop(others);
    for process in &mut ours {
        process.terminate();
    }
    for folder in &folders {
        assert_same(&content, folder.path());
    }
}
