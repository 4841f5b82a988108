//! The gate in memory: devices, their keys, and what comes next of each.

use std::collections::HashMap;

use ed25519_dalek::VerifyingKey;
use thiserror::Error;

use crate::error::IngestError;
use crate::gate::events::{self, VERIFY};
use crate::gate::{Device, DeviceKey, Epoch, Registered, Registration, check_form, judge, judge_record};
use crate::identity::key_id;
use crate::record::{AuditRecord, Hash32, MAX_DEVICE_ID};

/// Why a change of the registry is refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegistrationError {
    /// The device id cannot be one.
    #[error("device id {0}")]
    BadDeviceId(String),
    /// No such device is registered.
    #[error("device {0:?} is not registered")]
    UnknownDevice(String),
    /// The device has other keys.
    #[error("device {0:?} is registered with other keys; add the key beside them instead")]
    OtherKeys(String),
    /// The device has no such key.
    #[error("device {device_id:?} has no key {key_id}")]
    UnknownKey {
        /// The device.
        device_id: String,
        /// The key.
        key_id: String,
    },
    /// Another device has the key.
    #[error("key {key_id} belongs to device {owner:?}; a key never serves two devices")]
    KeyOfAnother {
        /// The key.
        key_id: String,
        /// Whose it is.
        owner: String,
    },
    /// The key was revoked and stays so.
    #[error("key {key_id} of device {device_id:?} is revoked, and stays so")]
    KeyRevoked {
        /// The device.
        device_id: String,
        /// The key.
        key_id: String,
    },
    /// A key of small order: signatures by it would hold for any message.
    #[error("key {0} is of small order, so that anyone could sign with it")]
    WeakKey(String),
    /// There are records of versions 1 and 2.
    #[error("record versions {0:?}; there are 1 and 2, and at least one is allowed")]
    BadVersions(Vec<u8>),
    /// A window that ends before it begins.
    #[error("the key would be valid from {not_before_ms} until {not_after_ms}: never")]
    EmptyWindow {
        /// From, ms.
        not_before_ms: u64,
        /// Until, ms.
        not_after_ms: u64,
    },
    /// The number and the previous hash of the first record do not go together.
    #[error("{0}")]
    BadAnchor(String),
}

/// Decides whether a record counts, from what it knows in memory: registered devices, their keys, and the number and
/// previous hash that come next. Registering is the operator's part: whoever can call it decides whose records count.
#[derive(Debug, Clone, Default)]
pub struct IntegrityPolicyGate {
    devices: HashMap<String, Device>,
    /// Whose a key is.
    owners: HashMap<[u8; 32], String>,
}

impl IntegrityPolicyGate {
    /// Knows no device.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a device with its key, for records of version 2 from number 1 on. The same again changes nothing, and
    /// never revives a revoked key.
    pub fn register_device(
        &mut self,
        device_id: impl Into<String>,
        public_key: VerifyingKey,
    ) -> Result<Registered, RegistrationError> {
        self.register(device_id, Registration::new(public_key))
    }

    /// The same with all that can be said about a device.
    pub fn register(
        &mut self,
        device_id: impl Into<String>,
        registration: Registration,
    ) -> Result<Registered, RegistrationError> {
        let device_id = device_id.into();
        if device_id.is_empty() || device_id.len() > MAX_DEVICE_ID {
            let bytes = device_id.len();
            return Err(RegistrationError::BadDeviceId(format!(
                "of {bytes} bytes; it has 1 to {MAX_DEVICE_ID}"
            )));
        }
        if device_id.chars().any(char::is_control) {
            return Err(RegistrationError::BadDeviceId("with control characters".into()));
        }
        check_versions(&registration.versions)?;
        check_anchor(registration.first, &registration.anchor)?;
        let key = new_key(&registration.public_key, registration.not_before_ms, registration.not_after_ms)?;
        if let Some(device) = self.devices.get(&device_id) {
            return match device.keys.iter().find(|known| known.public_key == key.public_key) {
                Some(known) if known.revoked.is_some() => Ok(Registered::Revoked),
                Some(_) => Ok(Registered::Already),
                None => Err(RegistrationError::OtherKeys(device_id)),
            };
        }
        self.own(&device_id, &key)?;
        let device = Device {
            device_id: device_id.clone(),
            keys: vec![key],
            versions: registration.versions,
            epochs: vec![Epoch {
                number: 1,
                first: registration.first,
                anchor: registration.anchor,
                opened: 1,
            }],
            revoked: None,
            // There is no clock here.
            registered_at_ms: 0,
            registry_seqno: 1,
            next_sequence: registration.first,
            next_prev_record_hash: registration.anchor,
        };
        self.devices.insert(device_id, device);
        Ok(Registered::Added)
    }

