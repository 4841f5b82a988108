//! The events of judging and storing, by their documented names. Whoever judges records elsewhere emits the same.

use super::store::short_id;
use crate::error::IngestError;
use crate::record::AuditRecord;

/// `record verified and accepted`: all checks hold.
pub fn trace_verified(record: &AuditRecord) {
    tracing::debug!(
        target: "edgesentry_audit::ingest::verify",
        device_id = %record.device_id,
        sequence = record.sequence,
        "record verified and accepted"
    );
}

/// `record accepted`: it is stored.
pub fn trace_accepted(record: &AuditRecord) {
    tracing::info!(
        target: "edgesentry_audit::ingest::storage",
        device_id = %record.device_id,
        sequence = record.sequence,
        object_ref = %record.object_ref,
        "record accepted"
    );
}

/// What a refusal is in both targets: which check it was, and that the record is rejected.
pub fn trace_rejected(device_id: &str, sequence: u64, error: &IngestError) {
    let device_id = short_id(device_id);
    match error {
        IngestError::InvalidSignature(_) => tracing::debug!(
            target: "edgesentry_audit::ingest::verify",
            device_id,
            sequence,
            "signature verification failed"
        ),
        IngestError::Duplicate { .. } => tracing::debug!(
            target: "edgesentry_audit::ingest::verify",
            device_id,
            sequence,
            "duplicate record rejected"
        ),
        IngestError::InvalidSequence { expected, actual, .. } => tracing::debug!(
            target: "edgesentry_audit::ingest::verify",
            device_id,
            expected,
            actual,
            "sequence out of order"
        ),
        IngestError::InvalidPrevHash(_) => tracing::debug!(
            target: "edgesentry_audit::ingest::verify",
            device_id,
            sequence,
            "prev_record_hash mismatch — chain broken"
        ),
        _ => {}
    }
    if let IngestError::PayloadHashMismatch { .. } = error {
        tracing::warn!(
            target: "edgesentry_audit::ingest::storage",
            device_id,
            sequence,
            reason = error.reason(),
            "payload hash mismatch — record rejected"
        );
    } else {
        tracing::warn!(
            target: "edgesentry_audit::ingest::storage",
            device_id,
            sequence,
            reason = error.reason(),
            "integrity policy rejected record"
        );
    }
}
