//! What is registered of a device: the fold of its registry stream. What the stream holds and is not understood makes
//! the device unusable; nothing in it is passed over.

use ed25519_dalek::VerifyingKey;
use secure_log::error::Error;
use secure_log::model::{Event, Severity, ZERO_HASH};
use serde::{Deserialize, Serialize};

use crate::gate::log::GateLog;
use crate::gate::streams;
use crate::gate::types::{Device, DeviceKey, Epoch};
use crate::identity::key_id;
use crate::record::Hash32;

/// Media type of the registry's payloads.
pub(super) const ENCODING: &str = "application/json";
/// Greatest number of a first record: after it there is room for more records than anybody sends.
pub(super) const MAX_FIRST: u64 = i64::MAX as u64;

/// Event types of the key index. The first key of a device lists the device.
pub(super) mod index {
    pub const DEVICE: &str = "device-registered";
    pub const DEVICE_KEY: &str = "device-key-added";
    pub const PUBLISHER_KEY: &str = "publisher-key-added";
}

/// One entry of a registry stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Registered(DeviceRegistered),
    KeyAdded(KeyAdded),
    KeyRevoked(KeyRevoked),
    DeviceRevoked(DeviceRevoked),
    VersionsAllowed(VersionsAllowed),
    EpochOpened(EpochOpened),
}

/// Payload of `device-registered`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceRegistered {
    pub device_id: String,
    pub key_id: String,
    #[serde(with = "hex_32")]
    pub public_key: Hash32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_ms: Option<u64>,
    pub versions: Vec<u8>,
    pub first: u64,
    #[serde(with = "hex_32")]
    pub anchor: Hash32,
}

/// Payload of `key-added`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyAdded {
    pub device_id: String,
    pub key_id: String,
    #[serde(with = "hex_32")]
    pub public_key: Hash32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_ms: Option<u64>,
}

/// Payload of `key-revoked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRevoked {
    pub device_id: String,
    pub key_id: String,
}

/// Payload of `device-revoked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceRevoked {
    pub device_id: String,
}

/// Payload of `versions-allowed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionsAllowed {
    pub device_id: String,
    pub versions: Vec<u8>,
}

/// Payload of `epoch-opened`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EpochOpened {
    pub device_id: String,
    pub epoch: u64,
    pub first: u64,
    #[serde(with = "hex_32")]
    pub anchor: Hash32,
}

/// 32 bytes as 64 lower-case hex digits.
pub(super) mod hex_32 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes)
            .ok()
            .filter(|()| hex::encode(bytes) == text)
            .map(|()| bytes)
            .ok_or_else(|| D::Error::custom("not 64 lower-case hex digits"))
    }
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|e| Error::Storage(format!("an entry cannot be written as JSON: {e}")))
}

impl Change {
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Registered(_) => "device-registered",
            Self::KeyAdded(_) => "key-added",
            Self::KeyRevoked(_) => "key-revoked",
            Self::DeviceRevoked(_) => "device-revoked",
            Self::VersionsAllowed(_) => "versions-allowed",
            Self::EpochOpened(_) => "epoch-opened",
        }
    }

    fn device_id(&self) -> &str {
        match self {
            Self::Registered(DeviceRegistered { device_id, .. })
            | Self::KeyAdded(KeyAdded { device_id, .. })
            | Self::KeyRevoked(KeyRevoked { device_id, .. })
            | Self::DeviceRevoked(DeviceRevoked { device_id })
            | Self::VersionsAllowed(VersionsAllowed { device_id, .. })
            | Self::EpochOpened(EpochOpened { device_id, .. }) => device_id,
        }
    }

    /// The event that records this; `gate_id` says who wrote it.
    pub fn event(&self, gate_id: &str) -> Result<Event, Error> {
        let payload = match self {
            Self::Registered(p) => json(p),
            Self::KeyAdded(p) => json(p),
            Self::KeyRevoked(p) => json(p),
            Self::DeviceRevoked(p) => json(p),
            Self::VersionsAllowed(p) => json(p),
            Self::EpochOpened(p) => json(p),
        }?;
        let stream = streams::registry(self.device_id());
        let mut event = Event::new(stream, self.event_type(), Severity::Notice, gate_id, payload);
        event.payload_encoding = Some(ENCODING.into());
        Ok(event)
    }

    fn decode(event_type: &str, payload: &[u8]) -> Result<Self, String> {
        fn of<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, String> {
            serde_json::from_slice(payload).map_err(|e| format!("its payload is malformed: {e}"))
        }
        Ok(match event_type {
            "device-registered" => Self::Registered(of(payload)?),
            "key-added" => Self::KeyAdded(of(payload)?),
            "key-revoked" => Self::KeyRevoked(of(payload)?),
            "device-revoked" => Self::DeviceRevoked(of(payload)?),
            "versions-allowed" => Self::VersionsAllowed(of(payload)?),
            "epoch-opened" => Self::EpochOpened(of(payload)?),
            other => return Err(format!("event type {other:?} is not one of a registry")),
        })
    }
}

/// What stands in the key index beside a change that brings a key: its id is unique in the stream, so no key serves
/// twice, whichever servers register it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyEntry {
    pub key_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher_id: Option<String>,
}

impl KeyEntry {
    pub fn event(&self, event_type: &str) -> Result<Event, Error> {
        let owner = self.device_id.as_deref().or(self.publisher_id.as_deref()).unwrap_or_default();
        let mut event = Event::new(streams::KEY_INDEX, event_type, Severity::Notice, owner, json(self)?);
        event.payload_encoding = Some(ENCODING.into());
        event.id = Some(self.key_id.clone());
        Ok(event)
    }
}

