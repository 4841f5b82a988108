//! A remote lift inspection from end to end, in memory: sign, ingest, tamper, see it refused.
//!
//!     cargo run -p edgesentry-audit --example lift_inspection_flow

mod shared;

use edgesentry_audit::demo::lift_inspection_payloads;
use edgesentry_audit::{
    AuditRecord, InMemoryAuditLedger, InMemoryOperationLog, InMemoryRawDataStore, IngestService,
    IntegrityPolicyGate, build_signed_record, generate_keypair, signing_key_from_hex, verify_chain_with_keys,
};
use shared::{DEVICE_ID, Outcome, now_ms};

fn main() -> Outcome {
    println!("1. Register the public key of {DEVICE_ID}");
    let key = signing_key_from_hex(&generate_keypair()?.private_key_hex)?;
    let mut policy = IntegrityPolicyGate::new();
    policy.register_device(DEVICE_ID, key.verifying_key())?;
    let mut service = IngestService::new(
        policy,
        InMemoryRawDataStore::default(),
        InMemoryAuditLedger::default(),
        InMemoryOperationLog::default(),
    );

    println!("2. Sign three inspection records");
    let payloads = lift_inspection_payloads(DEVICE_ID);
    let mut records = Vec::new();
    let mut prev = AuditRecord::zero_hash();
    for (payload, n) in payloads.iter().zip(1..) {
        let reference = format!("s3://bucket/{DEVICE_ID}/inspection-{n}.bin");
        let record = build_signed_record(DEVICE_ID, n, now_ms(), payload, prev, reference, &key);
        prev = record.hash();
        records.push(record);
    }

    println!("3. Ingest them");
    for (record, payload) in records.iter().zip(&payloads) {
        service.ingest(record.clone(), payload, None)?;
        println!("   accepted: sequence={} object_ref={}", record.sequence, record.object_ref);
    }

    println!("4. Tamper with a record's payload_hash");
    let mut tampered = records[1].clone();
    tampered.payload_hash[0] ^= 1;
    match service.ingest(tampered, &payloads[1], None) {
        Ok(()) => return Err("the tampered record was accepted".into()),
        Err(error) => println!("   rejected: {error}"),
    }

    println!("5. What is stored");
    for record in service.audit_ledger().records() {
        let payload = service.raw_data_store().get(&record.object_ref).unwrap_or_default();
        println!(
            "   record {}: payload_hash={} payload={}",
            record.sequence,
            hex::encode(record.payload_hash),
            String::from_utf8_lossy(payload)
        );
    }
    for entry in service.operation_log().entries() {
        println!("   operation: {:?} sequence={}: {}", entry.decision, entry.sequence, entry.message);
    }
    verify_chain_with_keys(service.audit_ledger().records(), &[key.verifying_key()])?;
    println!("The stored chain and its signatures hold.");
    Ok(())
}
