//! The events of `tracing`, by their documented targets, levels, names and fields; and what must not be in them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use edgesentry_audit::*;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::common::*;

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    level: Level,
    target: String,
    fields: BTreeMap<String, String>,
}

impl Seen {
    fn what(&self) -> (Level, &str, &str) {
        (self.level, &self.target, &self.fields["message"])
    }
}

#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<Seen>>>);

struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl Capture {
    fn take(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Fields)) {
        let mut fields = Fields(BTreeMap::new());
        record(&mut fields);
        let (level, target) = (*metadata.level(), metadata.target().to_owned());
        self.0.lock().unwrap().push(Seen { level, target, fields: fields.0 });
    }
}

impl<S: Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.take(event.metadata(), |fields| event.record(fields));
    }

    fn on_new_span(&self, span: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        self.take(span.metadata(), |fields| span.record(fields));
    }
}

/// What was told meanwhile: events, and apart from them spans.
fn seen(run: impl FnOnce()) -> (Vec<Seen>, Vec<Seen>) {
    let capture = Capture::default();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(capture.clone()), run);
    let all = std::mem::take(&mut *capture.0.lock().unwrap());
    all.into_iter().partition(|seen| seen.fields.contains_key("message"))
}

const STORAGE: &str = "edgesentry_audit::ingest::storage";
const VERIFY: &str = "edgesentry_audit::ingest::verify";

#[track_caller]
fn has(events: &[Seen], level: Level, target: &str, message: &str, fields: &[&str]) {
    let event = events.iter().find(|seen| seen.what() == (level, target, message));
    let event = event.unwrap_or_else(|| panic!("no {level} {message:?} in {target}: {events:#?}"));
    for field in fields {
        assert!(event.fields.contains_key(*field), "{message:?} has no {field}: {event:?}");
    }
}

#[test]
fn signing_and_accepting_tell_what_they_do() {
    let (events, spans) = seen(|| {
        let record =
            build_signed_record(DEVICE, 1, START_MS, &payload(1), AuditRecord::zero_hash(), "1.bin", &key(1));
        service_with_device().ingest(record, &payload(1), None).unwrap();
    });
    let all = ["device_id", "sequence"];
    has(
        &events,
        Level::DEBUG,
        "edgesentry_audit::agent",
        "signing record",
        &["device_id", "sequence", "payload_bytes"],
    );
    has(
        &events,
        Level::DEBUG,
        STORAGE,
        "ingest started",
        &["device_id", "sequence", "object_ref", "payload_bytes"],
    );
    has(&events, Level::DEBUG, VERIFY, "record verified and accepted", &all);
    has(&events, Level::INFO, STORAGE, "record accepted", &["device_id", "sequence", "object_ref"]);
    assert_eq!(events.len(), 4, "{events:#?}");
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].target, STORAGE);
    assert_eq!(spans[0].fields["payload_bytes"], payload(1).len().to_string());
}

#[test]
fn refusals_tell_why() {
    let records = chain(DEVICE, &key(1), 3);
    let mut service = service_with_device();
    service.ingest(records[0].clone(), &payload(1), None).unwrap();
    let mut refuse = |record: &AuditRecord, payload: &[u8]| {
        let (events, _) = seen(|| drop(service.ingest(record.clone(), payload, None).unwrap_err()));
        events
    };
    let all = ["device_id", "sequence"];
    let events = refuse(&records[1], b"another");
    has(&events, Level::WARN, STORAGE, "payload hash mismatch — record rejected", &all);
    let rejected = |events: &[Seen], reason: &str| {
        has(
            events,
            Level::WARN,
            STORAGE,
            "integrity policy rejected record",
            &["device_id", "sequence", "reason"],
        );
        assert_eq!(events.last().unwrap().fields["reason"], format!("{reason:?}"));
    };
    let mut forged = records[1].clone();
    forged.signature[0] ^= 1;
    let events = refuse(&forged, &payload(2));
    has(&events, Level::DEBUG, VERIFY, "signature verification failed", &all);
    rejected(&events, "invalid signature");
    let events = refuse(&records[0], &payload(1));
    has(&events, Level::DEBUG, VERIFY, "duplicate record rejected", &all);
    rejected(&events, "duplicate");
    let events = refuse(&records[2], &payload(3));
    has(&events, Level::DEBUG, VERIFY, "sequence out of order", &["device_id", "expected", "actual"]);
    rejected(&events, "invalid sequence");
    let unlinked = build_signed_record(DEVICE, 2, START_MS, b"x", [3; 32], "x", &key(1));
    let events = refuse(&unlinked, b"x");
    has(&events, Level::DEBUG, VERIFY, "prev_record_hash mismatch — chain broken", &all);
    rejected(&events, "invalid previous hash");
    let stranger = chain("lift-02", &key(2), 1).remove(0);
    rejected(&refuse(&stranger, &payload(1)), "unknown device");
}

