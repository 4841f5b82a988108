//! The same service for many tasks at once: `&self`, stores that are awaited, and one record of a device at a time.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ed25519_dalek::VerifyingKey;

use super::policy::{IntegrityPolicyGate, RegistrationError};
use super::service::IngestServiceError;
use super::store::{OperationLogEntry, RecordTable, StoreError, put_payload};
use crate::gate::text::bounded;
use crate::gate::{Device, Registered, events, judge};
use crate::record::{AuditRecord, MAX_DEVICE_ID};

/// [`RawDataStore`](super::RawDataStore), awaited.
pub trait AsyncRawDataStore: Send + Sync {
    /// Keeps `payload` under `object_ref`; durable when it returns. The same payload again is fine, another one is a
    /// [`Conflict`](StoreError::Conflict).
    fn put(&self, object_ref: &str, payload: &[u8]) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// [`AuditLedger`](super::AuditLedger), awaited.
pub trait AsyncAuditLedger: Send + Sync {
    /// Keeps a record; durable when it returns. The very record that is there already is fine and not kept twice.
    fn append(&self, record: &AuditRecord) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// [`OperationLogStore`](super::OperationLogStore), awaited.
pub trait AsyncOperationLogStore: Send + Sync {
    /// Keeps an entry; durable when it returns.
    fn append(&self, entry: OperationLogEntry) -> impl Future<Output = Result<(), StoreError>> + Send;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is held under it is left half-changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Payloads in memory. Clones are the same store.
#[derive(Debug, Clone, Default)]
pub struct AsyncInMemoryRawDataStore {
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl AsyncInMemoryRawDataStore {
    /// The payload under a reference.
    pub fn get(&self, object_ref: &str) -> Option<Vec<u8>> {
        lock(&self.objects).get(object_ref).cloned()
    }
}

impl AsyncRawDataStore for AsyncInMemoryRawDataStore {
    async fn put(&self, object_ref: &str, payload: &[u8]) -> Result<(), StoreError> {
        put_payload(&mut lock(&self.objects), object_ref, payload)
    }
}

/// Records in memory. Clones are the same store.
#[derive(Debug, Clone, Default)]
pub struct AsyncInMemoryAuditLedger {
    table: Arc<Mutex<RecordTable>>,
}

impl AsyncInMemoryAuditLedger {
    /// All records, in the order in which they came.
    pub fn records(&self) -> Vec<AuditRecord> {
        lock(&self.table).records.clone()
    }
}

impl AsyncAuditLedger for AsyncInMemoryAuditLedger {
    async fn append(&self, record: &AuditRecord) -> Result<(), StoreError> {
        lock(&self.table).append(record);
        Ok(())
    }
}

/// Decisions in memory. Clones are the same store.
#[derive(Debug, Clone, Default)]
pub struct AsyncInMemoryOperationLog {
    entries: Arc<Mutex<Vec<OperationLogEntry>>>,
}

impl AsyncInMemoryOperationLog {
    /// All entries, oldest first.
    pub fn entries(&self) -> Vec<OperationLogEntry> {
        lock(&self.entries).clone()
    }
}

impl AsyncOperationLogStore for AsyncInMemoryOperationLog {
    async fn append(&self, entry: OperationLogEntry) -> Result<(), StoreError> {
        lock(&self.entries).push(entry);
        Ok(())
    }
}

/// What the tasks share. Never held over an `await`, nor over a signature check.
#[derive(Debug)]
struct Shared {
    policy: IntegrityPolicyGate,
    /// One turn per registered device: its records are judged and stored one after the other.
    turns: HashMap<String, Arc<async_lock::Mutex<()>>>,
}

impl Shared {
    fn turn(&mut self, device_id: &str) -> Option<Arc<async_lock::Mutex<()>>> {
        if let Some(turn) = self.turns.get(device_id) {
            return Some(turn.clone());
        }
        // Whoever sends unknown ids must not fill the memory.
        self.policy.device(device_id)?;
        Some(self.turns.entry(device_id.to_owned()).or_default().clone())
    }
}

/// [`IngestService`](super::IngestService) for many tasks, in any runtime; share it in an [`Arc`]. Devices do not wait
/// for one another.
#[derive(Debug)]
pub struct AsyncIngestService<R, L, O> {
    shared: Mutex<Shared>,
    raw_data_store: R,
    audit_ledger: L,
    operation_log: O,
}

impl<R: AsyncRawDataStore, L: AsyncAuditLedger, O: AsyncOperationLogStore> AsyncIngestService<R, L, O> {
    /// A service of these parts.
    pub fn new(policy: IntegrityPolicyGate, raw_data_store: R, audit_ledger: L, operation_log: O) -> Self {
        let shared = Mutex::new(Shared { policy, turns: HashMap::new() });
        Self { shared, raw_data_store, audit_ledger, operation_log }
    }

