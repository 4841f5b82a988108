//! The seam to whoever holds key-encryption keys (`keys:keystore/envelope`).

use std::fmt;

use crate::signer::KeyError;

use zeroize::Zeroizing;

/// Errors of an envelope, by what the caller must do. None of them tells key material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvelopeError {
    /// No key-encryption key of this name; it is never created by looking for it.
    KeyNotFound(String),
    /// There is a key of this name, and it is not the one that wrapped this, or context or bytes are others.
    WrongKey(String),
    /// The keystore refuses.
    Denied(String),
    /// The name, the key or the configuration is not usable.
    Invalid(String),
    /// The keystore cannot be reached now.
    Unavailable(String),
    /// The keystore failed.
    Failed(String),
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, text) = match self {
            Self::KeyNotFound(s) => ("key not found", s),
            Self::WrongKey(s) => ("wrong key", s),
            Self::Denied(s) => ("denied", s),
            Self::Invalid(s) => ("invalid", s),
            Self::Unavailable(s) => ("unavailable", s),
            Self::Failed(s) => ("failed", s),
        };
        write!(f, "keystore: {what}: {text}")
    }
}

impl std::error::Error for EnvelopeError {}

/// What a keystore says before it comes to wrapping.
impl From<KeyError> for EnvelopeError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::KeyNotFound(s) => Self::KeyNotFound(s),
            KeyError::Denied(s) => Self::Denied(s),
            KeyError::Invalid(s) => Self::Invalid(s),
            KeyError::Unavailable(s) => Self::Unavailable(s),
            KeyError::Failed(s) => Self::Failed(s),
        }
    }
}

/// Wraps data keys with key-encryption keys that stay where they are. The Rust face of
/// `keys:keystore/envelope`.
pub trait Envelope {
    /// Wraps a key of 1 to 1,024 bytes under the key-encryption key `name`. `context` is authenticated with it.
    fn wrap(&mut self, name: &str, key: &[u8], context: &[u8]) -> Result<Vec<u8>, EnvelopeError>;

    /// Unwraps what `wrap` gave, for the same context.
    fn unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError>;

    /// Destroys a key-encryption key; durable when it returns.
    fn destroy(&mut self, name: &str) -> Result<(), EnvelopeError>;
}
