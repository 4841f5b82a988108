//! Both versions of a record: bytes, JSON, hashes, and what their signatures cover.

use std::borrow::Cow;

use edgesentry_audit::identity::verify_record_signature;
use edgesentry_audit::{
    AuditRecord, Provenance, build_signed_record_v1, compute_payload_hash, sign_payload_hash,
    verify_payload_signature,
};
use proptest::prelude::*;
use serde::Serialize;

use crate::common::*;

/// Version 1 as serde and postcard write it.
#[derive(Serialize)]
struct Oracle<'a> {
    device_id: &'a str,
    sequence: u64,
    timestamp_ms: u64,
    payload_hash: [u8; 32],
    #[serde(serialize_with = "byte_string")]
    signature: &'a [u8],
    prev_record_hash: [u8; 32],
    object_ref: &'a str,
}

fn byte_string<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

fn by_postcard(record: &AuditRecord) -> Vec<u8> {
    postcard::to_allocvec(&Oracle {
        device_id: &record.device_id,
        sequence: record.sequence,
        timestamp_ms: record.timestamp_ms,
        payload_hash: record.payload_hash,
        signature: &record.signature,
        prev_record_hash: record.prev_record_hash,
        object_ref: &record.object_ref,
    })
    .unwrap()
}

fn text(most: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::string::string_regex(&format!("[^\\p{{Cc}}]{{0,{most}}}")).unwrap(),
        any::<String>()
    ]
}

fn number() -> impl Strategy<Value = u64> {
    // All lengths of a varint and of a CBOR head.
    (0..64u32, any::<u64>()).prop_map(|(shift, n)| n >> shift)
}

prop_compose! {
    fn record()(
        device_id in text(300),
        sequence in number(),
        timestamp_ms in number(),
        payload_hash in any::<[u8; 32]>(),
        signature in proptest::collection::vec(any::<u8>(), 64),
        prev_record_hash in any::<[u8; 32]>(),
        object_ref in text(300),
        provenance in proptest::option::of(("[a-z0-9]{1,10}", "[a-z0-9]{1,10}", "[0-9a-f]{32}", text(40))),
    ) -> AuditRecord {
        AuditRecord {
            device_id,
            sequence,
            timestamp_ms,
            payload_hash,
            signature: signature.try_into().unwrap(),
            prev_record_hash,
            object_ref,
            provenance: provenance.map(|(hash_alg, sig_alg, key_id, software_version)| Provenance {
                hash_alg: Cow::Owned(hash_alg),
                sig_alg: Cow::Owned(sig_alg),
                key_id,
                software_version,
            }),
        }
    }
}

