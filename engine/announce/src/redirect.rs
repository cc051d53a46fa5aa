//! Where an HTTP redirect leads (RFC 9110, section 15.4; RFC 3986, section 5).

use super::limits::REDIRECTS_MAX;
use super::url::{escaped, names_no_port};
use hyper::Uri;

/// Why a redirect is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// It does not say where to.
    #[error("redirected to nowhere")]
    Nowhere,
    /// What it names is not a URL.
    #[error("redirected to something that is not a URL")]
    NotAUrl,
    /// What was encrypted would not be any more: the passkey in the URL was meant to be secret.
    #[error("a redirect from https to http is not followed")]
    ToPlainHttp,
    /// It leads to another protocol.
    #[error("a redirect to {0} is not followed")]
    Scheme(String),
    /// One leads to the next without end.
    #[error("more than {REDIRECTS_MAX} redirects")]
    TooMany,
}

/// The URL that a `Location` names, seen from the URL that answered.
pub(super) fn target(from: &Uri, location: &str) -> Result<Uri, RedirectError> {
    let location = location.split('#').next().unwrap_or_default().trim();
    if location.is_empty() {
        return Err(RedirectError::Nowhere);
    }
    let scheme = from.scheme_str().unwrap_or("http");
    let authority = from.authority().map_or("", |authority| authority.as_str());
    let has_scheme = location
        .split_once(':')
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
    let text = if has_scheme {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", from.path())
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    // Servers write names with blanks and the like as they are.
    let place = text.find("://").map_or(0, |end| end + 3);
    let path = text[place..].find(['/', '?']).map_or(text.len(), |start| place + start);
    let text = format!("{}{}", &text[..path], escaped(&text[path..]));
    let uri: Uri = text.parse().map_err(|_| RedirectError::NotAUrl)?;
    if uri.authority().is_some_and(|authority| names_no_port(host_and_port(authority.as_str()))) {
        return Err(RedirectError::NotAUrl);
    }
    match (scheme, uri.scheme_str()) {
        (_, Some("https")) | ("http", Some("http")) => Ok(uri),
        ("https", Some("http")) => Err(RedirectError::ToPlainHttp),
        (_, other) => Err(RedirectError::Scheme(other.unwrap_or("nowhere").to_owned())),
    }
}

/// An authority without its credentials.
fn host_and_port(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        let from: Uri = "http://t.example:80/a/announce?x=1".parse().unwrap();
        for (location, to) in [
            ("https://u.example/b?y=2", "https://u.example/b?y=2"),
            ("//u.example/b", "http://u.example/b"),
            ("https://user:pass@u.example/b", "https://user:pass@u.example/b"),
            ("/b?y#part", "http://t.example:80/b?y"),
            ("b", "http://t.example:80/a/b"),
            ("?y=2", "http://t.example:80/a/announce?y=2"),
            ("/a b|c.torrent?k={1}", "http://t.example:80/a%20b%7Cc.torrent?k=%7B1%7D"),
            ("https://u.example/\u{e9}%20x", "https://u.example/%C3%A9%20x"),
        ] {
            assert_eq!(target(&from, location).unwrap().to_string(), to, "{location}");
        }
        for location in ["", "ftp://x/", "file:///etc/passwd", "udp://x:1/", "http://u.example:99999/"] {
            assert!(target(&from, location).is_err(), "{location}");
        }
        let from: Uri = "https://t.example/a".parse().unwrap();
        assert_eq!(target(&from, "http://t.example/a"), Err(RedirectError::ToPlainHttp));
    }
}
