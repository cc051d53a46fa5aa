//! Who is let in: credentials and allowed networks.
//!
//! A client on this machine that names this machine needs no credentials, unless some are configured. Everybody else
//! needs a name and password, or the token that is in the state directory.

use super::gate::{host_is_local, origin_is_local, same_secret};
use super::guesses::{GuessTurn, Guesses};
use super::limits::GUESS_WAIT;
use super::origin::{Client, Origin};
use hyper::header::{AUTHORIZATION, HeaderMap};
use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Instant;
use tokio::time::sleep;

/// A network: an address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that does not name a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither an address nor a network such as 192.168.0.0/16")]
pub struct NotANetwork(String);

impl std::str::FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let wrong = || NotANetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let first = |value: u128, other: u128, width: u32| {
            let shift = width - u32::from(self.bits);
            value.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => first(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => first(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

/// What clients must show.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// A name and a password, as `name:password`. When given, clients on this machine need them, too.
    pub pair: Option<String>,
    /// The token: as a bearer token, or as the password of any name.
    pub token: Option<String>,
    /// Networks that clients may come from beside this machine; all when empty.
    pub networks: Vec<Network>,
    /// Proxies that are believed about their clients' addresses.
    pub proxies: Vec<Network>,
}

/// What a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may go on.
    Welcome,
    /// It is asked for credentials.
    Unknown,
    /// It is refused: from where it comes, or because it was wrong too often.
    Refused,
    /// It is told to try again later, without a look at what it shows.
    Later,
}

/// Judges clients and remembers failures.
pub(super) struct AccessControl {
    credentials: Credentials,
    guesses: RefCell<Guesses>,
}

impl AccessControl {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, guesses: RefCell::default() }
    }

    /// Where a request comes from; none as the peer is a client of the Unix socket.
    pub(super) fn origin(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Origin {
        Origin::of(peer, headers, &self.credentials.proxies)
    }

    /// Whether a peer is a trusted proxy.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.credentials.proxies.iter().any(|proxy| proxy.contains(peer))
    }

    /// Judges a request by where it comes from alone; none when that is not enough.
    pub(super) fn judge_origin(
        &self,
        origin: &Origin,
        headers: &HeaderMap,
        allowed_hosts: &[String],
    ) -> Option<Verdict> {
        let here = origin.is_here();
        let local = origin.is_unix() || (host_is_local(headers) && origin_is_local(headers));
        if here && self.credentials.pair.is_none() {
            // A foreign name that is not allowed is refused as such, whatever the client shows.
            let misdirected = !local && !super::gate::host_allowed(headers, allowed_hosts);
            if local || misdirected || !super::gate::origin_allowed(headers, allowed_hosts) {
                return Some(Verdict::Welcome);
            }
        }
        let networks = &self.credentials.networks;
        let foreign =
            |ip: IpAddr| !networks.is_empty() && !networks.iter().any(|network| network.contains(ip));
        // Of somebody behind a proxy that nobody named there is no address to look at.
        (!origin.is_near() && origin.address().is_some_and(foreign)).then_some(Verdict::Refused)
    }

    /// Judges a request by the credentials in its head.
    pub(super) async fn judge_shown(&self, client: Client, headers: &HeaderMap) -> Verdict {
        match headers.get(AUTHORIZATION) {
            Some(shown) => self.judge(client, shown.as_bytes()).await,
            // A first request without credentials is how clients ask for the challenge.
            None => Verdict::Unknown,
        }
    }

    /// Judges a name and a password, for clients that send them in a form.
    pub(super) async fn judge_pair(&self, client: Client, name: &str, password: &str) -> Verdict {
        let shown = super::base64::encode(format!("{name}:{password}").as_bytes());
        self.judge(client, format!("Basic {shown}").as_bytes()).await
    }

    async fn judge(&self, client: Client, shown: &[u8]) -> Verdict {
        let shown = Shown::read(shown);
        if self.is_token(&shown) {
            return Verdict::Welcome;
        }
        let turn = self.guesses.borrow().turn(client, Instant::now());
        match turn {
            GuessTurn::Now => {}
            GuessTurn::Later => {
                let _waiting = Waiting::begin(&self.guesses, client);
                sleep(GUESS_WAIT).await;
            }
            GuessTurn::Never => return Verdict::Later,
        }
        let (now, mut guesses) = (Instant::now(), self.guesses.borrow_mut());
        if self.is_pair(&shown) {
            guesses.right(client, now);
            return Verdict::Welcome;
        }
        guesses.wrong(client, now);
        if turn == GuessTurn::Now { Verdict::Unknown } else { Verdict::Refused }
    }

    fn is_token(&self, shown: &Shown) -> bool {
        let token = self.credentials.token.as_deref().unwrap_or_default();
        !token.is_empty() && same_secret(shown.password(), token.as_bytes())
    }

    fn is_pair(&self, shown: &Shown) -> bool {
        let pair = self.credentials.pair.as_deref().unwrap_or_default();
        match shown {
            Shown::Pair(shown) => !pair.is_empty() && same_secret(shown, pair.as_bytes()),
            Shown::Token(_) | Shown::Nothing => false,
        }
    }
}

