//! Registering, rotating, revoking.

use edgesentry_audit::gate::{Part, Registered, Registration, streams};
use edgesentry_audit::identity::key_id;
use secure_log::model::{Event, Severity};
use secure_log::{Error, SecureLog};

use crate::common::*;

#[test]
fn a_registration_is_idempotent_and_revives_nothing() {
    let store = Shared::new();
    let mut gate = gate(&store, "main");
    let registration = Registration::new(key(1).verifying_key());
    assert_eq!(gate.register("lift-01", &registration).unwrap(), Registered::Added);
    let once = stored(gate.log_mut());
    assert_eq!(gate.register("lift-01", &registration).unwrap(), Registered::Already);
    // Whatever else it says, and at another server.
    let wider = Registration { versions: vec![1, 2], not_after_ms: Some(5), ..registration.clone() };
    assert_eq!(crate::common::gate(&store, "b").register("lift-01", &wider).unwrap(), Registered::Already);
    assert_eq!(stored(gate.log_mut()), once);
    assert_eq!(gate.get("lift-01").unwrap().unwrap().versions, [2]);

    gate.revoke_key("lift-01", &key_id(&registration.public_key)).unwrap();
    let revoked = stored(gate.log_mut());
    assert_eq!(gate.register("lift-01", &registration).unwrap(), Registered::Revoked);
    gate.revoke_key("lift-01", &key_id(&registration.public_key)).unwrap();
    assert_eq!(stored(gate.log_mut()), revoked, "neither wrote anything");
    let lift = Signer::new("lift-01", key(1));
    refused(&mut gate, &lift.peek(b"x"), "key revoked");
    let again = error(gate.add_key("lift-01", &registration.public_key, None, None));
    assert!(matches!(&again, Error::Conflict(c) if c.reason.contains("revoked")), "{again}");
}

#[test]
fn another_first_key_is_a_conflict_that_says_what_to_do() {
    let mut gate = gate(&Shared::new(), "main");
    gate.register("lift-01", &Registration::new(key(1).verifying_key())).unwrap();
    let other = error(gate.register("lift-01", &Registration::new(key(2).verifying_key())));
    assert!(matches!(&other, Error::Conflict(c) if c.reason.contains("add-key")), "{other}");
    gate.add_key("lift-01", &key(2).verifying_key(), None, None).unwrap();
    let registration = Registration::new(key(2).verifying_key());
    assert_eq!(gate.register("lift-01", &registration).unwrap(), Registered::Already);
}

#[test]
fn one_key_never_serves_two_devices() {
    let store = Shared::new();
    let (mut a, mut b) = (gate(&store, "a"), gate(&store, "b"));
    a.register("lift-01", &Registration::new(key(1).verifying_key())).unwrap();
    a.register("lift-02", &Registration::new(key(2).verifying_key())).unwrap();
    let before = stored(a.log_mut());
    for refusal in [
        error(b.register("lift-03", &Registration::new(key(1).verifying_key()))),
        error(b.add_key("lift-02", &key(1).verifying_key(), None, None)),
        error(a.add_key("lift-01", &key(2).verifying_key(), None, None)),
    ] {
        assert!(matches!(&refusal, Error::Conflict(c) if c.stream_id == "registry-keys"), "{refusal}");
    }
    assert_eq!(stored(a.log_mut()), before);
    assert_eq!(b.get("lift-03").unwrap(), None);
    // Nor after its revocation.
    a.revoke_key("lift-01", &key_id(&key(1).verifying_key())).unwrap();
    error(b.register("lift-03", &Registration::new(key(1).verifying_key())));
}

#[test]
fn two_keys_at_once_then_one() {
    let mut gate = gate(&Shared::new(), "main");
    let mut lift = Signer::new("lift-01", key(1));
    lift.register(&mut gate);
    accept(&mut gate, &lift.sign(b"x"));
    let added = gate.add_key("lift-01", &key(2).verifying_key(), Some(1), None).unwrap();
    assert_eq!(gate.add_key("lift-01", &key(2).verifying_key(), Some(1), None).unwrap(), added);
    let window = error(gate.add_key("lift-01", &key(2).verifying_key(), None, None));
    assert!(matches!(window, Error::Conflict(_)), "{window}");
    for n in [2, 1, 2] {
        lift.key = key(n);
        accept(&mut gate, &lift.sign(b"x"));
    }
    gate.revoke_key("lift-01", &key_id(&key(1).verifying_key())).unwrap();
    accept(&mut gate, &lift.sign(b"x"));
    lift.key = key(1);
    refused(&mut gate, &lift.peek(b"x"), "key revoked");
    let device = gate.get("lift-01").unwrap().unwrap();
    assert_eq!(device.keys.len(), 2);
    assert_eq!((device.keys[0].revoked, device.keys[1].revoked), (Some(3), None));
    assert_eq!(device.registry_seqno, 3);
    assert_eq!((device.next_sequence, device.next_prev_record_hash), (6, lift.prev));
    assert_eq!(gate.audit_device("lift-01").unwrap().device, device);
}

