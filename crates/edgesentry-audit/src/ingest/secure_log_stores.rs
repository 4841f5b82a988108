//! The three stores over one log: payloads, records and decisions as entries of three streams.
//!
//! Each write is durable, chained and covered by the log's checkpoints. The three of a record are **not one
//! transaction**: after a crash between them, a payload or a record may be there without its decision, and the device
//! sends the record again. What the gate expects next is not in the log either. Where records must be accepted in one
//! step, or a gate must go on after a restart or beside another one, [`crate::gate`] is what to use.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secure_log::model::{Event, QueryFilter, Severity};
use secure_log::{Error, SecureLog};

use super::store::*;
use crate::record::{AuditRecord, Hash32};

/// Stream of payloads.
const PAYLOADS: &str = "ingest/payloads";
/// Stream of records.
const LEDGER: &str = "ingest/ledger";
/// Stream of decisions.
const OPERATIONS: &str = "ingest/operations";
/// Entries looked at in one step.
const PAGE: u32 = 1_000;

type Shared<L> = Arc<Mutex<L>>;

fn lock<L>(log: &Shared<L>) -> MutexGuard<'_, L> {
    // The log is a compare-and-set on the store: a panic of another holder leaves nothing half-done in it.
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A log that is shared by the three stores.
#[derive(Debug)]
pub struct SecureLogStores<L> {
    log: Shared<L>,
}

impl<L: SecureLog> SecureLogStores<L> {
    /// Stores over `log`, in its streams `ingest/payloads`, `ingest/ledger` and `ingest/operations`.
    pub fn new(log: L) -> Self {
        Self { log: Arc::new(Mutex::new(log)) }
    }

    /// The payloads.
    pub fn raw_data_store(&self) -> SecureLogRawDataStore<L> {
        SecureLogRawDataStore { log: self.log.clone() }
    }

    /// The records.
    pub fn audit_ledger(&self) -> SecureLogAuditLedger<L> {
        SecureLogAuditLedger { log: self.log.clone(), known: HashSet::new(), read: 0 }
    }

    /// The decisions.
    pub fn operation_log(&self) -> SecureLogOperationLog<L> {
        SecureLogOperationLog { log: self.log.clone() }
    }

    /// The log itself, to close segments, sign and verify.
    pub fn with_log<T>(&self, call: impl FnOnce(&mut L) -> T) -> T {
        call(&mut lock(&self.log))
    }
}

/// Payloads as entries; the event id keeps a reference unique.
#[derive(Debug)]
pub struct SecureLogRawDataStore<L> {
    log: Shared<L>,
}

