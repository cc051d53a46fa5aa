//! Which texts name a tracker.

use crate::limits::URL_BYTES_MAX;

/// Whether a tracker may be named so. What a URL may not hold behind its host is escaped when the tracker is asked.
pub fn is_announce_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let known = ["http", "https", "udp"].iter().any(|name| scheme.eq_ignore_ascii_case(name));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = !host.is_empty() && !host.contains(char::is_whitespace);
    known && host && url.len() <= URL_BYTES_MAX && !url.contains(|c: char| c.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_escaped_is_taken() {
        for url in ["HTTP://a/x y", "udp://b:1", "https://u:p@c?k={1}|2", "http://[::1]:8/"] {
            assert!(is_announce_url(url), "{url}");
        }
        for url in
            ["", "http://", "http:///x", "http://?k", "http://a b/", "ftp://a", "wss://a", "http://a/\n", "a"]
        {
            assert!(!is_announce_url(url), "{url}");
        }
        assert!(!is_announce_url(&format!("http://a/{}", "x".repeat(URL_BYTES_MAX))));
    }
}
