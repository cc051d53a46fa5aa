//! Every method and field of Transmission's RPC at version 17, from the tables of its specification, asked of real engines
//! in both forms. What the engine lacks is in these tables, too, with what it says.

mod tables;

use crate::daemon::Daemon;
use crate::pair::Pair;
use crate::support::{rpc, until};
use serde_json::{Map, Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use tables::Type::{Bool, Double, Many, Number, Numbers, One, Text, Texts};
use tables::{ADDED, FREE_SPACE, Field, GROUP, SESSION_GET, SESSION_STATS, TORRENT_GET, Type};

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
    rpc::post(|| TcpStream::connect(address), body).expect("an answer")
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
        ("encryption", json!("required")),
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
