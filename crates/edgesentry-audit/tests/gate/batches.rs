//! Batches: order, chaining, decisions, limits, counting of refusals.

use std::sync::atomic::Ordering;

use edgesentry_audit::gate::{MAX_RECORD_PAYLOAD, MAX_SUBMISSIONS, Settings, Submission};
use edgesentry_audit::{build_signed_record, compute_payload_hash};
use secure_log::Error;

use crate::common::*;

#[test]
fn a_batch_is_judged_in_order_and_stored_at_once() {
    let store = Shared::new();
    let mut gate = gate(&store, "main");
    let (mut lift, mut crane) = (Signer::new("lift", key(1)), Signer::new("crane", key(2)));
    lift.register(&mut gate);
    crane.register(&mut gate);
    let (l1, c1, l2, l3) = (lift.sign(b"l1"), crane.sign(b"c1"), lift.sign(b"l2"), lift.sign(b"l3"));
    let mut forged = lift.peek(b"l4");
    forged.record.timestamp_ms += 1;
    let l4 = lift.sign(b"l4");
    let batch = [l1.clone(), c1, l2.clone(), l1.clone(), forged, l3, l2, l4];
    let verdicts = gate.submit_batch(&batch).unwrap();
    let reasons: Vec<_> = verdicts.iter().map(reason).collect();
    assert_eq!(
        reasons,
        [
            "accepted",
            "accepted",
            "accepted",
            "duplicate",
            "invalid signature",
            "accepted",
            "duplicate",
            "accepted"
        ]
    );
    for (at, original) in [(3, 0), (6, 2)] {
        assert_eq!(verdicts[at].already.as_ref(), Some(accepted(&verdicts[original])), "in the same batch");
    }
    let places: Vec<_> = [0, 2, 5, 7].map(|at| accepted(&verdicts[at]).seqno).into();
    assert_eq!(places, [1, 2, 3, 4]);
    for (submission, verdict) in batch.iter().zip(&verdicts) {
        assert_eq!(
            (&verdict.device_id, verdict.sequence),
            (&submission.record.device_id, submission.record.sequence)
        );
    }

    let operations = operations(gate.log_mut(), "main");
    assert_eq!(operations.len(), 4, "one entry for all that was accepted, one for each refusal");
    let (event_type, entry) = &operations[0];
    assert_eq!(event_type, "accepted");
    assert_eq!((&entry["decision"], &entry["count"]), (&"accepted".into(), &5.into()));
    assert_eq!(
        entry["runs"],
        serde_json::json!([
            {"device_id": "lift", "epoch": 1, "first": 1, "last": 4, "first_entry": 1, "last_entry": 4},
            {"device_id": "crane", "epoch": 1, "first": 1, "last": 1, "first_entry": 1, "last_entry": 1},
        ])
    );
    assert_eq!(operations[1].1["reason"], "duplicate");
    // All of it came with one append: the times are the same.
    let times: Vec<u64> = ["device/lift/1", "device/crane/1", "operations/main"]
        .iter()
        .map(|stream| secure_log::SecureLog::read(gate.log_mut(), stream, 1).unwrap().header.time_ms)
        .collect();
    assert!(times.windows(2).all(|pair| pair[0] == pair[1]));
    verify(gate.log_mut());
}

#[test]
fn a_single_record_has_a_single_decision() {
    let mut gate = gate(&Shared::new(), "gate/7");
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gate);
    accept(&mut gate, &lift.sign(b"x"));
    assert_eq!(
        operations(gate.log_mut(), "gate/7"),
        [(
            "accepted".to_owned(),
            serde_json::json!({
                "decision": "accepted", "device_id": "lift", "sequence": 1, "message": "record accepted",
                "epoch": 1, "entry": 1,
            })
        )]
    );
    let stored = gate.read_record("lift", 1, 1).unwrap();
    assert_eq!(stored.payload, b"x");
    assert_eq!(stored.receipt.registry_seqno, 1);
}

#[test]
fn an_empty_batch_does_nothing() {
    let mut gate = gate(&Shared::new(), "main");
    assert!(gate.submit_batch(&[]).unwrap().is_empty());
    assert!(operations(gate.log_mut(), "main").is_empty());
}

#[test]
fn the_largest_batches() {
    let mut gate = gate(&Shared::new(), "main");
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gate);
    let one = lift.peek(b"x");
    let too_many = vec![one.clone(); MAX_SUBMISSIONS + 1];
    assert!(matches!(error(gate.submit_batch(&too_many)), Error::Invalid(_)));
    // As many as there may be, each with the longest texts: it fits into one append.
    let mut device = Signer::new(&"\\".repeat(255), key(2));
    device.register(&mut gate);
    let batch: Vec<Submission> = (0..MAX_SUBMISSIONS)
        .map(|_| {
            let record = build_signed_record(
                device.id.as_str(),
                device.next,
                1,
                &[7; 1500],
                device.prev,
                "o".repeat(511),
                &device.key,
            );
            device.next += 1;
            device.prev = record.hash();
            Submission { source: Some("s".repeat(255)), ..submission(record, &[7; 1500]) }
        })
        .collect();
    assert!(gate.submit_batch(&batch).unwrap().iter().all(|v| reason(v) == "accepted"));
    // As many refusals, an entry each.
    assert!(gate.submit_batch(&batch[..2000]).unwrap().iter().all(|v| reason(v) == "duplicate"));
    let large = vec![Submission { payload: vec![0; 4 << 20], ..one }; 7];
    assert!(matches!(error(gate.submit_batch(&large)), Error::Invalid(_)));
    // The largest payload.
    let payload = vec![7; MAX_RECORD_PAYLOAD];
    accept(&mut gate, &lift.sign(&payload));
    assert_eq!(gate.read_record("lift", 1, 1).unwrap().payload, payload);
}

