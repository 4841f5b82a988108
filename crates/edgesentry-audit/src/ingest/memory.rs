//! Stores in memory, for tests and demonstrations.

use std::collections::BTreeMap;

use super::store::*;
use crate::record::AuditRecord;

/// Payloads in memory.
#[derive(Debug, Clone, Default)]
pub struct InMemoryRawDataStore {
    objects: BTreeMap<String, Vec<u8>>,
}

impl InMemoryRawDataStore {
    /// The payload under a reference.
    pub fn get(&self, object_ref: &str) -> Option<&[u8]> {
        self.objects.get(object_ref).map(Vec::as_slice)
    }

    /// How many payloads there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

impl RawDataStore for InMemoryRawDataStore {
    fn put(&mut self, object_ref: &str, payload: &[u8]) -> Result<(), StoreError> {
        put_payload(&mut self.objects, object_ref, payload)
    }
}

/// Records in memory.
#[derive(Debug, Clone, Default)]
pub struct InMemoryAuditLedger {
    table: RecordTable,
}

impl InMemoryAuditLedger {
    /// All records, in the order in which they came.
    pub fn records(&self) -> &[AuditRecord] {
        &self.table.records
    }
}

impl AuditLedger for InMemoryAuditLedger {
    fn append(&mut self, record: &AuditRecord) -> Result<(), StoreError> {
        self.table.append(record);
        Ok(())
    }

    fn contains(&mut self, record: &AuditRecord) -> Result<Option<bool>, StoreError> {
        Ok(Some(self.table.contains(record)))
    }
}

/// Decisions in memory.
#[derive(Debug, Clone, Default)]
pub struct InMemoryOperationLog {
    entries: Vec<OperationLogEntry>,
}

impl InMemoryOperationLog {
    /// All entries, oldest first.
    pub fn entries(&self) -> &[OperationLogEntry] {
        &self.entries
    }
}

impl OperationLogStore for InMemoryOperationLog {
    fn append(&mut self, entry: OperationLogEntry) -> Result<(), StoreError> {
        self.entries.push(entry);
        Ok(())
    }
}