    /// [`IntegrityPolicyGate::register_device`].
    pub async fn register_device(
        &self,
        device_id: impl Into<String> + Send,
        public_key: VerifyingKey,
    ) -> Result<Registered, RegistrationError> {
        lock(&self.shared).policy.register_device(device_id, public_key)
    }

    /// Changes what is known of a device, between two of its records: adds or revokes keys, opens an epoch.
    pub async fn change_device<T: Send>(
        &self,
        device_id: &str,
        change: impl FnOnce(&mut IntegrityPolicyGate) -> T + Send,
    ) -> T {
        let turn = lock(&self.shared).turn(device_id);
        let _turn = match &turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        change(&mut lock(&self.shared).policy)
    }

    /// What is known of a device.
    pub fn device(&self, device_id: &str) -> Option<Device> {
        lock(&self.shared).policy.device(device_id).cloned()
    }

    /// Judges a record and, if it counts, stores it. `cert_identity` is who the transport says the sender is.
    ///
    /// When the future is dropped before it is done, the record may be in some of the stores and does not count as
    /// accepted; sent again, it gets in.
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
    pub async fn ingest(
        &self,
        record: AuditRecord,
        payload: &[u8],
        cert_identity: Option<&str>,
    ) -> Result<(), IngestServiceError> {
        events::started(&record, payload.len());
        let turn = lock(&self.shared).turn(&record.device_id);
        let _turn = match &turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let device = self.device(&record.device_id);
        if let Err(refusal) = judge(&record, payload, cert_identity, device.as_ref()) {
            events::rejected(&record, &refusal);
            let entry = OperationLogEntry::rejected(&record, &refusal);
            self.log(&record, entry).await?;
            return Err(IngestServiceError::refusal(refusal));
        }
        if let Err(error) = self.store(&record, payload).await {
            error.trace(&record);
            // Of the two errors, the first one is why the record is not in.
            let _ = self.log(&record, OperationLogEntry::rejected(&record, &error)).await;
            return Err(error);
        }
        self.log(&record, OperationLogEntry::accepted(&record)).await?;
        lock(&self.shared).policy.advance(&record);
        events::accepted(&record);
        Ok(())
    }

    async fn store(&self, record: &AuditRecord, payload: &[u8]) -> Result<(), IngestServiceError> {
        let kept = self.raw_data_store.put(&record.object_ref, payload).await;
        kept.map_err(IngestServiceError::RawDataStore)?;
        self.audit_ledger.append(record).await.map_err(IngestServiceError::AuditLedger)
    }

    async fn log(&self, record: &AuditRecord, entry: OperationLogEntry) -> Result<(), IngestServiceError> {
        self.operation_log.append(entry).await.map_err(|error| {
            let error = IngestServiceError::OperationLog(error);
            error.trace(record);
            error
        })
    }

    /// The payloads.
    pub fn raw_data_store(&self) -> &R {
        &self.raw_data_store
    }

    /// The records.
    pub fn audit_ledger(&self) -> &L {
        &self.audit_ledger
    }

    /// The decisions.
    pub fn operation_log(&self) -> &O {
        &self.operation_log
    }
}
