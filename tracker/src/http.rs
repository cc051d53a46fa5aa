//! The HTTP front end (BEP 3, 7, 23, 24, 31, 48): hyper over tokio-uring sockets.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioTimer;
use ringseed_proto::tracker::http::{
    PeerFormat, QueryError, Retry, encode_announce, encode_failure, encode_scrape, parse_announce,
    parse_scrape,
};
use ringseed_proto::tracker::{AnnounceResponse, Family, PeerAddr};
use tokio::sync::mpsc;
use tokio_uring::net::{TcpListener, TcpStream};

use crate::announce_service::socket_addr;
use crate::connections::{Connections, Place};
use crate::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, SHORTAGE_PAUSE, STOP_TIMEOUT};
use crate::metrics::{Outcome, Request};
use crate::proxies;
use crate::shared::{Rejection, Shared};
use crate::uring_stream::UringStream;

/// Told to a peer that no other will be told about.
const NOT_REMEMBERED: &str = "no place is left for you here: other peers will not be told about you";
const NO_FULL_SCRAPE: &str = "a scrape must name info-hashes";
/// Headers in which proxies name their clients.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// When to ask again for a torrent that is not served: an hour.
const DENIED_RETRY_S: u32 = 3600;
/// When to announce again after too many announces: the minute will be over.
const TOO_OFTEN_RETRY_S: u32 = 120;
/// Bencoded answers are bytes, but clients and people expect this.
const PLAIN: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

type Reply = Response<Full<Bytes>>;

/// Held by every task of the tracker, so that a stop can wait until the last is gone.
pub(crate) type Alive = mpsc::Sender<Infallible>;

/// Accepts connections until the listener is shut down.
pub(crate) async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    connections: Rc<Connections>,
    alive: Alive,
) {
    loop {
        let accepted = listener.accept().await;
        if shared.is_stopping() {
            return;
        }
        match accepted {
            Ok((socket, from)) => {
                shared.metrics.http_accepted.inc();
                let (place, evicted) = connections.enter(shared.bounded_client(from.ip()));
                if evicted {
                    shared.metrics.http_evicted.inc();
                }
                let (shared, alive) = (shared.clone(), alive.clone());
                tokio_uring::spawn(async move {
                    serve(&shared, socket, from, place).await;
                    drop(alive);
                });
            }
            Err(error) => {
                // Out of descriptors, or a client that was gone already.
                shared.metrics.http_accept_errors.inc();
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(SHORTAGE_PAUSE).await;
            }
        }
    }
}

