//! Several gates on one store, answers that get lost, restarts.

use std::sync::atomic::Ordering;

use edgesentry_audit::gate::{GateLog as _, LogGate, Outcome, Part, Registration};
use edgesentry_audit::identity::key_id;
use secure_log::Error;

use crate::common::*;

#[test]
fn a_revocation_cannot_race_an_acceptance() {
    for whole_device in [false, true] {
        let store = Shared::new();
        let mut a = gate_on(Around::new(store.log()), "a", 0);
        let mut lift = Signer::new("lift", key(1));
        lift.register(&mut a);
        accept(&mut a, &lift.sign(b"one"));
        // Judged as good by server A; and before it is stored, server B revokes.
        let mut b = gate(&store, "b");
        a.log_mut().before = Some(Box::new(move || match whole_device {
            true => b.revoke_device("lift").unwrap(),
            false => b.revoke_key("lift", &key_id(&key(1).verifying_key())).unwrap(),
        }));
        let before = stored(&mut store.log());
        let verdict = a.submit(&lift.peek(b"two")).unwrap();
        assert_eq!(reason(&verdict), if whole_device { "device revoked" } else { "key revoked" });
        let mut after = stored(&mut store.log());
        assert_eq!(after.insert("registry/lift".into(), 1), Some(2));
        assert_eq!(after, before, "nothing but the revocation is stored");
        let (event_type, entry) = operations(&mut store.log(), "a").pop().unwrap();
        assert_eq!((event_type.as_str(), &entry["sequence"]), ("rejected", &2.into()));
    }
}

/// A device that keeps sending to another server does not hold up its revocation.
#[test]
fn a_revocation_waits_for_no_record() {
    let store = Shared::new();
    let mut a = gate_on(Around::new(store.log()), "a", 0);
    let lift = Signer::new("lift", key(1));
    lift.register(&mut a);
    let (mut b, mut sender) = (gate(&store, "b"), lift.clone());
    a.log_mut().always = Some(Box::new(move || {
        let _ = b.submit(&sender.sign(b"x")).unwrap();
    }));
    a.add_key("lift", &key(2).verifying_key(), None, None).unwrap();
    a.allow_versions("lift", &[1, 2]).unwrap();
    a.revoke_key("lift", &key_id(&key(1).verifying_key())).unwrap();
    a.revoke_device("lift").unwrap();
    let report = a.audit_device("lift").unwrap();
    assert_eq!((report.registry_entries, report.records), (5, 3));
}

#[test]
fn a_duplicate_is_refused_whichever_server_it_meets() {
    let store = Shared::new();
    let (mut a, mut b) = (gate(&store, "a"), gate(&store, "b"));
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut a);
    let one = lift.sign(b"one");
    let receipt = accept(&mut a, &one);
    assert_eq!(refused(&mut b, &one, "duplicate").already.as_ref(), Some(&receipt));
    // Both remember the device now; each goes on where the other was.
    let two = lift.sign(b"two");
    accept(&mut b, &two);
    assert!(refused(&mut a, &two, "duplicate").already.is_some());
    let three = lift.sign(b"three");
    accept(&mut a, &three);
    accept(&mut b, &lift.sign(b"four"));
    assert!(refused(&mut b, &three, "duplicate").already.is_some());
    assert_eq!(a.audit_device("lift").unwrap().records, 4);
    verify(&mut store.log());
}

/// Two records of one number at two servers at the same moment: one is stored.
#[test]
fn two_records_of_one_number() {
    let store = Shared::new();
    let mut a = gate_on(Around::new(store.log()), "a", 0);
    let lift = Signer::new("lift", key(1));
    lift.register(&mut a);
    a.get("lift").unwrap();
    let (here, there) = (lift.peek(b"here"), lift.peek(b"there"));
    let mut b = gate(&store, "b");
    a.log_mut().before = Some(Box::new(move || {
        accept(&mut b, &there);
    }));
    let verdict = a.submit(&here).unwrap();
    assert_eq!((reason(&verdict), verdict.already), ("duplicate", None));
    assert_eq!(a.read_record("lift", 1, 1).unwrap().payload, b"there");
}

