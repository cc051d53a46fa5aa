//! Torrents of other clients, from the directories that the real programs leave behind.

use crate::daemon::Daemon;
use crate::other_clients::{Client, Role};
use crate::support::content::{Content, multi, single};
use crate::support::until;
use ringseed_tracker::{Tracker, TrackerConfig};
use serde_json::json;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

fn import(daemon: &Daemon, dir: &Path) -> Output {
    daemon.command(&["import", dir.to_str().unwrap()]).output().unwrap()
}

/// Has a resume file say that 123,456 bytes were sent; when the torrent was added.
fn seeded_before(resume: &Path, uploaded: &[u8], added: &[u8]) -> u64 {
    let mut bytes = std::fs::read(resume).unwrap();
    // The digits of the number after a key.
    let number = |bytes: &[u8], key: &[u8]| {
        let from = bytes.windows(key.len()).position(|at| at == key).unwrap() + key.len();
        from..from + bytes[from..].iter().position(|byte| *byte == b'e').unwrap()
    };
    let range = number(&bytes, uploaded);
    bytes.splice(range, *b"123456");
    std::fs::write(resume, &bytes).unwrap();
    std::str::from_utf8(&bytes[number(&bytes, added)]).unwrap().parse().unwrap()
}

fn contents(daemon: &Daemon) -> [Content; 2] {
    contents_at(daemon, "http://127.0.0.1:9/announce")
}

fn contents_at(daemon: &Daemon, tracker: &str) -> [Content; 2] {
    [single(&daemon.dir("one"), 300_000, "16K", tracker), multi(&daemon.dir("many"), "64K", tracker)]
}

#[test]
fn transmissions_own_directory_is_imported() {
    let daemon = Daemon::start(&[]);
    let [one, many] = contents(&daemon);
    let mut other = Client::Transmission.start(Role::Seed, &one.torrent, &one.info_hash, &one.dir);
    let remote = |arguments: &[&str]| {
        let said = other.remote(arguments);
        assert!(said.as_deref().is_some_and(|said| said.contains("success")), "{arguments:?}: {said:?}");
    };
    remote(&["-t", "1", "-L", "films,new", "-sr", "1.5", "-u", "70"]);
    let torrent = many.torrent.to_str().unwrap();
    remote(&["-a", torrent, "-w", many.dir.to_str().unwrap(), "--start-paused"]);
    let hash = many.info_hash.as_str();
    remote(&["-t", hash, "-G", "0", "-ph", "2"]);
    remote(&["-t", hash, "-SR", "-d", "80"]);
    // It has started it to look at what is there, and starts it again after that.
    until("the other client's stop", || {
        let info = other.remote(&["-t", hash, "-i"])?;
        if info.contains("State: Stopped") {
            return Some(());
        }
        remote(&["-t", hash, "-S"]);
        None
    });
    let config = other.home().to_path_buf();
    other.end();
    // As if it had seeded.
    let resume = std::fs::read_dir(config.join("resume")).unwrap().map(|entry| entry.unwrap().path());
    let resume =
        resume.into_iter().find(|path| path.to_str().unwrap().contains(&one.info_hash[..16])).unwrap();
    let added = seeded_before(&resume, b"8:uploadedi", b"10:added-datei");

    let said = import(&daemon, &config);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("2 imported, 0 failed"), "{said:?}");
    daemon.wait(&one.info_hash, "seeding", |torrent| torrent["status"] == 6);
    let fields = ["downloadDir", "labels", "seedRatioMode", "seedRatioLimit", "uploadLimit", "uploadLimited"];
    assert_eq!(
        daemon.torrent(&one.info_hash, &fields),
        json!({"downloadDir": one.dir, "labels": ["films", "new"], "seedRatioMode": 1, "seedRatioLimit": 1.5,
            "uploadLimit": 70, "uploadLimited": true})
    );
    let moved = daemon.torrent(&one.info_hash, &["uploadedEver", "addedDate"]);
    assert_eq!(moved, json!({"uploadedEver": 123_456, "addedDate": added}));
    daemon.wait(hash, "the check", |torrent| torrent["status"] == 0 && torrent["leftUntilDone"] == 0);
    let fields =
        ["wanted", "priorities", "seedRatioMode", "downloadLimit", "downloadLimited", "uploadLimited"];
    assert_eq!(
        daemon.torrent(hash, &fields),
        json!({"wanted": [0, 1, 1, 1, 1], "priorities": [0, 0, 1, 0, 0], "seedRatioMode": 2, "downloadLimit": 80,
            "downloadLimited": true, "uploadLimited": false})
    );
    // A second time everything is there already.
    let again = import(&daemon, &config);
    assert!(String::from_utf8_lossy(&again.stdout).contains("already there"), "{again:?}");
}

