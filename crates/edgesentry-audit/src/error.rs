//! Why a record is refused.

use thiserror::Error;

/// Why a gate refuses a record. The texts name device and number, never payload bytes or keys.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IngestError {
    /// A field has the wrong length or form.
    #[error("malformed {field}: {reason}")]
    Malformed {
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// BLAKE3 of the payload is not the record's `payload_hash`.
    #[error("payload hash mismatch for device={device_id} sequence={sequence}")]
    PayloadHashMismatch {
        /// The device.
        device_id: String,
        /// The record's number.
        sequence: u64,
    },
    /// The transport's sender is not the device.
    #[error("auth/device mismatch: certificate identity={cert_identity}, device={device_id}")]
    CertDeviceMismatch {
        /// Who the transport says the sender is.
        cert_identity: String,
        /// Who the record says it is.
        device_id: String,
    },
    /// No such device is registered.
    #[error("unknown device: {0}")]
    UnknownDevice(String),
    /// The device was taken out of service.
    #[error("device revoked: {0}")]
    DeviceRevoked(String),
    /// The registration does not allow this version.
    #[error("record version {version} is not allowed for device={device_id}")]
    VersionNotAllowed {
        /// The device.
        device_id: String,
        /// The record's version.
        version: u8,
    },
    /// The device has no key of this id.
    #[error("unknown key {key_id} for device={device_id}")]
    UnknownKey {
        /// The device.
        device_id: String,
        /// The key that the record names.
        key_id: String,
    },
    /// The key was revoked.
    #[error("key {key_id} of device={device_id} is revoked")]
    KeyRevoked {
        /// The device.
        device_id: String,
        /// The key.
        key_id: String,
    },
    /// The record's time is outside the key's window.
    #[error("key {key_id} of device={device_id} is not valid at {timestamp_ms}")]
    KeyOutsideWindow {
        /// The device.
        device_id: String,
        /// The key.
        key_id: String,
        /// The record's time, ms.
        timestamp_ms: u64,
        /// Valid from, ms, inclusive.
        not_before_ms: Option<u64>,
        /// Valid until, ms, exclusive.
        not_after_ms: Option<u64>,
    },
    /// The signature is not the key's signature of this record.
    #[error("invalid signature for device={0}")]
    InvalidSignature(String),
    /// A record of this number was accepted before.
    #[error("duplicate record for device={device_id} sequence={sequence}")]
    Duplicate {
        /// The device.
        device_id: String,
        /// The number.
        sequence: u64,
    },
    /// The number is not the next one.
    #[error("invalid sequence for device={device_id}: expected {expected}, actual {actual}")]
    InvalidSequence {
        /// The device.
        device_id: String,
        /// What comes next.
        expected: u64,
        /// What the record has.
        actual: u64,
    },
    /// `prev_record_hash` is not the hash of the record before.
    #[error("invalid previous hash for device={0}")]
    InvalidPrevHash(String),
}

impl IngestError {
    /// The reason without its particulars: the field `reason` of log events, answers and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::PayloadHashMismatch { .. } => "payload hash mismatch",
            Self::CertDeviceMismatch { .. } => "auth/device mismatch",
            Self::UnknownDevice(_) => "unknown device",
            Self::DeviceRevoked(_) => "device revoked",
            Self::VersionNotAllowed { .. } => "version not allowed",
            Self::UnknownKey { .. } => "unknown key",
            Self::KeyRevoked { .. } => "key revoked",
            Self::KeyOutsideWindow { .. } => "key outside window",
            Self::InvalidSignature(_) => "invalid signature",
            Self::Duplicate { .. } => "duplicate",
            Self::InvalidSequence { .. } => "invalid sequence",
            Self::InvalidPrevHash(_) => "invalid previous hash",
        }
    }
}
