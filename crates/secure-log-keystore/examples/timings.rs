//! What keys cost here: `cargo run --release -p secure-log-keystore --example timings`, or built
//! for wasm32-wasip2 and run under `wasmtime run`.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on should stop")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use secure_log::envelope::Envelope as _;
use secure_log::signature::Verifier;
use secure_log::signer::Algorithm;
use secure_log_keystore::{Config, FillRandom, KeyEncryptionKey, PrivateKey, SoftwareKeystore};

/// Median of repeated runs that take about half a second together.
fn median(mut f: impl FnMut()) -> Duration {
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 5 || start.elapsed() < Duration::from_millis(500) {
        let one = Instant::now();
        f();
        times.push(one.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

fn main() {
    let mut random: FillRandom = Box::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()));
    let message = [7; 200];
    println!(
        "{:<15} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "", "generate", "read PEM", "parse SPKI", "sign", "verify"
    );
    for algorithm in Algorithm::ALL {
        let key = PrivateKey::generate(algorithm, &mut random).unwrap();
        let pem = key.to_pem().unwrap();
        let signature = key.sign(&message, &mut random).unwrap();
        let verifier = Verifier::new(key.public()).unwrap();
        verifier.verify(&message, &signature).unwrap();
        let times = [
            median(|| drop(black_box(PrivateKey::generate(algorithm, &mut random).unwrap()))),
            median(|| drop(black_box(PrivateKey::from_pem(pem.as_bytes(), &mut random).unwrap()))),
            median(|| drop(black_box(Verifier::new(key.public()).unwrap()))),
            median(|| drop(black_box(key.sign(&message, &mut random).unwrap()))),
            median(|| verifier.verify(black_box(&message), &signature).unwrap()),
        ]
        .map(|t| format!("{}.{} µs", t.as_micros(), t.as_nanos() / 100 % 10));
        let [generate, read, parse, sign, verify] = times;
        println!("{:<15} {generate:>12} {read:>12} {parse:>12} {sign:>12} {verify:>12}", algorithm.name());
    }

    let key = KeyEncryptionKey::generate(&mut random).unwrap();
    let wrapped = key.wrap(&[7; 32], b"context", &mut random).unwrap();
    println!(
        "{:<15} wrap {:?}, unwrap {:?}",
        KeyEncryptionKey::ALGORITHM,
        median(|| drop(black_box(key.wrap(&[7; 32], b"context", &mut random).unwrap()))),
        median(|| drop(black_box(key.unwrap(&wrapped, b"context").unwrap())))
    );
    // With the file, which is read for each.
    let directory = std::env::temp_dir().join(format!("kek-timings-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut keystore = SoftwareKeystore::new(Config {
        directory: Some(directory.clone()),
        ..Config::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()))
    });
    keystore.create_key_encryption_key("kek").unwrap();
    println!(
        "{:<15} wrap {:?}, unwrap {:?}",
        "... in a file",
        median(|| drop(black_box(keystore.wrap("kek", &[7; 32], b"context").unwrap()))),
        {
            let wrapped = keystore.wrap("kek", &[7; 32], b"context").unwrap();
            median(|| drop(black_box(keystore.unwrap("kek", &wrapped, b"context").unwrap())))
        }
    );
    keystore.destroy("kek").unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}
