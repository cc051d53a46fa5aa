//! Answers to a scrape (BEP 48): parsed by clients, encoded by trackers.

use super::lenient::{self, Value};
use super::response::{ResponseError, failure};
use crate::bencode::{put_bytes, put_integer};
use crate::hashes::SwarmHash;
use crate::limits::SCRAPE_TORRENTS_MAX;
use crate::tracker::{ScrapeEntry, count_from_tracker, interval_from_tracker};

/// A tracker's answer to a scrape.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ScrapeResponse {
    /// The torrents that the tracker knows, in its order.
    pub torrents: Vec<(SwarmHash, ScrapeEntry)>,
    /// Seconds before which no scrape may follow.
    pub min_request_interval: Option<u32>,
}

/// Reads the body of an answer to a scrape; at most [`SCRAPE_TORRENTS_MAX`] torrents are taken. What is no torrent is
/// left out, and counts that are not told are 0.
///
/// # Errors
/// When the tracker refused, or the body is not an answer of a tracker.
pub fn parse_scrape_response(body: &[u8]) -> Result<ScrapeResponse, ResponseError> {
    let answer = lenient::dictionary(body)?;
    if let Some(failure) = failure(answer) {
        return Err(failure);
    }
    let Some(files @ Value::Dictionary(_)) = answer.get(b"files") else { return Err(ResponseError::NoPeers) };
    let torrents = files.entries().filter_map(|(hash, entry)| {
        let count = |key| entry.get(key).and_then(Value::integer).and_then(count_from_tracker).unwrap_or(0);
        let Value::Dictionary(_) = entry else { return None };
        let entry = ScrapeEntry {
            complete: count(b"complete"),
            downloaded: count(b"downloaded"),
            incomplete: count(b"incomplete"),
        };
        Some((SwarmHash(hash.try_into().ok()?), entry))
    });
    let interval = answer.get(b"flags").and_then(|flags| flags.get(b"min_request_interval"));
    Ok(ScrapeResponse {
        torrents: torrents.take(SCRAPE_TORRENTS_MAX).collect(),
        min_request_interval: interval
            .and_then(Value::integer)
            .and_then(count_from_tracker)
            .map(interval_from_tracker),
    })
}

/// Appends an answer to a scrape. Keys ascend when `torrents` are sorted by info-hash without repetition, as
/// strict clients expect.
pub fn encode_scrape(
    out: &mut Vec<u8>,
    torrents: impl IntoIterator<Item = (SwarmHash, ScrapeEntry)>,
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
            torrents: vec![(SwarmHash([0; 20]), entry(1)), (SwarmHash([0xff; 20]), entry(7))],
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
    fn refusals_are_errors_and_what_is_no_torrent_is_left_out() {
        let body = b"d14:failure reason2:noe";
        assert!(matches!(parse_scrape_response(body), Err(ResponseError::Failure { .. })));
        let body = b"d5:filesd3:abcd8:completei1ee20:aaaaaaaaaaaaaaaaaaaad8:completei-1e10:incompletei4ee\
            20:bbbbbbbbbbbbbbbbbbbbi5eee";
        let entry = ScrapeEntry { complete: 0, downloaded: 0, incomplete: 4 };
        assert_eq!(parse_scrape_response(body).unwrap().torrents, [(SwarmHash([b'a'; 20]), entry)]);
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
