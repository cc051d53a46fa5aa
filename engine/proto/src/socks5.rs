//! SOCKS5 (RFC 1928) with names and passwords (RFC 1929): a client's side of CONNECT, without sockets.
//!
//! [`Connect::next`] says what is to be sent, or how many bytes are to be received and handed to it. It never asks for
//! a byte too many, so what follows belongs to the connection that was asked for.

use crate::percent;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The port of RFC 1928, when a URL names none.
const PORT: u16 = 1080;
const VERSION: u8 = 5;
/// Longest name, password or host: each has one byte for its length.
const TEXT_MAX: usize = 255;

/// Who we are to a proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    name: Vec<u8>,
    password: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Login(..)")
    }
}

/// A proxy as it is named: `socks5://[name:password@]host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are to it.
    pub login: Option<Login>,
}

/// How a proxy is named.
const FORM: &str = "a proxy is given as socks5://[name:password@]host:port";

/// What is wrong with the URL of a proxy. It never repeats the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlError {
    /// It is not of the form in which proxies are named.
    #[error("{FORM}")]
    Form,
    /// Another protocol than SOCKS5.
    #[error("a proxy over {0} is not supported; {FORM}")]
    Scheme(String),
    /// What is escaped in the name or password is no byte.
    #[error("the proxy's login has a broken %-escape")]
    Escape,
    /// The name or the password is empty or longer than the protocol can say.
    #[error("the proxy's name and password have 1 to 255 bytes each")]
    LoginLength,
    /// It names no port that there is.
    #[error("the proxy's port is a number from 1 to 65535")]
    Port,
}

impl FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(ProxyUrlError::Form)?;
        // The second says that the proxy resolves names, which it does here anyway.
        if !["socks5", "socks5h"].contains(&scheme) {
            return Err(ProxyUrlError::Scheme(scheme.to_owned()));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let login = match login {
            Some(login) => {
                let (name, password) = login.split_once(':').ok_or(ProxyUrlError::Form)?;
                let decoded = |text: &str| percent::decode(text.as_bytes()).map(std::borrow::Cow::into_owned);
                let (name, password) = decoded(name).zip(decoded(password)).ok_or(ProxyUrlError::Escape)?;
                let fits = |text: &[u8]| (1..=TEXT_MAX).contains(&text.len());
                if !fits(&name) || !fits(&password) {
                    return Err(ProxyUrlError::LoginLength);
                }
                Some(Login { name, password })
            }
            None => None,
        };
        let bracketed = place.strip_prefix('[').and_then(|place| place.split_once(']'));
        let (host, port) = match bracketed {
            Some((host, port)) if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) => (
                host,
                if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(ProxyUrlError::Form)?) },
            ),
            Some(_) => return Err(ProxyUrlError::Form),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let port = match port.map(str::parse) {
            Some(Ok(port @ 1..)) => port,
            Some(_) => return Err(ProxyUrlError::Port),
            None => PORT,
        };
        let plain = |c: char| !c.is_whitespace() && !"/?#@[]".contains(c);
        if host.is_empty() || host.len() > TEXT_MAX || !host.chars().all(plain) {
            return Err(ProxyUrlError::Form);
        }
        Ok(Self { host: host.to_owned(), port, login })
    }
}

/// A proxy whose address is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who we are to it.
    pub login: Option<Login>,
}

/// What a proxy is to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An address.
    Address(SocketAddr),
    /// A name that the proxy resolves, and a port.
    Name(String, u16),
}

/// Why a proxy did not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// What answers is something else.
    #[error("what answers is not a SOCKS5 proxy: check --proxy")]
    NotSocks5,
    /// It wants a login that it was not given, or one of another kind.
    #[error("the proxy wants a login: give its name and password with --proxy")]
    LoginWanted,
    /// The login was refused.
    #[error("the proxy refused the login: check its name and password in --proxy")]
    LoginRefused,
    /// The name is longer than the protocol can say.
    #[error("the name is too long for the proxy")]
    LongName,
    /// It could not, or would not.
    #[error("the proxy did not connect: {}", reason(*.0))]
    Refused(u8),
}

/// The codes of RFC 1928, section 6.
fn reason(code: u8) -> &'static str {
    match code {
        2 => "its rules forbid it",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection was refused",
        6 => "the time to live ran out",
        7 => "it does not know this command",
        8 => "it does not know this kind of address",
        _ => "it gives no reason",
    }
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send these bytes; then ask again with nothing received.
    Send(Vec<u8>),
    /// Receive exactly so many bytes, and hand them over.
    Receive(usize),
    /// The connection is the one that was asked for.
    Done,
}

