//! What users want of a session, done by real engines: order of files, queues, goals, limits by the clock, blocklists,
//! trackers of a torrent.

use crate::daemon::{Daemon, get};
use crate::pair::Pair;
use crate::support::content::{Content, assert_same, multi};
use crate::support::{rpc, until};
use ringseed_tracker::{Tracker, TrackerConfig};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

fn completed(pair: &Pair) -> Vec<(u64, u64)> {
    let files = pair.leech.torrent(&pair.content.info_hash, &["files"])["files"].clone();
    let number = |file: &Value, name: &str| file[name].as_u64().unwrap();
    files
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (number(file, "bytesCompleted"), number(file, "length")))
        .collect()
}

#[test]
fn files_of_high_priority_come_first_and_those_of_low_priority_last() {
    let pair = Pair::new(json!({}));
    let add = json!({"filename": pair.content.torrent, "download-dir": pair.target(), "priority-high": [2],
        "priority-low": [0]});
    pair.leech.call("torrent-add", add);
    until("the file of high priority", || {
        let files = completed(&pair);
        (files[2].0 == files[2].1).then_some(())
    });
    let files = completed(&pair);
    // The pieces at its ends have bytes of its neighbours.
    let beside = 3 * 65_536;
    assert!(files[0].0 <= beside && files[4].0 <= 2_000_000, "{files:?}");
    until("the file of usual priority", || {
        let files = completed(&pair);
        (files[4].0 == files[4].1).then_some(())
    });
    assert!(completed(&pair)[0].0 < files[0].1, "the file of low priority was not last");
}

#[test]
fn the_download_queue_lets_so_many_run() {
    let mut daemon = Daemon::start(&[]);
    daemon.call("session-set", json!({"download-queue-enabled": true, "download-queue-size": 1}));
    let (one, many) = (daemon.single("one"), daemon.multi("many"));
    for content in [&one, &many] {
        daemon.call("torrent-add", json!({"filename": content.torrent, "download-dir": daemon.dir("empty")}));
    }
    daemon.wait(&one.info_hash, "downloading", |torrent| torrent["status"] == 4);
    daemon.wait(&many.info_hash, "queued", |torrent| torrent["status"] == 3);
    // What is started over the head of the queue stays so over a restart.
    daemon.call("torrent-start-now", json!({"ids": [many.info_hash]}));
    daemon.wait(&many.info_hash, "the start", |torrent| torrent["status"] == 4);
    daemon.restart();
    daemon.wait(&one.info_hash, "downloading", |torrent| torrent["status"] == 4);
    assert_eq!(daemon.torrent(&many.info_hash, &["status"])["status"], 4);
    daemon.call("torrent-stop", json!({"ids": [many.info_hash]}));
    daemon.wait(&many.info_hash, "the stop", |torrent| torrent["status"] == 0);
    daemon.call("torrent-start", json!({"ids": [many.info_hash]}));
    daemon.wait(&many.info_hash, "queued", |torrent| torrent["status"] == 3);
    daemon.call("torrent-stop", json!({"ids": [one.info_hash]}));
    daemon.wait(&many.info_hash, "its turn", |torrent| torrent["status"] == 4);
    daemon.call("session-set", json!({"download-queue-enabled": false}));
    daemon.call("torrent-start", json!({"ids": [one.info_hash]}));
    daemon.wait(&one.info_hash, "downloading", |torrent| torrent["status"] == 4);
}

