//! One engine's RPC over HTTP: session id, sign-in, time limits.

use super::limits::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT};
use super::wire::Answer;
use crate::endpoint::Endpoint;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ringseed_api::{SESSION_ID_HEADER, SUCCESS};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// Nobody listens at the address.
    #[error("no engine is running there")]
    NobodyThere,
    /// The connection failed or broke.
    #[error("{0}")]
    Connection(String),
    /// The engine took too long.
    #[error("the engine does not answer")]
    Timeout,
    /// The engine wants another name, password or token.
    #[error("the engine refuses the password or token")]
    Unauthorized,
    /// What answers there is no engine.
    #[error("what answers there is no engine ({0})")]
    NotAnEngine(String),
    /// The engine understood and refused.
    #[error("{0}")]
    Refused(String),
}

impl RpcError {
    /// Whether the connection is of no use any more.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, RpcError::Refused(_))
    }
}

/// A client of one engine.
pub(super) struct Client {
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Endpoint,
    session_id: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
}

#[derive(Serialize)]
struct Call<'a, A> {
    method: &'a str,
    arguments: A,
}

impl Client {
    /// A client for the engine at `endpoint`. Must be called inside a tokio runtime.
    pub(super) fn new(endpoint: Endpoint) -> Client {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(ANSWER_TIMEOUT / 2));
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let authorization = endpoint.sign_in().and_then(|sign_in| {
            let pair = STANDARD.encode(format!("{}:{}", sign_in.user, sign_in.password));
            let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let http = HttpClient::builder(TokioExecutor::new())
            // The engine closes idle connections after 15 s.
            .pool_idle_timeout(Duration::from_secs(10))
            .build(connector);
        Client { http, endpoint, session_id: None, authorization }
    }

    /// The engine it talks to.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Calls a method. An answer without arguments is an error when `T` needs some.
    pub(super) async fn call<A: Serialize, T: DeserializeOwned>(
        &mut self,
        method: &str,
        arguments: A,
    ) -> Result<T, RpcError> {
        let body = serde_json::to_vec(&Call { method, arguments })
            .map_err(|error| RpcError::Refused(error.to_string()))?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(Bytes::from(body)))
            .await
            .map_err(|_| RpcError::Timeout)??;
        let answer: Answer<T> =
            serde_json::from_slice(&answer).map_err(|error| read_failure(&answer, &error))?;
        if answer.result != SUCCESS {
            return Err(RpcError::Refused(answer.result));
        }
        answer.arguments.ok_or_else(|| RpcError::NotAnEngine(format!("{method} answers nothing")))
    }

    /// Sends a body; learns the session id on the way.
    async fn exchange(&mut self, body: Bytes) -> Result<Bytes, RpcError> {
        let mut learned = false;
        loop {
            let mut request = hyper::Request::builder()
                .method(Method::POST)
                .uri(self.endpoint.url())
                .header(CONTENT_TYPE, "application/json");
            if let Some(id) = &self.session_id {
                request = request.header(SESSION_ID_HEADER, id);
            }
            if let Some(authorization) = &self.authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            let request = request
                .body(Full::new(body.clone()))
                .map_err(|error| RpcError::Connection(error.to_string()))?;
            let response = self.http.request(request).await.map_err(|error| broken(&error))?;
            match response.status() {
                StatusCode::OK => {
                    return Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                        .collect()
                        .await
                        .map(http_body_util::Collected::to_bytes)
                        .map_err(|error| RpcError::Connection(error.to_string()));
                }
                StatusCode::CONFLICT if !learned => {
                    learned = true;
                    self.session_id = response.headers().get(SESSION_ID_HEADER).cloned();
                    if self.session_id.is_none() {
                        return Err(RpcError::NotAnEngine("it names no session".to_owned()));
                    }
                }
                StatusCode::UNAUTHORIZED => return Err(RpcError::Unauthorized),
                StatusCode::FORBIDDEN => {
                    return Err(RpcError::Connection("the engine does not let this machine in".to_owned()));
                }
                other => return Err(RpcError::NotAnEngine(other.to_string())),
            }
        }
    }
}

/// An answer that is no answer, or one that failed and therefore has no arguments of the right form.
fn read_failure(body: &[u8], error: &serde_json::Error) -> RpcError {
    match serde_json::from_slice::<Answer<serde::de::IgnoredAny>>(body) {
        Ok(answer) if answer.result != SUCCESS => RpcError::Refused(answer.result),
        _ => RpcError::NotAnEngine(error.to_string()),
    }
}

/// Says in one short sentence what is at the bottom of a failed request.
fn broken(error: &hyper_util::client::legacy::Error) -> RpcError {
    let mut source: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(io) = source.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return RpcError::NobodyThere;
        }
        match source.source() {
            Some(next) => source = next,
            None => return RpcError::Connection(source.to_string()),
        }
    }
}
