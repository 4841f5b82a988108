//! The log events of the runbook, and that no payload byte is in them.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use secure_log::Error;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::common::*;

/// Keeps each event as `LEVEL target message field=value …`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => write!(self.0, " {value:?}").unwrap(),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(format!("{} {}", event.metadata().level(), event.metadata().target()));
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn lines(run: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), run);
    let lines = lines.0.lock().unwrap().clone();
    lines.into_iter().filter(|line| line.contains("edgesentry_audit::ingest")).collect()
}

#[test]
fn the_documented_events_and_fields() {
    let store = Shared::new();
    let mut gate = gate_on(Around::new(store.log()), "main", 0);
    let mut lift = Signer::new("lift-01", key(1));
    lift.register(&mut gate);
    let secret = b"SECRET-PAYLOAD-BYTES";
    let one = lift.sign(secret);
    let mut hash = lift.peek(secret);
    hash.payload.push(1);
    let mut forged = lift.peek(secret);
    forged.record.signature = [0; 64];
    let mut ahead = lift.clone();
    ahead.next = 9;
    let mut astray = lift.clone();
    astray.prev = [1; 32];
    let two = lift.peek(secret);
    let seen = lines(|| {
        for submission in [&one, &one, &hash, &forged, &ahead.peek(secret), &astray.peek(secret)] {
            gate.submit(submission).unwrap();
        }
        for error in [Error::Storage("disk full".into()), Error::corrupt("operations/main", 1, "flipped")] {
            gate.log_mut().fail.push(error);
            gate.submit(&two).unwrap_err();
        }
    });
    let expected = [
        "DEBUG edgesentry_audit::ingest::storage ingest started device_id=lift-01 sequence=1 object_ref=lift-01/1 payload_bytes=20",
        "DEBUG edgesentry_audit::ingest::verify record verified and accepted device_id=\"lift-01\" sequence=1",
        "INFO edgesentry_audit::ingest::storage record accepted device_id=\"lift-01\" sequence=1 object_ref=lift-01/1",
        "DEBUG edgesentry_audit::ingest::verify duplicate record rejected device_id=\"lift-01\" sequence=1",
        "WARN edgesentry_audit::ingest::storage integrity policy rejected record device_id=\"lift-01\" sequence=1 reason=\"duplicate\"",
        "WARN edgesentry_audit::ingest::storage payload hash mismatch — record rejected device_id=\"lift-01\" sequence=2 reason=\"payload hash mismatch\"",
        "DEBUG edgesentry_audit::ingest::verify signature verification failed device_id=\"lift-01\" sequence=2",
        "WARN edgesentry_audit::ingest::storage integrity policy rejected record device_id=\"lift-01\" sequence=2 reason=\"invalid signature\"",
        "DEBUG edgesentry_audit::ingest::verify sequence out of order device_id=\"lift-01\" sequence=9 expected=2 actual=9",
        "DEBUG edgesentry_audit::ingest::verify prev_record_hash mismatch — chain broken device_id=\"lift-01\" sequence=2",
        "ERROR edgesentry_audit::ingest::storage audit ledger append failed device_id=\"lift-01\" sequence=2 component=\"audit_ledger\" error=storage: disk full",
        "ERROR edgesentry_audit::ingest::storage operation log write failed device_id=\"lift-01\" sequence=2 component=\"operation_log\" error=entry 1 of stream \"operations/main\" is corrupt: flipped",
    ];
    for line in expected {
        assert!(seen.iter().any(|seen| seen == line), "{line}\nis not in\n{}", seen.join("\n"));
    }
    let hex = hex::encode(secret);
    for line in &seen {
        assert!(!line.contains("SECRET") && !line.contains(&hex[..16]), "{line}");
    }
}

/// Ids from outside neither break a line nor make it long.
#[test]
fn ids_are_bounded() {
    let mut gate = gate(&Shared::new(), "main");
    let mut submission = Signer::new("lift", key(1)).peek(b"x");
    submission.record.device_id = "a\n".repeat(10_000);
    submission.record.object_ref = "b\n".repeat(10_000);
    let seen = lines(|| {
        gate.submit(&submission).unwrap();
    });
    assert_eq!(seen.len(), 2);
    for line in seen {
        assert!(!line.contains('\n') && line.len() < 1500, "{line}");
    }
}