struct Down;

impl RawDataStore for Down {
    fn put(&mut self, _: &str, _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("no disk".into()))
    }
}

impl AuditLedger for Down {
    fn append(&mut self, _: &AuditRecord) -> Result<(), StoreError> {
        Err(StoreError::Failed("disk full".into()))
    }
}

impl OperationLogStore for Down {
    fn append(&mut self, _: OperationLogEntry) -> Result<(), StoreError> {
        Err(StoreError::Failed("disk full".into()))
    }
}

fn failing<R: RawDataStore, L: AuditLedger, O: OperationLogStore>(raw: R, ledger: L, log: O) -> Vec<Seen> {
    let mut service = IngestService::new(IntegrityPolicyGate::new(), raw, ledger, log);
    service.register_device(DEVICE, key(1).verifying_key()).unwrap();
    let record = chain(DEVICE, &key(1), 1).remove(0);
    let (events, _) = seen(|| drop(service.ingest(record, &payload(1), None).unwrap_err()));
    assert!(!events.iter().any(|seen| seen.fields["message"] == "record accepted"));
    events
}

#[test]
fn failures_tell_which_store() {
    let fields = ["device_id", "sequence", "error", "component"];
    let (raw, ledger, log) =
        (InMemoryRawDataStore::default, InMemoryAuditLedger::default, InMemoryOperationLog::default);
    let events = failing(Down, ledger(), log());
    has(&events, Level::ERROR, STORAGE, "raw data store write failed", &fields);
    assert_eq!(events.last().unwrap().fields["component"], "\"raw_data_store\"");
    let events = failing(raw(), Down, log());
    has(&events, Level::ERROR, STORAGE, "audit ledger append failed", &fields);
    assert_eq!(events.last().unwrap().fields["component"], "\"audit_ledger\"");
    let events = failing(raw(), ledger(), Down);
    has(&events, Level::ERROR, STORAGE, "operation log write failed", &fields);
    assert_eq!(events.last().unwrap().fields["component"], "\"operation_log\"");
}

#[test]
fn no_event_and_no_error_shows_a_payload_or_a_private_key() {
    let secret_payload = b"SECRET-PAYLOAD";
    let secret_key = "7e".repeat(32);
    let mut texts = Vec::new();
    let (events, spans) = seen(|| {
        let zero = AuditRecord::zero_hash();
        let sign = |sequence, reference: &str| {
            let payload = secret_payload.to_vec();
            sign_record(DEVICE.into(), sequence, START_MS, payload, zero, reference.into(), &secret_key)
                .unwrap()
        };
        let mut service = service();
        let public = signing_key_from_hex(&secret_key).unwrap().verifying_key();
        texts.push(service.ingest(sign(1, "a"), secret_payload, None).unwrap_err().to_string());
        service.register_device(DEVICE, public).unwrap();
        texts.push(service.ingest(sign(1, "a"), b"SECRET-PAYLOAD2", None).unwrap_err().to_string());
        service.ingest(sign(1, "a"), secret_payload, None).unwrap();
        for record in [sign(1, "a"), sign(2, "b"), sign(3, "c")] {
            texts.push(service.ingest(record, secret_payload, None).unwrap_err().to_string());
        }
        texts.push(format!("{:?}", inspect_key(&secret_key).unwrap()));
        texts.push(inspect_key(&secret_key[1..]).unwrap_err().to_string());
        texts.extend(service.operation_log().entries().iter().map(|entry| format!("{entry:?}")));
    });
    texts.extend(events.iter().chain(&spans).map(|seen| format!("{seen:?}")));
    assert!(texts.len() > 20);
    let hex = hex::encode(secret_payload);
    for text in texts {
        assert!(!text.contains("SECRET") && !text.contains("7e7e") && !text.contains(&hex), "{text}");
    }
}
