//! Software updates over the log.

use edgesentry_audit::gate::{LogGate, Registration, UpdateOutcome, streams};
use edgesentry_audit::identity::key_id;
use edgesentry_audit::update::SoftwareUpdate;
use edgesentry_audit::{UpdateVerifyError, compute_payload_hash, sign_payload_hash};
use secure_log::model::{Event, Severity};
use secure_log::{Error, SecureLog};

use crate::common::*;

fn update(signer: u64, payload: &[u8]) -> SoftwareUpdate {
    let payload_hash = compute_payload_hash(payload);
    SoftwareUpdate {
        package_id: "controller".into(),
        version: "1.2.3".into(),
        payload_hash,
        signature: sign_payload_hash(&key(signer), &payload_hash),
    }
}

fn checks(gate: &mut LogGate<Log>) -> Vec<(String, serde_json::Value)> {
    json_entries(gate.log_mut(), &streams::updates("main"))
}

fn rejected(
    gate: &mut LogGate<Log>,
    update: &SoftwareUpdate,
    payload: &[u8],
    publisher: &str,
) -> UpdateVerifyError {
    let before = checks(gate).len();
    let outcome = gate.verify_update(update, payload, publisher).unwrap();
    let UpdateOutcome::Rejected(error) = outcome else { panic!("{outcome:?}") };
    let checks = checks(gate);
    assert_eq!(checks.len(), before + 1);
    let (event_type, entry) = &checks[before];
    assert_eq!(event_type, "update-rejected");
    assert_eq!(entry["decision"], "rejected");
    error
}

#[test]
fn a_package_is_accepted_by_its_publishers_keys_alone() {
    let store = Shared::new();
    let mut gate = gate(&store, "main");
    gate.register_publisher("acme", &key(1).verifying_key()).unwrap();
    gate.register_publisher("acme", &key(1).verifying_key()).unwrap();
    gate.register_publisher("acme", &key(2).verifying_key()).unwrap();
    gate.register_publisher("other", &key(3).verifying_key()).unwrap();
    for signer in [1, 2] {
        let outcome = gate.verify_update(&update(signer, b"image"), b"image", "acme").unwrap();
        assert_eq!(outcome, UpdateOutcome::Accepted(key_id(&key(signer).verifying_key())));
    }
    let (event_type, entry) = checks(&mut gate).pop().unwrap();
    assert_eq!(event_type, "update-accepted");
    assert_eq!(
        entry,
        serde_json::json!({
            "decision": "accepted", "package_id": "controller", "version": "1.2.3", "publisher_id": "acme",
            "message": format!("signed by key {}", key_id(&key(2).verifying_key())),
            "payload_hash": hex::encode(compute_payload_hash(b"image")),
            "key_id": key_id(&key(2).verifying_key()),
        })
    );
    let good = update(1, b"image");
    assert!(matches!(
        rejected(&mut gate, &good, b"imagE", "acme"),
        UpdateVerifyError::PayloadHashMismatch { .. }
    ));
    for (update, publisher) in
        [(update(3, b"image"), "acme"), (good.clone(), "other"), (update(9, b"image"), "acme")]
    {
        assert!(matches!(
            rejected(&mut gate, &update, b"image", publisher),
            UpdateVerifyError::InvalidSignature { .. }
        ));
    }
    for nobody in ["nobody", "", "a\nb"] {
        assert!(matches!(
            rejected(&mut gate, &good, b"image", nobody),
            UpdateVerifyError::UnknownPublisher { .. }
        ));
    }
    // Another server, and after a restart.
    let outcome = crate::common::gate(&store, "main").verify_update(&good, b"image", "acme").unwrap();
    assert!(matches!(outcome, UpdateOutcome::Accepted(_)));
    verify(gate.log_mut());
}

