//! What is stored is verified again: payloads against the ledger, records against the registry.

use edgesentry_audit::gate::{LogGate, Part, streams};
use edgesentry_audit::identity::key_id;
use edgesentry_audit::{AuditRecord, build_signed_record_v1};
use secure_log::cbor::MapWriter;
use secure_log::model::{Event, Severity};
use secure_log::{Error, SecureLog};

use crate::common::*;

fn scene(store: &Shared) -> (LogGate<Log>, Signer) {
    let mut gate = gate(store, "main");
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gate);
    for n in 0..3u8 {
        accept(&mut gate, &lift.sign(&[n; 40]));
    }
    (gate, lift)
}

/// T-3: a byte of a stored payload is flipped.
#[test]
fn a_tampered_payload_is_found() {
    let store = Shared::new();
    let (mut gate, lift) = scene(&store);
    let report = gate.audit_device("lift").unwrap();
    assert_eq!((report.records, report.payload_bytes, report.keys), (3, 120, 1));
    assert_eq!(report.epochs[0].last_record_hash, lift.prev);
    store.tamper("device/lift/1", 2);
    assert_eq!(gate.read_record("lift", 1, 1).unwrap().payload, [0; 40]);
    let failure = gate.read_record("lift", 1, 2).unwrap_err();
    assert_eq!(failure.part, Part::RawDataStore);
    assert!(matches!(&failure.error, Error::Corrupt(c) if c.seqno == 2), "{failure}");
    assert!(matches!(error(gate.audit_device("lift")), Error::Corrupt(c) if c.seqno == 2));
    // The last one: the gate does not go on from it.
    store.tamper("device/lift/1", 3);
    gate.forget();
    assert!(matches!(error(gate.submit(&lift.peek(b"x"))), Error::Corrupt(_)));
    store.tamper("registry/lift", 1);
    assert!(matches!(error(gate.submit(&lift.peek(b"x"))), Error::Corrupt(_)));
}

/// An entry as somebody would write it who can write to the log and has hashes right, but not the keys.
struct Forged {
    record: AuditRecord,
    registry_seqno: u64,
    registry_hash: Option<[u8; 32]>,
    key_id: String,
    payload: Vec<u8>,
}

impl Forged {
    fn of(lift: &Signer, payload: &[u8]) -> Self {
        Self {
            record: lift.peek(payload).record,
            registry_seqno: 1,
            registry_hash: None,
            key_id: key_id(&lift.key.verifying_key()),
            payload: payload.to_vec(),
        }
    }

    fn event(self, log: &mut Log) -> Event {
        let judge = SecureLog::read(log, "registry/lift", self.registry_seqno).map(|entry| entry.entry_hash);
        let hash = self.registry_hash.or(judge.ok()).unwrap_or([9; 32]);
        let mut map = MapWriter::with_capacity(500);
        map.uint(1, 1)
            .uint(2, u64::from(self.record.version()))
            .bytes(3, &self.record.to_bytes())
            .uint(4, self.registry_seqno)
            .bytes(5, &hash)
            .text(6, &self.key_id)
            .bytes(8, &self.payload);
        Event::new("device/lift/1", "record", Severity::Informational, "lift", map.finish())
    }
}

#[test]
fn forged_entries_are_found() {
    type Forge = fn(&mut Forged, &Signer);
    let forgeries: [(&str, Forge); 12] = [
        ("payload", |f, _| f.payload = b"changed".to_vec()),
        ("signature", |f, _| f.record.signature[0] ^= 1),
        ("time", |f, _| f.record.timestamp_ms += 1),
        ("key", |f, lift| {
            f.record = Signer { key: key(9), ..lift.clone() }.peek(b"x").record;
        }),
        ("key id", |f, _| f.key_id = "0".repeat(32)),
        ("number", |f, lift| f.record = Signer { next: lift.next + 1, ..lift.clone() }.peek(b"x").record),
        ("chain", |f, lift| f.record = Signer { prev: [3; 32], ..lift.clone() }.peek(b"x").record),
        ("device", |f, lift| f.record = Signer { id: "crane".into(), ..lift.clone() }.peek(b"x").record),
        ("version", |f, lift| {
            f.record = build_signed_record_v1("lift", lift.next, 1, b"x", lift.prev, "", &lift.key);
        }),
        ("judge", |f, _| f.registry_seqno = 7),
        ("no judge", |f, _| f.registry_seqno = 0),
        ("judge's hash", |f, _| f.registry_hash = Some([1; 32])),
    ];
    for (what, forge) in forgeries {
        let store = Shared::new();
        let (mut gate, lift) = scene(&store);
        let mut forged = Forged::of(&lift, b"x");
        forge(&mut forged, &lift);
        let mut log = store.log();
        let event = forged.event(&mut log);
        SecureLog::append_batch(&mut log, vec![event], &[]).unwrap();
        // The chain of the log is whole: it is the gate's audit that finds it.
        verify(&mut log);
        let failure = gate.audit_device("lift").unwrap_err();
        assert_eq!(failure.part, Part::AuditLedger, "{what}");
        assert!(
            matches!(&failure.error, Error::Corrupt(c) if c.stream_id == "device/lift/1" && c.seqno == 4),
            "{what}: {failure}"
        );
    }
    // The control: what is forged in nothing passes.
    let store = Shared::new();
    let (mut gate, lift) = scene(&store);
    let mut log = store.log();
    let event = Forged::of(&lift, b"x").event(&mut log);
    SecureLog::append_batch(&mut log, vec![event], &[]).unwrap();
    assert_eq!(gate.audit_device("lift").unwrap().records, 4);
}