#[test]
fn bad_registrations_write_nothing() {
    let mut gate = gate(&Shared::new(), "main");
    let good = Registration::new(key(1).verifying_key());
    let invalid = |registration: Registration, id: &str, gate: &mut edgesentry_audit::gate::LogGate<Log>| {
        let refusal = gate.register(id, &registration).unwrap_err();
        assert_eq!(refusal.part, Part::Registry);
        assert!(matches!(refusal.error, Error::Invalid(_)), "{refusal}");
    };
    invalid(good.clone(), "", &mut gate);
    invalid(good.clone(), &"x".repeat(256), &mut gate);
    invalid(good.clone(), "a\tb", &mut gate);
    invalid(Registration { versions: vec![3], ..good.clone() }, "lift", &mut gate);
    invalid(Registration { versions: vec![0, 2], ..good.clone() }, "lift", &mut gate);
    invalid(Registration { first: 0, ..good.clone() }, "lift", &mut gate);
    invalid(Registration { first: u64::MAX, ..good.clone() }, "lift", &mut gate);
    invalid(
        Registration { not_before_ms: Some(5), not_after_ms: Some(5), ..good.clone() },
        "lift",
        &mut gate,
    );
    assert!(stored(gate.log_mut()).is_empty());
    gate.register("lift", &Registration { versions: vec![2, 1, 2], ..good }).unwrap();
    assert_eq!(gate.get("lift").unwrap().unwrap().versions, [1, 2]);
}

#[test]
fn what_is_not_there_is_not_found() {
    let mut gate = gate(&Shared::new(), "main");
    for refusal in [
        error(gate.revoke_key("lift", "00")),
        error(gate.revoke_device("lift")),
        error(gate.allow_versions("lift", &[2])),
        error(gate.open_epoch("lift", 1, &[1; 32])),
        error(gate.add_key("lift", &key(1).verifying_key(), None, None)),
        error(gate.read_record("lift", 1, 1)),
        error(gate.audit_device("lift")),
    ] {
        assert!(matches!(&refusal, Error::NotFound(m) if m.what == "device"), "{refusal}");
    }
    gate.register("lift", &Registration::new(key(1).verifying_key())).unwrap();
    assert!(matches!(error(gate.revoke_key("lift", "00")), Error::NotFound(m) if m.what == "key"));
    assert!(matches!(error(gate.read_record("lift", 1, 1)), Error::NotFound(m) if m.what == "record"));
    assert!(matches!(error(gate.read_record("lift", 1, 0)), Error::NotFound(m) if m.what == "record"));
    assert!(matches!(error(gate.read_record("lift", 2, 1)), Error::NotFound(m) if m.what == "epoch"));
}

#[test]
fn a_device_out_of_service_stays_so() {
    let mut gate = gate(&Shared::new(), "main");
    let registration = Registration::new(key(1).verifying_key());
    gate.register("lift", &registration).unwrap();
    gate.revoke_device("lift").unwrap();
    gate.revoke_device("lift").unwrap();
    assert_eq!(gate.register("lift", &registration).unwrap(), Registered::Revoked);
    for refusal in [
        error(gate.register("lift", &Registration::new(key(2).verifying_key()))),
        error(gate.add_key("lift", &key(2).verifying_key(), None, None)),
        error(gate.allow_versions("lift", &[1, 2])),
        error(gate.open_epoch("lift", 1, &[1; 32])),
    ] {
        assert!(matches!(refusal, Error::Denied(_)), "{refusal}");
    }
    // A key that leaked can still be marked.
    gate.revoke_key("lift", &key_id(&registration.public_key)).unwrap();
    assert_eq!(gate.get("lift").unwrap().unwrap().revoked, Some(2));
}

#[test]
fn lists_in_the_order_of_registration() {
    let store = Shared::new();
    let mut gate = gate(&store, "main");
    assert!(gate.list_ids(0, 10).unwrap().is_empty());
    let ids: Vec<String> = (0..25).rev().map(|n| format!("d{n:02}")).collect();
    for (n, id) in ids.iter().enumerate() {
        gate.register(id, &Registration::new(key(n as u64).verifying_key())).unwrap();
        gate.add_key(id, &key(1000 + n as u64).verifying_key(), None, None).unwrap();
    }
    let mut listed = Vec::new();
    for at in (0..30).step_by(4) {
        listed.extend(gate.list_ids(at, 4).unwrap());
    }
    assert_eq!(listed, ids);
    for (skip, limit) in [(0, 100), (3, 5), (20, 100), (2, 0), (24, 1), (25, 1), (1000, 7), (1, 1)] {
        let expected: Vec<_> = ids.iter().skip(skip).take(limit).cloned().collect();
        assert_eq!(gate.list_ids(skip as u64, limit as u32).unwrap(), expected, "{skip}, {limit}");
        assert_eq!(crate::common::gate(&store, "b").list_ids(skip as u64, limit as u32).unwrap(), expected);
    }
}

