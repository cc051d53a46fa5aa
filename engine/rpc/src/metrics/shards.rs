//! What the shards did: their loops, sends and data rings. The counters that explain a slow box.

use super::page::{Counted, Page};
use prometheus::Result;
use ringseed_handle::{BOUNDS_US, HandshakeEnd, OBFUSCATIONS, ShardStatus, UnderWay};

const PER_SECOND: f64 = 1e6;

type Value = fn(&ShardStatus) -> u64;

/// Counters by shard.
const COUNTERS: [(&str, &str, Value); 17] = [
    ("shard_turns_total", "Turns of the shard's loop.", |shard| shard.counters.turns),
    ("shard_sends_total", "Gathered sends to peers.", |shard| shard.counters.sends),
    (
        "shard_sent_blocks_total",
        "Blocks gathered in them; over shard_sends_total, the blocks per send.",
        |shard| shard.counters.blocks_sent,
    ),
    ("shard_partial_sends_total", "Sends that the socket took a part of.", |shard| {
        shard.counters.partial_sends
    }),
    (
        "shard_cold_pieces_total",
        "Reads from disk because a block that a peer asked for was not in memory.",
        |shard| shard.counters.cold_pieces,
    ),
    ("shard_read_waits_total", "Times such a read waited until others were done.", |shard| {
        shard.counters.read_waits
    }),
    (
        "shard_major_faults_total",
        "Page faults that waited for a disk, each of which held up the shard's loop.",
        |shard| shard.counters.major_faults,
    ),
    ("shard_dirty_waits_total", "Times requesting waited for the dirty-byte budget.", |shard| {
        shard.counters.dirty_waits
    }),
    (
        "shard_made_room_total",
        "Connections of little use that were ended because others waited for a place.",
        |shard| shard.counters.made_room,
    ),
    ("ring_enters_total", "io_uring_enter calls.", |shard| shard.ring.enters),
    ("ring_submissions_total", "Submission entries handed to the kernel.", |shard| shard.ring.sqes),
    ("ring_completions_total", "Completion entries read.", |shard| shard.ring.cqes),
    ("ring_no_buffers_total", "Receives that ended for lack of buffers (ENOBUFS).", |shard| {
        shard.ring.enobufs
    }),
    ("ring_overflows_total", "Completion queue overflows.", |shard| shard.ring.cq_overflows),
    ("ring_full_total", "Times the submission queue was full.", |shard| shard.ring.sq_full),
    ("ring_received_bytes_total", "Bytes received from peers, protocol included.", |shard| {
        shard.ring.received_bytes
    }),
    ("ring_sent_bytes_total", "Bytes sent to peers, protocol included.", |shard| shard.ring.sent_bytes),
];

/// Gauges by shard.
const GAUGES: [(&str, &str, Value); 6] = [
    ("shard_connections", "Open peer connections by shard.", |shard| shard.connections as u64),
    ("ring_receive_buffers_free", "Receive buffers that the kernel can fill.", |shard| {
        shard.ring.recv_buffers_free.into()
    }),
    ("ring_operations", "Operations in flight.", |shard| shard.ring.ops.into()),
    ("shard_reads", "Reads from disk for peers that were begun.", |shard| shard.under_way.reads.0 as u64),
    ("shard_reads_waiting", "Reads from disk for peers that wait for others.", |shard| {
        shard.under_way.reads.1 as u64
    }),
    ("shard_pieces_waiting", "Whole pieces that are being hashed or written.", |shard| {
        shard.under_way.pieces as u64
    }),
];

/// Connections by state, and handshakes by how they ended, of all shards together.
fn connections(page: &Page, shards: &[ShardStatus]) -> Result<()> {
    let sum =
        |of: fn(&UnderWay) -> usize| shards.iter().map(|shard| of(&shard.under_way)).sum::<usize>() as f64;
    page.gauge(
        "connections_by_state",
        "Peer connections by state.",
        &["state"],
        [
            (vec!["dialling"], sum(|now| now.dialling)),
            (vec!["handshaking"], sum(|now| now.handshaking)),
            (vec!["active"], sum(|now| now.active)),
            (vec!["closing"], sum(|now| now.closing)),
        ],
    )?;
    let ended = |end: usize| shards.iter().map(|shard| shard.counters.handshakes[end]).sum::<u64>();
    page.counter(
        "handshakes_total",
        "Handshakes with peers by how they ended.",
        &["result"],
        HandshakeEnd::NAMES.iter().enumerate().map(|(end, name)| (vec![*name], ended(end))),
    )?;
    let kind = |kind: usize| shards.iter().map(|shard| shard.counters.obfuscations[kind]).sum::<u64>();
    page.counter(
        "handshakes_encrypted_total",
        "Handshakes that were done by what of the connection is encrypted.",
        &["encrypted"],
        OBFUSCATIONS.iter().enumerate().map(|(at, name)| (vec![*name], kind(at))),
    )?;
    let sum = |of: fn(&ShardStatus) -> u64| [(vec![], shards.iter().map(of).sum::<u64>())];
    page.counter(
        "encryption_exponentiations_total",
        "Exponentiations for encryption handshakes, up to two for each.",
        &[],
        sum(|shard| shard.counters.exponentiations),
    )?;
    page.counter(
        "enciphered_bytes_total",
        "Bytes enciphered with RC4 for peers.",
        &[],
        sum(|shard| shard.counters.enciphered),
    )
}

pub(super) fn tell(page: &Page, shards: &[ShardStatus]) -> Result<()> {
    page.counter(
        "peer_bans_total",
        "Times an address was banned from a torrent for wrong data.",
        &[],
        [(vec![], shards.iter().map(|shard| shard.counters.bans).sum())],
    )?;
    connections(page, shards)?;
    let names: Vec<String> = (0..shards.len()).map(|shard| shard.to_string()).collect();
    let by_shard = || names.iter().map(String::as_str).zip(shards);
    let label = &["shard"][..];
    for (name, help, value) in GAUGES {
        let values = by_shard().map(|(name, shard)| (vec![name], value(shard) as f64));
        page.gauge(name, help, label, values)?;
    }
    for (name, help, value) in COUNTERS {
        page.counter(name, help, label, by_shard().map(|(name, shard)| (vec![name], value(shard))))?;
    }
    page.seconds(
        "shard_busy_seconds_total",
        "Time in which the shard's loop did not sleep; its rate is the busy share.",
        label,
        by_shard().map(|(name, shard)| (vec![name], shard.delays.sum_us as f64 / PER_SECOND)),
    )?;
    page.gauge(
        "shard_loop_delay_longest_seconds",
        "The longest loop delay since the start.",
        label,
        by_shard().map(|(name, shard)| (vec![name], shard.delays.longest_us as f64 / PER_SECOND)),
    )?;
    let bounds = BOUNDS_US.map(|bound| f64::from(bound) / PER_SECOND);
    page.histogram(
        "shard_loop_delay_seconds",
        "Time between two turns of the shard's loop that it did not mean to sleep.",
        "shard",
        by_shard().map(|(name, shard)| {
            let sum = shard.delays.sum_us as f64 / PER_SECOND;
            (name, Counted { bounds: &bounds, counts: &shard.delays.counts, sum })
        }),
    );
    Ok(())
}
