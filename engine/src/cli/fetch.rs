//! Torrent files from where the user says they are: a path or an http(s) URL.

use super::failure::{Failure, io_reason};
use super::quantity;
use crate::limits::TORRENT_FETCH_BYTES_MAX;
use ringseed_announce::{FetchRequest, Trust, fetch};
use ringseed_net::route::Route;
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use ringseed_proto::metainfo::Metainfo;
use std::io::Read;

/// Whether `source` is a URL rather than a path.
pub fn is_url(source: &str) -> bool {
    let lower = source.get(..8).unwrap_or(source).to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

/// Reads and parses the torrent at `source`, a path or an http(s) URL. Errors name `source`.
pub async fn torrent(source: &str, trust: &Trust) -> Result<Metainfo, Failure> {
    Metainfo::parse(&bytes(source, trust).await?)
        .map_err(|error| Failure::failed(format!("{source} is not a usable torrent: {error}")))
}

/// Reads the torrent file at `source`, a path or an http(s) URL. Errors name `source`.
pub async fn bytes(source: &str, trust: &Trust) -> Result<Vec<u8>, Failure> {
    if source.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("magnet:")) {
        return Err(Failure::usage(
            "magnet links are not supported; give a torrent file or an http(s) URL of one",
        ));
    }
    if is_url(source) { download(source, trust).await } else { read(source) }
}

/// [`torrent`] for callers that have no runtime.
pub fn torrent_blocking(source: &str) -> Result<Metainfo, Failure> {
    super::control_runtime()?.block_on(torrent(source, &Trust::default()))
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    let refused =
        |error: std::io::Error| Failure::failed(format!("cannot read {path}: {}", io_reason(&error)));
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is more, also for pipes.
    std::fs::File::open(path)
        .and_then(|file| file.take(TORRENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(refused)?;
    if bytes.len() > TORRENT_BYTES_MAX {
        let max = quantity::size(TORRENT_BYTES_MAX as u64);
        return Err(Failure::failed(format!("{path} is larger than any torrent file ({max})")));
    }
    Ok(bytes)
}

async fn download(url: &str, trust: &Trust) -> Result<Vec<u8>, Failure> {
    let route = Route::default();
    // Whoever types a URL here may ask this machine and its networks.
    let request = FetchRequest {
        url,
        cookies: None,
        local: true,
        route: &route,
        trust,
        bytes_max: TORRENT_FETCH_BYTES_MAX,
    };
    fetch(&request).await.map_err(|reason| {
        let shown = quantity::printable(url);
        Failure::failed(format!("cannot fetch {shown}: {reason}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths() {
        assert!(is_url("HTTP://a/b") && is_url("https://a"));
        assert!(!is_url("a.torrent") && !is_url("http:/a") && !is_url("é/ü.torrent"));
    }
}
