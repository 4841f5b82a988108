//! Judging and storing, in the order of the documents.

use ed25519_dalek::VerifyingKey;
use thiserror::Error;

use super::policy::{IntegrityPolicyGate, RegistrationError};
use super::store::{AuditLedger, OperationLogEntry, OperationLogStore, RawDataStore, StoreError};
use crate::error::IngestError;
use crate::gate::text::bounded;
use crate::gate::{Part, Registered, events};
use crate::record::{AuditRecord, MAX_DEVICE_ID};

/// Why a record is not in the stores.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IngestServiceError {
    /// BLAKE3 of the payload is not the record's `payload_hash`.
    #[error("payload hash mismatch for device={device_id} sequence={sequence}")]
    PayloadHashMismatch {
        /// The device.
        device_id: String,
        /// The record's number.
        sequence: u64,
    },
    /// The gate refuses it.
    #[error(transparent)]
    Verify(#[from] IngestError),
    /// The payload could not be kept.
    #[error("raw data store write failed: {0}")]
    RawDataStore(StoreError),
    /// The record could not be kept.
    #[error("audit ledger append failed: {0}")]
    AuditLedger(StoreError),
    /// The decision could not be kept. What it was about does not count as accepted.
    #[error("operation log write failed: {0}")]
    OperationLog(StoreError),
}

impl IngestServiceError {
    /// The refusal that this is, if it is one and not a failure.
    pub(super) fn refusal(error: IngestError) -> Self {
        match error {
            IngestError::PayloadHashMismatch { device_id, sequence } => {
                Self::PayloadHashMismatch { device_id, sequence }
            }
            error => Self::Verify(error),
        }
    }

    /// The store that failed, where one did.
    pub fn part(&self) -> Option<Part> {
        match self {
            Self::PayloadHashMismatch { .. } | Self::Verify(_) => None,
            Self::RawDataStore(_) => Some(Part::RawDataStore),
            Self::AuditLedger(_) => Some(Part::AuditLedger),
            Self::OperationLog(_) => Some(Part::OperationLog),
        }
    }

    pub(super) fn trace(&self, record: &AuditRecord) {
        match self {
            Self::PayloadHashMismatch { .. } | Self::Verify(_) => {}
            Self::RawDataStore(error) => events::failed(record, Part::RawDataStore, error),
            Self::AuditLedger(error) => events::failed(record, Part::AuditLedger, error),
            Self::OperationLog(error) => events::failed(record, Part::OperationLog, error),
        }
    }
}

/// Judges records and stores those that count: payload hash, route identity, signature, number and previous hash, then
/// payload, record and decision. What the gate expects next changes only when all three are stored, so a device that
/// sends a record again after a failure gets it in; the stores take the same thing twice without keeping it twice.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ed25519_dalek::SigningKey;
/// use edgesentry_audit::{
///     AuditRecord, InMemoryAuditLedger, InMemoryOperationLog, InMemoryRawDataStore, IngestService,
///     IntegrityPolicyGate, build_signed_record,
/// };
///
/// let key = SigningKey::from_bytes(&[1; 32]);
/// let mut service = IngestService::new(
///     IntegrityPolicyGate::new(),
///     InMemoryRawDataStore::default(),
///     InMemoryAuditLedger::default(),
///     InMemoryOperationLog::default(),
/// );
/// service.register_device("lift-01", key.verifying_key())?;
/// let first = AuditRecord::zero_hash();
/// let record = build_signed_record("lift-01", 1, 1_700_000_000_000, b"door ok", first, "door-1.bin", &key);
/// service.ingest(record, b"door ok", None)?;
/// assert_eq!(service.raw_data_store().get("door-1.bin"), Some(&b"door ok"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct IngestService<R, L, O> {
    policy: IntegrityPolicyGate,
    raw_data_store: R,
    audit_ledger: L,
    operation_log: O,
}

impl<R: RawDataStore, L: AuditLedger, O: OperationLogStore> IngestService<R, L, O> {
    /// A service of these parts.
    pub fn new(policy: IntegrityPolicyGate, raw_data_store: R, audit_ledger: L, operation_log: O) -> Self {
        Self { policy, raw_data_store, audit_ledger, operation_log }
    }

    /// [`IntegrityPolicyGate::register_device`].
    pub fn register_device(
        &mut self,
        device_id: impl Into<String>,
        public_key: VerifyingKey,
    ) -> Result<Registered, RegistrationError> {
        self.policy.register_device(device_id, public_key)
    }

    /// Judges a record and, if it counts, stores it. `cert_identity` is who the transport says the sender is.
    #[tracing::instrument(
        name = "ingest",
        target = "edgesentry_audit::ingest::storage",
        skip_all,
        fields(
            device_id = %bounded(&record.device_id, MAX_DEVICE_ID),
            sequence = record.sequence,
            payload_bytes = payload.len()
        )
    )]
    pub fn ingest(
        &mut self,
        record: AuditRecord,
        payload: &[u8],
        cert_identity: Option<&str>,
    ) -> Result<(), IngestServiceError> {
        events::started(&record, payload.len());
        if let Err(refusal) = self.policy.judge(&record, payload, cert_identity) {
            events::rejected(&record, &refusal);
            let entry = OperationLogEntry::rejected(&record, &refusal);
            self.log(&record, entry)?;
            return Err(IngestServiceError::refusal(refusal));
        }
        if let Err(error) = self.store(&record, payload) {
            error.trace(&record);
            // Of the two errors, the first one is why the record is not in.
            let _ = self.log(&record, OperationLogEntry::rejected(&record, &error));
            return Err(error);
        }
        self.log(&record, OperationLogEntry::accepted(&record))?;
        self.policy.advance(&record);
        events::accepted(&record);
        Ok(())
    }

    fn store(&mut self, record: &AuditRecord, payload: &[u8]) -> Result<(), IngestServiceError> {
        self.raw_data_store.put(&record.object_ref, payload).map_err(IngestServiceError::RawDataStore)?;
        self.audit_ledger.append(record).map_err(IngestServiceError::AuditLedger)
    }

    fn log(&mut self, record: &AuditRecord, entry: OperationLogEntry) -> Result<(), IngestServiceError> {
        self.operation_log.append(entry).map_err(|error| {
            let error = IngestServiceError::OperationLog(error);
            error.trace(record);
            error
        })
    }

    /// The gate.
    pub fn policy(&self) -> &IntegrityPolicyGate {
        &self.policy
    }

    /// The gate, to add and revoke keys.
    pub fn policy_mut(&mut self) -> &mut IntegrityPolicyGate {
        &mut self.policy
    }

    /// The payloads.
    pub fn raw_data_store(&self) -> &R {
        &self.raw_data_store
    }

    /// The records.
    pub fn audit_ledger(&self) -> &L {
        &self.audit_ledger
    }

    /// The records, for stores that read through `&mut`.
    pub fn audit_ledger_mut(&mut self) -> &mut L {
        &mut self.audit_ledger
    }

    /// The decisions.
    pub fn operation_log(&self) -> &O {
        &self.operation_log
    }
}