    /// Adds a key beside those that the device has. With a window, it counts for records of these times, ms: from
    /// `not_before_ms`, inclusive, until `not_after_ms`, exclusive.
    pub fn add_key(
        &mut self,
        device_id: &str,
        public_key: VerifyingKey,
        not_before_ms: Option<u64>,
        not_after_ms: Option<u64>,
    ) -> Result<DeviceKey, RegistrationError> {
        let key = new_key(&public_key, not_before_ms, not_after_ms)?;
        if let Some(known) = self.known(device_id)?.keys.iter().find(|k| k.public_key == public_key) {
            return match known.revoked {
                None => Ok(known.clone()),
                Some(_) => {
                    Err(RegistrationError::KeyRevoked { device_id: device_id.to_owned(), key_id: key.key_id })
                }
            };
        }
        self.own(device_id, &key)?;
        self.change(device_id, |device| device.keys.push(key.clone()))?;
        Ok(key)
    }

    /// From now on nothing that the key signed counts, whatever time the record names.
    pub fn revoke_key(&mut self, device_id: &str, key_id: &str) -> Result<(), RegistrationError> {
        if !self.known(device_id)?.keys.iter().any(|key| key.key_id == key_id) {
            return Err(RegistrationError::UnknownKey {
                device_id: device_id.to_owned(),
                key_id: key_id.to_owned(),
            });
        }
        self.change(device_id, |device| {
            let now = device.registry_seqno;
            for key in device.keys.iter_mut().filter(|key| key.key_id == key_id) {
                key.revoked.get_or_insert(now);
            }
        })
    }

    /// Takes a device out of service: nothing more of it counts.
    pub fn revoke_device(&mut self, device_id: &str) -> Result<(), RegistrationError> {
        self.change(device_id, |device| {
            let now = device.registry_seqno;
            device.revoked.get_or_insert(now);
        })
    }

    /// Sets which record versions the device may send.
    pub fn allow_versions(&mut self, device_id: &str, versions: &[u8]) -> Result<(), RegistrationError> {
        check_versions(versions)?;
        self.change(device_id, |device| device.versions = versions.to_vec())
    }

    /// Opens an epoch: the device's next record has the number `first` and `anchor` as its previous hash. For a device
    /// that lost its memory (`1` and zeros), or that goes on from records which this gate did not see.
    pub fn open_epoch(
        &mut self,
        device_id: &str,
        first: u64,
        anchor: Hash32,
    ) -> Result<(), RegistrationError> {
        check_anchor(first, &anchor)?;
        self.change(device_id, |device| {
            let (number, opened) = (device.epochs.len() as u64 + 1, device.registry_seqno);
            device.epochs.push(Epoch { number, first, anchor, opened });
            device.next_sequence = first;
            device.next_prev_record_hash = anchor;
        })
    }

    /// What is known of a device.
    pub fn device(&self, device_id: &str) -> Option<&Device> {
        self.devices.get(device_id)
    }

    /// Judges a record and changes nothing. Gives the key that signed it.
    pub fn judge(
        &self,
        record: &AuditRecord,
        payload: &[u8],
        cert_identity: Option<&str>,
    ) -> Result<&DeviceKey, IngestError> {
        judge(record, payload, cert_identity, self.device(&record.device_id))
    }

