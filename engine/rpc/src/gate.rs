//! Who may ask: the Host and Origin checks that stop other people's web pages, and the session id.
//!
//! A page of a foreign name that resolves to this machine (DNS rebinding, CVE-2018-5702) sends that name as
//! Host. A form or script of a foreign page sends its Origin, and cannot read the session id from the 409.

use hyper::header::{HOST, HeaderMap, ORIGIN};
use std::net::IpAddr;

/// Whether the `Host` of a request names this machine: an address, localhost, or an allowed name.
pub(super) fn host_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(|host| name_allowed(without_port(host), allowed)),
        _ => false,
    }
}

/// Whether the request comes from no web page, or from one of this machine.
pub(super) fn origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    headers.get_all(ORIGIN).iter().all(|origin| {
        let name = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        name.is_some_and(|(scheme, name)| {
            matches!(scheme, "http" | "https") && name_allowed(without_port(name), allowed)
        })
    })
}

/// Whether a browser says that a page of another site has it send this request. Links, images and scripts have no
/// Origin, so that this is how they are known; one with an Origin is judged by that.
pub(super) fn is_cross_site(headers: &HeaderMap) -> bool {
    let says_so = headers.get_all("sec-fetch-site").iter().any(|site| site.as_bytes() == b"cross-site");
    says_so && !headers.contains_key(ORIGIN)
}

/// Whether the `Host` of a request is a loopback address or localhost.
pub(super) fn host_is_local(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(|host| name_is_local(without_port(host))),
        _ => false,
    }
}

/// Whether the request comes from no web page, or from one of a loopback address or localhost.
pub(super) fn origin_is_local(headers: &HeaderMap) -> bool {
    headers.get_all(ORIGIN).iter().all(|origin| {
        let name = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        name.is_some_and(|(_, name)| name_is_local(without_port(name)))
    })
}

fn name_is_local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn name_allowed(name: &str, allowed: &[String]) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || allowed.iter().any(|allowed| name.eq_ignore_ascii_case(allowed))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // In `[::1]` the last colon is inside the brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A session id: 48 characters that nobody can guess.
pub(super) fn new_session_id() -> std::io::Result<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = [0u8; 48];
    let filled = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    if filled != random.len() {
        return Err(std::io::Error::other("the kernel gave too few random bytes"));
    }
    Ok(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect())
}

/// Whether two secrets are the same, in a time that does not tell how much of them is.
pub(super) fn same_secret(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: hyper::header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(&name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn only_this_machine_and_allowed_names_are_hosts() {
        let allowed = ["seedbox.lan".to_owned()];
        for host in [
            "localhost",
            "LOCALHOST:9091",
            "localhost.",
            "127.0.0.1:9091",
            "[::1]:9091",
            "[::1]",
            "192.168.1.2",
            "seedbox.lan:9091",
        ] {
            assert!(host_allowed(&headers(HOST, &[host]), &allowed), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:9091", "", ":9091", "a:b"]
        {
            assert!(!host_allowed(&headers(HOST, &[host]), &allowed), "{host}");
        }
        assert!(!host_allowed(&headers(HOST, &[]), &allowed));
        assert!(!host_allowed(&headers(HOST, &["localhost", "evil.example"]), &allowed));
    }

    #[test]
    fn only_pages_of_this_machine_are_origins() {
        assert!(origin_allowed(&headers(ORIGIN, &[]), &[]));
        assert!(origin_allowed(&headers(ORIGIN, &["http://localhost:9091"]), &[]));
        for origin in [
            "null",
            "https://evil.example",
            "file://",
            "chrome-extension://abc",
            "http://localhost.evil.example",
        ] {
            assert!(!origin_allowed(&headers(ORIGIN, &[origin]), &[]), "{origin}");
        }
    }

    #[test]
    fn what_pages_of_other_sites_load_is_known() {
        let mut map = headers("sec-fetch-site".parse().unwrap(), &["cross-site"]);
        assert!(is_cross_site(&map));
        // An allowed page of another name.
        map.insert(ORIGIN, "https://seedbox.lan".parse().unwrap());
        assert!(!is_cross_site(&map));
        for site in ["none", "same-origin", "same-site"] {
            assert!(!is_cross_site(&headers("sec-fetch-site".parse().unwrap(), &[site])), "{site}");
        }
        assert!(!is_cross_site(&HeaderMap::new()));
    }

    #[test]
    fn session_ids_differ_and_compare() {
        let (one, other) = (new_session_id().unwrap(), new_session_id().unwrap());
        assert_eq!(one.len(), 48);
        assert!(
            same_secret(one.as_bytes(), one.as_bytes()) && !same_secret(one.as_bytes(), other.as_bytes())
        );
        assert!(!same_secret(one.as_bytes(), &one.as_bytes()[1..]));
    }
}
