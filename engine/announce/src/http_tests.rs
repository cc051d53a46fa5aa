//! HTTP announces against sockets that play trackers.

use super::*;
use crate::samples::{a_start, run_within};
use crate::url::TrackerUrl;
use ringseed_proto::hashes::{SwarmHash, TorrentId};
use ringseed_proto::tracker::PeerAddr;
use ringseed_proto::tracker::http::{PeerFormat, encode_announce, encode_failure, parse_announce};
use ringseed_proto::units::PeerId;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn run<F: Future<Output = ()>>(test: F) {
    run_within(60, test);
}

fn trackers() -> HttpTrackers {
    trackers_that_trust(Trust::default())
}

fn trackers_that_trust(trust: Trust) -> HttpTrackers {
    trackers_with(trust, 256)
}

fn trackers_with(trust: Trust, sockets_max: usize) -> HttpTrackers {
    let config = AnnounceConfig {
        peer_id: PeerId(*b"-RS0010-abcdefghijkl"),
        key: 7,
        listen_port: 6881,
        user_agent: "Ringseed/0.1".into(),
        route: Route::default(),
        sockets_max,
        trust,
    };
    HttpTrackers::new(&config, Arc::new(Names::new()))
}

fn request(url: &str) -> Request {
    let announce = a_start(SwarmHash([0xfe; 20]));
    let url = Rc::new(TrackerUrl::parse(url).unwrap());
    Request { torrent_id: TorrentId([0xfe; 20]), url, announce, tracker_id: Some(Rc::from(&b"id"[..])) }
}

/// What a played server saw: request heads, and on how many connections.
#[derive(Default)]
struct Seen {
    heads: RefCell<Vec<String>>,
    connections: std::cell::Cell<usize>,
}

/// Plays a server: `answer` gets the number of the request and its head. An empty answer is silence.
async fn server(bind: &str, answer: impl Fn(usize, &str) -> Vec<u8> + 'static) -> (SocketAddr, Rc<Seen>) {
    let listener = TcpListener::bind(bind).await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Rc::new(Seen::default());
    let log = seen.clone();
    let answer = Rc::new(answer);
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            log.connections.set(log.connections.get() + 1);
            let (log, answer) = (log.clone(), answer.clone());
            tokio::task::spawn_local(async move {
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
                        let number = log.heads.borrow().len();
                        let reply = answer(number, &text);
                        log.heads.borrow_mut().push(text);
                        if reply.is_empty() {
                            std::future::pending::<()>().await;
                        }
                        if stream.write_all(&reply).await.is_err() || reply.starts_with(b"HTTP/1.0") {
                            return;
                        }
                    }
                }
            });
        }
    });
    (address, seen)
}

fn ok(body: &[u8]) -> Vec<u8> {
    with_status("200 OK", "", body)
}

