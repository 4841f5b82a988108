//! Figures, printed: `cargo test --release -p edgesentry-audit --test gate speed -- --ignored --nocapture`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

use edgesentry_audit::gate::{CACHED_DEVICES, Registration};
use edgesentry_audit::identity::verify_record_signature;

use crate::common::*;

/// Counts what this thread allocated and did not free.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|n| n.set(n.get().wrapping_add(layout.size())));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = ALLOCATED.try_with(|n| n.set(n.get().wrapping_sub(layout.size())));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

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

/// A gate remembers 20,000 devices at most, and they fit into a tenth of what a server may use.
#[test]
fn a_remembered_device_is_small() {
    let store = Shared::new();
    let mut gate = gate(&store, "main");
    let devices = 2_000;
    for n in 0..devices {
        gate.register(&format!("device-{n:06}"), &Registration::new(key(n).verifying_key())).unwrap();
    }
    gate.forget();
    for n in 0..devices {
        gate.get(&format!("device-{n:06}")).unwrap();
    }
    assert_eq!(gate.cached_devices() as u64, devices);
    let with = ALLOCATED.get();
    gate.forget();
    let each = with.saturating_sub(ALLOCATED.get()) / devices as usize;
    println!("{each} bytes for each device that is remembered");
    assert!(each * CACHED_DEVICES < 30 << 20, "{each} bytes each");
}