    /// Judges a record whose payload hash was checked; if it counts, the next one must follow it.
    pub fn enforce(&mut self, record: &AuditRecord, cert_identity: Option<&str>) -> Result<(), IngestError> {
        let judged = check_form(record)
            .and_then(|()| judge_record(record, cert_identity, self.device(&record.device_id)).map(drop));
        self.conclude(record, judged)
    }

    /// Judges a record with its payload; if it counts, the next one must follow it.
    pub fn verify_and_accept(
        &mut self,
        record: &AuditRecord,
        payload: &[u8],
        cert_identity: Option<&str>,
    ) -> Result<(), IngestError> {
        let judged = self.judge(record, payload, cert_identity).map(drop);
        self.conclude(record, judged)
    }

    fn conclude(&mut self, record: &AuditRecord, judged: Result<(), IngestError>) -> Result<(), IngestError> {
        match judged {
            Ok(()) => {
                let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
                tracing::debug!(target: VERIFY, device_id, sequence, "record verified and accepted");
                self.advance(record);
                Ok(())
            }
            Err(error) => {
                events::rejected(record, &error);
                Err(error)
            }
        }
    }

    /// The device's next record must follow this one. For whoever judged it and has stored it since.
    pub(super) fn advance(&mut self, record: &AuditRecord) {
        if let Some(device) = self.devices.get_mut(&record.device_id) {
            // The number after the last one never comes: there is no other way to say that the chain is full.
            device.next_sequence = record.sequence.saturating_add(1);
            device.next_prev_record_hash = record.hash();
        }
    }

    fn known(&self, device_id: &str) -> Result<&Device, RegistrationError> {
        self.device(device_id).ok_or_else(|| RegistrationError::UnknownDevice(device_id.to_owned()))
    }

    fn change(&mut self, device_id: &str, change: impl FnOnce(&mut Device)) -> Result<(), RegistrationError> {
        let device = self
            .devices
            .get_mut(device_id)
            .ok_or_else(|| RegistrationError::UnknownDevice(device_id.to_owned()))?;
        device.registry_seqno += 1;
        change(device);
        Ok(())
    }

    fn own(&mut self, device_id: &str, key: &DeviceKey) -> Result<(), RegistrationError> {
        match self.owners.get(key.public_key.as_bytes()) {
            Some(owner) if owner != device_id => {
                Err(RegistrationError::KeyOfAnother { key_id: key.key_id.clone(), owner: owner.clone() })
            }
            _ => {
                self.owners.insert(*key.public_key.as_bytes(), device_id.to_owned());
                Ok(())
            }
        }
    }
}

fn new_key(
    public_key: &VerifyingKey,
    not_before_ms: Option<u64>,
    not_after_ms: Option<u64>,
) -> Result<DeviceKey, RegistrationError> {
    let key_id = key_id(public_key);
    if public_key.is_weak() {
        return Err(RegistrationError::WeakKey(key_id));
    }
    if let (Some(not_before_ms), Some(not_after_ms)) = (not_before_ms, not_after_ms)
        && not_before_ms >= not_after_ms
    {
        return Err(RegistrationError::EmptyWindow { not_before_ms, not_after_ms });
    }
    Ok(DeviceKey { key_id, public_key: *public_key, not_before_ms, not_after_ms, revoked: None })
}

fn check_versions(versions: &[u8]) -> Result<(), RegistrationError> {
    match versions.is_empty() || versions.iter().any(|version| !(1..=2).contains(version)) {
        true => Err(RegistrationError::BadVersions(versions.to_vec())),
        false => Ok(()),
    }
}

fn check_anchor(first: u64, anchor: &Hash32) -> Result<(), RegistrationError> {
    match (first, *anchor == AuditRecord::zero_hash()) {
        (0, _) => Err(RegistrationError::BadAnchor("records are numbered from 1".into())),
        (1, false) => {
            Err(RegistrationError::BadAnchor("record 1 follows no other: its previous hash is zeros".into()))
        }
        (2.., true) => Err(RegistrationError::BadAnchor(format!(
            "record {first} follows another one: its previous hash is not zeros"
        ))),
        _ => Ok(()),
    }
}
