//! Where accepted records go: three stores behind traits.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::gate::text::bounded;
use crate::record::{AuditRecord, Hash32, MAX_DEVICE_ID};

/// Why a store did not take something.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Something else is there already, and stays. Trying again does not help.
    #[error("conflict: {0}")]
    Conflict(String),
    /// It cannot be reached now; whether it took it is not known. Trying again may help.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

impl From<secure_log::Error> for StoreError {
    fn from(error: secure_log::Error) -> Self {
        match error {
            secure_log::Error::Conflict(_) => Self::Conflict(error.to_string()),
            secure_log::Error::Busy(_) | secure_log::Error::Unavailable(_) => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IngestDecision {
    /// Stored.
    Accepted,
    /// Not stored.
    Rejected,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationLogEntry {
    /// What became of it.
    pub decision: IngestDecision,
    /// The device that the record named.
    pub device_id: String,
    /// The number that it had.
    pub sequence: u64,
    /// Why.
    pub message: String,
}

impl OperationLogEntry {
    /// The record is stored.
    pub fn accepted(record: &AuditRecord) -> Self {
        Self::new(IngestDecision::Accepted, record, "record accepted".into())
    }

    /// The record is not stored, because of `why`.
    pub fn rejected(record: &AuditRecord, why: &dyn std::error::Error) -> Self {
        Self::new(IngestDecision::Rejected, record, why.to_string())
    }

    fn new(decision: IngestDecision, record: &AuditRecord, message: String) -> Self {
        // Nothing says of a refused record that its device id is a short one.
        let device_id = bounded(&record.device_id, MAX_DEVICE_ID).into_owned();
        Self { decision, device_id, sequence: record.sequence, message }
    }
}

/// Payloads under their references.
pub trait RawDataStore {
    /// Keeps `payload` under `object_ref`; durable when it returns. The same payload again is fine, another one is a
    /// [`Conflict`](StoreError::Conflict): a reference never comes to mean something else.
    fn put(&mut self, object_ref: &str, payload: &[u8]) -> Result<(), StoreError>;
}

/// Accepted records.
pub trait AuditLedger {
    /// Keeps a record after those of its device; durable when it returns. The very record that is there already (a
    /// retry, after something behind this failed) is fine and not kept twice. Numbers are the gate's business: in a new
    /// epoch, they begin again.
    fn append(&mut self, record: &AuditRecord) -> Result<(), StoreError>;

    /// Whether this very record is there; `None` where the store cannot tell.
    fn contains(&mut self, _record: &AuditRecord) -> Result<Option<bool>, StoreError> {
        Ok(None)
    }
}

/// Decisions.
pub trait OperationLogStore {
    /// Keeps an entry; durable when it returns.
    fn append(&mut self, entry: OperationLogEntry) -> Result<(), StoreError>;
}

/// Records in the order in which they came, each once.
#[derive(Debug, Clone, Default)]
pub(super) struct RecordTable {
    pub(super) records: Vec<AuditRecord>,
    hashes: HashSet<Hash32>,
}

impl RecordTable {
    pub(super) fn append(&mut self, record: &AuditRecord) {
        if self.hashes.insert(record.hash()) {
            self.records.push(record.clone());
        }
    }

    pub(super) fn contains(&self, record: &AuditRecord) -> bool {
        self.hashes.contains(&record.hash())
    }
}

/// Takes a payload into a map of them.
pub(super) fn put_payload(
    objects: &mut BTreeMap<String, Vec<u8>>,
    object_ref: &str,
    payload: &[u8],
) -> Result<(), StoreError> {
    match objects.get(object_ref) {
        Some(stored) if stored == payload => Ok(()),
        Some(_) => Err(StoreError::Conflict(format!("object_ref {object_ref:?} holds another payload"))),
        None => {
            objects.insert(object_ref.to_owned(), payload.to_vec());
            Ok(())
        }
    }
}
