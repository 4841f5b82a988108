//! Epochs: a device goes on after it lost its memory, and nothing old comes back.

use secure_log::Error;

use crate::common::*;

#[test]
fn a_device_that_lost_its_memory_goes_on() {
    let store = Shared::new();
    let mut gate = gate(&store, "main");
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gate);
    let first: Vec<_> = (0..3u8).map(|n| lift.sign(&[n])).collect();
    for submission in &first {
        accept(&mut gate, submission);
    }
    let anchor = [0xA5; 32];
    let device = gate.open_epoch("lift", 1, &anchor).unwrap();
    assert_eq!((device.next_sequence, device.next_prev_record_hash), (1, anchor));
    assert_eq!(device.epochs.len(), 2);
    // The same again, before any record: nothing is written.
    let before = stored(gate.log_mut());
    gate.open_epoch("lift", 1, &anchor).unwrap();
    assert_eq!(stored(gate.log_mut()), before);

    // What was accepted in epoch 1 does not come back, and is recognised.
    for (n, submission) in first.iter().enumerate() {
        let verdict = refused(&mut gate, submission, "duplicate");
        let already = verdict.already.expect("it is stored");
        assert_eq!((already.epoch, already.seqno), (1, n as u64 + 1));
    }
    // What goes on from epoch 1 does not fit either.
    refused(&mut gate, &lift.peek(b"late"), "invalid sequence");

    (lift.next, lift.prev) = (1, anchor);
    let second: Vec<_> = (0..3u8).map(|n| lift.sign(&[n])).collect();
    for (n, submission) in second.iter().enumerate() {
        let receipt = accept(&mut gate, submission);
        assert_eq!((receipt.stream_id.as_str(), receipt.seqno), ("device/lift/2", n as u64 + 1));
    }
    for (epoch, submissions) in [(1, &first), (2, &second)] {
        for submission in submissions {
            let verdict = refused(&mut gate, submission, "duplicate");
            assert_eq!(verdict.already.map(|already| already.epoch), Some(epoch));
        }
    }
    gate.forget();
    accept(&mut gate, &lift.sign(b"goes on"));
    let report = gate.audit_device("lift").unwrap();
    assert_eq!(report.epochs.iter().map(|epoch| epoch.records).collect::<Vec<_>>(), [3, 4]);
    verify(gate.log_mut());
}

/// An anchor under which an accepted record would fit again is refused.
#[test]
fn an_anchor_that_old_records_fit_is_refused() {
    let mut gate = gate(&Shared::new(), "main");
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gate);
    let records: Vec<_> = (0..3u8).map(|n| lift.sign(&[n])).collect();
    for submission in &records {
        accept(&mut gate, submission);
    }
    let before = stored(gate.log_mut());
    for submission in &records {
        let record = &submission.record;
        let refusal = error(gate.open_epoch("lift", record.sequence, &record.prev_record_hash));
        assert!(matches!(&refusal, Error::Invalid(i) if i.field == "anchor"), "{refusal}");
    }
    for (first, anchor) in [(0, [1; 32]), (u64::MAX, [1; 32])] {
        assert!(matches!(error(gate.open_epoch("lift", first, &anchor)), Error::Invalid(_)));
    }
    assert_eq!(stored(gate.log_mut()), before);

    // An epoch that stayed empty counts as well: what was signed for it may be about.
    gate.open_epoch("lift", 1, &[7; 32]).unwrap();
    gate.open_epoch("lift", 1, &[8; 32]).unwrap();
    assert!(matches!(error(gate.open_epoch("lift", 1, &[7; 32])), Error::Invalid(_)));
    // So do records of epochs long ago.
    for n in 9..13 {
        gate.open_epoch("lift", 1, &[n; 32]).unwrap();
    }
    let third = &records[2].record;
    assert!(matches!(error(gate.open_epoch("lift", 3, &third.prev_record_hash)), Error::Invalid(_)));
    // To go on from the last stored record is one way; nothing that was accepted fits behind it.
    gate.open_epoch("lift", 4, &lift.prev).unwrap();
    accept(&mut gate, &lift.sign(b"four"));
    assert_eq!(gate.audit_device("lift").unwrap().records, 4);
}

/// A record whose answer was lost before the epoch ended is still recognised.
#[test]
fn an_old_record_of_a_number_that_is_next_is_recognised() {
    let mut gate = gate(&Shared::new(), "main");
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut gate);
    let lost = lift.sign(b"lost");
    accept(&mut gate, &lost);
    gate.open_epoch("lift", 1, &[7; 32]).unwrap();
    // Its number is the next one and its previous hash is not: it is a duplicate all the same.
    assert!(refused(&mut gate, &lost, "duplicate").already.is_some());
    // One that was never accepted is not.
    let mut other = Signer::new("lift", key(1));
    refused(&mut gate, &other.sign(b"other"), "invalid previous hash");
}

/// A record that another server is about to accept does not slip into a closed epoch.
#[test]
fn opening_an_epoch_races_an_acceptance() {
    let store = Shared::new();
    let mut a = gate_on(Around::new(store.log()), "a", 0);
    let mut lift = Signer::new("lift", key(1));
    lift.register(&mut a);
    accept(&mut a, &lift.sign(b"one"));
    let mut b = gate(&store, "b");
    a.log_mut().before = Some(Box::new(move || {
        b.open_epoch("lift", 1, &[7; 32]).unwrap();
    }));
    let verdict = a.submit(&lift.peek(b"two")).unwrap();
    assert_eq!(reason(&verdict), "invalid sequence");
    assert_eq!(a.overtaken(), 1);
    assert_eq!(a.get("lift").unwrap().unwrap().next_sequence, 1);
}
