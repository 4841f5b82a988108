//! The ingest service over its stores: what gets in, what does not, and what is written down.

use std::cell::RefCell;
use std::rc::Rc;

use edgesentry_audit::gate::{Registered, Registration};
use edgesentry_audit::ingest::IngestState;
use edgesentry_audit::*;
use secure_log::store::OpenStore;
use secure_log::{Environment, NativeSecureLog, SecureLog};
use secure_log_sqlite::SqliteSecureLogStore;

use crate::common::*;

/// Nothing got in, and the refusal was written down.
#[track_caller]
fn refused(
    service: &mut Service,
    record: &AuditRecord,
    payload: &[u8],
    cert: Option<&str>,
) -> IngestServiceError {
    let before = (service.raw_data_store().len(), service.audit_ledger().records().len());
    let device = service.policy().device(&record.device_id).cloned();
    let entries = service.operation_log().entries().len();
    let error = service.ingest(record.clone(), payload, cert).unwrap_err();
    assert_eq!((service.raw_data_store().len(), service.audit_ledger().records().len()), before);
    assert_eq!(service.policy().device(&record.device_id).cloned(), device);
    let log = service.operation_log().entries();
    assert_eq!(log.len(), entries + 1);
    let entry = log.last().unwrap();
    assert_eq!(entry.decision, IngestDecision::Rejected);
    assert_eq!((entry.sequence, &entry.message), (record.sequence, &error.to_string()));
    error
}

fn with_records(count: u64) -> (Service, Vec<AuditRecord>) {
    let mut service = service_with_device();
    let records = chain(DEVICE, &key(1), count + 2);
    for (record, n) in records.iter().zip(1..=count) {
        service.ingest(record.clone(), &payload(n), None).unwrap();
    }
    (service, records)
}

#[test]
fn what_is_accepted_is_in_all_three_stores() {
    let (mut service, records) = with_records(2);
    service.ingest(records[2].clone(), &payload(3), Some(DEVICE)).unwrap();
    assert_eq!(service.audit_ledger().records(), &records[..3]);
    assert_eq!(service.raw_data_store().get("lift-01/3.bin"), Some(&payload(3)[..]));
    let entries = service.operation_log().entries();
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|e| e.decision == IngestDecision::Accepted && e.device_id == DEVICE));
    let json = serde_json::to_string(&entries[0]).unwrap();
    assert_eq!(
        json,
        r#"{"decision":"accepted","device_id":"lift-01","sequence":1,"message":"record accepted"}"#
    );
}

#[test]
fn a_key_that_is_not_registered_does_not_count() {
    let mut service = service();
    let record = chain(DEVICE, &key(1), 1).remove(0);
    let error = refused(&mut service, &record, &payload(1), None);
    assert_eq!(error, IngestError::UnknownDevice(DEVICE.into()).into());
    service.register_device(DEVICE, key(2).verifying_key()).unwrap();
    let error = refused(&mut service, &record, &payload(1), None);
    assert!(matches!(error, IngestServiceError::Verify(IngestError::UnknownKey { .. })));
    // The attacker names the registered key.
    let mut forged = record;
    forged.provenance.as_mut().unwrap().key_id = key_id(&key(2).verifying_key());
    let error = refused(&mut service, &forged, &payload(1), None);
    assert_eq!(error, IngestError::InvalidSignature(DEVICE.into()).into());
}

#[test]
fn replays_gaps_and_broken_links_do_not_count() {
    let (mut service, records) = with_records(2);
    let error = refused(&mut service, &records[0], &payload(1), None);
    assert_eq!(error, IngestError::Duplicate { device_id: DEVICE.into(), sequence: 1 }.into());
    let error = refused(&mut service, &records[3], &payload(4), None);
    assert_eq!(
        error,
        IngestError::InvalidSequence { device_id: DEVICE.into(), expected: 3, actual: 4 }.into()
    );
    let other = build_signed_record(DEVICE, 3, START_MS, &payload(3), [7; 32], "x", &key(1));
    let error = refused(&mut service, &other, &payload(3), None);
    assert_eq!(error, IngestError::InvalidPrevHash(DEVICE.into()).into());
    // None of it kept the right one out.
    assert_eq!(service.ingest(records[2].clone(), &payload(3), None), Ok(()));
}

