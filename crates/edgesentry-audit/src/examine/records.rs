//! Signed records of devices.

use std::collections::BTreeMap;

use ed25519_dalek::VerifyingKey;

use super::found::{Found, Kept};
use super::model::{DocumentKind, Signature, Standing, Summary};
use crate::identity::key_id;
use crate::integrity::{ChainAnchor, verify_chain_from, verify_chain_from_with_keys};
use crate::keys::verifying_key_from_bytes;
use crate::record::AuditRecord;

pub(super) struct Records {
    keys: Vec<VerifyingKey>,
    chains: BTreeMap<String, Chain>,
    verified: u64,
    unreadable: u64,
    scratch: Vec<u8>,
}

/// One device.
struct Chain {
    /// The record that was read last.
    anchor: ChainAnchor,
    /// Number of the first one.
    first: u64,
    /// Records by the key that they name.
    keys: BTreeMap<String, (u64, Standing)>,
    version_1: u64,
}

/// Name under which records of version 1 are counted, which name no key.
const NO_KEY: &str = "a key that the records do not name (version 1)";

impl Records {
    pub fn new(keys: &[[u8; 32]]) -> Self {
        Self {
            // Callers parse keys first: see `Examiner::new`.
            keys: keys.iter().filter_map(|key| verifying_key_from_bytes(key).ok()).collect(),
            chains: BTreeMap::new(),
            verified: 0,
            unreadable: 0,
            scratch: Vec::new(),
        }
    }

    pub fn value(&mut self, line: u64, value: &[u8], found: &mut Found) {
        let record: AuditRecord = match serde_json::from_slice(value) {
            Ok(record) => record,
            Err(error) => {
                self.unreadable += 1;
                return found.broken(None, Some(line), format!("line {line}: is no record: {error}"));
            }
        };
        let hash = record.hash_with(&mut self.scratch);
        let (producer, software) = match &record.provenance {
            Some(provenance) => (provenance.key_id.as_str(), provenance.software_version.as_str()),
            None => ("", ""),
        };
        let kept = Kept {
            line,
            stream: found.stream(&record.device_id),
            seqno: record.sequence,
            time_ms: record.timestamp_ms,
            event_type: found.text(&record.object_ref),
            severity: None,
            producer: found.text(producer),
            software_version: found.text(software),
            hash,
            prev_hash: record.prev_record_hash,
            payload: found.text("not in this file"),
            standing: Standing::NotChecked,
            claimed_ms: None,
            trusted_ms: None,
            bytes: None,
            proof: None,
        };
        let item = found.push(kept);
        if !self.chains.contains_key(&record.device_id) {
            // A part of a chain follows something that is not here.
            let before = ChainAnchor {
                sequence: record.sequence.saturating_sub(1),
                record_hash: record.prev_record_hash,
            };
            let anchor = if record.sequence > 1 { before } else { ChainAnchor::START };
            let chain = Chain { anchor, first: record.sequence, keys: BTreeMap::new(), version_1: 0 };
            self.chains.insert(record.device_id.clone(), chain);
        }
        let Some(chain) = self.chains.get_mut(&record.device_id) else { return };
        let one = std::slice::from_ref(&record);
        // Chain first: where both fail, the link is what to look at; the signature is still looked at.
        let linked = verify_chain_from(&chain.anchor, one);
        let alone =
            ChainAnchor { sequence: record.sequence.saturating_sub(1), record_hash: record.prev_record_hash };
        let signed = match self.keys.as_slice() {
            [] => Ok(()),
            keys => verify_chain_from_with_keys(&alone, one, keys),
        };
        let place = |error: &dyn std::fmt::Display| {
            // The library counts in what it was given; here that is one record at a time.
            let text = error.to_string().replace(" at index 0", "");
            format!("line {line}: record {} of {:?}: {text}", record.sequence, record.device_id)
        };
        let mut holds = true;
        if let Err(error) = &linked {
            holds = false;
            found.broken(Some(item), Some(line), place(error));
        }
        if let Err(error) = signed.as_ref()
            && signed != linked
        {
            holds = false;
            found.broken(Some(item), Some(line), place(error));
        }
        if holds {
            found.stands(item, Standing::Holds);
        }
        let standing = match (self.keys.is_empty(), &signed) {
            (true, _) => Standing::NotChecked,
            (false, Ok(())) => Standing::Holds,
            (false, Err(_)) => Standing::Broken,
        };
        self.verified += u64::from(standing == Standing::Holds);
        chain.version_1 += u64::from(record.version() == 1);
        let by = if producer.is_empty() { NO_KEY } else { producer };
        let of = chain.keys.entry(by.to_owned()).or_insert((0, standing));
        of.0 += 1;
        if standing == Standing::Broken {
            of.1 = standing;
        }
        chain.anchor = ChainAnchor { sequence: record.sequence, record_hash: hash };
    }

    pub fn finish(self, found: &mut Found) -> Summary {
        if found.items.is_empty() && self.unreadable == 0 && !found.is_broken() {
            found.broken(None, None, "there are no records in it".into());
        }
        let known: Vec<String> = self.keys.iter().map(key_id).collect();
        for (device, chain) in &self.chains {
            for (key, (number, standing)) in &chain.keys {
                let by = match known.contains(key) {
                    true => format!("device key {key}"),
                    false => format!("{key}, which was not given"),
                };
                let by = if key == NO_KEY { key.clone() } else { by };
                let of = format!("{number} records of {device}");
                found.signatures.push(Signature { of, by, time_ms: None, standing: *standing });
            }
            if chain.first > 1 {
                found.not_checked.push(format!("what came before record {} of {device:?}", chain.first));
            }
            found.say_not_checked(
                chain.version_1,
                &format!("records of {device:?} of version 1: their signatures cover the payload hash alone"),
            );
        }
        found.count(found.items.len() as u64, "records in the file");
        found.count(self.chains.len() as u64, "devices");
        found.count(self.verified, "signatures by the keys that were given");
        if self.keys.is_empty() {
            let records = found.items.len() as u64;
            found.say_not_checked(records, "signatures: no key of a device was given. Without one, hashes show that records belong together, not who made them");
        }
        found.not_checked.push("payloads, which are not in such a file".into());
        found
            .not_checked
            .push("what came after the last record: records cut off at the end leave no trace here".into());
        let origin = match self.chains.len() {
            1 => self.chains.keys().next().cloned().unwrap_or_default(),
            n => format!("{n} devices"),
        };
        found.summary(DocumentKind::Records, origin, self.verified > 0)
    }
}
