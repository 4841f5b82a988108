//! Devices, records and services that the tests share.

use ed25519_dalek::{SigningKey, VerifyingKey};
use edgesentry_audit::{
    AuditRecord, ChainSigner, InMemoryAuditLedger, InMemoryOperationLog, InMemoryRawDataStore, IngestService,
    IntegrityPolicyGate, build_signed_record_v1,
};

pub const START_MS: u64 = 1_700_000_000_000;
pub const DEVICE: &str = "lift-01";

pub fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

/// The points of small order, as far as they have an encoding that is read: the identity, and one of order 8.
pub fn weak_keys() -> Vec<VerifyingKey> {
    let mut identity = [0; 32];
    identity[0] = 1;
    let order_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
    let order_8: [u8; 32] = hex::decode(order_8).unwrap().try_into().unwrap();
    let keys = [identity, order_8].map(|bytes| VerifyingKey::from_bytes(&bytes).unwrap());
    assert!(keys.iter().all(VerifyingKey::is_weak));
    keys.to_vec()
}

pub fn payload(n: u64) -> Vec<u8> {
    format!("check {n} ok").into_bytes()
}

/// The first `count` records of a device, version 2, about `payload(n)`.
pub fn chain(device: &str, signing_key: &SigningKey, count: u64) -> Vec<AuditRecord> {
    let mut chain = ChainSigner::new(device, signing_key.clone());
    (1..=count).map(|n| chain.sign(START_MS + n, &payload(n), format!("{device}/{n}.bin"))).collect()
}

/// The same in version 1.
pub fn chain_v1(device: &str, signing_key: &SigningKey, count: u64) -> Vec<AuditRecord> {
    let mut prev = AuditRecord::zero_hash();
    let mut records = Vec::new();
    for n in 1..=count {
        let reference = format!("{device}/{n}.bin");
        let record =
            build_signed_record_v1(device, n, START_MS + n, &payload(n), prev, reference, signing_key);
        prev = record.hash();
        records.push(record);
    }
    records
}

pub type Service = IngestService<InMemoryRawDataStore, InMemoryAuditLedger, InMemoryOperationLog>;

pub fn service() -> Service {
    IngestService::new(
        IntegrityPolicyGate::new(),
        InMemoryRawDataStore::default(),
        InMemoryAuditLedger::default(),
        InMemoryOperationLog::default(),
    )
}

/// A service that knows [`DEVICE`] with key 1.
pub fn service_with_device() -> Service {
    let mut service = service();
    service.register_device(DEVICE, key(1).verifying_key()).unwrap();
    service
}