/// Ratio, idle time and seeding time, each for the session or the torrent.
#[test]
fn seeding_ends_at_its_goals() {
    let mut daemon = Daemon::start(&[]);
    let content = daemon.single("one");
    daemon.seed(&content);
    let hash = content.info_hash.as_str();
    let seeds = |daemon: &Daemon| daemon.torrent(hash, &["status"])["status"] == 6;
    let peer = format!("127.0.0.1:{}", daemon.call("session-get", json!({}))["peer-port"]);
    daemon.call("session-set", json!({"seedRatioLimited": true, "seedRatioLimit": 0.9}));
    assert!(seeds(&daemon), "nothing was uploaded yet");
    get(&content, &daemon.dir("download"), &["--peer", &peer]).wait_success();
    let ended = daemon.wait(hash, "the goal", |torrent| torrent["status"] == 0);
    assert!(ended["isFinished"] == true && ended["error"] == 0, "{ended}");
    assert!(daemon.torrent(hash, &["uploadRatio"])["uploadRatio"].as_f64().unwrap() >= 0.9);
    // Its own wish is stronger than the session's.
    for (set, ends) in [
        (json!({"seedRatioMode": 2}), false),
        (json!({"seedRatioMode": 1, "seedRatioLimit": 50.0}), false),
        (json!({"seedRatioMode": 1, "seedRatioLimit": 0.5}), true),
        (json!({"seedRatioMode": 2, "seedIdleMode": 1, "seedIdleLimit": 1000}), false),
        (json!({"seedIdleMode": 1, "seedIdleLimit": 0}), true),
        (json!({"seedIdleMode": 2, "ringseedSeedMinutes": 1000}), false),
        (json!({"ringseedSeedMinutes": 0}), true),
        (json!({"ringseedSeedMinutes": -1}), false),
    ] {
        let mut arguments = set.clone();
        arguments["ids"] = json!([hash]);
        daemon.call("torrent-set", arguments);
        daemon.call("torrent-start", json!({"ids": [hash]}));
        match ends {
            true => {
                let ended = daemon.wait(hash, &set.to_string(), |torrent| torrent["status"] == 0);
                assert_eq!(ended["isFinished"], true, "{set}");
            }
            // Goals are looked at with each change, before it is answered.
            false => assert!(seeds(&daemon), "{set}"),
        }
    }
    // Who stops it by hand has not finished it.
    daemon.call("torrent-set", json!({"ids": [hash], "seedRatioMode": 2}));
    daemon.call("torrent-stop", json!({"ids": [hash]}));
    assert_eq!(daemon.wait(hash, "the stop", |torrent| torrent["status"] == 0)["isFinished"], false);
    daemon.call("torrent-set", json!({"ids": [hash], "seedIdleMode": 1, "seedIdleLimit": 0}));
    daemon.call("torrent-start", json!({"ids": [hash]}));
    daemon.wait(hash, "the idle limit", |torrent| torrent["isFinished"] == true);
    daemon.restart();
    assert_eq!(daemon.torrent(hash, &["isFinished", "status"]), json!({"isFinished": true, "status": 0}));
}

/// One repaired piece and a little upload were taken for a ratio of that piece.
#[test]
fn a_ratio_is_to_what_is_here_and_not_to_one_repaired_piece() {
    let pair = Pair::new(json!({}));
    let target = pair.target();
    let data = pair.content.dir.join(&pair.content.name);
    let copied = std::process::Command::new("cp").arg("-r").args([&data, &target]).status().unwrap();
    assert!(copied.success());
    let file = target.join(&pair.content.name).join("z last.bin");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[2_000_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    pair.add();
    let hash = pair.content.info_hash.as_str();
    pair.leech.wait(hash, "the repair", |torrent| torrent["status"] == 6);
    let got = pair.leech.torrent(hash, &["downloadedEver", "uploadRatio", "sizeWhenDone"]);
    assert!(got["downloadedEver"].as_u64().unwrap() < 200_000 && got["uploadRatio"] == 0.0, "{got}");
    // All comes from the one whose ratio is looked at.
    pair.seed.call("torrent-stop", json!({"ids": [hash]}));
    pair.leech.call("torrent-set", json!({"ids": [hash], "seedRatioMode": 1, "seedRatioLimit": 0.9}));
    let peer = format!("127.0.0.1:{}", pair.leech.call("session-get", json!({}))["peer-port"]);
    get(&pair.content, &pair.leech.dir("again"), &["--peer", &peer]).wait_success();
    let ended = pair.leech.wait(hash, "the goal", |torrent| torrent["status"] == 0);
    assert_eq!(ended["isFinished"], true);
    let ratio = pair.leech.torrent(hash, &["uploadRatio"])["uploadRatio"].as_f64().unwrap();
    assert!((0.9..1.2).contains(&ratio), "{ratio}");
}

/// What was switched by hand between two ends of the schedule was forgotten by a restart.
#[test]
fn a_manual_override_of_the_schedule_outlives_a_restart() {
    let mut daemon = Daemon::start(&[]);
    let now = minute();
    let on = |daemon: &Daemon| daemon.call("session-get", json!({}))["alt-speed-enabled"] == true;
    let around = json!({"alt-speed-time-enabled": true, "alt-speed-time-day": 127,
        "alt-speed-time-begin": (now + 1440 - 60) % 1440, "alt-speed-time-end": (now + 60) % 1440});
    daemon.call("session-set", around);
    assert!(on(&daemon), "it holds as soon as it is set");
    daemon.call("session-set", json!({"alt-speed-enabled": false}));
    daemon.restart();
    assert!(!on(&daemon));
    // A clock that is looked at each second has been looked at by now.
    let begun = std::time::Instant::now();
    until("two seconds", || (begun.elapsed().as_millis() > 2200).then_some(()));
    assert!(!on(&daemon));
    daemon.call("session-set", json!({"alt-speed-time-end": (now + 61) % 1440}));
    assert!(on(&daemon), "another schedule begins anew");
}

/// Minute of the day where this process is, as the daemon sees it.
fn minute() -> u32 {
    let text = std::process::Command::new("date").arg("+%H %M").output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    let (hour, minute) = text.trim().split_once(' ').unwrap();
    hour.parse::<u32>().unwrap() * 60 + minute.parse::<u32>().unwrap()
}

#[test]
fn alternative_limits_hold_by_the_clock_and_by_hand() {
    let pair = Pair::new(json!({}));
    pair.limit(None);
    let leech = &pair.leech;
    let alt = || leech.call("session-get", json!({}))["alt-speed-enabled"] == true;
    let now = minute();
    let around = |from: u32, to: u32| {
        json!({"alt-speed-time-enabled": true, "alt-speed-time-day": 127,
        "alt-speed-time-begin": (now + from) % 1440, "alt-speed-time-end": (now + to) % 1440})
    };
    leech.call("session-set", json!({"alt-speed-down": 200, "alt-speed-up": 200}));
    leech.call("session-set", around(60, 120));
    leech.call("session-set", around(1440 - 10, 60));
    until("the schedule to begin", || alt().then_some(()));
    pair.add();
    let hash = pair.content.info_hash.as_str();
    let rate = || leech.torrent(hash, &["rateDownload"])["rateDownload"].as_u64().unwrap();
    until("the slow download", || (rate() > 100_000).then_some(()));
    let (left, begun) = (pair.left(), std::time::Instant::now());
    until("a second of it", || (begun.elapsed().as_millis() > 1500).then_some(()));
    // 200 kB/s for that long, and what a piece of 64 KiB and a busy machine do to it.
    let moved = left - pair.left();
    let most = (begun.elapsed().as_millis() as u64 + 500) * 200 + 4 * 65_536;
    assert!(moved <= most, "{moved} bytes came, {most} may");
    leech.call("session-set", around(60, 120));
    until("the schedule to end", || (!alt()).then_some(()));
    leech.wait(hash, "the fast download", |torrent| torrent["status"] == 6);
    // What is switched by hand stays until the next end of the schedule.
    leech.call("session-set", json!({"alt-speed-enabled": true}));
    assert!(alt());
    leech.call("session-set", json!({"alt-speed-time-enabled": false, "alt-speed-enabled": false}));
    assert!(!alt());
}

/// Serves bytes at a URL, as often as they are asked for.
fn serve(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/list", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 2000]);
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes));
        }
    });
    url
}

