//! What is said on the socket: a line of JSON there, a line of JSON back.

use ed25519_dalek::VerifyingKey;
use edgesentry_audit::Hash32;
use edgesentry_audit::gate::{Device, DeviceKey, Epoch, Registered, Registration};
use secure_log::Error;
use secure_log::model::{Checkpoint, Segment};
use serde::{Deserialize, Serialize};

use crate::gate::{Closed, GateError, Stats};

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", deny_unknown_fields)]
pub enum Op {
    /// Registers a device with its first key.
    #[serde(rename = "devices.register")]
    Register {
        /// The device.
        device_id: String,
        /// Ed25519 public key, 64 hex digits.
        public_key: String,
        /// Valid from this record time, ms, inclusive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before_ms: Option<u64>,
        /// Valid until this record time, ms, exclusive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_after_ms: Option<u64>,
        /// Which record versions it may send; empty: version 2.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        versions: Vec<u8>,
        /// Number of its first record; none: 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<u64>,
        /// Previous hash of that record, 64 hex digits; none: zeros.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        anchor: Option<String>,
    },
    /// Adds a key.
    #[serde(rename = "devices.add-key")]
    AddKey {
        /// The device.
        device_id: String,
        /// Ed25519 public key, 64 hex digits.
        public_key: String,
        /// Valid from this record time, ms, inclusive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before_ms: Option<u64>,
        /// Valid until this record time, ms, exclusive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_after_ms: Option<u64>,
    },
    /// Revokes a key.
    #[serde(rename = "devices.revoke-key")]
    RevokeKey {
        /// The device.
        device_id: String,
        /// The key's id.
        key_id: String,
    },
    /// Takes a device out of service.
    #[serde(rename = "devices.revoke")]
    Revoke {
        /// The device.
        device_id: String,
    },
    /// Sets which record versions a device may send.
    #[serde(rename = "devices.allow-versions")]
    AllowVersions {
        /// The device.
        device_id: String,
        /// The versions.
        versions: Vec<u8>,
    },
    /// Opens an epoch.
    #[serde(rename = "devices.open-epoch")]
    OpenEpoch {
        /// The device.
        device_id: String,
        /// Number of its first record.
        first: u64,
        /// Previous hash of that record, 64 hex digits.
        anchor: String,
    },
    /// One device.
    #[serde(rename = "devices.get")]
    Get {
        /// The device.
        device_id: String,
    },
    /// Ids of devices.
    #[serde(rename = "devices.list")]
    List {
        /// How many to leave out.
        #[serde(default)]
        skip: u64,
        /// At most so many.
        limit: u32,
    },
    /// Closes segments and signs a checkpoint over them.
    #[serde(rename = "segments.close")]
    CloseSegments {},
    /// Makes a copy of the store.
    #[serde(rename = "backup")]
    Backup {
        /// Config of the copy: an absolute path.
        config: String,
    },
    /// What the gate says about itself.
    #[serde(rename = "stats")]
    Stats {},
    /// Writes what refusals were counted.
    #[serde(rename = "flush")]
    Flush {},
    /// Reads certificates again.
    #[serde(rename = "reload-tls")]
    ReloadTls {},
}

/// The other line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reply {
    /// It was done.
    Ok(serde_json::Value),
    /// It was not.
    Error(Fault),
}

/// Why a call was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What to do about it: `conflict`, `not-found`, `corrupt`, `rolled-back`, `busy`, `denied`, `invalid`,
    /// `unavailable`, `storage` as the log has them, or `stopped`, or `bad-request`.
    pub kind: String,
    /// The part of the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// In words.
    pub message: String,
}

impl Fault {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { kind: "bad-request".into(), component: None, message: message.into() }
    }
}

impl From<GateError> for Fault {
    fn from(error: GateError) -> Self {
        let message = error.to_string();
        let (kind, component) = match error {
            GateError::Busy => ("busy", None),
            GateError::Stopped => ("stopped", None),
            GateError::Failed(failure) => {
                let kind = match failure.error {
                    Error::Conflict(_) => "conflict",
                    Error::NotFound(_) => "not-found",
                    Error::Corrupt(_) => "corrupt",
                    Error::RolledBack(_) => "rolled-back",
                    Error::Busy(_) => "busy",
                    Error::Denied(_) => "denied",
                    Error::Invalid(_) => "invalid",
                    Error::Sealed(_) => "sealed",
                    Error::Unavailable(_) => "unavailable",
                    Error::Storage(_) => "storage",
                };
                (kind, Some(failure.part.name().to_owned()))
            }
        };
        Self { kind: kind.into(), component, message }
    }
}

