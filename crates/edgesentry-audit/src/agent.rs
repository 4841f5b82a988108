//! The device's side: building signed records.

use std::borrow::Cow;

use ed25519_dalek::{Signer, SigningKey};

use crate::identity::{key_id, sign_payload_hash};
use crate::integrity::{ChainAnchor, compute_payload_hash};
use crate::record::{AuditRecord, HASH_ALG, Hash32, Provenance, SIG_ALG};

/// What records say that this crate signed.
pub const SOFTWARE_VERSION: &str = concat!("edgesentry-audit ", env!("CARGO_PKG_VERSION"));

/// Builds and signs a record of version 2 about `payload`. `prev_record_hash` is [`AuditRecord::hash`] of the record
/// before, or [`AuditRecord::zero_hash`] for the first.
pub fn build_signed_record(
    device_id: impl Into<String>,
    sequence: u64,
    timestamp_ms: u64,
    payload: &[u8],
    prev_record_hash: Hash32,
    object_ref: impl Into<String>,
    signing_key: &SigningKey,
) -> AuditRecord {
    let mut record = AuditRecord {
        device_id: device_id.into(),
        sequence,
        timestamp_ms,
        payload_hash: compute_payload_hash(payload),
        signature: [0; 64],
        prev_record_hash,
        object_ref: object_ref.into(),
        provenance: Some(Provenance {
            hash_alg: Cow::Borrowed(HASH_ALG),
            sig_alg: Cow::Borrowed(SIG_ALG),
            key_id: key_id(&signing_key.verifying_key()),
            software_version: SOFTWARE_VERSION.to_owned(),
        }),
    };
    tell(&record, payload);
    record.signature = signing_key.sign(&record.signed_message()).to_bytes();
    record
}

/// The same in version 1, for receivers that know no other. It protects less: see [`record`](crate::record).
pub fn build_signed_record_v1(
    device_id: impl Into<String>,
    sequence: u64,
    timestamp_ms: u64,
    payload: &[u8],
    prev_record_hash: Hash32,
    object_ref: impl Into<String>,
    signing_key: &SigningKey,
) -> AuditRecord {
    let payload_hash = compute_payload_hash(payload);
    let mut record = AuditRecord {
        device_id: device_id.into(),
        sequence,
        timestamp_ms,
        payload_hash,
        signature: [0; 64],
        prev_record_hash,
        object_ref: object_ref.into(),
        provenance: None,
    };
    tell(&record, payload);
    record.signature = sign_payload_hash(signing_key, &payload_hash);
    record
}

fn tell(record: &AuditRecord, payload: &[u8]) {
    tracing::debug!(
        target: "edgesentry_audit::agent",
        device_id = %record.device_id,
        sequence = record.sequence,
        payload_bytes = payload.len(),
        "signing record"
    );
}

/// A device's chain as it grows: keeps number and hash of the last record.
///
/// ```
/// use ed25519_dalek::SigningKey;
/// use edgesentry_audit::{ChainSigner, verify_chain};
///
/// let mut chain = ChainSigner::new("lift-01", SigningKey::from_bytes(&[1; 32]));
/// let door = chain.sign(1_700_000_000_000, b"door ok", "inspection-1.bin");
/// let brake = chain.sign(1_700_000_060_000, b"brake ok", "inspection-2.bin");
/// assert_eq!(verify_chain(&[door, brake]), Ok(()));
/// ```
pub struct ChainSigner {
    device_id: String,
    signing_key: SigningKey,
    key_id: String,
    last: ChainAnchor,
    scratch: Vec<u8>,
}

impl ChainSigner {
    /// A device that has no record yet.
    pub fn new(device_id: impl Into<String>, signing_key: SigningKey) -> Self {
        Self::resume(device_id, signing_key, ChainAnchor::START)
    }

    /// A device whose last record was `last`.
    pub fn resume(device_id: impl Into<String>, signing_key: SigningKey, last: ChainAnchor) -> Self {
        let key_id = key_id(&signing_key.verifying_key());
        Self { device_id: device_id.into(), signing_key, key_id, last, scratch: Vec::new() }
    }

    /// The last record: what [`resume`](Self::resume) needs after a restart.
    pub fn last(&self) -> ChainAnchor {
        self.last
    }

    /// Builds and signs the next record, of version 2.
    pub fn sign(&mut self, timestamp_ms: u64, payload: &[u8], object_ref: impl Into<String>) -> AuditRecord {
        let mut record = AuditRecord {
            device_id: self.device_id.clone(),
            sequence: self.last.sequence.saturating_add(1),
            timestamp_ms,
            payload_hash: compute_payload_hash(payload),
            signature: [0; 64],
            prev_record_hash: self.last.record_hash,
            object_ref: object_ref.into(),
            provenance: Some(Provenance {
                hash_alg: Cow::Borrowed(HASH_ALG),
                sig_alg: Cow::Borrowed(SIG_ALG),
                key_id: self.key_id.clone(),
                software_version: SOFTWARE_VERSION.to_owned(),
            }),
        };
        tell(&record, payload);
        let message = record.signed_message_with(&mut self.scratch);
        record.signature = self.signing_key.sign(&message).to_bytes();
        self.last =
            ChainAnchor { sequence: record.sequence, record_hash: record.hash_with(&mut self.scratch) };
        record
    }
}
