//! Requests that are about many things: others are answered meanwhile, and memory stays bounded.

use super::*;
use ringseed_proto::hashes::InfoHashes;
use std::rc::Rc;
use tokio::net::TcpListener;

/// Puts so many torrents into the engine, and gives the hash of the first.
fn fill(bench: &played::Bench, count: u32) -> TorrentId {
    let torrent = |number: u32| {
        let mut status = played::status(number + 1, TorrentState::Paused);
        let metainfo = Arc::get_mut(&mut status.metainfo).unwrap();
        let mut hash = metainfo.id().0;
        hash[..4].copy_from_slice(&number.to_be_bytes());
        metainfo.hashes = InfoHashes::from_v1(hash);
        Arc::new(status)
    };
    let mut snapshot = (**bench.engine.snapshot.load()).clone();
    snapshot.torrents = (0..count).map(torrent).collect();
    let first = snapshot.torrents[0].torrent_id();
    bench.engine.snapshot.store(Arc::new(snapshot));
    first
}

/// qBittorrent's lists were written on the control thread, and each torrent was looked for in the text of all hashes.
#[test]
fn lists_of_many_torrents_hold_up_nobody() {
    bench(|bench| async move {
        let first = fill(&bench, 3000);
        for path in ["torrents/info", "sync/maindata"] {
            // Both connections are there before anything is asked.
            let mut list = TcpStream::connect(bench.address).await.unwrap();
            let mut probe = TcpStream::connect(bench.address).await.unwrap();
            for stream in [&mut list, &mut probe] {
                stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            }
            let ask = format!("GET /api/v2/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            list.write_all(ask.as_bytes()).await.unwrap();
            probe.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            let (mut one, mut other) = ([0; 1], [0; 1]);
            let list_came_first = tokio::select! {
                biased;
                _ = list.peek(&mut one) => true,
                _ = probe.peek(&mut other) => false,
            };
            assert!(!list_came_first, "{path}");
        }
        let hashes = (0..80_000u32).map(|n| format!("{n:040x}")).collect::<Vec<_>>().join("|");
        let form = "Host: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        let body = format!("hashes={hashes}|{first}|{first}");
        let answer = bench.request("POST /api/v2/torrents/info", form, &body).await;
        let listed: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), 1);
        assert_eq!(listed[0]["hash"], first.to_string());
    });
}

/// All torrents of a list of addresses were fetched, and kept, before the first was added.
#[test]
fn torrents_of_a_list_of_addresses_are_added_one_after_the_other() {
    bench_with(
        |info| info.fetch_local = true,
        |bench| async move {
            let site = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = site.local_addr().unwrap();
            let engine: Rc<played::Played> = bench.engine.clone();
            let served = tokio::task::spawn_local(async move {
                for name in ["one", "two"] {
                    let (mut stream, _) = site.accept().await.unwrap();
                    let mut head = vec![0; 4096];
                    let read = stream.read(&mut head).await.unwrap();
                    assert!(head[..read].starts_with(format!("GET /{name} ").as_bytes()));
                    while name == "two"
                        && !engine.done.borrow().iter().any(|done| done.starts_with("add one"))
                    {
                        tokio::task::yield_now().await;
                    }
                    let file = torrent_file(name);
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        file.len()
                    );
                    stream.write_all(&[head.as_bytes(), &file].concat()).await.unwrap();
                }
            });
            let form = "Host: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n";
            let body = format!("urls=http://{address}/one%0Ahttp://{address}/two");
            let answer = bench.request("POST /api/v2/torrents/add", form, &body).await;
            assert!(answer.ends_with("Ok."), "{answer}");
            served.await.unwrap();
        },
    );
}

/// What is free on the disk changes between reading a session and sending it back.
#[test]
fn a_whole_session_can_be_sent_back() {
    bench(|bench| async move {
        let mut session = bench.call("session-get", json!({})).await.arguments;
        assert!(session["download-dir-free-space"].as_i64().unwrap() > 0);
        session["download-dir-free-space"] = json!(1);
        let answer = bench.call("session-set", session).await;
        assert!(answer.is_success(), "{answer:?}");
        let some = bench.call("session-get", json!({"fields": ["version", "x"]})).await.arguments;
        assert_eq!(some.as_object().unwrap().keys().collect::<Vec<_>>(), ["version"]);
    });
}