/// What the registry holds and the gate does not understand makes the device unusable.
#[test]
fn fails_closed() {
    let good = |event_type: &str, payload: &str| {
        let mut event =
            Event::new(streams::registry("lift"), event_type, Severity::Notice, "main", payload.as_bytes());
        event.payload_encoding = Some("application/json".into());
        event
    };
    let id = key_id(&key(1).verifying_key());
    let other = key_id(&key(2).verifying_key());
    let hex = hex::encode(key(2).verifying_key().to_bytes());
    let zeros = "0".repeat(64);
    let cases = [
        good("key-granted", r#"{"device_id":"lift"}"#),
        good("device-revoked", r#"{"device_id":"lift","why":"x"}"#),
        good("device-revoked", r#"{"device_id":"other"}"#),
        good("device-revoked", r#"{}"#),
        good("device-revoked", "not JSON"),
        good("key-revoked", &format!(r#"{{"device_id":"lift","key_id":"{other}"}}"#)),
        good("versions-allowed", r#"{"device_id":"lift","versions":[]}"#),
        good("versions-allowed", r#"{"device_id":"lift","versions":[1,3]}"#),
        good("epoch-opened", &format!(r#"{{"device_id":"lift","epoch":3,"first":1,"anchor":"{zeros}"}}"#)),
        good("epoch-opened", &format!(r#"{{"device_id":"lift","epoch":2,"first":0,"anchor":"{zeros}"}}"#)),
        good("epoch-opened", r#"{"device_id":"lift","epoch":2,"first":1,"anchor":"00"}"#),
        good("key-added", &format!(r#"{{"device_id":"lift","key_id":"{id}","public_key":"{hex}"}}"#)),
        good("key-added", &format!(r#"{{"device_id":"lift","key_id":"{other}","public_key":"{zeros}"}}"#)),
        good(
            "device-registered",
            &format!(
                r#"{{"device_id":"lift","key_id":"{other}","public_key":"{hex}","versions":[2],"first":1,"anchor":"{zeros}"}}"#
            ),
        ),
    ];
    for event in cases {
        let store = Shared::new();
        let mut gate = gate(&store, "main");
        let mut lift = Signer::new("lift", key(1));
        lift.register(&mut gate);
        accept(&mut gate, &lift.sign(b"x"));
        let what = format!("{} {}", event.event_type, String::from_utf8_lossy(&event.payload));
        SecureLog::append_batch(&mut store.log(), vec![event], &[]).unwrap();
        let before = stored(gate.log_mut());
        let failure = gate.submit(&lift.peek(b"y")).unwrap_err();
        assert_eq!(failure.part, Part::Registry, "{what}");
        assert!(matches!(&failure.error, Error::Corrupt(c) if c.seqno == 2), "{what}: {failure}");
        assert!(matches!(error(gate.get("lift")), Error::Corrupt(_)), "{what}");
        assert!(matches!(error(gate.audit_device("lift")), Error::Corrupt(_)), "{what}");
        assert!(matches!(error(gate.revoke_device("lift")), Error::Corrupt(_)), "{what}");
        assert_eq!(stored(gate.log_mut()), before, "{what}");
    }
}

/// A stream that begins with anything but a registration is none of a device.
#[test]
fn a_registry_without_a_registration_is_corrupt() {
    let store = Shared::new();
    let mut gate = gate(&store, "main");
    let event =
        Event::new("registry/lift", "device-revoked", Severity::Notice, "x", r#"{"device_id":"lift"}"#);
    SecureLog::append_batch(&mut store.log(), vec![event], &[]).unwrap();
    assert!(matches!(error(gate.get("lift")), Error::Corrupt(_)));
    // Records of a device that is not registered stand in the way of its registration.
    let event = Event::new("device/crane/1", "record", Severity::Notice, "x", "x");
    SecureLog::append_batch(&mut store.log(), vec![event], &[]).unwrap();
    let refusal = error(gate.register("crane", &Registration::new(key(1).verifying_key())));
    assert!(matches!(refusal, Error::Corrupt(_)), "{refusal}");
}

/// A device that joins in the middle of its chain.
#[test]
fn joins_in_the_middle() {
    let mut gate = gate(&Shared::new(), "main");
    let mut lift = Signer::new("lift", key(1));
    for _ in 0..41 {
        lift.sign(b"somewhere else");
    }
    gate.register("lift", &Registration { first: 42, anchor: lift.prev, ..lift.registration() }).unwrap();
    let mut early = Signer::new("lift", key(1));
    refused(&mut gate, &early.sign(b"somewhere else"), "duplicate");
    let receipt = accept(&mut gate, &lift.sign(b"x"));
    assert_eq!((receipt.seqno, receipt.epoch), (1, 1));
    gate.forget();
    assert_eq!(accept(&mut gate, &lift.sign(b"x")).seqno, 2);
    assert_eq!(gate.read_record("lift", 1, 43).unwrap().receipt.seqno, 2);
    assert_eq!(gate.audit_device("lift").unwrap().records, 2);
}
