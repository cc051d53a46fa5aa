//! The RPC over real sockets, with an engine that a task plays; driven by hand-written requests and by
//! Debian's `transmission-remote`.

mod many;
mod outside;
mod played;
mod session;

use super::*;
use arc_swap::ArcSwap;
use played::{bench, bench_with, status_of, torrent_file};
use ringseed_api::{Response, SESSION_ID_HEADER};
use ringseed_handle::Command;
use ringseed_handle::{
    AddOutcome, BannedPeer, EngineError, EngineLimits, EngineSnapshot, PeerStatus, SpeedLimit, TorrentState,
    TorrentStatus, TrackerStatus,
};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::layout::{FileSpec, Layout};
use ringseed_proto::metainfo::{Info, Metainfo};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

#[test]
fn checks_come_in_the_order_that_clients_rely_on() {
    bench(|bench| async move {
        let local = "Host: 127.0.0.1\r\n";
        let foreign = "Host: evil.example\r\n";
        for (line, headers, expected) in [
            ("OPTIONS /transmission/rpc", foreign, "200"),
            ("GET /", foreign, "301"),
            ("GET /etc/passwd", local, "301"),
            ("GET /transmission/rpc", foreign, "421"),
            ("GET /transmission/rpc", "", "421"),
            ("GET /transmission/web/", foreign, "421"),
            ("GET /transmission/web/", local, "404"),
            ("GET /metrics", foreign, "421"),
            // Sonarr probes with a bare GET and wants the 409.
            ("GET /transmission/rpc", local, "409"),
            ("POST /transmission/rpc/", "Host: seedbox.lan:9091\r\n", "401"),
            ("POST /transmission/rpc/", "Host: seedbox.lan\r\nAuthorization: Bearer t0ken\r\n", "409"),
            ("POST /transmission/rpc", "Host: localhost\r\nOrigin: https://evil.example\r\n", "403"),
            ("POST /transmission/rpc", "Host: localhost\r\nOrigin: http://localhost:9091\r\n", "409"),
            ("POST /transmission/rpc", "Host: localhost\r\nX-Transmission-Session-Id: guess\r\n", "409"),
            ("POST /metrics", local, "405"),
            ("GET /healthz", foreign, "200"),
        ] {
            let answer = bench.request(line, headers, "").await;
            assert_eq!(status_of(&answer), expected, "{line} {headers}: {answer}");
        }
        let headers = format!("{local}{SESSION_ID_HEADER}: {}\r\n", bench.session_id().await);
        assert_eq!(status_of(&bench.request("GET /transmission/rpc", &headers, "").await), "405");
    });
}

#[test]
fn readiness_follows_the_engine() {
    bench(|bench| async move {
        let probe = || bench.request("GET /readyz", "Host: localhost\r\n", "");
        assert_eq!(status_of(&probe().await), "200");
        bench.engine.snapshot.store(Arc::default());
        assert_eq!(status_of(&probe().await), "503");
    });
}

/// Strangers were told where the resume store is, and the metrics said that all was well.
#[test]
fn a_failing_store_is_seen_and_only_this_machine_is_told_where_it_is() {
    bench(|bench| async move {
        let page = || bench.request("GET /metrics", "Host: localhost\r\n", "");
        assert!(page().await.contains("\nringseed_failing{part=\"store\"} 0\n"));
        let mut snapshot = (**bench.engine.snapshot.load()).clone();
        snapshot.store_trouble = Some("no space for /srv/state/resume.redb".into());
        bench.engine.snapshot.store(Arc::new(snapshot));
        let here = bench.request("GET /readyz", "Host: localhost\r\n", "").await;
        assert!(status_of(&here) == "503" && here.contains("/srv/state"), "{here}");
        let stranger = "Host: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n";
        let elsewhere = bench.request("GET /readyz", stranger, "").await;
        assert!(status_of(&elsewhere) == "503" && elsewhere.contains("store fails"), "{elsewhere}");
        assert!(!elsewhere.contains("/srv"), "{elsewhere}");
        let page = page().await;
        assert!(
            page.contains("\nringseed_failing{part=\"store\"} 1\n")
                && page.contains("{part=\"network\"} 0\n")
        );
    });
}

