//! What is set and told of the whole session.

use super::*;

#[test]
fn the_session_speaks_for_the_engine() {
    bench(|bench| async move {
        let session = bench.call("session-get", json!({})).await.arguments;
        assert_eq!(session["version"], "4.0.6 (ringseed 0.1.0)");
        assert_eq!((&session["rpc-version"], &session["peer-port"]), (&json!(17), &json!(6881)));
        assert_eq!((&session["speed-limit-up"], &session["seedRatioLimited"]), (&json!(5000), &json!(false)));
        let some = bench.call("session-get", json!({"fields": ["version"]})).await.arguments;
        assert_eq!(some.as_object().unwrap().len(), 1);
        let stats = bench.call("session-stats", json!({})).await.arguments;
        assert_eq!((&stats["torrentCount"], &stats["pausedTorrentCount"]), (&json!(3), &json!(1)));
        assert_eq!(stats["current-stats"]["uploadedBytes"], 98_304);
        let all = &stats["cumulative-stats"];
        assert_eq!((&all["uploadedBytes"], &all["sessionCount"]), (&json!(200_000), &json!(4)));
        let space = bench.call("free-space", json!({"path": "/tmp"})).await.arguments;
        assert!(space["size-bytes"].as_i64().unwrap() > 0, "{space}");
        assert!(bench.call("free-space", json!({"path": "tmp"})).await.result.contains("not absolute"));
        let engine = bench.engine.clone();
        assert!(bench.call("session-close", json!({})).await.is_success());
        bench.played.await.unwrap();
        assert_eq!(*engine.done.borrow(), ["shutdown"]);
    });
}

#[test]
fn limits_are_set_and_told_in_thousands_of_bytes() {
    bench(|bench| async move {
        let fields =
            ["uploadLimit", "uploadLimited", "downloadLimit", "downloadLimited", "sequentialDownload"];
        let get = || async {
            let answer = bench.call("torrent-get", json!({"ids": [1, 2], "fields": fields})).await;
            answer.arguments["torrents"].as_array().unwrap().clone()
        };
        let untouched = get().await[1].clone();
        // A value alone does not make it hold, a flag alone keeps the value.
        assert!(bench.call("torrent-set", json!({"ids": [1], "uploadLimited": true})).await.is_success());
        let change = json!({"ids": 1, "downloadLimit": 250, "sequential_download": true});
        assert!(bench.call("torrent-set", change).await.is_success());
        assert_eq!(
            *get().await,
            [
                json!({"uploadLimit": 300, "uploadLimited": true, "downloadLimit": 250,
                    "downloadLimited": false, "sequentialDownload": true}),
                untouched
            ]
        );
        bench.remote(&["-t", "2", "-u", "70", "-d", "80"]).await;
        assert_eq!(get().await[1]["uploadLimit"], 70);
        assert_eq!(
            (&get().await[1]["uploadLimited"], &get().await[1]["downloadLimited"]),
            (&json!(true), &json!(true))
        );
        assert!(bench.remote(&["-t", "2", "-i"]).await.contains("70 kB/s"));
        bench.remote(&["-t", "2", "-U", "-D"]).await;
        assert_eq!(
            (&get().await[1]["uploadLimited"], &get().await[1]["downloadLimit"]),
            (&json!(false), &json!(80))
        );

        let set =
            json!({"speed-limit-down": 900, "speed-limit-down-enabled": true, "speed-limit-up-enabled": 0});
        assert!(bench.call("session-set", set).await.is_success());
        bench.remote(&["-u", "1234"]).await;
        let session = bench.call("session-get", json!({})).await.arguments;
        assert_eq!(
            (&session["speed-limit-down"], &session["speed-limit-down-enabled"]),
            (&json!(900), &json!(true))
        );
        assert_eq!(
            (&session["speed-limit-up"], &session["speed-limit-up-enabled"]),
            (&json!(1234), &json!(true))
        );

        let before = bench.engine.done.borrow().len();
        let unknown = json!({"ids": [1], "uploadLimit": 1, "nonsense": ["a"]});
        assert!(bench.call("torrent-set", unknown).await.result.contains("nonsense is not supported"));
        assert!(bench.call("session-set", json!({"dht-enabled": true})).await.result.contains("dht-enabled"));
        let negative = bench.call("torrent-set", json!({"uploadLimit": -5})).await;
        assert!(negative.result.starts_with("invalid argument"), "{negative:?}");
        assert_eq!(bench.engine.done.borrow().len(), before);
    });
}

#[test]
fn the_session_is_set_and_told() {
    bench(|bench| async move {
        let set = json!({"alt-speed-down": 7, "alt-speed-up": 8, "alt-speed-enabled": true,
            "alt-speed-time-begin": 60, "seedRatioLimited": true, "seedRatioLimit": 1.25,
            "idle-seeding-limit": 5, "idle-seeding-limit-enabled": true, "download-queue-enabled": true,
            "download-queue-size": 3, "seed-queue-size": 4, "queue-stalled-minutes": 6, "download-dir": "/srv/new",
            "incomplete-dir": "/srv/inc", "start-added-torrents": false, "encryption": "required", "default-trackers": "udp://d.example:1"});
        let answer = bench.call("session-set", set.clone()).await;
        assert!(answer.is_success(), "{answer:?}");
        let session = bench.call("session-get", json!({})).await.arguments;
        for (name, value) in set.as_object().unwrap() {
            assert_eq!(session[name], *value, "{name}");
        }
        // A client may send back what it was told, and is told what cannot be.
        assert!(
            bench
                .call("session-set", json!({"dht-enabled": false, "encryption": "required"}))
                .await
                .is_success()
        );
        for (wrong, why) in [
            (json!({"script-torrent-done-enabled": true}), "script-torrent-done-enabled is not supported"),
            (json!({"encryption": "always"}), "tolerated, preferred or required"),
            (json!({"peer-port": 0}), "1 to 65535"),
            (json!({"download-dir": "x"}), "not absolute"),
            (json!({"alt-speed-time-end": 1440}), "1440"),
        ] {
            let answer = bench.call("session-set", wrong).await;
            assert!(answer.result.contains(why), "{why}: {answer:?}");
        }
        assert!(bench.call("group-set", json!({"name": "g", "speed-limit-up": 5})).await.is_success());
        let groups = bench.call("group-get", json!({"group": ["g", "h"]})).await.arguments;
        assert_eq!(
            (&groups["group"][0]["name"], &groups["group"][0]["speed-limit-up"]),
            (&json!("g"), &json!(5))
        );
        let limited = json!({"name": "g", "speed-limit-up-enabled": true});
        assert!(bench.call("group-set", limited).await.result.contains("not supported"));
        assert!(bench.call("blocklist-update", json!({})).await.result.contains("blocklist-url"));
        assert!(!bench.call("port-test", json!({})).await.is_success());
    });
}
