//! Every method and field of Transmission's RPC at version 17, from the tables of its specification, asked of real engines
//! in both forms. What the engine lacks is in these tables, too, with what it says.

use crate::daemon::Daemon;
use crate::pair::Pair;
use crate::support::{rpc, until};
use serde_json::{Map, Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A type of the specification.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Type {
    /// A number without a fraction.
    Number,
    /// A number.
    Double,
    Bool,
    Text,
    /// A list of such.
    Numbers,
    Texts,
    /// An object, or a list of objects, with exactly these fields.
    One(&'static [Field]),
    Many(&'static [Field]),
}
use Type::{Bool, Double, Many, Number, Numbers, One, Text, Texts};

/// Name in the legacy form, name in the JSON-RPC form, type.
type Field = (&'static str, &'static str, Type);

const FILES: &[Field] =
    &[("bytesCompleted", "bytes_completed", Number), ("length", "length", Number), ("name", "name", Text)];
const FILE_STATS: &[Field] = &[
    ("bytesCompleted", "bytes_completed", Number),
    ("wanted", "wanted", Bool),
    ("priority", "priority", Number),
];
const PEERS: &[Field] = &[
    ("address", "address", Text),
    ("clientName", "client_name", Text),
    ("clientIsChoked", "client_is_choked", Bool),
    ("clientIsInterested", "client_is_interested", Bool),
    ("flagStr", "flag_str", Text),
    ("isDownloadingFrom", "is_downloading_from", Bool),
    ("isEncrypted", "is_encrypted", Bool),
    ("isIncoming", "is_incoming", Bool),
    ("isUploadingTo", "is_uploading_to", Bool),
    ("isUTP", "is_utp", Bool),
    ("peerIsChoked", "peer_is_choked", Bool),
    ("peerIsInterested", "peer_is_interested", Bool),
    ("port", "port", Number),
    ("progress", "progress", Double),
    ("rateToClient", "rate_to_client", Number),
    ("rateToPeer", "rate_to_peer", Number),
];
const PEERS_FROM: &[Field] = &[
    ("fromCache", "from_cache", Number),
    ("fromDht", "from_dht", Number),
    ("fromIncoming", "from_incoming", Number),
    ("fromLpd", "from_lpd", Number),
    ("fromLtep", "from_ltep", Number),
    ("fromPex", "from_pex", Number),
    ("fromTracker", "from_tracker", Number),
];
const TRACKERS: &[Field] = &[
    ("announce", "announce", Text),
    ("id", "id", Number),
    ("scrape", "scrape", Text),
    ("sitename", "sitename", Text),
    ("tier", "tier", Number),
];
const TRACKER_STATS: &[Field] = &[
    ("announceState", "announce_state", Number),
    ("announce", "announce", Text),
    ("downloadCount", "download_count", Number),
    ("hasAnnounced", "has_announced", Bool),
    ("hasScraped", "has_scraped", Bool),
    ("host", "host", Text),
    ("id", "id", Number),
    ("isBackup", "is_backup", Bool),
    ("lastAnnouncePeerCount", "last_announce_peer_count", Number),
    ("lastAnnounceResult", "last_announce_result", Text),
    ("lastAnnounceStartTime", "last_announce_start_time", Number),
    ("lastAnnounceSucceeded", "last_announce_succeeded", Bool),
    ("lastAnnounceTime", "last_announce_time", Number),
    ("lastAnnounceTimedOut", "last_announce_timed_out", Bool),
    ("lastScrapeResult", "last_scrape_result", Text),
    ("lastScrapeStartTime", "last_scrape_start_time", Number),
    ("lastScrapeSucceeded", "last_scrape_succeeded", Bool),
    ("lastScrapeTime", "last_scrape_time", Number),
    ("lastScrapeTimedOut", "last_scrape_timed_out", Bool),
    ("leecherCount", "leecher_count", Number),
    ("nextAnnounceTime", "next_announce_time", Number),
    ("nextScrapeTime", "next_scrape_time", Number),
    ("scrapeState", "scrape_state", Number),
    ("scrape", "scrape", Text),
    ("seederCount", "seeder_count", Number),
    ("sitename", "sitename", Text),
    ("tier", "tier", Number),
];

/// Section 3.3, `torrent-get`. `wanted` is a list of 0 and 1 in the legacy form, of booleans in the other.
const TORRENT_GET: &[Field] = &[
    ("activityDate", "activity_date", Number),
    ("addedDate", "added_date", Number),
    ("availability", "availability", Numbers),
    ("bandwidthPriority", "bandwidth_priority", Number),
    ("comment", "comment", Text),
    ("corruptEver", "corrupt_ever", Number),
    ("creator", "creator", Text),
    ("dateCreated", "date_created", Number),
    ("desiredAvailable", "desired_available", Number),
    ("doneDate", "done_date", Number),
    ("downloadDir", "download_dir", Text),
    ("downloadedEver", "downloaded_ever", Number),
    ("downloadLimit", "download_limit", Number),
    ("downloadLimited", "download_limited", Bool),
    ("editDate", "edit_date", Number),
    ("error", "error", Number),
    ("errorString", "error_string", Text),
    ("eta", "eta", Number),
    ("etaIdle", "eta_idle", Number),
    ("file-count", "file_count", Number),
    ("files", "files", Many(FILES)),
    ("fileStats", "file_stats", Many(FILE_STATS)),
    ("group", "group", Text),
    ("hashString", "hash_string", Text),
    ("haveUnchecked", "have_unchecked", Number),
    ("haveValid", "have_valid", Number),
    ("honorsSessionLimits", "honors_session_limits", Bool),
    ("id", "id", Number),
    ("isFinished", "is_finished", Bool),
    ("isPrivate", "is_private", Bool),
    ("isStalled", "is_stalled", Bool),
    ("labels", "labels", Texts),
    ("leftUntilDone", "left_until_done", Number),
    ("magnetLink", "magnet_link", Text),
    ("manualAnnounceTime", "manual_announce_time", Number),
    ("maxConnectedPeers", "max_connected_peers", Number),
    ("metadataPercentComplete", "metadata_percent_complete", Double),
    ("name", "name", Text),
    ("peer-limit", "peer_limit", Number),
    ("peers", "peers", Many(PEERS)),
    ("peersConnected", "peers_connected", Number),
    ("peersFrom", "peers_from", One(PEERS_FROM)),
    ("peersGettingFromUs", "peers_getting_from_us", Number),
    ("peersSendingToUs", "peers_sending_to_us", Number),
    ("percentComplete", "percent_complete", Double),
    ("percentDone", "percent_done", Double),
    ("pieces", "pieces", Text),
    ("pieceCount", "piece_count", Number),
    ("pieceSize", "piece_size", Number),
    ("priorities", "priorities", Numbers),
    ("primary-mime-type", "primary_mime_type", Text),
    ("queuePosition", "queue_position", Number),
    ("rateDownload", "rate_download", Number),
    ("rateUpload", "rate_upload", Number),
    ("recheckProgress", "recheck_progress", Double),
    ("secondsDownloading", "seconds_downloading", Number),
    ("secondsSeeding", "seconds_seeding", Number),
    ("seedIdleLimit", "seed_idle_limit", Number),
    ("seedIdleMode", "seed_idle_mode", Number),
    ("seedRatioLimit", "seed_ratio_limit", Double),
    ("seedRatioMode", "seed_ratio_mode", Number),
    ("sizeWhenDone", "size_when_done", Number),
    ("startDate", "start_date", Number),
    ("status", "status", Number),
    ("trackers", "trackers", Many(TRACKERS)),
    ("trackerList", "tracker_list", Text),
    ("trackerStats", "tracker_stats", Many(TRACKER_STATS)),
    ("totalSize", "total_size", Number),
    ("torrentFile", "torrent_file", Text),
    ("uploadedEver", "uploaded_ever", Number),
    ("uploadLimit", "upload_limit", Number),
    ("uploadLimited", "upload_limited", Bool),
    ("uploadRatio", "upload_ratio", Double),
    ("webseeds", "webseeds", Texts),
    ("webseedsSendingToUs", "webseeds_sending_to_us", Number),
];

const UNITS: &[Field] = &[
    ("speed-units", "speed_units", Texts),
    ("speed-bytes", "speed_bytes", Number),
    ("size-units", "size_units", Texts),
    ("size-bytes", "size_bytes", Number),
    ("memory-units", "memory_units", Texts),
    ("memory-bytes", "memory_bytes", Number),
];

/// Section 4.1, the arguments of the session.
const SESSION_GET: &[Field] = &[
    ("alt-speed-down", "alt_speed_down", Number),
    ("alt-speed-enabled", "alt_speed_enabled", Bool),
    ("alt-speed-time-begin", "alt_speed_time_begin", Number),
    ("alt-speed-time-day", "alt_speed_time_day", Number),
    ("alt-speed-time-enabled", "alt_speed_time_enabled", Bool),
    ("alt-speed-time-end", "alt_speed_time_end", Number),
    ("alt-speed-up", "alt_speed_up", Number),
    ("blocklist-enabled", "blocklist_enabled", Bool),
    ("blocklist-size", "blocklist_size", Number),
    ("blocklist-url", "blocklist_url", Text),
    ("cache-size-mb", "cache_size_mb", Number),
    ("config-dir", "config_dir", Text),
    ("default-trackers", "default_trackers", Text),
    ("dht-enabled", "dht_enabled", Bool),
    ("download-dir", "download_dir", Text),
    ("download-dir-free-space", "download_dir_free_space", Number),
    ("download-queue-enabled", "download_queue_enabled", Bool),
    ("download-queue-size", "download_queue_size", Number),
    ("encryption", "encryption", Text),
    ("idle-seeding-limit-enabled", "idle_seeding_limit_enabled", Bool),
    ("idle-seeding-limit", "idle_seeding_limit", Number),
    ("incomplete-dir-enabled", "incomplete_dir_enabled", Bool),
    ("incomplete-dir", "incomplete_dir", Text),
    ("lpd-enabled", "lpd_enabled", Bool),
    ("peer-limit-global", "peer_limit_global", Number),
    ("peer-limit-per-torrent", "peer_limit_per_torrent", Number),
    ("peer-port-random-on-start", "peer_port_random_on_start", Bool),
    ("peer-port", "peer_port", Number),
    ("pex-enabled", "pex_enabled", Bool),
    ("port-forwarding-enabled", "port_forwarding_enabled", Bool),
    ("queue-stalled-enabled", "queue_stalled_enabled", Bool),
    ("queue-stalled-minutes", "queue_stalled_minutes", Number),
    ("rename-partial-files", "rename_partial_files", Bool),
    ("rpc-version-minimum", "rpc_version_minimum", Number),
    ("rpc-version-semver", "rpc_version_semver", Text),
    ("rpc-version", "rpc_version", Number),
    ("script-torrent-added-enabled", "script_torrent_added_enabled", Bool),
    ("script-torrent-added-filename", "script_torrent_added_filename", Text),
    ("script-torrent-done-enabled", "script_torrent_done_enabled", Bool),
    ("script-torrent-done-filename", "script_torrent_done_filename", Text),
    ("script-torrent-done-seeding-enabled", "script_torrent_done_seeding_enabled", Bool),
    ("script-torrent-done-seeding-filename", "script_torrent_done_seeding_filename", Text),
    ("seed-queue-enabled", "seed_queue_enabled", Bool),
    ("seed-queue-size", "seed_queue_size", Number),
    ("seedRatioLimit", "seed_ratio_limit", Double),
    ("seedRatioLimited", "seed_ratio_limited", Bool),
    ("session-id", "session_id", Text),
    ("speed-limit-down-enabled", "speed_limit_down_enabled", Bool),
    ("speed-limit-down", "speed_limit_down", Number),
    ("speed-limit-up-enabled", "speed_limit_up_enabled", Bool),
    ("speed-limit-up", "speed_limit_up", Number),
    ("start-added-torrents", "start_added_torrents", Bool),
    ("trash-original-torrent-files", "trash_original_torrent_files", Bool),
    ("units", "units", One(UNITS)),
    ("utp-enabled", "utp_enabled", Bool),
    ("version", "version", Text),
];

const STATS: &[Field] = &[
    ("uploadedBytes", "uploaded_bytes", Number),
    ("downloadedBytes", "downloaded_bytes", Number),
    ("filesAdded", "files_added", Number),
    ("secondsActive", "seconds_active", Number),
    ("sessionCount", "session_count", Number),
];
/// Section 4.2, `session-stats`.
const SESSION_STATS: &[Field] = &[
    ("activeTorrentCount", "active_torrent_count", Number),
    ("downloadSpeed", "download_speed", Number),
    ("pausedTorrentCount", "paused_torrent_count", Number),
    ("torrentCount", "torrent_count", Number),
    ("uploadSpeed", "upload_speed", Number),
    ("cumulative-stats", "cumulative_stats", One(STATS)),
    ("current-stats", "current_stats", One(STATS)),
];
/// Section 4.7, `free-space`.
const FREE_SPACE: &[Field] =
    &[("path", "path", Text), ("size-bytes", "size_bytes", Number), ("total_size", "total_size", Number)];
/// Section 4.8, bandwidth groups.
const GROUP: &[Field] = &[
    ("honorsSessionLimits", "honors_session_limits", Bool),
    ("name", "name", Text),
    ("speed-limit-down-enabled", "speed_limit_down_enabled", Bool),
    ("speed-limit-down", "speed_limit_down", Number),
    ("speed-limit-up-enabled", "speed_limit_up_enabled", Bool),
    ("speed-limit-up", "speed_limit_up", Number),
];
/// Section 3.4, `torrent-add`.
const ADDED: &[Field] = &[("id", "id", Number), ("name", "name", Text), ("hashString", "hash_string", Text)];

/// Which of both forms.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Legacy,
    JsonRpc,
}

impl Form {
    fn name(self, field: &Field) -> &'static str {
        if self == Form::Legacy { field.0 } else { field.1 }
    }

    /// Calls a method by its legacy name; the arguments are of this form.
    fn call(self, address: SocketAddr, method: &str, arguments: Value) -> Value {
        match self {
            Form::Legacy => rpc::call(address, method, arguments),
            Form::JsonRpc => {
                let answer = post(
                    address,
                    &json!({"jsonrpc": "2.0", "method": method.replace('-', "_"), "params": arguments, "id": 1}),
                );
                assert!(answer["id"] == 1 && answer["jsonrpc"] == "2.0", "{method}: {answer}");
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                answer["result"].clone()
            }
        }
    }

    /// Whether an object has exactly the fields of a table, each of its type.
    fn check(self, what: &str, value: &Value, table: &[Field]) {
        let object: &Map<String, Value> = value.as_object().unwrap_or_else(|| panic!("{what}: {value}"));
        for field in table {
            let name = self.name(field);
            let found = object.get(name).unwrap_or_else(|| panic!("{what}: {name} is missing"));
            self.check_type(&format!("{what}.{name}"), found, field.2);
        }
        let known = |name: &&String| table.iter().any(|field| self.name(field) == name.as_str());
        let more: Vec<&String> = object.keys().filter(|name| !known(name)).collect();
        assert!(more.is_empty(), "{what}: the specification has no {more:?}");
    }

    fn check_type(self, what: &str, value: &Value, wanted: Type) {
        let is_number = |value: &Value| value.is_i64() || value.is_u64();
        let list = |of: &dyn Fn(&Value) -> bool| value.as_array().is_some_and(|list| list.iter().all(of));
        let right = match wanted {
            Number => is_number(value),
            Double => value.is_number(),
            Bool => value.is_boolean(),
            Text => value.is_string(),
            Numbers => list(&is_number),
            Texts => list(&Value::is_string),
            One(table) => return self.check(what, value, table),
            Many(table) => {
                let items = value.as_array().unwrap_or_else(|| panic!("{what}: {value}"));
                assert!(!items.is_empty(), "{what} is empty, so that nothing of it was seen");
                return items.iter().for_each(|item| self.check(what, item, table));
            }
        };
        assert!(right, "{what} is no {wanted:?}: {value}");
    }
}

/// Posts to the RPC and gives the answer's JSON.
fn post(address: SocketAddr, body: &Value) -> Value {
    let body = body.to_string();
    let send = |id: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\nX-Transmission-Session-Id: {id}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let refused = send("");
    let id = refused.lines().find_map(|line| line.strip_prefix("x-transmission-session-id: ")).unwrap();
    let answer = send(id);
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[test]
fn every_field_of_torrents_is_there_and_of_its_type() {
    let pair = Pair::new(json!({}));
    pair.limit(Some(500));
    pair.add();
    let hash = pair.content.info_hash.as_str();
    until("a peer and an announce", || {
        let torrent = pair.leech.torrent(hash, &["peers", "rateDownload"]);
        (torrent["peers"].as_array()?.len() == 1 && torrent["rateDownload"].as_u64()? > 0).then_some(())
    });
    let address = pair.leech.address;
    for form in [Form::Legacy, Form::JsonRpc] {
        let names: Vec<&str> = TORRENT_GET.iter().map(|field| form.name(field)).collect();
        let all = form.call(address, "torrent-get", json!({"ids": [hash], "fields": names}));
        form.check("torrent", &all["torrents"][0], TORRENT_GET);
        // Each alone, and as a table.
        for field in TORRENT_GET {
            let name = form.name(field);
            let one = form.call(address, "torrent-get", json!({"ids": hash, "fields": [name]}));
            form.check("torrent", &one["torrents"][0], &[*field]);
            let ask = json!({"ids": [hash], "fields": [name], "format": "table"});
            let table = form.call(address, "torrent-get", ask);
            assert_eq!(table["torrents"][0], json!([name]));
            form.check_type(name, &table["torrents"][1][0], field.2);
        }
        let wanted = form.call(address, "torrent-get", json!({"ids": [hash], "fields": ["wanted"]}));
        let expected =
            if form == Form::Legacy { json!([1, 1, 1, 1, 1]) } else { json!([true, true, true, true, true]) };
        assert_eq!(wanted["torrents"][0]["wanted"], expected);
        let word = if form == Form::Legacy { "recently-active" } else { "recently_active" };
        let active = form.call(address, "torrent-get", json!({"ids": word, "fields": ["id"]}));
        assert_eq!(active, json!({"removed": [], "torrents": [{"id": 1}]}));
    }
    // What it says is so.
    let fields = ["percentDone", "leftUntilDone", "sizeWhenDone", "haveValid", "totalSize", "files", "peers"];
    let torrent = pair.leech.torrent(hash, &fields);
    let number = |name: &str| torrent[name].as_u64().unwrap();
    assert_eq!(number("leftUntilDone") + number("haveValid"), number("totalSize"));
    assert_eq!((number("sizeWhenDone"), number("totalSize")), (pair.content.length, pair.content.length));
    let done = 1.0 - number("leftUntilDone") as f64 / number("sizeWhenDone") as f64;
    assert!((torrent["percentDone"].as_f64().unwrap() - done).abs() < 1e-6);
    let peer = &torrent["peers"][0];
    let port = pair.seed.call("session-get", json!({}))["peer-port"].clone();
    assert!(peer["progress"] == 1.0 && (peer["port"] == port || peer["isIncoming"] == true), "{peer}");
    assert!(peer["clientName"].as_str().unwrap().starts_with("Ringseed"), "{peer}");
}

#[test]
fn every_argument_of_torrent_set_is_taken_or_refused_with_a_reason() {
    let daemon = Daemon::start(&[]);
    let content = daemon.multi("many");
    daemon.seed(&content);
    let target = daemon.dir("target");
    let tracker = "http://127.0.0.1:9/announce";
    // Name in both forms, value, the field that tells it, what it tells.
    let taken: &[(&str, &str, Value, &str, Value)] = &[
        ("downloadLimit", "download_limit", json!(55), "downloadLimit", json!(55)),
        ("downloadLimited", "download_limited", json!(true), "downloadLimited", json!(true)),
        ("uploadLimit", "upload_limit", json!(66), "uploadLimit", json!(66)),
        ("uploadLimited", "upload_limited", json!(true), "uploadLimited", json!(true)),
        ("files-unwanted", "files_unwanted", json!([0, 1]), "wanted", json!([0, 0, 1, 1, 1])),
        ("files-wanted", "files_wanted", json!([0]), "wanted", json!([1, 0, 1, 1, 1])),
        ("files-wanted", "files_wanted", json!([]), "wanted", json!([1, 1, 1, 1, 1])),
        ("priority-high", "priority_high", json!([2]), "priorities", json!([0, 0, 1, 0, 0])),
        ("priority-low", "priority_low", json!([3]), "priorities", json!([0, 0, 1, -1, 0])),
        ("priority-normal", "priority_normal", json!([2]), "priorities", json!([0, 0, 0, -1, 0])),
        ("group", "group", json!("slow"), "group", json!("slow")),
        ("honorsSessionLimits", "honors_session_limits", json!(true), "honorsSessionLimits", json!(true)),
        ("bandwidthPriority", "bandwidth_priority", json!(0), "bandwidthPriority", json!(0)),
        ("labels", "labels", json!(["a", "b"]), "labels", json!(["a", "b"])),
        ("peer-limit", "peer_limit", json!(7), "peer-limit", json!(7)),
        ("queuePosition", "queue_position", json!(0), "queuePosition", json!(0)),
        ("seedIdleLimit", "seed_idle_limit", json!(5), "seedIdleLimit", json!(5)),
        ("seedIdleMode", "seed_idle_mode", json!(2), "seedIdleMode", json!(2)),
        ("seedRatioLimit", "seed_ratio_limit", json!(4.5), "seedRatioLimit", json!(4.5)),
        ("seedRatioMode", "seed_ratio_mode", json!(2), "seedRatioMode", json!(2)),
        (
            "trackerAdd",
            "tracker_add",
            json!(["udp://127.0.0.1:9"]),
            "trackerList",
            json!(format!("{tracker}\n\nudp://127.0.0.1:9")),
        ),
        (
            "trackerReplace",
            "tracker_replace",
            json!([1, "http://127.0.0.1:9/x"]),
            "trackerList",
            json!(format!("{tracker}\n\nhttp://127.0.0.1:9/x")),
        ),
        ("trackerRemove", "tracker_remove", json!([1]), "trackerList", json!(tracker)),
        (
            "trackerList",
            "tracker_list",
            json!("http://127.0.0.1:9/a\nhttp://127.0.0.1:9/b\n\nudp://127.0.0.1:9"),
            "trackerList",
            json!("http://127.0.0.1:9/a\nhttp://127.0.0.1:9/b\n\nudp://127.0.0.1:9"),
        ),
        ("trackerList", "tracker_list", json!(tracker), "trackerList", json!(tracker)),
    ];
    for form in [Form::Legacy, Form::JsonRpc] {
        for (legacy, modern, value, field, expected) in taken {
            let name = if form == Form::Legacy { legacy } else { modern };
            form.call(daemon.address, "torrent-set", json!({"ids": [content.info_hash], *name: value}));
            assert_eq!(daemon.torrent(&content.info_hash, &[*field])[*field], *expected, "{form:?} {name}");
        }
        // Back to what it was.
        let reset = json!({"ids": [content.info_hash], "downloadLimited": false, "uploadLimited": false,
            "files-wanted": [], "priority-normal": [], "labels": []});
        daemon.call("torrent-set", reset);
    }
    daemon.call("torrent-set", json!({"ids": [content.info_hash], "location": target}));
    daemon.wait(&content.info_hash, "the move", |torrent| torrent["downloadDir"] == json!(target));
    for (name, value) in [("bandwidthPriority", json!(1)), ("honorsSessionLimits", json!(false))] {
        let said =
            rpc::outcome(daemon.address, "torrent-set", json!({"ids": [content.info_hash], name: value}));
        assert!(said.contains(name) && said.contains("nothing was changed"), "{said}");
    }
}

#[test]
fn every_argument_of_torrent_add_is_taken() {
    let daemon = Daemon::start(&[]);
    let content = daemon.multi("many");
    let bytes = std::fs::read(&content.torrent).unwrap();
    // A server that lets in only who shows the cookie.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 2000];
        let length = stream.read(&mut asked).unwrap();
        let right = String::from_utf8_lossy(&asked[..length]).to_lowercase().contains("cookie: key=value");
        let (status, body) = if right { ("200 OK", &bytes[..]) } else { ("403 Forbidden", &b""[..]) };
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
    });
    let fetching = Daemon::start(&["--rpc-fetch-local"]);
    let url = format!("http://127.0.0.1:{port}/x.torrent");
    fetching.call("torrent-add", json!({"filename": url, "cookies": "key=value", "paused": true}));
    served.join().unwrap();
    assert_eq!(fetching.torrent(&content.info_hash, &["name"])["name"], content.name.as_str());

    for (form, arguments) in [
        (
            Form::Legacy,
            json!({"filename": content.torrent, "download-dir": content.dir, "labels": ["l"], "paused": true,
                "peer-limit": 9, "bandwidthPriority": 0, "files-unwanted": [0, 1], "files-wanted": [1],
                "priority-high": [2, 3], "priority-low": [4], "priority-normal": [3]}),
        ),
        (
            Form::JsonRpc,
            json!({"filename": content.torrent, "download_dir": content.dir, "labels": ["l"], "paused": true,
                "peer_limit": 9, "bandwidth_priority": 0, "files_unwanted": [0, 1], "files_wanted": [1],
                "priority_high": [2, 3], "priority_low": [4], "priority_normal": [3]}),
        ),
    ] {
        let (added, duplicate) = match form {
            Form::Legacy => ("torrent-added", "torrent-duplicate"),
            Form::JsonRpc => ("torrent_added", "torrent_duplicate"),
        };
        let answer = form.call(daemon.address, "torrent-add", arguments.clone());
        form.check(added, &answer[added], ADDED);
        let again = form.call(daemon.address, "torrent-add", arguments);
        form.check(duplicate, &again[duplicate], ADDED);
        let hash = content.info_hash.as_str();
        daemon.wait(hash, "the check", |torrent| torrent["status"] == 0);
        let torrent =
            daemon.torrent(hash, &["downloadDir", "labels", "peer-limit", "wanted", "priorities", "status"]);
        assert_eq!(
            torrent,
            json!({"downloadDir": content.dir, "labels": ["l"], "peer-limit": 9, "wanted": [0, 1, 1, 1, 1],
                "priorities": [0, 0, 1, 0, -1], "status": 0})
        );
        form.call(daemon.address, "torrent-remove", json!({"ids": [hash]}));
        until("the end", || daemon.torrent(hash, &["id"]).is_null().then_some(()));
    }
}