#[test]
fn qbittorrents_own_directory_is_imported() {
    let daemon = Daemon::start(&[]);
    let [one, many] = contents(&daemon);
    let mut other = Client::Qbittorrent.start(Role::Seed, &many.torrent, &many.info_hash, &many.dir);
    let hash = many.info_hash.as_str();
    other.post("torrents/createCategory", "category=tv&savePath=");
    other.post("torrents/setCategory", &format!("hashes={hash}&category=tv"));
    other.post("torrents/addTags", &format!("hashes={hash}&tags=a,b"));
    let limits = "ratioLimit=2.5&seedingTimeLimit=90&inactiveSeedingTimeLimit=-2";
    other.post("torrents/setShareLimits", &format!("hashes={hash}&{limits}"));
    other.post("torrents/setUploadLimit", &format!("hashes={hash}&limit=70000"));
    other.post("torrents/filePrio", &format!("hash={hash}&id=4&priority=6"));
    other.post("torrents/filePrio", &format!("hash={hash}&id=0&priority=0"));
    other.add(Role::Seed, &one.torrent, &one.info_hash, &one.dir);
    other.pause(&one.info_hash);
    let backup = other.home().join("qBittorrent/data/BT_backup");
    // It writes them one after the other, and not all when it ends soon after.
    until("what it remembers", || {
        let is_there = |content: &Content| {
            let of = |extension| backup.join(format!("{}.{extension}", content.info_hash));
            of("torrent").is_file() && of("fastresume").is_file()
        };
        [&one, &many].into_iter().all(is_there).then_some(())
    });
    other.end();
    let added =
        seeded_before(&backup.join(format!("{hash}.fastresume")), b"14:total_uploadedi", b"10:added_timei");

    let said = import(&daemon, &backup);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("2 imported, 0 failed"), "{said:?}");
    daemon.wait(hash, "seeding", |torrent| torrent["status"] == 6);
    let fields = [
        "downloadDir",
        "labels",
        "seedRatioMode",
        "seedRatioLimit",
        "uploadLimit",
        "uploadLimited",
        "wanted",
        "priorities",
        "ringseedCategory",
        "ringseedSeedMinutes",
    ];
    let mut torrent = daemon.torrent(hash, &fields);
    torrent["labels"].as_array_mut().unwrap().sort_by_key(|label| label.to_string());
    assert_eq!(
        torrent,
        json!({"downloadDir": many.dir, "labels": ["a", "b"], "seedRatioMode": 1, "seedRatioLimit": 2.5,
            "uploadLimit": 70, "uploadLimited": true, "wanted": [0, 1, 1, 1, 1], "priorities": [0, 0, 0, 0, 1],
            "ringseedCategory": "tv", "ringseedSeedMinutes": 90})
    );
    let moved = daemon.torrent(hash, &["uploadedEver", "addedDate"]);
    assert_eq!(moved, json!({"uploadedEver": 123_456, "addedDate": added}));
    let categories = daemon
        .raw(b"GET /api/v2/torrents/categories HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(categories.contains("\"tv\""), "{categories}");
    daemon
        .wait(&one.info_hash, "the check", |torrent| torrent["status"] == 0 && torrent["leftUntilDone"] == 0);
}

