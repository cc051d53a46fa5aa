//! The part of qBittorrent's WebAPI (5.1.4, WebAPI 2.11.4) that Sonarr, Radarr, Flood, cross-seed and gluetun use, on
//! `/api/v2`. It is a second form of the same session; what the engine lacks is refused with 409 and a reason.

mod add;
mod app;
mod change;
pub(super) mod form;
mod list;
mod sessions;
mod tell;

use super::access::Verdict;
use super::server::{Answer, Server, plain, with};
use form::Form;
use hyper::header::{CONTENT_TYPE, COOKIE, HeaderMap, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use ringseed_proto::units::InfoHash;
use serde_json::Value;
pub(super) use sessions::Sessions;
use std::net::IpAddr;
use std::time::Instant;

/// Where it is.
pub(super) const PATH: &str = "/api/v2/";

/// What a method answers.
pub(super) enum Reply {
    Text(String),
    Json(Value),
    /// Refused, with the reason.
    Refused(StatusCode, String),
}

impl Reply {
    fn done() -> Self {
        Self::Text(String::new())
    }

    fn lacking(what: &str) -> Self {
        Self::Refused(StatusCode::CONFLICT, format!("{what} is not supported"))
    }

    fn of(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::done(),
            Err(why) => Self::Refused(StatusCode::CONFLICT, why),
        }
    }
}

impl Server {
    /// Whether a request shows the cookie of a login.
    pub(super) fn is_logged_in(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let ids = cookies
            .flat_map(|value| value.split(';'))
            .filter_map(|cookie| cookie.trim().strip_prefix("SID="));
        ids.into_iter().any(|id| self.sessions.borrow_mut().knows(id, Instant::now()))
    }

    /// Answers `/api/v2/...`. Host, Origin and the login were looked at.
    pub(super) async fn qbt(
        &self,
        head: &Parts,
        path: &str,
        body: &[u8],
        remote: Option<IpAddr>,
        verdict: Verdict,
    ) -> Answer {
        let (method, query, headers) = (&head.method, head.uri.query(), &head.headers);
        let content_type =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut form = match Form::read(query, content_type, body) {
            Ok(form) => form,
            Err(why) => return plain(StatusCode::BAD_REQUEST, why),
        };
        match path {
            "auth/login" if *method == Method::POST => return self.login(&form, remote, verdict),
            "auth/logout" => {
                self.sessions.borrow_mut().forget();
                return plain(StatusCode::OK, "");
            }
            _ => {}
        }
        let reply = match self.read_method(path, &form) {
            Some(reply) => reply,
            None if *method == Method::POST && path == "torrents/add" => self.add_torrents(&mut form).await,
            // A link or an image of a foreign page is a GET: it must not change anything.
            None if *method != Method::POST => {
                Reply::Refused(StatusCode::METHOD_NOT_ALLOWED, "POST this".into())
            }
            None => self.change_method(path, &form).await,
        };
        match reply {
            Reply::Text(text) => plain(StatusCode::OK, text),
            Reply::Refused(status, why) => plain(status, why),
            Reply::Json(value) => {
                with(plain(StatusCode::OK, value.to_string()), CONTENT_TYPE, "application/json")
            }
        }
    }

    fn login(&self, form: &Form, remote: Option<IpAddr>, verdict: Verdict) -> Answer {
        let (name, password) = (form.get("username"), form.get("password"));
        let known = verdict == Verdict::Welcome
            || self.door.borrow_mut().knows(remote, name, password, Instant::now());
        if !known {
            return plain(StatusCode::OK, "Fails.");
        }
        match self.sessions.borrow_mut().open(Instant::now()) {
            Ok(id) => with(
                plain(StatusCode::OK, "Ok."),
                SET_COOKIE,
                &format!("SID={id}; HttpOnly; SameSite=Strict; path=/"),
            ),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    /// The info-hashes that a request names; all with `all`.
    fn hashes(&self, form: &Form) -> Vec<InfoHash> {
        let names = form.get("hashes");
        let names = if names.is_empty() { form.get("hash") } else { names };
        if names == "all" {
            return self.handle.snapshot().torrents.iter().map(|torrent| torrent.info_hash()).collect();
        }
        names.split('|').filter_map(|name| name.trim().parse().ok()).collect()
    }
}