impl<L: SecureLog> RawDataStore for SecureLogRawDataStore<L> {
    fn put(&mut self, object_ref: &str, payload: &[u8]) -> Result<(), StoreError> {
        let mut event = Event::new(PAYLOADS, "payload", Severity::Informational, "ingest", payload);
        event.id = Some(reference_id(object_ref));
        match lock(&self.log).append(event) {
            Ok(_) => Ok(()),
            Err(Error::Conflict(_)) => {
                Err(StoreError::Conflict(format!("object_ref {object_ref:?} holds another payload")))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// `ref:` and the reference, with control characters and `%` as `%XX`: an id has no control characters and is not empty.
fn reference_id(object_ref: &str) -> String {
    let mut id = String::with_capacity(4 + object_ref.len());
    id.push_str("ref:");
    for c in object_ref.chars() {
        if c == '%' || c.is_control() {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                id.push_str(&format!("%{byte:02X}"));
            }
        } else {
            id.push(c);
        }
    }
    id
}

/// Records as entries, in their canonical bytes; the event id is the record's hash.
#[derive(Debug)]
pub struct SecureLogAuditLedger<L> {
    log: Shared<L>,
    /// Hashes of the records in the first `read` entries.
    known: HashSet<Hash32>,
    read: u64,
}

impl<L: SecureLog> SecureLogAuditLedger<L> {
    /// Up to `limit` records from entry `from` (1, 2, 3 …) on, oldest first.
    pub fn records(&mut self, from: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let mut log = lock(&self.log);
        let last = log.head(LEDGER)?.map_or(0, |head| head.seqno);
        let to = last.min(from.saturating_add(u64::from(limit)).saturating_sub(1));
        (from.max(1)..=to).map(|n| read_record(&mut *log, n)).collect()
    }
}

fn read_record<L: SecureLog>(log: &mut L, seqno: u64) -> Result<AuditRecord, StoreError> {
    let entry = log.read(LEDGER, seqno)?;
    let version = match entry.header.event_type.as_str() {
        "record.v1" => 1,
        "record.v2" => 2,
        other => {
            return Err(StoreError::Failed(format!("entry {seqno} of {LEDGER} is no record: {other:?}")));
        }
    };
    let bytes = log.read_payload(LEDGER, seqno)?;
    AuditRecord::from_bytes(version, &bytes)
        .map_err(|error| StoreError::Failed(format!("entry {seqno} of {LEDGER}: {error}")))
}

impl<L: SecureLog> AuditLedger for SecureLogAuditLedger<L> {
    fn append(&mut self, record: &AuditRecord) -> Result<(), StoreError> {
        let event_type = format!("record.v{}", record.version());
        let producer = record.device_id.as_str();
        let mut event = Event::new(LEDGER, event_type, Severity::Informational, producer, record.to_bytes());
        event.id = Some(hex::encode(record.hash()));
        lock(&self.log).append(event)?;
        Ok(())
    }

    /// Reads what was appended since the last call and keeps a hash of each record: 32 bytes and a little more.
    fn contains(&mut self, record: &AuditRecord) -> Result<Option<bool>, StoreError> {
        let mut log = lock(&self.log);
        let last = log.head(LEDGER)?.map_or(0, |head| head.seqno);
        if self.read < last {
            let filter = QueryFilter { stream_id: Some(LEDGER.to_owned()), ..QueryFilter::default() };
            let mut cursor = None;
            self.known.clear();
            let mut read = 0;
            loop {
                let page = log.query(&filter, cursor.as_deref(), PAGE)?;
                for entry in &page.entries {
                    read = entry.header.seqno;
                    let mut hash = [0; 32];
                    if let Some(id) = &entry.header.event_id
                        && hex::decode_to_slice(id, &mut hash).is_ok()
                    {
                        self.known.insert(hash);
                    }
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            self.read = read;
        }
        Ok(Some(self.known.contains(&record.hash())))
    }
}

/// Decisions as entries, in JSON.
#[derive(Debug)]
pub struct SecureLogOperationLog<L> {
    log: Shared<L>,
}

impl<L: SecureLog> SecureLogOperationLog<L> {
    /// Up to `limit` decisions from entry `from` (1, 2, 3 …) on, oldest first.
    pub fn entries(&mut self, from: u64, limit: u32) -> Result<Vec<OperationLogEntry>, StoreError> {
        let mut log = lock(&self.log);
        let last = log.head(OPERATIONS)?.map_or(0, |head| head.seqno);
        let to = last.min(from.saturating_add(u64::from(limit)).saturating_sub(1));
        let read = |n| {
            let payload = log.read_payload(OPERATIONS, n)?;
            serde_json::from_slice(&payload)
                .map_err(|error| StoreError::Failed(format!("entry {n} of {OPERATIONS}: {error}")))
        };
        (from.max(1)..=to).map(read).collect()
    }
}

impl<L: SecureLog> OperationLogStore for SecureLogOperationLog<L> {
    fn append(&mut self, entry: OperationLogEntry) -> Result<(), StoreError> {
        let (event_type, severity) = match entry.decision {
            IngestDecision::Accepted => ("accepted", Severity::Informational),
            IngestDecision::Rejected => ("rejected", Severity::Warning),
        };
        let payload = serde_json::to_vec(&entry).map_err(|e| StoreError::Failed(e.to_string()))?;
        let mut event = Event::new(OPERATIONS, event_type, severity, "ingest", payload);
        event.payload_encoding = Some("application/json".to_owned());
        lock(&self.log).append(event)?;
        Ok(())
    }
}