#[test]
fn bad_requests_get_answers_and_no_more() {
    bench(|bench| async move {
        let nested =
            format!(r#"{{"method":"x","arguments":{{"a":{}{}}}}}"#, "[".repeat(9999), "]".repeat(9999));
        for body in ["", "{", "{}", r#"{"method":5}"#, r#"{"method":"session-get","arguments":7}"#, &nested] {
            assert!(bench.post(body).await.result.starts_with("cannot read the request"), "{body:.40}");
        }
        let answer = bench.call("no-such-method", json!({})).await;
        assert_eq!((answer.result.as_str(), answer.tag), ("method name not recognized", Some(json!(7))));
        let answer = bench.call("torrent-get", json!({"ids": {"a": 1}})).await;
        assert!(answer.result.starts_with("invalid argument"));
        // More than is taken, and more than is told.
        let id = bench.session_id().await;
        let head =
            format!("POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\n{SESSION_ID_HEADER}: {id}\r\n");
        let answer = bench
            .raw(format!("{head}Content-Length: 9999999999\r\nConnection: close\r\n\r\n").as_bytes())
            .await;
        assert_eq!(status_of(&answer), "413");
        let huge = format!(
            "GET /transmission/rpc HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "y".repeat(200_000)
        );
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        let _ = stream.write_all(huge.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
        assert!(bench.engine.done.borrow().is_empty());
    });
}

#[test]
fn torrents_are_got_as_objects_and_as_a_table() {
    bench(|bench| async move {
        let fields =
            json!(["id", "name", "status", "error", "errorString", "leftUntilDone", "nonsense", "fileStats"]);
        let answer = bench.call("torrent-get", json!({"ids": [2, 99], "fields": fields})).await;
        let stats = json!([
            {"bytesCompleted": 16384, "wanted": true, "priority": 0},
            {"bytesCompleted": 0, "wanted": true, "priority": 0},
        ]);
        let two = json!({"id": 2, "name": "films", "status": 4, "error": 0, "errorString": "",
            "leftUntilDone": 23616, "fileStats": stats});
        assert_eq!(answer.arguments, json!({"torrents": [two]}));
        let hash = bench.engine.snapshot.load().torrents[2].torrent_id().to_string();
        let table = json!({"ids": hash, "fields": ["id", "errorString", "nonsense"], "format": "table"});
        let answer = bench.call("torrent-get", table).await;
        assert_eq!(answer.arguments, json!({"torrents": [["id", "errorString"], [3, "the disk is full"]]}));
        let answer = bench.call("torrent-get", json!({"fields": ["id"]})).await;
        assert_eq!(answer.arguments, json!({"torrents": [{"id": 1}, {"id": 2}, {"id": 3}]}));
    });
}

#[test]
fn bans_and_a_wrong_hash_in_the_torrent_are_told() {
    bench(|bench| async move {
        let mut snapshot = EngineSnapshot::clone(&bench.engine.snapshot.load());
        let mut torrent = TorrentStatus::clone(&snapshot.torrents[1]);
        let until = std::time::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        torrent.banned = vec![BannedPeer { address: [10, 0, 0, 7].into(), until }];
        torrent.warning = Some("piece 7 cannot be downloaded".into());
        torrent.waits_for_memory = true;
        snapshot.torrents.insert(Arc::new(torrent));
        bench.engine.snapshot.store(Arc::new(snapshot));
        let fields = json!(["status", "error", "errorString", "bannedPeers", "waitsForMemory"]);
        let answer = bench.call("torrent-get", json!({"ids": [2], "fields": fields})).await;
        let told = json!({"status": 4, "error": 3, "errorString": "piece 7 cannot be downloaded",
            "bannedPeers": [{"address": "10.0.0.7", "until": 1_900_000_000}], "waitsForMemory": true});
        assert_eq!(answer.arguments, json!({"torrents": [told]}));
        let metrics = bench.request("GET /metrics", "Host: localhost\r\n", "").await;
        assert!(metrics.contains("\nringseed_banned_peers 1\n"), "{metrics}");
    });
}

/// A torrent that was just stopped still has its trackers, and what they said was told as its error.
#[test]
fn trackers_that_fail_are_no_error_of_a_stopped_torrent() {
    bench(|bench| async move {
        for (state, expected) in [
            (TorrentState::Downloading, json!([2, "refused"])),
            (TorrentState::Paused, json!([0, ""])),
            (TorrentState::Queued, json!([0, ""])),
            (TorrentState::Failed("no space".into()), json!([3, "no space"])),
        ] {
            let mut snapshot = EngineSnapshot::clone(&bench.engine.snapshot.load());
            let mut torrent = TorrentStatus::clone(&snapshot.torrents[1]);
            let unknown = TrackerStatus::unknown("http://a/x", 0);
            torrent.trackers = vec![TrackerStatus { last_result: "refused".into(), ..unknown }];
            torrent.state = state;
            snapshot.torrents.insert(Arc::new(torrent));
            bench.engine.snapshot.store(Arc::new(snapshot));
            let wanted = json!({"ids": [2], "fields": ["error", "errorString"]});
            let told = bench.call("torrent-get", wanted).await.arguments["torrents"][0].clone();
            assert_eq!(json!([told["error"], told["errorString"]]), expected);
        }
    });
}

#[test]
fn all_connected_peers_are_counted_and_not_only_those_that_are_listed() {
    bench(|bench| async move {
        let fields = json!(["peersConnected", "peers"]);
        let answer = bench.call("torrent-get", json!({"ids": [2], "fields": fields})).await;
        let torrent = &answer.arguments["torrents"][0];
        assert_eq!(torrent["peersConnected"], 700);
        assert_eq!(torrent["peers"].as_array().map(Vec::len), Some(1));
    });
}

#[test]
fn removed_torrents_are_told_to_those_who_poll() {
    bench(|bench| async move {
        let poll = || bench.call("torrent-get", json!({"ids": "recently-active", "fields": ["id"]}));
        let first = poll().await.arguments;
        assert_eq!(first["removed"], json!([]));
        assert_eq!(first["torrents"].as_array().unwrap().len(), 3);
        assert!(bench.call("torrent-remove", json!({"ids": [2]})).await.is_success());
        let second = poll().await.arguments;
        assert_eq!((&second["removed"], &second["torrents"]), (&json!([2]), &json!([{"id": 1}, {"id": 3}])));
    });
}

#[test]
fn adding_answers_as_clients_expect() {
    bench(|bench| async move {
        let metainfo = base64::encode(&torrent_file("hello.txt"));
        let add = json!({"metainfo": metainfo, "download-dir": "/srv/x", "paused": true});
        let answer = bench.call("torrent-add", add.clone()).await;
        assert_eq!(answer.arguments["torrent-added"]["name"], "hello.txt", "{answer:?}");
        assert_eq!(answer.arguments["torrent-added"]["id"], 40);
        let answer = bench.call("torrent-add", add).await;
        assert!(answer.is_success() && answer.arguments["torrent-duplicate"]["id"] == 40, "{answer:?}");
        assert_eq!(bench.engine.done.borrow()[0], r#"add hello.txt Some("/srv/x") true"#);
        for (arguments, why) in [
            (json!({}), "no filename or metainfo"),
            (json!({"metainfo": "!"}), "base64"),
            (json!({"metainfo": "Zm9v"}), "corrupt torrent file"),
            (json!({"metainfo": metainfo, "download-dir": "up/../down"}), "not absolute"),
            (json!({"filename": "relative.torrent"}), "not absolute"),
            (json!({"filename": "/no/such/file.torrent"}), "No such file"),
            (json!({"filename": "/dev/zero"}), "not a file"),
            (json!({"filename": "http://127.0.0.1/x.torrent"}), "local addresses are not fetched"),
            (json!({"filename": "http://localhost:1/x.torrent"}), "local addresses are not fetched"),
            (json!({"filename": "magnet:?xt=urn:btih:00"}), "magnet links are not supported"),
        ] {
            let answer = bench.call("torrent-add", arguments).await;
            assert!(answer.result.contains(why), "{why}: {answer:?}");
        }
        assert_eq!(bench.engine.done.borrow().len(), 2);
    });
}

#[test]
fn everything_is_never_removed_by_mistake() {
    bench(|bench| async move {
        let answer = bench.call("torrent-remove", json!({})).await;
        assert!(answer.result.contains("needs ids"));
        assert!(bench.engine.done.borrow().is_empty());
    });
}

#[test]
fn the_metrics_page_is_complete_and_counters_never_fall() {
    bench(|bench| async move {
        let page = || bench.request("GET /metrics", "Host: localhost\r\n", "");
        bench.call("torrent-get", json!({"fields": ["id"]})).await;
        let text = page().await;
        for line in [
            "ringseed_build_info{version=\"0.1.0\"} 1",
            "ringseed_torrents{state=\"downloading\"} 1",
            "ringseed_torrents{state=\"paused\"} 0",
            "ringseed_connections 3",
            "ringseed_payload_bytes_total{direction=\"sent\"} 98304",
            "ringseed_shard_turns_total{shard=\"1\"} 0",
            "# TYPE ringseed_ring_sent_bytes_total counter",
            "ringseed_rpc_request_duration_seconds_count{method=\"torrent-get\"} 1",
            "ringseed_process_resident_memory_bytes{kind=\"anonymous\"} ",
            "ringseed_process_open_fds ",
        ] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
        let types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let unique: std::collections::HashSet<_> = types.iter().collect();
        assert_eq!(types.len(), unique.len());
        bench.call("torrent-remove", json!({"ids": [1]})).await;
        assert!(page().await.contains("ringseed_payload_bytes_total{direction=\"sent\"} 98304"));
    });
}

#[test]
fn transmission_remote_drives_a_session() {
    bench(|bench| async move {
        let list = bench.remote(&["-l"]).await;
        assert!(list.contains("films") && list.contains("40%") && list.contains("Stopped"), "{list}");
        let info = bench.remote(&["-t", "2", "-i"]).await;
        for text in [
            "Name: films",
            "Location: /srv/data",
            "Percent Done: 40.9%",
            "Comment: a comment",
            "Piece Count: 3",
        ] {
            assert!(info.contains(text), "{text} is missing:\n{info}");
        }
        assert!(bench.remote(&["-t", "3", "-i"]).await.contains("the disk is full"));
        let files = bench.remote(&["-t", "2", "-f"]).await;
        assert!(files.contains("films/a.mkv") && files.contains("81%"), "{files}");
        let peers = bench.remote(&["-t", "2", "-ip"]).await;
        assert!(peers.contains("192.0.2.7") && peers.contains("qBittorrent 5.1"), "{peers}");
        let trackers = bench.remote(&["-t", "2", "-it"]).await;
        assert!(trackers.contains("Tracker 0: http://tracker.example.org:8080"), "{trackers}");
        assert!(trackers.contains("Tracker had 12 seeders and 3 leechers"), "{trackers}");
        assert!(bench.remote(&["-t", "2", "-ic"]).await.contains("100"));
        assert!(bench.remote(&["-si"]).await.contains("Listenport: 6881"));
        assert!(bench.remote(&["-st"]).await.contains("CURRENT SESSION"));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hello.torrent");
        std::fs::write(&path, torrent_file("hello.txt")).unwrap();
        bench.remote(&["-a", path.to_str().unwrap()]).await;
        assert!(bench.remote(&["-l"]).await.contains("hello.txt"));
        for (arguments, expected) in [
            (["-t", "1", "-S"], "pause"),
            (["-t", "1", "-s"], "resume"),
            (["-t", "1", "-v"], "verify"),
            (["-t", "1", "--reannounce"], "reannounce"),
            (["-t", "1", "-r"], "remove"),
        ] {
            let answer = bench.remote(&arguments).await;
            assert!(answer.contains("success"), "{arguments:?}: {answer}");
            assert_eq!(bench.engine.done.borrow().last().unwrap(), expected);
        }
        assert_eq!(*bench.engine.removed.borrow(), [1]);
        let hash = bench.engine.snapshot.load().torrents[0].torrent_id().to_string();
        assert!(bench.remote(&["-t", &hash, "-r"]).await.contains("success"));
    });
}

#[test]
fn settings_are_set_and_told() {
    bench(|bench| async move {
        let set = json!({"ids": [1], "labels": [" a ", "b", "a"], "files-unwanted": [1], "priority-high": [0],
            "seedRatioLimit": 1.5, "seedRatioMode": 1, "seedIdleLimit": 7, "seedIdleMode": 2, "peer-limit": 9,
            "group": "g", "trackerAdd": ["udp://new.example:80"], "trackerRemove": [0], "queuePosition": 2});
        let answer = bench.call("torrent-set", set).await;
        assert!(answer.is_success(), "{answer:?}");
        let fields = [
            "labels",
            "wanted",
            "priorities",
            "seedRatioLimit",
            "seedRatioMode",
            "seedIdleLimit",
            "seedIdleMode",
            "peer-limit",
            "group",
            "trackerList",
            "queuePosition",
        ];
        let answer = bench.call("torrent-get", json!({"ids": [1], "fields": fields})).await;
        assert_eq!(
            answer.arguments["torrents"][0],
            json!({"labels": ["a", "b"], "wanted": [1, 0], "priorities": [1, 0], "seedRatioLimit": 1.5,
                "seedRatioMode": 1, "seedIdleLimit": 7, "seedIdleMode": 2, "peer-limit": 9, "group": "g",
                "trackerList": "udp://new.example:80", "queuePosition": 1})
        );
        assert_eq!(*bench.engine.done.borrow(), ["set", "To(2) 1"]);
        // One wrong wish, and nothing is changed.
        for (wrong, why) in [
            (json!({"labels": ["x,y"]}), "comma"),
            (json!({"labels": [""]}), "empty"),
            (json!({"files-wanted": [2]}), "out of range"),
            (json!({"trackerAdd": ["ftp://x"]}), "announce URL"),
            (json!({"trackerRemove": [5]}), "no tracker"),
            (json!({"seedRatioMode": 3}), "mode"),
            (json!({"seedRatioLimit": -1.0}), "ratio"),
            (json!({"location": "relative"}), "not absolute"),
            (json!({"location": "/a/../../etc"}), "not absolute"),
            (json!({"bandwidthPriority": 1}), "not supported"),
            (json!({"honorsSessionLimits": false}), "cannot be turned off"),
        ] {
            let answer = bench.call("torrent-set", wrong).await;
            assert!(answer.result.contains(why), "{why}: {answer:?}");
        }
        assert_eq!(bench.engine.done.borrow().len(), 2);
    });
}

#[test]
fn a_list_is_one_command_and_its_failures_are_named() {
    bench(|bench| async move {
        let answer = bench.call("torrent-stop", json!({})).await;
        assert!(answer.is_success() && *bench.engine.done.borrow() == ["pause"], "{answer:?}");
        let to_full = |ids: Value| json!({"ids": ids, "location": "/full", "move": true});
        let answer = bench.call("torrent-set-location", to_full(json!([1, 2, 3, 77]))).await;
        let third = bench.engine.snapshot.load().torrents.get(3).unwrap().torrent_id();
        let full = "no space left on the disk while writing /full; free some space and resume the torrent";
        assert_eq!(answer.result, format!("1 of 3 torrents failed: {third}: {full}"));
        let answer = bench.call("torrent-set-location", to_full(json!([3]))).await;
        assert_eq!(answer.result, full);
        assert_eq!(bench.engine.done.borrow().len(), 3);
        let answer = bench.call("torrent-stop", json!({"ids": [77]})).await;
        assert!(answer.is_success() && bench.engine.done.borrow().len() == 3, "{answer:?}");
    });
}

#[test]
fn places_are_changed_by_their_methods() {
    bench(|bench| async move {
        for (method, arguments, done) in [
            (
                "torrent-set-location",
                json!({"ids": [1], "location": "/new/", "move": true}),
                r#"Move("/new")"#,
            ),
            ("torrent-set-location", json!({"ids": [1], "location": "/new"}), r#"Found("/new")"#),
            ("torrent-set", json!({"ids": [1], "location": "/set"}), r#"Move("/set")"#),
            (
                "torrent-rename-path",
                json!({"ids": [1], "path": "films/a.mkv", "name": "b"}),
                r#"Rename(Rename { from: "films/a.mkv", to: "films/b" })"#,
            ),
            ("queue-move-top", json!({"ids": [1, 2]}), "Top 2"),
            ("queue-move-up", json!({"ids": [1]}), "Up 1"),
            ("queue-move-down", json!({"ids": [1]}), "Down 1"),
            ("queue-move-bottom", json!({"ids": 1}), "Bottom 1"),
            ("torrent-start-now", json!({"ids": [1]}), "resume now"),
            ("torrent-remove", json!({"ids": [1], "delete-local-data": true}), "remove with data"),
        ] {
            let answer = bench.call(method, arguments).await;
            assert!(answer.is_success(), "{method}: {answer:?}");
            assert_eq!(bench.engine.done.borrow().last().unwrap(), done);
        }
        let before = bench.engine.done.borrow().len();
        for (path, name) in [
            ("films/a.mkv", "../evil"),
            ("films/a.mkv", ".."),
            ("films/a.mkv", ""),
            ("films/a.mkv", "a\0b"),
            ("films/a.mkv", "b.mkv"),
            ("../films", "x"),
            ("", "x"),
            ("/etc/passwd", "x"),
        ] {
            let answer =
                bench.call("torrent-rename-path", json!({"ids": [2], "path": path, "name": name})).await;
            assert!(!answer.is_success(), "{path} {name}");
        }
        assert!(!bench.call("torrent-rename-path", json!({"path": "films", "name": "x"})).await.is_success());
        assert!(
            !bench
                .call("torrent-set-location", json!({"ids": [2], "location": "up/../down"}))
                .await
                .is_success()
        );
        assert_eq!(bench.engine.done.borrow().len(), before);
    });
}

#[test]
fn the_newer_form_is_understood() {
    bench(|bench| async move {
        let id = bench.session_id().await;
        let headers = format!("Host: localhost\r\n{SESSION_ID_HEADER}: {id}\r\n");
        let post = |body: Value| {
            let headers = headers.clone();
            let bench = &bench;
            async move { bench.request("POST /transmission/rpc", &headers, &body.to_string()).await }
        };
        let result =
            |answer: &str| serde_json::from_str::<Value>(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let params =
            json!({"ids": [2], "fields": ["id", "hash_string", "download_dir", "left_until_done", "wanted"]});
        let answer =
            post(json!({"jsonrpc": "2.0", "method": "torrent_get", "params": params, "id": 5})).await;
        let hash = bench.engine.snapshot.load().torrents[1].torrent_id().to_string();
        assert_eq!(
            result(&answer),
            json!({"jsonrpc": "2.0", "id": 5, "result": {"torrents": [{"id": 2, "hash_string": hash,
                "download_dir": "/srv/data", "left_until_done": 23616, "wanted": [true, true]}]}})
        );
        let set =
            json!({"ids": [2], "seed_ratio_limit": 1.25, "upload_limited": true, "files_unwanted": [1]});
        let answer = post(json!({"jsonrpc": "2.0", "method": "torrent_set", "params": set})).await;
        assert_eq!(status_of(&answer), "204", "a notification: {answer}");
        let torrent = bench.engine.snapshot.load().torrents[1].clone();
        assert!(
            torrent.upload_limit.on && torrent.settings.ratio == 1.25 && !torrent.settings.file(1).wanted
        );
        let session = result(&post(json!({"jsonrpc": "2.0", "method": "session_get", "id": "a"})).await);
        assert_eq!(session["result"]["rpc_version"], 17);
        assert_eq!((&session["id"], &session["result"]["encryption"]), (&json!("a"), &json!("preferred")));
        for (call, code) in [
            (json!({"jsonrpc": "2.0", "method": "nonsense", "id": 1}), -32601),
            (json!({"jsonrpc": "1.0", "method": "session_get", "id": 1}), -32600),
            (json!({"jsonrpc": "2.0", "id": 1}), -32600),
            (
                json!({"jsonrpc": "2.0", "method": "torrent_set", "params": {"ids": [1], "upload_limit": "x"}, "id": 1}),
                -32602,
            ),
            (
                json!({"jsonrpc": "2.0", "method": "torrent_set", "params": {"labels": ["a,b"]}, "id": 1}),
                -32602,
            ),
            (
                json!({"jsonrpc": "2.0", "method": "torrent_set", "params": {"bandwidth_priority": 1}, "id": 1}),
                -32000,
            ),
            (
                json!({"jsonrpc": "2.0", "method": "torrent_set", "params": {"tracker_add": ["x"]}, "id": 1}),
                2,
            ),
            (json!({"jsonrpc": "2.0", "method": "free_space", "params": {"path": "x"}, "id": 1}), 3),
            (json!({"jsonrpc": "2.0", "method": "free_space", "params": {"path": "/no/such"}, "id": 1}), 5),
            (
                json!({"jsonrpc": "2.0", "method": "torrent_set_location", "params": {"ids": [3], "location": "/full", "move": true}, "id": 1}),
                5,
            ),
            (json!({"jsonrpc": "2.0", "method": "torrent_set", "params": {"files_wanted": [2]}, "id": 1}), 6),
            (json!({"jsonrpc": "2.0", "method": "torrent_add", "params": {"metainfo": "AAAA"}, "id": 1}), 8),
            (json!([]), -32600),
        ] {
            assert_eq!(result(&post(call.clone()).await)["error"]["code"], code, "{call}");
        }
        let batch = json!([{"jsonrpc": "2.0", "method": "session_stats", "id": 1}, {"jsonrpc": "2.0", "method": "session_stats"}]);
        assert_eq!(result(&post(batch).await).as_array().unwrap().len(), 1);
    });
}