/// A key in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its id.
    pub key_id: String,
    /// The key, 64 hex digits.
    pub public_key: String,
    /// Valid from this record time, ms, inclusive.
    pub not_before_ms: Option<u64>,
    /// Valid until this record time, ms, exclusive.
    pub not_after_ms: Option<u64>,
    /// Entry of the registry that revoked it.
    pub revoked: Option<u64>,
}

/// An epoch in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochInfo {
    /// 1, 2, 3 …
    pub number: u64,
    /// The first record's number.
    pub first: u64,
    /// The first record's previous hash, 64 hex digits.
    pub anchor: String,
    /// Entry of the registry that opened it.
    pub opened: u64,
}

/// A device in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Its id.
    pub device_id: String,
    /// Its keys, oldest first.
    pub keys: Vec<KeyInfo>,
    /// Which record versions it may send.
    pub versions: Vec<u8>,
    /// Its epochs, oldest first.
    pub epochs: Vec<EpochInfo>,
    /// Entry that took it out of service.
    pub revoked: Option<u64>,
    /// When it was registered, ms since the Unix epoch.
    pub registered_at_ms: u64,
    /// Last entry of its registry stream.
    pub registry_seqno: u64,
    /// The number that its next record must have.
    pub next_sequence: u64,
    /// The previous hash that its next record must have, 64 hex digits.
    pub next_prev_record_hash: String,
}

impl From<&DeviceKey> for KeyInfo {
    fn from(key: &DeviceKey) -> Self {
        Self {
            key_id: key.key_id.clone(),
            public_key: hex::encode(key.public_key.as_bytes()),
            not_before_ms: key.not_before_ms,
            not_after_ms: key.not_after_ms,
            revoked: key.revoked,
        }
    }
}

impl From<&Device> for DeviceInfo {
    fn from(device: &Device) -> Self {
        let epoch = |epoch: &Epoch| EpochInfo {
            number: epoch.number,
            first: epoch.first,
            anchor: hex::encode(epoch.anchor),
            opened: epoch.opened,
        };
        Self {
            device_id: device.device_id.clone(),
            keys: device.keys.iter().map(KeyInfo::from).collect(),
            versions: device.versions.clone(),
            epochs: device.epochs.iter().map(epoch).collect(),
            revoked: device.revoked,
            registered_at_ms: device.registered_at_ms,
            registry_seqno: device.registry_seqno,
            next_sequence: device.next_sequence,
            next_prev_record_hash: hex::encode(device.next_prev_record_hash),
        }
    }
}

impl TryFrom<KeyInfo> for DeviceKey {
    type Error = Fault;

    fn try_from(info: KeyInfo) -> Result<Self, Fault> {
        Ok(Self {
            public_key: public_key(&info.public_key)?,
            key_id: info.key_id,
            not_before_ms: info.not_before_ms,
            not_after_ms: info.not_after_ms,
            revoked: info.revoked,
        })
    }
}

impl TryFrom<DeviceInfo> for Device {
    type Error = Fault;

    fn try_from(info: DeviceInfo) -> Result<Self, Fault> {
        let epoch = |epoch: EpochInfo| -> Result<Epoch, Fault> {
            let anchor = hash("anchor", &epoch.anchor)?;
            Ok(Epoch { number: epoch.number, first: epoch.first, anchor, opened: epoch.opened })
        };
        Ok(Self {
            next_prev_record_hash: hash("next_prev_record_hash", &info.next_prev_record_hash)?,
            device_id: info.device_id,
            keys: info.keys.into_iter().map(DeviceKey::try_from).collect::<Result<_, _>>()?,
            versions: info.versions,
            epochs: info.epochs.into_iter().map(epoch).collect::<Result<_, _>>()?,
            revoked: info.revoked,
            registered_at_ms: info.registered_at_ms,
            registry_seqno: info.registry_seqno,
            next_sequence: info.next_sequence,
        })
    }
}