#[test]
fn different_devices_do_not_slow_each_other() {
    let store = Shared::new();
    let (mut a, mut b) = (gate(&store, "a"), gate(&store, "b"));
    let mut lifts: Vec<Signer> = (0..10).map(|n| Signer::new(&format!("lift-{n}"), key(n))).collect();
    for lift in &lifts {
        lift.register(&mut a);
    }
    for _ in 0..10 {
        let (here, there) = lifts.split_at_mut(5);
        for (gate, lifts) in [(&mut a, here), (&mut b, there)] {
            let batch: Vec<_> = lifts.iter_mut().map(|lift| lift.sign(b"x")).collect();
            assert!(gate.submit_batch(&batch).unwrap().iter().all(|v| reason(v) == "accepted"));
        }
    }
    assert_eq!((a.overtaken(), b.overtaken()), (0, 0));
}

/// Two servers, both remembering all devices of a batch, and the other one was at all of them: two rounds, not ten.
#[test]
fn many_conflicts_take_few_rounds() {
    let store = Shared::new();
    let (mut a, mut b) = (gate(&store, "a"), gate(&store, "b"));
    let mut lifts: Vec<Signer> = (0..50).map(|n| Signer::new(&format!("lift-{n}"), key(n))).collect();
    for lift in &lifts {
        lift.register(&mut a);
    }
    for round in 0..6 {
        let gate = if round % 2 == 0 { &mut a } else { &mut b };
        let batch: Vec<_> = lifts.iter_mut().map(|lift| lift.sign(b"x")).collect();
        assert!(gate.submit_batch(&batch).unwrap().iter().all(|v| reason(v) == "accepted"), "{round}");
    }
    // Each refused first record made its server look; no append was lost.
    assert!(a.overtaken() <= 2 && b.overtaken() <= 2, "{} {}", a.overtaken(), b.overtaken());
}

/// The same with threads: the same chain is sent to two servers, and every record is accepted once.
#[test]
fn two_servers_in_two_threads() {
    let store = Shared::new();
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gate(&store, "a"));
    let records: Vec<_> = (0..100u8).map(|n| lift.sign(&[n])).collect();
    let send = |gate_id: &'static str| {
        let (store, records) = (store.clone(), records.clone());
        std::thread::spawn(move || {
            let mut gate = gate(&store, gate_id);
            let mut accepted = 0;
            for submission in &records {
                let verdict = gate.submit(submission).unwrap();
                match &verdict.outcome {
                    Outcome::Accepted(_) => accepted += 1,
                    Outcome::Rejected(error) => {
                        assert_eq!(error.reason(), "duplicate");
                        assert!(verdict.already.is_some());
                    }
                }
            }
            accepted
        })
    };
    let threads = [send("a"), send("b")];
    let accepted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(accepted, 100);
    let mut gate = gate(&store, "a");
    assert_eq!(gate.audit_device("lift").unwrap().records, 100);
    verify(gate.log_mut());
}

/// The store has it, the answer is lost: whoever sends again learns that it is there.
#[test]
fn a_lost_answer() {
    let store = Shared::new();
    let mut gate = gate_on(Around::new(store.log()), "main", 0);
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gate);
    let batch: Vec<_> = (0..3u8).map(|n| lift.sign(&[n])).collect();
    gate.log_mut().lose = 1;
    let failure = gate.submit_batch(&batch).unwrap_err();
    assert_eq!(failure.part, Part::AuditLedger);
    assert!(matches!(failure.error, Error::Unavailable(_)));
    let verdicts = gate.submit_batch(&batch).unwrap();
    for (n, verdict) in verdicts.iter().enumerate() {
        assert_eq!(reason(verdict), "duplicate");
        assert_eq!(verdict.already.as_ref().unwrap().seqno, n as u64 + 1);
    }
    accept(&mut gate, &lift.sign(b"goes on"));
    // A registration, a key and a revocation as well.
    gate.log_mut().lose = 1;
    let registration = Registration::new(key(2).verifying_key());
    assert!(matches!(error(gate.register("crane", &registration)), Error::Unavailable(_)));
    assert_eq!(gate.register("crane", &registration).unwrap(), edgesentry_audit::gate::Registered::Already);
    gate.log_mut().lose = 1;
    error(gate.add_key("crane", &key(3).verifying_key(), None, None));
    gate.add_key("crane", &key(3).verifying_key(), None, None).unwrap();
    gate.log_mut().lose = 1;
    error(gate.open_epoch("crane", 1, &[7; 32]));
    assert_eq!(gate.open_epoch("crane", 1, &[7; 32]).unwrap().epochs.len(), 2);
    verify(&mut store.log());
}

