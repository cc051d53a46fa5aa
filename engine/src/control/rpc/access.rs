//! Who is let in: credentials, allowed networks, and patience with those who guess.
//!
//! A client on this machine that names this machine needs no credentials, unless some are configured. Everybody else
//! needs a name and password, or the token that is in the state directory.

use super::gate::{host_is_local, origin_is_local, same_secret};
use super::limits::{FAILURE_LIFE, FAILURES_MAX, FAILURES_REMEMBERED_MAX};
use hyper::header::{AUTHORIZATION, HeaderMap};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

/// A network: an address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is neither an address nor a network such as 192.168.0.0/16");
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
}

/// What a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may go on.
    Welcome,
    /// It is asked for credentials.
    Unknown,
    /// It is refused without a look at what it shows.
    Refused,
}

/// Judges clients and remembers failures.
pub(super) struct Doorkeeper {
    credentials: Credentials,
    failures: HashMap<IpAddr, (u32, Instant)>,
}

impl Doorkeeper {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, failures: HashMap::new() }
    }

    /// Judges a request. `remote` is `None` for a client of the Unix socket, whose permissions let it in.
    pub(super) fn judge(
        &mut self,
        remote: Option<IpAddr>,
        headers: &HeaderMap,
        allowed_hosts: &[String],
        now: Instant,
    ) -> Verdict {
        let here = remote.is_none_or(|ip| ip.to_canonical().is_loopback());
        let local = remote.is_none() || (host_is_local(headers) && origin_is_local(headers));
        if here && self.credentials.pair.is_none() {
            // A foreign name that is not allowed is refused as such, whatever the client shows.
            let misdirected = !local && !super::gate::host_allowed(headers, allowed_hosts);
            if local || misdirected || !super::gate::origin_allowed(headers, allowed_hosts) {
                return Verdict::Welcome;
            }
        }
        if let Some(ip) = remote.filter(|_| !here)
            && !self.credentials.networks.is_empty()
            && !self.credentials.networks.iter().any(|network| network.contains(ip))
        {
            return Verdict::Refused;
        }
        let key = remote.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), guesser);
        if self.failed_too_often(key, now) {
            return Verdict::Refused;
        }
        match headers.get(AUTHORIZATION) {
            Some(shown) if self.is_right(shown.as_bytes()) => {
                self.failures.remove(&key);
                Verdict::Welcome
            }
            // A first request without credentials is how clients ask for the challenge.
            None => Verdict::Unknown,
            Some(_) => {
                self.count_failure(key, now);
                Verdict::Unknown
            }
        }
    }

    fn is_right(&self, shown: &[u8]) -> bool {
        let Some((scheme, value)) = std::str::from_utf8(shown).ok().and_then(|text| text.split_once(' '))
        else {
            return false;
        };
        let token = self.credentials.token.as_deref().unwrap_or_default();
        let right_token = |value: &[u8]| !token.is_empty() && same_secret(value, token.as_bytes());
        if scheme.eq_ignore_ascii_case("bearer") {
            return right_token(value.trim().as_bytes());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return false;
        }
        let Some(shown) = super::base64::decode(value.trim()) else { return false };
        let pair = self.credentials.pair.as_deref().unwrap_or_default();
        let password = shown.splitn(2, |byte| *byte == b':').nth(1).unwrap_or_default();
        // Both are compared, so that the time tells nothing.
        let by_pair = !pair.is_empty() && same_secret(&shown, pair.as_bytes());
        by_pair | right_token(password)
    }

    /// Whether a name and a password are right, for clients that send them in a form.
    pub(super) fn knows(&mut self, remote: Option<IpAddr>, name: &str, password: &str, now: Instant) -> bool {
        let key = remote.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), guesser);
        if self.failed_too_often(key, now) {
            return false;
        }
        let shown = super::base64::encode(format!("{name}:{password}").as_bytes());
        let right = self.is_right(format!("Basic {shown}").as_bytes());
        if !right {
            self.count_failure(key, now);
        }
        right
    }

    fn failed_too_often(&self, key: IpAddr, now: Instant) -> bool {
        self.failures
            .get(&key)
            .is_some_and(|(count, since)| *count >= FAILURES_MAX && now.duration_since(*since) < FAILURE_LIFE)
    }

    fn count_failure(&mut self, key: IpAddr, now: Instant) {
        if self.failures.len() >= FAILURES_REMEMBERED_MAX && !self.failures.contains_key(&key) {
            self.failures.retain(|_, (_, since)| now.duration_since(*since) < FAILURE_LIFE);
            // Still full: so many guess at once that forgetting them all costs little.
            if self.failures.len() >= FAILURES_REMEMBERED_MAX {
                self.failures.clear();
            }
        }
        let (count, since) = self.failures.entry(key).or_insert((0, now));
        if now.duration_since(*since) >= FAILURE_LIFE {
            (*count, *since) = (0, now);
        }
        *count += 1;
        tracing::warn!(client = %key, "wrong credentials for the RPC");
    }
}

