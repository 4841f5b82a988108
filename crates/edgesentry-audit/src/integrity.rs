//! Payload hashes.

use crate::record::Hash32;

/// BLAKE3 of a payload.
pub fn compute_payload_hash(payload: &[u8]) -> Hash32 {
    *blake3::hash(payload).as_bytes()
}