#[test]
fn every_setting_of_the_session_is_told_and_taken_or_refused_with_a_reason() {
    let daemon = Daemon::start(&[]);
    let (elsewhere, incomplete) = (daemon.dir("elsewhere"), daemon.dir("incomplete"));
    let port = crate::support::free_port();
    for form in [Form::Legacy, Form::JsonRpc] {
        let session = form.call(daemon.address, "session-get", json!({}));
        // What newer versions have beside the table, and what it cannot be without.
        let mut told = session.as_object().unwrap().clone();
        for extra in ["tcp-enabled", "anti-brute-force-enabled", "anti-brute-force-threshold"] {
            let name = if form == Form::Legacy { extra.to_owned() } else { extra.replace('-', "_") };
            assert!(told.remove(&name).is_some(), "{name}");
        }
        form.check("session", &Value::Object(told), SESSION_GET);
        for field in SESSION_GET {
            let name = form.name(field);
            let one = form.call(daemon.address, "session-get", json!({"fields": [name]}));
            form.check("session", &one, &[*field]);
        }
        // Everything may be sent back as it was told.
        let settable = |name: &str| {
            !["rpc-version", "version", "session-id", "units", "config-dir", "blocklist-size"]
                .iter()
                .any(|read_only| name.replace('_', "-").starts_with(read_only))
                && !name.replace('_', "-").contains("free-space")
        };
        let all: Map<String, Value> = session.as_object().unwrap().clone();
        let back: Map<String, Value> = all.into_iter().filter(|(name, _)| settable(name)).collect();
        form.call(daemon.address, "session-set", Value::Object(back));
    }
    let taken: &[(&str, Value)] = &[
        ("alt-speed-down", json!(11)),
        ("alt-speed-enabled", json!(true)),
        ("alt-speed-time-begin", json!(60)),
        ("alt-speed-time-day", json!(3)),
        ("alt-speed-time-end", json!(61)),
        ("alt-speed-up", json!(12)),
        ("blocklist-enabled", json!(true)),
        ("blocklist-url", json!("http://127.0.0.1:9/list")),
        ("default-trackers", json!("udp://127.0.0.1:9")),
        ("download-dir", json!(elsewhere)),
        ("download-queue-enabled", json!(true)),
        ("download-queue-size", json!(3)),
        ("idle-seeding-limit-enabled", json!(true)),
        ("idle-seeding-limit", json!(14)),
        ("incomplete-dir-enabled", json!(true)),
        ("incomplete-dir", json!(incomplete)),
        ("peer-port", json!(port)),
        ("queue-stalled-enabled", json!(false)),
        ("queue-stalled-minutes", json!(15)),
        ("rename-partial-files", json!(true)),
        ("seed-queue-enabled", json!(true)),
        ("seed-queue-size", json!(4)),
        ("seedRatioLimit", json!(1.75)),
        ("seedRatioLimited", json!(true)),
        ("speed-limit-down-enabled", json!(true)),
        ("speed-limit-down", json!(900)),
        ("speed-limit-up-enabled", json!(true)),
        ("speed-limit-up", json!(901)),
        ("start-added-torrents", json!(false)),
        ("trash-original-torrent-files", json!(true)),
    ];
    let refused: &[(&str, Value)] = &[
        ("alt-speed-time-begin", json!(1440)),
        ("cache-size-mb", json!(64)),
        ("dht-enabled", json!(true)),
        ("encryption", json!("required")),
        ("lpd-enabled", json!(true)),
        ("peer-limit-global", json!(3)),
        ("peer-limit-per-torrent", json!(3)),
        ("peer-port-random-on-start", json!(true)),
        ("pex-enabled", json!(false)),
        ("port-forwarding-enabled", json!(true)),
        ("script-torrent-added-enabled", json!(true)),
        ("script-torrent-added-filename", json!("/bin/true")),
        ("script-torrent-done-enabled", json!(true)),
        ("script-torrent-done-filename", json!("/bin/true")),
        ("script-torrent-done-seeding-enabled", json!(true)),
        ("script-torrent-done-seeding-filename", json!("/bin/true")),
        ("utp-enabled", json!(true)),
    ];
    // Together they are all that may be set; the schedule's switch is tried where time passes.
    let read_only = [
        "blocklist-size",
        "config-dir",
        "download-dir-free-space",
        "rpc-version-minimum",
        "rpc-version-semver",
        "rpc-version",
        "session-id",
        "units",
        "version",
        "alt-speed-time-enabled",
    ];
    for (name, _, _) in SESSION_GET {
        let listed = |list: &[(&str, Value)]| list.iter().any(|(other, _)| other == name);
        assert!(listed(taken) || listed(refused) || read_only.contains(name), "{name} is not tried");
    }
    for (name, value) in taken {
        daemon.call("session-set", json!({*name: value}));
        assert_eq!(daemon.call("session-get", json!({}))[*name], *value, "{name}");
        let modern = SESSION_GET.iter().find(|field| field.0 == *name).unwrap().1;
        Form::JsonRpc.call(daemon.address, "session-set", json!({modern: value}));
    }
    for (name, value) in refused {
        let before = daemon.call("session-get", json!({}));
        let said = rpc::outcome(daemon.address, "session-set", json!({"speed-limit-up": 5, *name: value}));
        assert_ne!(said, "success", "{name}");
        assert!(said.contains(name) || said.contains("1440 minutes"), "{name}: {said}");
        let mut after = daemon.call("session-get", json!({}));
        after["download-dir-free-space"] = before["download-dir-free-space"].clone();
        assert_eq!(before, after, "{name}: something was changed");
    }
}