/// Serves one connection until it ends.
async fn serve(shared: &Arc<Shared>, socket: TcpStream, from: SocketAddr, place: Place) {
    // A reply is one write; without it the kernel would wait for more. Fails only if the client is gone.
    let _ = socket.set_nodelay(true);
    let stream = UringStream::new(socket);
    shared.metrics.http_connections.inc();
    let place = Rc::new(place);
    let service = {
        let (shared, place) = (shared.clone(), place.clone());
        service_fn(move |request: hyper::Request<Incoming>| {
            place.used();
            let began = Instant::now();
            let reply = answer(&shared, from.ip(), &request);
            shared.metrics.http_seconds.observe(began.elapsed().as_secs_f64());
            async move { Ok::<_, Infallible>(reply) }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // It also runs between requests, so it bounds how long a connection idles.
        .header_read_timeout(shared.config.http_head_timeout)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .max_headers(HTTP_HEADERS_MAX)
        .serve_connection(stream.clone(), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => log_end(ended, from),
        () = place.must_give_way() => {}
        () = shared.stopping() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => log_end(ended, from),
                () = tokio::time::sleep(STOP_TIMEOUT / 2) => {}
            }
        }
    }
    stream.close().await;
    shared.metrics.http_connections.dec();
}

fn log_end(ended: hyper::Result<()>, from: SocketAddr) {
    if let Err(error) = ended {
        tracing::debug!(%error, %from, "HTTP connection ended");
    }
}

/// Answers one request.
fn answer<B>(shared: &Shared, from: IpAddr, request: &hyper::Request<B>) -> Reply {
    let metrics = &shared.metrics;
    if request.method() != Method::GET && request.method() != Method::HEAD {
        metrics.count(Request::HttpOther, Outcome::Refused);
        let mut reply = reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n");
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let forwarded = request.headers().get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let from = proxies::client(&shared.config.proxies, from, forwarded);
    match endpoint(path) {
        "/announce" => bencoded(metrics, Request::HttpAnnounce, announce(shared, from, path, query)),
        "/scrape" => bencoded(metrics, Request::HttpScrape, scrape(shared, from, path, query)),
        "/stats" | "/metrics" if shared.admit_query(shared.now(), from).is_err() => {
            metrics.count(Request::HttpPage, Outcome::Refused);
            reply(StatusCode::TOO_MANY_REQUESTS, PLAIN, "too many requests from your address\n")
        }
        "/stats" => {
            metrics.count(Request::HttpPage, Outcome::Answered);
            reply(StatusCode::OK, PLAIN, shared.stats_page())
        }
        "/metrics" => {
            metrics.count(Request::HttpPage, Outcome::Answered);
            reply(StatusCode::OK, PROMETHEUS, shared.prometheus_page())
        }
        "/healthz" => {
            metrics.count(Request::HttpPage, Outcome::Answered);
            reply(StatusCode::OK, PLAIN, "ok\n")
        }
        _ => {
            metrics.count(Request::HttpOther, Outcome::Refused);
            reply(StatusCode::NOT_FOUND, PLAIN, "try /announce, /scrape, /stats, /metrics or /healthz\n")
        }
    }
}

/// The path without its announce key: the last segment, if there are no more than two.
fn endpoint(path: &str) -> &str {
    match path.rfind('/') {
        Some(last) if last > 0 && !path[1..last].contains('/') => {
            let end = &path[last..];
            // Pages have no key.
            if matches!(end, "/announce" | "/scrape") { end } else { path }
        }
        _ => path,
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// Why a client gets a failure reason in place of an answer.
struct Failure {
    outcome: Outcome,
    reason: String,
    retry: Retry,
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Failure {
        // The same request would fail again (BEP 31).
        Failure { outcome: Outcome::Malformed, reason: error.to_string(), retry: Retry::Never }
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Failure {
        let retry = match rejection {
            Rejection::Senseless(_) => Retry::Never,
            // A list may change.
            Rejection::Denied(_) => Retry::After(DENIED_RETRY_S),
            Rejection::TooOften => Retry::After(TOO_OFTEN_RETRY_S),
        };
        Failure { outcome: Outcome::Refused, reason: rejection.to_string(), retry }
    }
}

/// A failure is status 200 too: clients read the reason only then.
fn bencoded(metrics: &crate::metrics::Metrics, request: Request, answer: Result<Vec<u8>, Failure>) -> Reply {
    let body = match answer {
        Ok(body) => {
            metrics.count(request, Outcome::Answered);
            body
        }
        Err(failure) => {
            metrics.count(request, failure.outcome);
            let mut body = Vec::new();
            encode_failure(&mut body, &failure.reason, Some(failure.retry));
            body
        }
    };
    reply(StatusCode::OK, PLAIN, body)
}

fn announce(shared: &Shared, from: IpAddr, path: &str, query: &[u8]) -> Result<Vec<u8>, Failure> {
    let query = parse_announce(query)?;
    let mut peers = Vec::new();
    let visit = |peer: &[u8]| peers.extend(socket_addr(peer).map(PeerAddr::from));
    let announced = shared.announce(shared.now(), from, path.as_bytes(), &query.request, u32::MAX, visit)?;
    shared.metrics.peers_given.inc_by(peers.len() as u64);
    if !announced.remembered {
        shared.metrics.not_remembered.inc();
    }
    let interval = shared.interval_s();
    let response = AnnounceResponse {
        interval,
        min_interval: Some(interval / 2),
        complete: Some(announced.scrape.complete),
        incomplete: Some(announced.scrape.incomplete),
        downloaded: Some(announced.scrape.downloaded),
        peers,
        warning: (!announced.remembered).then(|| NOT_REMEMBERED.to_owned()),
        tracker_id: None,
        external_ip: Some(from.to_canonical()),
    };
    let format = match query.compact {
        true => PeerFormat::Compact,
        false => PeerFormat::Dictionaries { peer_ids: false },
    };
    let mut body = Vec::with_capacity(256 + response.peers.len() * 18);
    encode_announce(&mut body, &response, format);
    Ok(body)
}

fn scrape(shared: &Shared, from: IpAddr, path: &str, query: &[u8]) -> Result<Vec<u8>, Failure> {
    shared.access.check_key(path.as_bytes()).map_err(Rejection::from)?;
    shared.admit_query(shared.now(), from)?;
    let mut torrents = parse_scrape(query)?;
    if torrents.is_empty() {
        let reason = NO_FULL_SCRAPE.to_owned();
        return Err(Failure { outcome: Outcome::Refused, reason, retry: Retry::Never });
    }
    torrents.sort_unstable();
    torrents.dedup();
    let family = Family::of(from);
    let mut body = Vec::with_capacity(32 + torrents.len() * 80);
    let entries = torrents.into_iter().map(|hash| (hash, shared.shards.scrape(family, &hash)));
    encode_scrape(&mut body, entries, None);
    Ok(body)
}