#[test]
fn every_changed_field_keeps_a_record_out() {
    let (mut service, records) = with_records(1);
    service.register_device("lift-02", key(2).verifying_key()).unwrap();
    let invalid = IngestServiceError::from(IngestError::InvalidSignature(DEVICE.into()));
    type Change = fn(&mut AuditRecord);
    let changes: [(Change, Option<&IngestServiceError>); 6] = [
        (|r| r.device_id = "lift-02".into(), None),
        (|r| r.timestamp_ms += 1, Some(&invalid)),
        (|r| r.prev_record_hash[0] ^= 1, Some(&invalid)),
        (|r| r.object_ref.push('x'), Some(&invalid)),
        (|r| r.signature[0] ^= 1, Some(&invalid)),
        (|r| r.sequence += 1, Some(&invalid)),
    ];
    for (change, expected) in changes {
        let mut record = records[1].clone();
        change(&mut record);
        let error = refused(&mut service, &record, &payload(2), None);
        assert!(expected.is_none_or(|expected| error == *expected), "{error}");
    }
    let mut record = records[1].clone();
    record.payload_hash = compute_payload_hash(b"another payload");
    assert_eq!(refused(&mut service, &record, b"another payload", None), invalid);
    let error = refused(&mut service, &records[1], b"another payload", None);
    assert_eq!(error, IngestServiceError::PayloadHashMismatch { device_id: DEVICE.into(), sequence: 2 });
}

#[test]
fn the_sender_must_be_the_device() {
    let (mut service, records) = with_records(0);
    let error = refused(&mut service, &records[0], &payload(1), Some("lift-02"));
    assert_eq!(error.to_string(), "auth/device mismatch: certificate identity=lift-02, device=lift-01");
    assert_eq!(service.ingest(records[0].clone(), &payload(1), Some("lift-01")), Ok(()));
}

#[test]
fn the_payload_hash_is_checked_before_anything_else() {
    let mut service = service();
    let record = chain(DEVICE, &key(1), 1).remove(0);
    let error = refused(&mut service, &record, b"another payload", Some("somebody"));
    assert!(matches!(error, IngestServiceError::PayloadHashMismatch { .. }));
    let error = refused(&mut service, &record, &payload(1), Some("somebody"));
    assert!(matches!(error, IngestServiceError::Verify(IngestError::CertDeviceMismatch { .. })));
}

#[test]
fn keys_follow_one_another_and_revoked_ones_stay_so() {
    let (mut service, records) = with_records(1);
    let gate = service.policy_mut();
    let from = START_MS + 1_000;
    gate.add_key(DEVICE, key(2).verifying_key(), Some(from), Some(from + 10)).unwrap();
    // Old and new at once.
    let old = records[1].clone();
    service.ingest(old.clone(), &payload(2), None).unwrap();
    let mut signer = ChainSigner::resume(DEVICE, key(2), ChainAnchor::after(&old));
    let early = signer.sign(from - 1, &payload(3), "3");
    let error = refused(&mut service, &early, &payload(3), None);
    assert!(matches!(error, IngestServiceError::Verify(IngestError::KeyOutsideWindow { .. })));
    let mut signer = ChainSigner::resume(DEVICE, key(2), ChainAnchor::after(&old));
    let inside = signer.sign(from + 9, &payload(3), "3");
    service.ingest(inside.clone(), &payload(3), None).unwrap();
    let late = signer.sign(from + 10, &payload(4), "4");
    assert!(matches!(
        refused(&mut service, &late, &payload(4), None),
        IngestServiceError::Verify(IngestError::KeyOutsideWindow { .. })
    ));

    let gate = service.policy_mut();
    let first = key_id(&key(1).verifying_key());
    gate.revoke_key(DEVICE, &first).unwrap();
    assert_eq!(gate.register_device(DEVICE, key(1).verifying_key()), Ok(Registered::Revoked));
    let error = gate.add_key(DEVICE, key(1).verifying_key(), None, None).unwrap_err();
    assert_eq!(error, RegistrationError::KeyRevoked { device_id: DEVICE.into(), key_id: first });
    let mut signer = ChainSigner::resume(DEVICE, key(1), ChainAnchor::after(&inside));
    let by_revoked = signer.sign(START_MS, &payload(4), "4");
    let error = refused(&mut service, &by_revoked, &payload(4), None);
    assert!(matches!(error, IngestServiceError::Verify(IngestError::KeyRevoked { .. })));

    service.policy_mut().revoke_device(DEVICE).unwrap();
    let mut signer = ChainSigner::resume(DEVICE, key(2), ChainAnchor::after(&inside));
    let error = refused(&mut service, &signer.sign(from, &payload(4), "4"), &payload(4), None);
    assert_eq!(error, IngestError::DeviceRevoked(DEVICE.into()).into());
}