#[test]
fn repeated_refusals_are_counted() {
    let store = Shared::new();
    let (now, clock) = clock();
    let mut gate = gate_on(store.log(), "main", 1000).with_clock(clock);
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gate);
    let mut forged = lift.peek(b"x");
    forged.record.signature = [0; 64];
    for n in 0..100 {
        now.fetch_add(1, Ordering::SeqCst);
        forged.record.sequence = n + 1;
        assert_eq!(reason(&gate.submit(&forged).unwrap()), "invalid signature");
    }
    assert_eq!(operations(gate.log_mut(), "main").len(), 1, "the first one at once");
    let mut stranger = Signer::new("stranger", key(9)).peek(b"x");
    assert_eq!(reason(&gate.submit(&stranger).unwrap()), "unknown device");
    stranger.source = Some("another source".into());
    gate.submit(&stranger).unwrap();
    assert_eq!(operations(gate.log_mut(), "main").len(), 2, "another source has its own interval");
    now.fetch_add(1000, Ordering::SeqCst);
    // With the next call, whatever it is.
    accept(&mut gate, &lift.sign(b"x"));
    let written = operations(gate.log_mut(), "main");
    assert_eq!(written.len(), 4, "the acceptance and the count, in one append");
    let (event_type, entry) = &written[3];
    assert_eq!(event_type, "rejected");
    assert_eq!(entry["count"], 100);
    assert_eq!(entry["reasons"], serde_json::json!({"invalid signature": 99, "unknown device": 1}));
    assert_eq!(entry["source"], "192.0.2.7");
    assert_eq!(entry["last_ms"].as_u64().unwrap() - entry["first_ms"].as_u64().unwrap(), 98);
    assert_eq!(
        entry["devices"][0],
        serde_json::json!({"device_id": "lift", "count": 99, "last_sequence": 100})
    );

    // What is counted when the gate is shut down is written by `flush`.
    gate.submit(&forged).unwrap();
    gate.submit(&forged).unwrap();
    gate.flush().unwrap();
    gate.flush().unwrap();
    let written = operations(gate.log_mut(), "main");
    assert_eq!(written.len(), 5);
    assert_eq!(written[4].1["count"], 2);
    // A new name takes the counts of the old one along to the old one's stream.
    gate.submit(&forged).unwrap();
    gate.configure(Settings { gate_id: "other".into(), refusal_interval_ms: 0 }).unwrap();
    assert_eq!(operations(gate.log_mut(), "main").len(), 6);
    gate.submit(&forged).unwrap();
    assert_eq!(operations(gate.log_mut(), "other").len(), 1);
    for bad in ["", "a\nb"] {
        let settings = Settings { gate_id: bad.into(), refusal_interval_ms: 0 };
        assert!(matches!(error(gate.configure(settings)), Error::Invalid(_)));
    }
}

/// Counts are not lost when the append that carries them fails.
#[test]
fn counts_survive_a_failed_append() {
    let store = Shared::new();
    let (now, clock) = clock();
    let mut gate = gate_on(Around::new(store.log()), "main", 1000).with_clock(clock);
    let lift = Signer::new("lift", key(1));
    for _ in 0..5 {
        gate.submit(&lift.peek(b"x")).unwrap();
    }
    now.fetch_add(1000, Ordering::SeqCst);
    gate.log_mut().fail.push(Error::Storage("disk full".into()));
    gate.submit(&lift.peek(b"x")).unwrap_err();
    gate.submit(&lift.peek(b"x")).unwrap();
    let counts: Vec<_> =
        operations(&mut store.log(), "main").iter().map(|(_, e)| e["count"].clone()).collect();
    assert_eq!(counts, [1, 5], "the one that failed is refused again by whoever sends it again");
}

/// No payload byte of a record that is refused is kept.
#[test]
fn refused_payloads_are_not_kept() {
    let store = Shared::new();
    let mut gate = gate(&store, "main");
    let lift = Signer::new("lift", key(1));
    lift.register(&mut gate);
    let secret = b"SECRET-PAYLOAD-BYTES";
    let mut bad = lift.peek(secret);
    bad.record.signature = [0; 64];
    gate.submit(&bad).unwrap();
    bad.record.payload_hash = compute_payload_hash(b"other");
    gate.submit(&bad).unwrap();
    for (_, entry) in operations(gate.log_mut(), "main") {
        assert!(!entry.to_string().contains("SECRET"), "{entry}");
    }
}
