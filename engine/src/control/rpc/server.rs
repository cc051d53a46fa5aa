//! HTTP: connections, the order of checks that Transmission's clients rely on, and paths.

use super::access::{Doorkeeper, Verdict};
use super::connections::Busy;
use super::creations::AllCreations;
use super::events::{self, Events};
use super::gate::{host_allowed, new_session_id, origin_allowed, same_secret};
use super::limits::{
    BODY_BYTES_MAX, BODY_SMALL_BYTES, BODY_TIMEOUT, GZIP_BYTES_MIN, HEAD_BYTES_MAX, HEAD_TIMEOUT,
    LARGE_BODIES_MAX,
};
use super::metrics::Metrics;
use super::{RpcInfo, jsonrpc, qbt};
use crate::control::EngineHandle;
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, LOCATION, WWW_AUTHENTICATE,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringseed_api::SESSION_ID_HEADER;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;

const RPC_PATH: &str = "/transmission/rpc";
const BASE_PATH: &str = "/transmission/";

/// What all connections share.
pub(super) struct Server {
    pub(super) handle: EngineHandle,
    pub(super) info: RpcInfo,
    pub(super) session_id: String,
    pub(super) metrics: Metrics,
    pub(super) door: RefCell<Doorkeeper>,
    pub(super) sessions: RefCell<qbt::Sessions>,
    pub(super) creations: RefCell<AllCreations>,
    large_bodies: Semaphore,
}

pub(super) type Answer = Response<Full<Bytes>>;

impl Server {
    pub(super) fn new(handle: EngineHandle, info: RpcInfo) -> std::io::Result<Self> {
        Ok(Self {
            handle,
            sessions: RefCell::default(),
            creations: RefCell::default(),
            door: RefCell::new(Doorkeeper::new(info.credentials.clone())),
            info,
            session_id: new_session_id()?,
            metrics: Metrics::new().map_err(std::io::Error::other)?,
            large_bodies: Semaphore::new(LARGE_BODIES_MAX),
        })
    }

