//! Torrent files from where the user says they are: a path or an http(s) URL.

use super::failure::{Failure, io_reason};
use super::quantity;
use crate::announce::{Trust, certificate_problem};
use crate::limits::{TORRENT_FETCH_BYTES_MAX, TORRENT_FETCH_REDIRECTS_MAX, TORRENT_FETCH_TIMEOUT};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use ringseed_proto::metainfo::Metainfo;
use std::io::Read;

/// Whether `source` is a URL rather than a path.
pub fn is_url(source: &str) -> bool {
    let lower = source.get(..8).unwrap_or(source).to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

/// Reads and parses the torrent at `source`, a path or an http(s) URL. Errors name `source`.
pub async fn torrent(source: &str, trust: &Trust) -> Result<Metainfo, Failure> {
    Metainfo::parse(&bytes(source, trust).await?)
        .map_err(|error| Failure::failed(format!("{source} is not a usable torrent: {error}")))
}

/// Reads the torrent file at `source`, a path or an http(s) URL. Errors name `source`.
pub async fn bytes(source: &str, trust: &Trust) -> Result<Vec<u8>, Failure> {
    if source.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("magnet:")) {
        return Err(Failure::usage(
            "magnet links are not supported; give a torrent file or an http(s) URL of one",
        ));
    }
    if is_url(source) { download(source, trust).await } else { read(source) }
}

/// [`torrent`] for callers that have no runtime.
pub fn torrent_blocking(source: &str) -> Result<Metainfo, Failure> {
    super::control_runtime()?.block_on(torrent(source, &Trust::default()))
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    let refused =
        |error: std::io::Error| Failure::failed(format!("cannot read {path}: {}", io_reason(&error)));
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is more, also for pipes.
    std::fs::File::open(path)
        .and_then(|file| file.take(TORRENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(refused)?;
    if bytes.len() > TORRENT_BYTES_MAX {
        let max = quantity::size(TORRENT_BYTES_MAX as u64);
        return Err(Failure::failed(format!("{path} is larger than any torrent file ({max})")));
    }
    Ok(bytes)
}

async fn download(url: &str, trust: &Trust) -> Result<Vec<u8>, Failure> {
    match tokio::time::timeout(TORRENT_FETCH_TIMEOUT, follow(url, trust)).await {
        Ok(answer) => answer.map_err(|reason| Failure::failed(format!("cannot fetch {url}: {reason}"))),
        Err(_) => {
            let waited = quantity::span(TORRENT_FETCH_TIMEOUT);
            Err(Failure::failed(format!("cannot fetch {url}: no complete answer within {waited}")))
        }
    }
}

/// Fetches `url` and what it redirects to; the error is the reason alone.
async fn follow(url: &str, trust: &Trust) -> Result<Vec<u8>, String> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let connector = trust.connector(tcp);
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let mut uri: Uri = url.parse().map_err(|error| format!("it is not a URL: {error}"))?;
    for _ in 0..=TORRENT_FETCH_REDIRECTS_MAX {
        let request = Request::get(uri.clone())
            .header(header::USER_AGENT, concat!("ringseed/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/x-bittorrent, */*")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let answer = client
            .request(request)
            .await
            .map_err(|error| certificate_problem(&error).unwrap_or_else(|| innermost(&error)))?;
        let status = answer.status();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            let target = answer
                .headers()
                .get(header::LOCATION)
                .and_then(|value| value.to_str().ok())
                .ok_or_else(|| format!("the server answered {status} without saying where to"))?;
            uri = redirected(&uri, target)?;
            continue;
        }
        if status != StatusCode::OK {
            return Err(format!("the server answered {status}"));
        }
        return match Limited::new(answer.into_body(), TORRENT_FETCH_BYTES_MAX).collect().await {
            Ok(body) => Ok(body.to_bytes().into()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(format!(
                "the answer is larger than {}; download it with another program and give the file",
                quantity::size(TORRENT_FETCH_BYTES_MAX as u64)
            )),
            Err(error) => Err(innermost(error.as_ref())),
        };
    }
    Err(format!("more than {TORRENT_FETCH_REDIRECTS_MAX} redirects"))
}

/// The deepest cause: what the system or the peer said, without the layers that passed it on.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Where a redirect from `base` to `target` leads (RFC 3986, section 5.2, without dot segments). TLS is not
/// given up on the way.
fn redirected(base: &Uri, target: &str) -> Result<Uri, String> {
    let wrong = || format!("it redirects to '{}', which is not an http(s) URL", quantity::printable(target));
    let target = target.split('#').next().unwrap_or_default();
    let (scheme, authority) = (base.scheme_str().unwrap_or("http"), base.authority().ok_or_else(wrong)?);
    let absolute = if is_url(target) {
        target.to_owned()
    } else if target.starts_with("//") {
        format!("{scheme}:{target}")
    } else if target.starts_with('/') {
        format!("{scheme}://{authority}{target}")
    } else if target.starts_with('?') {
        format!("{scheme}://{authority}{}{target}", base.path())
    } else if target.is_empty() || target.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
        return Err(wrong());
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{target}")
    };
    let uri: Uri = absolute.parse().map_err(|_| wrong())?;
    if scheme.eq_ignore_ascii_case("https") && uri.scheme_str() != Some("https") {
        return Err(format!("it redirects from https to unprotected {uri}; give that URL if you trust it"));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved_against_their_base() {
        let base: Uri = "http://a.example:81/x/y?z".parse().expect("uri");
        for (target, result) in [
            ("https://b.example/t", "https://b.example/t"),
            ("//b.example/t", "http://b.example/t"),
            ("/t?u=http://v", "http://a.example:81/t?u=http://v"),
            ("t.torrent#part", "http://a.example:81/x/t.torrent"),
            ("?q", "http://a.example:81/x/y?q"),
        ] {
            assert_eq!(redirected(&base, target).expect(target).to_string(), result);
        }
        for target in ["file:///etc/passwd", "ftp://a/b", "", "magnet:?xt=urn:btih:00"] {
            assert!(redirected(&base, target).is_err(), "{target}");
        }
    }

    #[test]
    fn a_redirect_does_not_give_up_tls() {
        let base: Uri = "https://a.example/x".parse().expect("uri");
        assert!(redirected(&base, "http://a.example/y").is_err());
        assert!(redirected(&base, "/y").is_ok());
    }

    #[test]
    fn urls_and_paths() {
        assert!(is_url("HTTP://a/b") && is_url("https://a"));
        assert!(!is_url("a.torrent") && !is_url("http:/a") && !is_url("é/ü.torrent"));
    }
}
