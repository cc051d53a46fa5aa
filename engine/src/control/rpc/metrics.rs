//! The metrics page: the latest snapshot, the process and the RPC in Prometheus' text form.
//!
//! Values that live in snapshots are put into a registry of their own at each scrape; nothing is counted
//! twice, and a scrape disturbs no shard.

use super::RpcInfo;
use super::process::Process;
use crate::control::{EngineSnapshot, ShardStatus, TorrentState};
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

/// What outlives a scrape.
pub(super) struct Metrics {
    lasting: Registry,
    latency: HistogramVec,
    ledger: RefCell<Ledger>,
}

/// Payload bytes over all torrents, also those that were removed: a sum that never falls.
#[derive(Default)]
struct Ledger {
    seen: HashMap<u32, (u64, u64)>,
    uploaded: u64,
    downloaded: u64,
}

impl Ledger {
    /// Adds what was moved since the last look. A torrent of an earlier run starts from what it had.
    fn look(&mut self, snapshot: &EngineSnapshot, started: SystemTime) {
        let mut seen = HashMap::with_capacity(snapshot.torrents.len());
        for torrent in &snapshot.torrents {
            let now = (torrent.uploaded, torrent.downloaded);
            let new = if torrent.added_at >= started { (0, 0) } else { now };
            let before = self.seen.get(&torrent.id).copied().unwrap_or(new);
            self.uploaded += now.0.saturating_sub(before.0);
            self.downloaded += now.1.saturating_sub(before.1);
            seen.insert(torrent.id, now);
        }
        self.seen = seen;
    }
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
        Ok(Self { lasting, latency, ledger: RefCell::default() })
    }

    /// Counts an answer.
    pub(super) fn answered(&self, method: &'static str, took: Duration) {
        self.latency.with_label_values(&[method]).observe(took.as_secs_f64());
    }

    /// Payload bytes sent and received in this run.
    pub(super) fn moved(&self, snapshot: &EngineSnapshot, info: &RpcInfo) -> (u64, u64) {
        let mut ledger = self.ledger.borrow_mut();
        ledger.look(snapshot, info.started);
        (ledger.uploaded, ledger.downloaded)
    }

    /// The page.
    pub(super) fn page(&self, snapshot: &EngineSnapshot, info: &RpcInfo) -> Result<Vec<u8>> {
        let page = Page(Registry::new());
        page.gauge("build_info", "Version of this engine.", &["version"], [(vec![&*info.version], 1.0)])?;
        let started = info.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        page.value("start_time_seconds", "When the engine started, since 1970.", started.as_secs_f64())?;
        let ready = f64::from(u8::from(snapshot.ready));
        page.value("ready", "Whether every torrent of the resume store is loaded.", ready)?;
        let (uploaded, downloaded) = self.moved(snapshot, info);
        page.counter(
            "payload_bytes_total",
            "Payload bytes of pieces by direction.",
            &["direction"],
            [(vec!["sent"], uploaded), (vec!["received"], downloaded)],
        )?;
        torrents(&page, snapshot)?;
        page.value("connections", "Open peer connections.", snapshot.connections as f64)?;
        shards(&page, &snapshot.shards)?;
        process(&page, Process::read())?;
        let mut text = Vec::new();
        let encoder = TextEncoder::new();
        encoder.encode(&page.0.gather(), &mut text)?;
        encoder.encode(&self.lasting.gather(), &mut text)?;
        Ok(text)
    }
}

fn torrents(page: &Page, snapshot: &EngineSnapshot) -> Result<()> {
    let mut states = [("paused", 0u32), ("checking", 0), ("downloading", 0), ("seeding", 0), ("failed", 0)];
    let (mut left, mut wanted) = (0u64, 0u64);
    for torrent in &snapshot.torrents {
        let place = match torrent.state {
            TorrentState::Paused => 0,
            TorrentState::Checking(_) => 1,
            TorrentState::Downloading => 2,
            TorrentState::Seeding => 3,
            TorrentState::Failed(_) => 4,
        };
        states[place].1 += 1;
        left = left.saturating_add(torrent.left);
        wanted = wanted.saturating_add(torrent.wanted);
    }
    let states = states.map(|(state, count)| (vec![state], f64::from(count)));
    page.gauge("torrents", "Torrents by state.", &["state"], states)?;
    page.value("torrents_left_bytes", "Bytes wanted and missing.", left as f64)?;
    page.value("torrents_wanted_bytes", "Bytes wanted.", wanted as f64)
}

fn shards(page: &Page, shards: &[ShardStatus]) -> Result<()> {
    let names: Vec<String> = (0..shards.len()).map(|shard| shard.to_string()).collect();
    let each = |value: fn(&ShardStatus) -> u64| {
        names.iter().zip(shards).map(move |(name, shard)| (vec![name.as_str()], value(shard)))
    };
    let label = &["shard"][..];
    page.gauge(
        "shard_connections",
        "Open peer connections by shard.",
        label,
        each(|shard| shard.connections as u64).map(|(name, count)| (name, count as f64)),
    )?;
    type Value = fn(&ShardStatus) -> u64;
    let counters: [(&str, &str, Value); 13] = [
        ("shard_turns_total", "Turns of the shard's loop.", |shard| shard.counters.turns),
        ("shard_sends_total", "Gathered sends to peers.", |shard| shard.counters.sends),
        ("shard_sent_blocks_total", "Blocks gathered in them.", |shard| shard.counters.blocks_sent),
        ("shard_partial_sends_total", "Sends that the socket took a part of.", |shard| {
            shard.counters.partial_sends
        }),
        ("shard_cold_pieces_total", "Pieces read in before they were sent.", |shard| {
            shard.counters.cold_pieces
        }),
        ("shard_dirty_waits_total", "Times requesting waited for the disk.", |shard| {
            shard.counters.dirty_waits
        }),
        ("ring_enters_total", "io_uring_enter calls.", |shard| shard.ring.enters),
        ("ring_submissions_total", "Submission entries handed to the kernel.", |shard| shard.ring.sqes),
        ("ring_completions_total", "Completion entries read.", |shard| shard.ring.cqes),
        ("ring_no_buffers_total", "Receives that ended for lack of buffers.", |shard| shard.ring.enobufs),
        ("ring_overflows_total", "Completion queue overflows.", |shard| shard.ring.cq_overflows),
        ("ring_received_bytes_total", "Bytes received from peers, protocol included.", |shard| {
            shard.ring.received_bytes
        }),
        ("ring_sent_bytes_total", "Bytes sent to peers, protocol included.", |shard| shard.ring.sent_bytes),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, label, each(value))?;
    }
    Ok(())
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

/// One scrape; names get the prefix.
struct Page(Registry);

impl Page {
    fn value(&self, name: &str, help: &str, value: f64) -> Result<()> {
        self.gauge(name, help, &[], [(vec![], value)])
    }

    fn gauge<'a>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
    ) -> Result<()> {
        let family = GaugeVec::new(Opts::new(format!("ringseed_{name}"), help), labels)?;
        for (labels, value) in values {
            family.get_metric_with_label_values(&labels)?.set(value);
        }
        self.0.register(Box::new(family))
    }

    fn counter<'a>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = (Vec<&'a str>, u64)>,
    ) -> Result<()> {
        let family = IntCounterVec::new(Opts::new(format!("ringseed_{name}"), help), labels)?;
        for (labels, value) in values {
            family.get_metric_with_label_values(&labels)?.inc_by(value);
        }
        self.0.register(Box::new(family))
    }
}