fn gzip(bytes: &[u8], dir: &Path) -> Vec<u8> {
    let path = dir.join("list");
    std::fs::write(&path, bytes).unwrap();
    let output = std::process::Command::new("gzip").arg("-c").arg(&path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Each form keeps a real peer out, and the list is there again after a kill.
#[test]
fn peers_of_the_blocklist_are_neither_dialled_nor_let_in() {
    let mut daemon = Daemon::start(&["--rpc-fetch-local"]);
    let content = daemon.single("one");
    daemon.seed(&content);
    let dir = tempfile::tempdir().unwrap();
    let peer = |daemon: &Daemon| format!("127.0.0.1:{}", daemon.call("session-get", json!({}))["peer-port"]);
    let says_hello = |daemon: &Daemon| {
        let mut stream = std::net::TcpStream::connect(peer(daemon)).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        let hash: Vec<u8> = (0..20)
            .map(|byte| u8::from_str_radix(&content.info_hash[2 * byte..][..2], 16).unwrap())
            .collect();
        let hello =
            [b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".as_slice(), &hash, b"-XX0000-abcdefghijkl"].concat();
        let _ = stream.write_all(&hello);
        let mut answer = [0; 48];
        let let_in = stream.read_exact(&mut answer).is_ok() && answer[28..48] == hash[..];
        (let_in, stream)
    };
    let is_let_in = |daemon: &Daemon| says_hello(daemon).0;
    let (let_in, mut before) = says_hello(&daemon);
    assert!(let_in);
    daemon.call("session-set", json!({"blocklist-enabled": true}));
    let p2p = b"# comment\nlocal machines:127.0.0.0-127.0.0.9\nothers:10.0.0.0-10.0.0.1\n".to_vec();
    let cidr = b"127.0.0.0/8\n2001:db8::/32\n".to_vec();
    let other = b"192.0.2.0/24\n".to_vec();
    for (list, rules, blocks) in [
        (p2p.clone(), 2, true),
        (other.clone(), 1, false),
        (cidr, 2, true),
        (gzip(&other, dir.path()), 1, false),
        (gzip(&p2p, dir.path()), 2, true),
    ] {
        daemon.call("session-set", json!({"blocklist-url": serve(list)}));
        assert_eq!(daemon.call("blocklist-update", json!({})), json!({"blocklist-size": rules}));
        assert_eq!(daemon.call("session-get", json!({}))["blocklist-size"], rules);
        assert_eq!(is_let_in(&daemon), !blocks);
        if blocks {
            // Who was there before is sent away.
            let ended = before.read_to_end(&mut Vec::new());
            assert!(!ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        }
    }
    // A list that cannot be read changes nothing.
    daemon.call("session-set", json!({"blocklist-url": serve(b"<html>".to_vec())}));
    let said = rpc::outcome(daemon.address, "blocklist-update", json!({}));
    assert!(said.contains("blocklist"), "{said}");
    assert!(!is_let_in(&daemon));
    daemon.kill_and_restart();
    until("the kept list", || (daemon.call("session-get", json!({}))["blocklist-size"] == 2).then_some(()));
    daemon.wait(&content.info_hash, "seeding", |torrent| torrent["status"] == 6);
    assert!(!is_let_in(&daemon));
    daemon.call("session-set", json!({"blocklist-enabled": false}));
    assert!(is_let_in(&daemon));

    // Nor does it dial such a peer, though a tracker names it.
    let pair = Pair::new(json!({}));
    let strict = Daemon::start(&["--rpc-fetch-local"]);
    strict.call("session-set", json!({"blocklist-enabled": true, "blocklist-url": serve(p2p)}));
    strict.call("blocklist-update", json!({}));
    strict
        .call("torrent-add", json!({"filename": pair.content.torrent, "download-dir": strict.dir("target")}));
    let hash = pair.content.info_hash.as_str();
    until("an announce with a peer", || {
        let stats = strict.torrent(hash, &["trackerStats"])["trackerStats"].clone();
        (stats[0]["seederCount"].as_i64()? >= 1).then_some(())
    });
    assert_eq!(strict.torrent(hash, &["peers"])["peers"], json!([]));
    strict.call("session-set", json!({"blocklist-enabled": false}));
    strict.call("torrent-stop", json!({"ids": [hash]}));
    strict.wait(hash, "the stop", |torrent| torrent["status"] == 0);
    strict.call("torrent-start", json!({"ids": [hash]}));
    strict.wait(hash, "the download", |torrent| torrent["status"] == 6);
}

fn tracker() -> (Tracker, String) {
    let config = TrackerConfig { http: Some("127.0.0.1:0".parse().unwrap()), ..TrackerConfig::default() };
    let tracker = Tracker::start(config).unwrap();
    let url = format!("http://{}/announce", tracker.http_addr().unwrap());
    (tracker, url)
}

fn download(content: &Content, daemon: &Daemon, name: &str) {
    let target = daemon.dir(name);
    get(content, &target, &[]).wait_success();
    assert_same(content, &target);
}

/// The first tier that answers is asked, dead trackers of it are passed, and edited trackers are announced to at once.
#[test]
fn trackers_are_asked_by_tier_and_may_be_changed_while_a_torrent_runs() {
    let ((first, one), (second, two)) = (tracker(), tracker());
    let daemon = Daemon::start(&[]);
    let dead = "http://127.0.0.1:9/announce";
    let content = multi(&daemon.dir("content"), "64K", dead);
    daemon.seed(&content);
    let hash = content.info_hash.as_str();
    let worked = |url: &str| {
        until("an announce", || {
            let stats = daemon.torrent(hash, &["trackerStats"])["trackerStats"].clone();
            let of =
                |tracker: &&Value| tracker["announce"] == url && tracker["lastAnnounceSucceeded"] == true;
            stats.as_array()?.iter().find(of).cloned()
        })
    };
    let set = |list: String| daemon.call("torrent-set", json!({"ids": [hash], "trackerList": list}));
    // A tier whose first tracker is dead, and a second tier.
    set(format!("{dead}\n{one}\n\n{two}"));
    let stats = worked(&one);
    assert_eq!((&stats["tier"], &stats["seederCount"]), (&json!(0), &json!(1)));
    drop(first);
    // The tracker is gone for good: another takes its place while it runs.
    daemon.call("torrent-set", json!({"ids": [hash], "trackerReplace": [1, two], "trackerRemove": [2]}));
    let list = daemon.torrent(hash, &["trackerList"])["trackerList"].clone();
    assert_eq!(list, format!("{dead}\n{two}"));
    worked(&two);
    // A downloader whose torrent names that tracker only meets it there.
    let renamed = content.dir.join("other.torrent");
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_ringseed"))
        .args(["create", "--quiet", "--piece-size", "64K", "--tracker", &two, "-o"])
        .arg(&renamed)
        .arg(content.dir.join(&content.name))
        .status()
        .unwrap();
    assert!(status.success());
    download(&Content { torrent: renamed, ..content }, &daemon, "download");
    drop(second);
}
