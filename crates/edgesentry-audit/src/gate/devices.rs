//! The registry: what an operator decides about devices.

use ed25519_dalek::VerifyingKey;
use secure_log::error::Error;
use secure_log::model::{Event, QueryFilter, StreamHead};

use crate::gate::cache::Cached;
use crate::gate::log::GateLog;
use crate::gate::log_gate::{LogGate, in_registry};
use crate::gate::registry::{
    Change, DeviceRegistered, DeviceRevoked, EpochOpened, KeyAdded, KeyEntry, KeyRevoked, MAX_FIRST,
    VersionsAllowed, index,
};
use crate::gate::streams;
use crate::gate::types::{Device, DeviceKey, Failure, Registered, Registration};
use crate::identity::key_id;
use crate::record::{Hash32, MAX_DEVICE_ID};

/// Most ids that one call lists.
const MAX_LISTED: u32 = 1_000;
/// How often a change starts over because the device was changed meanwhile.
const MAX_ROUNDS: u32 = 16;

/// What a change comes to, given the device as it is.
pub(super) enum Decision<T> {
    /// Nothing is to be written.
    Done(T),
    /// These are to be written if the registry is still as it was.
    Write(Vec<Event>, T),
    /// And if no record came in the meantime.
    WriteBetweenRecords(Vec<Event>, T),
}

impl<L: GateLog> LogGate<L> {
    /// Registers a device with its first key. The same key again changes nothing, whatever else the registration
    /// says, and never revives a revoked key. `Conflict` if the device has other keys, or another device has this one.
    pub fn register(&mut self, device_id: &str, registration: &Registration) -> Result<Registered, Failure> {
        check_id("device-id", device_id).map_err(in_registry)?;
        check_key("public-key", &registration.public_key).map_err(in_registry)?;
        check_window(registration.not_before_ms, registration.not_after_ms).map_err(in_registry)?;
        let versions = match registration.versions.as_slice() {
            [] => vec![2],
            given => versions(given).map_err(in_registry)?,
        };
        check_first(registration.first).map_err(in_registry)?;
        let id = key_id(&registration.public_key);
        self.change(device_id, |gate, device| {
            if let Some(device) = device {
                let device = &device.device;
                return match device.keys.iter().find(|key| key.key_id == id) {
                    Some(key) if key.revoked.is_some() || device.revoked.is_some() => {
                        Ok(Decision::Done(Registered::Revoked))
                    }
                    Some(_) => Ok(Decision::Done(Registered::Already)),
                    None if device.revoked.is_some() => Err(Error::Denied(format!(
                        "device {device_id:?} was taken out of service; a device that replaces it has an id of its own"
                    ))),
                    None => Err(Error::conflict(
                        streams::registry(device_id),
                        None,
                        format!(
                            "device {device_id:?} is registered with other keys; add key {id} beside them (add-key), and revoke the old one when it is no longer used"
                        ),
                    )),
                };
            }
            let registered = Change::Registered(DeviceRegistered {
                device_id: device_id.to_owned(),
                key_id: id.clone(),
                public_key: registration.public_key.to_bytes(),
                not_before_ms: registration.not_before_ms,
                not_after_ms: registration.not_after_ms,
                versions: versions.clone(),
                first: registration.first,
                anchor: registration.anchor,
            });
            let gate_id = &gate.settings.gate_id;
            let key = KeyEntry {
                key_id: id.clone(),
                device_id: Some(device_id.to_owned()),
                publisher_id: None,
            };
            let events = vec![registered.event(gate_id)?, key.event(index::DEVICE)?];
            Ok(Decision::WriteBetweenRecords(events, Registered::Added))
        })
    }

