//! A remote lift inspection of three checks, as records: for examples and demonstrations.

use crate::agent::ChainSigner;
use crate::error::IngestError;
use crate::gate::check_form;
use crate::keys::{SignError, signing_key_from_hex};
use crate::record::AuditRecord;

/// Between two checks, ms.
pub const INSPECTION_INTERVAL_MS: u64 = 60_000;

/// What the three checks found: door, vibration, emergency brake.
pub fn lift_inspection_payloads(device_id: &str) -> Vec<Vec<u8>> {
    [
        "check=door,status=ok,open_close_cycle=3",
        "check=vibration,status=ok,rms=0.18",
        "check=emergency_brake,status=ok,response_ms=120",
    ]
    .iter()
    .zip(1..)
    .map(|(result, n)| {
        format!("scenario=lift-inspection,device={device_id},sequence={n},{result}").into_bytes()
    })
    .collect()
}

/// The records of an inspection, a minute apart, with references `{object_prefix}/inspection-{n}.bin`.
pub fn build_lift_inspection_demo_records(
    device_id: &str,
    private_key_hex: &str,
    start_timestamp_ms: u64,
    object_prefix: &str,
) -> Result<Vec<AuditRecord>, SignError> {
    let both = build_lift_inspection_demo_records_with_payloads(
        device_id,
        private_key_hex,
        start_timestamp_ms,
        object_prefix,
    );
    both.map(|(records, _)| records)
}

/// The same, with the payloads that they are about.
pub fn build_lift_inspection_demo_records_with_payloads(
    device_id: &str,
    private_key_hex: &str,
    start_timestamp_ms: u64,
    object_prefix: &str,
) -> Result<(Vec<AuditRecord>, Vec<Vec<u8>>), SignError> {
    let mut chain = ChainSigner::new(device_id, signing_key_from_hex(private_key_hex)?);
    let payloads = lift_inspection_payloads(device_id);
    let mut records = Vec::with_capacity(payloads.len());
    let mut timestamp_ms = start_timestamp_ms;
    for (payload, n) in payloads.iter().zip(1..) {
        let record = chain.sign(timestamp_ms, payload, format!("{object_prefix}/inspection-{n}.bin"));
        check_form(&record)?;
        records.push(record);
        timestamp_ms =
            timestamp_ms.checked_add(INSPECTION_INTERVAL_MS).ok_or_else(|| IngestError::Malformed {
                field: "timestamp_ms".into(),
                reason: format!("{start_timestamp_ms} leaves no room for the checks after it"),
            })?;
    }
    Ok((records, payloads))
}
