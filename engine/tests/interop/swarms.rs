//! Swarms of several clients.

use super::{RunningTracker, Through, clients::Client, clients::Role, is_written, ringseed};
use crate::support::content::{assert_same, single};
use crate::support::until;

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
    for (other, folder) in others.iter_mut().zip(&folders[5..]) {
        other.wait_complete();
        // They say so before all of it has left their memory, and must not be ended before that.
        let (from, to) = (source.path().join(&content.name), folder.path().join(&content.name));
        until("the last bytes to be written", || is_written(&from, &to).then_some(()));
    }
    drop(others);
    for process in &mut ours {
        process.terminate();
    }
    for folder in &folders {
        assert_same(&content, folder.path());
    }
}
