//! The device's side: building signed records.

use std::borrow::Cow;

use ed25519_dalek::{Signer, SigningKey};

use crate::identity::{key_id, sign_payload_hash};
use crate::integrity::compute_payload_hash;
use crate::record::{AuditRecord, HASH_ALG, Hash32, Provenance, SIG_ALG};

/// What records say that this crate signed.
pub const SOFTWARE_VERSION: &str = concat!("edgesentry-audit ", env!("CARGO_PKG_VERSION"));

/// Builds and signs a record of version 2 about `payload`. `prev_record_hash` is [`AuditRecord::hash`] of the record
/// before, or [`AuditRecord::zero_hash`] for the first.
pub fn build_signed_record(
    device_id: impl Into<String>,
    sequence: u64,
    timestamp_ms: u64,
    payload: &[u8],
    prev_record_hash: Hash32,
    object_ref: impl Into<String>,
    signing_key: &SigningKey,
) -> AuditRecord {
    let mut record = AuditRecord {
        device_id: device_id.into(),
        sequence,
        timestamp_ms,
        payload_hash: compute_payload_hash(payload),
        signature: [0; 64],
        prev_record_hash,
        object_ref: object_ref.into(),
        provenance: Some(Provenance {
            hash_alg: Cow::Borrowed(HASH_ALG),
            sig_alg: Cow::Borrowed(SIG_ALG),
            key_id: key_id(&signing_key.verifying_key()),
            software_version: SOFTWARE_VERSION.to_owned(),
        }),
    };
    tracing::debug!(
        device_id = %record.device_id,
        sequence = record.sequence,
        payload_bytes = payload.len(),
        "signing record"
    );
    record.signature = signing_key.sign(&record.signed_message()).to_bytes();
    record
}

/// The same in version 1, for receivers that know no other. It protects less: see [`record`](crate::record).
pub fn build_signed_record_v1(
    device_id: impl Into<String>,
    sequence: u64,
    timestamp_ms: u64,
    payload: &[u8],
    prev_record_hash: Hash32,
    object_ref: impl Into<String>,
    signing_key: &SigningKey,
) -> AuditRecord {
    let payload_hash = compute_payload_hash(payload);
    AuditRecord {
        device_id: device_id.into(),
        sequence,
        timestamp_ms,
        payload_hash,
        signature: sign_payload_hash(signing_key, &payload_hash),
        prev_record_hash,
        object_ref: object_ref.into(),
        provenance: None,
    }
}
