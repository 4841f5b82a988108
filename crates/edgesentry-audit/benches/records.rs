//! What signing and chaining cost over Ed25519 alone, and what verifying a chain costs over BLAKE3 alone.
//!
//! The two ratios are taken side by side, in turns, from the fastest turn of each; the criterion figures follow.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::{Signer, SigningKey};
use edgesentry_audit::{AuditRecord, ChainSigner, build_signed_record, verify_chain};

const PAYLOAD: [u8; 256] = [0x5a; 256];
const DEVICE: &str = "lift-01";
const START_MS: u64 = 1_700_000_000_000;
/// Short turns: a busy machine leaves some of them alone.
const RECORDS: usize = 50;
const TURNS: usize = 1_000;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn bare_signatures(key: &SigningKey) {
    for _ in 0..RECORDS {
        black_box(key.sign(black_box(&PAYLOAD[..32])));
    }
}

/// As any caller does it: build each record, hash it for the next.
fn records_one_by_one(key: &SigningKey) -> Vec<AuditRecord> {
    let mut records = Vec::with_capacity(RECORDS);
    let mut prev = AuditRecord::zero_hash();
    for n in 1..=RECORDS as u64 {
        let record = build_signed_record(
            DEVICE,
            n,
            START_MS + n,
            black_box(&PAYLOAD),
            prev,
            "s3://bucket/lift-01/inspection.bin",
            key,
        );
        prev = record.hash();
        records.push(record);
    }
    records
}

fn records_by_chain_signer(key: &SigningKey) -> Vec<AuditRecord> {
    let mut chain = ChainSigner::new(DEVICE, key.clone());
    let reference = "s3://bucket/lift-01/inspection.bin";
    (0..RECORDS as u64).map(|n| chain.sign(START_MS + n, black_box(&PAYLOAD), reference)).collect()
}

fn bare_hashes(bytes: &[Vec<u8>]) {
    for record in bytes {
        black_box(blake3::hash(black_box(record)));
    }
}

fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn ratios() {
    let key = key();
    let records = records_one_by_one(&key);
    let bytes: Vec<Vec<u8>> = records.iter().map(AuditRecord::to_bytes).collect();
    let mut best = [Duration::MAX; 5];
    for _ in 0..TURNS {
        let turn = [
            time(|| bare_signatures(&key)),
            time(|| drop(black_box(records_one_by_one(&key)))),
            time(|| drop(black_box(records_by_chain_signer(&key)))),
            time(|| bare_hashes(&bytes)),
            time(|| assert_eq!(verify_chain(black_box(&records)), Ok(()))),
        ];
        for (best, turn) in best.iter_mut().zip(turn) {
            *best = turn.min(*best);
        }
    }
    let ns = best.map(|time| time.as_secs_f64() * 1e9 / RECORDS as f64);
    println!("a record of {} bytes about a payload of {}, ns each:", bytes[0].len(), PAYLOAD.len());
    println!("  Ed25519 signature alone    {:8.0}", ns[0]);
    println!("  build_signed_record + hash {:8.0}   {:.2}x (reach: at most 1.2x)", ns[1], ns[1] / ns[0]);
    println!("  ChainSigner::sign          {:8.0}   {:.2}x", ns[2], ns[2] / ns[0]);
    println!("  BLAKE3 of its bytes alone  {:8.0}", ns[3]);
    println!("  verify_chain               {:8.0}   {:.2}x (reach: at most 1.5x)", ns[4], ns[4] / ns[3]);
}

fn bench(c: &mut Criterion) {
    ratios();
    let key = key();
    let records = records_one_by_one(&key);
    let bytes: Vec<Vec<u8>> = records.iter().map(AuditRecord::to_bytes).collect();
    let mut group = c.benchmark_group("records");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("ed25519", |b| b.iter(|| bare_signatures(&key)));
    group.bench_function("sign_and_chain", |b| b.iter(|| records_one_by_one(&key)));
    group.bench_function("chain_signer", |b| b.iter(|| records_by_chain_signer(&key)));
    group.bench_function("blake3", |b| b.iter(|| bare_hashes(&bytes)));
    group.bench_function("verify_chain", |b| b.iter(|| verify_chain(black_box(&records))));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
