//! The log events of the ingest path, with the fields that the runbook names. A gate in a component has no subscriber:
//! its host emits them for the verdicts that come out.

use std::fmt::Display;

use crate::error::IngestError;
use crate::gate::text::bounded;
use crate::gate::types::{Failure, Outcome, Part, Verdict};
use crate::record::{AuditRecord, MAX_DEVICE_ID, MAX_OBJECT_REF};

/// Target of what was stored or refused.
pub const STORAGE: &str = "edgesentry_audit::ingest::storage";
/// Target of what the checks found.
pub const VERIFY: &str = "edgesentry_audit::ingest::verify";

/// A record arrived.
pub fn started(record: &AuditRecord, payload_bytes: usize) {
    tracing::debug!(
        target: STORAGE,
        device_id = %bounded(&record.device_id, MAX_DEVICE_ID),
        sequence = record.sequence,
        object_ref = %bounded(&record.object_ref, MAX_OBJECT_REF),
        payload_bytes,
        "ingest started"
    );
}

/// A record was accepted and is durable.
pub fn accepted(record: &AuditRecord) {
    let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
    tracing::debug!(target: VERIFY, device_id, sequence, "record verified and accepted");
    tracing::info!(
        target: STORAGE,
        device_id,
        sequence,
        object_ref = %bounded(&record.object_ref, MAX_OBJECT_REF),
        "record accepted"
    );
}

/// A record was refused.
pub fn rejected(record: &AuditRecord, error: &IngestError) {
    let device_id = bounded(&record.device_id, MAX_DEVICE_ID);
    let (device_id, sequence) = (&*device_id, record.sequence);
    match error {
        IngestError::PayloadHashMismatch { .. } => {
            tracing::warn!(
                target: STORAGE,
                device_id,
                sequence,
                reason = error.reason(),
                "payload hash mismatch — record rejected"
            );
            return;
        }
        IngestError::InvalidSignature(_) => {
            tracing::debug!(target: VERIFY, device_id, sequence, "signature verification failed");
        }
        IngestError::Duplicate { .. } => {
            tracing::debug!(target: VERIFY, device_id, sequence, "duplicate record rejected");
        }
        IngestError::InvalidSequence { expected, actual, .. } => {
            tracing::debug!(target: VERIFY, device_id, sequence, expected, actual, "sequence out of order");
        }
        IngestError::InvalidPrevHash(_) => {
            tracing::debug!(target: VERIFY, device_id, sequence, "prev_record_hash mismatch — chain broken");
        }
        _ => {}
    }
    tracing::warn!(
        target: STORAGE,
        device_id,
        sequence,
        reason = error.reason(),
        "integrity policy rejected record"
    );
}

/// Whatever became of a record.
pub fn verdict(record: &AuditRecord, verdict: &Verdict) {
    match &verdict.outcome {
        Outcome::Accepted(_) => accepted(record),
        Outcome::Rejected(error) => rejected(record, error),
    }
}

/// A record could not be handled.
pub fn failed(record: &AuditRecord, part: Part, error: &dyn Display) {
    let device_id = bounded(&record.device_id, MAX_DEVICE_ID);
    let (device_id, sequence, component) = (&*device_id, record.sequence, part.name());
    match part {
        Part::Registry => {
            tracing::error!(target: STORAGE, device_id, sequence, component, %error, "registry access failed");
        }
        Part::RawDataStore => {
            tracing::error!(target: STORAGE, device_id, sequence, component, %error, "raw data store write failed");
        }
        Part::AuditLedger => {
            tracing::error!(target: STORAGE, device_id, sequence, component, %error, "audit ledger append failed");
        }
        Part::OperationLog => {
            tracing::error!(target: STORAGE, device_id, sequence, component, %error, "operation log write failed");
        }
    }
}

/// The same for a failure of a gate.
pub fn failure(record: &AuditRecord, failure: &Failure) {
    failed(record, failure.part, &failure.error);
}
