//! Reading back, and verifying, what a gate stored.

use secure_log::error::Error;
use secure_log::model::{QueryFilter, ZERO_HASH};

use crate::gate::judge::judge_record;
use crate::gate::log::GateLog;
use crate::gate::log_gate::{LogGate, in_registry, is_gone, ledger};
use crate::gate::types::{Device, Failure, StoredRecord};
use crate::gate::{registry, streams};
use crate::record::Hash32;

/// What a verification of a device looked at; only returned when all of it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceReport {
    /// The device, as its registry leaves it.
    pub device: Device,
    /// Entries of its registry that were read and applied.
    pub registry_entries: u64,
    /// Keys that the key index has under its name.
    pub keys: u64,
    /// Its epochs, oldest first.
    pub epochs: Vec<EpochReport>,
    /// Records whose signature, chain, judgement and payload were checked.
    pub records: u64,
    /// Records that are gone, since the payload of their entry was erased: that they were accepted, and when, is checked.
    pub records_erased: u64,
    /// Bytes of payload that were hashed.
    pub payload_bytes: u64,
}

/// One epoch of such a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochReport {
    /// Its number.
    pub number: u64,
    /// Its stream.
    pub stream_id: String,
    /// Number of its first record.
    pub first: u64,
    /// Records in it, with those that are gone.
    pub records: u64,
    /// What its next record follows: the hash of its last record, of the last entry if that record is gone, its anchor
    /// if it has none.
    pub last_record_hash: Hash32,
}

impl<L: GateLog> LogGate<L> {
    /// An accepted record with its payload. The entry's payload is checked against its header, the record against its
    /// place, the payload against the record. `NotFound` if there is no such record.
    pub fn read_record(
        &mut self,
        device_id: &str,
        epoch: u64,
        sequence: u64,
    ) -> Result<StoredRecord, Failure> {
        super::devices::check_id("device-id", device_id).map_err(in_registry)?;
        let folded = registry::fold(&mut self.log, device_id, |_, _| ()).map_err(in_registry)?;
        let missing = |what: &str, name: &str, number: Option<u64>, reason: &str| {
            Error::not_found(what, name, number, reason)
        };
        let (device, _) =
            folded.ok_or_else(|| in_registry(missing("device", device_id, None, "it is not registered")))?;
        let opened = device.epochs.iter().find(|opened| opened.number == epoch);
        let opened = opened.ok_or_else(|| {
            in_registry(missing("epoch", device_id, Some(epoch), "the device has no such epoch"))
        })?;
        let not_there =
            || ledger(missing("record", device_id, Some(sequence), "it was not accepted in this epoch"));
        let seqno =
            sequence.checked_sub(opened.first).and_then(|n| n.checked_add(1)).ok_or_else(not_there)?;
        let stored = match self.read_stored(device_id, epoch, opened.first, seqno) {
            Err(Failure { error: Error::NotFound(m), .. }) if m.what != "payload" => return Err(not_there()),
            other => other?,
        };
        Ok(StoredRecord {
            receipt: stored.receipt(),
            record: stored.record,
            payload: stored.payload,
            received_at_ms: stored.time_ms,
        })
    }

    /// Verifies everything that is stored of a device: the registry entry by entry; of each record its place, chain
    /// and payload, that the registry entry which judged it exists and is the one it names, and that by that entry
    /// the signing key, the record's version and time, and the epoch were allowed, and the signature is the key's.
    /// The first thing that does not hold is a `Corrupt` error naming the entry. Of a record that was erased its entry's
    /// place is verified; the record after it is taken to follow it.
    ///
    /// That the streams are whole and unchanged since they were signed is the log's to verify
    /// (`verify-checkpoint-chain`, `verify-segments`).
    pub fn audit_device(&mut self, device_id: &str) -> Result<DeviceReport, Failure> {
        super::devices::check_id("device-id", device_id).map_err(in_registry)?;
        let mut states: Vec<(Device, Hash32)> = Vec::new();
        registry::fold(&mut self.log, device_id, |device, hash| states.push((device.clone(), hash)))
            .map_err(in_registry)?;
        let Some((device, _)) = states.last().cloned() else {
            return Err(in_registry(Error::not_found("device", device_id, None, "it is not registered")));
        };
        let keys = self.audit_keys(&device)?;
        let mut report = DeviceReport {
            registry_entries: states.len() as u64,
            keys,
            epochs: Vec::new(),
            records: 0,
            records_erased: 0,
            payload_bytes: 0,
            device,
        };
        for number in 1..=report.device.epochs.len() as u64 {
            self.audit_epoch(number, &states, &mut report)?;
        }
        let last = report.epochs.last();
        report.device.next_sequence = last.map_or(1, |epoch| epoch.first + epoch.records);
        report.device.next_prev_record_hash = last.map_or(ZERO_HASH, |epoch| epoch.last_record_hash);
        Ok(report)
    }

