//! SHA-1 of a piece: the `sha1` crate, and several pieces side by side.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringseed_proto::hash;
use sha1::{Digest, Sha1};
use std::hint::black_box;

fn noise(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 21) as u8).collect()
}

fn pieces(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sha1");
    for kib in [16, 256, 1024] {
        let length = kib << 10;
        let bytes = noise(4 * length);
        let [one, two, three, four] = std::array::from_fn(|at| &bytes[at * length..][..length]);
        let mut measure = |name: &str, count: usize, digest: &dyn Fn()| {
            group.throughput(Throughput::Bytes((count * length) as u64));
            group.bench_function(BenchmarkId::new(name, format!("{kib} KiB")), |bencher| {
                bencher.iter(digest);
            });
        };
        measure("sha1 crate", 1, &|| {
            black_box(Sha1::digest(black_box(one)));
        });
        measure("two side by side", 2, &|| {
            black_box(hash::digests(black_box([one, two])));
        });
        measure("three side by side", 3, &|| {
            black_box(hash::digests(black_box([one, two, three])));
        });
        measure("four side by side", 4, &|| {
            black_box(hash::digests(black_box([one, two, three, four])));
        });
    }
    group.finish();
}

/// Blocks as they come from a socket, in parts.
fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sha1 in parts");
    let bytes = noise(1 << 20);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    for part in [1448, 16_384] {
        group.bench_function(BenchmarkId::from_parameter(format!("{part} bytes")), |bencher| {
            bencher.iter_batched_ref(
                hash::Hasher::new,
                |hasher| bytes.chunks(part).for_each(|part| hasher.update(black_box(part))),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, pieces, parts);
criterion_main!(benches);