#[test]
fn every_other_method_answers_as_specified() {
    let pair = Pair::new(json!({}));
    pair.add();
    let (daemon, hash) = (&pair.leech, pair.content.info_hash.as_str());
    for form in [Form::Legacy, Form::JsonRpc] {
        let call = |method: &str, arguments: Value| form.call(daemon.address, method, arguments);
        form.check("session-stats", &call("session-stats", json!({})), SESSION_STATS);
        form.check("free-space", &call("free-space", json!({"path": "/tmp"})), FREE_SPACE);
        assert_eq!(call("group-set", json!({"name": "g"})), json!({}));
        let groups = call("group-get", json!({"group": "g"}));
        form.check("group", &groups["group"][0], GROUP);
        assert_eq!(call("group-get", json!({"group": ["g", "none"]}))["group"].as_array().unwrap().len(), 1);
        assert_eq!(call("group-get", json!({}))["group"].as_array().unwrap().len(), 1);
        for method in [
            "torrent-start",
            "torrent-start-now",
            "torrent-stop",
            "torrent-verify",
            "torrent-reannounce",
            "queue-move-top",
            "queue-move-up",
            "queue-move-down",
            "queue-move-bottom",
        ] {
            // By hash, by number, by list, and for all.
            for ids in [json!({"ids": [hash]}), json!({"ids": 1}), json!({"ids": [1, hash, 99]}), json!({})] {
                assert_eq!(call(method, ids.clone()), json!({}), "{method} {ids}");
            }
        }
        daemon.wait(hash, "rest", |torrent| torrent["status"] == 0);
        let renamed =
            call("torrent-rename-path", json!({"ids": [hash], "path": pair.content.name, "name": "x"}));
        assert_eq!(renamed, json!({"path": pair.content.name, "name": "x", "id": 1}));
        daemon.wait(hash, "the name", |torrent| torrent["name"] == "x" && torrent["status"] == 0);
        call("torrent-rename-path", json!({"ids": [hash], "path": "x", "name": pair.content.name}));
        daemon.wait(hash, "the old name", |torrent| torrent["name"] == pair.content.name.as_str());
        daemon.wait(hash, "rest", |torrent| torrent["status"] == 0);
        let moved = daemon.dir("moved");
        assert_eq!(
            call("torrent-set-location", json!({"ids": [hash], "location": moved, "move": true})),
            json!({})
        );
        daemon.wait(hash, "the move", |torrent| {
            torrent["downloadDir"] == json!(moved) && torrent["status"] == 0
        });
        assert_eq!(call("torrent-set-location", json!({"ids": [hash], "location": moved})), json!({}));
        daemon.wait(hash, "rest", |torrent| torrent["status"] == 0);
    }
    let said = rpc::outcome(daemon.address, "port-test", json!({}));
    assert!(said.contains("not done"), "{said}");
    assert!(rpc::outcome(daemon.address, "blocklist-update", json!({})).contains("blocklist-url"));
    assert_eq!(rpc::outcome(daemon.address, "torrent-nonsense", json!({})), "method name not recognized");
    let remove = json!({"ids": [hash], "delete-local-data": true});
    assert_eq!(daemon.call("torrent-remove", remove), json!({}));
    until("the end", || daemon.torrent(hash, &["id"]).is_null().then_some(()));
    assert_eq!(daemon.call("session-close", json!({})), json!({}));
    until("the end of the daemon", || TcpStream::connect(daemon.address).is_err().then_some(()));
}

