//! Keys in hex: making, reading and using them.
//!
//! No error here shows a character of what it could not read: it may be a private key.

use std::fmt;

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::agent::build_signed_record;
use crate::error::IngestError;
use crate::gate::check_form;
use crate::identity::{key_id, verify_record_signature};
use crate::record::{AuditRecord, HASH_ALG, Hash32, SIG_ALG};

/// Why text is not so many bytes in hex.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HexError {
    /// It is too long or too short.
    #[error("expected {expected} hex digits, got {actual}")]
    Length {
        /// Digits that there should be.
        expected: usize,
        /// Bytes of text that there are.
        actual: usize,
    },
    /// Something in it is not a hex digit.
    #[error("character {position} is not a hex digit")]
    NotHex {
        /// Which one, from 1.
        position: usize,
    },
}

/// Reads `N` bytes in hex, in upper or lower case, and nothing around them.
pub fn parse_fixed_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let mut bytes = [0; N];
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => {
            bytes.zeroize();
            Err(match error {
                // `index` counts bytes; all before it are digits, so it counts characters as well.
                hex::FromHexError::InvalidHexCharacter { index, .. } if text.len() == 2 * N => {
                    HexError::NotHex { position: index + 1 }
                }
                _ => HexError::Length { expected: 2 * N, actual: text.len() },
            })
        }
    }
}

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// It is not 32 bytes in hex.
    #[error("{which} key: {error}")]
    Hex {
        /// `private` or `public`.
        which: &'static str,
        /// What is wrong.
        error: HexError,
    },
    /// The bytes are no point on the curve.
    #[error("public key: these 32 bytes are no Ed25519 key")]
    NotAKey,
    /// A point of small order: signatures by it would hold for any message.
    #[error("public key: of small order, so that anyone could sign with it")]
    Weak,
    /// The system gave no random bytes.
    #[error("no randomness: {0}")]
    Random(String),
}

/// Why a record was not signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A field of the record.
    #[error(transparent)]
    Record(#[from] IngestError),
}

/// An Ed25519 key pair, each half 64 hex digits. `Debug` does not show the private one, and dropping clears it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    /// The private key (RFC 8032: the 32-byte seed).
    pub private_key_hex: String,
    /// The public key.
    pub public_key_hex: String,
}

impl KeyPair {
    fn of(signing_key: &SigningKey) -> Self {
        let seed = Zeroizing::new(signing_key.to_bytes());
        Self {
            private_key_hex: hex::encode(*seed),
            public_key_hex: hex::encode(signing_key.verifying_key().as_bytes()),
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("private_key_hex", &"[redacted]")
            .field("public_key_hex", &self.public_key_hex)
            .finish()
    }
}

impl Drop for KeyPair {
    fn drop(&mut self) {
        self.private_key_hex.zeroize();
    }
}

/// Makes a key pair from the system's randomness.
pub fn generate_keypair() -> Result<KeyPair, KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|e| KeyError::Random(e.to_string()))?;
    Ok(KeyPair::of(&SigningKey::from_bytes(&seed)))
}

/// The pair that a private key belongs to.
pub fn inspect_key(private_key_hex: &str) -> Result<KeyPair, KeyError> {
    Ok(KeyPair::of(&signing_key_from_hex(private_key_hex)?))
}

/// Reads a private key.
pub fn signing_key_from_hex(private_key_hex: &str) -> Result<SigningKey, KeyError> {
    let seed =
        parse_fixed_hex::<32>(private_key_hex).map_err(|error| KeyError::Hex { which: "private", error })?;
    Ok(SigningKey::from_bytes(&Zeroizing::new(seed)))
}

/// Reads a public key. Keys of small order are refused.
pub fn verifying_key_from_hex(public_key_hex: &str) -> Result<VerifyingKey, KeyError> {
    let bytes =
        parse_fixed_hex::<32>(public_key_hex).map_err(|error| KeyError::Hex { which: "public", error })?;
    verifying_key_from_bytes(&bytes)
}

/// Reads a public key. Keys of small order are refused.
pub fn verifying_key_from_bytes(bytes: &[u8; 32]) -> Result<VerifyingKey, KeyError> {
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAKey)?;
    if key.is_weak() {
        return Err(KeyError::Weak);
    }
    Ok(key)
}

/// Signs a record of version 2 with a key in hex; its fields are checked as a gate would.
pub fn sign_record(
    device_id: String,
    sequence: u64,
    timestamp_ms: u64,
    payload: Vec<u8>,
    prev_record_hash: Hash32,
    object_ref: String,
    private_key_hex: &str,
) -> Result<AuditRecord, SignError> {
    let key = signing_key_from_hex(private_key_hex)?;
    let record =
        build_signed_record(device_id, sequence, timestamp_ms, &payload, prev_record_hash, object_ref, &key);
    check_form(&record)?;
    Ok(record)
}

/// Whether the key signed the record. A record of version 2 must name this key, and algorithms that exist.
pub fn verify_record(record: &AuditRecord, public_key_hex: &str) -> Result<bool, KeyError> {
    let key = verifying_key_from_hex(public_key_hex)?;
    let named = record.provenance.as_ref().is_none_or(|provenance| {
        provenance.hash_alg == HASH_ALG && provenance.sig_alg == SIG_ALG && provenance.key_id == key_id(&key)
    });
    Ok(named && verify_record_signature(&key, record))
}