#[test]
fn a_revoked_key_stays_so() {
    let mut gate = gate(&Shared::new(), "main");
    let id = key_id(&key(1).verifying_key());
    assert!(matches!(error(gate.revoke_publisher_key("acme", &id)), Error::NotFound(_)));
    gate.register_publisher("acme", &key(1).verifying_key()).unwrap();
    gate.register_publisher("acme", &key(2).verifying_key()).unwrap();
    gate.revoke_publisher_key("acme", &id).unwrap();
    gate.revoke_publisher_key("acme", &id).unwrap();
    let invalid = |error| matches!(error, UpdateVerifyError::InvalidSignature { .. });
    assert!(invalid(rejected(&mut gate, &update(1, b"x"), b"x", "acme")));
    assert!(matches!(error(gate.register_publisher("acme", &key(1).verifying_key())), Error::Conflict(_)));
    gate.verify_update(&update(2, b"x"), b"x", "acme").unwrap();
    gate.revoke_publisher_key("acme", &key_id(&key(2).verifying_key())).unwrap();
    assert!(invalid(rejected(&mut gate, &update(2, b"x"), b"x", "acme")));
}

/// Publishers and devices, and publishers among themselves, never share a key.
#[test]
fn keys_are_kept_apart() {
    let mut gate = gate(&Shared::new(), "main");
    gate.register("lift", &Registration::new(key(1).verifying_key())).unwrap();
    gate.register_publisher("acme", &key(2).verifying_key()).unwrap();
    for refusal in [
        error(gate.register_publisher("acme", &key(1).verifying_key())),
        error(gate.register_publisher("other", &key(2).verifying_key())),
        error(gate.register("crane", &Registration::new(key(2).verifying_key()))),
        error(gate.add_key("lift", &key(2).verifying_key(), None, None)),
    ] {
        assert!(matches!(&refusal, Error::Conflict(c) if c.stream_id == "registry-keys"), "{refusal}");
    }
    // A publisher may have the name of a device; neither is the other.
    gate.register_publisher("lift", &key(3).verifying_key()).unwrap();
    assert_eq!(gate.list_ids(0, 10).unwrap(), ["lift"]);
    assert_eq!(gate.audit_device("lift").unwrap().keys, 1);
}

#[test]
fn a_revocation_cannot_race_a_check() {
    let store = Shared::new();
    let mut a = gate_on(Around::new(store.log()), "main", 0);
    a.register_publisher("acme", &key(1).verifying_key()).unwrap();
    let mut b = gate(&store, "b");
    a.log_mut().before = Some(Box::new(move || {
        b.revoke_publisher_key("acme", &key_id(&key(1).verifying_key())).unwrap();
    }));
    let outcome = a.verify_update(&update(1, b"x"), b"x", "acme").unwrap();
    assert!(matches!(outcome, UpdateOutcome::Rejected(_)), "{outcome:?}");
    let checks = json_entries(&mut store.log(), "updates/main");
    assert_eq!(checks.len(), 1, "only what was answered is logged");
}

#[test]
fn fails_closed() {
    for (event_type, payload) in [
        ("publisher-renamed", r#"{"publisher_id":"acme"}"#),
        ("publisher-key-added", "{}"),
        ("publisher-key-revoked", r#"{"publisher_id":"acme","key_id":"00"}"#),
        ("publisher-key-revoked", r#"{"publisher_id":"other","key_id":"00"}"#),
    ] {
        let store = Shared::new();
        let mut gate = gate(&store, "main");
        gate.register_publisher("acme", &key(1).verifying_key()).unwrap();
        let event = Event::new("publishers/acme", event_type, Severity::Notice, "x", payload);
        SecureLog::append_batch(&mut store.log(), vec![event], &[]).unwrap();
        let refusal = error(gate.verify_update(&update(1, b"x"), b"x", "acme"));
        assert!(matches!(&refusal, Error::Corrupt(c) if c.seqno == 2), "{refusal}");
    }
}

#[test]
fn texts_are_bounded() {
    let mut gate = gate(&Shared::new(), "main");
    let mut large = update(1, b"x");
    large.package_id = "p\n".repeat(100_000);
    large.version = "v".repeat(100_000);
    gate.verify_update(&large, b"x", &"q".repeat(100_000)).unwrap();
    assert!(checks(&mut gate)[0].1.to_string().len() < 3000);
}
