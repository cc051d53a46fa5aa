//! What others may do to the RPC from outside: pages of other sites, many connections, large requests.

use super::*;

/// A connection that has sent something and is open.
async fn begin(bench: &played::Bench, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    let _ = stream.write_all(text.as_bytes()).await;
    stream
}

/// What comes until `end`, or until the stream ends.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        match stream.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn pages_of_other_sites_load_nothing_and_end_no_login() {
    bench(|bench| async move {
        let local = "Host: localhost\r\n";
        let cross = format!("{local}Sec-Fetch-Site: cross-site\r\n");
        for line in [
            "GET /ringseed/events",
            "GET /metrics",
            "GET /metrics/torrents",
            "GET /transmission/rpc",
            "GET /api/v2/torrents/info",
            "GET /api/v2/auth/logout",
            "POST /api/v2/auth/logout",
            "POST /api/v2/auth/login",
            "POST /api/v2/torrents/delete",
        ] {
            assert_eq!(status_of(&bench.request(line, &cross, "").await), "403", "{line}");
        }
        assert_eq!(status_of(&bench.request("GET /healthz", &cross, "").await), "200");
        // A page of this site, and one that the user opens.
        for site in ["same-origin", "none"] {
            let headers = format!("{local}Sec-Fetch-Site: {site}\r\n");
            assert_eq!(status_of(&bench.request("GET /metrics", &headers, "").await), "200", "{site}");
        }

        let login = || async {
            let answer = bench.request("POST /api/v2/auth/login", local, "").await;
            let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
            // A name that a proxy serves: only the cookie lets in.
            format!("Host: seedbox.lan\r\nCookie: {}\r\n", cookie.split(';').next().unwrap())
        };
        let info = |cookie: String| {
            let bench = &bench;
            async move { status_of(&bench.request("GET /api/v2/torrents/info", &cookie, "").await).to_owned() }
        };
        let (one, other) = (login().await, login().await);
        assert_eq!(status_of(&bench.request("GET /api/v2/auth/logout", &one, "").await), "405");
        assert_eq!(info(one.clone()).await, "200");
        assert_eq!(status_of(&bench.request("POST /api/v2/auth/logout", &one, "").await), "200");
        assert_eq!((info(one).await, info(other).await), ("403".to_owned(), "200".to_owned()));
    });
}

#[test]
fn bodies_that_do_not_come_keep_nobody_out() {
    bench(|bench| async move {
        let mut open = Vec::new();
        for number in 0..300 {
            let length = if number % 2 == 0 { "Content-Length: 50" } else { "Transfer-Encoding: chunked" };
            let head = format!("POST /api/v2/auth/login HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n");
            open.push(begin(&bench, &head).await);
        }
        assert_eq!(status_of(&bench.request("GET /healthz", "", "").await), "200");
        assert!(bench.call("session-get", json!({})).await.is_success());
        // Nor do they count among the large ones.
        let tag = "x".repeat(500_000);
        assert!(bench.post(&json!({"method": "session-get", "tag": tag}).to_string()).await.is_success());
        // What does not say how long it is is read as far as a login may be.
        let mut long = begin(
            &bench,
            "POST /api/v2/auth/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await;
        let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400)).repeat(8);
        let _ = long.write_all(chunk.as_bytes()).await;
        assert_eq!(status_of(&read_until(&mut long, "\r\n").await), "413");
    });
}

