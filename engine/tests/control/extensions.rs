//! What the RPC has beside the protocols of others: changes as events, statistics of shards.

use crate::daemon::{Daemon, get};
use crate::support::{PATIENCE, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

/// A stream of events that is being read.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(daemon: &Daemon, query: &str) -> Self {
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(format!("GET /ringseed/events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
            .unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        Self(reader)
    }

    /// The data of the next event.
    fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    /// The next event that is as wanted.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.next();
            if wanted(&event) {
                return event;
            }
        }
    }
}

#[test]
fn changes_are_told_as_they_come() {
    let daemon = Daemon::start(&[]);
    let (one, many) = (daemon.single("one"), daemon.multi("many"));
    daemon.seed(&one);
    let mut events = Events::open(&daemon, "?fields=id,hashString,status,labels,none");
    let first = events.next();
    assert_eq!(
        first,
        json!({"removed": [], "torrents": [{"id": 1, "hashString": one.info_hash, "status": 6, "labels": []}]})
    );
    daemon.call("torrent-set", json!({"ids": [1], "labels": ["new"]}));
    let changed = events.until(|event| event["torrents"][0]["labels"] == json!(["new"]));
    assert_eq!(changed["torrents"].as_array().unwrap().len(), 1);
    daemon.seed(&many);
    // Only what changed is told: the first torrent rests.
    let seeds = |event: &Value| event["torrents"][0]["id"] == 2 && event["torrents"][0]["status"] == 6;
    assert_eq!(events.until(seeds)["torrents"].as_array().unwrap().len(), 1);
    daemon.call("torrent-remove", json!({"ids": [1]}));
    events.until(|event| event["removed"] == json!([1]));

    // Another stream begins with what is there now.
    let usual = Events::open(&daemon, "").next();
    assert_eq!(usual["torrents"].as_array().unwrap().len(), 1);
    assert_eq!(usual["torrents"][0]["name"], many.name.as_str());
    // The same doors as those of the RPC.
    for (headers, status) in
        [("Host: evil.example\r\n", "421"), ("Host: localhost\r\nOrigin: https://evil.example\r\n", "403")]
    {
        let ask = format!("GET /ringseed/events HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        assert_eq!(daemon.raw(ask.as_bytes())[9..12], *status);
    }
    let post = daemon.raw(b"POST /ringseed/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(&post[9..12], "405");
}

#[test]
fn events_end_with_the_engine() {
    let mut daemon = Daemon::start(&[]);
    let mut events = Events::open(&daemon, "");
    assert_eq!(events.next(), json!({"removed": [], "torrents": []}));
    daemon.process.terminate();
    let mut rest = String::new();
    // The end of the stream, or a reset: not a wait.
    while events.0.read_line(&mut rest).is_ok_and(|read| read > 0) {}
    assert!(!rest.contains("data:"), "{rest}");
}

#[test]
fn shards_tell_what_they_did() {
    let daemon = Daemon::start(&[]);
    let shards = || -> Vec<ringseed_api::Shard> {
        serde_json::from_value(daemon.call("shard-stats", json!({}))["shards"].clone()).unwrap()
    };
    assert_eq!(shards().len(), 1);
    assert_eq!((shards()[0].connections, shards()[0].blocks_sent), (0, 0));
    let one = daemon.single("one");
    daemon.seed(&one);
    let port = daemon.call("session-get", json!({}))["peer-port"].clone();
    let peer = format!("127.0.0.1:{port}");
    get(&one, &daemon.dir("download"), &["--peer", &peer]).wait_success();
    let sent =
        until("what was sent", || shards().into_iter().next().filter(|shard| shard.sent_bytes >= one.length));
    assert!(
        sent.blocks_sent >= one.length / 16_384 && sent.turns > 0 && sent.busy_microseconds > 0,
        "{sent:?}"
    );
}
