//! What a blast found, as data and as text.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{histogram::Quantiles, seeder_process::Memory, spread::Spread};

/// Result of one blast. MB and GB are 10^6 and 10^9 bytes of payload; everything is over the measured window
/// unless it says otherwise.
#[derive(Debug, Clone, Serialize)]
pub struct BlastReport {
    /// The seeder.
    pub addr: String,
    /// Connections asked for, without greedy ones.
    pub connections: u32,
    /// Connections that were served before the window began, with greedy ones.
    pub served: u32,
    /// Requests in flight per connection.
    pub depth: u32,
    /// Payload before the window.
    pub warmup_bytes: u64,
    /// Payload in the window.
    pub bytes: u64,
    /// Length of the window.
    pub seconds: f64,
    /// Payload rate.
    pub mb_per_s: f64,
    /// Bytes per connection, without greedy ones.
    pub per_connection: Spread,
    /// Bytes per greedy connection.
    pub greedy: Option<Spread>,
    /// From request to the block's last byte, microseconds.
    pub request_latency_us: Quantiles,
    /// The seeder's cost, when its process id was given.
    pub seeder: Option<Cost>,
    /// The cost of this load generator.
    pub load: LoadCost,
    /// Counters of the whole run.
    pub totals: Totals,
    /// Connections that ended early, by reason.
    pub ended: BTreeMap<String, u32>,
}

/// CPU and memory of the seeder.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cost {
    /// Process id.
    pub pid: u32,
    /// User and system seconds of all threads.
    pub cpu_seconds: f64,
    /// The same per 10^9 bytes of payload.
    pub cpu_seconds_per_gb: f64,
    /// At the end of the window.
    pub memory: Memory,
}

/// CPU of the load generator.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LoadCost {
    /// User and system seconds.
    pub cpu_seconds: f64,
    /// The same per 10^9 bytes of payload.
    pub cpu_seconds_per_gb: f64,
}

/// Sums over all connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Requested blocks that arrived.
    pub blocks: u64,
    /// Blocks nobody asked for.
    pub stray_blocks: u64,
    /// Times a seeder choked again.
    pub chokes: u64,
    /// Requests rejected.
    pub rejects: u64,
    /// Pieces with the right SHA-1 (with verification).
    pub pieces_ok: u64,
    /// Pieces with a wrong SHA-1 (with verification).
    pub pieces_bad: u64,
}

impl fmt::Display for BlastReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        writeln!(f, "seeder {}: {} connections x {} requests", self.addr, self.connections, self.depth)?;
        writeln!(f, "  {:.0} MB in {:.2} s: {:.0} MB/s", mb(self.bytes), self.seconds, self.mb_per_s)?;
        let s = &self.per_connection;
        writeln!(
            f,
            "  per connection: min {:.1} / median {:.1} / max {:.1} MB, fairness {:.3} ({} of {} served)",
            mb(s.min),
            mb(s.median),
            mb(s.max),
            s.jain,
            self.served,
            self.connections
        )?;
        if let Some(s) = &self.greedy {
            writeln!(
                f,
                "  per greedy connection: min {:.1} / median {:.1} / max {:.1} MB",
                mb(s.min),
                mb(s.median),
                mb(s.max)
            )?;
        }
        let l = &self.request_latency_us;
        let ms = |us: u64| us as f64 / 1e3;
        writeln!(
            f,
            "  request latency: p50 {:.2} / p99 {:.2} / p99.9 {:.2} / max {:.2} ms",
            ms(l.p50),
            ms(l.p99),
            ms(l.p999),
            ms(l.max)
        )?;
        if let Some(cost) = &self.seeder {
            writeln!(
                f,
                "  seeder: {:.2} CPU s, {:.3} CPU s/GB, memory {:.1} MB anonymous, {:.1} MB file-backed",
                cost.cpu_seconds,
                cost.cpu_seconds_per_gb,
                mb(cost.memory.anon),
                mb(cost.memory.file + cost.memory.shmem)
            )?;
        }
        writeln!(
            f,
            "  load:   {:.2} CPU s, {:.3} CPU s/GB",
            self.load.cpu_seconds, self.load.cpu_seconds_per_gb
        )?;
        let t = &self.totals;
        if t.pieces_ok + t.pieces_bad > 0 {
            writeln!(f, "  verified: {} pieces right, {} wrong", t.pieces_ok, t.pieces_bad)?;
        }
        if t.chokes + t.rejects + t.stray_blocks > 0 {
            writeln!(
                f,
                "  chokes {}, rejects {}, blocks not asked for {}",
                t.chokes, t.rejects, t.stray_blocks
            )?;
        }
        self.ended.iter().try_for_each(|(reason, count)| writeln!(f, "  {count} x {reason}"))
    }
}