/// What an `Authorization` header shows.
enum Shown {
    /// A bearer token.
    Token(Vec<u8>),
    /// A name and a password, as `name:password`.
    Pair(Vec<u8>),
    /// Nothing that is understood.
    Nothing,
}

impl Shown {
    fn read(header: &[u8]) -> Self {
        match std::str::from_utf8(header).ok().and_then(|text| text.split_once(' ')) {
            Some((scheme, value)) if scheme.eq_ignore_ascii_case("bearer") => {
                Self::Token(value.trim().into())
            }
            Some((scheme, value)) if scheme.eq_ignore_ascii_case("basic") => {
                super::base64::decode(value.trim()).map_or(Self::Nothing, Self::Pair)
            }
            _ => Self::Nothing,
        }
    }

    /// What may be the token: the bearer token, or the password of any name.
    fn password(&self) -> &[u8] {
        match self {
            Self::Token(token) => token,
            Self::Pair(pair) => pair.splitn(2, |byte| *byte == b':').nth(1).unwrap_or_default(),
            Self::Nothing => &[],
        }
    }
}

/// A guess that waits, until it is dropped.
struct Waiting<'a> {
    guesses: &'a RefCell<Guesses>,
    client: Client,
}

impl<'a> Waiting<'a> {
    fn begin(guesses: &'a RefCell<Guesses>, client: Client) -> Self {
        guesses.borrow_mut().begin_wait(client, Instant::now());
        Self { guesses, client }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.guesses.borrow_mut().end_wait(self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FAILURES_MAX;
    use hyper::header::{HOST, ORIGIN};

    fn headers(pairs: &[(hyper::header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn access(pair: Option<&str>, networks: &[&str]) -> AccessControl {
        AccessControl::new(Credentials {
            pair: pair.map(str::to_owned),
            token: Some("t0ken".to_owned()),
            networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
            proxies: vec!["127.0.0.3".parse().unwrap()],
        })
    }

    async fn verdict(access: &AccessControl, peer: &str, headers: &HeaderMap) -> Verdict {
        let origin = access.origin(Some(peer.parse().unwrap()), headers);
        match access.judge_origin(&origin, headers, &["seedbox.lan".to_owned()]) {
            Some(verdict) => verdict,
            None => access.judge_shown(origin.client(), headers).await,
        }
    }

    /// Runs a test whose waits take no time.
    fn run<F: Future<Output = ()>>(test: F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn only_local_clients_that_name_this_machine_need_nothing() {
        run(async {
            let open = access(None, &[]);
            let plain = headers(&[(HOST, "localhost:9091")]);
            assert_eq!(verdict(&open, "127.0.0.1", &plain).await, Verdict::Welcome);
            let unix = open.origin(None, &plain);
            assert_eq!(open.judge_origin(&unix, &headers(&[]), &[]), Some(Verdict::Welcome));
            assert_eq!(verdict(&open, "192.0.2.1", &plain).await, Verdict::Unknown);
            // A proxy on this machine speaks for others: its name is an allowed one.
            let proxied = headers(&[(HOST, "seedbox.lan")]);
            assert_eq!(verdict(&open, "::1", &proxied).await, Verdict::Unknown);
            let page = headers(&[(HOST, "localhost"), (ORIGIN, "https://seedbox.lan")]);
            assert_eq!(verdict(&open, "::1", &page).await, Verdict::Unknown);
            // One that names its client is not taken for it, whatever host it asks for.
            let mut named = plain.clone();
            named.insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
            assert_eq!(verdict(&open, "127.0.0.3", &named).await, Verdict::Unknown);
            assert_eq!(
                verdict(&open, "127.0.0.1", &named).await,
                Verdict::Unknown,
                "nor one of another proxy"
            );
            let closed = access(Some("me:secret"), &[]);
            assert_eq!(verdict(&closed, "127.0.0.1", &plain).await, Verdict::Unknown);
        });
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", super::super::base64::encode(text.as_bytes()))
    }

    #[test]
    fn pairs_and_tokens_are_checked() {
        run(async {
            for (shown, expected) in [
                (basic("me:secret"), Verdict::Welcome),
                (basic("anyone:t0ken"), Verdict::Welcome),
                ("Bearer t0ken".to_owned(), Verdict::Welcome),
                ("bearer t0ken".to_owned(), Verdict::Welcome),
                (basic("me:secre"), Verdict::Unknown),
                (basic("me"), Verdict::Unknown),
                ("Bearer me:secret".to_owned(), Verdict::Unknown),
                ("Basic !".to_owned(), Verdict::Unknown),
                ("Bearer ".to_owned(), Verdict::Unknown),
                ("Digest x".to_owned(), Verdict::Unknown),
            ] {
                let shown = headers(&[(HOST, "localhost"), (AUTHORIZATION, &shown)]);
                assert_eq!(
                    verdict(&access(Some("me:secret"), &[]), "192.0.2.1", &shown).await,
                    expected,
                    "{shown:?}"
                );
            }
            let nothing = AccessControl::new(Credentials::default());
            for shown in ["Bearer x".to_owned(), "Bearer ".to_owned(), basic(""), basic(":")] {
                let shown = headers(&[(AUTHORIZATION, &shown)]);
                assert_eq!(verdict(&nothing, "192.0.2.1", &shown).await, Verdict::Unknown);
            }
        });
    }

    /// Wrong guesses become slow, and the right credentials are let in all the same.
    #[test]
    fn right_credentials_are_never_locked_out() {
        run(async {
            let access = access(Some("me:secret"), &[]);
            let shown = |text: &str| headers(&[(AUTHORIZATION, &basic(text))]);
            let (right, wrong) = (shown("me:secret"), shown("me:guess"));
            let timed = async |peer: &str, headers: &HeaderMap| {
                let begun = tokio::time::Instant::now();
                (verdict(&access, peer, headers).await, begun.elapsed() >= GUESS_WAIT)
            };
            for _ in 0..FAILURES_MAX {
                assert_eq!(timed("2001:db8::1", &wrong).await, (Verdict::Unknown, false));
            }
            assert_eq!(timed("2001:db8::2", &wrong).await, (Verdict::Refused, true));
            // The first time it waits like every guess, after that it does not.
            assert_eq!(timed("2001:db8::2", &right).await, (Verdict::Welcome, true));
            assert_eq!(timed("2001:db8::2", &right).await, (Verdict::Welcome, false));
            assert_eq!(timed("2001:db8:1::1", &right).await, (Verdict::Welcome, false));
            let token = headers(&[(AUTHORIZATION, "Bearer t0ken")]);
            for _ in 0..FAILURES_MAX + 1 {
                verdict(&access, "192.0.2.1", &wrong).await;
            }
            assert_eq!(timed("192.0.2.1", &token).await, (Verdict::Welcome, false));
            // Behind a proxy each client is counted by itself.
            let mut behind = wrong.clone();
            behind.insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
            assert_eq!(timed("127.0.0.3", &behind).await, (Verdict::Refused, true));
            behind.insert("x-forwarded-for", "192.0.2.2".parse().unwrap());
            assert_eq!(timed("127.0.0.3", &behind).await, (Verdict::Unknown, false));
        });
    }

    #[test]
    fn networks_keep_others_out() {
        run(async {
            let access = access(None, &["10.0.0.0/8", "2001:db8::/32"]);
            let right = headers(&[(AUTHORIZATION, "Bearer t0ken")]);
            for (from, expected) in [
                ("10.255.0.1", Verdict::Welcome),
                ("::ffff:10.1.1.1", Verdict::Welcome),
                ("2001:db8:ffff::1", Verdict::Welcome),
                ("11.0.0.1", Verdict::Refused),
                ("2001:db9::1", Verdict::Refused),
            ] {
                assert_eq!(verdict(&access, from, &right).await, expected, "{from}");
                let mut proxied = right.clone();
                proxied.insert("x-forwarded-for", from.parse().unwrap());
                assert_eq!(verdict(&access, "127.0.0.3", &proxied).await, expected, "{from} behind a proxy");
            }
            let mut unnamed = right.clone();
            unnamed.insert("via", "1.1 proxy".parse().unwrap());
            assert_eq!(verdict(&access, "127.0.0.1", &unnamed).await, Verdict::Welcome);
            let all: Network = "0.0.0.0/0".parse().unwrap();
            assert!(all.contains("1.2.3.4".parse().unwrap()) && !all.contains("::1".parse().unwrap()));
            for text in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", ""] {
                assert!(text.parse::<Network>().is_err(), "{text}");
            }
        });
    }
}
