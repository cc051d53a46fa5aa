//! HTTP: connections, the order of checks that Transmission's clients rely on, and paths.

use super::access::{AccessControl, Verdict};
use super::answers::{AnswerTurn, LongAnswers};
use super::body::{self, Received};
use super::connections::{Activity, Place};
use super::creations::AllCreations;
use super::events;
use super::gate::{host_allowed, is_cross_site, new_session_id, origin_allowed, same_secret};
use super::impatient::Impatient;
use super::limits::{
    BODY_SMALL_BYTES, GUESS_WAIT, GZIP_BYTES_MIN, HEAD_BYTES_MAX, HEAD_TIMEOUT, LARGE_BODIES_MAX,
};
use super::metrics::Metrics;
use super::requests::{self, Asked};
use super::space::Spaces;
use super::{RpcInfo, qbt};
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringseed_api::SESSION_ID_HEADER;
use ringseed_handle::EngineHandle;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Write;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

const RPC_PATH: &str = "/transmission/rpc";
const BASE_PATH: &str = "/transmission/";
/// What somebody is told who was wrong too often, and was wrong again.
pub(super) const TOO_OFTEN: &str =
    "wrong credentials, and too often: guesses of this client are looked at slowly\n";

/// What all connections share.
pub(super) struct Server {
    pub(super) handle: EngineHandle,
    pub(super) info: RpcInfo,
    pub(super) session_id: String,
    pub(super) metrics: Metrics,
    pub(super) access: AccessControl,
    pub(super) sessions: RefCell<qbt::Sessions>,
    pub(super) creations: RefCell<AllCreations>,
    pub(super) spaces: Spaces,
    pub(super) long_answers: LongAnswers,
    large_bodies: Semaphore,
    streams: Rc<RefCell<events::Streams>>,
}

pub(super) type Answer = Response<Full<Bytes>>;

impl Server {
    pub(super) fn new(handle: EngineHandle, info: RpcInfo) -> std::io::Result<Self> {
        Ok(Self {
            handle,
            sessions: RefCell::default(),
            creations: RefCell::default(),
            spaces: Spaces::default(),
            long_answers: LongAnswers::default(),
            access: AccessControl::new(info.credentials.clone()),
            info,
            session_id: new_session_id()?,
            metrics: Metrics::new().map_err(std::io::Error::other)?,
            large_bodies: Semaphore::new(LARGE_BODIES_MAX),
            streams: Rc::default(),
        })
    }