/// A tracker that was told in this client's name what another one moved would count it twice.
#[test]
fn trackers_are_told_of_what_was_moved_here_alone() {
    let tracker = TcpListener::bind("127.0.0.1:0").unwrap();
    let daemon = Daemon::start(&[]);
    let announce = format!("http://{}/announce", tracker.local_addr().unwrap());
    let content = single(&daemon.dir("one"), 300_000, "16K", &announce);
    let earlier = json!({"uploaded": 7000, "downloaded": 300_000, "addedDate": 1_600_000_000, "doneDate": 1_600_000_500,
        "secondsSeeding": 3600});
    let add = json!({"filename": content.torrent, "download-dir": content.dir, "ringseedEarlier": earlier});
    daemon.call("torrent-add", add);
    let (mut stream, _) = tracker.accept().unwrap();
    let mut request = [0; 2000];
    let count = stream.read(&mut request).unwrap();
    let request = String::from_utf8_lossy(&request[..count]).into_owned();
    for words in ["&uploaded=0&downloaded=0&left=0&", "&event=started"] {
        assert!(request.contains(words), "{request}");
    }
    drop(stream);
    let fields = ["uploadedEver", "downloadedEver", "addedDate", "doneDate"];
    assert_eq!(
        daemon.torrent(&content.info_hash, &fields),
        json!({"uploadedEver": 7000, "downloadedEver": 300_000, "addedDate": 1_600_000_000, "doneDate": 1_600_000_500})
    );
    let seconds = daemon.torrent(&content.info_hash, &["secondsSeeding"]);
    assert!(seconds["secondsSeeding"].as_u64().unwrap() >= 3600, "{seconds}");
    // It was not moved by this engine.
    assert_eq!(daemon.call("session-stats", json!({}))["cumulative-stats"]["uploadedBytes"], 0);
}

fn tracker() -> (Tracker, String) {
    let config = TrackerConfig { http: Some("127.0.0.1:0".parse().unwrap()), ..TrackerConfig::default() };
    let tracker = Tracker::start(config).unwrap();
    let url = format!("http://{}/announce", tracker.http_addr().unwrap());
    (tracker, url)
}

/// Seeds a torrent, and waits until its tracker knows.
fn seed_known(seed: &Daemon, content: &Content) {
    seed.seed(content);
    until("the announce of the seed", || {
        let stats = seed.torrent(&content.info_hash, &["trackerStats"])["trackerStats"][0].clone();
        (stats["lastAnnounceSucceeded"] == true).then_some(())
    });
}

/// A string in bencode.
fn text(text: &str) -> String {
    format!("{}:{text}", text.len())
}

