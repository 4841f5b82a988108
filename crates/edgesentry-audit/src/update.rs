//! Signed software updates: checked before anything is installed.
//!
//! The publisher signs the hash of the package, and nothing else. What the signature does **not** protect:
//!
//! - `package_id` and `version` are words beside the package. Whoever has two packages of one publisher can pass one off
//!   as the other. Put both into the package itself and compare, or give each package a publisher id and key of its own.
//! - An old package stays valid for ever: whether a version may follow the one that is installed is for the installer.
//! - A record of version 1 by the same key is a signature over a hash as well. Publisher keys and device keys are kept
//!   apart: never use one as the other.

use std::collections::BTreeMap;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::identity::{key_id, verify_payload_signature};
use crate::integrity::compute_payload_hash;
use crate::record::{Bytes, Hash32, Signature64};

/// A package as its publisher announces it. In JSON, hash and signature are arrays of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftwareUpdate {
    /// What it is for. Not signed.
    pub package_id: String,
    /// Its version. Not signed.
    pub version: String,
    /// BLAKE3 of the package.
    pub payload_hash: Hash32,
    /// Ed25519 over `payload_hash` ([`sign_payload_hash`](crate::sign_payload_hash)).
    pub signature: Signature64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateJson {
    package_id: String,
    version: String,
    payload_hash: Bytes<32>,
    signature: Bytes<64>,
}

impl Serialize for SoftwareUpdate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        UpdateJson {
            package_id: self.package_id.clone(),
            version: self.version.clone(),
            payload_hash: Bytes(self.payload_hash),
            signature: Bytes(self.signature),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SoftwareUpdate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = UpdateJson::deserialize(deserializer)?;
        Ok(Self {
            package_id: json.package_id,
            version: json.version,
            payload_hash: json.payload_hash.0,
            signature: json.signature.0,
        })
    }
}

/// Why [`check_update`] refuses a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UpdateRefusal {
    /// BLAKE3 of the package is not `payload_hash`.
    #[error("payload hash mismatch")]
    PayloadHashMismatch,
    /// None of the keys made the signature.
    #[error("invalid signature")]
    InvalidSignature,
}

/// Checks a package against a publisher's keys: its hash, then the signature, strictly. Gives the index of the key.
pub fn check_update(
    update: &SoftwareUpdate,
    payload: &[u8],
    keys: &[VerifyingKey],
) -> Result<usize, UpdateRefusal> {
    if compute_payload_hash(payload) != update.payload_hash {
        return Err(UpdateRefusal::PayloadHashMismatch);
    }
    keys.iter()
        .position(|key| verify_payload_signature(key, &update.payload_hash, &update.signature))
        .ok_or(UpdateRefusal::InvalidSignature)
}

/// Why an update must not be installed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UpdateVerifyError {
    /// No such publisher is registered.
    #[error("unknown publisher: {publisher_id}")]
    UnknownPublisher {
        /// The publisher.
        publisher_id: String,
    },
    /// BLAKE3 of the package is not `payload_hash`.
    #[error("payload hash mismatch for package={package_id} version={version}")]
    PayloadHashMismatch {
        /// The package.
        package_id: String,
        /// Its version.
        version: String,
    },
    /// None of the publisher's keys made the signature.
    #[error("invalid signature for package={package_id} version={version} publisher={publisher_id}")]
    InvalidSignature {
        /// The package.
        package_id: String,
        /// Its version.
        version: String,
        /// The publisher.
        publisher_id: String,
    },
}

/// Why a publisher's key is not registered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PublisherError {
    /// Another publisher has the key: a signature for one would count for the other.
    #[error("key {key_id} belongs to publisher {owner:?}; a key never serves two publishers")]
    KeyOfAnother {
        /// The key.
        key_id: String,
        /// Whose it is.
        owner: String,
    },
    /// A key of small order: signatures by it would hold for any package.
    #[error("key {key_id} is of small order, so that anyone could sign with it")]
    WeakKey {
        /// The key.
        key_id: String,
    },
    /// The publisher has no such key.
    #[error("publisher {publisher_id:?} has no key {key_id}")]
    UnknownKey {
        /// The publisher.
        publisher_id: String,
        /// The key.
        key_id: String,
    },
}

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpdateVerifyDecision {
    /// It may be installed.
    Accepted,
    /// It must not.
    Rejected,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateVerificationEntry {
    /// The package.
    pub package_id: String,
    /// Its version.
    pub version: String,
    /// Who was said to have published it.
    pub publisher_id: String,
    /// What became of it.
    pub decision: UpdateVerifyDecision,
    /// Why, or by which key.
    pub message: String,
}

/// All checks, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UpdateVerificationLog {
    entries: Vec<UpdateVerificationEntry>,
}

