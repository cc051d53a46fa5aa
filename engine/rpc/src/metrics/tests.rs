//! The page as Prometheus reads it, from snapshots with known numbers.

use super::*;
use ringseed_handle::{LoopDelays, ShardCounters, ShardStatus, StorageStatus, UnderWay};
use ringseed_ring::RingStats;

fn page(snapshot: &EngineSnapshot) -> String {
    let info = RpcInfo {
        version: "0.1.0".to_owned(),
        download_dir: "/tmp".into(),
        state_dir: None,
        sockets_max: 256,
        connections_max: 500,
        torrent_connections_max: 50,
        allowed_hosts: Vec::new(),
        credentials: Default::default(),
        fetch_local: false,
        create_dirs: vec!["/tmp".into()],
        route: ringseed_net::route::Route::default(),
        trust: Default::default(),
        started: SystemTime::UNIX_EPOCH,
    };
    String::from_utf8(Metrics::new().unwrap().page(snapshot, &info).unwrap()).unwrap()
}

fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line} is missing:\n{text}");
    }
}

#[test]
fn loop_delays_are_a_cumulative_histogram_by_shard() {
    let mut slow = LoopDelays { sum_us: 3_500_000, longest_us: 2_000_000, ..LoopDelays::default() };
    slow.counts[0] = 100;
    slow.counts[3] = 20;
    slow.counts[13] = 1;
    let shards = vec![ShardStatus { delays: slow, ..ShardStatus::default() }, ShardStatus::default()];
    let text = page(&EngineSnapshot { shards, ..EngineSnapshot::default() });
    assert_lines(
        &text,
        &[
            "# TYPE ringseed_shard_loop_delay_seconds histogram",
            "ringseed_shard_loop_delay_seconds_bucket{shard=\"0\",le=\"0.0001\"} 100",
            "ringseed_shard_loop_delay_seconds_bucket{shard=\"0\",le=\"0.0005\"} 100",
            "ringseed_shard_loop_delay_seconds_bucket{shard=\"0\",le=\"0.001\"} 120",
            "ringseed_shard_loop_delay_seconds_bucket{shard=\"0\",le=\"1\"} 120",
            "ringseed_shard_loop_delay_seconds_bucket{shard=\"0\",le=\"+Inf\"} 121",
            "ringseed_shard_loop_delay_seconds_sum{shard=\"0\"} 3.5",
            "ringseed_shard_loop_delay_seconds_count{shard=\"0\"} 121",
            "ringseed_shard_loop_delay_seconds_count{shard=\"1\"} 0",
            "ringseed_shard_loop_delay_longest_seconds{shard=\"0\"} 2",
            "ringseed_shard_busy_seconds_total{shard=\"0\"} 3.5",
        ],
    );
}

#[test]
fn every_counter_that_explains_a_slow_box_is_there() {
    let counters = ShardCounters {
        sends: 10,
        blocks_sent: 160,
        partial_sends: 3,
        cold_pieces: 4,
        read_waits: 8,
        major_faults: 9,
        dirty_waits: 5,
        bans: 4,
        turns: 6,
        made_room: 7,
        handshakes: [11, 12, 13, 14, 15],
        obfuscations: [5, 4, 2],
        exponentiations: 21,
        enciphered: 22,
    };
    let under_way = UnderWay { dialling: 1, handshaking: 2, active: 3, closing: 4, reads: (5, 6), pieces: 7 };
    let ring = RingStats { enobufs: 7, recv_buffers_free: 250, ops: 12, ..RingStats::default() };
    let storage = StorageStatus {
        serving_read_bytes: 1 << 20,
        verifying_read_bytes: 2 << 20,
        written_bytes: 3 << 20,
        past_cache_written_bytes: 1 << 20,
        hashed_bytes: 7 << 20,
        errors: 3,
        read_ahead_bytes: 4 << 20,
        read_ahead_bytes_max: 64 << 20,
        loaded_bytes: 5 << 20,
        dirty_bytes: 6 << 20,
        dirty_bytes_max: 256 << 20,
        piece_bytes: 7 << 20,
        spare_bytes: 1 << 20,
        piece_bytes_max: 64 << 20,
        waiting_for_memory: 3,
        maps: 8,
        mapped_bytes: 9 << 20,
        open_files: 2,
    };
    let shards = vec![ShardStatus { counters, ring, under_way, ..ShardStatus::default() }];
    let text = page(&EngineSnapshot { shards, storage, ..EngineSnapshot::default() });
    assert_lines(
        &text,
        &[
            "ringseed_shard_sends_total{shard=\"0\"} 10",
            "ringseed_shard_sent_blocks_total{shard=\"0\"} 160",
            "ringseed_shard_partial_sends_total{shard=\"0\"} 3",
            "ringseed_shard_cold_pieces_total{shard=\"0\"} 4",
            "ringseed_shard_read_waits_total{shard=\"0\"} 8",
            "ringseed_shard_major_faults_total{shard=\"0\"} 9",
            "ringseed_shard_dirty_waits_total{shard=\"0\"} 5",
            "ringseed_peer_bans_total 4",
            "ringseed_banned_peers 0",
            "ringseed_piece_memory_bytes 7340032",
            "ringseed_torrents_waiting_for_memory 3",
            "ringseed_ring_no_buffers_total{shard=\"0\"} 7",
            "ringseed_ring_receive_buffers_free{shard=\"0\"} 250",
            "ringseed_ring_operations{shard=\"0\"} 12",
            "ringseed_disk_read_bytes_total{purpose=\"serve\"} 1048576",
            "ringseed_disk_read_bytes_total{purpose=\"verify\"} 2097152",
            "ringseed_disk_written_bytes_total 3145728",
            "ringseed_disk_past_cache_written_bytes_total 1048576",
            "ringseed_read_ahead_bytes 4194304",
            "ringseed_loaded_bytes 5242880",
            "ringseed_dirty_bytes 6291456",
            "ringseed_dirty_max_bytes 268435456",
            "ringseed_maps 8",
            "ringseed_hashed_bytes_total{purpose=\"download\"} 7340032",
            "ringseed_hashed_bytes_total{purpose=\"verify\"} 2097152",
            "ringseed_storage_errors_total 3",
            "ringseed_connections_by_state{state=\"dialling\"} 1",
            "ringseed_connections_by_state{state=\"handshaking\"} 2",
            "ringseed_connections_by_state{state=\"active\"} 3",
            "ringseed_connections_by_state{state=\"closing\"} 4",
            "ringseed_handshakes_total{result=\"done\"} 11",
            "ringseed_handshakes_encrypted_total{encrypted=\"none\"} 5",
            "ringseed_handshakes_encrypted_total{encrypted=\"handshake\"} 4",
            "ringseed_handshakes_encrypted_total{encrypted=\"stream\"} 2",
            "ringseed_encryption_exponentiations_total 21",
            "ringseed_enciphered_bytes_total 22",
            "ringseed_handshakes_total{result=\"refused\"} 12",
            "ringseed_handshakes_total{result=\"invalid\"} 13",
            "ringseed_handshakes_total{result=\"late\"} 14",
            "ringseed_handshakes_total{result=\"closed\"} 15",
            "ringseed_shard_reads{shard=\"0\"} 5",
            "ringseed_shard_reads_waiting{shard=\"0\"} 6",
            "ringseed_shard_pieces_waiting{shard=\"0\"} 7",
            "ringseed_protocol_bytes_total{direction=\"sent\"} 0",
        ],
    );
}