/// What qBittorrent leaves of a download that is under way: its data in another directory than the one where it is to lie,
/// incomplete files with a suffix, a renamed folder, a tracker that was added, a place in the queue.
#[test]
fn an_unfinished_download_of_qbittorrent_goes_on_where_it_was() {
    let (daemon, seed) = (Daemon::start(&[]), Daemon::start(&[]));
    let (_tracker, url) = tracker();
    let [one, many] = contents_at(&seed, &url);
    seed_known(&seed, &many);
    let (backup, temporary, last) = (daemon.dir("BT_backup"), daemon.dir("temporary"), daemon.dir("last"));
    let folder = temporary.join("other");
    let own = many.dir.join(&many.name);
    // All but the last file are complete; of that one there is a part.
    for path in ["a/b/c/tief.bin", "empty.txt", "größe 大小.dat", "one byte"] {
        std::fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
        std::fs::copy(own.join(path), folder.join(path)).unwrap();
    }
    let mut part = std::fs::read(own.join("z last.bin")).unwrap();
    part[3_000_000..].fill(0);
    std::fs::write(folder.join("z last.bin.!qB"), part).unwrap();
    let mapped: String = ["a/b/c/tief.bin", "empty.txt", "größe 大小.dat", "one byte", "z last.bin.!qB"]
        .map(|path| text(&format!("other/{path}")))
        .concat();
    let place = |dir: &Path| text(dir.to_str().unwrap());
    let trackers = [url.as_str(), "udp://127.0.0.1:9"].map(|url| format!("l{}e", text(url))).concat();
    let resume = format!(
        "d12:mapped_filesl{mapped}e6:pausedi1e16:qBt-downloadPath{}8:qBt-name4:mine12:qBt-savePath{}9:save_path{}\
         8:trackersl{trackers}ee",
        place(&temporary),
        place(&last),
        place(&temporary),
    );
    let in_backup = |hash: &str, extension: &str| backup.join(format!("{hash}.{extension}"));
    std::fs::write(in_backup(&many.info_hash, "fastresume"), resume).unwrap();
    std::fs::copy(&many.torrent, in_backup(&many.info_hash, "torrent")).unwrap();
    let resume = format!("d6:pausedi1e9:save_path{}e", place(&one.dir));
    std::fs::write(in_backup(&one.info_hash, "fastresume"), resume).unwrap();
    std::fs::copy(&one.torrent, in_backup(&one.info_hash, "torrent")).unwrap();
    std::fs::write(in_backup(&"0".repeat(40), "fastresume"), "d6:pausedi0ee").unwrap();
    std::fs::write(backup.join("queue"), format!("{}\n{}\n", many.info_hash, one.info_hash)).unwrap();

    let said = import(&daemon, &backup);
    let out = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && out.contains("2 imported, 0 failed, 1 skipped"), "{said:?}");
    assert!(!out.contains("not taken over"), "{out}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("magnet link"), "{said:?}");
    let hash = many.info_hash.as_str();
    let kept = |torrent: &serde_json::Value| {
        (1_900_000..2_200_000).contains(&torrent["leftUntilDone"].as_u64().unwrap())
    };
    daemon.wait(hash, "the check", |torrent| torrent["status"] == 0 && kept(torrent));
    let fields = ["name", "trackerList", "queuePosition"];
    assert_eq!(
        daemon.torrent(hash, &fields),
        json!({"name": "other", "trackerList": format!("{url}\n\nudp://127.0.0.1:9"), "queuePosition": 0})
    );
    let page =
        daemon.raw(b"GET /api/v2/torrents/info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(page.contains("\"name\":\"mine\""), "{page}");
    assert!(folder.join("z last.bin.part").exists() && !folder.join("z last.bin.!qB").exists());
    // The rest comes from a seed; then everything is where it was to be, under the names that the user gave.
    daemon.call("torrent-start", json!({"ids": [hash]}));
    daemon.wait(hash, "the move", |torrent| torrent["status"] == 6 && torrent["downloadDir"] == json!(last));
    let moved = last.join("other");
    assert_eq!(
        std::fs::read(moved.join("z last.bin")).unwrap(),
        std::fs::read(own.join("z last.bin")).unwrap()
    );
    assert!(!folder.exists() && moved.join("a/b/c/tief.bin").exists());
}

/// What Transmission leaves of one: its data in the incomplete directory, its names in the resume file.
#[test]
fn an_unfinished_download_of_transmission_goes_on_where_it_was() {
    let (daemon, seed) = (Daemon::start(&[]), Daemon::start(&[]));
    let (_tracker, url) = tracker();
    let [one, _] = contents_at(&seed, &url);
    seed_known(&seed, &one);
    let (config, incomplete, last) = (daemon.dir("config"), daemon.dir("incomplete"), daemon.dir("last"));
    for dir in ["torrents", "resume"] {
        std::fs::create_dir_all(config.join(dir)).unwrap();
    }
    let mut part = std::fs::read(one.dir.join(&one.name)).unwrap();
    part.truncate(200_000);
    std::fs::write(incomplete.join("renamed.bin.part"), part).unwrap();
    let place = |dir: &Path| text(dir.to_str().unwrap());
    let resume = format!(
        "d11:destination{}5:filesl{}e14:incomplete-dir{}6:pausedi1ee",
        place(&last),
        text("renamed.bin"),
        place(&incomplete)
    );
    std::fs::write(config.join("resume/x.resume"), resume).unwrap();
    std::fs::copy(&one.torrent, config.join("torrents/x.torrent")).unwrap();
    std::fs::write(config.join("torrents/y.magnet"), "magnet:?xt=urn:btih:0").unwrap();
    let said = import(&daemon, &config);
    let out = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && out.contains("1 imported, 0 failed, 1 skipped"), "{said:?}");
    let hash = one.info_hash.as_str();
    let kept = 300_000 - 200_000 / 16_384 * 16_384;
    daemon.wait(hash, "the check", |torrent| torrent["status"] == 0 && torrent["leftUntilDone"] == kept);
    daemon.call("torrent-start", json!({"ids": [hash]}));
    daemon.wait(hash, "the move", |torrent| torrent["status"] == 6 && torrent["downloadDir"] == json!(last));
    assert!(last.join("renamed.bin").exists() && !incomplete.join("renamed.bin.part").exists());
}

