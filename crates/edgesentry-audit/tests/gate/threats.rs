//! The attacks of the STRIDE tables, each refused, logged, and without trace in what is stored.

use ed25519_dalek::{Signer as _, SigningKey};
use edgesentry_audit::gate::{LogGate, Registration};
use edgesentry_audit::identity::key_id;
use edgesentry_audit::{build_signed_record, compute_payload_hash};

use crate::common::*;

/// A gate with a device that has sent two records; the second comes back as the one to play with.
fn scene() -> (LogGate<Log>, Signer) {
    let mut gate = gate(&Shared::new(), "main");
    let mut lift = Signer::new("lift-01", key(1));
    lift.register(&mut gate);
    accept(&mut gate, &lift.sign(b"one"));
    accept(&mut gate, &lift.sign(b"two"));
    (gate, lift)
}

/// Whatever was refused, the device goes on.
fn goes_on(gate: &mut LogGate<Log>, lift: &mut Signer) {
    accept(gate, &lift.sign(b"goes on"));
    let id = lift.id.clone();
    let report = gate.audit_device(&id).unwrap();
    assert_eq!(report.device.next_sequence, lift.next);
    verify(gate.log_mut());
}

/// S-1: a valid device id and a key of the attacker's own.
#[test]
fn a_key_that_is_not_registered() {
    let (mut gate, mut lift) = scene();
    let mut forged = lift.clone();
    forged.key = key(666);
    refused(&mut gate, &forged.peek(b"x"), "unknown key");
    // The same, but the record says that the registered key signed it.
    let mut submission = forged.peek(b"x");
    submission.record.provenance.as_mut().unwrap().key_id = key_id(&lift.key.verifying_key());
    submission.record.signature = forged.key.sign(&submission.record.signed_message()).to_bytes();
    refused(&mut gate, &submission, "invalid signature");
    goes_on(&mut gate, &mut lift);
}

/// S-2: a record that was captured, sent again.
#[test]
fn a_replay() {
    let (mut gate, mut lift) = scene();
    let captured = lift.sign(b"three");
    let receipt = accept(&mut gate, &captured);
    let verdict = refused(&mut gate, &captured, "duplicate");
    assert_eq!(verdict.already, Some(receipt), "it is this very record");
    for _ in 0..3 {
        accept(&mut gate, &lift.sign(b"more"));
    }
    assert!(refused(&mut gate, &captured, "duplicate").already.is_some());
    goes_on(&mut gate, &mut lift);
}

/// A signed record in place of another one that was accepted.
#[test]
fn another_record_of_an_old_number() {
    let (mut gate, mut lift) = scene();
    let other = lift.peek(b"another three");
    accept(&mut gate, &lift.sign(b"three"));
    assert_eq!(refused(&mut gate, &other, "duplicate").already, None);
    goes_on(&mut gate, &mut lift);
}

/// S-3, E-2: a device signs records of another one.
#[test]
fn a_forged_device_id() {
    let (mut gate, mut lift) = scene();
    let crane = Signer::new("crane-02", key(2));
    crane.register(&mut gate);
    let mut forged = lift.clone();
    forged.key = crane.key.clone();
    refused(&mut gate, &forged.peek(b"x"), "unknown key");
    let mut renamed = crane.peek(b"x");
    renamed.record.device_id = lift.id.clone();
    refused(&mut gate, &renamed, "unknown key");
    let mut submission = lift.peek(b"x");
    submission.record.device_id = crane.id.clone();
    refused(&mut gate, &submission, "unknown key");
    goes_on(&mut gate, &mut lift);
}

/// The transport knows who sends, and it is not the device.
#[test]
fn another_route_identity() {
    let (mut gate, mut lift) = scene();
    let mut submission = lift.peek(b"x");
    submission.route_identity = Some("crane-02".into());
    refused(&mut gate, &submission, "auth/device mismatch");
    submission.route_identity = Some(lift.id.clone());
    accept(&mut gate, &submission);
    lift.sign(b"x");
    goes_on(&mut gate, &mut lift);
}

