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
use super::limits::{BODY_SMALL_BYTES, LOGIN_COOKIES_MAX};
use super::origin::Client;
use super::server::{Answer, Server, TOO_OFTEN, plain, try_later, with};
use form::Form;
use hyper::header::{CONTENT_TYPE, COOKIE, HeaderMap, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use ringseed_proto::hashes::TorrentId;
use serde_json::Value;
pub(super) use sessions::Sessions;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

/// Where it is.
pub(super) const PATH: &str = "/api/v2/";

/// The method that strangers may call, by POST.
pub(super) const LOGIN: &str = "auth/login";

/// What a method answers.
pub(super) enum Reply {
    Text(String),
    /// JSON, written already.
    Json(String),
    /// Refused, with the reason.
    Refused(StatusCode, String),
}

impl Reply {
    fn done() -> Self {
        Self::Text(String::new())
    }

    fn json(value: &Value) -> Self {
        Self::Json(value.to_string())
    }

    fn lacking(what: &str) -> Self {
        Self::Refused(StatusCode::CONFLICT, format!("{what} is not supported"))
    }

    /// Refused for this reason.
    fn refused(status: StatusCode, why: &impl std::error::Error) -> Self {
        Self::Refused(status, why.to_string())
    }

    fn of(result: Result<(), impl std::error::Error>) -> Self {
        match result {
            Ok(()) => Self::done(),
            Err(why) => Self::refused(StatusCode::CONFLICT, &why),
        }
    }
}

impl Server {
    /// Whether a request shows the cookie of a login.
    pub(super) fn is_logged_in(&self, headers: &HeaderMap) -> bool {
        session_ids(headers).any(|id| self.sessions.borrow_mut().knows(id, Instant::now()))
    }

    /// Answers `/api/v2/...`. Host, Origin and the login were looked at.
    pub(super) async fn qbt(
        &self,
        head: &Parts,
        path: &str,
        body: Vec<u8>,
        client: Client,
        verdict: Verdict,
    ) -> Answer {
        let method = &head.method;
        let mut form = match read_form(head, body).await {
            Ok(form) => Arc::new(form),
            Err(why) => return plain(StatusCode::BAD_REQUEST, why),
        };
        match path {
            LOGIN if *method == Method::POST => return self.login(&form, client, verdict).await,
            "auth/logout" if *method == Method::POST => {
                for id in session_ids(&head.headers) {
                    self.sessions.borrow_mut().close(id);
                }
                return plain(StatusCode::OK, "");
            }
            _ => {}
        }
        let turn = self.long_answers.turn();
        let reply = match self.read_method(path, &form, &turn).await {
            Some(reply) => reply,
            None if *method == Method::POST && path == "torrents/add" => {
                let files = Arc::get_mut(&mut form).map(|form| std::mem::take(&mut form.files));
                self.add_torrents(&form, files.unwrap_or_default()).await
            }
            // A link or an image of a foreign page is a GET: it must not change anything.
            None if *method != Method::POST => {
                Reply::Refused(StatusCode::METHOD_NOT_ALLOWED, "POST this".into())
            }
            None => self.change_method(path, &form).await,
        };
        let answer = match reply {
            Reply::Text(text) => plain(StatusCode::OK, text),
            Reply::Refused(status, why) => plain(status, why),
            Reply::Json(text) => with(plain(StatusCode::OK, text), CONTENT_TYPE, "application/json"),
        };
        self.long_answers.place(answer).await
    }

    async fn login(&self, form: &Form, client: Client, verdict: Verdict) -> Answer {
        let verdict = match verdict {
            Verdict::Welcome => verdict,
            _ => self.access.judge_pair(client, form.get("username"), form.get("password")).await,
        };
        match verdict {
            Verdict::Welcome => {}
            Verdict::Unknown => return plain(StatusCode::OK, "Fails."),
            Verdict::Refused => return plain(StatusCode::FORBIDDEN, TOO_OFTEN),
            Verdict::Later => return try_later(),
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

    /// The info-hashes that a request names, each once; all with `all`.
    fn hashes(&self, form: &Form) -> Vec<TorrentId> {
        let names = form.get("hashes");
        let names = if names.is_empty() { form.get("hash") } else { names };
        if names == "all" {
            return self.handle.snapshot().torrents.iter().map(|torrent| torrent.torrent_id()).collect();
        }
        let mut seen = HashSet::new();
        let named = names.split('|').filter_map(|name| name.trim().parse().ok());
        named.filter(|hash: &TorrentId| seen.insert(*hash)).collect()
    }
}

/// The ids of logins that the cookies of a request carry. A browser sends one for each path that set one; strangers may
/// send thousands, of which each is compared with all logins.
fn session_ids(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let ids =
        cookies.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().strip_prefix("SID="));
    ids.take(LOGIN_COOKIES_MAX)
}

/// The parameters of a request; those of a large one are read beside this thread.
async fn read_form(head: &Parts, body: Vec<u8>) -> Result<Form, &'static str> {
    let query = head.uri.query().map(str::to_owned);
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let large = body.len() > BODY_SMALL_BYTES;
    let read = move || Form::read(query.as_deref(), &content_type, &body);
    match large {
        true => tokio::task::spawn_blocking(read).await.unwrap_or(Err("the form cannot be read")),
        false => read(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_cookies_of_a_request_are_looked_at() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=b; SID=one;SID=two".parse().unwrap());
        assert_eq!(session_ids(&headers).collect::<Vec<_>>(), ["one", "two"]);
        headers.append(COOKIE, "SID=x; ".repeat(4000).parse().unwrap());
        assert_eq!(session_ids(&headers).count(), LOGIN_COOKIES_MAX);
    }
}
