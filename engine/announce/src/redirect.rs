//! Where an HTTP redirect leads (RFC 9110, section 15.4; RFC 3986, section 5).

use super::url::{escaped, names_no_port};
use hyper::Uri;

/// The URL that a `Location` names, seen from the URL that answered. The error is for the user.
pub(super) fn target(from: &Uri, location: &str) -> Result<Uri, String> {
    let location = location.split('#').next().unwrap_or_default().trim();
    if location.is_empty() {
        return Err("redirected to nowhere".to_owned());
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
    let uri: Uri = text.parse().map_err(|_| "redirected to something that is not a URL".to_owned())?;
    if uri.authority().is_some_and(|authority| names_no_port(host_and_port(authority.as_str()))) {
        return Err("redirected to something that is not a URL".to_owned());
    }
    match (scheme, uri.scheme_str()) {
        (_, Some("https")) | ("http", Some("http")) => Ok(uri),
        // The passkey in the URL was meant to be secret.
        ("https", Some("http")) => Err("a redirect from https to http is not followed".to_owned()),
        (_, other) => Err(format!("a redirect to {} is not followed", other.unwrap_or("nowhere"))),
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
        assert!(target(&from, "http://t.example/a").unwrap_err().contains("https to http"));
    }
}