fn with_status(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn body() -> Vec<u8> {
    let mut out = Vec::new();
    let peers = vec![PeerAddr::from("192.0.2.1:7".parse::<SocketAddr>().unwrap())];
    let response = AnnounceResponse { peers, interval: 77, ..AnnounceResponse::default() };
    encode_announce(&mut out, &response, PeerFormat::Compact);
    out
}

async fn outcome(reply: Vec<u8>) -> Result<AnnounceResponse, Failure> {
    let (address, _) = server("127.0.0.1:0", move |_, _| reply.clone()).await;
    trackers().announce(&request(&format!("http://{address}/announce")), Family::V4).await
}

#[test]
fn an_announce_says_all_and_keeps_its_connection() {
    run(async {
        let (address, seen) = server("127.0.0.1:0", |_, _| ok(&body())).await;
        let trackers = trackers();
        for _ in 0..3 {
            let request = request(&format!("http://{address}/a/announce?passkey=1"));
            let answer = trackers.announce(&request, Family::V4).await.unwrap();
            assert_eq!((answer.interval, answer.peers.len()), (77, 1));
        }
        assert_eq!(seen.connections.get(), 1);
        let heads = seen.heads.borrow();
        let path = heads[0].strip_prefix("GET ").unwrap().split(' ').next().unwrap();
        assert!(path.starts_with("/a/announce?passkey=1&info_hash=%"), "{path}");
        let query = parse_announce(path.split_once('?').unwrap().1.as_bytes()).unwrap();
        assert_eq!(query.request, request(&format!("http://{address}/")).announce);
        assert_eq!((query.compact, query.tracker_id), (true, Some(b"id".to_vec())));
        assert!(heads[0].contains("User-Agent: Ringseed/0.1\r\n"), "{}", heads[0]);
        assert!(heads[0].contains(&format!("Host: {address}\r\n")), "{}", heads[0]);
    });
}

#[test]
fn an_ipv6_tracker_is_reached() {
    run(async {
        let (address, _) = server("[::1]:0", |_, _| ok(&body())).await;
        let url = format!("http://[::1]:{}/announce", address.port());
        trackers().announce(&request(&url), Family::V6).await.unwrap();
    });
}

#[test]
fn failures_come_with_words_and_times() {
    run(async {
        let mut refusal = Vec::new();
        encode_failure(&mut refusal, "unregistered torrent", Some(wire::Retry::Never));
        let expected = Failure::Refused { text: "unregistered torrent".into(), retry: RetryRule::Never };
        assert_eq!(outcome(ok(&refusal)).await.unwrap_err(), expected);
        assert_eq!(outcome(with_status("403 Forbidden", "", &refusal)).await.unwrap_err(), expected);
        let busy = outcome(with_status("503 Service Unavailable", "Retry-After: 120\r\n", b"busy")).await;
        let retry = RetryRule::After(Duration::from_secs(120));
        assert_eq!(
            busy.unwrap_err(),
            Failure::Refused { text: "HTTP 503 Service Unavailable".into(), retry }
        );
        let page = outcome(ok(b"<html>hello</html>")).await.unwrap_err();
        assert!(page.text().contains("not an answer of a tracker"), "{page:?}");
        assert!(matches!(outcome(ok(b"")).await.unwrap_err(), Failure::Refused { .. }));
    });
}

#[test]
fn an_old_server_that_closes_after_its_answer_is_understood() {
    run(async {
        let reply = [b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &body()].concat();
        assert_eq!(outcome(reply).await.unwrap().interval, 77);
    });
}

#[test]
fn huge_answers_are_refused() {
    run(async {
        let large = outcome(ok(&vec![b'x'; HTTP_BODY_MAX + 1])).await.unwrap_err();
        assert!(large.text().contains("larger than"), "{large:?}");
        // Without a length, and without an end.
        let endless = [b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &vec![b'd'; 2 * HTTP_BODY_MAX]].concat();
        assert!(outcome(endless).await.unwrap_err().text().contains("larger than"));
        let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(2 * HTTP_HEAD_MAX));
        assert!(matches!(outcome(head.into_bytes()).await.unwrap_err(), Failure::Unreachable(_)));
    });
}

#[test]
fn garbage_cut_answers_and_closed_ports_are_unreachable() {
    run(async {
        for reply in
            [&b"\x00\xff\x00garbage\r\n\r\n"[..], b"HTTP/1.0 200 OK\r\nContent-Length: 50\r\n\r\nd8:"]
        {
            let failure = outcome(reply.to_vec()).await;
            // What is not HTTP/1.0 leaves the connection open; the parser ends it.
            assert!(matches!(failure, Err(Failure::Unreachable(_))), "{failure:?}");
        }
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let trackers = trackers();
        let url = format!("http://{closed}/announce");
        let failure = trackers.announce(&request(&url), Family::V4).await.unwrap_err();
        assert!(matches!(&failure, Failure::Unreachable(text) if text.contains("refused")), "{failure:?}");
        // The same tracker, when it is back.
        server(&closed.to_string(), |_, _| ok(&body())).await;
        trackers.announce(&request(&url), Family::V4).await.unwrap();
    });
}