    /// Adds a key beside those that the device has. The same key with the same window again changes nothing.
    /// `Conflict` if another device has it, or this device has it with another window or revoked.
    pub fn add_key(
        &mut self,
        device_id: &str,
        public_key: &VerifyingKey,
        not_before_ms: Option<u64>,
        not_after_ms: Option<u64>,
    ) -> Result<DeviceKey, Failure> {
        check_key("public-key", public_key).map_err(in_registry)?;
        check_window(not_before_ms, not_after_ms).map_err(in_registry)?;
        let id = key_id(public_key);
        let new = DeviceKey {
            key_id: id.clone(),
            public_key: *public_key,
            not_before_ms,
            not_after_ms,
            revoked: None,
        };
        self.change(device_id, |gate, device| {
            let device = in_service(device_id, device)?;
            match device.keys.iter().find(|key| key.key_id == id) {
                Some(key) if *key == new => return Ok(Decision::Done(new.clone())),
                Some(key) => {
                    let how = if key.revoked.is_some() { "and it is revoked" } else { "with another window" };
                    return Err(Error::conflict(
                        streams::registry(device_id),
                        None,
                        format!("device {device_id:?} has key {id} already, {how}; make a new key"),
                    ));
                }
                None => {}
            }
            let added = Change::KeyAdded(KeyAdded {
                device_id: device_id.to_owned(),
                key_id: id.clone(),
                public_key: public_key.to_bytes(),
                not_before_ms,
                not_after_ms,
            });
            let key =
                KeyEntry { key_id: id.clone(), device_id: Some(device_id.to_owned()), publisher_id: None };
            let events = vec![added.event(&gate.settings.gate_id)?, key.event(index::DEVICE_KEY)?];
            Ok(Decision::Write(events, new.clone()))
        })
    }

    /// Revokes a key: from now on nothing that it signed is accepted, whatever time the record names. A key that is
    /// revoked already stays so, and nothing is written. `NotFound` if the device does not have it.
    pub fn revoke_key(&mut self, device_id: &str, key_id: &str) -> Result<(), Failure> {
        self.change(device_id, |gate, device| {
            let device = &known(device_id, device)?.device;
            let key = device.keys.iter().find(|key| key.key_id == key_id).ok_or_else(|| {
                Error::not_found("key", key_id, None, format!("device {device_id:?} does not have it"))
            })?;
            if key.revoked.is_some() {
                return Ok(Decision::Done(()));
            }
            let revoked =
                Change::KeyRevoked(KeyRevoked { device_id: device_id.to_owned(), key_id: key_id.to_owned() });
            Ok(Decision::Write(vec![revoked.event(&gate.settings.gate_id)?], ()))
        })
    }

    /// Takes a device out of service, for good. Again: nothing is written.
    pub fn revoke_device(&mut self, device_id: &str) -> Result<(), Failure> {
        self.change(device_id, |gate, device| {
            if known(device_id, device)?.device.revoked.is_some() {
                return Ok(Decision::Done(()));
            }
            let revoked = Change::DeviceRevoked(DeviceRevoked { device_id: device_id.to_owned() });
            Ok(Decision::Write(vec![revoked.event(&gate.settings.gate_id)?], ()))
        })
    }

    /// Sets which record versions the device may send.
    pub fn allow_versions(&mut self, device_id: &str, allowed: &[u8]) -> Result<(), Failure> {
        let versions = versions(allowed).map_err(in_registry)?;
        self.change(device_id, |gate, device| {
            if in_service(device_id, device)?.versions == versions {
                return Ok(Decision::Done(()));
            }
            let allowed = Change::VersionsAllowed(VersionsAllowed {
                device_id: device_id.to_owned(),
                versions: versions.clone(),
            });
            Ok(Decision::Write(vec![allowed.event(&gate.settings.gate_id)?], ()))
        })
    }

