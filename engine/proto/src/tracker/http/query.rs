//! Query strings of announces and scrapes: built by clients, parsed by trackers.

use std::fmt::Write as _;

use crate::hashes::SwarmHash;
use crate::limits::{SCRAPE_TORRENTS_MAX, TRACKER_ID_BYTES_MAX, TRACKER_QUERY_BYTES_MAX};
use crate::percent;
use crate::tracker::{AnnounceEvent, AnnounceRequest};
use crate::units::PeerId;

/// The URL of an announce: the tracker's URL, whose own query is kept, with the request appended.
pub fn announce_url(tracker: &str, request: &AnnounceRequest, tracker_id: Option<&[u8]>) -> String {
    let mut url = url_with_query(tracker, 400);
    url.push_str("info_hash=");
    percent::encode(&mut url, &request.info_hash.0);
    url.push_str("&peer_id=");
    percent::encode(&mut url, &request.peer_id.0);
    // Writing to a string cannot fail.
    let _ = write!(
        url,
        "&port={}&uploaded={}&downloaded={}&left={}&compact=1&no_peer_id=1",
        request.port, request.uploaded, request.downloaded, request.left
    );
    if let Some(numwant) = request.numwant {
        let _ = write!(url, "&numwant={numwant}");
    }
    if let Some(key) = request.key {
        let _ = write!(url, "&key={key:08X}");
    }
    match request.event {
        AnnounceEvent::None => {}
        AnnounceEvent::Started => url.push_str("&event=started"),
        AnnounceEvent::Stopped => url.push_str("&event=stopped"),
        AnnounceEvent::Completed => url.push_str("&event=completed"),
        AnnounceEvent::Paused => url.push_str("&event=paused"),
    }
    if let Some(id) = tracker_id {
        url.push_str("&trackerid=");
        percent::encode(&mut url, id);
    }
    url
}

/// The URL of a scrape for some torrents, by the convention that the last path segment begins with `announce`
/// (BEP 48). `None` when the tracker's URL does not follow it: such a tracker cannot be scraped.
pub fn scrape_url(tracker: &str, torrents: &[SwarmHash]) -> Option<String> {
    let path_end = tracker.find(['?', '#']).unwrap_or(tracker.len());
    let segment = tracker[..path_end].rfind('/')? + 1;
    let rest = tracker[segment..].strip_prefix("announce")?;
    let mut url = url_with_query(&format!("{}scrape{rest}", &tracker[..segment]), torrents.len() * 72);
    for (n, torrent) in torrents.iter().enumerate() {
        url.push_str(if n == 0 { "info_hash=" } else { "&info_hash=" });
        percent::encode(&mut url, &torrent.0);
    }
    Some(url)
}

/// The URL without its fragment, ready to take parameters.
fn url_with_query(url: &str, room: usize) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let mut out = String::with_capacity(url.len() + room);
    out.push_str(url);
    if !url.contains('?') {
        out.push('?');
    } else if !url.ends_with(['?', '&']) {
        out.push('&');
    }
    out
}

/// An announce as an HTTP tracker receives it. `ip`, `ipv4` and `ipv6` are not read: a client could name a
/// victim there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceQuery {
    /// The announce.
    pub request: AnnounceRequest,
    /// The client takes compact peers; true unless it says no (BEP 23).
    pub compact: bool,
    /// The client needs no peer ids in a list of dictionaries.
    pub no_peer_id: bool,
    /// What the tracker gave earlier.
    pub tracker_id: Option<Vec<u8>>,
}