/// Who counts as one guesser: an IPv4 address, or the network of 64 bits that one IPv6 customer has.
fn guesser(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HOST, ORIGIN};
    use std::time::Duration;

    fn headers(pairs: &[(hyper::header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn door(pair: Option<&str>, networks: &[&str]) -> Doorkeeper {
        Doorkeeper::new(Credentials {
            pair: pair.map(str::to_owned),
            token: Some("t0ken".to_owned()),
            networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        })
    }

    #[test]
    fn only_local_clients_that_name_this_machine_need_nothing() {
        let now = Instant::now();
        let mut open = door(None, &[]);
        let allowed = ["seedbox.lan".to_owned()];
        let plain = headers(&[(HOST, "localhost:9091")]);
        assert_eq!(open.judge(ip("127.0.0.1"), &plain, &allowed, now), Verdict::Welcome);
        assert_eq!(open.judge(None, &headers(&[]), &allowed, now), Verdict::Welcome);
        assert_eq!(open.judge(ip("192.0.2.1"), &plain, &allowed, now), Verdict::Unknown);
        // A proxy on this machine speaks for others: its name is an allowed one.
        let proxied = headers(&[(HOST, "seedbox.lan")]);
        assert_eq!(open.judge(ip("::1"), &proxied, &allowed, now), Verdict::Unknown);
        let page = headers(&[(HOST, "localhost"), (ORIGIN, "https://seedbox.lan")]);
        assert_eq!(open.judge(ip("::1"), &page, &allowed, now), Verdict::Unknown);
        let mut closed = door(Some("me:secret"), &[]);
        assert_eq!(closed.judge(ip("127.0.0.1"), &plain, &allowed, now), Verdict::Unknown);
    }

    #[test]
    fn pairs_and_tokens_are_checked() {
        let now = Instant::now();
        let basic = |text: &str| format!("Basic {}", super::super::base64::encode(text.as_bytes()));
        for (shown, verdict) in [
            (basic("me:secret"), Verdict::Welcome),
            (basic("anyone:t0ken"), Verdict::Welcome),
            ("Bearer t0ken".to_owned(), Verdict::Welcome),
            ("bearer t0ken".to_owned(), Verdict::Welcome),
            (basic("me:secre"), Verdict::Unknown),
            (basic("me"), Verdict::Unknown),
            ("Basic !".to_owned(), Verdict::Unknown),
            ("Bearer ".to_owned(), Verdict::Unknown),
            ("Digest x".to_owned(), Verdict::Unknown),
        ] {
            let shown = headers(&[(HOST, "localhost"), (AUTHORIZATION, &shown)]);
            assert_eq!(
                door(Some("me:secret"), &[]).judge(ip("192.0.2.1"), &shown, &[], now),
                verdict,
                "{shown:?}"
            );
        }
        let empty = headers(&[(AUTHORIZATION, "Bearer x")]);
        assert_eq!(
            Doorkeeper::new(Credentials::default()).judge(ip("192.0.2.1"), &empty, &[], now),
            Verdict::Unknown
        );
    }

    #[test]
    fn guessing_ends_and_is_forgiven_later() {
        let start = Instant::now();
        let mut door = door(None, &[]);
        let wrong = headers(&[(AUTHORIZATION, "Bearer guess")]);
        let right = headers(&[(AUTHORIZATION, "Bearer t0ken")]);
        for _ in 0..FAILURES_MAX {
            assert_eq!(door.judge(ip("2001:db8::1"), &wrong, &[], start), Verdict::Unknown);
        }
        // Nor with another address of the same customer, nor with the right one.
        assert_eq!(door.judge(ip("2001:db8::2"), &right, &[], start), Verdict::Refused);
        assert_eq!(door.judge(ip("2001:db8:1::1"), &right, &[], start), Verdict::Welcome);
        let later = start + FAILURE_LIFE + Duration::from_secs(1);
        assert_eq!(door.judge(ip("2001:db8::2"), &right, &[], later), Verdict::Welcome);
    }

    #[test]
    fn networks_keep_others_out() {
        let now = Instant::now();
        let mut door = door(None, &["10.0.0.0/8", "2001:db8::/32"]);
        let right = headers(&[(AUTHORIZATION, "Bearer t0ken")]);
        for (from, verdict) in [
            ("10.255.0.1", Verdict::Welcome),
            ("::ffff:10.1.1.1", Verdict::Welcome),
            ("2001:db8:ffff::1", Verdict::Welcome),
            ("11.0.0.1", Verdict::Refused),
            ("2001:db9::1", Verdict::Refused),
        ] {
            assert_eq!(door.judge(ip(from), &right, &[], now), verdict, "{from}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("1.2.3.4".parse().unwrap()) && !all.contains("::1".parse().unwrap()));
        for text in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", ""] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
