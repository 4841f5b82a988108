//! The payload of an entry of `device/<device-id>/<epoch>`: one accepted record with all that it was judged by.
//!
//! Deterministic CBOR (docs/format.md), media type `application/cbor`:
//!
//! ```cddl
//! stored-record = {
//!   1 => 1,                ; version of this map
//!   2 => 1 / 2,            ; version of the record
//!   3 => bytes,            ; the record (docs/records.md)
//!   4 => uint,             ; entry of registry/<device-id> that judged it
//!   5 => bytes .size 32,   ; hash of that entry
//!   6 => text,             ; id of the key that signed it
//! ? 7 => text,             ; where it came from
//!   8 => bytes,            ; the payload
//! }
//! ```

use secure_log::cbor::{DecodeError, MapReader, MapWriter, Value};
use secure_log::limits::MAX_PAYLOAD;

use crate::record::{AuditRecord, Hash32};

/// Media type of these payloads.
pub(super) const ENCODING: &str = "application/cbor";
/// Event type of these entries.
pub(super) const EVENT_TYPE: &str = "record";
/// Longest payload of a record, bytes: an entry's, less the room for the record beside it.
pub const MAX_RECORD_PAYLOAD: usize = MAX_PAYLOAD - 4096;
/// Longest source that is kept, bytes.
pub(super) const MAX_SOURCE: usize = 255;

const VERSION: u64 = 1;

mod key {
    pub const VERSION: u64 = 1;
    pub const RECORD_VERSION: u64 = 2;
    pub const RECORD: u64 = 3;
    pub const REGISTRY_SEQNO: u64 = 4;
    pub const REGISTRY_HASH: u64 = 5;
    pub const KEY_ID: u64 = 6;
    pub const SOURCE: u64 = 7;
    pub const PAYLOAD: u64 = 8;
}

/// What is stored of a record, borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRef<'a> {
    pub record_version: u8,
    pub record: &'a [u8],
    pub registry_seqno: u64,
    pub registry_hash: Hash32,
    pub key_id: &'a str,
    pub source: Option<&'a str>,
    pub payload: &'a [u8],
}

impl<'a> StoredRef<'a> {
    pub fn encode(&self) -> Vec<u8> {
        let source = self.source.map_or(0, str::len);
        let mut map = MapWriter::with_capacity(
            self.record.len() + self.payload.len() + self.key_id.len() + source + 80,
        );
        map.uint(key::VERSION, VERSION)
            .uint(key::RECORD_VERSION, u64::from(self.record_version))
            .bytes(key::RECORD, self.record)
            .uint(key::REGISTRY_SEQNO, self.registry_seqno)
            .bytes(key::REGISTRY_HASH, &self.registry_hash)
            .text(key::KEY_ID, self.key_id)
            .opt_text(key::SOURCE, self.source)
            .bytes(key::PAYLOAD, self.payload);
        map.finish()
    }

    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::new(bytes)?;
        let mut next = map.next()?;
        let mut take = |key: u64| -> Result<Option<Value<'a>>, DecodeError> {
            match next {
                Some((found, value)) if found == key => {
                    next = map.next()?;
                    Ok(Some(value))
                }
                _ => Ok(None),
            }
        };
        let missing = DecodeError("a field of the stored record is missing or out of place");
        if take(key::VERSION)?.ok_or(missing)?.uint()? != VERSION {
            return Err(DecodeError("the version of the stored record is not 1"));
        }
        let record_version = take(key::RECORD_VERSION)?.ok_or(missing)?.uint()?;
        let stored = Self {
            record_version: u8::try_from(record_version)
                .map_err(|_| DecodeError("the version of the record is neither 1 nor 2"))?,
            record: take(key::RECORD)?.ok_or(missing)?.bytes()?,
            registry_seqno: take(key::REGISTRY_SEQNO)?.ok_or(missing)?.uint()?,
            registry_hash: take(key::REGISTRY_HASH)?.ok_or(missing)?.array()?,
            key_id: take(key::KEY_ID)?.ok_or(missing)?.text()?,
            source: take(key::SOURCE)?.map(Value::text).transpose()?,
            payload: take(key::PAYLOAD)?.ok_or(missing)?.bytes()?,
        };
        if next.is_some() {
            return Err(DecodeError("the stored record has an unknown field"));
        }
        Ok(stored)
    }

    /// The record, decoded.
    pub fn audit_record(&self) -> Result<AuditRecord, crate::record::RecordError> {
        AuditRecord::from_bytes(self.record_version, self.record)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(source: Option<&str>) -> Vec<u8> {
        let stored = StoredRef {
            record_version: 2,
            record: b"record",
            registry_seqno: 3,
            registry_hash: [7; 32],
            key_id: "0123",
            source,
            payload: b"payload",
        };
        let bytes = stored.encode();
        assert_eq!(StoredRef::decode(&bytes).unwrap(), stored);
        bytes
    }

    #[test]
    fn decodes_what_it_encodes() {
        bytes(None);
        bytes(Some("192.0.2.7"));
    }

    #[test]
    fn has_room_beside_the_largest_payload() {
        let text = |n: usize| "x".repeat(n);
        let record = crate::build_signed_record(
            text(255),
            u64::MAX,
            u64::MAX,
            b"",
            [1; 32],
            text(511),
            &ed25519_dalek::SigningKey::from_bytes(&[1; 32]),
        );
        let stored = StoredRef {
            record_version: 2,
            record: &record.to_bytes(),
            registry_seqno: u64::MAX,
            registry_hash: [1; 32],
            key_id: &text(32),
            source: Some(&text(MAX_SOURCE)),
            payload: &[],
        };
        // The software version of this record is short; one of 255 bytes still fits.
        assert!(stored.encode().len() + 255 + 8 + MAX_RECORD_PAYLOAD <= MAX_PAYLOAD);
    }

    proptest! {
        #[test]
        fn accepts_one_form_only(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = bytes(Some("s"));
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(decoded) = StoredRef::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }
}
