//! The frame decoder: requests as a seeder gets them, blocks as a downloader does, in receives of several sizes.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringseed_proto::units::{BLOCK_LEN, Block, PieceIndex};
use ringseed_proto::wire::{Decoder, Frame, Message, encode_piece_header};
use std::hint::black_box;

const COUNT: u32 = 64;

fn block(n: u32) -> Block {
    Block { piece: PieceIndex(n / 64), begin: n % 64 * BLOCK_LEN, length: BLOCK_LEN }
}

/// Decodes `bytes` in receives of `size`; the frames that came out.
fn decode(decoder: &mut Decoder, bytes: &[u8], size: usize) -> usize {
    let mut frames = 0;
    for mut part in bytes.chunks(size) {
        while let Ok(Some(frame)) = decoder.next(&mut part) {
            if let Frame::BlockChunk { data, .. } = frame {
                black_box(data);
            }
            frames += 1;
        }
    }
    frames
}

fn decoder(criterion: &mut Criterion) {
    let mut requests = Vec::new();
    let mut blocks = Vec::new();
    for n in 0..COUNT {
        Message::Request(block(n)).encode(&mut requests);
        encode_piece_header(&block(n), &mut blocks);
        blocks.resize(blocks.len() + BLOCK_LEN as usize, n as u8);
    }
    let mut group = criterion.benchmark_group("decoder");
    group.throughput(Throughput::Elements(COUNT.into()));
    for (name, bytes, sizes) in
        [("requests", &requests, [17, 100, 1088]), ("blocks", &blocks, [1448, 16_384, 65_536])]
    {
        for size in sizes {
            let mut decoder = Decoder::default();
            assert!(decode(&mut decoder, bytes, size) >= COUNT as usize);
            group.bench_function(BenchmarkId::new(name, format!("receives of {size}")), |bencher| {
                bencher.iter(|| decode(&mut decoder, black_box(bytes), size));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, decoder);
criterion_main!(benches);
