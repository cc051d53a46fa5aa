//! The picker inside its swarm: what choosing, requesting and taking one block costs besides moving its bytes.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::layout::Layout;
use ringseed_proto::metainfo::Info;
use ringseed_proto::swarm::{
    Action, BlockSink, Content, FillLimits, PeerInfo, PeerKey, SendBatch, Swarm, SwarmConfig,
};
use ringseed_proto::units::{BLOCK_LEN, PeerId, PieceIndex, Time};
use ringseed_proto::wire::{Decoder, Frame, Handshake, Message, encode_piece_header};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const PIECE_LENGTH: u32 = 256 << 10;
const BLOCKS: u64 = 4096;

struct Nowhere;

impl BlockSink for Nowhere {
    fn write(&mut self, _: PieceIndex, _: u32, _: &[u8]) {}
    fn discard(&mut self, _: PieceIndex) {}
}

/// A torrent that is being downloaded from peers in memory.
struct Download {
    swarm: Swarm,
    peers: Vec<PeerKey>,
    now: Time,
    batch: SendBatch,
    answer: Vec<u8>,
}

impl Download {
    /// `peers` peers of `pieces` pieces; every second one lacks a third of them, each another.
    fn new(pieces: u32, peers: u16) -> Download {
        let total = u64::from(pieces) * u64::from(PIECE_LENGTH);
        let layout = Layout::single("x", PIECE_LENGTH, total).expect("a layout");
        let info = Info::new("x".into(), layout, vec![[0; 20]; pieces as usize], false).expect("a torrent");
        let content = Arc::new(Content { info: Arc::new(info), info_bytes: Arc::from([]) });
        let config = SwarmConfig { open_piece_bytes_max: 64 << 20, ..SwarmConfig::default() };
        let swarm = Swarm::new(config, content, Bitfield::new(pieces), 1, Time::ZERO);
        let mut download = Download {
            swarm,
            peers: Vec::new(),
            now: Time::ZERO,
            batch: SendBatch::default(),
            answer: Vec::new(),
        };
        for peer in 0..peers {
            download.join(peer, pieces);
        }
        download
    }

    fn join(&mut self, peer: u16, pieces: u32) {
        let [high, low] = peer.to_be_bytes();
        let mut id = [b'p'; 20];
        id[..2].copy_from_slice(&[high, low]);
        let handshake = Handshake::new(SwarmHash([1; 20]), PeerId(id));
        let addr = SocketAddr::from(([10, 0, high, low], 6881));
        let info = PeerInfo { addr, outgoing: false, handshake };
        let key = self.swarm.peer_connected(self.now, info).expect("a place");
        self.peers.push(key);
        let mut said = Vec::new();
        if peer.is_multiple_of(2) {
            Message::HaveAll.encode(&mut said);
        } else {
            let mut have = Bitfield::full(pieces);
            (0..pieces)
                .filter(|piece| (piece + u32::from(peer)).is_multiple_of(3))
                .for_each(|piece| _ = have.clear(piece));
            Message::Bitfield(have.as_bytes()).encode(&mut said);
        }
        Message::Unchoke.encode(&mut said);
        self.swarm.received(self.now, key, &said, &mut Nowhere).expect("a good peer");
    }

    /// Answers what the swarm asks for until `blocks` blocks have come.
    fn run(&mut self, blocks: u64) {
        let mut came = 0;
        let limits = FillLimits { blocks_max: 8, payload_bytes_max: u64::MAX };
        while came < blocks {
            let Some(peer) = self.swarm.next_ready() else { panic!("nobody is asked for anything") };
            self.batch.clear();
            self.swarm.fill(self.now, peer, &mut self.batch, limits, |_| true);
            self.answer.clear();
            let mut said = &self.batch.bytes[..];
            let mut decoder = Decoder::default();
            while let Ok(Some(frame)) = decoder.next(&mut said) {
                if let Frame::Message(Message::Request(block)) = frame {
                    encode_piece_header(&block, &mut self.answer);
                    self.answer.resize(self.answer.len() + block.length as usize, 0);
                    came += 1;
                }
            }
            self.now = self.now + Duration::from_micros(200);
            self.swarm.received(self.now, peer, &self.answer, &mut Nowhere).expect("a good peer");
            while let Some(action) = self.swarm.poll_action() {
                if let Action::PieceReady(piece) = action {
                    self.swarm.piece_verified(self.now, piece, Ok(()), &[]);
                    self.swarm.piece_stored(self.now, piece);
                }
            }
        }
    }
}

fn picker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("picker");
    group.throughput(Throughput::Elements(BLOCKS)).sample_size(20);
    assert_eq!(PIECE_LENGTH % BLOCK_LEN, 0);
    for (pieces, peers) in [(1_000, 1), (1_000, 50), (50_000, 50), (50_000, 200)] {
        let id = BenchmarkId::from_parameter(format!("{pieces} pieces, {peers} peers"));
        group.bench_function(id, |bencher| {
            bencher.iter_batched_ref(
                || Download::new(pieces, peers),
                |download| download.run(BLOCKS),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, picker);
criterion_main!(benches);
