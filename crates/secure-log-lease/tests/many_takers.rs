//! Many takers, several processes: never two winners.
//!
//! The test binary starts itself again as the other processes (`LEASE_TEST_STORE` is set there).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use secure_log::error::Error;
use secure_log_lease::{Lease, LeaseOptions};

fn options(lease_ms: u64, wait_ms: u64) -> LeaseOptions {
    LeaseOptions {
        duration: Duration::from_millis(lease_ms),
        wait: Duration::from_millis(wait_ms),
        host_lock: false,
    }
}

/// Takers that all see the lease run out at the same moment.
#[test]
fn one_winner_each_round() {
    for _ in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("a.db");
        let dead = Lease::acquire(&store, &options(200, 0)).unwrap();
        let takers = 12;
        let (start, won) = (Arc::new(Barrier::new(takers)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..takers)
            .map(|_| {
                let (store, start, won) = (store.clone(), start.clone(), won.clone());
                std::thread::spawn(move || {
                    start.wait();
                    match Lease::acquire(&store, &options(200, 300)) {
                        Ok(lease) => {
                            won.fetch_add(1, Ordering::SeqCst);
                            // Stay alive until the others have given up.
                            let until = Instant::now() + Duration::from_millis(600);
                            while Instant::now() < until {
                                lease.check().unwrap();
                                std::thread::sleep(Duration::from_millis(2));
                            }
                        }
                        Err(Error::Busy(_)) => {}
                        Err(e) => panic!("{e}"),
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(won.load(Ordering::SeqCst), 1);
        assert!(dead.check().is_err());
    }
}

/// Takers that all find the lease free at the same moment.
#[test]
fn a_free_lease_has_one_taker() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("a.db");
    let takers = 6;
    let (start, winners) = (Arc::new(Barrier::new(takers)), Arc::new(AtomicU64::new(0)));
    let rounds = 300;
    let threads: Vec<_> = (0..takers)
        .map(|_| {
            let (store, start, winners) = (store.clone(), start.clone(), winners.clone());
            std::thread::spawn(move || {
                for round in 0..rounds {
                    start.wait();
                    let lease = Lease::acquire(&store, &options(60_000, 0));
                    if lease.is_ok() {
                        winners.fetch_add(1, Ordering::SeqCst);
                    }
                    start.wait();
                    assert_eq!(winners.load(Ordering::SeqCst), round + 1);
                    if let Ok(lease) = lease {
                        lease.release().unwrap();
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Holds the lease and increments a number that nothing else protects.
fn increment(store: &Path, times: u64) {
    let counter = store.with_extension("counter");
    let inside = store.with_extension("inside");
    for _ in 0..times {
        let lease = Lease::acquire(store, &options(2_000, 60_000)).unwrap();
        // Somebody else inside would be there already, or find this.
        match OpenOptions::new().write(true).create_new(true).open(&inside) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => panic!("two holders"),
            other => drop(other.unwrap()),
        }
        let n: u64 = fs::read_to_string(&counter).map_or(0, |text| text.trim().parse().unwrap());
        lease.check().unwrap();
        fs::File::create(&counter).unwrap().write_all((n + 1).to_string().as_bytes()).unwrap();
        fs::remove_file(&inside).unwrap();
        lease.release().unwrap();
    }
}

/// The other processes' entry; does nothing when the test is run by itself.
#[test]
fn other_process() {
    if let Some(store) = std::env::var_os("LEASE_TEST_STORE") {
        increment(&PathBuf::from(store), 100);
    }
}

#[test]
fn processes_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("a.db");
    let children: Vec<_> = (0..4)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "other_process"])
                .env("LEASE_TEST_STORE", &store)
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(fs::read_to_string(store.with_extension("counter")).unwrap(), "400");
}
