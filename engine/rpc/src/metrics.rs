//! The metrics page: the latest snapshot, the process and the RPC in Prometheus' text form.
//!
//! Values that live in snapshots are put into a registry of their own at each scrape; nothing is counted
//! twice, and a scrape disturbs no shard.

mod disks;
mod page;
mod shards;
mod storage;
mod torrents;

use super::RpcInfo;
use super::process::Process;
use disks::Disks;
use page::Page;
use prometheus::{Encoder, HistogramOpts, HistogramVec, Registry, TextEncoder};
use ringseed_handle::{EngineSnapshot, ShardStatus, TorrentState};
use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What outlives a scrape.
pub(super) struct Metrics {
    lasting: Registry,
    latency: HistogramVec,
    disks: Disks,
    /// Bytes of protocol sent and received, as told last.
    protocol: Cell<(u64, u64)>,
}

type Result<T> = prometheus::Result<T>;

impl Metrics {
    pub(super) fn new() -> Result<Self> {
        let lasting = Registry::new();
        let options = HistogramOpts::new(
            "ringseed_rpc_request_duration_seconds",
            "Time to answer an RPC request, without reading and writing it.",
        )
        .buckets(vec![0.0005, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0]);
        let latency = HistogramVec::new(options, &["method"])?;
        lasting.register(Box::new(latency.clone()))?;
        Ok(Self { lasting, latency, disks: Disks::default(), protocol: Cell::default() })
    }

    /// Counts an answer.
    pub(super) fn answered(&self, method: &'static str, took: Duration) {
        self.latency.with_label_values(&[method]).observe(took.as_secs_f64());
    }

    /// Looks at what the next page needs from elsewhere than the snapshot.
    pub(super) async fn look(&self, download_dir: &Path, snapshot: &EngineSnapshot) {
        self.disks.look(download_dir, snapshot).await;
    }

    /// The page.
    pub(super) fn page(&self, snapshot: &EngineSnapshot, info: &RpcInfo) -> Result<Vec<u8>> {
        let page = Page::default();
        page.gauge("build_info", "Version of this engine.", &["version"], [(vec![&*info.version], 1.0)])?;
        let started = info.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        page.value("start_time_seconds", "When the engine started, since 1970.", started.as_secs_f64())?;
        let ready = f64::from(u8::from(snapshot.ready));
        page.value("ready", "Whether every torrent of the resume store is loaded.", ready)?;
        let failing = |trouble: bool| f64::from(u8::from(trouble));
        page.gauge(
            "failing",
            "Whether a part of the engine fails now; the page /readyz says why.",
            &["part"],
            [
                (vec!["network"], failing(snapshot.trouble.is_some())),
                (vec!["store"], failing(snapshot.store_trouble.is_some())),
            ],
        )?;
        page.counter(
            "payload_bytes_total",
            "Payload bytes of pieces by direction.",
            &["direction"],
            [(vec!["sent"], snapshot.run.uploaded), (vec!["received"], snapshot.run.downloaded)],
        )?;
        let (sent, received) = self.protocol(snapshot);
        page.counter(
            "protocol_bytes_total",
            "Bytes to and from peers that are no payload, by direction.",
            &["direction"],
            [(vec!["sent"], sent), (vec!["received"], received)],
        )?;
        torrents_by_state(&page, snapshot)?;
        trackers(&page, snapshot)?;
        let banned: usize = snapshot.torrents.iter().map(|torrent| torrent.banned.len()).sum();
        page.value("banned_peers", "Addresses banned from a torrent for wrong data now.", banned as f64)?;
        page.value("connections", "Open peer connections.", snapshot.connections as f64)?;
        shards::tell(&page, &snapshot.shards)?;
        storage::tell(&page, &snapshot.storage)?;
        self.disks.tell(&page)?;
        process(&page, Process::read())?;
        let mut text = Vec::new();
        let encoder = TextEncoder::new();
        encoder.encode(&page.gather(), &mut text)?;
        encoder.encode(&self.lasting.gather(), &mut text)?;
        Ok(text)
    }

    /// What peers were sent and sent beside payload. Both sums come from the same publications, but for payload of the
    /// last moment: what is told never falls for that.
    fn protocol(&self, snapshot: &EngineSnapshot) -> (u64, u64) {
        let all = |of: fn(&ShardStatus) -> u64| snapshot.shards.iter().map(of).sum::<u64>();
        let sent = all(|shard| shard.ring.sent_bytes).saturating_sub(snapshot.run.uploaded);
        let received = all(|shard| shard.ring.received_bytes).saturating_sub(snapshot.run.downloaded);
        let before = self.protocol.get();
        self.protocol.set((sent.max(before.0), received.max(before.1)));
        self.protocol.get()
    }

    /// The page of series per torrent.
    pub(super) fn torrents_page(&self, snapshot: &EngineSnapshot) -> Result<Vec<u8>> {
        let page = Page::default();
        torrents::tell(&page, snapshot)?;
        let mut text = Vec::new();
        TextEncoder::new().encode(&page.gather(), &mut text)?;
        Ok(text)
    }
}

fn torrents_by_state(page: &Page, snapshot: &EngineSnapshot) -> Result<()> {
    let sums = snapshot.torrents.sums();
    let states = TorrentState::NAMES.into_iter().zip(sums.states);
    let states = states.map(|(state, count)| (vec![state], f64::from(count)));
    page.gauge("torrents", "Torrents by state.", &["state"], states)?;
    page.value("torrents_left_bytes", "Bytes wanted and missing.", sums.left as f64)?;
    page.value("torrents_wanted_bytes", "Bytes wanted.", sums.wanted as f64)
}

/// Trackers by what they said last, and peers by what they do.
fn trackers(page: &Page, snapshot: &EngineSnapshot) -> Result<()> {
    let mut results = [("ok", 0u32), ("failed", 0), ("none", 0)];
    let mut peers = [("sending", 0u32), ("receiving", 0), ("idle", 0)];
    for torrent in &snapshot.torrents {
        for tracker in &torrent.trackers {
            let place = match (tracker.ok, tracker.last_result.is_empty()) {
                (true, _) => 0,
                (false, false) => 1,
                (false, true) => 2,
            };
            results[place].1 += 1;
        }
        for peer in &torrent.peers {
            let place = match (peer.download_rate > 0, peer.upload_rate > 0) {
                (true, _) => 0,
                (false, true) => 1,
                (false, false) => 2,
            };
            peers[place].1 += 1;
        }
    }
    let of = |counts: [(&'static str, u32); 3]| counts.map(|(name, count)| (vec![name], f64::from(count)));
    page.gauge(
        "trackers",
        "Trackers of running torrents by the result of their last announce.",
        &["result"],
        of(results),
    )?;
    page.gauge("peers", "Listed peers by what they do.", &["state"], of(peers))
}

fn process(page: &Page, process: Process) -> Result<()> {
    page.gauge(
        "process_resident_memory_bytes",
        "Resident memory by kind; file pages can be dropped by the kernel.",
        &["kind"],
        [
            (vec!["anonymous"], process.anonymous_bytes as f64),
            (vec!["file"], process.file_bytes as f64),
            (vec!["shared"], process.shared_bytes as f64),
        ],
    )?;
    page.value("process_open_fds", "Open descriptors.", process.open_fds as f64)?;
    page.value("process_max_fds", "Descriptors that may be open.", process.max_fds as f64)
}

#[cfg(test)]
mod tests;