/// A disk that was not mounted while torrents were imported: all of them were fetched again.
#[test]
fn data_that_is_not_there_when_it_is_imported_is_missing_and_not_fetched() {
    let mut daemon = Daemon::start(&[]);
    let (tracker, incomplete) = (TcpListener::bind("127.0.0.1:0").unwrap(), daemon.dir("incomplete"));
    tracker.set_nonblocking(true).unwrap();
    daemon.call("session-set", json!({"incomplete-dir": incomplete, "incomplete-dir-enabled": true}));
    let content = single(
        &daemon.dir("one"),
        300_000,
        "16K",
        &format!("http://{}/announce", tracker.local_addr().unwrap()),
    );
    let (config, away) = (daemon.dir("config"), daemon.dir("away").join("file"));
    for dir in ["torrents", "resume"] {
        std::fs::create_dir_all(config.join(dir)).unwrap();
    }
    let place = text(content.dir.to_str().unwrap());
    let resume = format!("d11:destination{place}6:pausedi0e8:progressd6:blocks3:allee");
    std::fs::write(config.join("resume/x.resume"), resume).unwrap();
    std::fs::copy(&content.torrent, config.join("torrents/x.torrent")).unwrap();
    let here = content.dir.join(&content.name);
    std::fs::rename(&here, &away).unwrap();
    let said = import(&daemon, &config);
    assert!(String::from_utf8_lossy(&said.stdout).contains("1 imported, 0 failed"), "{said:?}");
    let hash = content.info_hash.as_str();
    for round in 0..3 {
        let missing = daemon.wait(hash, "the error", |torrent| torrent["error"] == 3);
        let why = missing["errorString"].as_str().unwrap();
        assert!(why.starts_with("No data found") && why.contains(content.dir.to_str().unwrap()), "{why}");
        match round {
            0 => _ = daemon.call("torrent-start", json!({"ids": [hash]})),
            _ => daemon.restart(),
        }
    }
    assert!(tracker.accept().is_err() && !here.exists(), "it was fetched");
    std::fs::rename(&away, &here).unwrap();
    daemon.call("torrent-start", json!({"ids": [hash]}));
    daemon.wait(hash, "seeding", |torrent| torrent["status"] == 6 && torrent["leftUntilDone"] == 0);
    // From now on it is as any other.
    daemon.call("torrent-remove", json!({"ids": [hash]}));
    std::fs::rename(&here, &away).unwrap();
    let said = import(&daemon, &config);
    assert!(said.status.success(), "{said:?}");
    daemon.wait(hash, "the error", |torrent| torrent["error"] == 3);
    daemon.call("torrent-verify", json!({"ids": [hash]}));
    daemon.wait(hash, "the download", |torrent| torrent["status"] == 4 && torrent["error"] != 3);
}

/// Resume files beside the database are those of an earlier time.
#[test]
fn a_database_of_qbittorrent_is_told_of_and_nothing_is_imported() {
    let daemon = Daemon::start(&[]);
    let (data, backup) = (daemon.dir("qBittorrent"), daemon.dir("qBittorrent/BT_backup"));
    let content = daemon.single("one");
    std::fs::copy(&content.torrent, backup.join("x.torrent")).unwrap();
    std::fs::write(
        backup.join("x.fastresume"),
        format!("d9:save_path{}e", text(content.dir.to_str().unwrap())),
    )
    .unwrap();
    std::fs::write(data.join("torrents.db"), "SQLite format 3\0").unwrap();
    for dir in [&data, &backup] {
        let said = import(&daemon, dir);
        let why = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(
            !said.status.success() && why.contains("torrents.db") && why.contains("Fastresume files"),
            "{why}"
        );
    }
    assert!(daemon.torrent(&content.info_hash, &["id"]).is_null());
}
