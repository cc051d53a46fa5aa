//! Series per torrent, on a page of their own: the most active ones, so that ten thousand torrents do not make a
//! hundred thousand series.

use super::page::Page;
use crate::limits::TORRENT_SERIES_MAX;
use prometheus::Result;
use ringseed_handle::{EngineSnapshot, TorrentStatus};
use std::sync::Arc;

type Value = fn(&TorrentStatus) -> f64;
type Count = fn(&TorrentStatus) -> u64;

const GAUGES: [(&str, &str, Value); 7] = [
    ("torrent_size_bytes", "Bytes wanted.", |torrent| torrent.wanted as f64),
    ("torrent_left_bytes", "Bytes wanted and missing.", |torrent| torrent.left as f64),
    ("torrent_receive_bytes_per_second", "Payload received now.", |torrent| torrent.download_rate as f64),
    ("torrent_send_bytes_per_second", "Payload sent now.", |torrent| torrent.upload_rate as f64),
    ("torrent_share_ratio", "Sent over the larger of received and verified bytes; 0 for none.", |torrent| {
        torrent.ratio().get().unwrap_or(0.0)
    }),
    ("torrent_peers", "Connected peers.", |torrent| f64::from(torrent.connected)),
    ("torrent_failed", "Whether an error stopped it.", |torrent| {
        f64::from(u8::from(torrent.state.error().is_some()))
    }),
];

const COUNTERS: [(&str, &str, Count); 3] = [
    ("torrent_received_bytes_total", "Payload received over all runs.", |torrent| torrent.downloaded),
    ("torrent_sent_bytes_total", "Payload sent over all runs.", |torrent| torrent.uploaded),
    ("torrent_wasted_bytes_total", "Bytes that failed their hash or came twice, in this run.", |torrent| {
        torrent.wasted
    }),
];

pub(super) fn tell(page: &Page, snapshot: &EngineSnapshot) -> Result<()> {
    let torrents = most_active(snapshot);
    let truncated = snapshot.torrents.len() > torrents.len();
    page.value(
        "torrent_series_truncated",
        "Whether this page lacks torrents: it has the most active ones.",
        f64::from(u8::from(truncated)),
    )?;
    let hashes: Vec<String> = torrents.iter().map(|torrent| torrent.torrent_id().to_string()).collect();
    let by_hash = || hashes.iter().map(String::as_str).zip(torrents.iter());
    let label = &["infohash"][..];
    let labels: Vec<String> = torrents.iter().map(|torrent| torrent.settings.labels.join(",")).collect();
    page.gauge(
        "torrent_info",
        "Names to join with the other series.",
        &["infohash", "name", "label"],
        by_hash().zip(&labels).map(|((hash, torrent), label)| {
            (vec![hash, torrent.metainfo.info.name.as_str(), label.as_str()], 1.0)
        }),
    )?;
    for (name, help, value) in GAUGES {
        page.gauge(name, help, label, by_hash().map(|(hash, torrent)| (vec![hash], value(torrent))))?;
    }
    for (name, help, count) in COUNTERS {
        page.counter(name, help, label, by_hash().map(|(hash, torrent)| (vec![hash], count(torrent))))?;
    }
    Ok(())
}

/// The torrents that move most now, then those that moved last.
fn most_active(snapshot: &EngineSnapshot) -> Vec<Arc<TorrentStatus>> {
    let mut torrents: Vec<_> = snapshot.torrents.iter().cloned().collect();
    torrents.sort_by_cached_key(|torrent| {
        let rate = torrent.upload_rate + torrent.download_rate;
        std::cmp::Reverse((rate, torrent.active_at, std::cmp::Reverse(torrent.id)))
    });
    torrents.truncate(TORRENT_SERIES_MAX);
    torrents
}
