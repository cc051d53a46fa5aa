//! HTTP: connections, the order of checks that Transmission's clients rely on, and paths.

use super::gate::{host_allowed, new_session_id, origin_allowed, same_secret};
use super::limits::{
    BODY_BYTES_MAX, BODY_SMALL_BYTES, BODY_TIMEOUT, HEAD_BYTES_MAX, HEAD_TIMEOUT, LARGE_BODIES_MAX,
};
use super::metrics::Metrics;
use super::{RpcInfo, ids::Removals};
use crate::control::EngineHandle;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringseed_api::SESSION_ID_HEADER;
use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const RPC_PATH: &str = "/transmission/rpc";
const BASE_PATH: &str = "/transmission/";

/// What all connections share.
pub(super) struct Server {
    pub(super) handle: EngineHandle,
    pub(super) info: RpcInfo,
    pub(super) session_id: String,
    pub(super) removals: RefCell<Removals>,
    pub(super) metrics: Metrics,
    large_bodies: Semaphore,
}

type Answer = Response<Full<Bytes>>;

impl Server {
    pub(super) fn new(handle: EngineHandle, info: RpcInfo) -> std::io::Result<Self> {
        Ok(Self {
            handle,
            info,
            session_id: new_session_id()?,
            removals: RefCell::default(),
            metrics: Metrics::new().map_err(std::io::Error::other)?,
            large_bodies: Semaphore::new(LARGE_BODIES_MAX),
        })
    }

    /// Serves one connection until it ends.
    pub(super) async fn connection(self: Rc<Self>, stream: TcpStream, remote: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.answer(request, remote).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, %remote, "an RPC connection ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>, remote: SocketAddr) -> Answer {
        let path = request.uri().path();
        // Probes of an orchestrator may come from anywhere and learn nothing that is not public.
        match path {
            "/healthz" => return plain(StatusCode::OK, "ok\n"),
            "/readyz" if self.handle.snapshot().ready => return plain(StatusCode::OK, "ready\n"),
            "/readyz" => return plain(StatusCode::SERVICE_UNAVAILABLE, "torrents are being loaded\n"),
            _ => {}
        }
        if !remote.ip().to_canonical().is_loopback() {
            return plain(StatusCode::FORBIDDEN, "only clients on this machine are served\n");
        }
        if request.method() == Method::OPTIONS {
            return with(plain(StatusCode::OK, ""), ALLOW, "GET, POST, OPTIONS");
        }
        let rpc = path.strip_suffix('/').unwrap_or(path) == RPC_PATH;
        if path != "/metrics" && !rpc && !path.starts_with(BASE_PATH) {
            return with(plain(StatusCode::MOVED_PERMANENTLY, ""), LOCATION, RPC_PATH);
        }
        if !host_allowed(request.headers(), &self.info.allowed_hosts) {
            return plain(
                StatusCode::MISDIRECTED_REQUEST,
                "this name is not in the list of allowed hosts; use an address or localhost\n",
            );
        }
        if !origin_allowed(request.headers(), &self.info.allowed_hosts) {
            return plain(StatusCode::FORBIDDEN, "pages of other sites are not served\n");
        }
        if path == "/metrics" {
            return self.metrics_page(request.method());
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
        self.rpc(request.into_body()).await
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

    fn metrics_page(&self, method: &Method) -> Answer {
        if method != Method::GET && method != Method::HEAD {
            return with(
                plain(StatusCode::METHOD_NOT_ALLOWED, "GET this page\n"),
                ALLOW,
                "GET, HEAD, OPTIONS",
            );
        }
        match self.metrics.page(&self.handle.snapshot(), &self.info) {
            Ok(text) => with(plain(StatusCode::OK, text), CONTENT_TYPE, prometheus::TEXT_FORMAT),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    async fn rpc(&self, body: Incoming) -> Answer {
        let too_large = || plain(StatusCode::PAYLOAD_TOO_LARGE, "add large torrents by their path\n");
        let claimed = body.size_hint();
        if claimed.lower() > BODY_BYTES_MAX as u64 {
            return too_large();
        }
        let _permit = match claimed.upper() {
            Some(length) if length <= BODY_SMALL_BYTES => None,
            _ => self.large_bodies.acquire().await.ok(),
        };
        let body = match timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return too_large(),
            Ok(Err(_)) => return plain(StatusCode::BAD_REQUEST, "the request broke off\n"),
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the request took too long\n"),
        };
        let began = Instant::now();
        let (method, response) = self.call(&body).await;
        self.metrics.answered(method, began.elapsed());
        match serde_json::to_vec(&response) {
            Ok(text) => with(plain(StatusCode::OK, text), CONTENT_TYPE, "application/json; charset=UTF-8"),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

fn with(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}