/// The store has nothing: nothing was accepted, and the same records are accepted later.
#[test]
fn a_store_that_fails() {
    let store = Shared::new();
    let mut gate = gate_on(Around::new(store.log()), "main", 0);
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gate);
    accept(&mut gate, &lift.sign(b"one"));
    let before = stored(&mut store.log());
    let two = lift.sign(b"two");
    for failing in [
        Error::Storage("disk full".into()),
        Error::Busy("another process".into()),
        Error::Unavailable("down".into()),
        Error::corrupt("operations/main", 3, "flipped"),
        Error::corrupt("registry/lift", 1, "flipped"),
    ] {
        gate.log_mut().fail.push(failing.clone());
        let failure = gate.submit(&two).unwrap_err();
        let part = match &failing {
            Error::Corrupt(c) if c.stream_id.starts_with("operations") => Part::OperationLog,
            Error::Corrupt(_) => Part::Registry,
            _ => Part::AuditLedger,
        };
        assert_eq!((failure.part, failure.error), (part, failing));
        assert_eq!(gate.cached_devices(), 0, "nothing is remembered");
        assert_eq!(stored(&mut store.log()), before);
    }
    gate.log_mut().fail.push(Error::Storage("disk full".into()));
    let mut bad = lift.peek(b"x");
    bad.record.signature = [0; 64];
    assert_eq!(gate.submit(&bad).unwrap_err().part, Part::OperationLog, "a refusal is logged or not given");
    accept(&mut gate, &two);
}

#[test]
fn others_are_always_first() {
    let store = Shared::new();
    let mut gate = gate_on(Around::new(store.log()), "main", 0);
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gate);
    gate.log_mut().fail = (0..100).map(|_| Error::conflict("device/lift/1", None, "other")).collect();
    let failure = gate.submit(&lift.peek(b"x")).unwrap_err();
    assert!(matches!(failure.error, Error::Busy(_)), "{failure}");
    gate.log_mut().fail.truncate(3);
    accept(&mut gate, &lift.sign(b"x"));
}

/// Nothing but the store is needed to go on.
#[test]
fn a_restart_in_the_middle_of_a_chain() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.db");
    let config = path.to_str().unwrap();
    let mut lift = Signer::new("lift", key(1));
    for round in 0..3u64 {
        let store = Shared::open(config);
        let mut gate = gate(&store, "main");
        if round == 0 {
            lift.register(&mut gate);
        }
        for n in 0..5 {
            assert_eq!(accept(&mut gate, &lift.sign(b"x")).seqno, round * 5 + n + 1);
        }
        let mut gap = lift.clone();
        gap.sign(b"never sent");
        refused(&mut gate, &gap.peek(b"x"), "invalid sequence");
        drop(gate);
        store.close();
    }
    let store = Shared::open(config);
    assert_eq!(gate(&store, "main").audit_device("lift").unwrap().records, 15);
    verify(&mut store.log());
}

