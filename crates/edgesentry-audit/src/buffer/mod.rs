//! Records that wait for a connection: kept in order, sent again, and forgotten only when they arrived.

mod memory;
#[cfg(feature = "buffer-sqlite")]
mod sqlite;

use std::future::Future;

use thiserror::Error;

pub use memory::InMemoryBufferStore;
#[cfg(feature = "buffer-sqlite")]
pub use sqlite::SqliteBufferStore;

use crate::error::IngestError;
use crate::ingest::{AuditLedger, IngestService, IngestServiceError, OperationLogStore, RawDataStore};
use crate::integrity::ChainAnchor;
use crate::record::AuditRecord;

/// A record that waits, with its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferedEntry {
    /// The record.
    pub record: AuditRecord,
    /// The payload that it is about.
    pub payload: Vec<u8>,
}

/// Why a buffer did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BufferError {
    /// Another process has it open.
    #[error("the buffer is open in another process: {0}")]
    Busy(String),
    /// What is stored is not what was stored.
    #[error("entry {number} of the buffer is corrupt: {reason}")]
    Corrupt {
        /// Its number in the buffer.
        number: i64,
        /// What does not hold.
        reason: String,
    },
    /// The file is something else, or of a later version.
    #[error("not a buffer of this version: {0}")]
    NotABuffer(String),
    /// It failed.
    #[error("buffer storage: {0}")]
    Storage(String),
}

/// Where records wait: a queue, first in first out.
pub trait BufferStore {
    /// Adds an entry at the end; as durable as the store is when it returns.
    fn push(&mut self, entry: &BufferedEntry) -> Result<(), BufferError>;
    /// The first entries: at least one if there is any, at most `limit`.
    fn front(&mut self, limit: usize) -> Result<Vec<BufferedEntry>, BufferError>;
    /// Takes the first `count` entries away.
    fn remove(&mut self, count: usize) -> Result<(), BufferError>;
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The last record of a device that was ever pushed, also when it is gone: where the device's chain goes on after a
    /// restart.
    fn last(&mut self, device_id: &str) -> Result<Option<ChainAnchor>, BufferError>;
}

/// How an entry arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivered {
    /// It was accepted now.
    Accepted,
    /// This very record had arrived before. Another record of its number is no duplicate but a refusal.
    Duplicate,
}

/// What a flush did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlushReport {
    /// Entries that arrived, duplicates among them.
    pub accepted: usize,
    /// Of these, entries that had arrived before.
    pub duplicates: usize,
    /// Entries that still wait.
    pub remaining: usize,
}

/// Why a flush stopped. What had arrived before is gone from the buffer, the rest waits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FlushError<E = IngestServiceError> {
    /// The first waiting entry did not arrive.
    #[error("record {sequence} of device {device_id:?} did not arrive: {error} ({} sent, {} waiting)", report.accepted, report.remaining)]
    Refused {
        /// Its device.
        device_id: String,
        /// Its number.
        sequence: u64,
        /// Why.
        error: Box<E>,
        /// What was done until then.
        report: FlushReport,
    },
    /// The buffer.
    #[error(transparent)]
    Buffer(#[from] BufferError),
}

/// How many entries are read, sent and then taken away at a time. After a crash, so many are sent twice at most.
const PAGE: usize = 64;

/// Records that wait for a connection.
///
/// Push a record before it is sent; flush when there is a connection. Entries are sent in the order in which they came.
/// One that had arrived before (its acknowledgement was lost) counts as delivered. At the first refusal the flush stops
/// and keeps that entry and all after it: they follow it in the chain and would be refused as well.
#[derive(Debug)]
pub struct OfflineBuffer<S> {
    store: S,
}

impl<S: BufferStore> OfflineBuffer<S> {
    /// A buffer with what waits in `store`.
    pub fn new(store: S) -> Self {
        Self { store }
    }

    /// Adds a record; as durable as the store is when it returns.
    pub fn push(&mut self, record: AuditRecord, payload: Vec<u8>) -> Result<(), BufferError> {
        self.store.push(&BufferedEntry { record, payload })
    }

