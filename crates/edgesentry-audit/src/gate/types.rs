//! What goes into a gate and what comes out: the Rust face of `edgesentry:audit/types`.

use std::fmt;

use ed25519_dalek::VerifyingKey;

use crate::error::IngestError;
use crate::record::{AuditRecord, Hash32};

/// One record as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The record.
    pub record: AuditRecord,
    /// The payload that it is about.
    pub payload: Vec<u8>,
    /// Who the transport says the sender is; it must be the device.
    pub route_identity: Option<String>,
    /// Where it came from, for the log of refusals.
    pub source: Option<String>,
}

/// Where an accepted record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its stream, `device/<device-id>/<epoch>`.
    pub stream_id: String,
    /// Its entry in that stream.
    pub seqno: u64,
    /// Hash of that entry.
    pub entry_hash: Hash32,
    /// The epoch that it continues.
    pub epoch: u64,
    /// Hash of the record: what the next record has as `prev_record_hash`.
    pub record_hash: Hash32,
    /// Entry of the device's registry stream under which it was judged.
    pub registry_seqno: u64,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stored, durable, and here is where.
    Accepted(Receipt),
    /// Not stored.
    Rejected(IngestError),
}

/// The answer to a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The device that the record names.
    pub device_id: String,
    /// The number that the record has.
    pub sequence: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// With `Duplicate`: where this very record already is. `None` if another record has its number.
    pub already: Option<Receipt>,
}

/// Part of a gate that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Registrations.
    Registry,
    /// Payloads.
    RawDataStore,
    /// Records.
    AuditLedger,
    /// Decisions.
    OperationLog,
}

impl Part {
    /// Its name in log events and metrics (`component`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::RawDataStore => "raw_data_store",
            Self::AuditLedger => "audit_ledger",
            Self::OperationLog => "operation_log",
        }
    }
}

/// The gate could not do its work; nothing was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which part.
    pub part: Part,
    /// What the log said.
    pub error: secure_log::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.part.name(), self.error)
    }
}

impl std::error::Error for Failure {}

/// How a gate works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name: decisions go to `operations/<gate-id>`.
    pub gate_id: String,
    /// Repeated refusals of one source are counted into one entry per this time, ms; 0: an entry each.
    pub refusal_interval_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { gate_id: "main".into(), refusal_interval_ms: 60_000 }
    }
}

/// A key of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKey {
    /// Its id ([`key_id`](crate::identity::key_id)).
    pub key_id: String,
    /// The key.
    pub public_key: VerifyingKey,
    /// Valid from this record time, ms, inclusive.
    pub not_before_ms: Option<u64>,
    /// Valid until this record time, ms, exclusive.
    pub not_after_ms: Option<u64>,
    /// Entry of the registry that revoked it.
    pub revoked: Option<u64>,
}

/// A stretch of a device's chain that begins anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// 1, 2, 3 …
    pub number: u64,
    /// The first record's number.
    pub first: u64,
    /// The first record's `prev_record_hash`.
    pub anchor: Hash32,
    /// Entry of the registry that opened it.
    pub opened: u64,
}

/// A registered device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub device_id: String,
    /// Its keys, oldest first.
    pub keys: Vec<DeviceKey>,
    /// Which record versions it may send.
    pub versions: Vec<u8>,
    /// Its epochs, oldest first; the last is open.
    pub epochs: Vec<Epoch>,
    /// Entry that took it out of service.
    pub revoked: Option<u64>,
    /// When it was registered, ms since the Unix epoch, by the log's clock.
    pub registered_at_ms: u64,
    /// Last entry of its registry stream.
    pub registry_seqno: u64,
    /// The number that its next record must have.
    pub next_sequence: u64,
    /// The `prev_record_hash` that its next record must have.
    pub next_prev_record_hash: Hash32,
}

/// How a device is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The device's first key.
    pub public_key: VerifyingKey,
    /// Valid from this record time, ms, inclusive.
    pub not_before_ms: Option<u64>,
    /// Valid until this record time, ms, exclusive.
    pub not_after_ms: Option<u64>,
    /// Which record versions it may send.
    pub versions: Vec<u8>,
    /// Number of its first record.
    pub first: u64,
    /// `prev_record_hash` of that record.
    pub anchor: Hash32,
}

impl Registration {
    /// A new device: version 2, from record 1 on.
    pub fn new(public_key: VerifyingKey) -> Self {
        Self {
            public_key,
            not_before_ms: None,
            not_after_ms: None,
            versions: vec![2],
            first: 1,
            anchor: AuditRecord::zero_hash(),
        }
    }
}

/// What a registration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// The device is new.
    Added,
    /// It was registered with this key before.
    Already,
    /// It was registered with this key before, and the key is revoked: it stays so.
    Revoked,
}

/// An accepted record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Where it is.
    pub receipt: Receipt,
    /// The record.
    pub record: AuditRecord,
    /// Its payload.
    pub payload: Vec<u8>,
    /// When the log took it, ms since the Unix epoch.
    pub received_at_ms: u64,
}
