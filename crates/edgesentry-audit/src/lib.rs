//! Signed records of field devices, and the gate that verifies them before anything is stored.
//!
//! A device states what it saw as an [`AuditRecord`]: the hash of a payload, a number, a time, the hash of the record
//! before, and its signature ([`build_signed_record`]). A gate checks all of it ([`gate`], [`IngestError`]) and only
//! then stores it.

mod agent;
mod error;
pub mod gate;
pub mod http;
pub mod identity;
pub mod integrity;
pub mod record;

pub use agent::{SOFTWARE_VERSION, build_signed_record, build_signed_record_v1};
pub use error::IngestError;
pub use identity::{sign_payload_hash, verify_payload_signature};
pub use integrity::compute_payload_hash;
pub use record::{AuditRecord, Hash32, Provenance, RecordError, Signature64};
