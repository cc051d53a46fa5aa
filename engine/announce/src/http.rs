//! HTTP and HTTPS announces: pooled connections, verified TLS, bounded answers, redirects with a conscience, credentials
//! for the one host that they are for.

use super::address::is_local;
use super::limits::{
    HTTP_BODY_MAX, HTTP_CONNECT_TIMEOUT, HTTP_HEAD_MAX, HTTP_IDLE, HTTP_KEPT_FROM, HTTP_PER_HOST_MAX,
    HTTP_TIMEOUT, INTERVAL_MAX, REDIRECTS_MAX,
};
use super::names::Names;
use super::redirect::{self, RedirectError};
use super::transport::{Failure, Request, RetryRule};
use super::trust::{Trust, certificate_problem};
use super::{AnnounceConfig, dial, encoding};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Response, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpInfo};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ringseed_net::route::Route;
use ringseed_proto::tracker::http::{self as wire, ResponseError, announce_url, parse_announce_response};
use ringseed_proto::tracker::{AnnounceResponse, Family};
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

pub(super) type HttpClient = Client<HttpsConnector<Dialer>, Empty<Bytes>>;

/// Speaks to HTTP and HTTPS trackers.
pub(super) struct HttpTrackers {
    user_agent: HeaderValue,
    proxied: bool,
    /// One client, and so one pool, per family and per right to reach local addresses.
    clients: [[HttpClient; 2]; 2],
}

impl HttpTrackers {
    pub(super) fn new(config: &AnnounceConfig, names: Arc<Names>) -> Self {
        let client = |family, public_only| {
            let dialer = Dialer { family, public_only, route: config.route.clone(), names: names.clone() };
            // Each host could keep some: with few descriptors none is kept.
            let idle_max = if config.sockets_max < HTTP_KEPT_FROM { 0 } else { HTTP_PER_HOST_MAX };
            client(dialer, &config.trust, idle_max)
        };
        let user_agent = HeaderValue::from_str(&config.user_agent);
        Self {
            proxied: config.route.proxy.is_some(),
            user_agent: user_agent.unwrap_or(HeaderValue::from_static("ringseed")),
            clients: [Family::V4, Family::V6].map(|family| [client(family, false), client(family, true)]),
        }
    }

    /// Sends one announce over a family.
    pub(super) async fn announce(
        &self,
        request: &Request,
        family: Family,
    ) -> Result<AnnounceResponse, Failure> {
        let url = announce_url(&request.url.address, &request.announce, request.tracker_id.as_deref());
        let uri: Uri = url.parse().map_err(|error| Failure::refused(format!("not a URL: {error}")))?;
        match timeout(HTTP_TIMEOUT, self.fetch(uri, family, request.url.authorization.as_ref())).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Unreachable(format!("no answer within {} s", HTTP_TIMEOUT.as_secs()))),
        }
    }

    async fn fetch(
        &self,
        mut uri: Uri,
        family: Family,
        authorization: Option<&HeaderValue>,
    ) -> Result<AnnounceResponse, Failure> {
        let by_right = &self.clients[usize::from(family == Family::V6)];
        // The torrent may name a local tracker; a public one may not send us to it.
        let mut public_only = false;
        let first = (uri.scheme().cloned(), uri.authority().cloned());
        for _ in 0..=REDIRECTS_MAX {
            let request = hyper::Request::get(uri.clone())
                .header(USER_AGENT, &self.user_agent)
                .header(ACCEPT, "*/*")
                .header(ACCEPT_ENCODING, encoding::ACCEPTED);
            // Nobody that a redirect leads to is meant by them.
            let request = match authorization {
                Some(credentials)
                    if (uri.scheme(), uri.authority()) == (first.0.as_ref(), first.1.as_ref()) =>
                {
                    request.header(AUTHORIZATION, credentials)
                }
                _ => request,
            };
            let request = request.body(Empty::new()).map_err(|error| Failure::refused(error.to_string()))?;
            let response =
                by_right[usize::from(public_only)].request(request).await.map_err(|error| refused(&error))?;
            if !leads_on(response.status()) {
                return read(response).await;
            }
            let remote = response.extensions().get::<HttpInfo>().map(|info| info.remote_addr().ip());
            // Through a proxy, that is the address of the proxy.
            public_only |= self.proxied || !remote.is_some_and(is_local);
            let location = response.headers().get(LOCATION).map(|location| location.as_bytes());
            let location = location
                .and_then(|location| std::str::from_utf8(location).ok())
                .ok_or_else(|| Failure::refused(format!("HTTP {} without a location", response.status())))?;
            uri = redirect::target(&uri, location).map_err(|error| Failure::refused(error.to_string()))?;
        }
        Err(Failure::refused(RedirectError::TooMany.to_string()))
    }
}