enum Stage {
    Start,
    Method,
    Login,
    Head,
    Bound,
    /// The rest of a name, whose length was the last byte.
    Name,
}

/// One CONNECT under way.
pub struct Connect {
    stage: Stage,
    /// Whether what was sent waits for its answer.
    asked: bool,
    login: Option<Login>,
    request: Vec<u8>,
}

impl Connect {
    /// Begins to ask for a connection to `target`.
    ///
    /// # Errors
    /// When the name is too long.
    pub fn new(target: &Target, login: Option<Login>) -> Result<Self, ProxyError> {
        let mut request = vec![VERSION, 1, 0];
        let port = match target {
            Target::Address(address) => {
                match address.ip() {
                    IpAddr::V4(ip) => {
                        request.push(1);
                        request.extend(ip.octets());
                    }
                    IpAddr::V6(ip) => {
                        request.push(4);
                        request.extend(ip.octets());
                    }
                }
                address.port()
            }
            Target::Name(name, port) => {
                let length = u8::try_from(name.len()).ok().filter(|length| *length > 0);
                request.extend([3, length.ok_or(ProxyError::LongName)?]);
                request.extend(name.as_bytes());
                *port
            }
        };
        request.extend(port.to_be_bytes());
        Ok(Self { stage: Stage::Start, asked: false, login, request })
    }

    /// Takes what was received, as many bytes as were asked for, and says what is next.
    ///
    /// # Errors
    /// When the proxy does not connect; the connection to it is of no use then.
    pub fn next(&mut self, received: &[u8]) -> Result<Next, ProxyError> {
        if self.asked {
            self.asked = false;
            return Ok(Next::Receive(match self.stage {
                Stage::Head => 4,
                _ => 2,
            }));
        }
        match (&self.stage, received) {
            (Stage::Start, _) => {
                let methods: &[u8] =
                    if self.login.is_some() { &[VERSION, 2, 0, 2] } else { &[VERSION, 1, 0] };
                Ok(self.send(Stage::Method, methods.to_vec()))
            }
            (Stage::Method, [VERSION, 0]) | (Stage::Login, [_, 0]) => {
                let request = std::mem::take(&mut self.request);
                Ok(self.send(Stage::Head, request))
            }
            (Stage::Method, [VERSION, method]) => match self.login.take() {
                Some(login) if *method == 2 => {
                    let mut bytes = vec![1];
                    for text in [&login.name, &login.password] {
                        // At most 255 bytes, which was checked when it was read.
                        bytes.push(text.len() as u8);
                        bytes.extend(text);
                    }
                    Ok(self.send(Stage::Login, bytes))
                }
                _ => Err(ProxyError::LoginWanted),
            },
            (Stage::Login, [..]) => Err(ProxyError::LoginRefused),
            (Stage::Head, [VERSION, 0, _, kind]) => {
                let (stage, length) = match kind {
                    1 => (Stage::Bound, 4 + 2),
                    4 => (Stage::Bound, 16 + 2),
                    3 => (Stage::Name, 1),
                    _ => return Err(ProxyError::NotSocks5),
                };
                self.stage = stage;
                Ok(Next::Receive(length))
            }
            (Stage::Head, [VERSION, code, ..]) => Err(ProxyError::Refused(*code)),
            (Stage::Name, [length]) => {
                self.stage = Stage::Bound;
                Ok(Next::Receive(usize::from(*length) + 2))
            }
            (Stage::Bound, [_, _, ..]) => Ok(Next::Done),
            _ => Err(ProxyError::NotSocks5),
        }
    }

