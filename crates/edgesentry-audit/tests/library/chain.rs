//! The chain of a device's records, with and without keys.

use edgesentry_audit::{
    AuditRecord, ChainAnchor, ChainError, ChainSigner, build_lift_inspection_demo_records, verify_chain,
    verify_chain_from, verify_chain_from_with_keys, verify_chain_with_keys,
};
use proptest::prelude::*;

use crate::common::*;

const PRIVATE_KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";

#[test]
fn whole_chains_of_both_versions_hold() {
    let keys = [key(1).verifying_key()];
    for records in [chain(DEVICE, &key(1), 5), chain_v1(DEVICE, &key(1), 5)] {
        assert_eq!(verify_chain(&records), Ok(()));
        assert_eq!(verify_chain_with_keys(&records, &keys), Ok(()));
    }
    assert_eq!(verify_chain(&[]), Ok(()));
    assert_eq!(verify_chain_with_keys(&[], &[]), Ok(()));
}

#[test]
fn a_device_may_change_from_version_1_to_2() {
    let mut records = chain_v1(DEVICE, &key(1), 2);
    let mut signer = ChainSigner::resume(DEVICE, key(1), ChainAnchor::after(&records[1]));
    records.push(signer.sign(START_MS + 3, &payload(3), "3.bin"));
    assert_eq!(verify_chain_with_keys(&records, &[key(1).verifying_key()]), Ok(()));
}

#[test]
fn tampered_lift_demo_chain_is_detected() {
    let mut records =
        build_lift_inspection_demo_records(DEVICE, PRIVATE_KEY, START_MS, "s3://bucket").unwrap();
    assert_eq!(verify_chain(&records), Ok(()));
    records[0].payload_hash[0] ^= 1;
    let error = verify_chain(&records).unwrap_err();
    assert_eq!(error, ChainError::InvalidPrevHash { index: 1, sequence: 2 });
    assert!(error.to_string().contains("invalid previous hash at index 1 (sequence 2)"), "{error}");
    let with_keys = verify_chain_with_keys(&records, &[key(1).verifying_key()]).unwrap_err();
    assert_eq!(with_keys, ChainError::InvalidSignature { index: 0, sequence: 1 });
}

#[test]
fn a_change_of_the_last_record_is_seen_with_keys_only() {
    let mut records = chain(DEVICE, &key(1), 3);
    records[2].timestamp_ms += 1;
    assert_eq!(verify_chain(&records), Ok(()));
    let error = verify_chain_with_keys(&records, &[key(1).verifying_key()]).unwrap_err();
    assert_eq!(error, ChainError::InvalidSignature { index: 2, sequence: 3 });
    // In version 1 not even then.
    let mut records = chain_v1(DEVICE, &key(1), 3);
    records[2].timestamp_ms += 1;
    assert_eq!(verify_chain_with_keys(&records, &[key(1).verifying_key()]), Ok(()));
}

#[test]
fn a_chain_that_is_made_anew_is_seen_with_keys_only() {
    let mut records = chain(DEVICE, &key(1), 3);
    records[0].timestamp_ms += 1;
    for n in 1..3 {
        records[n].prev_record_hash = records[n - 1].hash();
    }
    assert_eq!(verify_chain(&records), Ok(()));
    let error = verify_chain_with_keys(&records, &[key(1).verifying_key()]).unwrap_err();
    assert_eq!(error, ChainError::InvalidSignature { index: 0, sequence: 1 });
}

#[test]
fn records_taken_out_put_in_or_moved_are_seen() {
    let records = chain(DEVICE, &key(1), 4);
    let without = |n: usize| {
        let mut rest = records.clone();
        rest.remove(n);
        rest
    };
    let wrong = |index, expected, actual| Err(ChainError::InvalidSequence { index, expected, actual });
    assert_eq!(verify_chain(&without(0)), wrong(0, 1, 2));
    assert_eq!(verify_chain(&without(2)), wrong(2, 3, 4));
    let mut swapped = records.clone();
    swapped.swap(1, 2);
    assert_eq!(verify_chain(&swapped), wrong(1, 2, 3));
    let mut twice = records.clone();
    twice.insert(1, records[0].clone());
    let error = verify_chain(&twice).unwrap_err();
    assert_eq!(error.to_string(), "invalid sequence at index 1: expected 2, actual 1");
    // Numbered anew, it is the hash that does not fit.
    let mut renumbered = without(1);
    for (record, n) in renumbered.iter_mut().zip(1..) {
        record.sequence = n;
    }
    assert_eq!(verify_chain(&renumbered), Err(ChainError::InvalidPrevHash { index: 1, sequence: 2 }));
    assert_eq!(verify_chain(&records[..3]), Ok(()), "nothing shows that records are missing at the end");
}

#[test]
fn the_first_record_follows_nothing() {
    let mut records = chain(DEVICE, &key(1), 1);
    records[0].prev_record_hash = [1; 32];
    assert_eq!(verify_chain(&records), Err(ChainError::InvalidPrevHash { index: 0, sequence: 1 }));
}