/// `idle_max`: most connections to one host that are kept for later.
pub(super) fn client(dialer: Dialer, trust: &Trust, idle_max: usize) -> HttpClient {
    let connector = trust.connector(dialer);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(HTTP_IDLE)
        .pool_max_idle_per_host(idle_max)
        .http1_max_buf_size(HTTP_HEAD_MAX)
        .http1_title_case_headers(true)
        .build(connector)
}

/// Whether a status says that what is asked for is elsewhere.
fn leads_on(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The announce response in an HTTP answer.
async fn read(response: Response<hyper::body::Incoming>) -> Result<AnnounceResponse, Failure> {
    let status = response.status();
    let retry = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry = match retry.and_then(|seconds| seconds.trim().parse().ok()) {
        Some(seconds) if !status.is_success() => {
            RetryRule::After(Duration::from_secs(seconds).min(INTERVAL_MAX))
        }
        _ => RetryRule::Backoff,
    };
    let (head, body) = response.into_parts();
    let body = match Limited::new(body, HTTP_BODY_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(Failure::refused(format!("the answer is larger than {HTTP_BODY_MAX} bytes")));
        }
        Err(error) => return Err(Failure::Unreachable(format!("the answer broke off: {}", root(&*error)))),
    };
    let body = encoding::decoded(&head.headers, &body, HTTP_BODY_MAX).map_err(|error| {
        match status.is_success() {
            true => Failure::refused(error.to_string()),
            false => Failure::Refused { text: format!("HTTP {status}"), retry },
        }
    })?;
    match parse_announce_response(&body) {
        // Some trackers give their reason with a status of their own.
        Err(ResponseError::Failure { reason, retry: asked }) => {
            let retry = match asked {
                Some(wire::Retry::After(seconds)) => RetryRule::After(Duration::from_secs(seconds.into())),
                Some(wire::Retry::Never) => RetryRule::Never,
                None => retry,
            };
            Err(Failure::Refused { text: reason, retry })
        }
        _ if status == StatusCode::UNAUTHORIZED => {
            let text = format!(
                "HTTP {status}: the tracker wants other credentials than the URL has, as name:password@"
            );
            Err(Failure::Refused { text, retry })
        }
        _ if !status.is_success() => Err(Failure::Refused { text: format!("HTTP {status}"), retry }),
        Ok(response) => Ok(response),
        Err(_) if body.is_empty() => Err(Failure::refused("the answer is empty")),
        Err(error) => Err(Failure::refused(format!("not an answer of a tracker: {error}"))),
    }
}

/// Why no answer came.
fn refused(error: &(dyn Error + 'static)) -> Failure {
    match led_to_local(error) {
        true => Failure::refused(DialError::Local.to_string()),
        false => Failure::Unreachable(
            certificate_problem(error).map_or_else(|| root(error), |problem| problem.to_string()),
        ),
    }
}

/// Whether no connection was made because it would have been to a local address.
pub(super) fn led_to_local(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let dial = error
            .downcast_ref::<DialError>()
            .or_else(|| error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<DialError>());
        if let Some(DialError::Local) = dial {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The innermost cause: the outer ones only say that connecting failed.
pub(super) fn root(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("a redirect from a public tracker to a local address is not followed")]
    Local,
    #[error("the host has no {0} address")]
    Family(&'static str),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Connects over one family.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) family: Family,
    pub(super) public_only: bool,
    pub(super) route: Route,
    pub(super) names: Arc<Names>,
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { dialer.dial(&uri).await.map(TokioIo::new) })
    }
}

impl Dialer {
    async fn dial(&self, uri: &Uri) -> Result<TcpStream, DialError> {
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let host = uri.host().unwrap_or_default();
        if let Some(proxy) = &self.route.proxy {
            let dial = dial::through(&self.route, proxy, host, port, self.public_only);
            let late = || io::Error::new(io::ErrorKind::TimedOut, "connecting through the proxy timed out");
            return timeout(HTTP_CONNECT_TIMEOUT, dial).await.unwrap_or_else(|_| Err(late().into()));
        }
        let addresses = self.names.resolve(host).await?;
        let name = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        let mut last = DialError::Family(name);
        for &ip in addresses.iter().filter(|ip| Family::of(**ip) == self.family) {
            // Checked on the very address that is dialled: a name may resolve to anything, at any time.
            if self.public_only && is_local(ip) {
                last = DialError::Local;
                continue;
            }
            match timeout(HTTP_CONNECT_TIMEOUT, dial::connect(SocketAddr::new(ip, port), &self.route)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error.into(),
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "connecting timed out").into(),
            }
        }
        Err(last)
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
