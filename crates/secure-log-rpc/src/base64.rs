//! Byte strings in JSON: base64 (RFC 4648 §4, with padding), for `#[serde(with = "…")]`.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serializer, de};

/// Text of these bytes.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn decode<E: de::Error>(text: &str) -> Result<Vec<u8>, E> {
    STANDARD.decode(text).map_err(|e| E::custom(format_args!("not base64: {e}")))
}

/// Writes bytes as text.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&base64::display::Base64Display::new(bytes, &STANDARD))
}

/// Reads bytes from text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    decode(&Cow::<str>::deserialize(deserializer)?)
}

/// The same for bytes that may be missing.
pub mod optional {
    use super::*;

    /// Writes bytes as text, or `null`.
    pub fn serialize<S: Serializer, B: AsRef<[u8]>>(
        bytes: &Option<B>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::serialize(bytes.as_ref(), serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads bytes from text; `null` is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        Option::<Cow<str>>::deserialize(deserializer)?.map(|text| decode(&text)).transpose()
    }
}

/// The same for hashes of 32 bytes.
pub mod hash {
    use super::*;

    /// Writes a hash as text.
    pub fn serialize<S: Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize(hash, serializer)
    }

    /// Reads a hash from text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let bytes = super::deserialize(deserializer)?;
        let found = bytes.len();
        bytes.try_into().map_err(|_| de::Error::custom(format_args!("a hash has 32 bytes, not {found}")))
    }
}

/// Bytes alone, as a result is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Bytes(#[serde(with = "crate::base64")] pub Vec<u8>);
