//! The log events of a submission. They name device and number, never payload bytes, signatures or keys.

use edgesentry_audit::IngestError;
use edgesentry_audit::gate::{Outcome, Part, Submission, Verdict};

use crate::gate::GateError;

const STORAGE: &str = "edgesentry_audit::ingest::storage";
const VERIFY: &str = "edgesentry_audit::ingest::verify";

/// What is said of a submission after the gate took it.
pub(crate) struct About<'a> {
    request_id: &'a str,
    source: String,
    device_id: String,
    object_ref: String,
    sequence: u64,
}

impl<'a> About<'a> {
    pub(crate) fn of(submission: &Submission, request_id: &'a str) -> Self {
        let record = &submission.record;
        let source = submission.source.as_deref().unwrap_or_default();
        tracing::debug!(
            target: STORAGE,
            request_id,
            source,
            device_id = record.device_id,
            sequence = record.sequence,
            object_ref = record.object_ref,
            payload_bytes = submission.payload.len(),
            "ingest started"
        );
        Self {
            request_id,
            source: source.to_owned(),
            device_id: record.device_id.clone(),
            object_ref: record.object_ref.clone(),
            sequence: record.sequence,
        }
    }

    pub(crate) fn answered(&self, outcome: &Result<Verdict, GateError>) {
        let Self { request_id, source, device_id, object_ref, sequence } = self;
        match outcome {
            Ok(verdict) => match &verdict.outcome {
                Outcome::Accepted(receipt) => {
                    tracing::debug!(target: VERIFY, request_id, device_id, sequence, "record verified and accepted");
                    tracing::info!(
                        target: STORAGE,
                        request_id,
                        source,
                        device_id,
                        sequence,
                        object_ref,
                        stream = receipt.stream_id,
                        entry = receipt.seqno,
                        "record accepted"
                    );
                }
                Outcome::Rejected(error) => self.refused(error),
            },
            Err(GateError::Failed(failure)) => {
                let error = failure.error.to_string();
                let component = failure.part.name();
                match failure.part {
                    Part::RawDataStore => {
                        tracing::error!(target: STORAGE, request_id, device_id, sequence, component, error, "raw data store write failed");
                    }
                    Part::AuditLedger => {
                        tracing::error!(target: STORAGE, request_id, device_id, sequence, component, error, "audit ledger append failed");
                    }
                    Part::OperationLog => {
                        tracing::error!(target: STORAGE, request_id, device_id, sequence, component, error, "operation log write failed");
                    }
                    Part::Registry => {
                        tracing::error!(target: STORAGE, request_id, device_id, sequence, component, error, "registry read failed");
                    }
                }
            }
            Err(error) => self.unanswered(error),
        }
    }

    pub(crate) fn unanswered(&self, error: &(impl std::fmt::Display + ?Sized)) {
        let Self { request_id, source, device_id, sequence, .. } = self;
        tracing::warn!(target: STORAGE, request_id, source, device_id, sequence, %error, "no verdict on the record");
    }

    fn refused(&self, error: &IngestError) {
        let Self { request_id, source, device_id, sequence, .. } = self;
        match error {
            IngestError::InvalidSignature(_) => {
                tracing::debug!(target: VERIFY, request_id, device_id, sequence, "signature verification failed");
            }
            IngestError::Duplicate { .. } => {
                tracing::debug!(target: VERIFY, request_id, device_id, sequence, "duplicate record rejected");
            }
            IngestError::InvalidSequence { expected, actual, .. } => {
                tracing::debug!(target: VERIFY, request_id, device_id, expected, actual, "sequence out of order");
            }
            IngestError::InvalidPrevHash(_) => {
                tracing::debug!(target: VERIFY, request_id, device_id, sequence, "prev_record_hash mismatch — chain broken");
            }
            _ => {}
        }
        let reason = error.reason();
        if matches!(error, IngestError::PayloadHashMismatch { .. }) {
            tracing::warn!(target: STORAGE, request_id, source, device_id, sequence, reason, "payload hash mismatch — record rejected");
        } else {
            tracing::warn!(target: STORAGE, request_id, source, device_id, sequence, reason, "integrity policy rejected record");
        }
    }
}

