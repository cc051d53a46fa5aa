//! Magnet links (BEP 9), with the choice of files (BEP 53).

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::hashes::{InfoHashes, SwarmHash};
use crate::limits::{MAGNET_BYTES_MAX, MAGNET_PEERS_MAX, MAGNET_SELECT_RANGES_MAX, TRACKERS_MAX};
use crate::metainfo::usable_url;
use crate::percent;

/// A magnet link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// The torrent (`xt`).
    pub hashes: InfoHashes,
    /// What to show until the torrent's own name is known (`dn`).
    pub name: Option<String>,
    /// Tracker URLs, each its own tier (`tr`).
    pub trackers: Vec<String>,
    /// Web seeds (`ws`).
    pub web_seeds: Vec<String>,
    /// Peers to ask first (`x.pe`). Peers given by a host name are left out.
    pub peers: Vec<SocketAddr>,
    /// Indices of the files to download (`so`, BEP 53); `None` means all.
    pub select: Option<Vec<RangeInclusive<u32>>>,
}

/// Why a text is no magnet link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MagnetError {
    /// Another kind of text.
    #[error("not a magnet link")]
    Scheme,
    /// Longer than [`MAGNET_BYTES_MAX`].
    #[error("the magnet link is too long")]
    TooLong,
    /// No `xt` of BitTorrent.
    #[error("the magnet link has no BitTorrent info-hash (xt=urn:btih:...)")]
    NoInfoHash,
    /// An `xt` of BitTorrent with something else than an info-hash.
    #[error("the info-hash of the magnet link is neither 40 hexadecimal digits nor 32 base32 characters")]
    InfoHash,
    /// Only a version 2 hash.
    #[error("this is a magnet link of a BitTorrent v2 torrent; only v1 and hybrid torrents are supported")]
    OnlyVersion2,
    /// Two different torrents.
    #[error("the magnet link names more than one torrent")]
    Ambiguous,
    /// A `%` without two hexadecimal digits.
    #[error("the magnet link is not properly percent-encoded")]
    Escape,
    /// A choice of files that is not understood; better none than the wrong ones.
    #[error("the magnet link's choice of files (so=) is not understood")]
    Select,
}

impl FromStr for Magnet {
    type Err = MagnetError;