/// E-1: a device that nobody registered. E-3: no submission registers one.
#[test]
fn an_unknown_device() {
    let (mut gate, mut lift) = scene();
    let mut stranger = Signer::new("stranger", key(3));
    for _ in 0..3 {
        refused(&mut gate, &stranger.sign(b"x"), "unknown device");
    }
    assert_eq!(gate.list_ids(0, 10).unwrap(), ["lift-01"]);
    goes_on(&mut gate, &mut lift);
}

/// T-1: another payload under the record.
#[test]
fn a_changed_payload() {
    let (mut gate, mut lift) = scene();
    let mut submission = lift.peek(b"door closed");
    submission.payload = b"door opened".to_vec();
    refused(&mut gate, &submission, "payload hash mismatch");
    submission.payload = b"door close".to_vec();
    refused(&mut gate, &submission, "payload hash mismatch");
    goes_on(&mut gate, &mut lift);
}

/// T-2: the payload's hash is changed with it; and so for every field that is signed.
#[test]
fn a_changed_field() {
    let (mut gate, mut lift) = scene();
    let good = lift.peek(b"door closed");

    let mut hash = good.clone();
    hash.payload = b"door opened".to_vec();
    hash.record.payload_hash = compute_payload_hash(&hash.payload);
    refused(&mut gate, &hash, "invalid signature");

    let mut time = good.clone();
    time.record.timestamp_ms += 1;
    refused(&mut gate, &time, "invalid signature");

    let mut object = good.clone();
    object.record.object_ref = "somewhere/else".into();
    refused(&mut gate, &object, "invalid signature");

    let mut number = good.clone();
    number.record.sequence += 1;
    refused(&mut gate, &number, "invalid signature");

    let mut previous = good.clone();
    previous.record.prev_record_hash[0] ^= 1;
    refused(&mut gate, &previous, "invalid signature");

    let mut software = good.clone();
    software.record.provenance.as_mut().unwrap().software_version.push('!');
    refused(&mut gate, &software, "invalid signature");

    let mut signature = good.clone();
    signature.record.signature[63] ^= 0x80;
    refused(&mut gate, &signature, "invalid signature");

    let mut downgraded = good.clone();
    downgraded.record.provenance = None;
    refused(&mut gate, &downgraded, "version not allowed");

    accept(&mut gate, &good);
    lift.sign(b"door closed");
    goes_on(&mut gate, &mut lift);
}

/// T-4: signed by the device, but not on the record before.
#[test]
fn a_broken_chain() {
    let (mut gate, mut lift) = scene();
    let mut astray = lift.clone();
    astray.prev = [9; 32];
    refused(&mut gate, &astray.peek(b"x"), "invalid previous hash");
    let mut ahead = lift.clone();
    ahead.sign(b"never sent");
    refused(&mut gate, &ahead.peek(b"x"), "invalid sequence");
    goes_on(&mut gate, &mut lift);
}

#[test]
fn a_revoked_key() {
    let (mut gate, mut lift) = scene();
    let old = lift.key.clone();
    gate.add_key("lift-01", &key(11).verifying_key(), None, None).unwrap();
    gate.revoke_key("lift-01", &key_id(&old.verifying_key())).unwrap();
    // Not even what it signed for a time before the revocation.
    lift.time_ms = 1;
    refused(&mut gate, &lift.peek(b"x"), "key revoked");
    lift.key = key(11);
    goes_on(&mut gate, &mut lift);
}

#[test]
fn a_device_out_of_service() {
    let (mut gate, lift) = scene();
    gate.revoke_device("lift-01").unwrap();
    refused(&mut gate, &lift.peek(b"x"), "device revoked");
}

/// A window counts by the record's time: from its first millisecond to the one before its end.
#[test]
fn a_key_outside_its_window() {
    let mut gate = gate(&Shared::new(), "main");
    let mut lift = Signer::new("lift-01", key(1));
    let registration =
        Registration { not_before_ms: Some(1000), not_after_ms: Some(2000), ..lift.registration() };
    gate.register("lift-01", &registration).unwrap();
    gate.add_key("lift-01", &key(2).verifying_key(), Some(2000), None).unwrap();
    for (time_ms, expected) in [(999, "key outside window"), (2000, "key outside window")] {
        lift.time_ms = time_ms;
        refused(&mut gate, &lift.peek(b"x"), expected);
    }
    for time_ms in [1000, 1999] {
        lift.time_ms = time_ms;
        accept(&mut gate, &lift.sign(b"x"));
    }
    lift.key = key(2);
    refused(&mut gate, &lift.peek(b"x"), "key outside window");
    lift.time_ms = 2000;
    goes_on(&mut gate, &mut lift);
}