#[test]
fn registrations_that_cannot_be_are_refused() {
    let mut gate = IntegrityPolicyGate::new();
    assert_eq!(gate.register_device(DEVICE, key(1).verifying_key()), Ok(Registered::Added));
    assert_eq!(gate.register_device(DEVICE, key(1).verifying_key()), Ok(Registered::Already));
    assert_eq!(
        gate.register_device(DEVICE, key(2).verifying_key()),
        Err(RegistrationError::OtherKeys(DEVICE.into()))
    );
    let error = gate.register_device("lift-02", key(1).verifying_key()).unwrap_err();
    assert!(matches!(error, RegistrationError::KeyOfAnother { owner, .. } if owner == DEVICE));
    gate.register_device("lift-02", key(2).verifying_key()).unwrap();
    let error = gate.add_key("lift-02", key(1).verifying_key(), None, None).unwrap_err();
    assert!(matches!(error, RegistrationError::KeyOfAnother { .. }));
    // A refused registration does not take the key.
    assert!(gate.register_device("", key(3).verifying_key()).is_err());
    let window = Registration {
        not_before_ms: Some(5),
        not_after_ms: Some(5),
        ..Registration::new(key(3).verifying_key())
    };
    let error = gate.register("lift-03", window).unwrap_err();
    assert_eq!(error, RegistrationError::EmptyWindow { not_before_ms: 5, not_after_ms: 5 });
    for bad in ["".to_owned(), "x".repeat(256), "a\nb".to_owned()] {
        assert!(matches!(
            gate.register_device(bad, key(3).verifying_key()),
            Err(RegistrationError::BadDeviceId(_))
        ));
    }
    for weak in weak_keys() {
        assert!(matches!(gate.register_device("weak", weak), Err(RegistrationError::WeakKey(_))));
        assert!(matches!(gate.add_key(DEVICE, weak, None, None), Err(RegistrationError::WeakKey(_))));
    }
    assert_eq!(gate.allow_versions(DEVICE, &[]), Err(RegistrationError::BadVersions(vec![])));
    assert_eq!(gate.allow_versions(DEVICE, &[3]), Err(RegistrationError::BadVersions(vec![3])));
    assert_eq!(gate.revoke_device("nobody"), Err(RegistrationError::UnknownDevice("nobody".into())));
    assert!(matches!(gate.revoke_key(DEVICE, "00"), Err(RegistrationError::UnknownKey { .. })));
    for (first, anchor) in [(0, [0; 32]), (1, [1; 32]), (2, [0; 32])] {
        assert!(matches!(gate.open_epoch(DEVICE, first, anchor), Err(RegistrationError::BadAnchor(_))));
    }
    assert!(gate.register_device("lift-03", key(3).verifying_key()).is_ok());
}