/// Why a query is no announce or scrape. The text may be sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Longer than [`TRACKER_QUERY_BYTES_MAX`].
    #[error("the query is too long")]
    TooLong,
    /// A required parameter is not there.
    #[error("missing {0}")]
    Missing(&'static str),
    /// A parameter that may come once comes again.
    #[error("{0} is given more than once")]
    Duplicate(&'static str),
    /// A `%` without two hexadecimal digits.
    #[error("{0} is not properly percent-encoded")]
    Escape(&'static str),
    /// Not as many bytes as it must have.
    #[error("{0} must be 20 bytes long")]
    Length(&'static str),
    /// Not a number, or out of range.
    #[error("{0} is not a valid number")]
    Number(&'static str),
    /// An event that there is not.
    #[error("unknown event")]
    Event,
    /// More than [`SCRAPE_TORRENTS_MAX`].
    #[error("too many torrents in one scrape")]
    TooManyTorrents,
}

/// Reads the query string of an announce: what follows the `?`.
///
/// # Errors
/// Names the parameter that is missing, repeated or wrong.
pub fn parse_announce(query: &[u8]) -> Result<AnnounceQuery, QueryError> {
    let mut info_hash = None;
    let mut peer_id = None;
    let mut port = None;
    let mut uploaded = None;
    let mut downloaded = None;
    let mut left = None;
    let mut event = None;
    let mut numwant = None;
    let mut key = None;
    let mut compact = None;
    let mut no_peer_id = None;
    let mut tracker_id = None;
    for (name, value) in parameters(query)? {
        match name {
            b"info_hash" => once("info_hash", &mut info_hash, hash_value("info_hash", value)?)?,
            b"peer_id" => once("peer_id", &mut peer_id, hash_value("peer_id", value)?)?,
            b"port" => once("port", &mut port, number::<u16>("port", value)?)?,
            b"uploaded" => once("uploaded", &mut uploaded, number("uploaded", value)?)?,
            b"downloaded" => once("downloaded", &mut downloaded, number("downloaded", value)?)?,
            b"left" => once("left", &mut left, number("left", value)?)?,
            b"event" => once("event", &mut event, event_value(value)?)?,
            b"numwant" => once("numwant", &mut numwant, numwant_value(value)?)?,
            b"key" => once("key", &mut key, key_value(value)?)?,
            b"compact" => once("compact", &mut compact, value != b"0")?,
            b"no_peer_id" => once("no_peer_id", &mut no_peer_id, value == b"1")?,
            b"trackerid" => {
                let id = percent::decode(value).ok_or(QueryError::Escape("trackerid"))?;
                let id = (id.len() <= TRACKER_ID_BYTES_MAX).then(|| id.into_owned());
                once("trackerid", &mut tracker_id, id)?;
            }
            _ => {}
        }
    }
    let port = port.ok_or(QueryError::Missing("port"))?;
    if port == 0 {
        return Err(QueryError::Number("port"));
    }
    let request = AnnounceRequest {
        info_hash: SwarmHash(info_hash.ok_or(QueryError::Missing("info_hash"))?),
        peer_id: PeerId(peer_id.ok_or(QueryError::Missing("peer_id"))?),
        port,
        uploaded: uploaded.unwrap_or(0),
        downloaded: downloaded.unwrap_or(0),
        left: left.ok_or(QueryError::Missing("left"))?,
        event: event.unwrap_or_default(),
        numwant: numwant.flatten(),
        key: key.flatten(),
    };
    Ok(AnnounceQuery {
        request,
        compact: compact.unwrap_or(true),
        no_peer_id: no_peer_id.unwrap_or(false),
        tracker_id: tracker_id.flatten(),
    })
}

/// Reads the query string of a scrape; an empty list asks for all torrents.
///
/// # Errors
/// When an info-hash is wrong or there are too many.
pub fn parse_scrape(query: &[u8]) -> Result<Vec<SwarmHash>, QueryError> {
    let mut torrents = Vec::new();
    for (name, value) in parameters(query)? {
        if name == b"info_hash" {
            if torrents.len() == SCRAPE_TORRENTS_MAX {
                return Err(QueryError::TooManyTorrents);
            }
            torrents.push(SwarmHash(hash_value("info_hash", value)?));
        }
    }
    Ok(torrents)
}

/// The parameters of a query, values still escaped.
fn parameters(query: &[u8]) -> Result<impl Iterator<Item = (&[u8], &[u8])>, QueryError> {
    if query.len() > TRACKER_QUERY_BYTES_MAX {
        return Err(QueryError::TooLong);
    }
    let pairs = query.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    Ok(pairs.map(|pair| {
        let end = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        (&pair[..end], pair.get(end + 1..).unwrap_or_default())
    }))
}

fn once<T>(name: &'static str, slot: &mut Option<T>, value: T) -> Result<(), QueryError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(QueryError::Duplicate(name)),
    }
}

fn hash_value(name: &'static str, value: &[u8]) -> Result<[u8; 20], QueryError> {
    let mut hash = [0; 20];
    let mut rest = value.iter();
    let mut filled = 0;
    while let Some(&byte) = rest.next() {
        let byte = if byte == b'%' {
            let mut digit = || rest.next().and_then(|&digit| crate::hashes::hex_value(digit));
            match (digit(), digit()) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(QueryError::Escape(name)),
            }
        } else {
            byte
        };
        *hash.get_mut(filled).ok_or(QueryError::Length(name))? = byte;
        filled += 1;
    }
    if filled == hash.len() { Ok(hash) } else { Err(QueryError::Length(name)) }
}

/// Decimal digits only: no sign, no space.
fn number<T: std::str::FromStr>(name: &'static str, value: &[u8]) -> Result<T, QueryError> {
    let digits = value.iter().all(u8::is_ascii_digit);
    let text = if digits { std::str::from_utf8(value).ok() } else { None };
    text.and_then(|text| text.parse().ok()).ok_or(QueryError::Number(name))
}

/// Clients write -1 for "as many as you like".
fn numwant_value(value: &[u8]) -> Result<Option<u32>, QueryError> {
    if value.is_empty() || value == b"-1" {
        return Ok(None);
    }
    let wanted: u64 = number("numwant", value)?;
    Ok(Some(u32::try_from(wanted).unwrap_or(u32::MAX)))
}

/// Clients write up to eight hexadecimal digits; any other key is hashed (FNV-1a), for it is only compared.
fn key_value(value: &[u8]) -> Result<Option<u32>, QueryError> {
    let value = percent::decode(value).ok_or(QueryError::Escape("key"))?;
    if value.is_empty() {
        return Ok(None);
    }
    let hex = (value.len() <= 8).then(|| {
        value.iter().try_fold(0u32, |key, &d| Some(key << 4 | u32::from(crate::hashes::hex_value(d)?)))
    });
    let hashed = || value.iter().fold(0x811c_9dc5u32, |h, &b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    Ok(Some(hex.flatten().unwrap_or_else(hashed)))
}

fn event_value(value: &[u8]) -> Result<AnnounceEvent, QueryError> {
    match value {
        b"" | b"empty" => Ok(AnnounceEvent::None),
        b"started" => Ok(AnnounceEvent::Started),
        b"stopped" => Ok(AnnounceEvent::Stopped),
        b"completed" => Ok(AnnounceEvent::Completed),
        b"paused" => Ok(AnnounceEvent::Paused),
        _ => Err(QueryError::Event),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    fn request() -> AnnounceRequest {
        AnnounceRequest {
            info_hash: SwarmHash(*b"\x00\xff%&=+ abcdefghijk~?"),
            peer_id: PeerId(*b"-RS0001-\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"),
            port: 6881,
            uploaded: u64::MAX,
            downloaded: 2,
            left: 3,
            event: AnnounceEvent::Started,
            numwant: Some(50),
            key: Some(0xdead_beef),
        }
    }

    fn query_of(url: &str) -> &[u8] {
        url.split_once('?').unwrap().1.as_bytes()
    }

    #[test]
    fn announce_round_trips() {
        for event in [
            AnnounceEvent::None,
            AnnounceEvent::Started,
            AnnounceEvent::Stopped,
            AnnounceEvent::Completed,
            AnnounceEvent::Paused,
        ] {
            let request = AnnounceRequest { event, ..request() };
            let url = announce_url("http://t.example/announce", &request, Some(b"a b"));
            let query = parse_announce(query_of(&url)).unwrap();
            assert_eq!(query.request, request);
            assert_eq!(query.tracker_id.as_deref(), Some(&b"a b"[..]));
            assert!(query.compact && query.no_peer_id);
        }
        let request = AnnounceRequest { numwant: None, key: None, ..request() };
        let url = announce_url("http://t.example/announce", &request, None);
        assert_eq!(parse_announce(query_of(&url)).unwrap().request, request);
    }

    #[test]
    fn the_trackers_own_query_is_kept() {
        for (base, wanted) in [
            ("http://t/a", "http://t/a?info_hash=%00%FF%25"),
            ("http://t/a?", "http://t/a?info_hash="),
            ("http://t/a?passkey=x", "http://t/a?passkey=x&info_hash="),
            ("http://t/a?passkey=x&", "http://t/a?passkey=x&info_hash="),
            ("http://t/a?passkey=x#top", "http://t/a?passkey=x&info_hash="),
        ] {
            let url = announce_url(base, &request(), None);
            assert!(url.starts_with(wanted), "{url}");
            assert!(parse_announce(query_of(&url)).is_ok());
        }
    }

    #[test]
    fn scrape_urls_follow_the_convention() {
        let torrents = [request().info_hash, SwarmHash([7; 20])];
        for (tracker, wanted) in [
            ("http://t/announce", Some("http://t/scrape?info_hash=%00")),
            ("http://t/x/announce", Some("http://t/x/scrape?info_hash=")),
            ("http://t/announce.php?k=/v", Some("http://t/scrape.php?k=/v&info_hash=")),
            ("http://t/a", None),
            ("http://t/announce?x2%0644", Some("http://t/scrape?x2%0644&info_hash=")),
            ("http://t/x%064announce", None),
            ("announce", None),
        ] {
            let url = scrape_url(tracker, &torrents);
            assert_eq!(url.is_some(), wanted.is_some(), "{tracker}");
            if let (Some(url), Some(wanted)) = (url, wanted) {
                assert!(url.starts_with(wanted), "{url}");
                assert_eq!(parse_scrape(query_of(&url)).unwrap(), torrents);
            }
        }
        assert_eq!(parse_scrape(b"").unwrap(), []);
    }

    const MINIMAL: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=1&left=0";

    #[test]
    fn errors_name_the_parameter() {
        let with = |from: &str, to: &str| parse_announce(MINIMAL.replace(from, to).as_bytes()).unwrap_err();
        assert_eq!(with("info_hash=", "x="), QueryError::Missing("info_hash"));
        assert_eq!(with("info_hash=a", "info_hash="), QueryError::Length("info_hash"));
        assert_eq!(with("info_hash=a", "info_hash=aa"), QueryError::Length("info_hash"));
        // A good escape that leaves the hash one byte short.
        assert_eq!(with("info_hash=a", "info_hash=%4"), QueryError::Length("info_hash"));
        assert_eq!(with("=aaa", "=%zz"), QueryError::Escape("info_hash"));
        assert_eq!(with("peer_id=b", "peer_id="), QueryError::Length("peer_id"));
        assert_eq!(with("&peer_id", "&info_hash"), QueryError::Duplicate("info_hash"));
        assert_eq!(with("&left=0", ""), QueryError::Missing("left"));
        assert_eq!(with("left=0", "left=-1"), QueryError::Number("left"));
        assert_eq!(with("left=0", "left=18446744073709551616"), QueryError::Number("left"));
        assert_eq!(with("left=0", "left="), QueryError::Number("left"));
        assert_eq!(with("port=1", "port=0"), QueryError::Number("port"));
        assert_eq!(with("port=1", "port=65536"), QueryError::Number("port"));
        assert_eq!(with("port=1", "port=+1"), QueryError::Number("port"));
        assert_eq!(with("&port=1", ""), QueryError::Missing("port"));
        assert_eq!(with("&port", "&event=exploded&port"), QueryError::Event);
        assert_eq!(with("&port", "&numwant=x&port"), QueryError::Number("numwant"));
        assert_eq!(parse_announce(&[b'a'; TRACKER_QUERY_BYTES_MAX + 1]), Err(QueryError::TooLong));
        assert_eq!(parse_scrape(b"info_hash=abc"), Err(QueryError::Length("info_hash")));
    }

    #[test]
    fn clients_dialects_are_understood() {
        let parse = |more: &str| parse_announce(format!("{MINIMAL}&{more}").as_bytes()).unwrap();
        assert_eq!(parse("numwant=-1").request.numwant, None);
        assert_eq!(parse("numwant=99999999999").request.numwant, Some(u32::MAX));
        assert!(!parse("compact=0").compact);
        assert!(parse("").compact);
        assert!(parse("no_peer_id=1").no_peer_id);
        assert_eq!(parse("key=7A").request.key, Some(0x7a));
        assert!(parse("key=longerthaneight").request.key.is_some());
        assert_eq!(parse("event=").request.event, AnnounceEvent::None);
        assert_eq!(parse("ip=9.9.9.9&ip=8.8.8.8&&corrupt=0&novalue").request, parse("").request);
    }

    #[test]
    fn a_cut_query_is_an_error_until_the_last_number() {
        for cut in 0..MINIMAL.len() {
            assert!(parse_announce(&MINIMAL.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        assert!(parse_announce(MINIMAL.as_bytes()).is_ok());
    }

    #[test]
    fn random_mutations_never_panic() {
        let url = announce_url("http://t/announce", &request(), Some(b"id"));
        let mut noise = Noise::new(2);
        for _ in 0..20_000 {
            let query = noise.mutate(query_of(&url));
            let _ = parse_scrape(&query);
            if let Ok(parsed) = parse_announce(&query) {
                let again = announce_url("http://t/", &parsed.request, parsed.tracker_id.as_deref());
                assert_eq!(parse_announce(query_of(&again)).unwrap().request, parsed.request);
            }
        }
    }
}
