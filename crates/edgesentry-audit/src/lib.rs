//! Signed records of field devices, and the gate that verifies them before anything is stored.
//!
//! A device states what it saw as an [`AuditRecord`]: the hash of a payload, a number, a time, the hash of the record
//! before, and its signature ([`build_signed_record`]). A gate checks all of it ([`gate`], [`IngestError`]) and only
//! then stores it.
//!
//! | module | for |
//! |---|---|
//! | [`record`], [`integrity`], [`identity`] | records, their chain, their signatures |
//! | [`keys`], [`demo`] | keys in hex; a lift inspection as records |
//! | [`buffer`] | devices: records that wait for a connection |
//! | [`network_policy`], [`ingest`] | receivers: who may connect, and a gate in memory with its stores |
//! | [`gate`] | receivers: the gate over a log, for any number of servers |
//! | [`evidence`] | auditors: some entries of a log with everything that proves them, in one file |
//! | [`examine`] | auditors: exports, bundles, proofs and records examined piece by piece, for pages and programs that show them |
//! | [`http`] | receivers: records as HTTP requests, and answers |
//! | [`update`] | signed software updates |
//! | [`notarization`] | what the payload of an inference result says about where it comes from |

mod agent;
pub mod buffer;
pub mod demo;
mod error;
pub mod evidence;
pub mod examine;
pub mod gate;
pub mod http;
pub mod identity;
pub mod ingest;
pub mod integrity;
pub mod keys;
pub mod network_policy;
pub mod notarization;
pub mod record;
pub mod update;

pub use agent::{ChainSigner, SOFTWARE_VERSION, build_signed_record, build_signed_record_v1};
#[cfg(feature = "buffer-sqlite")]
pub use buffer::SqliteBufferStore;
pub use buffer::{
    BufferError, BufferStore, BufferedEntry, Delivered, FlushError, FlushReport, InMemoryBufferStore,
    OfflineBuffer,
};
pub use demo::{build_lift_inspection_demo_records, build_lift_inspection_demo_records_with_payloads};
pub use error::IngestError;
pub use identity::{key_id, sign_payload_hash, verify_payload_signature};
#[cfg(feature = "async-ingest")]
pub use ingest::{
    AsyncAuditLedger, AsyncInMemoryAuditLedger, AsyncInMemoryOperationLog, AsyncInMemoryRawDataStore,
    AsyncIngestService, AsyncOperationLogStore, AsyncRawDataStore,
};
pub use ingest::{
    AuditLedger, InMemoryAuditLedger, InMemoryOperationLog, InMemoryRawDataStore, IngestDecision,
    IngestService, IngestServiceError, IngestState, IntegrityPolicyGate, OperationLogEntry,
    OperationLogStore, RawDataStore, RegistrationError, SecureLogStores, StoreError,
};
pub use integrity::{
    ChainAnchor, ChainError, compute_payload_hash, verify_chain, verify_chain_from,
    verify_chain_from_with_keys, verify_chain_with_keys,
};
pub use keys::{
    HexError, KeyError, KeyPair, SignError, generate_keypair, inspect_key, parse_fixed_hex, sign_record,
    signing_key_from_hex, verify_record, verifying_key_from_bytes, verifying_key_from_hex,
};
pub use network_policy::{AllowedSource, NetworkPolicy, NetworkPolicyError};
pub use notarization::NotarizedPayload;
pub use record::{AuditRecord, Hash32, Provenance, RecordError, Signature64};
pub use update::{
    PublisherError, SoftwareUpdate, UpdateVerificationEntry, UpdateVerificationLog, UpdateVerifier,
    UpdateVerifyDecision, UpdateVerifyError,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
