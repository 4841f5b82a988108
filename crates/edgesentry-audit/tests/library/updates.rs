//! Software updates: whose package may be installed.

use edgesentry_audit::update::{UpdateRefusal, check_update};
use edgesentry_audit::{
    PublisherError, SoftwareUpdate, UpdateVerificationLog, UpdateVerifier, UpdateVerifyDecision,
    UpdateVerifyError, compute_payload_hash, key_id, sign_payload_hash,
};

use crate::common::*;

const PACKAGE: &[u8] = b"firmware image";

fn update(signer: u8) -> SoftwareUpdate {
    let payload_hash = compute_payload_hash(PACKAGE);
    SoftwareUpdate {
        package_id: "lift-firmware".into(),
        version: "1.2.0".into(),
        payload_hash,
        signature: sign_payload_hash(&key(signer), &payload_hash),
    }
}

fn verifier() -> UpdateVerifier {
    let mut verifier = UpdateVerifier::new();
    verifier.register_publisher("acme-firmware", key(1).verifying_key()).unwrap();
    verifier.register_publisher("acme-config", key(2).verifying_key()).unwrap();
    verifier
}

#[test]
fn a_signed_package_is_accepted_and_logged() {
    let mut log = UpdateVerificationLog::new();
    assert_eq!(verifier().verify(&update(1), PACKAGE, "acme-firmware", &mut log), Ok(()));
    let entry = &log.entries()[0];
    assert_eq!(entry.decision, UpdateVerifyDecision::Accepted);
    assert_eq!((entry.package_id.as_str(), entry.version.as_str()), ("lift-firmware", "1.2.0"));
    assert_eq!(entry.publisher_id, "acme-firmware");
    assert_eq!(entry.message, format!("signed by key {}", key_id(&key(1).verifying_key())));
}

#[test]
fn every_refusal_is_typed_and_logged() {
    let verifier = verifier();
    let mut log = UpdateVerificationLog::default();
    let mut check = |update: &SoftwareUpdate, payload: &[u8], publisher: &str| {
        let error = verifier.verify(update, payload, publisher, &mut log).unwrap_err();
        let entry = log.entries().last().unwrap();
        assert_eq!((entry.decision, &entry.message), (UpdateVerifyDecision::Rejected, &error.to_string()));
        error
    };
    assert_eq!(
        check(&update(1), PACKAGE, "unknown"),
        UpdateVerifyError::UnknownPublisher { publisher_id: "unknown".into() }
    );
    assert_eq!(
        check(&update(1), b"another image", "acme-firmware"),
        UpdateVerifyError::PayloadHashMismatch {
            package_id: "lift-firmware".into(),
            version: "1.2.0".into()
        }
    );
    // Signed by the other publisher: keys are kept apart.
    let invalid = UpdateVerifyError::InvalidSignature {
        package_id: "lift-firmware".into(),
        version: "1.2.0".into(),
        publisher_id: "acme-firmware".into(),
    };
    assert_eq!(check(&update(2), PACKAGE, "acme-firmware"), invalid);
    let mut tampered = update(1);
    tampered.signature[5] ^= 1;
    assert_eq!(check(&tampered, PACKAGE, "acme-firmware"), invalid);
    // The hash is looked at first, so that a wrong package with a right signature says so.
    let mut both = update(1);
    both.payload_hash[0] ^= 1;
    assert!(matches!(check(&both, PACKAGE, "acme-firmware"), UpdateVerifyError::PayloadHashMismatch { .. }));
    assert_eq!(log.entries().len(), 5);
}

#[test]
fn a_key_follows_another_one() {
    let mut verifier = verifier();
    let mut log = UpdateVerificationLog::new();
    verifier.register_publisher("acme-firmware", key(3).verifying_key()).unwrap();
    assert!(verifier.verify(&update(1), PACKAGE, "acme-firmware", &mut log).is_ok());
    assert!(verifier.verify(&update(3), PACKAGE, "acme-firmware", &mut log).is_ok());
    let old = key_id(&key(1).verifying_key());
    verifier.remove_key("acme-firmware", &old).unwrap();
    assert!(verifier.verify(&update(1), PACKAGE, "acme-firmware", &mut log).is_err());
    assert!(verifier.verify(&update(3), PACKAGE, "acme-firmware", &mut log).is_ok());
    assert!(matches!(verifier.remove_key("acme-firmware", &old), Err(PublisherError::UnknownKey { .. })));
    verifier.remove_key("acme-firmware", &key_id(&key(3).verifying_key())).unwrap();
    let error = verifier.verify(&update(3), PACKAGE, "acme-firmware", &mut log).unwrap_err();
    assert!(matches!(error, UpdateVerifyError::InvalidSignature { .. }));
}

#[test]
fn a_key_never_serves_two_publishers() {
    let mut verifier = verifier();
    let error = verifier.register_publisher("acme-config", key(1).verifying_key()).unwrap_err();
    let key_id = key_id(&key(1).verifying_key());
    assert_eq!(error, PublisherError::KeyOfAnother { key_id, owner: "acme-firmware".into() });
    let mut log = UpdateVerificationLog::new();
    assert!(verifier.verify(&update(1), PACKAGE, "acme-config", &mut log).is_err());
    assert_eq!(verifier.register_publisher("acme-firmware", key(1).verifying_key()), Ok(()));
    for weak in weak_keys() {
        let error = verifier.register_publisher("weak", weak).unwrap_err();
        assert!(matches!(error, PublisherError::WeakKey { .. }));
    }
}

#[test]
fn name_and_version_are_not_signed() {
    let mut log = UpdateVerificationLog::new();
    let renamed = SoftwareUpdate { package_id: "other".into(), version: "9.9.9".into(), ..update(1) };
    assert_eq!(verifier().verify(&renamed, PACKAGE, "acme-firmware", &mut log), Ok(()));
}

#[test]
fn the_check_alone_names_the_key() {
    let keys = [key(2).verifying_key(), key(1).verifying_key()];
    assert_eq!(check_update(&update(1), PACKAGE, &keys), Ok(1));
    assert_eq!(check_update(&update(3), PACKAGE, &keys), Err(UpdateRefusal::InvalidSignature));
    assert_eq!(check_update(&update(1), PACKAGE, &[]), Err(UpdateRefusal::InvalidSignature));
    assert_eq!(check_update(&update(1), b"", &keys), Err(UpdateRefusal::PayloadHashMismatch));
}

#[test]
fn an_announcement_comes_back_from_json() {
    let json = serde_json::to_string(&update(1)).unwrap();
    assert!(
        json.starts_with("{\"package_id\":\"lift-firmware\",\"version\":\"1.2.0\",\"payload_hash\":["),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<SoftwareUpdate>(&json).unwrap(), update(1));
    assert!(serde_json::from_str::<SoftwareUpdate>(&json.replace("\"version\"", "\"verson\"")).is_err());
}
