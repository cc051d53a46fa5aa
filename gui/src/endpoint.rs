//! Where an engine answers.

use std::fmt;

/// The RPC of an engine: an address, and what to sign in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    host: String,
    sign_in: Option<SignIn>,
}

/// Name and password for HTTP's Basic scheme. Its debug form hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct SignIn {
    /// User name; empty when only a token is used.
    pub user: String,
    /// Password or token.
    pub password: String,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignIn({}, ..)", self.user)
    }
}

/// Port of the RPC when none is given.
const PORT: u16 = 9091;
/// Path of the RPC when none is given.
const PATH: &str = "/transmission/rpc";

impl Endpoint {
    /// Reads `host`, `host:port` or a URL with or without a path and `user:password@`.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence for people.
    pub fn parse(text: &str) -> Result<Endpoint, String> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => ("http".to_owned(), text),
        };
        if scheme != "http" && scheme != "https" {
            return Err(format!("{scheme} is not a scheme for an engine; use http or https"));
        }
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (sign_in, host) = match authority.rsplit_once('@') {
            Some((user, host)) => {
                let (user, password) = user.split_once(':').unwrap_or(("", user));
                (Some(SignIn { user: user.to_owned(), password: password.to_owned() }), host)
            }
            None => (None, authority),
        };
        let bracketed = host.starts_with('[');
        let has_port = match host.rsplit_once(':') {
            Some((before, port)) => {
                (!bracketed || before.ends_with(']')) && {
                    if port.parse::<u16>().is_err() {
                        return Err(format!("{port} is not a port"));
                    }
                    true
                }
            }
            None => false,
        };
        let name = if has_port { host.rsplit_once(':').map_or(host, |(name, _)| name) } else { host };
        let bad =
            |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '<' | '>' | '\\' | '?' | '#');
        if name.is_empty() || name.contains(bad) || path.contains(bad) {
            return Err("this is not the address of an engine; an example is 127.0.0.1:9091".to_owned());
        }
        let host = match (has_port, scheme.as_str()) {
            (true, _) | (false, "https") => host.to_owned(),
            _ => format!("{host}:{PORT}"),
        };
        let path = if path.is_empty() || path == "/" { PATH } else { path };
        Ok(Endpoint { url: format!("{scheme}://{host}{path}"), host, sign_in })
    }

    /// The engine of this machine at its usual port.
    pub fn local() -> Endpoint {
        Endpoint {
            url: format!("http://127.0.0.1:{PORT}{PATH}"),
            host: format!("127.0.0.1:{PORT}"),
            sign_in: None,
        }
    }

    /// The same address with this name and password.
    #[must_use]
    pub fn with_sign_in(self, sign_in: Option<SignIn>) -> Endpoint {
        Endpoint { sign_in, ..self }
    }

    /// URL without name and password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port, for display.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What to sign in with.
    pub fn sign_in(&self) -> Option<&SignIn> {
        self.sign_in.as_ref()
    }

    /// Whether the engine runs on this machine, so that it can read the same files.
    pub fn is_local(&self) -> bool {
        let name = self.host.rsplit_once(':').map_or(self.host.as_str(), |(name, _)| name);
        let name = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in() {
        for (text, url) in [
            ("box", "http://box:9091/transmission/rpc"),
            ("box:80", "http://box:80/transmission/rpc"),
            ("http://box", "http://box:9091/transmission/rpc"),
            ("https://box/", "https://box/transmission/rpc"),
            ("HTTPS://box/seed/rpc", "https://box/seed/rpc"),
            ("[::1]", "http://[::1]:9091/transmission/rpc"),
            ("[::1]:1", "http://[::1]:1/transmission/rpc"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().url(), url, "{text}");
        }
        assert_eq!(Endpoint::parse("127.0.0.1").unwrap(), Endpoint::local());
    }

    #[test]
    fn a_password_is_kept_out_of_the_url_and_of_debug_output() {
        let endpoint = Endpoint::parse("http://me:secret@box:1").unwrap();
        assert_eq!(endpoint.url(), "http://box:1/transmission/rpc");
        assert_eq!(endpoint.sign_in().unwrap().password, "secret");
        assert!(!format!("{endpoint:?}").contains("secret"));
        let token = Endpoint::parse("http://token@box").unwrap();
        assert_eq!(
            (token.sign_in().unwrap().user.as_str(), token.sign_in().unwrap().password.as_str()),
            ("", "token")
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "http://", "ftp://box", "box:port", "a b", "box:70000"] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn local_is_told_from_remote() {
        for (text, local) in [
            ("localhost", true),
            ("127.0.0.5:1", true),
            ("[::1]:1", true),
            ("10.0.0.1", false),
            ("box", false),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().is_local(), local, "{text}");
        }
    }
}