#[test]
fn a_device_that_lost_its_memory_goes_on_in_a_new_epoch() {
    let (mut service, _) = with_records(3);
    let mut signer = ChainSigner::new(DEVICE, key(1));
    let again = signer.sign(START_MS + 50, b"after the loss", "epoch-2/1.bin");
    let error = refused(&mut service, &again, b"after the loss", None);
    assert!(matches!(error, IngestServiceError::Verify(IngestError::Duplicate { .. })));
    service.policy_mut().open_epoch(DEVICE, 1, AuditRecord::zero_hash()).unwrap();
    service.ingest(again, b"after the loss", None).unwrap();
    assert_eq!(service.policy().device(DEVICE).unwrap().epochs.len(), 2);
    assert_eq!(service.audit_ledger().records().len(), 4);
}

#[test]
fn a_device_may_join_in_the_middle_of_its_chain() {
    let records = chain(DEVICE, &key(1), 5);
    let mut service = service();
    let registration =
        Registration { first: 4, anchor: records[2].hash(), ..Registration::new(key(1).verifying_key()) };
    assert_eq!(service.policy_mut().register(DEVICE, registration), Ok(Registered::Added));
    service.ingest(records[3].clone(), &payload(4), None).unwrap();
    service.ingest(records[4].clone(), &payload(5), None).unwrap();
}

#[test]
fn a_reference_never_comes_to_mean_another_payload() {
    let mut service = service_with_device();
    let mut signer = ChainSigner::new(DEVICE, key(1));
    let first = signer.sign(START_MS, b"first", "same.bin");
    let second = signer.sign(START_MS, b"second", "same.bin");
    service.ingest(first, b"first", None).unwrap();
    let error = service.ingest(second.clone(), b"second", None).unwrap_err();
    assert_eq!(
        error,
        IngestServiceError::RawDataStore(StoreError::Conflict(
            "object_ref \"same.bin\" holds another payload".into()
        ))
    );
    assert_eq!(service.raw_data_store().get("same.bin"), Some(&b"first"[..]));
    assert_eq!(service.audit_ledger().records().len(), 1);
    assert_eq!(service.operation_log().entries()[1].decision, IngestDecision::Rejected);
    // The same payload again, under another number, is fine.
    let mut signer =
        ChainSigner::resume(DEVICE, key(1), ChainAnchor::after(&service.audit_ledger().records()[0]));
    service.ingest(signer.sign(START_MS, b"first", "same.bin"), b"first", None).unwrap();
}

#[test]
fn fields_of_any_length_are_refused_and_logged_short() {
    let mut service = service_with_device();
    let mut record = chain(DEVICE, &key(1), 1).remove(0);
    record.device_id = "x".repeat(1_000_000);
    let error = refused(&mut service, &record, &payload(1), None);
    assert_eq!(error.to_string(), "malformed device_id: 1000000 bytes; it has 1 to 255");
    assert!(service.operation_log().entries()[0].device_id.len() <= 255);
    let mut record = chain(DEVICE, &key(1), 1).remove(0);
    record.object_ref = "x".repeat(512);
    let error = refused(&mut service, &record, &payload(1), None);
    assert_eq!(error.to_string(), "malformed object_ref: 512 bytes; it has at most 511");
}

/// Stores that fail while they are told to.
#[derive(Clone, Default)]
struct Failing {
    down: Rc<RefCell<Option<&'static str>>>,
}

impl Failing {
    fn check(&self, part: &str) -> Result<(), StoreError> {
        match *self.down.borrow() {
            Some(down) if down == part => Err(StoreError::Unavailable(format!("{part} is down"))),
            _ => Ok(()),
        }
    }
}

struct Flaky<T>(T, Failing);

impl RawDataStore for Flaky<InMemoryRawDataStore> {
    fn put(&mut self, object_ref: &str, payload: &[u8]) -> Result<(), StoreError> {
        self.1.check("raw")?;
        self.0.put(object_ref, payload)
    }
}

impl AuditLedger for Flaky<InMemoryAuditLedger> {
    fn append(&mut self, record: &AuditRecord) -> Result<(), StoreError> {
        self.1.check("ledger")?;
        self.0.append(record)
    }
}

