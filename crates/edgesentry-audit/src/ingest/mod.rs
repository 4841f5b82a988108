//! Ingest in one process: a gate in memory, and stores behind traits.
//!
//! [`IngestService`] judges a record ([`IntegrityPolicyGate`]), keeps its payload ([`RawDataStore`]) and the record
//! ([`AuditLedger`]), and writes down every decision ([`OperationLogStore`]). The three writes are not one transaction,
//! and what the gate knows is gone with the process; [`crate::gate`] is for when that matters.
//!
//! Events of `tracing`, for log pipelines and metrics ([`crate::gate::events`]):
//!
//! | level | target | event | fields |
//! |---|---|---|---|
//! | DEBUG | `edgesentry_audit::agent` | `signing record` | device_id, sequence, payload_bytes |
//! | DEBUG | `edgesentry_audit::ingest::storage` | `ingest started` | device_id, sequence, object_ref, payload_bytes |
//! | WARN | `edgesentry_audit::ingest::storage` | `payload hash mismatch — record rejected` | device_id, sequence, reason |
//! | WARN | `edgesentry_audit::ingest::storage` | `integrity policy rejected record` | device_id, sequence, reason |
//! | ERROR | `edgesentry_audit::ingest::storage` | `raw data store write failed` | device_id, sequence, error, component |
//! | ERROR | `edgesentry_audit::ingest::storage` | `audit ledger append failed` | device_id, sequence, error, component |
//! | ERROR | `edgesentry_audit::ingest::storage` | `operation log write failed` | device_id, sequence, error, component |
//! | INFO | `edgesentry_audit::ingest::storage` | `record accepted` | device_id, sequence, object_ref |
//! | DEBUG | `edgesentry_audit::ingest::verify` | `signature verification failed` | device_id, sequence |
//! | DEBUG | `edgesentry_audit::ingest::verify` | `duplicate record rejected` | device_id, sequence |
//! | DEBUG | `edgesentry_audit::ingest::verify` | `sequence out of order` | device_id, sequence, expected, actual |
//! | DEBUG | `edgesentry_audit::ingest::verify` | `prev_record_hash mismatch — chain broken` | device_id, sequence |
//! | DEBUG | `edgesentry_audit::ingest::verify` | `record verified and accepted` | device_id, sequence |
//!
//! `reason` is [`IngestError::reason`]; `component` is one of `raw_data_store`, `audit_ledger`, `operation_log`.

#[cfg(feature = "async-ingest")]
mod async_service;
mod memory;
mod policy;
mod secure_log_stores;
mod service;
mod state;
mod store;

#[cfg(feature = "async-ingest")]
pub use async_service::{
    AsyncAuditLedger, AsyncInMemoryAuditLedger, AsyncInMemoryOperationLog, AsyncInMemoryRawDataStore,
    AsyncIngestService, AsyncOperationLogStore, AsyncRawDataStore,
};
pub use memory::{InMemoryAuditLedger, InMemoryOperationLog, InMemoryRawDataStore};
pub use policy::{IntegrityPolicyGate, RegistrationError};
pub use secure_log_stores::{
    SecureLogAuditLedger, SecureLogOperationLog, SecureLogRawDataStore, SecureLogStores,
};
pub use service::{IngestService, IngestServiceError};
pub use state::IngestState;
pub use store::{
    AuditLedger, IngestDecision, OperationLogEntry, OperationLogStore, RawDataStore, StoreError,
};

pub use crate::error::IngestError;
pub use crate::network_policy::{AllowedSource, NetworkPolicy, NetworkPolicyError};