/// What a registration did, in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegisteredInfo {
    /// The device is new.
    Added,
    /// It was registered with this key before.
    Already,
    /// It was registered with this key before, and the key is revoked: it stays so.
    Revoked,
}

impl From<Registered> for RegisteredInfo {
    fn from(registered: Registered) -> Self {
        match registered {
            Registered::Added => Self::Added,
            Registered::Already => Self::Already,
            Registered::Revoked => Self::Revoked,
        }
    }
}

impl From<RegisteredInfo> for Registered {
    fn from(info: RegisteredInfo) -> Self {
        match info {
            RegisteredInfo::Added => Self::Added,
            RegisteredInfo::Already => Self::Already,
            RegisteredInfo::Revoked => Self::Revoked,
        }
    }
}

/// A segment in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentInfo {
    /// Its id.
    pub segment_id: u64,
    /// Its stream.
    pub stream_id: String,
    /// Size of the stream's tree.
    pub size: u64,
    /// Root of that tree, 64 hex digits.
    pub root: String,
}

/// A checkpoint in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// Its number.
    pub number: u64,
    /// Name of the log.
    pub origin: String,
    /// Entries of `_log` that it covers.
    pub size: u64,
    /// Root at that size, 64 hex digits.
    pub root: String,
    /// The signed note.
    pub note: String,
}

/// What closing segments gave, in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedInfo {
    /// The segments.
    pub segments: Vec<SegmentInfo>,
    /// The checkpoint over them.
    pub checkpoint: Option<CheckpointInfo>,
}

/// What a gate says about itself, in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsInfo {
    /// Name of the log.
    pub origin: Option<String>,
    /// Registered devices.
    pub devices: u64,
    /// Submissions that wait to be stored.
    pub waiting: u64,
    /// The newest checkpoint.
    pub checkpoint: Option<CheckpointInfo>,
}

impl From<&Segment> for SegmentInfo {
    fn from(segment: &Segment) -> Self {
        Self {
            segment_id: segment.segment_id,
            stream_id: segment.stream_id.clone(),
            size: segment.size,
            root: hex::encode(segment.root),
        }
    }
}

impl From<&Checkpoint> for CheckpointInfo {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self {
            number: checkpoint.number,
            origin: checkpoint.origin.clone(),
            size: checkpoint.size,
            root: hex::encode(checkpoint.root),
            note: checkpoint.note.clone(),
        }
    }
}

impl From<&Closed> for ClosedInfo {
    fn from(closed: &Closed) -> Self {
        Self {
            segments: closed.segments.iter().map(SegmentInfo::from).collect(),
            checkpoint: closed.checkpoint.as_ref().map(CheckpointInfo::from),
        }
    }
}

impl From<&Stats> for StatsInfo {
    fn from(stats: &Stats) -> Self {
        Self {
            origin: stats.origin.clone(),
            devices: stats.devices,
            waiting: stats.waiting,
            checkpoint: stats.checkpoint.as_ref().map(CheckpointInfo::from),
        }
    }
}

/// A public key in hex.
pub(super) fn public_key(text: &str) -> Result<VerifyingKey, Fault> {
    VerifyingKey::from_bytes(&hash("public_key", text)?)
        .map_err(|_| Fault::bad_request("public_key: is no Ed25519 public key"))
}

/// 32 bytes in hex.
pub(super) fn hash(field: &str, text: &str) -> Result<Hash32, Fault> {
    let mut bytes = [0; 32];
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(Fault::bad_request(format!("{field}: is not 64 hex digits"))),
    }
}

/// The parts of [`Op::Register`] as a registration.
pub(super) fn registration(
    key: &str,
    not_before_ms: Option<u64>,
    not_after_ms: Option<u64>,
    versions: Vec<u8>,
    first: Option<u64>,
    anchor: Option<&str>,
) -> Result<Registration, Fault> {
    let mut registration = Registration::new(public_key(key)?);
    (registration.not_before_ms, registration.not_after_ms) = (not_before_ms, not_after_ms);
    if !versions.is_empty() {
        registration.versions = versions;
    }
    registration.first = first.unwrap_or(registration.first);
    if let Some(anchor) = anchor {
        registration.anchor = hash("anchor", anchor)?;
    }
    Ok(registration)
}
