//! Device keys: signing, and the strict check.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::record::{AuditRecord, Hash32, Signature64};

/// The id of a public key: the first 16 bytes of its BLAKE3 hash, in hex.
pub fn key_id(public_key: &VerifyingKey) -> String {
    hex::encode(&blake3::hash(public_key.as_bytes()).as_bytes()[..16])
}

/// Signs a payload hash: the signature of a record of version 1, and of a software update.
pub fn sign_payload_hash(key: &SigningKey, payload_hash: &Hash32) -> Signature64 {
    key.sign(payload_hash).to_bytes()
}

/// Checks such a signature, strictly (RFC 8032 without the malleable and small-order cases). One at a time: a batch
/// check accepts signatures that the single check refuses.
pub fn verify_payload_signature(key: &VerifyingKey, payload_hash: &Hash32, signature: &Signature64) -> bool {
    verify(key, payload_hash, signature)
}

/// Checks the signature of a record of either version, strictly.
pub fn verify_record_signature(key: &VerifyingKey, record: &AuditRecord) -> bool {
    verify(key, &record.signed_message(), &record.signature)
}

fn verify(key: &VerifyingKey, message: &[u8], signature: &Signature64) -> bool {
    key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
}