/// A record that was judged by a registry entry which did not allow it, or by an older one than a record before it.
#[test]
fn a_wrong_judge_is_found() {
    let id = key_id(&key(1).verifying_key());
    for (judge, found) in [(3, "revoked"), (2, "a record before it")] {
        let store = Shared::new();
        let (mut gate, mut lift) = scene(&store);
        gate.add_key("lift", &key(2).verifying_key(), None, None).unwrap();
        gate.revoke_key("lift", &id).unwrap();
        lift.key = key(2);
        accept(&mut gate, &lift.sign(b"by entry 3"));
        lift.key = key(1);
        let mut log = store.log();
        let mut forged = Forged::of(&lift, b"x");
        forged.registry_seqno = judge;
        let event = forged.event(&mut log);
        SecureLog::append_batch(&mut log, vec![event], &[]).unwrap();
        let failure = error(gate.audit_device("lift"));
        assert!(
            matches!(&failure, Error::Corrupt(c) if c.seqno == 5 && c.reason.contains(found)),
            "{failure}"
        );
    }
}

/// The key index says what the registry says.
#[test]
fn a_key_index_that_differs_is_found() {
    let store = Shared::new();
    let (mut gate, _) = scene(&store);
    let mut event = Event::new(streams::KEY_INDEX, "device-key-added", Severity::Notice, "lift", "{}");
    event.id = Some("0".repeat(32));
    SecureLog::append_batch(&mut store.log(), vec![event], &[]).unwrap();
    let failure = gate.audit_device("lift").unwrap_err();
    assert_eq!(failure.part, Part::Registry);
    assert!(matches!(&failure.error, Error::Corrupt(c) if c.stream_id == "registry-keys"), "{failure}");
}

/// Something that is no record where records are.
#[test]
fn what_is_no_record_is_found() {
    for (event_type, producer, payload) in [
        ("record", "lift", &b"junk"[..]),
        ("note", "lift", b"x"),
        ("record", "crane", b"x"),
        ("record", "lift", b""),
    ] {
        let store = Shared::new();
        let (mut gate, lift) = scene(&store);
        let event = Event::new("device/lift/1", event_type, Severity::Notice, producer, payload);
        SecureLog::append_batch(&mut store.log(), vec![event], &[]).unwrap();
        assert!(matches!(error(gate.audit_device("lift")), Error::Corrupt(c) if c.seqno == 4));
        let failure = gate.submit(&lift.peek(b"x")).unwrap_err();
        assert!(matches!(failure.error, Error::Corrupt(_)), "the gate does not go on from it: {failure}");
    }
}

/// Erasing the payload of a record's entry erases the record: what is left is verified, and the device can go on.
#[test]
fn erased_records_are_counted_and_the_device_goes_on_in_an_epoch() {
    let store = Shared::new();
    let (mut gate, mut lift) = scene(&store);
    let erase = |seqno| store.log().erase_payloads("device/lift/1", seqno, seqno, "by law").unwrap();
    erase(2);
    gate.forget();
    let report = gate.audit_device("lift").unwrap();
    assert_eq!((report.records, report.records_erased), (2, 1));
    assert_eq!(report.epochs[0].last_record_hash, lift.prev);
    assert!(matches!(error(gate.read_record("lift", 1, 2)), Error::NotFound(m) if m.what == "payload"));
    accept(&mut gate, &lift.sign(b"four"));

    // The newest one: what the device says comes next cannot be compared any more.
    erase(4);
    gate.forget();
    let report = gate.audit_device("lift").unwrap();
    assert_eq!((report.records, report.records_erased, report.device.next_sequence), (2, 2, 5));
    let five = lift.peek(b"five");
    assert_eq!(reason(&gate.submit(&five).unwrap()), "invalid previous hash");
    let opened = gate.open_epoch("lift", 5, &lift.prev).unwrap();
    assert_eq!(opened.epochs.len(), 2);
    accept(&mut gate, &five);
    let report = gate.audit_device("lift").unwrap();
    assert_eq!((report.records, report.records_erased, report.epochs.len()), (3, 2, 2));

    // A payload that is missing without a record of its erasure is corruption.
    let mut hole = store.clone();
    secure_log::store::SecureLogStore::erase_payloads(&mut hole, "device/lift/1", 3, 3).unwrap();
    gate.forget();
    assert!(matches!(error(gate.audit_device("lift")), Error::Corrupt(c) if c.seqno == 3));
}