/// Reads a key as it stands in a registry.
pub(super) fn read_key(id: &str, bytes: &Hash32) -> Result<VerifyingKey, String> {
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| "its key is not an Ed25519 key".to_owned())?;
    if key.is_weak() {
        return Err("its key is weak".into());
    }
    if key_id(&key) != id {
        return Err("its key id is not the id of its key".into());
    }
    Ok(key)
}

/// Whether this is a list of versions: 1 and 2, each once, ascending.
pub(super) fn are_versions(versions: &[u8]) -> bool {
    matches!(versions, [1] | [2] | [1, 2])
}

fn add_key(device: &mut Device, added: KeyAdded) -> Result<(), String> {
    let public_key = read_key(&added.key_id, &added.public_key)?;
    if device.keys.iter().any(|key| key.key_id == added.key_id) {
        return Err("the device has this key already".into());
    }
    device.keys.push(DeviceKey {
        key_id: added.key_id,
        public_key,
        not_before_ms: added.not_before_ms,
        not_after_ms: added.not_after_ms,
        revoked: None,
    });
    Ok(())
}

fn open_epoch(device: &mut Device, opened: &EpochOpened, seqno: u64) -> Result<(), String> {
    if opened.epoch != device.epochs.len() as u64 + 1 {
        return Err(format!("epoch {} does not follow epoch {}", opened.epoch, device.epochs.len()));
    }
    if opened.first == 0 || opened.first > MAX_FIRST {
        return Err(format!("its first record cannot have the number {}", opened.first));
    }
    device.epochs.push(Epoch {
        number: opened.epoch,
        first: opened.first,
        anchor: opened.anchor,
        opened: seqno,
    });
    device.next_sequence = opened.first;
    device.next_prev_record_hash = opened.anchor;
    Ok(())
}

/// Applies entry `seqno` to what the entries before it made.
fn apply(
    before: Option<Device>,
    device_id: &str,
    seqno: u64,
    time_ms: u64,
    change: Change,
) -> Result<Device, String> {
    if change.device_id() != device_id {
        return Err("it is about another device".into());
    }
    let mut device = match (before, &change) {
        (None, Change::Registered(p)) => {
            let mut device = Device {
                device_id: device_id.to_owned(),
                keys: Vec::with_capacity(1),
                versions: Vec::new(),
                epochs: Vec::with_capacity(1),
                revoked: None,
                registered_at_ms: time_ms,
                registry_seqno: seqno,
                next_sequence: p.first,
                next_prev_record_hash: p.anchor,
            };
            let opened = EpochOpened { device_id: String::new(), epoch: 1, first: p.first, anchor: p.anchor };
            open_epoch(&mut device, &opened, seqno)?;
            device
        }
        (None, _) => return Err("the first entry does not register the device".into()),
        (Some(_), Change::Registered(_)) => return Err("it registers the device again".into()),
        (Some(device), _) => device,
    };
    if device.revoked.is_some() && !matches!(change, Change::KeyRevoked(_)) {
        return Err("the device was out of service before it".into());
    }
    match change {
        Change::Registered(DeviceRegistered {
            device_id,
            key_id,
            public_key,
            not_before_ms,
            not_after_ms,
            versions,
            ..
        }) => {
            if !are_versions(&versions) {
                return Err("its record versions are not 1, 2 or both".into());
            }
            device.versions = versions;
            add_key(&mut device, KeyAdded { device_id, key_id, public_key, not_before_ms, not_after_ms })?;
        }
        Change::KeyAdded(added) => add_key(&mut device, added)?,
        Change::KeyRevoked(p) => {
            let key = device.keys.iter_mut().find(|key| key.key_id == p.key_id);
            let key = key.ok_or("it revokes a key that the device does not have")?;
            if key.revoked.is_some() {
                return Err("it revokes a key that was revoked before".into());
            }
            key.revoked = Some(seqno);
        }
        Change::DeviceRevoked(_) => device.revoked = Some(seqno),
        Change::VersionsAllowed(p) => {
            if !are_versions(&p.versions) {
                return Err("its record versions are not 1, 2 or both".into());
            }
            device.versions = p.versions;
        }
        Change::EpochOpened(opened) => open_epoch(&mut device, &opened, seqno)?,
    }
    device.registry_seqno = seqno;
    Ok(device)
}

/// A device as its registry stream says, and the hash of that stream's last entry. `visit` sees the device as each
/// entry left it, with the hash of the entry.
pub(super) fn fold(
    log: &mut impl GateLog,
    device_id: &str,
    mut visit: impl FnMut(&Device, Hash32),
) -> Result<Option<(Device, Hash32)>, Error> {
    let stream = streams::registry(device_id);
    let Some(head) = log.head(&stream)? else { return Ok(None) };
    let mut device = None;
    let mut hash = ZERO_HASH;
    for seqno in 1..=head.seqno {
        let corrupt = |reason: String| Error::corrupt(stream.as_str(), seqno, reason);
        let entry = log.read(&stream, seqno)?;
        if entry.header.prev_hash != hash {
            return Err(corrupt("it does not follow the entry before it".into()));
        }
        hash = entry.entry_hash;
        let payload = log.read_payload(&stream, seqno)?;
        let applied = Change::decode(&entry.header.event_type, &payload)
            .and_then(|change| apply(device.take(), device_id, seqno, entry.header.time_ms, change))
            .map_err(corrupt)?;
        visit(&applied, hash);
        device = Some(applied);
    }
    if hash != head.entry_hash {
        return Err(Error::corrupt(stream, head.seqno, "it is not the entry that the head names"));
    }
    Ok(device.map(|device| (device, hash)))
}
