//! The keystore seam (`keys:keystore/signer`) and signature verification.

use std::fmt;

/// Signature algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032): 64 bytes.
    Ed25519,
    /// ECDSA on P-256 with SHA-256: r‖s, 64 bytes.
    EcdsaP256,
    /// RSASSA-PSS with SHA-256, MGF1-SHA-256, salt of 32 bytes.
    RsaPssSha256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ed25519, Self::EcdsaP256, Self::RsaPssSha256];

    /// Name in data and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::RsaPssSha256 => "rsa-pss-sha256",
        }
    }

    /// The algorithm of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }
}

/// The public half of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// What the key signs with.
    pub algorithm: Algorithm,
    /// SubjectPublicKeyInfo, DER.
    pub spki_der: Vec<u8>,
}

/// Errors of a keystore, by what the caller must do. None of them tells key material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// No key of this name; it is never created by looking for it.
    KeyNotFound(String),
    /// The keystore refuses.
    Denied(String),
    /// The name, the key file or the configuration is not usable.
    Invalid(String),
    /// The keystore cannot be reached now.
    Unavailable(String),
    /// The keystore failed.
    Failed(String),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, text) = match self {
            Self::KeyNotFound(s) => ("key not found", s),
            Self::Denied(s) => ("denied", s),
            Self::Invalid(s) => ("invalid", s),
            Self::Unavailable(s) => ("unavailable", s),
            Self::Failed(s) => ("failed", s),
        };
        write!(f, "keystore: {what}: {text}")
    }
}

impl std::error::Error for KeyError {}

/// Whoever holds the keys: software, a PKCS#11 token, a KMS. The Rust face of
/// `keys:keystore/signer`.
pub trait CheckpointSigner {
    /// The public half of the key `identity`.
    fn public_key(&mut self, identity: &str) -> Result<PublicKey, KeyError>;

    /// Signs a message (never a digest).
    fn sign(&mut self, identity: &str, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}
