//! Tracker URLs: what they name, and which host's queue they belong to.

use super::limits::URL_BYTES_MAX;
use hyper::Uri;
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
    /// As the torrent gives it.
    pub(super) text: Rc<str>,
    pub(super) protocol: Protocol,
    /// Name or address, without brackets, lower case.
    pub(super) host: Rc<str>,
    pub(super) port: u16,
}

/// The queue a tracker belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HostKey {
    pub(super) udp: bool,
    pub(super) host: Rc<str>,
    pub(super) port: u16,
}

impl TrackerUrl {
    /// Reads a URL; the error says to the user why it cannot be used.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() > URL_BYTES_MAX {
            return Err(format!("the URL is longer than {URL_BYTES_MAX} bytes"));
        }
        let uri: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
        let (protocol, default_port) = match uri.scheme_str() {
            Some("http") => (Protocol::Http, Some(80)),
            Some("https") => (Protocol::Https, Some(443)),
            Some("udp") => (Protocol::Udp, None),
            Some(other) => return Err(format!("trackers over {other} are not supported")),
            None => return Err("not a tracker URL".to_owned()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("the URL names no host")?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = match uri.port() {
            Some(port) => port.as_u16(),
            None => default_port.ok_or("a udp tracker URL needs a port")?,
        };
        if port == 0 {
            return Err("the URL names port 0".to_owned());
        }
        Ok(Self { text: text.into(), protocol, host: host.to_ascii_lowercase().into(), port })
    }

    /// Path and query, `/` when there is neither. What BEP 41 calls URL data.
    pub(super) fn path_and_query(&self) -> &str {
        let rest = self.text.split_once("://").map_or("", |(_, rest)| rest);
        rest.find(['/', '?']).map_or("/", |start| &rest[start..])
    }

    pub(super) fn host_key(&self) -> HostKey {
        HostKey { udp: self.protocol == Protocol::Udp, host: self.host.clone(), port: self.port }
    }
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
    fn unusable_urls_say_why() {
        for (text, why) in [
            ("wss://t.example/announce", "wss"),
            ("udp://t.example/announce", "port"),
            ("http://t.example:0/a", "port 0"),
            ("http://", "not a URL"),
            ("announce", "not a tracker URL"),
            ("http://a b/", "not a URL"),
        ] {
            let error = TrackerUrl::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(TrackerUrl::parse(&format!("http://t.example/{}", "x".repeat(3000))).is_err());
    }
}