    /// Serves one connection until it ends.
    pub(super) async fn connection(
        self: Rc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        remote: Option<SocketAddr>,
        busy: Busy,
    ) {
        let service = service_fn(|request| {
            let (server, busy) = (self.clone(), busy.clone());
            async move {
                let _mark = busy.mark();
                let mut answer = server.answer(request, remote).await;
                // A stream of events leaves its connection idle: it is one that makes room when all are open.
                Ok::<_, Infallible>(match answer.extensions_mut().remove::<events::Wanted>() {
                    Some(wanted) => answer.map(|_| Either::Right(Events::new(server.handle.clone(), wanted))),
                    None => answer.map(Either::Left),
                })
            }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, ?remote, "an RPC connection ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>, remote: Option<SocketAddr>) -> Answer {
        let path = request.uri().path();
        // Probes of an orchestrator may come from anywhere and learn nothing that is not public.
        match path {
            "/healthz" => return plain(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let snapshot = self.handle.snapshot();
                return match &snapshot.trouble {
                    _ if !snapshot.ready => {
                        plain(StatusCode::SERVICE_UNAVAILABLE, "torrents are being loaded\n")
                    }
                    Some(trouble) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")),
                    None => plain(StatusCode::OK, "ready\n"),
                };
            }
            _ => {}
        }
        let remote = remote.map(|remote| remote.ip());
        let verdict =
            self.door.borrow_mut().judge(remote, request.headers(), &self.info.allowed_hosts, Instant::now());
        if verdict == Verdict::Refused {
            return plain(StatusCode::FORBIDDEN, "this client is not served\n");
        }
        if request.method() == Method::OPTIONS {
            return with(plain(StatusCode::OK, ""), ALLOW, "GET, POST, OPTIONS");
        }
        let qbt = path.strip_prefix(qbt::PATH).map(str::to_owned);
        if verdict == Verdict::Unknown && qbt.is_none() {
            let ask = plain(StatusCode::UNAUTHORIZED, "credentials are needed\n");
            return with(ask, WWW_AUTHENTICATE, "Basic realm=\"ringseed\", charset=\"UTF-8\"");
        }
        let rpc = path.strip_suffix('/').unwrap_or(path) == RPC_PATH;
        let metrics = path == "/metrics" || path == "/metrics/torrents";
        let events = path == events::PATH;
        if !metrics && !events && !rpc && qbt.is_none() && !path.starts_with(BASE_PATH) {
            return with(plain(StatusCode::MOVED_PERMANENTLY, ""), LOCATION, RPC_PATH);
        }
        // A browser cannot reach a Unix socket, and its clients have no name to give.
        if remote.is_some() && !host_allowed(request.headers(), &self.info.allowed_hosts) {
            return plain(
                StatusCode::MISDIRECTED_REQUEST,
                "this name is not in the list of allowed hosts; use an address or localhost\n",
            );
        }
        if !origin_allowed(request.headers(), &self.info.allowed_hosts) {
            return plain(StatusCode::FORBIDDEN, "pages of other sites are not served\n");
        }
        if events {
            if request.method() != Method::GET {
                return with(
                    plain(StatusCode::METHOD_NOT_ALLOWED, "GET the events\n"),
                    ALLOW,
                    "GET, OPTIONS",
                );
            }
            let wanted = events::Wanted::of(request.uri().query());
            let mut answer = with(plain(StatusCode::OK, ""), CONTENT_TYPE, "text/event-stream");
            answer.extensions_mut().insert(wanted);
            return answer;
        }
        if metrics {
            return self.metrics_page(request.method(), path != "/metrics").await;
        }
        if let Some(path) = qbt {
            // What somebody unknown sends is not even read, but for a login.
            if verdict != Verdict::Welcome && path != "auth/login" && !self.is_logged_in(request.headers()) {
                return plain(StatusCode::FORBIDDEN, "Forbidden");
            }
            let (head, body) = request.into_parts();
            return match self.body(body).await {
                Ok(body) => self.qbt(&head, &path, &body, remote, verdict).await,
                Err(answer) => answer,
            };
        }
        if !rpc {
            return plain(StatusCode::NOT_FOUND, "there is nothing here\n");
        }
        let id = request.headers().get(SESSION_ID_HEADER).map_or(&[][..], HeaderValue::as_bytes);
        if !same_secret(id, self.session_id.as_bytes()) {
            return self.conflict();
        }
        if request.method() != Method::POST {
            return with(plain(StatusCode::METHOD_NOT_ALLOWED, "POST a request\n"), ALLOW, "POST, OPTIONS");
        }
        // On this machine compressing only costs time.
        let far = remote.is_some_and(|ip| !ip.to_canonical().is_loopback());
        let gzip = far && accepts_gzip(request.headers());
        let answer = self.rpc(request.into_body()).await;
        if gzip { compressed(answer).await } else { answer }
    }

    /// Tells the session id; the client repeats its request with it.
    fn conflict(&self) -> Answer {
        let body = format!("409: Conflict\nRepeat the request with the header {SESSION_ID_HEADER}\n");
        with(
            plain(StatusCode::CONFLICT, body),
            HeaderName::from_static("x-transmission-session-id"),
            &self.session_id,
        )
    }

    async fn metrics_page(&self, method: &Method, torrents: bool) -> Answer {
        if method != Method::GET && method != Method::HEAD {
            return with(
                plain(StatusCode::METHOD_NOT_ALLOWED, "GET this page\n"),
                ALLOW,
                "GET, HEAD, OPTIONS",
            );
        }
        let snapshot = self.handle.snapshot();
        let page = match torrents {
            true => self.metrics.torrents_page(&snapshot),
            false => {
                self.metrics.look(&self.download_dir(), &snapshot).await;
                self.metrics.page(&snapshot, &self.info)
            }
        };
        match page {
            Ok(text) => with(plain(StatusCode::OK, text), CONTENT_TYPE, prometheus::TEXT_FORMAT),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    /// The whole body of a request, within bounds; otherwise the answer that says which one it broke.
    async fn body(&self, body: Incoming) -> Result<Bytes, Answer> {
        let too_large = || plain(StatusCode::PAYLOAD_TOO_LARGE, "add large torrents by their path\n");
        let claimed = body.size_hint();
        if claimed.lower() > BODY_BYTES_MAX as u64 {
            return Err(too_large());
        }
        let _permit = match claimed.upper() {
            Some(length) if length <= BODY_SMALL_BYTES => None,
            _ => self.large_bodies.acquire().await.ok(),
        };
        match timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(plain(StatusCode::BAD_REQUEST, "the request broke off\n")),
            Err(_) => Err(plain(StatusCode::REQUEST_TIMEOUT, "the request took too long\n")),
        }
    }

    async fn rpc(&self, body: Incoming) -> Answer {
        let body = match self.body(body).await {
            Ok(body) => body,
            Err(answer) => return answer,
        };
        let began = Instant::now();
        if jsonrpc::is_request(&body) {
            let answer = self.call_2(&body).await;
            self.metrics.answered("json-rpc", began.elapsed());
            return match answer {
                Some(text) => {
                    with(plain(StatusCode::OK, text), CONTENT_TYPE, "application/json; charset=UTF-8")
                }
                None => plain(StatusCode::NO_CONTENT, ""),
            };
        }
        let (method, text) = self.call(&body).await;
        self.metrics.answered(method, began.elapsed());
        with(plain(StatusCode::OK, text), CONTENT_TYPE, "application/json; charset=UTF-8")
    }
}

pub(super) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

/// Whether the client can read gzip.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    codings.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.parse::<f32>() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// The answer in gzip when it is large, made beside the control thread.
async fn compressed(answer: Answer) -> Answer {
    let (mut head, body) = answer.into_parts();
    let Ok(body) = body.collect().await.map(|body| body.to_bytes());
    let plain = body.clone();
    if body.len() >= GZIP_BYTES_MIN {
        let packed = tokio::task::spawn_blocking(move || {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&body).and_then(|()| encoder.finish())
        });
        if let Ok(Ok(packed)) = packed.await {
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            return Response::from_parts(head, Full::new(packed.into()));
        }
    }
    Response::from_parts(head, Full::new(plain))
}

pub(super) fn with(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}
