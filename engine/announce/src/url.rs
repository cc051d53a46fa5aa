//! Tracker URLs: what they name, and which host's queue they belong to.

use super::limits::URL_BYTES_MAX;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::InvalidUri;
use ringseed_proto::{base64, percent};
use std::rc::Rc;

/// How a tracker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Http,
    Https,
    Udp,
}

/// A tracker URL that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TrackerUrl {
    /// As the torrent gives it, credentials included: what the tracker is known by.
    pub(super) text: Rc<str>,
    /// As it is asked: without credentials and fragment, and with everything escaped that a URL may not hold.
    pub(super) address: Rc<str>,
    /// The credentials as a header has them.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) protocol: Protocol,
    /// Name or address, without brackets, lower case.
    pub(super) host: Rc<str>,
    pub(super) port: u16,
}

/// Why a URL cannot be used; the text is for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UrlError {
    /// Longer than trackers' URLs are.
    #[error("the URL is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    /// It has no scheme.
    #[error("not a tracker URL")]
    NoScheme,
    /// A protocol that is not spoken.
    #[error("trackers over {0} are not supported")]
    Scheme(String),
    /// It is not written as URLs are.
    #[error("not a URL: {0}")]
    Malformed(String),
    /// What stands where the port does is none.
    #[error("the URL's port is not a number up to 65535")]
    Port,
    /// Nobody to speak to.
    #[error("the URL names no host")]
    NoHost,
    /// UDP has no usual port.
    #[error("a udp tracker URL needs a port")]
    NoPort,
    /// Nobody can listen there.
    #[error("the URL names port 0")]
    PortZero,
    /// The credentials cannot be in a header.
    #[error("the URL's credentials cannot be used")]
    Credentials,
}

/// The queue a tracker belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HostKey {
    pub(super) udp: bool,
    pub(super) host: Rc<str>,
    pub(super) port: u16,
}

impl TrackerUrl {
    /// Reads a URL.
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        if text.trim().len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        Self::of_any_length(text)
    }

    /// As [`TrackerUrl::parse`], for what is asked once and may be longer: links of indexers carry long tokens.
    pub(super) fn of_any_length(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        let (protocol, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Protocol::Http, Some(80)),
            "https" => (Protocol::Https, Some(443)),
            "udp" => (Protocol::Udp, None),
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, authority),
        };
        let address = format!("{}://{place}{}", scheme.to_ascii_lowercase(), escaped(path));
        let uri: Uri = address.parse().map_err(|error: InvalidUri| UrlError::Malformed(error.to_string()))?;
        if names_no_port(place) {
            return Err(UrlError::Port);
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(UrlError::NoHost)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = match uri.port() {
            Some(port) => port.as_u16(),
            None => default_port.ok_or(UrlError::NoPort)?,
        };
        if port == 0 {
            return Err(UrlError::PortZero);
        }
        let host = host.to_ascii_lowercase().into();
        let authorization = credentials.filter(|text| !text.is_empty()).map(basic).transpose()?;
        Ok(Self { text: text.into(), address: address.into(), authorization, protocol, host, port })
    }

    /// Path and query, `/` when there is neither. What BEP 41 calls URL data.
    pub(super) fn path_and_query(&self) -> &str {
        let rest = self.address.split_once("://").map_or("", |(_, rest)| rest);
        rest.find(['/', '?']).map_or("/", |start| &rest[start..])
    }

    /// As it may be written to a log: without credentials and query.
    pub(super) fn shown(&self) -> String {
        let rest = self.address.split_once("://").map_or("", |(_, rest)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let scheme = self.address.len() - rest.len();
        let path = rest[end..].split('?').next().unwrap_or_default();
        format!("{}{path}", &self.address[..scheme + end])
    }

    pub(super) fn host_key(&self) -> HostKey {
        HostKey { udp: self.protocol == Protocol::Udp, host: self.host.clone(), port: self.port }
    }
}

/// A URL as it may be written to a log: without credentials and query, which may hold secrets.
pub fn shown(text: &str) -> String {
    TrackerUrl::of_any_length(text)
        .map_or_else(|_| "something that is not a URL".to_owned(), |url| url.shown())
}

/// Whether what a URL has after its host's colon is no port: it would be taken for none, and another server asked.
pub(super) fn names_no_port(authority: &str) -> bool {
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    !port.is_empty() && !port.ends_with(']') && port.parse::<u16>().is_err()
}