#[test]
fn version_1_where_only_version_2_is_allowed() {
    let (mut gate, mut lift) = scene();
    let mut old = lift.clone();
    old.version = 1;
    refused(&mut gate, &old.peek(b"x"), "version not allowed");
    goes_on(&mut gate, &mut lift);
}

/// Whoever saw a record of version 1 can mint its successor, with the signature that it has seen. Where the
/// registration allows version 1 it is accepted: docs/gate.md says so. Elsewhere it is refused.
#[test]
fn a_minted_successor_of_version_1() {
    let mut gate = gate(&Shared::new(), "main");
    let mut lift = Signer::new("lift-01", key(1));
    lift.version = 1;
    lift.register(&mut gate);
    let seen = lift.sign(b"seen");
    accept(&mut gate, &seen);
    let mut minted = seen.clone();
    minted.record.sequence += 1;
    minted.record.prev_record_hash = seen.record.hash();
    minted.record.timestamp_ms += 60_000;
    minted.record.object_ref = "minted".into();
    accept(&mut gate, &minted);
    // Once the device speaks version 2 alone, that is over.
    gate.allow_versions("lift-01", &[2]).unwrap();
    let mut again = minted.clone();
    again.record.sequence += 1;
    again.record.prev_record_hash = minted.record.hash();
    refused(&mut gate, &again, "version not allowed");
    lift.version = 2;
    (lift.next, lift.prev) = (3, minted.record.hash());
    goes_on(&mut gate, &mut lift);
}

/// In version 1 as well the payload itself is bound: without a signature over it there is nothing to mint.
#[test]
fn version_1_with_another_payload() {
    let mut gate = gate(&Shared::new(), "main");
    let mut lift = Signer::new("lift-01", key(1));
    lift.version = 1;
    lift.register(&mut gate);
    accept(&mut gate, &lift.sign(b"seen"));
    let mut submission = lift.peek(b"seen");
    submission.payload = b"changed".to_vec();
    refused(&mut gate, &submission, "payload hash mismatch");
    submission.record.payload_hash = compute_payload_hash(b"changed");
    refused(&mut gate, &submission, "invalid signature");
    let mut stranger = lift.clone();
    stranger.key = key(7);
    refused(&mut gate, &stranger.peek(b"x"), "invalid signature");
    goes_on(&mut gate, &mut lift);
}

/// Two records that name the same object keep a payload each; an object reference overwrites nothing.
#[test]
fn one_object_reference_twice() {
    let (mut gate, mut lift) = scene();
    for payload in [&b"first"[..], b"second"] {
        let record = build_signed_record(
            "lift-01",
            lift.next,
            lift.time_ms,
            payload,
            lift.prev,
            "the/same",
            &lift.key,
        );
        lift.next += 1;
        lift.prev = record.hash();
        accept(&mut gate, &submission(record, payload));
    }
    for (sequence, payload) in [(3, &b"first"[..]), (4, b"second")] {
        let stored = gate.read_record("lift-01", 1, sequence).unwrap();
        assert_eq!((stored.record.object_ref.as_str(), &*stored.payload), ("the/same", payload));
    }
    goes_on(&mut gate, &mut lift);
}

/// The order of the checks is fixed: of several faults the first one is named.
#[test]
fn the_order_of_the_checks() {
    let (mut gate, lift) = scene();
    let mut all = lift.peek(b"x");
    all.payload = b"y".to_vec();
    all.route_identity = Some("other".into());
    all.record.device_id = String::new();
    let named =
        |s: &edgesentry_audit::gate::Submission, gate: &mut LogGate<Log>| reason(&gate.submit(s).unwrap());
    assert_eq!(named(&all, &mut gate), "malformed");
    all.record.device_id = "unknown".into();
    assert_eq!(named(&all, &mut gate), "payload hash mismatch");
    all.payload = b"x".to_vec();
    assert_eq!(named(&all, &mut gate), "auth/device mismatch");
    all.route_identity = None;
    assert_eq!(named(&all, &mut gate), "unknown device");
    // Signed by the key, of a wrong number and a wrong previous hash: the number is named.
    let mut both = lift.clone();
    (both.next, both.prev) = (9, [1; 32]);
    let mut signed = both.peek(b"x");
    assert_eq!(named(&signed, &mut gate), "invalid sequence");
    signed.record.signature = [0; 64];
    assert_eq!(named(&signed, &mut gate), "invalid signature");
}

