//! Keys in hex, and records signed with them.

use edgesentry_audit::{
    AuditRecord, HexError, KeyError, KeyPair, build_lift_inspection_demo_records_with_payloads,
    compute_payload_hash, generate_keypair, inspect_key, parse_fixed_hex, sign_record,
    verify_chain_with_keys, verify_record, verifying_key_from_bytes, verifying_key_from_hex,
};

use crate::common::*;

const PRIVATE: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const PUBLIC: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

#[test]
fn hex_of_the_right_length_is_read() {
    assert_eq!(parse_fixed_hex::<3>("00ffAb"), Ok([0, 255, 0xab]));
    assert_eq!(parse_fixed_hex::<0>(""), Ok([]));
}

#[test]
fn other_text_is_refused_without_quoting_it() {
    let wrong = |text: &str| parse_fixed_hex::<2>(text).unwrap_err();
    assert_eq!(wrong("abc"), HexError::Length { expected: 4, actual: 3 });
    assert_eq!(wrong("abcdef"), HexError::Length { expected: 4, actual: 6 });
    assert_eq!(wrong(""), HexError::Length { expected: 4, actual: 0 });
    assert_eq!(wrong("ab d"), HexError::NotHex { position: 3 });
    assert_eq!(wrong("0x00"), HexError::NotHex { position: 2 });
    assert_eq!(wrong("0é0"), HexError::NotHex { position: 2 });
    assert_eq!(wrong("abc").to_string(), "expected 4 hex digits, got 3");
    assert_eq!(wrong("ab d").to_string(), "character 3 is not a hex digit");
    let secret = format!("{}zz", "7e".repeat(31));
    for text in [secret.as_str(), &secret[..40], "7e"] {
        let error = inspect_key(text).unwrap_err();
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("7e") && !shown.contains('z'), "{shown}");
        }
    }
}

#[test]
fn the_documented_private_key_has_the_documented_public_key() {
    let pair = inspect_key(PRIVATE).unwrap();
    assert_eq!((pair.private_key_hex.as_str(), pair.public_key_hex.as_str()), (PRIVATE, PUBLIC));
    let json = serde_json::to_string(&pair).unwrap();
    assert_eq!(json, format!("{{\"private_key_hex\":\"{PRIVATE}\",\"public_key_hex\":\"{PUBLIC}\"}}"));
    let read: KeyPair = serde_json::from_str(&json).unwrap();
    assert_eq!(read.private_key_hex, PRIVATE);
}

#[test]
fn made_keys_differ_and_are_pairs() {
    let (a, b) = (generate_keypair().unwrap(), generate_keypair().unwrap());
    assert_ne!(a.private_key_hex, b.private_key_hex);
    assert_eq!(inspect_key(&a.private_key_hex).unwrap().public_key_hex, a.public_key_hex);
}

#[test]
fn debug_output_does_not_show_the_private_key() {
    let shown = format!("{:?}", inspect_key(PRIVATE).unwrap());
    assert!(!shown.contains("0101") && shown.contains(PUBLIC), "{shown}");
}

#[test]
fn weak_and_impossible_public_keys_are_refused() {
    for weak in weak_keys() {
        assert_eq!(verifying_key_from_bytes(weak.as_bytes()), Err(KeyError::Weak));
        assert_eq!(verifying_key_from_hex(&hex::encode(weak.as_bytes())), Err(KeyError::Weak));
    }
    let mut none = [0; 32];
    none[0] = 2;
    assert_eq!(verifying_key_from_bytes(&none), Err(KeyError::NotAKey));
    let error = verifying_key_from_hex("00").unwrap_err();
    assert_eq!(error.to_string(), "public key: expected 64 hex digits, got 2");
}

fn sign(device_id: &str, sequence: u64) -> Result<AuditRecord, edgesentry_audit::SignError> {
    let payload = b"door-open".to_vec();
    let reference = "s3://bucket/lift-01/1.bin".to_owned();
    sign_record(device_id.into(), sequence, START_MS, payload, AuditRecord::zero_hash(), reference, PRIVATE)
}

#[test]
fn a_signed_record_is_valid_under_its_key_alone() {
    let record = sign(DEVICE, 1).unwrap();
    assert_eq!(verify_record(&record, PUBLIC), Ok(true));
    assert_eq!(verify_record(&record, &hex::encode(key(2).verifying_key().as_bytes())), Ok(false));
    let mut tampered = record.clone();
    tampered.signature[0] ^= 1;
    assert_eq!(verify_record(&tampered, PUBLIC), Ok(false));
    assert!(verify_record(&record, "00").is_err());
    assert_eq!(verify_record(&chain_v1(DEVICE, &key(1), 1)[0], PUBLIC), Ok(true));
}

#[test]
fn a_record_that_names_another_key_is_not_valid() {
    use ed25519_dalek::Signer;
    let mut record = sign(DEVICE, 1).unwrap();
    record.provenance.as_mut().unwrap().key_id = edgesentry_audit::key_id(&key(2).verifying_key());
    record.signature = key(1).sign(&record.signed_message()).to_bytes();
    assert_eq!(verify_record(&record, PUBLIC), Ok(false));
}

#[test]
fn records_that_a_gate_would_not_read_are_not_signed() {
    let error = sign("", 1).unwrap_err();
    assert_eq!(error.to_string(), "malformed device_id: 0 bytes; it has 1 to 255");
    assert!(sign(&"x".repeat(256), 1).is_err());
    assert!(sign(&"x".repeat(255), 1).is_ok());
    assert!(sign(DEVICE, 0).unwrap_err().to_string().starts_with("malformed sequence"));
}

#[test]
fn the_lift_inspection_has_three_checks_a_minute_apart() {
    let (records, payloads) =
        build_lift_inspection_demo_records_with_payloads(DEVICE, PRIVATE, START_MS, "s3://bucket/lift-01")
            .unwrap();
    assert_eq!(records.len(), 3);
    assert_eq!(verify_chain_with_keys(&records, &[key(1).verifying_key()]), Ok(()));
    for (n, (record, payload)) in (1..).zip(records.iter().zip(&payloads)) {
        assert_eq!(record.timestamp_ms, START_MS + (n - 1) * 60_000);
        assert_eq!(record.object_ref, format!("s3://bucket/lift-01/inspection-{n}.bin"));
        assert_eq!(record.payload_hash, compute_payload_hash(payload));
        let text = String::from_utf8(payload.clone()).unwrap();
        assert!(
            text.starts_with(&format!("scenario=lift-inspection,device=lift-01,sequence={n},check=")),
            "{text}"
        );
        assert!(text.contains(",status=ok,"), "{text}");
    }
    let checks = ["check=door", "check=vibration", "check=emergency_brake"];
    assert!(payloads.iter().zip(checks).all(|(p, check)| String::from_utf8_lossy(p).contains(check)));
    let late = build_lift_inspection_demo_records_with_payloads(DEVICE, PRIVATE, u64::MAX - 1, "s3://b");
    assert!(late.unwrap_err().to_string().contains("timestamp_ms"));
}