    /// Reads a link. Unknown parameters are overlooked.
    fn from_str(text: &str) -> Result<Magnet, MagnetError> {
        let text = text.trim();
        if text.len() > MAGNET_BYTES_MAX {
            return Err(MagnetError::TooLong);
        }
        let (scheme, query) = text.split_once('?').ok_or(MagnetError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("magnet:") {
            return Err(MagnetError::Scheme);
        }
        let mut info_hash = None;
        let mut version_2 = false;
        let mut magnet = Magnet {
            hashes: InfoHashes::from_v1([0; 20]),
            name: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            select: None,
        };
        for parameter in query.split('&') {
            // Links copied out of HTML have `&amp;` between parameters.
            let parameter = parameter.strip_prefix("amp;").unwrap_or(parameter);
            let Some((key, value)) = parameter.split_once('=') else { continue };
            match without_number(key) {
                "xt" => match exact_topic(&decoded(value)?)? {
                    Topic::Version1(hash) if info_hash.is_some_and(|first| first != hash) => {
                        return Err(MagnetError::Ambiguous);
                    }
                    Topic::Version1(hash) => info_hash = Some(hash),
                    Topic::Version2 => version_2 = true,
                    Topic::Other => {}
                },
                "dn" if magnet.name.is_none() => {
                    let name = decoded(&value.replace('+', " "))?;
                    let printable = |c: char| if c.is_control() { ' ' } else { c };
                    magnet.name =
                        Some(name.chars().map(printable).collect()).filter(|n: &String| !n.is_empty());
                }
                "tr" => add_url(&mut magnet.trackers, &decoded(value)?),
                "ws" => add_url(&mut magnet.web_seeds, &decoded(value)?),
                "x.pe" => {
                    if let Ok(peer) = decoded(value)?.parse::<SocketAddr>()
                        && peer.port() != 0
                        && magnet.peers.len() < MAGNET_PEERS_MAX
                        && !magnet.peers.contains(&peer)
                    {
                        magnet.peers.push(peer);
                    }
                }
                "so" => magnet.select = Some(select_ranges(&decoded(value)?)?),
                _ => {}
            }
        }
        magnet.hashes = match info_hash {
            Some(SwarmHash(hash)) => InfoHashes::from_v1(hash),
            None if version_2 => return Err(MagnetError::OnlyVersion2),
            None => return Err(MagnetError::NoInfoHash),
        };
        Ok(magnet)
    }
}

/// What an `xt` names.
enum Topic {
    Version1(SwarmHash),
    Version2,
    Other,
}

fn exact_topic(text: &str) -> Result<Topic, MagnetError> {
    let after = |prefix: &str| {
        let head = text.get(..prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
    };
    if let Some(hash) = after("urn:btih:") {
        return hash.parse().map(Topic::Version1).map_err(|_| MagnetError::InfoHash);
    }
    Ok(if after("urn:btmh:").is_some() { Topic::Version2 } else { Topic::Other })
}

/// `tr.1` and `tr` are the same.
fn without_number(key: &str) -> &str {
    match key.rsplit_once('.') {
        Some((key, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => key,
        _ => key,
    }
}

fn decoded(value: &str) -> Result<String, MagnetError> {
    let bytes = percent::decode(value.as_bytes()).ok_or(MagnetError::Escape)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn add_url(urls: &mut Vec<String>, text: &str) {
    if let Some(url) = usable_url(text)
        && urls.len() < TRACKERS_MAX
        && !urls.contains(&url)
    {
        urls.push(url);
    }
}

/// `0,2,4-9` as ranges.
fn select_ranges(text: &str) -> Result<Vec<RangeInclusive<u32>>, MagnetError> {
    let mut ranges = Vec::new();
    for part in text.split(',') {
        if ranges.len() == MAGNET_SELECT_RANGES_MAX {
            return Err(MagnetError::Select);
        }
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let index = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| digits).ok_or(MagnetError::Select)
        };
        let range = index(first)?..=index(last)?;
        if range.is_empty() {
            return Err(MagnetError::Select);
        }
        ranges.push(range);
    }
    Ok(ranges)
}

impl fmt::Display for Magnet {
    /// The link with all its parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("magnet:?xt=urn:btih:{}", self.hashes.swarm_hash());
        let mut parameter = |key: &str, value: &str| {
            text.push_str(key);
            percent::encode(&mut text, value.as_bytes());
        };
        if let Some(name) = &self.name {
            parameter("&dn=", name);
        }
        self.trackers.iter().for_each(|url| parameter("&tr=", url));
        self.web_seeds.iter().for_each(|url| parameter("&ws=", url));
        self.peers.iter().for_each(|peer| parameter("&x.pe=", &peer.to_string()));
        if let Some(select) = &self.select {
            for (n, range) in select.iter().enumerate() {
                text.push_str(if n == 0 { "&so=" } else { "," });
                text.push_str(&range.start().to_string());
                if range.start() != range.end() {
                    text.push('-');
                    text.push_str(&range.end().to_string());
                }
            }
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    const HEX: &str = "aabbccddeeff00112233445566778899deadbeef";

    fn parse(parameters: &str) -> Result<Magnet, MagnetError> {
        format!("magnet:?{parameters}").parse()
    }

    fn full() -> Magnet {
        Magnet {
            hashes: InfoHashes::from_v1(HEX.parse::<SwarmHash>().unwrap().0),
            name: Some("a & b = größe+1%".into()),
            trackers: vec!["http://t/announce?x=1&y=2".into(), "udp://u:80".into()],
            web_seeds: vec!["https://w/files/".into()],
            peers: vec!["1.2.3.4:5".parse().unwrap(), "[::1]:6".parse().unwrap()],
            select: Some(vec![0..=0, 2..=2, 4..=9]),
        }
    }

    #[test]
    fn links_round_trip() {
        let magnet = full();
        assert_eq!(magnet.to_string().parse::<Magnet>().unwrap(), magnet);
        assert!(magnet.to_string().ends_with("&so=0,2,4-9"));
        let bare = parse(&format!("xt=urn:btih:{HEX}")).unwrap();
        assert_eq!(bare.to_string(), format!("magnet:?xt=urn:btih:{HEX}"));
    }

    #[test]
    fn dialects_are_understood() {
        let base32 = parse(&format!("xt=urn:btih:{}", "MZXW6YTB".repeat(4))).unwrap();
        assert_eq!(&base32.hashes.swarm_hash().0, b"foobafoobafoobafooba");
        let upper = format!(" MAGNET:?xt=urn%3ABTIH%3A{}\n", HEX.to_uppercase());
        assert_eq!(upper.parse::<Magnet>().unwrap().hashes, full().hashes);
        let html =
            parse(&format!("dn=a+b&amp;xt.1=urn:btih:{HEX}&amp;tr.1=a://1&tr.2=a://2&tr=a://1")).unwrap();
        assert_eq!(html.name.as_deref(), Some("a b"));
        assert_eq!(html.trackers, ["a://1", "a://2"]);
        let hybrid = parse(&format!("xt=urn:btmh:1220ab&xt=urn:btih:{HEX}&xt=urn:sha1:x")).unwrap();
        assert_eq!(hybrid.hashes, full().hashes);
        let peers = parse(&format!("xt=urn:btih:{HEX}&x.pe=host:80&x.pe=1.2.3.4:0&x.pe=1.2.3.4:9")).unwrap();
        assert_eq!(peers.peers, ["1.2.3.4:9".parse().unwrap()]);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let hash = format!("xt=urn:btih:{HEX}");
        assert_eq!("http://x/".parse::<Magnet>(), Err(MagnetError::Scheme));
        assert_eq!("http://x/?xt=1".parse::<Magnet>(), Err(MagnetError::Scheme));
        assert_eq!(parse(""), Err(MagnetError::NoInfoHash));
        assert_eq!(parse("dn=x"), Err(MagnetError::NoInfoHash));
        assert_eq!(parse("xt=urn:sha1:x"), Err(MagnetError::NoInfoHash));
        assert_eq!(parse("xt=urn:btih:abc"), Err(MagnetError::InfoHash));
        assert_eq!(parse("xt=urn:btmh:1220ab"), Err(MagnetError::OnlyVersion2));
        assert_eq!(parse(&format!("{hash}&xt=urn:btih:{}", "0".repeat(40))), Err(MagnetError::Ambiguous));
        assert!(parse(&format!("{hash}&{hash}")).is_ok());
        assert_eq!(parse(&format!("{hash}&dn=%z")), Err(MagnetError::Escape));
        for select in ["", "x", "1-", "-1", "3-2", "1,,2", "4294967296", "+1", "1-2-3"] {
            assert_eq!(parse(&format!("{hash}&so={select}")), Err(MagnetError::Select), "{select}");
        }
    }

    #[test]
    fn floods_are_bounded() {
        let hash = format!("xt=urn:btih:{HEX}");
        assert_eq!(parse(&format!("{hash}&dn={}", "x".repeat(MAGNET_BYTES_MAX))), Err(MagnetError::TooLong));
        let trackers: String = (0..2000).map(|n| format!("&tr=a://{n}")).collect();
        assert_eq!(parse(&format!("{hash}{trackers}")).unwrap().trackers.len(), TRACKERS_MAX);
        let peers: String = (1..2000).map(|n| format!("&x.pe=1.1.1.1:{n}")).collect();
        assert_eq!(parse(&format!("{hash}{peers}")).unwrap().peers.len(), MAGNET_PEERS_MAX);
        let select = vec!["1"; MAGNET_SELECT_RANGES_MAX + 1].join(",");
        assert_eq!(parse(&format!("{hash}&so={select}")), Err(MagnetError::Select));
    }

    #[test]
    fn every_cut_before_the_end_of_the_hash_is_an_error() {
        let text = full().to_string();
        let end = text.find(HEX).unwrap() + HEX.len();
        for cut in 0..text.len() {
            let result = text[..cut].parse::<Magnet>();
            assert!(cut >= end || result.is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn random_mutations_never_panic_and_stay_stable() {
        let mut noise = Noise::new(7);
        let text = full().to_string();
        for _ in 0..20_000 {
            let bytes = noise.mutate(text.as_bytes());
            if let Ok(magnet) = String::from_utf8_lossy(&bytes).parse::<Magnet>() {
                assert_eq!(magnet.to_string().parse::<Magnet>(), Ok(magnet));
            }
        }
    }
}