impl OperationLogStore for Flaky<InMemoryOperationLog> {
    fn append(&mut self, entry: OperationLogEntry) -> Result<(), StoreError> {
        self.1.check("log")?;
        self.0.append(entry)
    }
}

#[test]
fn what_is_not_stored_everywhere_does_not_count_and_gets_in_later() {
    for (down, part) in [("raw", "raw_data_store"), ("ledger", "audit_ledger"), ("log", "operation_log")] {
        let failing = Failing::default();
        let mut service = IngestService::new(
            IntegrityPolicyGate::new(),
            Flaky(InMemoryRawDataStore::default(), failing.clone()),
            Flaky(InMemoryAuditLedger::default(), failing.clone()),
            Flaky(InMemoryOperationLog::default(), failing.clone()),
        );
        service.register_device(DEVICE, key(1).verifying_key()).unwrap();
        let records = chain(DEVICE, &key(1), 2);
        service.ingest(records[0].clone(), &payload(1), None).unwrap();

        *failing.down.borrow_mut() = Some(down);
        for _ in 0..2 {
            let error = service.ingest(records[1].clone(), &payload(2), None).unwrap_err();
            assert_eq!(error.part().unwrap().name(), part);
            assert!(error.to_string().ends_with(&format!("{down} is down")), "{error}");
            assert_eq!(service.policy().device(DEVICE).unwrap().next_sequence, 2, "{down}");
        }
        let decisions = |service: &IngestService<_, _, Flaky<InMemoryOperationLog>>| {
            service.operation_log().0.entries().iter().map(|e| e.decision).collect::<Vec<_>>()
        };
        let accepted = decisions(&service).iter().filter(|d| **d == IngestDecision::Accepted).count();
        assert_eq!(accepted, 1, "{down}");

        *failing.down.borrow_mut() = None;
        service.ingest(records[1].clone(), &payload(2), None).unwrap();
        assert_eq!(service.audit_ledger().0.records(), &records[..], "{down}: each record once");
        assert_eq!(service.raw_data_store().0.len(), 2);
        assert_eq!(decisions(&service).last(), Some(&IngestDecision::Accepted));
    }
}

#[test]
fn a_refusal_that_cannot_be_written_down_says_so() {
    let failing = Failing::default();
    let mut service = IngestService::new(
        IntegrityPolicyGate::new(),
        InMemoryRawDataStore::default(),
        InMemoryAuditLedger::default(),
        Flaky(InMemoryOperationLog::default(), failing.clone()),
    );
    *failing.down.borrow_mut() = Some("log");
    let record = chain(DEVICE, &key(1), 1).remove(0);
    let error = service.ingest(record, &payload(1), None).unwrap_err();
    assert!(matches!(error, IngestServiceError::OperationLog(_)));
}

#[test]
fn records_alone_are_verified_by_the_state() {
    let mut state = IngestState::new();
    let records = chain(DEVICE, &key(1), 2);
    assert_eq!(state.verify_and_accept(&records[0]), Err(IngestError::UnknownDevice(DEVICE.into())));
    state.register_device(DEVICE, key(1).verifying_key()).unwrap();
    assert_eq!(state.verify_and_accept(&records[0]), Ok(()));
    assert!(matches!(state.verify_and_accept(&records[0]), Err(IngestError::Duplicate { .. })));
    let mut tampered = records[1].clone();
    tampered.payload_hash[0] ^= 1;
    assert_eq!(state.verify_and_accept(&tampered), Err(IngestError::InvalidSignature(DEVICE.into())));
    assert_eq!(state.verify_and_accept(&records[1]), Ok(()));
}

#[test]
fn the_gate_alone_judges_with_the_payload() {
    let mut gate = IntegrityPolicyGate::new();
    gate.register_device(DEVICE, key(1).verifying_key()).unwrap();
    let records = chain(DEVICE, &key(1), 2);
    assert!(gate.judge(&records[0], &payload(1), None).is_ok());
    assert_eq!(gate.device(DEVICE).unwrap().next_sequence, 1, "judging changes nothing");
    assert!(matches!(
        gate.verify_and_accept(&records[0], b"x", None),
        Err(IngestError::PayloadHashMismatch { .. })
    ));
    assert_eq!(gate.verify_and_accept(&records[0], &payload(1), None), Ok(()));
    assert_eq!(gate.enforce(&records[1], Some(DEVICE)), Ok(()));
}

