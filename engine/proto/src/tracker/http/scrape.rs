//! Answers to a scrape (BEP 48): parsed by clients, encoded by trackers.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_bytes::ByteBuf;

use super::response::{ResponseError, failure};
use crate::bencode::{self, Limits, Loose, dict, put_bytes, put_integer};
use crate::limits::SCRAPE_TORRENTS_MAX;
use crate::tracker::{ScrapeEntry, count_from_tracker, interval_from_tracker};
use crate::units::InfoHash;

/// A tracker's answer to a scrape.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ScrapeResponse {
    /// The torrents that the tracker knows, in its order.
    pub torrents: Vec<(InfoHash, ScrapeEntry)>,
    /// Seconds before which no scrape may follow.
    pub min_request_interval: Option<u32>,
}

dict! {
    struct ScrapeDict {
        b"failure reason" => failure: Loose,
        b"retry in" => retry: Loose,
        b"files" => files: Files,
        b"flags" => flags: FlagsDict,
    }
}

dict! {
    struct FlagsDict {
        b"min_request_interval" => min_request_interval: Loose,
    }
}

dict! {
    struct EntryDict {
        b"complete" => complete: i64,
        b"downloaded" => downloaded: i64,
        b"incomplete" => incomplete: i64,
    }
}

/// A dictionary whose keys are info-hashes.
#[derive(Debug)]
struct Files(Vec<(InfoHash, ScrapeEntry)>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Files, D::Error> {
        struct ByHash;
        impl<'de> Visitor<'de> for ByHash {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a dictionary of torrents")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Files, M::Error> {
                let mut files = Vec::new();
                while let Some(key) = map.next_key::<ByteBuf>()? {
                    let entry: EntryDict = map.next_value()?;
                    let hash = key
                        .into_vec()
                        .try_into()
                        .map_err(|_| M::Error::custom("an info-hash that is not 20 bytes long"))?;
                    let count = |value: Option<i64>| value.and_then(count_from_tracker).unwrap_or(0);
                    if files.len() < SCRAPE_TORRENTS_MAX {
                        let entry = ScrapeEntry {
                            complete: count(entry.complete),
                            downloaded: count(entry.downloaded),
                            incomplete: count(entry.incomplete),
                        };
                        files.push((InfoHash(hash), entry));
                    }
                }
                Ok(Files(files))
            }
        }
        deserializer.deserialize_map(ByHash)
    }
}

/// Reads the body of an answer to a scrape; at most [`SCRAPE_TORRENTS_MAX`] torrents are taken.
///
/// # Errors
/// When the tracker refused, or the body is not an answer of a tracker.
pub fn parse_scrape_response(body: &[u8]) -> Result<ScrapeResponse, ResponseError> {
    let (dict, _) = bencode::decode_prefix::<ScrapeDict>(body, &Limits::TRACKER)?;
    if let Some(failure) = failure(dict.failure, dict.retry) {
        return Err(failure);
    }
    let interval = dict.flags.and_then(|flags| flags.min_request_interval);
    Ok(ScrapeResponse {
        torrents: dict.files.ok_or(ResponseError::NoPeers)?.0,
        min_request_interval: match interval {
            Some(Loose::Integer(seconds)) => count_from_tracker(seconds).map(interval_from_tracker),
            _ => None,
        },
    })
}

/// Appends an answer to a scrape. Keys ascend when `torrents` are sorted by info-hash without repetition, as
/// strict clients expect.
pub fn encode_scrape(
    out: &mut Vec<u8>,
    torrents: impl IntoIterator<Item = (InfoHash, ScrapeEntry)>,
    min_request_interval: Option<u32>,
) {
    out.push(b'd');
    put_bytes(out, b"files");
    out.push(b'd');
    for (hash, entry) in torrents {
        put_bytes(out, &hash.0);
        out.push(b'd');
        put_bytes(out, b"complete");
        put_integer(out, entry.complete.into());
        put_bytes(out, b"downloaded");
        put_integer(out, entry.downloaded.into());
        put_bytes(out, b"incomplete");
        put_integer(out, entry.incomplete.into());
        out.push(b'e');
    }
    out.push(b'e');
    if let Some(seconds) = min_request_interval {
        put_bytes(out, b"flags");
        out.push(b'd');
        put_bytes(out, b"min_request_interval");
        put_integer(out, seconds.into());
        out.push(b'e');
    }
    out.push(b'e');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    fn sample() -> ScrapeResponse {
        let entry = |n| ScrapeEntry { complete: n, downloaded: n + 1, incomplete: n + 2 };
        ScrapeResponse {
            torrents: vec![(InfoHash([0; 20]), entry(1)), (InfoHash([0xff; 20]), entry(7))],
            min_request_interval: Some(30),
        }
    }

    fn encoded(response: &ScrapeResponse) -> Vec<u8> {
        let mut out = Vec::new();
        encode_scrape(&mut out, response.torrents.iter().copied(), response.min_request_interval);
        out
    }

    #[test]
    fn scrapes_round_trip() {
        for response in [sample(), ScrapeResponse::default()] {
            assert_eq!(parse_scrape_response(&encoded(&response)).unwrap(), response);
        }
    }

    #[test]
    fn refusals_and_wrong_hashes_are_errors() {
        let body = b"d14:failure reason2:noe";
        assert!(matches!(parse_scrape_response(body), Err(ResponseError::Failure { .. })));
        assert!(parse_scrape_response(b"d5:filesd3:abcd8:completei1eeee").is_err());
        assert!(parse_scrape_response(b"de").is_err());
        assert!(parse_scrape_response(b"d5:filesi1ee").is_err());
    }

    #[test]
    fn every_cut_scrape_is_an_error() {
        let body = encoded(&sample());
        for cut in 0..body.len() {
            assert!(parse_scrape_response(&body[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn random_mutations_never_panic() {
        let mut noise = Noise::new(4);
        for _ in 0..20_000 {
            let _ = parse_scrape_response(&noise.mutate(&encoded(&sample())));
        }
    }
}