#[test]
fn redirects_are_followed_up_to_a_number() {
    run(async {
        let (address, seen) = server("127.0.0.1:0", |number, _| match number {
            0 => with_status("302 Found", "Location: /other/announce?x=1\r\n", b""),
            _ => ok(&body()),
        })
        .await;
        trackers().announce(&request(&format!("http://{address}/announce")), Family::V4).await.unwrap();
        assert!(seen.heads.borrow()[1].starts_with("GET /other/announce?x=1 HTTP/1.1\r\n"));
        let (address, seen) =
            server("127.0.0.1:0", |_, _| with_status("301 Moved", "Location: /again\r\n", b"")).await;
        let failure = trackers()
            .announce(&request(&format!("http://{address}/announce")), Family::V4)
            .await
            .unwrap_err();
        assert!(failure.text().contains("redirects"), "{failure:?}");
        assert_eq!(seen.heads.borrow().len(), REDIRECTS_MAX + 1);
        let nowhere = outcome(with_status("302 Found", "", b"")).await.unwrap_err();
        assert!(nowhere.text().contains("without a location"), "{nowhere:?}");
        let ftp = outcome(with_status("302 Found", "Location: ftp://t.example/\r\n", b"")).await.unwrap_err();
        assert!(ftp.text().contains("redirect to ftp"), "{ftp:?}");
    });
}

#[test]
fn what_a_public_tracker_may_not_reach_is_not_even_dialled() {
    run(async {
        let (address, seen) = server("127.0.0.1:0", |_, _| ok(&body())).await;
        let trackers = trackers();
        // The client for what follows a redirect of a public tracker; a name that resolves to here is no way in.
        for host in ["127.0.0.1", "localhost"] {
            let uri: Uri = format!("http://{host}:{}/announce", address.port()).parse().unwrap();
            let request = hyper::Request::get(uri).body(Empty::new()).unwrap();
            let error = trackers.clients[0][1].request(request).await.unwrap_err();
            let failure = refused(&error);
            assert!(
                matches!(&failure, Failure::Refused { text, .. } if text.contains("local address")),
                "{failure:?}"
            );
        }
        assert_eq!(seen.connections.get(), 0);
    });
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    run(async {
        let (address, served) = tls_server(SELF_SIGNED).await;
        let url = format!("https://localhost:{}/announce", address.port());
        let failure = trackers().announce(&request(&url), Family::V4).await.unwrap_err();
        assert!(
            matches!(&failure, Failure::Unreachable(text) if text.contains("certificate of an authority")),
            "{failure:?}"
        );
        // The server saw the alert, and no request.
        assert!(served.await.unwrap().is_err());
    });
}

#[test]
fn https_to_a_server_without_tls_never_falls_back() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let first_byte = tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let first = stream.read_u8().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            first
        });
        let url = format!("https://{address}/announce");
        let failure = trackers().announce(&request(&url), Family::V4).await.unwrap_err();
        assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
        const HANDSHAKE_RECORD: u8 = 22;
        assert_eq!(first_byte.await.unwrap(), HANDSHAKE_RECORD);
    });
}

/// What the user trusts beside the usual authorities, and what is said of what is not trusted.
#[test]
fn an_authority_of_the_users_own_is_trusted_and_problems_are_named() {
    run(async {
        let ca = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ca.pem");
        let own = trackers_that_trust(Trust::with_file(&ca).unwrap());
        let (address, served) = tls_server(SIGNED).await;
        let url = |host: &str| format!("https://{host}:{}/announce", address.port());
        let answer = own.announce(&request(&url("localhost")), Family::V4).await.unwrap();
        assert_eq!(answer.interval, 77);
        served.await.unwrap().unwrap();
        for (trackers, host, why) in
            [(trackers(), "localhost", "--tracker-ca"), (own, "127.0.0.1", "for another name")]
        {
            let (address, served) = tls_server(SIGNED).await;
            let url = format!("https://{host}:{}/announce", address.port());
            let failure = trackers.announce(&request(&url), Family::V4).await.unwrap_err();
            assert!(matches!(&failure, Failure::Unreachable(text) if text.contains(why)), "{failure:?}");
            assert!(served.await.unwrap().is_err());
        }
    });
}