/// What is remembered spares reading: a known device costs one call, an unknown one one call as well.
#[test]
fn calls_to_the_log_are_few() {
    let store = Shared::new();
    let mut gate = gate_on(Around::new(store.log()), "main", 60_000);
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gate);
    accept(&mut gate, &lift.sign(b"x"));
    let calls = |gate: &mut LogGate<Around>, submission: &_, expected: u64, what: &str| {
        let before = gate.log_mut().calls;
        gate.submit(submission).unwrap();
        assert_eq!(gate.log_mut().calls - before, expected, "{what}");
    };
    calls(&mut gate, &lift.sign(b"x"), 1, "an append");
    let mut forged = lift.peek(b"x");
    forged.record.signature = [0; 64];
    calls(&mut gate, &forged, 1, "the first refusal is an append; a forged signature is not looked up");
    calls(&mut gate, &forged, 0, "the next is counted");
    let stranger = Signer::new("stranger", key(2));
    calls(&mut gate, &stranger.peek(b"x"), 1, "a look at the registry");
    assert!(gate.log_mut().head("registry/stranger").unwrap().is_none());
}

/// Behind a load balancer a device meets now this server, now that one: what the other stored costs four calls, and
/// the registry is not read again.
#[test]
fn taking_turns_costs_little() {
    let store = Shared::new();
    let mut gates = ["a", "b"].map(|id| gate_on(Around::new(store.log()), id, 0));
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gates[0]);
    for _ in 0..10 {
        gates[0].add_key("lift", &key(rand()).verifying_key(), None, None).unwrap();
    }
    for gate in &mut gates {
        accept(gate, &lift.sign(b"x"));
    }
    for round in 0..6 {
        let gate = &mut gates[round % 2];
        let before = gate.log_mut().calls;
        let appends = store.appends.load(Ordering::Relaxed);
        accept(gate, &lift.sign(b"x"));
        assert_eq!(gate.log_mut().calls - before, 5, "two heads, an entry, its payload, the append");
        assert_eq!(store.appends.load(Ordering::Relaxed) - appends, 1, "the log follows the expectation");
    }
    assert_eq!((gates[0].overtaken(), gates[1].overtaken()), (0, 0));
}

fn rand() -> u64 {
    getrandom::u64().unwrap()
}

/// Two servers register at the same moment: the same, the same device with another key, the same key for another device.
#[test]
fn registrations_race() {
    for (device, key_number, outcome) in
        [("lift", 1, "already"), ("lift", 2, "add-key"), ("crane", 1, "serves another")]
    {
        let store = Shared::new();
        let mut a = gate_on(Around::new(store.log()), "a", 0);
        let mut b = gate(&store, "b");
        a.register("other", &Registration::new(key(9).verifying_key())).unwrap();
        b.get("lift").unwrap();
        a.log_mut().before = Some(Box::new(move || {
            b.register(device, &Registration::new(key(key_number).verifying_key())).unwrap();
        }));
        match a.register("lift", &Registration::new(key(1).verifying_key())) {
            Ok(registered) => assert_eq!(format!("{registered:?}").to_lowercase(), outcome),
            Err(failure) => {
                assert!(matches!(failure.error, Error::Conflict(_)), "{failure}");
                assert!(failure.to_string().contains(outcome), "{failure}");
            }
        }
        assert_eq!(a.list_ids(0, 10).unwrap(), ["other", device]);
        assert_eq!(a.get("lift").unwrap().is_some(), device == "lift");
        assert_eq!(a.audit_device(device).unwrap().keys, 1);
        verify(&mut store.log());
    }
}

/// A stream that was closed for good stops its device, and nobody else.
#[test]
fn a_deprecated_stream() {
    let store = Shared::new();
    let mut gate = gate(&store, "main");
    let (mut lift, mut crane) = (Signer::new("lift", key(1)), Signer::new("crane", key(2)));
    for device in [&mut lift, &mut crane] {
        device.register(&mut gate);
        accept(&mut gate, &device.sign(b"x"));
    }
    secure_log::SecureLog::deprecate_stream(gate.log_mut(), "device/lift/1").unwrap();
    let failure = gate.submit(&lift.peek(b"x")).unwrap_err();
    assert_eq!(failure.part, Part::AuditLedger);
    assert!(matches!(failure.error, Error::Denied(_)), "{failure}");
    accept(&mut gate, &crane.sign(b"x"));
    gate.open_epoch("lift", 1, &[7; 32]).unwrap();
    (lift.next, lift.prev) = (1, [7; 32]);
    accept(&mut gate, &lift.sign(b"x"));
}