/// JSON-RPC 2.0 itself: notifications, batches, errors.
#[test]
fn the_json_rpc_form_keeps_to_its_own_specification() {
    let daemon = Daemon::start(&[]);
    let code = |call: Value| post(daemon.address, &call)["error"]["code"].clone();
    let call = |method: &str, params: Value| json!({"jsonrpc": "2.0", "method": method, "params": params, "id": "x"});
    assert_eq!(code(call("nonsense", json!({}))), -32601);
    assert_eq!(code(call("torrent_get", json!({"fields": 5}))), -32602);
    assert_eq!(code(json!({"jsonrpc": "2.0", "id": 1})), -32600);
    assert_eq!(code(json!([])), -32600);
    let refused = post(daemon.address, &call("free_space", json!({"path": "x"})));
    assert!(refused["error"]["code"].as_i64().unwrap() > 0, "{refused}");
    assert!(refused["error"]["data"]["error_string"].is_string() && refused["id"] == "x", "{refused}");
    let batch = json!([call("session_stats", json!({})), {"jsonrpc": "2.0", "method": "session_stats"}, 5]);
    let answers = post(daemon.address, &batch);
    assert_eq!(answers.as_array().unwrap().len(), 2, "a notification is not answered: {answers}");
    assert_eq!(answers[1]["error"]["code"], -32600);
}
