//! The gate in a component, from the host's side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::common::{artifact, guest, site};
use ed25519_dalek::SigningKey;
use edgesentry_audit::gate::{self, LogGate, Outcome, Registration, Submission, UpdateOutcome, Verdict};
use edgesentry_audit::identity::{key_id, sign_payload_hash};
use edgesentry_audit::{
    AuditRecord, IngestError, SoftwareUpdate, build_signed_record, build_signed_record_v1,
    compute_payload_hash,
};
use secure_log::store::OpenStore;
use secure_log::{Environment, NativeSecureLog};
use secure_log_host::types::{Page, QueryFilter};
use secure_log_host::{Guest, Hosted, LogOwner, OwnerError, Settings};
use secure_log_sqlite::SqliteSecureLogStore;

const STACK: &str = "edgesentry-ingest-sqlite.wasm";

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

/// A device that signs one record after the other.
struct Device {
    id: String,
    key: SigningKey,
    next: u64,
    previous: [u8; 32],
}

impl Device {
    fn new(id: &str, key: SigningKey) -> Self {
        Self { id: id.into(), key, next: 1, previous: AuditRecord::zero_hash() }
    }

    fn record(&mut self) -> Submission {
        let payload = format!("record {} of {}", self.next, self.id).into_bytes();
        let record = build_signed_record(
            &self.id,
            self.next,
            1_000 + self.next,
            &payload,
            self.previous,
            format!("s3://bucket/{}", self.next),
            &self.key,
        );
        self.next += 1;
        self.previous = record.hash();
        submission(record, payload)
    }
}

fn submission(record: AuditRecord, payload: Vec<u8>) -> Submission {
    Submission { record, payload, route_identity: None, source: Some("192.0.2.1".into()) }
}

fn is_accepted(verdict: &Verdict) -> bool {
    matches!(verdict.outcome, Outcome::Accepted(_))
}

#[derive(Clone)]
struct Machine;

impl Environment for Machine {
    fn now_ms(&mut self) -> u64 {
        u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
    }