/// Name and password of a URL as the header that carries them (RFC 7617).
fn basic(credentials: &str) -> Result<HeaderValue, UrlError> {
    let decoded = |text: &str| match percent::decode(text.as_bytes()) {
        Some(bytes) => bytes.into_owned(),
        None => text.as_bytes().to_vec(),
    };
    let (name, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let pair = [decoded(name), decoded(password)].join(&b':');
    let mut value = HeaderValue::try_from(format!("Basic {}", base64::encode(&pair)))
        .map_err(|_| UrlError::Credentials)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Path and query with all bytes escaped that a URL may not hold (RFC 3986); what is escaped already stays so.
pub(super) fn escaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    for (at, byte) in bytes.iter().enumerate() {
        let hex = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_hexdigit);
        match byte {
            b'%' if hex(at + 1) && hex(at + 2) => out.push('%'),
            byte if byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=".contains(byte) => {
                out.push(char::from(*byte));
            }
            byte => percent::encode(&mut out, &[*byte]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_urls_are_taken_apart() {
        let url = TrackerUrl::parse("http://[::1]:6969/announce?passkey=1").unwrap();
        assert_eq!((url.protocol, &*url.host, url.port), (Protocol::Http, "::1", 6969));
        assert_eq!(url.path_and_query(), "/announce?passkey=1");
        let url = TrackerUrl::parse(" https://Tracker.Example ").unwrap();
        assert_eq!((url.protocol, &*url.host, url.port), (Protocol::Https, "tracker.example", 443));
        assert_eq!(url.path_and_query(), "/");
        let url = TrackerUrl::parse("udp://t.example:1337").unwrap();
        assert_eq!((url.protocol, url.port, url.path_and_query()), (Protocol::Udp, 1337, "/"));
        assert!(url.host_key().udp);
    }

    #[test]
    fn what_a_url_may_not_hold_is_escaped() {
        for (path, asked) in [
            ("/announce?k=a b", "/announce?k=a%20b"),
            ("/announce?k=\"a\"|{b}^`<>\\", "/announce?k=%22a%22%7C%7Bb%7D%5E%60%3C%3E%5C"),
            ("/\u{e9}/a%2Fb?k[]=1&l=%", "/%C3%A9/a%2Fb?k[]=1&l=%25"),
            ("/a#part", "/a"),
            ("//x//announce", "//x//announce"),
            ("?k=v", "?k=v"),
        ] {
            let url = TrackerUrl::parse(&format!("HTTP://T.example:80{path}")).unwrap();
            assert_eq!(url.path_and_query(), asked);
            assert_eq!(&*url.address, format!("http://T.example:80{asked}"));
        }
    }

    #[test]
    fn credentials_are_a_header_and_in_no_log() {
        for (text, header) in [
            ("http://us%65r:p%40ss@t.example:80/a?key=secret", Some("Basic dXNlcjpwQHNz")),
            ("https://user:p@ss@t.example/a", Some("Basic dXNlcjpwQHNz")),
            ("http://user@t.example/", Some("Basic dXNlcjo=")),
            ("http://:x@[::1]:8/", Some("Basic Ong=")),
            ("http://@t.example/", None),
            ("http://t.example/a@b?c@d", None),
        ] {
            let url = TrackerUrl::parse(text).unwrap();
            let authorization = url.authorization.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(authorization, header, "{text}");
            assert!(header.is_none() || !url.address.contains('@'), "{}", url.address);
            for secret in ["ss@", "user", "secret", "p%40ss"] {
                assert!(!url.shown().contains(secret), "{}", url.shown());
            }
            if let Some(value) = &url.authorization {
                assert_eq!(format!("{value:?}"), "Sensitive");
            }
        }
        let url = TrackerUrl::parse("udp://user:pw@t.example:1337/announce").unwrap();
        assert_eq!((&*url.host, url.port, url.path_and_query()), ("t.example", 1337, "/announce"));
    }

    #[test]
    fn unusable_urls_say_why() {
        for (text, why) in [
            ("wss://t.example/announce", "wss"),
            ("udp://t.example/announce", "port"),
            ("http://t.example:0/a", "port 0"),
            ("http://t.example:99999/a", "port is not a number"),
            ("http://[::1]:80x/a", "not a"),
            ("http://", "not a URL"),
            ("announce", "not a tracker URL"),
            ("http://a b/", "not a URL"),
        ] {
            let error = TrackerUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(TrackerUrl::parse(&format!("http://t.example/{}", "x".repeat(3000))).is_err());
    }
}