    /// The key index has each key of the device under its name, and no other.
    fn audit_keys(&mut self, device: &Device) -> Result<u64, Failure> {
        let filter = QueryFilter {
            stream_id: Some(streams::KEY_INDEX.into()),
            producer: Some(device.device_id.clone()),
            ..QueryFilter::default()
        };
        let mut listed: Vec<String> = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.log.query(&filter, cursor.as_deref(), 1_000).map_err(in_registry)?;
            for entry in page.entries {
                let seqno = entry.header.seqno;
                // A publisher may have the name of a device.
                if entry.header.event_type == registry::index::PUBLISHER_KEY {
                    continue;
                }
                let id = entry.header.event_id.unwrap_or_default();
                if !device.keys.iter().any(|key| key.key_id == id) {
                    return Err(in_registry(Error::corrupt(
                        streams::KEY_INDEX,
                        seqno,
                        format!("device {:?} does not have key {id:?}", device.device_id),
                    )));
                }
                listed.push(id);
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        if let Some(key) = device.keys.iter().find(|key| !listed.contains(&key.key_id)) {
            return Err(in_registry(Error::corrupt(
                streams::KEY_INDEX,
                0,
                format!("it does not have key {} of device {:?}", key.key_id, device.device_id),
            )));
        }
        Ok(listed.len() as u64)
    }

    fn audit_epoch(
        &mut self,
        number: u64,
        states: &[(Device, Hash32)],
        report: &mut DeviceReport,
    ) -> Result<(), Failure> {
        let device_id = report.device.device_id.clone();
        let Some(epoch) = report.device.epochs.iter().find(|epoch| epoch.number == number).cloned() else {
            return Ok(());
        };
        let stream_id = streams::device(&device_id, number);
        let head = self.log.head(&stream_id).map_err(ledger)?;
        let mut entry_hash = ZERO_HASH;
        let mut last_record_hash = epoch.anchor;
        let (mut judged_by, mut erased) = (0, 0);
        // Whether the record before is gone, and its hash with it.
        let mut gone = false;
        let records = head.as_ref().map_or(0, |head| head.seqno);
        for seqno in 1..=records {
            let corrupt = |reason: String| ledger(Error::corrupt(stream_id.as_str(), seqno, reason));
            let stored = match self.read_stored(&device_id, number, epoch.first, seqno) {
                Err(failure) if is_gone(&failure) => {
                    let entry = self.log.read(&stream_id, seqno).map_err(ledger)?;
                    if entry.header.prev_hash != entry_hash {
                        return Err(corrupt("it does not follow the entry before it".into()));
                    }
                    (entry_hash, last_record_hash) = (entry.entry_hash, entry.entry_hash);
                    (gone, erased) = (true, erased + 1);
                    continue;
                }
                stored => stored?,
            };
            if stored.prev_hash != entry_hash {
                return Err(corrupt("it does not follow the entry before it".into()));
            }
            entry_hash = stored.entry_hash;
            let judge = stored.registry_seqno;
            let state = judge.checked_sub(1).and_then(|at| states.get(usize::try_from(at).ok()?));
            let Some((device, registry_hash)) = state else {
                return Err(corrupt(format!("entry {judge} of the registry, which judged it, is not there")));
            };
            if *registry_hash != stored.registry_hash {
                return Err(corrupt(format!("entry {judge} of the registry is not the one that judged it")));
            }
            if judge < judged_by {
                return Err(corrupt(format!(
                    "it was judged by entry {judge} of the registry, and a record before it by entry {judged_by}"
                )));
            }
            judged_by = judge;
            if device.epochs.last().is_none_or(|open| open.number != number) {
                return Err(corrupt(format!("by entry {judge} of the registry epoch {number} was not open")));
            }
            let mut device = device.clone();
            device.next_sequence = stored.record.sequence;
            device.next_prev_record_hash = match std::mem::take(&mut gone) {
                true => stored.record.prev_record_hash,
                false => last_record_hash,
            };
            let key = judge_record(&stored.record, None, Some(&device))
                .map_err(|error| corrupt(format!("by entry {judge} of the registry: {error}")))?;
            if key.key_id != stored.key_id {
                return Err(corrupt(format!("key {} signed it, not key {}", key.key_id, stored.key_id)));
            }
            last_record_hash = stored.record.hash();
            report.payload_bytes += stored.payload.len() as u64;
        }
        if let Some(head) = head
            && head.entry_hash != entry_hash
        {
            return Err(ledger(Error::corrupt(
                stream_id,
                records,
                "it is not the entry that the head names",
            )));
        }
        report.records += records - erased;
        report.records_erased += erased;
        report.epochs.push(EpochReport { number, stream_id, first: epoch.first, records, last_record_hash });
        Ok(())
    }
}