impl UpdateVerificationLog {
    /// No check yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The checks, oldest first.
    pub fn entries(&self) -> &[UpdateVerificationEntry] {
        &self.entries
    }
}

/// Publishers and their keys; several keys at once, while one follows the other.
#[derive(Debug, Clone, Default)]
pub struct UpdateVerifier {
    publishers: BTreeMap<String, Vec<VerifyingKey>>,
}

impl UpdateVerifier {
    /// Nobody is registered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key of a publisher; the first one registers it. The same again changes nothing.
    pub fn register_publisher(
        &mut self,
        publisher_id: impl Into<String>,
        key: VerifyingKey,
    ) -> Result<(), PublisherError> {
        let publisher_id = publisher_id.into();
        if key.is_weak() {
            return Err(PublisherError::WeakKey { key_id: key_id(&key) });
        }
        let owner = self.publishers.iter().find(|(_, keys)| keys.contains(&key)).map(|(owner, _)| owner);
        match owner {
            Some(owner) if *owner == publisher_id => Ok(()),
            Some(owner) => Err(PublisherError::KeyOfAnother { key_id: key_id(&key), owner: owner.clone() }),
            None => {
                self.publishers.entry(publisher_id).or_default().push(key);
                Ok(())
            }
        }
    }

    /// Takes a key of a publisher away ([`key_id`]). A publisher without keys stays registered: what it is said to have
    /// published has an invalid signature.
    pub fn remove_key(&mut self, publisher_id: &str, id: &str) -> Result<(), PublisherError> {
        let keys = self.publishers.get_mut(publisher_id);
        let place = keys.and_then(|keys| Some((keys.iter().position(|key| key_id(key) == id)?, keys)));
        let (at, keys) = place.ok_or_else(|| PublisherError::UnknownKey {
            publisher_id: publisher_id.to_owned(),
            key_id: id.to_owned(),
        })?;
        keys.remove(at);
        Ok(())
    }

    /// Checks a package before it is installed, and writes down what became of it.
    pub fn verify(
        &self,
        update: &SoftwareUpdate,
        payload: &[u8],
        publisher_id: &str,
        log: &mut UpdateVerificationLog,
    ) -> Result<(), UpdateVerifyError> {
        let outcome = self.judge(update, payload, publisher_id);
        let (decision, message) = match &outcome {
            Ok(key_id) => (UpdateVerifyDecision::Accepted, format!("signed by key {key_id}")),
            Err(error) => (UpdateVerifyDecision::Rejected, error.to_string()),
        };
        log.entries.push(UpdateVerificationEntry {
            package_id: update.package_id.clone(),
            version: update.version.clone(),
            publisher_id: publisher_id.to_owned(),
            decision,
            message,
        });
        outcome.map(drop)
    }

    fn judge(
        &self,
        update: &SoftwareUpdate,
        payload: &[u8],
        publisher_id: &str,
    ) -> Result<String, UpdateVerifyError> {
        let keys = self
            .publishers
            .get(publisher_id)
            .ok_or_else(|| UpdateVerifyError::UnknownPublisher { publisher_id: publisher_id.to_owned() })?;
        let (package_id, version) = (update.package_id.clone(), update.version.clone());
        match check_update(update, payload, keys) {
            Ok(at) => Ok(keys.get(at).map(key_id).unwrap_or_default()),
            Err(UpdateRefusal::PayloadHashMismatch) => {
                Err(UpdateVerifyError::PayloadHashMismatch { package_id, version })
            }
            Err(UpdateRefusal::InvalidSignature) => Err(UpdateVerifyError::InvalidSignature {
                package_id,
                version,
                publisher_id: publisher_id.to_owned(),
            }),
        }
    }
}
