//! What an instance may use, and what happens when it wants more.

use std::time::{Duration, Instant};

use crate::common::{artifact, guest, site};
use secure_log_host::types::{Event, Severity};
use secure_log_host::{Failure, Guest};

fn event(payload: usize) -> Event {
    Event {
        stream_id: "s".into(),
        event_type: "t".into(),
        severity: Severity::Informational,
        producer: "p".into(),
        payload: vec![7; payload],
        payload_encoding: None,
        object_ref: None,
        id: None,
    }
}

#[test]
fn call_that_takes_too_long_is_interrupted_and_what_was_durable_stays() {
    let dir = tempfile::tempdir().unwrap();
    let artifact = artifact("secure-log-sqlite.wasm");
    {
        let site = site(dir.path(), &guest());
        let mut log = site.open(&artifact).unwrap();
        for _ in 0..3 {
            log.append_batch(&vec![event(16); 10_000], &[]).unwrap();
        }
        // Tens of milliseconds in each of three calls; a deadline is of a call.
        log.set_deadline(Some(Duration::from_secs(20))).unwrap();
        log.verify_chain("s", 1, 30_000).unwrap();

        log.set_deadline(Some(Duration::from_millis(20))).unwrap();
        let began = Instant::now();
        let failure = log.verify_chain("s", 1, 30_000).unwrap_err();
        assert!(matches!(failure, Failure::Deadline(_)), "{failure}");
        assert!(failure.is_fatal() && failure.to_string().contains("0.02 s"), "{failure}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(log.head("s").unwrap_err().is_fatal());
    }
    let site = site(dir.path(), &guest());
    let mut log = site.open(&artifact).unwrap();
    assert_eq!(log.verify_chain("s", 1, 30_000).unwrap().entries_checked, 30_000);
}

#[test]
fn instance_that_wants_too_much_memory_dies_and_the_error_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let artifact = artifact("secure-log-sqlite.wasm");
    let usual = {
        let site = site(dir.path(), &guest());
        let mut log = site.open(&artifact).unwrap();
        log.append("s", "t", Severity::Informational, "p", b"small").unwrap();
        let usual = log.memory_bytes();
        log.close().unwrap();
        usual
    };
    let limited = Guest { memory_limit: Some(usual + (1 << 20)), ..guest() };
    {
        let site = site(dir.path(), &limited);
        let mut log = site.open(&artifact).unwrap();
        log.append("s", "t", Severity::Informational, "p", b"small").unwrap();
        let failure = log.append_batch(&[event(8 << 20)], &[]).unwrap_err();
        assert!(matches!(failure, Failure::Memory(limit) if limit == usual + (1 << 20)), "{failure}");
        assert!(log.memory_bytes() <= usual + (1 << 20));
    }
    let site = site(dir.path(), &guest());
    let mut log = site.open(&artifact).unwrap();
    assert_eq!(log.head("s").unwrap().unwrap().seqno, 2);
    log.append_batch(&[event(8 << 20)], &[]).unwrap();
}

#[test]
fn component_without_a_gate_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let artifact = artifact("secure-log-sqlite.wasm");
    assert!(!artifact.has_gate());
    let site = site(dir.path(), &guest());
    let mut log = site.open(&artifact).unwrap();
    assert!(!log.has_gate());
    let failure = log.device("lift-1").unwrap_err();
    assert!(matches!(failure, Failure::NotExported(_)), "{failure}");
    assert!(!failure.is_fatal());
    log.append("s", "t", Severity::Informational, "p", b"it goes on").unwrap();
}
