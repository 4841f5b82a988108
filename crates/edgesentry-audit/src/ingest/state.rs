//! What a receiver knows of devices, without payloads and transports.

use ed25519_dalek::VerifyingKey;

use super::policy::{IntegrityPolicyGate, RegistrationError};
use crate::error::IngestError;
use crate::gate::Registered;
use crate::record::AuditRecord;

/// Verifies records whose payload somebody else checks: registration, key, signature, number, previous hash.
#[derive(Debug, Clone, Default)]
pub struct IngestState {
    gate: IntegrityPolicyGate,
}

impl IngestState {
    /// Knows no device.
    pub fn new() -> Self {
        Self::default()
    }

    /// [`IntegrityPolicyGate::register_device`].
    pub fn register_device(
        &mut self,
        device_id: impl Into<String>,
        public_key: VerifyingKey,
    ) -> Result<Registered, RegistrationError> {
        self.gate.register_device(device_id, public_key)
    }

    /// Verifies a record; if it counts, the next one must follow it. Its payload is not looked at: compare
    /// [`compute_payload_hash`](crate::compute_payload_hash) with `payload_hash`.
    pub fn verify_and_accept(&mut self, record: &AuditRecord) -> Result<(), IngestError> {
        self.gate.enforce(record, None)
    }
}
