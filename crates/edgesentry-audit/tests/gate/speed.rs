//! Figures, printed: `cargo test --release -p edgesentry-audit --test gate speed -- --ignored --nocapture`.

use std::time::Instant;

use edgesentry_audit::gate::Registration;
use edgesentry_audit::identity::verify_record_signature;

use crate::common::*;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[test]
#[ignore = "it measures"]
fn records_per_second() {
    let directory = tempfile::tempdir().unwrap();
    for config in [":memory:", directory.path().join("audit.db").to_str().unwrap()] {
        let store = Shared::open(config);
        let mut gate = gate(&store, "main");
        let mut lift = Signer::new("lift", key(1));
        lift.register(&mut gate);
        let records: Vec<_> = (0..256 * 80).map(|_| lift.sign(&[7; 256])).collect();
        let start = Instant::now();
        let public = lift.key.verifying_key();
        assert!(records.iter().all(|s| verify_record_signature(&public, &s.record)));
        let bare = records.len() as f64 / start.elapsed().as_secs_f64();
        let start = Instant::now();
        for batch in records.chunks(256) {
            assert!(gate.submit_batch(batch).unwrap().iter().all(|v| reason(v) == "accepted"));
        }
        let ours = records.len() as f64 / start.elapsed().as_secs_f64();
        println!(
            "{config}: {ours:.0} records/s in batches of 256; signatures alone {bare:.0}/s; {:.2}x",
            ours / bare
        );
    }
}

#[test]
#[ignore = "it measures"]
fn bytes_per_device() {
    let store = Shared::new();
    let mut gate = gate(&store, "main");
    let devices = 20_000;
    for n in 0..devices {
        gate.register(&format!("device-{n:06}"), &Registration::new(key(n).verifying_key())).unwrap();
    }
    gate.forget();
    let load = |gate: &mut edgesentry_audit::gate::LogGate<Log>| {
        for n in 0..devices {
            gate.get(&format!("device-{n:06}")).unwrap();
        }
    };
    // The log's own memory is warm after the first time.
    load(&mut gate);
    gate.forget();
    let before = resident_kib();
    let start = Instant::now();
    load(&mut gate);
    let each = start.elapsed().as_secs_f64() / devices as f64 * 1e6;
    let cached = gate.cached_devices() as u64;
    println!(
        "{cached} devices remembered in {} KiB more; {each:.0} µs to load one",
        resident_kib().saturating_sub(before)
    );
}