#[test]
fn records_of_several_devices_are_no_chain() {
    let records = [chain("lift-01", &key(1), 1), chain("lift-02", &key(2), 2)].concat();
    let error = verify_chain(&records).unwrap_err();
    assert_eq!(
        error.to_string(),
        "mixed devices at index 1 (sequence 1): device \"lift-02\" in the chain of \"lift-01\"; verify each device's records alone"
    );
}

#[test]
fn a_part_is_verified_from_its_anchor() {
    let records = chain(DEVICE, &key(1), 6);
    let anchor = ChainAnchor::after(&records[2]);
    assert_eq!(verify_chain_from(&anchor, &records[3..]), Ok(()));
    assert_eq!(verify_chain_from_with_keys(&anchor, &records[3..], &[key(1).verifying_key()]), Ok(()));
    assert!(matches!(verify_chain(&records[3..]), Err(ChainError::InvalidSequence { index: 0, .. })));
    let other = ChainAnchor { record_hash: [9; 32], ..anchor };
    let error = verify_chain_from(&other, &records[3..]).unwrap_err();
    assert_eq!(error, ChainError::InvalidPrevHash { index: 0, sequence: 4 });
    let earlier = ChainAnchor { sequence: 2, ..anchor };
    assert!(matches!(verify_chain_from(&earlier, &records[3..]), Err(ChainError::InvalidSequence { .. })));

    let json = serde_json::to_string(&anchor).unwrap();
    assert!(json.starts_with("{\"sequence\":3,\"record_hash\":["), "{json}");
    assert_eq!(serde_json::from_str::<ChainAnchor>(&json).unwrap(), anchor);
}

#[test]
fn no_record_comes_after_the_last_number() {
    let mut record = chain(DEVICE, &key(1), 1).remove(0);
    record.sequence = 0;
    let anchor = ChainAnchor { sequence: u64::MAX, record_hash: [0; 32] };
    assert!(verify_chain_from(&anchor, &[record]).is_err());
}

#[test]
fn keys_are_found_by_the_id_in_the_record() {
    let keys = [key(2).verifying_key(), key(1).verifying_key()];
    let mut records = chain(DEVICE, &key(1), 2);
    let mut signer = ChainSigner::resume(DEVICE, key(2), ChainAnchor::after(&records[1]));
    records.push(signer.sign(START_MS, b"by the new key", "3.bin"));
    assert_eq!(verify_chain_with_keys(&records, &keys), Ok(()));
    let error = verify_chain_with_keys(&records, &keys[1..]).unwrap_err();
    assert!(matches!(&error, ChainError::UnknownKey { index: 2, sequence: 3, .. }), "{error}");
    let v1 = chain_v1(DEVICE, &key(1), 2);
    assert_eq!(verify_chain_with_keys(&v1, &keys), Ok(()));
    assert!(verify_chain_with_keys(&v1, &keys[..1]).is_err());
}

#[test]
fn an_algorithm_that_nobody_knows_is_no_blake3() {
    let mut records = chain(DEVICE, &key(1), 2);
    records[1].provenance.as_mut().unwrap().hash_alg = "sha256".into();
    let error = verify_chain(&records).unwrap_err();
    assert_eq!(error.to_string(), "unknown algorithm at index 1 (sequence 2): \"sha256\"");
}

proptest! {
    #[test]
    fn any_change_before_the_last_record_is_seen_without_keys(
        count in 2..8u64, at in any::<prop::sample::Index>(), field in 0..4u8, bit in 0..8u8, byte in 0..32usize,
        old in any::<bool>(),
    ) {
        let mut records = if old { chain_v1(DEVICE, &key(1), count) } else { chain(DEVICE, &key(1), count) };
        let record = &mut records[at.index(count as usize - 1)];
        match field {
            0 => record.payload_hash[byte] ^= 1 << bit,
            1 => record.signature[byte] ^= 1 << bit,
            2 => record.timestamp_ms ^= 1 << bit,
            _ => record.object_ref.push('x'),
        }
        let expected = ChainError::InvalidPrevHash {
            index: at.index(count as usize - 1) + 1,
            sequence: at.index(count as usize - 1) as u64 + 2,
        };
        prop_assert_eq!(verify_chain(&records), Err(expected));
    }
}

#[test]
fn a_chain_signer_goes_on_where_it_was() {
    let mut signer = ChainSigner::new(DEVICE, key(1));
    assert_eq!(signer.last(), ChainAnchor::START);
    let first = signer.sign(START_MS, b"1", "1.bin");
    let mut later = ChainSigner::resume(DEVICE, key(1), signer.last());
    let second = later.sign(START_MS, b"2", "2.bin");
    assert_eq!(second.sequence, 2);
    assert_eq!(second.prev_record_hash, first.hash());
    let by_hand = edgesentry_audit::build_signed_record(
        DEVICE,
        1,
        START_MS,
        b"1",
        AuditRecord::zero_hash(),
        "1.bin",
        &key(1),
    );
    assert_eq!(first, by_hand);
}