    /// Serves one connection until it ends.
    pub(super) async fn connection(
        self: Rc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        remote: Option<IpAddr>,
        activity: Activity,
        place: Place,
    ) {
        if !has_date() {
            return tell_no_date(stream).await;
        }
        let service = service_fn(|request| {
            let (server, activity) = (self.clone(), activity.clone());
            async move {
                let _mark = activity.work();
                let mut answer = server.answer(request, remote, &activity, place).await;
                // A stream of events leaves its connection idle: it is one that makes room when all are open.
                Ok::<_, Infallible>(match answer.extensions_mut().remove::<events::Wanted>() {
                    Some(wanted) => {
                        let events = events::begin(server.handle.clone(), wanted, &server.streams);
                        answer.map(|_| Either::Right(events))
                    }
                    None => answer.map(Either::Left),
                })
            }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(Impatient::new(stream)), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, ?remote, "an RPC connection ended");
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        remote: Option<IpAddr>,
        activity: &Activity,
        place: Place,
    ) -> Answer {
        let path = request.uri().path();
        // Probes of an orchestrator may come from anywhere and learn nothing that is not public.
        match path {
            "/healthz" => return plain(StatusCode::OK, "ok\n"),
            "/readyz" => return self.readiness(self.access.origin(remote, request.headers()).is_here()),
            _ => {}
        }
        let metrics = path == "/metrics" || path == "/metrics/torrents";
        if place == Place::Probe && !metrics {
            let full = plain(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; try again\n");
            return with(with(full, CONNECTION, "close"), RETRY_AFTER, "1");
        }
        let origin = self.access.origin(remote, request.headers());
        activity.serves(origin.client());
        let judged = self.access.judge_origin(&origin, request.headers(), &self.info.allowed_hosts);
        if judged == Some(Verdict::Refused) {
            return plain(StatusCode::FORBIDDEN, "this client is not served\n");
        }
        if request.method() == Method::OPTIONS {
            return with(plain(StatusCode::OK, ""), ALLOW, "GET, POST, OPTIONS");
        }
        let qbt = path.strip_prefix(qbt::PATH).map(str::to_owned);
        let verdict = match judged {
            Some(verdict) => verdict,
            None if qbt.is_some() && self.is_logged_in(request.headers()) => Verdict::Welcome,
            None => {
                let _waiting = activity.wait();
                self.access.judge_shown(origin.client(), request.headers()).await
            }
        };
        match verdict {
            Verdict::Refused => return plain(StatusCode::FORBIDDEN, TOO_OFTEN),
            Verdict::Later => return try_later(),
            Verdict::Unknown if qbt.is_none() => {
                let ask = plain(StatusCode::UNAUTHORIZED, "credentials are needed\n");
                return with(ask, WWW_AUTHENTICATE, "Basic realm=\"ringseed\", charset=\"UTF-8\"");
            }
            Verdict::Unknown | Verdict::Welcome => {}
        }
        let rpc = path.strip_suffix('/').unwrap_or(path) == RPC_PATH;
        let events = path == events::PATH;
        if !metrics && !events && !rpc && qbt.is_none() && !path.starts_with(BASE_PATH) {
            return with(plain(StatusCode::MOVED_PERMANENTLY, ""), LOCATION, RPC_PATH);
        }
        // A browser cannot reach a Unix socket, and its clients have no name to give.
        if !origin.is_unix() && !host_allowed(request.headers(), &self.info.allowed_hosts) {
            return plain(
                StatusCode::MISDIRECTED_REQUEST,
                "this name is not in the list of allowed hosts; use an address or localhost\n",
            );
        }
        if !origin_allowed(request.headers(), &self.info.allowed_hosts) || is_cross_site(request.headers()) {
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
            let wanted = match events::Wanted::of(request.uri().query(), origin.client()) {
                Ok(wanted) => wanted,
                Err(why) => return plain(StatusCode::BAD_REQUEST, format!("{why}\n")),
            };
            let mut answer = with(plain(StatusCode::OK, ""), CONTENT_TYPE, "text/event-stream");
            answer.extensions_mut().insert(wanted);
            return answer;
        }
        if metrics {
            return self.metrics_page(request.method(), path != "/metrics").await;
        }
        if let Some(path) = qbt {
            // What somebody unknown sends is not even read, but for a login.
            let login = path == qbt::LOGIN && request.method() == Method::POST;
            let of = match verdict {
                _ if login => body::Of::Stranger,
                Verdict::Welcome => body::Of::Client,
                _ => return plain(StatusCode::FORBIDDEN, "Forbidden"),
            };
            let (head, body) = request.into_parts();
            let mut received = match self.body(body, of, activity).await {
                Ok(received) => received,
                Err(answer) => return answer,
            };
            // A guess of a password waits for its turn, perhaps.
            let _waiting = login.then(|| activity.wait());
            let bytes = std::mem::take(&mut received.bytes);
            return self.qbt(&head, &path, bytes, origin.client(), verdict).await;
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
        let gzip = !origin.is_here() && accepts_gzip(request.headers());
        let turn = self.long_answers.turn();
        let answer = match self.body(request.into_body(), body::Of::Client, activity).await {
            Ok(received) => self.rpc(received, &turn).await,
            Err(answer) => answer,
        };
        let answer = if gzip { compressed(answer).await } else { answer };
        self.long_answers.place(answer).await
    }

    /// Whether the engine can do its work, and to clients of this machine why not: reasons name files and interfaces.
    fn readiness(&self, here: bool) -> Answer {
        let snapshot = self.handle.snapshot();
        let failing = match (&snapshot.trouble, &snapshot.store_trouble) {
            _ if !snapshot.ready => {
                return plain(StatusCode::SERVICE_UNAVAILABLE, "torrents are being loaded\n");
            }
            (Some(why), _) | (None, Some(why)) if here => format!("{why}\n"),
            (Some(_), _) => "the network fails; this machine and the log are told why\n".to_owned(),
            (None, Some(_)) => "the resume store fails; this machine and the log are told why\n".to_owned(),
            (None, None) => return plain(StatusCode::OK, "ready\n"),
        };
        plain(StatusCode::SERVICE_UNAVAILABLE, failing)
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
    async fn body(&self, body: Incoming, of: body::Of, activity: &Activity) -> Result<Received<'_>, Answer> {
        // Its client may let us wait: another connection does not have to.
        let _waiting = activity.wait();
        body::receive(body, of, &self.large_bodies).await
    }

    /// Answers a request of either form.
    async fn rpc(&self, mut received: Received<'_>, turn: &AnswerTurn<'_>) -> Answer {
        let began = Instant::now();
        let body = std::mem::take(&mut received.bytes);
        let asked = match body.len() > BODY_SMALL_BYTES {
            true => tokio::task::spawn_blocking(move || requests::read(&body)).await,
            false => Ok(requests::read(&body)),
        };
        let (method, text) = match asked {
            Ok(Asked::JsonRpc(request)) => ("json-rpc", self.call_2(request, turn).await),
            Ok(Asked::Legacy(request)) => {
                let (method, text) = self.call(request, turn).await;
                (method, Some(text))
            }
            Err(error) => return plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        };
        self.metrics.answered(method, began.elapsed());
        match text {
            Some(text) => with(plain(StatusCode::OK, text), CONTENT_TYPE, "application/json; charset=UTF-8"),
            None => plain(StatusCode::NO_CONTENT, ""),
        }
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

/// What a client is told whose guess is not looked at.
pub(super) fn try_later() -> Answer {
    let seconds = GUESS_WAIT.as_secs().to_string();
    let answer = plain(StatusCode::TOO_MANY_REQUESTS, "too many guesses of this client wait already\n");
    with(answer, RETRY_AFTER, &seconds)
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

/// Whether the clock gives a date that HTTP can say: before 1970 there is none, and hyper panics for want of one.
fn has_date() -> bool {
    std::time::SystemTime::now() >= std::time::SystemTime::UNIX_EPOCH
}

/// Answers whatever is asked with what is wrong with the clock.
async fn tell_no_date(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut head = vec![0; 4096];
    let _ = tokio::time::timeout(HEAD_TIMEOUT, stream.read(&mut head)).await;
    let text = "the clock of this machine is before 1970: set it and ask again\n";
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{text}",
        text.len()
    );
    // The client may be gone.
    let _ = tokio::time::timeout(HEAD_TIMEOUT, stream.write_all(answer.as_bytes())).await;
    let _ = stream.shutdown().await;
}