    /// How many records wait.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// The last record of a device that was ever pushed: where its chain goes on
    /// ([`ChainSigner::resume`](crate::ChainSigner::resume)).
    pub fn last(&mut self, device_id: &str) -> Result<Option<ChainAnchor>, BufferError> {
        self.store.last(device_id)
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Sends what waits to a service in this process.
    pub fn flush<R: RawDataStore, L: AuditLedger, O: OperationLogStore>(
        &mut self,
        service: &mut IngestService<R, L, O>,
    ) -> Result<FlushReport, FlushError> {
        self.flush_with(|record, payload| match service.ingest(record.clone(), payload, None) {
            Ok(()) => Ok(Delivered::Accepted),
            Err(IngestServiceError::Verify(duplicate @ IngestError::Duplicate { .. })) => {
                let known = service.audit_ledger_mut().contains(record);
                match known.map_err(IngestServiceError::AuditLedger)? {
                    Some(false) => Err(duplicate.into()),
                    Some(true) | None => Ok(Delivered::Duplicate),
                }
            }
            Err(error) => Err(error),
        })
    }

    /// Sends what waits by `deliver`, which says how an entry arrived, or why it did not.
    pub fn flush_with<E>(
        &mut self,
        mut deliver: impl FnMut(&AuditRecord, &[u8]) -> Result<Delivered, E>,
    ) -> Result<FlushReport, FlushError<E>> {
        let mut flush = Flush::default();
        loop {
            let page = self.store.front(PAGE)?;
            if page.is_empty() {
                return Ok(flush.report(self.store.len()));
            }
            let mut arrived = 0;
            let mut refused = None;
            for entry in &page {
                match deliver(&entry.record, &entry.payload) {
                    Ok(how) => {
                        arrived += 1;
                        flush.count(how);
                    }
                    Err(error) => {
                        refused = Some((entry, error));
                        break;
                    }
                }
            }
            self.store.remove(arrived)?;
            if let Some((entry, error)) = refused {
                return Err(flush.refused(&entry.record, error, self.store.len()));
            }
        }
    }

    /// The same, awaited. Dropping the future loses nothing: what had arrived since the last page is sent again.
    pub async fn flush_async<E, F>(
        &mut self,
        mut deliver: impl FnMut(AuditRecord, Vec<u8>) -> F,
    ) -> Result<FlushReport, FlushError<E>>
    where
        F: Future<Output = Result<Delivered, E>>,
    {
        let mut flush = Flush::default();
        loop {
            let page = self.store.front(PAGE)?;
            if page.is_empty() {
                return Ok(flush.report(self.store.len()));
            }
            let mut arrived = 0;
            let mut refused = None;
            for entry in page {
                let (device_id, sequence) = (entry.record.device_id.clone(), entry.record.sequence);
                match deliver(entry.record, entry.payload).await {
                    Ok(how) => {
                        arrived += 1;
                        flush.count(how);
                    }
                    Err(error) => {
                        refused = Some((device_id, sequence, error));
                        break;
                    }
                }
            }
            self.store.remove(arrived)?;
            if let Some((device_id, sequence, error)) = refused {
                let report = flush.report(self.store.len());
                return Err(FlushError::Refused { device_id, sequence, error: Box::new(error), report });
            }
        }
    }
}

#[derive(Default)]
struct Flush {
    accepted: usize,
    duplicates: usize,
}

impl Flush {
    fn count(&mut self, how: Delivered) {
        self.accepted += 1;
        self.duplicates += usize::from(how == Delivered::Duplicate);
    }

    fn report(&self, remaining: usize) -> FlushReport {
        FlushReport { accepted: self.accepted, duplicates: self.duplicates, remaining }
    }

    fn refused<E>(&self, record: &AuditRecord, error: E, remaining: usize) -> FlushError<E> {
        FlushError::Refused {
            device_id: record.device_id.clone(),
            sequence: record.sequence,
            error: Box::new(error),
            report: self.report(remaining),
        }
    }
}
