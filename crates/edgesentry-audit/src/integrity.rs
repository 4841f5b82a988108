//! Payload hashes, and the chain of a device's records.
//!
//! What each check sees, for whoever changed stored records without the device's key:
//!
//! | | [`verify_chain`] | [`verify_chain_with_keys`] |
//! |---|---|---|
//! | a record changed, taken out, put in or moved, with another after it | yes | yes |
//! | the last record changed | **no** | version 2: any field; version 1: `payload_hash` and `signature` |
//! | records cut off at the end | no | no |
//! | the whole chain made anew, hashes and all | **no** | version 2: yes; version 1: where a payload hash is new |
//!
//! Nothing after the last record holds its hash, so without a key it can be anything. Records cut off at the end are
//! seen by whoever knows how many there should be: the log that took them.

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::identity::{key_id, verify_record_signature};
use crate::record::{AuditRecord, Bytes, HASH_ALG, Hash32, SIG_ALG};

/// BLAKE3 of a payload.
pub fn compute_payload_hash(payload: &[u8]) -> Hash32 {
    *blake3::hash(payload).as_bytes()
}

/// Why records are not a chain. `index` counts from 0 in what was given, `sequence` is what the record says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChainError {
    /// The record does not name the hash of the record before it.
    #[error(
        "invalid previous hash at index {index} (sequence {sequence}): the record before it is another one, or was changed"
    )]
    InvalidPrevHash {
        /// Which record.
        index: usize,
        /// Its number.
        sequence: u64,
    },
    /// The record's number is not the next one.
    #[error("invalid sequence at index {index}: expected {expected}, actual {actual}")]
    InvalidSequence {
        /// Which record.
        index: usize,
        /// The next number.
        expected: u64,
        /// Its number.
        actual: u64,
    },
    /// The record is of another device than the first.
    #[error(
        "mixed devices at index {index} (sequence {sequence}): device {actual:?} in the chain of {expected:?}; verify each device's records alone"
    )]
    MixedDevices {
        /// Which record.
        index: usize,
        /// Its number.
        sequence: u64,
        /// The device of the first record.
        expected: String,
        /// The device of this one.
        actual: String,
    },
    /// The record names an algorithm that nobody here knows.
    #[error("unknown algorithm at index {index} (sequence {sequence}): {name:?}")]
    UnknownAlgorithm {
        /// Which record.
        index: usize,
        /// Its number.
        sequence: u64,
        /// The algorithm.
        name: String,
    },
    /// The record names a key that was not given.
    #[error(
        "unknown key at index {index} (sequence {sequence}): it is signed by key {key_id}, which was not given"
    )]
    UnknownKey {
        /// Which record.
        index: usize,
        /// Its number.
        sequence: u64,
        /// The key that it names.
        key_id: String,
    },
    /// The signature is not that of the key that the record names, or, in version 1, of any that was given.
    #[error("invalid signature at index {index} (sequence {sequence})")]
    InvalidSignature {
        /// Which record.
        index: usize,
        /// Its number.
        sequence: u64,
    },
}

/// The record before the first one of a part of a chain. In JSON, `record_hash` is an array of numbers.
///
/// An anchor is a claim: that a record with this hash stands before the part is for whoever hands it out to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainAnchor {
    /// Its number; 0 before the first record.
    pub sequence: u64,
    /// Its hash; zero before the first record.
    pub record_hash: Hash32,
}

impl ChainAnchor {
    /// Before the first record of a device.
    pub const START: Self = Self { sequence: 0, record_hash: AuditRecord::zero_hash() };

    /// The anchor of what follows `record`.
    pub fn after(record: &AuditRecord) -> Self {
        Self { sequence: record.sequence, record_hash: record.hash() }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorJson {
    sequence: u64,
    record_hash: Bytes<32>,
}

impl Serialize for ChainAnchor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        AnchorJson { sequence: self.sequence, record_hash: Bytes(self.record_hash) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ChainAnchor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = AnchorJson::deserialize(deserializer)?;
        Ok(Self { sequence: json.sequence, record_hash: json.record_hash.0 })
    }
}

/// Checks numbers and hashes of a device's whole chain, from record 1 on. Signatures are not checked, so **a change of
/// the last record goes unseen**: see the table of [this module](self). No records at all are a chain.
pub fn verify_chain(records: &[AuditRecord]) -> Result<(), ChainError> {
    verify_chain_from(&ChainAnchor::START, records)
}

/// The same for the part of a chain that follows `anchor`.
pub fn verify_chain_from(anchor: &ChainAnchor, records: &[AuditRecord]) -> Result<(), ChainError> {
    walk(anchor, records, |_, _| Ok(()))
}

/// Checks numbers, hashes and every signature, one by one and strictly. `keys` are those of the device: a record of
/// version 2 names the one that signed it, a record of version 1 may be signed by any.
pub fn verify_chain_with_keys(records: &[AuditRecord], keys: &[VerifyingKey]) -> Result<(), ChainError> {
    verify_chain_from_with_keys(&ChainAnchor::START, records, keys)
}

/// The same for the part of a chain that follows `anchor`.
pub fn verify_chain_from_with_keys(
    anchor: &ChainAnchor,
    records: &[AuditRecord],
    keys: &[VerifyingKey],
) -> Result<(), ChainError> {
    let keys: Vec<(String, &VerifyingKey)> = keys.iter().map(|key| (key_id(key), key)).collect();
    walk(anchor, records, |index, record| {
        let sequence = record.sequence;
        let signed = match &record.provenance {
            Some(provenance) => {
                let named = keys.iter().find(|(id, _)| *id == provenance.key_id);
                let (_, key) = named.ok_or_else(|| ChainError::UnknownKey {
                    index,
                    sequence,
                    key_id: provenance.key_id.clone(),
                })?;
                verify_record_signature(key, record)
            }
            None => keys.iter().any(|(_, key)| verify_record_signature(key, record)),
        };
        signed.then_some(()).ok_or(ChainError::InvalidSignature { index, sequence })
    })
}

fn walk(
    anchor: &ChainAnchor,
    records: &[AuditRecord],
    mut check: impl FnMut(usize, &AuditRecord) -> Result<(), ChainError>,
) -> Result<(), ChainError> {
    let Some(first) = records.first() else { return Ok(()) };
    let mut bytes = Vec::new();
    let (mut before, mut prev_record_hash) = (Some(anchor.sequence), anchor.record_hash);
    for (index, record) in records.iter().enumerate() {
        let sequence = record.sequence;
        if record.device_id != first.device_id {
            let (expected, actual) = (first.device_id.clone(), record.device_id.clone());
            return Err(ChainError::MixedDevices { index, sequence, expected, actual });
        }
        if let Some(provenance) = &record.provenance {
            for (name, known) in [(&provenance.hash_alg, HASH_ALG), (&provenance.sig_alg, SIG_ALG)] {
                if name != known {
                    let name = name.clone().into_owned();
                    return Err(ChainError::UnknownAlgorithm { index, sequence, name });
                }
            }
        }
        let next = before.and_then(|before| before.checked_add(1));
        if next != Some(sequence) {
            let expected = next.unwrap_or(u64::MAX);
            return Err(ChainError::InvalidSequence { index, expected, actual: sequence });
        }
        if record.prev_record_hash != prev_record_hash {
            return Err(ChainError::InvalidPrevHash { index, sequence });
        }
        check(index, record)?;
        before = Some(sequence);
        // Nothing needs the hash of the last one.
        if index + 1 < records.len() {
            prev_record_hash = record.hash_with(&mut bytes);
        }
    }
    Ok(())
}
