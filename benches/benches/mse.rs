//! What encryption costs: RC4 beside a crate that has it, and an exponentiation beside a general one.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use num_bigint::BigUint;
use rc4::{KeyInit, StreamCipher};
use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::mse::{Initiator, KEY_LEN, LookupHash, Methods, Random, Rc4, Responder, Step};
use std::hint::black_box;

const PRIME: &[u8] =
    b"FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563";

fn stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rc4");
    let mut data = vec![0; 128 << 10];
    group.throughput(Throughput::Bytes(data.len() as u64));
    let mut own = Rc4::new(b"sixteen byte key");
    group.bench_function("own", |bencher| bencher.iter(|| own.apply(black_box(&mut data))));
    let mut other = rc4::Rc4::new_from_slice(b"sixteen byte key").expect("a key");
    group.bench_function("crate", |bencher| bencher.iter(|| other.apply_keystream(black_box(&mut data))));
    group.finish();
}

fn random() -> Random {
    let mut bytes = [0; Random::LEN];
    Rc4::new(b"random").apply(&mut bytes);
    Random::new(bytes)
}

fn exchange(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    let random = random();
    group.bench_function("key pair", |bencher| {
        bencher.iter(|| {
            let mut initiator = Initiator::new(SwarmHash([1; 20]), Methods::Both, b"");
            initiator.compute(&random);
            black_box(initiator.step())
        });
    });
    let nobody = |_: &LookupHash| None;
    // 96 bytes and some rubbish: what a stranger can make a responder do.
    let bogus: Vec<u8> = (0..KEY_LEN + 700).map(|at| (at * 89 + 3) as u8).collect();
    group.bench_function("bogus handshake", |bencher| {
        bencher.iter(|| {
            let mut responder = Responder::new(Methods::Both);
            responder.receive(&bogus);
            while let Ok(step) = responder.step(&nobody) {
                if matches!(step, Step::Compute) {
                    responder.compute(&random);
                }
            }
        });
    });
    let prime = BigUint::parse_bytes(PRIME, 16).expect("a number");
    let (base, exponent) = (BigUint::from_bytes_be(&bogus[..KEY_LEN]), BigUint::from_bytes_be(&bogus[..20]));
    group.bench_function("one power with num-bigint", |bencher| {
        bencher.iter(|| black_box(&base).modpow(&exponent, &prime));
    });
    group.finish();
}

criterion_group!(benches, stream, exchange);
criterion_main!(benches);
