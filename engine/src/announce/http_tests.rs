//! HTTP announces against sockets that play trackers.

use super::*;
use crate::announce::url::TrackerUrl;
use ringseed_proto::tracker::http::{PeerFormat, encode_announce, encode_failure, parse_announce};
use ringseed_proto::tracker::{AnnounceEvent, AnnounceRequest, PeerAddr};
use ringseed_proto::units::{InfoHash, PeerId};
use std::cell::RefCell;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limited = async { timeout(Duration::from_secs(60), test).await.unwrap() };
    tokio::task::LocalSet::new().block_on(&runtime, limited);
}

fn trackers() -> HttpTrackers {
    let config = AnnounceConfig {
        peer_id: PeerId(*b"-RS0010-abcdefghijkl"),
        key: 7,
        listen_port: 6881,
        user_agent: "Ringseed/0.1".into(),
        route: Route::default(),
        sockets_max: 256,
        trust: Trust::default(),
    };
    HttpTrackers::new(&config, Arc::new(Names::new()))
}

fn request(url: &str) -> Request {
    let announce = AnnounceRequest {
        info_hash: InfoHash([0xfe; 20]),
        peer_id: PeerId(*b"-RS0010-abcdefghijkl"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: AnnounceEvent::Started,
        numwant: Some(200),
        key: Some(7),
    };
    let url = Rc::new(TrackerUrl::parse(url).unwrap());
    Request { url, announce, tracker_id: Some(Rc::from(&b"id"[..])) }
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
        let expected = Failure::Refused { text: "unregistered torrent".into(), retry: Retry::Never };
        assert_eq!(outcome(ok(&refusal)).await.unwrap_err(), expected);
        assert_eq!(outcome(with_status("403 Forbidden", "", &refusal)).await.unwrap_err(), expected);
        let busy = outcome(with_status("503 Service Unavailable", "Retry-After: 120\r\n", b"busy")).await;
        let retry = Retry::After(Duration::from_secs(120));
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
        let (address, served) = tls_server().await;
        let url = format!("https://localhost:{}/announce", address.port());
        let failure = trackers().announce(&request(&url), Family::V4).await.unwrap_err();
        assert!(
            matches!(&failure, Failure::Unreachable(text) if text.contains("certificate")),
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

/// A server with a certificate for `localhost` that it signed itself; ends with what its handshake came to.
async fn tls_server() -> (SocketAddr, tokio::task::JoinHandle<std::io::Result<()>>) {
    use tokio_rustls::rustls::{ServerConfig, crypto, pki_types::PrivateKeyDer};
    let certificate = include_bytes!("testdata/self-signed-certificate.der").to_vec();
    let key = include_bytes!("testdata/self-signed-key.der").to_vec();
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
        stream.read_u8().await.map(|_| ())
    });
    (address, served)
}