/// What cannot be a record is refused before anything is looked up.
#[test]
fn malformed_fields() {
    let (mut gate, mut lift) = scene();
    let x = |n: usize| "x".repeat(n);
    let mut bad = Vec::new();
    for id in [String::new(), x(256), "a\nb".into(), "\u{85}".into()] {
        let mut submission = lift.peek(b"x");
        submission.record.device_id = id;
        bad.push(submission);
    }
    let mut object = lift.peek(b"x");
    object.record.object_ref = x(512);
    bad.push(object);
    let mut number = lift.peek(b"x");
    number.record.sequence = 0;
    bad.push(number);
    for change in [
        (|p| p.hash_alg = "sha1".into()) as fn(&mut edgesentry_audit::Provenance),
        |p| p.sig_alg = "none".into(),
        |p| p.key_id = "../etc".into(),
        |p| p.software_version = "x".repeat(256),
    ] {
        let mut submission = lift.peek(b"x");
        change(submission.record.provenance.as_mut().unwrap());
        bad.push(submission);
    }
    let mut large = lift.peek(b"x");
    large.payload = vec![0; edgesentry_audit::gate::MAX_RECORD_PAYLOAD + 1];
    large.record.payload_hash = compute_payload_hash(&large.payload);
    bad.push(large);
    for submission in &bad {
        refused(&mut gate, submission, "malformed");
    }
    goes_on(&mut gate, &mut lift);
}

/// Ids and references may be as long as they may be, and look like anything.
#[test]
fn odd_ids() {
    let mut gate = gate(&Shared::new(), "main");
    let ids = [
        "a/1".to_owned(),
        "a%2F1".into(),
        "_log".into(),
        "a/1/1".into(),
        "a/1/1/1".into(),
        "..".into(),
        "~".into(),
        "昇降機 1".into(),
        "\"quoted\\\"".into(),
        "x".repeat(255),
        "/".repeat(255),
        "é".repeat(127),
    ];
    let mut devices: Vec<Signer> =
        ids.iter().enumerate().map(|(n, id)| Signer::new(id, key(n as u64))).collect();
    for device in &devices {
        device.register(&mut gate);
    }
    for round in 0..2 {
        for device in &mut devices {
            let record = build_signed_record(
                device.id.as_str(),
                device.next,
                1,
                b"x",
                device.prev,
                "o".repeat(511),
                &device.key,
            );
            device.next += 1;
            device.prev = record.hash();
            let receipt = accept(&mut gate, &submission(record, b"x"));
            assert_eq!(receipt.seqno, round + 1, "{}: its own stream", device.id);
        }
        gate.forget();
    }
    assert_eq!(gate.list_ids(0, 100).unwrap(), ids);
    for id in &ids {
        assert_eq!(gate.audit_device(id).unwrap().records, 2, "{id}");
    }
    verify(gate.log_mut());
}

/// Keys of small order make signatures that prove nothing.
#[test]
fn a_weak_key() {
    let mut gate = gate(&Shared::new(), "main");
    let mut small = [0; 32];
    small[0] = 1;
    let weak = ed25519_dalek::VerifyingKey::from_bytes(&small).unwrap();
    let refusal = error(gate.register("lift-01", &Registration::new(weak)));
    assert!(matches!(refusal, secure_log::Error::Invalid(_)), "{refusal}");
    let good = SigningKey::from_bytes(&[7; 32]);
    gate.register("lift-01", &Registration::new(good.verifying_key())).unwrap();
    let refusal = error(gate.add_key("lift-01", &weak, None, None));
    assert!(matches!(refusal, secure_log::Error::Invalid(_)), "{refusal}");
}
