//! The judgement on one record, for every gate: in memory, over a log, in the component.

use crate::error::IngestError;
use crate::gate::types::{Device, DeviceKey};
use crate::identity::verify_record_signature;
use crate::integrity::compute_payload_hash;
use crate::record::{AuditRecord, HASH_ALG, MAX_DEVICE_ID, MAX_OBJECT_REF, MAX_SOFTWARE_VERSION, SIG_ALG};

/// Whether a record's fields can be what they should be.
pub fn check_form(record: &AuditRecord) -> Result<(), IngestError> {
    let malformed =
        |field: &str, reason: String| Err(IngestError::Malformed { field: field.to_owned(), reason });
    if record.device_id.is_empty() || record.device_id.len() > MAX_DEVICE_ID {
        let bytes = record.device_id.len();
        return malformed("device_id", format!("{bytes} bytes; it has 1 to {MAX_DEVICE_ID}"));
    }
    if record.device_id.chars().any(char::is_control) {
        return malformed("device_id", "has control characters".into());
    }
    if record.object_ref.len() > MAX_OBJECT_REF {
        let bytes = record.object_ref.len();
        return malformed("object_ref", format!("{bytes} bytes; it has at most {MAX_OBJECT_REF}"));
    }
    if record.sequence == 0 {
        return malformed("sequence", "0; the first record has 1".into());
    }
    let Some(provenance) = &record.provenance else { return Ok(()) };
    if provenance.hash_alg != HASH_ALG {
        return malformed("hash_alg", format!("only {HASH_ALG:?} is known"));
    }
    if provenance.sig_alg != SIG_ALG {
        return malformed("sig_alg", format!("only {SIG_ALG:?} is known"));
    }
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if provenance.key_id.len() != 32 || !provenance.key_id.bytes().all(hex) {
        return malformed("key_id", "is not 32 lower-case hex digits".into());
    }
    if provenance.software_version.len() > MAX_SOFTWARE_VERSION {
        let bytes = provenance.software_version.len();
        return malformed(
            "software_version",
            format!("{bytes} bytes; it has at most {MAX_SOFTWARE_VERSION}"),
        );
    }
    Ok(())
}

/// Judges a record in the documented order: form, payload hash, route identity, registration, key, signature,
/// number, previous hash. Gives the key that signed it. `device` is what is known of `record.device_id`.
pub fn judge<'d>(
    record: &AuditRecord,
    payload: &[u8],
    route_identity: Option<&str>,
    device: Option<&'d Device>,
) -> Result<&'d DeviceKey, IngestError> {
    check_form(record)?;
    let id = || record.device_id.clone();
    if compute_payload_hash(payload) != record.payload_hash {
        return Err(IngestError::PayloadHashMismatch { device_id: id(), sequence: record.sequence });
    }
    judge_record(record, route_identity, device)
}

/// The same without the payload, for those who checked it or do not have it.
pub fn judge_record<'d>(
    record: &AuditRecord,
    route_identity: Option<&str>,
    device: Option<&'d Device>,
) -> Result<&'d DeviceKey, IngestError> {
    let id = || record.device_id.clone();
    if let Some(sender) = route_identity
        && sender != record.device_id
    {
        return Err(IngestError::CertDeviceMismatch { cert_identity: sender.to_owned(), device_id: id() });
    }
    let device = device.ok_or_else(|| IngestError::UnknownDevice(id()))?;
    if device.revoked.is_some() {
        return Err(IngestError::DeviceRevoked(id()));
    }
    if !device.versions.contains(&record.version()) {
        return Err(IngestError::VersionNotAllowed { device_id: id(), version: record.version() });
    }
    let key = match &record.provenance {
        Some(provenance) => {
            let key = device.keys.iter().find(|key| key.key_id == provenance.key_id).ok_or_else(|| {
                IngestError::UnknownKey { device_id: id(), key_id: provenance.key_id.clone() }
            })?;
            check_key(record, key)?;
            verify_record_signature(&key.public_key, record)
                .then_some(key)
                .ok_or_else(|| IngestError::InvalidSignature(id()))?
        }
        None => {
            // A record of version 1 names no key: whichever made the signature.
            let key = device.keys.iter().find(|key| verify_record_signature(&key.public_key, record));
            let key = key.ok_or_else(|| IngestError::InvalidSignature(id()))?;
            check_key(record, key)?;
            key
        }
    };
    let expected = device.next_sequence;
    if record.sequence < expected {
        return Err(IngestError::Duplicate { device_id: id(), sequence: record.sequence });
    }
    if record.sequence > expected {
        return Err(IngestError::InvalidSequence { device_id: id(), expected, actual: record.sequence });
    }
    if record.prev_record_hash != device.next_prev_record_hash {
        return Err(IngestError::InvalidPrevHash(id()));
    }
    Ok(key)
}

/// Windows count by the record's own time, revocation by what the registry says now.
fn check_key(record: &AuditRecord, key: &DeviceKey) -> Result<(), IngestError> {
    let (device_id, key_id) = (record.device_id.clone(), key.key_id.clone());
    if key.revoked.is_some() {
        return Err(IngestError::KeyRevoked { device_id, key_id });
    }
    let at = record.timestamp_ms;
    if key.not_before_ms.is_some_and(|from| at < from) || key.not_after_ms.is_some_and(|to| at >= to) {
        return Err(IngestError::KeyOutsideWindow {
            device_id,
            key_id,
            timestamp_ms: at,
            not_before_ms: key.not_before_ms,
            not_after_ms: key.not_after_ms,
        });
    }
    Ok(())
}
