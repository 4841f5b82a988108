//! What is counted after a known sequence of requests, and that the alert rules ask for what there is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::common::{Fault, TestServer, body, value};
use edgesentry_audit::gate::Part;
use edgesentry_server::{Gate as _, Metrics};

const PAYLOAD: &[u8] = b"door closed";

#[test]
fn a_known_sequence_gives_known_numbers() {
    let server = TestServer::start();
    let mut device = server.device("lift-01");
    let mut http = server.http();
    for _ in 0..3 {
        assert_eq!(http.post(&device.body(PAYLOAD)).status, 202);
    }
    let next = device.record(PAYLOAD);
    // A record whose link is broken, signed by the device itself.
    let mut broken = crate::common::TestDevice {
        id: "lift-01".into(),
        key: device.key.clone(),
        sequence: 3,
        prev: [9; 32],
    };
    assert_eq!(http.post(&broken.body(PAYLOAD)).json()["reason"], "invalid previous hash");
    let mut forged = next.clone();
    forged.object_ref = "elsewhere".into();
    for _ in 0..2 {
        assert_eq!(http.post(&body(&forged, PAYLOAD)).json()["reason"], "invalid signature");
    }
    assert_eq!(http.post(b"nonsense").status, 400);
    server.gate.set_fault(Fault::disk_full(Part::RawDataStore));
    assert_eq!(http.post(&body(&next, PAYLOAD)).status, 503);
    server.gate.set_fault(Fault::None);
    let closed = server.block_on(server.gate.close_segments()).unwrap();
    let signed_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let checkpoint = closed.checkpoint.unwrap();
    server.handle.metrics().checkpoint(&checkpoint, signed_at);
    server.handle.metrics().batch(2);

    let answer = http.get("/metrics");
    let text = answer.text();
    for (name, expected) in [
        ("edgesentry_ingest_accepted_total", 3.0),
        ("edgesentry_ingest_rejected_total{reason=\"invalid previous hash\"}", 1.0),
        ("edgesentry_ingest_rejected_total{reason=\"invalid signature\"}", 2.0),
        ("edgesentry_ingest_rejected_total{reason=\"duplicate\"}", 0.0),
        ("edgesentry_chain_break_total", 1.0),
        ("edgesentry_signature_fail_total", 2.0),
        ("edgesentry_ingest_error_total{component=\"raw_data_store\"}", 1.0),
        ("edgesentry_ingest_error_total{component=\"audit_ledger\"}", 0.0),
        ("edgesentry_append_duration_seconds_count", 3.0),
        ("edgesentry_append_duration_seconds_bucket{le=\"+Inf\"}", 3.0),
        ("edgesentry_batch_records_sum", 2.0),
        ("edgesentry_http_responses_total{code=\"202\"}", 3.0),
        ("edgesentry_http_responses_total{code=\"400\"}", 1.0),
        ("edgesentry_http_responses_total{code=\"422\"}", 3.0),
        ("edgesentry_http_responses_total{code=\"503\"}", 1.0),
        ("edgesentry_connections", 1.0),
        ("edgesentry_connections_opened_total", 1.0),
        ("edgesentry_checkpoint_number", checkpoint.number as f64),
        ("edgesentry_checkpoint_size", checkpoint.size as f64),
        ("edgesentry_checkpoint_timestamp_seconds", 1.8e9),
    ] {
        assert_eq!(value(text, name), expected, "{name}");
    }
}

fn rules() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations/prometheus-rules.yml"))
}

/// The metrics that a rules file names.
fn named(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("edgesentry_"))
        .collect()
}

#[test]
fn the_rules_ask_for_metrics_that_there_are() {
    let text = std::fs::read_to_string(rules()).unwrap();
    let exported = Metrics::new().encode();
    let names = named(&text);
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let starts = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let there = exported.lines().any(|line| starts(line.trim_start_matches("# TYPE ")));
        assert!(there, "{name} is in the rules and not exported");
    }
    for alert in
        ["IngestStorageError", "ChainBreak", "HighRejectionRate", "SignatureFailureSurge", "AuditLedgerLag"]
    {
        assert!(text.contains(&format!("alert: {alert}\n")), "{alert}");
    }
}

/// With `promtool`, where it is installed (PROMTOOL names it).
#[test]
fn promtool_takes_rules_and_metrics() {
    let promtool = std::env::var("PROMTOOL").unwrap_or_else(|_| "promtool".into());
    if Command::new(&promtool).arg("--version").output().is_err() {
        eprintln!("promtool is not installed: rules and metrics were not given to it");
        return;
    }
    let check = Command::new(&promtool).args(["check", "rules"]).arg(rules()).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let tests = rules().with_file_name("prometheus-rules.test.yml");
    let check = Command::new(&promtool).args(["test", "rules"]).arg(tests).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("metrics");
    std::fs::write(&file, Metrics::new().encode()).unwrap();
    let check = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}