proptest! {
    #[test]
    fn bytes_and_json_of_both_versions_come_back_as_they_were(record in record()) {
        let bytes = record.to_bytes();
        prop_assert_eq!(&AuditRecord::from_bytes(record.version(), &bytes).unwrap(), &record);
        let json = serde_json::to_string(&record).unwrap();
        prop_assert_eq!(&serde_json::from_str::<AuditRecord>(&json).unwrap(), &record);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&serde_json::from_value::<AuditRecord>(value).unwrap(), &record);
        prop_assert_eq!(&serde_json::from_reader::<_, AuditRecord>(json.as_bytes()).unwrap(), &record);
        let mut scratch = vec![7; 10];
        prop_assert_eq!(record.hash_with(&mut scratch), *blake3::hash(&bytes).as_bytes());
        prop_assert_eq!(scratch, bytes);
    }

    #[test]
    fn version_1_is_what_postcard_writes(record in record()) {
        let record = AuditRecord { provenance: None, ..record };
        prop_assert_eq!(record.to_bytes(), by_postcard(&record));
    }

    #[test]
    fn changed_bytes_are_refused_or_are_the_one_form_of_another_record(
        record in record(), at in any::<prop::sample::Index>(), to in any::<u8>(),
    ) {
        let mut bytes = record.to_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(other) = AuditRecord::from_bytes(record.version(), &bytes) {
            prop_assert_ne!(&other, &record);
            prop_assert_eq!(other.to_bytes(), bytes);
        }
    }

    #[test]
    fn cut_or_lengthened_bytes_are_no_record(record in record(), cut in any::<prop::sample::Index>()) {
        let bytes = record.to_bytes();
        prop_assert!(AuditRecord::from_bytes(record.version(), &bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(AuditRecord::from_bytes(record.version(), &[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(version in 0..4u8, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = AuditRecord::from_bytes(version, &bytes);
        let _ = serde_json::from_slice::<AuditRecord>(&bytes);
    }
}

#[test]
fn version_1_has_these_bytes() {
    let record = AuditRecord {
        device_id: "lift-01".into(),
        sequence: 300,
        timestamp_ms: START_MS,
        payload_hash: [0xaa; 32],
        signature: [0xbb; 64],
        prev_record_hash: [0xcc; 32],
        object_ref: "s3://b/1".into(),
        provenance: None,
    };
    let bytes = [
        &[7][..],
        b"lift-01",
        &[0xac, 0x02],
        // 1,700,000,000,000 = 0x18bcfe56800, seven bits a byte.
        &[0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31],
        &[0xaa; 32],
        &[64],
        &[0xbb; 64],
        &[0xcc; 32],
        &[8],
        b"s3://b/1",
    ]
    .concat();
    assert_eq!(record.to_bytes(), bytes);
    assert_eq!(record.hash(), *blake3::hash(&bytes).as_bytes());
}

#[test]
fn numbers_in_a_longer_form_are_refused() {
    let record = chain_v1(DEVICE, &key(1), 1).remove(0);
    let mut bytes = record.to_bytes();
    // postcard itself reads 1 as 0x81 0x00.
    assert_eq!(bytes[8], 1);
    bytes.splice(8..9, [0x81, 0x00]);
    let error = AuditRecord::from_bytes(1, &bytes).unwrap_err();
    assert_eq!(error.to_string(), "not a record: not in its one canonical form");

    let mut bytes = chain(DEVICE, &key(1), 1)[0].to_bytes();
    assert_eq!(bytes[..5], [0xac, 1, 2, 2, 0x67]);
    bytes.splice(2..3, [0x18, 2]);
    assert!(AuditRecord::from_bytes(2, &bytes).is_err());
}

#[test]
fn a_signature_of_another_length_is_no_record_of_version_1() {
    let record = chain_v1(DEVICE, &key(1), 1).remove(0);
    let bytes = record.to_bytes();
    let at = bytes.len() - 1 - record.object_ref.len() - 32 - 64 - 1;
    assert_eq!(bytes[at], 64);
    let mut short = bytes.clone();
    short[at] = 63;
    short.remove(at + 1);
    let error = AuditRecord::from_bytes(1, &short).unwrap_err();
    assert_eq!(error.to_string(), "not a record: its signature does not have 64 bytes");
}

#[test]
fn bytes_of_one_version_are_no_record_of_the_other() {
    let (v1, v2) = (chain_v1(DEVICE, &key(1), 1).remove(0), chain(DEVICE, &key(1), 1).remove(0));
    assert!(AuditRecord::from_bytes(2, &v1.to_bytes()).is_err());
    assert!(AuditRecord::from_bytes(1, &v2.to_bytes()).is_err());
    let error = AuditRecord::from_bytes(3, &v2.to_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "not a record: version 3; there are 1 and 2");
}

fn keys_of(json: &str) -> Vec<String> {
    // In the order of the text, which a map would lose.
    let mut keys = Vec::new();
    for part in json.split("\":") {
        if let Some((_, key)) = part.rsplit_once('"') {
            keys.push(key.to_owned());
        }
    }
    keys.retain(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    keys
}

#[test]
fn json_has_the_documented_fields_in_their_order() {
    let v1 = serde_json::to_string(&chain_v1(DEVICE, &key(1), 1)[0]).unwrap();
    let fields = [
        "device_id",
        "sequence",
        "timestamp_ms",
        "payload_hash",
        "signature",
        "prev_record_hash",
        "object_ref",
    ];
    assert_eq!(keys_of(&v1), fields);
    let v2 = serde_json::to_string(&chain(DEVICE, &key(1), 1)[0]).unwrap();
    let own = ["hash_alg", "sig_alg", "key_id", "software_version"];
    assert_eq!(keys_of(&v2), [&["version"][..], &fields, &own].concat());
    for json in [v1, v2] {
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        for (field, length) in [("payload_hash", 32), ("signature", 64), ("prev_record_hash", 32)] {
            let numbers = value[field].as_array().unwrap();
            assert_eq!(numbers.len(), length, "{field}");
            assert!(numbers.iter().all(|n| n.as_u64().is_some_and(|n| n < 256)), "{field}");
        }
    }
}

#[test]
fn json_that_is_no_record_is_refused() {
    let good = serde_json::to_value(&chain(DEVICE, &key(1), 1)[0]).unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let mut value = good.clone();
        change(value.as_object_mut().unwrap());
        serde_json::from_value::<AuditRecord>(value).unwrap_err().to_string()
    };
    for field in good.as_object().unwrap().keys() {
        refused(&|record| drop(record.remove(field)));
    }
    refused(&|record| drop(record.insert("extra".into(), 1.into())));
    refused(&|record| drop(record.insert("version".into(), 3.into())));
    refused(&|record| drop(record.insert("version".into(), 1.into())));
    refused(&|record| drop(record.insert("sequence".into(), (-1).into())));
    refused(&|record| drop(record["payload_hash"].as_array_mut().unwrap().pop()));
    refused(&|record| record["payload_hash"].as_array_mut().unwrap().push(1.into()));
    refused(&|record| record["signature"][0] = 256.into());
    refused(&|record| drop(record.insert("signature".into(), "00".into())));
    let twice = format!("{{\"device_id\":\"x\",{}", &good.to_string()[1..]);
    assert!(serde_json::from_str::<AuditRecord>(&twice).unwrap_err().to_string().contains("duplicate field"));
}

/// Each field of a record changed, by name.
fn changes(record: &AuditRecord) -> Vec<(&'static str, AuditRecord)> {
    type Change = fn(&mut AuditRecord);
    let mut all: Vec<(&str, Change)> = vec![
        ("device_id", |r| r.device_id.push('x')),
        ("sequence", |r| r.sequence += 1),
        ("timestamp_ms", |r| r.timestamp_ms += 1),
        ("payload_hash", |r| r.payload_hash[0] ^= 1),
        ("signature", |r| r.signature[0] ^= 1),
        ("prev_record_hash", |r| r.prev_record_hash[0] ^= 1),
        ("object_ref", |r| r.object_ref.push('x')),
    ];
    if record.provenance.is_some() {
        all.extend([
            ("hash_alg", (|r| r.provenance.as_mut().unwrap().hash_alg = "sha256".into()) as Change),
            ("sig_alg", |r| r.provenance.as_mut().unwrap().sig_alg = "ed448".into()),
            ("key_id", |r| r.provenance.as_mut().unwrap().key_id.replace_range(..1, "z")),
            ("software_version", |r| r.provenance.as_mut().unwrap().software_version.push('x')),
        ]);
    }
    let changed = |change: Change| {
        let mut record = record.clone();
        change(&mut record);
        record
    };
    all.into_iter().map(|(name, change)| (name, changed(change))).collect()
}

#[test]
fn the_signature_of_version_2_covers_every_field() {
    let record = chain(DEVICE, &key(1), 2).remove(1);
    let public = key(1).verifying_key();
    assert!(verify_record_signature(&public, &record));
    let changes = changes(&record);
    assert_eq!(changes.len(), 11);
    for (field, changed) in changes {
        assert!(!verify_record_signature(&public, &changed), "{field} is not covered");
        assert_ne!(changed.hash(), record.hash(), "{field} is not hashed");
    }
    let as_v1 = AuditRecord { provenance: None, ..record };
    assert!(!verify_record_signature(&public, &as_v1), "the version can be taken off");
}

#[test]
fn the_signature_of_version_1_covers_the_payload_hash_alone() {
    let record = chain_v1(DEVICE, &key(1), 2).remove(1);
    let public = key(1).verifying_key();
    let held: Vec<&str> = changes(&record)
        .into_iter()
        .filter(|(_, changed)| verify_record_signature(&public, changed))
        .map(|(field, _)| field)
        .collect();
    assert_eq!(held, ["device_id", "sequence", "timestamp_ms", "prev_record_hash", "object_ref"]);
    for (field, changed) in changes(&record) {
        assert_ne!(changed.hash(), record.hash(), "{field} is not hashed");
    }
}

#[test]
fn whoever_saw_a_record_of_version_1_can_mint_its_successor() {
    let mut service = service_with_device();
    service.policy_mut().allow_versions(DEVICE, &[1, 2]).unwrap();
    let first = chain_v1(DEVICE, &key(1), 1).remove(0);
    service.ingest(first.clone(), &payload(1), None).unwrap();
    // Without the key: the same payload hash and signature, the next number, any time.
    let minted = AuditRecord {
        sequence: 2,
        timestamp_ms: START_MS + 1_000_000,
        prev_record_hash: first.hash(),
        object_ref: "never-measured.bin".into(),
        ..first.clone()
    };
    assert_eq!(service.ingest(minted.clone(), &payload(1), None), Ok(()));
    let keys = [key(1).verifying_key()];
    assert_eq!(edgesentry_audit::verify_chain_with_keys(&[first.clone(), minted.clone()], &keys), Ok(()));

    // A device that was registered as usual does not have the weakness.
    let mut service = service_with_device();
    let error = service.ingest(first, &payload(1), None).unwrap_err();
    assert_eq!(error.to_string(), "record version 1 is not allowed for device=lift-01");
}

#[test]
fn a_signature_of_version_1_is_none_of_version_2() {
    let v2 = chain(DEVICE, &key(1), 1).remove(0);
    let message = v2.signed_message();
    assert_eq!(message.len(), 27 + 32);
    assert!(message.starts_with(b"edgesentry-audit record v2\n"));
    let over_hash = sign_payload_hash(&key(1), &message[27..].try_into().unwrap());
    let forged = AuditRecord { signature: over_hash, ..v2 };
    assert!(!verify_record_signature(&key(1).verifying_key(), &forged));
}

#[test]
fn payload_hashes_are_signed_and_checked() {
    let hash = compute_payload_hash(b"door-open");
    assert_eq!(hash, *blake3::hash(b"door-open").as_bytes());
    let signature = sign_payload_hash(&key(1), &hash);
    assert!(verify_payload_signature(&key(1).verifying_key(), &hash, &signature));
    assert!(!verify_payload_signature(&key(2).verifying_key(), &hash, &signature));
    assert!(!verify_payload_signature(&key(1).verifying_key(), &compute_payload_hash(b"x"), &signature));
}

#[test]
fn a_signature_that_any_message_fits_is_refused() {
    // R and A of small order, s = 0: the equation of RFC 8032 holds for whole classes of messages.
    let mut lenient = 0;
    for weak in weak_keys() {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(weak.as_bytes());
        let signature = ed25519_dalek::Signature::from_bytes(&bytes);
        for n in 0..64u8 {
            let hash = compute_payload_hash(&[n]);
            lenient += u32::from(ed25519_dalek::Verifier::verify(&weak, &hash, &signature).is_ok());
            assert!(!verify_payload_signature(&weak, &hash, &bytes));
        }
    }
    assert!(lenient > 64, "the check that is not strict accepts them: {lenient}");
}

#[test]
fn a_signature_with_a_larger_s_is_refused() {
    // s + L is the same number modulo the order of the group (malleability).
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let hash = compute_payload_hash(b"door-open");
    let mut signature = sign_payload_hash(&key(1), &hash);
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert!(!verify_payload_signature(&key(1).verifying_key(), &hash, &signature));
}

#[test]
fn records_say_which_software_and_key_signed() {
    let record = chain(DEVICE, &key(1), 1).remove(0);
    let provenance = record.provenance.unwrap();
    assert_eq!(provenance.hash_alg, "blake3");
    assert_eq!(provenance.sig_alg, "ed25519");
    assert_eq!(
        provenance.key_id,
        hex::encode(&blake3::hash(key(1).verifying_key().as_bytes()).as_bytes()[..16])
    );
    assert_eq!(provenance.software_version, edgesentry_audit::SOFTWARE_VERSION);
    let v1 = build_signed_record_v1(DEVICE, 1, 0, b"", AuditRecord::zero_hash(), "", &key(1));
    assert_eq!(v1.provenance, None);
}