#[test]
fn encoded_answers_are_read_within_their_bound() {
    use flate2::write::{GzEncoder, ZlibEncoder};
    use std::io::Write;
    run(async {
        let level = flate2::Compression::default();
        let mut gzip = GzEncoder::new(Vec::new(), level);
        gzip.write_all(&body()).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), level);
        zlib.write_all(&body()).unwrap();
        for (name, body) in [("gzip", gzip.finish().unwrap()), ("deflate", zlib.finish().unwrap())] {
            let reply = with_status("200 OK", &format!("Content-Encoding: {name}\r\n"), &body);
            let (address, seen) = server("127.0.0.1:0", move |_, _| reply.clone()).await;
            let url = format!("http://{address}/announce");
            assert_eq!(trackers().announce(&request(&url), Family::V4).await.unwrap().interval, 77, "{name}");
            assert!(seen.heads.borrow()[0].contains("Accept-Encoding: gzip, deflate\r\n"));
        }
        let mut bomb = GzEncoder::new(Vec::new(), level);
        bomb.write_all(&vec![b'd'; 8 * HTTP_BODY_MAX]).unwrap();
        let bomb = bomb.finish().unwrap();
        let failure = outcome(with_status("200 OK", "Content-Encoding: gzip\r\n", &bomb)).await.unwrap_err();
        assert!(failure.text().contains("larger than"), "{failure:?}");
    });
}

#[test]
fn credentials_go_to_the_tracker_and_to_nobody_that_it_leads_to() {
    run(async {
        let asked = |head: &str| head.contains("Authorization: Basic dXNlcjpwQHNz\r\n");
        let (other, other_seen) = server("127.0.0.1:0", |_, _| ok(&body())).await;
        let (address, seen) = server("127.0.0.1:0", move |number, head| match (asked(head), number) {
            (false, _) => with_status("401 Unauthorized", "WWW-Authenticate: Basic\r\n", b"no"),
            (true, 0) => with_status("302 Found", "Location: /here\r\n", b""),
            (true, 1) => ok(&body()),
            (true, _) => with_status("302 Found", &format!("Location: http://{other}/there\r\n"), b""),
        })
        .await;
        let trackers = trackers();
        let url = format!("http://us%65r:p%40ss@{address}/announce?k=\"a b\"");
        trackers.announce(&request(&url), Family::V4).await.unwrap();
        assert!(seen.heads.borrow()[0].starts_with("GET /announce?k=%22a%20b%22&info_hash="));
        assert!(seen.heads.borrow()[0].contains(&format!("Host: {address}\r\n")));
        assert!(asked(&seen.heads.borrow()[1]), "the same host is asked with them after a redirect");
        trackers.announce(&request(&url), Family::V4).await.unwrap();
        assert!(!other_seen.heads.borrow()[0].contains("Authorization"));
        let without = format!("http://{address}/announce");
        let failure = trackers.announce(&request(&without), Family::V4).await.unwrap_err();
        assert!(failure.text().contains("401") && failure.text().contains("name:password@"), "{failure:?}");
    });
}

/// A certificate and its key.
type Identity = (&'static [u8], &'static [u8]);

/// For `localhost`, and of nobody else: as `openssl req -x509` makes it.
const SELF_SIGNED: Identity = (
    include_bytes!("../testdata/self-signed-certificate.der"),
    include_bytes!("../testdata/self-signed-key.der"),
);
/// For `localhost`, of the authority in `testdata/ca.pem`.
const SIGNED: Identity =
    (include_bytes!("../testdata/signed-certificate.der"), include_bytes!("../testdata/signed-key.der"));

/// A tracker over TLS for one announce; ends with what became of it.
async fn tls_server(identity: Identity) -> (SocketAddr, tokio::task::JoinHandle<std::io::Result<()>>) {
    use tokio_rustls::rustls::{ServerConfig, crypto, pki_types::PrivateKeyDer};
    let (certificate, key) = (identity.0.to_vec(), identity.1.to_vec());
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], PrivateKeyDer::Pkcs8(key.into()))
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let served = tokio::task::spawn_local(async move {
        let (stream, _) = listener.accept().await?;
        let mut stream = acceptor.accept(stream).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        stream.write_all(&ok(&body())).await?;
        stream.flush().await
    });
    (address, served)
}

#[test]
fn connections_are_kept_for_later_unless_descriptors_are_few() {
    run(async {
        for (sockets_max, connections) in [(256, 1), (32, 3)] {
            let (address, seen) = server("127.0.0.1:0", |_, _| ok(&body())).await;
            let trackers = trackers_with(Trust::default(), sockets_max);
            for _ in 0..3 {
                trackers.announce(&request(&format!("http://{address}/a")), Family::V4).await.unwrap();
            }
            assert_eq!(seen.connections.get(), connections, "{sockets_max}");
        }
    });
}