    fn fill_random(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Every kind of record, with what a gate has to say about it.
fn attacks() -> Vec<(&'static str, Submission)> {
    let mut lift = Device::new("lift-1", key(1));
    let first = lift.record();
    let second = lift.record();
    let with = |change: &dyn Fn(&mut Submission)| {
        let mut changed = second.clone();
        change(&mut changed);
        changed
    };
    let zero = AuditRecord::zero_hash();
    let signed = |id: &str, sequence, previous, n| {
        submission(
            build_signed_record(id, sequence, 5_000, b"payload", previous, "ref", &key(n)),
            b"payload".to_vec(),
        )
    };
    let v1 = build_signed_record_v1("lift-1", 2, 1_002, b"payload", first.record.hash(), "ref", &key(1));
    vec![
        ("accepted", first.clone()),
        ("duplicate", first.clone()),
        ("malformed", with(&|s| s.record.sequence = 0)),
        ("malformed", with(&|s| s.record.object_ref = "x".repeat(600))),
        ("payload hash mismatch", with(&|s| s.payload = b"another".to_vec())),
        ("auth/device mismatch", with(&|s| s.route_identity = Some("lift-2".into()))),
        ("unknown device", signed("nobody", 1, zero, 1)),
        ("device revoked", signed("gone", 1, zero, 4)),
        ("version not allowed", submission(v1, b"payload".to_vec())),
        ("unknown key", signed("lift-1", 2, first.record.hash(), 9)),
        ("key revoked", signed("rotated", 1, zero, 5)),
        ("key outside window", signed("windowed", 1, zero, 7)),
        ("invalid signature", with(&|s| s.record.timestamp_ms += 1)),
        ("invalid sequence", signed("lift-1", 7, first.record.hash(), 1)),
        ("invalid previous hash", signed("lift-1", 2, [7; 32], 1)),
        ("accepted", second.clone()),
        ("duplicate", signed("lift-1", 2, [7; 32], 1)),
    ]
}

/// The registrations that `attacks` counts on, through calls that a component and a native gate both have.
macro_rules! prepare {
    ($gate:expr, $register:ident, $add:ident, $revoke_key:ident, $revoke_device:ident) => {{
        let new = |n| Registration::new(key(n).verifying_key());
        $gate.$register("lift-1", &new(1)).unwrap();
        $gate.$register("gone", &new(4)).unwrap();
        $gate.$revoke_device("gone").unwrap();
        $gate.$register("rotated", &new(5)).unwrap();
        $gate.$add("rotated", &key(6).verifying_key(), None, None).unwrap();
        $gate.$revoke_key("rotated", &key_id(&key(5).verifying_key())).unwrap();
        let window = Registration { not_before_ms: Some(1), not_after_ms: Some(5_000), ..new(7) };
        $gate.$register("windowed", &window).unwrap();
    }};
}

#[test]
fn verdicts_are_those_of_a_native_gate() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(dir.path(), &guest());
    let mut log = site.open(&artifact(STACK)).unwrap();
    prepare!(log, register_device, add_device_key, revoke_device_key, revoke_device);
    let store = SqliteSecureLogStore::open(":memory:").unwrap();
    let native = NativeSecureLog::new(store, Machine, "test").unwrap();
    let mut native = LogGate::new(native, gate::Settings::default()).unwrap();
    prepare!(native, register, add_key, revoke_key, revoke_device);

    let (names, submissions): (Vec<_>, Vec<_>) = attacks().into_iter().unzip();
    let verdicts = log.submit_batch(&submissions).unwrap();
    let natives = native.submit_batch(&submissions).unwrap();
    assert_eq!(verdicts.len(), names.len());
    let mut first = None;
    for ((name, verdict), native) in names.iter().zip(&verdicts).zip(&natives) {
        match (&verdict.outcome, &native.outcome) {
            (Outcome::Accepted(a), Outcome::Accepted(b)) => {
                assert_eq!(*name, "accepted");
                // Entries differ in session and time.
                assert_eq!(
                    (&a.stream_id, a.seqno, a.epoch, a.record_hash),
                    (&b.stream_id, b.seqno, b.epoch, b.record_hash)
                );
                assert_eq!(a.registry_seqno, b.registry_seqno);
                first.get_or_insert(a.clone());
            }
            (Outcome::Rejected(a), Outcome::Rejected(b)) => {
                assert_eq!(a.reason(), *name);
                assert_eq!(a, b);
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!((&verdict.device_id, verdict.sequence), (&native.device_id, native.sequence));
    }
    assert_eq!(verdicts[1].already, first, "the very record that came again");
    assert_eq!(verdicts.last().unwrap().already, None, "another record of that number");

    let stored = log.read_record("lift-1", 1, 1).unwrap();
    assert_eq!((&stored.record, &stored.payload), (&submissions[0].record, &submissions[0].payload));
    assert_eq!(Some(&stored.receipt), first.as_ref());
    let device = log.device("rotated").unwrap().unwrap();
    let mut expected = native.get("rotated").unwrap().unwrap();
    expected.registered_at_ms = device.registered_at_ms;
    assert_eq!(device, expected);
    assert_eq!(log.device("nobody").unwrap(), None);
    assert_eq!(log.device_ids(1, 2).unwrap(), ["gone", "rotated"]);
    let opened = log.open_epoch("lift-1", 10, &[3; 32]).unwrap();
    assert_eq!((opened.next_sequence, opened.next_prev_record_hash, opened.epochs.len()), (10, [3; 32], 2));
    log.allow_versions("lift-1", &[1, 2]).unwrap();
    assert_eq!(log.device("lift-1").unwrap().unwrap().versions, [1, 2]);
    log.close().unwrap();
}

#[test]
fn software_updates_are_judged() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(dir.path(), &guest());
    let mut log = site.open(&artifact(STACK)).unwrap();
    let payload = b"firmware";
    let hash = compute_payload_hash(payload);
    let update = SoftwareUpdate {
        package_id: "controller".into(),
        version: "2.1".into(),
        payload_hash: hash,
        signature: sign_payload_hash(&key(20), &hash),
    };
    let rejected = |log: &mut Hosted, payload: &[u8], publisher: &str| match log
        .verify_update(&update, payload, publisher)
    {
        Ok(UpdateOutcome::Rejected(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(rejected(&mut log, payload, "acme").starts_with("unknown publisher"));
    log.register_publisher("acme", &key(20).verifying_key()).unwrap();
    let id = key_id(&key(20).verifying_key());
    assert_eq!(log.verify_update(&update, payload, "acme").unwrap(), UpdateOutcome::Accepted(id.clone()));
    assert!(rejected(&mut log, b"another", "acme").starts_with("payload hash mismatch"));
    log.revoke_publisher_key("acme", &id).unwrap();
    assert!(rejected(&mut log, payload, "acme").starts_with("invalid signature"));
}

#[test]
fn records_that_come_while_a_commit_runs_go_into_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let owner =
        LogOwner::start(&artifact(STACK), site(dir.path(), &guest()), Settings::default(), ()).unwrap();
    let threads: Vec<_> = (0..32_u8)
        .map(|n| {
            let owner = owner.clone();
            std::thread::spawn(move || {
                let mut device = Device::new(&format!("lift-{n}"), key(100 + n));
                let registration = Registration::new(device.key.verifying_key());
                let id = device.id.clone();
                owner.call(move |log| log.register_device(&id, &registration)).wait().unwrap();
                for _ in 0..10 {
                    assert!(is_accepted(&owner.submit(device.record()).wait().unwrap()));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let statistics = owner.statistics();
    assert_eq!((statistics.accepted, statistics.rejected), (320, 0));
    assert!(statistics.commits < 160, "{statistics:?}");

    // The same from tasks.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let mut device = Device::new("task", key(200));
    let verdicts = runtime.block_on(async {
        let registration = Registration::new(device.key.verifying_key());
        owner.call(move |log| log.register_device("task", &registration)).await.unwrap();
        // Sent in order, awaited afterwards.
        let answers: Vec<_> = (0..100).map(|_| owner.submit(device.record())).collect();
        let mut verdicts = Vec::new();
        for answer in answers {
            verdicts.push(answer.await.unwrap());
        }
        verdicts
    });
    assert!(verdicts.iter().all(is_accepted));
    owner.shutdown().unwrap();
}

#[test]
fn instance_that_dies_under_load_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let limited = Guest { deadline: Some(Duration::from_secs(30)), ..guest() };
    let owner =
        LogOwner::start(&artifact(STACK), site(dir.path(), &limited), Settings::default(), ()).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..8_u8)
        .map(|n| {
            let (owner, over) = (owner.clone(), over.clone());
            std::thread::spawn(move || {
                let mut device = Device::new(&format!("lift-{n}"), key(100 + n));
                let registration = Registration::new(device.key.verifying_key());
                let id = device.id.clone();
                owner.call(move |log| log.register_device(&id, &registration)).wait().unwrap();
                let mut unavailable = 0;
                while !over.load(Ordering::Relaxed) {
                    let record = device.record();
                    loop {
                        match owner.submit(record.clone()).wait() {
                            Ok(verdict) if is_accepted(&verdict) => break,
                            Ok(verdict) => {
                                // It was stored by the commit that the instance died in or after.
                                assert!(
                                    matches!(
                                        verdict.outcome,
                                        Outcome::Rejected(IngestError::Duplicate { .. })
                                    ),
                                    "{verdict:?}"
                                );
                                assert!(verdict.already.is_some() && unavailable > 0, "{verdict:?}");
                                break;
                            }
                            Err(OwnerError::Unavailable(_)) => unavailable += 1,
                            Err(other) => panic!("{other}"),
                        }
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                (device.id.clone(), device.next - 1)
            })
        })
        .collect();
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(300));
        // Whatever is in the instance then: its next call may compute for no time at all.
        let _ = owner
            .call(|log| {
                log.set_deadline(Some(Duration::ZERO)).unwrap();
                std::thread::sleep(Duration::from_millis(60));
                Ok(())
            })
            .wait();
    }
    std::thread::sleep(Duration::from_millis(300));
    over.store(true, Ordering::Relaxed);
    let sent: Vec<(String, u64)> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(owner.statistics().deaths >= 1, "{:?}", owner.statistics());
    for (id, count) in sent {
        let name = id.clone();
        let device = owner.call(move |log| log.device(&name)).wait().unwrap().unwrap();
        assert_eq!(device.next_sequence, count + 1, "{id}");
        let checked =
            owner.call(move |log| log.verify_chain(&format!("device/{id}/1"), 1, count)).wait().unwrap();
        assert_eq!(checked.entries_checked, count);
    }
    owner.shutdown().unwrap();
}

#[test]
fn counted_refusals_are_written_down_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        gate: gate::Settings { gate_id: "north".into(), refusal_interval_ms: 3_600_000 },
        flush_every: Duration::from_millis(100),
        ..Settings::default()
    };
    let owner = LogOwner::start(&artifact(STACK), site(dir.path(), &guest()), settings, ()).unwrap();
    let mut nobody = Device::new("nobody", key(1));
    for _ in 0..5 {
        let verdict = owner.submit(nobody.record()).wait().unwrap();
        assert!(matches!(verdict.outcome, Outcome::Rejected(IngestError::UnknownDevice(_))), "{verdict:?}");
    }
    std::thread::sleep(Duration::from_millis(500));
    let filter = QueryFilter {
        stream_id: Some("operations/north".into()),
        from_ms: None,
        to_ms: None,
        event_type: None,
        min_severity: None,
        producer: None,
    };
    let page = owner.call(move |log| log.query(&filter, &Page { cursor: None, limit: 100 }));
    let entries = page.wait().unwrap().entries.len();
    assert!((1..5).contains(&entries), "{entries} entries for 5 refusals of one kind");
    owner.shutdown().unwrap();
}

#[test]
fn payload_that_no_log_takes_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let owner =
        LogOwner::start(&artifact(STACK), site(dir.path(), &guest()), Settings::default(), ()).unwrap();
    let mut device = Device::new("lift-1", key(1));
    owner
        .call({
            let registration = Registration::new(device.key.verifying_key());
            move |log| log.register_device("lift-1", &registration)
        })
        .wait()
        .unwrap();
    let mut large = device.record();
    large.payload = vec![0; (8 << 20) + 1];
    let error = owner.submit(large).wait().unwrap_err();
    assert!(
        matches!(&error, OwnerError::Log(secure_log::Error::Invalid(i)) if i.field == "payload"),
        "{error}"
    );
    let mut device = Device::new("lift-1", key(1));
    assert!(is_accepted(&owner.submit(device.record()).wait().unwrap()));
    owner.shutdown().unwrap();
}