    fn send(&mut self, stage: Stage, bytes: Vec<u8>) -> Next {
        self.stage = stage;
        self.asked = true;
        Next::Send(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays the client against what the proxy answers; gives what the client sent.
    fn play(target: &Target, login: Option<&str>, answers: &[u8]) -> Result<Vec<Vec<u8>>, ProxyError> {
        let login =
            login.map(|login| format!("socks5://{login}@h").parse::<ProxyUrl>().unwrap().login.unwrap());
        let mut connect = Connect::new(target, login)?;
        let (mut sent, mut answers, mut received) = (Vec::new(), answers, &[][..]);
        loop {
            match connect.next(received)? {
                Next::Send(bytes) => {
                    sent.push(bytes);
                    received = &[];
                }
                Next::Receive(count) => (received, answers) = answers.split_at(count),
                Next::Done => {
                    assert!(answers.is_empty(), "{answers:?} was left");
                    return Ok(sent);
                }
            }
        }
    }

    const V4: &[u8] = &[5, 0, 0, 1, 9, 9, 9, 9, 1, 2];

    #[test]
    fn a_connection_is_asked_for_by_address_and_by_name() {
        let v4 = Target::Address("1.2.3.4:258".parse().unwrap());
        let sent = play(&v4, None, &[&[5, 0], V4].concat()).unwrap();
        assert_eq!(sent, [vec![5, 1, 0], vec![5, 1, 0, 1, 1, 2, 3, 4, 1, 2]]);
        let v6 = Target::Address("[::1]:258".parse().unwrap());
        let answer = [&[5, 0, 5, 0, 0, 4][..], &[0; 18]].concat();
        let sent = play(&v6, None, &answer).unwrap();
        assert_eq!(sent[1][..4], [5, 1, 0, 4]);
        assert_eq!(sent[1].len(), 4 + 16 + 2);
        let name = Target::Name("t.example".to_owned(), 80);
        let sent = play(&name, None, &[5, 0, 5, 0, 0, 3, 2, b'x', b'y', 0, 1]).unwrap();
        assert_eq!(sent[1], b"\x05\x01\x00\x03\x09t.example\x00\x50");
        let long = Target::Name("x".repeat(256), 80);
        assert_eq!(play(&long, None, &[]), Err(ProxyError::LongName));
    }

    #[test]
    fn a_login_is_shown_when_it_is_wanted() {
        let target = Target::Address("1.2.3.4:5".parse().unwrap());
        let sent = play(&target, Some("me:p%40ss"), &[&[5, 2, 1, 0], V4].concat()).unwrap();
        assert_eq!(sent[0], [5, 2, 0, 2]);
        assert_eq!(sent[1], b"\x01\x02me\x04p@ss");
        assert_eq!(play(&target, Some("me:x"), &[&[5, 0], V4].concat()).unwrap().len(), 2);
        assert_eq!(play(&target, None, &[5, 2]), Err(ProxyError::LoginWanted));
        assert_eq!(play(&target, Some("me:x"), &[5, 0xff]), Err(ProxyError::LoginWanted));
        assert_eq!(play(&target, Some("me:x"), &[5, 2, 1, 1]), Err(ProxyError::LoginRefused));
    }

    #[test]
    fn refusals_and_nonsense_end_it() {
        let target = Target::Address("1.2.3.4:5".parse().unwrap());
        assert_eq!(play(&target, None, &[5, 0, 5, 5, 0, 1]), Err(ProxyError::Refused(5)));
        assert!(ProxyError::Refused(5).to_string().contains("was refused"));
        assert_eq!(play(&target, None, b"HT"), Err(ProxyError::NotSocks5));
        assert_eq!(play(&target, None, &[5, 0, 4, 0, 0, 1]), Err(ProxyError::NotSocks5));
        assert_eq!(play(&target, None, &[5, 0, 5, 0, 0, 9]), Err(ProxyError::NotSocks5));
    }

    #[test]
    fn urls_are_read_and_wrong_ones_say_why() {
        let url: ProxyUrl = "socks5://me:secret@[::1]:9050/".parse().unwrap();
        assert_eq!((&*url.host, url.port), ("::1", 9050));
        assert!(!format!("{url:?}").contains("secret"));
        let url: ProxyUrl = "socks5h://proxy.lan".parse().unwrap();
        assert_eq!((&*url.host, url.port, url.login), ("proxy.lan", 1080, None));
        for (wrong, why) in [
            ("http://h:1", "http"),
            ("h:1", "socks5://"),
            ("socks5://h:0", "65535"),
            ("socks5://h:x", "65535"),
            ("socks5://", "socks5://"),
            ("socks5://me@h", "name:password"),
            ("socks5://me:%zz@h", "%-escape"),
            ("socks5://me:@h", "255"),
            ("socks5://[h]:1", "socks5://"),
            ("socks5://h:1/x", "65535"),
        ] {
            let error = wrong.parse::<ProxyUrl>().unwrap_err().to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