    /// Opens an epoch: the device's next record has the number `first` and `anchor` as its previous hash. The same
    /// again, before any record came, changes nothing. `Invalid` where a record that was accepted before would fit:
    /// whoever has it could send it again.
    pub fn open_epoch(&mut self, device_id: &str, first: u64, anchor: &Hash32) -> Result<Device, Failure> {
        check_first(first).map_err(in_registry)?;
        self.change(device_id, |gate, device| {
            let device = in_service(device_id, device)?;
            let open = device.epochs.last().ok_or_else(|| {
                Error::corrupt(streams::registry(device_id), 0, "it opens no epoch")
            })?;
            let is_empty = device.next_sequence == open.first;
            if is_empty && open.first == first && open.anchor == *anchor {
                return Ok(Decision::Done(()));
            }
            let fits = |number: u64| {
                Error::invalid(
                    "anchor",
                    format!(
                        "record {first} of epoch {number} has the same number and previous hash and could be sent again; give the device a fresh random anchor"
                    ),
                )
            };
            for epoch in &device.epochs {
                if epoch.first == first && epoch.anchor == *anchor {
                    return Err(fits(epoch.number));
                }
                if first <= epoch.first {
                    continue;
                }
                let seqno = first - epoch.first + 1;
                match gate.read_stored(device_id, epoch.number, epoch.first, seqno) {
                    Ok(stored) if stored.record.prev_record_hash == *anchor => {
                        return Err(fits(epoch.number));
                    }
                    Ok(_) => {}
                    Err(Failure { error: Error::NotFound(_), .. }) => {}
                    Err(failure) => return Err(failure.error),
                }
            }
            let opened = Change::EpochOpened(EpochOpened {
                device_id: device_id.to_owned(),
                epoch: device.epochs.len() as u64 + 1,
                first,
                anchor: *anchor,
            });
            Ok(Decision::WriteBetweenRecords(vec![opened.event(&gate.settings.gate_id)?], ()))
        })?;
        self.get(device_id)?.ok_or_else(|| in_registry(not_registered(device_id)))
    }

    /// One device, as the store has it now.
    pub fn get(&mut self, device_id: &str) -> Result<Option<Device>, Failure> {
        check_id("device-id", device_id).map_err(in_registry)?;
        self.cache.take(device_id);
        let cached = self.load(device_id)?;
        let device = cached.as_ref().map(|cached| cached.device.clone());
        if let Some(cached) = cached {
            self.cache.put(cached);
        }
        Ok(device)
    }

    /// Ids of registered devices in the order of their registration, after the first `skip`; at most `limit`, and at
    /// most 1,000. Going on where the last list ended costs nothing extra.
    pub fn list_ids(&mut self, skip: u64, limit: u32) -> Result<Vec<String>, Failure> {
        let limit = limit.min(MAX_LISTED);
        let mut ids = Vec::new();
        if limit == 0 {
            return Ok(ids);
        }
        let (mut passed, mut cursor) = match self.listed.take() {
            Some((passed, cursor)) if passed <= skip => (passed, Some(cursor)),
            _ => (0, None),
        };
        let filter = QueryFilter {
            stream_id: Some(streams::KEY_INDEX.into()),
            event_type: Some(index::DEVICE.into()),
            ..QueryFilter::default()
        };
        loop {
            // Never more than is skipped or listed, so that the cursor stands where the list ends.
            let wanted = match skip.saturating_sub(passed) {
                0 => limit.saturating_sub(ids.len() as u32),
                left => u32::try_from(left).unwrap_or(MAX_LISTED).min(MAX_LISTED),
            };
            let page = self.log.query(&filter, cursor.as_deref(), wanted).map_err(in_registry)?;
            if passed >= skip {
                ids.extend(page.entries.into_iter().map(|entry| entry.header.producer));
            } else {
                passed += page.entries.len() as u64;
            }
            cursor = page.next;
            let Some(next) = &cursor else { return Ok(ids) };
            if ids.len() as u32 >= limit {
                self.listed = Some((skip + ids.len() as u64, next.clone()));
                return Ok(ids);
            }
        }
    }