/// The machine's clock and randomness.
pub struct Machine;

impl Environment for Machine {
    fn now_ms(&mut self) -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        getrandom::fill(out).unwrap();
    }
}

type Log = NativeSecureLog<SqliteSecureLogStore, Machine>;

fn log() -> Log {
    NativeSecureLog::new(SqliteSecureLogStore::open(":memory:").unwrap(), Machine, "test 1").unwrap()
}

#[test]
fn the_stores_over_a_log_keep_everything_in_its_chain() {
    let stores = SecureLogStores::new(log());
    let mut service = IngestService::new(
        IntegrityPolicyGate::new(),
        stores.raw_data_store(),
        stores.audit_ledger(),
        stores.operation_log(),
    );
    service.register_device(DEVICE, key(1).verifying_key()).unwrap();
    service.policy_mut().allow_versions(DEVICE, &[1, 2]).unwrap();
    let mut records = chain_v1(DEVICE, &key(1), 1);
    let mut signer = ChainSigner::resume(DEVICE, key(1), ChainAnchor::after(&records[0]));
    records.push(signer.sign(START_MS, &payload(2), "with\ncontrol %characters"));
    records.push(signer.sign(START_MS, &payload(3), ""));
    for (record, n) in records.iter().zip(1..) {
        service.ingest(record.clone(), &payload(n), None).unwrap();
    }
    assert!(service.ingest(records[0].clone(), &payload(1), None).is_err());

    assert_eq!(stores.audit_ledger().records(1, 100).unwrap(), records);
    assert_eq!(stores.audit_ledger().records(2, 1).unwrap(), records[1..2]);
    assert_eq!(stores.audit_ledger().records(4, 10).unwrap(), []);
    let entries = stores.operation_log().entries(1, 100).unwrap();
    assert_eq!(entries.len(), 4);
    assert_eq!(entries[3].decision, IngestDecision::Rejected);
    stores.with_log(|log| {
        let ids: Vec<_> =
            (1..=3).map(|n| log.read("ingest/payloads", n).unwrap().header.event_id.unwrap()).collect();
        assert_eq!(ids, ["ref:lift-01/1.bin", "ref:with%0Acontrol %25characters", "ref:"]);
        for n in 1..=3 {
            assert_eq!(log.read_payload("ingest/payloads", n).unwrap(), payload(n));
        }
        for (stream, last) in [("ingest/payloads", 3), ("ingest/ledger", 3), ("ingest/operations", 4)] {
            let report = log.verify_chain(stream, 1, last).unwrap();
            assert_eq!((report.entries_checked, report.payloads_checked), (last, last));
        }
    });
}

#[test]
fn the_stores_over_a_log_keep_nothing_twice_and_overwrite_nothing() {
    let stores = SecureLogStores::new(log());
    let (mut payloads, mut ledger) = (stores.raw_data_store(), stores.audit_ledger());
    payloads.put("a", b"1").unwrap();
    payloads.put("a", b"1").unwrap();
    assert!(matches!(payloads.put("a", b"2"), Err(StoreError::Conflict(_))));
    payloads.put("%61", b"2").unwrap();
    let records = chain(DEVICE, &key(1), 2);
    assert_eq!(ledger.contains(&records[0]), Ok(Some(false)));
    ledger.append(&records[0]).unwrap();
    ledger.append(&records[0]).unwrap();
    assert_eq!(ledger.contains(&records[0]), Ok(Some(true)));
    assert_eq!(ledger.contains(&records[1]), Ok(Some(false)));
    let heads = stores.with_log(|log| {
        ["ingest/payloads", "ingest/ledger"].map(|stream| log.head(stream).unwrap().unwrap().seqno)
    });
    assert_eq!(heads, [2, 1]);
}