#[test]
fn streams_of_events_tell_each_field_once_and_are_bounded() {
    bench(|bench| async move {
        let ask = |fields: &str| {
            format!("GET /ringseed/events?fields={fields} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        };
        let mut first = begin(&bench, &ask(&"id,name,".repeat(2000))).await;
        let text = read_until(&mut first, "]}\n\n").await;
        // The parts of an event are chunks: a line with the length before each.
        let lines = text.split("\r\n").skip_while(|line| !line.starts_with("event: "));
        let whole: String = lines.step_by(2).collect();
        let event: Value = serde_json::from_str(whole.split_once("data: ").unwrap().1).unwrap();
        let names: Vec<&str> = event["torrents"][0].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!((names, event["torrents"].as_array().unwrap().len()), (vec!["id", "name"], 3));
        let many: Vec<String> = (0..1000).map(|n| format!("f{n}")).collect();
        let line = format!("GET /ringseed/events?fields={}", many.join(","));
        assert_eq!(status_of(&bench.request(&line, "Host: localhost\r\n", "").await), "400");
        // A client that opens more and more loses the oldest.
        let mut others = Vec::new();
        for _ in 0..40 {
            let mut stream = begin(&bench, &ask("id")).await;
            assert!(read_until(&mut stream, "data: ").await.contains("200 OK"));
            others.push(stream);
        }
        assert!(read_until(&mut first, "\r\n0\r\n\r\n").await.ends_with("0\r\n\r\n"));
        assert!(bench.call("session-get", json!({})).await.is_success());
    });
}

#[test]
fn lists_without_end_are_refused_before_they_take_memory() {
    bench(|bench| async move {
        let ids = |count: usize, id: &str| {
            format!(
                r#"{{"method":"torrent-stop","arguments":{{"ids":[{}{id}]}}}}"#,
                format!("{id},").repeat(count)
            )
        };
        let refused = |answer: Response, why: &str| {
            assert!(
                answer.result.starts_with("cannot read the request") && answer.result.contains(why),
                "{answer:?}"
            );
        };
        refused(bench.post(&ids(4_000_000, "1")).await, "values");
        refused(bench.post(&ids(1_000_000, r#""00""#)).await, "values");
        let text = "x".repeat(5 << 20);
        let labels = json!({"method": "torrent-set", "arguments": {"ids": [1], "labels": [text]}});
        refused(bench.post(&labels.to_string()).await, "only metainfo");
        assert!(bench.engine.done.borrow().is_empty());
        // Named ten thousand times, stopped once.
        assert!(bench.post(&ids(10_000, "1")).await.is_success());
        assert_eq!(*bench.engine.done.borrow(), ["pause"]);

        let set = |labels: Vec<String>| bench.call("torrent-set", json!({"ids": [1], "labels": labels}));
        let many = |count: usize| (0..count).map(|n| format!("label {n}")).collect::<Vec<_>>();
        assert!(set(many(101)).await.result.contains("at most 100 labels"));
        assert!(set(vec!["x".repeat(300)]).await.result.contains("at most 255 bytes"));
        assert!(set(many(100)).await.is_success());
        let fields: Vec<String> = many(300);
        assert!(
            bench.call("torrent-get", json!({"fields": fields})).await.result.contains("at most 256 fields")
        );
        let answer = bench
            .call("torrent-get", json!({"ids": [1], "fields": vec!["id"; 1000], "format": "table"}))
            .await;
        assert_eq!(answer.arguments, json!({"torrents": [["id"], [1]]}));

        // The newer form has the same bounds.
        let headers = format!("Host: localhost\r\n{SESSION_ID_HEADER}: {}\r\n", bench.session_id().await);
        let call = format!(
            r#"[{{"jsonrpc":"2.0","method":"torrent_stop","params":{{"ids":[{}1]}},"id":1}}]"#,
            "1,".repeat(1_000_000)
        );
        let answer = bench.request("POST /transmission/rpc", &headers, &call).await;
        assert!(
            status_of(&answer) == "200" && answer.contains("-32700") && answer.contains("values"),
            "{answer}"
        );
    });
}

#[test]
fn lists_in_forms_are_bounded_and_each_torrent_is_named_once() {
    bench(|bench| async move {
        let form = "Host: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        let post = |path: &str, body: String| {
            let (bench, line) = (&bench, format!("POST /api/v2/torrents/{path}"));
            async move { bench.request(&line, form, &body).await }
        };
        let hash = bench.engine.snapshot.load().torrents[0].torrent_id().to_string();
        let named = |count: usize| format!("hashes={}{hash}", format!("{hash}|").repeat(count));
        assert_eq!(status_of(&post("stop", named(50_000)).await), "200");
        assert_eq!(*bench.engine.done.borrow(), ["pause"]);
        for body in [named(700_000), format!("hashes={}", "a|".repeat(2_000_000))] {
            let answer = post("stop", body).await;
            assert!(status_of(&answer) == "400" && answer.contains("too long"), "{answer}");
        }
        let tags = |count: usize| (0..count).map(|n| format!("tag{n}")).collect::<Vec<_>>().join(",");
        for (path, count, expected) in [
            ("createTags", 1001, "400"),
            ("createTags", 1000, "200"),
            ("setTags", 101, "400"),
            ("setTags", 100, "200"),
            ("addTags", 50, "200"),
            ("addTags", 101, "409"),
            ("removeTags", 100, "200"),
        ] {
            let answer = post(path, format!("hashes={hash}&tags={}", tags(count))).await;
            assert_eq!(status_of(&answer), expected, "{path} {count}: {answer}");
        }
        let long = post("createTags", format!("tags={}", "x".repeat(300))).await;
        assert_eq!(status_of(&long), "400");
        let one_more = post("createTags", "tags=another".to_owned()).await;
        assert!(status_of(&one_more) == "409" && one_more.contains("1000 tags"), "{one_more}");
    });
}