    /// Writes what `decide` decides under the expectation that the device is still as it was then; if it is not, it
    /// decides again.
    fn change<T>(
        &mut self,
        device_id: &str,
        mut decide: impl FnMut(&mut Self, Option<&Cached>) -> Result<Decision<T>, Error>,
    ) -> Result<T, Failure> {
        check_id("device-id", device_id).map_err(in_registry)?;
        for _ in 0..MAX_ROUNDS {
            self.cache.take(device_id);
            let cached = self.load(device_id)?;
            let [registry, chain] = heads(device_id, cached.as_ref());
            // A revocation waits for no record: a device that keeps sending must not hold it up.
            let (events, done, expect) = match decide(self, cached.as_ref()).map_err(in_registry)? {
                Decision::Done(done) => return Ok(done),
                Decision::Write(events, done) => (events, done, vec![registry]),
                Decision::WriteBetweenRecords(events, done) => (events, done, vec![registry, chain]),
            };
            match self.log.append_batch(events, &expect) {
                Ok(_) => return Ok(done),
                Err(Error::Conflict(conflict)) if conflict.stream_id == streams::KEY_INDEX => {
                    return Err(in_registry(key_taken(conflict.reason)));
                }
                Err(Error::Conflict(conflict))
                    if expect.iter().any(|head| head.stream_id == conflict.stream_id) =>
                {
                    if cached.is_none() && conflict.stream_id == streams::device(device_id, 1) {
                        return Err(in_registry(Error::corrupt(
                            conflict.stream_id,
                            0,
                            format!("it has entries, and device {device_id:?} is not registered"),
                        )));
                    }
                }
                Err(error) => return Err(in_registry(error)),
            }
        }
        Err(in_registry(Error::Busy(format!(
            "device {device_id:?} was changed {MAX_ROUNDS} times in a row by others; try again"
        ))))
    }
}

/// Heads of a device's registry and open epoch.
fn heads(device_id: &str, cached: Option<&Cached>) -> [StreamHead; 2] {
    match cached {
        None => [
            StreamHead::empty(streams::registry(device_id)),
            StreamHead::empty(streams::device(device_id, 1)),
        ],
        Some(cached) => [
            StreamHead {
                stream_id: streams::registry(device_id),
                seqno: cached.device.registry_seqno,
                entry_hash: cached.registry_hash,
            },
            StreamHead {
                stream_id: streams::device(device_id, cached.epoch()),
                seqno: cached.chain_seqno,
                entry_hash: cached.chain_hash,
            },
        ],
    }
}

fn known<'c>(device_id: &str, cached: Option<&'c Cached>) -> Result<&'c Cached, Error> {
    cached.ok_or_else(|| not_registered(device_id))
}

fn in_service<'c>(device_id: &str, cached: Option<&'c Cached>) -> Result<&'c Device, Error> {
    let device = &known(device_id, cached)?.device;
    if device.revoked.is_some() {
        return Err(Error::Denied(format!("device {device_id:?} was taken out of service")));
    }
    Ok(device)
}

fn not_registered(device_id: &str) -> Error {
    Error::not_found("device", device_id, None, "it is not registered")
}

pub(super) fn key_taken(reason: String) -> Error {
    Error::conflict(
        streams::KEY_INDEX,
        None,
        format!("{reason}: the key serves another device or publisher; each has keys of its own"),
    )
}

/// An id of a device or publisher: 1 to 255 bytes, no control characters.
pub(super) fn check_id(field: &str, id: &str) -> Result<(), Error> {
    if id.is_empty() || id.len() > MAX_DEVICE_ID {
        return Err(Error::invalid(field, format!("{} bytes; it has 1 to {MAX_DEVICE_ID}", id.len())));
    }
    if id.contains(char::is_control) {
        return Err(Error::invalid(field, "must not hold control characters"));
    }
    Ok(())
}

pub(super) fn check_key(field: &str, key: &VerifyingKey) -> Result<(), Error> {
    if key.is_weak() {
        return Err(Error::invalid(field, "is of small order: signatures by it prove nothing"));
    }
    Ok(())
}

fn check_window(not_before_ms: Option<u64>, not_after_ms: Option<u64>) -> Result<(), Error> {
    match (not_before_ms, not_after_ms) {
        (Some(from), Some(to)) if from >= to => {
            Err(Error::invalid("not-after-ms", format!("{to} is not after not-before-ms, {from}")))
        }
        _ => Ok(()),
    }
}

fn check_first(first: u64) -> Result<(), Error> {
    if first == 0 || first > MAX_FIRST {
        return Err(Error::invalid("first", format!("{first} is not 1 to {MAX_FIRST}")));
    }
    Ok(())
}

/// Versions, each once, ascending.
fn versions(given: &[u8]) -> Result<Vec<u8>, Error> {
    let mut versions = given.to_vec();
    versions.sort_unstable();
    versions.dedup();
    if !crate::gate::registry::are_versions(&versions) {
        return Err(Error::invalid("versions", format!("{given:?}; there are versions 1 and 2")));
    }
    Ok(versions)
}
